"""Wrong values raise an error when they are passed: presets, tuners, `krp.testing`, weights."""

import functools

import gymnasium
import keras
import numpy as np
import pytest
from test_wrong_values import COUNT, POSITIVE, label, of

import keras_rl_prob as krp
from keras_rl_prob import presets
from keras_rl_prob.testing import ScriptedEnv, check_env
from keras_rl_prob.tuners import HyperRecurrentPPO

NAN, INF = float("nan"), float("inf")
BOOL = [1, 0, "yes", None, NAN]
NATURAL = [-1, 1.5, "1", True, NAN, [1]]  # none of them
NUMBER = [NAN, INF, -INF, "x", "1e-3", True, [1], -1, -0.1]
SCHEDULE = {"class": "CosineDecay", "initial_learning_rate": 0.1, "decay_steps": None}
LIST_OF_ENDS = [None, 3, "ab", [], [3], [(2,)], [(2, "end")], [(2, "truncated", 1)], {}]


def network(units=3, name="head", value=0.5):
    inputs = keras.Input((2,))
    made = keras.Model(inputs, keras.layers.Dense(units, name=name)(inputs))
    made.set_weights([np.full(weight.shape, value, np.float32) for weight in made.get_weights()])
    return made


def configured(preset, function=presets.check):
    """`function` of a preset in which a dotted key stands for something else."""

    def call(**changed):
        config = presets.get(preset)
        for key, value in changed.items():
            presets.assign(config, key, value)
        function(config)

    call.__name__ = f"{function.__name__}-{preset}"
    return call


@functools.cache
def hypermodel():
    return HyperRecurrentPPO("tf/CartPole-v1")


class Drawn:
    """Replaces `keras_tuner.HyperParameters`: defaults except some values."""

    def __init__(self, **values):
        self.values = values

    def Choice(self, name, values, default=None):
        return self.values.get(name, values[0] if default is None else default)

    def Int(self, name, low, high):
        return self.values.get(name, low)

    def Float(self, name, low, high, default, sampling=None):
        return self.values.get(name, default)

    def Boolean(self, name):
        return self.values.get(name, False)


def trial(**values):
    hypermodel().build(Drawn(**values))


def build(hp):
    hypermodel().build(hp)


TABLE = [
    (of(HyperRecurrentPPO, env="tf/CartPole-v1"), {"env": [3, None], "rollout_steps": COUNT, "jit_compile": BOOL}),
    (build, {"hp": [3, None, {}]}),
    (
        trial,
        {
            "units": COUNT,
            "encoder_layers": NATURAL,
            "learning_rate": POSITIVE,
            "memory": ["rnn", 3],
            "normalize_observations": BOOL,
        },
    ),
    (check_env, {"env": [3, None, []]}),
    (
        of(check_env, env="CartPole-v1"),
        {"episodes": COUNT, "max_steps": COUNT, "seed": [-1, 2**31, 1.5, "1", True, None]},
    ),
    (of(ScriptedEnv, index=0), {"episodes": [*LIST_OF_ENDS, *([(x, "truncated")] for x in COUNT)]}),
    (
        of(ScriptedEnv, index=0, episodes=[(2, "truncated")]),
        {"index": [None, "1", NAN, INF, True], "action_space": [3, "x", {}]},
    ),
    (krp.average_weights, {"models": [None, 3, "ab", [], [3], network(), {"a": network()}, [network(), network(4)]]}),
    (presets.get, {"name": [3, None, NAN, ["a"], {}, "", "cartpol"]}),
    (of(presets.assign, config={}, value=3), {"key": [3, None, "", "a..b", ".a", "a.", ["a"]]}),
    (of(presets.assign, key="a", value=3), {"config": [3, None, "x", []]}),
    (
        of(presets.make_env, config=presets.get("cartpole")),
        {"validation": [1, "yes", None], "num_envs": COUNT},
    ),
    (configured("cartpole", presets.make_env), {"env.id": [3, None, ""], "env.kwargs": [3, None, {3: 4}]}),
    (
        configured("cartpole"),
        {
            **{name: [3, "PPO", [], False] for name in ("agent", "network", "optimizer", "env", "compile", "fit")},
            **{name: [3, None, ["a"]] for name in ("name", "description", "version")},
            "seed": [*NATURAL, None, 2**31],
            "env.id": [3, None, "", True],
            "env.num_envs": [*NATURAL, None, 0],
            "env.kwargs": [None, 3, {3: 4}],
            "env.validation_kwargs": [None, "x", {None: 4}],
            "agent.class": [None, 3, "ppo", "HER", ["PPO"]],
            "agent.discount": [NAN, INF, "x", True, [1]],
            "agent.normalize_observations": BOOL,
            "optimizer.class": ["adam", None, 3],
            "optimizer.learning_rate": [*NUMBER, 0, None],
            "optimizer.learning_rate.initial_learning_rate": [*NUMBER, None],
            "optimizer.learning_rate.decay_steps": [*NUMBER, 0],
            "optimizer.epsilon": [*NUMBER, None],
            "optimizer.global_clipnorm": NUMBER,
            "compile.jit_compile": ["yes", None, 3],
            "compile.run_eagerly": BOOL,
            "fit.epochs": [*NATURAL, None, 0],
            "fit.validation_freq": [*NATURAL, None, 0],
        },
    ),
    (configured("cartpole", presets.complete), {"compile.steps_per_execution": ["x"], "fit.total_timesteps": [3]}),
    (configured("cartpole", presets.build), {"agent.gamma": [0.9], "optimizer.lr": [0.1], "agnet": [{}]}),
]
CASES = [(made, name, value) for made, table in TABLE for name, values in table.items() for value in values]


@pytest.mark.parametrize(("made", "name", "value"), CASES, ids=label)
def test_a_wrong_value_is_named(made, name, value):
    with pytest.raises((ValueError, TypeError), match=rf"`{name}.*Received: ") as caught:
        made(**{name: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "arguments", "meaning"),
    [
        (
            check_env,
            {"env": "CartPole-v1", "n_eval_episodes": 3},
            "`check_env`. Use `episodes`. Received: n_eval_episodes=3",
        ),
        (check_env, {"env": "CartPole-v1", "max_step": 3}, "Did you mean `max_steps`? Received"),
        (
            HyperRecurrentPPO,
            {"env": "tf/CartPole-v1", "n_steps": 3},
            "Did you mean `rollout_steps`? Received: n_steps=3",
        ),
        (HyperRecurrentPPO, {"env": "tf/CartPole-v1", "units": 3}, "the tuner's `hyperparameters`. Received: units=3"),
    ],
)
def test_arguments_that_there_are_not(function, arguments, meaning):
    with pytest.raises(TypeError) as caught:
        function(**arguments)
    assert meaning in str(caught.value)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("agent.gamma", "agent.discount"),
        ("agent.ent_coef", "agent.entropy_coef"),
        ("agent.n_steps", "agent.rollout_steps"),
        ("agent.n_envs", "env.num_envs"),
        ("agent.learning_rate", "optimizer.learning_rate"),
        ("optimizer.lr", "optimizer.learning_rate"),
        ("agent.max_grad_norm", "optimizer.global_clipnorm"),
        ("agent.seed", "seed"),
        ("gamma", "agent.discount"),
        ("sede", "seed"),
    ],
)
def test_keys_of_other_libraries_are_understood(key, meant):
    with pytest.raises(ValueError, match=rf"no `{key}`\. Did you mean `{meant}`.*\? Received: {key}=3$"):
        configured("cartpole")(**{key: 3})


@pytest.mark.parametrize("key", [3, None, True])
def test_keys_of_a_configuration_are_strings(key):
    with pytest.raises(ValueError, match=rf"no `{key}`\..* Received: {key}=1$"):
        presets.check({**presets.get("cartpole"), key: 1})


def test_numbers_that_an_optimizer_takes():
    for key, value in {
        "learning_rate": 1,
        "epsilon": 0,
        "global_clipnorm": None,
        "clipvalue": 2,
        "weight_decay": 0.0,
    }.items():
        presets.check({"env": {"id": "x"}, "agent": {"class": "PPO"}, "optimizer": {"class": "Adam", key: value}})
    for kind in ("Adafactor", "Ftrl", "Muon"):  # with negative defaults, and lists
        full = presets.complete({"env": {"id": "x"}, "agent": {"class": "PPO"}, "optimizer": {"class": kind}})
        presets.check(full)
    warm = SCHEDULE | {"initial_learning_rate": 0.0, "warmup_target": 0.1, "warmup_steps": 10}
    whole = {"env": {"id": "x"}, "agent": {"class": "PPO"}, "optimizer": {"class": "SGD", "learning_rate": 1}}
    presets.check(whole | {"optimizer": {"class": "SGD", "learning_rate": warm}})
    assert float(presets.build(whole).optimizer.learning_rate) == 1.0


def test_assigning_in_vain_changes_nothing():
    config = presets.get("cartpole")
    for key in ("agent.class.x", "agent..x"):
        with pytest.raises(ValueError, match="Received: "):
            presets.assign(config, key, 1)
    assert config == presets.get("cartpole")


@pytest.mark.parametrize("wrong", [None, 3, "m", [3], keras.layers.Dense(3), gymnasium.spaces.Discrete(2)])
def test_weights_are_those_of_models(wrong):
    target = network()
    with pytest.raises(TypeError, match=r"`source` must be a `keras.Model`. Received: source="):
        krp.copy_weights(wrong, target)
    with pytest.raises(TypeError, match=r"`target` must be a `keras.Model`. Received: target="):
        krp.copy_weights(target, wrong)
    with pytest.raises(TypeError, match=r"`models\[1\]` must be a `keras.Model`. Received: models\[1\]="):
        krp.average_weights([target, wrong])


def test_weights_that_are_not_there_or_not_finite_are_not_handed_on():
    target, unbuilt, broken = network(), krp.PPO(), network(value=NAN)
    for name, arguments in (("source", (unbuilt, target)), ("target", (target, unbuilt))):
        with pytest.raises(ValueError, match=rf"`{name}` must be a built model, .* Received: {name}=PPO"):
            krp.copy_weights(*arguments)
    with pytest.raises(ValueError, match=r"`source` must have finite weights. Received: 'head/kernel'"):
        krp.copy_weights(broken, target)
    with pytest.raises(ValueError, match=r"`models\[1\]` must have finite weights. Received: 'head/kernel'"):
        krp.average_weights([target, broken])
    with pytest.raises(ValueError, match=r"`models\[0\]` must be a built model"):
        krp.average_weights([unbuilt, unbuilt])
    assert all((weight == 0.5).all() for weight in target.get_weights())
