"""Registers this library's Gymnasium environments for `gymnasium.make`."""

import gymnasium

from keras_rl_prob.envs.games.gfootball import LEVELS, GFootballEnv
from keras_rl_prob.envs.wrappers import MaskVelocity

_ORIGINALS = {
    "krp/AcrobotNoVel-v1": "Acrobot-v1",
    "krp/CartPoleNoVel-v1": "CartPole-v1",
    "krp/MountainCarContinuousNoVel-v0": "MountainCarContinuous-v0",
    "krp/MountainCarNoVel-v0": "MountainCar-v0",
    "krp/PendulumNoVel-v1": "Pendulum-v1",
}


def register_environments() -> None:
    """Registers the classic-control environments with masked velocities, `krp/CartPoleNoVel-v1` and so on, and football.

    Each of the former is the original (same dynamics, time limit and rendering) in `MaskVelocity`. The football environments
    are `krp/Football-<level>-v0`, one for each level of the game; the game is imported when one is made. All are registered
    with strings as entry points, so that specs can be pickled for worker processes. Further calls have no effect.

    Example:
    >>> register_environments()
    >>> gymnasium.make("krp/CartPoleNoVel-v1").spec.max_episode_steps
    500
    """
    for name, original in _ORIGINALS.items():
        if name not in gymnasium.registry:
            spec = gymnasium.spec(original)
            gymnasium.register(
                name,
                entry_point=spec.entry_point,
                reward_threshold=spec.reward_threshold,
                max_episode_steps=spec.max_episode_steps,
                additional_wrappers=(MaskVelocity.wrapper_spec(),),
            )
    for level in LEVELS:
        name = f"krp/Football-{level}-v0"
        if name not in gymnasium.registry:
            entry_point = f"{GFootballEnv.__module__}:{GFootballEnv.__name__}"
            gymnasium.register(name, entry_point=entry_point, kwargs={"level": level})
