"""`ActionParts`: numbers and probabilities of combinations against loops, and spaces that it splits."""

import itertools

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from keras_rl_prob.distributions import ActionParts

MOVE = Box(-1.0, 1.0, (2,), np.float32)
SPACE = Dict(a=Discrete(3, start=1), move=MOVE, z=Tuple([MultiDiscrete([2, 4]), Tuple([Discrete(2)]), Box(0.0, 1.0)]))
COMBINATIONS = list(itertools.product(range(3), range(2), range(4), range(2)))


def action(a, b, c, d):
    return {"a": a, "move": np.zeros(2), "z": (np.stack([b, c], -1), (d,), np.zeros(1))}


def test_combinations_are_numbered_with_the_last_part_fastest():
    parts, columns = ActionParts(SPACE), (np.array(column) for column in zip(*COMBINATIONS, strict=True))
    index = parts.index(tf.nest.map_structure(tf.constant, action(*columns)))
    assert parts.count == 48
    np.testing.assert_array_equal(index, np.arange(48))


def test_log_probabilities_are_sums_over_parts():
    rng, rows = np.random.default_rng(0), 5
    logits = [rng.normal(size=(rows, *shape)) for shape in ((3,), (2, 4), (2,))]
    logits[1][:, 0, 2:] = -2e9  # classes that the first of the two does not have
    parameters = {
        "a": logits[0],
        "move": np.zeros((rows, 2, 2)),
        "z": (logits[1], (logits[2],), np.zeros((rows, 1, 2))),
    }
    received = ActionParts(SPACE).log_probabilities(
        tf.nest.map_structure(lambda x: tf.constant(x, tf.float32), parameters)
    )

    def log_softmax(x):
        return x - np.log(np.sum(np.exp(x - x.max(-1, keepdims=True)), -1, keepdims=True)) - x.max(-1, keepdims=True)

    first, second, third = (log_softmax(x) for x in logits)
    expected = [first[:, a] + second[:, 0, b] + second[:, 1, c] + third[:, d] for a, b, c, d in COMBINATIONS]
    np.testing.assert_allclose(received, np.stack(expected, -1), rtol=1e-5)
    np.testing.assert_allclose(np.sum(np.exp(received), -1), 1.0, rtol=1e-5)


def test_the_continuous_parts_keep_their_places():
    parts = ActionParts(SPACE)
    assert parts.continuous_space == Dict(move=MOVE, z=Tuple([Box(0.0, 1.0)]))
    assert parts.continuous({"a": 0, "move": 1, "z": (2, (3,), 4)}) == {"move": 1, "z": (4,)}
    alone = ActionParts(Tuple([MOVE, MOVE]))
    assert (alone.continuous((1, 2)), alone.count, alone.discrete) == ((1, 2), 1, False)
    discrete = ActionParts(Discrete(4))
    assert (discrete.continuous(3), discrete.continuous_space, discrete.count) == ((), None, 4)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Tuple([MOVE, MultiBinary(2)]), r"must have actions of Box, Discrete and MultiDiscrete.*Received: MultiBinary"),
        (Tuple([Discrete(40), Discrete(40)]), "at most 1,000 combinations"),
        (gymnasium.spaces.MultiDiscrete([10] * 4), "at most 1,000 combinations"),
    ],
)
def test_other_spaces_are_refused(space, message):
    with pytest.raises(ValueError, match=message):
        ActionParts(space)
