"""Any space: values are unchanged after conversion in both directions, or raise an error, and actions are elements of it."""

import contextlib
import json
import os
import warnings

import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces as gym_spaces
from hypothesis import strategies as st

import keras_rl_prob as krp
from keras_rl_prob import border, spaces

SHAPES = st.sampled_from([(), (1,), (3,), (2, 2), (0,)])
INTEGERS = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]
KEYS = st.text(st.sampled_from("ab_/.: -\u00fc\u4e2d0"), min_size=1, max_size=4)
ROWS = 3


@st.composite
def boxes(draw):
    """Boxes of every dtype, bounded on both sides, one or none, element by element."""
    shape, size = draw(SHAPES), None
    size = int(np.prod(shape))
    if draw(st.booleans()):
        dtype = draw(st.sampled_from([np.float16, np.float32, np.float64]))
        finite = st.floats(-1e4, 1e4, width=16)
        low = [draw(st.one_of(finite, st.just(-np.inf))) for _ in range(size)]
        high = [
            draw(st.one_of(st.just(np.inf), st.floats(0, 1e4, width=16).map(lambda x, a=a: max(a, -1e4) + x)))
            for a in low
        ]
        low, high = (np.array(x, dtype).reshape(shape) for x in (low, high))
        high = np.maximum(low, high)
    else:
        dtype = draw(st.sampled_from(INTEGERS))
        limits = np.iinfo(dtype)
        numbers = st.one_of(st.integers(limits.min, limits.max), st.sampled_from([limits.min, limits.max]))
        pairs = [sorted((draw(numbers), draw(numbers))) for _ in range(size)]
        low, high = (np.array([pair[i] for pair in pairs], dtype).reshape(shape) for i in (0, 1))
    return gym_spaces.Box(low, high, shape, dtype)


@st.composite
def discretes(draw):
    kind = draw(st.sampled_from(["one", "several", "binary"]))
    starts = st.integers(-5, 5) if draw(st.booleans()) else st.integers(-(2**40), 2**40)
    if kind == "one":
        return gym_spaces.Discrete(draw(st.integers(1, 2**31)), start=draw(starts))
    if kind == "several":
        count = draw(st.integers(1, 3))
        nvec, start = ([draw(x) for _ in range(count)] for x in (st.integers(1, 9), starts))
        return gym_spaces.MultiDiscrete(nvec, start=start)
    return gym_spaces.MultiBinary(draw(st.sampled_from([1, 3, (2, 2)])))


def nested(children):
    return st.one_of(
        st.dictionaries(KEYS, children, min_size=1, max_size=3).map(gym_spaces.Dict),
        st.lists(children, min_size=1, max_size=3).map(gym_spaces.Tuple),
    )


SPACES = st.recursive(st.one_of(boxes(), discretes()), nested, max_leaves=4)
examples = pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.long)])


def check(test, count, *strategies):
    """Runs `test` on so many examples; `HYPOTHESIS_SEED` chooses others."""
    settings = hypothesis.settings(
        max_examples=count, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    seeded = hypothesis.seed(int(os.environ.get("HYPOTHESIS_SEED", 0)))
    seeded(settings(hypothesis.given(*strategies)(test)))()


def supported(space):
    """Whether a space is accepted; if not, it is refused by name."""
    try:
        spaces.check_supported(space, "observation_space")
    except ValueError as error:
        told = str(error)
    else:
        return True
    assert "`observation_space` must have" in told
    return False


def batch(space, seed):
    """Random elements, also of spaces that Gymnasium itself cannot draw from."""
    random = np.random.default_rng(seed)

    def draw(leaf):
        shape = (ROWS, *leaf.shape)
        if isinstance(leaf, gym_spaces.MultiBinary):
            return random.integers(0, 2, shape, leaf.dtype)
        if not isinstance(leaf, gym_spaces.Box):
            classes = leaf.n if isinstance(leaf, gym_spaces.Discrete) else leaf.nvec
            return (leaf.start + random.integers(0, classes, shape)).astype(leaf.dtype)
        if np.issubdtype(leaf.dtype, np.integer):
            return random.integers(leaf.low, leaf.high, shape, leaf.dtype, endpoint=True)
        return np.clip((random.normal(size=shape) * 100).astype(leaf.dtype), leaf.low, leaf.high)

    return spaces.map_structure(draw, space)


def flat(space, value):
    return [np.asarray(x) for _, x in spaces.pairs(space, value)]


@examples
def test_what_comes_in_goes_out_again(count):
    def test(space, seed):
        if not supported(space):
            return
        value, codec = batch(space, seed), border.Codec(space)
        encoded = codec.encode(value)
        for x, spec in zip(encoded, keras.tree.flatten(spaces.tensor_specs(space)), strict=True):
            assert (x.dtype, x.shape) == (spec.dtype.as_numpy_dtype, (ROWS, *spec.shape))
        for leaf, before, after in zip(
            spaces.leaves(space), flat(space, value), flat(space, codec.decode(encoded)), strict=True
        ):
            assert after.dtype == leaf.dtype
            if np.issubdtype(leaf.dtype, np.floating):
                np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-30)
            else:
                np.testing.assert_array_equal(after, before)
        nest = tf.nest.pack_sequence_as(spaces.tensor_specs(space), [tf.constant(x) for x in flat(space, value)])
        for x, y in zip(keras.tree.flatten(border.encode(space, nest)), encoded, strict=True):
            np.testing.assert_array_equal(x.numpy(), y)
        inside = tf.nest.pack_sequence_as(spaces.tensor_specs(space), list(map(tf.constant, encoded)))
        for x, y in zip(
            keras.tree.flatten(border.decode(space, inside)), flat(space, codec.decode(encoded)), strict=True
        ):
            np.testing.assert_array_equal(x.numpy(), y)

    check(test, count, SPACES, st.integers(0, 99))


@examples
def test_actions_are_members_of_the_space(count):
    """Random ones, and whatever a normal distribution may come up with."""

    def test(space, seed, scale):
        if not supported(space):
            return
        random, codec = np.random.default_rng(seed), border.Codec(space)
        drawn = spaces.sample(space, ROWS, tf.constant([seed, 1]))
        wild = [
            (random.normal(size=(ROWS, *leaf.shape)) * scale).astype(np.float32)
            if isinstance(leaf, gym_spaces.Box)
            else x.numpy()
            for leaf, x in zip(spaces.leaves(space), keras.tree.flatten(drawn), strict=True)
        ]
        for numbers in ([x.numpy() for x in keras.tree.flatten(drawn)], wild):
            nest = tf.nest.pack_sequence_as(spaces.tensor_specs(space), list(map(tf.constant, numbers)))
            for decoded in (codec.decode(numbers), border.decode(space, nest)):
                for row in range(ROWS):
                    action = spaces.map_values(lambda x, row=row: np.asarray(x)[row], space, decoded)
                    assert space.contains(action), (action, numbers)

    check(test, count, SPACES, st.integers(0, 99), st.sampled_from([1e-3, 1.0, 1e5, 1e12, 3e37]))


@examples
def test_names_and_files(count):
    def test(space):
        names = spaces.graph_names(space)
        assert len(set(names)) == len(names) == len(spaces.leaves(space))
        for name in names:
            keras.Input((1,), name=f"{name}" or "x")
        stored = json.loads(json.dumps(spaces.serialize(space)))
        assert spaces.deserialize(stored) == space
        assert border.misfit(space, batch(space, 0), exact=True) is not None
        first = spaces.map_values(lambda x: x[0], space, batch(space, 0))
        assert border.misfit(space, first, exact=True) is None

    check(test, count, SPACES)


@pytest.mark.parametrize("count", [8, pytest.param(150, marks=pytest.mark.long)])
def test_default_agents_act_in_any_space(count):
    def test(observation_space, action_space):
        if not supported(observation_space) or not supported(action_space):
            return
        agent = krp.PPO()
        with contextlib.suppress(ValueError):  # such as more classes than a default network has units for
            agent.build((observation_space, action_space))
        if not agent.built:
            return
        agent.compile(run_eagerly=True)
        observation = batch(observation_space, 1)
        predicted, acted = agent.predict(observation, verbose=0), agent.policy(num_envs=ROWS)(observation)
        for x, y, leaf in zip(
            *(flat(action_space, z) for z in (predicted, acted)), spaces.leaves(action_space), strict=True
        ):
            assert x.dtype == y.dtype == leaf.dtype
            np.testing.assert_allclose(x, y, rtol=1e-5)
        for row in range(ROWS):
            assert action_space.contains(
                spaces.map_values(lambda x, row=row: np.asarray(x)[row], action_space, predicted)
            )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(test, count, SPACES, SPACES)
