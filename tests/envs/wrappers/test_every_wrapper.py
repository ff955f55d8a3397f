"""Requirements for all wrappers: Gymnasium's checker, specs, vector environments, seeds."""

import pickle
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector.utils import concatenate, create_empty_array

from keras_rl_prob.envs import wrappers

ID = "tests/Lives-v0"
ARGUMENTS = {
    "ActionMask": {},
    "CheckFinite": {},
    "CheckObservation": {},
    "EpisodicLife": {"noop": 2},
    "FinalReward": {"reward": -3.0},
    "FireReset": {"actions": [2, 1]},
    "FrameDelta": {},
    "FrameHistory": {"past_indices": [2, 0], "axis": -1},
    "MaskVelocity": {"mask": [1, 0]},
    "NormalizeRange": {},
    "RandomStart": {"max_steps": 4},
}


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setattr(gymnasium.envs.registration, "registry", gymnasium.registry.copy())
    gymnasium.register(ID, entry_point="scripts:Lives", max_episode_steps=7)


def alone(name):
    return getattr(wrappers, name)(gymnasium.make(ID), **ARGUMENTS[name])


def together():
    env = gymnasium.make(ID)
    for name in (
        "CheckFinite",
        "CheckObservation",
        "RandomStart",
        "EpisodicLife",
        "FireReset",
        "FinalReward",
        "FrameDelta",
        "FrameHistory",
        "ActionMask",
    ):
        env = getattr(wrappers, name)(env, **ARGUMENTS[name])
    return env


every = pytest.mark.parametrize(
    "make", [*(lambda name=name: alone(name) for name in ARGUMENTS), together], ids=[*ARGUMENTS, "all"]
)


def played(env, seed, steps=25):
    """Everything that comes out of an environment with fixed actions; only the first reset is seeded."""
    rows = [(*env.reset(seed=seed), "reset")]
    for step in range(steps):
        *row, info = env.step(step % 3)
        rows.append((*row, info))
        if row[2] or row[3]:
            rows.append((*env.reset(), "reset"))
    return rows


def test_none_is_missing():
    assert set(wrappers.__all__) == set(ARGUMENTS)


@every
def test_environment_checker_passes(make):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it is wrapped
        check_env(make(), skip_render_check=True)


@every
def test_observations_are_in_the_space(make):
    env = make()
    rows = played(env, seed=0)
    assert len(rows) > 26  # that is, episodes ended
    assert all(env.observation_space.contains(row[0]) for row in rows)


@every
def test_specs_make_the_same_environment(make):
    env = make()
    expected = played(env, seed=1)
    for spec in (pickle.loads(pickle.dumps(env.spec)), EnvSpec.from_json(env.spec.to_json())):  # noqa: S301 - packed here
        again = gymnasium.make(spec)
        assert str(again) == str(env)
        np.testing.assert_equal(played(again, seed=1), expected)


@every
def test_seeds_reproduce(make):
    env = make()
    first = played(env, seed=3)
    np.testing.assert_equal(played(env, seed=3), first)
    with pytest.raises(AssertionError):
        np.testing.assert_equal(played(env, seed=4), first)


@every
def test_copies_in_a_vector_environment_are_independent(make):
    vector = gymnasium.vector.SyncVectorEnv([make] * 3, autoreset_mode=gymnasium.vector.AutoresetMode.NEXT_STEP)
    singles, over = [make() for _ in range(3)], [False] * 3
    observations, _ = vector.reset(seed=5)

    def assert_shown(observations, expected):
        batch = create_empty_array(singles[0].observation_space, 3)
        np.testing.assert_equal(observations, concatenate(singles[0].observation_space, expected, batch))

    assert_shown(observations, [env.reset(seed=5 + i)[0] for i, env in enumerate(singles)])
    for step in range(20):
        actions = np.array([step % 3, 2, 0])
        observations, rewards, terminated, truncated, _ = vector.step(actions)
        rows = [
            (env.reset()[0], 0.0, False, False) if over[i] else env.step(actions[i])[:4]
            for i, env in enumerate(singles)
        ]
        assert_shown(observations, [row[0] for row in rows])
        for i, row in enumerate(rows):
            assert (rewards[i], terminated[i], truncated[i]) == row[1:]
            over[i] = row[2] or row[3]
