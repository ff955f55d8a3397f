"""An agent and environments that several tests of drivers share."""

import gymnasium
import tensorflow as tf

from keras_rl_prob.envs import GymnasiumEnv
from keras_rl_prob.testing import ScriptedEnv


class CountingAgent:
    """Its recurrent state is the number of rows in the episode so far; actions are this number, values 100 more."""

    def initial_state(self, batch_size):
        return (tf.zeros((batch_size,), tf.int32),)

    def act(self, observation, is_first, state, seed):
        seen = tf.where(is_first, 0, state[0]) + 1
        return tf.zeros_like(seen), {"seen": seen, "seed": tf.broadcast_to(seed, (seen.shape[0], 2))}, (seen,)

    def final_value(self, observation, state):
        return 100.0 + tf.cast(state[0], tf.float32) + observation[:, 2] / 10.0


def scripted(mode, scripts):
    """Scripted environments behind the functional signature, in an autoreset mode."""
    makers = [lambda i=i, script=script: ScriptedEnv(i, script) for i, script in enumerate(scripts)]
    return GymnasiumEnv(gymnasium.vector.SyncVectorEnv(makers, autoreset_mode=mode))
