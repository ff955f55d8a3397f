"""The base class of environments written in TensorFlow: three pure functions become a batch with autoreset."""

import abc
import contextlib
import copy
from typing import Any, NamedTuple, Self

import gymnasium
import numpy as np
import tensorflow as tf

from keras_rl_prob import checks
from keras_rl_prob.trajectory import TimeStep
from keras_rl_prob.types import Nest

NEXT_KEY = (0, 1)  # from one step's key to the following one's
TRANSITION_KEY = (1, 0)  # from the key of a step's resets to that of its transitions


class NativeState(NamedTuple):
    """All that decides the future of a batch of native environments.

    Attributes:
        simulator: Nest of tensors `[B, ...]`, what `initial_state` and `transition` return.
        age: int32 `[B]`, transitions since the episode began.
        is_last: bool `[B]`; the episode is over and the next step resets it.
        key: int32 `[2]`, the random key that the latest step used.
    """

    simulator: Any
    age: tf.Tensor
    is_last: tf.Tensor
    key: tf.Tensor


class NativeEnv(abc.ABC):
    """`num_envs` copies of one environment, stepped together inside a TensorFlow graph.

    A subclass sets the class attributes `observation_space` and `action_space` (Gymnasium spaces of one copy), perhaps
    `max_episode_steps`, and writes three pure functions of batched tensors with static shapes: `initial_state`,
    `observe` and `transition`. The base adds the time limit, autoreset and random keys. Rows follow Gymnasium's
    NEXT_STEP autoreset as `TimeStep` describes it; reaching the time limit gives `is_last` with discount 1, unless the
    same transition also terminated.

    A graph made of an environment is used again for every environment of the same class whose attributes are equal: numbers,
    strings, arrays and spaces, lists, tuples and dicts of them, and other native environments. An attribute that was changed
    is noticed. Of any other object only another one in its place is: what is changed *inside* of it takes no effect once a
    graph was made.

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
        if max_episode_steps is not None:  # else it is the environment's own
            self.max_episode_steps = checks.integer("max_episode_steps", max_episode_steps, none=True)
        self.num_envs = checks.integer("num_envs", num_envs)

    @property
    def signature(self) -> tuple[Any, ...]:
        """What graphs take over from the environment; they serve every other one whose signature is equal."""
        ancestry = type(self).__mro__
        return _Same(type(self)), _compared([dict(vars(x)) for x in (self, *ancestry[: ancestry.index(NativeEnv)])])

    def placeholder(self) -> Self:
        """An environment of this signature for graphs to keep."""
        return self

    def standing_for(self, env: Any) -> contextlib.AbstractContextManager[None]:
        """Does nothing: environments of one signature are the same."""
        return contextlib.nullcontext()

    @abc.abstractmethod
    def initial_state(self, seed: tf.Tensor) -> Nest:
        """Returns the nest `[B, ...]` in which episodes begin; `seed`: int32 `[2]`, one key for the whole batch.

        It runs in every step (most of its rows are discarded), so one random draw should serve all of it.
        """

    @abc.abstractmethod
    def observe(self, state: Nest) -> Nest:
        """Returns the observations `[B, ...]` of `state`."""

    @abc.abstractmethod
    def transition(self, state: Nest, action: Nest, seed: tf.Tensor) -> tuple[Nest, tf.Tensor, tf.Tensor]:
        """Returns `(state, reward, terminated)`: a nest, float32 `[B]` and bool `[B]`.

        It also runs on rows whose episode is over; what it returns there is discarded.
        """

    def reset(self, seed: tf.Tensor) -> tuple[NativeState, TimeStep]:
        """Starts an episode in every copy.

        Args:
            seed: int32 `[2]`; two seeds give unrelated streams, however close they are.

        Returns:
            The `NativeState` and the first `TimeStep`, `is_first` everywhere.
        """
        seed = tf.cast(seed, tf.int32)
        if seed.shape != (2,):
            raise ValueError(f"`seed` must be an integer tensor of shape (2,). Received: seed={seed}")
        # Hashed once, so that counting upwards from here does not run into the neighbouring seed's keys.
        key = tf.random.split(seed, 1, alg="philox")[0]
        state = self.initial_state(key)
        never = tf.zeros((self.num_envs,), tf.bool)
        time_step = TimeStep(self.observe(state), tf.zeros((self.num_envs,)), tf.ones((self.num_envs,)), ~never, never)
        return NativeState(state, tf.zeros((self.num_envs,), tf.int32), never, key), time_step

    def step(self, env_state: NativeState, action: Nest) -> tuple[NativeState, TimeStep]:
        """Moves every copy by one row.

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
    """An object that is equal to itself alone."""

    def __init__(self, value):
        self._value = value

    def __eq__(self, other):
        return isinstance(other, _Same) and self._value is other._value


def _compared(value):
    """A copy of `value` that can be compared, and that later changes of `value` do not reach."""
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
