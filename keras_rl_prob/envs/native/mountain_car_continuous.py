"""MountainCar with a continuous engine, in TensorFlow."""

import gymnasium
import tensorflow as tf

from keras_rl_prob.envs.native.mountain_car import MountainCar, at_goal, drive

POWER, GOAL = 0.0015, 0.45


class MountainCarContinuous(MountainCar):
    """Gymnasium's `MountainCarContinuous-v0`: the engine's power, float32 `[B, 1]` in [-1, 1], is the action.

    State and observation are those of `MountainCar`. The goal (closer than in `MountainCar`) earns 100 and terminates, each
    transition costs 0.1 x action squared (before clipping), 999 transitions truncate.

    Example:
    >>> env = MountainCarContinuous(num_envs=2)
    >>> env_state, time_step = env.step(env.reset([0, 1])[0], tf.constant([[0.0], [1.0]]))
    >>> time_step.reward.numpy()
    array([ 0. , -0.1], dtype=float32)
    """

    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))
    max_episode_steps = 999

    def transition(
        self, state: tf.Tensor, action: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Takes one step with the power that the action sets."""
        power = action[:, 0]
        state = drive(state, POWER * tf.clip_by_value(power, -1.0, 1.0))
        terminated = at_goal(state, GOAL)
        return state, tf.where(terminated, 100.0, 0.0) - 0.1 * power**2, terminated
