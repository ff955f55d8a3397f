"""The numbers of a replay memory, as immutable objects."""

import dataclasses
import math
from typing import Any

import keras
import tensorflow as tf

from keras_rl_prob import checks
from keras_rl_prob.settings import Schedule, Settings, current


@keras.saving.register_keras_serializable("keras_rl_prob")
@dataclasses.dataclass(frozen=True)
class PrioritizedReplay(Settings):
    """Draws what surprised more often: with probability proportional to `(|TD error| + epsilon)^alpha`.

    Args:
        alpha: From 0, which is uniform, to 1.
        beta: How far importance weights make up for it, from 0 to 1. A float or a Keras schedule over environment steps;
            `None` is 0.4. The paper lets it grow to 1 during the training.
        epsilon: What keeps a transition without error in the game.

    Raises:
        ValueError: `alpha` is not between 0 and 1.

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
        """`alpha` and `beta` are between 0 and 1, `epsilon` is positive."""
        return {
            "alpha": checks.fraction("alpha", self.alpha),
            "beta": checks.number("beta", self.beta, 0.0, 1.0, none=True, schedule=True),
            "epsilon": checks.number("epsilon", self.epsilon, above=0.0),
        }

    def current_beta(self, env_steps: tf.Tensor) -> tf.Tensor:
        """Beta after `env_steps` environment steps, a float32 scalar."""
        return tf.cast(current(0.4 if self.beta is None else self.beta, env_steps), tf.float32)


@keras.saving.register_keras_serializable("keras_rl_prob")
@dataclasses.dataclass(frozen=True)
class ReplaySettings(Settings):
    """What an agent keeps of past play, and how it draws from it.

    Args:
        capacity: Transitions in the replay memory, of all environments together.
        batch_size: Transitions of a gradient step.
        learning_starts: Transitions that are collected before the first update.
        n_step: Steps of reward before the bootstrap.
        prioritized: Whether transitions are drawn by their TD errors; a `PrioritizedReplay` for other numbers than its
            defaults. New priorities count from the next rollout on.
        reward_clip: Rewards are clipped to plus and minus this where they are learned from, or `None`.
        online_updates: Whether the first batch on each rollout is its newest transitions instead of drawn ones.
        poisson_updates: Whether the number of gradient steps on a rollout is drawn from a Poisson distribution, whose mean is
            the agent's `updates`. Keras counts that many steps all the same.
        frame_axis: Axis along which observations are stacks of the last frames, as from Gymnasium's
            `FrameStackObservation` (0), or `None`. The memory then holds each frame once.
        checkpoint_replay: Whether the memory is part of what is saved, which an exact resume needs.

    Raises:
        ValueError: A number is out of its range, or two do not fit each other.

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
        """Counts are positive integers, `capacity` holds a batch and the steps of a transition."""
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
        }

    @property
    def priorities(self) -> PrioritizedReplay | None:
        """The `PrioritizedReplay` in use, or `None`."""
        if isinstance(self.prioritized, PrioritizedReplay):
            return self.prioritized
        return PrioritizedReplay() if self.prioritized else None

    @property
    def window(self) -> int:
        """Rows of what is drawn."""
        return self.n_step + 1

    @property
    def stride(self) -> int:
        """Rows from the start of one window to that of the next."""
        return 1

    def most_updates(self, mean: int) -> int:
        """The most gradient steps that there can be on a rollout."""
        return mean + (math.ceil(4 * mean**0.5) if self.poisson_updates else 0)


@keras.saving.register_keras_serializable("keras_rl_prob")
@dataclasses.dataclass(frozen=True)
class SequenceReplaySettings(ReplaySettings):
    """`ReplaySettings` for networks with memory: what is drawn are sequences.

    One starts at every `period`-th row, from the recurrent state that was stored with it. Its first `burn_in` rows only bring
    that state up to date; the `sequence_length` rows after them are learned from, with `n_step` more to bootstrap from. With
    `prioritized` the priority of a sequence is `eta max |error| + (1 - eta) mean |error|`.

    Args:
        capacity: As of `ReplaySettings`.
        batch_size: Sequences of a gradient step.
        learning_starts: As of `ReplaySettings`.
        n_step: As of `ReplaySettings`.
        prioritized: As of `ReplaySettings`.
        reward_clip: As of `ReplaySettings`.
        online_updates: As of `ReplaySettings`.
        poisson_updates: As of `ReplaySettings`.
        frame_axis: As of `ReplaySettings`.
        checkpoint_replay: As of `ReplaySettings`.
        sequence_length: Rows of a sequence that are learned from.
        burn_in: Rows before them, 0 or more.
        period: Rows from the start of a sequence to that of the next; divides the agent's `rollout_steps`.
        eta: Weight of the greatest error in a sequence's priority.

    Raises:
        ValueError: A number is out of its range, or two do not fit each other.

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
        """Lengths are integers, `eta` is between 0 and 1."""
        return super().checked() | {
            "sequence_length": checks.integer("sequence_length", self.sequence_length),
            "burn_in": checks.integer("burn_in", self.burn_in, least=0),
            "period": checks.integer("period", self.period),
            "eta": checks.fraction("eta", self.eta),
        }

    @property
    def window(self) -> int:
        """Rows of what is drawn."""
        return self.burn_in + self.sequence_length + self.n_step

    @property
    def stride(self) -> int:
        """Rows from the start of one window to that of the next."""
        return self.period
