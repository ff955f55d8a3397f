"""From configurations to agents: every setting is used, and schedules end when training does."""

import dataclasses
from typing import ClassVar

import gymnasium
import keras
import pytest

import keras_rl_prob as krp
from keras_rl_prob import presets
from keras_rl_prob.settings import Settings


def changed(name, **changes):
    config = presets.get(name)
    for key, value in changes.items():
        presets.assign(config, key.replace("__", "."), value)
    return config


def test_every_section_arrives():
    config = changed(
        "pendulum_kl",
        agent__value_clip={"class": "PolynomialDecay", "initial_learning_rate": 0.5, "decay_steps": 3},
        agent__gae_lambda=0.5,
        optimizer={"class": "SGD", "learning_rate": 0.25, "momentum": 0.5},
        network={"builder": "recurrent", "cell": "gru", "units": 8},
        compile={"jit_compile": False, "run_eagerly": True},
    )
    agent = presets.build(config)
    assert isinstance(agent, krp.PPO)
    assert agent.clip_ratio.clip_ratio is None
    assert agent.gae_lambda == 0.5
    assert agent.kl_penalty == krp.KLPenalty(target=0.01)
    assert isinstance(agent.clip_ratio.value_clip, keras.optimizers.schedules.PolynomialDecay)
    assert float(agent.clip_ratio.value_clip(0)) == 0.5
    assert isinstance(agent.optimizer, keras.optimizers.SGD)
    assert (float(agent.optimizer.learning_rate), agent.optimizer.momentum) == (0.25, 0.5)
    assert agent.run_eagerly
    assert agent.get_compile_config()["jit_compile"] is False
    agent.build(presets.make_env(config))
    assert [tuple(x.shape) for x in keras.tree.flatten(agent.initial_state(3))] == [(3, 8)] * 2


def test_without_a_network_or_optimizer_the_library_has_its_defaults():
    agent = presets.build({"env": {"id": "tf/CartPole-v1"}, "agent": {"class": "RecurrentPPO"}})
    assert agent.network is None
    assert float(agent.optimizer.learning_rate) == pytest.approx(3e-4)
    assert agent.optimizer.global_clipnorm == 0.5


def test_open_schedules_end_with_the_training():
    config = changed(
        "cartpole",
        fit__epochs=3,
        agent__update_epochs=2,
        agent__entropy_coef={"class": "PolynomialDecay", "initial_learning_rate": 0.01, "decay_steps": None},
    )
    full = presets.complete(config)
    steps = 3 * 10 * 4 * 2  # epochs, rollouts of an epoch, minibatches, passes
    assert full["optimizer"]["learning_rate"]["decay_steps"] == steps
    assert full["agent"]["entropy_coef"]["decay_steps"] == steps
    assert config["optimizer"]["learning_rate"]["decay_steps"] is None
    assert presets.complete(full) == full
    presets.assign(full, "fit.epochs", 6)  # an explicit length of the decay is not changed
    assert presets.complete(full)["optimizer"]["learning_rate"]["decay_steps"] == steps
    presets.assign(config, "fit.steps_per_epoch", 16)
    assert presets.complete(config)["optimizer"]["learning_rate"]["decay_steps"] == 3 * 16


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("agent.minibatches", 7, "`minibatches` must divide"),
        ("agent.discount", 2, "`discount` must be between 0 and 1"),
        ("agent.rollout_steps", 1.5, "`rollout_steps` must be a positive integer"),
        ("agent.kl_penalty", {"class": "KLPenalty", "target": -1}, "`target` must be a positive number"),
        ("fit.steps_per_epoch", 7, "a multiple of the 16"),
        ("optimizer.clipnorm", 1.0, "Only one of `clipnorm`"),
        ("network.cell", "lstmm", "`cell` must be one of"),
        ("agent.zzz", 1, "has no `agent.zzz`"),
    ],
)
def test_numbers_that_do_not_fit_give_the_librarys_own_error(key, value, message):
    config = presets.get("cartpole_novel")
    presets.assign(config, key, value)
    for use in (presets.complete, presets.build):
        with pytest.raises(ValueError, match=message):
            use(config)


def test_environments():
    assert presets.make_env({"env": {"id": "CartPole-v1"}}) == "CartPole-v1"
    native = presets.make_env({"env": {"id": "tf/Recall-v0", "num_envs": 3, "kwargs": {"delay": 7}}})
    assert (native.num_envs, native.delay) == (3, 7)
    made = presets.make_env({"env": {"id": "CartPole-v1", "kwargs": {"max_episode_steps": 9}}})
    assert gymnasium.make(made).spec.max_episode_steps == 9
    assert gymnasium.spec("CartPole-v1").max_episode_steps == 500, "the registry itself was changed"
    kwargs = {"kwargs": {"g": 9.0, "max_episode_steps": 6}, "validation_kwargs": {"g": 8.0}}
    for validation, g in ((False, 9.0), (True, 8.0)):
        made = presets.make_env({"env": {"id": "Pendulum-v1", **kwargs}}, validation=validation)
        assert gymnasium.make(made).unwrapped.g == g
        assert made.max_episode_steps == 6
    assert presets.make_env({"env": {"id": "CartPole-v1"}}, validation=True) == "CartPole-v1"


@pytest.mark.parametrize(("agent", "number"), [("PPO", 32), ("DQN", 8)])
def test_where_nothing_is_said_the_agent_decides_how_many_environments(agent, number):
    config = {"env": {"id": "tf/Recall-v0", "kwargs": {"delay": 7}}, "agent": {"class": agent}}
    for said in (config, presets.complete(config)):
        assert presets.make_env(said).num_envs == number
    assert presets.make_env({"env": config["env"]}).num_envs == 32


def test_networks_are_built_for_the_environment_of_the_training():
    lake = {"id": "FrozenLake-v1", "kwargs": {"map_name": "8x8"}, "validation_kwargs": {"map_name": "4x4"}}
    config = {"env": lake, "agent": {"class": "PPO"}, "network": {"builder": "feed_forward"}}
    agent = presets.build(config)
    agent.build(presets.make_env(config))
    assert [layer.num_tokens for layer in agent.network.layers if hasattr(layer, "num_tokens")] == [64]


@pytest.fixture
def own_agent():
    """A custom registered agent with its own settings, which is unregistered afterwards."""
    before = dict(keras.saving.get_custom_objects())

    @keras.saving.register_keras_serializable("mine")
    @dataclasses.dataclass(frozen=True)
    class Heat(Settings):
        temperature: float = 1.0

    @keras.saving.register_keras_serializable("mine")
    class Hot(krp.A2C):
        settings_classes: ClassVar = {"heat": Heat}

        def __init__(self, network=None, critic=None, *, heat=Heat(2.0), **kwargs):
            super().__init__(network, **kwargs)
            self.critic, self.heat = critic, heat

    yield Hot, Heat
    keras.saving.get_custom_objects().clear()
    keras.saving.get_custom_objects().update(before)


def test_an_agent_of_ones_own_is_named_as_keras_has_it(own_agent):
    hot, heat = own_agent
    config = {"env": {"id": "tf/CartPole-v1"}, "agent": {"class": "mine>Hot", "rollout_steps": 3}}
    agent = presets.build(config)
    assert type(agent) is hot
    assert (agent.rollout_steps, agent.heat) == (3, heat(2.0))
    assert presets.complete(config)["agent"]["heat"] == {"class": "mine>Heat", "temperature": 2.0}
    assert presets.build({**config, "agent": {"class": "mine>Hot", "temperature": 5}}).heat == heat(5)
    with pytest.raises(ValueError, match=r"Did you mean `agent.rollout_steps`\? Received: agent.rollout_step=3"):
        presets.check({**config, "agent": {"class": "mine>Hot", "rollout_step": 3}})


def test_an_agent_may_have_further_networks(own_agent):
    env = {"id": "tf/Recall-v0", "kwargs": {"delay": 7}}
    config = {"env": env, "agent": {"class": "mine>Hot", "critic": {"builder": "feed_forward", "units": [3]}}}
    agent = presets.build(config)
    assert agent.network is None
    assert agent.critic.layers[-1].kernel.shape[0] == 3
    critic = presets.complete(config)["agent"]["critic"]
    assert {key: value for key, value in critic.items() if value not in (None, 0.01)} == {
        "builder": "feed_forward",
        "units": [3],
        "value": True,
    }
    for critic, message in (
        ({"builder": "feed_forward", "unit": [3]}, r"Did you mean `agent.critic.units`\?"),
        ({"builder": "feed_forwards"}, r"`agent.critic.builder` must be one of .*Did you mean `feed_forward`"),
    ):
        with pytest.raises(ValueError, match=message):
            presets.check({**config, "agent": {"class": "mine>Hot", "critic": critic}})


def test_an_agent_of_ones_own_must_be_registered():
    with pytest.raises(
        ValueError, match=r"one of .*'PPO'.*Import the module that registers it first. Received: .*'me>X'"
    ):
        presets.build({"env": {"id": "tf/CartPole-v1"}, "agent": {"class": "me>X"}})
