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
KEPT = 4  # episodes of an environment in one call


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
        news: int32 `[B]`; number of those in this call.
        scores, lengths: float32 `[KEPT, B]`; return and length of each of these.
    """

    steps: tf.Tensor
    env_state: Any
    step: TimeStep
    state: Any
    score: tf.Tensor
    length: tf.Tensor
    episodes: tf.Tensor
    news: tf.Tensor
    scores: tf.Tensor
    lengths: tf.Tensor


def play_episodes(
    agent: Actor, env: BatchEnv, deterministic: bool, jit_compile: bool = True
) -> Callable[[BatchEnv, int, int, int], tuple[np.ndarray, np.ndarray, int]]:
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
        same episodes. It returns the undiscounted returns and the lengths in environment steps of all episodes, float32
        `[episodes]`, those of the first environment first; and the number of episodes that were cut off at the maximum: they
        count with their return so far, and their environments play no further episodes.
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
            place = tf.equal(tf.range(KEPT)[:, None], played.news) & counted  # [KEPT, B]
            return (
                Played(
                    played.steps + 1,
                    env_state,
                    step,
                    state,
                    tf.where(ended, 0.0, score),
                    tf.where(ended, 0.0, length),
                    played.episodes + tf.cast(counted, tf.int32),
                    played.news + tf.cast(counted, tf.int32),
                    tf.where(place, score, played.scores),
                    tf.where(place, length, played.lengths),
                ),
            )

        (played,) = tf.while_loop(
            lambda played: is_playing(played) & (played.steps < until) & (tf.reduce_max(played.news) < KEPT),
            row,
            (played,),
            parallel_iterations=1,
        )
        return played, is_playing(played)

    play = tf.function(play, jit_compile=jit_compile and env.compilable, autograph=False)

    def play_with(played_env, episodes_per_env, seed, max_steps):
        key = tf.random.stateless_uniform((2, 2), (seed, 1), None, None, tf.int32)
        played = _start(agent, played_env, key[0])
        most = tf.constant(episodes_per_env), tf.constant(max_steps, tf.float32)
        is_playing, rows = True, FIRST_CALL
        episodes: list[list[np.ndarray]] = [[] for _ in range(env.num_envs)]
        while is_playing:
            started, before = time.perf_counter(), int(played.steps)
            played, is_playing = play(played, key[1], *most, played.steps + rows)
            is_playing = bool(is_playing)  # waits
            rows = _next_rows(int(played.steps) - before, time.perf_counter() - started)
            played = _moved(played, episodes)
        return _results(played, episodes, episodes_per_env)

    return play_with


def _start(agent, env, seed):
    """The state of an evaluation before its first row."""
    env_state, step = env.reset(seed)
    zeros, none = tf.zeros((env.num_envs,)), tf.zeros((env.num_envs,), tf.int32)
    state, kept = agent.initial_state(env.num_envs), tf.zeros((KEPT, env.num_envs))
    return Played(tf.constant(0), env_state, step, state, zeros, zeros, none, none, kept, kept)


def _moved(played, episodes):
    """Appends the episodes that a call has kept to the lists of their environments, and makes room for others."""
    kept = np.stack([played.scores, played.lengths], -1)  # [KEPT, B, 2]
    for i, count in enumerate(played.news.numpy()):
        episodes[i].extend(kept[:count, i])
    return played._replace(news=tf.zeros_like(played.news))


def _next_rows(rows, seconds):
    """Number of rows to play in the next call, from the time that the last call took."""
    return rows * 2 if seconds < CALL / 2 else max(1, int(rows * CALL / seconds))


def _results(played, episodes, episodes_per_env):
    """The results of `play_episodes`; unfinished episodes of environments that have episodes left to play are cut off."""
    unfinished = np.stack([played.score, played.length], -1)  # [B, 2]
    cut = [i for i, done in enumerate(episodes) if len(done) < episodes_per_env]
    for i in cut:
        episodes[i].append(unfinished[i])
    returns, lengths = np.concatenate(episodes).T
    return returns, lengths, len(cut)
