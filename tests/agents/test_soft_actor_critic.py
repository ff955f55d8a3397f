"""`SAC` and `TD3`: losses, targets and gradients against their definitions in NumPy, and what the agents refuse."""

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob.sources.replay import Transitions

OBSERVATIONS = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
ACTIONS = gymnasium.spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 6.0], np.float32))
MIDDLE, HALF = np.array([0.0, 3.0]), np.array([2.0, 3.0])
ROWS = 6


def made(make, actor, **arguments):
    """An agent with small networks, whose target networks differ from its networks."""
    keras.utils.set_random_seed(3)
    spaces = (OBSERVATIONS, ACTIONS)
    agent = make(actor(spaces, (5,)), krp.networks.critic(spaces, (4,), 3), **arguments)
    agent.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
    agent.build(spaces)
    models = (agent.critic, agent.target_critic, agent.network, getattr(agent, "target_network", agent.network))
    for index, model in enumerate(models):
        rng = np.random.default_rng(index)
        model.set_weights([x + rng.normal(0.0, 0.3, x.shape) for x in model.get_weights()])
    return agent


def transitions(weights=(1.0, 0.5, 1.0, 0.0, 2.0, 1.0)):
    """Rows that go on, that terminated (discount 0), over several steps (a power of it), and one that does not count."""
    rng = np.random.default_rng(0)

    def draw(*shape):
        return tf.constant(rng.normal(size=shape), tf.float32)

    return Transitions(
        observation=draw(ROWS, 3),
        action=draw(ROWS, 2),
        reward=draw(ROWS),
        next_observation=draw(ROWS, 3),
        discount=tf.constant([0.9, 0.0, 0.81, 0.9, 0.9, 0.0]),
        weight=tf.constant(weights),
        index=tf.constant(0),
        seed=tf.constant([4, 5]),
        report={name: tf.constant(0.0) for name in ("failure", "return", "length", "episodes", "replay_size")},
    )


def outputs(weights, observation):
    """Location and standard deviation of a stochastic actor, `[N, 2]`."""
    first, bias, kernel, bias2 = (np.asarray(x, np.float64) for x in weights)
    hidden = np.maximum(np.asarray(observation, np.float64) @ first + bias, 0.0)
    loc, scale = np.moveaxis((hidden @ kernel + bias2.reshape(-1)).reshape(-1, 2, 2), -1, 0)
    return loc, 1e-3 + (1.0 - 1e-3) * np.log1p(np.exp(scale)) / np.log(2.0)


def log_density(loc, scale, raw):
    """Of the action that a raw sample becomes."""
    normal = -0.5 * ((raw - loc) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)
    return np.sum(normal - np.log(HALF / np.cosh(raw) ** 2), -1)


def values(model, observation, action):
    """Those of each critic by itself, `[N, n]`."""
    first, bias, kernel, bias2 = (np.asarray(x, np.float64) for x in model.get_weights())
    scaled = (np.asarray(action, np.float64) - MIDDLE) / HALF
    x = np.concatenate([np.asarray(observation, np.float64), scaled], -1)
    columns = [np.maximum(x @ first[i] + bias[i], 0.0) @ kernel[i] + bias2[i] for i in range(3)]
    return np.concatenate(columns, -1)


def counted(x, weights):
    return np.sum(x[np.asarray(weights) > 0]) / np.sum(np.asarray(weights) > 0)


def raw_samples(agent, observation, seed):
    """The standard normal numbers that a seed stands for."""
    standard = tf.broadcast_to([0.0, 1.0], agent.network(observation)["action"].shape)
    return np.asarray(agent.distribution(standard).sample(seed), np.float64)


@pytest.fixture(scope="module")
def sac():
    agent = made(krp.SAC, krp.networks.stochastic_actor)
    agent.log_temperature.assign(-0.7)
    return agent


ALPHA = np.exp(-0.7)


def test_soft_targets_are_their_definition(sac):
    data = transitions()
    next_seed, _ = tf.random.split(data.seed, 2)
    loc, scale = outputs(sac.network.get_weights(), data.next_observation)
    raw = loc + scale * raw_samples(sac, data.next_observation, next_seed)
    next_values = values(sac.target_critic, data.next_observation, MIDDLE + HALF * np.tanh(raw)).min(-1)
    target = data.reward + data.discount * (next_values - ALPHA * log_density(loc, scale, raw))
    received = values(sac.critic, data.observation, MIDDLE + HALF * np.tanh(data.action))
    weights = np.asarray(data.weight)
    expected = counted(weights * np.sum(0.5 * (target.numpy()[:, None] - received) ** 2, -1), weights)
    loss, logs = sac.critic_loss(data)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(logs["q_value"]) == pytest.approx(counted(received.mean(-1), weights), rel=1e-5)


def actor_loss(weights, critic, noise, data):
    loc, scale = outputs(weights, data.observation)
    raw = loc + scale * noise
    q = values(critic, data.observation, MIDDLE + HALF * np.tanh(raw)).min(-1)
    return counted(ALPHA * log_density(loc, scale, raw) - q, data.weight)


def test_the_gradient_of_the_policy_passes_its_samples(sac):
    data = transitions()
    _, seed = tf.random.split(data.seed, 2)
    noise = raw_samples(sac, data.observation, seed)
    weights = [np.asarray(x, np.float64) for x in sac.network.get_weights()]
    with tf.GradientTape() as tape:
        loss, logs = sac.actor_loss(data)
    gradients = tape.gradient(loss, sac.network.trainable_variables)
    assert float(loss) == pytest.approx(actor_loss(weights, sac.critic, noise, data), rel=1e-5)
    loc, scale = outputs(weights, data.observation)
    entropy = -counted(log_density(loc, scale, loc + scale * noise), data.weight)
    assert float(logs["entropy"]) == pytest.approx(entropy, rel=1e-5)
    for index, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
        for place in list(np.ndindex(weight.shape))[:6]:
            moved = []
            for step in (1e-5, -1e-5):
                changed = [x.copy() for x in weights]
                changed[index][place] += step
                moved.append(actor_loss(changed, sac.critic, noise, data))
            assert float(gradient[place]) == pytest.approx((moved[0] - moved[1]) / 2e-5, rel=1e-3, abs=1e-5)


def test_the_temperature_goes_to_where_the_entropy_is_the_target(sac):
    data = transitions()
    _, seed = tf.random.split(data.seed, 2)
    loc, scale = outputs(sac.network.get_weights(), data.observation)
    raw = loc + scale * raw_samples(sac, data.observation, seed)
    excess = counted(log_density(loc, scale, raw), data.weight) + np.log(2.0) + np.log(3.0) - 2.0
    with tf.GradientTape() as tape:
        loss, _ = sac.temperature_loss(data)
    assert float(loss) == pytest.approx(0.7 * excess, rel=1e-5)
    assert float(tape.gradient(loss, sac.log_temperature.value)) == pytest.approx(-excess, rel=1e-5)
    assert krp.LearnedTemperature(target_entropy=-7.0).target(ACTIONS) == -7.0
    unbounded = gymnasium.spaces.Dict(a=ACTIONS, b=OBSERVATIONS)
    assert krp.LearnedTemperature().target(unbounded) == pytest.approx(np.log(6.0) - 2.0 - 3.0)
    agent = made(krp.SAC, krp.networks.stochastic_actor, temperature=krp.LearnedTemperature(initial=0.3))
    assert float(agent.current_temperature) == pytest.approx(0.3)


def test_a_gradient_step_changes_what_each_loss_is_for(sac):
    before = {name: getattr(sac, name).get_weights() for name in ("network", "critic", "target_critic")}
    temperature = float(sac.log_temperature)
    sac.train_step(transitions())
    for name in ("network", "critic"):
        assert any(
            not np.array_equal(x, y) for x, y in zip(before[name], getattr(sac, name).get_weights(), strict=True)
        )
    assert float(sac.log_temperature) != temperature
    for slow, old, new in zip(
        sac.target_critic.get_weights(), before["target_critic"], sac.critic.get_weights(), strict=True
    ):
        np.testing.assert_allclose(slow, old + 0.005 * (new - old), rtol=1e-5, atol=1e-7)


def test_a_fixed_temperature_is_no_part(sac):
    agent = made(krp.SAC, krp.networks.stochastic_actor, temperature=0.2)
    assert [part.name for part in agent.parts()] == ["critic", "actor"]
    assert [part.name for part in sac.parts()] == ["critic", "temperature", "actor"]
    assert float(agent.current_temperature) == pytest.approx(0.2)
    _, logs = agent.actor_loss(transitions())
    assert float(logs["temperature"]) == pytest.approx(0.2)


@pytest.fixture(scope="module")
def td3():
    return made(krp.TD3, krp.networks.deterministic_actor)


def modes(model, observation):
    first, bias, *_, kernel, bias2 = sorted_weights(model)
    hidden = np.maximum(np.asarray(observation, np.float64) @ first + bias, 0.0)
    return MIDDLE + HALF * np.tanh(hidden @ kernel + bias2)


def sorted_weights(model):
    dense, head = model.layers[-2:]
    return [np.asarray(x, np.float64) for x in (dense.kernel, dense.bias, head.kernel, head.bias)]


def test_targets_of_td3_are_their_definition(td3):
    data = transitions()
    next_seed, _ = tf.random.split(data.seed, 2)
    standard = tf.random.stateless_normal((ROWS, 2), tf.random.split(next_seed, 1)[0]).numpy()
    for scale, clip in ((0.2, 0.5), (0.2, 0.1), (2.0, 5.0)):
        td3.target_noise, td3.noise_clip = scale, clip
        action = modes(td3.target_network, data.next_observation) + HALF * np.clip(scale * standard, -clip, clip)
        assert (np.abs(action - MIDDLE) > HALF).any() == (scale == 2.0), "bounds matter in one case"
        action = np.clip(action, MIDDLE - HALF, MIDDLE + HALF)
        target = data.reward + data.discount * values(td3.target_critic, data.next_observation, action).min(-1)
        received = values(td3.critic, data.observation, np.clip(data.action, MIDDLE - HALF, MIDDLE + HALF))
        expected = counted(
            np.asarray(data.weight) * np.sum(0.5 * (target.numpy()[:, None] - received) ** 2, -1), data.weight
        )
        assert float(td3.critic_loss(data)[0]) == pytest.approx(expected, rel=1e-5)
    td3.target_noise, td3.noise_clip = 0.2, 0.5
    loss, _ = td3.actor_loss(data)
    first = values(td3.critic, data.observation, modes(td3.network, data.observation))[:, 0]
    assert float(loss) == pytest.approx(-counted(first, data.weight), rel=1e-5)


def test_the_policy_of_td3_is_delayed_and_so_are_its_targets(td3):
    names = ("network", "target_network", "critic", "target_critic")
    changes = []
    for _ in range(4):
        before = [getattr(td3, name).get_weights() for name in names]
        td3.train_step(transitions())
        after = [getattr(td3, name).get_weights() for name in names]
        changes.append(
            [
                any(not np.array_equal(x, y) for x, y in zip(*both, strict=True))
                for both in zip(before, after, strict=True)
            ]
        )
    assert changes == [[False, False, True, False], [True] * 4] * 2


def test_copies_of_td3_are_made_at_the_gradient_steps_that_target_update_says():
    agent = made(krp.TD3, krp.networks.deterministic_actor, policy_period=2, target_update=3)
    equal = []
    for _ in range(6):
        agent.train_step(transitions())
        pairs = zip(agent.critic.get_weights(), agent.target_critic.get_weights(), strict=True)
        equal.append(all(np.array_equal(x, y) for x, y in pairs))
    assert equal == [False, False, True] * 2


@pytest.mark.parametrize("make", [krp.SAC, krp.TD3])
def test_target_networks_start_as_copies(make):
    agent = make()
    agent.compile()
    agent.build("tf/Pendulum-v1")
    agent.critic.set_weights([x + 1.0 for x in agent.critic.get_weights()])
    agent.begin_training()
    pairs = [(agent.critic, agent.target_critic), (agent.network, getattr(agent, "target_network", agent.network))]
    for network, target in pairs:
        assert all(np.array_equal(x, y) for x, y in zip(network.get_weights(), target.get_weights(), strict=True))


def test_critics_begin_as_dense_layers_do():
    kernels = [
        layer.kernel for layer in krp.networks.critic("tf/Pendulum-v1", (64,), 10).layers if hasattr(layer, "kernel")
    ]
    for kernel in kernels:
        _, fan_in, fan_out = kernel.shape
        assert float(tf.reduce_max(tf.abs(kernel))) == pytest.approx((6.0 / (fan_in + fan_out)) ** 0.5, rel=0.02)


def test_exploration_of_td3_is_in_units_of_half_the_range(td3):
    observation = tf.zeros((2000, 3))
    raw = td3.distribution(td3.network(observation)["action"])
    noise = raw.sample(tf.constant([1, 2])) - raw.mode()
    np.testing.assert_allclose(np.std(noise, 0) / HALF, 0.1 * np.ones(2), rtol=0.3)


WRONG = {
    "bits": (lambda make: make().build((OBSERVATIONS, gymnasium.spaces.MultiBinary(2))), "`env` must have "),
    "no action": (
        lambda make: make(critic=krp.networks.feed_forward("tf/Pendulum-v1", (4,))).build("tf/Pendulum-v1"),
        '`critic` must be a Functional `keras.Model` with the inputs `{"observation"',
    ),
    "another action": (
        lambda make: make(critic=krp.networks.critic((OBSERVATIONS, OBSERVATIONS), (4,))).build(
            (OBSERVATIONS, ACTIONS)
        ),
        r"input 'action' must have the shapes of the space Box.*Expected: \[\(2,\)\]. Received: \[\(3,\)\]",
    ),
    "one value": (
        lambda make: make().build((OBSERVATIONS, gymnasium.spaces.Box(np.array([-1.0, 2.0]), np.array([1.0, 2.0])))),
        "`env` must have continuous actions with every low bound below its high one.*Received: Box",
    ),
    "late start": (
        lambda make: make(replay=krp.ReplaySettings(capacity=900, learning_starts=901)).build((OBSERVATIONS, ACTIONS)),
        "`learning_starts` must be at most `capacity`.*Received: learning_starts=901, capacity=900",
    ),
    "small memory": (
        lambda make: make(replay=krp.ReplaySettings(capacity=10, batch_size=11)),
        "`capacity` must be at least `batch_size`",
    ),
    "no model": (lambda make: make(critic=3), "`critic` must be"),
    "target": (lambda make: make(target_update=0), "`target_update` must be a positive integer"),
}


@pytest.mark.parametrize("make", [krp.SAC, krp.TD3])
@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_is_said_in_one_sentence(make, wrong):
    function, message = WRONG[wrong]
    with pytest.raises((ValueError, TypeError), match=message):
        function(make)


def test_actions_without_bounds_are_for_sac():
    spaces = (OBSERVATIONS, gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32))
    with pytest.raises(ValueError, match="`env` must have actions with finite bounds"):
        krp.TD3().build(spaces)
    agent = krp.SAC()
    agent.build(spaces)
    assert agent.distribution(agent.network(tf.zeros((1, 3)))["action"]).log_prob(tf.zeros((1, 2))).shape == (1,)


def test_a_squashed_policy_needs_actions_with_bounds():
    unbounded = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    network = krp.networks.stochastic_actor((OBSERVATIONS, ACTIONS), (4,))
    with pytest.raises(
        ValueError, match=r"must have no hard bounds.*DenseNormal\(\(2,\)\).*TransformAction.*Received: bounds="
    ):
        krp.SAC(network).build((OBSERVATIONS, unbounded))
    krp.SAC(krp.networks.stochastic_actor((OBSERVATIONS, unbounded), (4,))).build((OBSERVATIONS, unbounded))


def test_td3_refuses_discrete_actions():
    with pytest.raises(ValueError, match="`env` must have continuous actions"):
        krp.TD3().build("tf/CartPole-v1")
