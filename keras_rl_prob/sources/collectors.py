"""Collectors, which collect the rollouts of an agent instead of the agent itself."""

import contextlib
import numbers
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import keras

from keras_rl_prob import checks
from keras_rl_prob.envs.factory import BatchEnv, Env, in_processes, opened
from keras_rl_prob.sources.rollouts import RolloutSource


@runtime_checkable
class Collectors(Protocol):
    """The argument `collectors` of `fit`: any object that can create a source for an agent.

    Collectors that do not need the environments in this process also have a method `opened(agent, env, num_envs)`, a context
    manager like `krp.envs.opened` with the arguments of `fit`; it returns what `make_source` then gets as `env`.
    """

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


def opened_by(
    collectors: Collectors | None, agent: keras.Model, env: Env, num_envs: int | None, env_processes: int | None = None
) -> contextlib.AbstractContextManager[BatchEnv]:
    """Context manager that returns the environments from which `collectors` collect, in worker processes if given.

    Raises:
        ValueError: Worker processes are given, but the collectors have their own.
    """
    own: Any = getattr(collectors, "opened", None)
    if env_processes is not None:
        if own is not None:
            raise ValueError(
                "`env_processes` must be `None` with `collectors` that step their environments in processes of their own. "
                f"Received: env_processes={env_processes!r} and collectors={collectors!r}"
            )
        env = in_processes(env, env_processes, num_envs, agent.default_num_envs)
    return opened(env, num_envs, agent.default_num_envs) if own is None else own(agent, env, num_envs)


def collectors_of(collectors: Any) -> Collectors | None:
    """Returns the collectors for the argument of `fit`, `None` if the agent collects rollouts itself.

    Raises:
        TypeError: `collectors` has no `make_source`.
        ValueError: `collectors` is an integer below 1.
    """
    if collectors is None or (isinstance(collectors, Collectors) and not isinstance(collectors, type | keras.Model)):
        return collectors
    if _numbered and isinstance(collectors, numbers.Number):
        return _numbered[0](checks.integer("collectors", collectors))
    raise TypeError(
        "`collectors` must be `None`, an integer, or an object with `make_source(agent, env, seed)`. "
        f"Received: collectors={collectors!r}"
    )
