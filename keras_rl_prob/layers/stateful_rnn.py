"""Recurrent memory as a layer of a network for one step."""

import contextlib
import contextvars
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

import keras
import tensorflow as tf

from keras_rl_prob.ops import recurrent
from keras_rl_prob.types import Nest, Shape


@dataclasses.dataclass
class UnrollScope:
    """Data that `Unrolled` passes to the `StatefulRNN` layers while it runs a network over folded rows `[T * B, ...]`.

    Attributes:
        keep: bool `[T, B]`, false where the state is reset to zero before the row is processed.
        states: Dict from layer to its state before the first row; a layer takes its entry out.
        final_states: Dict from layer to its state after the last row; a layer puts its entry in.
    """

    keep: tf.Tensor
    states: dict
    final_states: dict = dataclasses.field(default_factory=dict)


_scope: contextvars.ContextVar[UnrollScope | None] = contextvars.ContextVar("unroll_scope", default=None)


@contextlib.contextmanager
def unroll_scope(keep: tf.Tensor, states: Iterable[tuple[keras.layers.Layer, Nest]]) -> Iterator[UnrollScope]:
    """Opens an `UnrollScope` for the network call inside. Only `Unrolled` does."""
    scope = UnrollScope(keep, dict(states))
    token = _scope.set(scope)
    try:
        yield scope
    finally:
        _scope.reset(token)


@keras.saving.register_keras_serializable("keras_rl_prob")
class StatefulRNN(keras.layers.Layer):
    """A recurrent cell in a network for one step, which has no time axis.

    Called directly, the layer takes one step from a zero state, `[B, F]` -> `[B, units]`. Inside `Unrolled`, and so in every
    agent, it passes its state from row to row and resets it to zero where an episode starts.

    `LSTMCell` and `GRUCell` with default activations run with hand-written gradients (see `ops.recurrent`), any other
    cell through a generic loop. Every state starts as zeros. State and outputs have the cell's compute dtype, as in
    `keras.layers.RNN`: half precision under a mixed policy. Cells run in inference mode and must have no dropout, whose
    random masks would make the policy that is updated differ from the one that acted.

    Args:
        cell: A Keras RNN cell, or a list of cells to be stacked. `state_size` may be nested.
        **kwargs: Of `keras.layers.Layer`. `dtype` defaults to the cell's.

    Raises:
        TypeError: If `cell` is not a Keras RNN cell.
        ValueError: If `cell` uses dropout.

    Example:
    ```python
    inputs = keras.Input((4,))
    x = StatefulRNN(keras.layers.LSTMCell(64))(inputs)
    network = keras.Model(inputs, keras.layers.Dense(2)(x))
    ```
    """

    def __init__(self, cell: keras.layers.Layer | Sequence[keras.layers.Layer], **kwargs: Any) -> None:
        if isinstance(cell, (list, tuple)) and cell:
            for inner in cell:
                _checked(inner)
            cell = keras.layers.StackedRNNCells(list(cell))
        kwargs.setdefault("dtype", _checked(cell).dtype_policy)
        super().__init__(**kwargs)
        self.cell: Any = cell

    def build(self, input_shape: Shape) -> None:
        """Builds the cell."""
        if not self.cell.built:
            self.cell.build(input_shape)
            self.cell.built = True

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`(B, units)`."""
        size = getattr(self.cell, "output_size", None)
        return (input_shape[0], keras.tree.flatten(self.cell.state_size)[0] if size is None else size)

    def initial_state(self, batch_size: int | tf.Tensor) -> Nest:
        """Zeros: a tuple with one tensor `[batch_size, ...]` per state of the cell, nested like its states."""
        return keras.tree.lists_to_tuples(_zero_state(self.cell, batch_size))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """One step from a zero state, `[B, F]` -> `[B, units]`; inside `Unrolled` all steps of rows `[T * B, F]`."""
        scope = _scope.get()
        if scope is None:
            rows = tf.shape(inputs)[0]
            return _run(self.cell, inputs, tf.ones((1, rows), tf.bool), self.initial_state(rows))[0]
        if self in scope.final_states:
            raise ValueError(
                "A `StatefulRNN` may occur only once in a network, since it has one state; to share weights, use two "
                f"layers with the same cell. Received: layer '{self.name}' called twice."
            )
        if self not in scope.states:
            raise ValueError(
                f"`network` must track all of its `StatefulRNN` layers. Received: layer '{self.name}', which "
                "`Unrolled` did not find when it was constructed."
            )
        outputs, scope.final_states[self] = _run(self.cell, inputs, scope.keep, scope.states[self])
        return outputs

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "cell": keras.saving.serialize_keras_object(self.cell)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The layer that `get_config` described."""
        return cls(**{**config, "cell": keras.saving.deserialize_keras_object(config["cell"])})


def _run(cell, x, keep, state):
    """Runs `cell` over folded rows `x` `[T * B, ...]` -> (outputs `[T * B, units]`, state); `keep` is `[T, B]`."""
    if type(cell) is keras.layers.StackedRNNCells:  # layer by layer over time is equivalent, and may take the fast path
        states = []
        for inner, inner_state in zip(cell.cells, state, strict=True):
            x, inner_state = _run(inner, x, keep, inner_state)
            states.append(inner_state)
        return x, tuple(states)
    if _is_fast(cell):
        outputs, state = _run_fast(cell, x, keep, state)
    else:
        like = _zero_state(cell, 1)  # the nesting that the cell expects, lists included

        def step(x, flat):
            output, new = cell(x, keras.tree.pack_sequence_as(like, flat), training=False)
            return output, keras.tree.flatten(new)

        outputs, flat = recurrent.unroll(step, _unfold(x, keep), keep, keras.tree.flatten(state))
        state = keras.tree.pack_sequence_as(state, flat)
    return tf.reshape(outputs, (-1, *outputs.shape[2:])), state


def _is_fast(cell):
    if type(cell) not in (keras.layers.LSTMCell, keras.layers.GRUCell) or not getattr(cell, "reset_after", True):
        return False
    return cell.activation is keras.activations.tanh and cell.recurrent_activation is keras.activations.sigmoid


def _run_fast(cell, x, keep, state):
    dtype = cell.compute_dtype
    kernel, recurrent_kernel = keras.ops.cast(cell.kernel, dtype), keras.ops.cast(cell.recurrent_kernel, dtype)
    x = tf.matmul(tf.cast(x, dtype), kernel)  # one matrix product for the whole sequence
    bias = tf.zeros((), dtype) if cell.bias is None else keras.ops.cast(cell.bias, dtype)
    if type(cell) is keras.layers.LSTMCell:
        return recurrent.lstm(_unfold(x + bias, keep), recurrent_kernel, keep, state)
    bias, recurrent_bias = (bias, tf.zeros((3 * cell.units,), dtype)) if cell.bias is None else tf.unstack(bias)
    outputs, h = recurrent.gru(_unfold(x + bias, keep), recurrent_kernel, recurrent_bias, keep, state[0])
    return outputs, (h,)


def _unfold(x, keep):
    """`[T * B, ...]` -> `[T, B, ...]`."""
    return tf.reshape(x, (keep.shape[0], -1, *x.shape[1:]))


def _zero_state(cell, batch_size):
    """Zeros nested as the cell expects its states."""
    if type(cell) is keras.layers.StackedRNNCells:
        return [_zero_state(c, batch_size) for c in cell.cells]
    if hasattr(cell, "get_initial_state"):
        state = keras.tree.map_structure(tf.zeros_like, cell.get_initial_state(batch_size=batch_size))
    else:
        state = keras.tree.map_structure(lambda n: tf.zeros((batch_size, n), cell.compute_dtype), cell.state_size)
    return state if keras.tree.is_nested(state) else [state]


def _checked(cell):
    if not isinstance(cell, keras.layers.Layer) or not hasattr(cell, "state_size"):
        raise TypeError(f"`cell` must be a Keras RNN cell with a `state_size`. Received: cell={cell}")
    for rate in ("dropout", "recurrent_dropout"):
        if getattr(cell, rate, 0.0):
            raise ValueError(
                f"`cell` must have no `{rate}`: random masks would make the policy that is updated differ from the one "
                f"that acted. Received: cell={cell} with {rate}={getattr(cell, rate)}"
            )
    for inner in getattr(cell, "cells", ()):
        _checked(inner)
    return cell
