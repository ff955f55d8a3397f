"""A cache of what an agent has traced and compiled, for later calls that need the same graphs."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras

from keras_rl_prob.drivers.evaluation import play_episodes
from keras_rl_prob.drivers.exploring import RandomNowAndThen
from keras_rl_prob.envs.factory import BatchEnv
from keras_rl_prob.learning.position import Position
from keras_rl_prob.replay import Ring
from keras_rl_prob.sources import Collectors, RolloutSource
from keras_rl_prob.types import Nest


class Graphs:
    """Keeps the source of the last training and the graphs of the last evaluations, by everything that is fixed in them.

    Args:
        agent: An `Agent`.
    """

    def __init__(self, agent: keras.Model) -> None:
        self._agent, self._sources, self._players = agent, Kept(1), Kept(8)
        self._rings: Any = ()

    def source(
        self,
        env: BatchEnv,
        seed: int,
        stack: contextlib.ExitStack,
        position: Position | None = None,
        collectors: Collectors | None = None,
    ) -> RolloutSource:
        """Returns the source for a training on `env`: that of the last training, restarted, if its graphs fit, else a new one.

        Args:
            env: An environment as `krp.envs.make` returns it.
            seed: Integer.
            stack: `contextlib.ExitStack`; until it is closed, the source steps `env`.
            position: `Position` that will be restored; its replay buffer is kept.
            collectors: `Collectors` that make the source in place of the agent.
        """
        agent = self._agent
        key = env.signature, settings(agent), collectors

        def traced():
            placeholder = env.placeholder()
            stack.enter_context(placeholder.standing_for(env))
            self._rings = position.rings if position else ()
            try:
                if collectors is not None:
                    return placeholder, collectors.make_source(agent, placeholder, seed)
                return placeholder, agent.make_source(placeholder, seed)
            finally:
                self._rings = ()

        if key not in self._sources:
            self._sources = Kept(1)  # frees the old one first: a replay buffer may be large
            return self._sources.get(key, traced)[1]
        placeholder, source = self._sources.get(key, traced)
        stack.enter_context(placeholder.standing_for(env))
        source.restart(env, seed, goes_on=position is not None)
        return source

    def ring(self, specs: Nest, capacity: int) -> Ring:
        """Returns a `Ring` for a source: an existing one of these specs if its training is being resumed, else a new one."""
        fits = (ring for ring in self._rings if (ring.specs, ring.capacity) == (specs, capacity))
        return next(fits, None) or Ring(specs, capacity)

    def player(self, env: BatchEnv, deterministic: bool, epsilon: float) -> tuple[Callable[..., Any], BatchEnv]:
        """Returns `play_episodes` of the agent and a placeholder of `env`, and the placeholder."""
        agent = self._agent

        def traced():
            placeholder = env.placeholder()
            compiled = agent.wants_xla and (deterministic or agent.acts_compiled)
            actor = RandomNowAndThen(agent, epsilon)
            return play_episodes(actor, placeholder, deterministic, compiled), placeholder

        return self._players.get((env.signature, deterministic, epsilon, settings(agent)), traced)

    def forget(self) -> None:
        """Empties the cache."""
        self._sources, self._players = Kept(1), Kept(8)


class Kept:
    """A cache of the latest few values; keys are compared, not hashed.

    Args:
        most: Number of values to keep; the least recently used one is dropped first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._pairs: list[tuple[Any, Any]] = []

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        """Returns the value for `key`; calls `make()` for it if there is none."""
        pair = next((pair for pair in self._pairs if pair[0] == key), None) or (key, make())
        self._pairs = [pair, *(other for other in self._pairs if other is not pair)][: self._most]
        return pair[1]

    def __contains__(self, key: Any) -> bool:
        return any(pair[0] == key for pair in self._pairs)


def settings(agent: keras.Model) -> tuple[Any, ...]:
    """What is fixed in the graphs of an agent: its arguments except networks, and how it is compiled.

    It equals nothing, not even itself, if an argument is an object that Keras cannot serialise.
    """
    try:
        networks = [key for key, value in vars(agent).items() if isinstance(value, keras.layers.Layer)]
        config: Any = {key: value for key, value in agent.get_config().items() if key not in ("name", *networks)}
    except (TypeError, ValueError):
        config = object()
    return config, agent.wants_xla, agent.run_eagerly
