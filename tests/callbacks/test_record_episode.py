"""`record_episode`: the frames in both formats, error messages, and an agent that is not changed."""

import sys

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from moviepy import VideoFileClip
from PIL import Image, ImageSequence

import keras_rl_prob as krp

ENV = "krp/CartPoleNoVel-v1"
FRAME = 40  # milliseconds


class Drawn(gymnasium.Env):
    """Seven steps whose frames get brighter, with the spaces of `CartPoleNoVel`."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space = gymnasium.spec(ENV).make().observation_space
    action_space = spaces.Discrete(2)
    shape, fails_at, closed = (31, 41, 3), None, 0

    def __init__(self, render_mode="rgb_array"):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return np.zeros(4, np.float32), {}

    def step(self, action):
        self.steps += 1
        if self.steps == self.fails_at:
            raise ArithmeticError("the environment is broken")
        return np.zeros(4, np.float32), 0.5, False, self.steps == 7, {}

    def render(self):
        return np.full(self.shape, 30 * self.steps, np.uint8)

    def close(self):
        type(self).closed += 1


def small():
    agent = krp.PPO(rollout_steps=8, minibatches=1, update_epochs=1)
    agent.compile(run_eagerly=True)
    agent.build("tf/CartPoleNoVel-v1")
    return agent


def record(agent, path, env=ENV, **arguments):
    """What the GIF shows every 40 ms, as RGB arrays (frames that do not change are stored once, and last longer)."""
    krp.callbacks.record_episode(agent, env, path, **arguments)
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
    krp.callbacks.record_episode(agent, f"krp/{name}", tmp_path / "episode.gif", max_frames=31)
    with Image.open(tmp_path / "episode.gif") as image:
        shown = sum(frame.info["duration"] for frame in ImageSequence.Iterator(image)) / 1000
    assert shown == pytest.approx(seconds, rel=0.12)  # GIF counts in hundredths of a second


def test_recording_changes_nothing_in_the_agent(tmp_path):
    agent = small()
    before, random_state = agent.get_weights(), np.random.get_state()[1].copy()
    record(agent, tmp_path / "episode.gif", max_frames=4)
    assert all(np.array_equal(a, b) for a, b in zip(before, agent.get_weights(), strict=True))
    np.testing.assert_array_equal(random_state, np.random.get_state()[1])


def test_memory_is_used(tmp_path):
    """The recorded episode of a recurrent agent is that of its policy with memory."""
    agent = krp.RecurrentPPO(krp.networks.recurrent(ENV, units=8, shared=True))
    agent.build(ENV)
    agent.network.set_weights([10.0 * weight for weight in agent.network.get_weights()])
    expected = played(agent, seed=0)[::2]
    frames = record(agent, tmp_path / "episode.gif")
    assert len(frames) == len(expected)
    last = np.asarray(Image.fromarray(expected[-1]).resize((300, 200)))
    assert np.abs(frames[-1].astype(int) - last).mean() < 0.1


def test_an_mp4_has_every_frame_at_the_pace_of_the_environment_and_nobody_talks(tmp_path, capfd):
    agent = small()
    expected = [frame.astype(int) for frame in played(agent, seed=3)]
    capfd.readouterr()
    krp.callbacks.record_episode(agent, ENV, tmp_path / "new" / "episode.mp4", seed=3)
    assert capfd.readouterr() == ("", "")
    with VideoFileClip(str(tmp_path / "new" / "episode.mp4")) as clip:
        frames = [frame.astype(int) for frame in clip.iter_frames()]
        assert (clip.fps, clip.size) == (50, [600, 400])
    assert len(frames) == len(expected) >= 10
    for i, frame in enumerate(frames):
        errors = {j: np.abs(frame - expected[j]).mean() for j in range(max(i - 1, 0), min(i + 2, len(frames)))}
        assert errors[i] < 1.0
        assert all(errors[i] < error for j, error in errors.items() if np.any(expected[j] != expected[i]))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["episode.mp4"]


def test_odd_sizes_become_even_for_the_players(tmp_path):
    result = krp.callbacks.record_episode(small(), Drawn, tmp_path / "episode.MP4")
    assert result == {"return": 3.5, "length": 7}
    with VideoFileClip(str(tmp_path / "episode.MP4")) as clip:
        assert clip.size == [40, 30]
        brightness = [frame.mean() for frame in clip.iter_frames()]
    np.testing.assert_allclose(brightness, 30 * np.arange(8), atol=3)


def test_return_and_length_are_those_of_the_episode(tmp_path):
    agent = small()
    agent.network.set_weights([20.0 * weight for weight in agent.network.get_weights()])
    result = krp.callbacks.record_episode(agent, ENV, tmp_path / "episode.gif", seed=3)
    assert result == {"return": len(played(agent, 3)) - 1, "length": len(played(agent, 3)) - 1}
    assert krp.callbacks.record_episode(agent, ENV, tmp_path / "episode.gif", max_frames=4)["length"] == 3


def test_native_environments_are_drawn_by_their_originals(tmp_path):
    agent = small()
    native, original = (
        record(agent, tmp_path / "a.gif", env=env, max_frames=8) for env in ("tf/CartPoleNoVel-v1", ENV)
    )
    assert all(np.array_equal(a, b) for a, b in zip(native, original, strict=True))
    for env in set(krp.envs.native_ids()) - {"tf/Recall-v0"}:
        krp.callbacks.RecordVideo(env, tmp_path / "a.gif")


@pytest.mark.parametrize("env", ["tf/Recall-v0", "tf/CartPol-v1", "CartPol-v1", "nowhere/Env-v0", 7, None])
def test_what_cannot_be_drawn_is_refused(tmp_path, env):
    for use in (krp.callbacks.RecordVideo, lambda *args: krp.callbacks.record_episode(None, *args)):
        with pytest.raises(ValueError, match=f"`env` must be the id of an environment .* Received: env={env!r}"):
            use(env, tmp_path / "episode.gif")


@pytest.mark.parametrize("path", ["episode.avi", "episode", "gif", "episode.gif.png"])
def test_other_suffixes_are_refused(path):
    for use in (krp.callbacks.RecordVideo, lambda *args: krp.callbacks.record_episode(None, *args)):
        with pytest.raises(ValueError, match=rf"`path` must end in \.gif or \.mp4\. Received: path='{path}'"):
            use(ENV, path)


def test_environments_that_do_not_draw_arrays_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r'`env` must make .*`render_mode="rgb_array"`.* with render_mode=None'):
        krp.callbacks.record_episode(small(), lambda: gymnasium.make(ENV), tmp_path / "a.gif")
    grey = type("Grey", (Drawn,), {"shape": (8, 8)})
    with pytest.raises(ValueError, match=r"must return uint8 arrays .* Received: shape=\(8, 8\), dtype=uint8"):
        krp.callbacks.record_episode(small(), grey, tmp_path / "a.gif")
    assert list(tmp_path.iterdir()) == []


def test_environments_with_other_spaces_are_refused(tmp_path):
    with pytest.raises(ValueError, match="`env` must have the observation_space that the agent was built for"):
        krp.callbacks.record_episode(small(), "Acrobot-v1", tmp_path / "a.gif")


@pytest.mark.parametrize("name", ["a.gif", "a.mp4"])
def test_an_exception_of_the_environment_is_raised_as_itself_and_the_old_file_stays(tmp_path, name):
    (tmp_path / name).write_text("old")
    broken = type("Broken", (Drawn,), {"fails_at": 3, "closed": 0})
    with pytest.raises(ArithmeticError, match="the environment is broken") as caught:
        krp.callbacks.record_episode(small(), broken, tmp_path / name)
    assert f"recorded to {tmp_path / name}" in caught.value.__notes__[0]
    assert (tmp_path / name).read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert broken.closed == 1


def test_ffmpeg_failing_at_the_end_is_no_success(tmp_path, monkeypatch):
    script = tmp_path / "ffmpeg"
    script.write_text("#!/bin/sh\ncat > /dev/null\nexit 3\n")
    script.chmod(0o755)
    monkeypatch.setattr("moviepy.video.io.ffmpeg_writer.FFMPEG_BINARY", str(script))
    with pytest.raises(OSError, match="ffmpeg could not finish the video and gave up with code 3"):
        krp.callbacks.record_episode(small(), Drawn, tmp_path / "a.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["ffmpeg"]


@pytest.mark.parametrize(
    ("module", "suffix", "message"), [("PIL", "gif", "A GIF needs Pillow"), ("moviepy", "mp4", "An MP4 needs MoviePy")]
)
def test_without_the_library_the_error_names_the_extra(tmp_path, monkeypatch, module, suffix, message):
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf'{message}: pip install "keras_rl_prob\[video\]"'):
        krp.callbacks.RecordVideo(ENV, tmp_path / f"episode.{suffix}")
