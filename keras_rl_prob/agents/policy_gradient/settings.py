"""Settings of the policy-gradient agents."""

import dataclasses
import math
from typing import Any, ClassVar

import keras

from keras_rl_prob import checks
from keras_rl_prob.settings import Schedule, Settings


@keras.saving.register_keras_serializable("keras_rl_prob")
@dataclasses.dataclass(frozen=True)
class Minibatches(Settings):
    """How a rollout is divided into minibatches; an agent also takes a plain number for `count`.

    Args:
        count: Gradient steps in one pass over a rollout.
        sequence_length: Steps through which the gradient of the memory flows; must divide `rollout_steps`. `None` for the
            longest with which the sequences can be divided evenly, usually the whole rollout; 1 for networks without memory.
        target_kl: If the mean KL(old || new) of a minibatch exceeds 1.5 times this, the remaining updates on the rollout are
            skipped. `None` for never.

    Raises:
        ValueError: A number is out of its range.

    Example:
    ```python
    agent = krp.RecurrentPPO(minibatches=krp.Minibatches(8, sequence_length=16))
    ```
    """

    count: int = 4
    sequence_length: int | None = None
    target_kl: float | None = None
    plain: ClassVar[str] = "count"

    def checked(self) -> dict[str, Any]:
        """Counts are positive integers, `target_kl` is a positive number."""
        return {
            "count": checks.integer("count", self.count),
            "sequence_length": checks.integer("sequence_length", self.sequence_length, none=True),
            "target_kl": checks.number("target_kl", self.target_kl, above=0.0, none=True),
        }


@keras.saving.register_keras_serializable("keras_rl_prob")
@dataclasses.dataclass(frozen=True)
class Clipping(Settings):
    """How far an update may move policy and value; PPO also takes a plain number for `clip_ratio`.

    Args:
        clip_ratio: Epsilon of the clipped surrogate, or `None` for no clipping. A float or a Keras schedule over gradient
            steps.
        value_clip: How far the value may move from the old one in an update, or `None`. A float or a schedule.

    Raises:
        ValueError: A number is out of its range.

    Example:
    ```python
    agent = krp.PPO(clip_ratio=krp.Clipping(0.1, value_clip=0.2))
    ```
    """

    clip_ratio: float | Schedule | None = 0.2
    value_clip: float | Schedule | None = None
    plain: ClassVar[str] = "clip_ratio"

    def checked(self) -> dict[str, Any]:
        """Both are positive numbers, schedules, or `None`."""
        return {
            name: checks.number(name, getattr(self, name), above=0.0, none=True, schedule=True)
            for name in ("clip_ratio", "value_clip")
        }


@keras.saving.register_keras_serializable("keras_rl_prob")
@dataclasses.dataclass(frozen=True)
class VTrace(Settings):
    """Truncation levels of the importance weights in V-trace; `math.inf` for none.

    Args:
        lambda_: Lambda of the targets: 0 for one step, 1 for up to the end of the rollout.
        clip_rho: Largest weight of a TD error. It determines the policy whose values are learned.
        clip_c: Largest weight of the trace, which passes later errors on. It affects the speed of learning.
        clip_pg_rho: Largest weight of an advantage in the policy gradient.

    Raises:
        ValueError: A number is out of its range, or `clip_rho` is below `clip_c`.

    References:
        Espeholt et al., 2018, https://arxiv.org/abs/1802.01561.

    Example:
    ```python
    agent = krp.IMPALA(vtrace=krp.VTrace(clip_pg_rho=2.0))
    ```
    """

    lambda_: float = 1.0
    clip_rho: float = 1.0
    clip_c: float = 1.0
    clip_pg_rho: float = 1.0

    def checked(self) -> dict[str, float]:
        """Lambda is between 0 and 1, the others are positive, infinity included."""
        clips = {name: _positive(name, getattr(self, name)) for name in ("clip_rho", "clip_c", "clip_pg_rho")}
        if clips["clip_rho"] < clips["clip_c"]:
            raise ValueError(
                "`clip_rho` must be at least `clip_c`, or the targets need not converge. "
                f"Received: clip_rho={self.clip_rho}, clip_c={self.clip_c}"
            )
        return {"lambda_": checks.fraction("lambda_", self.lambda_), **clips}


def _positive(name, value):
    return value if value == math.inf else checks.number(name, value, above=0.0)
