"""Batches of environments that are shared out among worker processes."""

import functools
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import keras
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import batch_space

from keras_rl_prob.envs.single import SingleEnv


class SharedEnvs(gymnasium.vector.VectorWrapper):
    """A vector environment whose environments are stepped by worker processes, each of them several in turn.

    It behaves as a `SyncVectorEnv` of the same environments: with the same seed and actions both return the same. Observations
    come through shared memory, from Gymnasium's `AsyncVectorEnv`.

    Args:
        makers: Callables, each of which makes one `gymnasium.Env`, those of the first worker first.
        processes: Number of worker processes; divides that of the environments.
        observation_space: Observation space of one environment.
        action_space: Action space of one environment.

    Example:
    >>> space, make = gymnasium.spaces, functools.partial(gymnasium.make, "CartPole-v1")
    >>> env = SharedEnvs([make] * 4, 2, make().observation_space, space.Discrete(2))
    >>> env.reset(seed=0)[0].shape, len(env.unwrapped.processes)
    ((4, 4), 2)
    >>> env.close()
    """

    def __init__(
        self,
        makers: Sequence[Callable[[], gymnasium.Env]],
        processes: int,
        observation_space: gymnasium.Space,
        action_space: gymnasium.Space,
    ) -> None:
        self._count, self._each = len(makers), len(makers) // processes
        groups = [
            functools.partial(
                Group, list(makers[i : i + self._each]), i, observation_space, action_space, learner=os.getpid()
            )
            for i in range(0, self._count, self._each)
        ]
        super().__init__(AsyncVectorEnv(groups, autoreset_mode=AutoresetMode.DISABLED))
        self.single_observation_space, self.single_action_space = observation_space, action_space
        self.observation_space = batch_space(observation_space, self._count)
        self.action_space = batch_space(action_space, self._count)
        self.metadata = {**self.env.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}

    @property
    def num_envs(self) -> int:  # type: ignore[override]
        """Number of environments of all processes."""
        return self._count

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets all environments; environment `i` gets the seed `seed + i`."""
        seeds: Any = None if seed is None else [seed + i for i in range(0, self._count, self._each)]
        observation, _ = self.env.reset(seed=seeds, options=options)
        return self._joined(observation), {}

    def step(self, actions: Any) -> tuple[Any, ...]:
        """Steps all environments; those whose episode ended in the last step are reset instead."""
        shape = self._count // self._each, self._each
        shared = keras.tree.map_structure(lambda x: x.reshape(*shape, *x.shape[1:]), actions)
        *arrays, _ = self.env.step(shared)
        return *(self._joined(x) for x in arrays), {}

    def _joined(self, nest):
        """Joins the axes of the processes and of their environments."""
        return keras.tree.map_structure(lambda x: x.reshape(-1, *x.shape[2:]), nest)


class Group(gymnasium.Env):
    """The environments of one worker process as a single environment with batches as observations, rewards and ends.

    They are made in the first `reset`, so that the exceptions of their constructors reach the learner, too.

    Args:
        makers: Callables that make them.
        first: Number of the first of them among those of all workers.
        observation_space: Observation space of one environment.
        action_space: Action space of one environment.
        learner: Id of the process that learns. In others Ctrl-C is ignored, since the learner ends them; a signal that ends
            them does so, whatever the learner does with it.
    """

    def __init__(
        self,
        makers: list[Callable[[], gymnasium.Env]],
        first: int,
        observation_space: gymnasium.Space,
        action_space: gymnasium.Space,
        learner: int,
    ) -> None:
        self._makers, self._first = makers, first
        self._envs: Any = None
        self.observation_space = batch_space(observation_space, len(makers))
        self.action_space = batch_space(action_space, len(makers))
        if os.getpid() != learner:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Resets all environments."""
        if self._envs is None:
            singles = [SingleEnv(make(), self._first + i) for i, make in enumerate(self._makers)]
            makers = [functools.partial(lambda env: env, env) for env in singles]
            self._envs = SyncVectorEnv(makers, copy=False)
        return self._envs.reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        """Steps all environments."""
        return self._envs.step(action)

    def close(self) -> None:
        """Closes all environments."""
        if self._envs is not None:
            self._envs.close()
