"""What the sources of all agents share: collecting rollouts, and following their episodes."""

from typing import Any

import keras
import tensorflow as tf

from keras_rl_prob import border, masks, spaces
from keras_rl_prob.drivers import Driver, EpisodeStatistics, Rollout, rollout_source
from keras_rl_prob.envs.factory import BatchEnv
from keras_rl_prob.layers import RunningNormalization
from keras_rl_prob.layers.running_normalization import Moments
from keras_rl_prob.learning import failures
from keras_rl_prob.networks.observations import is_numeric
from keras_rl_prob.replay.ring import Ring
from keras_rl_prob.types import Nest


class RolloutFollower:
    """Counts steps and episodes, checks rollouts for failures, and keeps the data of `last_rollout`.

    Args:
        agent: A built agent.
        driver: The `Driver` of the rollouts.
        kept: Dict of nests of `tf.TensorSpec`s `[B, ...]` of what is kept of each row besides actions, the parameters of their
            distributions, and `valid`.

    Attributes:
        moments: List of the `Moments` with which the last rollout changed the statistics of observations and, if a subclass has
            any, rewards; tensors of the graph in which it was followed.
    """

    def __init__(self, agent: keras.Model, driver: Driver, kept: Any = ()) -> None:
        self.moments: list[Moments] = []
        self.agent, num_envs = agent, driver.num_envs
        self._statistics = EpisodeStatistics(num_envs, getattr(driver, "others", 0))
        self.largest = tf.Variable(tf.zeros(1 + len(spaces.leaves(agent.input_space))), trainable=False, name="largest")
        kept = {name: driver.record_specs[name] for name in ("raw", "parameters")} | dict(kept)
        kept["valid"] = tf.TensorSpec((num_envs,), tf.bool)
        self._last = tf.nest.map_structure(
            lambda spec: tf.Variable(tf.zeros((driver.steps, *spec.shape), spec.dtype), trainable=False), kept
        )

    largest: tf.Variable
    """float32 `[1 + leaves]`: the largest absolute value so far of the reward, and of each leaf of the observation that the
    network takes as it is; 0 for others, such as images. Not in `variables`: training does not depend on it."""

    reported = ("return", "length", "episodes", "failure")
    """Names of what `follow` reports."""

    @property
    def variables(self) -> list[tf.Variable]:
        """The variables of unfinished episodes."""
        return self._statistics.variables

    def reset(self) -> None:
        """Forgets unfinished episodes."""
        for variable in [*self.variables, self.largest]:
            variable.assign(tf.zeros_like(variable))

    def follow(self, rollout: Rollout) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Counts steps and episodes, and updates the statistics of the observations.

        Returns:
            A dict of float32 scalars that describe the rollout, and whether it has no failure, bool scalar.
        """
        agent = self.agent
        agent.env_steps.assign_add(tf.reduce_sum(tf.cast(rollout.valid, tf.int64)))
        self.largest.assign(tf.maximum(self.largest, _largest(rollout, agent)))
        report = self._statistics.update(rollout.reward, rollout.valid, rollout.ended)
        report["failure"] = _failure(rollout, agent)
        healthy = tf.equal(report["failure"], 0.0)
        self.moments = [
            layer.update(x, rollout.valid & healthy)
            for layer, x in zip(agent.observation_normalizers, keras.tree.flatten(rollout.observation), strict=False)
            if isinstance(layer, RunningNormalization)
        ]
        return report, healthy

    def keep(self, rows: dict[str, Nest]) -> None:
        """Keeps a dict of nests `[T, B, ...]` for `last_rollout`."""
        tf.nest.map_structure(lambda variable, x: variable.assign(x), self._last, rows)

    def keep_actions(self, rollout: Rollout) -> None:
        """Keeps what every rollout has: actions, the parameters of their distributions, and `valid`."""
        self.keep({name: rollout.record[name] for name in ("raw", "parameters")} | {"valid": rollout.valid})

    def last_rollout(self) -> dict[str, Nest]:
        """Returns the data of the last rollout: a dict of nests of arrays `[T, B, ...]`, see `Agent.last_rollout`."""
        kept = tf.nest.map_structure(lambda variable: variable.read_value(), self._last)
        action = self.agent.environment_action(kept.pop("raw"))
        action = border.decode(self.agent.action_space, action)
        return tf.nest.map_structure(lambda x: x.numpy(), kept | {"action": action})


class RolloutSource:
    """Base class of sources, which collect rollouts for an agent.

    A subclass turns a rollout into the data of its updates (`prepare`).

    Args:
        agent: A built agent.
        env: A native or Gymnasium environment.
        driver: A `Driver` of the two.
        seed: Integer that determines everything random outside the driver.
        follower: `RolloutFollower`; by default a new one.
    """

    def __init__(
        self, agent: keras.Model, env: BatchEnv, driver: Driver, seed: int, follower: RolloutFollower | None = None
    ) -> None:
        self.agent, self.driver = agent, driver
        self.follower = RolloutFollower(agent, driver) if follower is None else follower
        self._follows_episodes = env.compilable  # else a resumed run starts new episodes
        self._counter = tf.Variable(tf.constant([seed, 0], tf.int32), trainable=False, name="counter")
        self._dataset = self._iterator = None  # created when first used

    @property
    def variables(self) -> list[tf.Variable]:
        """Everything besides the agent that the next update depends on, as far as it can be stored."""
        return [*self.driver.variables, *(self.follower.variables if self._follows_episodes else []), self._counter]

    @property
    def episode_variables(self) -> list[tf.Variable]:
        """The state of unfinished episodes, each `[B]`."""
        return self.follower.variables

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """List of Keras metrics that describe how rollouts are collected; none for an agent that collects them itself."""
        return self.driver.metrics

    @property
    def rings(self) -> list[Ring]:
        """The `Ring`s of a replay buffer among these variables, whose rows are stored in blocks."""
        return []

    def restart(self, env: BatchEnv, seed: int, goes_on: bool = False) -> None:
        """Starts anew: all results are those of a new source for `env`, which must have the same signature.

        Args:
            env: See the class.
            seed: See the class.
            goes_on: Whether to leave a replay buffer that can be stored unchanged, because variables will be restored.
        """
        self.driver.restart(env, seed)
        self.follower.reset()
        self._counter.assign([seed, 0])

    @property
    def rollouts(self) -> int:
        """Number of rollouts collected."""
        return int(self._counter[1].numpy())

    def dataset(self) -> tf.data.Dataset:
        """Returns an infinite `tf.data.Dataset` of rollouts to learn from, see `LearningModel`."""
        if self._dataset is None:
            self._dataset = rollout_source(self.collect, self.prepare)
        return self._dataset

    def iterator(self) -> Any:
        """Returns the iterator of all training runs: creating one takes TensorFlow a tenth of a second."""
        if self._iterator is None:
            self._iterator = iter(self.dataset())
        return self._iterator

    def break_off(self) -> None:
        """Discards the iterator, after an exception was raised in it."""
        self._iterator = None

    def collect(self) -> Any:
        """Collects a rollout with the driver; subclasses may return something made from it."""
        return self.driver.collect()

    def prepare(self, rollout: Any) -> Any:
        """Turns the result of `collect` into the data of updates."""
        raise NotImplementedError

    def next_seed(self) -> tf.Tensor:
        """Returns a seed, int32 `[2]`, a different one for each rollout."""
        return self._counter.assign_add([0, 1])


def _failure(rollout, agent):
    """The failure of a rollout as a float32 scalar, a constant of `keras_rl_prob.learning.failures`."""
    leaves, normalizers = keras.tree.flatten(rollout.observation), agent.observation_normalizers
    finite, legal = True, True
    for index, x in enumerate(leaves):
        if x.dtype.is_floating:
            finite &= _within_limits(x, bool(normalizers) and isinstance(normalizers[index], RunningNormalization))
    reward_finite = _within_limits(rollout.reward, getattr(agent, "normalize_rewards", False))
    for index, entries in masks.choices(agent.input_space, agent.action_space):
        allowed = tf.reduce_any(tf.not_equal(leaves[index], 0) & entries, -1)  # [T, B, ...]
        acts = tf.reshape(rollout.valid, (*rollout.valid.shape, *[1] * (len(allowed.shape) - 2)))
        legal &= tf.reduce_all(allowed | ~acts)
    failure = tf.where(legal, failures.NONE, failures.MASK)
    failure = tf.where(reward_finite, failure, failures.REWARD)
    return tf.cast(tf.where(finite, failure, failures.OBSERVATION), tf.float32)


def _largest(rollout, agent):
    """The largest absolute values in a rollout, see `RolloutFollower.largest`."""
    normalizers = agent.observation_normalizers
    found = [tf.reduce_max(tf.abs(rollout.reward))]
    leaves = zip(spaces.leaves(agent.input_space), keras.tree.flatten(rollout.observation), strict=True)
    for index, (space, x) in enumerate(leaves):
        plain = not normalizers or not isinstance(normalizers[index], RunningNormalization)
        seen = plain and is_numeric(space) and x.dtype.is_floating
        found.append(tf.reduce_max(tf.abs(tf.cast(x, tf.float32))) if seen else tf.constant(0.0))
    return tf.stack(found)


def _within_limits(x, normalized):
    return tf.reduce_all(tf.abs(x) <= failures.LARGEST_NORMALIZED if normalized else tf.math.is_finite(x))
