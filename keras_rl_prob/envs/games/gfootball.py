"""Google Research Football as a Gymnasium environment. Its engine has to be compiled with `make gfootball`."""

import contextlib
import functools
import sys
import types
from typing import Any, ClassVar

import gymnasium
import numpy as np

from keras_rl_prob import checks
from keras_rl_prob.envs.games.football_observations import SPACES, raw_observation, space_of
from keras_rl_prob.envs.games.football_pitch import draw_pitch
from keras_rl_prob.types import GymReset, GymStep

LEVELS = (
    "11_vs_11_competition",
    "11_vs_11_easy_stochastic",
    "11_vs_11_hard_stochastic",
    "11_vs_11_kaggle",
    "11_vs_11_stochastic",
    "1_vs_1_easy",
    "5_vs_5",
    "academy_3_vs_1_with_keeper",
    "academy_corner",
    "academy_counterattack_easy",
    "academy_counterattack_hard",
    "academy_empty_goal",
    "academy_empty_goal_close",
    "academy_pass_and_shoot_with_keeper",
    "academy_run_pass_and_shoot_with_keeper",
    "academy_run_to_score",
    "academy_run_to_score_with_keeper",
    "academy_single_goal_versus_lazy",
    "test_example_multiagent",
)
REWARDS = ("scoring", "scoring,checkpoints")


class GFootballEnv(gymnasium.Env):
    """A game of Google Research Football against the built-in opponents, in which the agent controls the active player.

    That is the player of the left team who has the ball or is closest to it; the game controls all others. The 19 actions are:
    0 idle, 1 to 8 run (left, top left, top, top right, right, bottom right, bottom, bottom left), 9 long pass, 10 high pass, 11
    short pass, 12 shot, 13 sprint, 14 stop running, 15 stop sprinting, 16 slide, 17 dribble, 18 stop dribbling. Running,
    sprinting and dribbling continue until they are stopped. A step is a tenth of a second.

    The level determines when an episode terminates: in the academy levels with a goal and, except in `academy_corner`, when the
    ball is out of play or lost to the opponents. It is truncated at the end of the playing time, which the agent does not
    observe. `info` has the `score` (left, right), the `score_reward` of the step, and `steps_left`. Each episode has its own
    seed, sampled from `np_random`: the same seed gives the same episodes.

    Args:
        level: Name of one of the game's scenarios, such as `"academy_run_to_score_with_keeper"`. Registered as
            `krp/Football-<level>-v0`.
        representation: The kind of observation. `"simple115v2"`: float32 `[115]`, the positions (x, y) of 11 players of the
            left team and their directions, the same for the right team, -1 for missing players; position and direction (x, y,
            z) of the ball; who has it (nobody, left, right; one-hot); which player is active (one-hot); the game mode
            (one-hot). The field is 2 long and 0.84 wide around (0, 0). `"extracted"`: uint8 `[72, 96, 4]`, four maps of the
            field with 255 where there are players of the left team, of the right team, the ball, the active player. `"raw"`:
            a Dict of all that the game tells, by the names that it has there (see References), for eleven players; missing ones
            have -1, and 0 where there is a bit for each.
            Several names with commas between them, such as `"simple115v2,extracted"`: a Dict of these.
        rewards: `"scoring"`, 1 for a goal and -1 for one of the opponents, or `"scoring,checkpoints"`, which adds 0.1 for each
            of ten distances to the opponents' goal that the active player reaches with the ball; a goal earns the remaining
            ones.
        render_mode: `"rgb_array"` for a plain picture of the field from above, or `None`.
        difficulty: Skill of the opponents, from 0 to 1; `None` is that of the level.

    Raises:
        gymnasium.error.DependencyNotInstalled: The game is not installed.
        ValueError: An argument has none of these values.

    References:
        - [Kurach et al. (2020), Google Research Football: A Novel Reinforcement Learning
          Environment](https://arxiv.org/abs/1907.11180)
        - [The game's observations](https://github.com/google-research/football/blob/master/gfootball/doc/observation.md)

    Example:
    ```python
    env = gymnasium.make("krp/Football-academy_empty_goal_close-v0", rewards="scoring,checkpoints")
    observation, info = env.reset(seed=0)
    ```
    """

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 10}  # type: ignore[misc]  # no ClassVar in Gymnasium

    def __init__(
        self,
        level: str,
        representation: str = "simple115v2",
        rewards: str = "scoring",
        render_mode: str | None = None,
        difficulty: float | None = None,
    ) -> None:
        names = checks.text("representation", representation).split(",")
        if len({*names}) < len(names) or not {*names} <= {*SPACES}:
            raise ValueError(
                f"`representation` must be one of {tuple(SPACES)}, or different ones with commas between them. "
                f"Received: representation={representation!r}"
            )
        self.difficulty = checks.number("difficulty", difficulty, 0.0, 1.0, none=True)
        for name, value, known in (
            ("rewards", rewards, REWARDS),
            ("render_mode", render_mode, (None, *self.metadata["render_modes"])),
        ):
            if value not in known:
                raise ValueError(f"`{name}` must be one of {known}. Received: {name}={value!r}")
        self._library = _load()
        levels = sorted({*self._library.scenario_builder.all_scenarios()} - {"tests"})  # also those that the user added
        if level not in levels:  # else the game would end the process
            raise ValueError(f"`level` must be one of {levels}. Received: level={level!r}")
        self.level, self.representation, self.rewards, self.render_mode = level, representation, rewards, render_mode
        self._names = tuple(names)
        self.observation_space = space_of(self._names)
        self.action_space = gymnasium.spaces.Discrete(19)
        self._config = self._library.config.Config({"level": level, "game_engine_random_seed": 0})
        _set_difficulty(self._config, self.difficulty)
        self._game = self._library.football_env.FootballEnv(self._config)
        self._checkpoints = self._library.wrappers.CheckpointRewardWrapper(self._game)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> GymReset:
        """Starts a game with a new random seed, which also determines the order of moves and the side of the kick-off."""
        super().reset(seed=seed)
        game_seed, side = (int(number) for number in self.np_random.integers((2**31 - 1, 2)))
        self._config["game_engine_random_seed"] = game_seed
        self._config["reverse_team_processing"] = bool(game_seed % 2)
        self._config["episode_number"] = side
        raw = self._checkpoints.reset()[0]
        return self._observation(raw), _info(raw, 0)

    def step(self, action: Any) -> GymStep:
        """Takes one of the 19 actions."""
        (raw,), reward, done, info = self._game.step([int(action)])
        if self.rewards == "scoring,checkpoints":
            reward = self._checkpoints.reward(reward)
        scored = self._config.ScenarioConfig().end_episode_on_score and any(raw["score"])
        truncated = done and raw["steps_left"] <= 0 and not scored
        info = _info(raw, info["score_reward"])
        return self._observation(raw), float(reward[0]), done and not truncated, truncated, info

    def render(self) -> np.ndarray | None:
        """Draws the field from above, uint8 `[256, 576, 3]`; the left team is yellow, its active player has a red ring."""
        if self.render_mode is None:
            return None
        raw = self._game.observation()[0]
        return draw_pitch(raw["left_team"], raw["right_team"], raw["ball"], raw["active"])

    def close(self) -> None:
        """Releases the engine for the next environment."""
        self._game.close()

    def _observation(self, raw):
        seen = {name: self._represented(raw, name) for name in self._names}
        return seen if len(seen) > 1 else seen[self._names[0]]

    def _represented(self, raw, name):
        if name == "raw":
            return raw_observation(raw)
        if name == "extracted":
            return self._library.observation_preprocessing.generate_smm([raw])[0]
        return self._library.wrappers.Simple115StateWrapper.convert_observation([raw], True)[0]


def _set_difficulty(config, difficulty):
    """Lets the configuration of a game give the opponents of each of its scenarios, of which each game has one, this skill."""
    new_scenario = config.NewScenario

    def new_scenario_of_that_difficulty(*args: Any, **kwargs: Any) -> None:
        new_scenario(*args, **kwargs)
        config.ScenarioConfig().right_team_difficulty = difficulty

    if difficulty is not None:
        config.NewScenario = new_scenario_of_that_difficulty


def _info(raw, score_reward):
    return {"score": np.array(raw["score"]), "score_reward": int(score_reward), "steps_left": int(raw["steps_left"])}


@functools.cache
def _load():
    """The modules of the game."""
    with _gym_stand_in():
        try:
            from gfootball.env import (  # noqa: PLC0415 (optional dependency)
                config,
                football_env,
                observation_preprocessing,
                scenario_builder,
                wrappers,
            )
        except ImportError as error:
            raise gymnasium.error.DependencyNotInstalled(
                "Google Research Football is compiled from source: run `make gfootball` in a clone of keras_rl_prob, with "
                f"Python 3.11. Received: {error}"
            ) from error
    return types.SimpleNamespace(
        config=config,
        football_env=football_env,
        observation_preprocessing=observation_preprocessing,
        scenario_builder=scenario_builder,
        wrappers=wrappers,
    )


@contextlib.contextmanager
def _gym_stand_in():
    """Context manager in which `import gym` finds Gymnasium's classes, all that the game needs of the old package."""
    stand_ins: list[Any] = [types.ModuleType(name) for name in ("gym", "gym.envs", "gym.envs.registration")]
    gym, envs, registration = stand_ins
    for name in ("Env", "Wrapper", "ObservationWrapper", "RewardWrapper", "spaces"):
        setattr(gym, name, getattr(gymnasium, name))
    gym.envs, envs.registration = envs, registration
    registration.register = lambda **_: None
    before = {module.__name__: sys.modules.get(module.__name__) for module in stand_ins}
    sys.modules.update({module.__name__: module for module in stand_ins})
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
