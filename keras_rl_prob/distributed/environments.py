"""Environments that are stepped in other processes, as the learner sees them."""

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any, Self

import keras

from keras_rl_prob.distributed.crew import Crew
from keras_rl_prob.drivers import Driver
from keras_rl_prob.envs.factory import BatchEnv
from keras_rl_prob.envs.previous_step import PreviousStep, extended_space


class RemoteEnv:
    """What graphs need to know of the environments of a `Crew`; they cannot be stepped here.

    Args:
        env: A batch of such environments, as one collector has it.
        crew: The `Crew`.
        num_envs: Number of environments in a rollout.
        driver: Class of the driver for them, `LockstepDriver` or `AsynchronousDriver`.
    """

    def __init__(self, env: BatchEnv, crew: Crew, num_envs: int, driver: Callable[..., Any]) -> None:
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.num_envs, self._crew, self._driver = num_envs, crew, driver
        self.compilable = env.compilable and driver.keeps_state  # type: ignore[attr-defined]
        self.signature = RemoteEnv, num_envs, crew.settings, driver, env.signature
        self._actual = self

    @property
    def crew(self) -> Crew:
        """The crew of the environments that this object stands for."""
        return self._actual._crew

    def with_previous_step(self) -> Self:
        """These environments as an agent with `previous_action_and_reward` sees them; its collectors add both themselves."""
        extended: Any = copy.copy(self)
        extended.observation_space = extended_space(self.observation_space, self.action_space)
        extended.signature = PreviousStep, *self.signature
        extended._actual = extended
        return extended

    def make_driver(self, agent: keras.Model, kind: type[Driver], **settings: Any) -> Any:
        """Returns the driver whose rollouts the crew collects with drivers of the class `kind`."""
        return self._driver(agent, self, kind, **settings)

    def reset(self, seed: Any) -> Any:
        """Raises a `TypeError`: sources whose rollouts others can collect get their driver from `make_driver`."""
        raise TypeError(
            "Environments in other processes cannot be stepped here: create the driver with `drivers.make_driver`"
        )

    def placeholder(self) -> Self:
        """An environment with this signature, which graphs can keep."""
        kept: Any = copy.copy(self)
        kept._crew = kept._actual = None
        return kept

    @contextlib.contextmanager
    def standing_for(self, env: Any) -> Iterator[None]:
        """Context manager in which a placeholder stands for another environment with its signature."""
        before, self._actual = self._actual, env
        try:
            yield
        finally:
            self._actual = before
