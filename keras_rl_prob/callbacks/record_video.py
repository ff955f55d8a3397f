"""An episode of the agent as an animated picture."""

import os
import pathlib

import gymnasium
import keras


class RecordVideo(keras.callbacks.Callback):
    """Plays one deterministic episode when training ends and writes it as a GIF.

    The agent, its random numbers and the training environments are left as they are. Needs Pillow and what the environment
    draws with: `pip install "keras_rl_prob[video]"`.

    Args:
        env: Id of a Gymnasium environment that renders `rgb_array`s.
        path: Where the GIF goes; its folder is made if need be.
        max_frames: Frames after which the recording stops.
        seed: Seed of the episode.

    Example:
    ```python
    agent.fit("CartPole-v1", epochs=10, callbacks=[krp.callbacks.RecordVideo("CartPole-v1", "runs/episode.gif")])
    ```
    """

    def __init__(self, env, path, max_frames=500, seed=0):
        super().__init__()
        self.env, self.path, self.max_frames, self.seed = env, pathlib.Path(path), max_frames, seed

    def on_train_end(self, logs=None):
        """Records the episode."""
        image = _pillow()
        with gymnasium.make(self.env, render_mode="rgb_array") as env:
            frames = [image.fromarray(frame) for frame in self._frames(env)]
            per_second = env.metadata.get("render_fps", 30)
        frames = [
            frame.resize((frame.width // 2, frame.height // 2)) if frame.width > 400 else frame for frame in frames
        ]
        stride = max(1, per_second // 25)
        frames = [frame.convert("P", palette=image.Palette.ADAPTIVE, colors=64) for frame in frames[::stride]]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.part")
        duration = round(1000 * stride / per_second)
        frames[0].save(temporary, format="GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0)
        os.replace(temporary, self.path)

    def _frames(self, env):
        policy = self.model.policy()
        observation, _ = env.reset(seed=self.seed)
        yield env.render()
        for _ in range(self.max_frames - 1):
            observation, _, terminated, truncated, _ = env.step(policy(observation))
            yield env.render()
            if terminated or truncated:
                return


def _pillow():
    try:
        from PIL import Image  # noqa: PLC0415 (optional dependency)
    except ImportError as error:
        raise ImportError('`RecordVideo` needs Pillow: pip install "keras_rl_prob[video]"') from error
    return Image
