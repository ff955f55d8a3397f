"""What agents with nothing set learn in a minute, after their functions have been traced and compiled.

    python benchmarks/defaults.py [PPO DQN ...] [--env CartPole-v1] [--seconds 60] [--target 400] [--seeds 1 2 3 4 5]

Each seed has a process of its own, in which `agent.compile()` and `agent.fit(env)` have no arguments but the seed. About every
three seconds of training 20 deterministic episodes are played, which do not count. The training ends when their mean return is
at least the target, or after the time. Then 100 deterministic episodes give the return. Prints, for each agent, the seconds of
each seed until the target was reached, the median of environment steps, and returns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

AGENTS = (
    "PPO",
    "RecurrentPPO",
    "A2C",
    "A3C",
    "IMPALA",
    "ACER",
    "Reinforce",
    "DQN",
    "QRDQN",
    "C51",
    "RecurrentDQN",
    "LinearQ",
)
EVERY = 3.0  # seconds of training between evaluations

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("agents", nargs="*", default=AGENTS, help="classes of `keras_rl_prob`")
parser.add_argument("--env", default="CartPole-v1")
parser.add_argument("--seconds", type=float, default=60.0, help="time for training")
parser.add_argument("--target", type=float, default=400.0, help="mean return at which the training ends")
parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
parser.add_argument("--one", action="store_true", help="train the first agent with the first seed, print JSON")
args = parser.parse_args()


def one(name, seed):
    """Seconds, environment steps, whether the target was reached, and the return of an agent."""
    import keras  # noqa: PLC0415

    import keras_rl_prob as krp  # noqa: PLC0415

    class Clock(keras.callbacks.Callback):
        """Stops the training at the target or when the time is over."""

        begin, evaluated, trained, reached = 0.0, 0.0, 0.0, False

        def on_train_batch_end(self, batch, logs=None):
            now = time.perf_counter()
            self.begin = self.begin or now  # the first gradient step is done: everything is compiled
            self.trained = now - self.begin
            if self.trained >= args.seconds:
                self.model.stop_training = True
            if self.trained - self.evaluated >= EVERY:
                self.evaluated = self.trained
                self.reached = self.model.evaluate(args.env, episodes=20, verbose=0)[0] >= args.target
                self.begin += time.perf_counter() - now  # evaluations do not count
                if self.reached:
                    self.model.stop_training = True

    keras.utils.set_random_seed(seed)
    agent = getattr(krp, name)()
    agent.compile()
    clock = Clock()
    agent.fit(args.env, epochs=10_000, seed=seed, callbacks=[clock], verbose=0)
    result = agent.evaluate(args.env, episodes=100, verbose=0)[0]
    return {"seconds": clock.trained, "steps": int(agent.env_steps), "reached": clock.reached, "return": result}


def separate(name, seed):
    """The result of `one` in a process of its own."""
    command = [sys.executable, __file__, name, "--one", "--env", args.env, "--seeds", str(seed)]
    command += ["--seconds", str(args.seconds), "--target", str(args.target)]
    done = subprocess.run(command, stdout=subprocess.PIPE, env=os.environ, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    if args.one:
        print(json.dumps(one(args.agents[0], args.seeds[0])))
        sys.exit()
    print("| agent | seconds | environment steps | return: median | each seed |\n| --- | --- | --- | --- | --- |")
    for name in args.agents:
        results = [separate(name, seed) for seed in args.seeds]
        median = {key: statistics.median(x[key] for x in results) for key in ("seconds", "steps", "return")}
        seconds = ", ".join(f"{x['seconds']:.0f}" if x["reached"] else "-" for x in results)
        returns = ", ".join(f"{x['return']:.1f}" for x in results)
        print(f"| `{name}` | {seconds} | {median['steps']:,} | {median['return']:.1f} | {returns} |", flush=True)
