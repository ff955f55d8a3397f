"""DQN: loss, gradient and target network against their definitions, on batches written by hand."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv

import keras_rl_prob as krp
from keras_rl_prob.layers import Dueling, NoisyDense, QValues
from keras_rl_prob.sources.replay import Replayed, Transitions
from keras_rl_prob.testing import ScriptedEnv

SPACES = (spaces.Box(-5.0, 5.0, (3,)), spaces.Discrete(4))
DELTA = 2.5  # some errors are larger
ROWS, SPOILED = 9, 5  # rows with weight 0 would change every mean
REPORT = {name: tf.constant(0.0) for name in ("return", "length", "episodes", "failure", "epsilon", "replay_size")}


def network(dueling=False, noisy=None, actions=4):
    """A hidden layer and a linear one, or two of them for a dueling head; the layers have names."""

    def dense(units, name, activation=None):
        if noisy is None:
            return keras.layers.Dense(units, activation, name=name)
        return NoisyDense(units, activation, kind=noisy, name=name)

    inputs = keras.Input((3,))
    hidden = dense(5, "hidden", "tanh")(inputs)
    if dueling:
        values = Dueling()([dense(1, "value")(hidden), dense(actions, "advantages")(hidden)])
    else:
        values = dense(actions, "values")(hidden)
    return keras.Model(inputs, {"action": QValues((actions,))(values)})


def agent_with(dueling=False, noisy=None, learning_rate=0.1, **arguments):
    """An agent whose target network is another network, all weights random."""
    defaults = {"capacity": 200, "batch_size": ROWS, "learning_starts": 1}
    agent = krp.DQN(network(dueling, noisy), dueling=dueling, noisy=noisy, **{**defaults, **arguments})
    agent.compile(keras.optimizers.SGD(learning_rate), jit_compile=False)
    agent.build(SPACES)
    agent.optimizer.build(agent.network.trainable_variables)
    scramble(agent.network, 1)
    scramble(agent.target_network, 2)
    return agent


def scramble(model, seed):
    random = np.random.default_rng(seed)
    model.set_weights([random.normal(size=w.shape) for w in model.get_weights()])


def batch(index=0, seed=3, weighted=True, **changes):
    """Transitions of one and of more steps, after a termination (discount 0) too."""
    random = np.random.default_rng(seed)
    weight = random.uniform(0.2, 1.8, ROWS) if weighted else np.ones(ROWS)
    weight[SPOILED] = 0.0
    reward = random.normal(size=ROWS)
    reward[SPOILED] = 1e6
    fields = {
        "observation": random.normal(size=(ROWS, 3)),
        "action": random.integers(0, 4, ROWS),
        "reward": reward,
        "next_observation": random.normal(size=(ROWS, 3)),
        "discount": np.array([0.9, 0.81, 0.0, 0.729, 0.9, 0.9, 0.0, 0.9, 0.729]),
        "weight": weight,
    } | changes
    tensors = {name: tf.constant(x, tf.int32 if name == "action" else tf.float32) for name, x in fields.items()}
    return Transitions(**tensors, index=tf.constant(index), seed=tf.constant([seed, index]), report=REPORT)


def parameters(model, name):
    return [w.astype(float) for w in model.get_layer(name).get_weights()]


def features(model, observation):
    kernel, bias = parameters(model, "hidden")
    return np.tanh(observation @ kernel + bias)


def values_of(model, observation, dueling):
    hidden = features(model, observation)
    if not dueling:
        kernel, bias = parameters(model, "values")
        return hidden @ kernel + bias
    (v, v0), (a, a0) = parameters(model, "value"), parameters(model, "advantages")
    advantages = hidden @ a + a0
    return hidden @ v + v0 + advantages - advantages.mean(-1, keepdims=True)


def errors_of(data, online, next_online, next_target, double):
    """Target minus value, row by row."""
    errors, values = np.zeros(ROWS), np.zeros(ROWS)
    for i in range(ROWS):
        following = next_target[i, next_online[i].argmax()] if double else next_target[i].max()
        values[i] = online[i, data.action[i]]
        errors[i] = data.reward[i] + data.discount[i] * following - values[i]
    return errors, values


def loss_of(data, errors, delta):
    terms = []
    for weight, error in zip(data.weight, np.abs(errors), strict=True):
        if weight > 0:
            quadratic = delta is None or error <= delta
            terms.append(weight * (0.5 * error**2 if quadratic else delta * (error - 0.5 * delta)))
    return np.mean(terms)


def arrays(data):
    return tf.nest.map_structure(lambda x: x.numpy(), data)


def gradient_of(agent, data):
    """Loss, logs and a dict of the gradients by layer and kind of weight."""
    variables = agent.network.trainable_variables
    with tf.GradientTape() as tape:
        loss, logs = agent.loss_and_logs(data)
    gradients = tape.gradient(loss, [v.value for v in variables])
    return loss, logs, {"/".join(v.path.split("/")[-2:]): g.numpy() for v, g in zip(variables, gradients, strict=True)}


SWITCHES = list(itertools.product([False, True], [False, True], [None, DELTA], [False, True]))


@pytest.mark.parametrize(("double", "dueling", "delta", "weighted"), SWITCHES)
def test_loss_logs_and_gradient_equal_the_definitions(double, dueling, delta, weighted):
    agent = agent_with(dueling, double=double, huber_delta=delta)
    data = batch(weighted=weighted)
    loss, logs, gradients = gradient_of(agent, data)
    data = arrays(data)
    online = values_of(agent.network, data.observation, dueling)
    next_online = values_of(agent.network, data.next_observation, dueling)
    next_target = values_of(agent.target_network, data.next_observation, dueling)
    errors, values = errors_of(data, online, next_online, next_target, double)
    counts = data.weight > 0
    assert float(loss) == pytest.approx(loss_of(data, errors, delta), rel=1e-4)
    assert float(logs["td_error"]) == pytest.approx(np.abs(errors[counts]).mean(), rel=1e-4)
    assert float(logs["q_value"]) == pytest.approx(values[counts].mean(), rel=1e-4)
    sizes = np.abs(errors[counts])
    assert sizes.min() < DELTA < sizes.max(), "the errors are all on one side of delta"
    assert (next_online.argmax(-1) != next_target.argmax(-1)).any(), "double makes no difference"

    slope = errors if delta is None else np.clip(errors, -delta, delta)
    by_value = np.zeros((ROWS, 4))
    by_value[np.arange(ROWS), data.action] = -data.weight * slope / counts.sum()
    hidden = features(agent.network, data.observation)
    if dueling:
        by_state, by_advantage = by_value.sum(-1, keepdims=True), by_value - by_value.mean(-1, keepdims=True)
        outer = {"value": by_state, "advantages": by_advantage}
    else:
        outer = {"values": by_value}
    inner = sum(g @ parameters(agent.network, name)[0].T for name, g in outer.items()) * (1 - hidden**2)
    expected = {}
    for name, inputs, g in [("hidden", data.observation, inner), *((n, hidden, g) for n, g in outer.items())]:
        expected |= {f"{name}/kernel": inputs.T @ g, f"{name}/bias": g.sum(0)}
    assert set(gradients) == set(expected)
    for name, got in gradients.items():
        np.testing.assert_allclose(got, expected[name], rtol=2e-4, atol=1e-5, err_msg=name)


def test_double_chooses_with_the_network_and_values_with_the_target_network():
    q_values, target_values = [1.0, 2.0, 0.0, -1.0], [5.0, 3.0, 9.0, 7.0]
    errors = {}
    for double in (False, True):
        agent = agent_with(double=double)
        for model, values in ((agent.network, q_values), (agent.target_network, target_values)):
            model.set_weights([np.zeros((3, 5)), np.zeros(5), np.zeros((5, 4)), np.array(values)])
        ones = np.ones(ROWS)
        data = batch(action=0 * ones, reward=10.0 * ones, discount=0.5 * ones, weight=ones)
        errors[double] = float(agent.loss_and_logs(data)[1]["td_error"])
    assert errors[False] == pytest.approx(10.0 + 0.5 * 9.0 - 1.0)
    assert errors[True] == pytest.approx(10.0 + 0.5 * 3.0 - 1.0)


@pytest.mark.parametrize("double", [False, True])
def test_no_gradient_flows_through_the_target(double):
    agent = agent_with(double=double)
    data = batch()
    values = [v.value for v in agent.target_network.weights]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([*values, data.reward, data.next_observation, data.discount])
        loss, _ = agent.loss_and_logs(data)
    sources = [*values, data.reward, data.next_observation, data.discount]
    assert tape.gradient(loss, sources) == [None] * len(sources)


def test_without_a_single_transition_the_loss_is_zero():
    agent = agent_with(prioritized=True)
    loss, logs, gradients = gradient_of(agent, batch(weight=np.zeros(ROWS)))
    assert [float(x) for x in (loss, logs["q_value"], logs["td_error"])] == [0.0, 0.0, 0.0]
    for gradient in gradients.values():
        np.testing.assert_array_equal(gradient, 0.0)


def test_losses_of_the_network_are_added():
    agent = agent_with()
    data = batch()
    loss = float(agent.loss_and_logs(data)[0])
    kernel = agent.network.get_layer("values").kernel
    kernel.regularizer = keras.regularizers.L2(0.1)
    agent.network.get_layer("values").kernel_regularizer = kernel.regularizer
    squares = float(tf.reduce_sum(tf.square(kernel.value)))
    regularized = agent.regularized(agent.parts()[0], agent.loss_and_logs(data)[0])
    assert float(regularized) == pytest.approx(loss + 0.1 * squares, rel=1e-5)


def test_the_errors_of_an_update_go_to_its_row():
    agent = agent_with(prioritized=True, updates=4, huber_delta=0.5)
    agent.td_errors.assign(-tf.ones((4, ROWS)))
    wanted = -np.ones((4, ROWS))
    for index in (2, 0):
        data = batch(index, seed=index)
        agent.loss_and_logs(data)
        data = arrays(data)
        next_target = values_of(agent.target_network, data.next_observation, False)
        online = values_of(agent.network, data.observation, False)
        wanted[index] = np.abs(errors_of(data, online, next_target, next_target, False)[0])
        np.testing.assert_allclose(agent.td_errors.numpy(), wanted, rtol=1e-4, atol=1e-5)


# ---- the target network -------------------------------------------------------------------------------------------


def copied(model):
    return [w.copy() for w in model.get_weights()]


def same(left, right):
    return all(np.array_equal(x, y) for x, y in zip(left, right, strict=True))


@pytest.mark.parametrize("every", [1, 3])
def test_the_target_network_is_copied_after_every_so_many_gradient_steps(every):
    agent = agent_with(target_update=every)
    agent.begin_training()
    kept = copied(agent.network)
    assert same(kept, copied(agent.target_network))
    for step in range(1, 11):
        before = copied(agent.network)
        agent.train_step(batch(seed=step))
        assert not same(before, copied(agent.network))
        if step % every == 0:
            kept = copied(agent.network)
        assert same(copied(agent.target_network), kept), step
    assert int(agent.optimizer.iterations) == 10


def replayed(seeds, updates=None):
    """The batches of these seeds as the updates on one rollout."""
    drawn = zip(*(batch(seed=seed)[:6] for seed in seeds), strict=True)
    updates = tf.constant(len(seeds) if updates is None else updates)
    return Replayed(tuple(map(tf.stack, drawn)), updates, tf.constant([0, 0]), REPORT)


def test_the_count_goes_on_across_rollouts_that_are_one_graph_each():
    agent, by_hand = (agent_with(target_update=3) for _ in range(2))
    for one in (agent, by_hand):
        one.begin_training()
    agent.make_train_function()
    for rollout, last in (((1, 2, 3, 4), 3), ((5, 6, 7, 8), 6)):
        agent.train_function(iter([replayed(rollout)]))
        for seed in rollout:
            by_hand.train_step(batch(seed=seed))
            if seed == last:
                kept = copied(by_hand.network)
        for got, wanted in zip(copied(agent.target_network), kept, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)
        assert not same(copied(agent.target_network), copied(agent.network))


@pytest.mark.parametrize("updates", [0, 1, 3])
def test_only_so_many_gradient_steps_are_taken_as_the_rollout_has_updates(updates):
    agent = agent_with(updates=2, poisson_updates=True)
    agent.make_train_function()
    agent.train_function(iter([replayed((1, 2, 3, 4), updates)]))
    assert int(agent.optimizer.iterations) == updates


def test_a_fraction_moves_the_target_network_that_part_of_the_way():
    agent = agent_with(target_update=0.25)
    for step in range(3):
        target = copied(agent.target_network)
        agent.train_step(batch(seed=step))
        for got, old, online in zip(copied(agent.target_network), target, copied(agent.network), strict=True):
            np.testing.assert_allclose(got, 0.75 * old.astype(float) + 0.25 * online, rtol=1e-5, atol=1e-6)


def test_only_the_network_is_trained():
    agent = agent_with(target_update=1000)
    target = copied(agent.target_network)
    assert agent.target_network.trainable_variables == []
    ours = {id(variable) for variable in agent.network.trainable_variables}
    assert {id(variable) for variable in agent.trainable_variables} == ours
    agent.train_step(batch())
    assert same(target, copied(agent.target_network))


def test_the_target_network_is_like_the_network_after_build_and_at_the_start_of_a_training():
    agent = krp.DQN(network())
    agent.build(SPACES)
    assert same(copied(agent.target_network), copied(agent.network))
    assert agent.target_network.get_layer("values") is not agent.network.get_layer("values")
    agent = agent_with()
    assert not same(copied(agent.target_network), copied(agent.network))
    agent.begin_training()
    assert same(copied(agent.target_network), copied(agent.network))


# ---- noise --------------------------------------------------------------------------------------------------------


def noise_of(model):
    return [w.numpy().copy() for w in model.weights if "noise" in w.name]


def different(*noises):
    """Whether no two noises have a number in common."""
    flat = [np.concatenate([x.ravel() for x in noise]) for noise in noises]
    return len(np.unique(np.concatenate(flat))) == sum(map(len, flat))


@pytest.mark.parametrize("kind", ["factorized", "independent"])
@pytest.mark.parametrize("double", [False, True])
def test_the_loss_is_that_of_noisy_values(double, kind):
    agent = agent_with(noisy=kind, double=double)
    data = batch()
    loss = float(agent.loss_and_logs(data)[0])
    online, next_online, next_target = (
        model(x, training=True)["action"].numpy()  # the noise of the loss stays
        for model, x in (
            (agent.network, data.observation),
            (agent.network, data.next_observation),
            (agent.target_network, data.next_observation),
        )
    )
    data = arrays(data)
    errors, _ = errors_of(data, online, next_online, next_target, double)
    assert loss == pytest.approx(loss_of(data, errors, 1.0), rel=1e-4)


@pytest.mark.parametrize("target_update", [1, 0.5, 100])
def test_each_gradient_step_draws_noise_for_both_networks(target_update, monkeypatch):
    agent = agent_with(noisy="independent", target_update=target_update)
    seen, loss_and_logs = [], agent.loss_and_logs

    def watched(data):
        result = loss_and_logs(data)
        seen.extend([noise_of(agent.network), noise_of(agent.target_network)])
        return result

    monkeypatch.setattr(agent, "loss_and_logs", watched)
    for index in range(3):
        agent.train_step(batch(index))
    assert len(seen) == 6
    assert different(*seen)
    for noise in seen:
        numbers = np.concatenate([x.ravel() for x in noise])
        assert abs(numbers.mean()) < 0.5
        assert 0.7 < numbers.std() < 1.3


def test_noise_is_drawn_for_a_rollout_and_stays_as_long_as_it_lasts():
    agent = agent_with(noisy="factorized", rollout_steps=6)
    env = krp.envs.make(SyncVectorEnv([lambda: ScriptedEnv(1, [(4, "terminated")], spaces.Discrete(4))]))
    source = agent.make_source(env, 0)
    noises = []
    for _ in range(3):
        rollout = source.play()
        noises.append(noise_of(agent.network))
        values = rollout.record["parameters"]  # [6, 1, 4]
        noisy, quiet = (agent.network(rollout.observation[:, 0], training=t)["action"] for t in (True, False))
        np.testing.assert_allclose(values[:, 0], noisy, rtol=1e-4, atol=1e-4)
        assert np.abs(values[:, 0] - quiet).min() > 1e-3
        np.testing.assert_array_equal(rollout.record["raw"][:, 0], np.argmax(noisy, -1))  # always the greedy action
    assert different(*noises)


def test_acting_is_noisy_in_training_only():
    agent = agent_with(noisy="factorized")
    agent.resample_noise(tf.constant([1, 2]))
    observation = tf.constant(np.random.default_rng(0).normal(size=(64, 3)), tf.float32)
    first, seed = tf.ones(64, tf.bool), tf.constant([0, 0])
    quiet = agent.network(observation, training=False)["action"].numpy()
    noisy = agent.network(observation, training=True)["action"].numpy()
    for deterministic, values in ((True, quiet), (False, noisy)):
        action, record, _ = agent.act(observation, first, (), seed, deterministic=deterministic)
        np.testing.assert_allclose(record["parameters"], values, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(action, values.argmax(-1))
    assert (quiet.argmax(-1) != noisy.argmax(-1)).any()
    np.testing.assert_array_equal(agent.predict(observation, verbose=0), quiet.argmax(-1))
    policy = agent.policy(64)
    np.testing.assert_array_equal(policy(observation.numpy()), quiet.argmax(-1))


def test_evaluation_is_without_noise():
    env = "tf/CartPole-v1"
    agent = krp.DQN(krp.networks.q_network(env, units=(8,), noisy="factorized"), noisy="factorized")
    agent.compile(jit_compile=False)
    agent.build(env)
    results = []
    for seed in (1, 1, 2, 3):
        agent.resample_noise(tf.constant([seed, 0]))
        results.append(agent.evaluate(env, episodes=4, verbose=0))
    assert all(result == results[0] for result in results)


def test_noise_takes_the_place_of_exploration_unless_both_are_asked_for():
    assert isinstance(agent_with().exploration_in_use, krp.EpsilonGreedy)
    agent = agent_with(noisy="factorized")
    assert agent.exploration_in_use is None
    assert agent.metric_names() == ["loss", "q_value", "td_error", "replay_size"]
    both = agent_with(noisy="factorized", exploration=krp.EpsilonGreedy(1.0))
    action, _, _ = both.act(tf.ones((400, 3)), tf.ones(400, tf.bool), (), tf.constant([0, 0]))
    assert set(action.numpy()) == {0, 1, 2, 3}
    assert "epsilon" in both.metric_names()
