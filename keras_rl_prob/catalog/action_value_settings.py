"""Presets that learn action values, for native environments and football."""

SETTINGS = {
    "cartpole_linear_q": {
        "description": "cartpole with values linear in radial basis features; half a million environment steps",
        "env": {"id": "tf/CartPole-v1", "num_envs": 8},
        "agent": {
            "class": "LinearQ",
            "rollout_steps": 16,
            "exploration": {
                "class": "EpsilonGreedy",
                "epsilon": {
                    "class": "PolynomialDecay",
                    "initial_learning_rate": 0.3,
                    "decay_steps": 40000,
                    "end_learning_rate": 0.01,
                },
            },
        },
        "optimizer": {
            "class": "SGD",
            "learning_rate": {
                "class": "PolynomialDecay",
                "initial_learning_rate": 0.2,
                "decay_steps": None,  # all gradient steps of the run
                "end_learning_rate": 0.02,
            },
        },
        "fit": {"epochs": 10, "env_steps": 500_000},
    },
    "football_run_to_score_dqn": {
        "description": "football_run_to_score with double DQN without memory; not learned in 200,000 steps",
        "env": {
            "id": "krp/Football-academy_run_to_score_with_keeper-v0",
            "num_envs": 8,
            "kwargs": {"rewards": "scoring,checkpoints"},
        },
        "agent": {
            "class": "DQN",
            "double": True,
            "discount": 0.993,
            "target_update": 300,
            "replay": {"class": "ReplaySettings", "n_step": 5},
            "exploration": {
                "class": "EpsilonGreedy",
                "epsilon": {
                    "class": "PolynomialDecay",
                    "initial_learning_rate": 1.0,
                    "decay_steps": 50000,
                    "end_learning_rate": 0.05,
                },
            },
            "normalize_observations": True,
        },
        "network": {"builder": "q_network", "units": [256, 256]},
        "optimizer": {
            "class": "Adam",
            "learning_rate": {
                "class": "PolynomialDecay",
                "initial_learning_rate": 5e-4,
                "decay_steps": None,
                "end_learning_rate": 5e-5,
            },
            "epsilon": 1e-5,
            "global_clipnorm": 10.0,
        },
        "fit": {"epochs": 10, "env_steps": 200_000},
    },
    "mountaincar_dqn": {
        "description": "mountaincar with 5-step double DQN; 120,000 environment steps",
        "env": {"id": "tf/MountainCar-v0", "num_envs": 8},
        "agent": {
            "class": "DQN",
            "rollout_steps": 2,
            "updates": 8,
            "double": True,
            "target_update": 300,
            "replay": {
                "class": "ReplaySettings",
                "capacity": 50000,
                "batch_size": 128,
                "learning_starts": 1000,
                "n_step": 5,
            },
            "exploration": {
                "class": "EpsilonGreedy",
                "epsilon": {
                    "class": "PolynomialDecay",
                    "initial_learning_rate": 1.0,
                    "decay_steps": 24000,
                    "end_learning_rate": 0.07,
                },
            },
            "normalize_observations": True,
        },
        "network": {"builder": "q_network", "units": [256, 256]},
        "optimizer": {
            "class": "Adam",
            "learning_rate": {
                "class": "PolynomialDecay",
                "initial_learning_rate": 1e-3,
                "decay_steps": None,
                "end_learning_rate": 1e-4,
            },
            "global_clipnorm": 10.0,
        },
        "fit": {"epochs": 6, "env_steps": 120_000},
    },
}
