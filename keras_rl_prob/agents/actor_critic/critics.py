"""Checks of critics, before anything is built."""

import gymnasium
import keras

from keras_rl_prob import spaces
from keras_rl_prob.keras_internals import inputs_behind, layers_of
from keras_rl_prob.layers import StatefulRNN


def check_critic(critic: keras.Model, observation_space: gymnasium.Space, action_space: gymnasium.Space) -> None:
    """Raises a `ValueError` unless `critic` maps observations and actions of these spaces to values `[B, n]`."""
    inputs = getattr(critic, "input", None) if hasattr(critic, "inputs") else None
    if not isinstance(inputs, dict) or set(inputs) != {"observation", "action"}:
        received = sorted(inputs) if isinstance(inputs, dict) else type(critic).__name__
        raise ValueError(
            '`critic` must be a Functional `keras.Model` with the inputs `{"observation": ..., "action": ...}`, as from '
            f"`krp.networks.critic(env)`. Received: {received}"
        )
    for key, space in (("observation", observation_space), ("action", action_space)):
        expected = [tuple(spec.shape) for spec in keras.tree.flatten(spaces.tensor_specs(space))]
        received = [tuple(x.shape[1:]) for x in keras.tree.flatten(inputs[key])]
        if expected != received:
            raise ValueError(
                f"`critic`'s input {key!r} must have the shapes of the space {space}. Expected: {expected}. "
                f"Received: {received}"
            )
    shape = getattr(critic.output, "shape", None)
    if shape is None or len(shape) != 2:
        raise ValueError(
            "`critic` must output the values of one or several critics, a tensor `[B, n]`. "
            f"Received: output={critic.output!r}"
        )


def check_memory_without_action(critic: keras.Model) -> None:
    """Raises a `ValueError` if the memory of a critic depends on the action: it is to judge actions that were not taken."""
    for layer in critic.layers:
        if not any(isinstance(inner, StatefulRNN) for inner in (layer, *layers_of(layer))):
            continue
        if any(x is action for x in _behind(layer.output) for action in keras.tree.flatten(critic.input["action"])):
            raise ValueError(
                "`critic` must join the action after its memory, as `krp.networks.critic(env, cell=...)` does: it judges "
                "actions that were not taken, while its memory follows those that were; these can be part of observations with "
                f"`previous_action_and_reward=True`. Received: {layer.name!r}, which depends on the action"
            )


def _behind(output):
    """Yields all symbolic tensors that an output, or a nest of them, depends on."""
    waiting, seen = keras.tree.flatten(output), set()
    while waiting:
        tensor = waiting.pop()
        if id(tensor) not in seen:
            seen.add(id(tensor))
            yield tensor
            waiting += inputs_behind(tensor)
