"""All callbacks together do not change training."""

import csv

import keras
import numpy as np
from PIL import Image

import keras_rl_prob as krp

ENV = "tf/CartPole-v1"


class Evaluate(keras.callbacks.Callback):
    """Calls `agent.evaluate` during training."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.evaluate(ENV, episodes=2, verbose=0)


def make_agent():
    agent = krp.RecurrentPPO(
        krp.networks.recurrent(ENV, units=8, shared=True),
        rollout_steps=8,
        minibatches=2,
        update_epochs=2,
        normalize_observations=True,
        kl_penalty=krp.KLPenalty(),
    )
    agent.compile(keras.optimizers.Adam(1e-3), jit_compile=False)
    agent.build(ENV)
    return agent


def train(agent, callbacks):
    """The logs, and all variables by path."""
    history = agent.fit(ENV, epochs=2, steps_per_epoch=8, num_envs=4, callbacks=callbacks, verbose=0, seed=3).history
    return history, {x.path: x.numpy() for x in (*agent.variables, *agent.optimizer.variables)}


def test_training_ends_bit_identical_with_all_callbacks_and_with_none(tmp_path):
    agent, begin = make_agent(), tmp_path.with_suffix(".weights.h5")
    agent.save_weights(begin)
    expected, plain = train(agent, [])
    assert int(agent.optimizer.iterations.numpy()) == 16
    agent.load_weights(begin)
    logs, watched = train(
        agent,
        [
            krp.callbacks.EvaluateReturn(ENV, episodes=2),
            Evaluate(),
            krp.callbacks.EnvStepLimit(10**6),
            krp.callbacks.RecordVideo(ENV, tmp_path / "{epoch}.mp4", every=1, max_frames=4),
            krp.callbacks.RecordVideo(ENV, tmp_path / "end.gif", max_frames=4),
            krp.callbacks.RunLog(tmp_path / "log.csv"),
            krp.callbacks.PlotLearningCurve(tmp_path / "curve.png", log=tmp_path / "log.csv"),
            krp.callbacks.RolloutHistograms(tmp_path / "tb" / "rollouts"),
            keras.callbacks.TensorBoard(tmp_path / "tb"),
        ],
    )
    for path, values in plain.items():
        np.testing.assert_array_equal(watched[path], values, err_msg=path)
    same = set(expected) - {"env_steps_per_second"}
    assert {name: logs[name] for name in same} == {name: expected[name] for name in same}

    assert {path.name for path in tmp_path.iterdir()} == {"1.mp4", "2.mp4", "end.gif", "log.csv", "curve.png", "tb"}
    with (tmp_path / "log.csv").open() as file:
        assert [float(row["eval_return"]) for row in csv.DictReader(file)] == logs["eval_return"]
    with Image.open(tmp_path / "curve.png") as image:
        picture = np.asarray(image.convert("RGB"))
    assert (picture == (31, 78, 121)).all(-1).sum() > 500, "the evaluations have no curve"
    assert {path.name for path in (tmp_path / "tb").iterdir()} == {"rollouts", "train"}
