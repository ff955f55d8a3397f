"""Twin delayed deep deterministic policy gradient with memory."""

import keras

from keras_rl_prob import networks
from keras_rl_prob.agents.actor_critic.critics import encoder_of
from keras_rl_prob.agents.actor_critic.recurrent import RecurrentActorCritic
from keras_rl_prob.agents.actor_critic.td3 import TD3
from keras_rl_prob.envs.factory import EnvOrSpaces


@keras.saving.register_keras_serializable("keras_rl_prob")
class RecurrentTD3(RecurrentActorCritic, TD3):
    """`TD3` for networks with memory, from sequences in a replay buffer.

    Policy and critics have memories of their own, and the losses of `TD3` are those of the rows of sequences, see
    `krp.RecurrentSAC`.

    Args:
        network: As in `TD3`, with a `StatefulRNN`. `None` makes
            `krp.networks.deterministic_actor(env, (128, 128), cell="lstm")`.
        critic: As in `TD3`, with a `StatefulRNN` before the action joins. `None` makes
            `krp.networks.critic(env, (128, 128), cell="lstm")`.
        rollout_steps: As in `TD3`; a multiple of the replay's `period`.
        updates: As in `TD3`.
        replay: A `SequenceReplaySettings`.
        previous_action_and_reward: Whether the networks also see the action and the reward before each observation, see
            `krp.envs.with_previous_step`.
        **kwargs: The other arguments of `TD3`.

    Raises:
        ValueError: An argument is out of its range, or does not fit a network or the environment.

    References:
        Heess et al., "Memory-based control with recurrent neural networks", 2015, https://arxiv.org/abs/1512.04455; Ni et al.,
        2022, https://arxiv.org/abs/2110.05038.

    Example:
    ```python
    agent = krp.RecurrentTD3(discount=0.95)
    agent.compile()
    agent.fit("tf/PendulumNoVel-v1", epochs=5)
    ```
    """

    without_memory = "TD3"

    def default_network(self, env: EnvOrSpaces) -> keras.Model:
        """`krp.networks.deterministic_actor` with an LSTM."""
        return networks.deterministic_actor(env, (128, 128), cell="lstm", encoder=encoder_of(self.critic))
