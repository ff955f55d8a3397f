"""Short versions of benchmarks/learning.py: each task in seconds, with one seed and a threshold that chance does not reach.

One of them is in every test run; `make test-learning` runs all.
"""

import keras
import pytest

import keras_rl_prob as krp
from keras_rl_prob.testing import DictTask, HybridTask

CONTEXTUAL = {"rollout_steps": 64, "minibatches": 8, "update_epochs": 4, "discount": 0.0, "entropy_coef": 0.001}
PENDULUM = {"rollout_steps": 200, "minibatches": 8, "update_epochs": 10, "discount": 0.9, "entropy_coef": 0.0}


def trained(agent_class, env, rollouts, learning_rate=1e-3, num_envs=32, **arguments):
    """The mean return over 50 deterministic episodes after `rollouts` rollouts."""
    agent = agent_class(**arguments)
    updates = rollouts * agent.minibatches * agent.update_epochs
    schedule = keras.optimizers.schedules.PolynomialDecay(learning_rate, updates, learning_rate / 10)
    agent.compile(keras.optimizers.Adam(schedule, epsilon=1e-5, global_clipnorm=0.5))
    agent.fit(env, epochs=1, steps_per_epoch=updates, num_envs=num_envs, verbose=0)
    return agent.evaluate(env, episodes=50, return_dict=True, verbose=0)["return"]


@pytest.mark.learning
def test_memory_balances_a_pole_without_velocities():
    assert trained(krp.RecurrentPPO, "tf/CartPoleNoVel-v1", 60) >= 300


@pytest.mark.learning
def test_without_memory_nobody_balances_a_pole_without_velocities():
    assert trained(krp.PPO, "tf/CartPoleNoVel-v1", 60) <= 150


@pytest.mark.parametrize("env", ["tf/CartPole-v1", pytest.param("CartPole-v1", marks=pytest.mark.learning)])
def test_feed_forward_ppo_balances_a_pole(env):
    assert trained(krp.PPO, env, 30) >= 400


@pytest.mark.learning
@pytest.mark.parametrize(
    ("agent_class", "rollouts", "learning_rate", "arguments"),
    [
        pytest.param(krp.A2C, 800, 3e-3, {"gae_lambda": 0.95}, id="A2C"),
        pytest.param(krp.Reinforce, 40, 1e-2, {"max_episode_steps": 200}, id="Reinforce"),
        pytest.param(
            krp.Reinforce,
            40,
            1e-2,
            {"max_episode_steps": 200, "baseline": True},
            id="Reinforce with a baseline",
        ),
    ],
)
def test_one_step_policy_gradients_balance_a_pole(agent_class, rollouts, learning_rate, arguments):
    assert (
        trained(agent_class, "tf/CartPole-v1", rollouts, learning_rate, **arguments) >= 150
    )  # random actions: about 22


@pytest.mark.learning
def test_ppo_swings_a_pendulum_up():
    assert trained(krp.PPO, "tf/Pendulum-v1", 50, num_envs=16, **PENDULUM) >= -400  # random actions: about -1,200


@pytest.mark.learning
def test_recall_needs_memory():
    arguments = {"learning_rate": 3e-3, "entropy_coef": 0.02}
    assert trained(krp.RecurrentPPO, "tf/Recall-v0", 50, **arguments) >= 0.9
    assert trained(krp.PPO, "tf/Recall-v0", 50, **arguments) <= 0.45  # guessing: 0.25


@pytest.mark.learning
@pytest.mark.parametrize(("task", "least"), [(HybridTask, 8.0), (DictTask, 8.5)])
def test_nested_spaces_are_learned_in_every_part(task, least):
    assert trained(krp.PPO, task, 50, **CONTEXTUAL) >= least


@pytest.mark.learning
@pytest.mark.parametrize(
    ("agent_class", "env", "rollouts", "num_envs", "learning_rate", "arguments", "least"),
    [
        pytest.param(
            krp.DQN,
            "tf/CartPole-v1",
            400,
            8,
            1e-3,
            {"double": True, "n_step": 3, "rescale_values": True},
            120,
            id="DQN",
        ),
        pytest.param(
            krp.RecurrentDQN,
            "tf/Recall-v0",
            350,
            8,
            1e-3,
            {},
            0.8,  # guessing: 0.25
            id="RecurrentDQN",
        ),
        pytest.param(
            krp.LinearQ,
            "tf/MountainCar-v0",
            4000,
            1,
            1e-2,
            {"exploration": krp.EpsilonGreedy(0.0)},
            -180,
            id="LinearQ",
        ),
    ],
)
def test_action_values_are_learned(agent_class, env, rollouts, num_envs, learning_rate, arguments, least):
    agent = agent_class(**arguments)
    updates = rollouts * agent.updates_per_rollout(num_envs)
    optimizer = agent.default_optimizer()
    optimizer.learning_rate = learning_rate
    agent.compile(optimizer)
    agent.fit(env, epochs=1, steps_per_epoch=updates, num_envs=num_envs, verbose=0)
    assert agent.evaluate(env, episodes=50, return_dict=True, verbose=0)["return"] >= least
