"""Half and double precision: the same updates as in float32, within the tolerances of docs/reliability.md."""

import contextlib
import functools
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp

ENV, PENDULUM, NUM_ENVS, ROLLOUTS = "tf/CartPole-v1", "tf/Pendulum-v1", 8, 2
POLICY = {"rollout_steps": 2, "minibatches": 1, "update_epochs": 2}
VALUES = {"rollout_steps": 3, "updates": 2, "batch_size": 8, "capacity": 400, "learning_starts": 8, "target_update": 3}
CONTINUOUS = {"rollout_steps": 2, "updates": 2, "replay": krp.ReplaySettings(400, 8, 8)}
AGENTS = {
    "PPO": lambda: krp.PPO(normalize_observations=True, kl_penalty=krp.KLPenalty(), **POLICY),
    "RecurrentPPO": lambda: krp.RecurrentPPO(krp.networks.recurrent(ENV, units=8, shared=True), **POLICY),
    "A2C": lambda: krp.A2C(rollout_steps=2),
    "IMPALA": lambda: krp.IMPALA(rollout_steps=2, lag=1),
    "ACER": lambda: krp.ACER(rollout_steps=2, replay=krp.RolloutReplaySettings(400, learning_starts=8)),
    "Reinforce": lambda: krp.Reinforce(max_episode_steps=3),
    "DQN": lambda: krp.DQN(dueling=True, noisy="factorized", prioritized=True, **VALUES),
    "QRDQN": lambda: krp.QRDQN(quantiles=5, **VALUES),
    "C51": lambda: krp.C51(atoms=5, value_bounds=(0.0, 9.0), **CONTINUOUS),
    "RecurrentDQN": lambda: krp.RecurrentDQN(sequence_length=2, burn_in=1, period=1, n_step=1, **VALUES),
    "SAC": lambda: krp.SAC(**CONTINUOUS),
    "SAC, discrete": lambda: krp.SAC(**CONTINUOUS),
    "TD3": lambda: krp.TD3(policy_period=1, **CONTINUOUS),
    "LinearQ": lambda: krp.LinearQ(krp.networks.linear_q(ENV, components=25, samples=200), rollout_steps=3),
}
TOLERANCES = {"mixed_float16": (0.05, 0.01), "mixed_bfloat16": (0.1, 0.03), "float64": (3e-3, 1e-4)}
"""Of the weights' change, as a part of its norm; of the losses, as a part of the greatest, and of the policy's parameters."""


@contextlib.contextmanager
def dtype_policy(name):
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


def made(name):
    """A built agent and its source of rollouts."""
    agent = AGENTS[name]()
    agent.compile(run_eagerly=True)
    env = PENDULUM if name in ("SAC", "TD3") else ENV
    agent.build(env)
    return agent, agent.make_source(krp.envs.make(env, NUM_ENVS), 1)


def collected(agent, source):
    """The data of the updates on a new rollout."""
    rollout = agent.prepare(source.prepare(source.collect()))
    return [rollout.update(tf.constant(index)) for index in range(int(rollout.updates))]


def learned(agent, data):
    """The loss of an update, which is repeated if the scaled gradient overflows, and the number of repetitions."""
    done = int(agent.optimizer.iterations)
    for repeats in range(9):
        agent.reset_metrics()
        logs = agent.train_step(data)
        loss = float(logs["loss"] if "loss" in logs else logs["critic_loss"])
        if int(agent.optimizer.iterations) > done:
            return loss, repeats
    raise AssertionError("no update took place")


def weights(agent):
    return np.concatenate([np.ravel(x.numpy()) for x in agent.network.trainable_variables]).astype("float64")


@functools.cache
def in_float32(name):
    """Weights before, data, first policy, losses and the change of the network's weights."""
    keras.utils.set_random_seed(0)
    agent, source = made(name)
    first, before, losses, data, acted = agent.get_weights(), weights(agent), [], [], []
    agent.begin_training()
    while len(data) < ROLLOUTS * agent.updates_per_rollout(NUM_ENVS):
        data += collected(agent, source)
        acted.append(source.follower.last_rollout()["parameters"][0])
        losses += [learned(agent, batch)[0] for batch in data[len(losses) :]]
    return first, data, acted[0], losses, weights(agent) - before


# In float16, where the loss is scaled too, every agent with a loss of its own; in the others one with memory each.
SHORT = {(name, "mixed_float16") for name in AGENTS if name not in ("A2C", "IMPALA", "Reinforce")}
SHORT |= {
    ("SAC", "mixed_bfloat16"),
    ("SAC, discrete", "mixed_bfloat16"),
    ("TD3", "float64"),
    ("RecurrentDQN", "mixed_bfloat16"),
    ("RecurrentPPO", "float64"),
}


# In half precision, the first gradients of a deterministic policy differ in sign, which is all that Adam's first steps are of.
# In float16, critics and policy scale their losses separately, and skip different steps.
APART = {
    ("TD3", "mixed_float16"),
    ("TD3", "mixed_bfloat16"),
    ("SAC", "mixed_float16"),
    ("SAC, discrete", "mixed_float16"),
}
CASES = [(name, policy) for name in AGENTS for policy in TOLERANCES if (name, policy) not in APART]


@pytest.mark.parametrize(
    ("name", "policy"),
    [pytest.param(*case, marks=() if case in SHORT else pytest.mark.long) for case in CASES],
)
def test_training_is_that_of_float32_within_its_tolerance(name, policy):
    first, data, acted, losses, change = in_float32(name)
    with dtype_policy(policy):
        agent, source = made(name)
    assert policy.removeprefix("mixed_") in {layer.compute_dtype for layer in agent.network.layers}
    assert isinstance(agent.optimizer, keras.optimizers.LossScaleOptimizer) == (policy == "mixed_float16")
    agent.set_weights(first)
    before, (of_change, of_numbers) = weights(agent), TOLERANCES[policy]

    own = collected(agent, source)
    np.testing.assert_allclose(source.follower.last_rollout()["parameters"][0], acted, rtol=0, atol=of_numbers)
    agent.set_weights(first)
    agent.begin_training()
    like, got, overflows = agent.initial_state(1), [], 0
    for batch in data:
        if hasattr(batch, "state"):  # memory has the dtype of its cell
            batch = batch._replace(state=tf.nest.map_structure(lambda x, y: tf.cast(x, y.dtype), batch.state, like))
        loss, repeats = learned(agent, batch)
        got, overflows = [*got, loss], overflows + repeats
    size = np.linalg.norm(change)
    assert size > 1e-3
    assert np.ptp(losses) > 0
    assert len(got) == len(losses) > 1
    assert overflows <= 2 * (policy == "mixed_float16")
    assert np.linalg.norm(weights(agent) - before - change) <= of_change * size
    np.testing.assert_allclose(got, losses, rtol=0, atol=of_numbers * np.abs(losses).max())
    assert np.isfinite(learned(agent, own[0])[0])


@pytest.mark.parametrize("name", ["SAC", "SAC, discrete", "TD3"])
def test_critics_and_policy_learn_in_float16(name):
    with dtype_policy("mixed_float16"):
        agent, source = made(name)
    kernels = [x for model in (agent.network, agent.critic) for x in model.trainable_variables if len(x.shape) > 1]
    before = [x.numpy() for x in kernels]
    agent.begin_training()
    for _ in range(12):  # the first ones overflow
        for data in collected(agent, source):
            agent.train_step(data)
    after = [x.numpy() for x in kernels]
    assert all(np.isfinite(x).all() for x in after)
    assert all(np.any(x != y) for x, y in zip(before, after, strict=True))


def test_a_network_in_float16_whose_loss_is_not_scaled_is_named():
    with dtype_policy("mixed_float16"):
        network = krp.networks.feed_forward(ENV, units=(4,))
    agent = krp.A2C(network)
    agent.compile()
    with pytest.warns(
        UserWarning, match=r"`optimizer` must scale the loss.*float16.*LossScaleOptimizer.*Received: .*RMSprop"
    ):
        agent.build(ENV)
    for optimizer in (
        keras.optimizers.LossScaleOptimizer(agent.default_optimizer()),
        keras.optimizers.SGD(loss_scale_factor=64),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            agent.compile(optimizer)
