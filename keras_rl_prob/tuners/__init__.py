"""Search spaces for KerasTuner."""

from keras_rl_prob.tuners.hyper_recurrent_ppo import HyperRecurrentPPO

__all__ = ["HyperRecurrentPPO"]
