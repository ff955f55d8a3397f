"""Linear values of Discrete actions in fixed features."""

import math
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from gymnasium import spaces as gym_spaces
from keras import layers

from keras_rl_prob import checks, masks, spaces
from keras_rl_prob.envs import opened, spaces_of
from keras_rl_prob.envs.factory import EnvOrSpaces
from keras_rl_prob.layers import FourierFeatures, QValues
from keras_rl_prob.networks.encoder import encoder, mask_of
from keras_rl_prob.networks.heads import apply, check_discrete
from keras_rl_prob.python_calls import raising_as_itself


def linear_q(
    env: EnvOrSpaces,
    gammas: Sequence[float] = (5.0, 2.0, 1.0, 0.5),
    components: int = 100,
    samples: int = 10_000,
    seed: int = 0,
) -> keras.Model:
    """A network of action values that are linear in radial basis features of `scikit-learn`, as Keras layers.

    A `StandardScaler` and one `RBFSampler` for each gamma are fitted on samples of the observation space if it is bounded,
    else on observations of random play. Needs `pip install "keras_rl_prob[linear]"`.

    Args:
        env: Anything that `fit` accepts, or a pair `(observation_space, action_space)`, the first of them bounded; its actions
            are Discrete.
        gammas: Widths of the kernels `exp(-gamma |x - y|^2)`.
        components: Features of each kernel.
        samples: Observations to fit on.
        seed: Integer for the samples and the features.

    Returns:
        A Functional `keras.Model` from an observation `[B, ...]` to `{"action": [B, actions]}`. The linear layer
        starts at zero and has no bias: the values of unseen observations stay at 0, which is optimistic where steps have a
        cost and so makes the agent explore.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: The actions are not Discrete, or the observations have no bounds and there is no environment to play in.
    """
    components, samples = checks.integer("components", components), checks.integer("samples", samples)
    gammas, seed = _gammas(gammas), checks.seed("seed", seed, least=0)
    try:
        from sklearn.kernel_approximation import RBFSampler  # noqa: PLC0415
        from sklearn.preprocessing import StandardScaler  # noqa: PLC0415
    except ImportError:
        raise ImportError('`linear_q` needs scikit-learn: pip install "keras_rl_prob[linear]"') from None
    observation_space, action_space = spaces_of(env)
    actions = check_discrete(action_space)
    inputs, features = encoder(observation_space)
    x = keras.Model(inputs, features)(_observations(env, observation_space, samples, seed)).numpy()
    scaler = StandardScaler().fit(x)
    samplers = [
        RBFSampler(gamma=gamma, n_components=components, random_state=seed + i).fit(x) for i, gamma in enumerate(gammas)
    ]
    features = layers.Normalization(mean=scaler.mean_, variance=scaler.var_)(features)
    fourier = FourierFeatures(components * len(gammas), scale=math.sqrt(2.0 / components))
    features = fourier(features)
    fourier.set_weights(
        [np.concatenate([getattr(s, name) for s in samplers], -1) for name in ("random_weights_", "random_offset_")]
    )
    values = layers.Dense(actions, use_bias=False, kernel_initializer="zeros")(features)
    (mask,) = masks.align(action_space, mask_of(inputs), leading=1)
    return keras.Model(inputs, {"action": apply(QValues((actions,)), values, mask)})


def _gammas(gammas):
    if not isinstance(gammas, list | tuple) or not gammas:
        raise ValueError(f"`gammas` must be a tuple of positive numbers. Received: gammas={gammas!r}")
    return [checks.number(f"gammas[{i}]", gamma, above=0.0) for i, gamma in enumerate(gammas)]


def _observations(env, observation_space, samples, seed):
    """A nest `[samples, ...]` of observations to fit features on."""
    key = tf.constant([seed, 0])
    if all(leaf.is_bounded() for leaf in spaces.leaves(observation_space) if isinstance(leaf, gym_spaces.Box)):
        return spaces.sample(observation_space, samples, key)
    if isinstance(env, tuple):
        raise ValueError(
            "`env` must be an environment, to be played at random, where observations have no bounds to be drawn between. "
            f"Received: the pair of spaces {env}"
        )
    with opened(env, None, 8) as made, raising_as_itself():

        @tf.function(autograph=False)
        def play(state, step, seed):
            actions = masks.sample(made.action_space, made.num_envs, seed, mask_of(step.observation))
            return made.step(state, actions)

        state, step = made.reset(key)
        rows = [step.observation]
        for i in range(1, -(-samples // made.num_envs)):
            state, step = play(state, step, key + [0, i])
            rows.append(step.observation)
    return tf.nest.map_structure(lambda *parts: tf.concat(parts, 0)[:samples], *rows)
