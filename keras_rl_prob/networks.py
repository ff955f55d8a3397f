"""Default networks, made from an environment's spaces.

All of them take an observation's `"action_mask"` for their heads; see `keras_rl_prob.masks` for its layout.
"""

import math
import warnings

import keras
import numpy as np
import tensorflow as tf
from gymnasium import spaces as gym_spaces
from keras import layers

from keras_rl_prob import checks, masks, spaces
from keras_rl_prob.envs import opened, spaces_of
from keras_rl_prob.layers import (
    DenseBernoulli,
    DenseCategorical,
    DenseNormal,
    Dueling,
    FourierFeatures,
    NoisyDense,
    QValues,
    StatefulRNN,
)
from keras_rl_prob.layers.noisy_dense import KINDS
from keras_rl_prob.observations import as_image, as_numbers, is_image
from keras_rl_prob.python_calls import raising_as_itself

MOST_CLASSES = 10_000  # of one component of a space
LARGEST_LAYER = 20_000_000  # weights of the Dense layer behind the convolutions, from which on there is a warning
CELLS = {"lstm": layers.LSTMCell, "gru": layers.GRUCell, "simple": layers.SimpleRNNCell}


def feed_forward(env, units=(64, 64), value=True):
    """A network without memory: separate tanh layers for the policy and for the value.

    Images go through the convolutions of `nature_cnn` first, which both share.

    Args:
        env: Anything that `fit` accepts, or a pair `(observation_space, action_space)` of Gymnasium spaces.
        units: Widths of the hidden layers.
        value: Whether there is a value.

    Returns:
        A Functional `keras.Model` from an observation `[B, ...]` to `{"action": ..., "value": [B, 1]}`.
    """
    observation_space, action_space = spaces_of(env)
    inputs, x = encoder(observation_space)
    policy = critic = x
    for width in checks.widths("units", units):
        policy, critic = _dense(width)(policy), _dense(width)(critic)
    if not value:
        return keras.Model(inputs, {"action": heads(action_space, policy, _mask(inputs))})
    return _network(inputs, policy, critic, action_space)


def recurrent(env, cell="lstm", units=64):
    """A network with memory: a tanh layer and a recurrent layer, shared by policy and value.

    Args:
        env: Anything that `fit` accepts, or a pair `(observation_space, action_space)` of Gymnasium spaces.
        cell: `"lstm"`, `"gru"`, `"simple"` or a Keras RNN cell.
        units: Width of the hidden layer, and of the recurrent one where `cell` is a name.

    Returns:
        A Functional `keras.Model` from an observation `[B, ...]` to `{"action": ..., "value": [B, 1]}`.
    """
    observation_space, action_space = spaces_of(env)
    units = checks.integer("units", units)
    inputs, x = encoder(observation_space)
    x = StatefulRNN(_cell(cell, units))(_dense(units)(x))
    return _network(inputs, x, x, action_space)


def nature_cnn(env, cell=None, units=128):
    """The convolutions of Mnih et al. (2015) and a Dense layer of 512, with memory if `cell` is given.

    What is an image says `keras_rl_prob.observations.image_axes`: at least 32 by 32 pixels with their channels last, first or
    missing, stacks of colour frames among them.

    Args:
        env: Anything that `fit` accepts, or a pair `(observation_space, action_space)`; its observations hold an image.
        cell: `None`, `"lstm"`, `"gru"`, `"simple"` or a Keras RNN cell.
        units: Width of the recurrent layer where `cell` is a name.

    Returns:
        A Functional `keras.Model` from an observation `[B, ...]` to `{"action": ..., "value": [B, 1]}`.
    """
    observation_space, action_space = spaces_of(env)
    if not any(map(is_image, spaces.leaves(observation_space))):
        raise ValueError(
            "`env` must have an image in its observations, a Box of at least 32 by 32 pixels with shape "
            f"[height, width, channels], [channels, height, width] or [height, width]. Received: {observation_space}"
        )
    inputs, x = encoder(observation_space)
    if cell is not None:
        x = StatefulRNN(_cell(cell, units))(x)
    return _network(inputs, x, x, action_space)


def q_network(env, units=(128, 128), cell=None, dueling=False, noisy=None):
    """Action values: relu layers, with memory if `cell` is given.

    Images go through the convolutions of `nature_cnn` first.

    Args:
        env: Anything that `fit` accepts, or a pair `(observation_space, action_space)`; its actions are Discrete.
        units: Widths of the hidden layers. With memory the last one is that of the recurrent layer, where `cell` is a name.
        cell: `None`, `"lstm"`, `"gru"`, `"simple"` or a Keras RNN cell.
        dueling: Whether value and advantages have a hidden layer each, of the last width, and are added up by `Dueling`.
        noisy: `"factorised"` or `"independent"` noise on the Dense layers (but the first, with memory), or `None`.

    Returns:
        A Functional `keras.Model` from an observation `[B, ...]` to `{"action": [B, actions]}`.

    Raises:
        ValueError: The actions are not Discrete.
    """
    observation_space, action_space = spaces_of(env)
    _check_discrete(action_space)
    actions = int(action_space.n)
    if noisy not in (None, *KINDS) or isinstance(noisy, bool):
        raise ValueError(f"`noisy` must be one of {list(KINDS)}, or `None`. Received: noisy={noisy!r}")

    def dense(width, activation=None):
        return layers.Dense(width, activation) if noisy is None else NoisyDense(width, activation, kind=noisy)

    inputs, x = encoder(observation_space)
    *widths, last = checks.widths("units", units, least=1)
    if cell is not None:
        for width in widths:
            x = layers.Dense(width, "relu")(x)
        x = StatefulRNN(_cell(cell, last))(x)
        widths, last = [], last if dueling else None
    for width in widths:
        x = dense(width, "relu")(x)
    (mask,) = masks.align(action_space, _mask(inputs), leading=1)
    if dueling:
        parts = [dense(width)(dense(last, "relu")(x)) for width in (1, actions)]
        values = Dueling()(parts if mask is None else [*parts, mask])
    else:
        values = dense(actions)(x if last is None else dense(last, "relu")(x))
    return keras.Model(inputs, {"action": _apply(QValues((actions,)), values, mask)})


def linear_q(env, gammas=(5.0, 2.0, 1.0, 0.5), components=100, samples=10_000, seed=0):
    """Action values that are linear in radial basis features: `scikit-learn`'s, carried as Keras layers.

    scikit-learn's `StandardScaler` and one `RBFSampler` for each gamma are fitted on samples of the observation
    space where that is bounded, else on observations of random play. Needs `pip install "keras_rl_prob[linear]"`.

    Args:
        env: Anything that `fit` accepts, or a pair `(observation_space, action_space)`, the first of them bounded; its actions
            are Discrete.
        gammas: Widths of the kernels `exp(-gamma |x - y|^2)`.
        components: Features of each kernel.
        samples: Observations to fit on.
        seed: Integer for the samples and the features.

    Returns:
        A Functional `keras.Model` from an observation `[B, ...]` to `{"action": [B, actions]}`. The linear layer
        starts at zero and has no bias, which would move the values of what was never seen: those are to stay at 0,
        which attracts an agent whose steps cost something.

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
    _check_discrete(action_space)
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
    actions = int(action_space.n)
    values = layers.Dense(actions, use_bias=False, kernel_initializer="zeros")(features)
    (mask,) = masks.align(action_space, _mask(inputs), leading=1)
    return keras.Model(inputs, {"action": _apply(QValues((actions,)), values, mask)})


def encoder(observation_space):
    """Input layers for every component of an observation and one flat feature vector of them all.

    Numbers are scaled and flattened, classes become one-hot, images go through the convolutions of `nature_cnn`; see
    `keras_rl_prob.observations`. What a Dict has under `"action_mask"` is no feature; hand `inputs["action_mask"]` on to
    `heads`.

    Args:
        observation_space: A Gymnasium space.

    Returns:
        `(inputs, features)`: a nest of `keras.Input`s like the space, and a tensor `[B, F]`.

    Raises:
        ValueError: There is nothing but a mask.
    """
    specs = spaces.tensor_specs(observation_space)
    inputs = keras.tree.pack_sequence_as(
        specs,
        [
            keras.Input(tuple(spec.shape), dtype=spec.dtype.name, name=name or "observation")
            for name, spec in zip(spaces.graph_names(observation_space, "."), keras.tree.flatten(specs), strict=True)
        ],
    )
    components = zip(spaces.leaves(observation_space), keras.tree.flatten_with_path(inputs), strict=True)
    features = [_features(leaf, x) for leaf, (path, x) in components if path[:1] != (masks.KEY,)]
    if not features:
        raise ValueError(
            f"`observation_space` must have something besides {masks.KEY!r}. Received: "
            f"observation_space={observation_space}"
        )
    return inputs, layers.Concatenate()(features) if len(features) > 1 else features[0]


def heads(action_space, x, mask=None):
    """A nest of heads' outputs for every component of an action.

    Bounded Box components get a normal distribution squashed into the bounds, unbounded ones a plain normal distribution.

    Args:
        action_space: A Gymnasium space.
        x: Features `[B, F]`.
        mask: `None`, or a nest of tensors that are nonzero where an entry may be chosen: `[B, n]` for `Discrete(n)`,
            `[B, *shape, n]` for a MultiDiscrete of at most n classes, `[B, *shape]` for MultiBinary. In a Dict the masks
            have the keys of the action space, in a Tuple the positions, as in `{"1": mask}`; a Box has none, and others
            may be left out.

    Returns:
        A nest of parameter tensors, like the space.

    Raises:
        ValueError: The mask does not fit the action space.
    """
    parts = iter(masks.align(action_space, mask, leading=1))
    return spaces.map_structure(lambda leaf: _apply(_head(leaf), x, next(parts)), action_space)


def _check_discrete(action_space):
    if not isinstance(action_space, gym_spaces.Discrete):
        raise ValueError(
            "`env` must have a Discrete action space, since the values of all actions are compared. Use `krp.PPO` or "
            "`krp.A2C`, "
            f"which take any. Received: action_space={action_space}"
        )


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
            actions = masks.sample(made.action_space, made.num_envs, seed, _mask(step.observation))
            return made.step(state, actions)

        state, step = made.reset(key)
        rows = [step.observation]
        for i in range(1, -(-samples // made.num_envs)):
            state, step = play(state, step, key + [0, i])
            rows.append(step.observation)
    return tf.nest.map_structure(lambda *parts: tf.concat(parts, 0)[:samples], *rows)


def _mask(nest):
    """The part of an observation, or of inputs like it, that is for the heads; `None` if there is none."""
    return nest.get(masks.KEY) if isinstance(nest, dict) else None


def _apply(head, x, mask):
    return head(x if mask is None else [x, mask])


def _network(inputs, policy, value, action_space):
    value = layers.Dense(1, kernel_initializer=keras.initializers.Orthogonal(1.0))(value)
    return keras.Model(inputs, {"action": heads(action_space, policy, _mask(inputs)), "value": value})


def _dense(width, activation="tanh"):
    return layers.Dense(width, activation, kernel_initializer=keras.initializers.Orthogonal(math.sqrt(2.0)))


def _cell(cell, units):
    if not isinstance(cell, str):
        return cell
    if cell not in CELLS:
        raise ValueError(f"`cell` must be one of {sorted(CELLS)} or a Keras RNN cell. Received: cell={cell!r}")
    return CELLS[cell](checks.integer("units", units))


def _features(leaf, x):
    if is_image(leaf):
        x, options = as_image(leaf, x), {"activation": "relu", "kernel_initializer": "orthogonal"}
        for filters, size, stride in ((32, 8, 4), (64, 4, 2), (64, 3, 1)):
            size = min(size, *x.shape[1:3])
            x = layers.Conv2D(filters, size, stride, data_format="channels_last", **options)(x)
        x = layers.Flatten(data_format="channels_last")(x)
        if 512 * x.shape[1] > LARGEST_LAYER:
            warnings.warn(
                f"Images of the shape {leaf.shape} make a network of {512 * x.shape[1] / 1e6:.0f} million weights. "
                "`gymnasium.wrappers.ResizeObservation(env, (84, 84))` makes them smaller.",
                stacklevel=2,
            )
        return _dense(512, "relu")(x)
    _check_classes(leaf, "an observation, use a network of your own with `keras.layers.Embedding`")
    if isinstance(leaf, gym_spaces.Discrete):
        return layers.CategoryEncoding(int(leaf.n), output_mode="one_hot")(x)
    if isinstance(leaf, gym_spaces.MultiDiscrete):
        x = layers.CategoryEncoding(int(leaf.nvec.max()), output_mode="one_hot")(x)
        return layers.Reshape((math.prod(x.shape[1:]),))(x)
    if isinstance(leaf, gym_spaces.MultiBinary):
        x = layers.Rescaling(1.0)(x)
        return x if len(leaf.shape) == 1 else layers.Reshape((math.prod(leaf.shape),))(x)
    return as_numbers(leaf, x)


def _check_classes(leaf, cure):
    """Raises a `ValueError` where a default network would have a unit for each of very many classes."""
    classes = getattr(leaf, "n", 0) if isinstance(leaf, gym_spaces.Discrete) else np.max(getattr(leaf, "nvec", 0))
    if int(classes) > MOST_CLASSES:
        raise ValueError(
            f"`network` must be given for spaces of more than {MOST_CLASSES} classes, each of which would be a unit of the "
            f"default one: for {cure}. Received: {leaf}"
        )


def _head(leaf):
    _check_classes(leaf, "an action, wrap the environment so that it has fewer or several smaller ones")
    if isinstance(leaf, gym_spaces.Discrete):
        return DenseCategorical((int(leaf.n),))
    if isinstance(leaf, gym_spaces.MultiDiscrete):
        return DenseCategorical((*leaf.shape, int(leaf.nvec.max())), num_classes=leaf.nvec.tolist())
    if isinstance(leaf, gym_spaces.MultiBinary):
        return DenseBernoulli(leaf.shape)
    with np.errstate(over="ignore"):
        bounds = np.stack([leaf.low, leaf.high], -1).astype(np.float32)
        bounded = np.isfinite(bounds[..., 1] - bounds[..., 0]).all()
    if not bounded:
        return DenseNormal(leaf.shape)
    return DenseNormal(leaf.shape, bounds.tolist(), hard_bounds=True)
