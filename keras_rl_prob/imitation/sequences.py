"""Recorded episodes as batches of sequences, for supervised learning."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_rl_prob.sources.recorded import recorded_rows


def sequence_dataset(
    agent: keras.Model,
    episodes: Iterable[Any],
    sequence_length: int | None,
    batch_size: int,
    seed: int | None = None,
) -> tf.data.Dataset:
    """Returns a data set of batches of sequences that begin at the starts of episodes, or where the one before ends.

    Args:
        agent: A built agent.
        episodes: List of episodes.
        sequence_length: Steps in a sequence, `L`; `None` for those of the longest episode.
        batch_size: Sequences in a batch, `N`.
        seed: Integer for the order of the sequences, another one in each epoch; `None` leaves them in order.

    Returns:
        `tf.data.Dataset` of dicts: `"observation"` and `"action"`, nests `[N, L, ...]`, and `"valid"`, bool `[N, L]`, False
        where a sequence is over. The last batch is filled with sequences of no steps.
    """
    rows = recorded_rows(agent, episodes)
    starts = np.flatnonzero(rows["is_first"])
    steps = np.diff(np.append(starts, len(rows["is_first"]))) - 1  # the last row is the final observation
    length = int(steps.max()) if sequence_length is None else sequence_length
    places = [
        np.where(begin + np.arange(length) < count, start + begin + np.arange(length), -1)
        for start, count in zip(starts, steps, strict=True)
        for begin in range(0, count, length)
    ]
    table = tf.constant(np.array([*places, np.full(length, -1)]), tf.int32)  # [sequences + 1, L], the last one empty
    data = tf.nest.map_structure(tf.constant, {name: rows[name] for name in ("observation", "action")})
    order = tf.data.Dataset.range(len(places))
    if seed is not None:
        order = order.shuffle(len(places), seed)
    missing = -len(places) % batch_size
    order = order.concatenate(tf.data.Dataset.from_tensors(tf.constant(len(places), tf.int64)).repeat(missing))

    def batch(numbers):
        places = tf.gather(table, numbers)  # [N, L]
        taken = tf.nest.map_structure(lambda x: tf.gather(x, tf.maximum(places, 0)), data)
        return {**taken, "valid": places >= 0}

    return order.batch(batch_size, drop_remainder=True).map(batch)


def recorded_observations(agent: keras.Model, episodes: Iterable[Any]) -> list[np.ndarray]:
    """Returns the leaves of all observations from which a recorded action was taken, a list of arrays `[N, ...]`."""
    rows = recorded_rows(agent, episodes)
    return [x[rows["valid"]] for x in tf.nest.flatten(rows["observation"])]
