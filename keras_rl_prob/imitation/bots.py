"""`Bots`: scripts and other agents that play some of the environments while an agent learns from all of them."""

import operator
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_rl_prob import border, checks, masks, spaces
from keras_rl_prob.agents import Agent, Policy
from keras_rl_prob.agents.network_checks import check_same_spaces
from keras_rl_prob.drivers import Driver, Rollout
from keras_rl_prob.envs.factory import BatchEnv
from keras_rl_prob.python_calls import call
from keras_rl_prob.replay.episodes import check_range
from keras_rl_prob.sources import RolloutSource
from keras_rl_prob.types import Nest


class Bots:
    """Collectors for `fit(collectors=...)`: a bot plays some of the environments, the agent the others, and it learns from all.

    Only agents with a replay buffer can learn from the actions of others: `DQN` and its kind, `SAC` and `TD3`, those with
    memory, and `ACER`, for which a bot takes its actions with probability 1. What both do is in the buffer and is drawn alike.
    `return` and `length` are those of the agent's own episodes,
    `env_steps` are those of all environments.

    Args:
        policy: The bot: a callable from an observation to an action, as for `krp.envs.record_episodes`, which must not remember
            earlier observations; or a built agent, which plays deterministically and may have memory.
        envs: Number of environments that it plays, the first ones; at most `num_envs` of `fit`. Where an action mask forbids an
            action of a callable, the agent's own is taken.

    Raises:
        TypeError: `policy` is neither.
        ValueError: `envs` is no positive integer. In `fit`: the agent has no replay buffer, there are fewer environments, or an
            agent has other spaces.

    Example:
    ```python
    bot = lambda observation: int(observation[2] + observation[3] > 0)
    agent = krp.DQN()
    agent.compile()
    agent.fit("CartPole-v1", epochs=10, num_envs=8, collectors=krp.imitation.Bots(bot, envs=2))
    ```
    """

    def __init__(self, policy: Callable[[Any], Any] | Agent, envs: int = 1) -> None:
        if isinstance(policy, Policy):
            raise TypeError(
                "`policy` must be the agent itself in place of its `policy()`, which can play only one environment. Received: "
                f"policy={policy!r}"
            )
        if not callable(policy):
            raise TypeError(
                "`policy` must be a callable from an observation to an action, or a built agent. "
                f"Received: policy={policy!r}"
            )
        if isinstance(policy, Agent) and not policy.built:
            raise ValueError(
                f"`policy` must be a built agent: call `fit(env)` or `build(env)` first. Received: policy={policy!r}"
            )
        self.policy, self.envs = policy, checks.integer("envs", envs)

    def make_source(self, agent: keras.Model, env: BatchEnv, seed: int) -> RolloutSource:
        """The agent's own source, in which the bot plays some of the environments; see `Collectors`."""
        if type(agent).record_of_others is Agent.record_of_others:
            raise ValueError(
                "`collectors=Bots(...)` needs an agent with a replay buffer, which can learn from the actions of others: "
                f"`krp.DQN`, `krp.RecurrentDQN`, `krp.SAC`, `krp.TD3` or `krp.ACER`. Received: a {type(agent).__name__}"
            )
        if self.envs > env.num_envs:
            raise ValueError(
                f"`envs` of Bots must be at most the number of environments. Received: envs={self.envs}, "
                f"num_envs={env.num_envs}"
            )
        if isinstance(self.policy, Agent):
            try:
                check_same_spaces(self.policy, agent)
            except ValueError as error:
                raise ValueError(f"`policy` of Bots must have the spaces of the agent that learns. {error}") from None
            if self.policy.previous_action_and_reward and not agent.previous_action_and_reward:
                raise ValueError(
                    "`policy` of Bots must not see the previous action and reward unless the agent does. Received: "
                    f"policy={self.policy!r}"
                )
        played: Any = _EnvWithBots(env, self)
        return agent.make_source(played, seed)


class _EnvWithBots:
    """Environments, some of which the drivers of an agent let a bot play."""

    def __init__(self, env: Any, bots: Bots) -> None:
        self._env, self._bots = env, bots

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def make_driver(self, agent: Agent, kind: type[Driver], **settings: Any) -> Any:
        """See `keras_rl_prob.drivers.make_driver`."""
        actor = _ActorWithBots(agent, self._bots)
        if not isinstance(self._bots.policy, Agent):
            settings["jit_compile"] = False  # XLA cannot call Python
        return _DriverWithBots(kind(actor, self._env, **settings), self._bots.envs)


class _DriverWithBots:
    """A driver of an `_ActorWithBots`, whose rollouts have only the recurrent state of the agent."""

    def __init__(self, driver: Driver, others: int) -> None:
        self._driver, self.others = driver, others

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def collect(self) -> Rollout:
        """See `Driver.collect`."""
        rollout = self._driver.collect()
        return rollout._replace(state=rollout.state[0], next_state=rollout.next_state[0])


class _ActorWithBots:
    """An agent and, in the first `bots.envs` environments, a bot; the recurrent state is a pair of theirs."""

    def __init__(self, agent: Agent, bots: Bots) -> None:
        self._agent, self._bots = agent, bots
        self._places: Any = masks.places(agent.observation_space, agent.action_space)
        self._codecs = border.Codec(agent.observation_space), border.Codec(agent.action_space)

    def initial_state(self, batch_size: int) -> Nest:
        bot = self._bots.policy
        return self._agent.initial_state(batch_size), bot.initial_state(self._bots.envs) if isinstance(
            bot, Agent
        ) else ()

    def act(
        self, observation: Nest, is_first: tf.Tensor, state: Nest, seed: tf.Tensor, deterministic: bool = False
    ) -> tuple[Nest, Nest, Nest]:
        agent, bot, count = self._agent, self._bots.policy, self._bots.envs
        _, record, own = agent.act(observation, is_first, state[0], seed, deterministic)
        first = tf.nest.map_structure(lambda x: x[:count], (observation, record["raw"]))
        others: Any = ()
        if isinstance(bot, Agent):
            seen = first[0] if bot.previous_action_and_reward else agent.observed(first[0])
            action, _, others = bot.act(seen, is_first[:count], state[1], seed + [7, 0], deterministic=True)
        else:
            action = self._asked(agent.observed(first[0]), agent.environment_action(first[1]))
        raw = tf.nest.map_structure(lambda x, y: tf.cast(x, y.dtype), agent.raw_action(action), first[1])
        theirs: Any = agent.record_of_others(raw)
        both = tf.nest.map_structure(
            lambda x, y: tf.concat([x, y[count:]], 0), theirs, {name: record[name] for name in theirs}
        )
        return agent.environment_action(both["raw"]), {**record, **both}, (own, others)

    def final_value(self, observation: Nest, state: Nest) -> Nest:
        return self._agent.final_value(observation, state[0])

    def _asked(self, observation, action):
        """Actions of a callable for observations, nests `[envs, ...]`; `action` where a mask forbids them."""
        flat, specs = tf.nest.flatten(observation), tf.nest.flatten(action)
        space = self._agent.action_space

        def ask(*arrays):
            seen, own = arrays[: len(flat)], arrays[len(flat) :]
            batch, seen_space = self._codecs[0].decode(seen), self._agent.observation_space
            chosen = [
                self._bots.policy(spaces.map_values(operator.itemgetter(row), seen_space, batch))
                for row in range(self._bots.envs)
            ]
            wrong = next(filter(None, (border.misfit(space, x, what="The action of a bot") for x in chosen)), None)
            if wrong:
                raise ValueError(wrong)
            encoded = self._codecs[1].encode(spaces.stack(space, chosen))
            check_range("The action of a bot", space, encoded)
            forbidden = np.zeros(self._bots.envs, bool)
            for place in self._places:
                refused = masks.forbidden(place.leaf, seen[place.index], encoded[place.action])
                forbidden |= refused.reshape(self._bots.envs, -1).any(-1)
            return [
                np.where(forbidden.reshape(-1, *[1] * (x.ndim - 1)), y, x) for x, y in zip(encoded, own, strict=True)
            ]

        asked = call(ask, [*flat, *specs], [x.dtype for x in specs])
        asked = [tf.ensure_shape(x, spec.shape) for x, spec in zip(asked, specs, strict=True)]
        return tf.nest.pack_sequence_as(action, asked)
