"""Exploration of agents with action values."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from keras_rl_prob import checks
from keras_rl_prob.layers import QValues
from keras_rl_prob.python_calls import call
from keras_rl_prob.settings import Schedule, Settings, current
from keras_rl_prob.types import Nest


class Exploration(Settings):
    """Base class of exploration settings, whose `value` depends on the environment steps."""

    name: ClassVar[str]
    """What the value is called."""

    def value(self, env_steps: tf.Tensor) -> tf.Tensor:
        """The value after `env_steps` environment steps, a float32 scalar."""
        raise NotImplementedError

    def simulate(self, env_steps: int, points: int = 201) -> tuple[np.ndarray, np.ndarray]:
        """What the value will be during a training; `krp.callbacks.plot_exploration` plots it.

        Args:
            env_steps: Environment steps of the training.
            points: Number of points at which to compute the value.

        Returns:
            `(steps, values)`: int64 and float32 `[points]`; steps are evenly spaced from 0 to `env_steps`.

        Raises:
            ValueError: A number is not a positive integer.

        Example:
        >>> steps, values = krp.EpsilonGreedy(keras.optimizers.schedules.PolynomialDecay(1.0, 100, 0.0)).simulate(100, 3)
        >>> steps.tolist(), values.tolist()
        ([0, 50, 100], [1.0, 0.5, 0.0])
        """
        env_steps, points = checks.integer("env_steps", env_steps), checks.integer("points", points)
        steps = np.linspace(0, env_steps, points).astype(np.int64)
        return steps, np.array([self.value(tf.constant(step)).numpy() for step in steps], np.float32)


@keras.saving.register_keras_serializable("keras_rl_prob")
@dataclasses.dataclass(eq=False)
class EpsilonGreedy(Exploration):
    """A random or scripted action with probability epsilon, otherwise the greedy one.

    Args:
        epsilon: A float or a Keras schedule over environment steps. `None` decreases from 1 to 0.05 in 10,000 steps:
            `keras.optimizers.schedules.PolynomialDecay(1.0, 10_000, 0.05)`, which is linear;
            `keras.optimizers.schedules.ExponentialDecay(1.0, 1, 0.9999)` is exponential. Values above 1 count as 1.
        minimum: Lower bound of epsilon.
        policy: A scripted policy to explore with: a Python callable from a batch of observations, a nest of arrays `[B, ...]`,
            to actions `[B]`, both in the environment's own form. `None` draws uniformly among the allowed actions; so do rows
            for which the policy returns an action that the action mask forbids.
        actions: The actions to draw from instead of all, as the environment numbers them, a tuple of integers; an action that
            is in it twice is drawn twice as often. Where the mask allows none of them, all allowed ones are drawn from.
        perturb_every: Environment steps after which epsilon rises again, and again, or `None`.
        perturb_by: How far it rises. The rise then shrinks as `epsilon` itself does from its first value, relative to that.

    Example:
    ```python
    agent = krp.DQN(exploration=krp.EpsilonGreedy(0.1))
    ```
    """

    epsilon: float | Schedule | None = None
    minimum: float = 0.0
    policy: Callable | None = None
    actions: Sequence[int] | None = None
    perturb_every: int | None = None
    perturb_by: float = 0.1

    def checked(self) -> dict[str, Any]:
        """Epsilon is a number of at least 0 or a schedule, the minimum is between 0 and 1, the policy is callable."""
        if self.policy is not None and not callable(self.policy):
            raise ValueError(f"`policy` must be a callable, or `None`. Received: policy={self.policy!r}")
        if self.actions is not None and (not isinstance(self.actions, list | tuple) or not self.actions):
            raise ValueError(f"`actions` must be a tuple of integers, or `None`. Received: actions={self.actions!r}")
        pool = self.actions and tuple(checks.integer("actions", action, least=-(2**31)) for action in self.actions)
        return {
            "actions": pool,
            "perturb_every": checks.integer("perturb_every", self.perturb_every, none=True),
            "perturb_by": checks.fraction("perturb_by", self.perturb_by),
            "epsilon": checks.number("epsilon", self.epsilon, none=True, schedule=True),
            "minimum": checks.fraction("minimum", self.minimum),
        }

    name = "epsilon"

    @property
    def compilable(self) -> bool:
        """Whether actions can be chosen in a graph that is compiled with XLA."""
        return self.policy is None

    def value(self, env_steps: tf.Tensor) -> tf.Tensor:
        """Epsilon after `env_steps` environment steps, a float32 scalar."""
        falling = keras.optimizers.schedules.PolynomialDecay(1.0, 10_000, 0.05)
        schedule = falling if self.epsilon is None else self.epsilon
        epsilon = tf.cast(current(schedule, env_steps), tf.float32)
        if self.perturb_every is not None:
            every = tf.constant(self.perturb_every, env_steps.dtype)
            at, start = (tf.cast(current(schedule, x), tf.float32) for x in (env_steps % every, env_steps * 0))
            rise = self.perturb_by * tf.math.divide_no_nan(at, start)
            epsilon = tf.maximum(epsilon, self.minimum) + tf.where(env_steps >= every, rise, 0.0)
        return tf.clip_by_value(epsilon, self.minimum, 1.0)

    def act(
        self, values: tf.Tensor, observation: Nest, env_steps: tf.Tensor, seed: tf.Tensor, start: int = 0
    ) -> tf.Tensor:
        """Chooses actions.

        Args:
            values: float32 `[B, actions]`; -1e9 for forbidden actions.
            observation: Nest `[B, ...]` of the observations, as the environment returned them.
            env_steps: int64 scalar.
            seed: int32 `[2]`.
            start: Integer; the environment's number of the first action, which is 0 here.

        Returns:
            int32 `[B]`.
        """
        explores = tf.random.stateless_uniform(tf.shape(values)[:1], seed) < self.value(env_steps)
        greedy = tf.argmax(values, -1, tf.int32)
        legal, ranks = QValues.legal(values), tf.random.stateless_uniform(tf.shape(values), seed + [1, 0])
        if self.actions is not None:
            pooled = self._pooled(values.shape[-1], start)
            ranks = tf.where(
                pooled > 0.0, ranks ** (1.0 / tf.maximum(pooled, 1.0)), ranks - 1.0
            )  # those below 0 come last
            ranks += 1.0
        other = tf.argmax(tf.where(legal, ranks, -1.0), -1, tf.int32)
        if self.policy is not None:
            wanted = self._asked(values, observation, explores, start)
            forbidden = tf.reduce_any(tf.one_hot(wanted, values.shape[-1], True, False) & ~legal, -1)
            other = tf.where(forbidden, other, wanted)
        return tf.where(explores, other, greedy)

    def _pooled(self, count, start):
        """How often each action is in the pool, float32 `[actions]`."""
        pool = np.array(self.actions) - start
        if pool.min() < 0 or pool.max() >= count:
            raise ValueError(
                f"`actions` of EpsilonGreedy must be integers from {start} to {start + count - 1}, the actions of the "
                f"environment. Received: actions={self.actions}"
            )
        return tf.constant(np.bincount(pool, minlength=count), tf.float32)

    def _asked(self, values, observation, explores, start):
        """Actions of the scripted policy, int32 `[B]`; it is only called if a row explores."""
        policy: Any = self.policy

        def act(*flat):
            actions = np.asarray(policy(tf.nest.pack_sequence_as(observation, list(flat)))) - start
            if not ((actions >= 0) & (actions < values.shape[-1]) & (actions == np.rint(actions))).all():
                raise ValueError(
                    f"`policy` of EpsilonGreedy must return integers from {start} to {start + values.shape[-1] - 1}, "
                    f"an action for each environment. Received: {actions + start}"
                )
            return np.broadcast_to(actions.astype(np.int32), values.shape[:1])

        def asked():
            return tf.ensure_shape(call(act, tf.nest.flatten(observation), [tf.int32])[0], values.shape[:1])

        return tf.cond(tf.reduce_any(explores), asked, lambda: tf.zeros(tf.shape(values)[:1], tf.int32))


@keras.saving.register_keras_serializable("keras_rl_prob")
@dataclasses.dataclass(eq=False)
class Boltzmann(Exploration):
    """Actions drawn from `softmax(values / temperature)`.

    Args:
        temperature: A positive float or a Keras schedule over environment steps.

    Example:
    ```python
    agent = krp.DQN(exploration=krp.Boltzmann(keras.optimizers.schedules.PolynomialDecay(1.0, 10_000, 0.05)))
    ```
    """

    name, compilable = "temperature", True

    temperature: float | Schedule = 1.0

    def checked(self) -> dict[str, Any]:
        """The temperature is a positive number or a schedule."""
        return {"temperature": checks.number("temperature", self.temperature, above=0.0, schedule=True)}

    def value(self, env_steps: tf.Tensor) -> tf.Tensor:
        """The temperature after `env_steps` environment steps, a float32 scalar."""
        return tf.cast(current(self.temperature, env_steps), tf.float32)

    def act(
        self, values: tf.Tensor, observation: Nest, env_steps: tf.Tensor, seed: tf.Tensor, start: int = 0
    ) -> tf.Tensor:
        """Chooses actions, int32 `[B]`; see `EpsilonGreedy.act`."""
        below = values - tf.reduce_max(values, -1, keepdims=True)  # else a low temperature could bring them below -1e9
        temperature = tf.maximum(self.value(env_steps), 1e-30)  # a schedule may end at 0, which is greedy
        logits = tf.where(QValues.legal(values), below / temperature, -np.inf)
        uniform = tf.random.stateless_uniform(tf.shape(values), seed, minval=1e-20)
        return tf.argmax(logits - tf.math.log(-tf.math.log(uniform)), -1, tf.int32)
