"""Atari by ALE's vector environment and by EnvPool, both against the wrappers of Gymnasium."""

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from gymnasium.wrappers import FrameStackObservation

import keras_rl_prob as krp
from keras_rl_prob.envs import gymnasium_ids

ale_py = pytest.importorskip("ale_py")
pytest.importorskip("cv2")
EXACT = {"noop_max": 0, "repeat_action_probability": 0.0}  # nothing is random


def rows(step, actions, first):
    """Yields `(observation, reward, terminated, truncated)` of an environment that resets itself after its episodes."""
    yield first, 0.0, False, False
    for action in actions:
        yield step(action)


def of_vector(env, actions):
    def step(action):
        observation, reward, terminated, truncated, _ = env.step(np.array([action], np.int32))
        return observation[0], reward[0], terminated[0], truncated[0]

    return rows(step, actions, env.reset()[0][0])


def of_single(env, actions):
    over = [False]

    def step(action):
        if over[0]:
            over[0] = False
            return env.reset()[0], 0.0, False, False
        observation, reward, terminated, truncated, _ = env.step(action)
        over[0] = terminated or truncated
        return observation, reward, terminated, truncated

    return rows(step, actions, env.reset()[0])


@pytest.mark.parametrize(
    ("game", "settings"),
    [
        ("Breakout", {"use_fire_reset": False, "img_height": 40, "img_width": 60}),
        ("Pong", {"stack_num": 1, "frameskip": 8, "max_num_frames_per_episode": 4000}),
        ("SpaceInvaders", {"reward_clipping": False, "full_action_space": True}),
        ("BeamRider", {"frameskip": 2, "stack_num": 2}),
        ("MsPacman", {"stack_num": 1, "episodic_life": True}),  # a game without FIRE
        ("Breakout", {"episodic_life": True, "stack_num": 1}),
        ("Breakout", {"fire_after_life": True, "stack_num": 1}),
        pytest.param("Breakout", {}, marks=pytest.mark.long),
    ],
)
def test_ale_vector_environment_equals_gymnasiums_wrappers(game, settings):
    spec = krp.envs.spec(f"ALE/{game}-v5", **EXACT, **settings)
    many, one = gymnasium_ids.make_many(spec, 1), krp.envs.make_one(spec)
    assert many.single_observation_space == one.observation_space
    assert many.single_action_space == one.action_space
    actions = np.random.default_rng(3).integers(one.action_space.n, size=1100)
    ends, total = 0, 0.0
    for t, (left, right) in enumerate(zip(of_vector(many, actions), of_single(one, actions), strict=True)):
        np.testing.assert_array_equal(left[0], right[0], err_msg=f"step {t}")
        assert left[1:] == right[1:], t
        ends, total = ends + (left[2] or left[3]), total + abs(left[1])
    assert total > 0
    assert ends > 0 or game == "BeamRider"


def test_a_ball_is_served_after_each_life_also_for_who_never_does():
    """With NOOP alone: five lives, and so the score of five balls that nobody hits, instead of a game that never ends."""
    ends = {}
    for serves in (True, False):
        spec = krp.envs.spec("ALE/Breakout-v5", **EXACT, fire_after_life=serves)
        for made, of in ((gymnasium_ids.make_many(spec, 1), of_vector), (krp.envs.make_one(spec), of_single)):
            over = [index for index, row in enumerate(of(made, [0] * 400)) if row[2] or row[3]]
            ends.setdefault(serves, []).append(over)
            made.close()
    (many, one), never = ends[True], ends[False]
    assert many == one
    assert len(many) >= 2
    assert never == [[], []]


@pytest.mark.parametrize("make", [lambda spec: gymnasium_ids.make_many(spec, 2), krp.envs.make_one])
def test_a_game_without_fire_has_nothing_to_serve(make):
    with pytest.raises(ValueError, match="`fire_after_life` must be False for a game without the action FIRE"):
        make(krp.envs.spec("ALE/MsPacman-v5", fire_after_life=True))


@pytest.mark.parametrize("game", ["Breakout", pytest.param("Pong", marks=pytest.mark.long)])
def test_envpool_equals_gymnasiums_wrappers(game):
    """Except the final observation and the stack of frames after it: EnvPool runs all frames of a step."""
    envpool = pytest.importorskip("envpool")
    exact = {"noop_max": 1, "use_fire_reset": False}
    pool = envpool.make_gymnasium(f"{game}-v5", num_envs=1, reward_clip=True, stack_num=4, **exact)
    one = krp.envs.make_one(krp.envs.spec(f"ALE/{game}-v5", repeat_action_probability=0.0, stack_num=1, **exact))
    one = FrameStackObservation(one, 4, padding_type="reset")
    ends, actions = 0, np.random.default_rng(5).integers(one.action_space.n, size=1100)
    for t, (left, right) in enumerate(zip(of_vector(pool, actions), of_single(one, actions), strict=True)):
        over = bool(right[2])
        ends += over
        np.testing.assert_array_equal(left[0][: 3 if over else 4], right[0][: 3 if over else 4, 0], err_msg=f"step {t}")
        assert left[1:] == right[1:], t
    assert ends > 0


@pytest.mark.parametrize("make", [lambda spec: gymnasium_ids.make_many(spec, 2), krp.envs.make_one])
def test_the_limit_of_a_game_is_in_frames(make):
    with pytest.raises(ValueError, match=r"takes `max_num_frames_per_episode`, emulator frames.*max_episode_steps=7"):
        make(krp.envs.spec("ALE/Pong-v5", max_episode_steps=7))


@pytest.mark.parametrize("settings", [{"noop_max": 30}, {"repeat_action_probability": 0.25}])
def test_what_is_random_is_decided_by_the_seed(settings):
    spec = krp.envs.spec("ALE/Pong-v5", **(EXACT | settings), stack_num=1)
    actions = np.random.default_rng(0).integers(6, size=(30, 3))

    def play(seed):
        env = krp.envs.make(spec, 3)
        state, step = env.reset(tf.constant([seed, 0]))
        frames = [step.observation.numpy()]
        for action in actions:
            state, step = env.step(state, tf.constant(action, tf.int32))
            frames.append(step.observation.numpy())
        env.close()
        return np.stack(frames)

    first = play(1)
    np.testing.assert_array_equal(first, play(1))
    assert not np.array_equal(first, play(2))
    assert not np.array_equal(first[:, 0], first[:, 1])


@pytest.mark.parametrize("count", [1, 3])
def test_ids_make_the_vector_environment_whatever_the_number(count):
    env = krp.envs.make("ALE/Pong-v5", count)
    assert isinstance(env.vector_env, ale_py.vector_env.AtariVectorEnv)
    assert env.observation_space == gymnasium.spaces.Box(0, 255, (4, 84, 84), np.uint8)
    assert env.num_envs == count
    env.close()


def test_settings_that_a_single_game_cannot_have():
    spec = krp.envs.spec("ALE/Pong-v5", maxpool=False, continuous=True, frame_skip=2)
    message = (
        r"A single ALE/Pong-v5 cannot have \['continuous', 'frame_skip', 'maxpool'\]. Received: .*'maxpool': False"
    )
    with pytest.raises(ValueError, match=message):
        krp.envs.make_one(spec)


def test_settings_that_change_nothing_in_a_single_game():
    env = krp.envs.make_one(krp.envs.spec("ALE/Pong-v5", maxpool=True, num_threads=2, thread_affinity_offset=0))
    assert env.observation_space.shape == (4, 84, 84)


@pytest.mark.usefixtures("plain_matrices")
def test_replay_of_a_stack_stores_single_frames():
    agent = krp.DQN(frame_axis=0, capacity=512, learning_starts=64, rollout_steps=8, updates=2, batch_size=8)
    agent.compile()
    history = agent.fit("ALE/Pong-v5", epochs=1, steps_per_epoch=4, num_envs=4, verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("make", [krp.envs.make_one, lambda env: krp.envs.make(env, 2)], ids=["one", "many"])
def test_a_missing_rom_names_the_environment_and_the_file(make, tmp_path, monkeypatch):
    monkeypatch.setenv("ALE_ROMS_DIR", str(tmp_path))
    with pytest.raises(OSError, match=r"`ALE/Pong-v5` could not be made: .*pong\.bin"):
        make("ALE/Pong-v5")
