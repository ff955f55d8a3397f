"""Gradients that collectors compute: how they do, and how the learner takes them."""

from typing import Any

import keras
import tensorflow as tf

from keras_rl_prob.drivers import make_driver
from keras_rl_prob.envs.factory import BatchEnv
from keras_rl_prob.layers import RunningNormalization
from keras_rl_prob.learning import failures
from keras_rl_prob.learning.gradients import Gradient
from keras_rl_prob.sources import RolloutSource


class GradientDriver:
    """Collects rollouts as an agent does itself, and computes their gradients; the agent is not changed.

    Args:
        agent: A built agent whose parts and gradient steps are as for `GradientSource`; it is compiled here.
        env: A native or Gymnasium environment.
        steps: Rows in a rollout.
        seed: Integer that determines everything random.
        optimizer: Config of the learner's optimizer, of which only scalars are used here: the number of gradient steps that
            schedules depend on, and the scale of the loss.
        jit_compile: Whether to compile with XLA.
    """

    def __init__(
        self, agent: keras.Model, env: BatchEnv, *, steps: int, seed: int, optimizer: dict[str, Any], jit_compile: bool
    ) -> None:
        agent.compile(keras.saving.deserialize_keras_object(optimizer), jit_compile=jit_compile)
        agent.jit_compile = jit_compile
        self._agent, self._source, self.steps = agent, agent.make_source(env, seed), steps
        self._gradient = tf.function(self._gradient_of, jit_compile=jit_compile, autograph=False)

    @staticmethod
    def inputs(agent: keras.Model) -> list[tf.Variable]:
        """The variables of an agent that a gradient may depend on: its weights, and the scalars of its optimizer."""
        return [*agent.weights, *(variable for variable in agent.optimizer.variables if variable.shape == ())]

    @property
    def variables(self) -> list[tf.Variable]:
        """Those of the driver of the rollouts."""
        return self._source.driver.variables

    def collect(self) -> Gradient:
        """Collects a rollout with the current policy, and returns its `Gradient`."""
        rollout = self._source.collect()
        with tf.control_dependencies(tf.nest.flatten(rollout)):
            return self._gradient(self._source.prepare(rollout))

    def _gradient_of(self, collected):
        agent = self._agent
        (part,) = agent.parts()
        before = agent.env_steps.value + 0
        data = agent.prepare(collected).update(tf.constant(0))
        loss, logs, gradients = agent.loss_and_gradient(part, data)
        return Gradient(
            loss,
            {name: tf.convert_to_tensor(value) for name, value in logs.items()},
            tuple(tf.convert_to_tensor(x) for x in gradients),
            tf.cast(agent.optimizers[part.name].scale_loss(1.0), tf.float32),
            agent.env_steps - before,
            tuple(self._source.follower.moments),
            data.report,
        )


class NoRows:
    """What a source has in place of a `RolloutFollower` if the rollouts are elsewhere."""

    variables: tuple = ()
    largest = None

    def reset(self) -> None:
        """Nothing is to be forgotten."""

    def last_rollout(self) -> None:
        """There are no rows here."""


class GradientSource(RolloutSource):
    """The gradients that the collectors of an agent send, in the order in which they arrive.

    Args:
        agent: A built and compiled agent with `rollout_steps`, one part and one gradient step on each rollout.
        env: An asynchronous `RemoteEnv`.
        seed: Integer that determines everything random.

    Raises:
        ValueError: The agent has more parts or gradient steps.
    """

    def __init__(self, agent: keras.Model, env: Any, seed: int) -> None:
        parts, updates = len(agent.parts()), agent.updates_per_rollout(env.num_envs)
        if (parts, updates) != (1, 1):
            raise ValueError(
                f"`{type(agent).__name__}` must have a single part and one gradient step on each rollout, or collectors cannot "
                f'compute its gradients; `RayCollectors(mode="lockstep")` takes any. Received: {parts} parts, {updates} steps'
            )
        driver = make_driver(
            agent,
            env,
            GradientDriver,  # type: ignore[arg-type]
            steps=agent.rollout_steps,
            seed=seed,
            optimizer=keras.saving.serialize_keras_object(agent.optimizer),
            jit_compile=agent.jit_compile,
        )
        super().__init__(agent, env, driver, seed, NoRows())  # type: ignore[arg-type]

    def prepare(self, gradient: Gradient) -> Gradient:
        """Counts the steps, and merges the statistics of the rollout into the agent's if they are finite numbers."""
        agent = self.agent
        self.next_seed()
        layers = [x for x in agent.observation_normalizers if isinstance(x, RunningNormalization)]
        codes = [failures.OBSERVATION] * len(layers)
        if agent.normalize_rewards:
            layers, codes = [*layers, agent.reward_normalizer], [*codes, failures.REWARD]
        failure = gradient.report["failure"]
        agent.env_steps.assign_add(gradient.steps)
        for layer, code, moments in zip(layers, codes, gradient.moments, strict=True):
            sound = failures.finite(moments) & (moments.count >= 0.0) & tf.reduce_all(moments.variance >= 0.0)
            layer.merge(tf.nest.map_structure(lambda x, sound=sound: tf.where(sound, x, tf.zeros_like(x)), moments))
            failure = tf.where(sound | (failure > 0.0), failure, tf.cast(code, tf.float32))
        return gradient._replace(report={**gradient.report, "failure": failure})
