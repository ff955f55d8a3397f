"""`RunningNormalization` against NumPy's mean and variance of all its inputs."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob.layers import RunningNormalization


def built(features, **arguments):
    layer = RunningNormalization(**arguments)
    layer.build((None, *features))
    return layer


def rows(count, features, seed=0):
    """Correlated with time and of different scales, so that errors in merging chunks show."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-2, 2, size=features)
    drift = np.linspace(0, 3, count).reshape([-1] + [1] * len(features))
    return ((rng.normal(size=(count, *features)) + drift) * scale + 5 * scale).astype("float32")


@pytest.mark.parametrize(
    ("features", "jit_compile"),
    [
        *(((), False), ((3,), False), ((2, 3), True)),
        *(pytest.param(*case, marks=pytest.mark.long) for case in (((2, 3), False), ((), True), ((3,), True))),
    ],
    ids=str,
)
def test_statistics_equal_numpy_over_chunks(features, jit_compile):
    layer, x = built(features), rows(600, features)
    update = tf.function(layer.update, jit_compile=jit_compile)
    for chunk in np.split(x, [1, 2, 50, 400]):
        update(tf.constant(chunk))
    np.testing.assert_allclose(layer.mean, x.mean(0, dtype="float64"), rtol=1e-5)
    np.testing.assert_allclose(layer.variance, x.var(0, dtype="float64"), rtol=1e-4)
    assert layer.count.numpy() == 600
    expected = (x - x.mean(0, dtype="float64")) / np.sqrt(x.var(0, dtype="float64") + 1e-8)
    np.testing.assert_allclose(layer(x), expected, atol=1e-3)


def test_leading_axes_are_all_rows():
    x = rows(600, (3,))
    flat, sequences = built((3,)), built((3,))
    flat.update(x)
    sequences.update(x.reshape(20, 30, 3))
    np.testing.assert_allclose(sequences.mean, flat.mean, rtol=1e-6)
    np.testing.assert_allclose(sequences.variance, flat.variance, rtol=1e-5)
    assert sequences.count.numpy() == 600
    np.testing.assert_allclose(sequences(x.reshape(20, 30, 3)), flat(x).numpy().reshape(20, 30, 3), atol=1e-5)


@pytest.mark.parametrize("features", [(), (2, 3)], ids=str)
def test_masked_rows_do_not_count(features):
    x = rows(600, features)
    mask = np.random.default_rng(1).uniform(size=(20, 30)) < 0.3
    shown = x.reshape(20, 30, *features)[mask]
    x = np.where(mask.reshape(20, 30, *[1] * len(features)), x.reshape(20, 30, *features), np.nan)
    layer = built(features)
    layer.update(x[:7], mask[:7])
    layer.update(x[7:], tf.cast(mask[7:], tf.float32))
    np.testing.assert_allclose(layer.mean, shown.mean(0, dtype="float64"), rtol=1e-5)
    np.testing.assert_allclose(layer.variance, shown.var(0, dtype="float64"), rtol=1e-4)
    assert layer.count.numpy() == mask.sum()


@pytest.mark.parametrize("first", [0, 10])
def test_a_batch_without_rows_changes_nothing(first):
    layer = built((3,))
    if first:
        layer.update(rows(first, (3,)))
    before = [weight.numpy() for weight in layer.weights]
    layer.update(rows(5, (3,), seed=2), tf.zeros([5], tf.bool))
    for weight, value in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_identity_before_the_first_update_except_clipping():
    x = tf.constant([[-20.0, -1.5], [3.0, 11.0]])
    np.testing.assert_allclose(built((2,))(x), [[-10.0, -1.5], [3.0, 10.0]], rtol=1e-6)
    np.testing.assert_allclose(built((2,), clip=2.0)(x), [[-2.0, -1.5], [2.0, 2.0]], rtol=1e-6)
    np.testing.assert_allclose(built((2,), clip=None)(x), x, rtol=1e-6)


def test_without_centering_signs_are_kept():
    x = rows(600, ())
    layer = built((), center=False, clip=None)
    layer.update(x)
    np.testing.assert_allclose(layer(x), x / x.std(dtype="float64"), rtol=1e-4)


def test_constant_inputs_are_harmless():
    layer = built((2,))
    layer.update(tf.constant([[3.0, 0.0]] * 10))
    np.testing.assert_allclose(layer(tf.constant([[3.0, 0.0], [4.0, -1.0]])), [[0.0, 0.0], [10.0, -10.0]], atol=1e-6)


def test_precision_far_from_zero():
    # Mean 1e4, deviation 1: squares would need 8 digits. Later batches are summed relative to the mean so far.
    x = (10_000 + np.random.default_rng(0).normal(size=(50, 200))).astype("float32")
    layer = built(())
    for chunk in x:
        layer.update(chunk)
    np.testing.assert_allclose(layer.mean, x.mean(dtype="float64"), atol=5e-3)
    np.testing.assert_allclose(layer.variance, x.var(dtype="float64"), rtol=5e-3)


@pytest.mark.parametrize("features", [(), (3,)], ids=str)
def test_moments_that_another_layer_returns_count_as_their_rows(features):
    learner, worker = built(features), built(features)
    parts = [1e4 + rows(count, features, seed) for seed, count in enumerate((40, 30, 50))]
    learner.update(parts[0])
    worker.set_weights(learner.get_weights())
    late = worker.update(parts[1])
    np.testing.assert_allclose(late.shift + late.center, parts[1].mean(0), rtol=1e-6)
    np.testing.assert_allclose(late.variance, parts[1].var(0), rtol=1e-3)
    learner.update(parts[2])  # meanwhile
    learner.merge(late)
    together = np.concatenate([parts[0], parts[2], parts[1]]).astype(np.float64)
    np.testing.assert_allclose(learner.mean, together.mean(0), rtol=1e-7)
    np.testing.assert_allclose(learner.variance, together.var(0), rtol=1e-3)
    assert float(learner.count) == 120.0
    before = learner.get_weights()
    learner.merge(late._replace(count=tf.constant(0.0)))
    for x, y in zip(learner.get_weights(), before, strict=True):
        np.testing.assert_array_equal(x, y)


def test_counting_stops_before_float32_cannot_count():
    layer = built(())
    layer.count.assign(999_990.0)
    layer.update(tf.zeros([64]))
    assert layer.count.numpy() == 1_000_000
    # From here on an exponential average: with weight w = n / (1e6 + n), the old variance decays by (1 - w) each time.
    layer.variance.assign(1.0)
    update = tf.function(layer.update, jit_compile=True)
    for _ in range(300):
        update(tf.zeros([10_000]))
    np.testing.assert_allclose(layer.variance, (1 - 1 / 101) ** 300, rtol=1e-3)
    assert layer.count.numpy() == 1_000_000


def test_reset_forgets():
    layer = built((3,))
    layer.update(rows(10, (3,)))
    layer.reset()
    for weight, value in zip(layer.weights, [np.zeros(3), np.ones(3), 0.0], strict=True):
        np.testing.assert_array_equal(weight, value)


def test_calling_changes_nothing_and_nothing_is_trained():
    layer = built((3,))
    layer(rows(10, (3,)), training=True)
    assert layer.count.numpy() == 0
    assert layer.trainable_variables == []
    assert len(layer.non_trainable_variables) == 3


def test_statistics_are_float32_under_mixed_precision():
    layer = built((), dtype="mixed_float16")
    layer.update(tf.constant([100_001.0, 100_003.0]))  # beyond float16
    assert {keras.backend.standardize_dtype(weight.dtype) for weight in layer.weights} == {"float32"}
    outputs = layer(tf.constant([100_001.0, 100_003.0]))
    assert outputs.dtype == tf.float16
    np.testing.assert_allclose(outputs, [-1.0, 1.0], rtol=1e-3)
    assert keras.backend.standardize_dtype(layer(keras.Input(())).dtype) == "float16"


def test_integers_are_welcome():
    layer = built((2,))
    layer.update(tf.constant([[0, 255], [2, 253]], tf.uint8))
    np.testing.assert_allclose(layer(tf.constant([[0, 255]], tf.uint8)), [[-1.0, 1.0]], rtol=1e-5)


def test_functional_model_can_be_saved(tmp_path):
    inputs = keras.Input((3,))
    layer = RunningNormalization(center=False, clip=None, epsilon=1e-4, name="normalization")
    model = keras.Model(inputs, layer(inputs))
    layer.update(rows(10, (3,)))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(rows(5, (3,))), model(rows(5, (3,))))
    config = loaded.get_layer("normalization").get_config()
    assert config == layer.get_config() == RunningNormalization.from_config(json.loads(json.dumps(config))).get_config()
    assert (config["center"], config["clip"], config["epsilon"]) == (False, None, 1e-4)
    loaded.get_layer("normalization").update(rows(10, (3,)))
    assert loaded.get_layer("normalization").count.numpy() == 20


def test_errors():
    with pytest.raises(ValueError, match=r"`update` needs a built layer"):
        RunningNormalization().update(tf.zeros([2, 3]))
    with pytest.raises(ValueError, match=r"`clip` must be a positive number, or `None`. Received: clip=0"):
        RunningNormalization(clip=0)
    with pytest.raises(ValueError, match=r"`epsilon` must be a positive number. Received: epsilon=0.0"):
        RunningNormalization(epsilon=0.0)


def test_agents_take_the_clip_value_and_reset_forgets():
    env = "tf/Pendulum-v1"
    agent = krp.A2C(
        krp.networks.feed_forward(env, (2,)),
        normalize_observations=krp.Normalization(clip=0.5),
        normalize_rewards=krp.Normalization(clip=None),
    )
    agent.compile(run_eagerly=True, jit_compile=False)
    agent.fit(env, num_envs=2, steps_per_epoch=2, verbose=0, seed=0)
    (observations,), rewards = agent.observation_normalizers, agent.reward_normalizer
    assert (observations.clip, rewards.clip) == (0.5, None)
    assert (observations.center, rewards.center) == (True, False)
    assert float(observations.count) == float(rewards.count) == 20.0
    np.testing.assert_array_equal(agent.normalize(tf.constant([[1e6, -1e6, 1e6]])), [[0.5, -0.5, 0.5]])
    rewards.reset()
    assert float(rewards(tf.constant(50.0))) == 50.0
    usual = krp.PPO(normalize_observations=True, normalize_rewards=True)
    usual.build(env)
    assert usual.reward_normalizer.clip == usual.observation_normalizers[0].clip == 10.0
    with pytest.raises(ValueError, match="`clip` must be a positive number, or `None`"):
        krp.Normalization(0.0)
    with pytest.raises(ValueError, match="`normalize_rewards` must be a bool"):
        krp.PPO(normalize_rewards=5.0)
