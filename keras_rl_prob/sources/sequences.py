"""Replay of sequences, for networks with memory."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_rl_prob.drivers import Rollout
from keras_rl_prob.envs.factory import BatchEnv
from keras_rl_prob.ops.n_step import n_step_sums
from keras_rl_prob.ops.temporal_difference import clipped
from keras_rl_prob.replay import Ring
from keras_rl_prob.replay.settings import SequenceReplaySettings
from keras_rl_prob.sources.replay import Replayed, ReplaySource
from keras_rl_prob.sources.stored_rows import known
from keras_rl_prob.types import Nest


class StoredSequences(NamedTuple):
    """Data of one gradient step: `N` sequences of `T = burn_in + sequence_length + n_step` rows.

    Attributes:
        observation: Nest `[T, N, ...]`, as the environment returned it.
        action: Nest `[T, N, ...]`; as the policy sampled it, int32 `[T, N]` for Discrete actions.
        reward: float32 `[T, N]`; received for the row's action.
        terminated: bool `[T, N]`; the row's action terminated its episode.
        ended: bool `[T, N]`; the row's action ended its episode, by termination or truncation.
        is_first: bool `[T, N]`; the row starts an episode.
        valid: bool `[T, N]`; False where the row is a final observation, whose action was ignored.
        state: Nest `[N, ...]`; recurrent state before the first row, as it was when the sequence was collected.
        weight: float32 `[N]`; importance sampling weight.
        index: int32 scalar; number of earlier updates on this rollout.
        seed: int32 `[2]`, for noise.
        report: Dict of float32 scalars that describe the rollout.
    """

    observation: Any
    action: tf.Tensor
    reward: tf.Tensor
    terminated: tf.Tensor
    ended: tf.Tensor
    is_first: tf.Tensor
    valid: tf.Tensor
    state: Any
    weight: tf.Tensor
    index: tf.Tensor
    seed: tf.Tensor
    report: dict


def n_step_targets(
    data: StoredSequences, values: tf.Tensor, discount: float, replay: SequenceReplaySettings
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """What the values of the `L` rows after the burn-in are learned from: `reward + discount * next value`.

    Args:
        data: `StoredSequences`.
        values: float32 `[L + n_step, N]`; values of the rows after the burn-in.
        discount: Gamma of one step.
        replay: Lengths of the parts of a sequence.

    Returns:
        `(reward, discount, next_value, counted)`, each `[L, N]`: the discounted sum of up to `n_step` rewards; the factor of
        the value after them, 0 after a termination; that value; and whether the row is a valid transition, bool.
    """
    length, n, start = replay.sequence_length, replay.n_step, replay.burn_in
    rewards, terminated, ended, next_is_first = (
        tf.stack([x[start + k + shift : start + k + shift + length] for k in range(n)])  # [n, L, N]
        for x, shift in ((data.reward, 0), (data.terminated, 0), (data.ended, 0), (data.is_first, 1))
    )
    reward, factor, steps = n_step_sums(rewards, discount * (1.0 - tf.cast(terminated, tf.float32)), ~ended)
    candidates = tf.stack([values[k + 1 : k + 1 + length] for k in range(n)])  # after 1, ..., n steps
    next_value = tf.reduce_sum(tf.one_hot(steps - 1, n, axis=0) * candidates, 0)
    return reward, factor, next_value, data.valid[start : start + length] & known(next_is_first, steps, factor)


class ReplayedSequences(Replayed):
    """The samples for the updates on a rollout: `drawn` has the first fields of `StoredSequences`."""

    kind = StoredSequences


class SequenceSource(ReplaySource):
    """Stores rollouts in a ring buffer, with the recurrent state at every `period`-th row, and samples sequences from it.

    Args:
        agent: A built agent with memory, such as a `RecurrentDQN`.
        env: A native or Gymnasium environment.
        seed: Integer that determines resets, actions and samples.
        settings: `SequenceReplaySettings`.
    """

    replayed = ReplayedSequences

    def __init__(self, agent: keras.Model, env: BatchEnv, seed: int, settings: SequenceReplaySettings) -> None:
        super().__init__(agent, env, seed, settings)
        state = tf.nest.map_structure(lambda x: tf.TensorSpec(x.shape, x.dtype), agent.initial_state(env.num_envs))
        self._states = None
        if tf.nest.flatten(state):
            self._states = agent.make_ring({"state": state}, self.ring.capacity // self._stride)

    def _begin_memory(self):
        if self._states:
            self._states.clear()
        super()._begin_memory()

    @property
    def variables(self) -> list[tf.Variable]:
        """Everything besides the agent that the next update depends on, as far as it can be stored."""
        stored = self._states.variables if self._states and self._settings.checkpoint_replay else []
        return [*super().variables, *stored]

    @property
    def rings(self) -> list[Ring]:
        """The ring buffers, if they are stored in files."""
        return [*super().rings, *([self._states] if self._states and self._settings.checkpoint_replay else [])]

    def store(self, rollout: Rollout) -> dict[str, tf.Tensor]:
        """Adds a rollout and its recurrent states to the ring buffers; returns the report on it."""
        if self._states:
            self._states.add({"state": rollout.state})
        return super().store(rollout)

    def load(self, episodes: Iterable[Any]) -> None:
        """Adds recorded episodes to the ring buffer; their recurrent states are zero."""
        super().load(episodes)
        if self._states:
            zeros = tf.nest.map_structure(
                lambda x: tf.zeros((self.ring.head // self._stride, *x.shape), x.dtype),
                self.agent.initial_state(self._num_envs),
            )
            self._states.add({"state": zeros})

    def _may_start(self, places, envs):
        """Every row may start a sequence."""
        return tf.ones_like(places, tf.bool)

    def read(self, places: tf.Tensor, envs: tf.Tensor, weights: tf.Tensor) -> tuple[Nest, ...]:
        """Returns the sequences that start at `places` `[updates, N]`, as the first fields of `StoredSequences`."""
        rows, final = (
            tf.transpose(x, (1, 0, 2)) for x in self.rows.window(places, envs, self._settings.window)
        )  # [updates, T, N]
        columns = tf.broadcast_to(envs[:, None], rows.shape)
        names = ("action", "reward", "terminated", "ended", "is_first", "valid")
        stored = self.rows.entries(names, rows, columns, final)
        stored["reward"] = clipped(stored["reward"], self._settings.reward_clip)
        state = self._states.read("state", places // self._stride, envs) if self._states else ()
        return (self.rows.observation(rows, columns, final), *stored.values(), state, weights)
