"""IMPALA: A2C without lag, V-trace against the oracle with lag, and which rollout each update uses."""

from types import SimpleNamespace

import gymnasium
import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from environments import SpoiledCartPole

import keras_rl_prob as krp
from keras_rl_prob.testing import ScriptedEnv

SCRIPTS = [[(3, "terminated"), (4, "truncated")], [(5, "truncated"), (2, "terminated")]]
NATIVE, GAMMA = "tf/CartPole-v1", 0.9
CLIPS = krp.VTrace(lambda_=0.8, clip_rho=1.1, clip_c=0.9, clip_pg_rho=1.2)
NETWORKS = {
    "feed-forward": lambda env: krp.networks.feed_forward(env, (8,)),
    "recurrent": lambda env: krp.networks.recurrent(env, "gru", 8, shared=True),
}


def scripted(mode="NextStep", scripts=SCRIPTS):
    makers = [lambda i=i, s=s: ScriptedEnv(i, s) for i, s in enumerate(scripts)]
    return krp.envs.make(gymnasium.vector.SyncVectorEnv(makers, autoreset_mode=mode))


def begin(agent, env):
    """Prepares an agent with large weights for `env`; returns its source and an iterator of collected rollouts."""
    agent.compile(keras.optimizers.SGD(0.05, global_clipnorm=0.5), run_eagerly=True)
    agent.build(env)
    randomize(agent, 0)
    agent._prepare_for(env, 1)
    source = agent.make_source(env, 0)
    return source, iter(source.dataset())


def randomize(agent, seed):
    for index, weight in enumerate(agent.network.weights):
        weight.assign(tf.random.stateless_normal(weight.shape, (index, seed)) * 0.5)


def learn(agent, rollouts):
    """One gradient step; returns its minibatch, and what the loss reported before the step."""
    batch = agent.prepare(next(rollouts)).update(tf.constant(0))
    _, logs = agent.loss_and_logs(batch)
    agent.train_step(batch)
    return batch, logs


# ---- without lag ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "mode"), [("feed-forward", "SameStep"), pytest.param("recurrent", "NextStep", marks=pytest.mark.long)]
)
def test_without_lag_it_is_a2c(network, mode):
    results = []
    for agent_class in (krp.A2C, krp.IMPALA):
        env = scripted(mode)
        agent = agent_class(NETWORKS[network](env), rollout_steps=7, discount=GAMMA, entropy_coef=0.1)
        _, rollouts = begin(agent, env)
        before = agent.network.get_weights()
        logs = [learn(agent, rollouts)[1] for _ in range(3)]
        results.append(agent.network.get_weights())
    assert [float(of_step["importance_weight"]) for of_step in logs] == pytest.approx([1.0] * 3, abs=1e-5)
    assert max(np.abs(x - y).max() for x, y in zip(before, results[0], strict=True)) > 0.01
    for x, y in zip(*results, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


# ---- against the oracle ---------------------------------------------------------------------------------------


def transitions(agent, old, new, rows, mode):
    """The arguments of the oracle, float64 `[T, B]`, and logits `[T, B, 2]`: of the current network on an older rollout.

    The recurrent states before and after the rollout are those of the network that collected it; so are the values of final
    observations that are returned separately.
    """
    shape = rows.shape[:2]
    names = ("rewards", "discounts", "values", "next_values", "continues")
    data, logits, since = {name: np.zeros(shape) for name in names}, np.zeros((*shape, 2)), {}

    def outputs(index, episode, step, since):
        """After all steps of the episode, those from `since` on with the current network."""
        state = agent.initial_state(1)
        for k in range(step + 1):
            if k in (0, since):
                agent.network.set_weights(new if k >= since else old)
            x = np.array([(index, episode, k)], np.float32)
            result, state = agent._unrolled.step(x, tf.constant([k == 0]), state)
        return result["value"].numpy().item(), result["action"].numpy()[0]

    for t, b in reversed([*np.ndindex(*shape)]):
        since[tuple(rows[t, b, :2])] = rows[t, b, 2]
    for t, b in reversed([*np.ndindex(*shape)]):
        index, episode, step = key = tuple(rows[t, b])
        length, end = SCRIPTS[index][episode % 2]
        data["values"][t, b], logits[t, b] = outputs(*key, since[key[:2]])
        data["rewards"][t, b] = 10 * episode + step + 1
        data["discounts"][t, b] = 0.0 if (step + 1, end) == (length, "terminated") else GAMMA
        data["continues"][t, b] = step + 1 < length
        following = index, episode, step + 1
        if t + 1 < len(rows) and tuple(rows[t + 1, b]) == following:
            data["next_values"][t, b] = data["values"][t + 1, b]
        else:
            beside = mode == "SameStep" and step + 1 == length
            data["next_values"][t, b] = outputs(*following, step + 2 if beside else step + 1)[0]
    agent.network.set_weights(new)
    return data, logits


def log_probability(logits, action):
    logits = np.asarray(logits, float)
    chosen = np.take_along_axis(logits, action[..., None], -1)[..., 0]
    return chosen - np.log(np.exp(logits).sum(-1))


@pytest.mark.parametrize(
    ("network", "mode", "clips"),
    [
        pytest.param("feed-forward", "NextStep", CLIPS, marks=pytest.mark.long),
        ("feed-forward", "SameStep", CLIPS),
        ("recurrent", "NextStep", CLIPS),
        pytest.param("recurrent", "SameStep", CLIPS, marks=pytest.mark.long),
        ("feed-forward", "NextStep", None),
    ],
)
def test_advantages_are_those_of_the_oracle_for_a_rollout_of_an_older_network(network, mode, clips):
    env = scripted(mode)
    agent = krp.IMPALA(NETWORKS[network](env), rollout_steps=5, discount=GAMMA, vtrace=clips, normalize_rewards=False)
    source, rollouts = begin(agent, env)
    old, collected, ratios, ends = agent.network.get_weights(), [next(rollouts), next(rollouts)], [], set()
    randomize(agent, 9)
    new = agent.network.get_weights()
    for one in collected:  # the second rollout begins inside an episode
        agent.prepare(one)
        learned = source.follower.last_rollout()
        data, logits = transitions(agent, old, new, one.rollout.observation.numpy().astype(int), mode)
        action, valid = learned["action"], learned["valid"]
        log_ratios = log_probability(logits, action) - log_probability(learned["parameters"], action)
        log_ratios, numbers = (log_ratios, clips) if clips else (0.0 * log_ratios, krp.VTrace())
        targets, weighted = oracles.vtrace(
            log_ratios,
            **data,
            lambda_=numbers.lambda_,
            clip_rho=numbers.clip_rho,
            clip_c=numbers.clip_c,
            clip_pg_rho=np.inf,
        )
        assert valid.sum() < valid.size or mode == "SameStep"
        np.testing.assert_allclose(learned["target"][valid], targets[valid], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(
            learned["advantage"][valid], (weighted / np.exp(log_ratios))[valid], rtol=1e-3, atol=1e-3
        )
        ratios += [*np.exp(log_ratios)[valid]]
        ends |= {*data["discounts"][valid & (data["continues"] == 0)]}
    assert ends == {0.0, GAMMA}, "no truncation, or no termination"
    if clips:
        assert min(ratios) < clips.clip_c < clips.clip_rho < max(ratios)


# ---- the loss -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["IMPALA", "APPO", "uncorrected"])
def test_the_loss_of_the_policy_is_its_definition(kind):
    arguments = {
        "IMPALA": {"vtrace": CLIPS},
        "APPO": {"vtrace": CLIPS, "clip_ratio": keras.optimizers.schedules.PolynomialDecay(0.3, 10, 0.1)},
        "uncorrected": {"vtrace": None},
    }
    agent = krp.IMPALA(**arguments[kind])
    agent.compile()
    ratio, old = np.array([0.25, 0.75, 1.0, 1.1, 3.0, 3.0, 0.25]), np.linspace(-2, -0.1, 7)
    advantage, valid = np.array([1.0, -2.0, 3.0, -4.0, 5.0, -6.0, -7.0]), np.array([1.0] * 6 + [0.0])
    log_prob = tf.Variable(old + np.log(ratio), dtype=tf.float32)
    data = SimpleNamespace(log_prob=tf.constant(old, tf.float32), valid=tf.constant(valid, tf.float32))
    with tf.GradientTape() as tape:
        loss, logs = agent.policy_loss(None, log_prob, tf.constant(advantage, tf.float32), data)
    if kind == "APPO":
        clipped = np.clip(ratio, 0.7, 1.3)
        expected = -np.minimum(ratio * advantage, clipped * advantage)
        slope = np.where(ratio * advantage <= clipped * advantage, -ratio * advantage, 0.0)
    else:
        slope = -advantage * (np.minimum(ratio, 1.2) if kind == "IMPALA" else 1.0)
        expected = slope * (old + np.log(ratio))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(loss, log_prob), slope, rtol=1e-5)
    assert float(logs["importance_weight"]) == pytest.approx(ratio[:6].mean())


# ---- one update in NumPy --------------------------------------------------------------------------------------


def forward(weights, observation, is_first, memory):
    """Logits `[T, B, 2]` and values `[T, B]` of a network as `small` makes it, in float64."""
    kernel, bias, *cell, head, head_bias, critic, critic_bias = weights
    x, h, features = np.tanh(observation @ kernel + bias), np.zeros((observation.shape[1], kernel.shape[1])), []
    for row, first in zip(x, is_first, strict=True):
        if memory:
            h = np.tanh(row @ cell[0] + np.where(first[:, None], 0.0, h) @ cell[1] + cell[2])
        features.append(h if memory else row)
    x = np.stack(features)
    return x @ head + head_bias, (x @ critic + critic_bias)[..., 0]


def small(env, memory):
    inputs = keras.Input((3,))
    x = keras.layers.Dense(5, "tanh")(inputs)
    x = krp.layers.StatefulRNN(keras.layers.SimpleRNNCell(5))(x) if memory else x
    outputs = {"action": krp.networks.heads(env.action_space, x), "value": keras.layers.Dense(1)(x)}
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("memory", [False, True])
def test_one_update_is_that_of_its_definition_in_numpy(memory):
    env = scripted()
    agent = krp.IMPALA(
        small(env, memory), rollout_steps=8, discount=GAMMA, vtrace=CLIPS, entropy_coef=0.1, normalize_rewards=False
    )
    _, rollouts = begin(agent, env)
    agent.compile(keras.optimizers.SGD(1.0), run_eagerly=True)
    old = [np.float64(weight) for weight in agent.network.get_weights()]
    collected = next(rollouts)
    randomize(agent, 5)
    new = [np.float64(weight) for weight in agent.network.get_weights()]
    agent.train_step(agent.prepare(collected).update(tf.constant(0)))
    received = [x - y for x, y in zip(new, agent.network.get_weights(), strict=True)][-4:]

    rollout = tf.nest.map_structure(lambda x: x.numpy(), collected.rollout)
    observation = np.concatenate([rollout.observation, rollout.next_step.observation[None]]) / 1.0
    is_first = np.concatenate([rollout.is_first, rollout.next_step.is_first[None]])
    valid, action = rollout.valid, rollout.record["raw"]
    log_mu = log_probability(forward(old, observation, is_first, memory)[0][:-1], action)

    def terms(weights):
        logits, value = forward(weights, observation, is_first, memory)
        log_pis = logits[:-1] - np.log(np.exp(logits[:-1]).sum(-1, keepdims=True))
        return log_probability(logits[:-1], action), value, -(np.exp(log_pis) * log_pis).sum(-1)

    log_pi, value, _ = terms(new)
    if memory:  # what the last row led to is seen with the memory of the policy that acted
        h, x = np.zeros((2, 5)), np.tanh(observation @ old[0] + old[1])
        for row, first in zip(x[:-1], is_first[:-1], strict=True):
            h = np.tanh(row @ old[2] + np.where(first[:, None], 0.0, h) @ old[3] + old[4])
        h = np.where(is_first[-1][:, None], 0.0, h)
        h = np.tanh(np.tanh(observation[-1] @ new[0] + new[1]) @ new[2] + h @ new[3] + new[4])
        value[-1] = (h @ new[-2] + new[-1])[:, 0]
    numbers = {"lambda_": CLIPS.lambda_, "clip_rho": CLIPS.clip_rho, "clip_c": CLIPS.clip_c, "clip_pg_rho": np.inf}
    continues, discounts = 1.0 - rollout.ended, GAMMA * rollout.discount
    log_ratio = np.where(valid, log_pi - log_mu, 0.0)
    target, weighted = oracles.vtrace(log_ratio, rollout.reward, discounts, value[:-1], value[1:], continues, **numbers)
    advantage, weight = weighted / np.exp(log_ratio), np.minimum(np.exp(log_ratio), CLIPS.clip_pg_rho)
    assert (np.exp(log_ratio) > CLIPS.clip_pg_rho).any()

    def loss(last):
        log_pi, value, entropy = terms([*new[:-4], *last])
        losses = -weight * log_pi * advantage + 0.5 * (value[:-1] - target) ** 2 - 0.1 * entropy
        return losses[valid].mean()

    for number, gradient in enumerate(received):
        expected = np.zeros_like(gradient)
        for place in np.ndindex(*gradient.shape):
            moved = [[x.copy() for x in new[-4:]] for _ in range(2)]
            moved[0][number][place] += 1e-5
            moved[1][number][place] -= 1e-5
            expected[place] = (loss(moved[0]) - loss(moved[1])) / 2e-5
        np.testing.assert_allclose(gradient, expected, rtol=2e-3, atol=2e-4)
        assert np.abs(expected).max() > 1e-2


# ---- lag ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lag", [pytest.param(0, marks=pytest.mark.long), 3])  # none: test_without_lag_it_is_a2c
def test_a_rollout_is_as_many_versions_old(lag):
    env = scripted(scripts=[[(99, "truncated")]])
    agent = krp.IMPALA(NETWORKS["feed-forward"](env), rollout_steps=2, lag=lag)
    source, rollouts = begin(agent, env)
    versions, weights = [], []
    for update in range(6):
        versions.append(agent.network.get_weights())
        batch, logs = learn(agent, rollouts)
        order = np.argsort(batch.observation[0, :, 2].numpy())
        rows = batch.observation[0].numpy()[order]
        assert rows[:, 2].tolist() == [2 * update, 2 * update + 1]
        weights.append(float(logs["importance_weight"]))
        learned = agent.network.get_weights()
        agent.network.set_weights(versions[max(0, update - lag)])
        acted = agent.network(rows)["action"]
        np.testing.assert_allclose(batch.parameters[0].numpy()[order], acted, rtol=1e-5, atol=1e-6)
        agent.network.set_weights(learned)
    assert source.rollouts == 6
    off = np.abs(np.array(weights) - 1.0)
    assert off[0] < 1e-5
    assert off[1:].min() > 1e-4 if lag else off.max() < 1e-5


def lagged():
    agent = krp.IMPALA(NETWORKS["feed-forward"](NATIVE), rollout_steps=4, lag=3, normalize_observations=True)
    agent.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    return agent


def fit(agent, epochs=2, seed=3, **arguments):
    agent.fit(NATIVE, epochs=epochs, steps_per_epoch=4, num_envs=4, seed=seed, verbose=0, **arguments)
    return [variable.numpy() for variable in (*agent.weights, *agent.optimizer.variables)]


@pytest.mark.long  # each of them in test_contract.py
def test_a_second_training_and_a_resumed_one_are_those_of_a_new_agent(tmp_path):
    agent = lagged()
    agent.build(NATIVE)
    agent.save_weights(tmp_path / "new.weights.h5")
    whole = fit(agent)
    fit(agent, epochs=1, seed=5)  # leaves its own rollouts behind
    agent.load_weights(tmp_path / "new.weights.h5")
    for x, y in zip(whole, fit(agent), strict=True):
        np.testing.assert_array_equal(x, y)
    agent.load_weights(tmp_path / "new.weights.h5")
    fit(agent, epochs=1)
    agent.save(tmp_path / "half.keras")
    loaded = keras.saving.load_model(tmp_path / "half.keras")
    assert loaded.lag == 3
    for x, y in zip(whole, fit(loaded, initial_epoch=1, seed=99), strict=True):
        np.testing.assert_array_equal(x, y)


class Failing(ScriptedEnv):
    """Raises an error once, at its 13th step."""

    def step(self, action):
        if len(self.actions) == 12:
            self.actions.append(None)
            raise RuntimeError("out of order")
        return super().step(action)


def test_an_environment_that_fails_leaves_what_is_held_back_whole():
    env = krp.envs.make(gymnasium.vector.SyncVectorEnv([lambda: Failing(0, [(99, "truncated")])]))
    agent = krp.IMPALA(NETWORKS["feed-forward"](env), rollout_steps=3, lag=2)
    source, rollouts = begin(agent, env)
    for _ in range(2):
        learn(agent, rollouts)
    before = [variable.numpy() for variable in source.variables]
    with pytest.raises(Exception, match="out of order"):
        next(rollouts)
    for x, y in zip(before, source.variables, strict=True):
        np.testing.assert_array_equal(x, y.numpy())
    source.break_off()
    for first in (6, 9):
        assert learn(agent, source.iterator())[0].observation[0, :, 2].numpy().min() == first


def test_observations_that_are_no_use_are_named():
    """A sample from NaN parameters may not be a valid action: its probability must not be computed."""
    agent = krp.IMPALA(NETWORKS["feed-forward"](NATIVE), rollout_steps=4)
    agent.compile(run_eagerly=True)
    with pytest.raises(FloatingPointError, match="an observation of the environment is not finite"):
        agent.fit(SpoiledCartPole(4), epochs=1, steps_per_epoch=3, verbose=0)


# ---- wrong values ---------------------------------------------------------------------------------------------


def test_the_targets_settle_only_where_clip_rho_is_not_below_clip_c():
    with pytest.raises(ValueError, match=r"`clip_rho` must be at least `clip_c`.*clip_rho=0.5, clip_c=1.0"):
        krp.VTrace(clip_rho=0.5)
    assert krp.VTrace(clip_rho=float("inf")).clip_rho == float("inf")
