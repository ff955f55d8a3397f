"""`BehaviorCloning`: supervised learning of a policy from recorded episodes."""

import contextlib
import random
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from gymnasium import spaces as gym_spaces

from keras_rl_prob import checks, spaces
from keras_rl_prob.agents import Agent
from keras_rl_prob.agents.network_checks import has_memory
from keras_rl_prob.imitation.sequences import recorded_observations, sequence_dataset
from keras_rl_prob.keras_internals import layer_behind
from keras_rl_prob.layers import QValues
from keras_rl_prob.learning import failures
from keras_rl_prob.learning.gradients import undo_unless, values_of
from keras_rl_prob.learning.parts import variables_of
from keras_rl_prob.ops.masking import masked_mean
from keras_rl_prob.replay.episodes import checked_episodes
from keras_rl_prob.sources.recorded import update_normalizers
from keras_rl_prob.types import Logs, Nest, Path


class BehaviorCloning(keras.Model):
    """Trains the policy of an agent to act as in recorded episodes: `compile`, `fit(episodes)`, `evaluate(episodes)`.

    The loss is the negative mean of `log pi(a_t | o_t)` over the recorded steps. It changes the weights that the policy depends
    on, with an optimizer of its own, and the statistics of the observations if the agent normalises them. No environment is
    stepped. The agent can then be used or trained like any other; values and critics are not learned.

    A network with memory goes through whole episodes, and starts each with a state of zeros.

    Args:
        agent: A built agent with a policy: any but those with action values.
        sequence_length: Steps in a sequence for a network with memory, to limit the memory that long episodes take. Every
            sequence starts with a state of zeros. `None` for whole episodes.

    Attributes:
        agent: The agent that is trained.

    Raises:
        ValueError: The agent is not built, or has action values in place of a policy.

    References:
        Pomerleau, "Efficient training of artificial neural networks for autonomous navigation", 1991,
        https://doi.org/10.1162/neco.1991.3.1.88.

    Example:
    ```python
    bot = lambda observation: int(observation[2] + observation[3] > 0)
    episodes = krp.envs.record_episodes("CartPole-v1", bot, episodes=20, seed=0)
    agent = krp.PPO()
    agent.build("CartPole-v1")
    cloning = krp.imitation.BehaviorCloning(agent)
    cloning.compile()
    cloning.fit(episodes, epochs=10)
    agent.evaluate("CartPole-v1")
    ```
    """

    agent: Agent

    def __init__(self, agent: Agent, sequence_length: int | None = None) -> None:
        super().__init__()
        if not isinstance(agent, Agent):
            raise TypeError(f"`agent` must be an agent of this library. Received: agent={agent!r}")
        if not agent.built:
            raise ValueError(
                "`agent` must be built, so that its spaces are known: call `agent.build(env)` first. Received: an unbuilt "
                f"{type(agent).__name__}"
            )
        if any(isinstance(layer_behind(x), QValues) for x in keras.tree.flatten(agent.network.output["action"])):
            raise ValueError(
                "`agent` must have a policy; one with action values learns from recordings by "
                f"`agent.add_experience(episodes)`. Received: a {type(agent).__name__}"
            )
        self.sequence_length = checks.integer("sequence_length", sequence_length, none=True)
        object.__setattr__(self, "agent", agent)  # not a layer of this model, only its network is
        self.network = agent.network
        self._policy_variables = variables_of(agent.network, "action")
        self._loss = keras.metrics.Mean(name="loss")
        self._accuracy = keras.metrics.Mean(name="accuracy")
        self._classes = not any(isinstance(leaf, gym_spaces.Box) for leaf in spaces.leaves(agent.action_space))
        object.__setattr__(self, "_failure", tf.Variable(failures.NONE, trainable=False))
        self.built = True

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """List of Keras metrics: the loss and, where no action is continuous, the share of actions that are recorded ones."""
        return [self._loss, self._accuracy] if self._classes else [self._loss]

    def compile(
        self, optimizer: str | keras.optimizers.Optimizer | None = None, *, jit_compile: bool = False, **options: Any
    ) -> None:
        """Configures the training.

        Args:
            optimizer: A Keras optimizer, its name, or `None` for `Adam(1e-3)`.
            jit_compile: Whether to compile with XLA, which takes several seconds.
            **options: `run_eagerly`, `steps_per_execution`; see `keras.Model.compile`.
        """
        optimizer = keras.optimizers.Adam(1e-3) if optimizer is None else optimizer
        super().compile(optimizer, jit_compile=checks.flag("jit_compile", jit_compile), **options)
        self.optimizer.build(self._policy_variables)

    def fit(
        self,
        x: Any,
        batch_size: int | None = None,
        epochs: int = 1,
        validation_data: Any = None,
        seed: int | None = None,
        **options: Any,
    ) -> keras.callbacks.History:
        """Trains on recorded episodes.

        Args:
            x: Iterable of `keras_rl_prob.trajectory.Episode`s, as from `krp.envs.record_episodes`, or of objects or
                dicts with its fields; or a Minari data set, or its name.
            batch_size: Steps in a gradient step, or sequences for a network with memory; `None` for 64 or 4.
            epochs: Epochs, in each of which every recorded step is used once.
            validation_data: Episodes on which to compute `val_loss` after each epoch.
            seed: Integer for the order; drawn from Python's `random` by default.
            **options: `callbacks`, `verbose`, `initial_epoch` and so on; see `keras.Model.fit`.

        Returns:
            Keras' `History`, with `loss` and, where no action is continuous, `accuracy`.

        Raises:
            ValueError: There are no episodes, or they do not fit the agent's spaces.
            FloatingPointError: The loss, its gradient or the weights after a gradient step are not finite. The weights are
                those before that step.
        """
        seed = checks.seed("seed", seed, none=True)
        listed = checked_episodes(x)
        data = self._dataset(listed, batch_size, random.randrange(2**31) if seed is None else seed)
        if validation_data is not None:
            validation_data = self._dataset(validation_data, batch_size)
        self._assert_compile_called("fit")
        if self.agent.normalize_observations:
            update_normalizers(self.agent, recorded_observations(self.agent, listed))
        epochs = checks.integer("epochs", epochs)
        self._failure.assign(failures.NONE)
        options["callbacks"] = [*keras.tree.flatten(options.get("callbacks") or []), StopAtFailure(self._failure)]
        return super().fit(data, epochs=epochs, validation_data=validation_data, shuffle=False, **options)

    def evaluate(self, x: Any, batch_size: int | None = None, **options: Any) -> Any:
        """Computes loss and accuracy on recorded episodes.

        Args:
            x: Episodes, see `fit`.
            batch_size: See `fit`.
            **options: See `keras.Model.evaluate`.

        Returns:
            Loss, or loss and accuracy; with `return_dict=True` a dict of them.
        """
        data = x if isinstance(x, tf.data.Dataset) else self._dataset(x, batch_size)  # Keras' `fit` passes the former
        return super().evaluate(data, **options)

    def train_step(self, data: Nest) -> dict[str, tf.Tensor]:
        """Takes one gradient step on a batch of `sequence_dataset`; changes no weight if a number is not finite."""
        with tf.GradientTape() as tape:
            loss = self._update_metrics(data)
            loss = tf.add_n([loss, *(tf.cast(x, loss.dtype) for x in self.network.losses)])
            scaled = self.optimizer.scale_loss(loss)
        sources = [variable.value for variable in self._policy_variables]
        gradients = tape.gradient(scaled, sources, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        finite = tf.math.is_finite(loss) & failures.finite(gradients)
        if getattr(self.optimizer, "dynamic_scale", None) is not None:  # the optimizer skips gradients that overflow
            finite = tf.math.is_finite(loss)
        going = tf.equal(self._failure, failures.NONE) & finite
        before = values_of(self._policy_variables)
        tf.cond(going, lambda: self.optimizer.apply(gradients, self._policy_variables), lambda: None)
        healthy = failures.finite([variable.value for variable in self._policy_variables])
        undo_unless(healthy, self._policy_variables, before)
        failure = tf.where(finite, tf.where(healthy, failures.NONE, failures.WEIGHTS), failures.LOSS)
        self._failure.assign(tf.where(tf.equal(self._failure, failures.NONE), failure, self._failure))
        return self.get_metrics_result()

    def test_step(self, data: Nest) -> dict[str, tf.Tensor]:
        """Computes the metrics on a batch of `sequence_dataset`."""
        self._update_metrics(data)
        return self.get_metrics_result()

    def save(self, filepath: Path, overwrite: bool = True, **options: Any) -> None:
        """Saves the agent, for example at the call of `keras.callbacks.ModelCheckpoint`."""
        self.agent.save(filepath, overwrite=overwrite, **options)

    def evaluation(self, *arguments: Any) -> Callable[[], dict[str, Any]]:
        """That of the agent, for `krp.callbacks.EvaluateReturn`: `return` and so on in an environment."""
        return self.agent.evaluation(*arguments)

    def apart_from_training(self) -> contextlib.AbstractContextManager[None]:
        """Does nothing: cloning has no training state of its own that files leave out."""
        return contextlib.nullcontext()

    def _update_metrics(self, data):
        """Updates the metrics with a batch; returns the loss."""
        agent = self.agent
        data = tf.nest.map_structure(lambda x: tf.transpose(x, (1, 0, *range(2, x.shape.rank))), data)  # [L, N, ...]
        valid, action = data["valid"], data["action"]
        outputs, _ = agent.unroll(data["observation"], tf.zeros_like(valid), agent.initial_state(valid.shape[1]))
        policy = agent.distribution(outputs["action"])
        loss = -masked_mean(policy.log_prob(agent.raw_action(action)), valid)
        count = tf.reduce_sum(tf.cast(valid, tf.float32))
        self._loss.update_state(loss, count)
        if self._classes:
            self._accuracy.update_state(masked_mean(_equal(policy.mode(), action), valid), count)
        return loss

    def _dataset(self, episodes, batch_size, seed=None):
        batch_size = checks.integer("batch_size", batch_size, none=True)
        recurrent = has_memory(self.agent.network)
        length = self.sequence_length if recurrent else 1
        return sequence_dataset(
            self.agent, checked_episodes(episodes), length, batch_size or (4 if recurrent else 64), seed
        )


def _equal(chosen, action):
    """Where all parts of actions, nests `[L, N, ...]`, are equal, float32 `[L, N]`."""
    equal = [
        tf.reduce_all(tf.equal(x, tf.cast(y, x.dtype)), range(2, x.shape.rank))
        for x, y in zip(tf.nest.flatten(chosen), tf.nest.flatten(action), strict=True)
    ]
    return tf.cast(tf.reduce_all(equal, 0), tf.float32)


class StopAtFailure(keras.callbacks.Callback):
    """Raises an error after the gradient step that had a failure.

    Args:
        failure: int32 variable, a constant of `keras_rl_prob.learning.failures`.
    """

    def __init__(self, failure: tf.Variable) -> None:
        super().__init__()
        self._failure = failure

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Looks at the failure."""
        failures.check_healthy(int(self._failure.numpy()), dict(logs or {}), self.model.optimizer)
