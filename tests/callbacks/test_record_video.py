"""`RecordVideo`: when it records, and under which name."""

import keras
import pytest
from PIL import Image

import keras_rl_prob as krp

ENV = "krp/CartPoleNoVel-v1"


@pytest.fixture(scope="module")
def agent():
    agent = krp.PPO()
    agent.build("tf/CartPoleNoVel-v1")
    return agent


def train(agent, callback, epochs=5):
    """What Keras does with a callback in a `fit`, without the training."""
    together = keras.callbacks.CallbackList([callback], model=agent)
    together.on_train_begin()
    for epoch in range(epochs):
        together.on_epoch_begin(epoch)
        together.on_epoch_end(epoch, {"loss": 0.5})
    together.on_train_end()


@pytest.mark.parametrize(
    ("name", "every", "written"),
    [
        ("episode.gif", None, ["episode.gif"]),
        ("{epoch}.gif", None, ["5.gif"]),
        ("{epoch:02d}.mp4", 2, ["02.mp4", "04.mp4"]),
        ("episode.gif", 2, ["episode.gif"]),
        ("{epoch}.gif", 9, []),
    ],
)
def test_when_it_records(agent, tmp_path, name, every, written):
    train(agent, krp.callbacks.RecordVideo(ENV, tmp_path / "new" / name, every=every, max_frames=2))
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == written


def test_one_at_the_end_of_the_training_shows_the_agent_at_the_end(agent, tmp_path):
    callback = krp.callbacks.RecordVideo(ENV, tmp_path / "a.gif", max_frames=3, seed=4)
    callback.set_model(agent)
    callback.on_epoch_end(0)
    assert not (tmp_path / "a.gif").exists()
    callback.on_train_end()
    krp.callbacks.record_episode(agent, ENV, tmp_path / "b.gif", max_frames=3, seed=4)
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    with Image.open(tmp_path / "a.gif") as image:
        assert image.size == (300, 200)


@pytest.mark.parametrize("name", ["{loss}.gif", "{0}.gif", "{.gif", "{epoch:z}.gif"])
def test_other_fields_than_epoch_are_refused(name):
    with pytest.raises(ValueError, match=r"`path` may have `\{epoch\}` as its only field\. Received: path='\{"):
        krp.callbacks.RecordVideo(ENV, name)


@pytest.mark.parametrize("arguments", [{"every": 0}, {"max_frames": 0}])
def test_numbers_must_be_positive(arguments):
    with pytest.raises(ValueError, match=f"`{next(iter(arguments))}` must be a positive integer"):
        krp.callbacks.RecordVideo(ENV, "a.gif", **arguments)


def test_an_unwritable_folder_shows_before_the_training(agent, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        train(agent, krp.callbacks.RecordVideo(ENV, tmp_path / "file" / "a.gif"), epochs=0)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(PermissionError, match=r"`path` must be in a folder that can be written to\. Received: path='"):
        train(agent, krp.callbacks.RecordVideo(ENV, tmp_path / "a.gif"), epochs=0)
