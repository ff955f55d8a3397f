"""`play`: what it returns, its pace, its pictures, and what cannot be shown."""

import io
import re
import time
import types

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import keras_rl_prob as krp
from keras_rl_prob.envs.playing import episodes, rendering, screen


class Counting(gymnasium.Env):
    """Rewards 1, 2, 3, ...; frames of the brightness of the step; ends after `length` steps."""

    metadata = {"render_modes": ["rgb_array", "human", "ansi"], "render_fps": 1000}  # noqa: RUF012
    observation_space, action_space = spaces.Box(0.0, 99.0, (2,)), spaces.Discrete(3, start=5)

    def __init__(self, render_mode=None, length=3):
        self.render_mode, self.length, self.seeds, self.closed = render_mode, length, [], 0

    def reset(self, *, seed=None, options=None):
        self.seeds.append(seed)
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.steps += 1
        return np.full(2, self.steps, np.float32), self.steps, self.steps == self.length, False, {}

    def render(self):
        return f"now {self.steps}" if self.render_mode == "ansi" else np.full((4, 6, 3), 10 * self.steps, np.uint8)

    def close(self):
        self.closed += 1


class Bot:
    """Actions 5, 6, 7, 5, ...; begins again in each episode."""

    def reset(self):
        self.steps = 0

    def __call__(self, observation):
        assert observation[0] == self.steps
        self.steps += 1
        return 5 + (self.steps - 1) % 3


def test_returns_lengths_actions_and_frames_of_each_episode():
    env = Counting("rgb_array")
    first, second = krp.envs.play(env, Bot(), episodes=2, render_mode="rgb_array", seed=7)
    assert (first["return"], first["length"], first["actions"]) == (1 + 2 + 3, 3, [5, 6, 7])
    assert first["frames"].shape == (4, 4, 6, 3)
    np.testing.assert_array_equal(first["frames"][:, 0, 0, 0], [0, 10, 20, 30])
    assert second.keys() == first.keys()
    assert (env.seeds, env.closed) == ([7, 8], 0)


def test_an_episode_is_left_after_max_steps_and_what_was_made_is_closed():
    env = Counting()
    assert krp.envs.play(env, Bot(), render_mode=None, max_steps=2) == [{"return": 3.0, "length": 2, "actions": [5, 6]}]
    made = []
    krp.envs.play(lambda: made.append(Counting()) or made[-1], Bot(), render_mode=None)
    assert made[0].closed == 1


def test_the_pace_of_a_window_is_that_of_the_environment_or_another(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env, seconds = Counting("human", length=5), []
    env.metadata = Counting.metadata | {"render_fps": 20}
    seen = []
    monkeypatch.setattr(Counting, "reset", lambda self, **_: seen.append(self.metadata["render_fps"]) or reset(self))
    for fps in (None, 60):
        started = time.perf_counter()
        krp.envs.play(env, Bot(), fps=fps)
        seconds.append(time.perf_counter() - started)
    assert seen == [20, 60]  # Gymnasium's environments wait themselves, by their metadata
    assert env.metadata["render_fps"] == 20
    assert 6 / 20 <= seconds[0] < 8 / 20
    assert 6 / 60 <= seconds[1] < 6 / 20


def reset(self):
    self.steps = 0
    return np.zeros(2, np.float32), {}


@pytest.fixture
def terminal(monkeypatch):
    shown = io.StringIO()
    shown.isatty = lambda: True
    monkeypatch.setattr(screen, "sys", types.SimpleNamespace(stdout=shown))
    monkeypatch.setattr(screen.shutil, "get_terminal_size", lambda: (40, 10))
    return shown


@pytest.mark.parametrize(("mode", "picture"), [("ansi", "now 3"), (None, "[3. 3.]")])
def test_a_terminal_shows_text_of_the_environment_or_the_observation(terminal, mode, picture):
    krp.envs.play(Counting(mode), Bot(), render_mode="terminal")
    shown = terminal.getvalue()
    assert shown.startswith("\x1b[?1049h\x1b[?25l")
    assert shown.endswith("\x1b[?25h\x1b[?1049l")
    last = re.sub(r"\x1b\[[0-9;?]*\w", "", shown.rpartition(screen.HOME)[2]).splitlines()
    assert last == [picture, "episode 1  step 3  reward 3  return 6  t", "Ctrl-C ends"]


def test_a_terminal_is_restored_when_the_environment_fails(terminal):
    with pytest.raises(ZeroDivisionError):
        krp.envs.play(Counting("rgb_array"), lambda observation: 1 / 0, render_mode="terminal")
    assert terminal.getvalue().endswith("\x1b[?25h\x1b[?1049l")


@pytest.mark.parametrize(
    ("height", "width", "columns", "lines", "size"),
    [(12, 24, 8, 9, (4, 8)), (40, 8, 99, 5, (10, 2)), (4, 4, 80, 24, (4, 4)), (1, 3, 80, 24, (2, 3))],
)
def test_characters_have_the_mean_colours_of_their_pixels(height, width, columns, lines, size):
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    drawn = screen.blocks(frame, columns, lines)
    assert len(drawn) == size[0] // 2 <= lines
    pattern = r"\x1b\[38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m▀"
    pixels = np.array([re.findall(pattern, line) for line in drawn], int)  # [lines, columns, 6]
    assert all(re.sub(pattern, "", line) == "" for line in drawn)
    got = np.stack([pixels[..., :3], pixels[..., 3:]], 1).reshape(*size, 3)
    frame = np.repeat(frame, 2, 0) if height == 1 else frame
    y, x = len(frame) // size[0], width // size[1]
    expected = [
        [frame[i * y : (i + 1) * y, j * x : (j + 1) * x].mean((0, 1)) for j in range(size[1])] for i in range(size[0])
    ]
    np.testing.assert_allclose(got, expected, atol=0.51)


def test_terminals_get_what_an_environment_can_draw():
    for env, mode in {"FrozenLake-v1": "ansi", "CartPole-v1": "rgb_array", "tf/CartPole-v1": "rgb_array"}.items():
        with rendering.drawn(env, "terminal") as made:
            assert made.render_mode == mode


@pytest.mark.parametrize("missing", ["display", "terminal"])
def test_without_a_display_or_a_terminal_one_sentence_says_what_to_do(monkeypatch, missing):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(rendering, "sys", types.SimpleNamespace(platform="linux"))
    mode = {"display": "human", "terminal": "terminal"}[missing]
    with pytest.raises(
        RuntimeError, match=rf"needs a display.*DISPLAY is not set|draws in a terminal.*not a {missing}"
    ):
        krp.envs.play("CartPole-v1", Bot(), render_mode=mode)


@pytest.mark.parametrize(
    "wrong",
    [
        {"render_mode": "video"}, {"fps": 0}, {"fps": "fast"}, {"episodes": 0}, {"max_steps": 0}, {"seed": -1}, {"policy": 3},
        {"env": "tf/Recall-v0"}, {"env": 3},
    ],
)  # fmt: skip
def test_wrong_values_are_named(wrong):
    arguments = {"env": "CartPole-v1", "policy": Bot(), "render_mode": "rgb_array"} | wrong
    with pytest.raises((ValueError, TypeError), match=rf"`{next(iter(wrong))}` must .*Received: "):
        krp.envs.play(**arguments)


def test_an_environment_that_was_made_without_the_mode_is_refused():
    with pytest.raises(ValueError, match=r'must make .*`render_mode="rgb_array"`.*render_mode=None'):
        krp.envs.play(Counting(), Bot(), render_mode="rgb_array")


def test_rows_give_a_policy_its_reward():
    class Rewarded(Bot):
        wants_reward = True

        def __call__(self, observation, reward):
            assert reward == self.steps
            return super().__call__(observation)

    assert [row.reward for row in episodes.rows(Counting(), Rewarded())] == [0.0, 1, 2, 3]


@pytest.fixture(scope="module")
def agent():
    built = krp.A2C()
    built.build("tf/CartPole-v1")
    return built


def test_an_agent_plays_its_own_policy(agent):
    with gymnasium.make("CartPole-v1") as env:
        policy = agent.policy()
        actions = [int(row.action) for row in list(episodes.rows(env, policy, 4))[1:]]
    weights = agent.get_weights()
    [episode] = agent.play("tf/CartPole-v1", render_mode=None, seed=4)
    assert [int(action) for action in episode["actions"]] == actions
    assert episode["return"] == episode["length"] == len(actions)
    [shown] = agent.play("tf/CartPole-v1", render_mode="rgb_array", max_steps=3)
    assert shown["frames"].shape == (4, 400, 600, 3)
    assert np.any(shown["frames"][0] != shown["frames"][3])
    assert all(np.array_equal(a, b) for a, b in zip(weights, agent.get_weights(), strict=True))


def test_samples_and_random_actions_play_otherwise(agent):
    agent.network.set_weights([0.3 * weight for weight in agent.network.get_weights()])
    played = [
        [int(action) for action in agent.play("CartPole-v1", render_mode=None, **how)[0]["actions"]]
        for how in ({}, {"deterministic": False}, {"epsilon": 0.5}, {"epsilon": 0.5})
    ]
    assert played[2] == played[3]
    assert played[0] != played[1] != played[2] != played[0]


def test_other_spaces_are_refused(agent):
    with pytest.raises(ValueError, match="`env` must have the observation_space that the agent was built for"):
        agent.play("Acrobot-v1", render_mode=None)
