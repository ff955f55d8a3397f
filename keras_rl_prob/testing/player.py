"""Plays random episodes and checks every call."""

import copy
import dataclasses
from typing import Any

import gymnasium
import numpy as np

from keras_rl_prob import border, masks, spaces

REMEMBERED = 1000  # number of steps of an episode that are stored for comparison


@dataclasses.dataclass
class Played:
    """A random episode.

    Attributes:
        number: Number of the episode, from 1.
        length: Number of steps.
        truncated: Whether its last step truncated it.
        actions: The first `REMEMBERED` actions.
        rows: Pairs of observation and `(reward, terminated, truncated)` of the reset and of these actions.
    """

    number: int
    length: int = 0
    truncated: bool = False
    actions: list = dataclasses.field(default_factory=list)
    rows: list = dataclasses.field(default_factory=list)


class Player:
    """Plays in an environment and raises a `ValueError` if it violates its spaces or Gymnasium's API.

    Args:
        env: A `gymnasium.Env` whose spaces are supported.
        max_steps: Number of steps after which an episode must have ended.
    """

    def __init__(self, env: gymnasium.Env, max_steps: int) -> None:
        self._env, self._max_steps = env, max_steps
        self._actions = copy.deepcopy(env.action_space)
        self._masks = masks.places(env.observation_space, env.action_space)
        self._seen: Any = None  # the last observation and a copy of it

    @property
    def is_masked(self) -> bool:
        """Whether observations contain action masks."""
        return bool(self._masks)

    def play(self, number: int, seed: int) -> Played:
        """Plays a random episode and returns it as `Played`."""
        self._actions.seed(seed)
        played = Played(number)
        observation = self._reset(seed, f"in the reset of episode {number}")
        played.rows.append((copy.deepcopy(observation), (0.0, False, False)))
        for step in range(1, self._max_steps + 1):
            action = self._legal_action(observation)
            observation, *outcome = self._step(action, f"at step {step} of episode {number}")
            if step <= REMEMBERED:
                played.actions.append(action)
                played.rows.append((copy.deepcopy(observation), tuple(outcome)))
            if any(outcome[1:]):
                played.length, played.truncated = step, bool(outcome[2])
                return played
        raise ValueError(
            "Episodes must end. Give the environment a time limit: `max_episode_steps` where it is registered or in "
            "`krp.envs.spec(...)`, or the wrapper `gymnasium.wrappers.TimeLimit(env, steps)`; or increase "
            f"`max_steps` of `check_env`. Received: {self._max_steps} steps without an end in episode {number}"
        )

    def difference(self, played: Played, seed: int) -> str | None:
        """The difference when the actions of an episode are repeated after a reset with `seed`; `None` if there is none."""
        replayed = f"when the actions of episode {played.number} were taken again with seed {seed}"
        row = self._reset(seed, f"in the reset {replayed}"), (0.0, False, False)
        for step, (observation, outcome) in enumerate(played.rows):
            if step:
                observed, *rest = self._step(played.actions[step - 1], f"at step {step} {replayed}")
                row = observed, tuple(rest)
            if not self._same(row[0], observation):
                return f"another observation, {row[0]} instead of {observation}, after {step} steps"
            if row[1] != outcome:
                return f"another (reward, terminated, truncated), {row[1]} instead of {outcome}, after {step} steps"
        return None

    def _reset(self, seed, where):
        result = self._call("reset", where, seed=seed, options=None)
        if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[1], dict):
            raise ValueError(
                f"`reset` must return a pair `(observation, info)`; info is a dict. Received: {result!r} {where}"
            )
        self._check_observation(result[0], where, False)
        return result[0]

    def _step(self, action, where):
        result = self._call("step", where, action)
        if not isinstance(result, tuple) or len(result) != 5 or not isinstance(result[4], dict):
            raise ValueError(
                "`step` must return `(observation, reward, terminated, truncated, info)`; info is a dict. "
                f"Received: {result!r} {where}"
            )
        observation, reward, *ends, _ = result
        number = np.asarray(reward)
        if number.shape or number.dtype.kind not in "biuf" or not np.isfinite(number):
            raise ValueError(f"The reward must be a finite number, such as `float(x)`. Received: {reward!r} {where}")
        for name, end in zip(("terminated", "truncated"), ends, strict=True):
            if not isinstance(end, bool | np.bool_):
                raise ValueError(f"`{name}` must be True or False, such as `bool(x)`. Received: {end!r} {where}")
        self._check_observation(observation, where, any(ends))
        return observation, float(reward), *map(bool, ends)

    def _call(self, name, where, *args, **kwargs):
        try:
            result = getattr(self._env, name)(*args, **kwargs)
        except Exception as error:
            error.add_note(f"Raised by `{name}` of {self._env} {where} of `check_env`.")
            raise
        if self._seen is not None and not self._same(*self._seen):
            raise ValueError(
                "An observation must stay as it was returned; return `observation.copy()`, or a new array at each step. Else "
                "wrappers that store past observations, such as `FrameHistory`, show only the latest one, and where an "
                "episode is reset within its last step, its final observation is lost. "
                f"Received: {self._seen[1]} overwritten with {self._seen[0]} {where}"
            )
        self._seen = None
        return result

    def _check_observation(self, observation, where, over):
        misfit = border.misfit(self._env.observation_space, observation, exact=True)
        if misfit:
            raise ValueError(f"{misfit} {where}. Fix the observation or `observation_space`")
        self._seen = observation, copy.deepcopy(observation)
        leaves = [value for _, value in spaces.pairs(self._env.observation_space, observation)]
        for place in self._masks:
            allowed, entries = np.asarray(leaves[place.index]) != 0, masks.existing(place.leaf)
            if over or isinstance(place.leaf, gymnasium.spaces.MultiBinary) or (allowed & entries).any(-1).all():
                continue
            raise ValueError(
                "The action mask must allow an action as long as an episode lasts; terminate it if none is left. "
                f"Received: {masks.KEY}={leaves[place.index].tolist()} {where}"
            )

    def _same(self, first, second):
        pairs = zip(*(spaces.pairs(self._env.observation_space, x) for x in (first, second)), strict=True)
        return all(np.array_equal(one, other) for (_, one), (_, other) in pairs)

    def _legal_action(self, observation):
        action = self._actions.sample()
        if not self._masks:
            return action
        leaves = [value for _, value in spaces.pairs(self._env.observation_space, observation)]
        of_leaf = {place.action: np.asarray(leaves[place.index]) for place in self._masks}
        parts = iter(range(len(spaces.leaves(self._actions))))

        def legal(leaf, value, mask):
            if mask is None:
                return value
            if isinstance(leaf, gymnasium.spaces.MultiBinary):
                return value * (mask != 0)
            allowed = (mask != 0) & masks.existing(leaf)
            ranks = np.where(allowed, leaf.np_random.random(allowed.shape), -1.0)
            return (ranks.argmax(-1) + leaf.start).astype(leaf.dtype)

        nest = spaces.pairs(self._actions, action)
        return spaces.map_structure(lambda _: legal(*next(nest), of_leaf.get(next(parts))), self._actions)
