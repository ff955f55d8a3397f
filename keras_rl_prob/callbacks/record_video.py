"""Episodes of the agent as videos, while it trains or when it is done."""

import os
import pathlib
from collections.abc import Callable

import gymnasium
import keras
from gymnasium.envs.registration import EnvSpec

from keras_rl_prob import checks
from keras_rl_prob.callbacks.record_episode import check_recordable, record_episode
from keras_rl_prob.types import Logs, Path


class RecordVideo(keras.callbacks.Callback):
    """Plays a deterministic episode and writes it as a GIF or MP4, when training ends or after every `every` epochs.

    The agent, its random numbers and the training environments are left as they are. Needs Pillow for GIFs, MoviePy for MP4s
    and what the environment draws with: `pip install "keras_rl_prob[video]"`.

    Args:
        env: Id of an environment, one with settings (`krp.envs.spec`), or a callable that makes one: `lambda:
            gymnasium.make(..., render_mode="rgb_array")`. Native ids are drawn by Gymnasium's environment of the same physics.
        path: Where the video goes, ending in `.gif` or `.mp4`; folders are made if need be. `{epoch}` in it becomes the
            number of the epoch, from 1 on as in `ModelCheckpoint`.
        every: Epochs from one video to the next; `None` for one when training ends.
        max_frames: Frames after which the recording stops.
        seed: Seed of the episode.

    Raises:
        ValueError: `env` cannot be drawn, or `path` has another suffix or other fields than `{epoch}`.
        ImportError: The library that writes such files is missing.

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
        """Makes the folder, so that what is wrong with it shows before the training."""
        folder = self._path_after(0).parent
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"`path` must be in a folder that can be written to. Received: path={self.path!r}")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Records an episode if it is time to."""
        self._epoch = epoch
        if self.every is not None and (epoch + 1) % self.every == 0:
            self._record()

    def on_train_end(self, logs: Logs = None) -> None:
        """Records an episode if that is all there is to be."""
        if self.every is None:
            self._record()

    def _record(self):
        record_episode(self.model, self.env, self._path_after(self._epoch), self.max_frames, self.seed)

    def _path_after(self, epoch):
        try:
            return pathlib.Path(self.path.format(epoch=epoch + 1))
        except (LookupError, ValueError) as error:
            raise ValueError(f"`path` may have `{{epoch}}` as its only field. Received: path={self.path!r}") from error
