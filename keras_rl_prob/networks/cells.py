"""Recurrent cells by name."""

import keras
from keras import layers

from keras_rl_prob import checks

CELLS = {"lstm": layers.LSTMCell, "gru": layers.GRUCell, "simple": layers.SimpleRNNCell}


def cell_of(cell: str | keras.layers.Layer, units: int) -> keras.layers.Layer:
    """Returns a Keras RNN cell unchanged, or creates one from a name and a width."""
    if not isinstance(cell, str):
        return cell
    if cell not in CELLS:
        raise ValueError(f"`cell` must be one of {sorted(CELLS)} or a Keras RNN cell. Received: cell={cell!r}")
    return CELLS[cell](checks.integer("units", units))
