"""`experiment`: trains with several seeds and compares the results."""

import argparse
import json
import pathlib
import statistics
from typing import Any

from keras_rl_prob import checks, presets
from keras_rl_prob.agents.arguments import evaluation_envs
from keras_rl_prob.callbacks.plots.plot_learning_curves import BANDS
from keras_rl_prob.cli import configs, runs, side_by_side, training
from keras_rl_prob.cli.bootstrap import bootstrap_interval
from keras_rl_prob.cli.commands import plot
from keras_rl_prob.cli.errors import UserError, blaming
from keras_rl_prob.types import Path

EXPERIMENT, EPISODES, SEEDS = "experiment.json", 100, 5


def run(args: argparse.Namespace) -> int | None:
    """Trains, evaluates, and prints the table."""
    if args.resume:
        folders, episodes = _resumed(args.resume, args.episodes, configs.changes(args), args.seeds)
    else:
        args.seed = 1 if args.seed is None else args.seed
        seeds = args.seeds or SEEDS
        configs.check_last_seed(args.seed, seeds)
        folders, episodes = _created(configs.from_arguments(args), seeds, args.episodes, args.logdir)
    signal, _ = _finished(folders, episodes, args.processes, args.band)
    return 128 + signal if signal else 0


def experiment(
    config: str | dict[str, Any] | None = None,
    seeds: int | None = None,
    seed: int = 1,
    episodes: int | None = None,
    processes: int = 1,
    logdir: Path = "runs",
    resume: Path | None = None,
    band: str = "range",
) -> dict[str, float]:
    """Trains with several seeds, evaluates and compares, like the command `experiment`, and prints what it prints.

    Args:
        config: Name of a preset, or a configuration as for `krp.presets.check`; `None` with `resume`.
        seeds: How many, 5 by default; with `resume`, how many there shall be then, by default those that there are.
        seed: The first of them.
        episodes: Episodes of each evaluation, 100 by default.
        processes: How many runs train at a time, each in a process of its own. Agents of your own need 1.
        logdir: Folder in which that of the experiment is made.
        resume: Folder of an experiment to go on with.
        band: Of the learning curve `curve.png`: `"range"` of the seeds, or a standard `"deviation"`.

    Returns:
        Dict from the paths of the run folders to the mean return of the final agent of each.

    Raises:
        ValueError: An argument is wrong.
        keras_rl_prob.cli.errors.UserError: No agent or environment can be made from the configuration, or `resume` is no folder
            of an experiment.
        ChildProcessError: A process has failed; the text names its run.
        KeyboardInterrupt: A signal has stopped the experiment after the current epochs.

    Example:
    ```python
    from keras_rl_prob.cli import experiment

    if __name__ == "__main__":
        returns = experiment("cartpole", seeds=4, processes=2, band="deviation")
    ```
    """
    seeds, processes = checks.integer("seeds", seeds, none=True), checks.integer("processes", processes)
    seed, episodes = checks.seed("seed", seed, least=0), checks.integer("episodes", episodes, none=True)
    if band not in BANDS:
        raise ValueError(f"`band` must be one of {list(BANDS)}. Received: band={band!r}")
    if (config is None) == (resume is None):
        raise ValueError(f"Either `config` or `resume` must be given. Received: config={config!r}, resume={resume!r}")
    if resume is not None:
        folders, episodes = _resumed(pathlib.Path(checks.path("resume", resume)), episodes, {}, seeds)
    else:
        seeds = seeds or SEEDS
        configs.check_last_seed(seed, seeds)
        named: Any = presets.get(config) if isinstance(config, str) else config
        with blaming(None, *configs.WRONG):
            complete = presets.complete({"name": "mine", **named, "seed": seed})
        folders, episodes = _created(complete, seeds, episodes, checks.path("logdir", logdir))
    signal, returns = _finished(folders, episodes, processes, band)
    if signal:
        raise KeyboardInterrupt(f"signal {signal}")
    return {str(folders[0].parent / name): value for name, value in returns.items()}


def _finished(folders, episodes, processes, band):
    """Trains what is missing, evaluates and prints; the signal that stopped it or `None`, and the return of each run."""
    missing = [folder for folder in folders if not training.is_complete(folder, runs.read_config(folder))]
    signal = side_by_side.train(missing, processes) if missing and processes > 1 else None
    returns: dict[str, float] = {}
    for folder in folders if not signal else []:
        config = runs.read_config(folder)
        if not training.is_complete(folder, config):
            signal = training.fit(training.built(config), folder, config)
            if signal:
                break
        agent = runs.load_agent(folder, "final")
        env = presets.make_env(config, validation=True, num_envs=evaluation_envs(episodes, 1))
        result = agent.evaluate(env, episodes=episodes, return_dict=True, verbose=0)
        returns[folder.name] = float(result["return"])
    if signal:
        print(f"Stopped. To continue: keras-rl-prob experiment --resume {folders[0].parent}")
        return signal, {}
    _report(returns, episodes)
    try:
        plot.draw(folders, folders[0].parent / runs.CURVE, band=band)
    except UserError as error:
        print(f"Without {runs.CURVE}. {error}")
    return None, returns


def _created(config, seeds, episodes, logdir):
    """New run folders, one for each seed from that of the configuration on."""
    training.built(config)  # raises errors before a folder is created
    folder = runs.create(logdir, f"{config['name']}-experiment")
    folders = [_run_folder(folder, config, seed) for seed in range(config["seed"], config["seed"] + seeds)]
    episodes = episodes or EPISODES
    (folder / EXPERIMENT).write_text(json.dumps({"episodes": episodes}) + "\n", encoding="utf-8")
    return folders, episodes


def _run_folder(folder, config, seed):
    """A new run folder for a seed."""
    run_folder = folder / f"seed_{seed}"
    run_folder.mkdir()
    runs.write_config(run_folder, {**config, "seed": seed})
    return run_folder


def _resumed(folder, episodes, changes, seeds):
    """The run folders of an experiment to resume, with new ones if there shall be more seeds."""
    if changes:
        raise UserError("--resume continues with the settings of the experiment; no others are possible")
    note = folder / EXPERIMENT
    noted = configs.read(note) if note.is_file() else {}
    if not isinstance(noted, dict):
        raise UserError(f"{note} is not what `keras-rl-prob experiment` has written")
    folders = runs.seeds_of(folder)
    if seeds is not None:
        config = runs.read_config(folders[0])
        if folders == [folder] or seeds < len(folders):
            there = "a single run" if folders == [folder] else f"{len(folders)} seeds"
            raise UserError(f"--resume with --seeds adds seeds to an experiment. Received: --seeds {seeds} for {there}")
        configs.check_last_seed(config["seed"], seeds)
        first, end = config["seed"] + len(folders), config["seed"] + seeds
        folders += [_run_folder(folder, config, seed) for seed in range(first, end)]
    return folders, episodes or noted.get("episodes", EPISODES)


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
