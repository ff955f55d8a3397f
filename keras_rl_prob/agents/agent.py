"""`Agent`: a `keras.Model` that learns from environments; what all agents share."""

import abc
import contextlib
import random
from typing import Any, ClassVar, Self

import gymnasium
import keras
import tensorflow as tf

from keras_rl_prob import checks
from keras_rl_prob.agents import arguments, network_checks
from keras_rl_prob.agents.acting import ActingModel
from keras_rl_prob.agents.evaluation import EvaluatingModel, once
from keras_rl_prob.agents.graphs import Graphs, settings
from keras_rl_prob.agents.normalization import normalized_spaces, observation_normalizers
from keras_rl_prob.agents.vocabulary import constructor_arguments, moved_arguments, reject_unknown
from keras_rl_prob.envs import NativeEnv, is_owned, opened, spaces_of
from keras_rl_prob.envs.factory import BatchEnv, Env, EnvOrSpaces
from keras_rl_prob.keras_internals import put_first
from keras_rl_prob.layers import Unrolled
from keras_rl_prob.learning.callbacks import prepared
from keras_rl_prob.learning.model import LearningModel
from keras_rl_prob.learning.training import Training
from keras_rl_prob.python_calls import interruptible, raising_as_itself
from keras_rl_prob.replay import Ring
from keras_rl_prob.sources import Collectors, RolloutSource, collectors_of
from keras_rl_prob.types import Nest


class Agent(ActingModel, EvaluatingModel, LearningModel, abc.ABC):
    """Base of all agents: `compile`, `fit(env)`, `evaluate(env)`, `predict`, `save`, for any environment.

    A subclass gives the default network, the source of its updates and `train_step`. The agent is built when `fit` or
    `build` first sees an environment: the observation and action spaces become part of it and are saved with it.

    Args:
        network: Functional model for one step (no time axis) from an observation to `{"action": nest of heads' outputs}`
            and whatever else the algorithm needs, or `None` for a default made from the environment's spaces.
        normalize_observations: Whether numbers are centred and scaled by running statistics: those of every Box but integer
            images, provided that the network takes float32 for them, as the default one does.
        name: Name of the model.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Says what was meant by an argument that there is not, before Python says only that there is none."""
        known = moved_arguments(cls.settings_classes)
        known |= {name: f"`{name}`" for name in constructor_arguments(cls, Agent)}
        reject_unknown(cls, {name: value for name, value in kwargs.items() if name not in known}, known)
        return super().__new__(cls, *args, **kwargs)

    def __init__(
        self, network: keras.Model | None = None, *, normalize_observations: bool = False, name: str | None = None
    ) -> None:
        network_checks.check_no_strategy()
        super().__init__(name=name)
        if network is not None and not isinstance(network, keras.layers.Layer):
            raise TypeError(
                f"`network` must be a Functional `keras.Model` or `None`; the environment belongs to `fit`. "
                f"Received: network={network!r}"
            )
        self.network = network
        self.normalize_observations = normalize_observations
        self.observation_space = self.action_space = None
        self._requested_jit_compile: bool | str = "auto"
        self._requested_steps_per_execution: int | None = None
        self._graphs = Graphs(self)
        self._evaluation: Any = None

    # ---- what a subclass provides -----------------------------------------------------------------------------

    network_outputs: tuple[str, ...] = ("action",)
    """Keys that the network's outputs must have."""

    settings_classes: ClassVar[dict] = {}
    """Classes of the settings that arguments take, by argument; their numbers were arguments of the agent before."""

    rollouts_per_epoch = 10
    """How many rollouts an epoch has when `fit` is not told."""

    @property
    def acts_compiled(self) -> bool:
        """Whether the agent can choose actions in a graph that is compiled with XLA."""
        return True

    default_num_envs = 32
    """How many environments `fit` makes when it is not told."""

    @abc.abstractmethod
    def default_network(self, env: EnvOrSpaces) -> keras.Model:
        """The Functional model that is used when the agent was made without one; `env` is as `build` got it."""

    @abc.abstractmethod
    def act(
        self, observation: Nest, is_first: tf.Tensor, state: Nest, seed: tf.Tensor, deterministic: bool = False
    ) -> tuple[Nest, Nest, Nest]:
        """One step of the agent: `(action, record, state)`; the record is what the update will need."""

    def build_networks(self, env: EnvOrSpaces) -> None:
        """Makes what networks there are besides `network`, such as a critic of its own: none, unless a subclass says so.

        Args:
            env: What these networks are for, as `default_network` gets it.
        """

    def final_value(self, observation: Nest, state: Nest) -> Nest:
        """What is kept of final observations `[B, ...]` that come beside the rows: nothing, unless a subclass says so.

        Args:
            observation: Nest `[B, ...]`.
            state: Recurrent state of before the reset, nest `[B, ...]`.
        """
        return ()

    def exploration_report(self) -> dict[str, tf.Tensor]:
        """Where the exploration stands, a dict of float32 scalars: empty where nothing but the policy explores."""
        return {}

    @abc.abstractmethod
    def updates_per_rollout(self, num_envs: int) -> int:
        """Gradient steps that one rollout of `num_envs` environments gives; `ValueError` where the numbers do not fit."""

    @abc.abstractmethod
    def make_source(self, env: BatchEnv, seed: int) -> RolloutSource:
        """The source of updates from `env`: `dataset()` gives the data of one gradient step each, `variables` its state."""

    def begin_training(self) -> None:
        """What comes before a training that is not the continuation of another."""

    # ---- Keras' surface ---------------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer | dict[str, keras.optimizers.Optimizer] | None = None,
        *,
        steps_per_execution: int | None = None,
        jit_compile: bool | str = "auto",
        run_eagerly: bool = False,
        **unsupported: Any,
    ) -> None:
        """Chooses how the network is trained.

        Args:
            optimizer: A Keras optimizer, its name, or `None` for the agent's default, as a rule
                `Adam(3e-4, epsilon=1e-5, global_clipnorm=0.5)`. For an agent that learns in several parts also a dict with an
                optimizer for each; a single one is that of the first, and the others get ones like it.
            steps_per_execution: Gradient steps from one call of the callbacks to the next, those of whole rollouts; of one
                for `None`. More is faster where a rollout takes a millisecond.
            jit_compile: Whether to compile with XLA; `"auto"` compiles unless the network has convolutions that run on
                a CPU, where TensorFlow's own kernels are faster; the loops of LSTM and GRU are compiled there too.
            run_eagerly: Whether `train_step` runs as plain Python, for debugging.
            **unsupported: None; `loss`, `metrics` and the like, which belong to the agent, raise a `TypeError`.
        """
        reject_unknown(Agent.compile, unsupported)
        network_checks.check_no_strategy()
        steps_per_execution = checks.integer("steps_per_execution", steps_per_execution, none=True)
        jit_compile = checks.flag("jit_compile", jit_compile, "auto")
        optimizer = self.default_optimizer() if optimizer is None else arguments.checked_optimizer(optimizer)
        self.optimizers = (
            optimizer if isinstance(optimizer, dict) else {}
        )  # Keras saves `optimizer` first, being first by name
        optimizer = next(iter(self.optimizers.values()), optimizer)
        self._requested_jit_compile, self._requested_steps_per_execution = jit_compile, steps_per_execution
        super().compile(optimizer, jit_compile=False, run_eagerly=run_eagerly)
        self._forget_graphs()
        if self.built:
            self.build_optimizer()

    def build(self, env: EnvOrSpaces) -> None:
        """Makes the network and the normalisers for an environment; `fit` does this by itself.

        Args:
            env: Anything that `fit` accepts, or a pair `(observation_space, action_space)` of Gymnasium spaces.
        """
        network_checks.check_no_strategy(self.network)
        if type(self).get_config is Agent.get_config:
            self._argument_names()
        observation_space, action_space = spaces_of(env)
        seen = normalized_spaces(env) if self.normalize_observations else env
        network = self.network or self.default_network(seen)
        self.check_network(network, observation_space, action_space)
        self._forget_graphs()
        self.network = network
        self.observation_space, self.action_space = observation_space, action_space
        self.build_networks(seen)
        given = [getattr(self, name, None) for name in constructor_arguments(type(self), Agent)]
        put_first(self, [x for x in given if isinstance(x, keras.layers.Layer)])  # as in a loaded agent, which has all
        network_checks.warn_of_inert_layers(self.networks)
        self._unrolled = Unrolled(network)
        self._heads = network_checks.ActionHeads(network)
        self.observation_normalizers = []
        if self.normalize_observations:
            self.observation_normalizers = observation_normalizers(observation_space, action_space, network)
        self.env_steps = self.add_number("env_steps", dtype="int64")
        self.make_reports()
        self.built = True

    def check_network(
        self, network: keras.Model, observation_space: gymnasium.Space, action_space: gymnasium.Space
    ) -> None:
        """Raises a `ValueError` where the network or the spaces are not for this agent, before anything is built."""
        network_checks.check_network(network, self.network_outputs, observation_space, action_space)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; the network as it is, also where it was made by default.

        Raises:
            ValueError: An argument of a subclass is not there under its name.
        """
        return {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in self._argument_names()}

    def _argument_names(self):
        """Names of the constructor's arguments; a `ValueError` where one is not kept."""
        names = constructor_arguments(type(self), Agent)
        missing = [name for name in names if not hasattr(self, name)]
        if missing:
            raise ValueError(
                f"`{type(self).__name__}` must keep its arguments as attributes of the same names, or have a `get_config`. "
                f"Missing: {missing}"
            )
        return names

    def call(self, observation: Nest, training: bool = False) -> Nest:
        """The network's outputs for a batch of observations, recurrent state at zero."""
        return keras.tree.lists_to_tuples(self.network(self.normalize(observation), training=training))

    def fit(
        self,
        env: Env,
        epochs: int = 1,
        steps_per_epoch: int | None = None,
        validation_data: Env | None = None,
        validation_episodes: int = 20,
        validation_freq: int = 1,
        callbacks: list[keras.callbacks.Callback] | None = None,
        initial_epoch: int = 0,
        seed: int | None = None,
        verbose: str | int = "auto",
        num_envs: int | None = None,
        collectors: Collectors | int | None = None,
        **unsupported: Any,
    ) -> keras.callbacks.History:
        """Trains on an environment.

        Args:
            env: An environment id, a `gymnasium.Env`, a callable that makes one, a `gymnasium.vector.VectorEnv`, a
                native environment, or a list of ids and callables that are taken in turn (`krp.envs.make`).
            epochs: Epoch at which to stop.
            steps_per_epoch: Gradient steps in an epoch, a multiple of the updates that one rollout gives; those of
                `rollouts_per_epoch` rollouts when left out.
            validation_data: Environment to `evaluate` in after an epoch (`val_return`, `val_length`), or `None`.
            validation_episodes: Episodes of each such evaluation.
            validation_freq: Epochs from one such evaluation to the next.
            callbacks: List of Keras callbacks.
            initial_epoch: Epoch at which to start. If it is not 0 and the agent knows where its training stood, from the `fit`
                before or from a file that was saved during one, the training goes on from there: environments, memory and
                random numbers included.
            seed: Integer that determines everything random; drawn from Python's `random` when left out, so that
                `keras.utils.set_random_seed` makes runs repeatable.
            verbose: `"auto"`, 0 (silent), 1 (progress bar) or 2 (a line for each epoch).
            num_envs: Environments to make from an id, a callable or a list; about `default_num_envs` when left out.
            collectors: Where rollouts are collected: here for `None`, else by an object whose `make_source(agent, env, seed)`
                returns the `keras_rl_prob.sources.RolloutSource` that is learned from.
            **unsupported: None; what belongs to supervised learning (`y`, `batch_size`, ...) raises a `TypeError`.

        Returns:
            Keras' `History`. Its `history` has `return` and `length` (means over the episodes that finished in an epoch,
            NaN where none did), `env_steps` (total so far), the losses and diagnostics of the algorithm, and with
            `validation_data` the results of `evaluate` under `val_` names.

        Raises:
            TypeError: `env` is nothing to learn from, or arguments of supervised learning were given.
            ValueError: `compile` was not called, or arguments do not fit each other, the network or the environment.
            FloatingPointError: An observation, a reward or a loss is not finite; no weights were changed by it.
        """
        reject_unknown(Agent.fit, unsupported)
        network_checks.check_no_strategy()
        epochs, seed = checks.integer("epochs", epochs), checks.seed("seed", seed, none=True)
        initial_epoch = checks.integer("initial_epoch", initial_epoch, least=0)
        validation_episodes = checks.integer("validation_episodes", validation_episodes)
        validation_freq = checks.integer("validation_freq", validation_freq)
        self._assert_compile_called("fit")
        collectors = collectors_of(collectors)
        callbacks = prepared(callbacks, verbose, validation_freq if validation_data is not None else 1)
        seed = random.randrange(2**31) if seed is None else seed
        if validation_data is env and not is_owned(env) and not isinstance(env, NativeEnv):
            raise ValueError(
                "`validation_data` must not be the very environment that is trained on: evaluation would reset it. Pass a "
                f"second environment or an id. Received: env={env!r} twice"
            )
        with contextlib.ExitStack() as stack:
            made = stack.enter_context(opened(env, num_envs, self.default_num_envs))
            updates = self.updates_per_rollout(made.num_envs)
            steps_per_epoch = arguments.whole_rollouts(steps_per_epoch, updates, self.rollouts_per_epoch)
            execution = arguments.whole_executions(self._requested_steps_per_execution, updates, steps_per_epoch)
            self._prepare_for(made, updates, execution)
            stack.enter_context(raising_as_itself())
            stack.enter_context(interruptible())
            if validation_data is not None:
                self._evaluation = self.evaluation(validation_data, validation_episodes, True, 0, stack)
                stack.callback(setattr, self, "_evaluation", None)
            self._rest(goes_on=bool(initial_epoch))
            source = self._graphs.source(made, seed, stack, self._position, collectors)
            self._training = Training(source, made.num_envs, steps_per_epoch // updates, initial_epoch)
            stack.callback(self._end_training)
            if self._position is not None:
                self._go_on(self._position, initial_epoch)
            else:
                self.begin_training()
            stack.push(lambda kind, *_: source.break_off() if kind else None)
            return super().fit(
                once().repeat(),  # the data come from the source's own iterator
                epochs=epochs,
                steps_per_epoch=steps_per_epoch,
                validation_data=None if validation_data is None else once(),
                validation_freq=validation_freq,
                callbacks=callbacks,
                initial_epoch=initial_epoch,
                verbose=verbose,
                shuffle=False,
            )

    # ---- what drivers and subclasses use ----------------------------------------------------------------------

    def make_ring(self, specs: Nest, capacity: int) -> Ring:
        """A `Ring` for a source: that of the last training where its memory is gone on with, else a new one."""
        return self._graphs.ring(specs, capacity)

    @property
    def last_rollout(self) -> dict[str, Nest] | None:
        """What the last updates learned from: while `fit` runs a dict of nests of arrays `[T, B, ...]`, else `None`.

        `"action"` as the environment got it and the policy's `"parameters"`, both nests like the action space;
        `"log_prob"`, `"value"`, `"advantage"`, `"target"` (of the value), float32; `"valid"`, False where a row is no
        environment step.
        """
        return self._training.source.follower.last_rollout() if self._training and self._training.has_begun else None

    def _prepare_for(self, env, updates, steps_per_execution=None):
        """Builds the agent, its optimizer and its train function for `env`, or checks that they fit it."""
        if self.built:
            network_checks.check_same_spaces(self, env)
        else:
            self.build(env)
        self.failure.assign(0)
        execution = steps_per_execution or updates
        compiled_for = updates, execution, env.num_envs, settings(self)
        if compiled_for != getattr(self, "_compiled_for", None) or self.train_function is None:
            self._compiled_for, self.jit_compile, self.train_function = compiled_for, self.wants_xla, None
            self.steps_per_execution, self.rollouts_per_execution = execution, execution // updates

    def _forget_graphs(self):
        """Forgets all that was traced and compiled, except the policies that were handed out."""
        self._rest()
        self._graphs.forget()
        self.train_function = None

    @property
    def wants_xla(self) -> bool:
        """Whether graphs are compiled with XLA, as `compile` was told."""
        wanted = self._requested_jit_compile
        return not self.run_eagerly and (
            network_checks.prefers_xla(self.networks) if wanted == "auto" else bool(wanted)
        )
