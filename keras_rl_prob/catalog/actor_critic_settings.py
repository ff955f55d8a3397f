"""Presets of actor-critics with a replay buffer: SAC and TD3."""

SETTINGS = {
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
}
