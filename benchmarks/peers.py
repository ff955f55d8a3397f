"""Environment steps per second on CartPole beside stable-baselines3, sb3-contrib, SBX and PureJaxRL, as ratios from one run.

    python benchmarks/peers.py --sb3 PYTHON --sbx PYTHON --purejaxrl PYTHON CHECKOUT [--rows gru ...] [--rounds 3] [--cores 1]

PYTHON are interpreters that have the libraries: `pip install torch sb3-contrib sbx-rl`, and for PureJaxRL, of which CHECKOUT is
a clone, `pip install flax distrax optax "gymnax<0.1"`. Rows of a peer that is not given are left out.

Both sides have the same structure, environments, rollouts, minibatches and passes; "native" is `tf/CartPole-v1`, "gym" is
Gymnasium's CartPole as `fit("CartPole-v1")` makes it, and a `DummyVecEnv` for the others. Every contestant trains in a process
of its own, ours and the peer's in turn, `--rounds` times; its rate is the median of the later half of the rates that it
printed. A ratio is the median over the rounds, beside the lowest and the highest. `--cores 1` pins both to one core.
"""

import argparse
import pathlib
import re
import statistics
import subprocess
import sys
from typing import NamedTuple

from rounds import add_options, compared, machine, pinned

HERE = pathlib.Path(__file__).parent


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        name: What is compared.
        ours: Arguments of `train_ours.py`.
        peer: `"sb3"`, `"sbx"` or `"purejaxrl"`.
        theirs: Arguments of the peer's script.
    """

    name: str
    ours: str
    peer: str
    theirs: str


ROWS = [
    Row("lstm native", "--network lstm", "sb3", "--agent RecurrentPPO-shared"),
    Row("lstms native", "--network lstms", "sb3", "--agent RecurrentPPO"),
    Row("lstm gym", "--network lstm --gym", "sb3", "--agent RecurrentPPO-shared"),
    Row("lstms gym", "--network lstms --gym", "sb3", "--agent RecurrentPPO"),
    Row("PPO gym", "--agent PPO --gym", "sb3", "--agent PPO"),
    Row("A2C gym", "--agent A2C --gym", "sb3", "--agent A2C"),
    Row("DQN gym", "--agent DQN --gym", "sb3", "--agent DQN"),
    *(
        Row(f"gru {n} native", f"--network gru --envs {n}", "purejaxrl", f"--agent ppo_rnn --envs {n}")
        for n in (32, 256, 1024)
    ),
    *(
        Row(f"PPO {n} native", f"--agent PPO --envs {n}", "purejaxrl", f"--agent ppo --envs {n}")
        for n in (32, 256, 2048)
    ),
    Row("PPO gym sbx", "--agent PPO --gym", "sbx", "--agent PPO"),
    Row("DQN gym sbx", "--agent DQN --gym", "sbx", "--agent DQN"),
]


def arguments():
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, rounds=3)
    parser.add_argument("--purejaxrl", nargs=2, metavar=("PYTHON", "CHECKOUT"))
    parser.add_argument(
        "--rows", nargs="+", default=[""], help="words that a row's name begins with; default: all rows"
    )
    return parser.parse_args()


def rate(name, command):
    """Runs a contestant once; returns the median of the later half of its rates."""
    output = subprocess.run(command, capture_output=True, text=True, check=False)
    rates = [float(x.replace(",", "")) for x in re.findall(r"([\d,.]+) env steps/s", output.stdout)]
    if output.returncode or not rates:
        sys.exit(f"{name} failed:\n{output.stdout}\n{output.stderr[-2000:]}")
    return statistics.median(rates[len(rates) // 2 :])


def main():
    """Measures all rows in turn and prints the table."""
    args = arguments()
    peers = {"sb3": args.sb3 and [args.sb3], "sbx": args.sbx and [args.sbx]}
    peers["purejaxrl"] = args.purejaxrl and args.purejaxrl[:1]
    start = pinned(args.cores)
    rows = [row for row in ROWS if peers[row.peer] and row.name.startswith(tuple(args.rows))]
    rates: dict[Row, list[tuple[float, float]]] = {row: [] for row in rows}
    for turn in range(args.rounds):
        for row in rows:
            script = [str(HERE / f"train_{row.peer}.py"), *(args.purejaxrl[1:] if row.peer == "purejaxrl" else [])]
            ours = rate(row.name, [*start, sys.executable, str(HERE / "train_ours.py"), *row.ours.split()])
            theirs = rate(f"{row.name}, {row.peer}", [*start, *peers[row.peer], *script, *row.theirs.split()])
            rates[row].append((ours, theirs))
            print(f"round {turn + 1}: {row.name:18} {ours:>10,.0f} {row.peer:>10} {theirs:>10,.0f}", flush=True)
    print(f"\n{machine(args.cores)}\n")
    print("| row | ours, env steps/s | peer | env steps/s | ratio | range |\n| --- | --- | --- | --- | --- | --- |")
    for row, found in rates.items():
        ours, theirs = zip(*found, strict=True)
        print(f"| {row.name} | {compared(ours, row.peer, theirs)} |")


main()
