"""`JointActions` against all combinations, written out."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from keras_rl_prob.distributions import JointActions

SPACES = [
    spaces.Discrete(4, start=-2),
    spaces.MultiDiscrete([3]),
    spaces.MultiDiscrete([2, 3, 2]),
    spaces.MultiDiscrete([[2, 1], [3, 2]]),
]


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)], ids=str)
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_every_action_has_its_number_and_its_probability(space, batch):
    classes = [int(space.n)] if isinstance(space, spaces.Discrete) else space.nvec.ravel().tolist()
    every = list(itertools.product(*map(range, classes)))
    joint = JointActions(space)
    assert joint.count == len(every)
    actions = np.array(every, np.int32).reshape(len(every), *space.shape)
    assert joint.index(tf.constant(actions)).numpy().tolist() == list(range(len(every)))
    assert joint.index(tf.constant(actions[-1])).numpy() == len(every) - 1
    logits = np.random.default_rng(0).normal(size=(*batch, len(classes), max(classes))) * 3
    logits = np.where(np.arange(max(classes)) < np.array(classes)[:, None], logits, -2e9)
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    parts = odds / odds.sum(-1, keepdims=True)
    expected = np.stack([np.prod([parts[..., i, x] for i, x in enumerate(action)], 0) for action in every], -1)
    received = joint.log_probabilities(tf.constant(logits.reshape(*batch, *space.shape, max(classes)), tf.float32))
    np.testing.assert_allclose(np.exp(received), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "space",
    [spaces.Box(-1, 1, (2,)), spaces.Discrete(1001), spaces.MultiDiscrete([8] * 4), spaces.Tuple([spaces.Discrete(2)])],
    ids=str,
)
def test_spaces_that_cannot_be_counted_through_are_named(space):
    with pytest.raises(
        ValueError, match="`env` must have a Discrete or MultiDiscrete action space of at most 1,000"
    ) as e:
        JointActions(space)
    assert f"action_space={space}" in str(e.value)
