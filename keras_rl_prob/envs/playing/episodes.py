"""Episodes of any policy in one environment, step by step."""

import contextlib
import copy
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import gymnasium
import keras
import numpy as np

from keras_rl_prob import checks
from keras_rl_prob.envs.playing import rendering
from keras_rl_prob.envs.playing.screen import Screen
from keras_rl_prob.envs.single import SingleEnv

MAX_STEPS = 100_000  # of an episode


class Row(NamedTuple):
    """What an environment returned for an action, or at a reset.

    Attributes:
        observation: An element of the observation space.
        action: The action; `None` after a reset.
        reward: Its reward; 0.0 after a reset.
        terminated: Whether the action terminated the episode.
        truncated: Whether it truncated the episode.
    """

    observation: Any
    action: Any = None
    reward: Any = 0.0
    terminated: bool = False
    truncated: bool = False


class Stop(Exception):
    """A policy raises this to end play."""


def rows(
    env: gymnasium.Env, policy: Callable[..., Any], seed: int | None = None, max_steps: int = MAX_STEPS
) -> Iterator[Row]:
    """Plays an episode and yields its `Row`s, the first of which is that of the reset.

    Rows keep copies: environments and policies may use their arrays again.

    Args:
        env: A `gymnasium.Env`.
        policy: Callable from an observation to an action. Its `reset`, if it has one, is called first; if it has a true
            `wants_reward` it is also given the last `reward`.
        seed: Seed of the reset.
        max_steps: Number of steps after which the episode is left.

    Raises:
        ValueError: The environment returns something that it must not.
    """
    env = SingleEnv(env)
    observation, _ = env.reset(seed=seed)
    getattr(policy, "reset", lambda: None)()
    row = Row(copy.deepcopy(observation))
    yield row
    for _ in range(max_steps):
        rewarded = {"reward": row.reward} if getattr(policy, "wants_reward", False) else {}
        action = policy(observation, **rewarded)
        taken = copy.deepcopy(action)
        observation, reward, terminated, truncated, _ = env.step(action)
        row = Row(copy.deepcopy(observation), taken, copy.copy(reward), terminated, truncated)
        yield row
        if terminated or truncated:
            return


def play(
    env: rendering.Drawable,
    policy: Callable[..., Any],
    episodes: int = 1,
    render_mode: str | None = "human",
    fps: float | None = None,
    max_steps: int = MAX_STEPS,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Plays episodes with any policy and shows them; `agent.play(env)` is this with the agent's policy.

    Args:
        env: Id of an environment, a `krp.envs.spec`, a callable that makes an environment, or a `gymnasium.Env` that was made
            with this render mode, which stays open. Native ids are drawn by Gymnasium's environment of the same physics.
        policy: Callable from an observation to an action, such as a bot; `reset`, if it has one, is called at each start of an
            episode.
        episodes: Number of episodes.
        render_mode: `"human"` for a window, `"terminal"` for a picture of characters in a terminal, `"rgb_array"` for frames in
            what is returned, `None` for nothing.
        fps: Frames a second of a window or terminal, at most; the environment's own by default.
        max_steps: Number of steps after which an episode is left.
        seed: Seed of the first episode; the next one has `seed + 1`.

    Returns:
        A list with a dict for each episode: its undiscounted `"return"`, its `"length"` in steps, the list of its `"actions"`,
        and with `"rgb_array"` its `"frames"`, uint8 `[length + 1, height, width, 3]`.

    Raises:
        ValueError: `env` cannot be drawn, or a number is not positive.
        RuntimeError: There is no display for a window, or no terminal.

    Example:
    >>> bot = lambda observation: int(observation[2] > 0)
    >>> [episode] = play("CartPole-v1", bot, render_mode=None, seed=3)
    >>> episode["length"] == len(episode["actions"]) == episode["return"]
    True
    """
    episodes, max_steps = checks.integer("episodes", episodes), checks.integer("max_steps", max_steps)
    seed, fps = checks.seed("seed", seed, least=0), checks.number("fps", fps, above=0.0, none=True)
    if isinstance(policy, keras.Model):
        raise TypeError(
            "`policy` must be `agent.policy()`, not the agent itself, which acts on batches; or use `agent.play(env)`"
        )
    if not callable(policy):
        raise TypeError(f"`policy` must be a callable from an observation to an action. Received: policy={policy!r}")
    played: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        legend = getattr(policy, "legend", "Ctrl-C ends")
        screen = stack.enter_context(Screen(legend)) if render_mode == "terminal" else None
        made = stack.enter_context(rendering.drawn(env, render_mode))
        pace = Pace(made, fps) if render_mode in ("human", "terminal") else None
        stack.callback(getattr(pace, "restore", lambda: None))
        stack.enter_context(contextlib.suppress(Stop))
        for number in range(episodes):
            episode: dict[str, Any] = {"return": 0.0, "length": 0, "actions": []}
            frames: list[np.ndarray] = []
            played.append(episode)
            for row in rows(made, policy, seed + number, max_steps):
                _count(episode, row)
                if screen:
                    screen.show(made, row, number + 1, episode)
                elif render_mode == "rgb_array":
                    frames.append(rendering.frame(made))
                    episode["frames"] = frames
                if pace:
                    pace.wait()
            if frames:
                episode["frames"] = np.stack(frames)
    return played


def _count(episode, row):
    if row.action is not None:
        episode["return"] += float(row.reward)
        episode["length"] += 1
        episode["actions"].append(row.action)


class Pace:
    """Waits so that frames come at a rate, which also becomes that of an environment that paces its own window.

    Args:
        env: A `gymnasium.Env`.
        fps: Frames a second, or `None` for those of the environment.
    """

    def __init__(self, env: gymnasium.Env, fps: float | None) -> None:
        self._env, self._own = env.unwrapped, env.unwrapped.metadata
        fps = fps or rendering.rate(env)
        self._env.metadata = self._own | {"render_fps": fps}
        self._interval, self._due = 1 / fps, time.perf_counter()

    def wait(self) -> None:
        """Waits until the next frame is due."""
        self._due = max(self._due + self._interval, time.perf_counter())
        time.sleep(max(0.0, self._due - time.perf_counter()))

    def restore(self) -> None:
        """Gives the environment its own rate again."""
        self._env.metadata = self._own
