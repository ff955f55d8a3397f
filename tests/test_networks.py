"""Default networks: inputs, outputs and construction."""

import warnings

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces as gym_spaces
from gymnasium.vector.utils import concatenate, create_empty_array

import keras_rl_prob as krp
from keras_rl_prob import border, networks, spaces
from keras_rl_prob.layers import DenseBernoulli, DenseCategorical, DenseNormal, StatefulRNN

Box, Discrete, MultiDiscrete, MultiBinary = (
    gym_spaces.Box,
    gym_spaces.Discrete,
    gym_spaces.MultiDiscrete,
    gym_spaces.MultiBinary,
)
IMAGE = Box(0, 255, (36, 40, 3), np.uint8)
SPACES = {
    "box": Box(-1.0, 1.0, (3,)),
    "box of rank 0": Box(-1.0, 1.0, ()),
    "box of rank 2": Box(-2.0, 1.0, (2, 3)),
    "float64 box": Box(-1.0, 1.0, (2,), np.float64),
    "unbounded box": Box(-np.inf, np.inf, (2,)),
    "half-bounded box": Box(0.0, np.inf, (2,)),
    "integer box": Box(-5, 5, (2,), np.int16),
    "bytes": Box(0, 255, (5,), np.uint8),
    "bytes of rank 2": Box(0, 255, (5, 4), np.uint8),
    "image": IMAGE,
    "tiny image": Box(0, 255, (3, 2, 1), np.uint8),
    "float image": Box(0.0, 1.0, (8, 8, 1)),
    "discrete": Discrete(3),
    "discrete with start": Discrete(3, start=-4),
    "one choice": Discrete(1),
    "multi-discrete": MultiDiscrete([2, 5]),
    "multi-discrete with start": MultiDiscrete([2, 3], start=[5, -1]),
    "multi-discrete of rank 2": MultiDiscrete([[2, 3, 2], [4, 2, 5]]),
    "multi-binary": MultiBinary(3),
    "multi-binary of rank 2": MultiBinary([2, 3]),
    "tuple": gym_spaces.Tuple((Box(-1.0, 1.0, (1,)), Discrete(2))),
    "tuple of one": gym_spaces.Tuple((Discrete(2),)),
    "dict": gym_spaces.Dict({"mass": Box(0.0, 1.0, (1,)), "eye": IMAGE, "age": Discrete(7)}),
    "nested": gym_spaces.Dict({"b": Discrete(2), "a": gym_spaces.Tuple((Box(-1, 1, (1,)), MultiBinary(2)))}),
}
each_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())


def encoded(space, count=4):
    """A nest of `count` random values as the network gets them."""
    space.seed(1)
    batch = concatenate(space, [space.sample() for _ in range(count)], create_empty_array(space, count))
    return tf.nest.pack_sequence_as(
        spaces.tensor_specs(space), list(map(tf.constant, border.Codec(space).encode(batch)))
    )


def distribution(network, outputs):
    return krp.agents.network_checks.ActionHeads(network).distribution(keras.tree.lists_to_tuples(outputs["action"]))


def saved_and_loaded(network, folder):
    network.save(folder / "network.keras")
    return keras.saving.load_model(folder / "network.keras")


@pytest.fixture
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


# Both have the same encoder: for spaces that are not composed the one with memory is enough.
COMPOSED = {"box", "image", "tuple", "dict", "nested"}


@pytest.mark.usefixtures("_no_warnings")
@pytest.mark.parametrize(
    ("space", "make"),
    [
        *((space, networks.recurrent) for space in SPACES.values()),
        *(
            pytest.param(space, networks.feed_forward, marks=() if name in COMPOSED else pytest.mark.long)
            for name, space in SPACES.items()
        ),
    ],
    ids=[f"{make}-{name}" for make in ("recurrent", "feed_forward") for name in SPACES],
)
def test_every_observation_space_has_a_network(space, make, tmp_path):
    network = make((space, Discrete(2)), units=(8,) if make is networks.feed_forward else 8)
    observations = encoded(space)
    outputs = network(observations)
    assert outputs["action"].shape == (4, 2)
    assert outputs["value"].shape == (4, 1)
    assert np.isfinite(outputs["value"]).all()
    if make is networks.recurrent:
        again = saved_and_loaded(network, tmp_path)(observations)
        np.testing.assert_array_equal(outputs["value"], again["value"])
    # every component matters: changing one changes the output, unless it has only one value
    for i, leaf in enumerate(spaces.leaves(space)):
        flat = tf.nest.flatten(observations)
        flat[i] = tf.roll(flat[i], 1, axis=0)
        changed = network(tf.nest.pack_sequence_as(observations, flat))["value"]
        assert np.any(changed != outputs["value"]) == (leaf != Discrete(1)), leaf


@pytest.mark.usefixtures("_no_warnings")
@each_space
def test_every_action_space_has_heads_that_match(space):
    network = networks.feed_forward((Box(-1.0, 1.0, (3,)), space), units=(8,))
    joint = distribution(network, network(tf.random.stateless_normal((64, 3), (1, 2))))
    assert joint.batch_shape == (64,)
    action = spaces.clip(space, joint.action(joint.sample(tf.constant([3, 4]))))
    for part, spec in zip(tf.nest.flatten(action), tf.nest.flatten(spaces.tensor_specs(space)), strict=True):
        assert part.shape == (64, *spec.shape)
    batch = border.Codec(space).decode([x.numpy() for x in tf.nest.flatten(action)])
    for row in range(64):
        assert space.contains(spaces.map_values(lambda x, i=row: x[i, ...], space, batch))
    krp.agents.network_checks.check_network(network, ("action", "value"), Box(-1.0, 1.0, (3,)), space)


@pytest.mark.parametrize(
    ("space", "head", "shape"),
    [
        (Discrete(3, start=-4), DenseCategorical, (3,)),
        (MultiDiscrete([2, 5]), DenseCategorical, (2, 5)),
        (MultiDiscrete([[2, 3, 2], [4, 2, 5]]), DenseCategorical, (2, 3, 5)),
        (MultiBinary([2, 3]), DenseBernoulli, (2, 3)),
        (Box(-1.0, 1.0, (2, 3)), DenseNormal, (2, 3)),
    ],
    ids=str,
)
def test_heads_of_spaces(space, head, shape):
    network = networks.feed_forward((Discrete(2), space))
    layer = network.output["action"]._keras_history.operation
    assert type(layer) is head
    assert layer.mask_shape == shape
    if isinstance(space, MultiDiscrete):
        np.testing.assert_array_equal(layer.num_classes, space.nvec)


def test_actions_stay_within_bounds_and_reach_both():
    low, high = np.array([-0.1, 3.0], np.float32), np.array([0.7, 3.5], np.float32)
    network = networks.feed_forward((Discrete(2), Box(low, high)))
    joint = distribution(network, {"action": tf.tile([[[-1.0, 3.0], [1.0, 3.0]]], (500, 1, 1))})
    actions = joint.action(joint.sample(tf.constant([1, 2]))).numpy()
    assert (actions >= low).all()
    assert (actions <= high).all()
    assert np.abs(actions.min(0) - low).max() < 1e-3
    assert np.abs(actions.max(0) - high).max() < 1e-3


@pytest.mark.parametrize(
    "space",
    [Box(0.0, np.inf, (2,)), Box(np.finfo(np.float32).min, np.finfo(np.float32).max, (2,)), Box(-np.inf, 1, (2,))],
    ids=str,
)
def test_actions_without_a_finite_range_are_plain_normal(space):
    network = networks.feed_forward((Discrete(2), space))
    joint = distribution(network, network(tf.zeros((4,), tf.int32)))
    raw = joint.sample(tf.constant([1, 2]))
    assert np.isfinite(raw).all()
    assert np.abs(raw).max() < 10
    np.testing.assert_array_equal(joint.action(raw), raw)


def layers_of(network, kind):
    return [layer for layer in network.layers if isinstance(layer, kind)]


@pytest.mark.parametrize(
    ("make", "memory"),
    [
        (networks.feed_forward, 0),
        (networks.recurrent, 2),
        (lambda env: networks.recurrent(env, shared=True), 1),
        (networks.nature_cnn, 0),
        (lambda env: networks.nature_cnn(env, cell="gru"), 1),
        (lambda env: networks.actor_critic(env, cell="gru", critic="q"), 2),
    ],
    ids=["feed_forward", "recurrent", "recurrent shared", "nature_cnn", "nature_cnn gru", "actor_critic gru"],
)
def test_an_image_goes_through_the_convolutions_once(make, memory):
    network = make((Box(0, 255, (84, 84, 4), np.uint8), Discrete(6)))
    convolutions = layers_of(network, keras.layers.Conv2D)
    assert [(c.filters, c.kernel_size, c.strides) for c in convolutions] == [
        (32, (8, 8), (4, 4)),
        (64, (4, 4), (2, 2)),
        (64, (3, 3), (1, 1)),
    ]
    assert [c.output.shape[1:] for c in convolutions] == [(20, 20, 32), (9, 9, 64), (7, 7, 64)]
    assert len(layers_of(network, StatefulRNN)) == memory
    assert network.input.dtype == "uint8"


def test_the_convolutions_of_the_nature_network_see_numbers_from_0_to_1():
    network = networks.nature_cnn((IMAGE, Discrete(2)))
    rescaled = keras.Model(network.input, layers_of(network, keras.layers.Rescaling)[0].output)
    assert rescaled(tf.fill((1, 36, 40, 3), tf.constant(255, tf.uint8))).numpy().max() == pytest.approx(1.0)


def test_nature_cnn_without_memory_has_the_parameters_of_the_paper():
    network = networks.nature_cnn((Box(0, 255, (84, 84, 4), np.uint8), Discrete(6)))
    convolutions = (8 * 8 * 4 + 1) * 32 + (4 * 4 * 32 + 1) * 64 + (3 * 3 * 64 + 1) * 64
    assert network.count_params() == convolutions + (7 * 7 * 64 + 1) * 512 + 513 * 6 + 513


def test_nature_cnn_needs_an_image():
    with pytest.raises(ValueError, match=r"`env` must have an image in its observations.*Received: Box"):
        networks.nature_cnn("tf/CartPole-v1")


@pytest.mark.parametrize(("shape", "layout"), [((2, 40, 44), (1, 2, 0)), ((40, 44, 2), (0, 1, 2)), ((40, 44), None)])
def test_images_may_have_their_channels_first_last_or_not_at_all(shape, layout):
    network = networks.nature_cnn((Box(0, 255, shape, np.uint8), Discrete(2)))
    (first, *_) = layers_of(network, keras.layers.Conv2D)
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    seen = keras.Model(network.input, first.input)(image[None]).numpy()[0]
    expected = image[..., None] if layout is None else image.transpose(layout)
    np.testing.assert_allclose(seen, expected / 255.0, rtol=1e-6)


def test_small_tables_of_bytes_are_numbers():
    network = networks.feed_forward((Box(0, 255, (8, 8), np.uint8), Discrete(2)))
    assert not layers_of(network, keras.layers.Conv2D)


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ("lstm", keras.layers.LSTMCell),
        ("gru", keras.layers.GRUCell),
        ("simple", keras.layers.SimpleRNNCell),
    ],
)
@pytest.mark.parametrize("make", [networks.recurrent, networks.nature_cnn])
def test_cells_by_name(cell, kind, make):
    network = make((IMAGE, Discrete(2)), cell=cell, units=5)
    memories = layers_of(network, StatefulRNN)
    assert len(memories) == (2 if make is networks.recurrent else 1)
    assert {(type(memory.cell), memory.cell.units) for memory in memories} == {(kind, 5)}


def test_a_cell_of_the_user_is_taken_as_it_is():
    cell = keras.layers.GRUCell(3, reset_after=False)
    (memory,) = layers_of(networks.recurrent("tf/CartPole-v1", cell=cell, shared=True), StatefulRNN)
    assert memory.cell is cell


def test_a_cell_of_the_user_is_copied_for_the_value():
    cell = keras.layers.GRUCell(3, reset_after=False)
    policy, value = layers_of(networks.recurrent("tf/CartPole-v1", cell=cell), StatefulRNN)
    assert policy.cell is cell is not value.cell
    assert value.cell.get_config() == cell.get_config() | {"name": value.cell.name}
    assert len(policy.trainable_variables) == len(value.trainable_variables) > 0


@pytest.mark.parametrize(("shared", "common"), [(False, 0), (True, 5)])
def test_policy_and_value_of_a_recurrent_network_share_all_layers_or_none(shared, common):
    network = networks.recurrent("tf/CartPole-v1", units=5, shared=shared)
    with tf.GradientTape(persistent=True) as tape:
        outputs = network(tf.ones((2, 4)))
        sums = [tf.reduce_sum(tf.square(outputs[name])) for name in ("action", "value")]
    reached = [
        {id(v) for v in network.trainable_variables if tape.gradient(total, v.value) is not None} for total in sums
    ]
    assert len(reached[0] & reached[1]) == common  # kernel and bias of the Dense layer, kernels and bias of the LSTM


@pytest.mark.parametrize("make", [networks.recurrent, networks.nature_cnn])
def test_names_of_cells_that_do_not_exist(make):
    with pytest.raises(ValueError, match=r"`cell` must be one of \['gru', 'lstm', 'simple'\] or.*cell='LSTM'"):
        make((IMAGE, Discrete(2)), cell="LSTM")


def test_default_network_of_recurrent_ppo():
    agent = krp.RecurrentPPO()
    agent.build("tf/CartPole-v1")
    assert agent.network.input.shape == (None, 4)
    hidden = [layer for layer in layers_of(agent.network, keras.layers.Dense) if layer.units != 1]
    assert [(layer.units, layer.activation) for layer in hidden] == [(64, keras.activations.tanh)] * 4
    assert {type(memory.cell) for memory in layers_of(agent.network, StatefulRNN)} == {keras.layers.LSTMCell}
    lstm = 4 * 64 * (64 + 64 + 1)
    assert agent.network.count_params() == 2 * (5 * 64 + lstm + 65 * 64) + 65 * 2 + 65


def test_default_network_of_ppo_has_towers_of_its_own_for_policy_and_value():
    agent = krp.PPO()
    agent.build("tf/CartPole-v1")
    assert agent.network.count_params() == 2 * (5 * 64 + 65 * 64) + 65 * 2 + 65
    with tf.GradientTape() as tape:
        value = agent.network(tf.ones((1, 4)))["value"]
    gradients = tape.gradient(value, agent.network.trainable_variables)
    assert sum(gradient is None for gradient in gradients) == 4 + 2  # two layers and the head


def test_units_of_feed_forward():
    network = networks.feed_forward("tf/CartPole-v1", units=(3, 5, 7))
    units = [layer.units for layer in layers_of(network, keras.layers.Dense)]
    assert sorted(units) == [1, 3, 3, 5, 5, 7, 7]


def widths_of(network):
    """Of the Dense layers, and of the recurrent ones."""
    dense = [layer.units for layer in layers_of(network, keras.layers.Dense)]
    return sorted(dense), [layer.cell.units for layer in layers_of(network, StatefulRNN)]


@pytest.mark.parametrize(
    ("arguments", "widths"),
    [
        ({}, ([1, 3, 3, 5, 5], [])),
        ({"shared": True}, ([1, 3, 5], [])),
        ({"cell": "gru"}, ([1, 3, 3], [5, 5])),
        ({"cell": "gru", "shared": True}, ([1, 3], [5])),
        ({"cell": keras.layers.LSTMCell(7), "critic": "q"}, ([3, 3, 6], [7, 7])),
        ({"units": ()}, ([1], [])),
    ],
    ids=str,
)
def test_policy_and_critic_have_layers_and_memory_of_their_own_or_in_common(arguments, widths):
    network = networks.actor_critic((Box(-1, 1, (4,)), MultiDiscrete([2, 3])), **{"units": (3, 5), **arguments})
    assert widths_of(network) == widths
    critic = arguments.get("critic", "value")
    assert network.output[critic].shape == (None, 6 if critic == "q" else 1)
    assert set(network.output) == {"action", critic}
    with tf.GradientTape() as tape:
        value = network(tf.ones((2, 4)))[critic]
    gradients = tape.gradient(value, network.trainable_variables)
    of_policy = [x for x in network.trainable_variables if "dense_categorical" in x.path]
    alone = sum(gradient is None for gradient in gradients)
    assert (
        alone == len(of_policy)
        if arguments.get("shared") or not arguments.get("units", True)
        else alone > len(of_policy)
    )


def test_what_actor_critic_refuses():
    with pytest.raises(ValueError, match=r'`critic` must be "value" or "q"\. Received: critic=\'Q\''):
        networks.actor_critic("tf/CartPole-v1", critic="Q")
    with pytest.raises(ValueError, match=r"`env` must have a Discrete or MultiDiscrete action space"):
        networks.actor_critic("tf/Pendulum-v1", critic="q")
    with pytest.raises(ValueError, match=r"`units` must be a tuple of positive integers.*units=\(\)"):
        networks.actor_critic("tf/CartPole-v1", units=(), cell="lstm")
    assert networks.actor_critic("tf/Pendulum-v1").output["value"].shape == (None, 1)


@pytest.mark.parametrize(
    "env",
    [
        "CartPole-v1",
        "tf/CartPole-v1",
        lambda: gymnasium.make("CartPole-v1"),
        (Box(-1, 1, (4,)), Discrete(2)),
        krp.envs.make_native("tf/CartPole-v1", 2),
    ],
    ids=["id", "native id", "callable", "spaces", "native"],
)
def test_every_kind_of_environment_will_do(env):
    network = networks.feed_forward(env)
    assert network.input.shape == (None, 4)
    assert network.output["action"].shape == (None, 2)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ((gym_spaces.Text(3), Discrete(2)), r"`observation_space` must be made of.*contains Text"),
        ((Discrete(2), gym_spaces.Text(3)), r"`action_space` must be made of.*contains Text"),
    ],
)
def test_spaces_that_are_not_supported(env, message):
    with pytest.raises(ValueError, match=message):
        networks.feed_forward(env)


@pytest.mark.parametrize(
    ("space", "value", "features"),
    [
        (Discrete(3, start=-4), -2, [0, 0, 1]),
        (MultiDiscrete([2, 3], start=[5, -1]), [6, 1], [0, 1, 0, 0, 0, 1]),
        (MultiDiscrete([[2, 3], [3, 2]]), [[1, 2], [0, 1]], [0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0]),
        (MultiBinary([2, 2]), [[0, 1], [1, 1]], [0, 1, 1, 1]),
        (Box(0, 255, (2,), np.uint8), [15, 255], [0.5, 1]),
        (Box(-5, 5, (2,), np.int16), [-3, 4], [0.2, 0.9]),
        (Box(-9.0, 9.0, (2, 1), np.float64), [[-8.0], [4.0]], [-8, 4]),
        (Box(-9.0, 9.0, ()), 2.5, [2.5]),
        (gym_spaces.Dict({"b": Discrete(2), "a": Box(-1, 1, (1,))}), {"b": 1, "a": [0.5]}, [0.5, 0, 1]),
    ],
    ids=str,
)
def test_features_of_an_observation(space, value, features):
    encoder = keras.Model(*networks.encoder(space))
    batch = spaces.map_values(lambda x: np.array([x]), space, value)
    nest = tf.nest.pack_sequence_as(
        spaces.tensor_specs(space), list(map(tf.constant, border.Codec(space).encode(batch)))
    )
    np.testing.assert_allclose(encoder(nest), [features], rtol=1e-6)


# ---- masks --------------------------------------------------------------------------------------------------------

MASKED = gym_spaces.Dict(
    {
        "action_mask": gym_spaces.Dict({"1": MultiBinary([2, 3]), "2": MultiBinary(2)}),
        "eye": Box(0, 255, (32, 32, 1), np.uint8),
        "x": Box(-1, 1, (2,)),
    }
)
ACTIONS = gym_spaces.Tuple([Box(-1, 1, (1,)), MultiDiscrete([2, 3]), MultiBinary(2), Discrete(4)])


@pytest.mark.usefixtures("_no_warnings")
@pytest.mark.parametrize(
    "make",
    [
        networks.feed_forward,
        networks.recurrent,
        networks.nature_cnn,
        lambda env: networks.nature_cnn(env, cell="gru"),
        lambda env: networks.actor_critic(env, cell="gru"),
    ],
    ids=["feed_forward", "recurrent", "nature_cnn", "nature_cnn gru", "actor_critic gru"],
)
def test_a_mask_goes_to_the_heads_and_not_into_the_features(make, tmp_path):
    network = make((MASKED, ACTIONS))
    observation = encoded(MASKED)
    full = {"1": tf.ones((4, 2, 3), tf.int32), "2": tf.ones((4, 2), tf.int32)}
    some = {"1": tf.constant([[[1, 0, 0], [0, 1, 1]]] * 4), "2": tf.constant([[0, 1]] * 4)}
    free, masked = (network(observation | {"action_mask": mask}) for mask in (full, some))
    again = saved_and_loaded(network, tmp_path)(observation | {"action_mask": some})
    tf.nest.map_structure(np.testing.assert_array_equal, list(masked["action"]), list(again["action"]))
    np.testing.assert_array_equal(free["value"], masked["value"])
    for i in (0, 3):  # these have no mask
        np.testing.assert_array_equal(free["action"][i], masked["action"][i])
    pair, switches = masked["action"][1].numpy(), masked["action"][2].numpy()
    np.testing.assert_array_equal(pair < -1e8, [[[0, 1, 1], [1, 0, 0]]] * 4)
    np.testing.assert_array_equal(switches < -1e8, [[1, 0]] * 4)
    np.testing.assert_array_equal(pair[:, 1, 1:], free["action"][1][:, 1, 1:])
    np.testing.assert_array_equal(switches[:, 1], free["action"][2][:, 1])


@pytest.mark.parametrize("arguments", [{}, {"dueling": True, "noisy": "factorized"}, {"cell": "lstm"}], ids=str)
def test_a_mask_goes_to_the_values(arguments):
    space = gym_spaces.Dict({"action_mask": MultiBinary(3), "x": Box(-1, 1, (2,))})
    network = networks.q_network((space, Discrete(3)), units=(8, 8), **arguments)
    x = tf.constant([[0.3, -0.2]])
    free, none, some = (
        network({"action_mask": tf.constant([mask]), "x": x})["action"].numpy()[0]
        for mask in ([1, 1, 1], [0, 0, 0], [1, 0, 1])
    )
    np.testing.assert_array_equal(free, none)
    assert some[1] == -1e9
    shift = (free[0] + free[2]) / 2 - free.mean() if "dueling" in arguments else 0.0  # the mean is over two advantages
    np.testing.assert_allclose(some[[0, 2]], free[[0, 2]] - shift, atol=1e-6)


def test_a_mask_goes_to_linear_values():
    space = gym_spaces.Dict({"action_mask": MultiBinary(3), "x": Box(-1, 1, (2,))})
    network = networks.linear_q((space, Discrete(3)), components=5, samples=50)
    values = network({"action_mask": tf.constant([[1, 0, 1]]), "x": tf.zeros((1, 2))})["action"]
    np.testing.assert_array_equal(values, [[0, -1e9, 0]])
    assert network.count_params() == 20 * 3 + 2 * 20 + 20  # the features do not include the mask


def test_masks_for_heads_of_ones_own():
    x, mask = keras.Input((5,)), keras.Input((3,), dtype="int32")
    action = networks.heads(gym_spaces.Dict({"a": Discrete(3), "b": Discrete(2)}), x, {"a": mask})
    outputs = keras.Model([x, mask], action)([tf.ones((1, 5)), tf.constant([[0, 1, 0]])])
    np.testing.assert_array_equal(outputs["a"] < -1e8, [[True, False, True]])
    assert (outputs["b"].numpy() > -1).all()
    with pytest.raises(ValueError, match=r"`action_mask.b` of the observation must have the shape \(2,\).*\(3,\)"):
        networks.heads(gym_spaces.Dict({"a": Discrete(3), "b": Discrete(2)}), x, {"b": mask})


def test_the_scale_of_heads_may_depend_on_the_observation():
    space = gym_spaces.Dict({"bounded": Box(-1, 1, (2,)), "unbounded": Box(-np.inf, np.inf, ()), "other": Discrete(2)})
    x = keras.Input((3,))
    for depends in (True, False):
        network = keras.Model(x, networks.heads(space, x, state_dependent_scale=depends))
        outputs = network(tf.constant([[0.0, 0.0, 0.0], [5.0, -3.0, 8.0]]))
        for name in ("bounded", "unbounded"):
            scale = outputs[name][..., 1].numpy()
            assert np.any(scale[0] != scale[1]) == depends
    with pytest.raises(ValueError, match="`state_dependent_scale` must be a bool"):
        networks.heads(space, x, state_dependent_scale=1)


@pytest.mark.parametrize("make", [networks.feed_forward, networks.recurrent, networks.q_network])
def test_masks_alone_are_no_observation(make):
    with pytest.raises(ValueError, match=r"must have something besides 'action_mask'.*Received: .*MultiBinary\(3\)"):
        make((gym_spaces.Dict({"action_mask": MultiBinary(3)}), Discrete(3)))


# ---- names --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_no_warnings")
def test_inputs_have_the_names_of_the_keys(tmp_path):
    space = gym_spaces.Dict([("zone", Discrete(3)), ("angle", Box(-1, 1, (2,))), ("mask", MultiBinary(2))])
    network = networks.feed_forward((space, Discrete(2)))
    for same in (network, saved_and_loaded(network, tmp_path)):
        assert {key: x.name for key, x in same.input.items()} == {"angle": "angle", "mask": "mask", "zone": "zone"}
        assert [x.name for x in same.inputs] == ["angle", "mask", "zone"]
        assert same(encoded(space))["value"].shape == (4, 1)
    assert networks.feed_forward("tf/CartPole-v1").input.name == "observation"


@pytest.mark.usefixtures("_no_warnings")
@pytest.mark.parametrize(
    "space",
    [
        gym_spaces.Dict({"value": Box(-1, 1, (1,)), "action": Discrete(2)}),
        gym_spaces.Dict({"a_b": Discrete(2), "a": gym_spaces.Dict({"b": Discrete(3)})}),
    ],
    ids=["names of outputs", "nested names that read alike"],
)
def test_keys_that_could_clash_with_other_names(space, tmp_path):
    network = networks.feed_forward((space, Discrete(2)))
    assert network(encoded(space))["value"].shape == (4, 1)
    assert saved_and_loaded(network, tmp_path)(encoded(space))["value"].shape == (4, 1)


@pytest.mark.usefixtures("_no_warnings")
def test_an_agent_on_tuple_observations_works_without_warnings_also_once_loaded(tmp_path):
    space = gym_spaces.Tuple((Box(-1, 1, (2,)), gym_spaces.Tuple((Discrete(3),)), Discrete(4)))
    agent = krp.RecurrentPPO()
    agent.build((space, gym_spaces.Tuple((Discrete(2), Box(-1, 1, (1,))))))
    agent.save(tmp_path / "agent.keras")
    loaded = keras.saving.load_model(tmp_path / "agent.keras")
    observation = encoded(space)
    first, again = agent(observation), loaded(observation)
    assert isinstance(first["action"], tuple)
    tf.nest.map_structure(np.testing.assert_array_equal, first, again)
    for actions in (agent.predict(observation, verbose=0), loaded.predict(observation, verbose=0)):
        assert [x.shape for x in actions] == [(4,), (4, 1)]


def test_inputs_of_two_encoders_may_be_those_of_one_network():
    one, two = SPACES["box"], SPACES["nested"]
    (x, features), (y, others) = networks.encoder(one), networks.encoder(two, name="action")
    assert [z.name for z in keras.tree.flatten(y)] == ["action.a.0", "action.a.1", "action.b"]
    network = keras.Model([x, *keras.tree.flatten(y)], keras.layers.Concatenate()([features, others]))
    assert network([encoded(one), *keras.tree.flatten(encoded(two))]).shape == (4, 3 + 5)
    assert networks.encoder(one, name="action")[0].name == "action"


def hidden(network, output):
    """Widths of the hidden layers that an output depends on, in order, and their classes."""
    part = keras.Model(network.inputs, network.output[output])
    made = [layer for layer in part.layers if layer.weights and not isinstance(layer, krp.layers.DenseNormal)]
    return [(type(layer).__name__, layer.bias.shape[0] if hasattr(layer, "bias") else None) for layer in made]


def test_policy_and_value_have_their_own_widths_noise_and_first_scale():
    env = "tf/Pendulum-v1"
    network = krp.networks.feed_forward(env, (5, 4), value_units=(7,), initial_scale=0.35, gain=0.1)
    assert hidden(network, "action") == [("Dense", 5), ("Dense", 4)]
    assert hidden(network, "value") == [("Dense", 7), ("Dense", 1)]
    observation = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    loc, scale = np.moveaxis(network(observation)["action"].numpy(), -1, 0)
    np.testing.assert_allclose(scale, 0.35, rtol=1e-6)
    assert np.abs(loc).max() < 0.2  # the last layer's rows have norm 0.1 and its inputs are at most 1
    head = next(layer for layer in network.layers if isinstance(layer, krp.layers.DenseNormal))
    assert np.linalg.norm(head.kernel.numpy()) == pytest.approx(0.1, rel=1e-5)
    np.testing.assert_allclose(krp.networks.feed_forward(env)(observation)["action"][..., 1], 1.0, rtol=1e-6)
    recurrent = krp.networks.recurrent(env, "gru", 4, initial_scale=0.5)
    np.testing.assert_allclose(recurrent(observation)["action"][..., 1], 0.5, rtol=1e-6)

    noisy = krp.networks.actor_critic(env, (6,), critic_units=(3, 2), noisy="factorized")
    kinds = {layer.units for layer in noisy.layers if isinstance(layer, krp.layers.NoisyDense)}
    assert kinds == {6}
    assert hidden(noisy, "value") == [("Dense", 3), ("Dense", 2), ("Dense", 1)]
    for layer in noisy.layers:
        if isinstance(layer, krp.layers.NoisyDense):
            layer.resample(tf.constant([1, 2]))
    quiet, loud = (noisy(observation, training=training)["action"].numpy() for training in (False, True))
    assert np.abs(quiet - loud).max() > 1e-4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: krp.networks.feed_forward("tf/CartPole-v1", initial_scale=0.3),
            "`initial_scale` must be `None` unless",
        ),
        (lambda: krp.networks.feed_forward("tf/Pendulum-v1", gain=-1), "`gain` must be a number of at least 0"),
        (lambda: krp.networks.feed_forward("tf/Pendulum-v1", noisy="yes"), "`noisy` must be one of"),
        (lambda: krp.networks.feed_forward("tf/Pendulum-v1", value_units=3), "`value_units` must be a tuple"),
        (
            lambda: krp.networks.actor_critic("tf/Pendulum-v1", shared=True, critic_units=(3,)),
            "`critic_units` must be `None`",
        ),
    ],
)
def test_wrong_options_of_policies(make, message):
    with pytest.raises(ValueError, match=message):
        make()
