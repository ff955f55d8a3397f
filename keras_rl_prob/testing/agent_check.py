"""`check_agent`: checks that your own agent meets the requirements of all agents of this library."""

import copy
import json
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_rl_prob import checks
from keras_rl_prob.agents import Agent
from keras_rl_prob.agents.vocabulary import constructor_arguments, reject_unknown
from keras_rl_prob.envs import NativeEnv, is_owned, opened
from keras_rl_prob.testing.agent_acting import check_acting


def check_agent(
    make: Callable[[], keras.Model],
    env: Any = "tf/CartPole-v1",
    num_envs: int = 4,
    rollouts: int = 2,
    seed: int = 0,
    **unsupported: Any,
) -> None:
    """Trains small agents and raises an error for the first requirement that is not met.

    The checks: files contain all arguments; initial weights depend only on Keras' seed; every loss and
    metric of `metric_names` is finite, and every variable of every part changes; `act`, `policy`, `predict` and `evaluate`
    choose the same actions, and the state of a recurrent network is reset where an episode starts; the graph computes the same
    as eager Python; the same seed gives the same result; and an agent loaded from a file acts like the original and, on a
    native environment, continues training to bit-identical weights.

    The agents should be small, with short rollouts: two epochs are trained three times.

    Args:
        make: Function without arguments that makes a new agent, such as a class of agents. Of its `compile` arguments only
            the optimizers are used; an agent that is not compiled gets its default optimizer.
        env: Anything that `fit` accepts; unless it is an object, new environments are made for each run.
        num_envs: Number of environments to make.
        rollouts: Rollouts in an epoch, after which every variable must have changed; use more of them for an agent that
            does not learn from the start.
        seed: Integer seed of all random numbers, including Keras' global seed.
        **unsupported: None; other arguments raise a `TypeError`.

    Raises:
        TypeError: `make` does not return an agent, or an argument is unknown.
        ValueError: A requirement is not met; the message names the method, and what it must do. Exceptions of the agent are
            raised unchanged.

    Example:
    ```python
    krp.testing.check_agent(lambda: krp.A2C(rollout_steps=4))
    ```
    """
    reject_unknown(check_agent, unsupported)
    num_envs, rollouts = checks.integer("num_envs", num_envs), checks.integer("rollouts", rollouts)
    trial = Trial(make, env, num_envs, rollouts, checks.seed("seed", seed, least=0))
    apart = trial.agent()
    _check_registered(apart)
    _check_arguments(apart)
    agent = trial.agent(run_eagerly=True)  # networks among the arguments were created again, with the global seed
    with opened(env, num_envs if is_owned(env) else None) as made:
        agent.build(made)
        _check_initial_weights(agent, trial.agent(), made)
        history = _check_learning(agent, trial)
        check_acting(agent, made, trial.seed)
        _check_repeats(trial, made, history)


class Trial:
    """Makes and trains agents in the same way each time.

    Args:
        make: See `check_agent`.
        env: See `check_agent`.
        num_envs: See `check_agent`.
        rollouts: See `check_agent`.
        seed: See `check_agent`.
    """

    def __init__(self, make: Callable[[], keras.Model], env: Any, num_envs: int, rollouts: int, seed: int) -> None:
        self._make, self._env, self.seed = make, env, seed
        self._num_envs, self._rollouts = num_envs if is_owned(env) else None, rollouts

    def agent(self, run_eagerly: bool = False) -> keras.Model:
        """A new agent, compiled."""
        keras.utils.set_random_seed(self.seed)
        agent = self._make()
        if not isinstance(agent, Agent):
            raise TypeError(f"`make` must return an agent. Received: make={self._make!r}, which returned {agent!r}")
        optimizer = (agent.optimizers or agent.optimizer) if agent.compiled else None
        agent.compile(optimizer, jit_compile=False, run_eagerly=run_eagerly)
        return agent

    def fit(self, agent: keras.Model, epoch: int = 0) -> Any:
        """Trains for one epoch, as a new run if it is the first; returns the history without the speed."""
        steps = self._rollouts * agent.updates_per_rollout(self._num_envs or self._env.num_envs)
        settings = {"num_envs": self._num_envs, "seed": self.seed, "verbose": 0, "steps_per_epoch": steps}
        history = agent.fit(self._env, initial_epoch=epoch, epochs=epoch + 1, **settings).history
        return {name: values for name, values in history.items() if name != "env_steps_per_second"}


def _check_registered(agent):
    kind = type(agent)
    if keras.saving.get_registered_object(keras.saving.get_registered_name(kind)) is not kind:
        raise ValueError(
            f"`{kind.__name__}` must be registered by `@keras.saving.register_keras_serializable(...)`, so that its files can "
            f"be loaded. Received: {kind}"
        )


def _check_arguments(agent):
    """Raises a `ValueError` if an argument is missing in `get_config`, or has another value there."""
    kind, config = type(agent), json.loads(json.dumps(agent.get_config()))
    lost = [name for name in constructor_arguments(kind, Agent) if name not in config]
    if lost:
        raise ValueError(f"`{kind.__name__}.get_config` must have every argument of the constructor. Missing: {lost}")
    others = {name: _other(value) for name, value in config.items() if isinstance(value, bool | int | float)}
    without = {name: None for name in config if name == "network"}  # a network takes time to make, and is not a number
    for change in ({}, *(without | {name: value} for name, value in others.items())):
        given = config | change
        try:
            again = json.loads(json.dumps(kind.from_config(copy.deepcopy(given)).get_config()))
        except ValueError:
            if not change:
                raise
            continue  # no other valid value is known
        for name, value in given.items():
            if again[name] != value:
                raise ValueError(
                    f"`{kind.__name__}` must keep its arguments as they are given. Received: {name}={value!r}, of which "
                    f"`get_config` makes {again[name]!r}"
                )


def _other(value):
    """Another value for an argument that is likely to be valid."""
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else 0.5 * value + 0.25


def _check_initial_weights(agent, other, env):
    other.build(env)
    differ = _differences(numbers(agent), numbers(other))
    if differ:
        raise ValueError(
            f"`{type(agent).__name__}.build` must make the same weights after the same `keras.utils.set_random_seed`. "
            f"Received: others in {differ}"
        )


def _check_learning(agent, trial):
    """Raises a `ValueError` unless an epoch changes every part and logs finite numbers; returns its history."""
    name, parts = type(agent).__name__, agent.parts()
    before = [[np.array(variable) for variable in part.variables] for part in parts]
    history = trial.fit(agent)
    missing = [metric for metric in agent.metric_names() if metric not in history]
    if missing:
        raise ValueError(
            f"`{name}.metric_names` must name what an epoch reports. Received: {missing}, of {sorted(history)}"
        )
    infinite = {key: x for key, x in history.items() if key not in ("return", "length") and not np.isfinite(x).all()}
    if infinite:
        raise ValueError(f"`{name}.fit` must report finite numbers. Received: {infinite}")
    for part, values in zip(parts, before, strict=True):
        pairs = zip(values, part.variables, strict=True)
        same = [variable.path for value, variable in pairs if np.array_equal(value, variable)]
        if same:
            loss = getattr(part.loss, "__name__", part.name)
            raise ValueError(
                f"`{name}.{loss}` must change all variables of the part {part.name!r} within an epoch. "
                f"Received: the same numbers as before in {same}"
            )
    return history


def _check_repeats(trial, env, eager_history):
    """Raises a `ValueError` unless graphs compute the same as Python, a seed fixes the result, and files resume exactly."""
    agent = trial.agent()
    agent.build(env)
    name = type(agent).__name__
    with tempfile.TemporaryDirectory() as folder:
        fresh, file = pathlib.Path(folder) / "fresh.weights.h5", pathlib.Path(folder) / "agent.keras"
        agent.save_weights(fresh)
        history = trial.fit(agent)
        for key, values in history.items():
            if not np.allclose(values, eager_history[key], rtol=1e-3, atol=1e-5, equal_nan=True):
                raise ValueError(
                    f"`{name}.train_step` must compute in a graph what it computes eagerly. Received: {key}={values[0]} in a "
                    f"graph, {eager_history[key][0]} eagerly"
                )
        trial.fit(agent, 1)
        expected = numbers(agent)
        agent.load_weights(fresh)
        trial.fit(agent)
        agent.save(file)
        loaded = keras.saving.load_model(file)
        _check_equal(f"`{name}.save` must store all numbers", numbers(agent), numbers(loaded))
        trial.fit(agent, 1)
        rule = f"`{name}.fit` must come to the same weights with the same seed, and keep by `add_number` what updates change"
        _check_equal(rule, expected, numbers(agent))
        if isinstance(env, NativeEnv):
            trial.fit(loaded, 1)
            _check_equal(
                f"`{name}.fit` must continue from a loaded file as if it had not been interrupted",
                expected,
                numbers(loaded),
            )


def _check_equal(what, expected, received):
    differ = _differences(expected, received)
    if differ:
        raise ValueError(f"{what}. Received: others in {differ}")


def numbers(agent: keras.Model) -> list[tuple[str, np.ndarray]]:
    """Paths and values of all variables of an agent and its optimizers, a list of pairs."""
    optimizers = (agent.optimizers or {"": agent.optimizer}).values()
    variables = agent.weights + [variable for optimizer in optimizers for variable in optimizer.variables]
    return [(variable.path, np.array(variable)) for variable in variables]


def _differences(expected, received):
    """Paths of the variables that are not bit-identical."""
    if len(expected) != len(received):
        return [f"{len(received)} variables, not {len(expected)}"]
    pairs = zip(expected, received, strict=True)
    return [path for (path, x), (_, y) in pairs if not np.array_equal(x, y, equal_nan=True)]
