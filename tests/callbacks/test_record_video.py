"""`RecordVideo`: the right frames, and an agent that is left as it was."""

import sys

import gymnasium
import keras
import numpy as np
import pytest
from PIL import Image, ImageSequence

import keras_rl_prob as krp

ENV = "krp/CartPoleNoVel-v1"
FRAME = 40  # milliseconds


def small():
    agent = krp.PPO(rollout_steps=8, minibatches=1, update_epochs=1)
    agent.compile(jit_compile=False)
    agent.build("tf/CartPoleNoVel-v1")
    return agent


def record(agent, path, env=ENV, **arguments):
    """What the GIF shows every 40 ms, as RGB arrays (frames that do not change are stored once, and last longer)."""
    callback = krp.callbacks.RecordVideo(env, path, **arguments)
    callback.set_model(agent)
    callback.on_train_end()
    with Image.open(path) as image:
        assert image.format == "GIF"
        assert image.info["loop"] == 0
        frames = [(np.asarray(frame.convert("RGB")), frame.info["duration"]) for frame in ImageSequence.Iterator(image)]
    assert all(duration % FRAME == 0 for _, duration in frames)
    return [frame for frame, duration in frames for _ in range(duration // FRAME)]


def played(agent, seed, env=ENV):
    """The frames of the deterministic episode, straight from the environment."""
    with gymnasium.make(env, render_mode="rgb_array") as env:
        policy = agent.policy()
        observation, _ = env.reset(seed=seed)
        frames, done = [env.render()], False
        while not done:
            observation, _, terminated, truncated, _ = env.step(policy(observation))
            frames.append(env.render())
            done = terminated or truncated
    return frames


def test_every_second_frame_of_the_episode_is_there(tmp_path):
    agent = small()
    expected = played(agent, seed=3)[::2]  # CartPole has 50 frames a second
    frames = record(agent, tmp_path / "new" / "episode.gif", seed=3)
    assert len(frames) == len(expected) >= 5
    smaller = [np.asarray(Image.fromarray(frame).resize((300, 200))).astype(int) for frame in expected]
    for i, frame in enumerate(frames):
        assert frame.shape == (200, 300, 3)
        errors = [np.abs(frame - other).mean() for other in smaller]
        assert errors[i] < 0.1
        assert all(errors[i] < error for j, error in enumerate(errors) if np.any(smaller[j] != smaller[i]))
    assert len({frame.tobytes() for frame in frames}) >= 4
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["episode.gif"]


def test_the_seed_decides_the_episode(tmp_path):
    agent = small()
    first, again, other = (record(agent, tmp_path / "episode.gif", seed=seed, max_frames=1)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


@pytest.mark.parametrize(("max_frames", "kept"), [(1, 1), (5, 3), (6, 3), (7, 4)])
def test_max_frames_stops_the_recording(tmp_path, max_frames, kept):
    agent = small()
    assert len(played(agent, seed=0)) > 7
    assert len(record(agent, tmp_path / "episode.gif", max_frames=max_frames)) == kept


@pytest.mark.parametrize(("name", "seconds"), [("MountainCarNoVel-v0", 31 / 30), ("AcrobotNoVel-v1", 31 / 15)])
def test_time_passes_as_the_environment_says(tmp_path, name, seconds):
    agent = krp.PPO()
    agent.build(f"tf/{name}")
    callback = krp.callbacks.RecordVideo(f"krp/{name}", tmp_path / "episode.gif", max_frames=31)
    callback.set_model(agent)
    callback.on_train_end()
    with Image.open(tmp_path / "episode.gif") as image:
        shown = sum(frame.info["duration"] for frame in ImageSequence.Iterator(image)) / 1000
    assert shown == pytest.approx(seconds, rel=0.12)  # GIF counts in hundredths of a second


def test_recording_changes_nothing_in_the_agent(tmp_path):
    agent = small()
    before, random_state = agent.get_weights(), np.random.get_state()[1].copy()
    record(agent, tmp_path / "episode.gif", max_frames=4)
    assert all(np.array_equal(a, b) for a, b in zip(before, agent.get_weights(), strict=True))
    np.testing.assert_array_equal(random_state, np.random.get_state()[1])


def test_training_is_the_same_with_and_without_it(tmp_path):
    def train(callbacks):
        keras.utils.set_random_seed(2)
        agent = small()
        for _ in range(2):  # it records at the end of the first training, which then goes on
            agent.fit(
                "tf/CartPoleNoVel-v1", epochs=1, steps_per_epoch=2, num_envs=2, callbacks=callbacks, verbose=0, seed=4
            )
        return agent.get_weights()

    plain = train([])
    recorded = train([krp.callbacks.RecordVideo(ENV, tmp_path / "episode.gif", max_frames=4)])
    assert (tmp_path / "episode.gif").exists()
    assert all(np.array_equal(a, b) for a, b in zip(plain, recorded, strict=True))


def test_memory_is_used(tmp_path):
    """The recorded episode of a recurrent agent is the one that its policy plays with memory."""
    agent = krp.RecurrentPPO(krp.networks.recurrent(ENV, units=8))
    agent.build(ENV)
    agent.network.set_weights([10.0 * weight for weight in agent.network.get_weights()])
    expected = played(agent, seed=0)[::2]
    frames = record(agent, tmp_path / "episode.gif")
    assert len(frames) == len(expected)
    last = np.asarray(Image.fromarray(expected[-1]).resize((300, 200)))
    assert np.abs(frames[-1].astype(int) - last).mean() < 0.1


def test_without_pillow_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    callback = krp.callbacks.RecordVideo(ENV, tmp_path / "episode.gif")
    with pytest.raises(ImportError, match=r'needs Pillow: pip install "keras_rl_prob\[video\]"'):
        callback.on_train_end()
