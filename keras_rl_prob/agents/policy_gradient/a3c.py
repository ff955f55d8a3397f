"""Asynchronous advantage actor-critic."""

import keras

from keras_rl_prob.agents.policy_gradient.a2c import A2C


@keras.saving.register_keras_serializable("keras_rl_prob")
class A3C(A2C):
    """`A2C` with asynchronous collectors, each of which computes the gradient of its rollouts and sends that.

    A collector copies the weights `theta` of the learner, collects a rollout with them, and computes

        g(theta) = d/dtheta mean[-log pi(a) A + value_coef (G - V)^2 - entropy_coef H],

    the loss of `A2C`, where `A = G - V` and `G` is the n-step return. The learner takes gradient steps in the order in which
    gradients arrive. By then its weights `theta'` are some steps ahead of `theta`:

        theta' <- optimizer(theta', g(theta)).

    `policy_lag` in History is the mean number of these steps. There is no correction: with more of them the agent learns worse,
    and gradients more than `max_policy_lag` steps old are dropped (`krp.distributed.RayCollectors`). Each collector also sends
    the moments of its rollouts, by which the learner updates the statistics of its normalisers.

    Without collectors there is one worker, the agent itself, without delay: A3C is then A2C, bit by bit. Use `A2C`, which waits
    for all environments before each step, unless that wait is long: it makes better use of a CPU or a GPU, and its runs are
    reproducible. `IMPALA` corrects for the age of rollouts; A3C leaves less work to the learner, and less network if a rollout
    is larger than the weights.

    Args:
        network: Functional model for one step: `{"action": nest of heads' outputs, "value": [B, 1]}`. `None` makes
            `krp.networks.feed_forward(env)`.
        rollout_steps: Rows collected from each environment before an update.
        discount: Gamma.
        gae_lambda: Lambda of the advantages and of the value targets.
        value_coef: Weight of the value loss.
        entropy_coef: Weight of the entropy bonus. A float or a Keras schedule over gradient steps.
        normalize_advantages: Whether advantages have mean 0 and standard deviation 1 in each rollout.
        normalize_observations: Whether observations are normalised by running statistics.
        normalize_rewards: Whether rewards are divided by the running standard deviation of the discounted return.
        name: Name of the model.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Mnih et al., "Asynchronous methods for deep reinforcement learning", 2016, https://arxiv.org/abs/1602.01783, algorithm
        S3. There, threads share the weights; here a learner keeps them, and the statistics of its optimizer, as in the paper's
        shared RMSprop.

    Example:
    ```python
    agent = krp.A3C()
    agent.compile()
    agent.fit("CartPole-v1", epochs=2, collectors=2)
    ```
    """

    collecting = "asynchronous"
    sends_gradients = True
