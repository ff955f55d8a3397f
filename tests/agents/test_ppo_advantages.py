"""From scripted episodes to advantages, through the whole agent: the three autoreset modes against a forward oracle."""

import gymnasium
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob.testing import ScriptedEnv

SCRIPTS = [[(3, "terminated"), (4, "truncated")], [(5, "truncated"), (2, "terminated")]]
STEPS = {"NextStep": 9, "SameStep": 7, "Disabled": 7}  # two whole episodes, with or without rows for final observations
GAMMA, LAMBDA = 0.9, 0.8


def prepared(mode, agent_class=krp.RecurrentPPO, sequence_length=None, steps=None, normalize_rewards=False):
    """The agent and the one minibatch of a rollout, rows keyed by (environment, episode, step)."""
    krp_env = krp.envs.make(
        gymnasium.vector.SyncVectorEnv(
            [lambda i=i, s=s: ScriptedEnv(i, s) for i, s in enumerate(SCRIPTS)], autoreset_mode=mode
        )
    )
    agent = agent_class(
        rollout_steps=steps or STEPS[mode],
        sequence_length=sequence_length,
        minibatches=1,
        update_epochs=1,
        discount=GAMMA,
        gae_lambda=LAMBDA,
        normalize_rewards=normalize_rewards,
    )
    agent.compile(jit_compile=False)
    agent.build((krp_env.observation_space, krp_env.action_space))
    for index, weight in enumerate(agent.network.weights):  # large enough for values that differ
        weight.assign(tf.random.stateless_normal(weight.shape, (index, 7)) * 0.5)
    agent._prepare_for(krp_env, 1)
    batch = agent.prepare(next(iter(agent.make_source(krp_env, 0).dataset()))).update(0)
    keys = [tuple(map(int, key)) for key in batch.observation.numpy().reshape(-1, 3)]
    valid = batch.valid.numpy().ravel().astype(bool)

    def table(x):
        return {key: value for key, value, is_valid in zip(keys, x.numpy().ravel(), valid, strict=True) if is_valid}

    return agent, table(batch.advantage), table(batch.target), batch


def oracle(agent, collected=None, scale=1.0):
    """GAE as its definition, a double sum over each episode by itself; values from the network run on that episode alone.

    Where only some steps were `collected`, the sum ends with them and bootstraps from the observation that follows. Rewards are
    multiplied by `scale`.
    """
    advantages, targets = {}, {}
    for index, script in enumerate(SCRIPTS):
        for episode, (length, end) in enumerate(script):
            observation = np.array([[[index, episode, step]] for step in range(length + 1)], np.float32)
            is_first = np.arange(length + 1)[:, None] == 0
            outputs, _ = agent._unrolled(observation, tf.constant(is_first), agent.initial_state(1))
            value = outputs["value"].numpy().ravel().astype(np.float64)
            if end == "terminated":
                value[-1] = 0.0
            reward = [scale * (10.0 * episode + step + 1) for step in range(length)]
            delta = [reward[t] + GAMMA * value[t + 1] - value[t] for t in range(length)]
            steps = [t for t in range(length) if collected is None or (index, episode, t) in collected]
            for t in steps:
                key = (index, episode, t)
                advantages[key] = sum((GAMMA * LAMBDA) ** (k - t) * delta[k] for k in steps if k >= t)
                targets[key] = advantages[key] + value[t]
    return advantages, targets


@pytest.mark.parametrize("agent_class", [krp.RecurrentPPO, krp.PPO])
@pytest.mark.parametrize("mode", STEPS)
def test_advantages_equal_the_forward_definition_in_every_autoreset_mode(mode, agent_class):
    agent, advantages, targets, _ = prepared(mode, agent_class)
    expected_advantages, expected_targets = oracle(agent)
    assert set(advantages) == set(expected_advantages)
    assert len(advantages) == 14
    for key in advantages:
        assert advantages[key] == pytest.approx(expected_advantages[key], rel=1e-4, abs=1e-4), key
        assert targets[key] == pytest.approx(expected_targets[key], rel=1e-4, abs=1e-4), key


@pytest.mark.parametrize("sequence_length", [None, 3])
@pytest.mark.parametrize("mode", STEPS)
def test_a_rollout_that_ends_inside_episodes_bootstraps_with_the_memory_of_what_came_before(mode, sequence_length):
    agent, advantages, *_ = prepared(mode, steps=6, sequence_length=sequence_length)
    expected, _ = oracle(agent, collected=advantages)
    assert set(expected) == set(advantages)
    assert (0, 1, 3) not in advantages, "the rollout does not end inside an episode"
    for key in advantages:
        assert advantages[key] == pytest.approx(expected[key], rel=1e-4, abs=1e-4), key


def test_normalized_rewards_are_divided_by_the_deviation_of_the_discounted_return():
    """The statistics are over all steps of both environments; a discounted sum of rewards ends with its episode."""
    agent, advantages, *_ = prepared("NextStep", normalize_rewards=True)
    sums = []
    for script in SCRIPTS:
        for episode, (length, _) in enumerate(script):
            reward = [10.0 * episode + step + 1 for step in range(length)]
            sums += [sum(GAMMA ** (t - k) * reward[k] for k in range(t + 1)) for t in range(length)]
    expected, _ = oracle(agent, scale=1.0 / np.std(sums))
    assert np.std(sums) > 5, "the scale does not matter"
    for key in advantages:
        assert advantages[key] == pytest.approx(expected[key], rel=1e-4, abs=1e-4), key


def test_the_values_make_truncation_matter():
    agent, advantages, *_ = prepared("NextStep")
    original = oracle(agent)[0]
    as_death = [
        key for key, (length, end) in (((0, 1, 3), SCRIPTS[0][1]), ((1, 0, 4), SCRIPTS[1][0])) if end == "truncated"
    ]
    assert len(as_death) == 2
    for index, episode, step in as_death:
        observation = np.array([[[index, episode, s]] for s in range(step + 2)], np.float32)
        is_first = tf.constant(np.arange(step + 2)[:, None] == 0)
        bootstrap = agent._unrolled(observation, is_first, agent.initial_state(1))[0]["value"].numpy()[-1, 0, 0]
        assert abs(GAMMA * bootstrap) > 1e-2
        assert advantages[index, episode, step] == pytest.approx(original[index, episode, step], rel=1e-4)


def test_rows_that_are_no_steps_have_no_advantage_and_do_not_count():
    agent, _, _, batch = prepared("NextStep")
    assert float(tf.reduce_sum(batch.valid)) == 14
    assert batch.valid.shape == (9, 2)
    assert np.all(batch.advantage.numpy()[batch.valid.numpy() == 0] == 0)
    assert int(agent.env_steps.numpy()) == 14
