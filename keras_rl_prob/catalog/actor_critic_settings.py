"""Presets of actor-critics with a replay buffer, SAC and TD3; numbers for Box2D and MuJoCo are those of RL Baselines3 Zoo."""

MUJOCO = {  # one gradient step for each environment step
    "class": "SAC",
    "rollout_steps": 32,
    "updates": 32,
    "replay": {"class": "ReplaySettings", "capacity": 1_000_000, "batch_size": 256, "learning_starts": 10_000},
}
ADAM = {"class": "Adam", "learning_rate": 3e-4}

SETTINGS = {
    "ant_sac": {
        "description": "make a quadruped run with soft actor-critic; a million steps",
        "env": {"id": "Ant-v5", "num_envs": 1},
        "agent": MUJOCO,
        "optimizer": ADAM,
        "fit": {"epochs": 20, "env_steps": 1_000_000},
    },
    "bipedal_walker_sac": {
        "description": "walk over rough ground with soft actor-critic and state-dependent exploration; half a million steps",
        "env": {"id": "BipedalWalker-v3", "num_envs": 1},
        "agent": {
            "class": "SAC",
            "critic": {"builder": "critic", "units": [400, 300]},
            "rollout_steps": 64,
            "updates": 64,
            "discount": 0.98,
            "target_update": 0.02,
            "replay": {"class": "ReplaySettings", "capacity": 300_000, "batch_size": 256, "learning_starts": 10_000},
        },
        "network": {"builder": "stochastic_actor", "units": [400, 300], "initial_scale": 0.0498, "noise_steps": 64},
        "optimizer": {"class": "Adam", "learning_rate": 7.3e-4},
        "fit": {"epochs": 10, "env_steps": 500_000},
    },
    "cartpole_sac": {
        "description": "cartpole with soft actor-critic for discrete actions; 100,000 environment steps",
        "env": {"id": "tf/CartPole-v1", "num_envs": 8},
        "agent": {
            "class": "SAC",
            "critic": {"builder": "critic", "units": [64, 64]},
            "updates": 16,
            "replay": {"class": "ReplaySettings", "batch_size": 128},
        },
        "network": {"builder": "stochastic_actor", "units": [64, 64]},
        "optimizer": {"class": "Adam", "learning_rate": 1e-3},
        "fit": {"epochs": 10, "env_steps": 100_000},
    },
    "cheetah_sac": {
        "description": "make a half-cheetah run with soft actor-critic; a million steps",
        "env": {"id": "HalfCheetah-v5", "num_envs": 1},
        "agent": MUJOCO,
        "optimizer": ADAM,
        "fit": {"epochs": 20, "env_steps": 1_000_000},
    },
    "hopper_sac": {
        "description": "hop on one leg with soft actor-critic; a million steps",
        "env": {"id": "Hopper-v5", "num_envs": 1},
        "agent": MUJOCO,
        "optimizer": ADAM,
        "fit": {"epochs": 20, "env_steps": 1_000_000},
    },
    "humanoid_sac": {
        "description": "walk upright with a humanoid body with soft actor-critic; 2 million steps",
        "env": {"id": "Humanoid-v5", "num_envs": 1},
        "agent": MUJOCO,
        "optimizer": ADAM,
        "fit": {"epochs": 40, "env_steps": 2_000_000},
    },
    "lunarlander_continuous_sac": {
        "description": "land a spacecraft with continuous engines with soft actor-critic; half a million steps",
        "env": {"id": "LunarLanderContinuous-v3", "num_envs": 1},
        "agent": {**MUJOCO, "critic": {"builder": "critic", "units": [400, 300]}, "target_update": 0.01},
        "network": {"builder": "stochastic_actor", "units": [400, 300]},
        "optimizer": {
            "class": "Adam",
            "learning_rate": {
                "class": "PolynomialDecay",
                "initial_learning_rate": 7.3e-4,
                "decay_steps": None,  # all gradient steps of the run
                "end_learning_rate": 0.0,
            },
        },
        "fit": {"epochs": 10, "env_steps": 500_000},
    },
    "mountaincar_continuous_sac": {
        "description": "drive a car out of a valley with state-dependent exploration; 50,000 environment steps",
        "env": {"id": "tf/MountainCarContinuous-v0", "num_envs": 1},
        "agent": {
            "class": "SAC",
            "critic": {"builder": "critic", "units": [64, 64]},
            "rollout_steps": 32,
            "updates": 32,
            "discount": 0.9999,
            "temperature": 0.1,
            "target_update": 0.01,
            "replay": {"class": "ReplaySettings", "capacity": 50_000, "batch_size": 512, "learning_starts": 512},
        },
        "network": {"builder": "stochastic_actor", "units": [64, 64], "initial_scale": 0.0255, "noise_steps": 32},
        "optimizer": {"class": "Adam", "learning_rate": 3e-4},
        "fit": {"epochs": 10, "env_steps": 50_000},
    },
    "pendulum_novel_sac": {
        "description": "pendulum with hidden velocity with soft actor-critic and memory; 40,000 environment steps",
        "env": {"id": "tf/PendulumNoVel-v1", "num_envs": 8},
        "agent": {"class": "RecurrentSAC", "discount": 0.95},
        "optimizer": {"class": "Adam", "learning_rate": 1e-3},
        "fit": {"epochs": 8, "env_steps": 40_000},
    },
    "pendulum_sac": {
        "description": "pendulum with soft actor-critic; 20,000 environment steps",
        "env": {"id": "tf/Pendulum-v1", "num_envs": 8},
        "agent": {"class": "SAC"},
        "optimizer": {"class": "Adam", "learning_rate": 1e-3},
        "fit": {"epochs": 8, "steps_per_epoch": 2368},
    },
    "pendulum_td3": {
        "description": "pendulum with TD3; 20,000 environment steps",
        "env": {"id": "tf/Pendulum-v1", "num_envs": 8},
        "agent": {"class": "TD3"},
        "optimizer": {"class": "Adam", "learning_rate": 1e-3},
        "fit": {"epochs": 8, "steps_per_epoch": 2368},
    },
    "walker_sac": {
        "description": "walk on two legs with soft actor-critic; a million steps",
        "env": {"id": "Walker2d-v5", "num_envs": 1},
        "agent": MUJOCO,
        "optimizer": ADAM,
        "fit": {"epochs": 20, "env_steps": 1_000_000},
    },
}
