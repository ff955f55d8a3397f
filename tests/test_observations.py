"""How default networks encode observations: images by their axes and bounds, integers by informative bounds."""

import warnings

import keras
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import keras_rl_prob as krp
from keras_rl_prob import border, networks
from keras_rl_prob.networks.observations import image_axes


@pytest.mark.parametrize(
    ("shape", "dtype", "axes"),
    [
        ((84, 84), np.uint8, (0, 1, ())),
        ((84, 84), np.float32, None),
        ((84, 84, 4), np.uint8, (0, 1, (2,))),
        ((84, 84, 3), np.float32, (0, 1, (2,))),
        ((64, 64, 3), np.bool_, (0, 1, (2,))),
        ((4, 84, 84), np.uint8, (1, 2, (0,))),
        ((7, 7, 20), np.uint8, None),
        ((3, 3, 20), np.uint8, None),
        ((10, 10, 4), np.bool_, None),
        ((40, 44, 50), np.uint8, (0, 1, (2,))),
        ((4, 96, 96, 3), np.uint8, (1, 2, (0, 3))),
        ((84, 84, 1, 4), np.uint8, (0, 1, (2, 3))),
        ((4, 3, 96, 96), np.uint8, (2, 3, (0, 1))),
        ((64, 64, 64, 64), np.uint8, None),
        ((128,), np.uint8, None),
    ],
    ids=str,
)
def test_axes_of_images(shape, dtype, axes):
    assert image_axes(Box(0, 1, shape, dtype)) == axes


def convolutions(network):
    return [layer for layer in network._flatten_layers() if isinstance(layer, keras.layers.Conv2D)]


def seen(network, image):
    """What the first convolution gets for an image."""
    return keras.Model(network.input, convolutions(network)[0].input)(image[None]).numpy()[0]


@pytest.mark.parametrize(("low", "high", "is_image"), [(-255, 255, True), (-254, 255, False), (-255, 300, False)])
def test_differences_of_grey_frames_are_images(low, high, is_image):
    space = Box(low, high, (36, 40), np.int16)
    assert image_axes(space) == ((0, 1, ()) if is_image else None)
    network = networks.feed_forward((space, Discrete(2)))
    assert bool(convolutions(network)) == is_image
    if is_image:
        difference = np.random.default_rng(0).integers(-255, 256, (36, 40)).astype(np.int16)
        np.testing.assert_allclose(seen(network, difference)[..., 0], difference / 510 + 0.5, atol=1e-6)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_stacked_colour_frames_become_channels(data_format):
    keras.config.set_image_data_format(data_format)
    try:
        network = networks.feed_forward((Box(0, 255, (4, 36, 40, 3), np.uint8), Discrete(2)))
    finally:
        keras.config.set_image_data_format("channels_last")
    image = np.random.default_rng(0).integers(0, 256, (4, 36, 40, 3), np.uint8)
    expected = image.transpose(1, 2, 0, 3).reshape(36, 40, 12) / 255
    np.testing.assert_allclose(seen(network, image), expected, rtol=1e-6)
    assert network(image[None])["value"].shape == (1, 1)


@pytest.mark.parametrize(
    ("space", "scale", "offset"),
    [
        (Box(0, 15, (36, 40, 1), np.uint8), 1 / 15, 0),
        (Box(-1.0, 1.0, (36, 40, 1)), 1 / 2, 0.5),
        (Box(-np.inf, np.inf, (36, 40, 1)), 1, 0),
        (Box(-300, 300, (36, 40, 1), np.int16), 1 / 600, 0.5),
    ],
    ids=str,
)
def test_images_are_scaled_by_the_bounds_of_their_space(space, scale, offset):
    space.seed(0)
    image = space.sample()
    np.testing.assert_allclose(
        seen(networks.feed_forward((space, Discrete(2))), image), image * scale + offset, atol=1e-6
    )


@pytest.mark.parametrize(
    ("space", "value", "features"),
    [
        (Box(0, 4, (2,), np.uint8), [1, 4], [0.25, 1]),
        (Box(0, 1, (2,), np.uint8), [0, 1], [0, 1]),
        (Box(0, 1, (2,), np.bool_), [0, 1], [0, 1]),
        (Box(0, 255, (2,), np.uint8), [0, 15], [0, 0.5]),
        (Box(-128, 127, (2,), np.int8), [-15, 3], [-0.5, 0.25]),
        (Box(np.iinfo(np.int64).min, np.iinfo(np.int64).max, (2,), np.int64), [-255, 65535], [-1, 2]),
        (Box(0, 2**40, (2,), np.int64), [2**39, 2**40], [0.5, 1]),
        (Box(0, 2**32 - 1, (2,), np.uint32), [2**32 - 1, 0], [4, 0]),
    ],
    ids=str,
)
def test_integers_are_scaled_by_bounds_that_say_something(space, value, features):
    encoder = keras.Model(*networks.encoder(space))
    (encoded,) = border.Codec(space).encode(np.array([value], space.dtype))
    np.testing.assert_allclose(encoder(encoded), [features], rtol=1e-5)


def test_a_network_that_would_be_huge_is_warned_of():
    with (  # as an error, so that it is not made
        warnings.catch_warnings(action="error"),
        pytest.raises(UserWarning, match=r"139 million weights.*ResizeObservation"),
    ):
        networks.encoder(Box(0, 255, (480, 640, 3), np.uint8))


INTEGERS = Box(-100, 100, (3,), np.int16)


def test_integers_are_normalised_where_the_network_takes_numbers():
    agent = krp.PPO(normalize_observations=True)
    agent.build((INTEGERS, Discrete(2)))
    (layer,) = agent.observation_normalizers
    assert agent.network.inputs[0].dtype == "float32"
    x = np.array([[10, -20, 60], [30, -40, 100]], np.int16)
    layer.update(x)
    normalized = agent.normalize(x).numpy()
    np.testing.assert_allclose(normalized, [[-1, 1, -1], [1, -1, 1]], atol=0.05)


def test_integers_that_the_network_takes_as_they_are_are_said_to_stay_so():
    inputs = keras.Input((3,), dtype="int32")
    x = keras.layers.Flatten()(keras.layers.Embedding(201, 2)(inputs + 100))
    outputs = {"action": krp.layers.DenseCategorical((2,))(x), "value": keras.layers.Dense(1)(x)}
    agent = krp.PPO(keras.Model(inputs, outputs), normalize_observations=True)
    with pytest.warns(UserWarning, match=r"`normalize_observations` leaves the observation .* as it is.*int32"):
        agent.build((INTEGERS, Discrete(2)))
    assert isinstance(agent.observation_normalizers[0], keras.layers.Identity)
