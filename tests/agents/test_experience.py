"""Experience from other sources: weights by name, mean weights, recorded episodes, and their sequences in replay buffers."""

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv

import keras_rl_prob as krp
from keras_rl_prob.replay.episodes import episode_rows
from keras_rl_prob.testing import ScriptedEnv
from keras_rl_prob.trajectory import Episode

SCRIPT = [(3, "terminated"), (2, "truncated"), (1, "terminated")]


def model(*layers, inputs=3):
    """A model of Dense layers given as pairs of name and width; all weights random."""
    x = first = keras.Input((inputs,))
    for name, width in layers:
        x = keras.layers.Dense(width, name=name)(x)
    model = keras.Model(first, x)
    model.set_weights([np.random.normal(size=w.shape) for w in model.get_weights()])
    return model


def copied(model):
    return [w.copy() for w in model.get_weights()]


def same(left, right):
    return all(np.array_equal(x, y) for x, y in zip(left, right, strict=True))


def test_recorded_actions_must_have_been_legal():
    """The last row is a final observation, whose action is ignored."""
    action_space = spaces.Tuple([spaces.Box(-1, 1, (1,)), spaces.Discrete(3, start=5)])
    mask = spaces.Dict({"1": spaces.MultiBinary(3)})
    observation_space = spaces.Dict({"action_mask": mask, "x": spaces.Box(-1, 1, (1,))})

    def episode(actions):
        shown = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0]], np.int8)
        return Episode(
            {"action_mask": {"1": shown}, "x": np.zeros((3, 1), np.float32)},
            (np.zeros((2, 1), np.float32), np.array(actions)),
            np.zeros(2),
            np.array([False, True]),
            np.zeros(2, bool),
        )

    legal, illegal = episode([6, 7]), episode([6, 5])
    assert len(episode_rows([legal, legal], observation_space, action_space)["reward"]) == 6
    message = r"must be allowed by the action masks.*Received: episode 1 with, at step 1, 0 .* the mask \[0, 1, 1\]"
    with pytest.raises(ValueError, match=message):
        episode_rows([legal, illegal], observation_space, action_space)


# ---- weights ------------------------------------------------------------------------------------------------------


def test_layers_of_the_same_name_get_the_same_weights_and_others_keep_theirs():
    source = model(("one", 4), ("two", 5), ("only_here", 6))
    target = model(("one", 4), ("elsewhere", 4), ("two", 5))
    layers = {name: target.get_layer(name) for name in ("one", "elsewhere")}
    before, kept = copied(source), copied(layers["elsewhere"])
    with pytest.raises(ValueError, match="the same shapes"):  # `two` has 4 inputs in the source, 9 in the target
        krp.copy_weights(source, model(("one", 4), ("elsewhere", 9), ("two", 5)))
    assert krp.copy_weights(source, target) == ["one", "two"]
    for name in ("one", "two"):
        assert same(copied(target.get_layer(name)), copied(source.get_layer(name)))
    assert same(copied(layers["elsewhere"]), kept)
    assert same(copied(source), before)
    source.get_layer("one").set_weights([np.zeros((3, 4)), np.zeros(4)])
    assert not same(copied(target.get_layer("one")), copied(source.get_layer("one")))  # copied, not shared


def test_nothing_is_copied_where_one_layer_does_not_fit():
    source, target = model(("one", 4), ("two", 5)), model(("one", 4), ("two", 6))
    before = copied(target)
    with pytest.raises(ValueError, match=r"Received: 'two' with \[\(4, 5\), \(5,\)\] and \[\(4, 6\), \(6,\)\]"):
        krp.copy_weights(source, target)
    assert same(copied(target), before)


def test_models_without_a_common_name_are_an_error():
    source, target = model(("one", 4)), model(("two", 4))
    before = copied(target)
    with pytest.raises(
        ValueError, match=r"must share the names of layers with weights. Received: \['one'\] and \['two'\]"
    ):
        krp.copy_weights(source, target)
    assert same(copied(target), before)


def test_layers_without_weights_are_passed_over():
    source = model(("one", 4), ("two", 5))
    inputs = keras.Input((3,))
    target = keras.Model(inputs, keras.layers.Activation("tanh", name="two")(keras.layers.Dense(4, name="one")(inputs)))
    assert krp.copy_weights(source, target) == ["one"]


def test_a_supervised_model_is_copied_into_an_agent():
    pair = (spaces.Box(-1.0, 1.0, (3,)), spaces.Discrete(2))
    agent = krp.DQN(krp.networks.q_network(pair, units=(4,)))
    agent.build(pair)
    names = [layer.name for layer in agent.network.layers if layer.weights]
    classifier = model((names[0], 4), ("classes", 7))
    assert krp.copy_weights(classifier, agent.network) == names[:1]
    assert same(copied(agent.network.get_layer(names[0])), copied(classifier.get_layer(names[0])))


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        (np.ones((3, 1)), r"one number for each step. Received: an array of the shape \(3, 1\) in episode 1"),
        ([1.0, np.nan, 1.0], r"must be finite float32 numbers. Received: nan at step 1 of episode 1"),
        ([1.0, 1.0, 1e39], r"must be finite float32 numbers. Received: 1e\+39 at step 2 of episode 1"),
    ],
)
def test_rewards_that_no_agent_can_learn_from(rewards, message):
    good = krp.envs.record_episodes("CartPole-v1", seed=0)[0]
    ended = np.arange(3) == 2
    bad = good._replace(
        observations=good.observations[:4],
        actions=good.actions[:3],
        rewards=rewards,
        terminations=ended,
        truncations=ended,
    )
    agent = krp.DQN()
    agent.build("CartPole-v1")
    agent.add_experience([good, bad])
    agent.compile(run_eagerly=True)
    with pytest.raises(ValueError, match=message):
        agent.fit("CartPole-v1", num_envs=2, verbose=0)


def test_the_mean_of_weights():
    models = [model(("one", 4), ("two", 5)) for _ in range(3)]
    expected = [sum(w.astype(float) for w in each) / 3 for each in zip(*map(copied, models), strict=True)]
    averaged = krp.average_weights(models)
    for got, wanted in zip(averaged, expected, strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    models[0].set_weights(averaged)


class Counting(keras.layers.Layer):
    """Integer, boolean and half precision weights."""

    def build(self, input_shape):
        self.count = self.add_weight(shape=(), dtype="int64", initializer="zeros", trainable=False, name="count")
        self.half = self.add_weight(shape=(), dtype="float16", initializer="zeros", name="half")

    def call(self, inputs):
        return inputs


def test_what_is_no_real_number_is_the_first_models():
    models = []
    for count, half in ((3, 1.0), (8, 2.0)):
        inputs = keras.Input((2,))
        models.append(keras.Model(inputs, Counting()(inputs)))
        models[-1].layers[1].count.assign(count)
        models[-1].layers[1].half.assign(half)
    by_dtype = {w.dtype.name: w for w in krp.average_weights(models)}
    assert by_dtype["int64"] == 3
    assert by_dtype["float16"] == 1.5


def test_models_that_cannot_be_averaged():
    with pytest.raises(
        ValueError, match=r"`models` must have weights of the same shapes. Received: \[\[\(3, 4\), \(4,\)\], \[\(3, 5\)"
    ):
        krp.average_weights([model(("one", 4)), model(("one", 5))])
    with pytest.raises(ValueError, match=r"`models` must have weights of the same shapes. Received: \[\]"):
        krp.average_weights([])


# ---- recording ----------------------------------------------------------------------------------------------------


def test_a_bot_is_recorded_with_what_it_saw_and_did():
    env = ScriptedEnv(7, SCRIPT)
    asked = []

    def bot(observation):
        asked.append(observation)
        return int(observation[2]) % 2

    episodes = krp.envs.record_episodes(env, bot, episodes=3)
    for number, (episode, (length, end)) in enumerate(zip(episodes, SCRIPT, strict=True)):
        np.testing.assert_array_equal(episode.observations, [[7, number, step] for step in range(length + 1)])
        np.testing.assert_array_equal(episode.actions, [step % 2 for step in range(length)])
        np.testing.assert_array_equal(episode.rewards, [10 * number + step + 1 for step in range(length)])
        last = np.arange(length) == length - 1
        np.testing.assert_array_equal(episode.terminations, last & (end == "terminated"))
        np.testing.assert_array_equal(episode.truncations, last & (end == "truncated"))
        assert episode.rewards.dtype == np.float32
    assert len(asked) == 6  # no action is needed for final observations


def test_random_play_is_the_same_for_the_same_seed():
    env = gymnasium.make("CartPole-v1")
    one, same_seed, other = (krp.envs.record_episodes(env, episodes=3, seed=seed) for seed in (5, 5, 6))
    assert len(one) == 3
    for a, b in zip(one, same_seed, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)
    assert not np.array_equal(one[0].observations[0], one[1].observations[0])
    assert not np.array_equal(one[0].observations[0], other[0].observations[0])
    assert set(np.concatenate([episode.actions for episode in one])) == {0, 1}
    env.close()


class Forgetful:
    """A policy that counts resets, and its calls since the last one."""

    def __init__(self):
        self.log = []

    def reset(self):
        self.log.append(0)

    def __call__(self, observation):
        self.log[-1] += 1
        return 0


def test_a_policy_is_reset_where_an_episode_starts():
    policy = Forgetful()
    krp.envs.record_episodes(ScriptedEnv(7, SCRIPT), policy, episodes=3)
    assert policy.log == [3, 2, 1]


def test_an_agents_policy_is_recorded():
    env = gymnasium.make("CartPole-v1")
    agent = krp.DQN(krp.networks.q_network(env, units=(4,)))
    agent.compile(run_eagerly=True)
    agent.build(env)
    for episode in krp.envs.record_episodes(env, agent.policy(), episodes=2, seed=0):
        values = agent.network(episode.observations[:-1])["action"].numpy()
        np.testing.assert_array_equal(episode.actions, values.argmax(-1))
    env.close()


class Nested(gymnasium.Env):
    """Observations are a Dict, actions a Tuple; episodes of three steps."""

    observation_space = spaces.Dict({"b": spaces.Box(-9.0, 9.0, (2,)), "a": spaces.Discrete(9, start=1)})
    action_space = spaces.Tuple((spaces.Discrete(3, start=4), spaces.Box(-1.0, 1.0, (1,))))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self._observation(), {}

    def step(self, action):
        self.count += 1
        return self._observation(), float(action[0]), False, self.count == 3, {}

    def _observation(self):
        return {"b": np.full(2, self.count, np.float32), "a": np.int64(1 + self.count)}


def test_nested_spaces_are_recorded_and_read_as_rows():
    env = Nested()
    (episode,) = krp.envs.record_episodes(
        env, lambda seen: (4 + int(seen["a"]) % 3, np.array([0.1 * seen["b"][0]], np.float32))
    )
    np.testing.assert_array_equal(episode.observations["a"], [1, 2, 3, 4])
    np.testing.assert_array_equal(episode.observations["b"], [[0, 0], [1, 1], [2, 2], [3, 3]])
    np.testing.assert_array_equal(episode.actions[0], [5, 6, 4])
    np.testing.assert_allclose(episode.actions[1], [[0.0], [0.1], [0.2]])
    rows = episode_rows([episode, episode._asdict()], env.observation_space, env.action_space)
    np.testing.assert_array_equal(rows["observation"]["a"], [0, 1, 2, 3] * 2)  # classes are counted from 0 inside
    np.testing.assert_array_equal(rows["action"][0], [1, 2, 0, 0] * 2)
    np.testing.assert_array_equal(rows["reward"], [5, 6, 4, 0] * 2)
    np.testing.assert_array_equal(rows["is_first"], [True, False, False, False] * 2)
    np.testing.assert_array_equal(rows["valid"], [True, True, True, False] * 2)
    np.testing.assert_array_equal(rows["ended"], [False, False, True, False] * 2)
    assert not rows["terminated"].any()


# ---- sequences ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [240, 48])
def test_recorded_sequences_have_no_state_and_played_ones_have_theirs(capacity):
    """`capacity` 48 holds 24 rows of two environments, fewer than were recorded."""
    env = SyncVectorEnv([lambda i=i: ScriptedEnv(i, SCRIPT) for i in range(2)])
    network = krp.networks.q_network(env, units=(4, 3), cell="gru")
    agent = krp.RecurrentDQN(
        network, sequence_length=3, burn_in=1, period=2, n_step=1, rollout_steps=4, capacity=capacity, batch_size=8,
        learning_starts=1,
    )  # fmt: skip
    agent.compile(run_eagerly=True)
    made = krp.envs.make(env)
    agent._prepare_for(made, agent.updates)
    agent.add_experience(krp.envs.record_episodes(ScriptedEnv(7, SCRIPT), episodes=20))
    source = agent.make_source(made, 0)
    loaded = int(source.ring.size)
    assert loaded == min(capacity // 2, 61 // 2)  # 20 episodes are 41 steps and 20 final observations
    assert (source.ring.read("observation", tf.range(loaded), 0 * tf.range(loaded)).numpy()[:, 0] == 7).all()

    def states(ages):
        places = source.ring.place(tf.constant(ages))
        nest = source._states.read("state", places // 2, 0 * places)
        return np.concatenate([x.numpy() for x in tf.nest.flatten(nest)], -1)

    assert (states(list(range(0, loaded, 2))) == 0).all()
    rollouts = []
    for _ in range(3):
        rollout = source.play()
        source.store(rollout)
        rollouts.append(np.concatenate([x.numpy()[:, 0] for x in tf.nest.flatten(rollout.state)], -1))  # [2, units]
    size = int(source.ring.size)
    played = np.concatenate(rollouts)  # states before every second row
    assert played.shape == (6, 3)
    assert (np.abs(played).max(-1) > 0).sum() >= 3
    np.testing.assert_array_equal(states(list(range(size - 12, size, 2))), played)
    np.testing.assert_array_equal(states(list(range(0, size - 12, 2))), 0.0)
