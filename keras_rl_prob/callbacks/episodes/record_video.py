"""Records episodes as videos during or after training."""

import os
import pathlib
from collections.abc import Callable

import gymnasium
import keras
from gymnasium.envs.registration import EnvSpec

from keras_rl_prob import checks
from keras_rl_prob.agents.network_checks import check_same_spaces
from keras_rl_prob.callbacks.episodes.record_episode import check_recordable, record_episode
from keras_rl_prob.callbacks.trained import check_agent
from keras_rl_prob.envs.playing.rendering import drawn
from keras_rl_prob.types import Logs, Path


class RecordVideo(keras.callbacks.Callback):
    """Plays a deterministic episode and records it as a GIF or MP4, when training ends or every `every` epochs.

    The agent, its random numbers and the training environments are not changed. Needs Pillow for GIFs, MoviePy for MP4s
    and the environment's rendering library: `pip install "keras_rl_prob[video]"`.

    Args:
        env: Id of an environment, a `krp.envs.spec`, or a callable that makes an environment: `lambda:
            gymnasium.make(..., render_mode="rgb_array")`. Native ids are drawn by Gymnasium's environment of the same physics.
        path: File of the video, ending in `.gif` or `.mp4`; folders are created if necessary. `{epoch}` in it is replaced by
            the number of the epoch, starting from 1 as in `ModelCheckpoint`.
        every: Number of epochs from one video to the next; `None` for a single video when training ends.
        max_frames: Maximum number of frames.
        seed: Seed of the episode.

    Raises:
        ValueError: `env` cannot be rendered, or `path` has another suffix or other fields than `{epoch}`.
        ImportError: The library that writes this format is not installed.

    Example:
    ```python
    video = krp.callbacks.RecordVideo("CartPole-v1", "runs/epoch_{epoch:03d}.mp4", every=5)
    agent.fit("CartPole-v1", epochs=20, callbacks=[video])
    ```
    """

    def __init__(
        self,
        env: str | EnvSpec | Callable[[], gymnasium.Env],
        path: Path,
        every: int | None = None,
        max_frames: int = 500,
        seed: int = 0,
    ) -> None:
        super().__init__()
        every, max_frames = checks.integer("every", every, none=True), checks.integer("max_frames", max_frames)
        self.env, self.path, self.seed = env, checks.path("path", path), checks.seed("seed", seed, least=0)
        self.every, self.max_frames = every, max_frames
        check_recordable(env, self._path_after(0))
        self._epoch = 0

    def on_train_begin(self, logs: Logs = None) -> None:
        """Creates the folder and an environment, so that their errors are raised before training."""
        check_agent(self)
        with drawn(self.env, "rgb_array") as made:
            check_same_spaces(self.model, made)
        folder = self._path_after(0).parent
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"`path` must be in a folder that can be written to. Received: path={self.path!r}")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Records an episode if due."""
        self._epoch = epoch
        if self.every is not None and (epoch + 1) % self.every == 0:
            self._record()

    def on_train_end(self, logs: Logs = None) -> None:
        """Records an episode if `every` is `None`."""
        if self.every is None:
            self._record()

    def _record(self):
        record_episode(self.model, self.env, self._path_after(self._epoch), self.max_frames, self.seed)

    def _path_after(self, epoch):
        try:
            return pathlib.Path(self.path.format(epoch=epoch + 1))
        except (LookupError, ValueError) as error:
            raise ValueError(f"`path` may have `{{epoch}}` as its only field. Received: path={self.path!r}") from error
