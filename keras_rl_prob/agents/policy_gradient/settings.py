"""Settings of the policy-gradient agents."""

import dataclasses
import math
from typing import Any, ClassVar

import keras

from keras_rl_prob import checks
from keras_rl_prob.settings import Schedule, Settings

STATES = ("stored", "zero", "refreshed")
TARGETS = ("lambda", "monte_carlo")


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
        kl_by_sequence: Whether `target_kl` holds for each sequence alone: instead of all updates, those sequences are left out
            of an update whose own mean KL exceeds 1.5 times it. Logs `kl_max`, the largest KL of a sequence, and `kl_left_out`,
            the share of the sequences left out.
        initial_state: The recurrent state at the start of a sequence: `"stored"`, as it was in the rollout; `"zero"`; or
            `"refreshed"`, computed anew with the current weights before every pass but the first.

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
    kl_by_sequence: bool = False
    initial_state: str = "stored"
    plain: ClassVar[str] = "count"

    def checked(self) -> dict[str, Any]:
        """Counts are positive integers, `target_kl` is a positive number, `initial_state` is one of three words."""
        if self.initial_state not in STATES:
            raise ValueError(
                f"`initial_state` must be one of {list(STATES)}. Received: initial_state={self.initial_state!r}"
            )
        return {
            "kl_by_sequence": checks.flag("kl_by_sequence", self.kl_by_sequence),
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
        log_prob_clip: Bound of the log-probabilities, old and new, of which the ratio is made: they are clipped to
            [-log_prob_clip, log_prob_clip], and get no gradient beyond. `None` for no bound.

    Raises:
        ValueError: A number is out of its range.

    Example:
    ```python
    agent = krp.PPO(clip_ratio=krp.Clipping(0.1, value_clip=0.2))
    ```
    """

    clip_ratio: float | Schedule | None = 0.2
    value_clip: float | Schedule | None = None
    log_prob_clip: float | Schedule | None = None
    plain: ClassVar[str] = "clip_ratio"

    def checked(self) -> dict[str, Any]:
        """All are positive numbers, schedules, or `None`."""
        return {
            name: checks.number(name, getattr(self, name), above=0.0, none=True, schedule=True)
            for name in ("clip_ratio", "value_clip", "log_prob_clip")
        }


@keras.saving.register_keras_serializable("keras_rl_prob")
@dataclasses.dataclass(frozen=True)
class ValueLoss(Settings):
    """What the value is learned from, and how; agents also take a plain number for `value_coef`.

    Args:
        coef: Weight of the value loss. A float or a Keras schedule over gradient steps.
        huber_delta: Error at which the loss turns from quadratic to linear, or `None` for the squared error. Smaller errors
            have the same loss with both.
        target: `"lambda"` for the lambda-return, which is the advantage plus the value, or `"monte_carlo"` for the discounted
            return to the end of the episode, or of the rollout with a bootstrap. Advantages do not depend on it.

    Raises:
        ValueError: A number is out of its range, or there is no such target.

    Example:
    ```python
    agent = krp.PPO(value_coef=krp.ValueLoss(0.5, huber_delta=1.0, target="monte_carlo"))
    ```
    """

    coef: float | Schedule = 0.5
    huber_delta: float | None = None
    target: str = "lambda"
    plain: ClassVar[str] = "coef"

    def checked(self) -> dict[str, Any]:
        """The coefficient is at least 0, delta is positive, the target is one of two words."""
        if self.target not in TARGETS:
            raise ValueError(f"`target` must be one of {list(TARGETS)}. Received: target={self.target!r}")
        return {
            "coef": checks.number("coef", self.coef, schedule=True),
            "huber_delta": checks.number("huber_delta", self.huber_delta, above=0.0, none=True),
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
