"""Several learners in processes of their own, whose weights are averaged from time to time."""

import queue
import random
import threading
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_rl_prob import checks
from keras_rl_prob.distributed.collector import Failure, Order
from keras_rl_prob.distributed.crew import seed_of
from keras_rl_prob.distributed.engine import Died, connected
from keras_rl_prob.envs import NativeEnv, is_owned, opened
from keras_rl_prob.envs.factory import Env
from keras_rl_prob.envs.processes.worker_report import portable
from keras_rl_prob.learning.callbacks import EpochHistory, set_directions
from keras_rl_prob.networks.weights import average_of
from keras_rl_prob.types import Logs

GLANCE = 0.2  # seconds between looks at Ctrl-C


def state_of(agent: keras.Model) -> list[Any]:
    """The variables of a compiled agent that learners average: its weights, and those of its optimizers."""
    return [*agent.weights, *(x for optimizer in agent.optimizers.values() for x in optimizer.variables)]


def assign(agent: keras.Model, values: Sequence[np.ndarray]) -> None:
    """Sets the variables of `state_of`."""
    for variable, value in zip(state_of(agent), values, strict=True):
        variable.assign(value)


class Exchange(keras.callbacks.Callback):
    """Sends the logs and the variables of the agent after each epoch, and goes on with those that it receives.

    Args:
        sent: Queue of pairs of logs and values.
        received: Queue of values.
    """

    def __init__(self, sent: queue.Queue, received: queue.Queue) -> None:
        super().__init__()
        self._sent, self._received = sent, received

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Waits for the other learners, but not after the last epoch."""
        self._sent.put((dict(logs), [keras.ops.convert_to_numpy(x) for x in state_of(self.model)]))
        if epoch + 1 < self.params["epochs"]:
            assign(self.model, self._received.get())


class Learner:
    """Trains a copy of an agent in one call of `fit`, in a thread that waits after each epoch.

    Args:
        name: Name for messages.
        order: An `Order`; its `settings` have the configs of the optimizers, and `jit_compile`.
        env: Anything that `krp.envs.make` accepts.
        num_envs: Number of environments.
        place: Its number among the learners, and how many there are.
        settings: Dict of other arguments of `fit`, with `seed`.
    """

    def __init__(
        self, name: str, order: Order, env: Env, num_envs: int, place: tuple[int, int], settings: dict[str, Any]
    ) -> None:
        self._name, self._order, self._env, self._num_envs = name, order, env, num_envs
        self._settings = settings | {"seed": seed_of(settings["seed"], place[0], 0)}
        self._orders: queue.Queue = queue.Queue()
        self._results: queue.Queue = queue.Queue()
        self._thread: threading.Thread | None = None

    def learn(self, values: list[np.ndarray]) -> tuple[dict[str, float], list[np.ndarray]] | Failure:
        """Trains for an epoch, beginning with these values of `state_of`; returns its logs and the values after it."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        self._orders.put(values)
        return self._results.get()

    def _run(self):
        try:
            agent, settings = self._order.make_agent(), self._order.settings
            optimizers = {key: keras.saving.deserialize_keras_object(x) for key, x in settings["optimizers"].items()}
            agent.compile(optimizers, jit_compile=settings["jit_compile"], metrics=settings["metrics"])
            if settings["experience"]:
                agent.add_experience(settings["experience"])
            assign(agent, self._orders.get())
            callbacks = [Exchange(self._results, self._orders)]
            agent.fit(self._env, num_envs=self._num_envs, callbacks=callbacks, verbose=0, **self._settings)
        except Exception as error:
            error.add_note(f"Raised in {self._name}.")
            self._results.put(Failure(portable(error, self._name)))


def fit_learners(
    agent: keras.Model,
    env: Env,
    learners: int,
    epochs: int = 1,
    steps_per_epoch: int | None = None,
    callbacks: list[keras.callbacks.Callback] | None = None,
    seed: int | None = None,
    num_envs: int | None = None,
    address: str | None = None,
    num_cpus: float = 1,
) -> keras.callbacks.History:
    """Trains several copies of an agent in processes of their own, and averages them after each epoch.

    Each learner has its own environments, its own replay buffer and random numbers, and trains as `agent.fit` does. After an
    epoch the agent gets the mean of their weights, statistics and optimizer variables,

        theta <- 1/N sum_i theta_i,

    and all learners go on from it. Its `env_steps` are those of all learners. So processes or machines exchange weights once
    in an epoch, instead of rollouts or gradients at each step. One learner is `agent.fit`, bit by bit; several are reproducible
    with native environments.

    Args:
        agent: A compiled agent of any class.
        env: As in `fit`: an id, a callable, a list of these, or a native environment.
        learners: Number of learners, `N`.
        epochs: Number of epochs, which is that of averages.
        steps_per_epoch: Gradient steps of each learner in an epoch, as in `fit`.
        callbacks: List of Keras callbacks, called here at the begin and end of training and epochs; not those that watch
            gradient steps, such as `EnvStepLimit`, nor `BackupAndRestore`.
        seed: Integer that determines everything random; by default drawn from Python's `random`.
        num_envs: Number of environments of each learner, as in `fit`.
        address: Where Ray runs, see `RayCollectors`.
        num_cpus: CPUs that Ray reserves for each learner, and threads of its TensorFlow.

    Returns:
        Keras' `History`: means over the learners, of those that have a number; `env_steps` of all.

    Raises:
        ValueError: An argument is out of its range, or the agent is not compiled.
        TypeError: The environment cannot be sent to another process.
        RuntimeError: A learner has been lost; the agent is that of the last average.
        Exception: What a learner raised, with its name.

    References:
        McMahan et al., 2016, https://arxiv.org/abs/1602.05629; Stich, "Local SGD converges fast and communicates little", 2018,
        https://arxiv.org/abs/1805.09767.

    Example:
    ```python
    agent = krp.PPO()
    agent.compile()
    krp.distributed.fit_learners(agent, "CartPole-v1", learners=2, epochs=5, steps_per_epoch=32)
    ```
    """
    learners, epochs = checks.integer("learners", learners), checks.integer("epochs", epochs)
    _check_callbacks(callbacks)
    num_cpus, seed = checks.number("num_cpus", num_cpus, above=0.0), checks.seed("seed", seed, none=True)
    if not agent.compiled:
        raise ValueError("`agent` must be compiled: call `agent.compile()` first. Received: an agent that is not")
    if not is_owned(env) and not isinstance(env, NativeEnv):
        raise TypeError(
            "`env` must be something that can be sent to other processes: pass an id, or a callable that makes the environment "
            f"there. Received: env={env!r}, which is already made"
        )
    with opened(env, num_envs, agent.default_num_envs) as made:
        num_envs = made.num_envs
        if not agent.built:
            agent.build(made)
    optimizers = {name: keras.saving.serialize_keras_object(x) for name, x in agent.optimizers.items()}
    compiled = {"optimizers": optimizers, "jit_compile": agent.wants_xla, "metrics": list(agent.watched)}
    order = Order.of(agent, None, {**compiled, "experience": getattr(agent, "experience", [])})
    seed = random.randrange(2**31) if seed is None else seed
    settings = {"epochs": epochs, "steps_per_epoch": steps_per_epoch, "seed": seed}
    called = keras.callbacks.CallbackList(
        [*keras.tree.flatten(callbacks or []), EpochHistory()], model=agent, epochs=epochs, verbose=0
    )
    with connected(address, learners, num_cpus) as engine:
        engine.check_portable(env)
        sent, team = engine.put(order), []
        try:
            team += [
                engine.hire(Learner, name_of(index), sent, env, num_envs, (index, learners), settings)
                for index in range(learners)
            ]
            return _rounds(agent, engine, team, called, epochs)
        finally:
            for learner in team:
                engine.dismiss(learner)


def _check_callbacks(callbacks):
    """Refuses what needs more than the ends of epochs, and sets the `mode` of monitors, as `fit` does."""
    for callback in keras.tree.flatten(callbacks or []):
        of_steps = type(callback).__module__.startswith("keras_rl_prob.") and "on_train_batch_end" in vars(
            type(callback)
        )
        if of_steps or isinstance(callback, keras.callbacks.BackupAndRestore):
            raise ValueError(
                "`callbacks` of `fit_learners` are called before and after epochs: gradient steps take place in other "
                f"processes and cannot be watched, and a training is not resumed. Received: {type(callback).__name__}"
            )
    set_directions(callbacks)


def _rounds(agent, engine, team, called, epochs):
    """Trains for some epochs with learners that have been started; returns the `History`."""
    agent.stop_training = False
    called.on_train_begin()
    for epoch in range(epochs):
        called.on_epoch_begin(epoch)
        before = [keras.ops.convert_to_numpy(x) for x in state_of(agent)]
        values = engine.put(before)
        answers = _results(engine, [engine.call(learner, "learn", values) for learner in team])
        states = [_checked(index, before, state) for index, (_, state) in enumerate(answers)]
        assign(agent, average_of(states))
        (place,) = [index for index, x in enumerate(state_of(agent)) if x is agent.env_steps]
        agent.env_steps.assign(before[place] + sum(state[place] - before[place] for state in states))
        logs = _mean([logs for logs, _ in answers]) | {"env_steps": float(agent.env_steps)}
        called.on_epoch_end(epoch, logs)
        if agent.stop_training:
            break
    called.on_train_end()
    return called.callbacks[-1]


def _results(engine, references):
    """The results of all learners, in order; raises what one of them raised."""
    waiting, results = dict(enumerate(references)), {}
    while waiting:
        for reference in engine.ready(list(waiting.values()), GLANCE):
            index = next(index for index, other in waiting.items() if other is reference)
            try:
                results[index] = engine.result(waiting.pop(index))
            except Died as error:
                raise RuntimeError(f"{name_of(index)} has been lost: {error}") from error
            if isinstance(results[index], Failure):
                raise results[index].error
    return [results[index] for index in sorted(results)]


def _checked(index, expected, state):
    """What a learner returned; a `ValueError` unless it has the shapes and dtypes of the agent's variables and is finite."""
    if [(x.shape, x.dtype) for x in state] != [(x.shape, x.dtype) for x in expected]:
        raise ValueError(f"The variables of {name_of(index)} must have the shapes and dtypes of the agent's")
    if not all(np.isfinite(x.astype(np.float64)).all() for x in state):
        raise ValueError(f"The variables of {name_of(index)} must be finite")
    return state


def _mean(logs):
    """The mean of several dicts of numbers, NaN only where all are."""
    columns = {name: [x[name] for x in logs if not np.isnan(x[name])] for name in logs[0]}
    return {name: float(np.mean(numbers)) if numbers else np.nan for name, numbers in columns.items()}


def name_of(index: int) -> str:
    """Name of a learner, for messages."""
    return f"learner {index}"
