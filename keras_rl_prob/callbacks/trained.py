"""What callbacks ask of the model whose `fit` calls them."""

import keras

from keras_rl_prob.agents import Agent


def check_agent(callback: keras.callbacks.Callback) -> None:
    """Raises a `ValueError` unless the model of a callback is an agent."""
    if not isinstance(callback.model, Agent):
        raise ValueError(
            f"`{type(callback).__name__}` must be among the `callbacks` of an agent. Received: those of a "
            f"`{type(callback.model).__name__}`"
        )


def check_training(callback: keras.callbacks.Callback) -> None:
    """Raises a `ValueError` unless it is the `fit` of an agent that calls a callback."""
    check_agent(callback)
    if not callback.model.is_training:
        raise ValueError(
            f"`{type(callback).__name__}` must be among the `callbacks` of an agent's own `fit`. Received: those of another "
            f"training of the {type(callback.model).__name__}"
        )
