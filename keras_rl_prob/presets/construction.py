"""Makes agents and environments from configurations."""

from typing import Any

import keras
import numpy as np
from gymnasium.envs.registration import EnvSpec

from keras_rl_prob import checks, envs
from keras_rl_prob.agents import Agent
from keras_rl_prob.envs.native.native_env import NativeEnv
from keras_rl_prob.learning.budget import checked_steps, whole_executions, whole_rollouts
from keras_rl_prob.presets.configuration import check, environment, is_object, kind_of, makers, with_defaults


def build(config: dict[str, Any]) -> Agent:
    """Makes and compiles the agent that a configuration describes.

    Args:
        config: A configuration as `check` describes it, for example a preset.

    Returns:
        A compiled agent, not yet built for an environment unless the configuration has a `network`.

    Raises:
        ValueError: The configuration is invalid, or its numbers do not fit together.
        TypeError: An argument has an invalid type.

    Example:
    >>> build({"env": {"id": "CartPole-v1"}, "agent": {"class": "PPO", "clip_ratio": 0.1}}).clip_ratio
    0.1
    """
    return _agent(*_completed(config))


def complete(config: dict[str, Any]) -> dict[str, Any]:
    """A copy of a configuration with all arguments, including the current defaults, and all decay steps as numbers.

    Args:
        config: A configuration as `check` describes it.

    Raises:
        ValueError: The configuration is invalid, or its numbers do not fit together.

    Example:
    >>> complete({"env": {"id": "CartPole-v1"}, "agent": {"class": "PPO"}})["agent"]["rollout_steps"]
    128
    """
    return _completed(config)[0]


def default_optimizer(config: dict[str, Any]) -> dict[str, Any] | None:
    """The section `optimizer` that says in full what the agent of a configuration does without one.

    Args:
        config: A configuration as `check` describes it.

    Returns:
        The section, or `None` if the agent's parts have optimizers of their own.

    Example:
    >>> default_optimizer({"env": {"id": "CartPole-v1"}, "agent": {"class": "PPO"}})
    {'class': 'Adam', 'learning_rate': 0.0003, 'global_clipnorm': 0.5, 'epsilon': 1e-05}
    """
    check(config)
    config = _decaying_over(with_defaults(config), 1)
    optimizer = _made("agent", config["agent"], config, network=None).default_optimizer()
    if isinstance(optimizer, dict) or not isinstance(optimizer.learning_rate, keras.Variable):
        return None
    entries = optimizer.get_config()
    usual = type(optimizer)(0.0).get_config()
    changed = {name: value for name, value in entries.items() if name != "name" and value != usual[name]}
    rate = float(str(np.float32(entries["learning_rate"])))  # 0.0003 instead of 0.0003000000142492354
    return {"class": type(optimizer).__name__} | changed | {"learning_rate": rate}


def make_env(
    config: dict[str, Any], validation: bool = False, num_envs: int | None = None
) -> str | NativeEnv | EnvSpec:
    """The environment of a configuration, for `fit`, `evaluate` and the builders of networks.

    Args:
        config: A configuration as `check` describes it.
        validation: Whether to return the environment for evaluation.
        num_envs: Number of native environments to make if there are `kwargs`; `None` for the number used in training.

    Returns:
        The id, or, if there are `kwargs`, a native environment or an `EnvSpec`.

    Raises:
        ValueError: An argument is invalid, or the environment does not take its `kwargs`.

    Example:
    >>> make_env({"env": {"id": "tf/Recall-v0", "num_envs": 4, "kwargs": {"delay": 9}}}).delay
    9
    """
    env, validation = environment(config), checks.flag("validation", validation)
    num_envs = checks.integer("num_envs", num_envs, none=True)
    kwargs = env["kwargs"] | (env["validation_kwargs"] if validation else {})
    if not kwargs:
        return env["id"]
    if env["id"].startswith("tf/"):
        return envs.make_native(env["id"], env["num_envs"] if num_envs is None else num_envs, **kwargs)
    return envs.spec(env["id"], **kwargs)


def _completed(config):
    """The result of `complete`, and the network, so that it is not built twice: a large one takes seconds."""
    check(config)
    config = with_defaults(config)
    fit, network = config["fit"], config.get("network")
    network = _made("network", network, config) if network else None
    agent = _agent(_decaying_over(config, 1), network)
    num_envs = config["env"]["num_envs"]
    updates = agent.updates_per_rollout(num_envs)
    env_steps = checked_steps(fit["env_steps"], fit["steps_per_epoch"])
    steps_per_epoch = whole_rollouts(fit["steps_per_epoch"], updates, agent.rollouts_per_epoch)
    whole_executions(config["compile"]["steps_per_execution"], updates, None if env_steps else steps_per_epoch)
    steps = fit["epochs"] * steps_per_epoch
    if env_steps:
        steps = -(-env_steps // (getattr(agent, "rollout_steps", 1) * num_envs)) * updates
    return _decaying_over(config, steps), network


def _agent(config, network):
    agent = _made("agent", config["agent"], config, network=network)
    agent.compile(
        _made("optimizer", config["optimizer"], config) if config.get("optimizer") else None, **config["compile"]
    )
    return agent


def _made(path, entries, config, **arguments):
    """The object that `entries`, at `path` of `config`, describe, with the objects among its arguments."""
    kind = kind_of(path, entries)
    if kind == "builder":
        env = make_env(config)
        extended = config["agent"].get("previous_action_and_reward", False)
        arguments["env"] = envs.with_previous_step(env) if extended else env
    for name, value in entries.items():
        if name != kind:
            inner = f"{path}.{name}"
            value = (
                float(value) if name == "learning_rate" and isinstance(value, int) else value
            )  # Keras does not take integers
            arguments[name] = _made(inner, value, config) if is_object(value) else value
    return makers(path, kind)[entries[kind]](**arguments)


def _decaying_over(entries, steps):
    """A copy of nested dicts in which `decay_steps` of `None` are `steps`."""
    if not isinstance(entries, dict):
        return entries
    return {
        name: steps if name == "decay_steps" and value is None else _decaying_over(value, steps)
        for name, value in entries.items()
    }
