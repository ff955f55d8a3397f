"""From rollouts to minibatches, for agents that learn from what they have just done."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_rl_prob.drivers import Driver, EpisodeStatistics, rollout_source
from keras_rl_prob.layers import RunningNormalization
from keras_rl_prob.ops.masking import explained_variance
from keras_rl_prob.ops.returns import gae, running_sums


class Minibatch(NamedTuple):
    """Data of one gradient step: `R` sequences of `L` steps.

    Attributes:
        observation: Nest `[L, R, ...]` as the network takes it.
        is_first: bool `[L, R]`.
        raw: Nest `[L, R, ...]` of the actions as sampled, before squashing and clipping.
        parameters: Nest `[L, R, ...]` of the behaviour policy's parameters.
        log_prob, value, advantage, target: float32 `[L, R]`; the first two of the behaviour policy.
        valid: float32 `[L, R]`; 0 for rows that are no environment steps.
        state: Nest `[R, ...]`; recurrent state before the first step.
        index: int32 scalar; how many updates on this rollout came before.
        report: Dict of float32 scalars that describe the rollout.
    """

    observation: Any
    is_first: tf.Tensor
    raw: Any
    parameters: Any
    log_prob: tf.Tensor
    value: tf.Tensor
    advantage: tf.Tensor
    target: tf.Tensor
    valid: tf.Tensor
    state: Any
    index: tf.Tensor
    report: dict


class OnPolicySource:
    """Collects rollouts, computes advantages and value targets, and deals sequences into minibatches.

    Observations are normalised by the statistics that the rollout was collected with, which are then updated; rewards by
    statistics that include the rollout.

    Args:
        agent: A built agent with `discount`, `gae_lambda`, `rollout_steps`, `minibatches`, `update_epochs`, and values under
            `"value"` in the records and in the network's outputs.
        env: A native or Gymnasium environment.
        sequence_length: Steps in a sequence; divides `rollout_steps`.
        seed: Integer that determines resets, actions and shuffles.
    """

    def __init__(self, agent, env, sequence_length, seed):
        self._agent, self._sequence_length = agent, sequence_length
        self._driver = Driver(
            agent,
            env,
            steps=agent.rollout_steps,
            sequence_length=sequence_length,
            seed=seed,
            jit_compile=agent.jit_compile,
        )
        self._statistics = EpisodeStatistics(env.num_envs)
        self._discounted_return = tf.Variable(tf.zeros((env.num_envs,)), trainable=False, name="discounted_return")
        self._shuffle_seed = tf.Variable(tf.constant([seed, 0], tf.int32), trainable=False, name="shuffle_seed")
        self._follows_episodes = env.compilable  # else an episode's state is not worth storing, for the episode is lost
        self._last = self._zeros_for_a_rollout(env.num_envs)

    @property
    def variables(self):
        """Everything besides the agent that the next minibatch depends on, as far as it can be stored."""
        episodes = [*self._statistics.variables, self._discounted_return] if self._follows_episodes else []
        return [*self._driver.variables, *episodes, self._shuffle_seed]

    @property
    def rollouts(self):
        """How many rollouts have been collected."""
        return int(self._shuffle_seed[1].numpy())

    def last_rollout(self):
        """What the last rollout was like: a dict of nests of arrays `[T, B, ...]`, see `Agent.last_rollout`."""
        kept = tf.nest.map_structure(lambda variable: variable.read_value(), self._last)
        action = self._agent.environment_action(kept.pop("raw"), kept["parameters"])
        return tf.nest.map_structure(lambda x: x.numpy(), kept | {"action": action})

    def dataset(self):
        """A `tf.data.Dataset` of `Minibatch`es without end."""
        prepare = tf.function(self._prepare, jit_compile=self._agent.jit_compile, autograph=False)
        return rollout_source(self._driver.collect, prepare, self._minibatches)

    def _prepare(self, rollout):
        """The rows of a rollout as sequences `[L, sequences, ...]`, their initial states, and a report on the rollout."""
        agent, valid, value = self._agent, tf.cast(rollout.valid, tf.float32), rollout.record["value"]
        agent.env_steps.assign_add(tf.reduce_sum(tf.cast(rollout.valid, tf.int64)))
        report = self._statistics.update(rollout.reward, rollout.valid, rollout.ended)
        report["failure"] = _failure(rollout)
        healthy = tf.equal(report["failure"], 0.0)
        observation = agent.normalize(rollout.observation)
        for layer, x in zip(agent.observation_normalizers, keras.tree.flatten(rollout.observation), strict=False):
            if isinstance(layer, RunningNormalization):
                layer.update(x, rollout.valid & healthy)
        continues = 1.0 - tf.cast(rollout.ended, tf.float32)
        advantage = valid * gae(
            self._scaled_reward(rollout, continues, healthy),
            agent.discount * rollout.discount,
            value,
            self._next_value(rollout),
            continues,
            agent.gae_lambda,
        )
        target = advantage + value
        report["explained_variance"] = explained_variance(value, target, valid)
        raw, parameters = tf.nest.map_structure(  # a sample of NaN parameters may be no legal action at all
            lambda x: tf.where(healthy, x, tf.zeros_like(x)), (rollout.record["raw"], rollout.record["parameters"])
        )
        log_prob = agent.distribution(parameters).log_prob(raw)
        kept = (raw, parameters, log_prob, value, advantage, target, rollout.valid)
        tf.nest.map_structure(lambda variable, x: variable.assign(x), tuple(self._last.values()), kept)
        rows = (observation, rollout.is_first, raw, parameters, log_prob, value, advantage, target, valid)
        sequences = tf.nest.map_structure(self._as_sequences, rows)
        return sequences, tf.nest.map_structure(lambda x: tf.reshape(x, (-1, *x.shape[2:])), rollout.state), report

    def _zeros_for_a_rollout(self, num_envs):
        """Dict of nests of variables `[T, B, ...]` for what `last_rollout` returns."""
        scalar, specs = tf.TensorSpec((num_envs,), tf.float32), self._driver.record_specs
        kept = {"raw": specs["raw"], "parameters": specs["parameters"]}
        kept |= dict.fromkeys(("log_prob", "value", "advantage", "target"), scalar)
        kept["valid"] = tf.TensorSpec((num_envs,), tf.bool)
        return {
            name: tf.nest.map_structure(
                lambda spec: tf.Variable(
                    tf.zeros((self._agent.rollout_steps, *spec.shape), spec.dtype), trainable=False
                ),
                nest,
            )
            for name, nest in kept.items()
        }

    def _scaled_reward(self, rollout, continues, healthy):
        """Rewards divided by the running standard deviation of the discounted return, if so configured."""
        agent = self._agent
        if not agent.normalize_rewards:
            return rollout.reward
        carries = agent.discount * continues
        returns = running_sums(rollout.reward, carries, self._discounted_return.read_value())
        self._discounted_return.assign(tf.where(healthy, returns[-1] * carries[-1], 0.0))
        agent.reward_normalizer.update(returns, rollout.valid & healthy)
        return agent.reward_normalizer(rollout.reward)

    def _next_value(self, rollout):
        """float32 `[T, B]`: the value of what each row's action led to, a final observation included."""
        after = self._agent.value(rollout.next_step.observation, rollout.next_step.is_first, rollout.next_state)
        next_value = tf.concat([rollout.record["value"][1:], after[None]], 0)
        if isinstance(rollout.final_value, tuple):
            return next_value
        return tf.where(rollout.ended, rollout.final_value, next_value)

    def _as_sequences(self, x):
        """`[T, B, ...]` as `[L, T / L * B, ...]`."""
        chunks = tf.reshape(x, (-1, self._sequence_length, *x.shape[1:]))  # [T / L, L, B, ...]
        order = [1, 0, *range(2, len(chunks.shape))]
        return tf.reshape(tf.transpose(chunks, order), (self._sequence_length, -1, *x.shape[2:]))

    def _minibatches(self, sequences, state, report):
        """`minibatches * update_epochs` elements; each pass over the sequences in a new order."""
        count, agent = sequences[1].shape[1], self._agent
        seed = self._shuffle_seed.assign_add([0, 1])
        orders = [
            tf.random.experimental.stateless_shuffle(tf.range(count), seed=seed + [epoch + 1, 0])
            for epoch in range(agent.update_epochs)
        ]
        rows = tf.reshape(tf.concat(orders, 0), (-1, count // agent.minibatches))

        @tf.autograph.experimental.do_not_convert
        def pick(index):
            picked = tf.nest.map_structure(lambda x: tf.gather(x, rows[index], axis=1), sequences)
            states = tf.nest.map_structure(lambda x: tf.gather(x, rows[index]), state)
            return Minibatch(*picked, states, tf.cast(index, tf.int32), report)

        return tf.data.Dataset.range(rows.shape[0]).map(pick)


def _failure(rollout):
    """float32 scalar: 1 where an observation of the rollout is not finite, 2 where a reward is not, 0 else."""
    real = [x for x in keras.tree.flatten(rollout.observation) if x.dtype.is_floating]
    finite = tf.reduce_all([True, *(tf.reduce_all(tf.math.is_finite(x)) for x in real)])
    reward_finite = tf.reduce_all(tf.math.is_finite(rollout.reward))
    return tf.where(finite, tf.where(reward_finite, 0.0, 2.0), 1.0)
