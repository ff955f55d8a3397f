"""`PlotLearningCurve`: the plot for any logs, and no other files."""

import sys
import warnings

import keras
import numpy as np
import pytest
from PIL import Image

import keras_rl_prob as krp

TRAINING, EVALUATION = (154, 184, 216), (31, 78, 121)  # the colours of the two curves


class Watched(keras.Model):
    """Only its name matters."""


def draw(path, rows, **arguments):
    """The plot after `rows` of logs, RGB `[height, width, 3]`."""
    callback = krp.callbacks.PlotLearningCurve(path, **arguments)
    callback.set_model(Watched(name="watched"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for epoch, logs in enumerate(rows):
            callback.on_epoch_end(epoch, logs)
    with Image.open(path) as image:
        assert image.format == "PNG"
        image.verify()
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def pixels(picture, colour):
    return int((picture == colour).all(-1).sum())


def logs(count, val_return=False):
    rows = [{"env_steps": 1000 * (i + 1), "return": 20.0 * i, "loss": 0.1} for i in range(count)]
    return [{**row, "val_return": row["return"] + 30} for row in rows] if val_return else rows


def test_the_picture_has_its_size_and_the_folder_nothing_else(tmp_path):
    picture = draw(tmp_path / "runs" / "a" / "curve.png", logs(4))
    assert picture.shape == (675, 1050, 3)
    assert [path.name for path in (tmp_path / "runs" / "a").iterdir()] == ["curve.png"]


def test_training_and_evaluation_have_curves_of_their_own(tmp_path):
    plain, both = draw(tmp_path / "a.png", logs(4)), draw(tmp_path / "b.png", logs(4, val_return=True))
    assert pixels(plain, TRAINING) > 500
    assert pixels(plain, EVALUATION) == 0
    assert pixels(both, TRAINING) > 500
    assert pixels(both, EVALUATION) > 500


def test_it_is_drawn_anew_after_every_epoch(tmp_path):
    one, three = draw(tmp_path / "a.png", logs(1)), draw(tmp_path / "a.png", logs(3))
    assert pixels(three, TRAINING) > pixels(one, TRAINING) + 500


@pytest.mark.parametrize(
    "rows",
    [
        [{"env_steps": 100, "return": float("nan")}],
        [{"env_steps": 100, "return": float("nan"), "val_return": float("nan")}] * 2,
        [*logs(2), {"env_steps": 5000, "return": float("nan")}, *logs(4)[3:]],
        [*logs(2), *logs(4, val_return=True)[2:]],
        [{"env_steps": np.int64(100), "return": np.float32(3.0), "val_return": np.float32(2.0)}],
        [{}],
        [None],
    ],
    ids=["no episode yet", "only NaN", "NaN in between", "evaluated now and then", "NumPy", "no logs", "None"],
)
def test_gaps_in_the_logs(tmp_path, rows):
    assert draw(tmp_path / "curve.png", rows).shape == (675, 1050, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["curve.png"]


def test_a_gap_does_not_hide_what_is_around_it(tmp_path):
    rows = logs(4)
    rows[1] = {**rows[1], "return": float("nan")}
    assert pixels(draw(tmp_path / "curve.png", rows), TRAINING) > 500  # the line between the last two


def test_title_is_the_models_name_or_the_given_one(tmp_path):
    named, same = draw(tmp_path / "a.png", logs(2)), draw(tmp_path / "b.png", logs(2), title="watched")
    other = draw(tmp_path / "c.png", logs(2), title="something else")
    np.testing.assert_array_equal(named, same)
    assert np.any(named != other)


def test_evaluations_may_be_those_of_evaluate_return(tmp_path):
    rows = [{**row, "eval_return": row["return"] + 30} for row in logs(2)]
    np.testing.assert_array_equal(draw(tmp_path / "a.png", rows), draw(tmp_path / "b.png", logs(2, val_return=True)))
    other = [{**row, "val_return": 5.0} for row in rows]
    constant = [{**row, "val_return": 5.0} for row in logs(2)]
    np.testing.assert_array_equal(draw(tmp_path / "c.png", other), draw(tmp_path / "d.png", constant))


def test_with_a_log_the_curve_is_what_that_holds(tmp_path):
    log = krp.callbacks.RunLog(tmp_path / "log.csv")
    log.on_train_begin()
    for epoch, row in enumerate(logs(4, val_return=True)):
        log.on_epoch_end(epoch, row)
    whole = draw(tmp_path / "a.png", logs(4, val_return=True))
    resumed = draw(tmp_path / "b.png", logs(4, val_return=True)[3:], log=tmp_path / "log.csv")
    np.testing.assert_array_equal(resumed, whole)
    assert np.any(draw(tmp_path / "c.png", logs(4, val_return=True)[3:]) != whole)


def test_the_suffix_says_what_the_picture_is(tmp_path):
    for name, start in {"a.pdf": b"%PDF", "b.svg": b"<?xml", "c": b"\x89PNG"}.items():
        callback = krp.callbacks.PlotLearningCurve(tmp_path / name)
        callback.set_model(Watched())
        callback.on_epoch_end(0, logs(1)[0])
        assert (tmp_path / name).read_bytes().startswith(start)


def test_without_matplotlib_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for use in (
        krp.callbacks.PlotLearningCurve,
        lambda path: krp.callbacks.plot_learning_curves({"a": [path]}, path),
        lambda path: krp.callbacks.plot_exploration({"a": krp.EpsilonGreedy()}, 9, path),
    ):
        (tmp_path / "log.csv").write_text("epoch,env_steps,return\n0,1,2\n")
        with pytest.raises(ImportError, match=r'need Matplotlib: pip install "keras_rl_prob\[plot\]"'):
            use(tmp_path / "log.csv")
