"""A terminal as the window of an environment."""

import shutil
import sys
from typing import Any, Self

import gymnasium
import numpy as np

from keras_rl_prob.envs.playing import rendering

OPEN, CLOSE = "\x1b[?1049h\x1b[?25l", "\x1b[0m\x1b[?25h\x1b[?1049l"  # another screen without a cursor, and back
HOME, LINE_END, SCREEN_END = "\x1b[H", "\x1b[0m\x1b[K\r\n", "\x1b[J"
STATUS_LINES = 3


class Screen:
    """A context manager that draws environments in the terminal of standard output, which is restored at the end.

    Args:
        keys: A line that says which keys there are.

    Raises:
        RuntimeError: Standard output is not a terminal.
    """

    def __init__(self, keys: str) -> None:
        self._keys = keys
        if not sys.stdout.isatty():
            raise RuntimeError(
                '`render_mode="terminal"` draws in a terminal; in notebooks and pipes `"rgb_array"` returns frames, and '
                "`krp.callbacks.record_episode` writes a video. Received: standard output is not a terminal"
            )

    def __enter__(self) -> Self:
        self._write(OPEN)
        return self

    def __exit__(self, *exception: Any) -> None:
        self._write(CLOSE)

    def show(self, env: gymnasium.Env, row: Any, number: int, episode: dict[str, Any]) -> None:
        """Draws what an environment shows after a row, with the number of the episode, its return and its length."""
        columns, lines = shutil.get_terminal_size()
        lines -= STATUS_LINES
        if env.render_mode == "ansi":
            picture = str(env.render()).splitlines()
        elif env.render_mode == "rgb_array":
            picture = blocks(rendering.frame(env), columns, lines)
        else:
            picture = np.array2string(np.asarray(row.observation), max_line_width=columns, threshold=lines).splitlines()
        over = "  terminated" if row.terminated else "  truncated" if row.truncated else ""
        status = (
            f"episode {number}  step {episode['length']}  reward {float(row.reward):g}  return {episode['return']:g}"
        )
        shown = [*picture[:lines], f"{status}{over}"[:columns], self._keys[:columns]]
        self._write(HOME + LINE_END.join(shown) + LINE_END + SCREEN_END)

    def _write(self, text):
        sys.stdout.write(text)
        sys.stdout.flush()


def blocks(frame: np.ndarray, columns: int, lines: int) -> list[str]:
    """A frame as lines of text: each character has the colours of two pixels, one above the other.

    Args:
        frame: uint8 `[height, width, 3]`.
        columns: Number of characters that fit into a line.
        lines: Number of lines that fit.

    Returns:
        List of at most `lines` strings with escape sequences for 24-bit colours.
    """
    frame = frame if len(frame) > 1 else frame.repeat(2, 0)
    height, width = frame.shape[:2]
    scale = min(columns / width, 2 * lines / height, 1.0)
    rows, across = max(2, int(height * scale) // 2 * 2), max(1, int(width * scale))
    small = _averaged(_averaged(frame.astype(np.float32), rows, 0), across, 1).round().astype(int)
    pairs = small.reshape(rows // 2, 2, across, 3)
    return ["".join(_character(*pixels) for pixels in line.swapaxes(0, 1)) for line in pairs]


def _averaged(x, size, axis):
    """`x` with an axis of at most the size it has cut into `size` parts, each the mean of its entries."""
    size = min(size, x.shape[axis])
    starts = np.arange(size) * x.shape[axis] // size
    counts = np.diff(np.append(starts, x.shape[axis]))
    return np.add.reduceat(x, starts, axis) / counts.reshape([-1 if i == axis else 1 for i in range(x.ndim)])


def _character(upper, lower):
    return "\x1b[38;2;{};{};{};48;2;{};{};{}m▀".format(*upper, *lower)
