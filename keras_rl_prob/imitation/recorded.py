"""`Recorded`: recorded episodes that an agent with a replay buffer learns from alone."""

from collections.abc import Iterable
from typing import Any

import keras

from keras_rl_prob.agents.replaying import ReplayingModel
from keras_rl_prob.envs.factory import BatchEnv
from keras_rl_prob.replay.episodes import checked_episodes
from keras_rl_prob.sources import RolloutSource


class Recorded:
    """Collectors for `fit(collectors=...)` that collect nothing: an agent learns from recorded episodes alone (offline).

    The replay buffer has the episodes and does not change; each `updates` gradient steps draw from it. `env` of `fit` gives the
    spaces, and is never stepped; `validation_data` is. There are no `return` and `length`, and `env_steps` does not grow. The
    statistics of normalised observations are those of the episodes.

    Nothing tells the agent what it would get for actions that nobody recorded. `DQN`, `SAC` and `TD3` overestimate some of
    these, and are not corrected as they would be by acting, so that the learned policy may be far worse than the recorded one.
    It helps to have recordings of many different actions, such as those of an agent while it learned;
    `BehaviorCloning` is the safer choice for recordings of an expert.

    Args:
        episodes: What `add_experience` of agents with a replay buffer takes: `Episode`s, or objects or dicts with their
            fields, or a data set of Minari or its name.

    Raises:
        TypeError: `episodes` are none.
        ValueError: In `fit`: the agent has no replay buffer, the buffer is too small for the episodes, there are too few of
            them or they have other spaces, or the run is given by `env_steps`.

    References:
        Levine et al., "Offline reinforcement learning", 2020, https://arxiv.org/abs/2005.01643, section 4.2.

    Example:
    ```python
    env = gymnasium.make("Pendulum-v1")
    episodes = krp.envs.record_episodes(env, lambda observation: env.action_space.sample(), episodes=20)
    agent = krp.SAC(discount=0.95)
    agent.compile()
    agent.fit("Pendulum-v1", epochs=5, validation_data="Pendulum-v1", collectors=krp.imitation.Recorded(episodes))
    ```
    """

    makes_env_steps = False

    def __init__(self, episodes: Iterable[Any]) -> None:
        self.episodes = checked_episodes(episodes)

    def make_source(self, agent: keras.Model, env: BatchEnv, seed: int) -> RolloutSource:
        """The agent's own source, with the episodes and without further rollouts; see `Collectors`."""
        if not isinstance(agent, ReplayingModel):
            raise ValueError(
                "`collectors=Recorded(...)` needs an agent with a replay buffer, such as `krp.DQN` or `krp.SAC`. "
                f"`krp.imitation.BehaviorCloning` takes any policy. Received: a {type(agent).__name__}"
            )
        if agent.experience:
            raise ValueError(
                "`collectors=Recorded(...)` must have all episodes to learn from. Received: an agent with "
                f"{len(agent.experience)} others from `add_experience`"
            )
        source: Any = agent.make_source(env, seed)
        source.learn_from(self.episodes)
        return source
