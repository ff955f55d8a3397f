"""Wrong values raise an error when they are passed: layers, networks, distributions, environments, callbacks and methods.

Agents' constructors are tested in `agents/test_arguments.py`, presets, tuners, `krp.testing` and weights in
`test_wrong_values_beside.py`.
"""

import functools
import inspect

import gymnasium
import keras
import numpy as np
import pytest

import keras_rl_prob as krp
from keras_rl_prob.agents.vocabulary import constructor_arguments
from keras_rl_prob.envs import GymnasiumEnv, wrappers

COUNT = [0, -1, 1.0, 1.5, "4", True, float("nan"), np.float32(2)]
POSITIVE = [0, -1, "1", float("nan"), True]
SEED = [1.5, "1", True, [1]]
SHAPE = [0, (2, 0), 1.5, (1.5,), "3", None, True, (True,)]
UNITS = [64, "64", (0,), (1.5,), (True,), None]
PATH = [3, None, True]


@functools.cache
def cart_pole():
    return gymnasium.make("CartPole-v1")


@functools.cache
def agent():
    made = krp.DQN(krp.networks.q_network("tf/CartPole-v1", (4,)))
    made.compile(run_eagerly=True)
    made.build("tf/CartPole-v1")
    made._prepare_for = made._graphs.player = made.policy = _accepted  # no environment is stepped
    return made


def _accepted(*args):
    raise RuntimeError("the value was accepted")


def method(name, *given):
    def call(**arguments):
        getattr(krp.DQN, name)(agent(), *given, **arguments)

    call.__name__ = name
    return call


def wrapper(name):
    def wrapped(**arguments):
        needed = {
            "FinalReward": {"reward": 1},
            "RandomStart": {"max_steps": 2},
            "FrameHistory": {"past_indices": (1, 0)},
        }
        return getattr(wrappers, name)(**{"env": cart_pole()} | needed.get(name, {}) | arguments)

    wrapped.__name__ = name
    return wrapped


def of(function, **given):
    def call(**arguments):
        return function(**given | arguments)

    call.__name__ = function.__name__
    return call


NO_ENV = [3, None, "CartPole-v1"]
TABLE = [
    (krp.layers.DenseNormal, {"output_shape": SHAPE}),
    (krp.layers.DenseCategorical, {"output_shape": SHAPE}),
    (krp.layers.DenseBernoulli, {"output_shape": SHAPE}),
    (krp.layers.QValues, {"output_shape": [*SHAPE, (2, 3)]}),
    (
        of(krp.layers.CategoricalQValues, output_shape=(2,)),
        {"bounds": ["ab", [1, -1], [float("nan"), 1], [[-1, 1]] * 2, 3]},
    ),
    (
        of(krp.layers.DenseNormal, output_shape=2),
        {
            "bounds": ["ab", [1, -1], [float("nan"), 1], [[-1, 1]] * 3, 3],
            "initial_scale": [0, "1", None, float("nan"), float("inf"), True],
            "scale_activation": ["relu"],
        },
    ),
    (
        of(krp.layers.DenseCategorical, output_shape=(2, 3)),
        {"num_classes": [3, (3, 4), (0, 1), (1.5, 2), "ab", (True, True)]},
    ),
    (krp.layers.FourierFeatures, {"units": COUNT}),
    (of(krp.layers.FourierFeatures, units=3), {"scale": POSITIVE}),
    (krp.layers.NoisyDense, {"units": COUNT}),
    (of(krp.layers.NoisyDense, units=3), {"kind": ["gauss", None, 3], "sigma": [-1, float("nan"), "1", True]}),
    (krp.layers.RunningNormalization, {"clip": POSITIVE, "epsilon": [*POSITIVE, None]}),
    (krp.layers.StatefulRNN, {"cell": [None, 3, "lstm", keras.layers.Dense(3), []]}),
    (krp.layers.Unrolled, {"network": [None, 3]}),
    (of(krp.networks.feed_forward, env="tf/CartPole-v1"), {"units": UNITS}),
    (of(krp.networks.recurrent, env="tf/CartPole-v1"), {"units": COUNT, "cell": ["rnn", 3, None]}),
    (
        of(krp.networks.actor_critic, env="tf/CartPole-v1"),
        {"units": UNITS, "cell": ["rnn", 3], "critic": ["Q", None, True], "shared": [1, "yes"]},
    ),
    (of(krp.networks.q_network, env="tf/CartPole-v1"), {"units": UNITS, "cell": ["rnn", 3], "noisy": ["gauss", True]}),
    (
        of(krp.networks.linear_q, env="tf/CartPole-v1"),
        {"components": COUNT, "samples": COUNT, "gammas": [(), (0,), (-1.0,), 3, "ab", (float("nan"),)], "seed": SEED},
    ),
    (
        of(krp.distributions.BoundedNormal, loc=0.0, scale=1.0, low=-1.0, high=1.0),
        {"event_ndims": [-1, 1.5, "1", True, None], "high": [-1.0, float("nan")]},
    ),
    (krp.distributions.Joint, {"distributions": [None, 3, {}, {"a": 3}]}),
    *((wrapper(name), {"env": NO_ENV}) for name in wrappers.__all__),
    (wrapper("RandomStart"), {"max_steps": COUNT}),
    (wrapper("FireReset"), {"actions": [(), 5, [9], ["a"], [1.5], [True]]}),
    (wrapper("EpisodicLife"), {"noop": [9, "a", 1.5, -1]}),
    (wrapper("FinalReward"), {"reward": [float("nan"), float("inf"), None, "1", True, [1]]}),
    (wrapper("FrameHistory"), {"past_indices": [3, (), (1,), (0, 0), (0, -1), (0, 1.5), "01", (0, True)]}),
    (wrapper("FrameHistory"), {"axis": [2, -3, 1.0, "0", True, None]}),
    (wrapper("MaskVelocity"), {"mask": ["abc", [1], 1, [2, 0, 0, 0], [float("nan")] * 4, [[1, 0], [1]]]}),
    (wrapper("ActionMask"), {"key": [3, None, ["a"]]}),
    (
        of(krp.envs.make, env="tf/CartPole-v1"),
        {"env": [3, None, [], lambda: 3], "num_envs": COUNT, "default_num_envs": COUNT},
    ),
    (krp.envs.spaces_of, {"env": [3, None]}),
    (
        of(krp.envs.make_native, id="tf/CartPole-v1", num_envs=2),
        {"id": ["tf/Nothing", 3, None, ["a"]], "num_envs": COUNT, "max_episode_steps": COUNT},
    ),
    (of(krp.envs.make_native, id="tf/Recall-v0", num_envs=2), {"delay": [-1, 1.5, "1", True, None]}),
    (of(krp.envs.spec, env_id="CartPole-v1"), {"max_episode_steps": COUNT}),
    (krp.envs.make_one, {"env": [3, None]}),
    (GymnasiumEnv, {"vector_env": [3, None, "CartPole-v1"]}),
    (
        of(krp.envs.record_episodes, env="CartPole-v1"),
        {"env": [3, None, lambda: 3], "policy": [3, "left"], "episodes": COUNT, "seed": [*SEED, -1]},
    ),
    (krp.callbacks.EnvStepLimit, {"limit": COUNT}),
    (
        of(krp.callbacks.EvaluateReturn, env="tf/CartPole-v1"),
        {"every": COUNT, "episodes": COUNT, "seed": SEED, "name": [3, None]},
    ),
    (
        of(krp.callbacks.RecordVideo, env="CartPole-v1", path="a.gif"),
        {
            "env": [3, None, "Nothing-v0"],
            "path": ["a.txt", "a", "{x}.gif", *PATH],
            "every": COUNT,
            "max_frames": COUNT,
            "seed": SEED,
        },
    ),
    (
        of(krp.callbacks.record_episode, agent=None, env="CartPole-v1", path="a.gif"),
        {"agent": [3, None], "env": [3, None], "path": ["a.txt", *PATH], "max_frames": COUNT, "seed": SEED},
    ),
    (of(krp.callbacks.BestCheckpoint, filepath="a.keras"), {"mode": ["best", None, 3], "monitor": [3, None]}),
    (krp.callbacks.Backup, {"backup_dir": PATH}),
    (krp.callbacks.RunLog, {"path": PATH}),
    (krp.callbacks.PlotLearningCurve, {"path": PATH}),
    (krp.callbacks.RolloutHistograms, {"log_dir": PATH}),
    (
        of(krp.callbacks.plot_learning_curves, path="a.png"),
        {"runs": [{}, None, 3, ["a.csv"], {"a": "a.csv"}, {"a": []}]},
    ),
    (
        of(krp.callbacks.plot_exploration, explorations={"a": krp.EpsilonGreedy()}, env_steps=9, path="a.png"),
        {"explorations": [{}, None, krp.EpsilonGreedy(), [krp.EpsilonGreedy()], {"a": 0.1}], "env_steps": COUNT},
    ),
    (
        method("fit", "tf/CartPole-v1"),
        {
            **dict.fromkeys(("epochs", "steps_per_epoch", "validation_episodes", "validation_freq", "num_envs"), COUNT),
            "initial_epoch": [-1, 1.5, "1", True, None],
            "seed": SEED,
        },
    ),
    (method("evaluate", "tf/CartPole-v1"), {"episodes": COUNT, "max_steps": COUNT, "seed": SEED}),
    (
        method("compile"),
        {"optimizer": [3, "nothing", True], "steps_per_execution": COUNT, "jit_compile": ["yes", 3, None]},
    ),
    (method("policy"), {"num_envs": COUNT, "seed": SEED}),
    (method("export", "x"), {"format": ["h5", 3]}),
    (method("export"), {"filepath": PATH}),
    (method("build"), {"env": [3, None]}),
    (method("add_experience"), {"episodes": [3, None, [3]]}),
    (krp.DQN, {"noisy": ["gauss", True, 3], "frame_axis": [1.5, "0", True]}),
]
CASES = [(made, name, value) for made, table in TABLE for name, values in table.items() for value in values]


def label(x):
    return x if isinstance(x, str) else getattr(x, "__name__", None) or repr(x)[:30]


@pytest.mark.parametrize(("made", "name", "value"), CASES, ids=label)
def test_a_wrong_value_is_named(made, name, value):
    if getattr(made, "__name__", "") == "record_episode" and name != "agent":
        made = functools.partial(made, agent=agent())
    with pytest.raises((ValueError, TypeError), match=rf"(?s)`{name}.*Received: ") as caught:
        made(**{name: value})
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_are_numbers():
    two, half = np.int64(2), np.float32(0.5)
    made = [
        krp.layers.DenseCategorical((two, two)),
        krp.layers.DenseNormal(two, initial_scale=half),
        krp.layers.FourierFeatures(two, half),
        krp.layers.NoisyDense(two, sigma=half),
        krp.layers.RunningNormalization(clip=half, epsilon=half),
    ]
    for layer in made:
        assert not any(isinstance(value, np.generic) for value in layer.get_config().values())
    krp.networks.q_network("tf/CartPole-v1", (two,), cell="lstm")
    krp.networks.recurrent("tf/CartPole-v1", units=two)
    assert krp.envs.make("tf/CartPole-v1", default_num_envs=two).num_envs == 2
    assert krp.envs.spec("CartPole-v1", max_episode_steps=two).max_episode_steps == 2
    assert wrappers.FrameHistory(cart_pole(), (two, 0), axis=np.int64(-1)).observation_space.shape == (4, 2)
    assert len(krp.envs.record_episodes("CartPole-v1", episodes=two, seed=two)) == 2
    krp.callbacks.EvaluateReturn("tf/CartPole-v1", two, two, seed=two)
    assert type(krp.callbacks.EnvStepLimit(two).limit) is int
    krp.distributions.BoundedNormal(0.0, 1.0, -1.0, 1.0, event_ndims=np.int64(0))
    dqn = krp.DQN(replay=krp.ReplaySettings(frame_axis=np.int64(0)))
    assert type(dqn.replay.frame_axis) is int
    dqn.compile("sgd", steps_per_execution=two)


ENV = {"env": "tf/CartPole-v1"}
KINDS = [
    *((made, {}) for name in krp.agents.__all__ if isinstance(made := getattr(krp.agents, name), type)),
    *((make, ENV) for make in (krp.networks.feed_forward, krp.networks.recurrent, krp.networks.q_network)),
    *((head, {"output_shape": 2}) for head in (krp.layers.DenseNormal, krp.layers.DenseCategorical)),
    (krp.layers.RunningNormalization, {}),
    (method("compile"), {}),
    (method("evaluate"), ENV),
    (method("policy"), {}),
]
SWITCHES = {krp.DQN.compile: ["run_eagerly"], krp.DQN.evaluate: ["deterministic"], krp.DQN.policy: ["deterministic"]}


def _is_ours(kind):
    return kind.__module__.startswith("keras_rl_prob") and "__init__" in vars(kind)


def switches(make):
    """Names of the arguments of `make` that are True or False by default."""
    if make.__name__ in ("compile", "evaluate", "policy"):
        return SWITCHES[getattr(krp.DQN, make.__name__)]
    kinds = [kind.__init__ for kind in make.__mro__ if _is_ours(kind)] if isinstance(make, type) else [make]
    parameters = {name: p for kind in reversed(kinds) for name, p in inspect.signature(kind).parameters.items()}
    known = (
        constructor_arguments(make, krp.Agent) if isinstance(make, type) and issubclass(make, krp.Agent) else parameters
    )
    either = ("prioritized",)  # a bool or settings
    return [n for n in dict.fromkeys(known) if isinstance(parameters[n].default, bool) and n not in either]


@pytest.mark.parametrize(
    ("make", "given", "name"),
    [
        pytest.param(make, given, name, id=f"{make.__name__} {name}")
        for make, given in KINDS
        if make not in (krp.Agent, krp.agents.Policy)
        for name in switches(make)
    ],
)
def test_a_switch_is_a_bool(make, given, name):
    with pytest.raises(ValueError, match=f"`{name}` must be a bool. Received: {name}=1"):
        make(**given, **{name: 1})
