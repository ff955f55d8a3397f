"""A network for one step as a pure function of a sequence and a state."""

import contextlib
import re

import keras
import tensorflow as tf

from keras_rl_prob.keras_internals import layers_of
from keras_rl_prob.layers.stateful_rnn import StatefulRNN, unroll_scope
from keras_rl_prob.types import Nest


class Unrolled:
    """Runs a network for one step over whole sequences; the recurrent state is an argument and a result.

    The network, usually a Functional model, gets all rows of a sequence in one batch `[T * B, ...]`; only its
    `StatefulRNN` layers, at any depth of sub-models, know the time axis. Their state is reset to zero before rows where
    `is_first`. The state is a tuple with one entry per `StatefulRNN`, `()` for a feed-forward network. Lists in the outputs
    become tuples, since saving and loading a network does not preserve the difference.

    Args:
        network: A Keras model without a time axis. Each `StatefulRNN` may occur in it once.

    Example:
    ```python
    unrolled = Unrolled(network)
    state = unrolled.initial_state(batch_size)
    outputs, state = unrolled(observations, is_first, state)  # [T, B, ...]
    outputs, state = unrolled.step(observation, is_first, state)  # [B, ...]
    ```
    """

    def __init__(self, network: keras.Model) -> None:
        if not isinstance(network, keras.Model):
            raise TypeError(f"`network` must be a keras.Model. Received: network={network}")
        if not network.built:
            raise ValueError(f"`network` must be built, by calling it once for example. Received: network={network}")
        self.network = network
        self._memories = [x for x in layers_of(network) if isinstance(x, StatefulRNN)]

    def initial_state(self, batch_size: int) -> Nest:
        """Zeros, with the structure of every state: one entry `[batch_size, ...]` per `StatefulRNN`."""
        return tuple(layer.initial_state(batch_size) for layer in self._memories)

    def __call__(
        self, observations: Nest, is_first: tf.Tensor, state: Nest, training: bool = False
    ) -> tuple[Nest, Nest]:
        """Runs the network over a sequence.

        Args:
            observations: Nest of tensors `[T, B, ...]`.
            is_first: bool `[T, B]`, static shape; the state is reset to zero before these rows.
            state: As returned by `initial_state(B)` or a previous call.
            training: Passed to the network.

        Returns:
            `(outputs, state)`: the network's outputs, each `[T, B, ...]`, and the state after the last row, not yet
            reset.

        Raises:
            ValueError: If `T` or `B` is not static or does not agree between arguments, if `state` has another
                structure, or if a `StatefulRNN` is called twice.
        """
        is_first = tf.convert_to_tensor(is_first)
        if is_first.shape.rank != 2 or None in is_first.shape:
            raise ValueError(f"`is_first` must have a static shape [T, B]. Received: is_first.shape={is_first.shape}")
        steps, rows = is_first.shape

        def fold(x):
            x = tf.convert_to_tensor(x)
            if x.shape.rank is None or x.shape[:2] != (steps, rows):
                raise ValueError(
                    f"`observations` must start with the shape of `is_first`, {(steps, rows)}. "
                    f"Received: observations with shape {x.shape}"
                )
            return tf.reshape(x, (steps * rows, *x.shape[2:]))

        observations = keras.tree.map_structure(fold, observations)
        outputs, state = self._run(observations, is_first, state, training)
        return keras.tree.map_structure(lambda y: tf.reshape(y, (steps, rows, *y.shape[1:])), outputs), state

    def after_burn_in(
        self, observations: Nest, is_first: tf.Tensor, state: Nest, burn_in: int, training: bool = False
    ) -> Nest:
        """The outputs for the rows after the first `burn_in` ones, which only bring the state up to date, without gradients.

        Args:
            observations: Nest of tensors `[T, B, ...]`.
            is_first: bool `[T, B]`.
            state: State before the first row.
            burn_in: Number of rows, below `T`.
            training: Passed to the network.

        Returns:
            Nest `[T - burn_in, B, ...]`.
        """

        def run(state, rows):
            return self(tf.nest.map_structure(lambda x: x[rows], observations), is_first[rows], state, training)

        if burn_in:
            _, state = run(state, slice(burn_in))
            state = tf.nest.map_structure(tf.stop_gradient, state)
        return run(state, slice(burn_in, None))[0]

    def step(self, observations: Nest, is_first: tf.Tensor, state: Nest, training: bool = False) -> tuple[Nest, Nest]:
        """Runs the network for one step: like `__call__`, without the time axis, `[B, ...]`."""
        return self._run(observations, tf.convert_to_tensor(is_first)[None], state, training)

    def _run(self, observations, is_first, state, training):
        """Runs the network over folded rows `[T * B, ...]` with `is_first` `[T, B]`."""
        if not isinstance(state, tuple) or len(state) != len(self._memories):
            raise ValueError(
                f"`state` must be a tuple with one entry per StatefulRNN of the network, {len(self._memories)}. "
                f"Received: state={state}"
            )
        with unroll_scope(~is_first, zip(self._memories, state, strict=True)) as scope, _as_one_sentence():
            outputs = keras.tree.lists_to_tuples(self.network(observations, training=training))
        rows = is_first.shape.num_elements()
        for x in keras.tree.flatten(outputs):
            if None not in (rows, x.shape.rank) and x.shape[:1].as_list() not in ([rows], [None]):
                raise ValueError(
                    "`network`'s layers must keep the batch axis: one row of outputs for each observation. Expected: "
                    f"{rows} rows. Received: an output of the shape {tuple(x.shape)}"
                )
        return outputs, tuple(scope.final_states.get(layer, scope.states[layer]) for layer in self._memories)


@contextlib.contextmanager
def _as_one_sentence():
    """Names a layer whose output has another shape than it had when the network was made; Keras prints all tensors."""
    try:
        yield
    except ValueError as error:
        lines = [line for line in str(error).splitlines() if "incompatible with the layer" in line]
        if not lines:
            raise
        found = re.sub(r"\x1b\[\d*m", "", lines[0])
        raise ValueError(
            f"`network`'s layers must have the output shapes with which the network was made. {found}"
        ) from error
