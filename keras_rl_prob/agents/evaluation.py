"""Episodes to be played again and again, for `evaluate`, validation and callbacks."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal, cast, overload

import keras
import tensorflow as tf

from keras_rl_prob import checks
from keras_rl_prob.agents import arguments, network_checks
from keras_rl_prob.agents.vocabulary import reject_unknown
from keras_rl_prob.envs import is_owned, opened
from keras_rl_prob.envs.factory import BatchEnv, Env
from keras_rl_prob.keras_internals import CACHED_VALIDATION
from keras_rl_prob.python_calls import raising_as_itself
from keras_rl_prob.types import Mixin

MAX_STEPS = 100_000  # of an episode of an evaluation


class Evaluation:
    """Calling it plays whole episodes: the same ones each time, as far as agent and environment are the same.

    Args:
        play: What `play_episodes` gave for an agent and a `placeholder`.
        placeholder: The environment in that graph.
        env: The environment to play in.
        episodes_per_env: Positive integer.
        seed: Integer.
        max_steps: Largest number of steps of an episode, a positive integer.
    """

    def __init__(
        self,
        play: Callable[..., dict[str, float]],
        placeholder: BatchEnv,
        env: BatchEnv,
        episodes_per_env: int,
        seed: int,
        max_steps: int,
    ) -> None:
        self._play, self._placeholder, self._env = play, placeholder, env
        self._episodes_per_env, self._seed, self._max_steps = episodes_per_env, seed, max_steps

    def __call__(self) -> dict[str, float]:
        """Returns a dict of the mean undiscounted `"return"` and the mean `"length"` in environment steps, floats."""
        with raising_as_itself(), self._placeholder.standing_for(self._env):
            results = self._play(self._env, self._episodes_per_env, self._seed, self._max_steps)
        if cut := results.pop("cut"):
            warnings.warn(
                f"{cut} episodes of the evaluation had not ended after {self._max_steps} steps, and count as far as they had "
                "come: `max_steps` lets them last longer, a time limit of the environment ends them.",
                stacklevel=2,
            )
        return results


def once() -> tf.data.Dataset:
    """What Keras' `evaluate` takes for data: a `tf.data.Dataset` of one element, for one evaluation."""
    return tf.data.Dataset.from_tensors(0)


@contextlib.contextmanager
def put_aside(agent: keras.Model) -> Iterator[None]:
    """Puts back at the end what Keras' `evaluate` takes from a training that may be under way: metrics and the like."""
    kept = agent.steps_per_execution, agent._evaluation
    metrics = [(variable, variable.numpy()) for variable in agent.metrics_variables]
    try:
        yield
    finally:
        agent.steps_per_execution, agent._evaluation = kept
        for variable, value in metrics:
            variable.assign(value)


class EvaluatingModel(Mixin):
    """The part of an agent that concerns evaluation: `evaluate`, and what `fit` and callbacks use for it."""

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
        **cached: Any,
    ) -> list[float] | dict[str, float]:
        """Plays whole episodes and reports their mean return; changes nothing in the agent.

        Every environment plays the same number of episodes; when `episodes` is not a multiple of the environments of a
        given vector environment or a list, the number is rounded up.

        Args:
            env: As in `fit`. It must not be the environment object of a training that is under way.
            episodes: How many episodes.
            deterministic: Whether to take the mode of the policy instead of samples.
            return_dict: Whether to return a dict instead of a list.
            seed: Integer; the same seed gives the same episodes, so that evaluations can be compared.
            verbose: `"auto"`, 0, 1 or 2.
            callbacks: List of Keras callbacks.
            max_steps: Steps after which an episode is cut off and counts as far as it had come, with a warning.
            **cached: What `keras.Model.fit` passes for its own validation.

        Returns:
            `{"return": ..., "length": ...}` or, with `return_dict=False`, the list of the two: mean undiscounted return
            and mean length in environment steps.
        """
        if CACHED_VALIDATION in cached:  # `keras.Model.fit` wants the validation that `fit` above prepared
            return super().evaluate(verbose=verbose, callbacks=callbacks, return_dict=True, **cached)
        reject_unknown(EvaluatingModel.evaluate, cached)
        network_checks.check_no_strategy()
        with contextlib.ExitStack() as stack:
            evaluation = self.evaluation(env, episodes, deterministic, seed, stack, max_steps)
            stack.enter_context(put_aside(self))
            self._evaluation, self.steps_per_execution = evaluation, 1
            logs = super().evaluate(once(), verbose=verbose, callbacks=callbacks, return_dict=True)
        return logs if return_dict else [logs["return"], logs["length"]]

    def make_test_function(self, force: bool = False) -> None:
        """Keras' batch of data is one evaluation."""

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
    ) -> Evaluation:
        """A function without arguments that plays the episodes of an evaluation, each time anew.

        Args:
            env: As in `evaluate`.
            episodes: As in `evaluate`.
            deterministic: As in `evaluate`.
            seed: As in `evaluate`.
            stack: `contextlib.ExitStack` that closes what is opened here.
            max_steps: As in `evaluate`.

        Returns:
            The function. It returns `{"return": ..., "length": ...}`, floats.
        """
        episodes, max_steps = checks.integer("episodes", episodes), checks.integer("max_steps", max_steps)
        seed = checks.seed("seed", seed)
        count = None
        if is_owned(env):
            count = arguments.evaluation_envs(episodes, max(1, len(env)) if isinstance(env, list) else 1)
        made = stack.enter_context(opened(cast(Env, env), count if isinstance(env, list) else None, count or 1))
        if self.built:
            network_checks.check_same_spaces(self, made)
        else:
            self.build(made)
        rounded = -(-episodes // made.num_envs)
        play, placeholder = self._graphs.player(made, deterministic)
        return Evaluation(play, placeholder, made, rounded, seed, max_steps)
