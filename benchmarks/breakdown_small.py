"""Where the time of A2C and DQN, whose steps are short, goes on Gymnasium's CartPole: milliseconds per rollout.

    python benchmarks/breakdown_small.py

The settings are those of peers.py. Every line is a component timed alone, the fastest of five rounds.
"""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import gymnasium
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob.drivers import rollout_source
from keras_rl_prob.envs import GymnasiumEnv

ROUNDS, SECONDS = 5, 1.0


def milliseconds(run):
    """The fastest of the rounds, each about a second of calls of `run`."""
    run()
    start = time.perf_counter()
    run()
    count = max(1, int(SECONDS / (time.perf_counter() - start)))
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(count):
            run()
        rounds.append((time.perf_counter() - start) / count)
    return 1e3 * min(rounds)


def playing(agent, made, num_envs):
    """Only rollouts, with single numbers as elements so that no data are passed."""
    source = agent.make_source(made(num_envs), 0)
    rollouts = iter(rollout_source(lambda: tf.reduce_sum(source.driver.collect().reward), lambda x: x))
    return milliseconds(lambda: next(rollouts))


def calls(agent, num_envs):
    """The calls of the environment from the graph, with constant actions."""
    env = made(num_envs)
    state, _ = env.reset(tf.constant([0, 0]))

    @tf.function(autograph=False)
    def play():
        action = tf.zeros(num_envs, tf.int32)
        tf.while_loop(
            lambda t, _: t < agent.rollout_steps,
            lambda t, state: (t + 1, env.step(state, action)[0]),
            (0, state),
            parallel_iterations=1,
        )

    return milliseconds(play)


def empty_calls(agent):
    """As many calls of a function that does nothing, without the package."""

    @tf.function(autograph=False)
    def play():
        def call(t, x):
            return t + 1, tf.ensure_shape(tf.numpy_function(lambda x: x, [x], tf.float32), (1,))

        tf.while_loop(lambda t, _: t < agent.rollout_steps, call, (0, tf.zeros(1)), parallel_iterations=1)

    return milliseconds(play)


def python(agent, num_envs):
    """The vector environment, stepped in a loop without an agent."""
    env = made(num_envs).vector_env
    env.reset(seed=0)
    action = env.action_space.sample()
    return milliseconds(lambda: [env.step(action) for _ in range(agent.rollout_steps)])


def learning(agent, rollout, step):
    """`step` for all updates on a rollout, compiled."""

    @tf.function(jit_compile=True, autograph=False)
    def learn(rollout):
        rollout = agent.prepare(rollout)

        def update(index):
            step(rollout.update(index))
            return (index + 1,)

        tf.while_loop(lambda index: index < rollout.updates, update, (tf.constant(0),), parallel_iterations=1)
        return tf.convert_to_tensor(agent.failure)

    return milliseconds(lambda: learn(rollout).numpy())


def made(num_envs):
    """CartPole in Python."""
    return GymnasiumEnv(gymnasium.make_vec("CartPole-v1", num_envs, vectorization_mode="sync"))


def native(num_envs):
    """CartPole in the graph."""
    return krp.envs.make("tf/CartPole-v1", num_envs)


def report(name, agent, num_envs):
    """Prints the times of the components of a rollout."""
    agent.compile()
    agent.build("CartPole-v1")
    agent._prepare_for(native(num_envs), agent.updates_per_rollout(num_envs))
    source = agent.make_source(native(num_envs), 0)
    elements = iter(source.dataset())
    rollout = next(elements)

    def gradient(data):
        with tf.GradientTape() as tape:
            loss, _ = agent.loss_and_logs(data)
        variables = [variable.value for variable in agent.network.trainable_variables]
        total = tf.add_n([tf.reduce_sum(x) for x in tape.gradient(loss, variables)])
        agent.failure.assign(tf.cast(0.0 * total, tf.int32))

    print(
        f"{name}: {agent.rollout_steps} rows of {num_envs} environments, {agent.updates_per_rollout(num_envs)} updates"
    )
    lines = {
        "playing, Gymnasium": playing(agent, made, num_envs),
        "  of which calls from the graph": calls(agent, num_envs),
        "    of which TensorFlow alone": empty_calls(agent),
        "    of which Python itself": python(agent, num_envs),
        "playing and preparing, native": milliseconds(lambda: next(elements)),
        "learning": learning(agent, rollout, agent.train_step),
        "  of which losses and gradients": learning(agent, rollout, gradient),
    }
    for part, value in lines.items():
        print(f"  {part:34} {value:8.2f} ms", flush=True)


report("A2C", krp.A2C(normalize_rewards=False, entropy_coef=0.0), 8)
network, memory = krp.networks.q_network("CartPole-v1", (256, 256)), krp.ReplaySettings(batch_size=64)
report("DQN", krp.DQN(network, rollout_steps=256, updates=128, target_update=128, replay=memory), 1)
