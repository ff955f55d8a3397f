"""Episodes to be played again and again, for `evaluate`, validation and callbacks."""

from keras_rl_prob.envs import raising_as_itself


class Evaluation:
    """Calling it plays whole episodes: the same ones each time, as far as agent and environment are the same.

    Args:
        play: What `play_episodes` gave for an agent and a `placeholder`.
        placeholder: The environment in that graph.
        env: The environment to play in.
        episodes_per_env: Positive integer.
        seed: Integer.
    """

    def __init__(self, play, placeholder, env, episodes_per_env, seed):
        self._play, self._placeholder, self._env = play, placeholder, env
        self._arguments = episodes_per_env, seed

    def __call__(self):
        """Returns a dict of the mean undiscounted `"return"` and the mean `"length"` in environment steps, floats."""
        with raising_as_itself(self._env), self._placeholder.standing_for(self._env):
            return {key: float(value) for key, value in self._play(*self._arguments).items()}
