"""`experiment`: trains with several seeds and compares the results."""

import argparse
import json
import statistics

from keras_rl_prob import presets
from keras_rl_prob.agents.arguments import evaluation_envs
from keras_rl_prob.cli import configs, runs, training
from keras_rl_prob.cli.bootstrap import bootstrap_interval
from keras_rl_prob.cli.commands import plot
from keras_rl_prob.cli.errors import UserError

EXPERIMENT, EPISODES = "experiment.json", 100


def run(args: argparse.Namespace) -> int | None:
    """Trains, evaluates, and prints the table."""
    folders, episodes = _resumed(args) if args.resume else _created(args)
    returns = {}
    for folder in folders:
        config = runs.read_config(folder)
        if not training.is_complete(folder, config):
            signal = training.fit(training.built(config), folder, config)
            if signal:
                print(f"Stopped. To continue: keras-rl-prob experiment --resume {folder.parent}")
                return 128 + signal
        agent = runs.load_agent(folder, "final")
        env = presets.make_env(config, validation=True, num_envs=evaluation_envs(episodes, 1))
        result = agent.evaluate(env, episodes=episodes, return_dict=True, verbose=0)
        returns[folder.name] = float(result["return"])
    _report(returns, episodes)
    try:
        plot.draw(folders, folders[0].parent / runs.CURVE)
    except UserError as error:
        print(f"Without {runs.CURVE}. {error}")
    return 0


def _created(args):
    """New run folders, one for each seed."""
    args.seed = 1 if args.seed is None else args.seed
    configs.check_last_seed(args.seed, args.seeds)
    config = configs.from_arguments(args)
    training.built(config)  # raises errors before a folder is created
    folder = runs.create(args.logdir, f"{config['name']}-experiment")
    folders = [folder / f"seed_{seed}" for seed in range(args.seed, args.seed + args.seeds)]
    for seed, run_folder in enumerate(folders, args.seed):
        run_folder.mkdir()
        runs.write_config(run_folder, {**config, "seed": seed})
    episodes = args.episodes or EPISODES
    (folder / EXPERIMENT).write_text(json.dumps({"episodes": episodes}) + "\n", encoding="utf-8")
    return folders, episodes


def _resumed(args):
    """The run folders of an experiment to resume."""
    if configs.changes(args):
        raise UserError("--resume continues with the settings of the experiment; no others are possible")
    note = args.resume / EXPERIMENT
    noted = configs.read(note) if note.is_file() else {}
    if not isinstance(noted, dict):
        raise UserError(f"{note} is not what `keras-rl-prob experiment` has written")
    return runs.seeds_of(args.resume), args.episodes or noted.get("episodes", EPISODES)


def _report(returns, episodes):
    """Prints a line for each seed, and statistics over all seeds."""
    for name, value in returns.items():
        print(f"{name:<10} {value:>10.2f}")
    values = list(returns.values())
    low, high = bootstrap_interval(values)
    best, worst = max(returns, key=returns.get), min(returns, key=returns.get)
    print(f"mean return over {episodes} episodes {statistics.fmean(values):.2f}, 95 % interval {low:.2f} to {high:.2f}")
    print(
        f"median {statistics.median(values):.2f}, best {best} {returns[best]:.2f}, worst {worst} {returns[worst]:.2f}"
    )
