"""Arguments that several commands take, and the types of numbers."""

import argparse

AGENT = "PPO"
"""The agent for an environment that is given without one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what names a configuration: `ENV` with `--agent`, or `--config`; `--set` and its short forms, and `--seed`."""
    parser.add_argument("env", nargs="?", metavar="ENV", help="id of an environment, for an agent without a preset")
    parser.add_argument(
        "--agent", metavar="CLASS", help=f"the agent for ENV, such as PPO, DQN or RecurrentPPO; default: {AGENT}"
    )
    parser.add_argument(
        "--config", metavar="NAME|FILE", help="a preset (see `list`) or a JSON file like a run's config.json"
    )
    parser.add_argument(
        "--set",
        metavar="SECTION.KEY=VALUE",
        action="append",
        default=[],
        help="change a setting, as in agent.clip_ratio=0.1; VALUE is JSON or else a string; may be repeated",
    )
    parser.add_argument("--epochs", type=positive, metavar="N", help="short for --set fit.epochs=N")
    parser.add_argument(
        "--env-steps",
        type=positive,
        metavar="N",
        help="environment steps of all epochs, which divide them; short for --set fit.env_steps=N",
    )
    parser.add_argument(
        "--env-processes",
        type=positive,
        metavar="N",
        help="processes that the environments run in; short for --set env.processes=N",
    )
    parser.add_argument(
        "--seed", type=seed, metavar="N", help="determines all random numbers; default: a random one, which is recorded"
    )


def positive(text: str) -> int:
    """Parses a positive integer."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer. Received: {text!r}")
    return int(text)


def seed(text: str) -> int:
    """Parses a seed."""
    if not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"must be an integer from 0 to {2**31 - 1}. Received: {text!r}")
    return int(text)
