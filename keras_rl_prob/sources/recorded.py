"""Recorded episodes as an agent sees them."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_rl_prob.envs.previous_step import join
from keras_rl_prob.layers import RunningNormalization
from keras_rl_prob.replay.episodes import episode_rows
from keras_rl_prob.types import Nest


def recorded_rows(agent: keras.Model, episodes: Iterable[Any]) -> dict[str, Nest]:
    """Converts recorded episodes to rows with the observations that the network of an agent takes.

    Args:
        agent: A built agent.
        episodes: See `keras_rl_prob.replay.episodes.episode_rows`.

    Returns:
        What `episode_rows` returns, the observations with the previous action and reward if the agent is to see them.
    """
    rows = episode_rows(episodes, agent.observation_space, agent.action_space)
    if agent.previous_action_and_reward:
        action, reward = tf.nest.map_structure(lambda x: np.roll(x, 1, 0), (rows["action"], rows["reward"]))
        joined = join(rows["observation"], action, tf.constant(reward), rows["is_first"])
        rows["observation"] = tf.nest.map_structure(np.asarray, joined)
    return rows


def update_normalizers(agent: keras.Model, observations: Nest) -> None:
    """Updates the statistics of an agent with recorded observations, a nest `[N, ...]`.

    Raises:
        FloatingPointError: A number is so large that statistics would not be finite. They are as before.
    """
    layers = zip(agent.observation_normalizers, tf.nest.flatten(observations), strict=False)
    adapted = [(layer, x) for layer, x in layers if isinstance(layer, RunningNormalization)]
    before = [layer.get_weights() for layer, _ in adapted]
    for layer, x in adapted:
        layer.update(tf.constant(x))
    if not all(np.isfinite(x).all() for layer, _ in adapted for x in layer.get_weights()):
        for (layer, _), weights in zip(adapted, before, strict=True):
            layer.set_weights(weights)
        largest = max(float(np.abs(x).max()) for _, x in adapted)
        raise FloatingPointError(
            "The statistics of recorded observations would not be finite: leave out what is that large. Received: a number of "
            f"{largest:.3g}"
        )
