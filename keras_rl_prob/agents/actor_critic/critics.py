"""Checks of critics, before anything is built."""

import gymnasium
import keras

from keras_rl_prob import spaces


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
