"""`check_env`: each mistake in an environment is found, with a message that helps to fix it."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit

import keras_rl_prob as krp
from keras_rl_prob.testing import HybridTask, ScriptedEnv, check_env


class Walk(gymnasium.Env):
    """A random walk that terminates at 3 and is truncated after 50 steps; `broken` is its mistake."""

    observation_space = spaces.Dict({"place": spaces.Box(-1.0, 1.0, (2,)), "side": spaces.Discrete(2)})
    action_space = spaces.Discrete(2)
    broken = ""

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if self.broken == "raises in reset":
            raise RuntimeError("no key")
        self.place, self.time = int(self.np_random.integers(-2, 3)), 0
        self.shown = np.zeros(2, np.float32)
        return ("nothing" if self.broken == "reset alone" else self.observe()), ({} if self.broken != "info" else None)

    def step(self, action):
        self.time += 1
        if self.broken == "raises" and self.time == 2:
            raise RuntimeError("jammed")
        draw = np.random if self.broken == "global random" else self.np_random
        self.place += 2 * int(action) - 1 + int(draw.random() < 0.5)
        reward, terminated, truncated = -1.0, abs(self.place) >= 3, self.time == 50
        if self.broken.startswith("reward"):
            reward = {"nan": np.nan, "array": np.ones(1), "None": None, "text": "1"}[self.broken.split()[1]]
        if self.broken == "terminated":
            terminated = int(terminated)
        if self.broken == "truncated":
            truncated = None
        if self.broken == "endless":
            terminated = truncated = False
        result = self.observe(), reward, terminated, truncated, {}
        return result[:4] if self.broken == "old step" else result

    def observe(self):
        self.shown = self.shown if self.broken == "buffer" else np.zeros(2, np.float32)
        self.shown[:] = np.clip([self.place / 5, self.time / 50], -1, 1)
        place = self.shown
        if self.time == 1:
            place = {
                "shape": place[:1],
                "float64": place.astype(np.float64),
                "list": place.tolist(),
                "bounds": place + np.float32([0.0, 2.0]),
                "nan": place * np.float32(np.nan),
            }.get(self.broken, place)
        observation = {"place": place, "side": 0.0 if self.broken == "float class" else int(self.place > 0)}
        if self.broken == "class":
            observation["side"] = 2
        if self.broken == "more keys":
            observation["time"] = self.time
        if self.broken == "fewer keys":
            del observation["side"]
        return observation if self.broken != "bare" else place


def broken(what, **attributes):
    return type("Broken", (Walk,), {"broken": what, **attributes})


STEP = r"at step 1 of episode 1\. Fix the observation or"
RESET = r"in the reset of episode 1"


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("shape", rf"observation 'place' must have the shape \(2,\). Received: \(1,\) {STEP}"),
        ("float64", rf"observation 'place' must have the dtype float32. Received: float64 {STEP}"),
        ("list", rf"observation 'place' must have the dtype float32. Received: list {STEP}"),
        ("bounds", rf"observation 'place' must be in \[-1.0, 1.0\] at \[1\]. Received: 2.0\d* {STEP}"),
        ("nan", rf"observation 'place' must be in \[-1.0, 1.0\] at \[0\]. Received: nan {STEP}"),
        ("class", rf"observation 'side' must be in Discrete\(2\). Received: 2 {RESET}"),
        ("float class", rf"observation 'side' must have the dtype int64. Received: float {RESET}"),
        ("more keys", rf"must have the keys \['place', 'side'\]. Received: \['place', 'side', 'time'\] {RESET}"),
        ("fewer keys", rf"must have the keys \['place', 'side'\]. Received: \['place'\] {RESET}"),
        ("bare", rf"must be a dict with the keys \['place', 'side'\]. Received: ndarray {RESET}"),
        ("reset alone", r"must be a dict with the keys \['place', 'side'\]. Received: str"),
        ("info", rf"`reset` must return a pair `\(observation, info\)`; info is a dict. .*None\) {RESET}"),
        ("old step", r"`step` must return `\(observation, reward, .*at step 1 of episode 1"),
        ("reward nan", r"reward must be a finite number, such as `float\(x\)`. Received: nan at step 1 of episode 1"),
        ("reward array", r"reward must be a finite number.*Received: array\(\[1.\]\) at step 1"),
        ("reward None", r"reward must be a finite number.*Received: None at step 1"),
        ("reward text", r"reward must be a finite number.*Received: '1' at step 1"),
        ("terminated", r"`terminated` must be True or False, such as `bool\(x\)`. Received: \d at step 1 of episode 1"),
        ("truncated", r"`truncated` must be True or False.*Received: None at step 1 of episode 1"),
        (
            "endless",
            r"Episodes must end.*`max_episode_steps`.*TimeLimit.*Received: 200 steps without an end in episode 1",
        ),
        (
            "buffer",
            r"must stay as it was returned; return `observation.copy\(\)`.*overwritten with.*at step 1 of episode 1",
        ),
        ("global random", r"same seed and actions must give the same episode.*`self.np_random`.*Received: another"),
    ],
)
def test_what_is_wrong_is_said(what, message):
    with pytest.raises(ValueError, match=message):
        check_env(broken(what), max_steps=200)


@pytest.mark.parametrize(
    ("what", "where"),
    [
        ("raises", "Raised by `step` of <Broken instance> at step 2 of epis"),
        ("raises in reset", "in the reset of epis"),
    ],
)
def test_what_the_environment_raises_stays_as_it_is(what, where):
    with pytest.raises(RuntimeError, match=r"jammed|no key") as caught:
        check_env(broken(what))
    (note,) = caught.value.__notes__
    assert where in note


class Forgetful(gymnasium.Env):
    """Deterministic, so that only Gymnasium's check finds the missing `super().reset(seed=seed)`."""

    observation_space, action_space = spaces.Discrete(3), spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.place = 0
        return 0, {}

    def step(self, action):
        self.place += int(action)
        return self.place, 0.0, self.place == 2, False, {}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: broken("", observation_space=None)(),
            r"`observation_space` must be a space.*`__init__`. Received.*None",
        ),
        (lambda: broken("", action_space=spaces.Text(3))(), r"`action_space` must be made of Box.*contains Text"),
        (
            lambda: broken("", reset=lambda self: ({}, {}))(),
            r"`reset` must take a seed and options: `def reset\(self, \*, seed=None, options=None\)`. Received: .*'seed'",
        ),
        (lambda: HighScore(Walk()), r"`step` must return"),
        (Forgetful, r"Gymnasium's own check of the environment fails.*`super\(\).reset\(seed=seed\)`"),
    ],
    ids=["no space", "space", "reset", "wrapper", "Gymnasium"],
)
@pytest.mark.filterwarnings("ignore:The seeds 0 and 1 give the same")
def test_what_is_wrong_with_the_class_is_said(make, message):
    with pytest.raises(ValueError, match=message):
        check_env(make)


class HighScore(gymnasium.Wrapper):
    def step(self, action):
        return [*self.env.step(action)]


@pytest.mark.parametrize(
    "env",
    [Walk, lambda: TimeLimit(Walk(), 2), "CartPole-v1", krp.envs.spec("Pendulum-v1", max_episode_steps=9)],
    ids=["class", "callable", "id", "spec"],
)
def test_sound_environments_pass_without_a_word(env):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env)


def test_no_time_limit_is_found_out_by_id():
    with pytest.raises(ValueError, match=r"Episodes must end.*30 steps without an end in episode 1"):
        check_env("Pendulum-v1", max_steps=30)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ("tf/CartPole-v1", r"must be a single environment of Gymnasium.*Received: env='tf/CartPole-v1'"),
        (lambda: 3, r"must be a single environment.*which made 3"),
        (None, r"Received: env=None$"),
        (["CartPole-v1"], r"Received: env=\['CartPole-v1'\]"),
    ],
)
def test_other_things_are_no_environment(env, message):
    with pytest.raises(TypeError, match=message):
        check_env(env)


@pytest.mark.parametrize("name", ["episodes", "max_steps"])
def test_numbers_must_be_positive(name):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer. Received: {name}=0"):
        check_env(Walk, **{name: 0})


def test_a_callable_must_make_new_environments():
    env = Walk()
    with pytest.raises(ValueError, match=r"must make a new environment at each call.*returned <Walk instance> twice"):
        check_env(lambda: env)


def test_what_was_made_is_closed_and_what_was_given_is_left_open():
    closed = []

    class Closing(Walk):
        def close(self):
            closed.append(self)

    check_env(Closing)
    assert len(closed) == len(set(closed)) == 2
    check_env(Closing())
    assert len(closed) == 2


# ---- hints -----------------------------------------------------------------------------------------------------------


def test_a_time_limit_that_terminates_is_hinted_at():
    with pytest.warns(UserWarning, match="All 3 episodes terminated after 10 steps. If that is a time limit"):
        check_env(HybridTask)


class Swapped(gymnasium.Wrapper):
    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated or truncated, False, info


def test_a_time_limit_whose_truncation_is_lost_is_an_error():
    with pytest.raises(
        ValueError, match=r"limit of 2 steps must be truncated.*Received: terminated at step 2 of episode"
    ):
        check_env(lambda: Swapped(TimeLimit(Walk(), 2)))


def test_seeds_without_an_effect_are_hinted_at():
    class Fixed(Walk):
        def reset(self, *, seed=None, options=None):
            _, info = super().reset(seed=seed)
            self.place, self.random = 0, np.random.default_rng(3)
            return self.observe(), info

        def step(self, action):
            kept, self._np_random = self._np_random, self.random
            result = super().step(action)
            self._np_random = kept
            return result

    with pytest.warns(UserWarning, match="The seeds 5 and 6 give the same episode"):
        check_env(Fixed, seed=5)


def test_what_is_random_by_intention_need_not_repeat():
    class Dice(broken("global random")):
        spec = gymnasium.envs.registration.EnvSpec("Dice-v0", entry_point=Walk, nondeterministic=True)

    check_env(Dice)


# ---- action masks ----------------------------------------------------------------------------------------------------


class Masked(gymnasium.Env):
    """Allows one entry of each component, a different one in each step, and raises an error for any other."""

    action_space = spaces.Tuple(
        (spaces.Discrete(3, start=5), spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2), spaces.Box(-1, 1, (1,)))
    )

    def __init__(self):
        self.observation_space = spaces.Dict({"action_mask": krp.masks.mask_space(self.action_space)})

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.pick = 0, self.np_random.integers([3, 2, 3, 2])
        return self.observe(), {}

    def step(self, action):
        choice, pair, flags, _ = action
        if (choice - 5, *pair) != tuple(self.pick[:3]) or flags[self.pick[3]]:
            raise RuntimeError(f"{action} is illegal at {self.pick}")
        self.time, self.pick = self.time + 1, self.np_random.integers([3, 2, 3, 2])
        return self.observe(), 0.0, False, self.time >= 6 + int(self.pick[0]), {}

    def observe(self):
        mask = {"0": np.zeros(3, np.int8), "1": np.zeros((2, 3), np.int8), "2": np.ones(2, np.int8)}
        mask["0"][self.pick[0]] = mask["1"][0, self.pick[1]] = mask["1"][1, self.pick[2]] = 1
        mask["1"][0, 2], mask["2"][self.pick[3]] = 1, 0  # the first is padding
        return {"action_mask": mask}


def test_only_legal_actions_are_taken():
    check_env(Masked, episodes=20)


def test_a_mask_that_allows_nothing_is_found():
    class Stuck(Masked):
        def observe(self):
            observation = super().observe()
            observation["action_mask"]["1"][0] = [0, 0, 1] if self.time == 3 else [1, 1, 1]  # the last is padding
            return observation

        def step(self, action):
            self.pick[1] = action[1][0]
            return super().step(action)

    with pytest.raises(
        ValueError, match=r"mask must allow an action.*action_mask=\[\[0, 0, 1\], .* at step 3 of episode 1"
    ):
        check_env(Stuck)


def test_a_mask_of_another_layout_is_found():
    class Short(Masked):
        def __init__(self):
            self.observation_space = spaces.Dict({"action_mask": spaces.MultiBinary(4)})

    with pytest.raises(ValueError, match=r"`action_mask` of the observation must be laid out like the action space"):
        check_env(Short)


def test_a_script_that_goes_on_does_not_repeat():
    with pytest.raises(
        ValueError, match=r"Received: another observation, .* after 0 steps when episode 1 was played again"
    ):
        check_env(lambda: ScriptedEnv(0, [(2, "truncated")]))
