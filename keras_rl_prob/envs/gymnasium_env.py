"""Gymnasium vector environments behind the functional signature that the driver calls."""

import contextlib
import copy
import ctypes
import threading

import gymnasium
import numpy as np
import tensorflow as tf
from gymnasium.vector import AutoresetMode

from keras_rl_prob import masks, spaces
from keras_rl_prob.trajectory import TimeStep


class GymnasiumEnv:
    """A `gymnasium.vector.VectorEnv` as `reset(seed)` and `step(env_state, action)` inside a TensorFlow graph.

    All three autoreset modes become the rows that `TimeStep` describes. An exception raised by the environment is kept in
    `error`, so that whoever runs the graph can raise it as it was. So is what is raised here: where a number is not finite, or
    the `"action_mask"` in an observation allows no action though the episode goes on.

    A graph takes over shapes and dtypes, but no value of the environment: it calls whatever environment the object stands for
    when it runs (`placeholder`).

    Args:
        vector_env: The vector environment; `close` closes it.
    """

    compilable = False

    def __init__(self, vector_env):
        self.vector_env = vector_env
        self.num_envs = vector_env.num_envs
        self.observation_space = vector_env.single_observation_space
        self.action_space = vector_env.single_action_space
        self.error = None
        mode = (vector_env.metadata or {}).get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._mode = mode if isinstance(mode, AutoresetMode) else AutoresetMode(mode)
        self._observations, self._actions = spaces.Codec(self.observation_space), spaces.Codec(self.action_space)
        self._specs = spaces.tensor_specs(self.observation_space)
        self._flat_specs = tf.nest.flatten(self._specs)
        self._masks = masks.choices(self.observation_space, self.action_space)
        self._steps = 0
        self._actual = self

    @property
    def signature(self):
        """What graphs take over from the environment; they serve every other one whose signature is equal."""
        return GymnasiumEnv, self.num_envs, self._mode, *map(copy.deepcopy, (self.observation_space, self.action_space))

    def placeholder(self):
        """An environment of this signature for graphs to keep, which has no vector environment of its own."""
        kept = copy.copy(self)
        kept.vector_env = kept._actual = None
        return kept

    @contextlib.contextmanager
    def standing_for(self, env):
        """Lets a placeholder step another environment of its signature for a while."""
        before, self._actual = self._actual, env
        try:
            yield
        finally:
            self._actual = before

    def reset(self, seed):
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

    def step(self, env_state, action):
        """Steps every environment with a nest of actions `[B, ...]`; returns the new state and `TimeStep`."""
        count, within = len(self._flat_specs), self._resets_within_step
        dtypes = [spec.dtype for spec in self._flat_specs] * (2 if within else 1)
        flat = self._call("_step", tf.nest.flatten(action), [tf.float32, tf.float32, tf.bool, *dtypes])
        reward, discount, is_last = (tf.ensure_shape(x, (self.num_envs,)) for x in flat[:3])
        observation = self._pack(flat[3 : 3 + count])
        if within:
            return is_last, TimeStep(observation, reward, discount, is_last, is_last, self._pack(flat[3 + count :]))
        return is_last, TimeStep(observation, reward, discount, env_state, is_last)

    def close(self):
        """Closes the vector environment, also when one of its worker processes has died."""
        if not isinstance(self.vector_env, gymnasium.vector.AsyncVectorEnv):
            self.vector_env.close()
            return
        try:
            self.vector_env.close(terminate=True)
        except (EOFError, OSError):  # Gymnasium first waits for the answer of a dead worker
            for process in self.vector_env.processes:
                process.kill()
            self.vector_env.closed = True

    @property
    def _resets_within_step(self):
        return self._mode is not AutoresetMode.NEXT_STEP

    def _pack(self, flat):
        shaped = [
            tf.ensure_shape(x, (self.num_envs, *spec.shape)) for x, spec in zip(flat, self._flat_specs, strict=True)
        ]
        return tf.nest.pack_sequence_as(self._specs, shaped)

    def _reset(self, seed):
        self._steps, self.error = 0, None
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
        """A batch of observations as arrays; a `ValueError` where that is no batch of the observation space."""
        try:
            encoded = self._observations.encode(observation)
            for array in encoded:
                if array.shape[:1] != (self.num_envs,):
                    raise ValueError(f"The vector environment must return {self.num_envs} observations")
        except (ValueError, TypeError, LookupError) as error:
            batch = gymnasium.vector.utils.batch_space(self.observation_space, self.num_envs)
            raise ValueError(
                f"{spaces.misfit(batch, observation) or error} from the vector environment at step {self._steps}"
            ) from error
        return encoded

    def _start_new_episodes(self, observation, is_last, info, final):
        """Resets what ended (DISABLED) or has been reset (SAME_STEP); puts the old episodes' last rows into `final`."""
        if self._mode is AutoresetMode.DISABLED:
            return self.vector_env.reset(options={"reset_mask": is_last})[0]
        final_obs = info["final_obs"]
        for index in np.flatnonzero(is_last):
            if isinstance(final_obs, np.ndarray) and final_obs.dtype == object:  # one element for each environment
                last = spaces.map_values(lambda x: np.asarray(x)[None], self.observation_space, final_obs[index])
            else:  # one batch for all
                last = spaces.map_values(lambda x, i=index: x[i : i + 1], self.observation_space, final_obs)
            for array, value in zip(final, self._observations.encode(last), strict=True):
                array[index] = value[0]
        return observation

    def _check_masks(self, encoded, over):
        """Raises a `ValueError` for the first environment whose mask allows nothing, unless its episode is over."""
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
        """Says whose observation it was that Gymnasium could not put into the batch."""
        try:
            yield
        except (ValueError, TypeError, LookupError) as error:
            misfit = _misfit(self.vector_env)
            if misfit is None:
                raise
            raise ValueError(f"{misfit} at step {self._steps}") from error

    def _call(self, name, inputs, dtypes):
        """Runs a method in the graph; remembers what it raised and says in a note where that happened."""

        def guarded(*args):
            _keep_thread_state()
            env = self._actual
            try:
                return getattr(env, name)(*args)
            except Exception as error:
                if env.error is None:
                    what = (
                        "a worker process of the environment has died"
                        if isinstance(error, EOFError | OSError)
                        else "see above"
                    )
                    error.add_note(
                        f"Raised by the environment {env.vector_env} at step {env._steps} of this run ({what}). "
                        "The agent is unharmed: mend the environment and call `fit` again to go on training."
                    )
                    env.error = error
                raise

        outputs = tf.numpy_function(guarded, inputs, dtypes)
        return outputs if isinstance(outputs, list | tuple) else [outputs]  # eagerly, a list of one comes back bare


_THREAD = threading.local()


def _keep_thread_state():
    """Keeps what Python knows of the calling thread, one of TensorFlow's, for the next call.

    Python makes it when such a thread enters and throws it away when it leaves; 0.02 ms, a fifth of a step of CartPole.
    """
    if not hasattr(_THREAD, "kept"):
        _THREAD.kept = ctypes.pythonapi.PyGILState_Ensure()  # never released: nothing is left before the thread ends


@contextlib.contextmanager
def raising_as_itself(env):
    """Raises an exception of a Python environment as itself instead of as the failure of a graph."""
    try:
        yield
    except tf.errors.OpError:
        error = getattr(env, "error", None)
        if error is None:
            raise
        env.error = None
        raise error from None


def _check_finite(name, array):
    """Raises a `FloatingPointError` that names the first environment whose numbers are not finite."""
    suspicious = array.dtype == np.float32 and not np.isfinite(array.sum())  # quicker than looking at every number
    if suspicious and not np.isfinite(array).all():
        rows = np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        index = int(np.argmin(rows))
        raise FloatingPointError(f"The {name} is not finite in environment {index}. Received: {name}={array[index]}")


def _misfit(vector_env):
    """What is wrong with the first observation that a `SyncVectorEnv` cannot put into its batch; else `None`."""
    base = getattr(vector_env, "unwrapped", None)
    for env, observation in enumerate(getattr(base, "_env_obs", ())):
        misfit = None if observation is None else spaces.misfit(base.single_observation_space, observation)
        if misfit:
            return f"{misfit} from environment {env}"
    return None
