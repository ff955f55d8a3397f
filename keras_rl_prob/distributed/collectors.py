"""`RayCollectors`, what `fit(collectors=...)` accepts and integers stand for."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import keras

from keras_rl_prob import checks
from keras_rl_prob.agents.replaying import ReplayingModel
from keras_rl_prob.distributed.crew import Crew
from keras_rl_prob.distributed.drivers import AsynchronousDriver, LockstepDriver
from keras_rl_prob.distributed.engine import connected, ray_module
from keras_rl_prob.distributed.environments import RemoteEnv
from keras_rl_prob.distributed.gradients import GradientSource
from keras_rl_prob.envs import NativeEnv, is_owned, opened
from keras_rl_prob.envs.factory import Env
from keras_rl_prob.settings import Settings
from keras_rl_prob.sources import RolloutSource, register_collectors

MODES = "lockstep", "asynchronous"


@dataclasses.dataclass(frozen=True)
class RayCollectors(Settings):
    """Collectors in processes of their own, on this machine or on a cluster, managed by Ray.

    Each collector has environments and a copy of the policy. There are two ways to learn from several:

    * `"lockstep"`: all collect with the weights that will be updated, and their rollouts are joined in order along the batch
      axis. A single collector repeats bit by bit what the agent does without collectors; several are reproducible, too.
    * `"asynchronous"`: nobody waits. A gradient step takes the rollout of whichever collector is ready, which may come from
      older weights; the agent has to correct for that. History then depends on time. The collectors of `A3C` compute the
      gradient of their rollout themselves and send that.

    A collector that dies, does not answer in time or raises an exception is replaced; its unfinished rollout is discarded. In
    lockstep, a new collector goes on with the state of native environments; others start new episodes.

    Replaying agents work in lockstep; with epsilon-greedy exploration, each collector has an epsilon of its own, see
    `keras_rl_prob.distributed.collector.explorer`.

    Args:
        num_collectors: Number of collectors.
        num_envs: Number of environments of each collector. By default, a gradient step has as much data as without collectors:
            in lockstep they share the `num_envs` of `fit`, else each has as many.
        address: `None` to use Ray where it is initialised, or else to start it on this machine for this training, without a
            dashboard, and for local connections only unless `ray` was imported before; `"auto"` or `"host:port"` for a cluster.
        num_cpus: CPUs that Ray reserves for each collector, and threads of its TensorFlow.
        mode: `"lockstep"`, `"asynchronous"`, or `None` for what fits the agent: the latter for `IMPALA`, `ACER` and `A3C`.
        max_policy_lag: Age above which a rollout is dropped when `"asynchronous"`: number of rollouts learned from since its
            weights were sent. `None` for 20, or four for each collector if that is more: the mean age is two for each.
        max_restarts: How often a collector may be replaced without a rollout in between. After that, or if all raise, the
            exception is raised here.
        timeout: Seconds that a collector may take for its start or for a rollout.

    Raises:
        ValueError: An argument is out of its range, or does not fit the agent.
        TypeError: The environment cannot be sent to another process.
        ImportError: Ray is not installed.
        ConnectionError: No cluster answers at `address`.
        TimeoutError: The cluster has had no place for a collector for a minute.

    References:
        Lockstep: Schulman et al., 2017, https://arxiv.org/abs/1707.06347; asynchronous: Espeholt et al., 2018,
        https://arxiv.org/abs/1802.01561; replay: Horgan et al., 2018, https://arxiv.org/abs/1803.00933.

    Example:
    ```python
    agent = krp.PPO()
    agent.compile()
    agent.fit("CartPole-v1", epochs=2, collectors=krp.distributed.RayCollectors(2, num_envs=16))
    ```
    """

    num_collectors: int
    num_envs: int | None = None
    address: str | None = None
    num_cpus: float = 1
    mode: str | None = None
    max_policy_lag: int | None = None
    max_restarts: int = 3
    timeout: float = 600.0

    def checked(self) -> dict[str, Any]:
        """Numbers are in their ranges, the mode is known."""
        if self.mode is not None and self.mode not in MODES:
            raise ValueError(f"`mode` must be one of {list(MODES)}, or `None`. Received: mode={self.mode!r}")
        return {
            "num_collectors": checks.integer("num_collectors", self.num_collectors),
            "num_envs": checks.integer("num_envs", self.num_envs, none=True),
            "address": self.address if self.address is None else checks.text("address", self.address),
            "num_cpus": checks.number("num_cpus", self.num_cpus, above=0.0),
            "max_policy_lag": checks.integer("max_policy_lag", self.max_policy_lag, least=0, none=True),
            "max_restarts": checks.integer("max_restarts", self.max_restarts, least=0),
            "timeout": checks.number("timeout", self.timeout, above=0.0),
        }

    @property
    def most_lag(self) -> int:
        """`max_policy_lag`, or its default for this number of collectors."""
        return max(20, 4 * self.num_collectors) if self.max_policy_lag is None else self.max_policy_lag

    def check(self, agent: keras.Model, num_envs: int | None) -> None:
        """Raises a `ValueError` unless these collectors fit an agent, an `ImportError` if Ray is not installed.

        Args:
            agent: An agent.
            num_envs: Number of environments of `fit`.
        """
        self.share(agent, num_envs)
        ray_module(self.address)

    def share(self, agent: keras.Model, num_envs: int | None) -> int | None:
        """Number of environments of each collector if `fit` is given `num_envs`; `None` if both leave it to the agent."""
        count = self.num_collectors if self._mode(agent) == "lockstep" else 1
        if self.num_envs is not None and num_envs is not None:
            raise ValueError(
                "`num_envs` must be given to `fit` or to `RayCollectors`, not to both. "
                f"Received: num_envs={num_envs} and num_envs={self.num_envs}"
            )
        if num_envs is None:
            return self.num_envs
        num_envs = checks.integer("num_envs", num_envs)
        if num_envs % count:
            raise ValueError(
                "`num_envs` of `fit` must be a multiple of the number of collectors that share them. "
                f"Received: num_envs={num_envs} for {count} collectors"
            )
        return num_envs // count

    @contextlib.contextmanager
    def opened(self, agent: keras.Model, env: Env, num_envs: int | None) -> Iterator[Any]:
        """Context manager of a `RemoteEnv`; builds the agent for it, and ends the collectors afterwards.

        Args:
            agent: An agent.
            env: Environment of `fit`.
            num_envs: Number of environments of `fit`.
        """
        mode = self._mode(agent)
        if not is_owned(env) and not isinstance(env, NativeEnv):
            raise TypeError(
                "`env` must be something that can be sent to other processes: pass an id, or a callable that makes the "
                f"environment there. Received: env={env!r}, which is already made"
            )
        own = self.share(agent, num_envs)
        default = -(-agent.default_num_envs // (self.num_collectors if mode == "lockstep" else 1))
        with contextlib.ExitStack() as stack:
            with opened(env, own, default) as made:
                if not agent.built:
                    agent.build(made)
                crew = Crew(functools.partial(self._engine, stack), env, made.num_envs, self)
                if mode == "lockstep":
                    remote = RemoteEnv(made, crew, self.num_collectors * made.num_envs, LockstepDriver)
                else:
                    remote = RemoteEnv(made, crew, made.num_envs, AsynchronousDriver)
            yield remote

    def make_source(self, agent: keras.Model, env: Any, seed: int) -> RolloutSource:
        """The agent's own source, whose rollouts are those of the collectors; or, for `A3C`, the source of their gradients."""
        gradients = agent.sends_gradients and self._mode(agent) == "asynchronous"
        source: Any = GradientSource(agent, env, seed) if gradients else agent.make_source(env, seed)
        source.driver.follow_episodes(source.episode_variables)
        return source

    def _mode(self, agent):
        """The mode for an agent; a `ValueError` if it does not fit."""
        name, usual = type(agent).__name__, agent.collecting
        if usual is None:
            raise ValueError(
                f"`collectors` must be `None` for `{name}`, which learns in the order of play or not at all."
            )
        mode = self.mode or usual
        if mode == "asynchronous" and (isinstance(agent, ReplayingModel) or getattr(agent, "lag", 0)):
            why = "whose replay buffer has the rows of every environment in order"
            if not isinstance(agent, ReplayingModel):
                why = f"which holds rollouts back itself, `lag={agent.lag}`"
            raise ValueError(f'`mode` must be "lockstep" for this `{name}`, {why}. Received: mode={self.mode!r}')
        return mode

    def _engine(self, stack, crew):
        """Connects to Ray until the stack is closed, which ends the collectors first."""
        engine = stack.enter_context(connected(self.address, self.num_collectors, self.num_cpus))
        stack.callback(crew.close)
        return engine


register_collectors(RayCollectors)
