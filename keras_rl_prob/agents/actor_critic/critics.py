"""Checks of critics, before anything is built."""

from typing import Any

import gymnasium
import keras

from keras_rl_prob import spaces
from keras_rl_prob.distributions import ActionParts
from keras_rl_prob.keras_internals import inputs_behind, layer_behind, layers_of, with_layer
from keras_rl_prob.layers import StatefulRNN


def check_critic(critic: keras.Model, observation_space: gymnasium.Space, parts: ActionParts) -> None:
    """Raises a `ValueError` unless `critic` has inputs and outputs like `krp.networks.critic` for actions with these parts."""
    wanted = {"observation": observation_space}
    if parts.continuous_space is not None:
        wanted["action"] = parts.continuous_space
    inputs: Any = getattr(critic, "input", None) if hasattr(critic, "inputs") else None
    if not isinstance(inputs, dict) or set(inputs) != set(wanted):
        received = sorted(inputs) if isinstance(inputs, dict) else type(critic).__name__
        keys = ", ".join(f'"{key}": ...' for key in wanted)
        raise ValueError(
            f"`critic` must be a Functional `keras.Model` with the inputs `{{{keys}}}`, as from `krp.networks.critic(env)`. "
            f"Received: {received}"
        )
    for key, space in wanted.items():
        expected = [tuple(spec.shape) for spec in keras.tree.flatten(spaces.tensor_specs(space))]
        received = [tuple(x.shape[1:]) for x in keras.tree.flatten(inputs[key])]
        if expected != received:
            raise ValueError(
                f"`critic`'s input {key!r} must have the shapes of the space {space}. Expected: {expected}. "
                f"Received: {received}"
            )
    dtypes = {keras.backend.standardize_dtype(x.dtype) for x in keras.tree.flatten(inputs.get("action", ()))}
    if not all(map(keras.backend.is_float_dtype, dtypes)):
        raise ValueError(
            "`critic`'s input 'action' must be float32, or the policy would get no gradient from it: "
            f'`keras.Input(shape, dtype="float32")`, also for integers. Received: {sorted(dtypes)}'
        )
    shape: Any = getattr(critic.output, "shape", None)
    fits = shape is not None and len(shape) == (3 if parts.discrete else 2)
    if not fits or (parts.discrete and shape[-1] != parts.count):
        combinations = f", {parts.count}]`, for each combination of discrete actions" if parts.discrete else "]`"
        raise ValueError(
            f"`critic` must output the values of one or several critics, a tensor `[B, n{combinations}. "
            f"Received: output={critic.output!r}"
        )


def check_squashes(network: keras.Model, action_space: gymnasium.Space) -> None:
    """Raises a `ValueError` if a policy squashes actions that have no bounds to bounds of its own."""
    outputs = keras.tree.flatten(network.output["action"])
    for leaf, output in zip(spaces.leaves(action_space), outputs, strict=True):
        head = layer_behind(output)
        if (
            isinstance(leaf, gymnasium.spaces.Box)
            and not spaces.bounded(leaf).all()
            and getattr(head, "hard_bounds", False)
        ):
            raise ValueError(
                f"`network`'s head {head.name!r} must have no hard bounds for actions without: use "
                f"`krp.layers.DenseNormal({tuple(leaf.shape)})`, which is not squashed, or wrap the environment in "
                f"`gymnasium.wrappers.TransformAction` with a space that has bounds. Received: bounds={head.bounds} for {leaf}"
            )


def encoder_of(network: keras.Model | None) -> keras.Model | None:
    """The model `"encoder"` within a network that policy and critics share, or `None`."""
    layers = network.layers if network is not None else ()
    return next((x for x in layers if isinstance(x, keras.Model) and x.name == "encoder"), None)


def check_shared(network: keras.Model, critic: keras.Model) -> None:
    """Raises a `ValueError` if policy and critics share weights outside of a model `"encoder"`: a file would not restore it."""
    encoder = encoder_of(network)
    within = set(map(id, layers_of(encoder))) if encoder is not None and encoder is encoder_of(critic) else set()
    of_critic = set(map(id, layers_of(critic)))
    shared = [x.name for x in layers_of(network) if x.weights and id(x) in of_critic - within]
    if shared:
        raise ValueError(
            "`network` and `critic` must share layers only within a model named 'encoder', as from "
            f"`krp.networks.shared_encoder(observation_space)`, or a saved agent could not be loaded. Received: {shared}"
        )


def with_shared_encoder(critic: keras.Model | None, network: keras.Model | None) -> Any:
    """The critic with the `"encoder"` of the policy in place of its own, if both have one; files have two of them."""
    if critic is None or network is None:
        return critic
    own, shared = encoder_of(critic), encoder_of(network)
    if own is None or shared is None or own is shared:
        return critic
    return with_layer(critic, own, shared)


def check_memory_without_action(critic: keras.Model) -> None:
    """Raises a `ValueError` if the memory of a critic depends on the action: it is to judge actions that were not taken."""
    for layer in critic.layers:
        if not any(isinstance(inner, StatefulRNN) for inner in (layer, *layers_of(layer))):
            continue
        if any(
            x is action for x in _behind(layer.output) for action in keras.tree.flatten(critic.input.get("action", ()))
        ):
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
