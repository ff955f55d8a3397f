"""Replay of whole rollouts: the data of each new one and of a random number of old ones."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_rl_prob import spaces
from keras_rl_prob.drivers import Rollout, make_driver
from keras_rl_prob.envs.factory import BatchEnv
from keras_rl_prob.learning import failures
from keras_rl_prob.replay.frames import Frames, frames_of
from keras_rl_prob.replay.ring import Ring
from keras_rl_prob.replay.settings import RolloutReplaySettings
from keras_rl_prob.sources.reward_scale import RewardScale
from keras_rl_prob.sources.rollouts import RolloutSource
from keras_rl_prob.types import Nest


class PastRollouts(NamedTuple):
    """Data of one gradient step: `N` rollouts of `T` rows, and the observation after them to bootstrap from.

    Attributes:
        observation: Nest `[T + 1, N, ...]`, as the environment returned it.
        is_first: bool `[T + 1, N]`; the row starts an episode.
        raw: Nest `[T + 1, N, ...]` of the sampled actions, before squashing and clipping.
        parameters: Nest `[T + 1, N, ...]` of the parameters of the policy that sampled them.
        reward: float32 `[T + 1, N]`; reward for the row's action, scaled if `normalize_rewards`.
        discount: float32 `[T + 1, N]`; 0 if the row's action terminated the episode, else 1.
        ended: bool `[T + 1, N]`; the row's action ended the episode, by termination or truncation.
        valid: bool `[T + 1, N]`; False if the row is a final observation, whose action was ignored.
        state: Nest `[N, ...]`; recurrent state before the first row, as it was when the rollout was collected.
        index: int32 scalar; number of previous updates after this rollout.
        report: Dict of float32 scalars that describe the new rollout.
    """

    observation: Any
    is_first: tf.Tensor
    raw: Any
    parameters: Any
    reward: tf.Tensor
    discount: tf.Tensor
    ended: tf.Tensor
    valid: tf.Tensor
    state: Any
    index: tf.Tensor
    report: dict


class SampledRollouts(NamedTuple):
    """The new rollout and the old ones that were sampled for replay after it.

    Attributes:
        sampled: Dict of the fields of `PastRollouts` except the last two, each `[1 + most replays, ...]`.
        updates: int32 scalar; number of gradient steps to take.
        report: Dict of float32 scalars that describe the new rollout.
    """

    sampled: dict
    updates: tf.Tensor
    report: dict

    def update(self, index: tf.Tensor) -> PastRollouts:
        """The data of a gradient step; the first one is on the new rollout."""
        sampled = tf.nest.map_structure(lambda x: x[index], self.sampled)
        return PastRollouts(**sampled, index=index, report=self.report)


class PastRolloutsSource(RolloutSource):
    """Stores rollouts in a ring buffer; its data are the new one and a Poisson-distributed number of batches of old ones.

    Environments that reset within the same step return the final observation of a truncated episode separately. It is inserted
    as a row, as in other environments; rows that then exceed the rollout are dropped.

    Args:
        agent: A built agent with `rollout_steps`, `discount`, `normalize_rewards` and `reward_normalizer`.
        env: A native or Gymnasium environment.
        seed: Integer that determines resets, actions and samples.
        settings: `RolloutReplaySettings`, with capacity for at least one rollout.
    """

    def __init__(self, agent: keras.Model, env: BatchEnv, seed: int, settings: RolloutReplaySettings) -> None:
        steps = agent.rollout_steps
        driver = make_driver(agent, env, steps=steps, sequence_length=steps, seed=seed, jit_compile=agent.jit_compile)
        super().__init__(agent, env, driver, seed)
        self._settings, self._num_envs = settings, env.num_envs
        self._reward_scale = RewardScale(agent, env.num_envs)
        real, flag = (tf.TensorSpec((), dtype) for dtype in (tf.float32, tf.bool))
        row = {
            "observation": spaces.tensor_specs(env.observation_space),
            "is_first": flag,
            **{name: _without_batch(driver.record_specs[name]) for name in ("raw", "parameters")},
            **{"reward": real, "discount": real, "ended": flag, "valid": flag},
        }
        axis = settings.frame_axis
        self._frames = None if axis is None else Frames(frames_of(env.observation_space, axis), axis)
        row |= {"after_zeros": flag} if self._frames else {}
        specs = {"rows": _with_axes((env.num_envs, steps + 1), row)}
        if self._frames:
            specs["rows"]["observation"] = self._frames.spec(specs["rows"]["observation"])
        state = _with_axes((env.num_envs,), _without_batch(agent.initial_state(env.num_envs)))
        if tf.nest.flatten(state):
            specs["state"] = state
        self.ring = agent.make_ring(specs, settings.capacity // (steps * env.num_envs))

    @property
    def variables(self) -> list[tf.Variable]:
        """All variables besides the agent's that the next update depends on, as far as they can be stored."""
        scale = self._reward_scale.variables if self._follows_episodes else []
        return [*super().variables, *scale, *(self.ring.variables if self.rings else [])]

    @property
    def episode_variables(self) -> list[tf.Variable]:
        """The state of unfinished episodes, each `[B]`."""
        return [*super().episode_variables, *self._reward_scale.variables]

    @property
    def rings(self) -> list[Ring]:
        """The ring buffer, if it is saved."""
        return [self.ring] if self._settings.checkpoint_replay else []

    def restart(self, env: BatchEnv, seed: int, goes_on: bool = False) -> None:
        """Starts again, with an empty buffer unless a training run is resumed."""
        super().restart(env, seed, goes_on)
        for variable in self._reward_scale.variables:
            variable.assign(tf.zeros_like(variable))
        if not (goes_on and self.rings):
            self.ring.clear()

    def collect(self) -> Rollout:
        """Collects a rollout with new noise."""
        self.agent.resample_noise(self.driver.key + [3, 0])
        return super().collect()

    def prepare(self, rollout: Rollout) -> SampledRollouts:
        """Stores a rollout and samples old ones."""
        report, healthy = self.follower.follow(rollout)
        if self.agent.normalize_rewards:
            self._reward_scale.update(rollout, healthy)
        record = tf.nest.map_structure(  # samples from NaN parameters may not be valid actions
            lambda x: tf.where(healthy, x, tf.zeros_like(x)), rollout.record
        )
        rollout = rollout._replace(record=record)
        self.follower.keep_actions(rollout)
        stored = {"rows": rows_of(rollout)}
        if self._frames:
            rows = stored["rows"]
            rows["after_zeros"], known = self._frames.padding(rows["observation"], rows["is_first"])
            rows["observation"] = self._frames.apart(rows["observation"])
            report["failure"] = tf.where(healthy & ~known, float(failures.STACK), report["failure"])
        if "state" in self.ring.specs:
            stored["state"] = tf.nest.map_structure(lambda x: x[0], rollout.state)
        usable = tf.equal(report["failure"], failures.NONE)  # else nothing is learned from it, since no row is valid
        self.ring.add(tf.nest.map_structure(lambda x: tf.where(usable, x, tf.zeros_like(x))[None], stored))
        rows = self.ring.size * (self._num_envs * self.agent.rollout_steps)
        report["replay_size"] = tf.cast(rows, tf.float32)
        seed, settings = self.next_seed(), self._settings
        replays = tf.random.stateless_poisson((), seed + [5, 0], float(settings.ratio), tf.int32)
        replays = tf.where(rows >= settings.learning_starts, tf.minimum(replays, settings.most_replays), 0)
        return SampledRollouts(self._sampled(seed), 1 + replays, report)

    def _sampled(self, seed):
        """Fields of `PastRollouts`, each `[1 + most replays, ...]`: the newest rollout, then the samples."""
        most, envs = self._settings.most_replays, tf.range(self._num_envs)
        number = tf.random.stateless_uniform((most, self._num_envs), seed, 0, self.ring.size * self._num_envs, tf.int32)
        ages = tf.concat([tf.broadcast_to(self.ring.size - 1, (1, self._num_envs)), number // self._num_envs], 0)
        envs = tf.concat([envs[None], number % self._num_envs], 0)
        places = self.ring.place(ages)
        rows = self.ring.read("rows", places, envs)  # [updates, N, T + 1, ...]
        if self._frames:
            rows["observation"] = self._frames.together(rows["observation"], rows["is_first"], rows.pop("after_zeros"))
        rows = tf.nest.map_structure(lambda x: tf.transpose(x, [0, 2, 1, *range(3, len(x.shape))]), rows)
        if self.agent.normalize_rewards:
            rows["reward"] = self.agent.reward_normalizer(rows["reward"])
        return {**rows, "state": self.ring.read("state", places, envs) if "state" in self.ring.specs else ()}


def rows_of(rollout: Rollout) -> dict[str, Nest]:
    """Returns the rows of a rollout and the one after it as a dict of nests `[B, T + 1, ...]`, final observations included.

    Final observations that are returned separately are inserted as rows, and as many rows at the end are dropped.
    """
    ignored = {name: rollout.record[name] for name in ("raw", "parameters")}
    ignored |= {name: getattr(rollout, name) for name in ("reward", "discount", "ended", "valid")}
    after = {"observation": rollout.next_step.observation, "is_first": rollout.next_step.is_first}
    after |= tf.nest.map_structure(lambda x: tf.zeros_like(x[0]), ignored)
    rows = {"observation": rollout.observation, "is_first": rollout.is_first, **ignored}

    def joined(x, last):
        x = tf.concat([x, last[None]], 0)
        return tf.transpose(x, [1, 0, *range(2, len(x.shape))])

    rows = {name: tf.nest.map_structure(joined, x, after[name]) for name, x in rows.items()}
    if isinstance(rollout.final_value, tuple) and not rollout.final_value:
        return rows
    beside = tf.nest.map_structure(lambda x: joined(x, tf.zeros_like(x[0])), rollout.final_value)
    truncated = tf.cast(rows["ended"] & (rows["discount"] > 0.0), tf.int32)  # [B, T + 1]
    steps = tf.range(truncated.shape[1])
    position = steps + tf.cumsum(truncated, 1, exclusive=True)  # new position of each row
    row = tf.reduce_sum(tf.cast(position[:, None] <= steps[:, None], tf.int32), -1) - 1  # the row at each position
    final = tf.not_equal(tf.gather(position, row, batch_dims=1), steps)

    def put_in(x, y):
        x = tf.gather(x, row, batch_dims=1)
        return tf.where(tf.reshape(final, (*final.shape, *[1] * (len(x.shape) - 2))), y, x)

    observation = tf.nest.map_structure(
        lambda x, y: put_in(x, tf.gather(y, row, batch_dims=1)), rows.pop("observation"), beside
    )
    others = tf.nest.map_structure(lambda x: put_in(x, tf.zeros((), x.dtype)), rows)
    return {"observation": observation, **others}


def _without_batch(nest):
    return tf.nest.map_structure(lambda x: tf.TensorSpec(x.shape[1:], x.dtype), nest)


def _with_axes(axes, nest):
    return tf.nest.map_structure(lambda spec: tf.TensorSpec((*axes, *spec.shape), spec.dtype), nest)
