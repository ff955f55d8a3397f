"""Drivers whose rollouts are collected in other processes."""

import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_rl_prob import python_calls
from keras_rl_prob.distributed.collector import Order
from keras_rl_prob.distributed.crew import Event, keys
from keras_rl_prob.distributed.environments import RemoteEnv
from keras_rl_prob.drivers import Driver, Rollout
from keras_rl_prob.types import Nest


class RemoteDriver:
    """The interface of a `Driver` whose rollouts the collectors of a `RemoteEnv` collect.

    Args:
        agent: A built agent.
        env: A `RemoteEnv`.
        kind: Class of the collectors' drivers.
        steps: Rows in a rollout, `T`.
        seed: Integer that determines everything random.
        **settings: The other arguments of `Driver`, except `episodes` and `observers`.

    Raises:
        ValueError: One of these is given.

    Attributes:
        steps: `T`.
        num_envs: `B`, the number of environments in a rollout.
        metrics: List of Keras metrics that describe the collecting: `queue_wait`, seconds that the learner waited for a rollout
            (mean over an epoch), and `collector_restarts`, how many collectors were replaced (in an epoch).
    """

    keeps_state = True

    def __init__(
        self, agent: keras.Model, env: RemoteEnv, kind: type[Driver], *, steps: int, seed: int, **settings: Any
    ) -> None:
        if settings.keys() & {"episodes", "observers"}:
            raise ValueError(
                "`collectors` in other processes collect rollouts of a fixed number of rows, without observers. Received: "
                f"{ {name: settings[name] for name in ('episodes', 'observers') if name in settings} }"
            )
        self._agent, self._env, self.steps, self.num_envs = agent, env, steps, env.num_envs
        self._order = Order.of(agent, kind, {"steps": steps, **settings})
        self._count = len(env.crew.seats)
        self.metrics = [keras.metrics.Mean(name="queue_wait"), keras.metrics.Sum(name="collector_restarts")]
        self._episodes: list[Any] = []
        started = env.crew.begin(self._order, seed)
        self._specs = self.rollout_specs(started[0].specs)
        self._states = [tf.Variable(np.stack(x), trainable=False) for x in self._stored(started)]
        self._key = tf.Variable(self._first_key(seed), trainable=False, name="key")
        self._begin(seed)

    def restart(self, env: Any, seed: int) -> None:
        """Resets to the state of a new driver, with new collectors."""
        started = self._env.crew.begin(self._order, seed)
        for variable, arrays in zip(self._states, self._stored(started), strict=True):
            variable.assign(np.stack(arrays))
        self._key.assign(self._first_key(seed))
        self._begin(seed)

    def follow_episodes(self, variables: Sequence[tf.Variable]) -> None:
        """Sets the variables `[B]` of unfinished episodes; they become 0 where a new collector starts new ones."""
        self._episodes = list(variables)

    @property
    def variables(self) -> list[tf.Variable]:
        """Variables that determine the next rollout, as far as they can be stored."""
        return [*self._states, self._key]

    @property
    def record_specs(self) -> Nest:
        """Nest of `tf.TensorSpec`s `[B, ...]` of the record of a step."""
        return _row_specs(self._specs.record)

    @property
    def final_value_specs(self) -> Nest:
        """Nest of `tf.TensorSpec`s `[B, ...]` of the agent's `final_value`; `()` where final observations are rows."""
        return _row_specs(self._specs.final_value)

    @property
    def key(self) -> tf.Tensor:
        """int32 `[2]`, from which the seeds of the next rollout come."""
        return self._key.read_value()

    def rollout_specs(self, specs: Rollout) -> Rollout:
        """Specs of a rollout for those of one collector."""
        return specs

    def collect(self) -> Rollout:
        """Returns the next `Rollout`."""
        raise NotImplementedError

    def _begin(self, seed):
        """Prepares for the first rollout."""

    def _stored(self, answers):
        """The states to be kept here, those of all collectors for each variable."""
        return list(zip(*(answer.state for answer in answers), strict=True)) if self._env.compilable else []

    @staticmethod
    def _first_key(seed):
        return tf.random.stateless_uniform((2, 2), (seed, 0), None, None, tf.int32)[1]  # as a driver's

    def _call(self, method, inputs, specs):
        """Calls a method with inputs and the agent's weights; returns a flat list of tensors of these specs."""
        weights = [tf.convert_to_tensor(x) for x in self._order.kind.inputs(self._agent)]
        flat = python_calls.call(method, [*inputs, *weights], [spec.dtype for spec in specs])
        return [tf.ensure_shape(x, spec.shape) for x, spec in zip(flat, specs, strict=True)]

    def _update(self, *values):
        """Updates the metrics."""
        for metric, value in zip(self.metrics, values, strict=True):
            metric.update_state(value)


class LockstepDriver(RemoteDriver):
    """All collectors collect with the current weights; their rollouts are joined in order along the batch axis.

    The state of native environments is sent to the collectors and back, so that any of them can be replaced.
    """

    def rollout_specs(self, specs: Rollout) -> Rollout:
        """Specs of the rollouts of all collectors, joined."""

        def joined(axis):
            def of(spec):
                shape = spec.shape.as_list()
                shape[axis] *= self._count
                return tf.TensorSpec(shape, spec.dtype)

            return of

        return Rollout._make(
            tf.nest.map_structure(joined(axis_of(name)), value) for name, value in specs._asdict().items()
        )

    def collect(self) -> Rollout:
        """Collects a rollout of `steps` rows with the current policy."""
        key = self._key.read_value()
        others = [tf.random.fold_in(key, index) for index in range(1, self._count)]
        states = [variable.read_value() for variable in self._states]
        flat = tf.nest.flatten(self._specs)
        about = [tf.TensorSpec((self._count,), tf.bool), tf.TensorSpec((), tf.float32), tf.TensorSpec((), tf.float32)]
        specs = [*flat, *(tf.TensorSpec(x.shape, x.dtype) for x in self._states), *about]
        results = self._call(self._gather, [tf.stack([key, *others]), *states], specs)
        *results, is_new, waited, restarts = results
        for variable, value in zip(self._states, results[len(flat) :], strict=True):
            variable.assign(value)
        kept = tf.repeat(~is_new, self.num_envs // self._count)
        for variable in [] if self._states else self._episodes:
            variable.assign(tf.where(kept, variable, tf.zeros_like(variable)))
        self._update(waited, restarts)
        with tf.control_dependencies(results):
            self._key.assign_add([0, self.steps])
        return tf.nest.pack_sequence_as(self._specs, results[: len(flat)])

    def _gather(self, keys, *arrays):
        """The joined rollout, the states after it, which collectors are new, seconds waited, and the number of restarts."""
        crew, begin = self._env.crew, time.monotonic()
        count = len(self._states)
        states, weights = arrays[:count], crew.put(arrays[count:])

        def ask(index):
            crew.collect(index, weights, keys[index], [x[index] for x in states] or None)

        for index in range(self._count):
            ask(index)
        is_new, restarts = np.zeros(self._count, bool), 0
        answers: dict[int, Any] = {}
        while len(answers) < self._count:
            event: Event = crew.next_event()
            if event.answer is None:
                is_new[event.place], restarts = True, restarts + 1
                answers.pop(event.place, None)
            elif event.has_rollout:
                answers[event.place] = event.answer
            else:
                ask(event.place)
        ordered = [answers[index] for index in range(self._count)]
        joined = [
            x[0] if len(x) == 1 else np.concatenate(x, axis)
            for x, axis in zip(zip(*(answer.rollout for answer in ordered), strict=True), self._axes(), strict=True)
        ]
        waited = np.float32(time.monotonic() - begin)
        return [*joined, *(np.stack(x) for x in self._stored(ordered)), is_new, waited, np.float32(restarts)]

    def _axes(self):
        """The batch axis of each array of a rollout."""
        fields = self._specs._asdict().items()
        return [axis_of(name) for name, value in fields for _ in tf.nest.flatten(value)]


class AsynchronousDriver(RemoteDriver):
    """Collectors collect without waiting for the learner, at most two rollouts ahead; each rollout is that of one of them.

    A rollout comes from the weights that the learner had when it asked for it, some versions before those that learn from it:
    a version is the number of rollouts learned from. If it is more than `max_policy_lag` versions old, it is dropped.

    Attributes:
        metrics: Besides those of `RemoteDriver`: `policy_lag`, the age of a rollout in versions (mean over an epoch), and
            `dropped_rollouts`, how many were too old (in an epoch).
    """

    keeps_state = False
    ahead = 2

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.metrics += [keras.metrics.Mean(name="policy_lag"), keras.metrics.Sum(name="dropped_rollouts")]

    def follow_episodes(self, variables: Sequence[tf.Variable]) -> None:
        """Sets the variables of unfinished episodes, which are now kept for each collector."""
        super().follow_episodes(variables)
        self._banks = [tf.Variable(tf.zeros((self._count, *x.shape), x.dtype), trainable=False) for x in self._episodes]
        self._current = tf.Variable(0, trainable=False)  # the collector whose episodes the variables are of

    def _begin(self, seed):
        self._version = 0
        self._keys = [keys(seed, index) for index in range(self._count)]
        self._is_new = np.zeros(self._count, bool)
        for bank in self._banks if self._episodes else ():
            bank.assign(tf.zeros_like(bank))

    def collect(self) -> Rollout:
        """Returns the next rollout of any collector."""
        flat = tf.nest.flatten(self._specs)
        real = tf.TensorSpec((), tf.float32)
        specs = [*flat, tf.TensorSpec((), tf.int32), tf.TensorSpec((), tf.bool), *[real] * 4]
        *results, index, is_new, waited, restarts, lag, dropped = self._call(self._take, [], specs)
        for variable, bank in zip(self._episodes, self._banks if self._episodes else (), strict=True):
            bank.scatter_nd_update([[self._current.read_value()]], [variable.read_value()])
            own = bank.read_value()[index]
            variable.assign(tf.where(is_new, tf.zeros_like(own), own))
        if self._episodes:
            self._current.assign(index)
        self._update(waited, restarts, lag, dropped)
        with tf.control_dependencies(results):
            self._key.assign_add([0, self.steps])
        return tf.nest.pack_sequence_as(self._specs, results)

    def _take(self, *weights):
        """A rollout, its collector and whether that is new; seconds waited, restarts, age, and number of dropped rollouts."""
        crew, begin = self._env.crew, time.monotonic()
        restarts = dropped = 0
        version, put = self._version, None
        while True:
            for index in range(self._count):
                for _ in range(self.ahead - crew.in_flight(index)):
                    put = crew.put(weights) if put is None else put
                    crew.collect(index, put, next(self._keys[index]), None, version)
            event: Event = crew.next_event()
            if event.answer is None:
                self._is_new[event.place], restarts = True, restarts + 1
            elif event.has_rollout and version - event.tag > crew.settings.most_lag:
                dropped += 1
            elif event.has_rollout:
                break
        self._version += 1
        is_new, self._is_new[event.place] = bool(self._is_new[event.place]), False
        numbers = time.monotonic() - begin, restarts, version - event.tag, dropped
        return [*event.answer.rollout, np.int32(event.place), np.bool_(is_new), *map(np.float32, numbers)]


def axis_of(name: str) -> int:
    """Batch axis of a field of a `Rollout`."""
    return 0 if name in ("next_step", "next_state") else 1


def _row_specs(specs):
    """Specs `[B, ...]` for those of `[T, B, ...]`."""
    return tf.nest.map_structure(lambda spec: tf.TensorSpec(spec.shape[1:], spec.dtype), specs)
