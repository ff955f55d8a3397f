"""Records an episode of an agent as a video file."""

import itertools
import pathlib
from collections.abc import Callable
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from keras_rl_prob import checks
from keras_rl_prob.agents import Agent
from keras_rl_prob.agents.network_checks import check_same_spaces
from keras_rl_prob.envs.playing.episodes import rows
from keras_rl_prob.envs.playing.rendering import drawn, drawn_id, frame, rate
from keras_rl_prob.learning.persistence import write_whole
from keras_rl_prob.types import Path

GIF_RATE = 25  # frames a second at most; GIF has a resolution of hundredths of a second


def record_episode(
    agent: Agent, env: str | EnvSpec | Callable[[], gymnasium.Env], path: Path, max_frames: int = 500, seed: int = 0
) -> dict[str, float]:
    """Plays one deterministic episode and records it as a GIF or MP4; the file is written atomically.

    Args:
        agent: A built agent. It is not changed.
        env: Id of an environment, a `krp.envs.spec`, or a callable that makes an environment: `lambda:
            gymnasium.make(..., render_mode="rgb_array")`. Native ids are drawn by Gymnasium's environment of the same physics.
        path: File of the video, ending in `.gif` or `.mp4`; folders are created if necessary.
        max_frames: Maximum number of frames.
        seed: Seed of the episode.

    Returns:
        `{"return": ..., "length": ...}` of the recorded part of the episode.

    Raises:
        ValueError: `env` cannot be rendered or its spaces differ from the agent's, or `path` has another suffix.
        ImportError: The library that writes this format is not installed.

    Example:
    ```python
    for seed in range(3):
        krp.callbacks.record_episode(agent, "CartPole-v1", f"videos/episode_{seed}.mp4", seed=seed)
    ```
    """
    check_recordable(env, path)
    max_frames, seed = checks.integer("max_frames", max_frames), checks.seed("seed", seed, least=0)
    if not callable(getattr(agent, "policy", None)):
        raise TypeError(f"`agent` must be an agent. Received: agent={agent!r}")
    path = pathlib.Path(path)
    rewards: list[Any] = []
    path.parent.mkdir(parents=True, exist_ok=True)
    write = _write_gif if path.suffix.lower() == ".gif" else _write_mp4
    with drawn(env, "rgb_array") as made:
        check_same_spaces(agent, made)
        frames = _frames(agent.policy(), made, max_frames, seed, rewards)
        try:
            write_whole(path, lambda temporary: write(temporary, frames, rate(made)))
        except Exception as error:
            error.add_note(f"Raised while an episode of {made} was recorded to {path}. The agent is unchanged.")
            raise
    return {"return": float(sum(rewards)), "length": len(rewards)}


def check_recordable(env: str | EnvSpec | Callable[[], gymnasium.Env], path: Path) -> None:
    """Checks the arguments of a recording before anything is played.

    Args:
        env: What `record_episode` gets.
        path: What `record_episode` gets.
    """
    suffix = pathlib.Path(checks.path("path", path)).suffix.lower()
    if suffix not in (".gif", ".mp4"):
        raise ValueError(f"`path` must end in .gif or .mp4. Received: path={str(path)!r}")
    _ = _pillow() if suffix == ".gif" else _moviepy()
    if not callable(env):
        drawn_id(env)


def _frames(policy, env, max_frames, seed, rewards):
    """Yields the frames of an episode, uint8 `[height, width, 3]`; appends to `rewards`."""
    for row in rows(env, policy, seed, max_frames - 1):
        if row.action is not None:
            rewards.append(row.reward)
        yield frame(env)


def _write_gif(path, frames, rate):
    """Writes at most 25 frames per second, in 64 colours; wide frames are halved in size."""
    image, stride = _pillow(), max(1, int(rate // GIF_RATE))
    pictures = (image.fromarray(frame) for frame in itertools.islice(frames, 0, None, stride))
    pictures = (p.resize((p.width // 2, p.height // 2)) if p.width > 400 else p for p in pictures)
    first, *rest = (p.convert("P", palette=image.Palette.ADAPTIVE, colors=64) for p in pictures)
    first.save(path, format="GIF", save_all=True, append_images=rest, duration=round(1000 * stride / rate), loop=0)


def _write_mp4(path, frames, rate):
    """Writes H.264, for which most players require even frame sizes."""
    cropped = (frame[: len(frame) // 2 * 2, : frame.shape[1] // 2 * 2] for frame in frames)
    first = next(cropped)
    height, width, _ = first.shape
    with _moviepy()(str(path), (width, height), rate) as video:
        process = video.proc
        for frame in itertools.chain([first], cropped):
            video.write_frame(frame)
    if process.returncode:
        raise OSError(f"ffmpeg could not finish the video and gave up with code {process.returncode}: {path}")


def _pillow():
    try:
        from PIL import Image  # noqa: PLC0415 (optional dependency)
    except ImportError as error:
        raise ImportError('A GIF needs Pillow: pip install "keras_rl_prob[video]"') from error
    return Image


def _moviepy():
    try:
        from moviepy.video.io.ffmpeg_writer import FFMPEG_VideoWriter  # noqa: PLC0415 (optional dependency)
    except ImportError as error:
        raise ImportError('An MP4 needs MoviePy: pip install "keras_rl_prob[video]"') from error
    return FFMPEG_VideoWriter
