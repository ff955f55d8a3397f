"""Population-based training on Ray Tune: members that do badly take over the agents of those that do well.

    pip install "keras_rl_prob[population]"
    python docs/examples/population.py [--members 4] [--epochs 12] [--env tf/CartPole-v1] [--folder runs/population]

Learning rate and entropy bonus are searched while the members train: every two epochs the worst quarter goes on from the files
of the best quarter, with other numbers.
"""

import argparse
import pathlib
from typing import Any

import keras
import ray
from ray import tune
from ray.tune.integration.keras import TuneReportCheckpointCallback
from ray.tune.schedulers import PopulationBasedTraining

import keras_rl_prob as krp

ROLLOUTS, NUM_ENVS = 10, 16  # in an epoch; of each member


def train(config: dict[str, Any]) -> None:
    """Trains a member, from the beginning or from the agent of a better one, with its own numbers."""
    checkpoint = tune.get_checkpoint()
    if checkpoint is None:
        agent = krp.PPO()
        agent.compile(keras.optimizers.Adam(epsilon=1e-5, global_clipnorm=0.5))
    else:
        with checkpoint.as_directory() as folder:
            agent = keras.saving.load_model(pathlib.Path(folder, "model.keras"))
    agent.optimizer.learning_rate = config["learning_rate"]
    agent.entropy_coef = config["entropy_coef"]
    steps = ROLLOUTS * agent.updates_per_rollout(NUM_ENVS)
    agent.fit(
        config["env"],
        epochs=config["epochs"],
        initial_epoch=int(agent.optimizer.iterations) // steps,
        steps_per_epoch=steps,
        num_envs=NUM_ENVS,
        validation_data=config["env"],
        callbacks=[TuneReportCheckpointCallback()],
        verbose=0,
    )


def main() -> None:
    """Runs the search and evaluates the best agent."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--env", default="tf/CartPole-v1")
    parser.add_argument("--folder", default="runs/population")
    args = parser.parse_args()
    ray.init(include_dashboard=False, log_to_driver=False)
    numbers = {"learning_rate": tune.loguniform(1e-5, 1e-2), "entropy_coef": tune.loguniform(1e-4, 1e-1)}
    tuner = tune.Tuner(
        train,
        param_space={**numbers, "env": args.env, "epochs": args.epochs},
        tune_config=tune.TuneConfig(
            metric="val_return",
            mode="max",
            num_samples=args.members,
            scheduler=PopulationBasedTraining(perturbation_interval=2, hyperparam_mutations=numbers),
        ),
        run_config=tune.RunConfig(storage_path=str(pathlib.Path(args.folder).resolve()), verbose=1),
    )
    best: Any = tuner.fit().get_best_result()
    agent = keras.saving.load_model(pathlib.Path(best.checkpoint.path, "model.keras"))
    print(
        {name: best.config[name] for name in numbers},
        agent.evaluate(args.env, episodes=100, return_dict=True, verbose=0),
    )


if __name__ == "__main__":
    main()
