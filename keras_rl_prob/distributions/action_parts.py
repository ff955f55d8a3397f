"""The continuous and the discrete parts of an action."""

import math

import gymnasium
import tensorflow as tf
from gymnasium import spaces as gym_spaces

from keras_rl_prob import spaces
from keras_rl_prob.distributions.joint_actions import MOST, JointActions
from keras_rl_prob.types import Nest


class ActionParts:
    """Splits actions into their continuous parts, which are sampled, and their discrete ones, over which one can sum.

    The combinations of all discrete parts are numbered, the last part changes fastest. An action without discrete parts is
    its own continuous part, and there is one combination.

    Args:
        action_space: A Gymnasium space of Box, Discrete and MultiDiscrete spaces in any Tuple and Dict.

    Attributes:
        continuous_space: The space without its discrete parts: those of a Tuple move up, a Dict keeps its other keys; `None`
            if nothing is left.
        discrete: Whether there are discrete parts.
        count: Number of combinations of the discrete parts.

    Raises:
        ValueError: There is a part of another kind, or there are more than 1,000 combinations.

    Example:
    >>> parts = ActionParts(gym_spaces.Tuple([gym_spaces.Box(-1.0, 1.0), gym_spaces.Discrete(3), gym_spaces.Discrete(2)]))
    >>> parts.continuous_space, parts.count, int(parts.index((tf.constant([0.5]), tf.constant(2), tf.constant(1))))
    (Tuple(Box(-1.0, 1.0, (1,), float32)), 6, 5)
    """

    def __init__(self, action_space: gymnasium.Space) -> None:
        self._space = action_space
        others = [leaf for leaf in spaces.leaves(action_space) if not isinstance(leaf, gym_spaces.Box)]
        wrong = [leaf for leaf in others if not isinstance(leaf, gym_spaces.Discrete | gym_spaces.MultiDiscrete)]
        if wrong:
            raise ValueError(
                "`env` must have actions of Box, Discrete and MultiDiscrete spaces. `krp.PPO` takes any action. "
                f"Received: {wrong[0]} in action_space={action_space}"
            )
        sizes = [math.prod(leaf.nvec.ravel().tolist() if hasattr(leaf, "nvec") else [int(leaf.n)]) for leaf in others]
        self.count = math.prod(sizes)
        if self.count > MOST:
            raise ValueError(
                f"`env` must have at most {MOST:,} combinations of discrete actions, each of which has its own value. "
                f"`krp.PPO` takes any action. Received: action_space={action_space}"
            )
        self._joints, self.discrete = [JointActions(leaf) for leaf in others], bool(others)
        self.continuous_space = _without_discrete(action_space)

    def continuous(self, nest: Nest) -> Nest:
        """The part of a nest like the action space that belongs to `continuous_space`; `()` if there is none."""
        return _kept(self._space, nest) if self.continuous_space is not None else ()

    def index(self, action: Nest) -> tf.Tensor:
        """The number, int32 `[...]`, of the combination of discrete parts in actions, a nest `[..., *shape]`."""
        first, *others = zip(self._joints, self._discrete(action), strict=True)
        index = first[0].index(first[1])
        for joint, part in others:
            index = index * joint.count + joint.index(part)
        return index

    def log_probabilities(self, parameters: Nest) -> tf.Tensor:
        """Log-probabilities, float32 `[..., count]`, of all combinations of the discrete parts.

        Args:
            parameters: Nest like the action space of the outputs `[..., *shape]` of heads; those of discrete parts are from
                `DenseCategorical`.
        """
        first, *others = zip(self._joints, self._discrete(parameters), strict=True)
        total = first[0].log_probabilities(first[1])
        for joint, part in others:
            total = total[..., None] + joint.log_probabilities(part)[..., None, :]
            total = tf.reshape(total, (*total.shape[:-2], total.shape[-2] * total.shape[-1]))
        return total

    def _discrete(self, nest):
        return [part for leaf, part in spaces.pairs(self._space, nest) if not isinstance(leaf, gym_spaces.Box)]


def _without_discrete(space):
    """A space of the Box leaves alone, or `None`."""
    if isinstance(space, gym_spaces.Dict):
        parts = {key: _without_discrete(child) for key, child in space.spaces.items()}
        named = {key: part for key, part in parts.items() if part is not None}
        return gym_spaces.Dict(named) if named else None
    if isinstance(space, gym_spaces.Tuple):
        kept = [part for part in map(_without_discrete, space.spaces) if part is not None]
        return gym_spaces.Tuple(kept) if kept else None
    return space if isinstance(space, gym_spaces.Box) else None


def _kept(space, nest):
    """The part of a nest like `space` that belongs to `_without_discrete(space)`, which is not `None`."""
    if isinstance(space, gym_spaces.Dict):
        children = {key: child for key, child in sorted(space.spaces.items()) if _without_discrete(child) is not None}
        return {key: _kept(child, nest[key]) for key, child in children.items()}
    if isinstance(space, gym_spaces.Tuple):
        pairs = zip(space.spaces, nest, strict=True)
        return tuple(_kept(child, part) for child, part in pairs if _without_discrete(child) is not None)
    return nest
