"""`Agent`, the base class of all agents: a `keras.Model` that learns from environments."""

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
from keras_rl_prob.agents.vocabulary import constructor_arguments, moved_arguments, reject_unknown
from keras_rl_prob.envs import NativeEnv, is_owned, spaces_of, with_previous_step
from keras_rl_prob.envs.factory import BatchEnv, Env, EnvOrSpaces
from keras_rl_prob.keras_internals import objects_apart, put_first
from keras_rl_prob.layers import Normalization, Unrolled
from keras_rl_prob.learning import failures
from keras_rl_prob.learning.budget import EXECUTIONS, Budget, checked_steps, whole_executions, whole_rollouts
from keras_rl_prob.learning.callbacks import begin, prepared
from keras_rl_prob.learning.model import LearningModel
from keras_rl_prob.learning.progress import end_line
from keras_rl_prob.learning.progress.hints import hint_at_inert
from keras_rl_prob.learning.reports import checked_metrics
from keras_rl_prob.learning.training import Training
from keras_rl_prob.networks.normalization import normalized_spaces, observation_normalizers
from keras_rl_prob.python_calls import interruptible, raising_as_itself
from keras_rl_prob.replay import Ring
from keras_rl_prob.settings import written
from keras_rl_prob.sources import Collectors, RolloutSource
from keras_rl_prob.sources.collectors import collectors_of, opened_by
from keras_rl_prob.types import Nest


class Agent(ActingModel, EvaluatingModel, LearningModel, abc.ABC):
    """Base class of all agents: `compile`, `fit(env)`, `evaluate(env)`, `predict` and `save`, for any environment.

    A subclass defines the default network, how it acts, the source of its data and its loss. The agent is built when `fit` or
    `build` first gets an environment: its observation and action spaces become part of the agent and are saved with it.

    Args:
        network: Functional model for one step (no time axis) from an observation to `{"action": nest of heads' outputs}`
            and the other outputs that the algorithm needs, or `None` for a default network for the environment's spaces.
        normalize_observations: Whether observations are centred and scaled by running statistics: every Box except integer
            images, provided that the network's input for it is float32, as in default networks. A
            `Normalization` sets the clip value.
        name: Name of the model.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Rejects unknown arguments with a hint at what was meant, which Python's own error lacks."""
        known = moved_arguments(cls.settings_classes)
        known |= {name: f"`{name}`" for name in constructor_arguments(cls, Agent)}
        reject_unknown(cls, {name: value for name, value in kwargs.items() if name not in known}, known)
        return super().__new__(cls, *args, **kwargs)

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        normalize_observations: bool | Normalization = False,
        name: str | None = None,
    ) -> None:
        network_checks.check_no_strategy()
        super().__init__(name=name)
        if network is not None and not isinstance(network, keras.layers.Layer):
            raise TypeError(
                f"`network` must be a Functional `keras.Model` or `None`; the environment belongs to `fit`. "
                f"Received: network={network!r}"
            )
        self.network = network
        self.normalize_observations = Normalization.argument("normalize_observations", normalize_observations)
        self.observation_space = self.action_space = None
        self.input_space: Any = None
        self._requested_jit_compile: bool | str = "auto"
        self._requested_steps_per_execution: int | None = None
        self._graphs = Graphs(self)
        self._evaluation: Any = None

    def __repr__(self) -> str:
        names = [name for name in constructor_arguments(type(self), Agent) if name != "name" and hasattr(self, name)]
        return written(type(self), {name: getattr(self, name) for name in names})

    # ---- what a subclass provides -----------------------------------------------------------------------------

    network_outputs: tuple[str, ...] = ("action",)
    """Keys that the network's output must have."""

    settings_classes: ClassVar[dict] = {}
    """Dict from an argument to the class of its settings, whose fields were arguments of the agent in earlier versions."""

    rollouts_per_epoch = 10
    """Rollouts in an epoch when `fit` is not given `steps_per_epoch`."""

    @property
    def acts_compiled(self) -> bool:
        """Whether actions can be computed in a graph compiled with XLA."""
        return True

    default_num_envs = 32
    """Number of environments when `fit` is not given `num_envs`."""

    collecting: str | None = "lockstep"
    """How collectors in other processes work for this agent by default, see `krp.distributed.RayCollectors`; `None` if they
    cannot."""

    sends_gradients = False
    """Whether asynchronous collectors send gradients in place of rollouts; needs one gradient step on each rollout."""

    @abc.abstractmethod
    def default_network(self, env: EnvOrSpaces) -> keras.Model:
        """Returns the Functional model to use when the constructor was not given one; `env` as in `build`."""

    @abc.abstractmethod
    def act(
        self, observation: Nest, is_first: tf.Tensor, state: Nest, seed: tf.Tensor, deterministic: bool = False
    ) -> tuple[Nest, Nest, Nest]:
        """One step of the agent: returns `(action, record, state)`; the record holds what the update will need."""

    def build_networks(self, env: EnvOrSpaces) -> None:
        """Creates networks besides `network`, such as a separate critic, as attributes; none by default.

        Args:
            env: As in `default_network`.
        """

    def final_value(self, observation: Nest, state: Nest) -> Nest:
        """What a rollout keeps of the final observations of environments that reset within the same step; nothing by default.

        Args:
            observation: Final observations, nest `[B, ...]`.
            state: Recurrent state before the reset, nest `[B, ...]`.
        """
        return ()

    def exploration_report(self) -> dict[str, tf.Tensor]:
        """Current values of the exploration schedules, a dict of float32 scalars; empty by default."""
        return {}

    @abc.abstractmethod
    def updates_per_rollout(self, num_envs: int) -> int:
        """Returns the gradient steps on one rollout of `num_envs` environments; `ValueError` if the numbers do not fit."""

    @abc.abstractmethod
    def make_source(self, env: BatchEnv, seed: int) -> RolloutSource:
        """Returns the `RolloutSource` that collects in `env` and provides the data of the gradient steps."""

    def begin_training(self) -> None:
        """Called at the start of a training that does not resume another one."""

    # ---- Keras' surface ---------------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer | dict[str, keras.optimizers.Optimizer] | None = None,
        *,
        steps_per_execution: int | None = None,
        jit_compile: bool | str = "auto",
        run_eagerly: bool = False,
        metrics: list[str] | tuple[str, ...] = (),
        **unsupported: Any,
    ) -> None:
        """Configures the agent for training.

        Args:
            optimizer: A Keras optimizer, its name, or `None` for the agent's default, usually
                `Adam(3e-4, epsilon=1e-5, global_clipnorm=0.5)`. For an agent with several parts also a dict with an optimizer
                for each; a single optimizer is used for the first part, and copies of it for the others.
            steps_per_execution: Gradient steps between calls of the callbacks, a multiple of those on one rollout, which is
                the default. A larger number is faster where a rollout takes only a millisecond.
            jit_compile: Whether to compile with XLA. `"auto"` compiles unless a network has convolutions and there is no GPU:
                TensorFlow's own kernels for them are faster on a CPU. The loops of LSTM and GRU are compiled even then.
            run_eagerly: Whether `train_step` runs as plain Python, for debugging.
            metrics: Names of what is to be computed too: `"gradient_norm"` (before clipping), `"gradient_norm_of_layers"`, and,
                for on-policy agents and `IMPALA`, `"row_kl"`, which is in `last_rollout`.
            **unsupported: Raise a `TypeError`: `loss` and the like belong to the agent.
        """
        reject_unknown(Agent.compile, unsupported)
        network_checks.check_no_strategy()
        steps_per_execution = checks.integer("steps_per_execution", steps_per_execution, none=True)
        jit_compile = checks.flag("jit_compile", jit_compile, "auto")
        run_eagerly = checks.flag("run_eagerly", run_eagerly)
        optimizer = self.default_optimizer() if optimizer is None else arguments.checked_optimizer(optimizer)
        self.watched = checked_metrics(self, metrics)
        self.optimizers = optimizer if isinstance(optimizer, dict) else {}  # Keras saves it after `optimizer`
        optimizer = next(iter(self.optimizers.values()), optimizer)
        self._requested_jit_compile, self._requested_steps_per_execution = jit_compile, steps_per_execution
        super().compile(optimizer, jit_compile=False, run_eagerly=run_eagerly)
        self._forget_graphs()
        if self.built:
            self.build_optimizer()

    def build(self, env: EnvOrSpaces) -> None:
        """Creates the network and the normalisers for an environment; `fit` calls this if needed.

        Args:
            env: Anything that `fit` accepts, or a pair `(observation_space, action_space)` of Gymnasium spaces.
        """
        network_checks.check_no_strategy(self.network)
        if type(self).get_config is Agent.get_config:
            self._argument_names()
        observation_space, action_space = spaces_of(env)
        if self.previous_action_and_reward:
            env = with_previous_step(env)
        input_space = spaces_of(env)[0]
        seen = normalized_spaces(env) if self.normalize_observations else env
        network = self.network or self.default_network(seen)
        self.check_network(network, input_space, action_space)
        self._forget_graphs()
        self.network = network
        self.observation_space, self.action_space, self.input_space = observation_space, action_space, input_space
        self.build_networks(seen)
        given = [getattr(self, name, None) for name in constructor_arguments(type(self), Agent)]
        put_first(self, [x for x in given if isinstance(x, keras.layers.Layer)])  # as in a loaded agent, which has all
        hint_at_inert(self)
        self._unrolled = Unrolled(network)
        self._heads = network_checks.ActionHeads(network)
        self.observation_normalizers = []
        if self.normalize_observations:
            self.observation_normalizers = observation_normalizers(
                input_space, action_space, network, self.normalize_observations
            )
        self.env_steps = self.add_number("env_steps", dtype="int64")
        self.make_reports()
        self.built = True

    def check_network(
        self, network: keras.Model, observation_space: gymnasium.Space, action_space: gymnasium.Space
    ) -> None:
        """Raises a `ValueError` if the network or the spaces do not fit this agent, before anything is built."""
        network_checks.check_network(network, self.network_outputs, observation_space, action_space)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments; a default network is included as it is.

        Raises:
            ValueError: A subclass does not keep an argument as an attribute of the same name.
        """
        with objects_apart():  # networks may share an encoder
            return {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in self._argument_names()}

    def _argument_names(self):
        """Names of the constructor's arguments; a `ValueError` if one is not kept as an attribute."""
        names = constructor_arguments(type(self), Agent)
        missing = [name for name in names if not hasattr(self, name)]
        if missing:
            raise ValueError(
                f"`{type(self).__name__}` must keep its arguments as attributes of the same names, or have a `get_config`. "
                f"Missing: {missing}"
            )
        return names

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
        env_steps: int | None = None,
        env_processes: int | None = None,
        **unsupported: Any,
    ) -> keras.callbacks.History:
        """Trains on an environment.

        Args:
            env: An environment id, a `gymnasium.Env`, a callable that makes one, a `gymnasium.vector.VectorEnv`, a
                native environment, or a list of ids and callables that are taken in turn (`krp.envs.make`).
            epochs: Epoch at which to stop.
            steps_per_epoch: Gradient steps in an epoch, a multiple of those on one rollout; by default those on
                `rollouts_per_epoch` rollouts.
            validation_data: Environment to `evaluate` in after epochs (`val_return`, ...), or `None`.
            validation_episodes: Episodes of each such evaluation.
            validation_freq: Epochs between such evaluations.
            callbacks: List of Keras callbacks.
            initial_epoch: Epoch at which to start. If it is not 0 and the agent has the state of a training, from the previous
                `fit` or from a file saved during one, that training is resumed exactly: environments, replay buffer and
                random numbers included.
            seed: Integer that determines everything random; drawn from Python's `random` by default, so that
                `keras.utils.set_random_seed` makes runs reproducible.
            verbose: `"auto"`, 0 (silent), 1 (a line with a progress bar) or 2 (a line at the end of each epoch).
            num_envs: Number of environments to make from an id, a callable or a list; about `default_num_envs` by default.
            collectors: What collects the rollouts: `None` for the agent itself; a number of processes, or
                `krp.distributed.RayCollectors(...)`; or any object whose `make_source(agent, env, seed)` returns a
                `keras_rl_prob.sources.RolloutSource`.
            env_steps: Environment steps of all epochs, instead of `steps_per_epoch`: epoch `k` of `n` ends with the first
                rollout that reaches `k / n` of them. Those of earlier runs do not count.
            env_processes: Number of worker processes that step the environments, for slow ones (`krp.envs.in_processes`).
            **unsupported: Raise a `TypeError`: arguments of supervised learning (`y`, `batch_size`, ...).

        Returns:
            Keras' `History`. Its `history` has `return` and `length` (means over the episodes that ended in the epoch, NaN if
            none did), `env_steps` (the total so far), the losses and diagnostics of the algorithm, and with
            `validation_data` the results of `evaluate` as `val_...`; its `rows` has the same as a dict for each epoch.

        Raises:
            TypeError: `env` is not an environment, or arguments of supervised learning were given.
            ValueError: `compile` was not called, or arguments do not fit each other, the network or the environment.
            FloatingPointError: An observation, a reward or a loss is not finite; the gradient step was not taken.
        """
        reject_unknown(Agent.fit, unsupported)
        network_checks.check_no_strategy()
        epochs, seed = checks.integer("epochs", epochs), checks.seed("seed", seed, none=True)
        initial_epoch = checks.integer("initial_epoch", initial_epoch, least=0)
        validation_episodes = checks.integer("validation_episodes", validation_episodes)
        validation_freq = checks.integer("validation_freq", validation_freq)
        env_steps = checked_steps(env_steps, steps_per_epoch, collectors)
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
            stack.callback(end_line, callbacks)
            made = stack.enter_context(opened_by(collectors, self, env, num_envs, env_processes))
            updates = self.updates_per_rollout(made.num_envs)
            steps_per_epoch = whole_rollouts(steps_per_epoch, updates, self.rollouts_per_epoch)
            execution = whole_executions(
                self._requested_steps_per_execution, updates, None if env_steps else steps_per_epoch
            )
            self._prepare_for(made, updates, execution)
            made = self.seen(made)
            stack.enter_context(raising_as_itself())
            stack.enter_context(interruptible())
            if validation_data is not None:
                self._evaluation = self.evaluation(validation_data, validation_episodes, True, 0, stack)
                stack.callback(setattr, self, "_evaluation", None)
            self._rest(goes_on=bool(initial_epoch))
            source = self._graphs.source(made, seed, stack, self._position, collectors)
            budget = Budget(self, env_steps, epochs, initial_epoch) if env_steps else None
            self._training = Training(source, made.num_envs, steps_per_epoch // updates, initial_epoch, budget)
            begin(callbacks, self._training, env, made)
            stack.callback(self._end_training)
            if budget:
                rows = source.driver.steps * made.num_envs * (execution // updates)
                stack.enter_context(budget.applied(callbacks, rows))
            if self._position is not None:
                self._go_on(self._position, initial_epoch)
            else:
                self.begin_training()
            stack.push(lambda kind, *_: source.break_off() if kind else None)
            return super().fit(
                once().repeat(EXECUTIONS),  # the data come from the source's own iterator
                epochs=epochs,
                steps_per_epoch=None if budget else steps_per_epoch,
                validation_data=None if validation_data is None else once(),
                validation_freq=validation_freq,
                callbacks=callbacks,
                initial_epoch=initial_epoch,
                verbose=verbose,
                shuffle=False,
            )

    # ---- what drivers and subclasses use ----------------------------------------------------------------------

    def make_ring(self, specs: Nest, capacity: int) -> Ring:
        """A `Ring` for a source: if a training is resumed whose replay buffer still exists, that one, else a new one."""
        return self._graphs.ring(specs, capacity)

    def _prepare_for(self, env, updates, steps_per_execution=None):
        """Builds the agent, its optimizer and its train function for `env`, or checks that `env` fits them."""
        if self.built:
            network_checks.check_same_spaces(self, env)
        else:
            self.build(env)
        self.failure.assign(failures.NONE)
        execution = steps_per_execution or updates
        compiled_for = updates, execution, env.num_envs, settings(self)
        if compiled_for != getattr(self, "_compiled_for", None) or self.train_function is None:
            self._compiled_for, self.jit_compile, self.train_function = compiled_for, self.wants_xla, None
            self.steps_per_execution, self.rollouts_per_execution = execution, execution // updates

    def _forget_graphs(self):
        """Drops all traced and compiled graphs, except those of policies that were returned to the user."""
        self._rest()
        self._graphs.forget()
        self.train_function = None

    @property
    def wants_xla(self) -> bool:
        """Whether graphs are compiled with XLA, according to `compile`."""
        wanted = self._requested_jit_compile
        return not self.run_eagerly and (
            network_checks.prefers_xla(self.networks) if wanted == "auto" else bool(wanted)
        )
