"""What benchmarks beside other libraries share: options, the machine, ratios of rates over rounds."""

import pathlib
import platform
import statistics


def add_options(parser, rounds):
    """Adds the options that all of them have to an `argparse` parser."""
    parser.add_argument("--sb3", metavar="PYTHON", help="interpreter that has stable-baselines3 and sb3-contrib")
    parser.add_argument("--sbx", metavar="PYTHON", help="interpreter that has sbx-rl")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--cores", type=int, help="number of cores to pin all processes to; default: all")


def pinned(cores):
    """What comes before a command that is to run on so many cores, `None` for all."""
    return ["taskset", "-c", ",".join(map(str, range(cores)))] if cores else []


def machine(cores):
    """The kind of machine, with those instructions of the processor that decide how fast products of matrices are."""
    known = pathlib.Path("/proc/cpuinfo")
    found = set(known.read_text(encoding="utf-8").split()) if known.exists() else set()
    instructions = " ".join(sorted(found & {"avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile"}))
    return f"{platform.machine()}, {instructions}; {cores or 'all'} cores"


def compared(ours, peer, theirs):
    """Cells of a table: our rate, the peer and its rate, their ratio, the lowest and highest; of lists, one item a round."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    medians = [f"{statistics.median(rates):,.0f}" for rates in (ours, theirs)]
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return f"{medians[0]} | {peer} | {medians[1]} | {statistics.median(ratios):.2f} | {spread}"
