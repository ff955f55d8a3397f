"""Settings of the actor-critics with a replay buffer."""

import dataclasses
import math
from typing import Any

import gymnasium
import keras
import numpy as np

from keras_rl_prob import checks, spaces
from keras_rl_prob.settings import Settings


@keras.saving.register_keras_serializable("keras_rl_prob")
@dataclasses.dataclass(frozen=True)
class LearnedTemperature(Settings):
    """A temperature that rises while the entropy of the policy is below a target, and falls while it is above it.

    Args:
        target_entropy: That of the continuous parts of actions, in nats. `None` is -1 for each dimension of an action on the
            scale from -1 to 1, and as much on other scales: `log(half the range) - 1` for a dimension with bounds.
        initial: Positive number, the temperature before training.
        discrete_target: The target for the discrete parts of actions, from 0 to 1: a fraction of the entropy of the uniform
            distribution over the combinations that action masks allow, `log(combinations)`.

    Raises:
        ValueError: A number is out of its range.

    References:
        Haarnoja et al., "Soft actor-critic algorithms and applications", 2018, https://arxiv.org/abs/1812.05905, section 5;
        a target for each kind: Delalleau et al., 2019, https://arxiv.org/abs/1912.11077.

    Example:
    ```python
    agent = krp.SAC(temperature=krp.LearnedTemperature(target_entropy=-3.0))
    ```
    """

    target_entropy: float | None = None
    initial: float = 1.0
    discrete_target: float = 0.5

    def checked(self) -> dict[str, Any]:
        """Checks that all are numbers, `initial` is positive and `discrete_target` from 0 to 1."""
        return {
            "target_entropy": checks.number("target_entropy", self.target_entropy, -math.inf, none=True),
            "initial": checks.number("initial", self.initial, above=0.0),
            "discrete_target": checks.fraction("discrete_target", self.discrete_target),
        }

    def target(self, action_space: gymnasium.Space) -> float:
        """The target for the continuous parts of actions, in nats."""
        if self.target_entropy is not None:
            return self.target_entropy
        total = 0.0
        for leaf in spaces.leaves(action_space):
            if not isinstance(leaf, gymnasium.spaces.Box):
                continue
            bounded = spaces.bounded(leaf)
            half = 0.5 * (leaf.high[bounded].astype(np.float64) - leaf.low[bounded])
            total += float(np.sum(np.log(half))) - bounded.size
        return total
