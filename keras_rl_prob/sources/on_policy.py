"""From rollouts to minibatches, for on-policy agents."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_rl_prob.drivers import Driver, Rollout, make_driver
from keras_rl_prob.envs.factory import BatchEnv
from keras_rl_prob.layers import Unrolled
from keras_rl_prob.ops.masking import explained_variance
from keras_rl_prob.sources.reward_scale import RewardScale
from keras_rl_prob.sources.rollouts import RolloutFollower, RolloutSource
from keras_rl_prob.types import Nest


class Minibatch(NamedTuple):
    """Data of one gradient step: `R` sequences of `L` steps.

    Attributes:
        observation: Nest `[L, R, ...]`, as the network takes it.
        is_first: bool `[L, R]`.
        raw: Nest `[L, R, ...]` of the sampled actions before squashing and clipping.
        parameters: Nest `[L, R, ...]` of the behaviour policy's parameters.
        log_prob, value, advantage, target: float32 `[L, R]`; the first two of the behaviour policy.
        valid: float32 `[L, R]`; 0 for rows that are not environment steps.
        state: Nest `[R, ...]`; recurrent state before the first step.
        index: int32 scalar; number of earlier updates on this rollout.
        report: Dict of float32 scalars that describe the rollout.
        weight: float32 `[L, R]`, weights of the rows in losses; `()` for equal weights.
        picked: int32 `[R]`; which sequences of the rollout these are.
    """

    observation: Any
    is_first: tf.Tensor
    raw: Any
    parameters: Any
    log_prob: tf.Tensor
    value: tf.Tensor
    advantage: tf.Tensor
    target: tf.Tensor
    valid: tf.Tensor
    state: Any
    index: tf.Tensor
    report: dict
    weight: Any = ()
    picked: Any = ()


class Sequences(NamedTuple):
    """A rollout as `S` sequences of `L` steps, and which of them each update uses.

    Attributes:
        rows: The first fields of `Minibatch`, each `[L, S, ...]`.
        state: Nest `[S, ...]`; recurrent state before the first step.
        order: int32 `[updates, R]`; the sequences of each update.
        report: Dict of float32 scalars that describe the rollout.
        weight: float32 `[L, S]`, weights of the rows in losses; `()` for equal weights.
        renewed: Function from the index of an update to the states to use instead of `state`, or `None`.
    """

    rows: tuple
    state: Any
    order: tf.Tensor
    report: dict
    weight: Any = ()
    renewed: Callable[[tf.Tensor], Any] | None = None

    @property
    def updates(self) -> int:
        """Number of gradient steps."""
        return self.order.shape[0]

    def update(self, index: tf.Tensor) -> Minibatch:
        """Returns the `Minibatch` of a gradient step."""
        picked = self.order[index]
        rows, weight = tf.nest.map_structure(lambda x: tf.gather(x, picked, axis=1), (self.rows, self.weight))
        states = self.renewed(index) if self.renewed else self.state
        state = tf.nest.map_structure(lambda x: tf.gather(x, picked), states)
        return Minibatch._make([*rows, state, index, self.report, weight, picked])


class Collected(NamedTuple):
    """A rollout, and which of its sequences each update uses.

    Attributes:
        rollout: The driver's `Rollout`.
        order: int32 `[updates, R]`; the sequences of each update.
    """

    rollout: Any
    order: tf.Tensor


class RenewedStates:
    """Keeps the states at the start of the sequences of a rollout, and renews them before every pass but the first.

    The states of a rollout come from the weights that collected it. After the first pass they are stale: the current weights
    would have others. The first of each environment is kept, since what led to it is gone.

    Args:
        agent: A built agent with memory.
        driver: The `Driver` of the rollouts.
        sequence_length: Steps in a sequence.
    """

    def __init__(self, agent: keras.Model, driver: Driver, sequence_length: int) -> None:
        self._agent, self._length, self._unrolled = agent, sequence_length, Unrolled(agent.network)
        count = driver.steps // sequence_length * driver.num_envs
        self._states = tf.nest.map_structure(
            lambda x: tf.Variable(tf.zeros((count, *x.shape[1:]), x.dtype), trainable=False), agent.initial_state(1)
        )

    def following(self, observation: Nest, rollout: Rollout, stored: Nest) -> Callable[[tf.Tensor], Any]:
        """Returns a function from the index of an update, int32 scalar, to the states, nest `[S, ...]`, for it.

        Args:
            observation: Nest `[T, B, ...]`, as the network takes it.
            rollout: The driver's `Rollout`.
            stored: Nest `[S, ...]` of the states in the rollout, in the order of the sequences.
        """
        assign = functools.partial(tf.nest.map_structure, lambda variable, x: variable.assign(x))
        first = tf.nest.map_structure(lambda x: x[0], rollout.state)

        def renewed(index):
            begins = tf.equal(index % self._agent.dealing.count, 0)
            states = tf.cond(
                tf.equal(index, 0),
                lambda: stored,
                lambda: tf.cond(begins, lambda: self._computed(observation, rollout.is_first, first), self._kept),
            )
            assign(self._states, states)
            return states

        return renewed

    def _kept(self):
        return tf.nest.map_structure(lambda variable: variable.read_value(), self._states)

    def _computed(self, observation, is_first, state):
        """States before each sequence of `T` rows, nest `[T / L * B, ...]`, for that before the first row."""
        states, noisy = [state], bool(self._agent.noisy_layers)
        for start in range(0, is_first.shape[0] - self._length, self._length):
            rows, begins = tf.nest.map_structure(lambda x, i=start: x[i : i + self._length], (observation, is_first))
            states.append(self._unrolled(rows, begins, states[-1], training=noisy)[1])
        return tf.nest.map_structure(lambda *x: tf.concat(x, 0), *states)


class Preparation(RolloutFollower):
    """Computes advantages and value targets, and cuts a rollout into sequences; compiled together with the updates.

    Observations are normalised by the statistics with which the rollout was collected, which are then updated; rewards by
    statistics that include the rollout.

    Args:
        agent: A built agent with `discount`, `advantages`, and values under `"value"` in the records.
        driver: The `Driver` of the rollouts.
        sequence_length: Steps in a sequence; divides the steps of a rollout.
    """

    def __init__(self, agent: keras.Model, driver: Driver, sequence_length: int) -> None:
        batch = tf.TensorSpec((driver.num_envs,), tf.float32)
        super().__init__(agent, driver, dict.fromkeys(("log_prob", "value", "advantage", "target"), batch))
        self._steps, self._sequence_length = driver.steps, sequence_length
        self._num_envs, self._reward_scale = driver.num_envs, RewardScale(agent, driver.num_envs)
        self._initial_state = getattr(getattr(agent, "dealing", None), "initial_state", "stored")
        renews = self._initial_state == "refreshed" and tf.nest.flatten(agent.initial_state(1))
        self._states = RenewedStates(agent, driver, sequence_length) if renews else None
        self._kl: Any = None
        if "row_kl" in agent.watched:
            sequences = driver.steps // sequence_length * driver.num_envs
            self._kl = tf.Variable(tf.zeros((sequences, sequence_length)), trainable=False, name="row_kl")

    @property
    def variables(self) -> list[tf.Variable]:
        """The variables of unfinished episodes."""
        return [*super().variables, *self._reward_scale.variables]

    def __call__(self, collected: Collected) -> Sequences:
        """Converts a `Collected` rollout to `Sequences`."""
        rollout, agent = collected.rollout, self.agent
        valid, value = tf.cast(rollout.valid, tf.float32), rollout.record["value"]
        observation, next_value = agent.normalize(rollout.observation), self._next_value(rollout)
        report, healthy = self.follow(rollout)
        reward = rollout.reward
        if agent.normalize_rewards:
            self.moments.append(self._reward_scale.update(rollout, healthy))
            reward = agent.reward_normalizer(reward)
        raw, parameters = tf.nest.map_structure(  # samples from NaN parameters may not be valid actions
            lambda x: tf.where(healthy, x, tf.zeros_like(x)), (rollout.record["raw"], rollout.record["parameters"])
        )
        log_prob = agent.distribution(parameters).log_prob(raw)
        record = {**rollout.record, "raw": raw, "parameters": parameters, "log_prob": log_prob}
        advantage, target = self._checked(
            agent.advantages(rollout._replace(observation=observation, record=record), reward, next_value)
        )
        advantage, target = advantage * valid, tf.where(rollout.valid, target, value)
        report["explained_variance"] = explained_variance(value, target, valid)
        kept = {"raw": raw, "parameters": parameters, "log_prob": log_prob, "value": value}
        self.keep(kept | {"advantage": advantage, "target": target, "valid": rollout.valid})
        rows = (observation, rollout.is_first, raw, parameters, log_prob, value, advantage, target, valid)
        rows, weight = tf.nest.map_structure(self._as_sequences, (rows, self._weight(rollout, observation)))
        state = tf.nest.map_structure(lambda x: tf.reshape(x, (-1, *x.shape[2:])), rollout.state)
        if self._initial_state == "zero":
            state = tf.nest.map_structure(tf.zeros_like, state)
        renewed = self._states.following(observation, rollout, state) if self._states else None
        return Sequences(rows, state, collected.order, report, weight, renewed)

    def keep_kl(self, data: Minibatch, kl: tf.Tensor) -> None:
        """Keeps the KL divergence of each row of a `Minibatch`, float32 `[L, R]`, for `last_rollout`."""
        kept = tf.tensor_scatter_nd_update(self._kl.read_value(), data.picked[:, None], tf.transpose(kl * data.valid))
        self._kl.assign(kept)

    def last_rollout(self) -> dict[str, Nest]:
        """See `Agent.last_rollout`; with `"kl"` if it is kept."""
        kept = super().last_rollout()
        if self._kl is not None:
            kl = tf.reshape(self._kl, (-1, self._num_envs, self._sequence_length))  # [T / L, B, L]
            kept["kl"] = tf.reshape(tf.transpose(kl, (0, 2, 1)), (self._steps, self._num_envs)).numpy()
        return kept

    def _weight(self, rollout, observation):
        """float32 `[T, B]`, or `()`: the agent's weights of the rows."""
        weigh = getattr(self.agent, "sample_weight", None)
        weight = weigh and weigh(rollout._replace(observation=observation))
        if weight is None:
            return ()
        if tuple(getattr(weight, "shape", ())) != (self._steps, self._num_envs):
            raise ValueError(
                f"`{type(self.agent).__name__}.sample_weight` must return `None` or weights of the shape "
                f"{(self._steps, self._num_envs)}. Received: {weight!r}"
            )
        return tf.cast(weight, tf.float32)

    def _checked(self, returned):
        """Returns advantages and targets; raises a `ValueError` if the agent returned anything else."""
        expected = (self._steps, self._num_envs)
        if not isinstance(returned, tuple) or [tuple(getattr(x, "shape", ())) for x in returned] != [expected] * 2:
            raise ValueError(
                f"`{type(self.agent).__name__}.advantages` must return advantages and value targets, two tensors of the shape "
                f"{expected}. Received: {returned!r}"
            )
        return returned

    def _next_value(self, rollout):
        """float32 `[T, B]`: the value of each row's next observation, which may be a final one."""
        after = self.agent.value(rollout.next_step.observation, rollout.next_step.is_first, rollout.next_state)
        next_value = tf.concat([rollout.record["value"][1:], after[None]], 0)
        if isinstance(rollout.final_value, tuple):
            return next_value
        return tf.where(rollout.ended, rollout.final_value, next_value)

    def _as_sequences(self, x):
        """Reshapes `[T, B, ...]` to `[L, T / L * B, ...]`."""
        chunks = tf.reshape(x, (-1, self._sequence_length, *x.shape[1:]))  # [T / L, L, B, ...]
        order = [1, 0, *range(2, len(chunks.shape))]
        return tf.reshape(tf.transpose(chunks, order), (self._sequence_length, -1, *x.shape[2:]))


class OnPolicySource(RolloutSource):
    """Collects rollouts and splits their sequences into minibatches.

    Args:
        agent: A built agent with `rollout_steps`, `dealing`, `update_epochs`, `driver_class`, `preparation`, and what a
            `Preparation` needs.
        env: A native or Gymnasium environment.
        sequence_length: Steps in a sequence; divides `rollout_steps`.
        seed: Integer that determines resets, actions and shuffles.
    """

    def __init__(self, agent: keras.Model, env: BatchEnv, sequence_length: int, seed: int) -> None:
        driver = make_driver(
            agent,
            env,
            agent.driver_class,
            steps=agent.rollout_steps,
            sequence_length=sequence_length,
            seed=seed,
            jit_compile=agent.jit_compile,
        )
        super().__init__(agent, env, driver, seed, agent.preparation(driver, sequence_length))
        self._sequences = agent.rollout_steps // sequence_length * env.num_envs

    def collect(self) -> Rollout:
        """Collects a rollout with newly sampled noise."""
        self.agent.resample_noise(self.driver.key + [3, 0])
        return super().collect()

    def prepare(self, rollout: Rollout) -> Collected:
        """Returns a `Collected`."""
        return Collected(rollout, self._order())

    def _order(self):
        """int32 `[updates, R]`: the sequences of each update, shuffled anew for each pass over the rollout."""
        agent, seed, count = self.agent, self.next_seed(), self._sequences
        orders = [
            tf.random.experimental.stateless_shuffle(tf.range(count), seed=seed + [epoch + 1, 0])
            for epoch in range(agent.update_epochs)
        ]
        return tf.reshape(tf.concat(orders, 0), (-1, count // agent.dealing.count))
