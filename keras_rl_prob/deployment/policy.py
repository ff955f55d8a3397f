"""Acting outside training: step by step, and for whole batches."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_rl_prob import border, spaces
from keras_rl_prob.drivers.exploring import RandomNowAndThen
from keras_rl_prob.envs.previous_step import join
from keras_rl_prob.settings import written
from keras_rl_prob.types import Nest


class Policy:
    """An agent's policy, which acts one step at a time and keeps the recurrent state since `reset`.

    Args:
        agent: A built agent.
        num_envs: Batch size of the observations, or `None` for single observations without a batch axis.
        deterministic: Whether to take the mode of the policy instead of samples.
        seed: Integer seed of the samples.
        epsilon: Probability of a random action.

    Example:
    ```python
    policy = agent.policy()
    observation, _ = env.reset()
    policy.reset()
    action = policy(observation)
    ```
    """

    def __init__(
        self,
        agent: keras.Model,
        num_envs: int | None = None,
        deterministic: bool = True,
        seed: int = 0,
        epsilon: float = 0.0,
    ) -> None:
        self._agent, self._single = agent, num_envs is None
        self._num_envs, self._seed = num_envs or 1, seed
        self._observations, self._actions = border.Codec(agent.observation_space), border.Codec(agent.action_space)
        self._seen_specs, self._specs = map(spaces.tensor_specs, (agent.observation_space, agent.input_space))
        self._arguments = {"num_envs": num_envs, "deterministic": deterministic, "seed": seed, "epsilon": epsilon}
        self._act = self._traced(RandomNowAndThen(agent, epsilon), deterministic)
        self._steps = 0
        self.reset()

    def __repr__(self) -> str:
        return written(type(self), self._arguments, self._agent)

    def _traced(self, actor, deterministic):
        """A step as one concrete function, which is faster to call than a `tf.function`, which looks up its trace."""

        def act(observation, is_first, state, seed):
            action, _, state = actor.act(observation, is_first, state, seed, deterministic)
            return action, state

        def batched(spec):
            return tf.TensorSpec((self._num_envs, *spec.shape), spec.dtype)

        return tf.function(act, autograph=False).get_concrete_function(
            tf.nest.map_structure(batched, self._specs),
            tf.TensorSpec((self._num_envs,), tf.bool),
            tf.nest.map_structure(tf.TensorSpec.from_tensor, self._agent.initial_state(self._num_envs)),
            tf.TensorSpec((2,), tf.int32),
        )

    def reset(self) -> None:
        """Resets the recurrent state: the next observation starts an episode."""
        self._state = self._agent.initial_state(self._num_envs)
        self._is_first = np.ones(self._num_envs, bool)
        self._action: Any = None

    @property
    def wants_reward(self) -> bool:
        """Whether the agent sees the previous reward, which a call then needs."""
        return bool(self._agent.previous_action_and_reward)

    def __call__(
        self, observation: Nest, is_first: np.ndarray | None = None, reward: float | np.ndarray | None = None
    ) -> Nest:
        """Returns the action for an observation.

        Args:
            observation: What a Gymnasium environment returned (of a vector environment if `num_envs` was given).
            is_first: bool `[num_envs]`; which environments have just been reset. By default only the first observation after
                `reset` starts episodes.
            reward: The reward for the last action, a float, or an array `[num_envs]` if `num_envs` was given; for agents with
                `previous_action_and_reward`, after the first step. Others ignore it.

        Returns:
            An action as the environment takes it.

        Raises:
            ValueError: The observation has another batch size than the policy, or the reward is missing.
        """
        is_first = self._is_first if is_first is None else np.asarray(is_first, bool)
        self._check_rows(observation)
        if self._single:
            observation = spaces.map_values(lambda x: np.asarray(x)[None], self._agent.observation_space, observation)
        flat = self._observations.encode(observation)
        nest = tf.nest.pack_sequence_as(self._seen_specs, [tf.constant(x) for x in flat])
        if self.wants_reward:
            nest = self._with_previous_step(nest, is_first, reward)
        seed = tf.constant([self._seed, self._steps])
        action, self._state = self._act(nest, tf.constant(is_first), self._state, seed)
        self._is_first = np.zeros(self._num_envs, bool)
        self._steps, self._action = self._steps + 1, action
        decoded = self._actions.decode([x.numpy() for x in tf.nest.flatten(action)])
        return spaces.map_values(lambda x: x[0], self._agent.action_space, decoded) if self._single else decoded

    def _with_previous_step(self, observation, is_first, reward):
        if self._action is None:
            self._action = spaces.zeros(self._agent.action_space, self._num_envs)
        if reward is None and not is_first.all():
            raise ValueError(
                "The policy of an agent with `previous_action_and_reward` needs the reward of the last step: "
                "`policy(observation, reward=reward)`. Received: reward=None after the first step of an episode"
            )
        rewards = np.broadcast_to(np.asarray(0.0 if reward is None else reward, np.float32), (self._num_envs,))
        return join(observation, self._action, tf.constant(rewards), is_first)

    def _check_rows(self, observation):
        """Raises a `ValueError` where a policy for one environment gets a batch, or the other way round."""
        space, value = next(spaces.pairs(self._agent.observation_space, observation))
        shape, rows = np.shape(value), () if self._single else (self._num_envs,)
        if len(shape) - len(space.shape) in (0, 1) and shape[: len(shape) - len(space.shape)] != rows:
            made = "one environment, `policy()`" if self._single else f"`policy(num_envs={self._num_envs})`"
            raise ValueError(
                f"A policy takes as many observations as it was made for. Expected: those of {made}. Received: an observation "
                f"of the shape {shape} for {space}; `policy(num_envs={shape[0] if len(shape) > len(space.shape) else None})` "
                "would take it"
            )


def deterministic_actions(agent: keras.Model, observation: Nest) -> Nest:
    """The modes of an agent's policy for a batch of observations, or for sequences of them with time on axis 1.

    Args:
        agent: A built agent.
        observation: Nest of tensors `[B, ...]` or `[B, T, ...]`; sequences start episodes.

    Returns:
        Nest of actions `[B, ...]` or `[B, T, ...]`.
    """

    def modes(outputs):
        return agent.environment_action(agent.distribution(outputs["action"]).mode())

    def swap(x):
        return tf.transpose(x, [1, 0, *range(2, len(x.shape))])

    leaf, space = keras.tree.flatten(observation)[0], spaces.leaves(agent.input_space)[0]
    if len(leaf.shape) == len(space.shape) + 1:
        return modes(agent(observation))
    rows, steps = leaf.shape[:2]
    is_first = tf.one_hot(0, steps, on_value=True, off_value=False, axis=0)[:, None] & tf.ones((1, rows), tf.bool)
    outputs, _ = agent.unroll(keras.tree.map_structure(swap, observation), is_first, agent.initial_state(rows))
    return keras.tree.map_structure(swap, modes(outputs))
