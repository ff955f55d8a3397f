"""What an agent can observe of a football game: spaces, and the game's own dict of a player's observation in fixed shapes."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

PLAYERS = 11  # of a team
ROLES = 10


def _any(*shape: int) -> Box:
    return Box(-np.inf, np.inf, shape, np.float32)


def _team(name: str) -> dict[str, gymnasium.Space]:
    """Entries of a team."""
    return {
        name: _any(PLAYERS, 2),
        f"{name}_direction": _any(PLAYERS, 2),
        f"{name}_tired_factor": Box(-1.0, 1.0, (PLAYERS,), np.float32),
        f"{name}_yellow_card": MultiBinary(PLAYERS),
        f"{name}_active": MultiBinary(PLAYERS),
        f"{name}_roles": MultiDiscrete([ROLES + 1] * PLAYERS, start=[-1] * PLAYERS),
    }


RAW = gymnasium.spaces.Dict(
    {
        "ball": _any(3),
        "ball_direction": _any(3),
        "ball_rotation": _any(3),
        "ball_owned_team": Discrete(3, start=-1),
        "ball_owned_player": Discrete(PLAYERS + 1, start=-1),
        **_team("left_team"),
        **_team("right_team"),
        "active": Discrete(PLAYERS + 1, start=-1),
        "sticky_actions": MultiBinary(10),
        "score": _any(2),
        "steps_left": _any(1),
        "game_mode": Discrete(7),
    }
)
SPACES: dict[str, gymnasium.Space] = {
    "simple115v2": _any(115),
    "extracted": Box(0, 255, (72, 96, 4), np.uint8),
    "raw": RAW,
}


def space_of(names: tuple[str, ...]) -> gymnasium.Space:
    """The observation space of a representation, or a Dict of those of several."""
    return SPACES[names[0]] if len(names) == 1 else gymnasium.spaces.Dict({name: SPACES[name] for name in names})


def raw_observation(raw: dict[str, Any]) -> dict[str, Any]:
    """A member of `RAW`: missing players have -1, and 0 where there is a bit for each.

    Args:
        raw: The game's observation of a player, whose arrays have as many rows as there are players in a team.
    """
    return {name: _filled(raw[name], space) for name, space in RAW.items()}


def _filled(value, space):
    if isinstance(space, Discrete):
        return space.dtype.type(value)
    filled = np.full(space.shape, 0 if isinstance(space, MultiBinary) else -1, space.dtype)
    values = np.atleast_1d(np.asarray(value))
    filled[: len(values)] = values
    return filled
