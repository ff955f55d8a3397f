"""Action masks: the entry `"action_mask"` of a Dict observation, which has a mask for each leaf of the action space.

The mask of a leaf of the action space is nonzero where an entry may be chosen:

| leaf | mask |
| --- | --- |
| `Discrete(n)` | `[n]` |
| `MultiDiscrete` | `[*shape, n]`, n the greatest number of classes; components with fewer classes are padded with any values |
| `MultiBinary(shape)` | `shape`; 0 where an entry must be 0 |
| `Box` | none |

The masks of a Dict are in a Dict with the same keys, those of a Tuple in a Dict with its positions as keys: `{"1": mask}` masks
the second component. Components without a mask are left out.
"""

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Any

import gymnasium
import keras
import numpy as np
import tensorflow as tf
from gymnasium import spaces as gym_spaces

from keras_rl_prob import spaces
from keras_rl_prob.types import Nest

KEY = "action_mask"


@dataclasses.dataclass(frozen=True)
class Place:
    """The place of a mask in a flattened observation.

    Attributes:
        index: Index among the leaves of the observation space.
        shape: Shape of the mask.
        action: Index among the leaves of the action space.
        leaf: That leaf of the action space.
    """

    index: int
    shape: Any
    action: int = -1
    leaf: gym_spaces.Space | None = None


def existing(leaf: Any) -> np.ndarray | None:
    """Returns which entries of a leaf's mask are not padding, a bool array of the mask's shape; `None` for a Box."""
    if isinstance(leaf, gym_spaces.Box):
        return None
    if isinstance(leaf, gym_spaces.MultiDiscrete):
        return np.arange(leaf.nvec.max()) < leaf.nvec[..., np.newaxis]
    return np.ones(leaf.n if isinstance(leaf, gym_spaces.Discrete) else leaf.shape, bool)


def mask_space(action_space: gymnasium.Space) -> gymnasium.Space | None:
    """The Gymnasium space of an action space's masks: MultiBinary, or a Dict of these; `None` if nothing can be masked.

    Example:
    >>> from gymnasium.spaces import Box, Discrete, Tuple
    >>> mask_space(Tuple([Box(-1, 1), Discrete(3)]))
    Dict('1': MultiBinary(3))
    """
    if isinstance(action_space, gym_spaces.Dict | gym_spaces.Tuple):
        nested = {str(key): mask_space(child) for key, child in children(action_space)}
        masks = {key: mask for key, mask in nested.items() if mask is not None}
        return gym_spaces.Dict(masks) if masks else None
    entries = existing(action_space)
    if entries is None:
        return None
    return gym_spaces.MultiBinary(entries.size if entries.ndim == 1 else entries.shape)


def children(space: gym_spaces.Dict | gym_spaces.Tuple) -> Iterable[tuple[Any, gymnasium.Space]]:
    """The children of a Dict or Tuple, each as a pair of its key or position and the child."""
    return space.spaces.items() if isinstance(space, gym_spaces.Dict) else enumerate(space.spaces)


def align(action_space: gymnasium.Space, mask: Nest, leading: int = 0) -> list[Any]:
    """Returns the mask of each leaf of an action space.

    Args:
        action_space: A Gymnasium space.
        mask: Nest of objects with a `shape`, such as tensors or leaves of a space, or `None` for no mask at all.
        leading: Number of axes before those of the mask, such as 1 for batches.

    Returns:
        List in the order of `spaces.leaves(action_space)`, `None` where there is no mask.

    Raises:
        ValueError: A mask has the wrong shape for its leaf, or there is no such leaf.
    """
    parts = {} if mask is None else {_strings(path): part for path, part in keras.tree.flatten_with_path(mask)}
    aligned = []
    for path, leaf in keras.tree.flatten_with_path(spaces.map_structure(lambda leaf: leaf, action_space)):
        entries: Any
        part, entries = parts.pop(_strings(path), None), existing(leaf)
        where = f"`{'.'.join((KEY, *_strings(path)))}` of the observation"
        if part is not None and entries is None:
            raise ValueError(f"{where} must be left out, since nothing of {leaf} can be masked. Received: {part}")
        if part is not None and tuple(part.shape[leading:]) != entries.shape:
            raise ValueError(
                f"{where} must have the shape {entries.shape}, to mask the action space's {leaf}. "
                f"Received: shape {tuple(part.shape[leading:])}"
            )
        aligned.append(part)
    if parts:
        wanted = mask_space(action_space)
        raise ValueError(
            f"`{KEY}` of the observation must be laid out like the action space {action_space}. Expected: "
            f"{'no mask' if wanted is None else wanted}. Received: masks at {sorted('.'.join(path) for path in parts)}"
        )
    return aligned


def places(observation_space: gymnasium.Space, action_space: gymnasium.Space) -> list[Place]:
    """Returns the places of masks in observations, a list of `Place`s; empty if no masks match the action space."""
    if not isinstance(observation_space, gym_spaces.Dict) or KEY not in observation_space.spaces:
        return []
    count = itertools.count()
    nest = spaces.map_structure(lambda leaf: Place(next(count), leaf.shape), observation_space)
    try:
        aligned = align(action_space, nest[KEY])
    except ValueError:
        return []
    parts = zip(aligned, spaces.leaves(action_space), strict=True)
    return [dataclasses.replace(x, action=i, leaf=leaf) for i, (x, leaf) in enumerate(parts) if x is not None]


def choices(observation_space: gymnasium.Space, action_space: gymnasium.Space) -> list[tuple[int, Any]]:
    """Masks that must allow an action: pairs of a leaf's index in the observation and the mask's `existing` entries.

    Masks of MultiBinary are left out, since they may require all bits to be 0.
    """
    found = places(observation_space, action_space)
    return [(x.index, existing(x.leaf)) for x in found if not isinstance(x.leaf, gym_spaces.MultiBinary)]


def forbidden(leaf: gymnasium.Space, mask: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Returns which actions a mask forbids.

    Args:
        leaf: The leaf of an action space that is not a Box.
        mask: Array `[N, ...]`.
        action: Int array `[N, *leaf.shape]`, classes counted from 0.

    Returns:
        bool array `[N]`.
    """
    if isinstance(leaf, gym_spaces.MultiBinary):
        wrong = (action != 0) & (mask == 0)
    else:
        wrong = np.take_along_axis(mask, action[..., np.newaxis].astype(np.int64), -1) == 0
    return wrong.reshape(len(wrong), -1).any(-1)


def sample(action_space: gymnasium.Space, batch_size: int, seed: tf.Tensor, mask: Nest) -> Nest:
    """Returns random actions that a mask allows, see `keras_rl_prob.spaces.sample`.

    Args:
        action_space: A Gymnasium space.
        batch_size: `B`.
        seed: int32 `[2]`.
        mask: Nest of tensors `[B, ...]`, nonzero where an entry may be chosen, or `None`.

    Returns:
        A nest of tensors `[B, ...]`.
    """
    actions = spaces.sample(action_space, batch_size, seed)

    def legal(index, leaf, action, mask):
        if mask is None:
            return action
        if isinstance(leaf, gym_spaces.MultiBinary):
            return tf.where(tf.cast(mask, tf.bool), action, 0)
        allowed = tf.cast(mask, tf.bool) & existing(leaf)
        ranks = tf.random.stateless_uniform((batch_size, *mask.shape[1:]), seed + [index, 13])
        drawn = tf.argmax(tf.where(allowed, ranks, -1.0), -1, tf.int32)
        return tf.where(tf.reduce_any(allowed, -1), drawn, action)

    leaves, masks = spaces.leaves(action_space), align(action_space, mask, leading=1)
    flat = zip(itertools.count(), leaves, tf.nest.flatten(actions), masks, strict=False)
    return tf.nest.pack_sequence_as(actions, [legal(*parts) for parts in flat])


def for_gymnasium(action_space: gymnasium.Space, mask: Nest) -> Any:
    """The mask of one observation as `action_space.sample(mask)` takes it.

    Args:
        action_space: A Gymnasium space.
        mask: Nest of arrays, nonzero where an entry may be chosen, or `None`.

    Returns:
        int8 arrays in the containers of the action space, `None` where there is no mask; 2 means a free bit of a MultiBinary.

    Example:
    >>> from gymnasium.spaces import Box, Discrete, Tuple
    >>> for_gymnasium(Tuple([Box(-1, 1), Discrete(3)]), {"1": np.array([True, False, True])})
    (None, array([1, 0, 1], dtype=int8))
    """
    if mask is None:
        return None
    if isinstance(action_space, gym_spaces.Dict | gym_spaces.Tuple):
        parts = {key: for_gymnasium(child, mask.get(str(key))) for key, child in children(action_space)}
        return parts if isinstance(action_space, gym_spaces.Dict) else tuple(parts.values())
    allowed = (np.asarray(mask) != 0).astype(np.int8)
    if isinstance(action_space, gym_spaces.MultiBinary):
        return 2 * allowed
    if isinstance(action_space, gym_spaces.MultiDiscrete):

        def nested(classes, allowed):
            if np.ndim(classes) == 0:
                return allowed[:classes]
            return tuple(nested(*parts) for parts in zip(classes, allowed, strict=True))

        return nested(action_space.nvec, allowed)
    return allowed


def _strings(path):
    return tuple(map(str, path))
