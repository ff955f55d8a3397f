"""A person at the keyboard: keys and actions, the terminal before, during and after, and a whole program in one."""

import os
import pty
import signal
import sys
import termios
import types

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from pseudo_terminal import PseudoTerminal

import keras_rl_prob as krp
from keras_rl_prob.envs.playing import keyboard
from keras_rl_prob.envs.playing.keyboard import keys_of

UP = "\x1b[A"


class Lever(gymnasium.Env):
    """Ends after ten steps; the return is the sum of the actions."""

    observation_space = spaces.Box(0.0, 1.0, (1,))

    def __init__(self, action_space=None):
        self.action_space = action_space or spaces.Discrete(3)
        self.render_mode = None

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(1, np.float32), float(np.sum(action)), self.steps == 10, False, {}


@pytest.fixture
def press(monkeypatch):
    """Makes standard input a pseudo-terminal; the function presses keys, `press.flags()` are the terminal's."""
    master, slave = pty.openpty()

    def pressed(keys):
        os.write(master, keys.encode())

    pressed.flags = lambda: termios.tcgetattr(slave)[3]
    pressed.hang_up = lambda: os.close(master)
    with os.fdopen(slave) as stdin:
        monkeypatch.setattr(keyboard, "sys", types.SimpleNamespace(stdin=stdin, exit=sys.exit))
        yield pressed


def test_each_key_is_a_step_and_q_ends_play(press):
    before, usual = press.flags(), signal.getsignal(signal.SIGTERM)
    press(f"0{UP}2\x1b[Cz1\x1bODq2")
    keys = {"0": 0, "1": 1, "2": 2, "right": 2, "left": 0}
    [episode] = krp.envs.play_manual(Lever(), keys, render_mode=None)
    assert episode == {"return": 5.0, "length": 5, "actions": [0, 2, 2, 1, 0]}  # up and z are no keys
    assert press.flags() == before
    assert signal.getsignal(signal.SIGTERM) == usual


def test_an_episode_to_its_end_and_a_second_one(press):
    press("2" * 10 + "1q")
    whole, part = krp.envs.play_manual(Lever(), episodes=3, render_mode=None)
    assert (whole["return"], whole["length"], part["return"], part["length"]) == (20.0, 10, 1.0, 1)


def test_with_a_default_the_environment_goes_on_by_itself(press):
    press("12")
    [episode] = krp.envs.play_manual(Lever(), default=0, render_mode=None)
    assert episode["actions"] == [2] + [0] * 9  # the last key that was pressed before the first step


def test_a_recording_ends_with_the_last_whole_episode(press):
    press("1" * 12 + "q")
    env = Lever()
    with krp.envs.Keyboard(env) as person:
        assert not press.flags() & (termios.ECHO | termios.ICANON)
        [episode] = krp.envs.record_episodes(env, person, episodes=5)
    assert episode.actions.tolist() == [1] * 10


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_the_terminal_is_restored_after_an_error(press, error):
    before = press.flags()

    def raising(self, action):
        raise error

    env = type("Broken", (Lever,), {"step": raising})()
    press("1")
    with pytest.raises(error):
        krp.envs.play_manual(env, render_mode=None)
    assert press.flags() == before


@pytest.mark.parametrize("end", ["hang up", "\x04"])
def test_the_end_of_the_input_ends_play(press, end):
    class Ending(Lever):
        def step(self, action):
            press.hang_up() if end == "hang up" else press(end)
            return super().step(action)

    press("1")
    assert krp.envs.play_manual(Ending(), render_mode=None) == [{"return": 1.0, "length": 1, "actions": [1]}]


def test_no_terminal_is_one_sentence(monkeypatch):
    with open(os.devnull) as nothing:
        monkeypatch.setattr(keyboard, "sys", types.SimpleNamespace(stdin=nothing))
        with pytest.raises(
            RuntimeError, match=r"keyboard of a terminal.*`gymnasium.utils.play.play\(env\)` does\. Received"
        ):
            krp.envs.play_manual(Lever(), render_mode=None)


def test_keys_by_default():
    assert keys_of(Lever()) == {"left": 0, "down": 1, "right": 2, "0": 0, "1": 1, "2": 2}
    assert keys_of(Lever(spaces.Discrete(2, start=4))) == {"left": 4, "right": 5, "0": 4, "1": 5}
    assert list(keys_of(Lever(spaces.Discrete(12)))) == list("0123456789ab")
    torque = keys_of(Lever(spaces.Box(-2.0, 4.0, (1,))))
    assert {key: value.tolist() for key, value in torque.items()} == {"left": [-2.0], "down": [1.0], "right": [4.0]}
    own, named = Lever(spaces.Discrete(18)), {"a": 1, "d": 2, "space": 0, "w": 2, "left": 3, "up": 4}
    codes = {(1073741904,): 3, (273,): 4, (1073742049,): 5}  # of pygame: left, up in version 1, and shift
    own.get_keys_to_action = lambda: codes | {("a",): 1, (ord("d"),): 2, ("a", "d"): 0, (32,): 0, "w": 2, (): 0}
    assert keys_of(own) == named
    own.action_space = spaces.Discrete(4)
    assert keys_of(own) == named | {"0": 0, "1": 1, "2": 2, "3": 3}
    with gymnasium.make("MountainCar-v0") as car:
        assert keys_of(car) == {"left": 0, "down": 1, "right": 2, "0": 0, "1": 1, "2": 2}
    for space in (
        spaces.Box(-1.0, 1.0, (2,)),
        spaces.Box(0.0, np.inf, (1,)),
        spaces.MultiBinary(3),
        spaces.Discrete(36),
    ):
        with pytest.raises(ValueError, match=r"`keys` must say which key stands for which action.*Received: keys=None"):
            keys_of(Lever(space))


@pytest.mark.parametrize(
    "wrong", [{"keys": {}}, {"keys": 3}, {"keys": {"q": 1}}, {"keys": {"F1": 1}}, {"keys": {1: 1}}]
)
def test_keys_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=r"`keys` must be .*Received: "):
        krp.envs.Keyboard(Lever(), **wrong)


@pytest.mark.parametrize("wrong", [{"keys": {"a": 3}}, {"default": -1}])
def test_actions_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must be in Discrete\(3\)\. Received: (3|-1)"):
        krp.envs.Keyboard(Lever(), **wrong)


def test_a_closed_keyboard_says_so():
    with pytest.raises(RuntimeError, match="`Keyboard` must be open"):
        krp.envs.Keyboard(Lever())(None)


PROGRAM = """
import keras_rl_prob as krp
from keras_rl_prob.cli import main
for episode in krp.envs.play_manual("tf/CartPole-v1", seed=3, fps=100):
    print("played", [int(action) for action in episode["actions"]])
print("status", main(["play", "--keyboard", "--env", "MountainCar-v0", "--fps", "100", "--episodes", "2"]))
krp.envs.play_manual("CartPole-v1", default=0, fps=2)
"""


def test_a_program_in_a_terminal():
    """Python's `play_manual`, the shell's `play --keyboard` between its two calls, and the end by a signal."""
    with PseudoTerminal("-c", PROGRAM) as terminal:
        terminal.wait_for("step 0 .*q ends, left: 0, right: 1")
        assert not terminal.echoes
        terminal.press("0")
        terminal.wait_for("▀.*step 1  reward 1  return 1")
        terminal.press("\x1b[C1q")
        terminal.wait_for(r"\x1b\[\?1049l.*played \[0, 1, 1\]\r\n.*step 0 .*left: 0, down: 1, right: 2")
        terminal.press("0")  # to `keras-rl-prob play`
        terminal.wait_for("▀.*step 1  reward -1  return -1")
        terminal.press("\x1b[C12q")
        terminal.wait_for(r"\x1b\[\?1049l.*episode 1: return -4.00, length 4\r\nstatus 0\r\n.*step 0 ")
        terminal.process.terminate()
        terminal.wait_for(r"played.*\x1b\[\?1049l")
        assert terminal.end() == 128 + signal.SIGTERM
        assert terminal.echoes
