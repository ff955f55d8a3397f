"""PPO whose default network has memory."""

from typing import Any

import keras

from keras_rl_prob import checks, networks
from keras_rl_prob.agents.policy_gradient.ppo import PPO
from keras_rl_prob.envs.factory import EnvOrSpaces


@keras.saving.register_keras_serializable("keras_rl_prob")
class RecurrentPPO(PPO):
    """`PPO` with memory: its default network is `krp.networks.recurrent(env)`.

    The recurrent state at the start of every sequence is stored with the rollout, and reset where an episode starts. The
    gradient flows back through `sequence_length` steps (`Minibatches`), by default the whole rollout.

    Args:
        network: As in `PPO`; `None` makes `krp.networks.recurrent(env)`.
        previous_action_and_reward: Whether the network also sees the action and the reward before each observation, see
            `krp.envs.with_previous_step`.
        **kwargs: The other arguments of `PPO`.

    Raises:
        ValueError: An argument is out of its range.

    Example:
    ```python
    agent = krp.RecurrentPPO()
    agent.compile()
    agent.fit("krp/CartPoleNoVel-v1", epochs=10, validation_data="krp/CartPoleNoVel-v1")
    ```
    """

    default_has_memory = True

    def __init__(
        self, network: keras.Model | None = None, *, previous_action_and_reward: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(network, **kwargs)
        self.previous_action_and_reward = checks.flag("previous_action_and_reward", previous_action_and_reward)

    def default_network(self, env: EnvOrSpaces) -> keras.Model:
        """`krp.networks.recurrent`: an LSTM of 64 units each for policy and value."""
        return networks.recurrent(env)
