"""Gradient steps of an agent, which do not depend on where the data come from."""

import abc
import functools
import warnings
from typing import Any

import keras
import tensorflow as tf

from keras_rl_prob.keras_internals import layers_of
from keras_rl_prob.learning import failures
from keras_rl_prob.learning.gradients import Gradient, apply_gradients, undo_unless, values_of
from keras_rl_prob.learning.parts import Part, check_parts, check_reported, checked_loss, optimizers_of
from keras_rl_prob.learning.persistence import PersistentModel
from keras_rl_prob.learning.reports import GRADIENT_NORMS, Reports, gradient_norms
from keras_rl_prob.learning.targets import is_target
from keras_rl_prob.settings import Numbers, Schedule
from keras_rl_prob.types import Loss, Nest, Shape


class LearningModel(PersistentModel):
    """Base class of agents that implements gradient steps: losses, checks for non-finite numbers, metrics.

    The data are rollouts: nests of tensors with an attribute `updates` (number of gradient steps to take, int32 scalar) and a
    method `update(index)` that returns the data of one gradient step. These have the attributes `index` and `report` (dict of
    float32 scalars that describe the rollout), and whatever `loss_and_logs` needs.

    Attributes:
        network: The Functional model that is trained.
        optimizers: Dict from the names of `parts` to their Keras optimizers; `optimizer` is the first of them.
        failure: int32 variable, a constant of `keras_rl_prob.learning.failures`; unless it is `NONE`, weights are not updated.
    """

    training_networks: tuple[str, ...] = ()
    """Names of attributes with networks whose layers, such as `Dropout`, are in training mode while the agent learns."""

    rollouts_per_execution = 1
    """Number of rollouts that are collected and learned from before callbacks are called."""

    optional_metrics: tuple[str, ...] = GRADIENT_NORMS
    """Names that `compile(metrics=...)` takes, of numbers that are only computed if they are asked for."""

    watched: tuple[str, ...] = ()
    """Those that `compile` was given."""

    _numbers = Numbers(())

    @abc.abstractmethod
    def metric_names(self) -> list[str]:
        """Names of the metrics besides `return` and `length`: keys of the logs of `loss_and_logs`, or of a rollout's report."""

    def loss_and_logs(self, data: Nest) -> Loss:
        """Returns the loss on the data of one gradient step and a dict of scalars to log; for agents with a single part."""
        raise NotImplementedError(f"`{type(self).__name__}` must define `loss_and_logs` or `parts`.")

    def allows_update(self, data: Nest, logs: dict[str, tf.Tensor]) -> bool | tf.Tensor:
        """Whether to take the gradient step, bool scalar; called after the gradient was computed."""
        return True

    def after_update(self, data: Nest) -> None:
        """Called after each gradient step, unless a number was not finite."""

    def default_optimizer(self) -> keras.optimizers.Optimizer | dict[str, keras.optimizers.Optimizer]:
        """Returns the optimizer that is used if `compile` gets none, or a dict with one for each part."""
        return keras.optimizers.Adam(3e-4, epsilon=1e-5, global_clipnorm=0.5)

    def add_number(
        self, name: str, shape: Shape = (), dtype: str = "float32", initializer: Any = "zeros"
    ) -> tf.Variable:
        """Adds a variable to the agent that is not trainable and that no dtype policy casts."""
        return self.add_weight(
            shape=shape, dtype=dtype, initializer=initializer, trainable=False, autocast=False, name=name
        )

    def now(self, coefficient: Any) -> Any:
        """The value of a hyperparameter, which may be a Keras schedule over gradient steps; `None` and integers as they are.

        In a graph, a float is read from a variable, a float32 scalar: agents that differ only by such numbers have the same
        graphs, which XLA compiles once.
        """
        if isinstance(coefficient, Schedule):
            return coefficient(self.optimizer.iterations)
        return self._numbers.read(coefficient) if isinstance(coefficient, float) else coefficient

    def make_reports(self) -> None:
        """Creates the metrics and the variable `failure`."""
        self.failure = self.add_number("failure", dtype="int32")
        self._reports = Reports(self.metric_names())

    def after_build(self) -> None:
        """Checks the parts, and creates the variables of numbers, and of the optimizers if the agent is compiled."""
        self._numbers = Numbers(vars(self).values())
        if type(self).parts is not LearningModel.parts:
            check_parts(self, self.parts())
        elif type(self).loss_and_logs is LearningModel.loss_and_logs:
            self.loss_and_logs(None)  # raises an error
        if self.compiled:
            self.build_optimizer()

    def build_optimizer(self) -> None:
        """Creates the optimizers' variables; warns if gradients in float16 may underflow because the loss is not scaled."""
        parts = self.parts()
        self.optimizers = optimizers_of(parts, self.optimizers or self.optimizer)
        self.optimizer = self.optimizers[parts[0].name]
        for part in parts:
            optimizer = self.optimizers[part.name]
            optimizer.build(part.variables)
            scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer) or optimizer.loss_scale_factor
            if not scales and any(layer.compute_dtype == "float16" for layer in layers_of(self)):
                warnings.warn(
                    "`optimizer` must scale the loss if a network computes in float16, or small gradients become 0: wrap it in "
                    "`keras.optimizers.LossScaleOptimizer`, or create the agent under the dtype policy `mixed_float16`. "
                    f"Received: optimizer={optimizer!r}",
                    stacklevel=3,
                )

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """List of Keras metrics, those of an epoch; those of episodes come first, those of collectors last."""
        if not self.built:
            return []
        return [*self._reports.metrics, *(self._training.source.metrics if self._training else [])]

    @property
    def last_rollout(self) -> dict[str, Nest] | None:
        """The rollout of the last updates: a dict of nests of arrays `[T, B, ...]` while `fit` runs, else `None`.

        `"action"` as the environment received it and the policy's `"parameters"`, both nests like the action space;
        `"log_prob"`, `"value"`, `"advantage"`, `"target"` (of the value), float32; `"valid"`, False for rows that are not
        environment steps. With `compile(metrics=["row_kl"])` also `"kl"`, float32: the KL divergence in nats of the policy
        that acted from that after the last gradient step in which the row was used. `None` also where collectors send gradients
        in place of rollouts.
        """
        return self._training.source.follower.last_rollout() if self._training and self._training.has_begun else None

    def call(self, observation: Nest, training: bool = False) -> Nest:
        """The network's outputs for a batch of observations, recurrent state at zero."""
        return keras.tree.lists_to_tuples(self.network(self.normalize(observation), training=training))

    def summary(self, *args: Any, expand_nested: bool = True, **kwargs: Any) -> None:
        """Keras' `summary`, which here shows the layers and heads of the networks, too."""
        super().summary(*args, expand_nested=expand_nested, **kwargs)

    @property
    def networks(self) -> list[keras.Model]:
        """All networks of the agent, in the order in which they were added; `network` is the first."""
        return [layer for layer in self.layers if isinstance(layer, keras.Model)]

    @property
    def trained_variables(self) -> list[tf.Variable]:
        """Variables that gradient steps change: those of the network, and any other trainable ones that are not of targets."""
        network, targets = self.network.trainable_variables, filter(is_target, self.networks)
        known = {id(x) for x in [*network, *(x for target in targets for x in target.variables)]}
        return network + [variable for variable in self.trainable_variables if id(variable) not in known]

    def parts(self) -> list[Part]:
        """Returns the parts in the order of their updates: by default a single one, all variables with `loss_and_logs`."""
        return [Part("loss", self.trained_variables, self.loss_and_logs)]

    def regularized(self, part: Part, loss: tf.Tensor) -> tf.Tensor:
        """Adds to the loss of a part penalties of its variables, and those of activities in the networks that it changes."""
        penalty = self._regularization(part, loss.dtype)
        return loss if penalty is None else loss + penalty

    def _regularization(self, part, dtype):
        changed = set(map(id, part.variables))
        penalties = [variable.regularizer(variable) for variable in part.variables if variable.regularizer is not None]
        activities: dict[int, tf.Tensor] = {}
        for network in self.networks:
            variables = network.trainable_variables
            if changed & set(map(id, variables)):  # Keras puts the penalties of variables last
                of_variables = sum(variable.regularizer is not None for variable in variables)
                losses = network.losses
                activities |= {id(x): x for x in losses[: len(losses) - of_variables]}  # a shared layer's are in both
        losses = [tf.cast(x, dtype) for x in (*activities.values(), *penalties)]
        return tf.add_n(losses) if losses else None

    def train_step(self, data: Nest) -> dict[str, tf.Tensor]:
        """Takes one gradient step, part by part; changes nothing if a number is not finite."""
        logs: dict[str, Any] = {}
        counted: dict[str, Any] = {}
        parts = self.parts()
        earlier = [variable for part in parts[:-1] for variable in part.variables]
        before = values_of(earlier)
        for part in parts:
            loss, more, updates = self._learn(part, data)
            more = {self._name_in_logs(part, "loss"): loss, **more}
            # Losses that are not finite are logged, too.
            logs, counted = (
                logs | more,
                counted | dict.fromkeys(more, updates | tf.not_equal(self.failure, failures.NONE)),
            )
        healthy = tf.equal(self.failure, failures.NONE)
        undo_unless(healthy, earlier, before)
        tf.cond(healthy, functools.partial(self.after_update, data), lambda: None)
        check_reported(self, logs, data.report)
        self._reports.update(data.report, tf.equal(data.index, 0), logs, counted)
        return self.logs()

    def loss_and_gradient(self, part: Part, data: Nest) -> tuple[tf.Tensor, dict[str, tf.Tensor], list[tf.Tensor]]:
        """Computes the gradient of one part.

        Args:
            part: A `Part`.
            data: The data of one gradient step; a `Gradient` has the result already.

        Returns:
            `(loss, logs, gradients)`: the loss including regularisation, a dict of scalars to log, and a list of the gradients
            of the loss as the optimizer of the part scales it.
        """
        optimizer = self.optimizers[part.name]
        if isinstance(data, Gradient):
            factor = tf.cast(optimizer.scale_loss(1.0), tf.float32) / data.scale  # the scale may have changed meanwhile
            return data.loss, data.logs, [x * tf.cast(factor, x.dtype) for x in data.gradients]
        with tf.GradientTape() as tape:
            loss, logs = checked_loss(self, part, part.loss(data))
            penalty = self._regularization(part, loss.dtype)
            if penalty is not None:
                loss, logs = loss + penalty, {**logs, self._name_in_logs(part, "regularization_loss"): penalty}
            scaled = optimizer.scale_loss(loss)
        # In eager mode, only the values of Keras variables can have zero gradients.
        sources = [variable.value for variable in part.variables]
        return loss, logs, tape.gradient(scaled, sources, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def _learn(self, part, data):
        """Takes the gradient step of a part if it is due; returns its loss, its logs and whether its variables were updated."""
        if part.period == 1:
            return self._learn_now(part, data, True)
        due = tf.equal(self.optimizer.iterations % part.period, 0)
        if tf.executing_eagerly():
            return self._learn_now(part, data, due)
        learned: list[Any] = []  # the first branch is traced first: the second has the same structure

        def learn():
            learned[:] = [self._learn_now(part, data, True)]
            return learned[0]

        return tf.cond(due, learn, lambda: tf.nest.map_structure(lambda x: tf.zeros(x.shape, x.dtype), learned[0]))

    def _learn_now(self, part, data, due):
        """The same, with a gradient in every case."""
        optimizer = self.optimizers[part.name]
        loss, logs, gradients = self.loss_and_gradient(part, data)
        squared_norm = failures.squared_norm(gradients)
        self._follow_failure(data.report["failure"], loss, squared_norm, optimizer)
        if self.watched:
            scale = tf.cast(optimizer.scale_loss(1.0), tf.float32)
            norms = gradient_norms(self.watched, gradients, part.variables, scale)
            logs = {**logs, **{self._name_in_logs(part, name): norm for name, norm in norms.items()}}
        updates = tf.equal(self.failure, failures.NONE) & self.allows_update(data, logs) & due
        tf.cond(updates, lambda: self._apply(optimizer, gradients, part.variables, squared_norm), lambda: None)
        return loss, logs, updates

    def _name_in_logs(self, part, name):
        return name if len(self.optimizers) == 1 else f"{part.name}_{name}"

    def _apply(self, optimizer, gradients, variables, squared_norm):
        """Applies gradients, and undoes the step if it makes weights that are not finite."""
        before = values_of(variables)
        apply_gradients(optimizer, gradients, variables, squared_norm)
        healthy = failures.finite([variable.value for variable in variables])
        undo_unless(healthy, variables, before)
        self.failure.assign(tf.where(healthy, self.failure, failures.WEIGHTS))

    def logs(self) -> dict[str, tf.Tensor]:
        """Returns the current results of the metrics, and the number of environment steps so far."""
        return {metric.name: metric.result() for metric in self._reports.metrics} | {
            "env_steps": tf.convert_to_tensor(self.env_steps)
        }

    def _follow_failure(self, report, loss, squared_norm, optimizer):
        """Sets `failure`, unless there was one, to that of the rollout, or to `LOSS` if loss or gradient are not finite."""
        # The loss comes first: then XLA computes the network and a target network in parallel, otherwise in turn.
        finite = tf.math.is_finite(loss) & tf.math.is_finite(squared_norm)
        scale = getattr(optimizer, "dynamic_scale", None)
        if scale is not None:  # the optimizer skips gradients that overflow and lowers the scale
            finite |= tf.math.is_finite(loss) & (tf.convert_to_tensor(scale) > 1.0)
        of_loss = tf.where(finite, failures.NONE, failures.LOSS)
        found = tf.where(report > 0.0, tf.cast(report, tf.int32), of_loss)
        self.failure.assign(tf.where(tf.equal(self.failure, failures.NONE), found, self.failure))

    def prepare(self, rollout: Any) -> Any:
        """Prepares a rollout in the graph of its updates, before the first of them; returns the rollout to learn from."""
        return rollout

    def make_train_function(self, force: bool = False) -> None:
        """Creates the function that makes all updates on `rollouts_per_execution` rollouts and then checks for failures."""
        if self.train_function is not None and not force:
            return

        def learn(rollout):
            rollout = rollout if isinstance(rollout, Gradient) else self.prepare(rollout)

            def update(index):
                self._reports.follow(self.train_step(rollout.update(index)))
                return (index + 1,)

            tf.while_loop(lambda index: index < rollout.updates, update, (tf.constant(0),), parallel_iterations=1)
            return self.logs()

        def learn_next(iterator):
            for _ in range(self.rollouts_per_execution):
                logs = learn(next(iterator))
            return logs

        if not self.run_eagerly:
            learn = tf.function(learn, jit_compile=self.jit_compile, autograph=False)
        if self.jit_compile and not self.run_eagerly:  # one call from Python for all rollouts
            # Only then: a graph that is not compiled as a whole might read variables before collecting assigns them.

            @tf.function(autograph=False, reduce_retracing=True)
            def learn_next(iterator):
                def learn_one(index):
                    learn(iterator.get_next())
                    return (index + 1,)

                count = self.rollouts_per_execution
                done = tf.while_loop(lambda index: index < count, learn_one, (tf.constant(0),), parallel_iterations=1)
                with tf.control_dependencies(done):  # this graph does not know what collecting assigns
                    return self.logs()

        def checked(iterator):
            if self._training:  # Keras' iterator is a placeholder, created anew for each `fit`
                iterator = self._training.source.iterator()
            logs = learn_next(iterator)
            failures.check_healthy(int(self.failure.numpy()), logs, self.optimizer)
            collecting = self._training.source.metrics if self._training else []
            return logs | {metric.name: metric.result() for metric in collecting}

        self.train_function = checked
