"""Proximal policy optimisation, feed-forward and recurrent: one `train_step` for both."""

import keras
import tensorflow as tf

from keras_rl_prob import networks, spaces
from keras_rl_prob.agents.agent import Agent
from keras_rl_prob.agents.arguments import check_fraction, check_positive_integer
from keras_rl_prob.agents.contract import has_memory
from keras_rl_prob.agents.on_policy import OnPolicySource
from keras_rl_prob.layers import RunningNormalization
from keras_rl_prob.ops.losses import clipped_surrogate, clipped_value_loss
from keras_rl_prob.ops.masking import masked_mean, masked_normalize


class EpisodeMean(keras.metrics.Mean):
    """Mean over episodes; NaN, not 0, while none has finished."""

    def result(self):
        """Total over count."""
        return self.total / self.count


@keras.saving.register_keras_serializable("keras_rl_prob")
class PPO(Agent):
    """Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347) with GAE(lambda).

    A rollout of `rollout_steps` rows from every environment is cut into sequences of `sequence_length`; `update_epochs`
    times over, the sequences are shuffled and dealt into `minibatches`, each of them one gradient step (one Keras step).
    The loss is the sum of the clipped surrogate, `value_coef` times the squared error of the value, minus `entropy_coef`
    times the entropy, the `kl_penalty` and the network's own regularisation losses, all means over environment steps. An
    episode cut off by a time limit bootstraps from the value of its final observation. Layers run in inference mode
    (dropout would make the behaviour policy a different one).

    Args:
        network: Functional model for one step: `{"action": nest of heads' outputs, "value": [B, 1]}`. `None` makes
            `krp.networks.feed_forward(env)`.
        rollout_steps: Rows collected from each environment before the updates.
        sequence_length: Steps through which the gradient of the memory flows; divides `rollout_steps`. `None` takes the
            longest that gives every minibatch its rows, the whole rollout as a rule; single steps for networks without
            memory.
        minibatches: Gradient steps in one pass over a rollout.
        update_epochs: Passes over a rollout.
        discount: Gamma.
        gae_lambda: Lambda of the advantages and of the value targets.
        clip_ratio: Epsilon of the clipped surrogate, or `None` for no clipping. A float or a Keras schedule over gradient
            steps.
        value_clip: How far the value may move from the old one without penalty, or `None`. A float or a schedule.
        value_coef: Weight of the value loss.
        entropy_coef: Weight of the entropy bonus. A float or a schedule.
        normalize_advantages: Whether advantages have mean 0 and standard deviation 1 in each minibatch.
        normalize_observations: Whether real-valued observations are normalised by running statistics.
        normalize_rewards: Whether rewards are divided by the running standard deviation of the discounted return.
        kl_penalty: A `KLPenalty`, or `None`.
        target_kl: When the mean KL(old || new) of a minibatch exceeds 1.5 times this, the rest of the updates on the
            rollout are skipped. `None` for never.
        name: Name of the model.

    Raises:
        ValueError: An argument is out of its range.

    Example:
    ```python
    agent = krp.PPO(entropy_coef=0.0)
    agent.compile(keras.optimizers.Adam(1e-3, epsilon=1e-5, global_clipnorm=0.5))
    agent.fit("CartPole-v1", epochs=5)
    ```
    """

    network_outputs = ("action", "value")
    default_has_memory = False

    def __init__(
        self,
        network=None,
        *,
        rollout_steps=128,
        sequence_length=None,
        minibatches=4,
        update_epochs=4,
        discount=0.99,
        gae_lambda=0.95,
        clip_ratio=0.2,
        value_clip=None,
        value_coef=0.5,
        entropy_coef=0.01,
        normalize_advantages=True,
        normalize_observations=False,
        normalize_rewards=True,
        kl_penalty=None,
        target_kl=None,
        name=None,
    ):
        super().__init__(network, normalize_observations=normalize_observations, name=name)
        for argument, value in (
            ("rollout_steps", rollout_steps),
            ("minibatches", minibatches),
            ("update_epochs", update_epochs),
        ):
            check_positive_integer(argument, value)
        check_fraction("discount", discount)
        check_fraction("gae_lambda", gae_lambda)
        self.rollout_steps, self.sequence_length = rollout_steps, sequence_length
        self.minibatches, self.update_epochs = minibatches, update_epochs
        self.discount, self.gae_lambda = discount, gae_lambda
        self.clip_ratio, self.value_clip = clip_ratio, value_clip
        self.value_coef, self.entropy_coef = value_coef, entropy_coef
        self.normalize_advantages, self.normalize_rewards = normalize_advantages, normalize_rewards
        self.kl_penalty, self.target_kl = kl_penalty, target_kl
        if sequence_length is not None:
            check_positive_integer("sequence_length", sequence_length)
            if rollout_steps % sequence_length:
                raise ValueError(
                    "`sequence_length` must divide `rollout_steps`. "
                    f"Received: sequence_length={sequence_length}, rollout_steps={rollout_steps}"
                )

    def get_config(self):
        """The constructor's arguments."""
        names = (
            "rollout_steps", "sequence_length", "minibatches", "update_epochs", "discount", "gae_lambda", "value_coef",
            "normalize_advantages", "normalize_rewards", "target_kl",
        )  # fmt: skip
        objects = ("clip_ratio", "value_clip", "entropy_coef", "kl_penalty")
        config = {name: getattr(self, name) for name in names}
        config |= {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in objects}
        return super().get_config() | config

    def default_network(self, observation_space, action_space):
        """`krp.networks.feed_forward`."""
        return networks.feed_forward((observation_space, action_space))

    def build(self, env):
        """Adds the reward statistics, KL beta and the metrics to what every agent has."""
        super().build(env)
        self.reward_normalizer = RunningNormalization(center=False)
        self.reward_normalizer.build((None,))
        initial_beta = self.kl_penalty.initial_beta if self.kl_penalty else 0.0
        self.kl_beta = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(initial_beta), trainable=False, name="kl_beta"
        )
        self._epoch_kl = self.add_weight(shape=(), initializer="zeros", trainable=False, name="epoch_kl")
        self._stopped = self.add_weight(shape=(), dtype="bool", initializer="zeros", trainable=False, name="stopped")
        self._episode_metrics = [EpisodeMean(name="return"), EpisodeMean(name="length")]
        names = ["loss", "policy_loss", "value_loss", "entropy", "kl", "clip_fraction", "explained_variance"]
        heads = spaces.leaf_names(self.action_space)
        self._head_names = heads if len(heads) > 1 else []  # the totals tell all of a single one
        names += [f"{quantity}_{head}" for quantity in ("entropy", "kl") for head in self._head_names]
        self._update_metrics = [keras.metrics.Mean(name=name) for name in names]

    @property
    def metrics(self):
        """Means over an epoch, episodes first."""
        return self._episode_metrics + self._update_metrics if self.built else []

    # ---- acting -----------------------------------------------------------------------------------------------

    def act(self, observation, is_first, state, seed, deterministic=False):
        """One step of the policy.

        Args:
            observation: Nest `[B, ...]`.
            is_first: bool `[B]`; where the recurrent state is zeroed before the step.
            state: Recurrent state, nest `[B, ...]`.
            seed: int32 `[2]`.
            deterministic: Whether to take the mode instead of a sample.

        Returns:
            `(action, record, state)`: the environment's action, what the update will need, the next recurrent state.
        """
        outputs, state = self._unrolled.step(self.normalize(observation), is_first, state)
        policy = self.distribution(outputs["action"])
        raw = policy.mode() if deterministic else policy.sample(seed)
        record = {"raw": raw, "parameters": outputs["action"], "value": outputs["value"][..., 0]}
        return self.environment_action(raw, outputs["action"]), record, state

    def value(self, observation, is_first, state):
        """Value `[B]` of observations, the recurrent state `state` being zeroed where `is_first`."""
        return self._unrolled.step(self.normalize(observation), is_first, state)[0]["value"][..., 0]

    def final_value(self, observation, state):
        """Value `[B]` of final observations, the recurrent state being that of before the reset."""
        return self.value(observation, tf.zeros(keras.tree.flatten(observation)[0].shape[:1], tf.bool), state)

    # ---- from rollouts to minibatches -------------------------------------------------------------------------

    def updates_per_rollout(self, num_envs):
        """`minibatches * update_epochs`, where the sequences of a rollout can be dealt evenly."""
        length = self._resolved_sequence_length(num_envs)
        rows = self.rollout_steps // length * num_envs
        if rows % self.minibatches:
            raise ValueError(
                f"`minibatches` must divide the sequences of a rollout, rollout_steps / sequence_length * num_envs = {rows}. "
                f"Received: minibatches={self.minibatches}, rollout_steps={self.rollout_steps}, sequence_length={length}, "
                f"num_envs={num_envs}"
            )
        return self.minibatches * self.update_epochs

    def make_source(self, env, seed):
        """Rollouts of `env` as minibatches."""
        return OnPolicySource(self, env, self._resolved_sequence_length(env.num_envs), seed)

    def _resolved_sequence_length(self, num_envs):
        if self.sequence_length is not None:
            return self.sequence_length
        if not (self.default_has_memory if self.network is None else has_memory(self.network)):
            return 1
        divisors = [n for n in range(1, self.rollout_steps + 1) if self.rollout_steps % n == 0]
        fitting = [n for n in divisors if self.rollout_steps // n * num_envs % self.minibatches == 0]
        return max(fitting, default=self.rollout_steps)

    # ---- learning ---------------------------------------------------------------------------------------------

    def train_step(self, data):
        """One gradient step on a `keras_rl_prob.agents.on_policy.Minibatch`."""
        with tf.GradientTape() as tape:
            loss, logs = self._loss(data)
        variables = self.network.trainable_variables
        gradients = tape.gradient(loss, variables)
        self._follow_failure(data, loss, gradients)
        self._follow_kl(data.index, logs["kl"])
        tf.cond(
            tf.equal(self.failure, 0) & ~self._stopped,
            lambda: self.optimizer.apply(gradients, variables),
            lambda: None,
        )
        return self._update_logs(data, {"loss": loss, **logs})

    def _loss(self, data):
        """The loss of a minibatch and a dict of its parts, scalars."""
        outputs, _ = self._unrolled(data.observation, data.is_first, data.state)
        policy, behaviour = self.distribution(outputs["action"]), self.distribution(data.parameters)
        log_ratio = policy.log_prob(data.raw) - data.log_prob
        kls = [masked_mean(kl, data.valid) for kl in behaviour.kl_divergences(policy)]
        entropies = [masked_mean(entropy, data.valid) for entropy in policy.entropies()]
        kl, entropy = tf.add_n(kls), tf.add_n(entropies)
        advantage = masked_normalize(data.advantage, data.valid) if self.normalize_advantages else data.advantage
        clip_ratio = self._current(self.clip_ratio)
        policy_loss = -masked_mean(clipped_surrogate(log_ratio, advantage, clip_ratio), data.valid)
        squared_error = clipped_value_loss(
            outputs["value"][..., 0], data.value, data.target, self._current(self.value_clip)
        )
        value_loss = masked_mean(squared_error, data.valid)
        loss = policy_loss + self.value_coef * value_loss - self._current(self.entropy_coef) * entropy
        if self.kl_penalty is not None:
            loss += self.kl_penalty.loss(kl, self.kl_beta)
        if self.network.losses:
            loss += tf.add_n(self.network.losses)
        clipped = 0.0 if clip_ratio is None else tf.cast(tf.abs(tf.exp(log_ratio) - 1.0) > clip_ratio, tf.float32)
        return loss, {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": entropy,
            "kl": kl,
            "clip_fraction": masked_mean(clipped * tf.ones_like(log_ratio), data.valid),
            **{f"entropy_{head}": part for head, part in zip(self._head_names, entropies, strict=False)},
            **{f"kl_{head}": part for head, part in zip(self._head_names, kls, strict=False)},
        }

    def _current(self, coefficient):
        """A coefficient's value at this gradient step."""
        if isinstance(coefficient, keras.optimizers.schedules.LearningRateSchedule):
            return coefficient(self.optimizer.iterations)
        return coefficient

    def _follow_failure(self, data, loss, gradients):
        """Remembers what was not finite first: an observation (1), a reward (2), the loss or its gradient (3)."""
        finite = tf.math.is_finite(loss) & tf.math.is_finite(tf.linalg.global_norm(gradients))
        found = tf.where(
            data.report["failure"] > 0.0, tf.cast(data.report["failure"], tf.int32), tf.where(finite, 0, 3)
        )
        self.failure.assign(tf.where(tf.equal(self.failure, 0), found, self.failure))

    def _follow_kl(self, index, kl):
        """Stops the updates on this rollout at `target_kl`; adapts beta after the last of them."""
        if self.target_kl is not None:
            self._stopped.assign((self._stopped & (index > 0)) | (kl > 1.5 * self.target_kl))
        if self.kl_penalty is not None:
            last_epoch = self.minibatches * (self.update_epochs - 1)
            self._epoch_kl.assign(tf.where(index <= last_epoch, 0.0, self._epoch_kl) + kl / self.minibatches)
            adapted = self.kl_penalty.adapted(self.kl_beta, self._epoch_kl)
            done = tf.equal(index, self.minibatches * self.update_epochs - 1)
            self.kl_beta.assign(tf.where(done, adapted, self.kl_beta))

    def _update_logs(self, data, logs):
        """Brings the metrics up to date; what describes the whole rollout counts once, with its first update."""
        first = tf.cast(tf.equal(data.index, 0), tf.float32)
        episodes = data.report["episodes"]
        for metric in self._episode_metrics:
            metric.update_state(
                tf.math.divide_no_nan(data.report[metric.name], episodes), sample_weight=first * episodes
            )
        for metric in self._update_metrics:
            if metric.name in logs:
                metric.update_state(logs[metric.name])
            else:
                metric.update_state(data.report[metric.name], sample_weight=first)
        return {
            **{metric.name: metric.result() for metric in self.metrics},
            "env_steps": tf.convert_to_tensor(self.env_steps),
        }
