"""A single Atari game with the observations of ALE's vector environment, made with Gymnasium's wrappers."""

import inspect
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import AtariPreprocessing, ClipReward, FrameStackObservation

from keras_rl_prob.envs.wrappers import FireReset

GAME = ("full_action_space", "max_num_frames_per_episode", "repeat_action_probability")


def make_one(spec: EnvSpec) -> gymnasium.Env:
    """A game with the observations, rewards and episodes of `gymnasium.make_vec(spec, 1)`.

    ALE's vector environment uses another random generator for no-ops and sticky actions; without these the two are identical.

    Args:
        spec: `EnvSpec` of an id that starts with `ALE/`. Its `kwargs` are arguments of ALE's vector environment, and
            `render_mode`.

    Returns:
        A `gymnasium.Env`.

    Raises:
        ValueError: A setting is not available for a single game.
    """
    from ale_py.vector_env import AtariVectorEnv  # noqa: PLC0415

    defaults = {name: x.default for name, x in inspect.signature(AtariVectorEnv).parameters.items()}
    settings = defaults | spec.kwargs
    single = {
        *GAME,
        "game",
        "render_mode",
        "frameskip",
        "noop_max",
        "episodic_life",
        "use_fire_reset",
        "reward_clipping",
    }
    changed = {name for name, value in settings.items() if name not in defaults or value != defaults[name]}
    unknown = changed - single - {"img_height", "img_width", "stack_num", "num_threads", "thread_affinity_offset"}
    if unknown:
        raise ValueError(f"A single {spec.id} cannot have {sorted(unknown)}. Received: {spec.kwargs}")
    game = {name: settings[name] for name in GAME}
    env: Any = gymnasium.make(spec.id, frameskip=1, render_mode=settings.get("render_mode"), **game)
    if settings["use_fire_reset"] and "FIRE" in env.unwrapped.get_action_meanings():
        env = FireReset(env, [env.unwrapped.get_action_meanings().index("FIRE")])
    env = AtariPreprocessing(
        env,
        noop_max=settings["noop_max"],
        frame_skip=settings["frameskip"],
        screen_size=(settings["img_width"], settings["img_height"]),
        terminal_on_life_loss=settings["episodic_life"],
    )
    if settings["reward_clipping"]:
        env = ClipReward(env, -1.0, 1.0)
    return FrameStackObservation(env, settings["stack_num"], padding_type="zero")
