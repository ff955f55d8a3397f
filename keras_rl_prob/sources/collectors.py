"""Where rollouts are collected when the agent does not do it itself."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import keras

from keras_rl_prob import checks
from keras_rl_prob.envs.factory import BatchEnv
from keras_rl_prob.sources.rollouts import RolloutSource


@runtime_checkable
class Collectors(Protocol):
    """What `fit` takes as its `collectors`: anything that can make a source for an agent."""

    def make_source(self, agent: keras.Model, env: BatchEnv, seed: int) -> RolloutSource:
        """The source of a training, in the place of `agent.make_source(env, seed)`.

        Args:
            agent: A built agent.
            env: A native or Gymnasium environment.
            seed: Integer that determines everything random.
        """


_numbered: list[Callable[[int], Collectors]] = []


def register_collectors(make: Callable[[int], Collectors]) -> None:
    """Says what an integer stands for in `fit(collectors=...)`: `make(collectors)`."""
    _numbered[:] = [make]


def collectors_of(collectors: Any) -> Collectors | None:
    """The collectors that an argument of `fit` stands for, `None` if the agent is to collect itself.

    Raises:
        TypeError: It is nothing that can make a source.
        ValueError: It is an integer below 1.
    """
    if collectors is None or (isinstance(collectors, Collectors) and not isinstance(collectors, type | keras.Model)):
        return collectors
    if _numbered and not hasattr(collectors, "make_source"):
        return _numbered[0](checks.integer("collectors", collectors))
    raise TypeError(
        f"`collectors` must be `None`, or an object with `make_source(agent, env, seed)`. Received: collectors={collectors!r}"
    )
