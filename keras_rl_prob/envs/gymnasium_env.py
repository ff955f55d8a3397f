"""Adapter of Gymnasium vector environments, with the functional interface of the driver."""

import contextlib
import copy
import functools
import warnings
from collections.abc import Iterator
from typing import Any, Self

import gymnasium
import numpy as np
import tensorflow as tf
from gymnasium.vector import AutoresetMode

from keras_rl_prob import border, masks, python_calls, spaces
from keras_rl_prob.envs.processes.workers import workers_of
from keras_rl_prob.envs.single import described
from keras_rl_prob.trajectory import TimeStep
from keras_rl_prob.types import Nest

NEEDED = ("num_envs", "single_observation_space", "single_action_space")
FINAL = {"final_obs", "final_observation", "terminal_observation", "terminal_obs"}
WORKER_DIED = EOFError, BrokenPipeError, ConnectionError


class GymnasiumEnv:
    """A `gymnasium.vector.VectorEnv` with `reset(seed)` and `step(env_state, action)` for TensorFlow graphs.

    All three autoreset modes give the rows that `TimeStep` describes. Exceptions of the environment are raised unchanged
    under `python_calls.raising_as_itself`. So are exceptions of this class: for a non-finite number, or an `"action_mask"` in
    an observation that allows no action before the episode has ended.

    Graphs contain shapes and dtypes, but no values of the environment: when they run they call the environment that the object
    stands for (`placeholder`).

    Args:
        vector_env: The vector environment; `close` closes it.
        timeout: Seconds that the worker processes of an `AsyncVectorEnv` may take for a step or a reset. After that they are
            ended and a `TimeoutError` says which of them hang. `None` sets no limit.
    """

    compilable = False

    def __init__(self, vector_env: gymnasium.vector.VectorEnv, timeout: float | None = None) -> None:
        missing = [name for name in NEEDED if getattr(vector_env, name, None) is None]
        if missing:
            raise TypeError(
                f"`vector_env` must have {', '.join(map('`{}`'.format, NEEDED))}. Received: {vector_env!r} without "
                f"{missing}. Set what is missing, or pass a callable that makes one `gymnasium.Env`"
            )
        self.vector_env, self._workers = vector_env, workers_of(vector_env, timeout)
        self.num_envs = vector_env.num_envs
        self.observation_space = vector_env.single_observation_space
        self.action_space = vector_env.single_action_space
        self._mode, self._mode_is_known = _autoreset_mode(vector_env)
        self._observations, self._actions = border.Codec(self.observation_space), border.Codec(self.action_space)
        self._specs = spaces.tensor_specs(self.observation_space)
        self._flat_specs = tf.nest.flatten(self._specs)
        self._masks = masks.choices(self.observation_space, self.action_space)
        self._steps = 0
        self._actual = self

    def __repr__(self) -> str:
        named = self.vector_env is None or getattr(self.vector_env, "spec", None)
        return f"GymnasiumEnv({self.vector_env if named else described(self.vector_env)})"

    @property
    def signature(self) -> tuple[Any, ...]:
        """Everything that graphs depend on; they can be used with any environment with an equal signature."""
        return GymnasiumEnv, self.num_envs, self._mode, *map(copy.deepcopy, (self.observation_space, self.action_space))

    def placeholder(self) -> Self:
        """An environment with this signature but without a vector environment, which graphs can keep."""
        kept: Any = copy.copy(self)
        kept.vector_env = kept._workers = kept._actual = None
        return kept

    @contextlib.contextmanager
    def standing_for(self, env: Any) -> Iterator[None]:
        """Context manager in which a placeholder stands for another environment with its signature."""
        before, self._actual = self._actual, env
        try:
            yield
        finally:
            self._actual = before

    def reset(self, seed: tf.Tensor) -> tuple[tf.Tensor, TimeStep]:
        """Resets every environment.

        Args:
            seed: int32 `[2]`.

        Returns:
            The environment state (bool `[B]`: which episodes have just ended) and the first `TimeStep`.
        """
        flat = self._call("_reset", [seed], [spec.dtype for spec in self._flat_specs])
        batch = (self.num_envs,)
        never = tf.zeros(batch, tf.bool)
        observation = self._pack(flat)
        final = observation if self._resets_within_step else ()
        return never, TimeStep(observation, tf.zeros(batch), tf.ones(batch), tf.ones(batch, tf.bool), never, final)

    def step(self, env_state: tf.Tensor, action: Nest) -> tuple[tf.Tensor, TimeStep]:
        """Steps every environment with a nest of actions `[B, ...]`; returns the new environment state and `TimeStep`."""
        count, within = len(self._flat_specs), self._resets_within_step
        dtypes = [spec.dtype for spec in self._flat_specs] * (2 if within else 1)
        flat = self._call("_step", tf.nest.flatten(action), [tf.float32, tf.float32, tf.bool, *dtypes])
        reward, discount, is_last = (tf.ensure_shape(x, (self.num_envs,)) for x in flat[:3])
        observation = self._pack(flat[3 : 3 + count])
        if within:
            return is_last, TimeStep(observation, reward, discount, is_last, is_last, self._pack(flat[3 + count :]))
        return is_last, TimeStep(observation, reward, discount, env_state, is_last)

    def close(self) -> None:
        """Closes the vector environment, even if one of its worker processes has died."""
        if self._workers is None:
            self.vector_env.close()
            return
        try:
            self.vector_env.close(terminate=True)
        except (EOFError, OSError):  # Gymnasium first waits for the answer of the dead worker
            self._workers.end()

    @property
    def _resets_within_step(self):
        return self._mode is not AutoresetMode.NEXT_STEP

    def _pack(self, flat):
        shaped = [
            tf.ensure_shape(x, (self.num_envs, *spec.shape)) for x, spec in zip(flat, self._flat_specs, strict=True)
        ]
        return tf.nest.pack_sequence_as(self._specs, shaped)

    def _reset(self, seed):
        self._steps = 0
        with self._naming_misfits():
            observation, _ = self.vector_env.reset(seed=int(np.abs(seed).sum() % 2**31))
        encoded = self._encode(observation)
        self._check_masks(encoded, np.zeros(self.num_envs, bool))
        return encoded

    def _step(self, *flat_action):
        self._steps += 1
        action = self._actions.decode(flat_action)
        with self._naming_misfits():
            observation, reward, terminated, truncated, info = self.vector_env.step(action)
        is_last = np.logical_or(terminated, truncated)
        if not self._mode_is_known and is_last.any():
            self._check_mode(info)
        discount, reward = np.logical_not(terminated).astype(np.float32), np.array(reward, np.float32)
        if not reward.shape == discount.shape == np.shape(truncated) == (self.num_envs,):
            raise ValueError(
                f"The vector environment must return rewards and ends of the shape ({self.num_envs},). "
                f"Received: {reward.shape}, {discount.shape} and {np.shape(truncated)} at step {self._steps}"
            )
        final = []
        if self._resets_within_step:
            final = self._encode(observation)
            if is_last.any():
                observation = self._start_new_episodes(observation, is_last, info, final)
        encoded = self._encode(observation)
        _check_finite("reward", reward)
        for array in (*encoded, *final):
            _check_finite("observation", array)
        self._check_masks(encoded, np.zeros_like(is_last) if self._resets_within_step else is_last)
        return [reward, discount, is_last, *encoded, *final]

    def _encode(self, observation):
        """A batch of observations as arrays; raises a `ValueError` if it is not a batch of the observation space."""
        try:
            encoded = self._observations.encode(observation)
            for array in encoded:
                if array.shape[:1] != (self.num_envs,):
                    raise ValueError(f"The vector environment must return {self.num_envs} observations")
        except (ValueError, TypeError, LookupError) as error:
            batch = gymnasium.vector.utils.batch_space(self.observation_space, self.num_envs)
            raise ValueError(
                f"{border.misfit(batch, observation) or error} from the vector environment at step {self._steps}"
            ) from error
        return encoded

    def _start_new_episodes(self, observation, is_last, info, final):
        """Observations of the new episodes: resets them (DISABLED), or they are reset already (SAME_STEP); fills `final`."""
        if self._mode is AutoresetMode.DISABLED:
            return self.vector_env.reset(options={"reset_mask": is_last})[0]
        final_obs = info.get("final_obs", info.get("final_observation"))
        if final_obs is None:
            raise ValueError(
                'A vector environment that resets within the step must put the final observations into `info["final_obs"]`, '
                f"as Gymnasium's autoreset mode SAME_STEP asks for. Received: {described(self.vector_env)} with "
                f"{sorted(info)} in `info`"
            )
        for index in np.flatnonzero(is_last):
            if isinstance(final_obs, np.ndarray) and final_obs.dtype == object:  # one element for each environment
                last = spaces.map_values(lambda x: np.asarray(x)[None], self.observation_space, final_obs[index])
            else:  # one batch for all environments
                last = spaces.map_values(functools.partial(_row, index), self.observation_space, final_obs)
            for array, value in zip(final, self._observations.encode(last), strict=True):
                array[index] = value[0]
        return observation

    def _check_masks(self, encoded, over):
        """Raises a `ValueError` for the first environment whose mask allows no action, unless its episode has ended."""
        for index, entries in self._masks:
            allowed = ((encoded[index] != 0) & entries).any(-1).reshape(self.num_envs, -1).all(-1) | over
            if not allowed.all():
                env = int(np.argmin(allowed))
                raise ValueError(
                    f"The action mask must allow an action as long as an episode lasts. Received: {masks.KEY}="
                    f"{encoded[index][env].tolist()} in environment {env} at step {self._steps}"
                )

    @contextlib.contextmanager
    def _naming_misfits(self):
        """Names the environment whose observation Gymnasium could not put into the batch."""
        try:
            yield
        except (ValueError, TypeError, LookupError) as error:
            misfit = _misfit(self.vector_env)
            if misfit is None:
                raise
            raise ValueError(f"{misfit} at step {self._steps}") from error

    def _check_mode(self, info):
        """Raises a `ValueError` if an environment that declares no autoreset mode has reset within the step."""
        infos = info if isinstance(info, list | tuple) else [info]
        known = FINAL & {key for one in infos if isinstance(one, dict) for key in one}
        if known:
            raise ValueError(
                "A vector environment that resets within the step must say so: "
                '`env.metadata = {**env.metadata, "autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP}`. '
                f"Received: {described(self.vector_env)} without an autoreset mode and with {sorted(known)} in its infos"
            )

    def _call(self, name, inputs, dtypes):
        """Calls a method when the graph runs, and adds a note to its exceptions that says where they were raised."""

        def method(*args):
            env = self._actual
            try:
                return env._workers.call(getattr(env, name), *args) if env._workers else getattr(env, name)(*args)
            except Exception as error:
                died = env._workers is not None and isinstance(error, WORKER_DIED)
                what = "a worker process of the environment has died" if died else "see above"
                ended = env._workers is not None and env.vector_env.closed
                where = env._workers.blamed if env._workers else ""
                anew = " Its worker processes have ended: create it again." if ended else ""
                error.add_note(
                    f"Raised by the environment {described(env.vector_env)}{where} at step {env._steps} of this run ({what}). "
                    f"The agent is unchanged: fix the environment and call `fit` again to continue training.{anew}"
                )
                raise

        return python_calls.call(method, inputs, dtypes)


def _autoreset_mode(vector_env):
    """The `AutoresetMode` of a vector environment, and whether it declares it."""
    mode = (vector_env.metadata or {}).get("autoreset_mode")
    if mode is None:
        if not type(vector_env).__module__.startswith("envpool"):  # EnvPool resets in the next step
            warnings.warn(
                f'{described(vector_env)} does not say how it resets: `metadata["autoreset_mode"]` is missing. '
                "gymnasium.vector.AutoresetMode.NEXT_STEP is assumed.",
                stacklevel=2,
            )
        return AutoresetMode.NEXT_STEP, False
    names = {name.lower().replace("_", ""): mode for mode in AutoresetMode for name in (mode.name, mode.value)}
    known = mode if isinstance(mode, AutoresetMode) else names.get(str(mode).lower().replace("_", ""))
    if known is None:
        raise ValueError(
            f"`autoreset_mode` in an environment's metadata must be one of {[mode.name for mode in AutoresetMode]}. "
            f"Received: {mode!r} of {described(vector_env)}"
        )
    return known, True


def _check_finite(name, array):
    """Raises a `FloatingPointError` that names the first environment whose numbers are not finite."""
    suspicious = array.dtype == np.float32 and not np.isfinite(array.sum())  # faster than checking every number
    if suspicious and not np.isfinite(array).all():
        rows = np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        index = int(np.argmin(rows))
        raise FloatingPointError(f"The {name} is not finite in environment {index}. Received: {name}={array[index]}")


def _row(index, x):
    """A batch with a single element of a batch."""
    return x[index : index + 1]


def _misfit(vector_env):
    """The error in the first observation that a `SyncVectorEnv` could not put into its batch, or `None`."""
    base: Any = getattr(vector_env, "unwrapped", None)
    for env, observation in enumerate(getattr(base, "_env_obs", ())):
        misfit = None if observation is None else border.misfit(base.single_observation_space, observation)
        if misfit:
            return f"{misfit} from environment {env}"
    return None
