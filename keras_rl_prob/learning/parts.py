"""Parts of an agent: the variables that each of them updates, and its loss."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_rl_prob.keras_internals import copy_of
from keras_rl_prob.types import Loss


class Part(NamedTuple):
    """Variables that one optimizer updates with the gradient of one loss.

    Attributes:
        name: Name of the part in `compile(optimizer={name: ...})`; if there are several parts, the loss of this one is logged
            as `name_loss`.
        variables: List of the Keras variables to update.
        loss: Function from the data of a gradient step to `(loss, logs)`: a scalar, and a dict of scalars to log.
        period: Gradient steps per update of this part, a positive integer; 1 to update it in all of them.

    Example:
    ```python
    def parts(self):
        return [
            Part("critic", self.critic.trainable_variables, self.critic_loss),
            Part("actor", self.actor.trainable_variables, self.actor_loss, period=2),
        ]
    ```
    """

    name: str
    variables: list
    loss: Callable
    period: int = 1


def check_parts(agent: keras.Model, parts: Sequence[Part]) -> None:
    """Raises a `ValueError` unless the parts of an agent are valid."""
    what = f"`{type(agent).__name__}.parts`"
    if not isinstance(parts, list | tuple) or not parts or not all(isinstance(part, Part) for part in parts):
        raise ValueError(f"{what} must return a list of `Part`s. Received: {parts!r}")
    names = [part.name for part in parts]
    if len(set(names)) < len(names) or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{what} must have a unique name for each part. Received: {names}")
    owners: dict[int, str] = {}
    for part in parts:
        if not part.variables or not all(isinstance(variable, keras.Variable) for variable in part.variables):
            raise ValueError(
                f"{what} must have Keras variables for {part.name!r} to change, such as `model.trainable_variables`. "
                f"Received: {part.variables!r}"
            )
        if not callable(part.loss):
            raise ValueError(f"{what} must have a function for the loss of {part.name!r}. Received: {part.loss!r}")
        if not isinstance(part.period, int) or part.period < 1:
            raise ValueError(
                f"{what} must have a positive integer for the period of {part.name!r}. Received: {part.period!r}"
            )
        for variable in part.variables:
            other = owners.setdefault(id(variable), part.name)
            if other != part.name:
                raise ValueError(
                    f"{what} must not have two parts that change the same variable. Received: {variable.path!r} in {other!r} "
                    f"and {part.name!r}"
                )
    left = [variable.path for variable in agent.trained_variables if id(variable) not in owners]
    if left:
        raise ValueError(
            f"{what} must have every trainable variable in a part; set `trainable=False` for what is not learned. "
            f"Received: {left} in none"
        )


def variables_of(network: keras.Model, output: str) -> list[keras.Variable]:
    """Returns the trainable variables that one output of a network depends on, for the variables of a `Part`.

    Args:
        network: Functional model whose output is a dict.
        output: A key of that dict.

    Example:
    >>> network = krp.networks.feed_forward("tf/CartPole-v1", units=(8,))
    >>> [tuple(variable.shape) for variable in variables_of(network, "value")]
    [(4, 8), (8,), (8, 1), (1,)]
    """
    return keras.Model(network.inputs, network.output[output]).trainable_variables


def checked_loss(agent: keras.Model, part: Part, returned: Any) -> Loss:
    """Returns what the loss of a part returned; raises a `ValueError` unless it is `(loss, logs)`."""
    name = getattr(part.loss, "__name__", part.name)
    if not isinstance(returned, tuple) or len(returned) != 2 or not isinstance(returned[1], dict):
        raise ValueError(
            f"`{type(agent).__name__}.{name}` must return the loss, a scalar, and a dict of scalars to log. "
            f"Received: {returned!r}"
        )
    shape = getattr(returned[0], "shape", None)
    if shape is None or tuple(shape) != ():
        raise ValueError(
            f"`{type(agent).__name__}.{name}` must return a scalar for the loss. Received: {returned[0]!r}"
        )
    for key, value in returned[1].items():
        check_shape(agent, name, f"a scalar for {key!r}", value, ())
    return returned


def check_shape(agent: keras.Model, method: str, what: str, returned: Any, shape: Sequence[int]) -> None:
    """Raises a `ValueError` unless the value that a method of an agent returned, described by `what`, has this shape."""
    if not hasattr(returned, "shape") and shape == ():
        returned = tf.convert_to_tensor(returned)
    if tuple(getattr(returned, "shape", (None,))) != tuple(shape):
        raise ValueError(f"`{type(agent).__name__}.{method}` must return {what}. Received: {returned!r}")


def check_reported(agent: keras.Model, logs: dict[str, Any], report: dict[str, Any]) -> None:
    """Raises a `ValueError` if the name of a metric is neither in the logs of an update nor in the report on its rollout."""
    missing = [name for name in agent.metric_names() if name not in logs and name not in report]
    if missing:
        raise ValueError(
            f"`{type(agent).__name__}.metric_names` must name only what a loss or the report on a rollout has. "
            f"Received: {missing}, of {sorted({*logs, *report} - {'episodes', 'failure'})}"
        )


def optimizers_of(
    parts: Sequence[Part], given: keras.optimizers.Optimizer | dict[str, keras.optimizers.Optimizer]
) -> dict[str, keras.optimizers.Optimizer]:
    """Returns a dict from the names of parts to their optimizers.

    Args:
        parts: List of `Part`s.
        given: The argument of `compile`: an optimizer, of which the other parts get copies, or a dict with one for each part.

    Copies have the same variable as their learning rate: what sets that of a single optimizer sets it for all parts.

    Raises:
        ValueError: The keys of the dict are not the names of the parts, two of its optimizers are the same, or an optimizer of
            several has `use_ema`.
    """
    names = [part.name for part in parts]
    all_given = list(given.values()) if isinstance(given, dict) else [given]
    if len(names) > 1 and any(getattr(x, "inner_optimizer", x).use_ema for x in all_given):
        raise ValueError(
            f"`optimizer` must have `use_ema=False` for an agent with the parts {names}: Keras averages the weights of one "
            "optimizer. Received: use_ema=True"
        )
    if isinstance(given, dict):
        if set(given) != set(names):
            raise ValueError(
                f"`optimizer` must have an optimizer for each of the parts {names}. Received: {sorted(given)}"
            )
        if len({id(x) for x in all_given}) < len(names):
            raise ValueError(
                f"`optimizer` must have an optimizer of its own for each of the parts {names}. Received: one twice"
            )
        return {name: given[name] for name in names}
    return {names[0]: given, **{name: copy_of(given) for name in names[1:]}}
