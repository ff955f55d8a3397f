"""PPO whose default network has memory."""

import keras

from keras_rl_prob import networks
from keras_rl_prob.agents.policy_gradient.ppo import PPO
from keras_rl_prob.envs.factory import EnvOrSpaces


@keras.saving.register_keras_serializable("keras_rl_prob")
class RecurrentPPO(PPO):
    """`PPO` with memory: the default network is `krp.networks.recurrent(env)`, all else is the same.

    The recurrent state is stored with the rollout at the start of every sequence and zeroed where an episode starts; the
    gradient flows through `sequence_length` steps, the whole rollout by default.

    Example:
    ```python
    agent = krp.RecurrentPPO()
    agent.compile()
    agent.fit("krp/CartPoleNoVel-v1", epochs=10, validation_data="krp/CartPoleNoVel-v1")
    ```
    """

    default_has_memory = True

    def default_network(self, env: EnvOrSpaces) -> keras.Model:
        """`krp.networks.recurrent` with an LSTM of 64 units."""
        return networks.recurrent(env)
