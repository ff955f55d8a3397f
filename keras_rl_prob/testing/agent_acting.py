"""Checks that an agent chooses the same actions everywhere, and resets its state where an episode starts."""

from typing import Any

import gymnasium
import keras
import numpy as np
import tensorflow as tf

from keras_rl_prob import border

STEPS = 4


class Replay(gymnasium.Env):
    """Returns the same observations and rewards in each episode, and records the actions.

    Args:
        observation_space: Gymnasium space.
        action_space: Gymnasium space.
        observations: List of elements of `observation_space`.
        rewards: List of floats, the reward with which each observation came; the first is not used.
    """

    def __init__(self, observation_space: Any, action_space: Any, observations: Any, rewards: Any) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self._observations, self._rewards = [*observations, observations[-1]], [*rewards, 0.0]
        self.episodes: list[list[Any]] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode with a new list of actions."""
        super().reset(seed=seed)
        self.episodes.append([])
        return self._observations[0], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """The next observation; the last one truncates."""
        actions = self.episodes[-1]
        actions.append(action)
        step, last = len(actions), len(self._observations) - 1
        return self._observations[step], self._rewards[step], False, step == last, {}


def check_acting(agent: keras.Model, env: Any, seed: int) -> None:
    """Raises a `ValueError` unless `act`, `policy`, `predict`, `evaluate` and `unroll` of an agent give the same actions.

    Args:
        agent: A built agent.
        env: Environment returned by `make`, which is stepped a few times.
        seed: Integer.
    """
    name = type(agent).__name__
    rows, actions, rewards = _played(agent, agent.seen(env), seed)
    shown, inputs = _decoded(agent.observation_space, map(agent.observed, rows)), _decoded(agent.input_space, rows)
    policy = agent.policy(env.num_envs)
    chosen = [policy(row, reward=reward) for row, reward in zip(shown, rewards, strict=True)]
    for method, others in (("policy", chosen), ("predict", _predicted(agent, inputs))):
        _check_same(f"`{name}.{method}` must choose the actions that `act` chooses", actions, others)
    first_rewards = [float(reward[0]) for reward in rewards]
    probe = Replay(agent.observation_space, agent.action_space, [_first(row) for row in shown], first_rewards)
    agent.evaluate(probe, episodes=2, verbose=0)
    for number, episode in enumerate(probe.episodes[:2], 1):
        what = f"`{name}.evaluate` must choose the actions that `act` chooses, in episode {number} of the same observations"
        _check_same(what, [_first(action) for action in actions], episode)
    _check_resets(agent, rows, seed)


def _played(agent, env, seed):
    """The first observations of episodes, as graphs use them, actions, as the environment does, and the rewards before."""
    env_state, row = env.reset(tf.constant([seed, 0]))
    rows: list[Any] = []
    rewards: list[Any] = []
    state, actions = agent.initial_state(env.num_envs), []
    while len(rows) < STEPS and not np.any(row.is_last):
        is_first = tf.fill((env.num_envs,), not rows)
        action, _, state = agent.act(row.observation, is_first, state, tf.constant([seed, len(rows)]), True)
        rows.append(row.observation)
        rewards.append(row.reward.numpy())
        actions.append(keras.tree.map_structure(np.array, border.decode(agent.action_space, action)))
        env_state, row = env.step(env_state, action)
    return rows, actions, rewards


def _decoded(space, rows):
    """Observations as an environment returns them."""
    decoded = [border.decode(space, row, bounded=False) for row in rows]
    return [keras.tree.map_structure(np.array, row) for row in decoded]


def _predicted(agent, shown):
    """The actions of `predict` for whole sequences, as a list of steps."""
    sequences = tf.nest.map_structure(lambda *xs: np.stack(xs, 1), *shown)  # [B, T, ...]
    predicted = agent.predict(sequences, verbose=0, batch_size=len(keras.tree.flatten(sequences)[0]))
    return [keras.tree.map_structure(lambda x, t=t: x[:, t], predicted) for t in range(len(shown))]


def _first(nest):
    return keras.tree.map_structure(lambda x: x[0], nest)


def _check_resets(agent, rows, seed):
    """Raises a `ValueError` unless the recurrent state is reset where an episode starts, in single steps and in sequences."""
    name, batch = type(agent).__name__, keras.tree.flatten(rows[0])[0].shape[0]
    zero, key = agent.initial_state(batch), tf.constant([seed, 0])
    other = tf.nest.map_structure(lambda x: x + tf.cast(0.5, x.dtype), zero)
    first = tf.fill((batch,), True)
    _, record, state = agent.act(rows[0], first, zero, key, True)
    _, again, after = agent.act(rows[0], first, other, key, True)
    what = f"`{name}.act` must reset the recurrent state to zero where `is_first`"
    _check_same(what, [record["parameters"], state], [again["parameters"], after])
    starts, state, parameters = [True, *[t == len(rows) - 1 for t in range(1, len(rows))]], zero, []
    for row, start in zip(rows, starts, strict=True):
        _, record, state = agent.act(row, tf.fill((batch,), start), state, key, True)
        parameters.append(record["parameters"])
    is_first = tf.constant(starts)[:, None] & first[None]
    outputs, _ = agent.unroll(tf.nest.map_structure(lambda *xs: tf.stack(xs), *rows), is_first, other)
    stacked = [keras.tree.map_structure(lambda x, t=t: x[t], outputs["action"]) for t in range(len(rows))]
    _check_same(f"`{name}.act` must give the parameters that `unroll` gives for a sequence", stacked, parameters)


def _check_same(what, expected, received):
    """Raises a `ValueError` that begins with `what` unless two lists of nests, one for each step, are equal."""
    for step, (one, other) in enumerate(zip(expected, received, strict=True)):
        pairs = list(zip(keras.tree.flatten(one), keras.tree.flatten(other), strict=True))
        if not all(np.allclose(x, y, rtol=1e-3, atol=1e-4) for x, y in pairs):
            raise ValueError(
                f"{what}. Received: {[np.array(y).tolist() for _, y in pairs]} for {[np.array(x).tolist() for x, _ in pairs]} "
                f"in step {step}"
            )
