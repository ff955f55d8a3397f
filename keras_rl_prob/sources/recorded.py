"""Recorded episodes as an agent sees them."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_rl_prob.envs.previous_step import join
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
