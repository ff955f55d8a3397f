"""Returns of the agents after a fixed number of environment steps: five seeds, median and range, as a table.

    python benchmarks/learning.py [--seeds 5] [TASK ...]

A run trains for as many whole rollouts as fit into the budget and is then evaluated over 100 deterministic episodes. Tasks with
presets use the settings of `krp.presets`, and need `pip install -e ".[environments,distributed]"`.
"""

import argparse
import operator
import os
import statistics
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

import keras_rl_prob as krp
from keras_rl_prob.testing import DictTask, HybridTask

# ten independent guesses: rewards do not depend on earlier actions
CONTEXTUAL = {"rollout_steps": 64, "minibatches": 8, "update_epochs": 8, "discount": 0.0, "entropy_coef": 0.001}
PENDULUM = {"rollout_steps": 200, "minibatches": 10, "update_epochs": 10, "discount": 0.9, "entropy_coef": 0.0}


def explored(steps, start=1.0, end=0.05):
    """Epsilon-greedy exploration with linear decay."""
    return {"exploration": krp.EpsilonGreedy(keras.optimizers.schedules.PolynomialDecay(start, steps, end))}


Q = {"rescale_values": True, **explored(10_000, end=0.04)}
N_STEP, PRIORITIES = krp.ReplaySettings(n_step=3), krp.ReplaySettings(prioritized=True)
NOT_EXPLORED = {"rescale_values": True}
LINEAR = {**explored(40_000, 0.3, 0.01), "rollout_steps": 16}
GREEDY = {"exploration": krp.EpsilonGreedy(0.0)}  # initial values of 0 are optimistic if every step costs
# task: (agent, environment, steps, (comparison, target), learning rate, environments, constructor's arguments)
TASKS: dict[str, Any] = {
    "no velocity": ("RecurrentPPO", "krp/CartPoleNoVel-v1", 400_000, (">=", 475), 1e-3, 32, {}),
    "CartPole": ("PPO", "CartPole-v1", 200_000, (">=", 475), 1e-3, 32, {}),
    "CartPole, memory": ("RecurrentPPO", "CartPole-v1", 200_000, (">=", 475), 1e-3, 32, {}),
    "Pendulum": ("PPO", "Pendulum-v1", 300_000, (">=", -250), 1e-3, 16, PENDULUM),
    "recall": ("RecurrentPPO", "tf/Recall-v0", 300_000, (">=", 0.95), 3e-3, 32, {"entropy_coef": 0.02}),
    "recall without memory": ("PPO", "tf/Recall-v0", 300_000, ("<=", 0.4), 3e-3, 32, {"entropy_coef": 0.02}),
    "hybrid Tuple action": ("PPO", HybridTask, 200_000, (">=", 8.5), 1e-3, 32, CONTEXTUAL),
    "nested Dict": ("PPO", DictTask, 200_000, (">=", 9.0), 1e-3, 32, CONTEXTUAL),
    "CartPole, preset": "cartpole_dqn",
    "CartPole, rollouts replayed": "cartpole_acer",
    "CartPole, asynchronous gradients": "cartpole_a3c",
    "LunarLander, preset": "lunarlander_dqn",
    "LunarLander, PPO preset": "lunarlander",
    "HalfCheetah, preset": "cheetah",
    "CartPole, plain": ("DQN", "tf/CartPole-v1", 98_000, (">=", 195), 1e-3, 8, Q),
    "CartPole, n-step": ("DQN", "tf/CartPole-v1", 98_000, (">=", 195), 1e-3, 8, {**Q, "replay": N_STEP}),
    "CartPole, double": ("DQN", "tf/CartPole-v1", 98_000, (">=", 195), 1e-3, 8, {**Q, "double": True}),
    "CartPole, dueling": ("DQN", "tf/CartPole-v1", 98_000, (">=", 195), 1e-3, 8, {**Q, "dueling": True}),
    "CartPole, prioritized": ("DQN", "tf/CartPole-v1", 98_000, (">=", 195), 1e-3, 8, {**Q, "replay": PRIORITIES}),
    "CartPole, soft target": ("DQN", "tf/CartPole-v1", 98_000, (">=", 195), 1e-3, 8, {**Q, "target_update": 0.02}),
    "CartPole, softmax": (
        "DQN",
        "tf/CartPole-v1",
        98_000,
        (">=", 195),
        1e-3,
        8,
        {**Q, "exploration": krp.Boltzmann(keras.optimizers.schedules.PolynomialDecay(1.0, 10_000, 0.02))},
    ),
    "CartPole, noisy, no epsilon": (
        "DQN",
        "tf/CartPole-v1",
        98_000,
        (">=", 195),
        1e-3,
        8,
        {**NOT_EXPLORED, "noisy": "factorized"},
    ),
    "CartPole, noisy independently": (
        "DQN",
        "tf/CartPole-v1",
        98_000,
        (">=", 195),
        1e-3,
        8,
        {**NOT_EXPLORED, "noisy": "independent"},
    ),
    "no velocity, replay": ("RecurrentDQN", "tf/CartPoleNoVel-v1", 98_000, (">=", 400), 1e-3, 8, {}),
    "recall, replay": ("RecurrentDQN", "tf/Recall-v0", 98_000, (">=", 0.95), 1e-3, 8, explored(30_000)),
    "CartPole, actor-critic": ("A2C", "CartPole-v1", 500_000, (">=", 475), 7e-4, 8, {}),
    "CartPole, Monte Carlo": ("Reinforce", "tf/CartPole-v1", 500_000, (">=", 400), 1e-2, 16, {}),
    "CartPole, linear": ("LinearQ", "tf/CartPole-v1", 150_000, (">=", 195), 0.2, 8, LINEAR),
    "MountainCar, linear": ("LinearQ", "tf/MountainCar-v0", 60_000, (">", -160), 0.01, 1, GREEDY),
}  # fmt: skip
COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt}
PRESETS = {
    "cartpole_dqn": (">=", 475),
    "cartpole_acer": (">=", 475),
    "cartpole_a3c": (">=", 475),
    "lunarlander_dqn": (">=", 150),
    "lunarlander": (">=", 200),
    "cheetah": (">=", 1500),
}


def decaying(optimizer, learning_rate, updates):
    """The agent's default optimizer with a learning rate that falls to a tenth."""
    schedule = keras.optimizers.schedules.PolynomialDecay(learning_rate, updates, learning_rate / 10)
    return type(optimizer).from_config({**optimizer.get_config(), "learning_rate": schedule})


def run(agent_name, env, steps, learning_rate, num_envs, arguments, seed):
    """Trains one agent and returns its mean return, the number of environment steps and the seconds."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    agent = getattr(krp, agent_name)(**arguments)
    replay = getattr(agent, "replay", None)
    rollouts = (steps - (replay.learning_starts if replay else 0)) // (num_envs * agent.rollout_steps)
    updates = rollouts * agent.updates_per_rollout(num_envs)
    agent.compile(decaying(agent.default_optimizer(), learning_rate, updates))
    return trained(agent, env, {"epochs": 1, "steps_per_epoch": updates, "num_envs": num_envs})


def run_preset(name, seed):
    """The same for a preset."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    config = krp.presets.complete(krp.presets.get(name))
    fit = {key: config["fit"][key] for key in ("epochs", "steps_per_epoch")}
    env, validation = krp.presets.make_env(config), krp.presets.make_env(config, validation=True)
    fit |= {key: config["env"][key] for key in ("num_envs", "collectors")}
    return trained(krp.presets.build(config), env, fit, validation)


def trained(agent, env, fit, validation=None):
    """Mean return, environment steps and seconds of a run."""
    start = time.time()
    agent.fit(env, **fit, verbose=0)
    seconds = time.time() - start
    result = agent.evaluate(env if validation is None else validation, episodes=100, return_dict=True, verbose=0)
    return result["return"], int(agent.env_steps.numpy()), seconds


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"of {list(TASKS)}; default: all")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    print("| task | agent | steps | target | median | lowest | highest | seconds per run |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    missed = []
    for name in args.tasks or TASKS:
        seeds = range(1, args.seeds + 1)
        if isinstance(TASKS[name], str):
            agent, (comparison, target) = TASKS[name], PRESETS[TASKS[name]]
            runs = [run_preset(TASKS[name], seed) for seed in seeds]
        else:
            agent, env, steps, (comparison, target), rate, num_envs, arguments = TASKS[name]
            runs = [run(agent, env, steps, rate, num_envs, arguments, seed) for seed in seeds]
        returns = [value for value, *_ in runs]
        median = statistics.median(returns)
        if not COMPARE[comparison](median, target):
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
