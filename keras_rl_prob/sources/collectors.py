"""Collectors, which collect the rollouts of an agent instead of the agent itself."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import keras

from keras_rl_prob import checks
from keras_rl_prob.envs.factory import BatchEnv
from keras_rl_prob.sources.rollouts import RolloutSource


@runtime_checkable
class Collectors(Protocol):
    """The argument `collectors` of `fit`: any object that can create a source for an agent."""

    def make_source(self, agent: keras.Model, env: BatchEnv, seed: int) -> RolloutSource:
        """Creates the source of a training run, instead of `agent.make_source(env, seed)`.

        Args:
            agent: A built agent.
            env: A native or Gymnasium environment.
            seed: Integer that determines everything random.
        """


_numbered: list[Callable[[int], Collectors]] = []


def register_collectors(make: Callable[[int], Collectors]) -> None:
    """Sets what `fit(collectors=...)` does with an integer: it uses `make(collectors)`."""
    _numbered[:] = [make]


def collectors_of(collectors: Any) -> Collectors | None:
    """Returns the collectors for the argument of `fit`, `None` if the agent collects rollouts itself.

    Raises:
        TypeError: `collectors` has no `make_source`.
        ValueError: `collectors` is an integer below 1.
    """
    if collectors is None or (isinstance(collectors, Collectors) and not isinstance(collectors, type | keras.Model)):
        return collectors
    if _numbered and not hasattr(collectors, "make_source"):
        return _numbered[0](checks.integer("collectors", collectors))
    raise TypeError(
        f"`collectors` must be `None`, or an object with `make_source(agent, env, seed)`. Received: collectors={collectors!r}"
    )
