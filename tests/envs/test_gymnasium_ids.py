"""Gymnasium ids with settings, and error messages for missing packages."""

import sys

import gymnasium
import pytest
from gymnasium.envs.registration import EnvSpec

import keras_rl_prob as krp
from keras_rl_prob.envs import gymnasium_ids


def test_settings_reach_every_copy_and_leave_the_registry_alone():
    spec = krp.envs.spec("Pendulum-v1", g=3.0, max_episode_steps=7)
    assert isinstance(spec, EnvSpec)
    many = gymnasium_ids.make_many(spec, 3)
    assert [env.unwrapped.g for env in many.envs] == [3.0] * 3
    drawn = krp.envs.make_one(spec, render_mode="rgb_array").unwrapped
    assert (drawn.render_mode, drawn.g) == ("rgb_array", 3.0)
    assert krp.envs.make_one(spec).spec.max_episode_steps == 7
    again = krp.envs.spec(spec, g=5.0)
    assert (again.kwargs["g"], again.max_episode_steps, spec.kwargs["g"]) == (5.0, 7, 3.0)
    assert gymnasium.spec("Pendulum-v1").kwargs == {}
    assert gymnasium.spec("Pendulum-v1").max_episode_steps == 200


def test_a_spec_goes_where_an_id_goes():
    spec = krp.envs.spec("CartPole-v1", max_episode_steps=6)
    agent = krp.PPO(rollout_steps=8, minibatches=1, update_epochs=1)
    agent.compile(run_eagerly=True)
    agent.fit(spec, epochs=1, steps_per_epoch=1, num_envs=2, validation_data=spec, validation_episodes=3, verbose=0)
    result = agent.evaluate(spec, episodes=5, return_dict=True, verbose=0)
    assert result == {"return": 6.0, "length": 6.0, "return_std": 0.0}
    assert krp.envs.spaces_of(spec)[1] == gymnasium.spaces.Discrete(2)


@pytest.mark.parametrize(
    ("env_id", "module", "extra"),
    [
        ("ALE/Pong-v5", "ale_py", "atari"),
        ("VizdoomBasic-v1", "vizdoom.gymnasium_wrapper", "vizdoom"),
        ("AntBulletEnv-v0", "pybullet_envs_gymnasium", "bullet"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(monkeypatch, env_id, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf'`{env_id}` needs pip install "keras_rl_prob\[{extra}\]"'):
        krp.envs.make(env_id, 2)


@pytest.mark.parametrize(
    ("env_id", "extra"), [("HalfCheetah-v5", "mujoco"), ("LunarLander-v3", "box2d"), ("FrozenLake-v1", None)]
)
def test_what_an_environment_of_gymnasium_lacks_is_named_with_its_extra(monkeypatch, env_id, extra):
    def make(*args, **kwargs):
        raise gymnasium.error.DependencyNotInstalled("the library is not there")

    for name in ("make", "make_vec"):
        monkeypatch.setattr(gymnasium, name, make)
    hint = rf'pip install "keras_rl_prob\[{extra}\]"\. ' if extra else ""
    message = f"`{env_id}` needs something that is not installed: {hint}the library is not there"
    with pytest.raises(ImportError, match=message):
        krp.envs.make(env_id, 2)
    with pytest.raises(ImportError, match=message):
        krp.envs.make_one(env_id)


@pytest.mark.parametrize("env_id", ["Nothing-v0", "ALE/NoSuchGame-v5", "CartPole-v99"])
def test_an_unknown_id_is_an_error_that_repeats_it(env_id):
    if env_id.startswith("ALE/"):
        pytest.importorskip("ale_py")
    with pytest.raises(ValueError, match=rf"`env` must be an environment id .*Received: env='{env_id}'\. Environment "):
        krp.envs.make(env_id, 2)


def test_an_id_may_name_the_module_that_registers_it(tmp_path, monkeypatch):
    (tmp_path / "registers_pole.py").write_text(
        "import gymnasium\ngymnasium.register('Pole-v7', entry_point='gymnasium.envs.classic_control:CartPoleEnv')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    env = krp.envs.make("registers_pole:Pole-v7", 2)
    assert env.action_space == gymnasium.spaces.Discrete(2)
    env.close()
    with pytest.raises(ModuleNotFoundError, match="No module named 'nope'"):
        krp.envs.make("nope:Nope-v0")


def test_a_spec_of_something_else_is_refused():
    with pytest.raises(TypeError, match=r"`env` must be the id of an environment or an EnvSpec. Received: env=3"):
        krp.envs.spec(3)
