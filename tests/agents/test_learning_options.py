"""Options of what policy-gradient agents learn with, against their definitions in NumPy."""

from typing import ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_ppo_loss import SPACES, agent_with, expected_parts, log_softmax, minibatch

import keras_rl_prob as krp
from keras_rl_prob.agents.policy_gradient import PolicyGradient

DECAY = keras.optimizers.schedules.PolynomialDecay


def gradients(agent, batch):
    with tf.GradientTape() as tape:
        loss, logs = agent.loss_and_logs(batch)
    return loss, logs, [x.numpy() for x in tape.gradient(loss, [v.value for v in agent.network.trainable_variables])]


def test_log_probabilities_are_clipped_before_the_ratio():
    bound = 0.5
    agent = agent_with(clip_ratio=krp.Clipping(None, log_prob_clip=bound))
    head = agent.network.layers[1]
    head.set_weights([4.0 * np.random.default_rng(0).normal(size=x.shape) for x in head.get_weights()])
    batch = minibatch(agent)
    new = np.take_along_axis(
        log_softmax(agent.network(batch.observation[0])["action"].numpy()), batch.raw[0].numpy()[:, None], -1
    )[:, 0]
    old, rows = batch.log_prob[0].numpy(), np.flatnonzero(batch.valid[0])
    assert 0 < np.sum(np.abs(new[rows]) > bound) < len(rows), "only one side of the bound is reached"
    advantage = batch.advantage[0].numpy()[rows]
    advantage = (advantage - advantage.mean()) / advantage.std()
    ratio = np.exp(np.clip(new, -bound, bound) - np.clip(old, -bound, bound))[rows]
    _, logs, _ = gradients(agent, batch)
    assert float(logs["policy_loss"]) == pytest.approx(-np.mean(ratio * advantage), rel=1e-4)
    far = batch._replace(log_prob=tf.fill((1, 6), -5.0))
    policy = agent.distribution(tf.tile(tf.constant([[[0.0, 9.0]]]), (1, 6, 1)))
    surrogate, _ = agent.policy_loss(policy, tf.fill((1, 6), -5.0), tf.ones((1, 6)), far)
    np.testing.assert_allclose(surrogate, -1.0)  # log-probabilities of -5, both beyond: the ratio is 1


def test_a_huber_loss_equals_the_squared_error_up_to_its_delta():
    agent = agent_with(value_coef=krp.ValueLoss(0.7, huber_delta=0.6))
    batch = minibatch(agent)
    value = agent.network(batch.observation[0])["value"].numpy()[:, 0]
    error = np.abs(value - batch.target[0].numpy())[:5]
    assert (error < 0.6).any()
    assert (error > 0.6).any()
    expected = np.mean(np.where(error <= 0.6, error**2, 2 * 0.6 * error - 0.6**2))
    loss, logs, _ = gradients(agent, batch)
    assert float(logs["value_loss"]) == pytest.approx(expected, rel=1e-5)
    total = logs["policy_loss"] + 0.7 * logs["value_loss"] - 0.01 * logs["entropy"]
    assert float(loss) == pytest.approx(float(total), rel=1e-5)
    clipped = agent_with(value_coef=krp.ValueLoss(huber_delta=0.6), clip_ratio=krp.Clipping(0.2, value_clip=0.1))
    clipped.network.set_weights(agent.network.get_weights())
    old = batch.value[0].numpy()
    moved = np.abs(old + np.clip(value - old, -0.1, 0.1) - batch.target[0].numpy())[:5]
    huber = [np.where(e <= 0.6, e**2, 1.2 * e - 0.36) for e in (error, moved)]
    assert float(clipped.loss_and_logs(batch)[1]["value_loss"]) == pytest.approx(np.mean(np.maximum(*huber)), rel=1e-5)
    actor_critic = krp.A2C(clipped.network, value_coef=krp.ValueLoss(huber_delta=0.6))
    np.testing.assert_allclose(actor_critic.value_error(value[None], batch)[0, :5], huber[0], rtol=1e-5)


class Rollout:
    """What `advantages` reads of a rollout: an end by termination, one by truncation."""

    ended = tf.constant([[False], [True], [False], [True], [False]])
    discount = tf.constant([[1.0], [0.0], [1.0], [1.0], [1.0]])
    record: ClassVar = {"value": tf.constant([[0.5], [1.0], [-1.0], [2.0], [0.3]])}


def test_monte_carlo_targets_leave_the_advantages_as_they_are():
    reward = tf.constant([[1.0], [2.0], [3.0], [4.0], [5.0]])
    after = tf.constant([[1.0], [9.0], [2.0], [7.0], [6.0]])
    lambda_, monte_carlo = (
        krp.PPO(discount=0.5, gae_lambda=0.8, value_coef=krp.ValueLoss(target=target))
        for target in ("lambda", "monte_carlo")
    )
    for agent in (lambda_, monte_carlo):
        agent.compile(keras.optimizers.SGD(0.1))
        agent.build(SPACES)
    advantage, target = lambda_.advantages(Rollout, reward, after)
    same, returns = monte_carlo.advantages(Rollout, reward, after)
    np.testing.assert_array_equal(advantage, same)
    np.testing.assert_allclose(target, advantage + Rollout.record["value"], rtol=1e-6)
    # 1 + 0.5 * 2; 2 terminates; 3 + 0.5 * (4 + 0.5 * 7), truncated with a value of 7; 4 + 0.5 * 7; 5 + 0.5 * 6, the end
    np.testing.assert_allclose(returns[:, 0], [2.0, 2.0, 6.75, 7.5, 8.0])


def test_discount_lambda_and_coefficients_follow_schedules():
    decaying = agent_with(
        discount=DECAY(1.0, 10, 0.5), gae_lambda=DECAY(0.9, 10, 0.1), value_coef=krp.ValueLoss(DECAY(1.0, 10, 0.0))
    )
    batch, reward, after = minibatch(decaying), tf.ones((5, 1)), tf.ones((5, 1)) * 3.0
    for step, discount, lambda_, coef in ((0, 1.0, 0.9, 1.0), (5, 0.75, 0.5, 0.5), (20, 0.5, 0.1, 0.0)):
        decaying.optimizer.iterations.assign(step)
        constant = agent_with(discount=discount, gae_lambda=lambda_, value_coef=coef)
        constant.network.set_weights(decaying.network.get_weights())
        for one, other in zip(
            decaying.advantages(Rollout, reward, after), constant.advantages(Rollout, reward, after), strict=True
        ):
            np.testing.assert_allclose(one, other, rtol=1e-6)
        assert float(decaying.loss_and_logs(batch)[0]) == pytest.approx(
            float(constant.loss_and_logs(batch)[0]), rel=1e-6
        )


def test_a_row_of_weight_0_changes_no_gradient_and_others_are_weighted():
    agent = agent_with()
    batch = minibatch(agent)
    weight = np.array([[1.0, 0.0, 2.0, 1.0, 0.5, 3.0]], np.float32)
    _, _, without = gradients(agent, batch._replace(valid=batch.valid * [[1.0, 0.0, 1.0, 1.0, 1.0, 1.0]]))
    zeroed = batch._replace(weight=tf.constant([[1.0, 0.0, 1.0, 1.0, 1.0, 1.0]]))
    _, _, masked = gradients(agent, zeroed)
    for one, other in zip(without, masked, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    changes = {"advantage": 1e5, "target": -1e5, "log_prob": 3.0, "value": 1e4}
    changed = {name: tf.tensor_scatter_nd_update(getattr(zeroed, name), [[0, 1]], [x]) for name, x in changes.items()}
    for one, other in zip(masked, gradients(agent, zeroed._replace(**changed))[2], strict=True):
        np.testing.assert_array_equal(one, other)

    plain = agent_with(normalize_advantages=False)
    plain.network.set_weights(agent.network.get_weights())
    _, logs, _ = gradients(plain, batch._replace(weight=tf.constant(weight)))
    single = [expected_parts(plain, batch._replace(valid=tf.one_hot([row], 6)), 0.2, None, False) for row in range(5)]
    for name in ("policy_loss", "value_loss", "entropy"):
        rows = np.array([parts[name] for parts in single])
        assert float(logs[name]) == pytest.approx(np.sum(rows * weight[0, :5]) / np.sum(weight[0, :5]), rel=1e-4)


class Weighing(krp.PPO):
    """Learns only from the first environment."""

    def sample_weight(self, rollout):
        return tf.concat([tf.ones_like(rollout.reward[:, :1]), tf.zeros_like(rollout.reward[:, 1:])], 1)


class Misweighing(krp.PPO):
    """Returns too few weights."""

    def sample_weight(self, rollout):
        return rollout.reward[0]


def test_weights_come_from_the_agent_and_reach_the_updates():
    env = "tf/CartPole-v1"
    network, seen = krp.networks.feed_forward(env, (4,)), []

    class Watching(Weighing):
        def loss_and_logs(self, data):
            seen.append(data.weight.numpy())
            return super().loss_and_logs(data)

    agent = Watching(network, rollout_steps=4, minibatches=2, update_epochs=1)
    agent.compile(run_eagerly=True, jit_compile=False)
    agent.fit(env, num_envs=3, steps_per_epoch=2, verbose=0, seed=0)
    assert np.concatenate([x.reshape(-1) for x in seen]).sum() == 4
    wrong = Misweighing(network, rollout_steps=4, minibatches=2, update_epochs=1)
    wrong.compile(run_eagerly=True, jit_compile=False)
    with pytest.raises(ValueError, match=r"`Misweighing\.sample_weight` must return `None` or weights of the shape"):
        wrong.fit(env, num_envs=3, steps_per_epoch=2, verbose=0)


class Selecting(krp.PPO):
    """Learns the more from a row the faster the cart is."""

    def sample_weight(self, rollout):
        return tf.abs(rollout.observation[..., 1]) if self.selects else None


def test_weights_and_schedules_in_graphs_are_those_of_eager_updates():
    """Three updates, between which all three coefficients change; without weights or changes the results are others."""

    def trained(eager, selects=True, **constant):
        keras.utils.set_random_seed(1)
        changing = {"discount": DECAY(1.0, 4, 0.2), "gae_lambda": DECAY(1.0, 4, 0.2), "value_coef": DECAY(2.0, 4, 0.1)}
        agent = Selecting(
            krp.networks.feed_forward("tf/CartPole-v1", (4,)),
            rollout_steps=6,
            minibatches=1,
            update_epochs=1,
            **{**changing, **constant},
        )
        agent.selects = selects
        agent.compile(keras.optimizers.SGD(0.3), run_eagerly=eager, jit_compile=False)
        agent.fit("tf/CartPole-v1", num_envs=2, steps_per_epoch=3, verbose=0, seed=0)
        return np.concatenate([np.ravel(x) for x in agent.network.get_weights()])

    eager, graph = trained(True), trained(False)
    np.testing.assert_allclose(graph, eager, rtol=1e-4, atol=1e-6)
    for other in ({"selects": False}, {"discount": 1.0, "gae_lambda": 1.0, "value_coef": 2.0}):
        assert np.abs(trained(True, **other) - eager).max() > 1e-4, other


def sequences(agent, spread):
    """A minibatch of three sequences of two rows, whose policy has moved the more the larger their number in `spread`."""
    flat = minibatch(agent)
    fields = {
        name: tf.reshape(getattr(flat, name), (2, 3, *getattr(flat, name).shape[2:]))
        for name in (
            "observation",
            "is_first",
            "raw",
            "parameters",
            "log_prob",
            "value",
            "advantage",
            "target",
            "valid",
        )
    }
    now = agent.network(tf.reshape(fields["observation"], (6, 4)))["action"]
    moves = tf.constant(spread)[None, :, None] * tf.constant([1.0, -1.0])
    return flat._replace(**fields | {"parameters": tf.reshape(now, (2, 3, 2)) + moves})


def kl_of(agent, batch):
    old, new = (
        log_softmax(x.numpy().astype(float))
        for x in (
            batch.parameters,
            tf.reshape(agent.network(tf.reshape(batch.observation, (6, 4)))["action"], (2, 3, 2)),
        )
    )
    kl, valid = np.sum(np.exp(old) * (old - new), -1), batch.valid.numpy()
    return np.sum(kl * valid, 0) / valid.sum(0)


def test_the_kl_of_each_sequence_stops_that_sequence():
    settings = krp.Minibatches(2, target_kl=0.01, kl_by_sequence=True)
    agent = agent_with_minibatches(settings)
    batch = sequences(agent, [0.05, 0.4, 0.9])
    kl = kl_of(agent, batch)
    assert kl[0] < 0.015 < kl[1] < kl[2]
    _, logs, stopped = gradients(agent, batch)
    assert float(logs["kl_max"]) == pytest.approx(kl.max(), rel=1e-4)
    assert float(logs["kl_left_out"]) == pytest.approx(2 / 3)
    alone = batch._replace(valid=batch.valid * [[1.0, 0.0, 0.0]])
    for one, other in zip(stopped, gradients(agent, alone)[2], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert bool(agent.allows_update(batch, logs))
    assert {"kl_max", "kl_left_out"} <= set(agent.metric_names())
    whole = agent_with_minibatches(krp.Minibatches(2, target_kl=0.01))
    assert not bool(whole.allows_update(batch, logs))
    logged = agent_with_minibatches(krp.Minibatches(2, kl_by_sequence=True))
    logged.network.set_weights(agent.network.get_weights())
    plain = agent_with()
    plain.network.set_weights(agent.network.get_weights())
    _, logs, same = gradients(logged, batch)
    assert "kl_left_out" not in logs
    keras.tree.map_structure(np.testing.assert_array_equal, same, gradients(plain, batch)[2])


def agent_with_minibatches(settings):
    agent = agent_with()
    agent.minibatches = settings
    return agent


def test_a_kl_penalty_without_beta_stays_off_and_its_cutoff_applies():
    penalty = krp.KLPenalty(target=0.001, initial_beta=0.0, cutoff_coef=100.0)
    agent, plain = agent_with(kl_penalty=penalty), agent_with()
    agent.network.set_weights(plain.network.get_weights())
    batch = minibatch(plain)
    kl = float(plain.loss_and_logs(batch)[1]["kl"])
    assert float(agent.loss_and_logs(batch)[0] - plain.loss_and_logs(batch)[0]) == pytest.approx(
        100.0 * (kl - 0.002) ** 2, rel=1e-3
    )
    for index in range(8):  # two rollouts with far too large a divergence
        agent.allows_update(batch._replace(index=tf.constant(index % 4)), {"kl": tf.constant(9.0)})
    assert float(agent.kl_beta) == 0.0


class Watch:
    """Mixed into an agent: keeps the states that the updates began with, and those that its weights would have had."""

    def train_step(self, data):
        """Called by `fit`."""
        self.starts.append([x.numpy() for x in keras.tree.flatten(data.state)])
        self.weights_before.append(self.network.get_weights())
        return super().train_step(data)


class Watched(Watch, krp.RecurrentPPO):
    """RecurrentPPO that is watched."""


@pytest.mark.parametrize("initial_state", ["stored", "zero", "refreshed"])
def test_states_at_the_start_of_sequences(initial_state):
    env = "tf/CartPoleNoVel-v1"
    keras.utils.set_random_seed(1)
    agent = Watched(
        krp.networks.recurrent(env, "gru", 4),
        rollout_steps=6,
        minibatches=krp.Minibatches(1, sequence_length=2, initial_state=initial_state),
        update_epochs=3,
    )
    agent.starts, agent.weights_before, rollouts = [], [], []
    prepare = agent.prepare
    agent.prepare = lambda collected: (rollouts.append(collected.rollout), prepare(collected))[1]
    agent.compile(keras.optimizers.SGD(1.0), run_eagerly=True, jit_compile=False)
    agent.fit(env, num_envs=2, steps_per_epoch=6, verbose=0, seed=0)  # two rollouts of three passes
    assert len(agent.starts) == 6
    cells = [layer for layer in agent.network.layers if isinstance(layer, krp.layers.StatefulRNN)]
    assert len(cells) == 2
    for update, states in enumerate(agent.starts):
        rollout = rollouts[update // 3]
        states = [np.sort(x, axis=0) for x in states]  # sequences are shuffled; sorted, they are compared as sets
        stored = [np.sort(x.numpy().reshape(6, 4), axis=0) for x in keras.tree.flatten(rollout.state)]
        agent.network.set_weights(agent.weights_before[update])
        renewed = [np.sort(x, axis=0) for x in stepwise(agent, rollout)]
        expected = {"stored": stored, "zero": [np.zeros((6, 4))] * 2, "refreshed": renewed}[initial_state]
        for one, other in zip(states, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
        if update % 3:
            assert max(np.abs(a - b).max() for a, b in zip(stored, renewed, strict=True)) > 1e-3, "weights hardly moved"


def stepwise(agent, rollout):
    """States before rows 0, 2 and 4, one step of the network after the other."""
    state, found = keras.tree.map_structure(lambda x: x[0], rollout.state), []
    for t in range(6):
        if t % 2 == 0:
            found.append([x.numpy() for x in keras.tree.flatten(state)])
        _, state = agent._unrolled.step(agent.normalize(rollout.observation[t]), rollout.is_first[t], state)
    return [np.concatenate(x) for x in zip(*found, strict=True)]


def test_refreshed_states_in_graphs_are_those_of_eager_updates():
    weights = []
    for eager in (True, False):
        keras.utils.set_random_seed(1)
        env = "tf/CartPoleNoVel-v1"
        agent = krp.RecurrentPPO(
            krp.networks.recurrent(env, "simple", 3, shared=True),
            rollout_steps=4,
            minibatches=krp.Minibatches(1, sequence_length=2, initial_state="refreshed"),
            update_epochs=2,
        )
        agent.compile(keras.optimizers.SGD(0.1), run_eagerly=eager, jit_compile=False)
        agent.fit(env, num_envs=2, steps_per_epoch=4, verbose=0, seed=0)
        weights.append(agent.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: krp.Minibatches(initial_state="none"), "`initial_state` must be one of"),
        (lambda: krp.Minibatches(kl_by_sequence=1), "`kl_by_sequence` must be a bool"),
        (lambda: krp.Clipping(log_prob_clip=0), "`log_prob_clip` must be a positive number"),
        (lambda: krp.ValueLoss(-1), "`coef` must be a number of at least 0"),
        (lambda: krp.ValueLoss(huber_delta=0.0), "`huber_delta` must be a positive number"),
        (lambda: krp.ValueLoss(target="td"), "`target` must be one of"),
        (lambda: krp.PPO(discount=1.5), "`discount` must be between 0 and 1, or a schedule"),
        (
            lambda: krp.IMPALA(value_coef=krp.ValueLoss(target="monte_carlo")),
            "leave the target of the values to V-trace",
        ),
    ],
)
def test_wrong_options(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_agents_without_weights_have_none():
    assert PolicyGradient.sample_weight(None, None) is None
