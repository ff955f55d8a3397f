"""Whole episodes in a graph, for `evaluate`."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_rl_prob.drivers.driver import Actor
from keras_rl_prob.envs.factory import BatchEnv
from keras_rl_prob.trajectory import TimeStep

FIRST_CALL = 16  # steps
CALL = 0.5  # seconds; Python handles Ctrl-C between calls


class Played(NamedTuple):
    """The state of an evaluation.

    Attributes:
        steps: int32 scalar; number of rows so far.
        env_state: Nest `[B, ...]`.
        step: `TimeStep` `[B, ...]` that the agent sees next.
        state: Nest `[B, ...]`; the agent's recurrent state.
        score: float32 `[B]`; return of the current episode so far.
        length: float32 `[B]`; its environment steps so far.
        episodes: int32 `[B]`; number of finished episodes.
        scores, lengths: float32 `[B]`; sums over finished episodes.
        mean, squares: float32 `[B]`; mean return of finished episodes, and the sum of the squared deviations from it.
    """

    steps: tf.Tensor
    env_state: Any
    step: TimeStep
    state: Any
    score: tf.Tensor
    length: tf.Tensor
    episodes: tf.Tensor
    scores: tf.Tensor
    lengths: tf.Tensor
    mean: tf.Tensor
    squares: tf.Tensor


def play_episodes(
    agent: Actor, env: BatchEnv, deterministic: bool, jit_compile: bool = True
) -> Callable[[BatchEnv, int, int, int], dict[str, float]]:
    """Returns a function that plays a number of whole episodes in each environment.

    Every environment plays the same number of episodes, so that short ones are not over-represented; steps of an environment
    while the others finish are not counted. The agent and other drivers are not changed.

    Args:
        agent: Has `initial_state(batch_size)` and
            `act(observation, is_first, state, seed, deterministic) -> (action, record, state)`.
        env: A native or Gymnasium environment.
        deterministic: Whether the agent takes its policy's mode instead of samples.
        jit_compile: Whether to compile with XLA if the environments are native.

    Returns:
        A function of four arguments: the environment to reset, which is `env` or the one that it stands for; the number of
        episodes, a positive integer; an integer seed; and the maximum number of steps of an episode. The same seed gives the
        same episodes. It returns a dict with the mean undiscounted `"return"`, the mean `"length"` in environment steps, and
        `"return_std"`, the standard deviation of the returns over the episodes, floats; and the number of episodes that were
        `"cut"` off at the maximum: they count with their return so far, and their environments play no further episodes.
    """

    def play(played, key, episodes_per_env, max_steps, until):
        """Continues for a maximum number of rows; also returns whether episodes are left to play."""

        def is_playing(played):
            return tf.reduce_any((played.episodes < episodes_per_env) & (played.length < max_steps))

        def row(played):
            step = played.step
            seed = key + [0, played.steps]
            action, _, state = agent.act(step.observation, step.is_first, played.state, seed, deterministic)
            goes_on = played.length < max_steps
            acted = goes_on & (step.is_first | ~step.is_last)
            env_state, step = env.step(played.env_state, action)
            score = played.score + tf.where(acted, step.reward, 0.0)
            length = played.length + tf.cast(acted, tf.float32)
            ended = goes_on & step.is_last
            counted = ended & (played.episodes < episodes_per_env)
            off = tf.where(counted, score - played.mean, 0.0)  # Welford's algorithm
            mean = played.mean + off / (tf.cast(played.episodes, tf.float32) + 1.0)
            return (
                Played(
                    played.steps + 1,
                    env_state,
                    step,
                    state,
                    tf.where(ended, 0.0, score),
                    tf.where(ended, 0.0, length),
                    played.episodes + tf.cast(counted, tf.int32),
                    played.scores + tf.where(counted, score, 0.0),
                    played.lengths + tf.where(counted, length, 0.0),
                    mean,
                    played.squares + off * (score - mean),
                ),
            )

        (played,) = tf.while_loop(
            lambda played: is_playing(played) & (played.steps < until), row, (played,), parallel_iterations=1
        )
        return played, is_playing(played)

    play = tf.function(play, jit_compile=jit_compile and env.compilable, autograph=False)

    def play_with(played_env, episodes_per_env, seed, max_steps):
        key = tf.random.stateless_uniform((2, 2), (seed, 1), None, None, tf.int32)
        env_state, step = played_env.reset(key[0])
        zeros = tf.zeros((env.num_envs,))
        none, steps = tf.cast(zeros, tf.int32), tf.constant(0)
        state = agent.initial_state(env.num_envs)
        played = Played(steps, env_state, step, state, zeros, zeros, none, *[zeros] * 4)
        most = tf.constant(episodes_per_env), tf.constant(max_steps, tf.float32)
        is_playing, rows = True, FIRST_CALL
        while is_playing:
            started = time.perf_counter()
            played, is_playing = play(played, key[1], *most, played.steps + rows)
            is_playing = bool(is_playing)  # waits
            rows = _next_rows(rows, time.perf_counter() - started)
        return _means(played, episodes_per_env)

    return play_with


def _next_rows(rows, seconds):
    """Number of rows to play in the next call, from the time that the last call took."""
    return rows * 2 if seconds < CALL / 2 else max(1, int(rows * CALL / seconds))


def _means(played, episodes_per_env):
    """The results of `play_episodes`; unfinished episodes of environments that have episodes left to play are cut off."""
    cut = tf.cast(played.episodes < episodes_per_env, tf.float32)
    episodes = tf.reduce_sum(cut) + tf.reduce_sum(tf.cast(played.episodes, tf.float32))
    totals = {"return": played.scores + cut * played.score, "length": played.lengths + cut * played.length}
    means = {name: float(tf.reduce_sum(total) / episodes) for name, total in totals.items()}
    return means | {"return_std": _deviation(played, cut.numpy()), "cut": int(tf.reduce_sum(cut))}


def _deviation(played, cut):
    """The standard deviation of the returns of all episodes, from mean and squares of each environment."""
    counts, mean, squares, score = (
        np.float64(x.numpy()) for x in (played.episodes, played.mean, played.squares, played.score)
    )
    off = cut * (score - mean)  # an unfinished episode is one more
    counts, mean = counts + cut, mean + off / np.maximum(counts + cut, 1.0)
    squares = squares + off * (score - mean)
    between = counts * np.square(mean - np.average(mean, weights=counts))
    return float(np.sqrt(np.sum(squares + between) / np.sum(counts)))
