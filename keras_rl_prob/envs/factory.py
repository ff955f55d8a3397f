"""`make`: turns everything that `fit(env)` accepts into an environment with the functional interface of the driver."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias

import gymnasium
from gymnasium.envs.registration import EnvSpec

from keras_rl_prob import checks, spaces
from keras_rl_prob.envs.gymnasium_env import GymnasiumEnv
from keras_rl_prob.envs.gymnasium_ids import make_many, make_one
from keras_rl_prob.envs.native import NativeEnv, make_native
from keras_rl_prob.envs.previous_step import PreviousStep, extended_space
from keras_rl_prob.envs.processes.shared import SharedEnvs
from keras_rl_prob.envs.single import OLD_GYM, SingleEnv

DEFAULT_NUM_ENVS = 32
ACCEPTED = (
    'an environment id such as "CartPole-v1" or "tf/CartPole-v1", or one with settings (`krp.envs.spec`), a `gymnasium.Env`, a '
    "callable that makes one, a list of such ids and callables, "
    "a `gymnasium.vector.VectorEnv`, or a native environment"
)


class VectorLike(Protocol):
    """Gymnasium's vector interface without its base class, for example EnvPool's environments."""

    @property
    def num_envs(self) -> Any:
        """Number of environments."""

    @property
    def single_observation_space(self) -> Any:
        """Observation space of one environment."""

    @property
    def single_action_space(self) -> Any:
        """Action space of one environment."""

    @property
    def reset(self) -> Any:
        """Method that resets all environments."""

    @property
    def step(self) -> Any:
        """Method that steps all environments."""


BatchEnv: TypeAlias = NativeEnv | GymnasiumEnv | PreviousStep
"""A batch of environments with tensors as inputs and outputs, as `make` returns it."""

Env: TypeAlias = (
    str | EnvSpec | gymnasium.Env | gymnasium.vector.VectorEnv | VectorLike | BatchEnv | Callable[[], Any] | list[Any]
)
"""What `make` and `fit` accept, see `make`."""

EnvOrSpaces: TypeAlias = Env | tuple[gymnasium.Space, gymnasium.Space]
"""What `Agent.build` and the default networks accept: an environment, or its observation space and its action space."""


def make(env: Env, num_envs: int | None = None, default_num_envs: int = DEFAULT_NUM_ENVS) -> BatchEnv:
    """Builds the batch of environments that an agent trains on or is evaluated in.

    Args:
        env: An environment id (`"tf/..."` for native ones, all others are Gymnasium ids), an id with settings (`spec`), a
            `gymnasium.Env` (a batch of one), a callable that makes a `gymnasium.Env`, a `gymnasium.vector.VectorEnv`, or a
            `NativeEnv`. Or a list of ids for Gymnasium, of `spec`s and of callables, whose environments have equal spaces:
            environment `i` of the batch is made from element `i % len(env)`.
        num_envs: Number of environments to make from an id, a callable or a list; for a list a multiple of its length. An
            existing environment keeps its own number.
        default_num_envs: Number to make if `num_envs` is `None`. For a list the number of each element is doubled until there
            are at least so many environments.

    Returns:
        A `NativeEnv` or a `GymnasiumEnv`.

    Raises:
        TypeError: `env` is none of these.
        ValueError: The id is unknown, `num_envs` does not fit, the spaces are not supported or differ.
    """
    num_envs = checks.integer("num_envs", num_envs, none=True)
    default_num_envs = checks.integer("default_num_envs", default_num_envs)
    count = _number(len(env), num_envs, default_num_envs) if isinstance(env, list) else num_envs or default_num_envs
    made = _make(env, count)
    try:
        _check(made, num_envs)
    except ValueError:
        if is_owned(env):
            made.close()
        raise
    return made


@contextlib.contextmanager
def opened(env: Env, num_envs: int | None = None, default_num_envs: int = DEFAULT_NUM_ENVS) -> Iterator[BatchEnv]:
    """Context manager of `make`: at the end closes environments that it made, but not those of the caller."""
    made = make(env, num_envs, default_num_envs)
    try:
        yield made
    finally:
        if is_owned(env):
            made.close()


def in_processes(
    env: Env, processes: int, num_envs: int | None = None, default_num_envs: int = DEFAULT_NUM_ENVS
) -> Callable[[], SharedEnvs]:
    """What `fit(env, env_processes=...)` trains on: environments that worker processes step.

    With the same seed the results are those of Gymnasium's `SyncVectorEnv`, in this process. Worker processes pay where a step
    takes much longer than passing actions and observations on.

    Args:
        env: As in `make`, but not a native environment and nothing that is already made.
        processes: Number of worker processes; divides that of the environments.
        num_envs: As in `make`.
        default_num_envs: As in `make`.

    Returns:
        A callable that makes the vector environment, which `make`, `fit` and `evaluate` accept.

    Raises:
        TypeError: `env` is none of these.
        ValueError: `env` cannot be put into other processes, or numbers do not fit.

    Example:
    ```python
    agent.evaluate(krp.envs.in_processes("CartPole-v1", 2, num_envs=4), episodes=8)
    ```
    """
    processes = checks.integer("env_processes", processes)
    num_envs = checks.integer("num_envs", num_envs, none=True)
    if not is_owned(env) or (isinstance(env, str) and env.startswith("tf/")):
        raise ValueError(
            "`env_processes` needs an id of Gymnasium, a callable or a list of them, from which the processes make their own "
            f"environments; native ones and those that are already made stay in this process. Received: env={env!r}"
        )
    makers = [_maker(item) for item in (env if isinstance(env, list) else [env])]
    count = _number(len(makers), num_envs, default_num_envs) if isinstance(env, list) else num_envs or default_num_envs
    if count % processes:
        raise ValueError(f"`env_processes` must divide the {count} environments. Received: env_processes={processes}")
    first = makers[0]()
    if not isinstance(first, gymnasium.Env):
        getattr(first, "close", lambda: None)()
        raise TypeError(f"`env` as a callable must make a `gymnasium.Env`. Received: env={env!r}, which made {first!r}")
    observation_space, action_space = first.observation_space, first.action_space
    first.close()
    all_makers = [makers[i % len(makers)] for i in range(count)]
    return functools.partial(SharedEnvs, all_makers, processes, observation_space, action_space)


def spaces_of(env: EnvOrSpaces) -> tuple[gymnasium.Space, gymnasium.Space]:
    """The `(observation_space, action_space)` of an environment.

    Args:
        env: Anything that `make` accepts, or a pair of Gymnasium spaces, which is checked.

    Raises:
        TypeError: `env` is none of these.
        ValueError: A space is not supported.
    """
    if not isinstance(env, tuple):
        with opened(env, len(env) or None if isinstance(env, list) else None, 1) as made:
            return made.observation_space, made.action_space
    for name, space in zip(("observation_space", "action_space"), env, strict=True):
        spaces.check_supported(space, name)
    return env


def with_previous_step(env: EnvOrSpaces) -> tuple[gymnasium.Space, gymnasium.Space]:
    """The spaces of an environment, with the previous action and reward as components of its observation.

    They are those for which an agent with `previous_action_and_reward=True` needs a network:

    | component of the observation | value |
    | --- | --- |
    | `"observation"`, or the components of a Dict | what the environment returned |
    | `"previous_action"` | an element of the action space; zeros in the first step of an episode |
    | `"previous_reward"` | float32 `[1]`, not scaled; 0 in the first step of an episode |

    Args:
        env: Anything that `fit` accepts, or a pair `(observation_space, action_space)` of Gymnasium spaces.

    Returns:
        A pair `(observation_space, action_space)`, which all functions of `krp.networks` accept.

    Raises:
        ValueError: A space is not supported, or the observation has such a component already.

    Example:
    >>> observation_space, _ = with_previous_step("tf/CartPole-v1")
    >>> list(observation_space)
    ['observation', 'previous_action', 'previous_reward']
    """
    observation_space, action_space = spaces_of(env)
    return extended_space(observation_space, action_space), action_space


def is_owned(env: Any) -> bool:
    """Whether `make(env)` makes new environments, which its caller must close, and does not use existing ones."""
    return not isinstance(env, gymnasium.Env | gymnasium.vector.VectorEnv | NativeEnv | GymnasiumEnv)


def _check(made, num_envs):
    if num_envs is not None and made.num_envs != num_envs:
        raise ValueError(
            f"`num_envs` sizes environments made from an id or a callable; an environment that is already made keeps its "
            f"own number. Received: num_envs={num_envs} with an env of {made.num_envs}"
        )
    spaces.check_supported(made.observation_space, "observation_space")
    spaces.check_supported(made.action_space, "action_space")


def _make(env, count):
    if isinstance(env, NativeEnv | GymnasiumEnv):
        return env
    if isinstance(env, gymnasium.vector.VectorEnv) or _looks_like_vector_env(env):
        return GymnasiumEnv(env)
    if isinstance(env, gymnasium.Env):
        return GymnasiumEnv(gymnasium.vector.SyncVectorEnv([lambda: SingleEnv(env)]))
    if isinstance(env, str) and env.startswith("tf/"):
        return make_native(env, count)
    if isinstance(env, str | EnvSpec):
        return GymnasiumEnv(make_many(env, count))
    if isinstance(env, list):
        return _alternating([_maker(item) for item in env], count)
    if callable(env):
        first = env()
        if isinstance(first, gymnasium.vector.VectorEnv | NativeEnv) or _looks_like_vector_env(first):
            return _make(first, count)
        return _alternating([env], count, first)
    cure = f". {OLD_GYM}" if _looks_like_env(env) else ""
    raise TypeError(f"`env` must be {ACCEPTED}. Received: env={env!r} of type {type(env).__name__}{cure}")


def _maker(item):
    """A callable that makes an environment, for an element of a list."""
    if isinstance(item, str) and item.startswith("tf/"):
        raise ValueError(
            "Native environments come in batches of one kind, which cannot be put into a list; write what differs into the "
            f"initial state of a `NativeEnv` instead. Received: {item!r} in a list"
        )
    if isinstance(item, str | EnvSpec):
        return functools.partial(make_one, item)
    if callable(item) and is_owned(item):
        return item
    raise TypeError(f"The elements of a list must be ids, `krp.envs.spec`s or callables. Received: {item!r} in a list")


def _number(kinds, num_envs, default):
    """Number of environments to make for a list of `kinds` elements, with the same number of each."""
    if not kinds:
        raise ValueError("`env` as a list must have at least one element. Received: env=[]")
    if num_envs is None:
        return kinds * 2 ** (-(-default // kinds) - 1).bit_length()
    if num_envs % kinds:
        near = max(kinds, num_envs // kinds * kinds)
        raise ValueError(
            f"`num_envs` must be a multiple of the {kinds} environments of the list, such as {near} or {near + kinds}. "
            f"Received: num_envs={num_envs}"
        )
    return num_envs


def _alternating(makers, count, *made):
    """Makes `count` environments with the makers in turn; `made` are the first of them. If one fails, all are closed."""
    envs: list[SingleEnv] = []
    with contextlib.ExitStack() as stack:
        for index in range(count):
            maker = makers[index % len(makers)]
            env = made[index] if index < len(made) else maker()
            if not isinstance(env, gymnasium.Env):
                getattr(env, "close", lambda: None)()
                cure = f". {OLD_GYM}" if _looks_like_env(env) else ""
                raise TypeError(
                    f"`env` as a callable must make a `gymnasium.Env`. Received: env={maker!r}, which made {env!r}{cure}"
                )
            if any(env is other.env for other in envs):
                raise ValueError(
                    f"`env` as a callable must make a new environment at each call. Received: env={maker!r}"
                )
            stack.callback(env.close)
            for name in ("observation_space", "action_space"):
                if envs and getattr(env, name) != getattr(envs[0], name):
                    raise ValueError(
                        f"Environments of one batch must have the same `{name}`. Received: {getattr(envs[0], name)} of "
                        f"{envs[0].env} and {getattr(env, name)} of {env} (environments 0 and {index})"
                    )
            envs.append(SingleEnv(env, index))
        vector_env = gymnasium.vector.SyncVectorEnv([functools.partial(lambda env: env, env) for env in envs])
        stack.pop_all()
    return GymnasiumEnv(vector_env)


def _looks_like_env(env):
    """Whether an object that is not a `gymnasium.Env` has its methods, as environments of the old gym do."""
    return not isinstance(env, type) and all(callable(getattr(env, name, None)) for name in ("reset", "step"))


def _looks_like_vector_env(env):
    """EnvPool's environments have Gymnasium's vector interface without its base class."""
    return not isinstance(env, type) and all(
        hasattr(env, name) for name in ("num_envs", "single_action_space", "reset", "step")
    )
