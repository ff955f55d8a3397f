"""Settings of replay buffers, as immutable objects."""

import dataclasses
import math
from typing import Any

import keras
import tensorflow as tf

from keras_rl_prob import checks
from keras_rl_prob.settings import Schedule, Settings, current


def most_of_poisson(mean: int) -> int:
    """Maximum of a Poisson-distributed number of gradient steps: four standard deviations above the mean."""
    return mean + math.ceil(4 * mean**0.5)


@keras.saving.register_keras_serializable("keras_rl_prob")
@dataclasses.dataclass(frozen=True)
class PrioritizedReplay(Settings):
    """Prioritized replay: samples transitions with probability proportional to `(|TD error| + epsilon)^alpha`.

    Args:
        alpha: Exponent of the priorities, from 0 (uniform) to 1.
        beta: Exponent of the importance sampling weights, from 0 (no correction) to 1 (full correction). A float or a Keras
            schedule over environment steps; `None` is 0.4. The paper increases it to 1 during training.
        epsilon: Positive number added to errors, so that transitions without error are sampled too.

    Raises:
        ValueError: A number is out of its range.

    References:
        Schaul et al., "Prioritized experience replay", 2016, https://arxiv.org/abs/1511.05952.

    Example:
    ```python
    priorities = krp.PrioritizedReplay(beta=keras.optimizers.schedules.PolynomialDecay(0.4, 100_000, 1.0))
    agent = krp.DQN(replay=krp.ReplaySettings(prioritized=priorities))
    ```
    """

    alpha: float = 0.6
    beta: float | Schedule | None = None
    epsilon: float = 1e-6

    def checked(self) -> dict[str, Any]:
        """Checks that `alpha` and `beta` are between 0 and 1 and `epsilon` is positive."""
        return {
            "alpha": checks.fraction("alpha", self.alpha),
            "beta": checks.number("beta", self.beta, 0.0, 1.0, none=True, schedule=True),
            "epsilon": checks.number("epsilon", self.epsilon, above=0.0),
        }

    def current_beta(self, env_steps: tf.Tensor) -> tf.Tensor:
        """Returns beta after `env_steps` environment steps, a float32 scalar."""
        return tf.cast(current(0.4 if self.beta is None else self.beta, env_steps), tf.float32)


@keras.saving.register_keras_serializable("keras_rl_prob")
@dataclasses.dataclass(frozen=True)
class ReplaySettings(Settings):
    """The size of an agent's replay buffer, and how it is sampled.

    Args:
        capacity: Maximum number of transitions in the replay buffer, of all environments together.
        batch_size: Transitions per gradient step.
        learning_starts: Transitions to collect before the first update.
        n_step: Number of rewards before the bootstrap value.
        prioritized: Whether to sample transitions in proportion to powers of their TD errors; a `PrioritizedReplay` for other
            numbers than its defaults. Priorities are updated when the next rollout is collected.
        reward_clip: Updates use rewards clipped to plus and minus this number, or unclipped ones if it is `None`.
        online_updates: Whether the first batch after each rollout has the newest transitions instead of sampled ones.
        poisson_updates: Whether to sample the number of gradient steps after a rollout from a Poisson distribution with the
            agent's `updates` as its mean. Keras counts `updates` steps in any case.
        frame_axis: Axis along which observations are stacks of the last frames, as from Gymnasium's
            `FrameStackObservation` (0), or `None`. The buffer then stores each frame once. What precedes an episode's first
            frame must be zeros or that frame.
        checkpoint_replay: Whether saved files include the replay buffer, which an exact resume needs.

    Raises:
        ValueError: A number is out of its range, or two numbers are incompatible.

    Example:
    ```python
    agent = krp.DQN(replay=krp.ReplaySettings(capacity=50_000, n_step=3, prioritized=True))
    ```
    """

    capacity: int = 100_000
    batch_size: int = 128
    learning_starts: int = 1_000
    n_step: int = 1
    prioritized: bool | PrioritizedReplay = False
    reward_clip: float | None = None
    online_updates: bool = False
    poisson_updates: bool = False
    frame_axis: int | None = None
    checkpoint_replay: bool = True

    def checked(self) -> dict[str, Any]:
        """Checks all numbers, and that `capacity` is enough for a batch and for the steps of a transition."""
        counts = {name: checks.integer(name, getattr(self, name)) for name in ("capacity", "batch_size", "n_step")}
        if self.capacity < self.batch_size:
            raise ValueError(
                "`capacity` must be at least `batch_size`. "
                f"Received: capacity={self.capacity}, batch_size={self.batch_size}"
            )
        if self.n_step >= self.capacity:
            raise ValueError(
                f"`n_step` must be below `capacity`. Received: n_step={self.n_step}, capacity={self.capacity}"
            )
        if not isinstance(self.prioritized, bool):
            checks.instance("prioritized", self.prioritized, (PrioritizedReplay,), none=False)
        return counts | {
            "learning_starts": checks.integer("learning_starts", self.learning_starts, least=0),
            "reward_clip": checks.number("reward_clip", self.reward_clip, above=0.0, none=True),
            "frame_axis": checks.integer("frame_axis", self.frame_axis, least=0, none=True),
            "online_updates": checks.flag("online_updates", self.online_updates),
            "poisson_updates": checks.flag("poisson_updates", self.poisson_updates),
            "checkpoint_replay": checks.flag("checkpoint_replay", self.checkpoint_replay),
        }

    @property
    def priorities(self) -> PrioritizedReplay | None:
        """The `PrioritizedReplay` in use, or `None`."""
        if isinstance(self.prioritized, PrioritizedReplay):
            return self.prioritized
        return PrioritizedReplay() if self.prioritized else None

    @property
    def window(self) -> int:
        """Number of rows of a sample."""
        return self.n_step + 1

    @property
    def stride(self) -> int:
        """Number of rows from the start of a window to that of the next."""
        return 1

    def most_updates(self, mean: int) -> int:
        """Returns the maximum number of gradient steps after a rollout, where `mean` is their mean."""
        return most_of_poisson(mean) if self.poisson_updates else mean


@keras.saving.register_keras_serializable("keras_rl_prob")
@dataclasses.dataclass(frozen=True)
class SequenceReplaySettings(ReplaySettings):
    """`ReplaySettings` for networks with memory, for which sequences are sampled.

    A sequence starts at every `period`-th row, from the recurrent state that was stored there. Its first `burn_in` rows only
    bring that state up to date; the loss is computed on the next `sequence_length` rows, and `n_step` more are used for
    bootstrapping. With `prioritized` the priority of a sequence is `eta max |error| + (1 - eta) mean |error|`.

    Args:
        capacity: See `ReplaySettings`.
        batch_size: Sequences per gradient step.
        learning_starts: See `ReplaySettings`.
        n_step: See `ReplaySettings`.
        prioritized: See `ReplaySettings`.
        reward_clip: See `ReplaySettings`.
        online_updates: See `ReplaySettings`.
        poisson_updates: See `ReplaySettings`.
        frame_axis: See `ReplaySettings`.
        checkpoint_replay: See `ReplaySettings`.
        sequence_length: Rows of a sequence on which the loss is computed.
        burn_in: Rows before these, 0 or more.
        period: Rows from the start of a sequence to that of the next; divides the agent's `rollout_steps`.
        eta: Weight of the greatest error in a sequence's priority.

    Raises:
        ValueError: A number is out of its range, or two numbers are incompatible.

    Example:
    ```python
    agent = krp.RecurrentDQN(replay=krp.SequenceReplaySettings(sequence_length=40, burn_in=20, period=20), rollout_steps=20)
    ```
    """

    batch_size: int = 32
    n_step: int = 3
    prioritized: bool | PrioritizedReplay = True
    sequence_length: int = 20
    burn_in: int = 10
    period: int = 10
    eta: float = 0.9

    def checked(self) -> dict[str, Any]:
        """Checks all numbers, also that lengths are integers and `eta` is between 0 and 1."""
        return super().checked() | {
            "sequence_length": checks.integer("sequence_length", self.sequence_length),
            "burn_in": checks.integer("burn_in", self.burn_in, least=0),
            "period": checks.integer("period", self.period),
            "eta": checks.fraction("eta", self.eta),
        }

    def priority(self, errors: tf.Tensor, counted: tf.Tensor) -> tf.Tensor:
        """The priorities `[N]` of sequences for the absolute errors of their rows, float32 `[L, N]`, where `counted` is 1."""
        errors *= counted
        mean = tf.math.divide_no_nan(tf.reduce_sum(errors, 0), tf.reduce_sum(counted, 0))
        return self.eta * tf.reduce_max(errors, 0) + (1.0 - self.eta) * mean

    @property
    def window(self) -> int:
        """Number of rows of a sample."""
        return self.burn_in + self.sequence_length + self.n_step

    @property
    def stride(self) -> int:
        """Number of rows from the start of a window to that of the next."""
        return self.period


@keras.saving.register_keras_serializable("keras_rl_prob")
@dataclasses.dataclass(frozen=True)
class RolloutReplaySettings(Settings):
    """The size of a replay buffer of whole rollouts, and how often it is sampled.

    Args:
        capacity: Rows in the replay buffer, of all environments together; a rollout has `rollout_steps` rows of each.
        ratio: Mean of the Poisson distribution of the number of replays after each rollout; 0 for none. A replay is one
            gradient step on as many rollouts as there are environments, sampled uniformly. Keras always counts `ratio` steps.
        learning_starts: Rows in the buffer before replay starts; gradient steps on new rollouts are taken before that too.
        frame_axis: Axis along which observations are stacks of frames, as in `ReplaySettings`, or `None`.
        checkpoint_replay: Whether files include the buffer, which an exact resume needs.

    Raises:
        ValueError: A number is out of its range.

    Example:
    ```python
    agent = krp.ACER(replay=krp.RolloutReplaySettings(capacity=10_000, ratio=8))
    ```
    """

    capacity: int = 50_000
    ratio: int = 4
    learning_starts: int = 1_000
    frame_axis: int | None = None
    checkpoint_replay: bool = True

    def checked(self) -> dict[str, Any]:
        """Counts are integers, `learning_starts` is at most `capacity`."""
        counts = {"capacity": checks.integer("capacity", self.capacity)}
        counts |= {name: checks.integer(name, getattr(self, name), least=0) for name in ("ratio", "learning_starts")}
        if self.learning_starts > self.capacity:
            raise ValueError(
                "`learning_starts` must be at most `capacity`. "
                f"Received: learning_starts={self.learning_starts}, capacity={self.capacity}"
            )
        return counts | {
            "frame_axis": checks.integer("frame_axis", self.frame_axis, least=0, none=True),
            "checkpoint_replay": checks.flag("checkpoint_replay", self.checkpoint_replay),
        }

    @property
    def most_replays(self) -> int:
        """Maximum number of replays after a rollout."""
        return most_of_poisson(self.ratio)
