"""`MaskVelocity` and the registered `krp/` environments, against the native variants."""

import pickle
import warnings

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from keras_rl_prob.envs.native import make_native
from keras_rl_prob.envs.registration import register_environments
from keras_rl_prob.envs.wrappers import MaskVelocity

register_environments()
HIDDEN = {
    "AcrobotNoVel-v1": [4, 5],
    "CartPoleNoVel-v1": [1, 3],
    "MountainCarContinuousNoVel-v0": [1],
    "MountainCarNoVel-v0": [1],
    "PendulumNoVel-v1": [2],
}


@pytest.mark.parametrize("name", HIDDEN)
def test_registered_environments_show_what_native_ones_show(name):
    env, native = gymnasium.make(f"krp/{name}"), make_native(f"tf/{name}", 1)
    observation, _ = env.reset(seed=1)
    env.action_space.seed(1)
    for _ in range(20):
        state = np.array(env.unwrapped.state, np.float32)
        np.testing.assert_allclose(observation, native.observe(tf.constant(state[None]))[0], atol=1e-6)
        np.testing.assert_array_equal(np.flatnonzero(observation == 0), HIDDEN[name])
        assert observation.dtype == np.float32
        assert env.observation_space.contains(observation)
        observation, _, terminated, _, _ = env.step(env.action_space.sample())
        if terminated:
            observation, _ = env.reset()


@pytest.mark.parametrize("name", HIDDEN)
def test_registered_environments_are_the_originals_otherwise(name):
    env, original = gymnasium.make(f"krp/{name}"), gymnasium.make(name.replace("NoVel", ""))
    assert env.spec.max_episode_steps == original.spec.max_episode_steps
    assert env.spec.reward_threshold == original.spec.reward_threshold
    assert (env.observation_space, env.action_space) == (original.observation_space, original.action_space)
    masked, full = env.reset(seed=3)[0], original.reset(seed=3)[0]
    original.action_space.seed(3)
    for _ in range(5):
        np.testing.assert_array_equal(np.delete(masked, HIDDEN[name]), np.delete(full, HIDDEN[name]))
        action = original.action_space.sample()
        (masked, *rest, _), (full, *want, _) = env.step(action), original.step(action)
        assert rest == want


def test_time_limit_truncates():
    env = gymnasium.make("krp/MountainCarNoVel-v0")
    env.reset(seed=0)
    ends = [env.step(1)[2:4] for _ in range(200)]
    assert ends == [(False, False)] * 199 + [(False, True)]


@pytest.mark.parametrize("name", HIDDEN)
def test_environment_checker_passes(name):
    env = gymnasium.make(f"krp/{name}")
    with warnings.catch_warnings():
        # Warnings that the environment is wrapped, that Pendulum's actions are not normalised, and so on.
        warnings.simplefilter("ignore", UserWarning)
        check_env(env, skip_render_check=True)  # it would open a window


@pytest.mark.parametrize("name", HIDDEN)
def test_rendering(name):
    env = gymnasium.make(f"krp/{name}", render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert (frame.ndim, frame.shape[-1], frame.dtype) == (3, 3, np.uint8)
    assert len(np.unique(frame)) > 1
    env.close()


def test_registration_is_idempotent_and_silent():
    before = dict(gymnasium.registry)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_environments()
    assert all(gymnasium.registry[name] is spec for name, spec in before.items())
    assert {f"krp/{name}" for name in HIDDEN} <= set(before)


def test_specs_travel_to_processes_that_have_not_registered_them(monkeypatch):
    spec = gymnasium.make("krp/CartPoleNoVel-v1").spec
    assert isinstance(spec.entry_point, str)
    assert isinstance(spec.additional_wrappers[0].entry_point, str)
    packed, text = pickle.dumps(spec), spec.to_json()
    monkeypatch.delitem(gymnasium.registry, "krp/CartPoleNoVel-v1")
    with pytest.raises(gymnasium.error.NameNotFound):
        gymnasium.make("krp/CartPoleNoVel-v1")
    for copy in (pickle.loads(packed), EnvSpec.from_json(text)):  # noqa: S301 - packed three lines above
        env = gymnasium.make(copy)
        assert isinstance(env, MaskVelocity)
        assert env.reset(seed=0)[0][1] == 0.0


def test_vectorised():
    env = gymnasium.make_vec("krp/PendulumNoVel-v1", 3, vectorization_mode="sync")
    observation, _ = env.reset(seed=0)
    assert observation.shape == (3, 3)
    np.testing.assert_array_equal(observation[:, 2], np.zeros(3))
    env.close()


class Probe(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float64)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.array([1.0, -2.0, 3.0]), {}


def test_explicit_mask_and_round_trip_through_the_spec():
    env = MaskVelocity(Probe(), mask=[1, 0, 1])
    observation, _ = env.reset()
    np.testing.assert_array_equal(observation, [1.0, 0.0, 3.0])
    assert observation.dtype == np.float64
    assert env.observation_space.contains(observation)
    assert env._saved_kwargs == {"mask": [1, 0, 1]}
    wrapped = MaskVelocity(gymnasium.make("CartPole-v1"), mask=[0, 1, 1, 1])
    again = gymnasium.make(EnvSpec.from_json(wrapped.spec.to_json()))
    assert (again.reset(seed=0)[0] != 0).tolist() == [False, True, True, True]


def test_subclasses_of_known_environments_have_a_mask():
    class LongPole(gymnasium.envs.classic_control.CartPoleEnv):
        pass

    assert MaskVelocity(LongPole()).mask.tolist() == [1.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (None, r"`env` must be one of \['AcrobotEnv', .*mask=\[1, 0\].*Received: env=<Probe"),
        ([1, 0], r"`mask` must hold a 0 or a 1 for every.*Received: mask=\[1, 0\], env.observation_space=Box"),
        ([1, 0, 2], r"`mask` must hold a 0 or a 1 .*Received: mask=\[1, 0, 2\]"),
    ],
)
def test_errors(mask, message):
    with pytest.raises(ValueError, match=message):
        MaskVelocity(Probe(), mask=mask)
