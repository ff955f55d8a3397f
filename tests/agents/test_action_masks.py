"""Action masks from the environment to the update: masked actions are never chosen, and do not affect losses or gradients."""

import functools

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from environments import RULED_ACTIONS, MaskedEnv, Rules
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import keras_rl_prob as krp
from keras_rl_prob import masks, ops
from keras_rl_prob.layers import DenseCategorical, Dueling, QValues, StatefulRNN
from keras_rl_prob.sources.replay import Transitions
from keras_rl_prob.sources.sequences import StoredSequences

PASS = {"minibatches": 2, "update_epochs": 1}
POLICIES = {
    "ppo": lambda **arguments: krp.PPO(rollout_steps=8, **{**PASS, **arguments}),
    "recurrent ppo": lambda **arguments: krp.RecurrentPPO(rollout_steps=8, **{**PASS, **arguments}),
    "acer": lambda **arguments: krp.ACER(
        rollout_steps=8, replay=krp.RolloutReplaySettings(400, learning_starts=0), **arguments
    ),
}
Q_LEARNING = {
    "dqn": lambda **arguments: krp.DQN(updates=2, learning_starts=16, batch_size=16, capacity=400, **arguments),
    "recurrent dqn": lambda **arguments: krp.RecurrentDQN(
        updates=1, learning_starts=16, batch_size=4, capacity=400, sequence_length=6, burn_in=2, period=5, **arguments
    ),
}


def ruled(name):
    return lambda: krp.envs.ActionMask(Rules(RULED_ACTIONS[name]))


def owned(**arguments):
    """Environments whose observations have the key without a wrapper."""
    return lambda: MaskedEnv("action_mask", **arguments)


def trained(agent, env, rollouts=2, num_envs=4):
    """An agent after a few rollouts; forbidden actions raise an error."""
    agent.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
    steps = rollouts * agent.updates_per_rollout(num_envs)
    arguments = {} if isinstance(env, SyncVectorEnv) else {"num_envs": num_envs}
    history = agent.fit(env, epochs=1, steps_per_epoch=steps, seed=1, verbose=0, **arguments).history
    return agent, {name: values[-1] for name, values in history.items()}


# ---- acting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "actions"),
    [
        ("ppo", "multi-discrete"),
        pytest.param("ppo", "dict", marks=pytest.mark.long),
        ("recurrent ppo", "tuple"),
        ("acer", "multi-discrete"),
    ],
)
def test_policies_do_nothing_that_is_forbidden(kind, actions):
    agent, logs = trained(POLICIES[kind](), ruled(actions))
    assert np.isfinite([logs["loss"], logs["kl"], logs["entropy"]]).all()
    assert agent.evaluate(ruled(actions), episodes=4, deterministic=actions != "tuple", verbose=0) == [5.0, 5.0]


@pytest.mark.parametrize("actions", ["multi-discrete", "dict"])
def test_random_play_does_nothing_that_is_forbidden(actions):
    _, logs = trained(krp.RandomAgent(rollout_steps=64), ruled(actions))
    assert logs["return"] == 5.0


def test_random_predictions_for_batches_and_sequences_are_allowed():
    agent = krp.RandomAgent()
    agent.compile(run_eagerly=True)
    agent.build(SPACES)
    for axes in ((200,), (20, 10)):
        observation = tf.nest.map_structure(lambda x: x.numpy(), observations(0, *axes))
        actions = agent.predict(observation, verbose=0)
        assert actions.shape == axes
        assert set(actions.ravel()) == {0, 1, 2}
        assert np.take_along_axis(observation["action_mask"], actions[..., None], -1).all()


@pytest.mark.parametrize("make", [lambda: krp.A2C(rollout_steps=16), lambda: krp.Reinforce(max_episode_steps=8)])
def test_other_policies_do_nothing_that_is_forbidden(make):
    trained(make(), ruled("discrete"))


BOT = krp.EpsilonGreedy(0.5, policy=lambda observation: 1)  # it ignores the mask


@pytest.mark.parametrize(("kind", "exploration"), [("dqn", BOT), ("recurrent dqn", None)])
def test_value_based_agents_do_nothing_that_is_forbidden(kind, exploration):
    """The final observation of a truncated episode allows no action: its value must not be one of -1e9."""
    agent, logs = trained(Q_LEARNING[kind](exploration=exploration), owned(), rollouts=4)
    assert np.abs([logs["loss"], logs["q_value"], logs["td_error"]]).max() < 100
    agent.evaluate(owned(), episodes=4, verbose=0)


@pytest.mark.parametrize(
    ("kind", "mode"), [("recurrent ppo", AutoresetMode.SAME_STEP), ("dqn", AutoresetMode.DISABLED)]
)
def test_final_observations_beside_the_row_may_allow_nothing_too(kind, mode):
    env = SyncVectorEnv([owned()] * 3, autoreset_mode=mode)
    _, logs = trained((POLICIES | Q_LEARNING)[kind](**({"minibatches": 3} if "ppo" in kind else {})), env, num_envs=3)
    assert np.isfinite(logs["loss"])


class MaskedNative(krp.envs.native.Recall):
    """Recall with masks that forbid one entry of each component of an action.

    In the last row of an episode no action is allowed; if `spoiled`, also where the time is 3, except padding, such as the
    third entry of a component of two.
    """

    def __init__(self, num_envs, action_space, spoiled=False):
        super().__init__(num_envs, delay=4)
        self.action_space, self.spoiled = action_space, spoiled
        mask = masks.mask_space(action_space)
        self.mask_shape, self.nothing = mask.shape, ~masks.existing(action_space)
        if len(mask.shape) > 1:
            self.nothing[1:] = True  # all entries of the other components are allowed
        self.observation_space = spaces.Dict({"action_mask": mask, "x": super().observation_space})

    def observe(self, state):
        time = tf.reshape(state["time"], (-1, *[1] * len(self.mask_shape)))
        nothing = (time == 6) | (self.spoiled & (time == 3))
        mask = tf.where(nothing, self.nothing, tf.range(self.mask_shape[-1]) != 1)
        return {
            "action_mask": tf.broadcast_to(tf.cast(mask, tf.int32), (self.num_envs, *self.mask_shape)),
            "x": super().observe(state),
        }

    def transition(self, state, action, seed):
        forbidden = tf.reduce_any(tf.equal(tf.reshape(action, (self.num_envs, -1)), 1), -1)
        state, _, over = super().transition(state, tf.zeros((self.num_envs,), tf.int32), seed)
        return state, tf.cast(forbidden, tf.float32), over


@pytest.mark.parametrize(
    ("make", "action_space", "jit_compile"),
    [
        (POLICIES["ppo"], spaces.Discrete(4), False),
        # failures under XLA are tested in test_agent_errors.py
        pytest.param(POLICIES["ppo"], spaces.Discrete(4), True, marks=pytest.mark.long),
        pytest.param(POLICIES["recurrent ppo"], spaces.MultiDiscrete([2, 4]), False, marks=pytest.mark.long),
        (krp.RandomAgent, spaces.MultiDiscrete([2, 4]), False),
    ],
    ids=["ppo", "ppo under XLA", "recurrent ppo", "random"],
)
def test_masks_of_native_environments(make, action_space, jit_compile):
    agent = make()
    agent.compile(jit_compile=jit_compile)
    fit = functools.partial(agent.fit, epochs=1, seed=1, verbose=0)
    steps = 2 * agent.updates_per_rollout(4)
    assert fit(MaskedNative(4, action_space), steps_per_epoch=steps).history["return"] == [0.0]
    with pytest.raises(ValueError, match=r"an action mask of the environment allows no action though .*env_steps"):
        fit(MaskedNative(4, action_space, spoiled=True), steps_per_epoch=steps)


def test_taxi():
    def taxi():
        return krp.envs.ActionMask(gymnasium.make("Taxi-v4"))

    agent, _ = trained(Q_LEARNING["dqn"](), taxi)
    policy, env = agent.policy(), taxi()
    observation, _ = env.reset(seed=0)
    for _ in range(50):
        action = policy(observation)
        assert observation["action_mask"][action] == 1
        observation, *_ = env.step(action)


def test_a_mask_is_not_normalised():
    """As real numbers between 0 and 1 masks are centred at about 0.5, and nothing would be 0 then."""

    class Real(MaskedEnv):
        def __init__(self):
            super().__init__("action_mask")
            box = spaces.Box(0.0, 1.0, (3,))
            self.observation_space = spaces.Dict({**self.observation_space.spaces, "action_mask": box})

    agent, _ = trained(krp.PPO(rollout_steps=16, update_epochs=1, normalize_observations=True), Real, rollouts=4)
    mask = tf.constant([[0.0, 1.0, 1.0]])
    seen = agent.normalize({"action_mask": mask, "x": tf.ones((1, 2))})
    np.testing.assert_array_equal(seen["action_mask"], mask)
    assert np.all(seen["x"] != 1.0)


# ---- policies: log-probability, entropy, KL and gradient ----------------------------------------------------------


def minibatch(agent, env, jit_compile=False):
    """All of a rollout as one minibatch."""
    agent.compile(keras.optimizers.SGD(0.1), jit_compile=jit_compile)
    made = krp.envs.make(env, 4)
    agent._prepare_for(made, 1)
    return agent.prepare(next(iter(agent.make_source(made, 0).dataset()))).update(tf.constant(0))


def scramble(network, seed=0):
    random = np.random.default_rng(seed)
    network.set_weights([random.normal(size=w.shape) for w in network.get_weights()])


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def test_log_probability_and_entropy_are_those_of_the_legal_actions():
    """Of MultiDiscrete([2, 4, 3]), component by component, with only the legal classes in the softmax."""
    agent = krp.PPO(krp.networks.feed_forward(ruled("multi-discrete"), (5,)), rollout_steps=16, minibatches=1)
    agent.build(ruled("multi-discrete"))
    scramble(agent.network)
    data = minibatch(agent, ruled("multi-discrete"))
    head = agent.network.output["action"]._keras_history.operation
    features = keras.Model(agent.network.input, head._inbound_nodes[0].input_tensors[0])
    flat = tf.nest.map_structure(lambda x: tf.reshape(x, (-1, *x.shape[2:])), data.observation)
    logits = (features(flat).numpy() @ head.kernel.numpy()).reshape(-1, 3, 4) + head.bias.numpy()
    mask, raw = flat["action_mask"].numpy(), data.raw.numpy().reshape(-1, 3)
    valid = data.valid.numpy().ravel() > 0
    entropies, several = [], 0
    log_prob = data.log_prob.numpy().ravel()
    for row in np.flatnonzero(valid):
        expected, entropy = 0.0, 0.0
        for component in range(3):
            legal = np.flatnonzero(mask[row, component])
            several += len(legal) > 1
            among = log_softmax(logits[row, component, legal])
            expected += among[list(legal).index(raw[row, component])]
            entropy -= (np.exp(among) * among).sum()
        assert log_prob[row] == pytest.approx(expected, rel=1e-4, abs=1e-4)
        entropies.append(entropy)
    assert several > 20
    assert float(agent.loss_and_logs(data)[1]["entropy"]) == pytest.approx(np.mean(entropies), rel=1e-4)


def masked_policy(cell=None):
    """For `MaskedEnv`; the head's features are positive, so that a gradient of 0 cannot be due to them."""
    inputs = {"action_mask": keras.Input((3,), dtype="int32", name="action_mask"), "x": keras.Input((2,), name="x")}
    x = keras.layers.Dense(8, "sigmoid")(inputs["x"])
    if cell is not None:
        x = keras.ops.sigmoid(StatefulRNN(cell)(x))
    head = DenseCategorical((3,), name="head")([x, inputs["action_mask"]])
    return keras.Model(inputs, {"action": head, "value": keras.layers.Dense(1)(x)})


def head_gradient(agent, data, jit_compile=False):
    """Function that returns the loss, the logs, and the gradient of the head's kernel `[features, actions]`."""
    kernel = agent.network.get_layer("head").kernel

    @tf.function(autograph=False, jit_compile=jit_compile)
    def results():
        with tf.GradientTape() as tape:
            loss, logs = agent.loss_and_logs(data)
        return loss, logs, tape.gradient(loss, kernel.value)

    def as_numbers():
        loss, logs, gradient = results()
        return float(loss), {name: float(x) for name, x in logs.items()}, gradient.numpy()

    return as_numbers


@pytest.mark.parametrize(("cell", "jit_compile"), [(None, False), ("lstm", True)])
def test_what_is_always_forbidden_gets_no_gradient_and_changes_nothing(cell, jit_compile):
    """Action 1. Also when its logit is a thousand higher than when the rollout was collected."""
    make = krp.PPO if cell is None else krp.RecurrentPPO
    network = masked_policy(cell and keras.layers.LSTMCell(4))
    agent = make(network, rollout_steps=16, minibatches=1, entropy_coef=0.1, kl_penalty=krp.KLPenalty())
    data = minibatch(agent, owned(always=True))
    assert not np.any(data.observation["action_mask"][..., 1])
    scramble(network, 1)  # a policy that differs from that of the rollout, so that ratios and the KL matter
    results = head_gradient(agent, data, jit_compile)
    loss, logs, gradient = results()
    assert (gradient[:, 1] == 0.0).all()
    assert np.abs(gradient[:, [0, 2]]).min() > 1e-6
    assert logs["kl"] > 1e-3
    assert 0.0 < logs["entropy"] < np.log(2)
    head = network.get_layer("head")
    head.bias.assign(head.bias + [0.0, 1000.0, 0.0])
    again = results()
    assert (again[0], again[1]) == (loss, logs)
    np.testing.assert_array_equal(again[2], gradient)


# ---- values: targets and gradients --------------------------------------------------------------------------------

LENGTH, ROWS = 3, 40
ZERO = {name: tf.constant(0.0) for name in ("failure", "epsilon", "replay_size", "return", "length", "episodes")}


def masked_values(dueling=False, cell=None):
    """Four actions, from linear layers with names."""
    inputs = {"action_mask": keras.Input((4,), dtype="int32", name="action_mask"), "x": keras.Input((3,), name="x")}
    mask, x = inputs["action_mask"], inputs["x"]
    if cell is not None:
        x = keras.ops.sigmoid(StatefulRNN(cell)(x))
    values = keras.layers.Dense(4, name="values")(x)
    if dueling:
        values = Dueling()([keras.layers.Dense(1, name="value")(x), values, mask])
    return keras.Model(inputs, {"action": QValues((4,))([values, mask])})


SPACES = (spaces.Dict({"action_mask": spaces.MultiBinary(4), "x": spaces.Box(-1.0, 1.0, (3,))}), spaces.Discrete(4))


def valued(make, network, **arguments):
    agent = make(network, **arguments)
    agent.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    agent.build(SPACES)
    scramble(agent.network, 1)
    scramble(agent.target_network, 2)
    return agent


def observations(seed, *shape):
    """Random numbers; action 3 is always forbidden, and each other one in half of the rows, but not all."""
    random = np.random.default_rng(seed)
    mask = random.integers(0, 2, (*shape, 4))
    np.put_along_axis(mask, random.integers(0, 3, (*shape, 1)), 1, -1)
    mask[..., 3] = 0
    return {"action_mask": tf.constant(mask, tf.int32), "x": tf.constant(random.normal(size=(*shape, 3)), tf.float32)}


def legal_actions(observation):
    mask = observation["action_mask"].numpy()
    return tf.constant(np.argmax(mask * np.random.default_rng(0).random(mask.shape), -1), tf.int32)


def transitions(empty=True):
    """Transitions, the first two of which lead to final observations; these allow no action if `empty`."""
    random, observation, following = np.random.default_rng(0), observations(1, ROWS), observations(2, ROWS)
    if empty:
        following["action_mask"] *= tf.constant(np.arange(ROWS) > 1, tf.int32)[:, None]
    discount = np.where(np.arange(ROWS) % 4 == 1, 0.0, 0.9)  # the second one terminated
    return Transitions(
        observation,
        legal_actions(observation),
        tf.constant(random.normal(size=ROWS), tf.float32),
        following,
        tf.constant(discount, tf.float32),
        tf.ones(ROWS),
        tf.constant(0),
        tf.constant([0, 0]),
        ZERO,
    )


def plain_values(model, observation, dueling):
    """The outputs of the layers, and the legal actions; if none is legal, all are."""
    x, mask = observation["x"].numpy(), observation["action_mask"].numpy() != 0
    mask |= ~mask.any(-1, keepdims=True)
    kernel, bias = model.get_layer("values").get_weights()
    values = x @ kernel + bias
    if dueling:
        kernel, bias = model.get_layer("value").get_weights()
        values += (
            x @ kernel + bias - np.array([row[legal].mean() for row, legal in zip(values, mask, strict=True)])[:, None]
        )
    return values, mask


@pytest.mark.parametrize("rescaled", [False, True])
@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("double", [False, True])
def test_targets_are_the_best_legal_values(double, dueling, rescaled):
    """The loss of half the squared error, with every row from the definition."""
    agent = valued(
        krp.DQN, masked_values(dueling), double=double, dueling=dueling, rescale_values=rescaled, huber_delta=None
    )
    data = transitions()
    values, _ = plain_values(agent.network, data.observation, dueling)
    online, _ = plain_values(agent.network, data.next_observation, dueling)
    target, mask = plain_values(agent.target_network, data.next_observation, dueling)
    errors, unmasked = [], []
    for i in range(ROWS):
        by = online[i] if double else target[i]
        best = max(np.flatnonzero(mask[i]), key=lambda action, by=by: by[action])
        unmasked.append(by.argmax() != best)
        following = target[i, best]
        if rescaled:
            following = float(ops.inverse_rescale(float(following)))
        learned = float(data.reward[i] + data.discount[i] * following)
        learned = float(ops.rescale(learned)) if rescaled else learned
        errors.append(learned - values[i, data.action[i]])
    assert np.mean(unmasked) > 0.2  # without masks it would often be another action
    loss, logs = agent.loss_and_logs(data)
    assert float(loss) == pytest.approx(np.mean(np.square(errors)) / 2, rel=1e-4)
    assert float(logs["td_error"]) == pytest.approx(np.mean(np.abs(errors)), rel=1e-4)
    assert float(logs["q_value"]) == pytest.approx(values[np.arange(ROWS), data.action].mean(), rel=1e-4)


def sequences(agent, empty):
    """Rows with ends of episodes, whose final observations allow no action if `empty`."""
    steps, random = agent.replay.burn_in + LENGTH + agent.replay.n_step, np.random.default_rng(0)
    observation = observations(1, steps, ROWS)
    over = np.zeros((steps, ROWS), bool)
    over[3, ::2] = over[5, 1::2] = True
    mask = tf.where(over[..., None] & empty, 0, observation["action_mask"])
    action = legal_actions(observation)
    ended = np.roll(over, -1, 0)
    return StoredSequences(
        observation | {"action_mask": mask},
        tf.where(over, 3, action),  # ignored there
        tf.constant(random.normal(size=over.shape), tf.float32),
        tf.constant(ended & (np.arange(ROWS) % 3 == 0)),
        tf.constant(ended),
        tf.constant(np.roll(over, 1, 0)),
        tf.constant(~over),
        agent.initial_state(ROWS),
        tf.ones(ROWS),
        tf.constant(0),
        tf.constant([0, 0]),
        ZERO,
    )


@pytest.mark.parametrize("delta", [1.0, None])
@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("recurrent", [False, True])
def test_values_of_what_is_always_forbidden_change_nothing(recurrent, dueling, delta):
    """Action 3: neither its value of 1000 nor its advantage affects the loss, and its weights get no gradient."""
    arguments = {"double": True, "dueling": dueling, "rescale_values": True, "huber_delta": delta, "prioritized": True}
    if recurrent:
        arguments |= {"sequence_length": LENGTH, "burn_in": 2, "n_step": 2}
        agent = valued(krp.RecurrentDQN, masked_values(dueling, keras.layers.GRUCell(5)), batch_size=ROWS, **arguments)
        make_data = functools.partial(sequences, agent)
    else:
        agent, make_data = valued(krp.DQN, masked_values(dueling), batch_size=ROWS, **arguments), transitions
    kernel = agent.network.get_layer("values").kernel

    def results(data):
        with tf.GradientTape() as tape:
            loss, logs = agent.loss_and_logs(data)
        numbers = [float(loss), float(logs["q_value"]), float(logs["td_error"]), *agent.td_errors.numpy().ravel()]
        return numbers, tape.gradient(loss, kernel.value).numpy()

    numbers, gradient = results(make_data(False))
    assert np.abs(numbers).max() < 100
    assert np.abs(results(make_data(True))[0]).max() < 100
    assert (gradient[:, 3] == 0.0).all()
    assert np.abs(gradient[:, :3]).min() > 1e-6
    for network in (agent.network, agent.target_network):
        bias = network.get_layer("values").bias
        bias.assign(bias + [0.0, 0.0, 0.0, 1000.0])
    again, same = results(make_data(False))
    assert again == numbers
    np.testing.assert_array_equal(same, gradient)
