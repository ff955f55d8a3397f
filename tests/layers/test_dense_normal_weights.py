"""`DenseNormal`: initialisers, regularisers and constraints of location and scale by themselves."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp

CONSTANT, L1, L2 = keras.initializers.Constant, keras.regularizers.L1, keras.regularizers.L2
FEATURES = tf.ones((3, 4))


def head_of(**arguments):
    head = krp.layers.DenseNormal((2,), **arguments)
    head(FEATURES)
    return head


def columns(head):
    """The kernel's columns of location and scale, `[features, 2]` each."""
    kernel = head.kernel.numpy().reshape(4, 2, 2)
    return kernel[..., 0], kernel[..., 1]


def test_a_learned_vector_has_its_own():
    head = head_of(
        kernel_initializer=CONSTANT(0.5),
        kernel_regularizer=L2(0.1),
        scale_initializer=CONSTANT(2.0),
        scale_regularizer=L1(0.25),
        scale_activation="exponential",
        initial_scale=1.0,
    )
    np.testing.assert_array_equal(head.scale, [2.0, 2.0])
    assert sum(map(float, head.losses)) == pytest.approx(0.1 * 8 * 0.5**2 + 0.25 * 2 * 2.0)
    scale = head(FEATURES)[..., 1]
    np.testing.assert_allclose(scale, np.full((3, 2), 1e-3 + (1 - 1e-3) * np.exp(2.0)), rtol=1e-5)


def test_columns_of_a_kernel_have_their_own():
    head = head_of(
        state_dependent_scale=True,
        kernel_initializer=CONSTANT(0.5),
        kernel_regularizer=L2(0.1),
        scale_initializer=CONSTANT(-0.25),
        scale_regularizer=L1(0.3),
    )
    location, scale = columns(head)
    assert (location == 0.5).all()
    assert (scale == -0.25).all()
    assert sum(map(float, head.losses)) == pytest.approx(0.1 * 8 * 0.25 + 0.3 * 8 * 0.25)
    np.testing.assert_allclose(head(FEATURES)[..., 0], 2.0)  # the sum of 4 features
    expected = 1e-3 + (1 - 1e-3) * np.log1p(np.exp(-1.0)) / np.log(2.0)
    np.testing.assert_allclose(head(FEATURES)[..., 1], np.full((3, 2), expected), rtol=1e-5)


def test_only_the_scale_may_be_penalised_and_what_is_not_given_is_as_for_the_location():
    head = head_of(state_dependent_scale=True, kernel_initializer=CONSTANT(0.5), scale_regularizer=L2(1.0))
    assert sum(map(float, head.losses)) == pytest.approx(8 * 0.25)
    assert all((x == 0.5).all() for x in columns(head))


@pytest.mark.parametrize("state_dependent_scale", [False, True])
def test_optimizers_apply_the_constraints(state_dependent_scale):
    head = head_of(
        state_dependent_scale=state_dependent_scale,
        kernel_constraint="non_neg",
        bias_constraint=keras.constraints.MaxNorm(0.5),
        scale_constraint=keras.constraints.UnitNorm(axis=None),
        kernel_initializer=keras.initializers.RandomUniform(0.5, 1.5, seed=1),
        scale_initializer=CONSTANT(0.3),
    )
    before = columns(head)[0] if state_dependent_scale else head.kernel.numpy()
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.apply([tf.ones_like(x) for x in head.trainable_variables], head.trainable_variables)
    location, scale = columns(head) if state_dependent_scale else (head.kernel.numpy(), head.scale.numpy())
    np.testing.assert_allclose(location, np.maximum(before - 1.0, 0.0), atol=1e-6)
    assert 0 < np.count_nonzero(location) < location.size
    assert np.sqrt(np.sum(scale**2)) == pytest.approx(1.0, abs=1e-5)
    assert (scale < 0).all()
    norms = np.linalg.norm(head.bias.numpy(), axis=0)
    assert (norms <= 0.5 + 1e-6).all()


def test_without_them_the_kernel_is_as_before():
    plain, again = (
        head_of(state_dependent_scale=True, kernel_initializer=keras.initializers.Orthogonal(0.01, seed=1), **more)
        for more in ({}, {"scale_initializer": None})
    )
    np.testing.assert_array_equal(plain.kernel, again.kernel)
    expected = keras.initializers.Orthogonal(0.01, seed=1)((4, 4))
    np.testing.assert_array_equal(plain.kernel, expected)
    assert plain.kernel.constraint is None
    assert plain.kernel.regularizer is None
