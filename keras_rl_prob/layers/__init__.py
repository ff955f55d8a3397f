"""Keras layers: heads that parameterise action distributions, action values, recurrent cells, noise, normalisation."""

from keras_rl_prob.layers.dense_bernoulli import DenseBernoulli
from keras_rl_prob.layers.dense_categorical import DenseCategorical
from keras_rl_prob.layers.dense_gsde import DenseGSDE
from keras_rl_prob.layers.dense_normal import DenseNormal
from keras_rl_prob.layers.dueling import Dueling
from keras_rl_prob.layers.fourier_features import FourierFeatures
from keras_rl_prob.layers.head import Head
from keras_rl_prob.layers.noisy_dense import NoisyDense
from keras_rl_prob.layers.q_values import CategoricalQValues, QValues
from keras_rl_prob.layers.running_normalization import Normalization, RunningNormalization
from keras_rl_prob.layers.stateful_rnn import StatefulRNN
from keras_rl_prob.layers.unrolled import Unrolled

__all__ = [
    "CategoricalQValues",
    "DenseBernoulli",
    "DenseCategorical",
    "DenseGSDE",
    "DenseNormal",
    "Dueling",
    "FourierFeatures",
    "Head",
    "NoisyDense",
    "Normalization",
    "QValues",
    "RunningNormalization",
    "StatefulRNN",
    "Unrolled",
]
