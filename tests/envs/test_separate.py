"""Environments in separate processes."""

import os
import signal
import subprocess

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

import keras_rl_prob as krp
from keras_rl_prob.envs.processes.separate import SeparateEnv


def test_it_is_the_environment():
    here, there = gymnasium.make("Pendulum-v1"), SeparateEnv(krp.envs.spec("Pendulum-v1", max_episode_steps=3))
    assert (there.observation_space, there.action_space) == (here.observation_space, here.action_space)
    assert there.metadata == here.metadata
    assert there.spec.max_episode_steps == 3
    start = {"seed": 4, "options": {"x_init": 0.1}}
    np.testing.assert_array_equal(there.reset(**start)[0], here.reset(**start)[0])
    for step in range(3):
        action = np.array([0.1 * step], np.float32)
        (observation, reward, *_), (same, same_reward, terminated, truncated, _) = here.step(action), there.step(action)
        np.testing.assert_array_equal(same, observation)
        assert same_reward == reward
        assert (terminated, truncated) == (False, step == 2)
    there.close()


def test_its_process_knows_no_tensorflow_and_ends_with_it():
    env = SeparateEnv("CartPole-v1", render_mode="rgb_array")
    assert (env.spec, env.render_mode) == (gymnasium.spec("CartPole-v1"), "rgb_array")
    env.reset(seed=0)
    assert env.render().shape == (400, 600, 3)
    process = env._process
    with open(f"/proc/{process.pid}/maps", encoding="utf-8") as maps:
        assert "tensorflow" not in maps.read()
    env.close()
    assert process.returncode == 0


def test_what_it_raises_is_raised_here():
    with pytest.raises(gymnasium.error.NameNotFound, match="Nothing"):
        SeparateEnv("Nothing-v0")
    env = SeparateEnv("CartPole-v1")
    env.reset(seed=0)
    with pytest.raises(AssertionError, match=r"7.*invalid"):
        env.step(7)
    assert env.step(1)[0].shape == (4,)
    env.close()


def test_a_death_is_told():
    env = SeparateEnv("CartPole-v1")
    os.kill(env._process.pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match=r"died in `reset`. Received: exit code -9"):
        env.reset()
    env.close()


def test_a_death_while_it_is_made_is_told():
    with pytest.raises(RuntimeError, match=r"died in `make`. Received: exit code 3"):
        SeparateEnv(EnvSpec("Dead-v0", entry_point="os:_exit", kwargs={"status": 3}))


def test_a_process_whose_environment_cannot_be_made_ends(monkeypatch):
    started, start = [], subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda *args, **kwargs: started.append(start(*args, **kwargs)) or started[0]
    )
    with pytest.raises(gymnasium.error.NameNotFound):
        SeparateEnv("Nothing-v0")
    assert [process.returncode for process in started] == [0]


def test_a_process_that_does_not_end_is_killed(monkeypatch):
    env = SeparateEnv("CartPole-v1")
    wait = env._process.wait
    monkeypatch.setattr(env._process, "wait", lambda seconds: wait(0.1))
    os.kill(env._process.pid, signal.SIGSTOP)
    env.close()
    assert wait(10) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("variables", "library"), [({}, "egl"), ({"DISPLAY": ":0"}, "None"), ({"MUJOCO_GL": "osmesa"}, "osmesa")]
)
def test_mujoco_needs_no_display(tmp_path, monkeypatch, variables, library):
    (tmp_path / "teller.py").write_text(
        "import gymnasium, os\n\nclass Teller(gymnasium.Env):\n"
        "    observation_space = action_space = gymnasium.spaces.Discrete(2)\n"
        "    def render(self):\n        return str(os.environ.get('MUJOCO_GL'))\n"
    )
    for name in ("DISPLAY", "MUJOCO_GL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"PYTHONPATH": str(tmp_path)} | variables).items():
        monkeypatch.setenv(name, value)
    env = SeparateEnv(EnvSpec("Teller-v0", "teller:Teller", order_enforce=False, disable_env_checker=True))
    assert env.render() == library
    env.close()


def test_mujoco_is_drawn_beside_tensorflow():
    pytest.importorskip("mujoco")
    env = krp.envs.make_one("HalfCheetah-v5", render_mode="rgb_array", width=64, height=48)
    env.reset(seed=0)
    try:
        frame = env.render()
    except Exception as error:
        pytest.skip(f"no library draws here: {error}")
    assert frame.shape == (48, 64, 3)
    assert frame.std() > 1
    env.close()


@pytest.fixture
def mute(tmp_path, monkeypatch):
    """An environment whose exceptions and infos cannot leave its process."""
    (tmp_path / "mute.py").write_text(
        "import threading\nimport gymnasium\n\nclass Stuck(Exception):\n"
        "    def __init__(self, first, second):\n        super().__init__(f'{first} and {second}')\n"
        "        self.lock = threading.Lock() if first == 'lock' else None\n\n"
        "class Mute(gymnasium.Env):\n    observation_space = action_space = gymnasium.spaces.Discrete(4)\n"
        "    def reset(self, *, seed=None, options=None):\n        return 0, {}\n"
        "    def step(self, action):\n        info = {'lock': threading.Lock()} if action == 3 else {}\n"
        "        if action in (1, 2):\n            raise Stuck('salt' if action == 1 else 'lock', 'pepper')\n"
        "        return 0, 0.0, False, False, info\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    env = SeparateEnv(EnvSpec("Mute-v0", "mute:Mute", order_enforce=False, disable_env_checker=True))
    yield env
    env.close()


def test_an_exception_that_cannot_leave_its_process_is_told(mute):
    for action, text in (
        (1, r"mute.Stuck: salt and pepper \(.*positional argument"),
        (2, r"Stuck: lock and pepper \(.*lock'"),
    ):
        with pytest.raises(RuntimeError, match=rf"The process of Mute-v0 raised .*{text}"):
            mute.step(action)
    with pytest.raises(TypeError, match=r"cannot pickle '_thread.lock' object"):
        mute.step(3)
    assert mute.step(0)[0] == 0
