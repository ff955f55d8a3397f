"""The length of epochs: whole rollouts of gradient steps, or parts of a number of environment steps."""

import contextlib
import numbers
import warnings
from collections.abc import Iterator
from typing import Any

import keras

from keras_rl_prob import checks
from keras_rl_prob.keras_internals import OUT_OF_DATA
from keras_rl_prob.types import Logs

EXECUTIONS = 10**15
"""Executions of an epoch for Keras, which must know a number: more than there will be."""


class Budget(keras.callbacks.Callback):
    """Ends each epoch with the first rollout that reaches its part of the environment steps; the last callback of `fit`.

    Epoch `k` of `n`, counted from 1, ends as soon as `k / n` of the steps are made. Then `StopIteration` is raised, with which
    data end an epoch for Keras.

    Args:
        agent: A built agent with `env_steps`.
        env_steps: Environment steps of the run, a positive integer.
        epochs: The epoch at which `fit` stops, a positive integer.
        initial_epoch: The epoch at which it starts; the steps of those before it count as made.

    Attributes:
        start: What `env_steps` of the agent was when the run began.
    """

    def __init__(self, agent: Any, env_steps: int, epochs: int, initial_epoch: int) -> None:
        super().__init__()
        self._agent, self._steps, self._epochs = agent, env_steps, epochs
        self.start = int(agent.env_steps.numpy()) - initial_epoch * env_steps // epochs

    @contextlib.contextmanager
    def applied(self, callbacks: Any, rows: int) -> Iterator[None]:
        """Context manager of the `fit` whose epochs this ends.

        Args:
            callbacks: Its callbacks, to which this one is added.
            rows: Most steps of a rollout, all environments together.

        Raises:
            ValueError: An epoch may have fewer steps than a rollout.
        """
        check_rows(self._steps, self._epochs, rows)
        callbacks.append(self)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", OUT_OF_DATA)
            yield

    @property
    def end(self) -> int:
        """What `env_steps` of the agent must be for the run to be complete."""
        return self.start + self._steps

    @property
    def steps_per_epoch(self) -> int:
        """Environment steps in an epoch, rounded down."""
        return self._steps // self._epochs

    @property
    def epoch(self) -> int:
        """Number of epochs that have ended."""
        return min(self._epochs, self._epochs * (int(self._agent.env_steps.numpy()) - self.start) // self._steps)

    def part(self, epoch: int, env_steps: int) -> float:
        """The part of an epoch, counted from 0, that is done after so many environment steps of the agent, 0 to 1."""
        return min(1.0, max(0.0, (env_steps - self.start) * self._epochs / self._steps - epoch))

    def set_params(self, params: dict[str, Any]) -> None:
        """Tells other callbacks that the number of steps of an epoch is not known."""
        params["steps"] = None
        super().set_params(params)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Notes the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Ends the epoch if its part of the steps is made."""
        if self.epoch > self._epoch:
            raise StopIteration


def check_rows(env_steps: int, epochs: int, rows: int) -> None:
    """Raises a `ValueError` if an epoch may have fewer steps than a rollout of all environments, `rows`."""
    if env_steps < rows * epochs:
        raise ValueError(
            f"`env_steps` must be at least {rows * epochs:,}, the up to {rows:,} steps of a rollout for each of the "
            f"{epochs} epochs. Received: env_steps={env_steps}"
        )


def checked_steps(env_steps: Any, steps_per_epoch: Any, collectors: Any = None) -> Any:
    """Returns the argument `env_steps` of `fit`; raises a `ValueError` if it is invalid or does not fit the others."""
    env_steps = checks.integer("env_steps", env_steps, none=True)
    if env_steps is not None and not getattr(collectors, "makes_env_steps", True):
        raise ValueError(
            f"`env_steps` must be `None` with `collectors={type(collectors).__name__}(...)`, which makes none: use "
            f"`steps_per_epoch`. Received: env_steps={env_steps}"
        )
    if env_steps is not None and steps_per_epoch is not None:
        raise ValueError(
            "`steps_per_epoch` must be `None` with `env_steps`, which the epochs divide evenly. "
            f"Received: steps_per_epoch={steps_per_epoch!r} and env_steps={env_steps}"
        )
    return env_steps


def whole_rollouts(steps_per_epoch: int | None, updates: int, default: int) -> int:
    """Returns `steps_per_epoch`, checked to be whole rollouts; that of `default` rollouts for `None`."""
    if steps_per_epoch is None:
        return default * updates
    steps_per_epoch = checks.integer("steps_per_epoch", steps_per_epoch)
    if steps_per_epoch % updates:
        below = steps_per_epoch // updates * updates
        nearest = f"{below} or {below + updates}" if below > 0 else f"{updates}"
        raise ValueError(
            f"`steps_per_epoch` counts gradient steps and must be a multiple of the {updates} that one rollout gives, such as "
            f"{nearest}. Received: steps_per_epoch={steps_per_epoch!r}"
        )
    return steps_per_epoch


def whole_executions(steps_per_execution: int | None, updates: int, steps_per_epoch: int | None) -> int:
    """Returns `steps_per_execution`, checked; `updates` for `None`. `steps_per_epoch` is `None` if epochs end of themselves."""
    execution = updates if steps_per_execution is None else steps_per_execution
    if (
        not isinstance(execution, numbers.Integral)
        or execution < 1
        or execution % updates
        or (steps_per_epoch or execution) % execution
    ):
        ends = f" and divide the {steps_per_epoch} of an epoch" if steps_per_epoch else ""
        raise ValueError(
            f"`steps_per_execution` of `compile` must be a multiple of the {updates} gradient steps that one rollout gives"
            f"{ends}. Received: steps_per_execution={execution!r}"
        )
    return int(execution)
