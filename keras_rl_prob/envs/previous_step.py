"""Observations that include the action and the reward before them, for agents with memory."""

import contextlib
from typing import Any, Self

import gymnasium
import numpy as np
import tensorflow as tf
from gymnasium import spaces as gym_spaces

from keras_rl_prob import spaces
from keras_rl_prob.trajectory import TimeStep
from keras_rl_prob.types import Nest

OBSERVATION, ACTION, REWARD = "observation", "previous_action", "previous_reward"


def extended_space(observation_space: gymnasium.Space, action_space: gymnasium.Space) -> gym_spaces.Dict:
    """The space of observations with the previous action and reward; see `with_previous_step`.

    Raises:
        ValueError: The observation has such a component already.
    """
    seen = (
        observation_space.spaces if isinstance(observation_space, gym_spaces.Dict) else {OBSERVATION: observation_space}
    )
    if taken := {ACTION, REWARD} & set(seen):
        raise ValueError(
            f"The observation must not have a component {' or '.join(map(repr, sorted(taken)))}, which the agent would add: "
            f"leave out `previous_action_and_reward`. Received: observation_space={observation_space}"
        )
    return gym_spaces.Dict({**seen, ACTION: action_space, REWARD: gym_spaces.Box(-np.inf, np.inf, (1,))})


def join(observation: Nest, action: Nest, reward: tf.Tensor, is_first: tf.Tensor | bool = False) -> dict[str, Nest]:
    """An element of `extended_space`, as tensors.

    Args:
        observation: Nest `[B, ...]`.
        action: Nest `[B, ...]`; the action before it, in the form that graphs use.
        reward: float32 `[B]`; the reward for that action.
        is_first: bool `[B]`; where there was no action, so that both are 0.
    """
    seen = observation if isinstance(observation, dict) else {OBSERVATION: observation}
    return begun({**seen, ACTION: action, REWARD: reward[:, None]}, tf.broadcast_to(is_first, reward.shape))


def begun(observation: dict[str, Nest], is_first: tf.Tensor) -> dict[str, Nest]:
    """An element of `extended_space`, as tensors, with previous actions and rewards that are 0 where `is_first`, bool `[B]`."""

    def unless_first(x):
        x = tf.convert_to_tensor(x)
        return tf.where(tf.reshape(is_first, (-1, *[1] * (x.shape.rank - 1))), tf.zeros_like(x), x)

    return {
        **observation,
        **{name: tf.nest.map_structure(unless_first, observation[name]) for name in (ACTION, REWARD)},
    }


class PreviousStep:
    """A batch of environments whose observations include the previous action and reward; see `with_previous_step`.

    Args:
        env: A native or Gymnasium environment.
    """

    def __init__(self, env: Any) -> None:
        self.env = env
        self.num_envs, self.compilable = env.num_envs, env.compilable
        self.observation_space: gymnasium.Space = extended_space(env.observation_space, env.action_space)
        self.action_space: gymnasium.Space = env.action_space

    @property
    def signature(self) -> tuple[Any, ...]:
        """Everything that graphs depend on; they can be used with any environment with an equal signature."""
        return PreviousStep, *self.env.signature

    def placeholder(self) -> Self:
        """An environment with this signature, which graphs can keep."""
        return type(self)(self.env.placeholder())

    def standing_for(self, env: Any) -> contextlib.AbstractContextManager[None]:
        """Context manager in which a placeholder stands for another environment with its signature."""
        return self.env.standing_for(env.env)

    def reset(self, seed: tf.Tensor) -> tuple[Any, TimeStep]:
        """Resets every environment; the previous actions and rewards are 0."""
        env_state, step = self.env.reset(seed)
        return env_state, self._extended(step, spaces.zeros(self.action_space, self.num_envs))

    def step(self, env_state: Any, action: Nest) -> tuple[Any, TimeStep]:
        """Steps every environment with a nest of actions `[B, ...]`."""
        env_state, step = self.env.step(env_state, action)
        return env_state, self._extended(step, action)

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()

    def _extended(self, step, action):
        final = step.final_observation
        if not isinstance(final, tuple) or final:
            final = join(final, action, step.reward)
        return step._replace(
            observation=join(step.observation, action, step.reward, step.is_first), final_observation=final
        )
