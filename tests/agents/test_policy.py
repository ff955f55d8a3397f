"""`Policy`: its recurrent state, its actions, its time and memory."""

import gc
import pathlib
import resource
import tracemalloc

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import keras_rl_prob as krp

BOTH_SPACES = (
    spaces.Box(-1.0, 1.0, (3,)),
    spaces.Tuple([spaces.Box(-1.0, 2.0, (2,), np.float64), spaces.Discrete(5, start=3)]),
)


@pytest.fixture(scope="module")
def agent():
    agent = krp.RecurrentPPO(krp.networks.recurrent(BOTH_SPACES, units=8, shared=True))
    agent.build(BOTH_SPACES)
    noise = np.random.default_rng(0)
    for variable in agent.network.trainable_variables:
        variable.assign(variable + 0.5 * noise.normal(size=variable.shape))
    return agent


@pytest.fixture
def traces(agent, monkeypatch):
    """A list that grows with each trace of a policy."""
    count, act = [], agent.act
    monkeypatch.setattr(agent, "act", lambda *args, **kwargs: count.append(1) or act(*args, **kwargs))
    return count


def observations(steps, *shape):
    return np.random.default_rng(1).normal(size=(steps, *shape, 3)).astype(np.float32)


def test_a_vector_of_environments_is_as_many_single_ones(agent):
    x, ends = observations(12, 2), [{5}, {3, 9}]
    is_first = np.array([[t == 0 or t in end for end in ends] for t in range(12)])
    together = agent.policy(num_envs=2)
    actions = [together(*step) for step in zip(x, is_first, strict=True)]
    for i, end in enumerate(ends):
        alone = agent.policy()
        for t in range(12):
            if t in end:
                alone.reset()
            move, tool = alone(x[t, i])
            np.testing.assert_allclose(move, actions[t][0][i], atol=1e-6)
            assert tool == actions[t][1][i]


def test_memory_counts_until_reset(agent):
    x = observations(4)
    policy = agent.policy()
    first, *_, last = [policy(row)[0] for row in (x[0], x[1], x[2], x[0])]
    assert np.abs(last - first).max() > 1e-3
    policy.reset()
    np.testing.assert_array_equal(policy(x[0])[0], first)


def test_actions_are_elements_of_the_space(agent):
    policy, vector = agent.policy(), agent.policy(num_envs=4)
    assert BOTH_SPACES[1].contains(policy(observations(1)[0]))
    assert gymnasium.vector.utils.batch_space(BOTH_SPACES[1], 4).contains(vector(observations(1, 4)[0]))


def test_a_policy_follows_the_weights_of_its_agent(agent):
    policy, (x,) = agent.policy(), observations(1)
    before, weights = policy(x)[0], agent.network.get_weights()
    agent.network.set_weights([0 * w for w in weights])
    policy.reset()
    np.testing.assert_allclose(policy(x)[0], [0.5, 0.5])  # halfway between the bounds
    agent.network.set_weights(weights)
    policy.reset()
    np.testing.assert_array_equal(policy(x)[0], before)


def test_one_trace_for_all_calls(agent, traces):
    policy, stochastic = agent.policy(num_envs=2), agent.policy(deterministic=False)
    assert len(traces) == 2
    for x in observations(10, 2):
        policy(x, [False, True])
        policy(x.astype(np.float64))
        stochastic(x[0])
    policy.reset()
    policy(x.tolist())
    assert len(traces) == 2


def resident_memory():
    """Resident memory of this process in bytes; 0 if the system does not provide it."""
    statm = pathlib.Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * resource.getpagesize() if statm.exists() else 0


def test_a_thousand_calls_leak_nothing(agent):
    policy, x = agent.policy(), observations(200)

    def play():
        for row in x:
            policy(row)
        policy.reset()
        gc.collect()

    def held():
        return len(gc.get_objects()), tracemalloc.get_traced_memory()[0], resident_memory()

    play()  # TensorFlow and NumPy allocate some memory permanently
    tracemalloc.start()
    try:
        play()
        rounds = [held()]
        for _ in range(4):  # the process may need more memory occasionally, a leak in every attempt
            play()
            rounds.append(held())
        growth = np.diff(rounds, axis=0).min(axis=0)
        assert growth[0] < 100
        assert growth[1] < 4_000  # bytes: 20 for each call
        assert growth[2] < 2**20
    finally:
        tracemalloc.stop()


def test_a_policy_for_another_number_of_environments_is_named():
    space = gymnasium.spaces.Dict({"x": gymnasium.spaces.Box(-1.0, 1.0, (2,)), "y": gymnasium.spaces.Discrete(3)})
    agent = krp.A2C()
    agent.build((space, gymnasium.spaces.Discrete(2)))
    one, three = space.sample(), gymnasium.vector.utils.batch_space(space, 3).sample()
    with pytest.raises(
        ValueError, match=r"Expected: those of one environment, `policy\(\)`.*shape \(3, 2\).*`policy\(num_envs=3\)`"
    ):
        agent.policy()(three)
    with pytest.raises(
        ValueError, match=r"Expected: those of `policy\(num_envs=3\)`. Received: an observation of the shape \(2,\)"
    ):
        agent.policy(num_envs=3)(one)
    with pytest.raises(ValueError, match=r"Expected: those of `policy\(num_envs=2\)`"):
        agent.policy(num_envs=2)(three)
    assert agent.action_space.contains(agent.policy()(one))


def test_predictions_after_a_training_are_one_step(capsys):
    agent = krp.PPO(rollout_steps=8, minibatches=2, update_epochs=2)
    agent.compile(run_eagerly=True)
    agent.fit("tf/CartPole-v1", num_envs=2, steps_per_epoch=4, verbose=0)
    agent.predict(np.zeros((5, 4), np.float32))
    printed = capsys.readouterr().out
    assert "1/1" in printed
    assert max(map(len, printed.replace("\x08", "").split("\r"))) < 120
    assert agent.steps_per_execution == 4
