"""What callbacks cannot do is refused before anything is trained."""

import keras
import pytest

import keras_rl_prob as krp


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda folder: krp.callbacks.RecordVideo("MountainCar-v0", folder / "a.gif"), ValueError, "observation_space"),
        (
            lambda folder: krp.callbacks.WatchEpisode("MountainCar-v0", render_mode=None),
            ValueError,
            "observation_space",
        ),
        (lambda folder: krp.callbacks.PlotLearningCurve(folder / "c.xyz"), ValueError, "one of the suffixes"),
        (lambda folder: krp.callbacks.PlotLearningCurve(folder / "file" / "c.png"), OSError, "file"),
    ],
    ids=["video", "watch", "suffix", "folder"],
)
def test_wrong_arguments_end_fit_before_the_first_rollout(make, error, message, tmp_path):
    (tmp_path / "file").touch()
    agent, batches = krp.A2C(krp.networks.feed_forward("CartPole-v1", (4,))), []
    agent.compile(run_eagerly=True)
    note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: batches.append(batch))
    with pytest.raises(error, match=message):
        agent.fit("CartPole-v1", num_envs=2, steps_per_epoch=2, verbose=0, callbacks=[note, make(tmp_path)])
    assert not batches
