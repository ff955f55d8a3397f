"""Checks of configurations, and their defaults."""

import copy
import dataclasses
import difflib
import inspect
import math
from typing import Any

import keras

from keras_rl_prob import agents, checks, networks
from keras_rl_prob.agents.vocabulary import SYNONYMS, constructor_parameters, meant
from keras_rl_prob.presets.moved import name_of, present_form
from keras_rl_prob.settings import Settings

REQUIRED = inspect.Parameter.empty
NOTES = ("name", "description", "seed", "version")
PLAIN: dict[str, dict[str, Any]] = {
    "env": {
        "id": REQUIRED,
        "num_envs": 32,
        "kwargs": {},
        "validation_kwargs": {},
        "collectors": None,
        "processes": None,
    },
    "compile": {"steps_per_execution": None, "jit_compile": "auto", "run_eagerly": False, "metrics": ()},
    "fit": {
        "epochs": 10,
        "steps_per_epoch": None,
        "env_steps": None,
        "validation_episodes": 20,
        "validation_freq": 1,
    },
}
NAMED = ("cell", "noisy")  # arguments that are a name or `None`
MADE = {"agent": "class", "network": "builder", "optimizer": "class"}  # section: the key that names what it makes


def check(config: dict[str, Any]) -> None:
    """Raises a `ValueError` unless `config` is a configuration; for an unknown key the message suggests the closest ones.

    A configuration is a dict as it comes from JSON:

    * `env`: `id`; `num_envs`, default: the agent's `default_num_envs`; `kwargs`, further arguments of the environment's
        constructor; `validation_kwargs`, additional or other arguments for evaluation and videos;
        `collectors`, number of processes that collect, or `None`; `processes`, number of processes that the environments
        run in, or `None`.
    * `agent`, `optimizer`: `class`, its name in `krp` or `keras.optimizers`, and arguments of its constructor. Your own agent
        has the name `"package>Name"` under which `keras.saving.register_keras_serializable("package")` registered it.
    * `network`: `builder`, a function of `krp.networks`, and its arguments; default: the agent's default network.
    * `compile`: `steps_per_execution`, `jit_compile`, `run_eagerly`, `metrics`.
    * `fit`: `epochs`, `steps_per_epoch` or `env_steps`, `validation_episodes`, `validation_freq`.
    * `name`, `description`, `seed`, `version`: for the record.

    An argument that is an object is itself a dict with a `class`: a schedule of `keras.optimizers.schedules`, or one of the
    settings of agents, such as a `KLPenalty` or an `EpsilonGreedy`; for a `ReplaySettings` `class` may be left out, and
    arguments of such settings may also be arguments of the agent itself (`agent.capacity`). A further network of an agent is
    a dict with a `builder`. The `decay_steps` of a schedule over gradient steps may be `None` for all gradient steps of the
    run; with `env_steps`, for those on as many full rollouts.

    Args:
        config: The configuration.

    Raises:
        ValueError: A key is unknown or missing, or a value has another type than its default.

    Example:
    >>> check({"env": {"id": "CartPole-v1"}, "agent": {"class": "PPO"}, "optimiser": {"class": "Adam"}})
    Traceback (most recent call last):
        ...
    ValueError: A configuration has no `optimiser`. Did you mean `optimizer`? Received: optimiser={'class': 'Adam'}
    """
    sections = [*MADE, *PLAIN]
    for name in sections if isinstance(config, dict) else ():
        if not isinstance(config.get(name), dict | None):
            raise ValueError(f"`{name}` must be a dict, or null. Received: {name}={config[name]!r}")
    if not isinstance(config, dict):
        raise ValueError(f"A configuration must be a dict of the sections {sections}. Received: {str(config)[:200]}")
    config = present_form(config, makers("agent"))
    known = defaults(config)
    for key, value in _entries(config):
        if key not in known:
            raise ValueError(f"A configuration has no `{key}`.{_hint(key, known)} Received: {key}={value!r}")
        named = isinstance(value, str) and key.rpartition(".")[2] in NAMED
        if not _fits(known[key], value) and not named:
            raise ValueError(f"`{key}` must be {_wanted(known[key])}. Received: {key}={value!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"`{key}` must be a finite number. Received: {key}={value!r}")
        if key.startswith("optimizer."):
            _check_optimizers(key, value, known[key])
    for key, default in known.items():
        if default is REQUIRED and lookup(config, key) is REQUIRED:
            raise ValueError(f"`{key}` must be given. Received: none")
    _check_plain(with_defaults(config))


def _check_plain(config):
    environment(config)
    if config["compile"]["jit_compile"] not in (True, False, "auto"):
        raise ValueError(
            '`compile.jit_compile` must be true, false or "auto". '
            f"Received: compile.jit_compile={config['compile']['jit_compile']!r}"
        )
    checks.seed("seed", config.get("seed", 0), least=0)
    for name in ("name", "description", "version"):
        if not isinstance(config.get(name, ""), str):
            raise ValueError(f"`{name}` must be a string. Received: {name}={config[name]!r}")
    for name in ("epochs", "validation_episodes", "validation_freq"):
        checks.integer(f"fit.{name}", config["fit"][name])
    checks.integer("fit.env_steps", config["fit"]["env_steps"], none=True)


def _check_optimizers(key, value, default):
    """Raises a `ValueError` for values that Keras silently accepts, but with which nothing is learned."""
    name = key.rpartition(".")[2]
    if is_object(value) or name == "exclude_layers":
        return
    if name in ("learning_rate", "decay_steps"):
        checks.number(key, value, above=0.0, none=name == "decay_steps")
    elif name == "initial_learning_rate" or default is None or (_is_number(default) and default >= 0):
        checks.number(key, value, none=default is None)


def environment(config: dict[str, Any]) -> dict[str, Any]:
    """The section `env` of a configuration with its defaults; raises a `ValueError` if it is invalid."""
    env = config.get("env") if isinstance(config, dict) else None
    if not isinstance(env, dict) or not isinstance(env.get("id"), str) or not env["id"]:
        received = f"env.id={env.get('id')!r}" if isinstance(env, dict) else str(config)[:200]
        raise ValueError(f"`env.id` must be the id of an environment. Received: {received}")
    agent: dict[str, Any] = config.get("agent") or {}
    made = makers("agent").get(agent.get("class", ""))
    env = PLAIN["env"] | ({"num_envs": made.default_num_envs} if made else {}) | env
    checks.integer("env.num_envs", env["num_envs"])
    for name in ("collectors", "processes"):
        checks.integer(f"env.{name}", env[name], none=True)
    for name in ("kwargs", "validation_kwargs"):
        if not isinstance(env[name], dict) or not all(isinstance(key, str) for key in env[name]):
            raise ValueError(f"`env.{name}` must be an object of arguments. Received: env.{name}={env[name]!r}")
    return env


def defaults(config: dict[str, Any]) -> dict[str, Any]:
    """Dict from all keys that a configuration like `config` may have to their defaults, or to `REQUIRED`."""
    keys = {f"{section}.{name}": value for section, entries in PLAIN.items() for name, value in entries.items()}
    for section in MADE:
        if section == "agent" or config.get(section):
            keys |= _arguments(section, config.get(section) or {})
    return keys | {"env.num_envs": makers("agent")[config["agent"]["class"]].default_num_envs}


def with_defaults(config: dict[str, Any]) -> dict[str, Any]:
    """A copy of a checked configuration with all defaults."""
    config = dict.fromkeys(MADE) | present_form(copy.deepcopy(config), makers("agent"))
    for key, default in defaults(config).items():
        if default is not REQUIRED and lookup(config, key) is REQUIRED:
            assign(config, key, copy.deepcopy(default))
    return config


def assign(config: dict[str, Any], key: str, value: Any) -> None:
    """Sets the value of a dotted key such as `agent.clip_ratio`; missing sections are created.

    Args:
        config: The configuration, which is changed.
        key: The key.
        value: Any JSON value.

    Raises:
        ValueError: A section in the key is a value instead, or `config` or `key` is invalid; nothing is changed then.

    Example:
    >>> config = {}
    >>> assign(config, "agent.clip_ratio", 0.1)
    >>> config
    {'agent': {'clip_ratio': 0.1}}
    """
    if not isinstance(config, dict):
        raise ValueError(f"`config` must be a dict. Received: config={config!r}")
    *path, last = checks.text("key", key).split(".")
    if not all((*path, last)):
        raise ValueError(f"`key` must be names with dots between them. Received: key={key!r}")
    for name in path:
        if config.get(name) is None:
            config[name] = {}
        config = config[name]
        if not isinstance(config, dict):
            raise ValueError(f"`{key}` cannot be set: `{name}` is not a section. Received: {name}={config!r}")
    config[last] = value


def lookup(config: dict[str, Any], key: str) -> Any:
    """The value of a dotted key of a configuration, or `REQUIRED` if there is none."""
    for name in key.split("."):
        if not isinstance(config, dict) or name not in config:
            return REQUIRED
        config = config[name]
    return config


def kind_of(path: str, entries: dict[str, Any]) -> str:
    """The key that says what the object at `path` is: `class`, or `builder` for a network."""
    return MADE.get(path) or ("builder" if "builder" in entries else "class")


def makers(path: str, kind: str | None = None) -> dict[str, Any]:
    """Dict from the valid names for the `class` or `builder` at `path` to these classes and functions."""
    if path == "agent":
        classes = _subclasses(agents, agents.Agent) | _registered(agents.Agent)
        return {name: c for name, c in classes.items() if not inspect.isabstract(c)}
    if (kind or MADE.get(path)) == "builder":
        return {
            name: f
            for name, f in inspect.getmembers(networks, inspect.isfunction)
            if next(iter(inspect.signature(f).parameters)) == "env"
        }
    if path == "optimizer":
        return _subclasses(keras.optimizers, keras.optimizers.Optimizer)
    schedules = keras.optimizers.schedules
    return (
        _subclasses(schedules, schedules.LearningRateSchedule) | _subclasses(agents, Settings) | _registered(Settings)
    )


def _subclasses(module, base):
    members = inspect.getmembers(module, inspect.isclass)
    return {name: c for name, c in members if issubclass(c, base) and c is not base}


def _registered(base):
    """Classes outside this library that are registered with Keras, by their registered names."""
    classes = [c for c in keras.saving.get_custom_objects().values() if inspect.isclass(c) and issubclass(c, base)]
    return {name_of(c): c for c in classes if not c.__module__.startswith("keras_rl_prob.")}


def _arguments(path, entries):
    """The part of `defaults` that belongs to one object."""
    kind = kind_of(path, entries)
    known, made = makers(path, kind), entries.get(kind)
    if not isinstance(made, str) or made not in known:
        hint = " Import the module that registers it first." if ">" in str(made) else _nearest(str(made), known)
        raise ValueError(f"`{path}.{kind}` must be one of {sorted(known)}.{hint} Received: {path}.{kind}={made!r}")
    keys = {f"{path}.{kind}": REQUIRED}
    for name, parameter in _parameters(known[made]):
        if name not in ("env", "name", "network") and parameter.kind is not parameter.VAR_KEYWORD:
            default = _as_entries(parameter.default)
            keys[f"{path}.{name}"] = default
            if is_object(entries.get(name)):
                keys |= _arguments(f"{path}.{name}", entries[name])
            elif is_object(default) and not _is_number(entries.get(name)):
                keys |= {f"{path}.{name}.{field}": value for field, value in default.items()}
    return keys


def _as_entries(default):
    """The default of an argument in the form of a configuration."""
    if not isinstance(default, Settings):
        return default
    return {"class": name_of(type(default))} | {f.name: getattr(default, f.name) for f in dataclasses.fields(default)}


def _parameters(maker):
    """Pairs of name and `inspect.Parameter` of a function or class, for agents those behind `**kwargs`, too."""
    if inspect.isclass(maker) and issubclass(maker, agents.Agent):
        return constructor_parameters(maker, agents.Agent).items()
    if not inspect.isclass(maker):
        return inspect.signature(maker).parameters.items()
    return list(inspect.signature(maker.__init__).parameters.items())[1:]  # some versions of Python use `__new__` first


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_object(value: Any) -> bool:
    """Whether a value describes an object that an argument gets."""
    return isinstance(value, dict) and ("class" in value or "builder" in value)


def _entries(config):
    """Pairs of dotted key and value, of objects and their entries, and of the entries of sections."""
    for section, entries in config.items():
        if section in (*MADE, *PLAIN):
            yield from _flat(section, entries or {})
        elif section not in NOTES:
            yield section, entries


def _flat(path, entries):
    for name, value in entries.items():
        yield f"{path}.{name}", value
        if is_object(value) and path != "env":
            yield from _flat(f"{path}.{name}", value)


def _fits(default, value):
    """Whether a JSON `value` has a type that fits `default`; the class that takes it checks the value itself."""
    if isinstance(default, bool):
        return isinstance(value, bool) or is_object(value)
    if isinstance(default, dict):
        return isinstance(value, dict) or (is_object(default) and _is_number(value))  # such as a temperature
    if isinstance(value, dict):
        return is_object(value)
    if isinstance(default, int | float):
        return value is None or _is_number(value)
    return default is not None or not isinstance(value, str)


def _wanted(default):
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, int | float):
        return f"a number such as its default, {default}"
    return "an object of arguments" if isinstance(default, dict) else "a number, or an object that has a `class`"


def _hint(key, known):
    """Suggestions for an unknown key: similar names in its section, then in others, then sections."""
    path, _, last = str(key).rpartition(".")
    siblings = [name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == path]
    lasts = {name.rpartition(".")[2]: name for name in ["seed", *known]}
    ours = meant(last, lasts) if last in SYNONYMS else None
    if ours:
        return f" Did you mean `{lasts[ours]}`?"
    near = _nearest(last, siblings, lambda name: f"{path}.{name}") or _nearest(last, lasts, lasts.get, cutoff=0.8)
    if siblings:
        return near or f" `{path}` has {siblings}."
    return near or _nearest(key, [*MADE, *PLAIN, *NOTES]) or f" Its sections are {[*MADE, *PLAIN]}."


def _nearest(name, known, full=str, cutoff=0.6):
    lower = {other.lower(): other for other in known}
    near = [f"`{full(lower[other])}`" for other in difflib.get_close_matches(str(name).lower(), lower, cutoff=cutoff)]
    return f" Did you mean {' or '.join(near)}?" if near else ""
