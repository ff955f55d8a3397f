"""Environment steps per second on Pong: RecurrentPPO with Nature CNN -> LSTM 128, compared with sb3-contrib's CnnLstmPolicy.

    python benchmarks/pong.py [--sb3 PYTHON] [--envs 8 32] [--rounds 3]

PYTHON is an interpreter that has sb3-contrib, ale-py and opencv-python-headless; default: the one that runs this.

A single grey frame of 84 x 84 (no-ops, 4 frames per step, maximum of the last two, clipped rewards, FIRE after a reset), N
environments x 128 steps, 4 passes over 4 minibatches. Our agent uses ALE's vector environment, one LSTM for policy and value,
and float32 or Keras' dtype policy `mixed_bfloat16` ("bfloat16"); sb3-contrib uses the environments of `make_atari_env`, and
also one LSTM ("sb3"), or one each for policy and value, its default ("sb3_default"). Every contestant trains in a separate
process, in turn; its rate is the median of the later half of its rollouts. Prints a table of medians and ratios. Then the
components of our rollout are timed separately, with the rate if there were nothing else.
"""

import argparse
import itertools
import os
import re
import statistics
import subprocess
import sys
import threading
import time

from rounds import compared, machine

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

STEPS, UNITS = 128, 128
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--sb3", metavar="PYTHON", default=sys.executable)
parser.add_argument("--envs", type=int, nargs="+", default=[8, 32])
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--rollouts", type=int, default=6)
parser.add_argument(
    "--only", choices=["ours", "bfloat16", "sb3", "sb3_default"], help="one contestant, in this process"
)
parser.add_argument(
    "--parts", action="store_true", help="with --only: time the components of a rollout instead of training"
)
args = parser.parse_args()


def made(num_envs):
    """Our agent and its environment."""
    import gymnasium  # noqa: PLC0415
    import keras  # noqa: PLC0415

    import keras_rl_prob as krp  # noqa: PLC0415

    if args.only == "bfloat16":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    spec = krp.envs.spec("ALE/Pong-v5", stack_num=1, repeat_action_probability=0.0)
    env = gymnasium.make_vec(spec, num_envs)
    agent = krp.RecurrentPPO(krp.networks.nature_cnn(env, "lstm", UNITS), rollout_steps=STEPS, normalize_rewards=False)
    agent.compile()
    return agent, env


def ours(num_envs):
    """Trains and prints rates."""
    import keras  # noqa: PLC0415

    class Rate(keras.callbacks.Callback):
        """Prints the rate of every rollout and its updates."""

        def on_train_begin(self, logs=None):
            self.start = time.perf_counter()

        def on_train_batch_end(self, batch, logs=None):
            now = time.perf_counter()
            print(f"{num_envs * STEPS / (now - self.start):.1f} env steps/s", flush=True)
            self.start = now

    agent, env = made(num_envs)
    agent.fit(env, epochs=1, steps_per_epoch=16 * args.rollouts, verbose=0, callbacks=[Rate()])


def sb3(num_envs):
    """Trains the agent of sb3-contrib and prints rates."""
    import ale_py  # noqa: PLC0415
    import gymnasium  # noqa: PLC0415
    from sb3_contrib import RecurrentPPO  # noqa: PLC0415
    from stable_baselines3.common.callbacks import BaseCallback  # noqa: PLC0415
    from stable_baselines3.common.env_util import make_atari_env  # noqa: PLC0415

    gymnasium.register_envs(ale_py)

    class Rate(BaseCallback):
        """Prints the rate of every rollout and its updates."""

        start = None

        def _on_step(self):
            return True

        def _on_rollout_start(self):
            now = time.perf_counter()
            if self.start:
                print(f"{num_envs * STEPS / (now - self.start):.1f} env steps/s", flush=True)
            self.start = now

        def _on_training_end(self):
            self._on_rollout_start()

    game = dict(frameskip=1, repeat_action_probability=0.0)
    env = make_atari_env("ALE/Pong-v5", num_envs, env_kwargs=game, wrapper_kwargs=dict(terminal_on_life_loss=False))
    network = dict(lstm_hidden_size=UNITS, net_arch=[])
    if args.only == "sb3":
        network |= dict(enable_critic_lstm=False, shared_lstm=True)
    rows = num_envs * STEPS
    agent = RecurrentPPO(
        "CnnLstmPolicy",
        env,
        n_steps=STEPS,
        batch_size=rows // 4,
        n_epochs=4,
        ent_coef=0.01,
        policy_kwargs=network,
        device="cpu",
    )
    agent.learn(args.rollouts * rows, callback=Rate())


def parts(num_envs):
    """Prints the times of the components of our rollout."""
    import tensorflow as tf  # noqa: PLC0415

    def seconds(run, count=3):
        run()
        times = []
        for _ in range(count):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        return min(times)

    agent, env = made(num_envs)
    agent.fit(env, epochs=1, steps_per_epoch=16, verbose=0)
    actions = [env.action_space.sample() for _ in range(STEPS)]
    observation, _ = env.reset(seed=0)
    state, is_first = agent.initial_state(num_envs), tf.zeros((num_envs,), tf.bool)

    @tf.function(autograph=False)
    def infer(observation):
        def act(t, state):
            return t + 1, agent.act(observation, is_first, state, tf.stack([0, t]))[2]

        return tf.while_loop(lambda t, _: t < STEPS, act, (0, state), parallel_iterations=1)

    source = agent.make_source(_wrapped(env), 0)
    element = next(iter(source.dataset()))
    learn = tf.function(lambda rollout: _learn(agent, rollout), autograph=False)
    rows, found = num_envs * STEPS, {}
    network, images = _feed_forward(env, rows // 4)

    @tf.function(autograph=False)
    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.add_n([tf.reduce_sum(tf.cast(x, tf.float32)) for x in tf.nest.flatten(network(images))])
        return tape.gradient(loss, network.trainable_variables)

    def play():
        return [env.step(action) for action in actions]

    def think():
        return infer(tf.constant(observation))

    def both():
        player = threading.Thread(target=play)
        player.start()
        think()
        player.join()

    found["environment"] = seconds(play)
    found["inference"] = seconds(think)
    found["16 updates"] = seconds(lambda: learn(element).numpy(), 2)
    found["sum of the three"] = sum(found.values())
    found["16 gradients of the convolutions"] = seconds(lambda: [gradients() for _ in range(16)], 2)
    found["the first two at once"] = seconds(both)  # with a perfect overlap
    for name, value in found.items():
        print(f"  {name:32} {value:7.3f} s a rollout: at most {rows / value:7,.0f} env steps/s", flush=True)


def _feed_forward(env, count):
    """The network without memory, and so many random images."""
    import numpy as np  # noqa: PLC0415

    import keras_rl_prob as krp  # noqa: PLC0415

    space = env.single_observation_space
    images = np.random.default_rng(0).integers(0, 256, (count, *space.shape), space.dtype)
    return krp.networks.nature_cnn(env), images


def _wrapped(env):
    from keras_rl_prob.envs import GymnasiumEnv  # noqa: PLC0415

    return GymnasiumEnv(env)


def _learn(agent, rollout):
    import tensorflow as tf  # noqa: PLC0415

    rollout = agent.prepare(rollout)

    def update(index):
        agent.train_step(rollout.update(index))
        return (index + 1,)

    tf.while_loop(lambda index: index < rollout.updates, update, (tf.constant(0),), parallel_iterations=1)
    return tf.convert_to_tensor(agent.failure)


def rate(who, num_envs):
    """Runs a contestant once in a separate process."""
    python = args.sb3 if who.startswith("sb3") else sys.executable
    command = [python, __file__, "--only", who, "--envs", str(num_envs), "--rollouts", str(args.rollouts)]
    output = subprocess.run(command, capture_output=True, text=True, check=False)
    rates = [float(x) for x in re.findall(r"([\d.]+) env steps/s", output.stdout)]
    if output.returncode or not rates:
        sys.exit(f"{who} failed:\n{output.stdout}\n{output.stderr[-2000:]}")
    return statistics.median(rates[len(rates) // 2 :])


if args.only:
    contestant = sb3 if args.only.startswith("sb3") else parts if args.parts else ours
    for count in args.envs:
        contestant(count)
    sys.exit()
print(f"{machine(None)}\n\n| environments | ours, env steps/s | beside | env steps/s | ratio | range |")
print("| --- | --- | --- | --- | --- | --- |", flush=True)
for count in args.envs:
    rates: dict[str, list[float]] = {"ours": [], "bfloat16": [], "sb3": [], "sb3_default": []}
    for _ in range(args.rounds):
        for who, values in rates.items():
            values.append(rate(who, count))
            print(f"{count} environments: {who:11} {values[-1]:7,.0f} env steps/s", file=sys.stderr, flush=True)
    for who, other in itertools.product(("ours", "bfloat16"), ("sb3", "sb3_default")):
        print(f"| {count}, {who} | {compared(rates[who], other, rates[other])} |", flush=True)
for count, who in itertools.product(args.envs, ("ours", "bfloat16")):
    print(f"\n{count} environments, parts of {who}:", flush=True)
    subprocess.run([sys.executable, __file__, "--only", who, "--parts", "--envs", str(count)], check=True)
