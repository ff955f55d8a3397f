"""`BestCheckpoint` saves the best of the validated agents; monitoring callbacks get the right `mode`."""

import keras
import pytest

import keras_rl_prob as krp


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Function that trains always the same agent anew, and returns it."""
    agent, path = krp.A2C(), tmp_path_factory.mktemp("new") / "new.weights.h5"
    agent.compile(run_eagerly=True)
    agent.build("tf/CartPole-v1")
    agent.save_weights(path)

    def trained(callbacks, epochs=4, **arguments):
        agent.load_weights(path)
        arguments |= {"epochs": epochs, "steps_per_epoch": 1, "num_envs": 2, "seed": 3, "verbose": 0}
        agent.fit("tf/CartPole-v1", callbacks=callbacks, **arguments)
        return agent

    return trained


class Returns(keras.callbacks.Callback):
    """Puts validation results into the logs, and gives each epoch's agent its number of environment steps as a mark."""

    def __init__(self, returns):
        self.returns = returns

    def on_epoch_end(self, epoch, logs=None):
        if self.returns[epoch] is not None:
            logs["val_return"] = self.returns[epoch]


@pytest.mark.parametrize("returns", [[1.0, None, 3.0, None], [3.0, None, 2.0, None], [None, 2.0, None, 2.0]])
def test_epochs_without_a_validation_are_passed_over(returns, train, tmp_path):
    best = tmp_path / "best.keras"
    train([Returns(returns), krp.callbacks.BestCheckpoint(best)])
    expected = max((value, -epoch) for epoch, value in enumerate(returns) if value is not None)[1]
    assert int(keras.saving.load_model(best).env_steps) == (1 - expected) * 10


def test_other_arguments_are_those_of_keras(train, tmp_path):
    callback = krp.callbacks.BestCheckpoint(
        tmp_path / "x.weights.h5", save_weights_only=True, initial_value_threshold=2.5
    )
    train([Returns([1.0, None, 2.0, None]), callback])
    assert not (tmp_path / "x.weights.h5").exists()


def test_keras_own_callback_is_refused_where_it_would_be_wrong(train, tmp_path):
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", "val_return", save_best_only=True)
    with pytest.raises(ValueError, match=r"`krp.callbacks.BestCheckpoint\(.*best.keras.*validation_freq=2"):
        train([checkpoint], validation_data="tf/CartPole-v1", validation_freq=2)
    assert checkpoint.model is None


@pytest.mark.parametrize(
    ("kind", "monitor"),
    [
        (keras.callbacks.EarlyStopping, "val_return"),
        (keras.callbacks.EarlyStopping, "return"),
        (keras.callbacks.ReduceLROnPlateau, "eval_return"),
        pytest.param(keras.callbacks.EarlyStopping, "eval_return", marks=pytest.mark.long),
        pytest.param(keras.callbacks.ReduceLROnPlateau, "return", marks=pytest.mark.long),
        pytest.param(keras.callbacks.ReduceLROnPlateau, "val_return", marks=pytest.mark.long),
    ],
)
def test_larger_returns_are_better(kind, monitor, train):
    callback = kind(monitor, patience=1)
    assert callback.mode == "auto"
    train([Returns([1.0] * 2), krp.callbacks.EvaluateReturn("tf/CartPole-v1", episodes=2), callback], epochs=2)
    assert callback.monitor_op(2.0, 1.0)
    assert not callback.monitor_op(1.0, 2.0)


def test_callbacks_are_written_as_for_any_keras_model(train, tmp_path):
    """Scripted returns that fall from epoch to epoch: nothing improves after the first epoch."""
    stop = keras.callbacks.EarlyStopping("val_return", patience=3)
    slower = keras.callbacks.ReduceLROnPlateau("val_return", factor=0.5, patience=2, cooldown=9)
    best = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras", monitor="return", save_best_only=True)

    class Falling(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs |= {"val_return": 10.0 - epoch, "return": [5.0, 4.0, 6.0, 6.0][epoch]}

    agent = train([Falling(), stop, slower, best], epochs=4)
    assert stop.stopped_epoch == 3  # patience of 3 after the best, the first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.keras", "3.keras"]
    assert float(agent.optimizer.learning_rate) == pytest.approx(3.5e-4)


def test_smaller_losses_are_better(train, tmp_path):
    callback = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", "value_loss", save_best_only=True)
    train([callback], epochs=1)
    assert callback.monitor_op(1.0, 2.0)


@pytest.mark.parametrize("monitor", ["entropy", "val_length"])
def test_what_is_better_must_be_said_where_it_is_not_known(monitor, train):
    played = []
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: played.append(1))
    with pytest.raises(
        ValueError, match=rf"`mode` of EarlyStopping must say whether '{monitor}' should be large or small"
    ):
        train([watch, keras.callbacks.EarlyStopping(monitor)])
    assert not played


def test_a_checkpoint_of_every_epoch_needs_no_direction(train, tmp_path):
    train([keras.callbacks.ModelCheckpoint(tmp_path / "last.keras")], epochs=1)
    assert (tmp_path / "last.keras").exists()


def test_the_best_agent_is_kept_apart_from_its_training(train, tmp_path):
    best, whole = tmp_path / "best.keras", tmp_path / "{epoch}.keras"
    agent = train(
        [Returns([1.0, 2.0]), krp.callbacks.BestCheckpoint(best), keras.callbacks.ModelCheckpoint(whole)], epochs=2
    )
    assert keras.saving.load_model(best).position() is None
    assert keras.saving.load_model(tmp_path / "2.keras").position().count("epoch") == 2
    assert agent.position().count("epoch") == 2
