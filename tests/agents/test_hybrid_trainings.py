"""`SAC` and `RecurrentSAC` with masked discrete and mixed actions: files, exact resume, exports, recordings, playing."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from environments import RULED_ACTIONS, Rules
from gymnasium import spaces

import keras_rl_prob as krp
from keras_rl_prob import masks

X = spaces.Box(-1.0, 1.0, (2,))
REPLAY = krp.ReplaySettings(capacity=120, batch_size=8, learning_starts=12, n_step=2, prioritized=True)
SEQUENCES = krp.SequenceReplaySettings(
    capacity=120, batch_size=4, learning_starts=12, sequence_length=2, burn_in=1, period=2, n_step=1
)
AGENTS = {
    "discrete": (krp.SAC, {"replay": REPLAY}, None, spaces.Discrete(3)),
    "hybrid": (krp.SAC, {"replay": REPLAY}, None, RULED_ACTIONS["tuple"]),
    "recurrent": (krp.RecurrentSAC, {"replay": SEQUENCES}, "simple", spaces.Discrete(3)),
}


class Alternating(krp.envs.native.NativeEnv):
    """Each part of an action must not be 0 in even steps and not 1 in odd ones, or the reward is -100. Episodes of 4 steps."""

    def __init__(self, num_envs, action_space):
        super().__init__(num_envs)
        self.action_space = action_space
        self.observation_space = spaces.Dict({"action_mask": masks.mask_space(action_space), "observation": X})

    def initial_state(self, seed):
        return {"time": tf.zeros((self.num_envs,), tf.int32)}

    def observe(self, state):
        def mask(leaf):
            time = tf.reshape(state["time"], (-1, *[1] * len(leaf.shape)))
            allowed = tf.cast(tf.range(leaf.shape[-1]) != time % 2, tf.int32)
            return tf.broadcast_to(allowed, (self.num_envs, *leaf.shape))

        x = tf.stack([tf.sin(tf.cast(state["time"], tf.float32)), tf.zeros((self.num_envs,))], -1)
        return {"action_mask": krp.spaces.map_structure(mask, self.observation_space["action_mask"]), "observation": x}

    def transition(self, state, action, seed):
        forbidden, reward = tf.zeros((self.num_envs,), tf.bool), tf.zeros((self.num_envs,))
        for leaf, part in krp.spaces.pairs(self.action_space, action):
            part = tf.reshape(part, (self.num_envs, -1))
            if isinstance(leaf, spaces.Box):
                reward -= tf.reduce_sum(part**2, -1)
            else:
                forbidden |= tf.reduce_any(tf.cast(part, tf.int32) == state["time"][:, None] % 2, -1)
        time = state["time"] + 1
        return {"time": time}, tf.where(forbidden, -100.0, reward), time == 4


def small(name):
    keras.utils.set_random_seed(0)
    kind, arguments, cell, action_space = AGENTS[name]
    pair = Alternating(1, action_space).observation_space, action_space
    agent = kind(
        krp.networks.stochastic_actor(pair, (6,), cell),
        krp.networks.critic(pair, (6, 6), cell=cell),
        rollout_steps=4,
        updates=1,
        **arguments,
    )
    agent.compile(run_eagerly=True)
    agent.build(pair)
    return agent


def fit(agent, name, **arguments):
    """History of epochs of two rollouts of four environments."""
    defaults = {"epochs": 2, "steps_per_epoch": 2, "seed": 1, "verbose": 0}
    return agent.fit(Alternating(4, AGENTS[name][3]), **{**defaults, **arguments}).history


def numbers(agent):
    return [x.numpy() for x in agent.weights + agent.optimizer.variables]


def assert_same(one, other):
    tf.nest.map_structure(np.testing.assert_array_equal, one, other)


def observations(name, rows=20):
    """Observations with random masks, each of which allows one entry at least."""
    rng = np.random.default_rng(0)

    def mask(leaf):
        shown = rng.integers(0, 2, (rows, *leaf.shape))
        shown[..., 0] |= shown[..., 1] == 0  # the last one may be padding
        return shown.astype(np.int8)

    masked = krp.spaces.map_structure(mask, masks.mask_space(AGENTS[name][3]))
    return {"action_mask": masked, "observation": rng.normal(size=(rows, 2)).astype(np.float32)}


def assert_allowed(name, observation, actions):
    """Every discrete part of actions is one that its mask allows."""
    action_space, parts = AGENTS[name][3], 0
    shown = masks.align(action_space, observation["action_mask"], leading=1)
    for mask, (_, part) in zip(shown, krp.spaces.pairs(action_space, actions), strict=True):
        if mask is not None:
            parts += 1
            assert np.take_along_axis(mask, np.asarray(part, np.int64)[..., None], -1).all()
    assert parts == len([leaf for leaf in krp.spaces.leaves(action_space) if not isinstance(leaf, spaces.Box)])


@pytest.fixture(scope="module", params=AGENTS)
def trained(request):
    """Name, agent, history and numbers after two epochs."""
    agent = small(request.param)
    history = fit(agent, request.param)
    return request.param, agent, history, numbers(agent)


def test_training_and_evaluation_do_nothing_that_is_forbidden(trained):
    name, agent, history, result = trained
    assert all(np.isfinite(values).all() for values in history.values())
    assert min(history["return"]) > -100.0
    env = Alternating(4, AGENTS[name][3])
    results = [agent.evaluate(env, episodes=4, verbose=0) for _ in range(2)]
    assert results[0] == results[1]
    assert min(results[0][0], agent.evaluate(env, episodes=4, deterministic=False, verbose=0)[0]) > -100.0
    assert_same(numbers(agent), result)


def test_files_have_all_that_the_rest_of_the_training_depends_on(trained, tmp_path):
    """Tuples in the outputs of a network are lists when it comes from a file."""
    name, agent, history, result = trained
    half = small(name)
    fit(half, name, epochs=1)
    half.save(tmp_path / "half.keras")
    loaded = keras.saving.load_model(tmp_path / "half.keras")
    loaded.run_eagerly = True
    assert_same(numbers(half), numbers(loaded))
    rest = fit(loaded, name, initial_epoch=1)
    assert_same(result, numbers(loaded))
    assert rest["replay_size"] == history["replay_size"][1:]
    agent.save_weights(tmp_path / "agent.weights.h5")
    half.load_weights(tmp_path / "agent.weights.h5")
    seen = observations(name)
    assert_same(agent.predict(seen, verbose=0), half.predict(seen, verbose=0))
    assert_same(agent.predict(seen, verbose=0), loaded.predict(seen, verbose=0))


def test_a_saved_model_acts_as_the_agent_does(trained, tmp_path):
    name, agent, *_ = trained
    agent.export(tmp_path / "policy")
    policy, seen, starts = tf.saved_model.load(tmp_path / "policy"), observations(name), np.ones(20, bool)
    expected = agent.predict(seen, verbose=0)
    assert_allowed(name, seen, expected)
    served, _ = policy.serve(seen, starts, policy.initial_state(20))
    tf.nest.map_structure(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5), served, expected)
    assert_allowed(name, seen, policy.sample(seen, starts, policy.initial_state(20), [1, 2])[0])


def ruled(name):
    return krp.envs.ActionMask(Rules(AGENTS[name][3]))


@pytest.fixture(scope="module")
def recorded(trained):
    """Episodes of 5 steps that samples of the policy played where a forbidden action raises an error."""
    name, agent, *_ = trained
    policy = agent.policy(deterministic=False)
    return krp.envs.record_episodes(lambda: ruled(name), policy, episodes=6, seed=0)


def test_the_policy_plays_outside_training(trained, recorded):
    name, agent, *_ = trained
    assert [len(episode.rewards) for episode in recorded] == [5] * 6
    (played,) = agent.play(ruled(name), render_mode=None)
    assert played["length"] == 5


def test_recorded_actions_are_in_the_buffer_as_they_were_taken(trained, recorded):
    name, agent = trained[0], small(trained[0])
    env = krp.envs.make(Alternating(2, AGENTS[name][3]))
    agent._prepare_for(env, agent.updates)
    agent.add_experience(recorded)
    ring = agent.make_source(env, 0).ring
    places = tf.range(ring.size)[:, None] + [[0, 0]], tf.range(ring.size)[:, None] * 0 + [[0, 1]]
    valid = ring.read("valid", *places).numpy()
    stored = tf.nest.map_structure(lambda x: x[valid], agent.environment_action(ring.read("action", *places)))
    expected = np.concatenate([table(agent, episode.actions) for episode in recorded])
    assert len(expected) == 30
    np.testing.assert_allclose(table(agent, stored), expected[np.lexsort(expected.T)], atol=1e-5)


def table(agent, actions):
    """Actions as a matrix whose rows are sorted by the last columns first, which are discrete."""
    parts = [np.asarray(part) for _, part in krp.spaces.pairs(agent.action_space, actions)]
    rows = np.concatenate([part.reshape(len(part), -1) for part in parts], -1)
    return rows[np.lexsort(rows.T)]


def test_recordings_alone_are_learned_from(trained, recorded):
    name = trained[0]
    agent, before = small(name), small(name).get_weights()
    history = fit(agent, name, epochs=1, collectors=krp.imitation.Recorded(recorded))
    assert history["env_steps"] == [0]
    assert all(np.isfinite(values).all() for key, values in history.items() if key not in ("return", "length"))
    assert any(not np.array_equal(x, y) for x, y in zip(before, agent.get_weights(), strict=True))


def test_behavior_cloning(trained, recorded):
    agent = small(trained[0])
    cloning = krp.imitation.BehaviorCloning(agent)
    cloning.compile(run_eagerly=True)
    losses = cloning.fit(recorded, epochs=3, batch_size=3, seed=0, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
