"""Episodes to be played again and again, for `evaluate`, validation and callbacks."""

import contextlib
import warnings

import tensorflow as tf

from keras_rl_prob.python_calls import raising_as_itself


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

    def __init__(self, play, placeholder, env, episodes_per_env, seed, max_steps):
        self._play, self._placeholder, self._env = play, placeholder, env
        self._episodes_per_env, self._seed, self._max_steps = episodes_per_env, seed, max_steps

    def __call__(self):
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


def once():
    """What Keras' `evaluate` takes for data: a `tf.data.Dataset` of one element, for one evaluation."""
    return tf.data.Dataset.from_tensors(0)


@contextlib.contextmanager
def put_aside(agent):
    """Puts back at the end what Keras' `evaluate` takes from a training that may be under way: metrics and the like."""
    kept = agent.steps_per_execution, agent._evaluation
    metrics = [(variable, variable.numpy()) for variable in agent.metrics_variables]
    try:
        yield
    finally:
        agent.steps_per_execution, agent._evaluation = kept
        for variable, value in metrics:
            variable.assign(value)
