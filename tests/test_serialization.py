"""Every class that Keras can serialise: config -> JSON -> object -> config, with every argument off its default."""

import inspect
import json
import math

import keras
import pytest

import keras_rl_prob as krp
from keras_rl_prob import agents, layers

PREFIX = "keras_rl_prob>"
HEAD = {
    "use_bias": False,
    "kernel_initializer": "zeros",
    "bias_initializer": "ones",
    "kernel_regularizer": keras.regularizers.L2(0.1),
    "bias_regularizer": keras.regularizers.L1(0.2),
    "name": "head",
    "kernel_constraint": keras.constraints.MaxNorm(0.5),
    "bias_constraint": keras.constraints.NonNeg(),
}
AGENT = {
    "rollout_steps": 64,
    "minibatches": krp.Minibatches(2, sequence_length=16, target_kl=0.05),
    "update_epochs": 3,
    "discount": keras.optimizers.schedules.PolynomialDecay(0.9, 100, 0.99),
    "gae_lambda": keras.optimizers.schedules.PolynomialDecay(0.9, 100, 0.8),
    "clip_ratio": krp.Clipping(keras.optimizers.schedules.PolynomialDecay(0.2, 100, 0.1), value_clip=0.3),
    "value_coef": krp.ValueLoss(0.25, huber_delta=1.0),
    "entropy_coef": keras.optimizers.schedules.ExponentialDecay(0.02, 10, 0.5),
    "normalize_advantages": False,
    "normalize_observations": True,
    "normalize_rewards": False,
    "kl_penalty": krp.KLPenalty(0.02),
    "name": "agent_x",
}


POLICY_GRADIENT = {
    name: AGENT[name]
    for name in (
        "discount",
        "value_coef",
        "entropy_coef",
        "normalize_observations",
        "normalize_rewards",
        "name",
        "rollout_steps",
        "gae_lambda",
    )
}
Q_LEARNING = {
    "discount": 0.9,
    "exploration": krp.EpsilonGreedy(0.3),
    "huber_delta": 2.0,
    "normalize_observations": True,
    "name": "agent_x",
}
DQN = {
    **Q_LEARNING,
    "rollout_steps": 20,
    "updates": 3,
    "dueling": True,
    "noisy": "independent",
    "target_update": 0.01,
}
REPLAY = {
    "capacity": 5000,
    "batch_size": 16,
    "learning_starts": 100,
    "n_step": 2,
    "reward_clip": 1.0,
    "online_updates": True,
    "poisson_updates": True,
    "frame_axis": 0,
    "checkpoint_replay": False,
}

SEQUENCES = {"prioritized": False, "sequence_length": 8, "burn_in": 3, "period": 4, "eta": 0.5}

ACTOR_CRITIC = {
    "critic": krp.networks.critic("tf/Pendulum-v1", (4,)),
    "rollout_steps": 20,
    "updates": 3,
    "discount": 0.9,
    "target_update": 0.01,
    "replay": krp.ReplaySettings(**REPLAY),
    "normalize_observations": True,
    "name": AGENT["name"],
}


def q_network(cell=None):
    return krp.networks.q_network("tf/CartPole-v1", (4, 4), cell=cell, dueling=True, noisy="independent")


def network(recurrent):
    make = krp.networks.recurrent if recurrent else krp.networks.feed_forward
    return make("tf/CartPole-v1", units=4 if recurrent else (4,))


TABLE = {
    layers.DenseBernoulli: lambda: {"output_shape": (3, 2), **HEAD},
    layers.DenseCategorical: lambda: {"output_shape": (2, 5), "num_classes": [5, 3], **HEAD},
    layers.DenseNormal: lambda: {
        "output_shape": (2,),
        "bounds": [[-1.0, 1.0], [0.0, 2.0]],
        "hard_bounds": True,
        "state_dependent_scale": True,
        "loc_activation": "tanh",
        "scale_activation": "exponential",
        "initial_scale": 0.5,
        "scale_initializer": keras.initializers.Constant(0.5),
        "scale_regularizer": keras.regularizers.L1(0.3),
        "scale_constraint": keras.constraints.MaxNorm(0.4),
        **HEAD,
    },
    layers.DenseGSDE: lambda: {
        "output_shape": (2,),
        "noise_steps": 5,
        "bounds": [[-1.0, 1.0], [0.0, 2.0]],
        "hard_bounds": True,
        "loc_activation": "tanh",
        "initial_scale": 0.5,
        **HEAD,
    },
    layers.Dueling: lambda: {"name": "dueling_x"},
    layers.FourierFeatures: lambda: {"units": 5, "scale": 0.5, "name": "features"},
    layers.NoisyDense: lambda: {"units": 3, "activation": "tanh", "kind": "independent", "sigma": 0.1, "name": "noisy"},
    layers.QValues: lambda: {"output_shape": (3,), "name": "values", "dtype": "mixed_bfloat16", "trainable": False},
    layers.CategoricalQValues: lambda: {
        "output_shape": (3,),
        "bounds": [-1.0, 2.5],
        "name": "means",
        "dtype": "mixed_bfloat16",
        "trainable": False,
    },
    layers.RunningNormalization: lambda: {"center": False, "clip": None, "epsilon": 1e-3, "name": "n"},
    layers.StatefulRNN: lambda: {"cell": keras.layers.GRUCell(3, reset_after=False), "name": "memory"},
    agents.KLPenalty: lambda: {
        "target": 0.05,
        "initial_beta": 0.0,
        "tolerance": 0.5,
        "cutoff_factor": 3.0,
        "cutoff_coef": 7.0,
    },
    agents.EpsilonGreedy: lambda: {
        "epsilon": keras.optimizers.schedules.ExponentialDecay(0.9, 10, 0.5),
        "minimum": 0.1,
        "policy": keras.activations.relu,  # any importable function
        "actions": (0, 1, 1),
        "perturb_every": 50,
        "perturb_by": 0.2,
    },
    agents.Boltzmann: lambda: {"temperature": keras.optimizers.schedules.PolynomialDecay(2.0, 10, 0.5)},
    agents.PrioritizedReplay: lambda: {
        "alpha": 0.5,
        "beta": keras.optimizers.schedules.PolynomialDecay(0.4, 10, 1.0),
        "epsilon": 0.1,
    },
    agents.ReplaySettings: lambda: {**REPLAY, "prioritized": krp.PrioritizedReplay(0.7)},
    agents.SequenceReplaySettings: lambda: {**REPLAY, **SEQUENCES},
    agents.Minibatches: lambda: {
        "count": 2,
        "sequence_length": 16,
        "target_kl": 0.05,
        "kl_by_sequence": True,
        "initial_state": "refreshed",
    },
    agents.Clipping: lambda: {
        "clip_ratio": keras.optimizers.schedules.PolynomialDecay(0.2, 100, 0.1),
        "value_clip": 0.3,
        "log_prob_clip": 7.0,
    },
    agents.ValueLoss: lambda: {
        "coef": keras.optimizers.schedules.PolynomialDecay(0.5, 100, 0.1),
        "huber_delta": 2.0,
        "target": "monte_carlo",
    },
    agents.Normalization: lambda: {"clip": 3.0},
    agents.VTrace: lambda: {"lambda_": 0.9, "clip_rho": math.inf, "clip_c": 2.0, "clip_pg_rho": 3.0},
    agents.IMPALA: lambda: {
        "network": network(False),
        "vtrace": krp.VTrace(0.9, clip_rho=2.0),
        "clip_ratio": keras.optimizers.schedules.PolynomialDecay(0.2, 100, 0.1),
        "lag": 2,
        **{key: value for key, value in POLICY_GRADIENT.items() if key != "gae_lambda"},
        "normalize_advantages": True,
        "previous_action_and_reward": True,
    },
    agents.RolloutReplaySettings: lambda: {
        "capacity": 5000,
        "ratio": 2,
        "learning_starts": 100,
        "frame_axis": 0,
        "checkpoint_replay": False,
    },
    agents.ACER: lambda: {
        "network": krp.networks.actor_critic("tf/CartPole-v1", (4,), critic="q"),
        "replay": krp.RolloutReplaySettings(5000, ratio=2),
        "retrace_lambda": 0.9,
        "clip_rho": math.inf,
        "trust_region": None,
        "average_decay": 0.9,
        "previous_action_and_reward": True,
        **{key: value for key, value in POLICY_GRADIENT.items() if key != "gae_lambda"},
        "value_coef": keras.optimizers.schedules.PolynomialDecay(0.5, 100, 0.25),
    },
    agents.A2C: lambda: {"network": network(False), **POLICY_GRADIENT, "normalize_advantages": True},
    agents.A3C: lambda: {"network": network(False), **POLICY_GRADIENT, "normalize_advantages": True},
    agents.Reinforce: lambda: {
        "network": network(False),
        "max_episode_steps": 30,
        "baseline": True,
        "normalize_returns": False,
        **{key: value for key, value in POLICY_GRADIENT.items() if key not in ("rollout_steps", "gae_lambda")},
        "normalize_rewards": True,
    },
    agents.DQN: lambda: {
        "network": q_network(),
        **DQN,
        "double": True,
        "replay": krp.ReplaySettings(**REPLAY, prioritized=krp.PrioritizedReplay(0.7)),
        "rescale_values": True,
    },
    agents.QRDQN: lambda: {
        "network": krp.networks.q_network("tf/CartPole-v1", (4, 4), dueling=True, noisy="independent", quantiles=3),
        **DQN,
        "double": True,
        "replay": krp.ReplaySettings(**REPLAY),
        "rescale_values": True,
        "quantiles": 3,
    },
    agents.C51: lambda: {
        "network": krp.networks.q_network("tf/CartPole-v1", (4, 4), dueling=True, noisy="independent", atoms=3),
        **{key: value for key, value in DQN.items() if key != "huber_delta"},
        "double": True,
        "replay": krp.ReplaySettings(**REPLAY),
        "rescale_values": True,
        "atoms": 3,
        "value_bounds": [0.0, 5.0],
    },
    agents.SAC: lambda: {
        "network": krp.networks.stochastic_actor("tf/Pendulum-v1", (4,)),
        **ACTOR_CRITIC,
        "temperature": krp.LearnedTemperature(-3.0),
    },
    agents.LearnedTemperature: lambda: {"target_entropy": -3.0, "initial": 0.5, "discrete_target": 0.9},
    agents.TD3: lambda: {
        "network": krp.networks.deterministic_actor("tf/Pendulum-v1", (4,)),
        **ACTOR_CRITIC,
        "policy_period": 3,
        "target_noise": 0.3,
        "noise_clip": 0.4,
    },
    agents.RecurrentSAC: lambda: {
        "network": krp.networks.stochastic_actor("tf/Pendulum-v1", (4,), "simple"),
        **ACTOR_CRITIC,
        "critic": krp.networks.critic("tf/Pendulum-v1", (4,), 3, "simple"),
        "replay": krp.SequenceReplaySettings(**REPLAY, **SEQUENCES),
        "temperature": 0.5,
        "previous_action_and_reward": True,
    },
    agents.RecurrentTD3: lambda: {
        "network": krp.networks.deterministic_actor("tf/Pendulum-v1", (4,), cell="simple"),
        **ACTOR_CRITIC,
        "critic": krp.networks.critic("tf/Pendulum-v1", (4,), 3, "simple"),
        "replay": krp.SequenceReplaySettings(**REPLAY, **SEQUENCES),
        "policy_period": 3,
        "target_noise": 0.3,
        "noise_clip": 0.4,
        "previous_action_and_reward": True,
    },
    agents.RecurrentDQN: lambda: {
        "network": q_network("lstm"),
        **DQN,
        "double": False,
        "replay": krp.SequenceReplaySettings(**REPLAY, **SEQUENCES),
        "rescale_values": False,
        "previous_action_and_reward": True,
    },
    agents.LinearQ: lambda: {
        "network": krp.networks.q_network("tf/CartPole-v1", (4,)),
        **Q_LEARNING,
        "reward_clip": 1.0,
        "rollout_steps": 3,
    },
    agents.RandomAgent: lambda: {"network": network(False), "rollout_steps": 3, "name": "agent_x"},
    agents.PPO: lambda: {"network": network(False), **AGENT},
    agents.RecurrentPPO: lambda: {"network": network(True), **AGENT, "previous_action_and_reward": True},
}
NOT_SERIALIZABLE = {
    layers.Head,
    layers.Unrolled,
    agents.Agent,
    agents.Policy,
    agents.TrainingHint,
}  # abstract, created again from the network, or a category of warnings
each_class = pytest.mark.parametrize("kind", TABLE, ids=lambda kind: kind.__name__)


def ours():
    """The classes of this library that are registered with Keras."""
    registered = keras.saving.get_custom_objects().items()
    return {
        kind for name, kind in registered if name.startswith(PREFIX) and kind.__module__.startswith("keras_rl_prob.")
    }


def test_every_registered_class_is_in_the_table():
    assert ours() == set(TABLE)


@pytest.mark.parametrize("package", [layers, agents])
def test_every_public_class_is_in_the_table_or_known_not_to_be_serialised(package):
    public = {getattr(package, name) for name in package.__all__}
    assert {kind for kind in public if inspect.isclass(kind)} <= set(TABLE) | NOT_SERIALIZABLE


@each_class
def test_names_are_registered_under_the_package(kind):
    assert keras.saving.get_registered_name(kind) == PREFIX + kind.__name__
    assert keras.saving.get_registered_object(PREFIX + kind.__name__) is kind


def constructor_arguments(kind):
    """Arguments of a class's constructor with their defaults, those that go up through `**kwargs` included."""
    arguments = {}
    for base in kind.__mro__:
        if not base.__module__.startswith("keras_rl_prob.") or "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(base.__init__).parameters.values())[1:]
        for parameter in parameters:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                arguments.setdefault(parameter.name, parameter.default)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return arguments


@each_class
def test_the_table_gives_every_argument_another_value_than_its_default(kind):
    given, wanted = TABLE[kind](), constructor_arguments(kind)
    assert set(wanted) <= set(given)
    assert not [name for name, default in wanted.items() if given[name] is default or given[name] == default]


@each_class
def test_config_survives_json_and_the_constructor(kind):
    original = kind(**TABLE[kind]())
    config = original.get_config()
    assert set(TABLE[kind]()) <= set(config)
    again = kind.from_config(json.loads(json.dumps(config)))
    assert type(again) is kind
    assert json.dumps(again.get_config()) == json.dumps(config)


@each_class
def test_config_holds_what_was_given_not_the_defaults(kind):
    config = kind(**TABLE[kind]()).get_config()
    assert not [name for name, default in constructor_arguments(kind).items() if config[name] == default]


@each_class
def test_keras_serialises_it_without_custom_objects(kind):
    original = kind(**TABLE[kind]())
    text = json.dumps(keras.saving.serialize_keras_object(original))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(again) is kind
    assert json.dumps(again.get_config()) == json.dumps(original.get_config())


@pytest.mark.parametrize("kind", [k for k in TABLE if issubclass(k, krp.Agent)], ids=lambda kind: kind.__name__)
def test_agents_are_copied_with_their_arguments(kind):
    given = TABLE[kind]()
    original = kind(**given)
    again = kind.from_config(json.loads(json.dumps(original.get_config())))
    for name, value in given.items():
        if not hasattr(again, name) or name in ("network", "critic"):
            continue  # kept under another name, or a network, whose configuration has lists where it had tuples
        copied = getattr(again, name)
        if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
            assert copied.get_config() == value.get_config()
            assert float(copied(5)) == float(value(5))
        elif hasattr(value, "get_config"):
            assert type(copied) is type(value)
            assert copied.get_config() == value.get_config()
        else:
            assert copied == value
    assert again.network is not original.network
    assert [w.shape for w in again.network.weights] == [w.shape for w in original.network.weights]


def test_defaults_survive_too():
    for kind in (krp.PPO, krp.RecurrentPPO, krp.KLPenalty):
        config = kind().get_config()
        assert kind.from_config(json.loads(json.dumps(config))).get_config() == config
