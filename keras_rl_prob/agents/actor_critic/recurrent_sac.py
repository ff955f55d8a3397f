"""Soft actor-critic with memory."""

import keras

from keras_rl_prob import networks
from keras_rl_prob.agents.actor_critic.critics import encoder_of
from keras_rl_prob.agents.actor_critic.recurrent import RecurrentActorCritic
from keras_rl_prob.agents.actor_critic.sac import SAC
from keras_rl_prob.envs.factory import EnvOrSpaces


@keras.saving.register_keras_serializable("keras_rl_prob")
class RecurrentSAC(RecurrentActorCritic, SAC):
    """`SAC` for networks with memory, from sequences in a replay buffer.

    Policy and critics have memories of their own, and the losses of `SAC` are those of the rows of sequences, whose first rows
    (the burn-in) only update the memories. The policy's memory starts from the state that was stored when the sequence was
    collected, that of the critics from zeros. Sequences may span episodes, since the state is reset where an episode starts.

    Args:
        network: As in `SAC`, with a `StatefulRNN`. `None` makes `krp.networks.stochastic_actor(env, (128, 128), "lstm")`.
        critic: As in `SAC`, with a `StatefulRNN` before the action joins. `None` makes
            `krp.networks.critic(env, (128, 128), cell="lstm")`.
        rollout_steps: As in `SAC`; a multiple of the replay's `period`.
        updates: As in `SAC`.
        replay: A `SequenceReplaySettings`.
        previous_action_and_reward: Whether the networks also see the action and the reward before each observation, see
            `krp.envs.with_previous_step`.
        **kwargs: The other arguments of `SAC`.

    Raises:
        ValueError: An argument is out of its range, or does not fit a network or the environment.

    References:
        Kapturowski et al., "Recurrent experience replay in distributed reinforcement learning", 2019,
        https://openreview.net/forum?id=r1lyTjAqYX; Ni et al., "Recurrent model-free RL can be a strong baseline for many
        POMDPs", 2022, https://arxiv.org/abs/2110.05038.

    Example:
    ```python
    agent = krp.RecurrentSAC(discount=0.95)
    agent.compile()
    agent.fit("tf/PendulumNoVel-v1", epochs=5)
    ```
    """

    without_memory = "SAC"

    def default_network(self, env: EnvOrSpaces) -> keras.Model:
        """`krp.networks.stochastic_actor` with an LSTM."""
        return networks.stochastic_actor(env, (128, 128), "lstm", encoder=encoder_of(self.critic))
