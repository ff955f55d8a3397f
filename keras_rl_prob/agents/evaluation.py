"""Evaluation episodes, for `evaluate`, validation and callbacks."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal, cast, overload

import keras
import numpy as np
import tensorflow as tf

from keras_rl_prob import checks
from keras_rl_prob.agents import arguments, network_checks
from keras_rl_prob.agents.vocabulary import reject_unknown
from keras_rl_prob.envs import is_owned, opened
from keras_rl_prob.envs.factory import BatchEnv, Env
from keras_rl_prob.envs.playing.episodes import MAX_STEPS
from keras_rl_prob.keras_internals import CACHED_VALIDATION
from keras_rl_prob.learning.progress import with_progress
from keras_rl_prob.python_calls import raising_as_itself
from keras_rl_prob.types import Mixin

RESULTS = ("return", "length", "return_std")


class Evaluation:
    """Plays whole episodes when called: the same ones each time if agent and environment have not changed.

    Args:
        agent: The agent, whose `last_evaluation` it sets.
        play: What `play_episodes` returned for the agent and `placeholder`.
        placeholder: The environment in that graph, which stands for `env`.
        env: The environment to play in.
        episodes_per_env: Positive integer.
        seed: Integer.
        max_steps: Largest number of steps of an episode, a positive integer.
    """

    def __init__(
        self,
        agent: keras.Model,
        play: Callable[..., tuple[np.ndarray, np.ndarray, int]],
        placeholder: BatchEnv,
        env: BatchEnv,
        episodes_per_env: int,
        seed: int,
        max_steps: int,
    ) -> None:
        self._agent, self._play, self._placeholder, self._env = agent, play, placeholder, env
        self._episodes_per_env, self._seed, self._max_steps = episodes_per_env, seed, max_steps

    def __call__(self) -> dict[str, float]:
        """Returns a dict of floats: mean undiscounted `"return"`, mean `"length"` in environment steps, `"return_std"`."""
        with raising_as_itself(), self._placeholder.standing_for(self._env):
            returns, lengths, cut = self._play(self._env, self._episodes_per_env, self._seed, self._max_steps)
        self._agent._played = returns, lengths
        if cut:
            warnings.warn(
                f"{cut} episodes of the evaluation had not ended after {self._max_steps} steps and were cut off there. "
                "Increase `max_steps`, or give the environment a time limit.",
                stacklevel=2,
            )
        means = {"return": returns.mean(dtype=float), "length": lengths.mean(dtype=float)}
        return {name: float(x) for name, x in (means | {"return_std": returns.std(dtype=float)}).items()}


def once() -> tf.data.Dataset:
    """A `tf.data.Dataset` of one element: the data for Keras' `evaluate`, whose single step is one evaluation."""
    return tf.data.Dataset.from_tensors(0)


@contextlib.contextmanager
def preserved(agent: keras.Model) -> Iterator[None]:
    """Restores at the end what Keras' `evaluate` changes and a running `fit` needs: metrics and `steps_per_execution`."""
    kept = agent.steps_per_execution, agent._evaluation
    metrics = [(variable, variable.numpy()) for variable in agent.metrics_variables]
    try:
        yield
    finally:
        agent.steps_per_execution, agent._evaluation = kept
        for variable, value in metrics:
            variable.assign(value)


class EvaluatingModel(Mixin):
    """Evaluation of an agent: `evaluate`, and what `fit` and callbacks use for it."""

    _played: Any = None

    @property
    def last_evaluation(self) -> dict[str, np.ndarray] | None:
        """The episodes of the last `evaluate` or validation, in a callback too; `None` before the first one.

        A dict of float32 arrays `[episodes]`, the undiscounted `"return"` of each episode and its `"length"` in environment
        steps; the episodes of the first environment come first.
        """
        return self._played and dict(zip(("return", "length"), self._played, strict=True))

    @overload
    def evaluate(
        self,
        env: Env,
        episodes: int = ...,
        deterministic: bool = ...,
        return_dict: Literal[False] = ...,
        seed: int = ...,
        verbose: str | int = ...,
        callbacks: list[keras.callbacks.Callback] | None = ...,
        max_steps: int = ...,
        epsilon: float = ...,
        **cached: Any,
    ) -> list[float]: ...

    @overload
    def evaluate(
        self,
        env: Env,
        episodes: int = ...,
        deterministic: bool = ...,
        *,
        return_dict: Literal[True],
        seed: int = ...,
        verbose: str | int = ...,
        callbacks: list[keras.callbacks.Callback] | None = ...,
        max_steps: int = ...,
        epsilon: float = ...,
        **cached: Any,
    ) -> dict[str, float]: ...

    @overload
    def evaluate(
        self,
        env: Env,
        episodes: int = ...,
        deterministic: bool = ...,
        return_dict: bool = ...,
        seed: int = ...,
        verbose: str | int = ...,
        callbacks: list[keras.callbacks.Callback] | None = ...,
        max_steps: int = ...,
        epsilon: float = ...,
        **cached: Any,
    ) -> list[float] | dict[str, float]: ...

    def evaluate(
        self,
        env: Env | None = None,
        episodes: int = 20,
        deterministic: bool = True,
        return_dict: bool = False,
        seed: int = 0,
        verbose: str | int = "auto",
        callbacks: list[keras.callbacks.Callback] | None = None,
        max_steps: int = MAX_STEPS,
        epsilon: float = 0.0,
        **cached: Any,
    ) -> list[float] | dict[str, float]:
        """Plays whole episodes and returns their mean return; the agent does not change.

        `last_evaluation` then has the return and length of each episode. A `gymnasium.Env` with `render_mode="human"` shows
        itself meanwhile; `play` shows other environments.

        Every environment plays the same number of episodes: `episodes` is rounded up to a multiple of the number of
        environments in a vector environment or a list.

        Args:
            env: As in `fit`. It must not be the environment object of a running training.
            episodes: Number of episodes.
            deterministic: Whether to take the mode of the policy instead of samples.
            return_dict: Whether to return a dict instead of a list.
            seed: Integer; the same seed gives the same episodes, so evaluations can be compared.
            verbose: `"auto"`, 0, 1 or 2.
            callbacks: List of Keras callbacks.
            max_steps: Steps after which an episode is cut off, with a warning; its return up to there counts.
            epsilon: Probability of a uniformly random action in place of the agent's, at each step.
            **cached: For `keras.Model.fit`, which calls this for validation.

        Returns:
            The mean undiscounted return and the mean length in environment steps: a list of the two, or with
            `return_dict=True` a dict `{"return": ..., "length": ..., "return_std": ...}`, which also has the standard deviation
            of the returns over the episodes.
        """
        if CACHED_VALIDATION in cached:  # `keras.Model.fit` wants the validation that `fit` above prepared
            return super().evaluate(verbose=verbose, callbacks=callbacks, return_dict=True, **cached)
        reject_unknown(EvaluatingModel.evaluate, cached)
        network_checks.check_no_strategy()
        with contextlib.ExitStack() as stack:
            evaluation = self.evaluation(env, episodes, deterministic, seed, stack, max_steps, epsilon)
            stack.enter_context(preserved(self))
            self._evaluation, self.steps_per_execution = evaluation, 1
            callbacks = with_progress(callbacks, verbose, trains=False)
            logs = super().evaluate(once(), verbose=verbose, callbacks=callbacks, return_dict=True)
        return {name: logs[name] for name in RESULTS} if return_dict else [logs["return"], logs["length"]]

    def make_test_function(self, force: bool = False) -> None:
        """Makes one batch of Keras' `evaluate` one evaluation."""

        def play(batches):
            next(batches)
            return self._evaluation()

        self.test_function = play

    def evaluation(
        self,
        env: Env | None,
        episodes: int,
        deterministic: bool,
        seed: int,
        stack: contextlib.ExitStack,
        max_steps: int = MAX_STEPS,
        epsilon: float = 0.0,
    ) -> Evaluation:
        """Returns a function without arguments that plays the episodes of an evaluation each time it is called.

        Args:
            env: As in `evaluate`.
            episodes: As in `evaluate`.
            deterministic: As in `evaluate`.
            seed: As in `evaluate`.
            stack: `contextlib.ExitStack` that closes the environments opened here.
            max_steps: As in `evaluate`.
            epsilon: As in `evaluate`.

        Returns:
            The function, which returns `{"return": ..., "length": ..., "return_std": ...}`, floats.
        """
        episodes, max_steps = checks.integer("episodes", episodes), checks.integer("max_steps", max_steps)
        seed, epsilon = checks.seed("seed", seed), checks.fraction("epsilon", epsilon)
        deterministic = checks.flag("deterministic", deterministic)
        count = None
        if is_owned(env):
            count = arguments.evaluation_envs(episodes, max(1, len(env)) if isinstance(env, list) else 1)
        made = stack.enter_context(opened(cast(Env, env), count if isinstance(env, list) else None, count or 1))
        if self.built:
            network_checks.check_same_spaces(self, made)
        else:
            self.build(made)
        made = self.seen(made)
        rounded = -(-episodes // made.num_envs)
        play, placeholder = self._graphs.player(made, deterministic, epsilon)
        return Evaluation(self, play, placeholder, made, rounded, seed, max_steps)
