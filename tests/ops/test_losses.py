"""Loss terms against hand-computed numbers, on both sides of every clip, and their gradients."""

import numpy as np
import pytest
import tensorflow as tf

from keras_rl_prob import ops

MODES = {"eager": lambda f: f, "graph": tf.function, "jit": tf.function(jit_compile=True)}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("ratio", "advantage", "clipped", "slope"),
    # clip_ratio 0.2. Slope: derivative by log_ratio, ratio * advantage where the unclipped branch is the minimum.
    [
        (1.0, 3.0, 3.0, 3.0),  # on policy
        (1.1, 2.0, 2.2, 2.2),  # inside
        (1.5, 1.0, 1.2, 0.0),  # above, positive advantage: clipped
        (1.5, -1.0, -1.5, -1.5),  # above, negative advantage: not clipped
        (0.5, 1.0, 0.5, 0.5),  # below, positive advantage: not clipped
        (0.5, -1.0, -0.8, 0.0),  # below, negative advantage: clipped
    ],
)
def test_clipped_surrogate_by_hand(ratio, advantage, clipped, slope, mode):
    log_ratio = tf.fill((1, 1), np.float32(np.log(ratio)))

    @MODES[mode]
    def value_and_gradient(log_ratio, clip_ratio):
        with tf.GradientTape() as tape:
            tape.watch(log_ratio)
            objective = ops.clipped_surrogate(log_ratio, tf.fill((1, 1), advantage), clip_ratio)
        return objective, tape.gradient(objective, log_ratio)

    np.testing.assert_allclose(value_and_gradient(log_ratio, 0.2), [[[clipped]], [[slope]]], rtol=1e-5)
    np.testing.assert_allclose(value_and_gradient(log_ratio, None), [[[ratio * advantage]]] * 2, rtol=1e-5)


@pytest.mark.parametrize(("sign", "loss"), [(1, -0.17117467), (-1, 0.19333333)])
def test_clipped_surrogate_gives_the_numbers_of_rlax(sign, loss):
    """Logits, advantages and losses of rlax `_src/policy_gradients_test.py`, ClippedSurrogatePGLossTest, to its 1e-4.

    The ratios are 1, 1 and exp(-2): -(0.3 + 0.2 + 0.1 exp(-2)) / 3 = -0.1711778 and (0.3 + 0.2 + 0.1 * 0.8) / 3.
    """
    new, old = [[1.0, 1, 1], [2, 0, 0], [-1, -2, -3]], [[1.0, 1, 1], [2, 0, 0], [-3, -2, -1]]
    difference = tf.nn.log_softmax(new) - tf.nn.log_softmax(old)
    log_ratio = tf.linalg.diag_part(difference)  # actions 0, 1, 2
    objective = ops.clipped_surrogate(log_ratio, sign * tf.constant([0.3, 0.2, 0.1]), clip_ratio=0.2)
    np.testing.assert_allclose(-tf.reduce_mean(objective), loss, atol=1e-4)
    derived = [0.3, 0.2, 0.1 * np.exp(-2)] if sign > 0 else [-0.3, -0.2, -0.1 * 0.8]
    np.testing.assert_allclose(objective, derived, rtol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_clipped_value_loss_by_hand(mode):
    # value, old value, target, loss for value_clip 0.2:
    rows = [
        (1.0, 0.0, 1.0, 0.64),  # clipped to 0.2: (0.2 - 1)^2, though the prediction is perfect
        (1.5, 1.0, 1.5, 0.09),  # clipped to 1.2: (1.2 - 1.5)^2
        (0.1, 0.0, 1.0, 0.81),  # inside: (0.1 - 1)^2
        (-1.0, 0.0, 1.0, 4.0),  # away from the target: (-1 - 1)^2 is more than (-0.2 - 1)^2
        (-1.0, 0.0, -0.5, 0.25),  # (-1 + 0.5)^2 is more than (-0.2 + 0.5)^2
    ]
    value, old, target, loss = np.transpose(rows).astype(np.float32)
    run = MODES[mode](ops.clipped_value_loss)
    np.testing.assert_allclose(run(value, old, target, 0.2), loss, rtol=1e-5)
    plain = run(value, old, target, None)
    np.testing.assert_allclose(plain, (value - target) ** 2, rtol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_kl_cutoff_by_hand(mode):
    # 1000 * (0.03 - 2 * 0.01)^2 = 0.1
    loss = MODES[mode](ops.kl_cutoff)(tf.constant([0.03, 0.02, 0.005]), 0.01, 2.0, 1000.0)
    np.testing.assert_allclose(loss, [0.1, 0, 0], atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("beta", "kl", "expected"),
    # target 0.01, tolerance 0.3: the band is 0.007 ... 0.013
    [
        (1.0, 0.005, 2 / 3),
        (1.0, 0.02, 1.5),
        (1.0, 0.01, 1.0),
        (1.0, 0.0071, 1.0),
        (1.0, 0.0129, 1.0),
        (1e-15, 0.0, 1e-15),
        (0.0, 1.0, 0.0),
        (1e17, 1.0, 1e17),
    ],
)
def test_adapt_kl_beta_by_hand(beta, kl, expected, mode):
    adapted = MODES[mode](ops.adapt_kl_beta)(tf.constant(beta), tf.constant(kl), 0.01, 0.3)
    np.testing.assert_allclose(adapted, expected, rtol=1e-6)
