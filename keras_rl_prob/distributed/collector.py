"""A collector: environments and a copy of the policy in a process of their own."""

import dataclasses
import platform
from typing import Any, NamedTuple

import gymnasium
import keras
import numpy as np
import tensorflow as tf

from keras_rl_prob import python_calls
from keras_rl_prob.agents import EpsilonGreedy
from keras_rl_prob.drivers import rollout_source
from keras_rl_prob.envs import make
from keras_rl_prob.envs.factory import Env
from keras_rl_prob.envs.processes.worker_report import portable
from keras_rl_prob.settings import Schedule
from keras_rl_prob.types import Nest
from keras_rl_prob.version import __version__

APE_X_ALPHA = 7.0
VERSIONS = {"keras_rl_prob": __version__, "TensorFlow": tf.__version__, "Python": platform.python_version()}


class Order(NamedTuple):
    """What a collector needs to collect the rollouts of an agent; it can be pickled.

    Attributes:
        agent: The agent's class, its config, its spaces and its weights.
        custom_objects: Dict of what is registered with Keras.
        dtypes: Keras' `floatx` and the name of its dtype policy.
        kind: Class of the driver, `Driver` or `GradientDriver`.
        settings: Dict of the driver's arguments besides agent, environment and seed.
        versions: Dict of the versions that a collector must have.
    """

    agent: tuple[Any, dict[str, Any], tuple[gymnasium.Space, gymnasium.Space], list[np.ndarray]]
    custom_objects: dict[str, Any]
    dtypes: tuple[str, str]
    kind: Any
    settings: dict[str, Any]
    versions: dict[str, str]

    @classmethod
    def of(cls, agent: keras.Model, kind: Any, settings: dict[str, Any]) -> "Order":
        """The order for a built agent."""
        spaces = agent.observation_space, agent.action_space
        return cls(
            (type(agent), agent.get_config(), spaces, agent.get_weights()),
            dict(keras.saving.get_custom_objects()),
            (keras.config.floatx(), keras.config.dtype_policy().name),
            kind,
            settings,
            VERSIONS,
        )

    def make_agent(self) -> keras.Model:
        """A copy of the agent, built but not compiled; sets Keras' dtypes and custom objects.

        Raises:
            RuntimeError: This process has other versions.
        """
        if self.versions != VERSIONS:
            raise RuntimeError(
                f"Processes must have the versions of the one that started them, {self.versions}. Received: {VERSIONS}"
            )
        keras.config.set_floatx(self.dtypes[0])
        keras.config.set_dtype_policy(self.dtypes[1])
        keras.saving.get_custom_objects().update(self.custom_objects)
        kind, config, spaces, weights = self.agent
        agent: Any = kind.from_config(config)
        agent.build(spaces)
        agent.set_weights(weights)
        return agent


class Started(NamedTuple):
    """The answer of a collector that has started.

    Attributes:
        specs: Nest of the `tf.TensorSpec`s of a rollout.
        state: List of arrays: the driver's variables except the random key.
    """

    specs: Nest
    state: list[np.ndarray]


class Collected(NamedTuple):
    """A rollout, as a collector returns it.

    Attributes:
        rollout: List of the arrays of a `Rollout`, or of a `Gradient`.
        state: List of arrays: the driver's variables after it, except the random key; empty if it stays with the collector.
    """

    rollout: list[np.ndarray]
    state: list[np.ndarray]


class Failure(NamedTuple):
    """An exception of a collector, which is returned instead of raised."""

    error: BaseException


class Collector:
    """Steps environments with a copy of the policy; the state between two rollouts belongs to its caller, or stays here.

    Args:
        name: Name for messages.
        order: An `Order`.
        env: Anything that `krp.envs.make` accepts.
        num_envs: Number of environments.
        place: Its number among the collectors, and how many there are.
    """

    def __init__(self, name: str, order: Order, env: Env, num_envs: int, place: tuple[int, int]) -> None:
        self._name, self._order, self._env, self._num_envs, self._place = name, order, env, num_envs, place
        self._driver: Any = None

    def start(self, seed: int) -> Started | Failure:
        """Makes the environments and traces the rollout; returns what the first rollout starts from."""
        return self._answer(self._start, seed)

    def collect(
        self, weights: list[np.ndarray], key: np.ndarray, state: list[np.ndarray] | None
    ) -> Collected | Failure:
        """Collects a rollout.

        Args:
            weights: The values of the driver's `inputs`: the agent's weights.
            key: int32 `[2]`, the driver's random key.
            state: The driver's other variables, or `None` to go on from the last rollout.
        """
        return self._answer(self._collect, weights, key, state)

    def _answer(self, method, *args):
        try:
            with python_calls.raising_as_itself():
                return method(*args)
        except Exception as error:
            error.add_note(f"Raised in {self._name}.")
            return Failure(portable(error, self._name))

    def _start(self, seed):
        order, (index, count) = self._order, self._place
        self._agent: Any = order.make_agent()
        exploration = getattr(self._agent, "exploration_in_use", None)
        if isinstance(exploration, EpsilonGreedy) and index:
            self._agent.exploration = explorer(exploration, index, count)
        env = self._agent.seen(make(self._env, self._num_envs))
        self._driver = order.kind(self._agent, env, seed=seed, **order.settings)
        self._rollouts = iter(rollout_source(self._driver.collect, lambda rollout: rollout))  # as without collectors
        return Started(self._rollouts.element_spec, self._state())

    def _collect(self, weights, key, state):
        for variable, value in zip(self._driver.inputs(self._agent), weights, strict=True):
            variable.assign(value)
        *variables, own_key = self._driver.variables
        own_key.assign(key)
        for variable, value in zip(variables, variables if state is None else state, strict=True):
            variable.assign(value)
        rollout = [x.numpy() for x in tf.nest.flatten(next(self._rollouts))]
        return Collected(rollout, [] if state is None else self._state())

    def _state(self):
        return [variable.numpy() for variable in self._driver.variables[:-1]]


def explorer(exploration: EpsilonGreedy, index: int, count: int) -> EpsilonGreedy:
    """The exploration of one of several collectors, nearly that of Ape-X for many of them.

    `epsilon_i = epsilon^(1 + alpha i / (count - 1))` with `alpha = 7 (1 - 2 / count)`; Ape-X has `alpha = 7` for hundreds. The
    first collector explores as the agent would, and so do two: with 7, half of all rows would have next to no exploration, and
    DQN learns CartPole less reliably (docs/benchmarks.md). An epsilon that decreases over time does so for all.

    Args:
        exploration: That of the agent.
        index: Number of the collector, `i`, from 0.
        count: Number of collectors.

    References:
        Horgan et al., "Distributed prioritized experience replay", 2018, https://arxiv.org/abs/1803.00933, section 4.1.
    """
    alpha = APE_X_ALPHA * max(0.0, 1.0 - 2.0 / count)
    exponent = 1.0 + alpha * index / max(1, count - 1)
    plain = dataclasses.replace(exploration, minimum=0.0)
    return dataclasses.replace(exploration, epsilon=Power(plain.value, exponent))


class Power(Schedule):
    """A power of a schedule.

    Args:
        base: Function from a step to a number.
        exponent: Float.
    """

    def __init__(self, base: Any, exponent: float) -> None:
        self._base, self._exponent = base, exponent

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The value at a step, float32."""
        return tf.cast(self._base(step), tf.float32) ** self._exponent

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"base": self._base, "exponent": self._exponent}
