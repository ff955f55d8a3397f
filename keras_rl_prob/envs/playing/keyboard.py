"""A person at the keyboard of a terminal, as a policy."""

import contextlib
import importlib
import os
import re
import select
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Any, Self

import gymnasium
import numpy as np
from gymnasium import spaces

from keras_rl_prob.envs.playing import rendering
from keras_rl_prob.envs.playing.episodes import MAX_STEPS, Stop, play

SEQUENCE = re.compile("\x1b[\\[O]([ABCD])|\x1b[\\[O][0-9;]*[A-Za-z~]|(.)", re.DOTALL)
ARROWS = dict(zip("ABCD", ("up", "down", "right", "left"), strict=True))
NAMES = {" ": "space", "\n": "enter", "\r": "enter"}
PYGAME: dict[Any, str] = dict(
    zip((276, 275, 274, 273), ("left", "right", "down", "up"), strict=True)
)  # version 1's, and 2's:
PYGAME |= dict(zip((0x40000050, 0x4000004F, 0x40000051, 0x40000052), PYGAME.values(), strict=True))
ENDS = ("q", "\x04")  # q, and Ctrl-D
CHARACTERS = "0123456789abcdefghijklmnoprstuvwxyz"


class Keyboard:
    """A policy whose actions are keys that a person presses in the terminal; a context manager.

    While it is open the terminal passes keys on at once and does not show them; at the end it is as before, whatever
    happened. `q`, Ctrl-D and the end of the input end play.

    Args:
        env: A `gymnasium.Env`, whose action space the keys are for.
        keys: Dict from keys to actions. A key is a character, or `"left"`, `"right"`, `"up"`, `"down"`, `"space"`, `"enter"`.
            By default those that the environment itself names; digits and letters for a Discrete space, and arrows where it has
            two or three actions; left, down and right for the least, middle and largest value of a Box with one entry.
        default: Action while no key is pressed. By default the environment waits for a key.

    Raises:
        ValueError: A key or an action is not possible, or there are no keys by default for the action space.
        RuntimeError: Standard input is not a terminal.

    Example:
    ```python
    env = gymnasium.make("CartPole-v1", render_mode="human")
    with krp.envs.Keyboard(env, {"left": 0, "right": 1}) as person:
        agent.add_experience(krp.envs.record_episodes(env, person, episodes=3))
    ```
    """

    def __init__(self, env: gymnasium.Env, keys: Mapping[str, Any] | None = None, default: Any = None) -> None:
        if keys is not None and (not isinstance(keys, Mapping) or not keys):
            raise ValueError(f'`keys` must be a dict such as {{"left": 0, "right": 1}}. Received: keys={keys!r}')
        self.keys = dict(keys or keys_of(env))
        for key in self.keys:
            if not isinstance(key, str) or key in ENDS or not (len(key) == 1 or key in names()):
                raise ValueError(
                    f"`keys` must be characters other than q, or of {sorted(names())}. Received: the key {key!r}"
                )
        for action in [*self.keys.values(), *([] if default is None else [default])]:
            if not env.action_space.contains(action):
                raise ValueError(
                    f"The actions of `keys`, and `default`, must be in {env.action_space}. Received: {action!r}"
                )
        self._default, self._pressed = default, ""
        self._terminal: Any = None

    @property
    def legend(self) -> str:
        """A line with the keys and their actions."""
        return ", ".join(["q ends", *(f"{key}: {action}" for key, action in self.keys.items())])

    def __enter__(self) -> Self:
        self._terminal = _Terminal()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._terminal.restore()
        self._terminal = None

    def __call__(self, observation: Any) -> Any:
        """Returns the action of the next key; with a `default`, of the last one since the previous call.

        Args:
            observation: Ignored: the person sees the environment.

        Raises:
            Stop: The person has ended play.
        """
        if self._terminal is None:
            raise RuntimeError(
                "`Keyboard` must be open: `with krp.envs.Keyboard(env) as person:`. Received: a call before"
            )
        while True:
            if self._default is not None or not self._pressed:
                self._pressed += self._terminal.read(wait=self._default is None)
            actions = []
            for match in SEQUENCE.finditer(self._pressed):
                key = ARROWS.get(match[1]) or NAMES.get(match[2], match[2])
                if key in ENDS:
                    raise Stop
                if key in self.keys:
                    actions.append(self.keys[key])
                if self._default is None and actions:
                    self._pressed = self._pressed[match.end() :]
                    return actions[0]
            self._pressed = ""
            if self._default is not None:
                return actions[-1] if actions else self._default


def play_manual(
    env: rendering.Drawable,
    keys: Mapping[str, Any] | None = None,
    default: Any = None,
    episodes: int = 1,
    render_mode: str | None = "terminal",
    fps: float | None = None,
    max_steps: int = MAX_STEPS,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Lets a person play at the keyboard of a terminal; in a window alone `gymnasium.utils.play.play` does.

    Args:
        env: As in `play`.
        keys: As in `Keyboard`.
        default: As in `Keyboard`: with it the environment goes on by itself, without it each step waits for a key.
        episodes: Number of episodes; `q` ends play before.
        render_mode: As in `play`. The keys are those of the terminal, also with a window.
        fps: As in `play`; with a `default`, steps a second.
        max_steps: As in `play`.
        seed: As in `play`.

    Returns:
        What `play` returns; an episode that was not played to its end is the last one.

    Raises:
        ValueError: As by `play` and `Keyboard`.
        RuntimeError: There is no terminal.

    Example:
    ```python
    for episode in krp.envs.play_manual("CartPole-v1", default=0, episodes=3, fps=10):
        print(episode["return"], episode["actions"])
    ```
    """
    with rendering.drawn(env, render_mode) as made, Keyboard(made, keys, default) as person:
        return play(made, person, episodes, render_mode, fps, max_steps, seed)


def names() -> set[str]:
    """Names of the keys that are no characters."""
    return {*ARROWS.values(), *NAMES.values()}


def keys_of(env: gymnasium.Env) -> dict[str, Any]:
    """The keys of an environment by default, a dict as for `Keyboard`; a `ValueError` if there are none."""
    space, own = env.action_space, _own_keys(env)
    if isinstance(space, spaces.Discrete) and space.n <= (10 if own else len(CHARACTERS)):
        actions = [int(space.start) + i for i in range(int(space.n))]
        arrows = {2: ("left", "right"), 3: ("left", "down", "right")}.get(len(actions), ())
        return dict(zip(arrows, actions, strict=False)) | dict(zip(CHARACTERS, actions, strict=False)) | own
    if own:
        return own
    if isinstance(space, spaces.Box) and space.shape == (1,) and space.is_bounded():
        low, high = float(space.low[0]), float(space.high[0])
        values = {"left": low, "down": (low + high) / 2, "right": high}
        return {key: np.array([value], space.dtype) for key, value in values.items()}
    raise ValueError(
        f'`keys` must say which key stands for which action, as in {{"left": action}}. Received: keys=None for {space}'
    )


def _own_keys(env):
    """The keys that an environment names, without those that are pressed together or that no terminal passes on."""
    if not env.has_wrapper_attr("get_keys_to_action"):
        return {}
    keys = {}
    for pressed, action in env.get_wrapper_attr("get_keys_to_action")().items():
        pressed = pressed if isinstance(pressed, tuple | str) else (pressed,)
        if len(pressed) == 1:
            key = pressed[0]
            key = PYGAME.get(key) or (chr(key) if isinstance(key, int) and key < 127 else key)
            if isinstance(key, str):
                keys[NAMES.get(key, key)] = action
    return keys


class _Terminal:
    """Standard input, which passes keys on at once until `restore`."""

    def __init__(self) -> None:
        if not sys.stdin.isatty() or os.name != "posix":
            raise RuntimeError(
                "A person plays at the keyboard of a terminal, of Linux or macOS; with a window only, "
                "`gymnasium.utils.play.play(env)` does. Received: standard input is not a terminal"
            )
        self._termios, self._input = importlib.import_module("termios"), sys.stdin.fileno()
        self._before = self._termios.tcgetattr(self._input)
        self._usual: Any = None
        if threading.current_thread() is threading.main_thread():
            self._usual = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        importlib.import_module("tty").setcbreak(self._input, self._termios.TCSANOW)  # keeps what was typed before

    def restore(self) -> None:
        """Makes the terminal as it was before."""
        with contextlib.suppress(self._termios.error):  # the terminal is gone
            self._termios.tcsetattr(self._input, self._termios.TCSANOW, self._before)
        if self._usual is not None:
            signal.signal(signal.SIGTERM, self._usual)

    def read(self, wait: bool) -> str:
        """What was pressed since the last call; if `wait`, waits until something is."""
        if not select.select([self._input], [], [], None if wait else 0)[0]:
            return ""
        try:
            pressed = os.read(self._input, 1024)
        except OSError:  # the terminal is gone
            pressed = b""
        if not pressed:
            raise Stop
        return pressed.decode(errors="replace")
