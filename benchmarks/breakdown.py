"""Where the time of a rollout and its updates goes: CartPole, 32 environments x 128 steps, one LSTM for policy and value.

    python benchmarks/breakdown.py

"Products alone" are the matrix products of an update, or of a rollout, with the same shapes in the same order in one compiled
program, and nothing else: no program with this network takes less on the same machine, unless it makes fewer products.
"""

import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import gymnasium
import numpy as np
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob.drivers import Driver, rollout_source
from keras_rl_prob.ops import recurrent


def report(name, function, repeats=40):
    """Prints the median milliseconds of a call after two warm-up calls."""
    function()
    function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    print(f"{name:52} {statistics.median(seconds) * 1e3:7.2f} ms", flush=True)


def compiled(function):
    """`function` compiled with XLA."""
    return tf.function(function, jit_compile=True, autograph=False)


agent = krp.RecurrentPPO(krp.networks.recurrent("tf/CartPole-v1", shared=True))
agent.compile()
native = krp.envs.make("tf/CartPole-v1", 32)
agent._prepare_for(native, 16)
batch = agent.prepare(next(iter(agent.make_source(native, 0).dataset()))).update(tf.constant(0))
variables = agent.network.trainable_variables


def gradients(loss):
    """Function that returns the gradient of `loss()` with respect to the network's variables."""

    def step():
        with tf.GradientTape() as tape:
            value = loss()
        return tape.gradient(value, variables)

    return step


def network():
    """A loss whose own cost is negligible."""
    outputs, _ = agent._unrolled(batch.observation, batch.is_first, batch.state)
    return tf.reduce_sum(outputs["action"]) + tf.reduce_sum(outputs["value"])


inputs, kernel = tf.random.normal((128, 8, 256)), tf.random.normal((64, 256)) * 0.1


def lstm():
    """Gradient of the recurrent layer alone."""
    with tf.GradientTape() as tape:
        tape.watch([inputs, kernel])
        hidden, _ = recurrent.lstm(inputs, kernel, tf.ones((128, 8)), (tf.zeros((8, 64)), tf.zeros((8, 64))))
        loss = tf.reduce_sum(hidden * hidden)
    return tape.gradient(loss, [inputs, kernel])


def chained(first, kernel, width, steps=128):
    """Products of a loop, each of which waits for the one before."""

    def step(count, x):
        y = tf.matmul(x, kernel)
        return count + 1, y[:, :width] if y.shape[1] > width else tf.tile(y, (1, width // y.shape[1]))

    return tf.while_loop(lambda count, x: count < steps, step, (0, first))[1]


rows, features, gates, heads = (tf.random.normal((1024, n)) * 0.1 for n in (4, 64, 256, 3))
of_inputs, of_features, of_hidden = (tf.random.normal((n, m)) * 0.1 for n, m in ((4, 64), (64, 256), (64, 3)))
few, some = tf.random.normal((8, 64)), tf.random.normal((32, 4))


def update_products():
    """The matrix products of an update: 8 sequences of 128 steps, forward and backward."""
    forward = [tf.matmul(x, w) for x, w in ((rows, of_inputs), (features, of_features), (features, of_hidden))]
    backward = [tf.matmul(x, w, transpose_b=True) for x, w in ((heads, of_hidden), (gates, of_features))]
    weights = [
        tf.matmul(x, y, transpose_a=True)
        for x, y in ((features, heads), (features + 1.0, gates), (features, gates), (rows, features))
    ]  # the 1: XLA would make equal products only once
    loops = [chained(few, kernel, 64), chained(tf.tile(few, (1, 4)), tf.transpose(kernel), 256)]
    return [tf.reduce_sum(x) for x in (*forward, *backward, *weights, *loops)]


def rollout_products():
    """The matrix products of 128 steps of 32 environments."""

    def step(count, x, hidden):
        y = tf.matmul(tf.matmul(x, of_inputs), of_features) + tf.matmul(hidden, kernel)
        return count + 1, x + tf.matmul(y[:, :64], of_hidden)[:, :1], y[:, 64:128]

    return tf.while_loop(lambda count, *_: count < 128, step, (0, some, tf.zeros((32, 64))))[1:]


some_gradients = gradients(network)()
report("update: all of it", compiled(lambda: agent.train_step(batch)))
report("update: loss and gradient", compiled(gradients(lambda: agent.loss_and_logs(batch)[0])))
report("update: network forward and backward", compiled(gradients(network)))
report("update: LSTM forward and backward", compiled(lstm))
report("update: products alone", compiled(update_products))
report("update: Adam", compiled(lambda: agent.optimizer.apply(some_gradients, variables)))

report("rollout: products alone", compiled(rollout_products))
vector_env = gymnasium.make_vec("CartPole-v1", 32, vectorization_mode="sync")
for name, env in (("native", native), ("SyncVectorEnv", krp.envs.make(vector_env))):
    driver = Driver(agent, env, steps=128, sequence_length=128, seed=0)
    rollouts = iter(rollout_source(driver.collect, lambda x: x.reward))
    report(f"rollout of 128 steps, {name}", lambda rollouts=rollouts: next(rollouts))
report(
    "128 steps of the SyncVectorEnv alone", lambda: [vector_env.step(np.zeros(32, np.int64)) for _ in range(128)], 10
)
