"""RandomAgent: frequencies of actions, and that nothing is learned."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv

import keras_rl_prob as krp
from keras_rl_prob.testing import ScriptedEnv

OBSERVATION = spaces.Box(-1.0, 1.0, (3,))
ROWS = 20_000
ARM = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([1.0, 5.0], np.float32))


def actions_of(action_space, deterministic=False, seed=1):
    agent = krp.RandomAgent()
    agent.build((OBSERVATION, action_space))
    first = tf.ones(ROWS, tf.bool)
    action, record, state = agent.act(tf.zeros((ROWS, 3)), first, (), tf.constant([seed, 2]), deterministic)
    assert state == ()
    tf.nest.map_structure(np.testing.assert_array_equal, action, record["raw"])
    return tf.nest.map_structure(lambda x: x.numpy(), action)


def assert_uniform_classes(actions, n):
    """All of `0, ..., n - 1` equally often, up to 4.5 standard deviations."""
    counts = np.bincount(actions, minlength=n)
    assert len(counts) == n
    np.testing.assert_allclose(counts / ROWS, 1 / n, atol=4.5 * np.sqrt((1 - 1 / n) / n / ROWS))


def assert_uniform_box(actions, low, high):
    width = high - low
    assert (actions >= low).all()
    assert (actions <= high).all()
    np.testing.assert_allclose(actions.min(0), low, atol=0.002 * width.max())
    np.testing.assert_allclose(actions.max(0), high, atol=0.002 * width.max())
    np.testing.assert_allclose(actions.mean(0), (low + high) / 2, atol=0.01 * width.max())
    np.testing.assert_allclose(actions.std(0), width / np.sqrt(12), atol=0.01 * width.max())


def independent(x, y):
    return abs(np.corrcoef(x, y)[0, 1]) < 0.03


@pytest.mark.parametrize("deterministic", [False, True])
def test_discrete_actions(deterministic):
    assert_uniform_classes(actions_of(spaces.Discrete(5), deterministic), 5)


def test_discrete_actions_that_do_not_start_at_zero_are_numbered_from_zero():
    assert_uniform_classes(actions_of(spaces.Discrete(3, start=-7)), 3)


def test_multi_discrete_actions():
    actions = actions_of(spaces.MultiDiscrete([2, 7, 3]))
    for i, n in enumerate((2, 7, 3)):
        assert_uniform_classes(actions[:, i], n)
    assert independent(actions[:, 1], actions[:, 2])


def test_multi_binary_actions():
    actions = actions_of(spaces.MultiBinary(4))
    for column in actions.T:
        assert_uniform_classes(column, 2)
    assert independent(actions[:, 0], actions[:, 1])


def test_bounded_box_actions():
    actions = actions_of(ARM)
    assert_uniform_box(actions, ARM.low, ARM.high)
    assert independent(actions[:, 0], actions[:, 1])


def test_unbounded_box_actions_are_standard_normal():
    actions = actions_of(spaces.Box(-np.inf, np.inf, (2,)))
    np.testing.assert_allclose(actions.mean(0), 0.0, atol=0.04)
    np.testing.assert_allclose(actions.std(0), 1.0, atol=0.03)


def test_components_of_tuples_and_dicts_are_independent():
    space = spaces.Dict(
        {"tool": spaces.Discrete(3), "arm": spaces.Tuple((ARM, spaces.MultiBinary(2), spaces.Discrete(3)))}
    )
    actions = actions_of(space)
    arm, switches, joint = actions["arm"]
    assert_uniform_box(arm, ARM.low, ARM.high)
    assert_uniform_classes(switches[:, 1], 2)
    for classes in (actions["tool"], joint):
        assert_uniform_classes(classes, 3)
    for x, y in ((actions["tool"], joint), (actions["tool"], arm[:, 0]), (arm[:, 1], switches[:, 0])):
        assert independent(x, y)


def test_each_seed_has_its_own_actions():
    one, same, other = (actions_of(spaces.Discrete(5), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.mean(one == other) == pytest.approx(0.2, abs=0.02)


def test_fit_reports_returns_and_changes_no_weights():
    envs = []

    def make():
        envs.append(ScriptedEnv(0, [(4, "terminated")]))
        return envs[-1]

    agent = krp.RandomAgent(rollout_steps=25)
    agent.compile(run_eagerly=True)
    env = SyncVectorEnv([make, make])
    agent.build(env)
    before = agent.network.get_weights()
    history = agent.fit(env, epochs=2, steps_per_epoch=2, verbose=0).history
    assert all(map(np.array_equal, before, agent.network.get_weights()))
    # an episode takes 5 rows, its final observation included: 10 for each environment and epoch
    episodes = np.arange(20).reshape(2, 10)
    np.testing.assert_allclose(history["return"], (4 * 10 * episodes + 1 + 2 + 3 + 4).mean(1))
    np.testing.assert_array_equal(history["length"], [4, 4])
    np.testing.assert_array_equal(history["env_steps"], [80, 160])
    assert set(history) == {"return", "length", "env_steps", "env_steps_per_second"}
    assert np.mean(envs[0].actions) == pytest.approx(0.5, abs=0.25)
    assert envs[0].actions != envs[1].actions


def test_what_was_drawn_is_what_the_environment_gets():
    agent = krp.RandomAgent()
    agent.build((OBSERVATION, ARM))
    raw = tf.constant([[0.5, 4.0]])
    np.testing.assert_array_equal(agent.environment_action(raw), raw)


def test_evaluation_is_repeatable_and_random():
    agent = krp.RandomAgent()
    agent.compile(run_eagerly=True)
    results = [agent.evaluate("tf/CartPole-v1", episodes=50, seed=seed, verbose=0) for seed in (0, 0, 1)]
    assert results[0] == results[1] != results[2]
    assert results[0][0] == pytest.approx(22.0, abs=6.0)  # random actions; always the same action gives about 9
    assert results[0][0] == results[0][1]


@pytest.mark.parametrize(
    "action_space", [spaces.Discrete(3), ARM, spaces.Tuple((spaces.MultiDiscrete([2, 3]), ARM))], ids=str
)
def test_predictions_have_the_shape_of_the_observations(action_space):
    agent = krp.RandomAgent()
    agent.compile(run_eagerly=True)
    agent.build((OBSERVATION, action_space))
    for axes in ((6,), (6, 4)):
        actions = agent.predict(np.zeros((*axes, 3), np.float32), verbose=0)
        for leaf, part in zip(
            keras.tree.flatten(krp.spaces.map_structure(lambda x: x, action_space)),
            tf.nest.flatten(actions),
            strict=True,
        ):
            assert part.shape == (*axes, *leaf.shape)
            assert len(np.unique(np.asarray(part))) > 1


def test_the_policy_gives_actions_of_the_space():
    space = spaces.Dict({"tool": spaces.Discrete(3, start=5), "arm": ARM})
    agent = krp.RandomAgent()
    agent.build((OBSERVATION, space))
    policy = agent.policy()
    actions = [policy(np.zeros(3, np.float32)) for _ in range(40)]
    assert all(map(space.contains, actions))
    assert {int(action["tool"]) for action in actions} == {5, 6, 7}


def test_config():
    agent = krp.RandomAgent(rollout_steps=3, name="floor")
    again = krp.RandomAgent.from_config(agent.get_config())
    assert (again.rollout_steps, again.name) == (3, "floor")
    with pytest.raises(ValueError, match=r"`rollout_steps` must be a positive integer. Received: rollout_steps=0"):
        krp.RandomAgent(rollout_steps=0)
