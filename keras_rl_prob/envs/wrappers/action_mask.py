"""`ActionMask`: adds the action mask from `info` to the observation."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces as gym_spaces
from gymnasium.utils import RecordConstructorArgs

from keras_rl_prob import checks, masks
from keras_rl_prob.envs.wrappers.arguments import checked_env
from keras_rl_prob.types import GymReset, GymStep


class ActionMask(gymnasium.Wrapper, RecordConstructorArgs):
    """Adds `info["action_mask"]`, from `reset` and `step`, to the observation, where agents expect it.

    A Dict observation gets the key `"action_mask"`; any other becomes `{"observation": ..., "action_mask": ...}`. In `info` the
    mask has the form that Gymnasium's `action_space.sample(mask=...)` takes; in the observation it consists of int8 arrays of 0
    and 1:

    | action space or component | in `info` | in the observation |
    | --- | --- | --- |
    | `Discrete(n)` | array `[n]` | `MultiBinary(n)` |
    | `MultiDiscrete` | tuple of arrays, one for each component, or a padded array | `MultiBinary([k, n])`, padded with 0 |
    | `MultiBinary` | array of 0 (stays 0) and 2 (free), or of bools (True: free) | `MultiBinary` of its shape, 1 if free |
    | `Box` | `None`, or left out | left out |
    | `Dict` | dict | Dict with the keys of those that have a mask |
    | `Tuple` | tuple | Dict with the positions of those that have a mask: `{"1": ...}` |

    `None` for a component allows all its actions. At the end of an episode, where no action is chosen, a mask that is missing
    or allows no action is replaced by one that allows all. Before that, `fit` raises an error for a mask that allows no action.

    Args:
        env: An environment with a mask in its `info`.
        key: Key of the mask in `info`.

    Raises:
        ValueError: The action space cannot be masked, or the observation already has such a key; from `reset` and `step`, if
            the mask is missing or does not fit the action space, with the environment and the step.

    Example:
    >>> env = ActionMask(gymnasium.make("Taxi-v4"))
    >>> env.observation_space
    Dict('action_mask': MultiBinary(6), 'observation': Discrete(500))
    >>> observation, info = env.reset(seed=0)
    >>> observation["action_mask"].tolist() == info["action_mask"].tolist()
    True
    """

    def __init__(self, env: gymnasium.Env, key: str = "action_mask") -> None:
        RecordConstructorArgs.__init__(self, key=key)
        gymnasium.Wrapper.__init__(self, checked_env(env))
        self.key = checks.text("key", key)
        space: Any = env.observation_space
        mask = masks.mask_space(env.action_space)
        if mask is None:
            raise ValueError(
                "`env` must have actions that can be masked: Discrete, MultiDiscrete or MultiBinary, perhaps in a Dict or a "
                f"Tuple. Received: env={env} with action_space={env.action_space}"
            )
        self._is_dict = isinstance(space, gym_spaces.Dict)
        if self._is_dict and masks.KEY in space.spaces:
            raise ValueError(
                f"`env` must have no {masks.KEY!r} in its observations yet. Received: env={env} with {space}"
            )
        parts = space.spaces if self._is_dict else {"observation": space}
        self.observation_space = gym_spaces.Dict({**parts, masks.KEY: mask})
        self._episode, self._step = 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> GymReset:
        """Starts an episode; its first observation has the mask."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._episode, self._step = self._episode + 1, 0
        return self._with_mask(observation, info, False), info

    def step(self, action: Any) -> GymStep:
        """Takes a step; the observation has the mask for the next one."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._step += 1
        return self._with_mask(observation, info, terminated or truncated), reward, terminated, truncated, info

    def _with_mask(self, observation, info, over):
        mask = info.get(self.key)
        if mask is None and not over:
            raise ValueError(
                f"`info` must have an action mask under the key {self.key!r}. Received: {sorted(map(str, info))} at "
                f"{self._moment()}"
            )
        parts = observation if self._is_dict else {"observation": observation}
        return {**parts, masks.KEY: self._converted(self.env.action_space, mask, (), over)}

    def _converted(self, space, mask, path, over):
        """A nest like `masks.mask_space(space)` of int8 arrays; `None`, or an empty dict, if the space cannot be masked."""
        if isinstance(space, gym_spaces.Dict | gym_spaces.Tuple):
            parts = self._parts(space, mask, path)
            nest = {
                str(key): self._converted(child, parts.get(key), (*path, key), over)
                for key, child in masks.children(space)
            }
            return {key: part for key, part in nest.items() if part is not None and len(part)}
        entries = masks.existing(space)
        if entries is None:
            if mask is not None:
                self._refuse(path, f"`None`, since nothing of {space} can be masked", mask)
            return None
        if mask is None:
            return entries.astype(np.int8)
        if isinstance(space, gym_spaces.MultiBinary):
            return self._switches(space, mask, path)
        counts = np.asarray(space.n if isinstance(space, gym_spaces.Discrete) else space.nvec)
        array = self._padded(counts, mask, entries.shape[-1], path)
        if over:
            array = np.where(array.any(-1, keepdims=True), array, entries)
        return array.astype(np.int8)

    def _parts(self, space, mask, path):
        """A dict of the components of a Dict's or a Tuple's mask."""
        if mask is None:
            return {}
        if isinstance(space, gym_spaces.Tuple):
            if not isinstance(mask, tuple | list) or len(mask) != len(space.spaces):
                self._refuse(path, f"a tuple of {len(space.spaces)} masks for {space}", mask)
            return dict(enumerate(mask))
        if not isinstance(mask, dict) or not set(mask) <= set(space.spaces):
            self._refuse(path, f"a dict with keys among {sorted(space.spaces)} for {space}", mask)
        return mask

    def _switches(self, space, mask, path):
        array = np.asarray(mask)
        if array.shape != space.shape:
            self._refuse(path, f"an array of the shape {space.shape} for {space}", mask)
        if array.dtype != np.bool_ and not np.isin(array, (0, 2)).all():
            self._refuse(path, "0 where an entry stays 0 and 2 where it is free, for none can be made to stay 1", mask)
        return (array != 0).astype(np.int8)

    def _padded(self, counts, mask: Any, width, path):
        """A bool array `[*counts.shape, width]`, whose rows are as long as `counts` says and then False."""
        if counts.ndim:
            rows: Any = mask  # NumPy says less of what is iterable
            if not np.iterable(mask) or len(rows) != len(counts):
                self._refuse(path, f"masks of {len(counts)} components", mask)
            return np.stack(
                [self._padded(*pair, width, (*path, i)) for i, pair in enumerate(zip(counts, mask, strict=True))]
            )
        array = np.asarray(mask)
        if array.shape not in ((int(counts),), (width,)):
            self._refuse(path, f"an array of the shape {(int(counts),)}", mask)
        return (np.arange(width) < counts) & (np.resize(array, width) != 0)

    def _refuse(self, path, wanted, mask):
        shape = f" of the shape {mask.shape}" if isinstance(mask, np.ndarray) else ""
        raise ValueError(
            f"`info[{self.key!r}]` must be what `action_space.sample(mask=...)` takes, "
            f"{f'at {list(path)} ' if path else ''}{wanted}. Received: {mask!r}{shape} at {self._moment()}"
        )

    def _moment(self):
        return f"step {self._step} of episode {self._episode}, from {self.env}"
