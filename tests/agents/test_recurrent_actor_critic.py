"""`RecurrentSAC` and `RecurrentTD3`: their memories against loops in NumPy, their losses against `SAC` and `TD3`."""

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_rl_prob as krp
from keras_rl_prob.distributions import Joint
from keras_rl_prob.layers import StatefulRNN
from keras_rl_prob.sources.replay import Transitions
from keras_rl_prob.sources.sequences import StoredSequences

OBSERVATIONS = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
ACTIONS = gymnasium.spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 6.0], np.float32))
SPACES = OBSERVATIONS, ACTIONS
BURN_IN, LENGTH, STEPS, ROWS = 2, 3, 2, 5
REPLAY = krp.SequenceReplaySettings(
    burn_in=BURN_IN, sequence_length=LENGTH, n_step=STEPS, batch_size=ROWS, period=5, prioritized=True, eta=0.7
)
PAIRS = {"SAC": (krp.RecurrentSAC, krp.SAC), "TD3": (krp.RecurrentTD3, krp.TD3)}
each_agent = pytest.mark.parametrize("name", PAIRS)


def memory(x, recurrent):
    """A layer with or without memory."""
    return StatefulRNN(layers.SimpleRNNCell(4))(x) if recurrent else layers.Dense(4, "tanh")(x)


def networks(name, recurrent):
    """A policy and three critics."""
    x = keras.Input((3,))
    h = memory(layers.Dense(5, "relu")(x), recurrent)
    head = krp.layers.DenseNormal(
        (2,), [[-2, 2], [0, 6]], hard_bounds=name == "SAC", state_dependent_scale=name == "SAC"
    )
    policy = keras.Model(x, {"action": head(h)})
    observation, action = keras.Input((3,)), keras.Input((2,))
    h = memory(layers.Dense(6, "relu")(observation), recurrent)
    values = layers.Dense(3)(layers.Concatenate()([h, action]))
    return policy, keras.Model({"observation": observation, "action": action}, values)


def made(name, recurrent, **arguments):
    """An agent whose target networks differ from its networks."""
    keras.utils.set_random_seed(3)
    if name == "TD3":
        arguments |= {"target_noise": 0.0}
    kind = PAIRS[name][0 if recurrent else 1]
    agent = kind(*networks(name, recurrent), discount=0.9, **arguments)
    agent.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
    agent.build(SPACES)
    for index, model in enumerate(models(agent)):
        rng = np.random.default_rng(index)
        model.set_weights([x + rng.normal(0.0, 0.3, x.shape) for x in model.get_weights()])
    return agent


def models(agent):
    return agent.critic, agent.target_critic, agent.network, getattr(agent, "target_network", agent.network)


def sequences():
    """Rows that go on, a termination, a truncation with its final observation, and an episode that starts in the burn-in."""
    rng, count = np.random.default_rng(0), BURN_IN + LENGTH + STEPS
    flags = {key: np.zeros((count, ROWS), bool) for key in ("terminated", "ended", "is_first")}
    valid = np.ones((count, ROWS), bool)
    flags["terminated"][3, 1] = flags["ended"][3, 1] = True
    valid[4, 1], flags["is_first"][5, 1] = False, True
    flags["ended"][4, 2], valid[5, 2], flags["is_first"][6, 2] = True, False, True
    flags["is_first"][1, 3] = True
    flags["is_first"][4, 4] = True  # a resumed run starts anew here
    return StoredSequences(
        observation=tf.constant(rng.normal(size=(count, ROWS, 3)), tf.float32),
        action=tf.constant(rng.normal(size=(count, ROWS, 2)), tf.float32),
        reward=tf.constant(rng.normal(size=(count, ROWS)), tf.float32),
        **{key: tf.constant(x) for key, x in flags.items()},
        valid=tf.constant(valid),
        state=(tf.constant(rng.normal(size=(ROWS, 4)), tf.float32),),
        weight=tf.constant([1.0, 0.5, 2.0, 1.0, 0.7]),
        index=tf.constant(0),
        seed=tf.constant([4, 5]),
        report={},
    )


def remembered(weights, data, state):
    """What a memory makes of the observations, `[T, N, 4]`: `h <- tanh(W relu(observation) + U h + b)`."""
    dense, bias, kernel, recurrent, last = (np.asarray(x, np.float64) for x in weights[:5])
    h, rows = np.asarray(state, np.float64), []
    for observation, is_first in zip(data.observation.numpy(), data.is_first.numpy(), strict=True):
        h = np.where(is_first[:, None], 0.0, h)
        h = np.tanh(np.maximum(observation @ dense + bias, 0.0) @ kernel + h @ recurrent + last)
        rows.append(h)
    return np.stack(rows)


def test_the_policy_remembers_from_the_stored_state():
    agent, data = made("SAC", True, replay=REPLAY), sequences()
    h = remembered(agent.network.get_weights(), data, data.state[0])[BURN_IN:]
    kernel, bias = agent.network.get_weights()[5:]
    expected = (h @ kernel + bias.reshape(-1)).reshape(*h.shape[:2], -1, 2)[..., 0]
    distribution = agent.policy_at(agent.network, data)
    np.testing.assert_allclose(distribution.mode(), expected, rtol=1e-4, atol=1e-5)


def test_critics_remember_from_zeros_and_judge_actions_that_were_not_taken():
    agent, data = made("TD3", True, replay=REPLAY), sequences()
    action = tf.constant(np.random.default_rng(1).normal(size=(LENGTH + STEPS, ROWS, 2)), tf.float32)
    weights = agent.critic.get_weights()
    h = remembered(weights, data, np.zeros((ROWS, 4)))[BURN_IN:]
    expected = np.concatenate([h, action.numpy()], -1) @ weights[5] + weights[6]
    np.testing.assert_allclose(agent.values(agent.critic, data, action), expected, rtol=1e-4, atol=1e-5)


def test_the_burn_in_has_no_gradient():
    agent, data = made("SAC", True, replay=REPLAY), sequences()
    with tf.GradientTape() as tape:
        tape.watch(data.observation)
        loss, _ = agent.critic_loss(data)
    gradient = tape.gradient(loss, data.observation).numpy()
    assert np.all(gradient[:BURN_IN] == 0.0)
    assert np.any(gradient[BURN_IN] != 0.0)


def transitions(data):
    """The rows of sequences after the burn-in as transitions over up to two steps, and which of them count in each loss."""
    rows, following, rewards, discounts, counts = [], [], [], [], []
    for k in range(BURN_IN, BURN_IN + LENGTH):
        for i in range(ROWS):
            reward, factor, j = 0.0, 1.0, k
            while True:
                reward += factor * float(data.reward[j, i])
                factor *= 0.0 if data.terminated[j, i] else 0.9
                j += 1
                if j == k + STEPS or data.ended[j - 1, i]:
                    break
            rows.append((k, i))
            following.append((j, i))
            rewards.append(reward)
            discounts.append(factor)
            starts = [bool(data.is_first[m, i]) for m in range(k + 1, j + 1)]
            known = not any(starts[:-1]) and not (starts[-1] and factor > 0.0)
            counts.append(bool(data.valid[k, i]) and known)
    rows, following = np.array(rows).T, np.array(following).T
    pick = lambda x, at: tf.gather_nd(x, np.stack(at, -1))  # noqa: E731
    weight = np.where(counts, data.weight.numpy()[rows[1]], 0.0)
    return Transitions(
        pick(data.observation, rows), pick(data.action, rows), tf.constant(rewards, tf.float32),
        pick(data.observation, following), tf.constant(discounts, tf.float32), tf.constant(weight, tf.float32),
        data.index, data.seed, data.report,
    )  # fmt: skip


@pytest.fixture
def without_noise(monkeypatch):
    """Samples are modes: sequences and transitions have other noise at the same rows."""
    monkeypatch.setattr(Joint, "sample", lambda self, seed: self.mode())


def forget(agent, flat):
    """Makes a recurrent agent forget at each step, and gives the other one its weights."""
    for model, other in zip(models(agent), models(flat), strict=True):
        weights = model.get_weights()
        weights[3] = np.zeros_like(weights[3])
        model.set_weights(weights)
        other.set_weights(weights[:3] + weights[4:])


@each_agent
def test_an_agent_whose_memory_forgets_has_the_losses_of_one_without(name, without_noise):
    agent, flat = made(name, True, replay=REPLAY), made(name, False)
    forget(agent, flat)
    data = sequences()
    expected, logs = flat.critic_loss(transitions(data))
    loss, own = agent.critic_loss(data)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    assert {key: float(x) for key, x in own.items()} == pytest.approx(
        {key: float(x) for key, x in logs.items()}, rel=1e-5
    )

    observations = tf.reshape(data.observation[BURN_IN:], (-1, 3))
    everything = transitions(data)._replace(
        observation=observations, weight=tf.cast(tf.reshape(data.valid[BURN_IN:], (-1,)), tf.float32)
    )
    losses = ["actor_loss", "temperature_loss"] if name == "SAC" else ["actor_loss"]
    for part in losses:
        expected, _ = getattr(flat, part)(everything)
        assert float(getattr(agent, part)(data)[0]) == pytest.approx(float(expected), rel=1e-5)


def test_priorities_are_those_of_the_errors_that_count(without_noise):
    agent, flat = made("TD3", True, replay=REPLAY), made("TD3", False)
    forget(agent, flat)
    data, kept = sequences(), {}
    agent.keep_errors = lambda index, errors: kept.update(sequences=errors.numpy())
    flat.keep_errors = lambda index, errors: kept.update(rows=errors.numpy())
    agent.critic_loss(data)
    flat.critic_loss(transitions(data))
    counted = (transitions(data).weight.numpy() > 0.0).reshape(LENGTH, ROWS)
    assert 0 < counted.sum() < counted.size
    errors = np.where(counted, kept["rows"].reshape(LENGTH, ROWS), 0.0)
    expected = 0.7 * errors.max(0) + 0.3 * errors.sum(0) / counted.sum(0)
    np.testing.assert_allclose(kept["sequences"], expected, rtol=1e-5)


@each_agent
def test_what_does_not_fit_is_said_in_one_sentence(name):
    recurrent, flat = PAIRS[name]
    (policy, critic), (remembering, judge) = networks(name, False), networks(name, True)
    for agent, words in (
        (flat(remembering), rf"`network` must have no memory for {name}.*krp.Recurrent{name}"),
        (flat(policy, judge), rf"`critic` must have no memory for {name}.*krp.Recurrent{name}"),
        (recurrent(policy, judge), rf"`network` must have memory for Recurrent{name}.*`krp.{name}`"),
        (recurrent(remembering, critic), rf"`critic` must have memory for Recurrent{name}.*`krp.{name}`"),
    ):
        with pytest.raises(ValueError, match=words):
            agent.build(SPACES)


def test_a_memory_of_actions_is_refused():
    observation, action = keras.Input((3,)), keras.Input((2,))
    h = StatefulRNN(layers.SimpleRNNCell(4))(layers.Concatenate()([observation, action]))
    critic = keras.Model({"observation": observation, "action": action}, layers.Dense(2)(h))
    with pytest.raises(ValueError, match=r"`critic` must join the action after its memory.*previous_action_and_reward"):
        krp.RecurrentSAC(networks("SAC", True)[0], critic).build(SPACES)
