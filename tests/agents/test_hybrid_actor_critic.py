"""`SAC` with discrete parts of actions: losses against loops over all combinations in NumPy; masks; the critics' form."""

import itertools

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob.layers import StatefulRNN
from keras_rl_prob.sources.replay import Transitions
from keras_rl_prob.sources.sequences import StoredSequences

ROWS = 5
BOX = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
MASK = gymnasium.spaces.Dict(tool=gymnasium.spaces.MultiBinary(3))
MASKED = gymnasium.spaces.Dict(action_mask=MASK, x=BOX)
MOVE = gymnasium.spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 6.0], np.float32))
HYBRID = gymnasium.spaces.Dict(
    gear=gymnasium.spaces.MultiDiscrete([2, 2]), move=MOVE, tool=gymnasium.spaces.Discrete(3)
)
DISCRETE = gymnasium.spaces.Dict({key: HYBRID[key] for key in ("gear", "tool")})
COMBINATIONS = list(itertools.product(range(2), range(2), range(3)))
SPACES = {"hybrid": HYBRID, "discrete": DISCRETE}
FRACTION, TARGET = 0.3, -1.5


def made(kind):
    """An agent whose networks have arbitrary weights."""
    keras.utils.set_random_seed(3)
    spaces = (MASKED, SPACES[kind])
    temperature = krp.LearnedTemperature(target_entropy=TARGET, discrete_target=FRACTION)
    agent = krp.SAC(
        krp.networks.stochastic_actor(spaces, (5,)), krp.networks.critic(spaces, (4,), 3), temperature=temperature
    )
    agent.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
    agent.build(spaces)
    for index, model in enumerate((agent.critic, agent.target_critic, agent.network)):
        rng = np.random.default_rng(index)
        model.set_weights([x + rng.normal(0.0, 0.5, x.shape) for x in model.get_weights()])
    agent.log_temperature.assign([-0.7, 0.4] if kind == "hybrid" else -0.7)
    return agent


@pytest.fixture(scope="module", params=SPACES)
def agent(request):
    return made(request.param)


def transitions(agent):
    rng = np.random.default_rng(0)

    def draw(*shape):
        return tf.constant(rng.normal(size=shape), tf.float32)

    def observation():
        allowed = np.array([[1, 1, 0], [0, 1, 0], [1, 1, 1], [1, 0, 1], [0, 0, 1]])
        return {"action_mask": {"tool": tf.constant(rng.permutation(allowed), tf.int32)}, "x": draw(ROWS, 3)}

    action = {"gear": tf.constant(rng.integers(0, 2, (ROWS, 2)), tf.int32), "tool": tf.constant([0, 2, 1, 1, 0])}
    if "move" in agent.action_space.spaces:
        action = {"gear": action["gear"], "move": draw(ROWS, 2), "tool": action["tool"]}
    return Transitions(
        observation=observation(),
        action=action,
        reward=draw(ROWS),
        next_observation=observation(),
        discount=tf.constant([0.9, 0.0, 0.81, 0.9, 0.9]),
        weight=tf.constant([1.0, 0.5, 1.0, 0.0, 2.0]),
        index=tf.constant(0),
        seed=tf.constant([4, 5]),
        report={name: tf.constant(0.0) for name in ("failure", "return", "length", "episodes", "replay_size")},
    )


def log_softmax(x):
    x = x - x.max()
    return x - np.log(np.sum(np.exp(x)))


def moves(agent, weights, observation, seed):
    """Samples of `move`, `[N, 2]` as the environment takes them, and their log-densities."""
    if "move" not in agent.action_space.spaces:
        return np.zeros((ROWS, 0)), np.zeros(ROWS)
    loc, scale = np.moveaxis(heads(agent, weights, observation["x"])["move"].reshape(-1, 2, 2), -1, 0)
    scale = 1e-3 + (1.0 - 1e-3) * np.log1p(np.exp(scale)) / np.log(2.0)
    outputs = agent.network(observation)["action"]
    standard = outputs | {"move": tf.broadcast_to([0.0, 1.0], outputs["move"].shape)}
    noise = np.asarray(agent.distribution(standard).sample(seed)["move"], np.float64)
    raw, half = loc + scale * noise, np.array([2.0, 3.0])
    normal = -0.5 * noise**2 - np.log(scale) - 0.5 * np.log(2 * np.pi)
    return np.array([0.0, 3.0]) + half * np.tanh(raw), np.sum(normal - np.log(half / np.cosh(raw) ** 2), -1)


def heads(agent, weights, x):
    """Outputs of the heads' linear maps, each `[N, ...]`."""
    kernel, bias, *others = (np.asarray(y, np.float64) for y in weights)
    hidden = np.maximum(np.asarray(x, np.float64) @ kernel + bias, 0.0)
    names = sorted(agent.action_space.spaces)
    return {
        name: np.asarray(hidden @ w + b.reshape(-1)).reshape(-1, *b.shape)
        for name, w, b in zip(names, others[::2], others[1::2], strict=True)
    }


def log_policy(agent, weights, observation):
    """Log-probabilities `[N, combinations]` of discrete parts, -inf where the mask forbids."""
    outputs, rows = heads(agent, weights, observation["x"]), []
    for row in range(ROWS):
        gears = [log_softmax(outputs["gear"][row, i]) for i in range(2)]
        allowed = observation["action_mask"]["tool"][row].numpy() > 0
        tools = np.full(3, -np.inf)
        tools[allowed] = log_softmax(outputs["tool"][row][allowed])
        rows.append([gears[0][a] + gears[1][b] + tools[c] for a, b, c in COMBINATIONS])
    return np.array(rows)


def values(model, observation, move):
    """Those of each critic by itself for each combination, `[N, n, combinations]`."""
    first, bias, kernel, bias2 = (np.asarray(x, np.float64) for x in model.get_weights())
    scaled = (move - [0.0, 3.0]) / [2.0, 3.0] if move.shape[1] else move
    x = np.concatenate([np.asarray(observation["x"], np.float64), scaled], -1)
    return np.stack([np.maximum(x @ first[i] + bias[i], 0.0) @ kernel[i] + bias2[i] for i in range(3)], 1)


def temperatures(agent):
    """Of the continuous and of the discrete parts."""
    both = np.exp(np.asarray(agent.log_temperature, np.float64).reshape(-1))
    return both[0], both[-1]


def soft_values(agent, weights, critic, observation, seed):
    move, density = moves(agent, weights, observation, seed)
    log_pi, q = log_policy(agent, weights, observation), values(critic, observation, move).min(1)
    alpha, alpha_discrete = temperatures(agent)
    soft = []
    for row in range(ROWS):
        allowed = np.isfinite(log_pi[row])
        logs = log_pi[row][allowed]
        soft.append(np.sum(np.exp(logs) * (q[row][allowed] - alpha_discrete * logs)) - alpha * density[row])
    return np.array(soft)


def counted(x, data):
    weights = data.weight.numpy()
    return np.sum(x[weights > 0]) / np.sum(weights > 0)


def test_targets_are_expectations_over_allowed_combinations(agent):
    data = transitions(agent)
    seed, _ = tf.random.split(data.seed, 2)
    following = soft_values(agent, agent.network.get_weights(), agent.target_critic, data.next_observation, seed)
    target = data.reward.numpy() + data.discount.numpy() * following
    move = (
        np.array([0.0, 3.0]) + [2.0, 3.0] * np.tanh(data.action["move"])
        if "move" in data.action
        else np.zeros((ROWS, 0))
    )
    q = values(agent.critic, data.observation, move)
    taken = [COMBINATIONS.index((*gear, tool)) for gear, tool in zip(
        data.action["gear"].numpy().tolist(), data.action["tool"].numpy().tolist(), strict=True
    )]  # fmt: skip
    received = np.stack([q[row, :, index] for row, index in enumerate(taken)])
    expected = counted(data.weight.numpy() * np.sum(0.5 * (target[:, None] - received) ** 2, -1), data)
    loss, logs = agent.critic_loss(data)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(logs["q_value"]) == pytest.approx(counted(received.mean(-1), data), rel=1e-5)


def test_the_gradient_of_the_policy_is_that_of_the_expectation(agent):
    data = transitions(agent)
    _, seed = tf.random.split(data.seed, 2)
    weights = [np.asarray(x, np.float64) for x in agent.network.get_weights()]

    def loss_of(weights):
        return -counted(soft_values(agent, weights, agent.critic, data.observation, seed), data)

    with tf.GradientTape() as tape:
        loss, logs = agent.actor_loss(data)
    gradients = tape.gradient(loss, agent.network.trainable_variables)
    assert float(loss) == pytest.approx(loss_of(weights), rel=1e-5)
    for index, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
        for place in list(np.ndindex(weight.shape))[:4]:
            moved = []
            for step in (1e-5, -1e-5):
                changed = [x.copy() for x in weights]
                changed[index][place] += step
                moved.append(loss_of(changed))
            assert float(gradient[place]) == pytest.approx((moved[0] - moved[1]) / 2e-5, rel=1e-3, abs=1e-5)
    names = {"entropy", "temperature"} | (
        {"discrete_entropy", "discrete_temperature"} if "move" in data.action else set()
    )
    assert set(logs) == names <= set(agent.metric_names())
    last = "discrete_" if "move" in data.action else ""
    assert float(logs[f"{last}entropy"]) == pytest.approx(
        counted(entropies(agent, weights, data.observation), data), rel=1e-5
    )
    assert float(logs[f"{last}temperature"]) == pytest.approx(temperatures(agent)[1], rel=1e-5)
    assert float(logs["temperature"]) == pytest.approx(temperatures(agent)[0], rel=1e-5)


def entropies(agent, weights, observation):
    log_pi = log_policy(agent, weights, observation)
    return np.array([-np.sum(np.exp(x[np.isfinite(x)]) * x[np.isfinite(x)]) for x in log_pi])


def test_each_kind_of_parts_has_a_target_entropy(agent):
    data = transitions(agent)
    _, seed = tf.random.split(data.seed, 2)
    weights = agent.network.get_weights()
    allowed = 4 * np.sum(data.observation["action_mask"]["tool"].numpy(), -1)
    excess = [counted(FRACTION * np.log(allowed) - entropies(agent, weights, data.observation), data)]
    if "move" in data.action:
        excess = [counted(moves(agent, weights, data.observation, seed)[1], data) + TARGET, *excess]
    with tf.GradientTape() as tape:
        loss, _ = agent.temperature_loss(data)
    np.testing.assert_allclose(
        np.reshape(tape.gradient(loss, agent.log_temperature.value), -1), -np.array(excess), rtol=1e-4
    )
    assert float(loss) == pytest.approx(-np.sum(np.reshape(agent.log_temperature, -1) * excess), rel=1e-4)


def test_forbidden_actions_are_never_taken(agent):
    observation = transitions(agent).observation
    for seed in range(20):
        action, *_ = agent.act(observation, tf.ones(ROWS, tf.bool), (), tf.constant([seed, 0]))
        mask = observation["action_mask"]["tool"].numpy()
        assert np.all(np.take_along_axis(mask, np.asarray(action["tool"])[:, None], 1) == 1)


@pytest.mark.parametrize("temperature", [0.2, 1])
def test_a_fixed_temperature_is_that_of_both_kinds(temperature):
    agent = krp.SAC(temperature=temperature)
    agent.build((BOX, HYBRID))
    assert agent.current_temperature.dtype == tf.float32
    np.testing.assert_allclose(agent.current_temperature, [temperature] * 2)
    assert [part.name for part in agent.parts()] == ["critic", "actor"]


def test_a_gradient_step_in_a_graph_changes_every_part(agent):
    before = [x.numpy() for x in agent.trainable_variables]
    tf.function(agent.train_step, autograph=False)(transitions(agent))
    unchanged = [x.path for x, y in zip(agent.trainable_variables, before, strict=True) if np.array_equal(x, y)]
    assert unchanged == []


def test_memory_that_forgets_has_the_loss_of_sac(monkeypatch):
    """Critics `[B, n, combinations]` over sequences, where `test_recurrent_actor_critic` has those of continuous actions."""
    monkeypatch.setattr(krp.distributions.Joint, "sample", lambda self, seed: self.mode())
    spaces, rng = (BOX, gymnasium.spaces.Tuple([MOVE, gymnasium.spaces.Discrete(3)])), np.random.default_rng(0)
    replay = krp.SequenceReplaySettings(
        n_step=1, burn_in=1, sequence_length=2, period=2, prioritized=False, batch_size=4
    )
    recurrent = krp.RecurrentSAC(
        krp.networks.stochastic_actor(spaces, (4,), "simple"), krp.networks.critic(spaces, (4, 5), cell="simple"), replay=replay
    )  # fmt: skip
    recurrent.compile(run_eagerly=True)
    recurrent.build(spaces)
    for model in (recurrent.network, recurrent.critic, recurrent.target_critic):
        for layer in model.layers:
            if isinstance(layer, StatefulRNN):
                layer.cell.recurrent_kernel.assign(tf.zeros_like(layer.cell.recurrent_kernel))
    action = (rng.normal(size=(4, 4, 2)).astype(np.float32), rng.integers(0, 3, (4, 4)).astype(np.int32))
    no = tf.zeros((4, 4), tf.bool)
    data = StoredSequences(
        observation=tf.constant(rng.normal(size=(4, 4, 3)), tf.float32),
        action=tf.nest.map_structure(tf.constant, action),
        reward=tf.constant(rng.normal(size=(4, 4)), tf.float32),
        terminated=no,
        ended=no,
        is_first=no,
        valid=~no,
        state=(tf.zeros((4, 4)),),
        weight=tf.ones(4),
        index=tf.constant(0),
        seed=tf.constant([4, 5]),
        report={name: tf.constant(0.0) for name in ("failure", "return", "length", "episodes", "replay_size")},
    )
    loss, _ = recurrent.critic_loss(data)
    errors = []
    for t, i in itertools.product((1, 2), range(4)):  # the rows after the burn-in that are learned
        now, then = data.observation[t, i][None], data.observation[t + 1, i][None]
        policy = recurrent.network(then)["action"]
        raw = recurrent.distribution(policy).mode()
        density = recurrent.distribution(policy).distributions[0].log_prob_raw(raw[0])
        move = recurrent.environment_action(raw)[0]
        q = np.min(recurrent.target_critic({"observation": then, "action": (move,)}), 1)[0]
        log_pi = log_softmax(np.asarray(policy[1][0], np.float64))
        target = float(data.reward[t, i]) + 0.99 * (np.sum(np.exp(log_pi) * (q - log_pi)) - float(density[0]))
        taken = recurrent.environment_action((data.action[0][t, i][None], data.action[1][t, i][None]))
        own = recurrent.critic({"observation": now, "action": (taken[0],)})[0, :, int(taken[1][0])]
        errors.append(np.sum(0.5 * (target - np.asarray(own)) ** 2))
    assert float(loss) == pytest.approx(np.mean(errors), rel=1e-4)


def discrete_critic(outputs, with_action=False):
    x, a = keras.Input((3,), name="observation"), keras.Input((2,), name="action")
    inputs = {"observation": x, "action": a} if with_action else {"observation": x}
    h = keras.layers.Concatenate()([x, a]) if with_action else x
    return keras.Model(inputs, keras.layers.Reshape(outputs)(keras.layers.Dense(int(np.prod(outputs)))(h)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: krp.SAC(critic=discrete_critic((2, 3), True)),
            r'inputs `{"observation": ...}`.*Received: \[\'action\', \'obs',
        ),
        (lambda: krp.SAC(critic=discrete_critic((2, 4))), r"`\[B, n, 3\]`, for each combination"),
        (lambda: krp.SAC(critic=discrete_critic((3,))), r"`\[B, n, 3\]`, for each combination"),
        (lambda: krp.SAC(krp.networks.q_network((BOX, HYBRID["tool"]))), '"action" must be a policy for SAC'),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make().build((BOX, HYBRID["tool"]))
    krp.SAC(critic=discrete_critic((2, 3))).build((BOX, HYBRID["tool"]))
