"""The search space: the agents that it builds, without training them."""

import inspect
import sys

import gymnasium
import keras
import keras_tuner as kt
import numpy as np
import pytest

import keras_rl_prob as krp
from keras_rl_prob.tuners import HyperRecurrentPPO

ENV = "tf/CartPole-v1"
OBJECTIVE = kt.Objective("val_return", "max")

pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated, :DeprecationWarning:keras_tuner")


@pytest.fixture(scope="module")
def hypermodel():
    return HyperRecurrentPPO(ENV, rollout_steps=16)


def parameters(**values):
    """`HyperParameters` that hold some values from the start, as those of a trial do."""
    hp = kt.HyperParameters()
    for name, value in values.items():
        hp.Fixed(name, value)
    return hp


def cells(agent):
    return [type(layer.cell) for layer in agent.network.layers if isinstance(layer, krp.layers.StatefulRNN)]


def test_the_defaults_are_those_of_the_agent(hypermodel):
    hp = kt.HyperParameters()
    agent = hypermodel.build(hp)
    defaults = {name: p.default for name, p in inspect.signature(krp.PPO.__init__).parameters.items()}
    config = agent.get_config()
    for name in set(defaults) - {"self", "network", "rollout_steps", "name"}:
        assert config[name] == defaults[name], name
    stock = krp.RecurrentPPO()
    stock.compile()
    assert agent.optimizer.get_config() | {"name": None} == stock.optimizer.get_config() | {"name": None}
    stock.build(ENV)
    assert [w.shape for w in agent.network.weights] == [w.shape for w in stock.network.weights]
    assert agent.rollout_steps == 16
    assert set(hp.values) == {
        "memory",
        "units",
        "encoder_layers",
        "shared",
        "learning_rate",
        "entropy_coef",
        "clip_ratio",
        "gae_lambda",
        "discount",
        "update_epochs",
        "minibatches",
        "normalize_observations",
    }


def test_the_values_of_a_trial_reach_the_agent(hypermodel):
    numbers = {"minibatches": 8, "update_epochs": 2, "discount": 0.95, "gae_lambda": 0.9, "clip_ratio": 0.15}
    numbers |= {"entropy_coef": 0.002, "normalize_observations": True}
    architecture = {"memory": "gru", "units": 32, "encoder_layers": 2, "shared": True}
    agent = hypermodel(parameters(**numbers, **architecture, learning_rate=2e-3))
    assert {name: agent.get_config()[name] for name in numbers} == numbers
    assert float(agent.optimizer.learning_rate) == pytest.approx(2e-3)
    assert cells(agent) == [keras.layers.GRUCell]
    hidden = [layer for layer in agent.network.layers if type(layer) is keras.layers.Dense and layer.units != 1]
    assert [layer.units for layer in hidden] == [32, 32]
    assert next(layer for layer in agent.network.layers if isinstance(layer, krp.layers.StatefulRNN)).cell.units == 32


@pytest.mark.parametrize(("memory", "cell"), [("lstm", keras.layers.LSTMCell), ("simple", keras.layers.SimpleRNNCell)])
def test_memory(hypermodel, memory, cell):
    assert cells(hypermodel.build(parameters(memory=memory))) == [cell, cell]


def test_no_memory(hypermodel):
    assert cells(hypermodel.build(parameters(memory="none"))) == []


def test_memory_that_does_not_exist(hypermodel):
    message = r"must be one of \['lstm', 'gru', 'simple', 'none'\]. Received: memory='elephant'"
    with pytest.raises(ValueError, match=message):
        hypermodel.build(parameters(memory="elephant"))


@pytest.mark.parametrize(("rollout_steps", "choices"), [(16, [1, 2, 4, 8]), (100, [1, 2, 4]), (6, [1, 2]), (7, [1])])
def test_minibatches_fit_any_number_of_environments(rollout_steps, choices):
    hypermodel = HyperRecurrentPPO(ENV, rollout_steps=rollout_steps)
    hp = kt.HyperParameters()
    hypermodel.build(hp)
    (entry,) = (entry for entry in hp.space if entry.name == "minibatches")
    assert entry.values == choices
    assert entry.default == min(4, choices[-1])
    for minibatches in choices:
        agent = hypermodel.build(parameters(minibatches=minibatches))
        for num_envs in (1, 3, 32):
            assert agent.updates_per_rollout(num_envs) == 4 * minibatches


def test_agents_are_built_compiled_and_without_xla(hypermodel):
    agent = hypermodel.build(kt.HyperParameters())
    assert agent.built
    assert agent.compiled
    assert agent.get_compile_config()["jit_compile"] is False
    with_xla = HyperRecurrentPPO(ENV, jit_compile="auto").build(kt.HyperParameters())
    assert with_xla.get_compile_config()["jit_compile"] == "auto"
    assert with_xla.rollout_steps == 128


def test_agents_take_a_build_config_and_the_weights_of_another(hypermodel, tmp_path):
    trained, fresh = hypermodel.build(kt.HyperParameters()), hypermodel.build(kt.HyperParameters())
    variables = trained.network.trainable_variables
    trained.optimizer.apply([keras.ops.ones_like(variable) for variable in variables], variables)
    trained.save_weights(tmp_path / "checkpoint.weights.h5")
    fresh.build_from_config(trained.get_build_config())  # as `Hyperband` does with every agent
    fresh.load_weights(tmp_path / "checkpoint.weights.h5")
    loaded, saved = ([*agent.weights, *agent.optimizer.variables] for agent in (fresh, trained))
    for a, b in zip(loaded, saved, strict=True):
        assert (a.numpy() == b.numpy()).all()


def test_a_derived_class_may_be_a_hypermodel_of_keras_tuner():
    class Mine(HyperRecurrentPPO, kt.HyperModel):
        pass

    mine = Mine(ENV)
    assert mine.tunable  # set by its constructor
    hp = kt.HyperParameters()
    assert isinstance(mine.build(hp), krp.RecurrentPPO)
    assert len(hp.values) == 12


def test_any_space():
    spaces = gymnasium.spaces
    observation = spaces.Dict({"image": spaces.Box(0, 255, (32, 32, 1), "uint8"), "speed": spaces.Box(-1.0, 1.0, (3,))})
    action = spaces.Tuple((spaces.Discrete(3), spaces.Box(-1.0, 1.0, (2,))))
    agent = HyperRecurrentPPO((observation, action)).build(kt.HyperParameters())
    assert agent.observation_space == observation
    assert agent.action_space == action


def test_the_environment_is_closed_if_it_was_made_here():
    closed = []

    class Env(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1.0, 1.0, (3,))
        action_space = gymnasium.spaces.Discrete(2)

        def close(self):
            closed.append(self)

    HyperRecurrentPPO(Env)
    assert len(closed) == 1
    mine = Env()
    HyperRecurrentPPO(mine)
    assert mine not in closed


@pytest.mark.parametrize("missing", ["keras_tuner", "tensorboard"])
def test_what_is_not_installed_is_said_at_once(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf'pip install "keras_rl_prob\[tuner\]". Missing: {missing}$'):
        HyperRecurrentPPO(ENV)


@pytest.mark.parametrize("rollout_steps", [0, 2.5])
def test_rollout_steps(rollout_steps):
    with pytest.raises(ValueError, match=f"`rollout_steps` must be a positive integer. Received: .*{rollout_steps}"):
        HyperRecurrentPPO(ENV, rollout_steps=rollout_steps)


def test_the_users_hyperparameters_take_precedence(hypermodel, tmp_path):
    hp = kt.HyperParameters()
    hp.Fixed("memory", "gru")
    hp.Choice("units", [4, 8])
    tuner = kt.RandomSearch(
        hypermodel, OBJECTIVE, 9, hyperparameters=hp, tune_new_entries=False, seed=0, directory=tmp_path
    )
    assert {entry.name for entry in tuner.oracle.get_space().space} == {"memory", "units"}
    seen = set()
    for index in range(2):  # all hyperparameters
        trial = tuner.oracle.create_trial(f"tuner{index}")
        assert trial.status == "RUNNING"
        agent = tuner.hypermodel.build(trial.hyperparameters)
        assert cells(agent) == [keras.layers.GRUCell] * 2
        assert agent.entropy_coef == 0.01
        assert agent.minibatches == 4
        seen.add(trial.hyperparameters.get("units"))
    assert seen == {4, 8}
    assert tuner.oracle.create_trial("tuner2").status == "STOPPED"


def test_all_else_is_searched_beside_the_users_hyperparameters(hypermodel, tmp_path):
    hp = kt.HyperParameters()
    hp.Fixed("discount", 0.9)
    tuner = kt.RandomSearch(hypermodel, OBJECTIVE, 30, hyperparameters=hp, seed=0, directory=tmp_path)
    trials = [tuner.oracle.create_trial(f"tuner{index}").hyperparameters.values for index in range(30)]
    assert {values["discount"] for values in trials} == {0.9}
    assert {values["memory"] for values in trials} == {"lstm", "gru", "none"}
    assert all(1e-4 <= values["learning_rate"] <= 3e-3 for values in trials)
    assert len({values["learning_rate"] for values in trials}) == 30
    assert sum(values["learning_rate"] < 5.5e-4 for values in trials) in range(8, 23)  # half of them, on a log scale


def test_action_masks_reach_the_heads():
    observation = gymnasium.spaces.Dict(
        {"action_mask": gymnasium.spaces.MultiBinary(3), "x": gymnasium.spaces.Box(-1.0, 1.0, (2,))}
    )
    agent = HyperRecurrentPPO((observation, gymnasium.spaces.Discrete(3))).build(kt.HyperParameters())
    masks = np.eye(3, dtype=np.int8)
    actions = agent.predict({"action_mask": masks, "x": np.zeros((3, 2), np.float32)}, verbose=0)
    np.testing.assert_array_equal(actions, [0, 1, 2])
