"""Errors of configurations: each names the place of the mistake and what was probably meant."""

import pytest

import keras_rl_prob as krp
from keras_rl_prob import presets
from keras_rl_prob.presets.configuration import REQUIRED, defaults, lookup, makers, with_defaults


def config(**changes):
    result = presets.get("cartpole_novel")
    for key, value in changes.items():
        presets.assign(result, key.replace("__", "."), value)
    return result


def test_presets_and_what_is_made_of_them_are_configurations():
    for name in presets.names():
        presets.check(presets.get(name))
    for name in ("pendulum_kl", "cartpole_novel", "cartpole_dqn", "mountaincar_linear_q", "doom_basic"):
        presets.check(presets.complete(presets.get(name)))


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("agent.clip_ration", "Did you mean `agent.clip_ratio`?"),
        ("clip_ratio", "Did you mean `agent.clip_ratio`?"),
        ("env.rollout_steps", "Did you mean `agent.rollout_steps`?"),
        ("agnet.discount", "Did you mean `agent`?"),
        ("optimiser.learning_rate", "Did you mean `optimizer`?"),
        ("fit.epoch", "Did you mean `fit.epochs`?"),
        ("network.unit", "Did you mean `network.units`?"),
        ("optimizer.learning_rate.decay_step", "Did you mean `optimizer.learning_rate.decay_steps`?"),
        ("agent.zzz", r"`agent` has \['class', 'previous_action_and_reward', 'rollout_steps'"),
        ("zzz", r"Its sections are \['agent', 'network', 'optimizer', 'env', 'compile', 'fit'\]"),
        ("agent.name", r"`agent` has \['class', 'previous_action_and_reward', 'rollout_steps'"),
        ("fit.callbacks", r"`fit` has \['epochs'"),
    ],
)
def test_unknown_keys_are_answered_with_the_nearest(key, answer):
    wrong = presets.get("cartpole_novel")
    presets.assign(wrong, key, 1)
    with pytest.raises(ValueError, match=f"has no `{key.split('.')[0]}.*{answer}"):
        presets.check(wrong)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("agent.clip_ratio", "x", "`agent.clip_ratio` must be a number such as its default, 0.2. Received: .*'x'"),
        ("agent.clip_ratio", True, "must be a number"),
        ("agent.clip_ratio", [1], "must be a number"),
        ("agent.clip_ratio", {"start": 1}, "has no `agent.clip_ratio.start`"),
        ("agent.normalize_rewards", 1, "must be true or false"),
        ("agent.kl_penalty", {"target": 1}, "an object that has a `class`"),
        ("agent.target_kl", "x", "must be a number, or an object"),
        ("env.kwargs", [1], "an object of arguments"),
        ("env.id", 3, "must be the id of an environment"),
        ("env.num_envs", 0, "must be a positive integer"),
        ("env.num_envs", 1.5, "must be a positive integer"),
        ("fit.epochs", 0, "must be a positive integer"),
        ("fit.validation_episodes", -1, "must be a positive integer"),
        ("fit.validation_freq", None, "must be a positive integer"),
        ("compile.jit_compile", "yes", 'must be true, false or "auto"'),
        ("seed", "x", "`seed` must be an integer from 0"),
        ("seed", -1, "`seed` must be an integer from 0"),
        ("seed", 2**31, "`seed` must be an integer from 0"),
        ("agent.class", "PPPO", r"must be one of \['A2C', .*'RecurrentPPO'.*Did you mean `PPO`"),
        ("agent.class", "KLPenalty", "must be one of"),
        ("optimizer.class", "Optimizer", "must be one of"),
        ("network.builder", "recurent", "Did you mean `recurrent`"),
        (
            "network.builder",
            "encoder",
            r"must be one of \['actor_critic', 'critic', .*'recurrent', 'stochastic_actor'\]",
        ),
        ("optimizer.learning_rate.class", "Decay", "`optimizer.learning_rate.class` must be one of"),
        ("agent", None, "`agent.class` must be one of"),
        ("agent", 3, "`agent` must be a dict, or null. Received: agent=3"),
        ("env", None, "`env.id` must be given"),
        ("optimizer.learning_rate", {"class": "PolynomialDecay"}, "initial_learning_rate` must be given"),
    ],
)
def test_values_that_cannot_be_are_refused(key, value, message):
    wrong = presets.get("cartpole_novel")
    presets.assign(wrong, key, value)
    with pytest.raises(ValueError, match=message):
        presets.check(wrong)


@pytest.mark.parametrize("value", [None, [], "agent", 3])
def test_what_is_no_dict_is_refused(value):
    with pytest.raises(ValueError, match="must be a dict of the sections"):
        presets.check(value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("agent.clip_ratio", None),
        ("agent.clip_ratio", 1),
        ("agent.clip_ratio", {"class": "CosineDecay", "initial_learning_rate": 0.2, "decay_steps": None}),
        ("agent.sequence_length", 32),
        ("optimizer", None),
        ("optimizer.learning_rate", 1e-3),
        ("network", None),
        ("env.kwargs", {"anything": {"at": "all"}}),
        ("seed", 0),
        ("compile.jit_compile", "auto"),
    ],
)
def test_values_that_can_be_are_taken(key, value):
    right = presets.get("cartpole_novel")
    presets.assign(right, key, value)
    presets.check(right)


def test_defaults_say_everything_and_keep_what_was_said():
    full = with_defaults(config(agent__clip_ratio=0.1))
    assert full["agent"]["clip_ratio"] == 0.1
    assert full["agent"]["rollout_steps"] == 128
    assert full["agent"]["minibatches"] == 4
    assert full["optimizer"]["beta_1"] == 0.9
    assert full["optimizer"]["learning_rate"]["power"] == 1.0
    assert full["fit"] == {
        "epochs": 10,
        "steps_per_epoch": None,
        "env_steps": None,
        "validation_episodes": 20,
        "validation_freq": 1,
    }
    assert all(lookup(full, key) is not REQUIRED for key in defaults(full))
    assert with_defaults(full) == full
    full["env"]["kwargs"]["x"] = 1
    assert with_defaults(config())["env"]["kwargs"] == {}


def test_assign_makes_sections_and_refuses_to_go_through_values():
    result = {"network": None}
    presets.assign(result, "network.units", 8)
    presets.assign(result, "a.b.c", 1)
    assert result == {"network": {"units": 8}, "a": {"b": {"c": 1}}}
    with pytest.raises(ValueError, match=r"`a\.b\.c\.d` cannot be set: `c` is not a section"):
        presets.assign(result, "a.b.c.d", 2)


def test_only_what_can_be_made_is_offered():
    assert set(makers("network")) == {
        "actor_critic", "critic", "deterministic_actor", "feed_forward", "linear_q", "nature_cnn", "q_network", "recurrent",
        "stochastic_actor",
    }  # fmt: skip
    agents = {
        "A2C",
        "A3C",
        "ACER",
        "C51",
        "DQN",
        "IMPALA",
        "LinearQ",
        "PPO",
        "RandomAgent",
        "QRDQN",
        "RecurrentDQN",
        "RecurrentPPO",
        "RecurrentSAC",
        "RecurrentTD3",
        "Reinforce",
        "SAC",
        "TD3",
    }
    assert {name for name in makers("agent") if ">" not in name} == agents
    assert {"Adam", "SGD"} <= set(makers("optimizer"))
    objects = {"PolynomialDecay", "KLPenalty", "EpsilonGreedy", "Boltzmann", "PrioritizedReplay", "ReplaySettings"}
    assert objects <= set(makers("agent.clip_ratio"))
    assert "LearningRateSchedule" not in makers("optimizer.learning_rate")


def test_arguments_of_the_class_above_may_be_given_too():
    config = {"env": {"id": "tf/CartPole-v1"}, "agent": {"class": "RecurrentDQN", "capacity": 500, "burn_in": 2}}
    presets.check(config)
    complete = presets.complete(config)
    assert complete["agent"]["target_update"] == 50
    assert complete["agent"]["replay"]["sequence_length"] == 20
    agent = presets.build(config)
    assert (agent.replay.capacity, agent.replay.burn_in) == (500, 2)
    with pytest.raises(ValueError, match=r"no `agent\.burnin`\. Did you mean `agent\.replay\.burn_in`"):
        presets.check({**config, "agent": {"class": "RecurrentDQN", "burnin": 2}})


def test_number_of_environments_is_the_agents_own_when_left_out():
    for kind, number in (("PPO", 32), ("DQN", 8), ("LinearQ", 1)):
        assert (
            presets.complete({"env": {"id": "tf/CartPole-v1"}, "agent": {"class": kind}})["env"]["num_envs"] == number
        )


def test_a_number_may_stand_for_an_object():
    config = presets.get("pendulum_sac")
    presets.assign(config, "agent.temperature", 0.2)
    assert presets.build(config).temperature == 0.2
    assert presets.complete(config)["agent"]["temperature"] == 0.2
    presets.assign(config, "agent.replay", 3)
    with pytest.raises(ValueError, match=r"`replay` must be `krp.ReplaySettings\(...\)`. Received: replay=3"):
        presets.build(config)


def test_objects_of_exploration_and_replay():
    epsilon = {"class": "PolynomialDecay", "initial_learning_rate": 1.0, "decay_steps": 50, "end_learning_rate": 0.1}
    agent = presets.build(
        {
            "env": {"id": "tf/CartPole-v1"},
            "agent": {
                "class": "DQN",
                "noisy": None,
                "exploration": {"class": "EpsilonGreedy", "epsilon": epsilon},
                "prioritized": {"class": "PrioritizedReplay", "alpha": 0.5},
            },
            "network": {"builder": "q_network", "units": [8], "dueling": True, "cell": None},
        }
    )
    assert float(agent.exploration.value(50)) == pytest.approx(0.1)
    assert agent.replay.prioritized.alpha == 0.5
    noisy = {"env": {"id": "tf/CartPole-v1"}, "agent": {"class": "DQN", "noisy": "factorized"}}
    assert presets.build(noisy).noisy == "factorized"


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({"minibatches": 8, "sequence_length": 16}, krp.Minibatches(8, sequence_length=16)),
        ({"minibatches": {"sequence_length": 16}}, krp.Minibatches(sequence_length=16)),
        ({"minibatches": 8, "sequence_length": None, "target_kl": None}, 8),
        ({"target_kl": 0.1, "minibatches": {"class": "Minibatches", "count": 2}}, krp.Minibatches(2, target_kl=0.1)),
    ],
)
def test_settings_are_put_together(entries, expected):
    config = {"env": {"id": "tf/CartPole-v1"}, "agent": {"class": "PPO", "rollout_steps": 32, **entries}}
    assert presets.build(config).minibatches == expected
    assert presets.build(presets.complete(config)).minibatches == expected
