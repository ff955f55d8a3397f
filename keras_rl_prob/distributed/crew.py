"""The collectors of a training run: calls them, checks what they return, and replaces those that fail."""

import collections
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import tensorflow as tf

from keras_rl_prob import python_calls
from keras_rl_prob.distributed.collector import Collected, Collector, Failure, Order, Started
from keras_rl_prob.distributed.engine import Died
from keras_rl_prob.types import Nest

GLANCE = 0.2  # seconds between looks at Ctrl-C


class Event(NamedTuple):
    """What has happened to a collector.

    Attributes:
        place: Its number.
        answer: A `Started`, a `Collected`, or `None` if the collector was replaced by a new one, which starts.
        tag: What `Crew.collect` was given for this rollout.
    """

    place: int
    answer: Any
    tag: Any = None

    @property
    def has_rollout(self) -> bool:
        """Whether the answer is a rollout."""
        return isinstance(self.answer, Collected)


class Seat:
    """The place of one collector, which several may hold one after the other."""

    def __init__(self) -> None:
        self.collector: Any = None
        self.pending: collections.deque[tuple[Any, Any]] = collections.deque()  # references and tags, in order
        self.since = 0.0  # when the first of them began
        self.hired = self.failures = 0  # collectors so far; failures since the last rollout


class Crew:
    """Collectors that are replaced when they die, hang or raise an exception.

    Args:
        connect: Function that returns a `RayEngine` for this crew, or another object with its methods.
        env: What the collectors make their environments from.
        num_envs: Number of environments of each collector.
        settings: The `RayCollectors`.
    """

    def __init__(self, connect: Callable[["Crew"], Any], env: Any, num_envs: int, settings: Any) -> None:
        self._connect, self._env, self._num_envs = connect, env, num_envs
        self.settings, self._engine = settings, cast(Any, None)
        self.seats = [Seat() for _ in range(settings.num_collectors)]
        self._raised: dict[int, BaseException] = {}  # by collector, since its last rollout

    def begin(self, order: Order, seed: int) -> list[Started]:
        """Starts all collectors, anew if there are any; returns their answers."""
        if self._engine is None:
            self._engine = self._connect(self)
            self._engine.check_portable(self._env)
        self.close()
        self._order, self._seed = self._engine.put(order), seed
        self._specs: Nest = None
        for index in range(len(self.seats)):
            self._hire(index)
        answers: dict[int, Started] = {}
        while len(answers) < len(self.seats):
            event = self.next_event()
            if event.answer is not None:
                answers[event.place] = event.answer
        return [answers[index] for index in range(len(self.seats))]

    def put(self, weights: Sequence[np.ndarray]) -> Any:
        """Puts weights into the object store once for all collectors; returns a reference."""
        return self._engine.put(list(weights))

    def collect(self, index: int, weights: Any, key: np.ndarray, state: Any, tag: Any = None) -> None:
        """Lets a collector collect a rollout, see `Collector.collect`; `next_event` returns it."""
        seat = self.seats[index]
        self._append(seat, self._engine.call(seat.collector, "collect", weights, key, state), tag)

    def next_event(self) -> Event:
        """Waits for the next `Event`.

        Raises:
            Exception: That of a collector, if all have raised one or if it has been replaced too often; with its name.
            MemoryError: The object store is full.
        """
        while True:
            python_calls.raise_if_interrupted()
            heads = {seat.pending[0][0]: index for index, seat in enumerate(self.seats) if seat.pending}
            ready = self._engine.ready(list(heads), GLANCE)
            if ready:
                longest = min((heads[reference] for reference in ready), key=lambda index: self.seats[index].since)
                return self._answer(longest)  # in turn, if all are there
            late = [i for i, seat in enumerate(self.seats) if seat.pending and self._age(seat) > self.settings.timeout]
            if late:
                return self._replace(
                    late[0], TimeoutError(f"It has not answered within `timeout`={self.settings.timeout:g} seconds")
                )

    def close(self) -> None:
        """Ends all collectors."""
        for seat in self.seats:
            if seat.collector is not None:
                self._engine.dismiss(seat.collector)
        self.seats = [Seat() for _ in self.seats]
        self._raised.clear()

    def in_flight(self, index: int) -> int:
        """Number of the results that a collector has yet to return."""
        return len(self.seats[index].pending)

    def _age(self, seat):
        return time.monotonic() - seat.since

    def _append(self, seat, reference, tag):
        if not seat.pending:
            seat.since = time.monotonic()
        seat.pending.append((reference, tag))

    def _hire(self, index):
        seat, count = self.seats[index], len(self.seats)
        place = index, count
        seat.collector = self._engine.hire(Collector, name_of(index), self._order, self._env, self._num_envs, place)
        seat.hired += 1
        seed = seed_of(self._seed, index, seat.hired - 1)
        self._append(seat, self._engine.call(seat.collector, "start", seed), None)

    def _answer(self, index):
        """The event of a result that is there."""
        seat = self.seats[index]
        reference, tag = seat.pending[0]
        try:
            answer = self._engine.result(reference)
        except Died as error:
            return self._replace(index, error)
        if isinstance(answer, Failure):
            return self._replace(index, answer.error, raised=True)
        try:
            self._check(answer)
        except ValueError as error:
            return self._replace(index, error, raised=True)
        seat.pending.popleft()
        seat.since = time.monotonic()
        if isinstance(answer, Collected):
            seat.failures = 0
            self._raised.pop(index, None)
        return Event(index, answer, tag)

    def _replace(self, index, error, raised=False):
        """Ends a collector and starts a new one; raises the error if that has been done too often."""
        seat = self.seats[index]
        seat.failures += 1
        if raised:
            self._raised[index] = error
        if (
            seat.failures > self.settings.max_restarts
            or len(self._raised) == len(self.seats)
            or (self._specs is None and raised)
        ):
            if not raised:
                error = RuntimeError(f"{name_of(index)} has been lost {seat.failures} times in turn: {error}")
            raise error
        self._engine.dismiss(seat.collector)
        seat.pending.clear()
        self._hire(index)
        return Event(index, None)

    def _check(self, answer):
        """Raises a `ValueError` unless an answer has the structure, shapes and dtypes of all the others."""
        if isinstance(answer, Started):
            received: Any = (answer.specs, [(x.shape, x.dtype) for x in answer.state])
            self._specs = self._specs or received
            if received != self._specs:
                raise ValueError(
                    f"Collectors must have equal environments. Expected: {self._specs}. Received: {received}"
                )
            return
        specs, states = self._specs
        specs = [(tuple(spec.shape), np.dtype(spec.dtype.as_numpy_dtype)) for spec in tf.nest.flatten(specs)]
        for expected, arrays in ((specs, answer.rollout), (states if answer.state else [], answer.state)):
            shapes = [(x.shape, x.dtype) for x in arrays]
            if shapes != expected:
                wrong = next(pair for pair in zip(expected, [*shapes, None], strict=False) if pair[0] != pair[1])
                raise ValueError(
                    f"A rollout of a collector must have the shapes and dtypes of the first one. Expected: {wrong[0]}. "
                    f"Received: {wrong[1]}"
                )


def name_of(index: int) -> str:
    """Name of a collector, for messages."""
    return f"collector {index}"


def seed_of(seed: int, index: int, hired: int) -> int:
    """Seed of a collector: the learner's own for the first one, so that one collector repeats what happens without any."""
    if index == hired == 0:
        return seed
    return int(np.random.SeedSequence([seed % 2**32, index, hired]).generate_state(1)[0] >> 1)


def keys(seed: int, index: int) -> Iterator[np.ndarray]:
    """Random keys of the rollouts of a collector that never repeat, int32 `[2]`."""
    generator = np.random.default_rng([seed % 2**32, index])
    while True:
        yield generator.integers(-(2**31), 2**31, 2, np.int32)
