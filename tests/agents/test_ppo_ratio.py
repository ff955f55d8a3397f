"""On-policy data proves that it is on-policy: before any update the policy is the one that collected the rollout.

This catches stale (prefetched) rollouts, wrong stored states, wrong resets inside a sequence, active dropout, drift of the
observation statistics and, with masks, a mask that is applied only in sampling.
"""

import keras
import pytest
import tensorflow as tf
from environments import RULED_ACTIONS, MaskedEnv, Rules, masked_network

import keras_rl_prob as krp
from keras_rl_prob.testing import DictTask, HybridTask


def recurrent(env, cell):
    return krp.networks.recurrent(env, cell=cell, units=16, shared=True)


def stacked(env):
    return recurrent(env, keras.layers.StackedRNNCells([keras.layers.LSTMCell(8), keras.layers.GRUCell(8)]))


CASES = {
    "native lstm": ("tf/CartPoleNoVel-v1", lambda env: recurrent(env, "lstm"), {}),
    "native gru, short sequences": ("tf/CartPole-v1", lambda env: recurrent(env, "gru"), {"sequence_length": 8}),
    "native generic cell": ("tf/CartPole-v1", lambda env: recurrent(env, "simple"), {"sequence_length": 16}),
    "native stacked cells": ("tf/CartPole-v1", stacked, {}),
    "native feed-forward": ("tf/CartPole-v1", krp.networks.feed_forward, {}),
    "native squashed, normalised": (
        "tf/Pendulum-v1",
        lambda env: recurrent(env, "lstm"),
        {"normalize_observations": True},
    ),
    "Gymnasium lstm": ("CartPole-v1", lambda env: recurrent(env, "lstm"), {"sequence_length": 16}),
    "Gymnasium hybrid, normalised": (HybridTask, lambda env: recurrent(env, "gru"), {"normalize_observations": True}),
    "Gymnasium dict": (DictTask, lambda env: recurrent(env, "lstm"), {}),
    "Gymnasium mask": (MaskedEnv, lambda env: masked_network(), {"sequence_length": 16}),
    "Gymnasium hybrid mask": (
        lambda: krp.envs.ActionMask(Rules(RULED_ACTIONS["tuple"])),
        lambda env: recurrent(env, "lstm"),
        {"sequence_length": 16, "normalize_observations": True},
    ),
}


COMPILED = {"native generic cell"}  # LSTM under XLA: tests/layers/test_unrolled.py
SHORT = {*COMPILED, "native feed-forward", "Gymnasium hybrid mask"}  # the last has an LSTM and normalises


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=() if case in SHORT else pytest.mark.long) for case in CASES]
)
def test_ratio_is_one_before_the_first_update(case):
    jit_compile = case in COMPILED
    env, make_network, arguments = CASES[case]
    made = krp.envs.make(env, 8)
    agent = krp.RecurrentPPO(make_network(env), rollout_steps=32, minibatches=1, update_epochs=2, **arguments)
    agent.compile(keras.optimizers.Adam(1e-3), jit_compile=jit_compile)
    agent._prepare_for(made, 2)
    source = iter(agent.make_source(made, 3).dataset())
    update = tf.function(agent.train_step, jit_compile=jit_compile, autograph=False)
    resets_inside, moved = 0, 0.0
    for _ in range(3):
        rollout = agent.prepare(next(source))
        first, second = rollout.update(tf.constant(0)), rollout.update(tf.constant(1))
        for batch in (first, second):
            outputs, _ = agent._unrolled(batch.observation, batch.is_first, batch.state)
            policy, behaviour = agent.distribution(outputs["action"]), agent.distribution(batch.parameters)
            ratio_error = tf.reduce_max(tf.abs(tf.exp(policy.log_prob(batch.raw) - batch.log_prob) - 1.0))
            if batch is first:
                assert float(ratio_error) < 1e-5
                assert float(tf.reduce_max(behaviour.kl_divergence(policy))) < 1e-5
                resets_inside += int(tf.math.count_nonzero(batch.is_first[1:]))
            else:
                moved = max(moved, float(ratio_error))
            update(batch)
    assert moved > 1e-4, "the updates changed nothing, so the test above could not fail"
    if "feed-forward" not in case and "Pendulum" not in str(env):
        assert resets_inside > 0, "no episode started inside a sequence"
