"""Recall: a minimal task that needs memory."""

import gymnasium
import tensorflow as tf

from keras_rl_prob import checks
from keras_rl_prob.envs.native.native_env import NativeEnv

CUES = 4


class Recall(NativeEnv):
    """The action at the end of an episode must name the cue, one of four, that was shown at the beginning.

    Observations are float32 `[B, 5]`: the cue as a one-hot vector, then the phase flag "go". An episode shows the cue
    once, then `delay` blank rows, then go; the action taken *there* earns 1 if it equals the cue, otherwise 0, and
    terminates. All other actions do nothing. A policy without memory earns 0.25 on average, since all cues look the same at go;
    with memory 1 is possible.

    Args:
        num_envs: Number of copies.
        delay: Blank rows between cue and go; an episode has `delay + 2` transitions.
        max_episode_steps: As in `NativeEnv`; no limit by default.

    Example:
    >>> env = Recall(num_envs=1, delay=0)
    >>> env_state, cue = env.reset([0, 1])
    >>> env_state, go = env.step(env_state, tf.constant([0]))
    >>> env_state, end = env.step(env_state, tf.argmax(cue.observation[:, :4], axis=-1))
    >>> go.observation.numpy(), end.reward.numpy()
    (array([[0., 0., 0., 0., 1.]], dtype=float32), array([1.], dtype=float32))
    """

    observation_space = gymnasium.spaces.Box(0.0, 1.0, (CUES + 1,))
    action_space = gymnasium.spaces.Discrete(CUES)

    def __init__(self, num_envs: int, *, delay: int = 4, max_episode_steps: int | None = None) -> None:
        super().__init__(num_envs, max_episode_steps=max_episode_steps)
        self.delay = checks.integer("delay", delay, least=0)

    def initial_state(self, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns `cue` and `time`, int32 `[B]` each."""
        cue = tf.random.stateless_uniform((self.num_envs,), seed, 0, CUES, tf.int32, alg="philox")
        return {"cue": cue, "time": tf.zeros((self.num_envs,), tf.int32)}

    def observe(self, state: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns `[B, 5]`."""
        cue = tf.where(tf.equal(state["time"], 0), state["cue"], -1)  # the one-hot vector of -1 is 0
        go = tf.cast(tf.equal(state["time"], self.delay + 1), tf.float32)
        return tf.concat([tf.one_hot(cue, CUES), go[:, None]], axis=-1)

    def transition(
        self, state: dict[str, tf.Tensor], action: tf.Tensor, seed: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        """Advances the time and rewards the right answer at go."""
        asked = tf.equal(state["time"], self.delay + 1)
        right = tf.equal(tf.cast(action, tf.int32), state["cue"])
        return {"cue": state["cue"], "time": state["time"] + 1}, tf.cast(asked & right, tf.float32), asked
