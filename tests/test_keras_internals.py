"""Every use of private Keras API: each test names what a new version of Keras breaks."""

import keras
import numpy as np
import pytest

import keras_rl_prob as krp
from keras_rl_prob import keras_internals


def network():
    x = keras.Input((3,), name="x")
    mask = keras.Input((2,), name="mask")
    inner = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(2, name="last")])
    head = krp.layers.DenseCategorical((2,), name="head")
    return keras.Model(
        [x, mask], {"action": head([inner(x), mask]), "value": keras.layers.Dense(1, name="value")(inner(x))}
    )


def test_layers_of_has_the_layers_within_layers():
    names = [layer.name for layer in keras_internals.layers_of(network())]
    assert {"last", "head", "value"} <= set(names)


def test_layer_behind_and_inputs_behind_go_back_from_an_output():
    outputs = network().output
    assert keras_internals.layer_behind(outputs["action"]).name == "head"
    assert keras_internals.layer_behind(outputs["value"]).name == "value"
    assert [tuple(x.shape) for x in keras_internals.inputs_behind(outputs["action"])] == [(None, 2), (None, 2)]
    assert len(keras_internals.inputs_behind(outputs["value"])) == 1


def test_backups_have_the_names_and_the_order_that_are_mended(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    callback = keras.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
    model.fit(np.zeros((4, 1)), np.zeros(4), callbacks=[callback], verbose=0)
    assert {path.name for path in tmp_path.iterdir()} == set(keras_internals.BACKUP_FILES)
    assert keras_internals.backup_weights(callback) == tmp_path / keras_internals.BACKUP_FILES[0]


class Hooked(keras_internals.HookedModel):
    """Counts the calls of its hooks."""

    start = None

    def __init__(self):
        super().__init__()
        self.dense, self.calls = keras.layers.Dense(1), []

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return self.dense(x)

    def after_build(self):
        self.calls.append("built")

    @property
    def resumed_epoch(self):
        return self.start


def test_after_build_is_called_once_when_build_is_through():
    model = Hooked()
    model.build((None, 2))
    assert model.calls == ["built"]


@pytest.mark.parametrize(("start", "epochs"), [(None, [0, 1, 2]), (2, [2])])
def test_fit_starts_at_the_resumed_epoch(start, epochs):
    model, seen = Hooked(), []
    model.start = start
    model.compile("sgd", "mse")
    callback = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    model.fit(np.zeros((4, 2)), np.zeros(4), epochs=3, callbacks=[callback], verbose=0)
    assert seen == epochs


def test_the_validation_of_fit_says_so_and_needs_no_compile_of_its_own():
    class Validated(Hooked):
        def evaluate(self, *args, **kwargs):
            self.calls.append(keras_internals.CACHED_VALIDATION in kwargs)
            return super().evaluate(*args, **kwargs)

    model, data = Validated(), (np.zeros((4, 2)), np.zeros(4))
    model.compile("sgd", "mse")
    model.fit(*data, validation_data=data, verbose=0)
    assert model.calls == ["built", True]
    with pytest.raises(ValueError, match="compile"):
        Hooked().fit(*data)


def test_logs_come_back_as_they_are_where_metrics_have_the_same_names():
    model = Hooked()
    model.compile("sgd", "mse")
    assert model._get_metrics_result_or_logs({"loss": 3.0, "other": 1.0}) == {"loss": 3.0, "other": 1.0}
    agent = krp.A2C()
    logs = agent.evaluate("tf/CartPole-v1", episodes=2, return_dict=True, verbose=0, max_steps=600)
    assert set(logs) == {"return", "length", "return_std"}
    assert logs["return"] > 0.0


def test_with_layer_replaces_a_model_within_a_model():
    def inner(value):
        x = keras.Input((2,))
        return keras.Model(x, keras.layers.Rescaling(value)(x), name="inner")

    x, y = keras.Input((2,), name="x"), keras.Input((2,), name="y")
    old, new = inner(2.0), inner(3.0)
    model = keras.Model({"x": x, "y": y}, old(x) + keras.layers.Rescaling(10.0)(y))
    changed = keras_internals.with_layer(model, old, new)
    one = {"x": np.ones((1, 2)), "y": np.ones((1, 2))}
    np.testing.assert_array_equal(changed(one), 13.0 * np.ones((1, 2)))
    assert changed.get_layer("inner") is new
    again = keras.Model.from_config(changed.get_config())
    np.testing.assert_array_equal(again(one), changed(one))


def test_seed_generators_are_those_of_layers_within_layers():
    model = keras.Sequential([keras.Input((2,)), keras.Sequential([keras.layers.Dropout(0.5)]), keras.layers.Dense(1)])
    (generator,) = keras_internals.seed_generators(model)
    assert tuple(generator.state.shape) == (2,)


def test_objects_apart_leaves_out_what_says_that_a_layer_is_shared():
    layer = keras.layers.Dense(2, name="shared")
    with keras.src.saving.serialization_lib.ObjectSharingScope():
        first = keras.saving.serialize_keras_object(layer)
        with keras_internals.objects_apart():
            keras.saving.serialize_keras_object(layer)
        assert "shared_object_id" not in first
        keras.saving.serialize_keras_object(layer)
        assert "shared_object_id" in first


def test_copy_of_has_the_learning_rate_of_the_optimizer_also_where_it_scales_the_loss():
    one, apart = keras.optimizers.Adam(0.1, beta_1=0.5), keras.optimizers.Adam(0.1)
    for optimizer in (one, keras.optimizers.LossScaleOptimizer(one)):
        copy = keras_internals.copy_of(optimizer)
        assert type(copy) is type(optimizer)
        assert getattr(copy, "inner_optimizer", copy).beta_1 == 0.5
        one.learning_rate = 0.5
        assert float(copy.learning_rate) == 0.5
        assert keras_internals.have_one_learning_rate([optimizer, copy])
        assert not keras_internals.have_one_learning_rate([optimizer, apart])
        one.learning_rate = 0.1
    schedule = keras.optimizers.schedules.PolynomialDecay(0.1, 10)
    assert float(keras_internals.copy_of(keras.optimizers.Adam(schedule)).learning_rate) == pytest.approx(0.1)
