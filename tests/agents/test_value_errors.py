"""Agents with action values: errors for unsuitable spaces, numbers and networks, and what they suggest instead."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv

import keras_rl_prob as krp
from keras_rl_prob.layers import DenseCategorical, DenseNormal, Dueling, NoisyDense, QValues, StatefulRNN
from keras_rl_prob.testing import ScriptedEnv

OBSERVATION = spaces.Box(-1.0, 1.0, (3,))
SPACES = (OBSERVATION, spaces.Discrete(2))
OTHER_ACTIONS = {
    "continuous": spaces.Box(-1.0, 1.0, (2,)),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "tuple": spaces.Tuple((spaces.Discrete(2), spaces.Discrete(3))),
}


def network(head=None, memory=False, noisy=False, dueling=False, value=False, inputs=(3,)):
    inputs = x = keras.Input(inputs)
    if memory:
        x = StatefulRNN(keras.layers.GRUCell(3), name="memory")(x)
    features, dense = x, NoisyDense if noisy else keras.layers.Dense
    x = Dueling()([dense(1)(features), dense(2)(features)]) if dueling else dense(2)(features)
    outputs = {"action": (head or QValues((2,), name="values"))(x)}
    if value:
        outputs["value"] = keras.layers.Dense(1)(features)
    return keras.Model(inputs, outputs, name="mine")


def refused(agent, message, pair=SPACES):
    """`build` raises, and leaves the agent unbuilt."""
    with pytest.raises(ValueError, match=message):
        agent.build(pair)
    assert not agent.built


# ---- actions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action_space", OTHER_ACTIONS.values(), ids=OTHER_ACTIONS.keys())
@pytest.mark.parametrize("agent_class", [krp.DQN, krp.LinearQ, krp.RecurrentDQN])
def test_actions_that_are_not_discrete(agent_class, action_space):
    refused(
        agent_class(), r"must have a Discrete action space.*Use `krp.PPO` or `krp.A2C`", (OBSERVATION, action_space)
    )


@pytest.mark.parametrize("agent_class", [krp.DQN, krp.LinearQ, krp.RecurrentDQN])
def test_actions_that_are_not_discrete_with_a_network_of_ones_own(agent_class):
    agent = agent_class(network(DenseNormal((2,)), memory=True))
    message = rf"{agent_class.__name__} needs a Discrete action space.*Use `krp.PPO`.*Received: action_space=Box"
    refused(agent, message, (OBSERVATION, OTHER_ACTIONS["continuous"]))


# ---- numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("agent_class", [krp.DQN, krp.RecurrentDQN])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"capacity": 31, "batch_size": 32, "n_step": 1},
            r"`capacity` must be at least `batch_size`. Received: capacity=31, batch_size=32",
        ),
        (
            {"batch_size": 32, "capacity": 64, "n_step": 64},
            r"`n_step` must be below `capacity`. Received: n_step=64, capacity=64",
        ),
        ({"n_step": 0}, r"`n_step` must be a positive integer. Received: n_step=0"),
        ({"updates": 0.5}, r"`updates` must be a positive integer. Received: updates=0.5"),
        ({"discount": 1.5}, r"`discount` must be between 0 and 1. Received: discount=1.5"),
        *(
            (
                {"target_update": x},
                rf"`target_update` must be a positive integer.*or a float.*Received: target_update={x!r}",
            )
            for x in (0, 0.0, 1.0, -1, 2.5, -0.1, None, "often")
        ),
    ],
    ids=str,
)
def test_numbers_out_of_range(agent_class, arguments, message):
    with pytest.raises(ValueError, match=message):
        agent_class(**arguments)


def scripted(num_envs=2):
    return SyncVectorEnv([lambda: ScriptedEnv(0, [(3, "terminated")]) for _ in range(num_envs)])


def source_of(agent_class, **arguments):
    """The source of updates that `fit` would make."""
    model = network(memory=agent_class is krp.RecurrentDQN)
    agent = agent_class(model, **{"batch_size": 8, "learning_starts": 1, "updates": 1, **arguments})
    agent.compile(run_eagerly=True)
    env = krp.envs.make(scripted())
    agent._prepare_for(env, agent.updates_per_rollout(2))
    return agent.make_source(env, 0)


DQN_ARGUMENTS = {"rollout_steps": 4, "n_step": 3}
SEQUENCE_ARGUMENTS = {"rollout_steps": 4, "n_step": 3, "sequence_length": 3, "burn_in": 2, "period": 2}


@pytest.mark.parametrize(
    ("agent_class", "arguments", "rows"), [(krp.DQN, DQN_ARGUMENTS, 9), (krp.RecurrentDQN, SEQUENCE_ARGUMENTS, 14)]
)
def test_a_capacity_that_cannot_hold_a_rollout_and_what_an_update_needs(agent_class, arguments, rows):
    """A rollout, the rows of a transition or of a sequence, and one more of these."""
    message = rf"`capacity` must hold a rollout and.*here {rows} rows.*: {2 * rows}. Received: capacity={2 * rows - 1}"
    with pytest.raises(ValueError, match=message):
        source_of(agent_class, capacity=2 * rows - 1, **arguments)
    update = next(iter(source_of(agent_class, capacity=2 * rows, **arguments).dataset())).update(0)
    assert float(tf.reduce_max(update.weight)) > 0.0


def test_learning_cannot_start_beyond_the_capacity():
    message = r"`learning_starts` must be at most what the buffer holds, 40 transitions. Received: learning_starts=41"
    with pytest.raises(ValueError, match=message):
        source_of(krp.DQN, capacity=41, learning_starts=41, **DQN_ARGUMENTS)
    source = source_of(krp.DQN, capacity=41, learning_starts=40, **DQN_ARGUMENTS)
    next(iter(source.dataset()))
    assert int(source.ring.size) == 20


# ---- networks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("agent_class", [krp.DQN, krp.LinearQ])
def test_memory_is_for_the_recurrent_agent(agent_class):
    message = rf"must have no memory for {agent_class.__name__}.*Use `krp.RecurrentDQN`.*Received: \['memory'\]"
    refused(agent_class(network(memory=True)), message)


def test_networks_without_memory_are_for_the_other_agent():
    refused(krp.RecurrentDQN(network()), r"must have memory for RecurrentDQN.*Use `krp.DQN`.*network='mine'")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"dueling": True},
            r"`dueling` needs a network with `keras_rl_prob.layers.Dueling`.*q_network\(env, dueling=...\)",
        ),
        (
            {"noisy": "factorized"},
            r"`noisy` needs a network with `keras_rl_prob.layers.NoisyDense`.*noisy='factorized'",
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("agent_class", [krp.DQN, krp.RecurrentDQN])
def test_what_was_asked_for_is_not_in_the_network(agent_class, arguments, message):
    refused(agent_class(network(memory=agent_class is krp.RecurrentDQN), **arguments), message)


@pytest.mark.parametrize("agent_class", [krp.DQN, krp.RecurrentDQN])
def test_noisy_layers_that_were_not_asked_for(agent_class):
    model = network(memory=agent_class is krp.RecurrentDQN, noisy=True)
    refused(
        agent_class(model), r"`noisy` must say that the network has noisy layers: `noisy='factorized'`.*noisy_dense"
    )


def test_noisy_layers_are_not_for_linear_q():
    refused(
        krp.LinearQ(network(noisy=True)), r"must have no noisy layers for LinearQ.*Use `krp.DQN\(noisy='factorized'\)`"
    )


def test_a_dueling_network_needs_not_be_announced():
    agent = krp.DQN(network(dueling=True))
    agent.build(SPACES)
    assert agent.built


@pytest.mark.parametrize("agent_class", [krp.DQN, krp.LinearQ, krp.RecurrentDQN])
def test_a_policy_is_no_action_values(agent_class):
    model = network(DenseCategorical((2,), name="policy"), memory=agent_class is krp.RecurrentDQN)
    message = (
        rf"must be action values for {agent_class.__name__}.*QValues\(\(2,\)\).*Received: DenseCategorical 'policy'"
    )
    refused(agent_class(model), message)


@pytest.mark.parametrize("agent_class", [krp.PPO, krp.RecurrentPPO, krp.A2C, krp.Reinforce])
def test_action_values_are_no_policy(agent_class):
    model = network(memory=agent_class is krp.RecurrentPPO, value=True)
    message = (
        rf"must be a policy for {agent_class.__name__}.*layers.DenseCategorical.*`krp.DQN`.*Received: QValues 'values'"
    )
    refused(agent_class(model), message)


@pytest.mark.parametrize(
    ("observation", "axis"),
    [
        (OBSERVATION, 1),
        (OBSERVATION, 7),
        (spaces.Discrete(3), 0),
        (spaces.Dict({"image": spaces.Box(0, 255, (4, 8, 8), np.uint8)}), 0),
    ],
    ids=str,
)
def test_observations_that_are_no_stacks_of_frames(observation, axis):
    pair = (observation, spaces.Discrete(2))
    agent = krp.DQN(krp.networks.q_network(pair, units=(4,)), frame_axis=axis)
    refused(
        agent,
        rf"`frame_axis` must be an axis of a Box observation.*Received: frame_axis={axis}, observation_space=",
        pair,
    )


def test_an_agent_that_was_refused_can_be_built_for_what_it_fits():
    agent = krp.DQN(network(DenseNormal((2,))))
    refused(agent, "needs a Discrete action space", (OBSERVATION, OTHER_ACTIONS["continuous"]))
    agent.network = network()
    agent.build(SPACES)
    assert agent.target_network.count_params() == agent.network.count_params()
