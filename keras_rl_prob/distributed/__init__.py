"""Collectors and learners on other processes and machines, on Ray (`pip install "keras_rl_prob[distributed]"`)."""

from keras_rl_prob.distributed.collectors import RayCollectors
from keras_rl_prob.distributed.learners import fit_learners

__all__ = ["RayCollectors", "fit_learners"]
