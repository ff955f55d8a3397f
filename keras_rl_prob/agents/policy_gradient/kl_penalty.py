"""The KL penalty that can replace or accompany PPO's clipping."""

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from keras_rl_prob import checks
from keras_rl_prob.ops.losses import adapt_kl_beta, kl_cutoff
from keras_rl_prob.settings import Settings


@keras.saving.register_keras_serializable("keras_rl_prob")
@dataclasses.dataclass(frozen=True)
class KLPenalty(Settings):
    """Penalty on KL(old policy || new policy): `beta * KL + cutoff_coef * max(KL - cutoff_factor * target, 0)^2`.

    After the updates on a rollout, beta is multiplied by 1.5 if the mean KL of the last pass over the data was above
    `target * (1 + tolerance)`, and divided by 1.5 if it was below `target * (1 - tolerance)`. With `clip_ratio=None` this
    is the objective of Schulman et al. (2017), section 4, with the cutoff term of Hafner et al. (2017), "TensorFlow Agents".

    Args:
        target: The KL divergence, in nats per step, that beta is adapted to.
        initial_beta: Beta before the first update; 0 leaves only the cutoff term.
        tolerance: Relative distance from the target within which beta does not change.
        cutoff_factor: Multiple of the target above which the cutoff term applies.
        cutoff_coef: Weight of the cutoff term; 0 for none.

    Example:
    ```python
    agent = krp.RecurrentPPO(clip_ratio=None, kl_penalty=krp.KLPenalty(target=0.01))
    ```
    """

    target: float = 0.01
    initial_beta: float = 1.0
    tolerance: float = 0.3
    cutoff_factor: float = 2.0
    cutoff_coef: float = 1000.0

    def checked(self) -> dict[str, Any]:
        """All are numbers of at least 0; the target is positive."""
        names = [field.name for field in dataclasses.fields(self)]
        return {
            name: checks.number(name, getattr(self, name), above=0.0 if name == "target" else None) for name in names
        }

    def terms(self, kl: tf.Tensor, beta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The two terms of the penalty for a mean KL, scalars: that with beta, and the cutoff."""
        return beta * kl, kl_cutoff(kl, self.target, self.cutoff_factor, self.cutoff_coef)

    def adapted(self, beta: tf.Tensor, kl: tf.Tensor) -> tf.Tensor:
        """Beta for the next rollout, given the mean KL of the last pass over this one."""
        return adapt_kl_beta(beta, kl, self.target, self.tolerance)
