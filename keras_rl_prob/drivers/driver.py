"""The in-graph loop between an agent and a batch of environments."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import keras
import tensorflow as tf

from keras_rl_prob import checks
from keras_rl_prob.envs.factory import BatchEnv
from keras_rl_prob.trajectory import TimeStep
from keras_rl_prob.types import Nest


class Rollout(NamedTuple):
    """`T` rows of `B` environments, and the state after the last row.

    Attributes:
        observation: Nest `[T, B, ...]`.
        is_first: bool `[T, B]`; the row starts an episode.
        valid: bool `[T, B]`; False where the row is a final observation, whose action was ignored.
        record: Nest `[T, B, ...]`; the records that the agent's `act` returned.
        reward: float32 `[T, B]`; reward for the row's action.
        discount: float32 `[T, B]`; 0 where the row's action terminated the episode, else 1.
        ended: bool `[T, B]`; the row's action ended the episode, by termination or truncation.
        final_value: Nest `[T, B, ...]`; the agent's `final_value` of the final observation where the environment reset within
            the same step after a truncation, else 0. The empty tuple where final observations are rows.
        state: Nest `[T / sequence_length, B, ...]`; recurrent state at the first row of each sequence.
        next_step: `TimeStep` `[B, ...]` after the last row.
        next_state: Nest `[B, ...]`; recurrent state after the last row.
    """

    observation: Any
    is_first: tf.Tensor
    valid: tf.Tensor
    record: Any
    reward: tf.Tensor
    discount: tf.Tensor
    ended: tf.Tensor
    final_value: Any
    state: Any
    next_step: TimeStep
    next_state: Any


class Actor(Protocol):
    """The interface of an agent that a driver uses."""

    def initial_state(self, batch_size: int) -> Nest:
        """Recurrent state at the start of an episode, a nest `[batch_size, ...]`."""

    def act(
        self, observation: Nest, is_first: tf.Tensor, state: Nest, seed: tf.Tensor, deterministic: bool = False
    ) -> tuple[Nest, Nest, Nest]:
        """`(action, record, state)` of one step."""

    def final_value(self, observation: Nest, state: Nest) -> Nest:
        """The values to record for final observations that are not rows, a nest `[B, ...]`."""


class Driver:
    """Steps an agent through a batch of environments; each `collect` continues where the last one stopped.

    The states of the environments, the agent's recurrent state and the random key are variables of the driver.

    Args:
        agent: Has `initial_state(batch_size)`, `act(observation, is_first, state, seed) -> (action, record, state)` and
            `final_value(observation, state)`, a nest `[B, ...]`.
        env: A native or Gymnasium environment (see `keras_rl_prob.envs.make`).
        steps: Rows in a rollout, `T`.
        sequence_length: Rows between two stored recurrent states; divides `steps`.
        seed: Integer seed of the environments' resets and the actions.
        jit_compile: Whether to compile the loop with XLA if the environments are native. With Python environments the agent
            acts in the plain graph, where calling a compiled function at every step would cost more than it saves.
        episodes: A rollout ends with the row in which this number of episodes have ended since it began, in all environments
            together; then `T` differs, up to `steps`. `None` for rollouts of `steps` rows.
        observers: Callables that `collect` calls with each `Rollout`, in the graph. They may be Keras metrics, whose
            `update_state` takes a rollout; `fit` reports these with its own.

    Raises:
        ValueError: `episodes` is no positive integer, or is given with several sequences in a rollout of an agent with memory.
        TypeError: An observer cannot be called.

    Example:
    >>> env = krp.envs.make("tf/CartPole-v1", num_envs=4)
    >>> agent = krp.RandomAgent()
    >>> agent.build(env)
    >>> settings = {"steps": 500, "sequence_length": 500, "seed": 0, "jit_compile": False}
    >>> def count(rollout):
    ...     print(int(tf.math.count_nonzero(rollout.ended)), "episodes")
    >>> driver = Driver(agent, env, **settings, episodes=3, observers=[count])
    >>> len(driver.collect().reward) < 500
    3 episodes
    True

    Attributes:
        steps: `T`.
        num_envs: `B`.
        others: Number of the first environments that others than the agent play, whose episodes are not reported; 0.
    """

    others = 0

    def __init__(
        self,
        agent: Actor,
        env: BatchEnv,
        *,
        steps: int,
        sequence_length: int,
        seed: int,
        jit_compile: bool = True,
        episodes: int | None = None,
        observers: Sequence[Callable[[Rollout], Any]] = (),
    ) -> None:
        self._agent, self._env = agent, env
        self._episodes, self._observers = checks.integer("episodes", episodes, none=True), list(observers)
        for observer in self._observers:
            if not callable(observer):
                raise TypeError(f"`observers` must be callables that take a rollout. Received: {observer!r}")
        self.steps, self.num_envs, self._sequence_length = steps, env.num_envs, sequence_length
        self._rollout = self._loop
        if jit_compile and env.compilable:
            self._rollout = tf.function(self._loop, jit_compile=True, autograph=False)
        carry, key = self._start(env, seed)
        if self._episodes and tf.nest.flatten(carry[2]) and sequence_length != steps:
            raise ValueError(
                "`sequence_length` must be `steps` with `episodes`, where a rollout is a single sequence. "
                f"Received: sequence_length={sequence_length}, steps={steps}, episodes={episodes}"
            )
        self._specs = self._row_specs(*carry)
        self._variables = tf.nest.map_structure(lambda x: tf.Variable(x, trainable=False), carry)
        self._key = tf.Variable(key, trainable=False, name="key")

    def _start(self, env, seed):
        """The state before the first rollout (environments, first rows, recurrent state of the agent), and the random key."""
        key = tf.random.stateless_uniform((2, 2), (seed, 0), None, None, tf.int32)
        return (*env.reset(key[0]), self._agent.initial_state(self.num_envs)), key[1]

    @staticmethod
    def inputs(agent: keras.Model) -> list[tf.Variable]:
        """The variables of an agent that a rollout may depend on: its weights."""
        return agent.weights

    def restart(self, env: BatchEnv, seed: int) -> None:
        """Resets to the state of a new driver for `env`, which has the same signature."""
        carry, key = self._start(env, seed)
        tf.nest.map_structure(lambda variable, value: variable.assign(value), self._variables, carry)
        self._key.assign(key)

    @property
    def variables(self) -> list[tf.Variable]:
        """Variables that determine the next rollout; of Python environments, whose state cannot be stored, only the key."""
        return [*(tf.nest.flatten(self._variables) if self._env.compilable else []), self._key]

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """List of the Keras metrics that `collect` updates: those among the observers."""
        return [x for x in self._observers if isinstance(x, keras.metrics.Metric)]

    @property
    def record_specs(self) -> Nest:
        """Nest of `tf.TensorSpec`s `[B, ...]` of the record of a step."""
        return self._specs[0][3]

    @property
    def final_value_specs(self) -> Nest:
        """Nest of `tf.TensorSpec`s `[B, ...]` of the agent's `final_value`; `()` where final observations are rows."""
        return self._specs[0][7]

    @property
    def key(self) -> tf.Tensor:
        """int32 `[2]`, from which the seeds of the next rollout come; `[0, t]` is added to it."""
        return self._key.read_value()

    def collect(self) -> Rollout:
        """Collects a `Rollout` of `steps` rows, or until enough `episodes` have ended, with the current policy."""
        rollout = self._next()
        for observer in self._observers:
            observer(rollout)
        return rollout

    def _next(self):
        carry = tf.nest.map_structure(lambda variable: variable.read_value(), self._variables)
        rows, carry, states, count = self._rollout(carry, self._key.read_value())
        tf.nest.map_structure(lambda variable, value: variable.assign(value), self._variables, carry)
        with tf.control_dependencies(tf.nest.flatten(carry)):  # not if an environment has raised an exception
            self._key.assign_add([0, count if self._episodes else self.steps])
        if self._episodes:
            rows = tf.nest.map_structure(lambda x: x[:count], rows)
        return Rollout._make([*rows, states, carry[1], carry[2]])

    def _loop(self, carry, key):
        """`steps` rows as `steps / sequence_length` sequences, the recurrent state kept at the start of each; their number."""
        if self._episodes:
            return self._until_episodes(carry, key)
        length = self._sequence_length if tf.nest.flatten(carry[2]) else self.steps  # no state without memory
        sequences = self.steps // length
        row_specs, state_specs = self._specs

        def sequence(i, carry):
            carry_after, rows = _stack_loop(
                length, lambda t, c: self._row(c, key + [0, i * length + t]), carry, row_specs
            )
            return carry_after, (rows, carry[2])

        if sequences == 1:
            carry_after, (rows, state) = sequence(0, carry)
            states = tf.nest.map_structure(lambda x: x[None], state)
        else:
            stacked = tf.nest.map_structure(lambda s: tf.TensorSpec((length, *s.shape), s.dtype), row_specs)
            carry_after, (rows, states) = _stack_loop(sequences, sequence, carry, (stacked, state_specs))
            rows = tf.nest.map_structure(lambda x: tf.reshape(x, (self.steps, *x.shape[2:])), rows)
        return tuple(rows), carry_after, states, self.steps

    def _until_episodes(self, carry, key):
        """Rows until `episodes` have ended, with zeros up to `steps` rows; the number of rows."""

        def step(t, counted):
            carry, ended, _ = counted
            carry, row = self._row(carry, key + [0, t])
            return (carry, ended + tf.math.count_nonzero(row[6], dtype=tf.int32), t + 1), row

        counted, rows = _stack_loop(
            self.steps,
            step,
            (carry, tf.constant(0), tf.constant(0)),
            self._specs[0],
            goes_on=lambda counted: counted[1] < self._episodes,
        )
        return tuple(rows), counted[0], tf.nest.map_structure(lambda x: x[None], carry[2]), counted[2]

    def _row(self, carry, seed):
        """One step of agent and environments; the row has the observation, the record of the action, and its results."""
        env_state, step, state = carry
        action, record, next_state = self._agent.act(step.observation, step.is_first, state, seed)
        env_state, next_step = self._env.step(env_state, action)
        row = (
            step.observation,
            step.is_first,
            step.is_first | ~step.is_last,
            record,
            next_step.reward,
            next_step.discount,
            next_step.is_last,
            self._value_beside(next_step, next_state),
        )
        return (env_state, next_step, next_state), row

    def _value_beside(self, step, state):
        """The agent's `final_value` of final observations that are not rows, computed only if an episode was truncated."""
        if self.final_value_specs == ():
            return ()
        truncated, specs = step.is_last & (step.discount > 0), self.final_value_specs

        def kept(value):
            there = tf.reshape(truncated, (-1, *[1] * (value.shape.rank - 1)))
            return tf.where(there, value, tf.zeros_like(value))

        return tf.cond(
            tf.reduce_any(truncated),
            lambda: tf.nest.map_structure(kept, self._agent.final_value(step.final_observation, state)),
            lambda: tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), specs),
        )

    def _row_specs(self, env_state, step, state):
        """Specs of a row, found by tracing the agent on the first observation, and of the recurrent state."""

        @functools.partial(tf.function, autograph=False)
        def record_and_beside(observation, is_first, state, seed, final):
            _, record, state = self._agent.act(observation, is_first, state, seed)
            return record, () if _has_final_rows(step) else self._agent.final_value(final, state)

        seen = step.observation, step.is_first, state, tf.zeros(2, tf.int32), step.final_observation
        specs = tf.nest.map_structure(tf.TensorSpec.from_tensor, seen)
        record, beside = record_and_beside.get_concrete_function(*specs).structured_outputs
        row = (step.observation, step.is_first, step.is_first, record, step.reward, step.discount, step.is_last, beside)
        return tf.nest.map_structure(lambda x: tf.TensorSpec(x.shape, x.dtype), (row, state))


def make_driver(agent: Actor, env: BatchEnv, kind: type[Driver] = Driver, **settings: Any) -> Driver:
    """Returns the driver of an agent: one of the class `kind`, or what environments in other processes have in its place.

    Args:
        agent: See `Driver`.
        env: A native or Gymnasium environment, or an object with a `make_driver(agent, kind, **settings)`.
        kind: `Driver` or a subclass.
        **settings: The other arguments of `Driver`.
    """
    remote = getattr(env, "make_driver", None)
    return kind(agent, env, **settings) if remote is None else remote(agent, kind, **settings)


def _has_final_rows(step):
    return isinstance(step.final_observation, tuple) and not step.final_observation


def _stack_loop(length, step, carry, specs, goes_on=lambda carry: True):
    """Runs `step(t, carry) -> (carry, row)` `length` times; returns the last carry and the rows stacked on axis 0.

    If the carry does not go on, the remaining rows are zeros.
    """
    arrays = [tf.TensorArray(spec.dtype, length, element_shape=spec.shape) for spec in tf.nest.flatten(specs)]

    def body(t, carry, arrays):
        carry, row = step(t, carry)
        return t + 1, carry, [array.write(t, x) for array, x in zip(arrays, tf.nest.flatten(row), strict=True)]

    _, carry, arrays = tf.while_loop(
        lambda t, carry, _: (t < length) & goes_on(carry),
        body,
        (0, carry, arrays),
        maximum_iterations=length,
        parallel_iterations=1,
    )
    return carry, tf.nest.pack_sequence_as(specs, [array.stack() for array in arrays])
