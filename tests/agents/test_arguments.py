"""Arguments that are out of range, of the wrong type or unknown raise an error when they are passed, not later."""

import gymnasium
import keras
import numpy as np
import pytest

import keras_rl_prob as krp

COUNT = [0, -1, 1.0, 1e3, "4", True, np.float32(2), np.zeros(2, int)]
FRACTION = [-0.1, 1.1, None, "0.9", float("nan"), True, np.zeros(2)]
WEIGHT = [-1, None, "1", float("inf"), [1]]
POSITIVE = [0, -1, "1", float("nan")]
SCHEDULED = keras.optimizers.schedules.PolynomialDecay(1.0, 10, 0.1)
POLICY = {"discount": FRACTION, "value_coef": WEIGHT, "entropy_coef": [-1, None, "1"], "network": ["CartPole-v1", 3]}
VALUES = {
    "discount": FRACTION,
    "huber_delta": POSITIVE,
    "reward_clip": POSITIVE,
    "exploration": [0.1, "greedy", krp.KLPenalty()],
}
MEMORY = {
    **dict.fromkeys(("batch_size", "capacity", "n_step"), COUNT),
    "learning_starts": [-5, 1e3, None],
    "prioritized": [3, "yes", None],
    "reward_clip": POSITIVE,
    "frame_axis": [-1, 0.5],
}
SEQUENCES = {"sequence_length": COUNT, "period": COUNT, "burn_in": [-1, 2.0], "eta": FRACTION}
REPLAY = VALUES | {
    **MEMORY,
    **dict.fromkeys(("rollout_steps", "updates"), COUNT),
    "replay": [3, None, krp.PrioritizedReplay(), {"capacity": 3}],
    "target_update": [0, -1, 1.5, "10", None],
}
ACTOR_CRITIC = {
    **dict.fromkeys(("rollout_steps", "updates"), COUNT),
    "discount": FRACTION,
    "network": ["Pendulum-v1", 3],
    "critic": ["Pendulum-v1", 3],
    "replay": [3, None, krp.SequenceReplaySettings(), {"capacity": 3}],
    "target_update": [0, -1, 1.5, "10", None],
    "normalize_observations": [1, None],
}
TABLE = {
    krp.PPO: POLICY
    | {
        **dict.fromkeys(("rollout_steps", "minibatches", "update_epochs", "sequence_length"), COUNT),
        "gae_lambda": FRACTION,
        "clip_ratio": POSITIVE,
        "value_clip": POSITIVE,
        "target_kl": [*POSITIVE, SCHEDULED],
        "kl_penalty": [1.0, krp.EpsilonGreedy()],
    },
    krp.A2C: POLICY | {"rollout_steps": COUNT, "gae_lambda": FRACTION},
    krp.A3C: {"rollout_steps": [0], "discount": [2.0]},  # the constructor is that of A2C
    krp.IMPALA: POLICY
    | {
        "rollout_steps": COUNT,
        "vtrace": [3, 1.0, krp.Clipping()],
        "clip_ratio": POSITIVE,
        "lag": [-1, 1.5, None, True],
    },
    krp.ACER: POLICY
    | {
        "rollout_steps": COUNT,
        "replay": [3, None, krp.ReplaySettings(), {"capacity": 3}],
        "retrace_lambda": FRACTION,
        "clip_rho": [*POSITIVE, None, -float("inf"), SCHEDULED],
        "trust_region": [-1, "1", float("inf"), SCHEDULED],
        "average_decay": FRACTION,
    },
    krp.RolloutReplaySettings: {
        "capacity": COUNT,
        "ratio": [-1, 0.5, None],
        "learning_starts": [-5, 1e3, None],
        "frame_axis": [-1, 0.5],
        "checkpoint_replay": [1, None],
    },
    krp.Reinforce: POLICY | {"max_episode_steps": COUNT},
    krp.DQN: REPLAY,
    krp.QRDQN: {"quantiles": COUNT},
    krp.C51: {"atoms": [1, 2.5, None], "value_bounds": [3, "ab", [1, 1], [0, float("inf")], [0, None], [0, 1, 2]]},
    krp.RecurrentDQN: REPLAY | SEQUENCES | {"replay": [None, krp.ReplaySettings()]},
    krp.SAC: ACTOR_CRITIC | {"temperature": [-1, None, "1", float("inf"), SCHEDULED, krp.Boltzmann(0.5)]},
    krp.LearnedTemperature: {
        "target_entropy": ["1", float("nan"), [1], SCHEDULED],
        "initial": [0, -1, None, "1"],
        "discrete_target": FRACTION,
    },
    krp.TD3: ACTOR_CRITIC
    | {"policy_period": COUNT, "target_noise": [-1, None, "1"], "noise_clip": [-1, None, "1", float("inf")]},
    krp.RecurrentSAC: ACTOR_CRITIC | {"replay": [None, krp.ReplaySettings()], "previous_action_and_reward": [1, None]},
    krp.RecurrentTD3: {
        "policy_period": COUNT,
        "replay": [krp.ReplaySettings()],
        "previous_action_and_reward": [1, None],
    },
    krp.ReplaySettings: MEMORY,
    krp.SequenceReplaySettings: MEMORY | SEQUENCES,
    krp.Minibatches: {"count": COUNT, "sequence_length": COUNT, "target_kl": [*POSITIVE, SCHEDULED]},
    krp.Clipping: {"clip_ratio": POSITIVE, "value_clip": POSITIVE},
    krp.VTrace: {
        "lambda_": [2, *FRACTION],
        **{name: [*POSITIVE, None, -float("inf"), SCHEDULED] for name in ("clip_rho", "clip_c", "clip_pg_rho")},
    },
    krp.LinearQ: VALUES | {"rollout_steps": COUNT},
    krp.RandomAgent: {"rollout_steps": COUNT},
    krp.EpsilonGreedy: {"epsilon": [-0.1, "1", [1]], "minimum": FRACTION, "policy": [3]},
    krp.Boltzmann: {"temperature": [0.0, -1, None]},
    krp.PrioritizedReplay: {"alpha": FRACTION, "beta": [-1, 2, "1"], "epsilon": [0, -1, None]},
    krp.KLPenalty: {"target": [0, -1, None], "initial_beta": [-1, None], "tolerance": [-1], "cutoff_coef": [-1, "1"]},
    krp.callbacks.EnvStepLimit: {"limit": COUNT},
}
CASES = [(made, name, value) for made, table in TABLE.items() for name, values in table.items() for value in values]


@pytest.mark.parametrize(("made", "name", "value"), CASES, ids=lambda x: getattr(x, "__name__", None) or repr(x)[:30])
def test_a_wrong_value_is_named(made, name, value):
    with pytest.raises((ValueError, TypeError), match=rf"`{name}` must .*Received: .*{name}=") as caught:
        made(**{name: value})
    assert "\n" not in str(caught.value)


NUMBERS = {
    krp.PPO: {
        "rollout_steps": np.int64(16),
        "discount": np.float32(0.5),
        "clip_ratio": np.float64(0.1),
        "minibatches": np.int8(2),
    },
    krp.IMPALA: {"rollout_steps": np.int16(8), "lag": np.int64(2), "clip_ratio": np.float32(0.25)},
    krp.ACER: {"rollout_steps": np.int16(8), "clip_rho": np.float32(2), "trust_region": np.float64(0.5)},
    krp.SAC: {"updates": np.int8(2), "temperature": np.float32(0.5), "target_update": np.float64(0.25)},
    krp.TD3: {"policy_period": np.int8(3), "target_noise": np.float32(0.5), "noise_clip": 1},
    krp.RolloutReplaySettings: {"capacity": np.int32(2000), "ratio": np.int8(0), "learning_starts": np.uint8(3)},
    krp.Minibatches: {"count": np.int64(3), "target_kl": 1},
    krp.VTrace: {"lambda_": np.float32(0.5), "clip_rho": np.float64(2), "clip_c": 1},
    krp.SequenceReplaySettings: {"capacity": np.int32(512), "burn_in": np.int8(0), "learning_starts": np.uint8(3)},
    krp.RecurrentDQN: {
        "target_update": np.float64(0.5),
    },
    krp.Reinforce: {"max_episode_steps": np.int16(8), "entropy_coef": SCHEDULED},
    krp.LinearQ: {"rollout_steps": np.int64(3), "huber_delta": np.float16(2), "exploration": krp.Boltzmann(SCHEDULED)},
}


@pytest.mark.parametrize("made", NUMBERS)
def test_numbers_of_numpy_are_numbers(made):
    agent = made(**NUMBERS[made])
    same = made.from_config(agent.get_config())
    for name, value in NUMBERS[made].items():
        got = getattr(same, "rollout_steps" if name == "max_episode_steps" else name)
        assert not isinstance(got, np.generic)
        if isinstance(value, np.generic | int):
            assert got == value
    keras.saving.serialize_keras_object(agent)


def test_counts_of_numpy_work_in_fit_and_evaluate():
    agent = krp.A2C()
    agent.compile(run_eagerly=True, steps_per_execution=np.int64(2))
    agent.fit("tf/CartPole-v1", np.int64(1), np.int32(2), num_envs=np.int64(2), verbose=0)
    agent.evaluate("tf/CartPole-v1", np.int64(2), max_steps=np.int64(20), verbose=0)


OTHERS = [
    (krp.PPO, {"gamma": 0.9}, "Use `discount`"),
    (krp.PPO, {"n_steps": 3}, "Use `rollout_steps`"),
    (krp.PPO, {"ent_coef": 3}, "Use `entropy_coef`"),
    (krp.PPO, {"clip_range": 3}, "Use `clip_ratio`"),
    (krp.PPO, {"batch_size": 3}, "Use `minibatches`"),
    (krp.PPO, {"n_epochs": 3}, "Use `update_epochs`"),
    (krp.PPO, {"learning_rate": 3e-4}, r"Use `compile\(optimizer="),
    (krp.PPO, {"env": "CartPole-v1"}, r"Use `fit\(env\)`"),
    (krp.PPO, {"seed": 3}, r"Use `fit\(seed=...\)`"),
    (krp.PPO, {"clip_ration": 3}, "Did you mean `clip_ratio`"),
    (krp.RecurrentPPO, {"sequnce_length": 3}, r"Did you mean `minibatches=krp.Minibatches\(sequence_length="),
    (krp.DQN, {"buffer_size": 3}, r"Use `replay=krp.ReplaySettings\(capacity=...\)`"),
    (krp.DQN, {"tau": 0.1}, "Use `target_update`"),
    (krp.RecurrentDQN, {"gamma": 0.9}, "Use `discount`"),
    (krp.RecurrentDQN, {"nothing_like_it": 0.9}, "RecurrentDQN`. Received: nothing_like_it=0.9"),
    (krp.Reinforce, {"rollout_steps": 3}, "Reinforce`. Received"),
    ("fit", {"total_timesteps": 3}, "Use `env_steps`"),
    ("fit", {"callback": []}, "Use `callbacks`"),
    ("fit", {"n_envs": 3}, "Use `num_envs`"),
    ("fit", {"epoch": 3}, "Did you mean `epochs`"),
    ("evaluate", {"n_eval_episodes": 3}, "Use `episodes`"),
    ("compile", {"loss": "mse"}, "the loss belongs to the agent"),
    ("compile", {"learning_rate": 1}, r"Use `compile\(optimizer="),
]


@pytest.mark.parametrize(
    ("what", "arguments", "meaning"), OTHERS, ids=[f"{what}-{next(iter(x))}" for what, x, _ in OTHERS]
)
def test_words_of_other_libraries_are_understood(what, arguments, meaning):
    (name,) = arguments
    call = what
    if isinstance(what, str):
        agent = krp.PPO()
        agent.compile()
        call = getattr(agent, what)
    env = {"env": "tf/CartPole-v1"} if what in ("fit", "evaluate") else {}
    with pytest.raises(TypeError, match=rf"`{name}` is not an argument of `.*{meaning}"):
        call(**env, **arguments)


def test_arguments_of_a_subclass_are_its_own():
    class Mine(krp.PPO):
        def __init__(self, width=3, **kwargs):
            super().__init__(**kwargs)
            self.width = width

    assert Mine(width=4, rollout_steps=8).width == 4
    with pytest.raises(TypeError, match=r"`widht` is not an argument of `Mine`. Did you mean `width`"):
        Mine(widht=4)
    with pytest.raises(TypeError, match=r"`gamma` is not an argument of `Mine`. Use `discount`"):
        Mine(gamma=0.9)


@pytest.mark.parametrize("network", ["CartPole-v1", gymnasium.Env(), 3])
def test_an_environment_is_no_network(network):
    with pytest.raises(TypeError, match=r"`network` must be.*the environment belongs to `fit`"):
        krp.PPO(network)


INERT = {
    "Dropout": (lambda: keras.layers.Dropout(0.5), "it passes its input on"),
    "SpatialDropout1D": (lambda: keras.layers.GaussianDropout(0.5), "it passes its input on"),
    "GaussianNoise": (lambda: keras.layers.GaussianNoise(0.5), "NoisyDense"),
    "BatchNormalization": (keras.layers.BatchNormalization, "`LayerNormalization`, or `normalize_observations=True`"),
    "SpectralNormalization": (lambda: keras.layers.SpectralNormalization(keras.layers.Dense(3)), "kernel_constraint"),
}


@pytest.mark.parametrize("kind", INERT)
def test_layers_that_do_nothing_here_are_named(kind):
    make, cure = INERT[kind]
    inputs = keras.Input((4,))
    layer = make()
    x = layer(inputs)
    head = krp.layers.DenseCategorical((2,))(x)
    agent = krp.PPO(keras.Model(inputs, {"action": head, "value": keras.layers.Dense(1)(x)}))
    with pytest.warns(UserWarning, match=rf"do not do here what they do in supervised.*{layer.name}.*{cure}"):
        agent.build("tf/CartPole-v1")


@pytest.mark.parametrize("name", ["agent.h5", "agent.hdf5"])
def test_the_old_file_format_is_refused_when_saving(name, tmp_path):
    agent = krp.A2C()
    agent.build("tf/CartPole-v1")
    with pytest.raises(ValueError, match=r"`filepath` must end with `.keras`.*weights.h5.*Received"):
        agent.save(tmp_path / name)
    assert not list(tmp_path.iterdir())
