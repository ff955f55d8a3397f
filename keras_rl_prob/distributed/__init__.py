"""Collectors on other processes and machines, on Ray (`pip install "keras_rl_prob[distributed]"`)."""

from keras_rl_prob.distributed.collectors import RayCollectors

__all__ = ["RayCollectors"]
