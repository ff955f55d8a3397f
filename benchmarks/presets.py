"""Every preset with one seed for some minutes of processor time, beside a random agent.

    python benchmarks/presets.py [cartpole doom_basic ...] [--skip pong ...] [--scale 1.0] [--seed 1] [--results FOLDER]

Each preset has a process of its own, and at most 10 minutes of processor time for training, or 30 on MuJoCo, Bullet, Atari,
VizDoom and football: 5 and 15 minutes of two cores, which other work may share. The time counts from the beginning of `fit`,
with compilation, and with the processes of environments and collectors. A training that reaches the preset's end is shorter;
one that is cut off has the large learning rates of its beginning. Deterministic episodes, the same for both, give the returns.
Each preset then has a line in `presets.jsonl` in the folder; one that has a line for as much time is skipped, so that the
command may be stopped at any time and started again. Output of the trainings: `NAME.log` there, their agents: `NAME.keras`.
Prints the table in the end; with `--table` it does nothing else. Linux only.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

PUBLISHED = {  # return and environment steps: rl-baselines3-zoo's benchmark.md, one run each, unless noted
    "cartpole": (500.0, 100_000),
    "cartpole_a2c": (500.0, 500_000),
    "cartpole_c51": (500.0, 50_000),
    "cartpole_dqn": (500.0, 50_000),
    "cartpole_novel": (500.0, 100_000),
    "cartpole_qrdqn": (500.0, 50_000),
    "lunarlander": (242.1, 1_000_000),
    "lunarlander_dqn": (154.4, 100_000),
    "mountaincar": (-110.4, 1_000_000),
    "mountaincar_a2c": (-111.3, 1_000_000),
    "mountaincar_dqn": (-100.8, 120_000),
    "pendulum": (-172.2, 100_000),
    "pendulum_sac": (-157.0, 20_000),
    "pendulum_td3": (-152.0, 20_000),
}
EPISODES = {
    "tf": 100,
    "box2d": 20,
    "mujoco": 20,
    "bullet": 20,
    "Vizdoom": 20,
    "krp": 20,
    "ALE": 4,
}  # of an evaluation; in this order
LONG = "mujoco", "bullet", "Vizdoom", "krp", "ALE"  # have three times the time
TICKS = os.sysconf("SC_CLK_TCK")

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("names", nargs="*", help="presets; default: all")
parser.add_argument("--skip", nargs="*", default=[], help="presets to leave out")
parser.add_argument("--scale", type=float, default=1.0, help="factor of the time for training")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--results", type=pathlib.Path, default=pathlib.Path("presets"), help="folder")
parser.add_argument("--table", action="store_true", help="print the table of the results")
parser.add_argument("--one", action="store_true", help="train the first preset, print JSON")


def library(config):
    """What the environment of a preset comes from, one of the keys of `EPISODES`."""
    import gymnasium  # noqa: PLC0415

    name = config["env"]["id"]
    if "/" in name or name.startswith("Vizdoom"):
        return name.split("/")[0][:7]
    return "bullet" if "Bullet" in name else str(gymnasium.spec(name).entry_point).split(".")[2]


def minutes(config, scale):
    """Minutes of processor time that a preset has."""
    return round(scale * (30.0 if library(config) in LONG else 10.0), 3)


def processor_seconds(pid):
    """User and system time of a process, the processes that it has waited for, and all that still run below it."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        below = [x.read_text().split() for x in pathlib.Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:  # it has just ended
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS + sum(processor_seconds(x) for children in below for x in children)


def one(name, seed, scale, folder):
    """The line of a preset, whose agent it saves."""
    import keras  # noqa: PLC0415

    import keras_rl_prob as krp  # noqa: PLC0415

    config = krp.presets.complete(krp.presets.get(name))
    limit = 60.0 * minutes(config, scale)
    episodes = EPISODES[library(config)]

    class Clock(keras.callbacks.Callback):
        """Stops the training when its processor time is over."""

        begin, looked, over = 0.0, 0.0, False

        def __init__(self):
            super().__init__()
            self.last = {}

        def on_train_begin(self, logs=None):
            self.begin = processor_seconds(os.getpid())

        def on_train_batch_end(self, batch, logs=None):
            if time.monotonic() - self.looked > 1.0:
                self.looked = time.monotonic()
                self.over = self.used() >= limit
                self.model.stop_training = self.model.stop_training or self.over

        def on_epoch_end(self, epoch, logs=None):
            self.last = {key: float(value) for key, value in (logs or {}).items()}

        def used(self):
            return processor_seconds(os.getpid()) - self.begin

    def played(agent):
        validation = krp.presets.make_env(config, validation=True)
        return agent.evaluate(validation, episodes=episodes, return_dict=True, verbose=0)

    random = krp.RandomAgent()
    random.compile()
    baseline = played(random)
    keras.utils.set_random_seed(seed)
    agent = krp.presets.build(config)
    clock, started = Clock(), time.monotonic()
    length = {key: config["fit"][key] for key in ("epochs", "steps_per_epoch", "env_steps")}
    env = {"num_envs": config["env"]["num_envs"], "env_processes": config["env"]["processes"]}
    collectors = config["env"]["collectors"]
    made = krp.presets.make_env(config)
    agent.fit(made, **length, **env, collectors=collectors, seed=seed, callbacks=[clock], verbose=2)
    used, waited = clock.used() / 60.0, (time.monotonic() - started) / 60.0
    agent.save(folder / f"{name}.keras")
    result = played(agent)
    return {
        "agent": config["agent"]["class"],
        "steps": int(agent.env_steps),
        "complete": not clock.over,
        "minutes": round(used, 2),
        "elapsed": round(waited, 2),
        "return": result["return"],
        "return_std": result["return_std"],
        "random": baseline["return"],
        "random_std": baseline["return_std"],
        "episodes": episodes,
        "training": clock.last,
    }


def rows(folder):
    """The lines of `presets.jsonl` by preset, the one with the most time of each; a line that was cut off is left out."""
    best: dict[str, dict[str, Any]] = {}
    path = folder / "presets.jsonl"
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row["budget"] >= best.get(row["preset"], {"budget": 0.0})["budget"]:
            best[row["preset"]] = row
    return best


def separate(name, args, budget):
    """Trains a preset in a process of its own and appends its line."""
    command = [sys.executable, "-u", __file__, name, "--one", "--seed", str(args.seed), "--scale", str(args.scale)]
    command += ["--results", str(args.results)]
    row = {"preset": name, "seed": args.seed, "budget": budget}
    with open(args.results / f"{name}.log", "w") as log:
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
    lines = (args.results / f"{name}.log").read_text().splitlines() or [""]
    row |= {"error": lines[-1]} if done.returncode else json.loads(lines[-1])
    with open(args.results / "presets.jsonl", "a") as results:
        results.write("\n" + json.dumps(row))  # a line that was cut off does not spoil the next one
    return row


def not_learned(row):
    """A note, unless the return is above that of the random agent by more than two standard errors of their difference."""
    error = ((row["return_std"] ** 2 + row["random_std"] ** 2) / row["episodes"]) ** 0.5
    return "" if row["return"] > row["random"] + 2 * error else ", not learned at this budget"


def table(found):
    """The rows as lines of a table."""
    yield "| preset | agent | steps | minutes | return | random agent | published |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, row in sorted(found.items()):
        if "error" in row:
            yield f"| `{name}` | failed | | | | | {row['error'][:120]} |"
            continue
        published = "{:,.1f} ({:,})".format(*PUBLISHED[name]) if name in PUBLISHED else ""
        steps = f"{row['steps']:,}{'' if row['complete'] else ', cut off'}"
        yield (
            f"| `{name}` | {row['agent']} | {steps} | {row['minutes']:.1f} | {row['return']:,.1f}{not_learned(row)} | "
            f"{row['random']:,.1f} | {published} |"
        )


def main():
    """Trains what is missing, the shortest first, and prints the table."""
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args.names[0], args.seed, args.scale, args.results)))
        return
    from keras_rl_prob import presets  # noqa: PLC0415

    args.results.mkdir(parents=True, exist_ok=True)
    configs = {name: presets.get(name) for name in args.names or presets.names() if name not in args.skip}
    budgets = {name: minutes(config, args.scale) for name, config in configs.items()}
    order = [*EPISODES]
    for name in [] if args.table else sorted(configs, key=lambda name: (order.index(library(configs[name])), name)):
        before = rows(args.results).get(name)
        if before is None or before["budget"] < budgets[name]:
            print(json.dumps(separate(name, args, budgets[name])), flush=True)
    print(*table(rows(args.results)), sep="\n")


if __name__ == "__main__":
    main()
