"""Environment steps per second on CartPole, relative to other libraries, as ratios from one run.

    python benchmarks/throughput.py [--against PATH] [--rounds 3]

"gym" is Gymnasium's CartPole-v1 in a SyncVectorEnv (a DummyVecEnv for stable-baselines3), "vectorised" the same id through
Gymnasium's own vector implementation, which is what `fit("CartPole-v1")` uses, "native" is tf/CartPole-v1.

Needs `pip install torch` (any build) and then `pip install -e ".[benchmark]"`. Every contestant trains in a separate process,
PPO with 32 environments x 128 steps and 4 x 4 updates, A2C with 8 x 5, DQN with the settings of rl-baselines3-zoo (one
environment, 128 gradient steps after every 256 steps), in turn, `--rounds` times; a contestant's rate is the median over the
rounds of the median over the later half of the rates that one process printed. With `--against`, the script at PATH runs too,
without arguments and with `--gym sync`; it must print lines with "... env steps/s".
"""

import argparse
import pathlib
import re
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--against", help="another script to measure against, native and with --gym sync")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--agents", nargs="+", default=["RecurrentPPO", "PPO", "A2C", "DQN"], help="default: all")
parser.add_argument("--sb3-python", default=sys.executable, help="Python that has stable-baselines3; default: this one")
parser.add_argument("--without-sb3", action="store_true")
args = parser.parse_args()


def command(name):
    """The command line of a contestant, by its name in the table."""
    who, agent, env = name.split(" ")
    env = [] if env == "native" else ["--gym", "sync" if env == "gym" else "vector_entry_point"]
    if who == "ours":
        return [sys.executable, HERE / "train_ours.py", "--agent", agent, *env]
    if who == "against":
        return [sys.executable, args.against, *env]
    return [args.sb3_python, HERE / "train_sb3.py", "--agent", agent]


def rate(name):
    """Runs a contestant once; returns the median of the later half of its rates."""
    output = subprocess.run(command(name), capture_output=True, text=True, check=False)
    rates = [float(x.replace(",", "")) for x in re.findall(r"([\d,.]+) env steps/s", output.stdout)]
    if output.returncode or not rates:
        sys.exit(f"{name} failed:\n{output.stdout}\n{output.stderr[-2000:]}")
    return statistics.median(rates[len(rates) // 2 :])


contestants = [f"ours {agent} {env}" for agent in args.agents for env in ("native", "gym", "vectorised")]
ratios = []
if args.against:
    contestants += ["against RecurrentPPO native", "against RecurrentPPO gym"]
    ratios += [(f"ours RecurrentPPO {env}", f"against RecurrentPPO {env}") for env in ("native", "gym")]
if not args.without_sb3:
    pairs = [(agent, agent) for agent in args.agents]
    if "RecurrentPPO" in args.agents:
        pairs.append(("RecurrentPPO", "RecurrentPPO-shared"))
    contestants += [f"sb3 {other} gym" for _, other in pairs]
    for agent, other in pairs:
        ratios += [(f"ours {agent} {env}", f"sb3 {other} gym") for env in ("native", "vectorised", "gym")]

rates: dict[str, list[float]] = {name: [] for name in contestants}
for turn in range(args.rounds):
    for name in contestants:
        rates[name].append(rate(name))
        print(f"round {turn + 1}: {name:32} {rates[name][-1]:>10,.0f} env steps/s", flush=True)
print("\nmedian env steps/s (spread)")
for name, values in rates.items():
    print(f"  {name:32} {statistics.median(values):>10,.0f}   ({min(values):,.0f} - {max(values):,.0f})")
print("\nratios (median over the rounds)")
for ours, other in ratios:
    ratio = statistics.median(a / b for a, b in zip(rates[ours], rates[other], strict=True))
    print(f"  {ours:28} / {other:28} {ratio:6.2f}")
