"""Hints: warnings of what keeps an agent from learning, each with its cure."""

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_rl_prob import spaces
from keras_rl_prob.envs.factory import BatchEnv
from keras_rl_prob.keras_internals import layers_of
from keras_rl_prob.learning.training import Training
from keras_rl_prob.types import Logs

LARGE, SMALL = 100.0, 0.01
"""Observations whose largest number is between these need no normalisation."""
FIRST_STEPS = 1_000
"""Environment steps after which a reward should have been seen."""
LONG = 5_000
"""Steps of an environment in which an episode should have ended."""
NOISES = (
    keras.layers.Dropout, keras.layers.SpatialDropout1D, keras.layers.SpatialDropout2D, keras.layers.SpatialDropout3D,
    keras.layers.GaussianDropout, keras.layers.AlphaDropout, keras.layers.GaussianNoise,
)  # fmt: skip
SCALERS = (
    keras.layers.Normalization, keras.layers.LayerNormalization, keras.layers.GroupNormalization,
    keras.layers.RMSNormalization, keras.layers.UnitNormalization,
)  # fmt: skip


class TrainingHint(UserWarning):
    """The category of warnings of what probably keeps an agent from learning: each hint is given once in a `fit`.

    Hints are about layers and outputs of the network that do nothing, observations that are far from 1 and not normalised,
    rewards that are all 0, and episodes that never end. They do not change training.

    Example:
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", TrainingHint)
    ...     hint("This is not shown.")
    """


def hint(message: str) -> None:
    """Warns with the category `TrainingHint`, of the line outside this package and Keras that led here."""
    frame: Any = inspect.currentframe()
    level = 1
    while frame.f_back and str(frame.f_globals.get("__name__")).split(".")[0] in ("keras_rl_prob", "keras"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, TrainingHint, stacklevel=level)


class Hints(keras.callbacks.Callback):
    """Gives hints about observations after the first rollout, about rewards and the ends of episodes after epochs."""

    _training: Training | None = None

    def begin(self, training: Training, env: BatchEnv, end_line: Callable[[], None]) -> None:
        """Tells what is trained, before Keras' `fit`; without this there are no hints.

        Args:
            training: The `Training`.
            env: The environment.
            end_line: Ends a line of progress, so that a hint begins its own.
        """
        self._training, self._end_line = training, end_line
        self._largest = training.source.follower.largest
        self._is_first = self._seeks_reward = self._largest is not None
        self._seeks_end = not has_time_limit(env)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Notes the number of environment steps so far."""
        self._first_steps = int(self.model.env_steps.numpy())
        self._learns = bool(self.model.metric_names())  # a `RandomAgent` has no loss

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Looks at the observations of the first rollout."""
        if self._training is None or not self._is_first:
            return
        self._is_first = False
        if not self._learns or any(isinstance(x, SCALERS) for x in layers_of(self.model.network)):
            return
        found = []
        names = spaces.leaf_names(self.model.input_space)
        for name, largest in zip(names, self._largest.numpy()[1:], strict=True):
            if largest > LARGE or 0.0 < largest < SMALL:
                found.append(f"{name!r} {largest:.3g}" if name else f"{largest:.3g}")
        if found:
            argument = "`normalize_observations=True`, or "
            knows = "normalize_observations" in inspect.signature(type(self.model)).parameters
            self._hint(
                "Numbers far from 1 make a network learn slowly or not at all. Use "
                f"{argument if knows else ''}a layer `keras.layers.Rescaling(...)` or `LayerNormalization()` first in your own "
                f"network. The largest absolute values of observations in the first rollout: {', '.join(found)}"
            )

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Looks at rewards and at the number of episodes that ended."""
        if self._training is None:
            return
        steps = int(logs["env_steps"]) - self._first_steps
        if self._seeks_reward and steps >= FIRST_STEPS:
            self._seeks_reward = False
            if self._learns and not self._largest.numpy()[0]:
                self._hint(
                    f"All rewards of the first {steps:,} steps were 0, and an agent learns nothing from that. Check the "
                    "environment with `krp.testing.check_env(env)`. If rewards are only rare, let the agent explore more "
                    "(`entropy_coef` or `exploration`), or reward steps on the way, as with "
                    "`gymnasium.wrappers.TransformReward`"
                )
        self._seeks_end &= not np.isfinite(logs["return"])
        if self._seeks_end and steps >= LONG * self._training.num_envs:
            self._seeks_end = False
            self._hint(
                f"No episode has ended in the first {steps // self._training.num_envs:,} steps of each environment: the return "
                "stays unknown, and `evaluate` would play on for long. Give the environment a time limit, as with "
                "`gymnasium.wrappers.TimeLimit(env, 1000)` or `max_episode_steps=1000`; what is learned stays the same, since "
                "values go on where an episode is truncated"
            )

    def _hint(self, message):
        self._end_line()
        hint(message)


def has_time_limit(env: Any) -> bool:
    """Whether a batch of environments is known to end its episodes after a number of steps."""
    env = getattr(env, "env", env)
    vector_env = getattr(env, "vector_env", None)
    kinds = [vector_env, *(getattr(vector_env, "envs", None) or ())]
    specs = [env, *(getattr(one, "spec", None) for one in kinds)]
    return any(getattr(spec, "max_episode_steps", None) for spec in specs)


def hint_at_inert(agent: keras.Model) -> None:
    """Gives a hint about layers and outputs of an agent's networks that have no effect.

    Agents run their networks in inference mode: the update must use the network that acted, or the probability ratio of the
    first update would not be 1; and the rows of a rollout depend on each other, so batch statistics would be wrong. The critics
    of actions, which do not act, run in training mode.
    """
    active = [getattr(agent, name, None) for name in agent.training_networks]
    layers = [x for network in agent.networks if network not in active for x in layers_of(network)]
    cures = {layer.name: cure for layer in layers if (cure := cure_of_inert(layer))}
    if cures:
        found = "; ".join(f"{name!r}: {cure}" for name, cure in cures.items())
        hint(
            "These layers do not do here what they do in supervised training, for agents learn with the network that acted, "
            f"`training=False`. {found}"
        )
    unused = sorted(set(agent.network.output) - set(agent.network_outputs))
    if unused and type(agent).__module__.startswith("keras_rl_prob."):  # others may use them
        hint(
            f"Outputs of the network that {type(agent).__name__} does not use do nothing: leave them out. It uses "
            f"{list(agent.network_outputs)}. Received besides: {unused}"
        )


def cure_of_inert(layer: keras.layers.Layer) -> str | None:
    """What to use instead of a layer that has no effect in inference mode, or only part of it; `None` for other layers."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return "its statistics stay as they are; `LayerNormalization`, or `normalize_observations=True`"
    if isinstance(layer, keras.layers.SpectralNormalization):
        return "it leaves the weights as they are; `kernel_constraint` or `kernel_regularizer`"
    if isinstance(layer, NOISES):
        return "it passes its input on; `entropy_coef`, `kernel_regularizer` or `krp.layers.NoisyDense`"
    return None
