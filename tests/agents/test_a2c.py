"""A2C: loss, gradient and advantages against their definitions; one on-policy gradient step per rollout."""

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob.sources.on_policy import Minibatch
from keras_rl_prob.testing import HybridTask, ScriptedEnv

SPACES = (gymnasium.spaces.Box(-np.inf, np.inf, (3,)), gymnasium.spaces.Discrete(4))
SCRIPTS = [[(3, "terminated"), (4, "truncated")], [(5, "truncated"), (2, "terminated")]]
GAMMA = 0.9


def linear_agent(**arguments):
    """An agent whose logits and values are linear in the observation."""
    inputs = keras.Input((3,))
    action = krp.layers.DenseCategorical((4,))(inputs)
    agent = krp.A2C(keras.Model(inputs, {"action": action, "value": keras.layers.Dense(1)(inputs)}), **arguments)
    agent.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    agent.build(SPACES)
    for index, weight in enumerate(agent.network.weights):
        weight.assign(tf.random.stateless_normal(weight.shape, (index, 3)))
    return agent


def minibatch(rows=7):
    """Random data of two steps, whose last row is not an environment step and would change every mean."""
    random = np.random.default_rng(2)
    shape = (2, rows)
    valid = np.ones(shape, np.float32)
    valid[-1, -1] = 0.0
    advantage = random.normal(1.0, 2.0, shape).astype(np.float32)
    advantage[-1, -1] = 1e6
    fields = dict(
        observation=random.normal(size=(*shape, 3)).astype(np.float32),
        is_first=np.zeros(shape, bool),
        raw=random.integers(0, 4, shape).astype(np.int32),
        parameters=random.normal(size=(*shape, 4)).astype(np.float32),
        log_prob=random.normal(size=shape).astype(np.float32),
        value=random.normal(size=shape).astype(np.float32),
        advantage=advantage,
        target=random.normal(size=shape).astype(np.float32),
        valid=valid,
        index=np.int32(0),
    )
    report = {name: tf.constant(0.0) for name in ("return", "length", "episodes", "explained_variance", "failure")}
    return Minibatch(**tf.nest.map_structure(tf.constant, fields), state=(), report=report)


def expected(agent, batch, value_coef, entropy_coef, normalize):
    """The parts of the loss, and the gradients by kernel and bias of policy and value, row by row in NumPy."""
    outputs = agent.network(tf.reshape(batch.observation, (-1, 3)))
    logits, value = outputs["action"].numpy().astype(float), outputs["value"].numpy()[:, 0].astype(float)
    flat = {name: getattr(batch, name).numpy().reshape(-1) for name in ("raw", "advantage", "target", "valid")}
    rows = np.flatnonzero(flat["valid"])
    advantage = flat["advantage"].astype(float)
    if normalize:
        advantage = (advantage - advantage[rows].mean()) / advantage[rows].std()
    x = batch.observation.numpy().reshape(-1, 3).astype(float)
    parts = {"policy_loss": 0.0, "value_loss": 0.0, "entropy": 0.0}
    gradients = [np.zeros((3, 4)), np.zeros(4), np.zeros((3, 1)), np.zeros(1)]
    for row in rows:
        probability = np.exp(logits[row]) / np.exp(logits[row]).sum()
        log_probability, chosen = np.log(probability), np.eye(4)[flat["raw"][row]]
        entropy, error = -probability @ log_probability, value[row] - flat["target"][row]
        parts["policy_loss"] -= chosen @ log_probability * advantage[row] / len(rows)
        parts["value_loss"] += error**2 / len(rows)
        parts["entropy"] += entropy / len(rows)
        by_logits = -advantage[row] * (chosen - probability)  # the gradient of log softmax
        by_logits += entropy_coef * probability * (log_probability + entropy)  # and of minus the entropy
        by_value = value_coef * 2.0 * error
        steps = (np.outer(x[row], by_logits), by_logits, by_value * x[row][:, None], np.array([by_value]))
        gradients = [total + step / len(rows) for total, step in zip(gradients, steps, strict=True)]
    return parts, gradients


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("value_coef", "entropy_coef"), [(0.5, 0.01), (0.7, 0.3), (0.0, 0.0)])
def test_loss_and_gradient_equal_the_definitions(value_coef, entropy_coef, normalize):
    agent = linear_agent(value_coef=value_coef, entropy_coef=entropy_coef, normalize_advantages=normalize)
    batch = minibatch()
    parts, gradients = expected(agent, batch, value_coef, entropy_coef, normalize)
    with tf.GradientTape() as tape:
        loss, logs = agent.loss_and_logs(batch)
    assert set(logs) == set(parts)
    for name, value in parts.items():
        assert float(logs[name]) == pytest.approx(value, rel=1e-4), name
    total = parts["policy_loss"] + value_coef * parts["value_loss"] - entropy_coef * parts["entropy"]
    assert float(loss) == pytest.approx(total, rel=1e-4)
    (head,) = [layer for layer in agent.network.layers if isinstance(layer, krp.layers.DenseCategorical)]
    (dense,) = [layer for layer in agent.network.layers if type(layer) is keras.layers.Dense]
    variables = [*head.trainable_variables, *dense.trainable_variables]
    assert [tuple(v.shape) for v in variables] == [gradient.shape for gradient in gradients]
    for got, wanted in zip(tape.gradient(loss, [v.value for v in variables]), gradients, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-5)


def test_a_step_goes_along_the_gradient():
    agent, batch = linear_agent(value_coef=0.7, entropy_coef=0.3), minibatch()
    _, gradients = expected(agent, batch, 0.7, 0.3, False)
    shapes = {gradient.shape: gradient for gradient in gradients}
    before = [weight.numpy() for weight in agent.network.weights]
    agent.train_step(batch)
    for weight, old in zip(agent.network.weights, before, strict=True):
        np.testing.assert_allclose(weight.numpy(), old - 0.1 * shapes[old.shape], rtol=1e-3, atol=1e-5)


def scripted_env(mode):
    makers = [lambda i=i, s=s: ScriptedEnv(i, s) for i, s in enumerate(SCRIPTS)]
    return krp.envs.make(gymnasium.vector.SyncVectorEnv(makers, autoreset_mode=mode))


@pytest.mark.parametrize(("mode", "steps"), [("NextStep", 7), ("SameStep", 6), ("Disabled", 6)])
def test_advantages_are_n_step_returns_minus_the_value(mode, steps):
    env = scripted_env(mode)
    agent = krp.A2C(rollout_steps=steps, discount=GAMMA, normalize_rewards=False)
    agent.build(env)
    for index, weight in enumerate(agent.network.weights):  # large enough for values that differ
        weight.assign(tf.random.stateless_normal(weight.shape, (index, 7)) * 0.5)
    agent.compile(run_eagerly=True)
    agent._prepare_for(env, 1)
    rollout = agent.prepare(next(iter(agent.make_source(env, 0).dataset())))
    assert rollout.updates == 1
    batch = rollout.update(tf.constant(0))
    flat = [getattr(batch, name).numpy().reshape(-1) for name in ("advantage", "target")]
    valid = batch.valid.numpy().ravel() > 0
    keys = [tuple(map(int, key)) for key in batch.observation.numpy().reshape(-1, 3)]
    found = {key: pair for key, *pair, real in zip(keys, *flat, valid, strict=True) if real}
    ends = set()
    for (index, episode, step), (advantage, target) in found.items():
        length, end = SCRIPTS[index][episode]
        last = max(s for i, e, s in found if (i, e) == (index, episode))  # of the episode, or of the rollout
        total = sum(GAMMA ** (k - step) * (10.0 * episode + k + 1) for k in range(step, last + 1))
        ends.add(end if last + 1 == length else "rollout")
        if (last + 1, end) != (length, "terminated"):
            total += GAMMA ** (last + 1 - step) * value_of(agent, index, episode, last + 1)
        assert target == pytest.approx(total, rel=1e-4), (index, episode, step)
        value = value_of(agent, index, episode, step)
        assert advantage == pytest.approx(total - value, rel=1e-4, abs=1e-4), (index, episode, step)
    assert ends == {"terminated", "truncated", "rollout"}


def value_of(agent, *observation):
    return float(agent.network(np.array([observation], np.float32))["value"][0, 0])


def test_one_gradient_step_for_each_rollout_with_rmsprop_by_default():
    agent = krp.A2C(rollout_steps=4)
    agent.compile(run_eagerly=True)
    optimizer = agent.optimizer
    assert isinstance(optimizer, keras.optimizers.RMSprop)
    rate = float(optimizer.learning_rate.numpy())
    assert (rate, optimizer.rho, optimizer.epsilon) == (pytest.approx(7e-4), 0.99, 1e-5)
    assert optimizer.global_clipnorm == 0.5
    assert agent.updates_per_rollout(8) == 1
    history = agent.fit("tf/Pendulum-v1", epochs=2, steps_per_epoch=2, num_envs=8, verbose=0).history
    assert int(optimizer.iterations.numpy()) == 4
    assert history["env_steps"] == [2 * 4 * 8, 4 * 4 * 8]
    logs = {
        "loss",
        "policy_loss",
        "value_loss",
        "entropy",
        "explained_variance",
        "env_steps",
        "env_steps_per_second",
        "return",
        "length",
    }
    assert set(history) == logs


# With memory under XLA: test_ppo_ratio.py; A2C under XLA: test_fit_reports.py.
@pytest.mark.parametrize("jit_compile", [pytest.param(True, marks=pytest.mark.long), False], ids=["jit", "graph"])
def test_the_recurrent_policy_is_the_one_that_acted_in_every_rollout(jit_compile):
    env = krp.envs.make("tf/CartPole-v1", 8)
    agent = krp.A2C(krp.networks.recurrent(env, units=16, shared=True), rollout_steps=5)
    agent.compile(keras.optimizers.Adam(1e-2), jit_compile=jit_compile)
    agent._prepare_for(env, 1)
    update = tf.function(agent.train_step, jit_compile=jit_compile, autograph=False)
    carried, resets, moved = 0, 0, 0.0
    source = iter(agent.make_source(env, 3).dataset())

    def error(batch):
        outputs, _ = agent._unrolled(batch.observation, batch.is_first, batch.state)
        log_prob = agent.distribution(outputs["action"]).log_prob(batch.raw)
        return float(tf.reduce_max(tf.abs(log_prob - batch.log_prob) * batch.valid))

    for _ in range(12):
        batch = agent.prepare(next(source)).update(tf.constant(0))
        assert batch.observation.shape == (5, 8, 4)
        assert error(batch) < 1e-5
        memory = tf.reduce_any(tf.stack([tf.reduce_any(s != 0, -1) for s in tf.nest.flatten(batch.state)]), 0)
        carried += int(tf.math.count_nonzero(memory & ~batch.is_first[0]))
        resets += int(tf.math.count_nonzero(batch.is_first[1:]))
        update(batch)
        moved = max(moved, error(batch))
    assert carried > 20, "no memory was carried from rollout to rollout"
    assert resets > 3, "no episode started inside a rollout"
    assert moved > 1e-4, "the updates changed nothing, so the test could not fail"


@pytest.mark.parametrize(
    ("env", "network"), [(HybridTask, krp.networks.recurrent), ("tf/Pendulum-v1", None)], ids=["hybrid", "continuous"]
)
def test_all_kinds_of_actions_are_trained(env, network):
    agent = krp.A2C(network and network(env, units=8), normalize_observations=True, gae_lambda=0.9)
    agent.compile(run_eagerly=True)
    agent.build(env)
    before = agent.network.get_weights()
    history = agent.fit(env, epochs=1, steps_per_epoch=3, num_envs=4, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert not any(np.array_equal(a, b) for a, b in zip(before, agent.network.get_weights(), strict=True))
    heads = {"entropy_0", "entropy_1"}
    assert heads & set(history) == (heads if env is HybridTask else set())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rollout_steps": 0}, r"`rollout_steps` must be a positive integer. Received: rollout_steps=0"),
        (
            {"discount": 1.5},
            r"`discount` must be between 0 and 1, or a schedule of `keras.optimizers.schedules`. Received: discount=1.5",
        ),
        (
            {"gae_lambda": -0.1},
            r"`gae_lambda` must be between 0 and 1, or a schedule of `keras.optimizers.schedules`. Received: gae_lambda=-0.1",
        ),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        krp.A2C(**arguments)


def test_networks_that_are_no_actor_critic():
    inputs = keras.Input((4,))
    policy = krp.layers.DenseCategorical((2,))(inputs)
    with pytest.raises(ValueError, match=r"keys \['action', 'value'\]. Received: outputs=\['action'\]"):
        krp.A2C(keras.Model(inputs, {"action": policy})).build("tf/CartPole-v1")
    values = krp.layers.QValues((2,))(keras.layers.Dense(2)(inputs))
    network = keras.Model(inputs, {"action": values, "value": keras.layers.Dense(1)(inputs)})
    with pytest.raises(ValueError, match=r"must be a policy for A2C.*action values, and `Dueling`, are for `krp.DQN`"):
        krp.A2C(network).build("tf/CartPole-v1")
