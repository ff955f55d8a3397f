"""What the agents learn within a fixed number of environment steps: five seeds, median and spread, as a table.

    python benchmarks/learning.py [--seeds 5] [TASK ...]

A run trains for as many whole rollouts as fit into the budget and is then evaluated over 100 deterministic episodes.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

import keras_rl_prob as krp
from keras_rl_prob.testing import DictTask, HybridTask

# ten independent guesses: no step helps a later one
CONTEXTUAL = {"rollout_steps": 64, "minibatches": 8, "update_epochs": 8, "discount": 0.0, "entropy_coef": 0.001}
# task: (agent, environment, steps, (comparison, target), learning rate, environments, constructor's arguments)
TASKS = {
    "no velocity": ("RecurrentPPO", "krp/CartPoleNoVel-v1", 400_000, (">=", 475), 1e-3, 32, {}),
    "CartPole": ("PPO", "CartPole-v1", 200_000, (">=", 475), 1e-3, 32, {}),
    "CartPole, memory": ("RecurrentPPO", "CartPole-v1", 200_000, (">=", 475), 1e-3, 32, {}),
    "Pendulum": (
        "PPO",
        "Pendulum-v1",
        300_000,
        (">=", -250),
        1e-3,
        16,
        {"rollout_steps": 200, "minibatches": 10, "update_epochs": 10, "discount": 0.9, "entropy_coef": 0.0},
    ),
    "recall": ("RecurrentPPO", "tf/Recall-v0", 300_000, (">=", 0.95), 3e-3, 32, {"entropy_coef": 0.02}),
    "recall without memory": ("PPO", "tf/Recall-v0", 300_000, ("<=", 0.4), 3e-3, 32, {"entropy_coef": 0.02}),
    "hybrid Tuple action": ("PPO", HybridTask, 200_000, (">=", 8.5), 1e-3, 32, CONTEXTUAL),
    "nested Dict": ("PPO", DictTask, 200_000, (">=", 9.0), 1e-3, 32, CONTEXTUAL),
}


def run(agent_name, env, steps, learning_rate, num_envs, arguments, seed):
    """Trains one agent and returns its mean return, the environment steps it took and the seconds."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    agent = getattr(krp, agent_name)(**arguments)
    rollouts = steps // (num_envs * agent.rollout_steps)
    updates = agent.minibatches * agent.update_epochs
    schedule = keras.optimizers.schedules.PolynomialDecay(learning_rate, rollouts * updates, learning_rate / 10)
    agent.compile(keras.optimizers.Adam(schedule, epsilon=1e-5, global_clipnorm=0.5))
    start = time.time()
    agent.fit(env, epochs=1, steps_per_epoch=rollouts * updates, num_envs=num_envs, verbose=0)
    seconds = time.time() - start
    result = agent.evaluate(env, episodes=100, return_dict=True, verbose=0)
    return result["return"], int(agent.env_steps.numpy()), seconds


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"of {list(TASKS)}; default: all")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    print("| task | agent | steps | target | median | lowest | highest | seconds a run |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    missed = []
    for name in args.tasks or TASKS:
        agent, env, steps, (comparison, target), *settings = TASKS[name]
        runs = [run(agent, env, steps, *settings, seed) for seed in range(1, args.seeds + 1)]
        returns = [value for value, *_ in runs]
        median = statistics.median(returns)
        if not (median >= target if comparison == ">=" else median <= target):
            missed.append(name)
        taken, seconds = max(taken for _, taken, _ in runs), statistics.median(s for *_, s in runs)
        print(
            f"| {name} | {agent} | {taken:,} | {comparison} {target} | {median:.2f} | {min(returns):.2f} | "
            f"{max(returns):.2f} | {seconds:.0f} |",
            flush=True,
        )
    if missed:
        raise SystemExit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
