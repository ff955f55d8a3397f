"""Reinforcement learning for people who think in Keras: an agent is a `keras.Model`."""

import keras_rl_prob.startup.begin  # noqa: F401  # isort: skip  # before Keras

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "`keras_rl_prob` needs the TensorFlow backend: set the environment variable KERAS_BACKEND=tensorflow before Keras is "
        f"imported. Received: keras.backend.backend()={keras.backend.backend()!r}"
    )

from keras_rl_prob import (
    callbacks,
    distributed,
    distributions,
    envs,
    imitation,
    layers,
    networks,
    presets,
    testing,
    tuners,
)
from keras_rl_prob.agents import (
    A2C,
    A3C,
    ACER,
    C51,
    DQN,
    IMPALA,
    PPO,
    QRDQN,
    SAC,
    TD3,
    Agent,
    Boltzmann,
    Clipping,
    EpsilonGreedy,
    KLPenalty,
    LearnedTemperature,
    LinearQ,
    Minibatches,
    Normalization,
    Policy,
    PrioritizedReplay,
    RandomAgent,
    RecurrentDQN,
    RecurrentPPO,
    RecurrentSAC,
    RecurrentTD3,
    Reinforce,
    ReplaySettings,
    RolloutReplaySettings,
    SequenceReplaySettings,
    TrainingHint,
    ValueLoss,
    VTrace,
    average_weights,
    copy_weights,
)
from keras_rl_prob.version import __version__

__all__ = [
    "A2C",
    "A3C",
    "ACER",
    "C51",
    "DQN",
    "IMPALA",
    "PPO",
    "QRDQN",
    "SAC",
    "TD3",
    "Agent",
    "Boltzmann",
    "Clipping",
    "EpsilonGreedy",
    "KLPenalty",
    "LearnedTemperature",
    "LinearQ",
    "Minibatches",
    "Normalization",
    "Policy",
    "PrioritizedReplay",
    "RandomAgent",
    "RecurrentDQN",
    "RecurrentPPO",
    "RecurrentSAC",
    "RecurrentTD3",
    "Reinforce",
    "ReplaySettings",
    "RolloutReplaySettings",
    "SequenceReplaySettings",
    "TrainingHint",
    "VTrace",
    "ValueLoss",
    "__version__",
    "average_weights",
    "callbacks",
    "copy_weights",
    "distributed",
    "distributions",
    "envs",
    "imitation",
    "layers",
    "networks",
    "presets",
    "testing",
    "tuners",
]

envs.register_environments()
