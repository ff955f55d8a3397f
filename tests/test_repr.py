"""Objects show their class and the arguments that differ from their defaults."""

import gymnasium
import keras
import pytest

import keras_rl_prob as krp

FALLING = keras.optimizers.schedules.PolynomialDecay(1.0, 9)
SHOWN = [
    (lambda: krp.PPO(), "PPO()"),
    (lambda: krp.PPO(clip_ratio=0.1, rollout_steps=128), "PPO(clip_ratio=0.1)"),
    (lambda: krp.PPO(discount=0.9, normalize_observations=True), "PPO(discount=0.9, normalize_observations=True)"),
    (lambda: krp.DQN(exploration=krp.EpsilonGreedy(0.1)), "DQN(exploration=EpsilonGreedy(epsilon=0.1))"),
    (lambda: krp.EpsilonGreedy(), "EpsilonGreedy()"),
    (
        lambda: krp.EpsilonGreedy(FALLING, minimum=0.1),
        "EpsilonGreedy(epsilon=PolynomialDecay(initial_learning_rate=1.0, decay_steps=9), minimum=0.1)",
    ),
    (lambda: krp.KLPenalty(), "KLPenalty()"),
    (lambda: krp.SequenceReplaySettings(capacity=100), "SequenceReplaySettings(capacity=100)"),
    (lambda: krp.envs.make_native("tf/CartPole-v1", 3), "CartPole(3)"),
    (lambda: krp.envs.make_native("tf/CartPole-v1", 3, max_episode_steps=7), "CartPole(3, max_episode_steps=7)"),
]


@pytest.mark.parametrize(("make", "shown"), SHOWN, ids=[shown for _, shown in SHOWN])
def test_arguments_that_differ_are_shown(make, shown):
    assert repr(make()) == shown


def test_environments_show_what_they_are_made_of():
    for env, shown in (
        ("CartPole-v1", "GymnasiumEnv(CartPoleVectorEnv(CartPole-v1, num_envs=2))"),
        (lambda: gymnasium.make("Pendulum-v1"), "GymnasiumEnv(PendulumEnv (2 of them))"),
    ):
        made = krp.envs.make(env, 2)
        assert repr(made) == shown
        assert repr(made.placeholder()) == "GymnasiumEnv(None)"
        made.close()


def test_a_built_agent_shows_its_network_and_its_policy_the_agent():
    agent = krp.PPO(krp.networks.feed_forward("tf/CartPole-v1", (4,)), discount=0.9)
    agent.build("tf/CartPole-v1")
    expected = f"PPO(network=<Functional {agent.network.name}>, discount=0.9)"
    assert repr(agent) == expected
    assert repr(agent.policy(deterministic=False)) == f"Policy({expected}, deterministic=False)"


def test_the_summary_shows_heads():
    agent = krp.PPO(krp.networks.feed_forward("tf/CartPole-v1", (4,)))
    agent.build("tf/CartPole-v1")
    lines = []
    agent.summary(print_fn=lines.append)
    assert "DenseCategorical" in "".join(lines)
    lines.clear()
    agent.summary(print_fn=lines.append, expand_nested=False)
    assert "DenseCategorical" not in "".join(lines)
