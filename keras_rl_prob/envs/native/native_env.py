"""The base class of environments written in TensorFlow: three pure functions become a batch with autoreset."""

import abc
import contextlib
import copy
from typing import Any, NamedTuple, Self

import gymnasium
import numpy as np
import tensorflow as tf

from keras_rl_prob import checks
from keras_rl_prob.settings import written
from keras_rl_prob.trajectory import TimeStep
from keras_rl_prob.types import Nest

NEXT_KEY = (0, 1)  # from one step's key to the following one's
TRANSITION_KEY = (1, 0)  # from the key of a step's resets to that of its transitions


class NativeState(NamedTuple):
    """The complete state of a batch of native environments.

    Attributes:
        simulator: Nest of tensors `[B, ...]`, as `initial_state` and `transition` return it.
        age: int32 `[B]`, transitions since the episode began.
        is_last: bool `[B]`; the episode has ended and the next step resets it.
        key: int32 `[2]`, the random key that the latest step used.
    """

    simulator: Any
    age: tf.Tensor
    is_last: tf.Tensor
    key: tf.Tensor


class NativeEnv(abc.ABC):
    """`num_envs` copies of one environment, stepped together inside a TensorFlow graph.

    A subclass sets the class attributes `observation_space` and `action_space` (Gymnasium spaces of one copy), optionally
    `max_episode_steps`, and defines three pure functions of batched tensors with static shapes: `initial_state`, `observe` and
    `transition`. The base class adds the time limit, autoreset and random keys. Rows follow Gymnasium's NEXT_STEP autoreset as
    `TimeStep` describes it; reaching the time limit gives `is_last` with discount 1, unless the same transition also
    terminated.

    The graphs of an environment are reused for every environment of the same class with equal attributes. Numbers, strings,
    arrays and spaces, lists, tuples and dicts of them, and other native environments are compared by value, so that changes are
    detected. Any other object is compared by identity: changes *inside* such an object have no effect on existing graphs.

    Args:
        num_envs: Number of copies, `B`.
        max_episode_steps: Transitions after which an episode is truncated; default: the class attribute, where None
            means no limit.

    Example:
    ```python
    class Corridor(NativeEnv):
        observation_space = gymnasium.spaces.Box(0.0, 5.0, (1,))
        action_space = gymnasium.spaces.Discrete(2)

        def initial_state(self, seed):
            return tf.zeros((self.num_envs, 1))

        def observe(self, state):
            return state

        def transition(self, state, action, seed):
            state = tf.maximum(state + 2.0 * tf.cast(action[:, None], tf.float32) - 1.0, 0.0)
            arrived = state[:, 0] >= 5.0
            return state, tf.cast(arrived, tf.float32), arrived
    ```
    """

    compilable = True
    max_episode_steps: int | None = None
    observation_space: gymnasium.Space
    action_space: gymnasium.Space

    def __init__(self, num_envs: int, *, max_episode_steps: int | None = None) -> None:
        if max_episode_steps is not None:  # else the class attribute
            self.max_episode_steps = checks.integer("max_episode_steps", max_episode_steps, none=True)
        self.num_envs = checks.integer("num_envs", num_envs)

    def __repr__(self) -> str:
        usual = self.max_episode_steps == type(self).max_episode_steps
        limit = {} if usual else {"max_episode_steps": self.max_episode_steps}
        return written(type(self), limit, self.num_envs)

    @property
    def signature(self) -> tuple[Any, ...]:
        """Everything that graphs depend on; they can be used with any environment with an equal signature."""
        ancestry = type(self).__mro__
        return _Same(type(self)), _compared([dict(vars(x)) for x in (self, *ancestry[: ancestry.index(NativeEnv)])])

    def placeholder(self) -> Self:
        """An environment with this signature, which graphs can keep."""
        return self

    def standing_for(self, env: Any) -> contextlib.AbstractContextManager[None]:
        """Does nothing: environments with equal signatures are interchangeable."""
        return contextlib.nullcontext()

    @abc.abstractmethod
    def initial_state(self, seed: tf.Tensor) -> Nest:
        """Returns initial states of episodes, a nest `[B, ...]`; `seed`: int32 `[2]`, one key for the whole batch.

        It runs in every step, though most of its results are discarded, so use as few calls of random functions as possible.
        """

    @abc.abstractmethod
    def observe(self, state: Nest) -> Nest:
        """Returns the observations `[B, ...]` of `state`."""

    @abc.abstractmethod
    def transition(self, state: Nest, action: Nest, seed: tf.Tensor) -> tuple[Nest, tf.Tensor, tf.Tensor]:
        """Returns `(state, reward, terminated)`: a nest, float32 `[B]` and bool `[B]`.

        It also runs for copies whose episode has ended; its results for these are discarded.
        """

    def reset(self, seed: tf.Tensor) -> tuple[NativeState, TimeStep]:
        """Starts an episode in every copy.

        Args:
            seed: int32 `[2]`; different seeds give independent random numbers.

        Returns:
            The `NativeState` and the first `TimeStep`, `is_first` everywhere.
        """
        seed = tf.cast(seed, tf.int32)
        if seed.shape != (2,):
            raise ValueError(f"`seed` must be an integer tensor of shape (2,). Received: seed={seed}")
        # Hashed once, so that incrementing it does not reach the keys of the next seed.
        key = tf.random.split(seed, 1, alg="philox")[0]
        state = self.initial_state(key)
        never = tf.zeros((self.num_envs,), tf.bool)
        time_step = TimeStep(self.observe(state), tf.zeros((self.num_envs,)), tf.ones((self.num_envs,)), ~never, never)
        return NativeState(state, tf.zeros((self.num_envs,), tf.int32), never, key), time_step

    def step(self, env_state: NativeState, action: Nest) -> tuple[NativeState, TimeStep]:
        """Takes one step in every copy.

        Args:
            env_state: The `NativeState` that `reset` or `step` returned.
            action: Tensor `[B, ...]` like `action_space`; ignored where `env_state.is_last`.

        Returns:
            The new `NativeState` and `TimeStep`.
        """
        key, is_first = env_state.key + NEXT_KEY, env_state.is_last
        moved, reward, terminated = self.transition(env_state.simulator, action, key + TRANSITION_KEY)
        state = tf.nest.map_structure(lambda new, old: _where(is_first, new, old), self.initial_state(key), moved)
        age = tf.where(is_first, 0, env_state.age + 1)
        terminated &= ~is_first
        is_last = terminated
        if self.max_episode_steps is not None:
            is_last |= age >= self.max_episode_steps
        reward, discount = tf.where(is_first, 0.0, reward), tf.where(terminated, 0.0, 1.0)
        time_step = TimeStep(self.observe(state), reward, discount, is_first, is_last)
        return NativeState(state, age, is_last, key), time_step

    def close(self) -> None:  # noqa: B027 - overriding it is optional
        """Does nothing: there is nothing to release."""


def _where(condition, x, y):
    """`tf.where` with a `[B]` condition for tensors `[B, ...]`."""
    return tf.where(tf.reshape(condition, (-1,) + (1,) * (x.shape.rank - 1)), x, y)


class _Same:
    """Compares an object by identity."""

    def __init__(self, value):
        self._value = value

    def __eq__(self, other):
        return isinstance(other, _Same) and self._value is other._value


def _compared(value):
    """A comparable copy of `value`, which later changes of `value` do not affect."""
    if isinstance(value, NativeEnv):
        return value.signature
    if isinstance(value, dict):
        return dict, [(key, _compared(x)) for key, x in value.items() if not str(key).startswith(("__", "_abc_"))]
    if isinstance(value, list | tuple):
        return type(value), [_compared(x) for x in value]
    if isinstance(value, gymnasium.Space):
        return copy.deepcopy(value)
    if isinstance(value, tf.Tensor) and hasattr(value, "numpy"):
        value = value.numpy()
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.str, value.shape, value.tobytes()
    return (type(value), value) if isinstance(value, bool | int | float | str | bytes | None) else _Same(value)
