"""What agents with a replay buffer share: its settings, recorded episodes, priorities."""

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from keras_rl_prob import checks
from keras_rl_prob.envs.factory import BatchEnv, EnvOrSpaces
from keras_rl_prob.replay.episodes import checked_episodes
from keras_rl_prob.replay.settings import ReplaySettings
from keras_rl_prob.sources import RolloutSource
from keras_rl_prob.sources.replay import ReplaySource
from keras_rl_prob.types import Mixin, Nest


class ReplayingModel(Mixin):
    """The replay buffer of an agent: everything that a `ReplaySource` needs of it except `discount`.

    A subclass names it before its other base class, as in `class Mine(ReplayingModel, Agent)`, and calls `set_replay` in its
    constructor.

    Attributes:
        rollout_steps: Rows collected from each environment between updates.
        updates: Gradient steps after each rollout.
        replay: The settings of the memory.
        experience: List of the recorded episodes with which the replay buffer of a new training starts.
        td_errors: float32 variable `[updates, batch_size]`, the absolute errors that become priorities, if there are any. A
            variable, because updates and source are two graphs.
    """

    settings_classes: ClassVar[dict] = {"replay": ReplaySettings}
    replay: Any

    def set_replay(self, rollout_steps: int, updates: int, replay: ReplaySettings) -> None:
        """Keeps these arguments of the constructor; raises a `ValueError` if one is out of its range."""
        self.rollout_steps = checks.integer("rollout_steps", rollout_steps)
        self.updates = checks.integer("updates", updates)
        kind = self.settings_classes["replay"]
        if type(replay) is not kind:
            raise ValueError(f"`replay` must be `krp.{kind.__name__}(...)`. Received: replay={replay!r}")
        if self.rollout_steps % replay.stride:
            raise ValueError(
                f"`period` must divide `rollout_steps`. Received: period={replay.stride}, rollout_steps={self.rollout_steps}"
            )
        self.replay = replay
        self.experience: list[Any] = []

    def build(self, env: EnvOrSpaces) -> None:
        """Creates `td_errors` besides what every agent has."""
        super().build(env)
        if self.replay.prioritized:
            self.td_errors = self.add_number("td_errors", shape=self._errors_shape())

    def _errors_shape(self):
        return (self.replay.most_updates(self.updates), self.replay.batch_size)

    def updates_per_rollout(self, num_envs: int) -> int:
        """`updates`."""
        return self.updates

    def make_source(self, env: BatchEnv, seed: int) -> RolloutSource:
        """Rollouts of `env` through a replay buffer, which starts with the recorded episodes of `add_experience`."""
        if self.replay.prioritized and getattr(self, "td_errors", np.empty(0)).shape != self._errors_shape():
            raise ValueError(
                "`updates`, `replay.batch_size` and `replay.prioritized` of a built agent with priorities stay as they are: "
                f"create another agent and give it the weights. Received: updates={self.updates}, replay={self.replay!r}"
            )
        source = self._make_source(env, seed)
        if self.experience and not int(source.ring.size.numpy()):  # that of a resumed training has them
            source.load(self.experience)
        return source

    def _make_source(self, env, seed):
        return ReplaySource(self, env, seed, self.replay)

    def final_value(self, observation: Nest, state: Nest) -> Nest:
        """The observation itself, which transitions need."""
        return observation

    def record_of_others(self, raw: Nest) -> dict[str, Nest]:
        """The actions alone, which is all that is stored."""
        return {"raw": raw}

    def add_experience(self, episodes: Iterable[Any]) -> None:
        """Adds recorded episodes to those with which the replay buffer of a new training starts; they are not saved.

        Args:
            episodes: Iterable of `Episode`s, as from `krp.envs.record_episodes`, or of objects or dicts with its
                fields, such as Minari's `dataset.iterate_episodes()`.
        """
        self.experience = [*self.experience, *checked_episodes(episodes)]

    def keep_errors(self, index: tf.Tensor, errors: tf.Tensor) -> None:
        """Keeps the absolute errors `[N]` of update `index` as new priorities."""
        if self.replay.prioritized:
            self.td_errors.assign(tf.tensor_scatter_nd_update(self.td_errors, [[index]], [errors]))
