"""Google Research Football: tests that need its engine are skipped unless `make gfootball` has been run."""

import importlib.util
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import keras_rl_prob as krp
from keras_rl_prob import presets
from keras_rl_prob.envs.games import football_observations, gfootball
from keras_rl_prob.envs.games.football_pitch import ACTIVE, BALL, GRASS, LEFT, RIGHT, draw_pitch

CLOSE = "krp/Football-academy_empty_goal_close-v0"
KEEPER = "krp/Football-academy_run_to_score_with_keeper-v0"
RIGHT_RUN, SHOT, IDLE = 5, 12, 0
with_engine = pytest.mark.skipif(
    importlib.util.find_spec("gfootball_engine") is None, reason="the game is not installed: make gfootball"
)


@pytest.fixture
def make():
    """`gymnasium.make` whose environments are closed in the end."""
    made = []

    def maker(*args, **kwargs):
        made.append(gymnasium.make(*args, **kwargs))
        return made[-1]

    yield maker
    for env in made:
        env.close()


def play(env, steps, seed=None, actions=0):
    """Observations, rewards and ends of `steps` steps, and the observation after each reset."""
    rng = np.random.default_rng(actions)
    rows = [env.reset(seed=seed)[0]]
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(int(rng.integers(19)))
        rows += [observation, reward, terminated, truncated, info["score"], info["steps_left"]]
        if terminated or truncated:
            rows.append(env.reset()[0])
    return np.concatenate([np.ravel(row) for row in rows])


def episode(env, action, seed=None):
    """The first observation, the steps `(reward, terminated, truncated, info)` and the last observation of an episode."""
    first, _ = env.reset(seed=seed)
    steps = []
    while not (steps and any(steps[-1][1:3])):
        last, *step = env.step(action if isinstance(action, int) else action(len(steps)))
        steps.append(step)
    return first, steps, last


# ---- without the engine ---------------------------------------------------------------------------------------


# That nothing of the game is imported with the library: tests/test_import.py.


def test_each_level_has_an_id_and_its_time_is_up_to_the_game():
    ids = {name for name in gymnasium.registry if name.startswith("krp/Football-")}
    assert ids == {f"krp/Football-{level}-v0" for level in gfootball.LEVELS}
    assert len(ids) == 19
    assert {gymnasium.spec(name).max_episode_steps for name in ids} == {None}
    assert gymnasium.spec(KEEPER).kwargs == {"level": "academy_run_to_score_with_keeper"}


def test_without_the_game_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(gfootball, "_load", gfootball._load.__wrapped__)  # modules stay loaded
    monkeypatch.setitem(sys.modules, "gfootball", None)
    monkeypatch.setitem(sys.modules, "gfootball.env", None)
    with pytest.raises(
        gymnasium.error.DependencyNotInstalled, match=r"`make gfootball`.*Python 3\.11\. Received: .*gfootball"
    ):
        gymnasium.make(CLOSE)
    with pytest.raises(ImportError, match=r"`krp/Football-academy_empty_goal_close-v0` needs .*`make gfootball`"):
        krp.envs.make(CLOSE, 1)
    assert "gym" not in sys.modules


@pytest.mark.parametrize("argument", ["representation", "rewards", "render_mode"])
def test_arguments_are_checked_first(argument):
    with pytest.raises(ValueError, match=rf"`{argument}` must be one of \(.*\).*\. Received: {argument}='pixels'"):
        gfootball.GFootballEnv("academy_empty_goal_close", **{argument: "pixels"})


@pytest.mark.parametrize("names", ["raw,raw", "raw,", "raw, extracted", "", None, ["raw"]])
def test_representations_are_different_ones_with_commas_between_them(names):
    with pytest.raises(ValueError, match=r"`representation` must be .*Received: representation="):
        gfootball.GFootballEnv("academy_empty_goal_close", representation=names)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "hard", True])
def test_difficulty_is_a_fraction(value):
    with pytest.raises(ValueError, match=r"`difficulty` must be .*Received: difficulty="):
        gfootball.GFootballEnv("academy_empty_goal_close", difficulty=value)


def test_the_stand_in_for_gym_leaves_a_real_one_alone(monkeypatch):
    real = object()
    monkeypatch.setitem(sys.modules, "gym", real)
    with gfootball._gym_stand_in():
        from gym.envs.registration import register

        assert sys.modules["gym"].Env is gymnasium.Env
        assert register(id="GFootball-v0") is None
    assert sys.modules["gym"] is real
    assert "gym.envs" not in sys.modules


def test_pitch_shows_who_is_where():
    left, right, ball = np.array([[-1.0, 0.0], [0.5, 0.25]]), np.array([[1.0, 0.0]]), np.array([0.0, -0.25, 0.0])
    picture = draw_pitch(left, right, ball, 1)
    assert (picture.shape, picture.dtype) == ((256, 576, 3), np.uint8)
    colours = {  # 256 pixels for a unit around (288, 128)
        (128, 288 - 256): LEFT,
        (128 + 64, 288 + 128): LEFT,
        (128 + 64, 288 + 128 + 7): ACTIVE,  # between the radii 0.022 and 0.03
        (128, 288 - 256 + 7): GRASS,
        (128, 288 + 256): RIGHT,
        (128 - 64, 288): BALL,
        (2, 2): GRASS,
    }
    assert {place: tuple(picture[place]) for place in colours} == colours
    assert ACTIVE not in {tuple(pixel) for pixel in draw_pitch(left, right, ball, -1).reshape(-1, 3)}


# ---- with the engine ------------------------------------------------------------------------------------------


@with_engine
@pytest.mark.parametrize("representation", [*football_observations.SPACES, ",".join(football_observations.SPACES)])
def test_environment_checker_passes_and_leaves_no_stand_in(make, representation):
    env = make(CLOSE, representation=representation, render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of infinite bounds, and that it has registered wrappers
        check_env(env.unwrapped)
    assert not [name for name in sys.modules if name.split(".")[0] == "gym"]


@with_engine
def test_simple115v2_shows_positions_the_ball_and_who_plays(make):
    env = make(CLOSE)
    first, info = env.reset(seed=0)
    assert (first.shape, first.dtype) == ((115,), np.float32)
    np.testing.assert_allclose(first[:4], [-1.0, 0.0, 0.75, 0.0], atol=0.02)  # keeper and player, as in the level
    np.testing.assert_array_equal(first[4:22], -1)  # nobody else
    np.testing.assert_allclose(first[44:46], [-1.0, 0.0], atol=0.02)  # the only opponent, at the wrong end
    np.testing.assert_allclose(first[88:90], [0.77, 0.0], atol=0.01)  # the ball
    np.testing.assert_array_equal(info["score"], [0, 0])
    assert (info["score_reward"], info["steps_left"]) == (0, 401)
    second, _, _, _, info = env.step(IDLE)
    np.testing.assert_array_equal(second[97:108], np.eye(11)[1])  # player 1 is active
    assert info["steps_left"] == 400


@with_engine
def test_extracted_marks_the_players_and_the_ball(make):
    env = make(CLOSE, representation="extracted")
    env.reset(seed=0)
    seen = env.step(IDLE)[0]
    assert (seen.shape, seen.dtype) == ((72, 96, 4), np.uint8)
    assert set(np.unique(seen)) == {0, 255}
    assert [(seen[..., plane] == 255).sum() for plane in range(4)] == [2, 1, 1, 1]
    (row,), (column,) = np.nonzero(seen[..., 3])
    assert (row, column) == (36, int((0.75 + 1) / 2 * 96))  # the active player is 0.75 from the middle, by the level


@with_engine
@pytest.mark.parametrize("level", ["academy_run_to_score_with_keeper", "academy_corner", "11_vs_11_stochastic"])
def test_same_seed_same_games_whatever_was_played_before(make, level):
    name = f"krp/Football-{level}-v0"
    one, other = make(name), make(name)
    wanted = play(one, 150, seed=3)
    for seed in (4, 5):  # of which one is odd
        other.reset(seed=seed)
        np.testing.assert_array_equal(play(other, 150, seed=3), wanted)
    np.testing.assert_array_equal(play(one, 150, seed=3), wanted)
    assert not np.array_equal(play(one, 150, seed=4), wanted)


@with_engine
def test_seeds_do_not_touch_the_random_numbers_of_others(make):
    import random

    random.seed(1)
    state = random.getstate()
    make(CLOSE).reset(seed=0)
    assert random.getstate() == state


@with_engine
def test_episodes_of_one_run_differ(make):
    env = make(KEEPER)
    games = [play(env, 40, seed=0)] + [play(env, 40) for _ in range(3)]
    assert len({game.tobytes() for game in games}) == 4


@with_engine
def test_seeds_move_the_order_of_moves_and_the_kick_off(make):
    env = make("krp/Football-11_vs_11_stochastic-v0")
    config = env.unwrapped._config
    seen, kicks_off = set(), set()
    for seed in range(12):
        observation, _ = env.reset(seed=seed)
        assert config.ScenarioConfig().reverse_team_processing == bool(config["game_engine_random_seed"] % 2)
        seen.add(config.ScenarioConfig().reverse_team_processing)
        kicks_off.add(bool(abs(observation[2]) < 0.02))  # player 1 of the left team is at the middle
    assert seen == kicks_off == {False, True}


@with_engine
def test_goal_terminates_and_pays(make):
    _, steps, _ = episode(make(CLOSE), SHOT, seed=0)
    reward, terminated, truncated, info = steps[-1]
    assert (reward, terminated, truncated, info["score_reward"]) == (1.0, True, False, 1)
    np.testing.assert_array_equal(info["score"], [1, 0])
    assert [type(reward), type(terminated), type(truncated)] == [float, bool, bool]
    assert {step[0] for step in steps[:-1]} == {0.0}
    assert info["steps_left"] > 0


@with_engine
def test_ball_lost_terminates_without_a_goal(make):
    env = make("krp/Football-academy_run_to_score-v0")
    _, steps, _ = episode(env, 1, seed=0)  # into the arms of the pursuers
    assert steps[-1][:3] == [0.0, True, False]
    assert steps[-1][3]["steps_left"] > 0


@with_engine
def test_time_truncates(make):
    _, steps, _ = episode(make(KEEPER), IDLE, seed=0)
    assert steps[-1][:3] == [0.0, False, True]
    assert len(steps) == 401
    assert [steps[-1][3]["steps_left"], steps[-2][3]["steps_left"]] == [0, 1]


@with_engine
@pytest.mark.parametrize(
    ("level", "done", "score", "steps_left", "end"),
    [
        ("academy_run_to_score", True, [0, 0], 1, (True, False)),  # out or lost
        ("academy_run_to_score", True, [0, 0], 0, (False, True)),
        ("academy_run_to_score", True, [0, 0], -2, (False, True)),
        ("academy_run_to_score", True, [1, 0], 0, (True, False)),  # in the last step, but the goal ends the episode
        ("academy_run_to_score", True, [0, 1], 0, (True, False)),
        ("academy_run_to_score", False, [0, 0], 1, (False, False)),
        ("5_vs_5", True, [2, 1], 0, (False, True)),  # goals do not end this scenario
        ("5_vs_5", False, [2, 1], 1, (False, False)),
    ],
)
def test_what_ends_an_episode(make, monkeypatch, level, done, score, steps_left, end):
    env = make(f"krp/Football-{level}-v0").unwrapped
    env.reset(seed=0)
    raw = env._game.observation()[0] | {"score": score, "steps_left": steps_left}
    answer = ([raw], np.zeros(1, np.float32), done, {"score_reward": 0})
    monkeypatch.setattr(env._game, "step", lambda action: answer)
    assert env.step(IDLE)[2:4] == end


@with_engine
def test_checkpoints_pay_once_and_add_up_to_one(make):
    plain, shaped = make(CLOSE), make(CLOSE, rewards="scoring,checkpoints")
    (_, steps, _), (_, more, _) = episode(plain, SHOT, seed=0), episode(shaped, SHOT, seed=0)
    assert sum(step[0] for step in steps) == 1.0
    np.testing.assert_allclose(sum(step[0] for step in more), 2.0, atol=1e-6)
    _, run, _ = episode(shaped, RIGHT_RUN, seed=0)  # nothing remains of the previous episode
    assert 0.1 <= run[0][0] <= 1.0
    assert more[-1][3]["score_reward"] == 1


@with_engine
@pytest.mark.parametrize("level", gfootball.LEVELS)
def test_every_level_plays(make, level):
    play(make(f"krp/Football-{level}-v0"), 3, seed=0)


@with_engine
def test_unknown_level_names_those_there_are_which_have_ids():
    with pytest.raises(ValueError, match=r"`level` must be one of .*\. Received: level='tests'") as error:
        gfootball.GFootballEnv("tests")
    assert str(list(gfootball.LEVELS)) in str(error.value)


@with_engine
def test_pictures_change_with_the_game_and_do_not_change_it(make):
    drawn, plain = make(KEEPER, render_mode="rgb_array"), make(KEEPER)
    assert plain.unwrapped.render() is None
    rows = []
    for env in (drawn, plain):
        rows.append([env.reset(seed=0)[0]])
        pictures = []
        for _ in range(20):
            rows[-1].append(env.step(RIGHT_RUN)[0])
            pictures.append(env.unwrapped.render())
        if env is drawn:
            assert not np.array_equal(pictures[0], pictures[-1])
    np.testing.assert_array_equal(*rows)


@with_engine
def test_vector_environments_play_different_games_in_each():
    envs = krp.envs.make(KEEPER, 2)
    envs.vector_env.reset(seed=0)
    for _ in range(20):
        observation, *_ = envs.vector_env.step([RIGHT_RUN, RIGHT_RUN])
    envs.close()
    assert not np.array_equal(observation[0], observation[1])


@with_engine
def test_preset_trains_and_evaluates():
    config = presets.get("football_run_to_score")
    config["agent"] |= {"rollout_steps": 16, "minibatches": 1, "update_epochs": 1}
    config["env"]["num_envs"] = 2
    config["compile"] = {"jit_compile": False}
    agent = presets.build(config)
    history = agent.fit(presets.make_env(config), num_envs=2, epochs=2, steps_per_epoch=2, verbose=0).history
    assert history["env_steps"][-1] == pytest.approx(2 * 2 * 16 * 2, abs=8)
    assert np.isfinite(history["entropy"]).all()
    assert agent.evaluate(KEEPER, episodes=1, return_dict=True, verbose=0)["return"] in (-1.0, 0.0, 1.0)
