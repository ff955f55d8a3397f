"""A football pitch from above, drawn with NumPy: the game's own OpenGL crashes beside TensorFlow."""

import numpy as np

SCALE = 256  # pixels for a unit; the field is 2 long and 0.84 wide
HEIGHT, WIDTH = SCALE, 9 * SCALE // 4
GRASS, CHALK, BALL = (52, 120, 60), (150, 190, 150), (250, 250, 250)
LEFT, RIGHT, ACTIVE = (250, 210, 60), (60, 90, 230), (220, 30, 30)
CORNER, POST = (1.0, 0.42), 0.044


def draw_pitch(left: np.ndarray, right: np.ndarray, ball: np.ndarray, active: int) -> np.ndarray:
    """Draws the positions in the observations of a game: (0, 0) is the middle, and y points down.

    Args:
        left: `[N, 2]`, positions of the left team.
        right: `[M, 2]`, positions of the right team.
        ball: `[3]`, its position; the higher it is, the larger it is drawn.
        active: Index of the player of the left team who is drawn with a ring, or -1.

    Returns:
        uint8 `[256, 576, 3]`.
    """
    picture = np.full((HEIGHT, WIDTH, 3), GRASS, np.uint8)
    y, x = (np.mgrid[:HEIGHT, :WIDTH] + 0.5) / SCALE
    x, y = x - WIDTH / SCALE / 2, y - HEIGHT / SCALE / 2
    line = 1 / SCALE
    for half_length, half_width in (CORNER, (0.0, CORNER[1]), (CORNER[0] + POST, POST)):
        beyond = np.maximum(np.abs(x) - half_length, np.abs(y) - half_width)
        inside = np.abs(x) >= CORNER[0] - line if half_width == POST else True
        picture[(np.abs(beyond) <= line) & inside] = CHALK
    discs = [(position, 0.022, RIGHT) for position in right]
    discs += [(left[active], 0.03, ACTIVE)] if active >= 0 else []
    discs += [(position, 0.022, LEFT) for position in left]
    discs += [(ball[:2], 0.012 + 0.004 * min(max(ball[2], 0.0), 3.0), BALL)]
    for (centre_x, centre_y), radius, colour in discs:
        picture[(x - centre_x) ** 2 + (y - centre_y) ** 2 <= radius**2] = colour
    return picture
