"""Football: what agents can observe, and how strong the opponents are, with a stand-in for the game."""

import types

import numpy as np
import pytest

import keras_rl_prob as krp
from keras_rl_prob.envs.games import football_observations, gfootball


def told(left, right):
    """The game's observation of a player, with so many players in the teams."""
    team = {
        "": lambda n: np.arange(2.0 * n).reshape(n, 2) / 8,
        "_direction": lambda n: -np.arange(2.0 * n).reshape(n, 2) / 8,
        "_tired_factor": lambda n: np.arange(n) / 16,
        "_yellow_card": lambda n: np.arange(n) % 2 == 1,
        "_active": lambda n: np.full(n, True),
        "_roles": lambda n: np.arange(n) % 10,
    }
    players = [("left_team", left), ("right_team", right)]
    raw = {f"{name}{entry}": values(n) for name, n in players for entry, values in team.items()}
    ball = {"ball": np.array([0.5, -0.25, 0.125]), "ball_direction": np.ones(3), "ball_rotation": np.zeros(3)}
    owner = {
        "ball_owned_team": -1,
        "ball_owned_player": -1,
        "active": 1,
        "sticky_actions": np.eye(10, dtype=np.uint8)[8],
    }
    return raw | ball | owner | {"score": [2, 1], "steps_left": 399, "game_mode": 4}


class Scenario:
    right_team_difficulty = 0.6
    end_episode_on_score = True


class Config(dict):
    """The game's configuration: each game has a new scenario."""

    def NewScenario(self, inc=1):
        self._scenario = Scenario()

    def ScenarioConfig(self):
        return self._scenario


class Game:
    """A game that tells the same at each step, and records the skill of the opponents in each game."""

    def __init__(self, config):
        self.config, self.skills = config, []
        self.reset(0)

    def reset(self, inc=1):
        self.config.NewScenario(inc=inc)
        self.skills.append(self.config.ScenarioConfig().right_team_difficulty)
        return [told(2, 1)]

    def close(self):
        pass

    def step(self, action):
        return [told(2, 1)], np.ones(1, np.float32), False, {"score_reward": 1}


@pytest.fixture
def stand_in(monkeypatch):
    """A library that has the parts of the game which `GFootballEnv` uses."""
    names = types.SimpleNamespace
    converters = names(
        CheckpointRewardWrapper=lambda game: game,
        Simple115StateWrapper=names(
            convert_observation=lambda raw, fixed: np.full((1, 115), raw[0]["ball"][0], np.float32)
        ),
    )
    library = names(
        scenario_builder=names(all_scenarios=lambda: gfootball.LEVELS),
        config=names(Config=Config),
        football_env=names(FootballEnv=Game),
        wrappers=converters,
        observation_preprocessing=names(generate_smm=lambda raw: np.full((1, 72, 96, 4), raw[0]["active"], np.uint8)),
    )
    monkeypatch.setattr(gfootball, "_load", lambda: library)


@pytest.mark.usefixtures("stand_in")
def test_raw_has_what_the_game_tells_in_fixed_shapes():
    env = gfootball.GFootballEnv("5_vs_5", representation="raw")
    for seen in (env.reset(seed=0)[0], env.step(0)[0]):
        assert env.observation_space.contains(seen)
        assert seen.keys() == told(2, 1).keys()
        np.testing.assert_array_equal(
            seen["left_team"], np.array([[0, 0.125], [0.25, 0.375], *[[-1, -1]] * 9], np.float32)
        )
        np.testing.assert_array_equal(
            seen["right_team_direction"], np.array([[0, -0.125], *[[-1, -1]] * 10], np.float32)
        )
        np.testing.assert_array_equal(seen["left_team_tired_factor"], np.array([0, 1 / 16, *[-1] * 9], np.float32))
        np.testing.assert_array_equal(seen["left_team_yellow_card"], [0, 1, *[0] * 9])
        np.testing.assert_array_equal(seen["right_team_active"], [1, *[0] * 10])
        np.testing.assert_array_equal(seen["left_team_roles"], [0, 1, *[-1] * 9])
        np.testing.assert_array_equal(seen["ball"], np.array([0.5, -0.25, 0.125], np.float32))
        np.testing.assert_array_equal(seen["sticky_actions"], [0] * 8 + [1, 0])
        np.testing.assert_array_equal(seen["score"], [2, 1])
        np.testing.assert_array_equal(seen["steps_left"], [399])
        assert [seen[name] for name in ("ball_owned_team", "ball_owned_player", "active", "game_mode")] == [
            -1,
            -1,
            1,
            4,
        ]
    full = football_observations.raw_observation(told(11, 11))
    np.testing.assert_array_equal(full["right_team"], np.arange(22, dtype=np.float32).reshape(11, 2) / 8)


@pytest.mark.usefixtures("stand_in")
def test_several_representations_are_a_dict_of_them():
    env = gfootball.GFootballEnv("5_vs_5", representation="simple115v2,extracted")
    seen = env.step(0)[0] if env.reset(seed=0) else None
    assert env.observation_space.contains(seen)
    assert {name: (x.shape, x.dtype, x.max()) for name, x in seen.items()} == {
        "simple115v2": ((115,), np.float32, 0.5),
        "extracted": ((72, 96, 4), np.uint8, 1),
    }
    everything = gfootball.GFootballEnv("5_vs_5", representation="raw,simple115v2,extracted")
    assert everything.observation_space.contains(everything.reset(seed=0)[0])
    assert gfootball.GFootballEnv("5_vs_5", representation="extracted").reset()[0].shape == (72, 96, 4)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(("difficulty", "skill"), [(None, 0.6), (0.0, 0.0), (0.05, 0.05), (1, 1.0)])
def test_difficulty_is_the_skill_of_the_opponents_in_every_game(difficulty, skill):
    env = gfootball.GFootballEnv("5_vs_5", difficulty=difficulty)
    for _ in range(2):
        env.reset()
    assert env._game.skills == [skill] * 3  # the game starts one when it is made


@pytest.mark.usefixtures("stand_in")
def test_an_agent_learns_from_the_dict():
    agent = krp.PPO(rollout_steps=2, minibatches=1, update_epochs=1, normalize_observations=True)
    agent.compile(run_eagerly=True)
    made = [lambda: gfootball.GFootballEnv("5_vs_5", representation="raw,simple115v2")]
    history = agent.fit(made, epochs=1, steps_per_epoch=1, verbose=0).history
    assert np.isfinite(history["loss"]).all()
