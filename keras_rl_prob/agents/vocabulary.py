"""Unknown and renamed arguments: what was meant, by spelling or in the vocabulary of other libraries."""

import dataclasses
import difflib
import functools
import inspect
import warnings
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, cast

from keras_rl_prob.settings import Settings

P = ParamSpec("P")
OPTIMIZER = "`compile(optimizer=keras.optimizers.Adam(...))`, which takes a rate or a schedule and `global_clipnorm`"
LENGTH = "`fit(env_steps=...)`"
# Name in another library -> our names for it, the first known of which is meant, or a sentence.
SYNONYMS = {
    "gamma": ("discount",),
    "n_steps": ("rollout_steps", "n_step"),
    "num_steps": ("rollout_steps",),
    "train_freq": ("rollout_steps",),
    "gradient_steps": ("updates",),
    "ent_coef": ("entropy_coef",),
    "vf_coef": ("value_coef",),
    "clip_range": ("clip_ratio",),
    "clip_param": ("clip_ratio",),
    "clip_coef": ("clip_ratio",),
    "clip_range_vf": ("value_clip",),
    "batch_size": ("batch_size", "minibatches"),
    "minibatch_size": ("minibatches",),
    "n_epochs": ("update_epochs",),
    "lam": ("gae_lambda",),
    "lambda_": ("gae_lambda",),
    "buffer_size": ("capacity",),
    "memory_size": ("capacity",),
    "target_update_interval": ("target_update",),
    "tau": ("target_update",),
    "epsilon": ("exploration",),
    "exploration_fraction": ("exploration",),
    "exploration_final_eps": ("exploration",),
    "policy": ("network",),
    "model": ("network",),
    "policy_kwargs": ("network",),
    "n_envs": ("num_envs", "`fit(num_envs=...)`"),
    "num_envs": ("num_envs", "`fit(num_envs=...)`"),
    "env": ("env", "`fit(env)`: the environment belongs to it"),
    "seed": ("seed", "`fit(seed=...)`"),
    "verbose": ("verbose", "`fit(verbose=...)`"),
    "n_eval_episodes": ("episodes",),
    "eval_env": ("validation_data",),
    "callback": ("callbacks",),
    "total_timesteps": ("env_steps", LENGTH),
    "nb_steps": ("env_steps", LENGTH),
    "num_timesteps": ("env_steps", LENGTH),
    "learning_rate": ("learning_rate", OPTIMIZER),
    "lr": ("learning_rate", OPTIMIZER),
    "max_grad_norm": ("global_clipnorm", OPTIMIZER),
    "device": ("`tf.device`",),
    "tensorboard_log": ("`fit(callbacks=[keras.callbacks.TensorBoard(...)])`",),
    "loss": ("nothing: the loss belongs to the agent",),
    "metrics": ("metrics", "nothing: the metrics belong to the agent"),
}
SUPERVISED = {
    "x",
    "y",
    "batch_size",
    "sample_weight",
    "class_weight",
    "validation_split",
    "validation_batch_size",
    "shuffle",
}


def constructor_parameters(cls: Any, base: Any) -> dict[str, inspect.Parameter]:
    """The arguments of a subclass of `base` by name, including those that its `**kwargs` pass to other classes."""
    found: dict[str, inspect.Parameter] = {}
    for one in cls.__mro__:
        if "__init__" in vars(one):  # some versions of Python use `__new__` for the signature of a class
            _, *own = inspect.signature(vars(one)["__init__"]).parameters.values()
            found |= {x.name: x for x in own if x.name not in found and x.kind is not x.VAR_KEYWORD}
            if not any(x.kind is x.VAR_KEYWORD for x in own):
                break
        if one is base:
            break
    return found


def constructor_arguments(cls: Any, base: Any) -> list[str]:
    """Names of the arguments of a subclass of `base`, including those that its `**kwargs` pass to other classes."""
    return list(constructor_parameters(cls, base))


def moved_arguments(settings_classes: dict[str, type[Settings]]) -> dict[str, str]:
    """Returns the arguments that have moved into settings objects.

    Args:
        settings_classes: Dict from an argument to the class of its settings.

    Returns:
        Dict from the old name to how it is written now.
    """
    return {
        name: f"`{argument}=krp.{kind.__name__}({name}=...)`"
        for argument, kind in settings_classes.items()
        for name in kind.moved()
    }


def accepts_moved(init: Callable[P, None]) -> Callable[P, None]:
    """Decorates a constructor to accept arguments that have moved into settings, with a `DeprecationWarning`."""
    parameters = inspect.signature(init).parameters

    def with_moved(settings_classes, arguments):
        for argument, kind in settings_classes.items():
            old = {name: arguments.pop(name) for name in kind.moved() if name in arguments}
            given = arguments.get(argument, parameters[argument].default)
            if old and (kind.plain or isinstance(given, kind)):  # else the constructor will refuse it
                arguments[argument] = dataclasses.replace(kind.of(given), **old)
                yield from old.items()

    @functools.wraps(init)
    def wrapped(self, network=None, **kwargs):  # `*args` would confuse Keras, which compares this with the signature
        for name, value in with_moved(self.settings_classes, kwargs):
            warnings.warn(
                f"`{name}` has moved: use {moved_arguments(self.settings_classes)[name]}. Received: {name}={value!r}",
                DeprecationWarning,
                stacklevel=2 + _constructors_above(),
            )
        init(self, network, **kwargs)

    return cast(Callable[P, None], wrapped)


def _constructors_above():
    """How many constructors of derived classes of this package have called the one that calls this function."""
    frame: Any = inspect.currentframe()
    frame, count = frame.f_back.f_back, 0
    while frame.f_code.co_name == "__init__" and str(frame.f_globals.get("__name__")).startswith("keras_rl_prob."):
        frame, count = frame.f_back, count + 1
    return count


def meant(name: str, known: Iterable[str]) -> str | None:
    """Returns the one of the arguments `known` that `name` most probably means, or `None`.

    Example:
    >>> meant("clip_range", ["clip_ratio", "discount"]), meant("discoutn", ["clip_ratio", "discount"])
    ('clip_ratio', 'discount')
    """
    if name in SYNONYMS:
        return next((one for one in SYNONYMS[name] if one in known), None)
    return next(iter(difflib.get_close_matches(name, known, 1)), None)


def reject_unknown(function: Callable[..., Any], unknown: dict[str, Any], known: dict[str, str] | None = None) -> None:
    """Raises a `TypeError` for unknown arguments of a function or a class; the message suggests what was meant.

    Args:
        function: A function, or a class for its constructor.
        unknown: Dict of the unknown arguments.
        known: Dict from the known arguments to how they are written; by default those of the signature.
    """
    if not unknown:
        return
    name, value = next(iter(unknown.items()))
    known = {known: f"`{known}`" for known in inspect.signature(function).parameters} if known is None else known
    raise TypeError(
        f"`{name}` is not an argument of `{function.__name__}`{_meaning(name, known)} Received: {name}={value!r}"
    )


def _meaning(name, known):
    ours = next((one for one in SYNONYMS.get(name, ()) if one in known or not one.isidentifier()), None)
    if ours:
        return f". Use {known.get(ours, ours)}."
    if name in SUPERVISED:
        return ": an agent learns from an environment, which makes its own data, targets and batches."
    close = meant(name, known)
    return f". Did you mean {known[close]}?" if close else "."
