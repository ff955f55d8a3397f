"""Writes the files that later versions must be able to read: an agent of each class, a run folder, a backup, a recording.

    python tests/old_files/write_files.py tests/old_files/0.1.0 [AGENT ...]

A folder is written once, by the version that it is named after, and never again. With names it has only the files of these
agents. Its `files.json` has the expected results.
"""

import contextlib
import json
import pathlib
import shutil
import sys

import keras_rl_prob as krp  # isort: skip  # before Keras: it keeps TensorFlow quiet

import gymnasium
import keras
import numpy as np

from keras_rl_prob.__main__ import main
from keras_rl_prob.envs import with_previous_step
from keras_rl_prob.testing import DictTask, HybridTask

CARTPOLE, MASKED, PENDULUM = "tf/CartPole-v1", "tf/CartPoleNoVel-v1", "tf/Pendulum-v1"
MASKED_PENDULUM = "tf/PendulumNoVel-v1"
ON_POLICY = {"rollout_steps": 8, "minibatches": 2, "update_epochs": 2}
REPLAY = {"rollout_steps": 4, "updates": 2, "batch_size": 8, "capacity": 200, "learning_starts": 40, "target_update": 3}
SHORT = {"rollout_steps": 4, "updates": 2}
CONTINUOUS = krp.ReplaySettings(batch_size=8, capacity=200, learning_starts=40)
SEQUENCES = {"sequence_length": 4, "burn_in": 2, "period": 2, "batch_size": 4, "capacity": 200, "learning_starts": 40}


def falling(start):
    """A schedule."""
    return keras.optimizers.schedules.PolynomialDecay(start, 1000, start / 10)


def stacked_network():
    """Two cells in one layer."""
    cells = keras.layers.StackedRNNCells([keras.layers.LSTMCell(4), keras.layers.GRUCell(4)])
    return krp.networks.recurrent(MASKED, cell=cells, shared=True)


def makers():
    """Name: (function that makes an agent, environment)."""
    return {
        "ppo": (
            lambda: krp.PPO(
                krp.networks.feed_forward(CARTPOLE, (8,)),
                **ON_POLICY,
                clip_ratio=falling(0.2),
                kl_penalty=krp.KLPenalty(0.02),
                normalize_observations=True,
            ),
            CARTPOLE,
        ),
        "ppo_pendulum": (
            lambda: krp.PPO(krp.networks.feed_forward("tf/Pendulum-v1", (8,)), **ON_POLICY),
            "tf/Pendulum-v1",
        ),
        "ppo_hybrid": (lambda: krp.PPO(krp.networks.feed_forward(HybridTask, (8,)), **ON_POLICY), HybridTask),
        "recurrent_ppo": (
            lambda: krp.RecurrentPPO(krp.networks.recurrent(MASKED, units=8, shared=True), **ON_POLICY),
            MASKED,
        ),
        "recurrent_ppo_stacked": (
            lambda: krp.RecurrentPPO(stacked_network(), **ON_POLICY, sequence_length=4),
            MASKED,
        ),
        "recurrent_ppo_dict": (
            lambda: krp.RecurrentPPO(krp.networks.recurrent(DictTask, cell="gru", units=8, shared=True)),
            DictTask,
        ),
        "a2c": (lambda: krp.A2C(krp.networks.feed_forward(CARTPOLE, (8,)), entropy_coef=falling(0.1)), CARTPOLE),
        "reinforce": (
            lambda: krp.Reinforce(krp.networks.feed_forward(CARTPOLE, (8,)), max_episode_steps=20, baseline=True),
            CARTPOLE,
        ),
        "dqn": (
            lambda: krp.DQN(
                krp.networks.q_network(CARTPOLE, (8,)), **REPLAY, exploration=krp.EpsilonGreedy(falling(1.0))
            ),
            CARTPOLE,
        ),
        "dqn_rainbow": (
            lambda: krp.DQN(
                krp.networks.q_network(CARTPOLE, (8,), dueling=True, noisy="factorised"),
                **REPLAY,
                double=True,
                dueling=True,
                n_step=3,
                noisy="factorised",
                prioritized=krp.PrioritizedReplay(beta=falling(0.9)),
            ),
            CARTPOLE,
        ),
        "recurrent_dqn": (
            lambda: krp.RecurrentDQN(
                krp.networks.q_network(MASKED, (8, 8), cell="lstm", noisy="independent"),
                **{**REPLAY, "target_update": 0.1},
                sequence_length=4,
                burn_in=2,
                period=2,
                n_step=2,
                noisy="independent",
            ),
            MASKED,
        ),
        "impala": (
            lambda: krp.IMPALA(krp.networks.recurrent(MASKED, units=8), rollout_steps=8, lag=2, clip_ratio=0.2),
            MASKED,
        ),
        "acer": (
            lambda: krp.ACER(
                krp.networks.actor_critic(CARTPOLE, (8,), critic="q"),
                rollout_steps=8,
                replay=krp.RolloutReplaySettings(capacity=128, learning_starts=32),
            ),
            CARTPOLE,
        ),
        "recurrent_ppo_previous": (
            lambda: krp.RecurrentPPO(
                krp.networks.recurrent(with_previous_step(MASKED), units=8),
                previous_action_and_reward=True,
                normalize_observations=True,
                **ON_POLICY,
            ),
            MASKED,
        ),
        "a3c": (lambda: krp.A3C(krp.networks.feed_forward(CARTPOLE, (8,))), CARTPOLE),
        "qr_dqn": (
            lambda: krp.QRDQN(krp.networks.q_network(CARTPOLE, (8,), quantiles=5), replay=CONTINUOUS, **SHORT),
            CARTPOLE,
        ),
        "c51": (
            lambda: krp.C51(
                krp.networks.q_network(CARTPOLE, (8,), atoms=7, value_bounds=(0.0, 20.0)), replay=CONTINUOUS, **SHORT
            ),
            CARTPOLE,
        ),
        "sac": (
            lambda: krp.SAC(
                krp.networks.stochastic_actor(PENDULUM, (8,)),
                krp.networks.critic(PENDULUM, (8,)),
                replay=CONTINUOUS,
                normalize_observations=True,
                **SHORT,
            ),
            PENDULUM,
        ),
        "td3": (
            lambda: krp.TD3(
                krp.networks.deterministic_actor(PENDULUM, (8,)),
                krp.networks.critic(PENDULUM, (8,)),
                replay=CONTINUOUS,
                **SHORT,
            ),
            PENDULUM,
        ),
        "recurrent_sac": (
            lambda: krp.RecurrentSAC(
                krp.networks.stochastic_actor(with_previous_step(MASKED_PENDULUM), (8,), "lstm"),
                krp.networks.critic(with_previous_step(MASKED_PENDULUM), (8,), cell="gru"),
                replay=krp.SequenceReplaySettings(n_step=2, **SEQUENCES),
                previous_action_and_reward=True,
                **SHORT,
            ),
            MASKED_PENDULUM,
        ),
        "recurrent_td3": (
            lambda: krp.RecurrentTD3(
                krp.networks.deterministic_actor(MASKED_PENDULUM, (8,), cell="lstm"),
                krp.networks.critic(MASKED_PENDULUM, (8,), cell="lstm"),
                replay=krp.SequenceReplaySettings(n_step=1, prioritized=False, **SEQUENCES),
                **SHORT,
            ),
            MASKED_PENDULUM,
        ),
        "sac_discrete": (
            lambda: krp.SAC(
                krp.networks.stochastic_actor(CARTPOLE, (8,)),
                krp.networks.critic(CARTPOLE, (8,)),
                temperature=0.1,
                replay=CONTINUOUS,
                **SHORT,
            ),
            CARTPOLE,
        ),
        "sac_hybrid": (
            lambda: krp.SAC(
                krp.networks.stochastic_actor(HybridTask, (8,)),
                krp.networks.critic(HybridTask, (8,)),
                replay=CONTINUOUS,
                **SHORT,
            ),
            HybridTask,
        ),
        "linear_q": (lambda: krp.LinearQ(rollout_steps=4, exploration=krp.Boltzmann(0.5)), CARTPOLE),
        "random_agent": (lambda: krp.RandomAgent(rollout_steps=8), CARTPOLE),
    }


ENVIRONMENTS = {name: env for name, (_, env) in makers().items()}


def agents(*names):
    """Name: (agent, environment), built but not trained; all of them, or those that are named."""
    made = {name: (make(), env) for name, (make, env) in makers().items() if not names or name in names}
    for agent, env in made.values():
        agent.compile(jit_compile=False)
        agent.build(env)
    return made


def observations(agent, count=20):
    """A batch from the observation space."""
    space = agent.input_space
    space.seed(0)
    drawn = [space.sample() for _ in range(count)]
    return keras.tree.map_structure(lambda *x: np.clip(np.stack(x), -3, 3), *drawn)


def actions(agent, observation=None):
    """The agent's actions, as lists."""
    done = agent.predict(observations(agent) if observation is None else observation, verbose=0)
    return keras.tree.map_structure(lambda x: np.asarray(x, float).round(4).tolist(), done)


def fit(agent, env, epochs, **arguments):
    """Epochs of four rollouts of four environments."""
    arguments = {"steps_per_epoch": 4 * agent.updates_per_rollout(4)} | arguments
    return agent.fit(env, epochs=epochs, num_envs=4, seed=3, verbose=0, **arguments)


class PowerCut(keras.callbacks.Callback):
    """Stops training in the second epoch."""

    def on_train_batch_end(self, batch, logs=None):
        """Raises."""
        self.batches = getattr(self, "batches", 0) + 1
        if self.batches == 6:
            raise KeyboardInterrupt


def write(folder, names):
    """Writes the files of agents with these names, or all files, into a folder."""
    keras.utils.set_random_seed(1)
    told = write_agents(folder, names)
    if not names:
        write_others(folder)
    text = json.dumps(told)
    (folder / "files.json").write_text(f"{text}\n", encoding="utf-8")


def write_agents(folder, names):
    """Writes trained agents; returns what they do."""
    told = {}
    for name, (agent, env) in agents(*names).items():
        fit(agent, env, 1)
        agent.save(folder / f"{name}.keras")
        told[name] = {"class": type(agent).__name__, "env_steps": int(agent.env_steps.numpy())}
        told[name]["iterations"] = int(agent.optimizer.iterations.numpy())
        if name != "random_agent":
            told[name]["actions"] = actions(agent)
    return told


def write_others(folder):
    """Writes a backup, a run folder and a recording."""
    agent, _ = agents("dqn_rainbow")["dqn_rainbow"]
    backup = keras.callbacks.BackupAndRestore(folder / "backup", delete_checkpoint=False)
    with contextlib.suppress(KeyboardInterrupt):
        fit(agent, CARTPOLE, 2, callbacks=[backup, PowerCut()])
    small = [f"agent.{key}={value}" for key, value in ON_POLICY.items()] + [
        "env.num_envs=4",
        "fit.epochs=2",
        "compile.jit_compile=false",
    ]
    settings = [word for setting in small for word in ("--set", setting)]
    main(["train", "--config", "cartpole_novel", "--logdir", str(folder / "runs"), "--seed", "3", *settings])
    (run,) = (folder / "runs").iterdir()
    run.rename(folder / "run")
    (folder / "runs").rmdir()
    shutil.rmtree(folder / "run" / "tensorboard", ignore_errors=True)
    episodes = krp.envs.record_episodes(gymnasium.make("CartPole-v1"), episodes=3, seed=0)
    fields = {f"{field}_{i}": x for i, episode in enumerate(episodes) for field, x in episode._asdict().items()}
    np.savez_compressed(folder / "recording.npz", **fields)


if __name__ == "__main__":
    target = pathlib.Path(sys.argv[1])
    target.mkdir(parents=True)
    write(target, sys.argv[2:])
