"""Whole episodes in a graph, for `evaluate`."""

import tensorflow as tf


def play_episodes(agent, env, deterministic, jit_compile=True):
    """Returns a function that plays so many whole episodes in each environment.

    Every environment plays the same number of episodes, so that short ones are not over-represented; what an environment
    plays while the others finish is not counted. Nothing that the agent or another driver holds is changed.

    Args:
        agent: Has `initial_state(batch_size)` and
            `act(observation, is_first, state, seed, deterministic) -> (action, record, state)`.
        env: A native or Gymnasium environment.
        deterministic: Whether the agent takes its policy's mode instead of samples.
        jit_compile: Whether to compile with XLA if the environments are native.

    Returns:
        A function of the number of episodes, a positive integer, and an integer seed; the same seed gives the same episodes. It
        returns a dict of the mean undiscounted `"return"` and the mean `"length"` in environment steps, float32 scalars.
    """

    def play(episodes_per_env, key):
        def body(t, env_state, step, state, score, length, played, total_score, total_length):
            seed = key[1] + [0, t]
            action, _, state = agent.act(step.observation, step.is_first, state, seed, deterministic)
            acted = step.is_first | ~step.is_last
            env_state, step = env.step(env_state, action)
            score, length = score + step.reward, length + tf.cast(acted, tf.float32)
            counted = step.is_last & (played < episodes_per_env)
            total_score += tf.where(counted, score, 0.0)
            total_length += tf.where(counted, length, 0.0)
            played += tf.cast(counted, tf.int32)
            score, length = tf.where(step.is_last, 0.0, score), tf.where(step.is_last, 0.0, length)
            return t + 1, env_state, step, state, score, length, played, total_score, total_length

        env_state, step = env.reset(key[0])
        zeros = tf.zeros((env.num_envs,))
        carry = (
            0,
            env_state,
            step,
            agent.initial_state(env.num_envs),
            zeros,
            zeros,
            tf.cast(zeros, tf.int32),
            zeros,
            zeros,
        )
        *_, total_score, total_length = tf.while_loop(
            lambda *loop: tf.reduce_any(loop[6] < episodes_per_env), body, carry, parallel_iterations=1
        )
        episodes = tf.cast(episodes_per_env * env.num_envs, tf.float32)
        return {"return": tf.reduce_sum(total_score) / episodes, "length": tf.reduce_sum(total_length) / episodes}

    play = tf.function(play, jit_compile=jit_compile and env.compilable, autograph=False)

    def play_with(episodes_per_env, seed):
        key = tf.random.stateless_uniform((2, 2), (seed, 1), None, None, tf.int32)
        return play(tf.constant(episodes_per_env), key)

    return play_with
