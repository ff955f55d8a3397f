"""Watching episodes: environments that draw, in a window, as frames or in a terminal, and a person at the keyboard."""

from keras_rl_prob.envs.playing.episodes import play
from keras_rl_prob.envs.playing.keyboard import Keyboard, play_manual

__all__ = ["Keyboard", "play", "play_manual"]
