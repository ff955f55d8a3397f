"""PPO whose default network has memory."""

import keras

from keras_rl_prob import networks
from keras_rl_prob.agents.policy_gradient.ppo import PPO
from keras_rl_prob.envs.factory import EnvOrSpaces


@keras.saving.register_keras_serializable("keras_rl_prob")
class RecurrentPPO(PPO):
    """`PPO` with memory: its default network is `krp.networks.recurrent(env)`.

    The recurrent state at the start of every sequence is stored with the rollout, and reset where an episode starts. The
    gradient flows back through `sequence_length` steps (`Minibatches`), by default the whole rollout.

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
