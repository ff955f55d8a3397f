"""Presets for native environments, football and LunarLander with DQN: dicts in the form that `check` describes."""

ADAM = {
    "class": "Adam",
    "learning_rate": {
        "class": "PolynomialDecay",
        "initial_learning_rate": 1e-3,
        "decay_steps": None,  # all gradient steps of the run
        "end_learning_rate": 1e-4,
    },
    "epsilon": 1e-5,
    "global_clipnorm": 0.5,
}

DQN = {
    "class": "DQN",
    "double": True,
    "replay": {"class": "ReplaySettings", "n_step": 3},
    "rescale_values": True,
    "exploration": {
        "class": "EpsilonGreedy",
        "epsilon": {
            "class": "PolynomialDecay",
            "initial_learning_rate": 1.0,
            "decay_steps": 10000,
            "end_learning_rate": 0.04,
        },
    },
}
ADAM_DQN = {
    "class": "Adam",
    "learning_rate": {
        "class": "PolynomialDecay",
        "initial_learning_rate": 1e-3,
        "decay_steps": None,
        "end_learning_rate": 1e-4,
    },
    "epsilon": 1e-5,
    "global_clipnorm": 10.0,
}

SETTINGS = {
    "acrobot": {
        "description": "swing up two links with a motor at their joint",
        "env": {"id": "tf/Acrobot-v1", "num_envs": 32},
        "agent": {"class": "PPO", "normalize_observations": True},
        "optimizer": ADAM,
        "fit": {"epochs": 10},
    },
    "acrobot_novel": {
        "description": "acrobot with hidden velocities: needs memory",
        "env": {"id": "tf/AcrobotNoVel-v1", "num_envs": 32},
        "agent": {"class": "RecurrentPPO", "normalize_observations": True},
        "optimizer": ADAM,
        "fit": {"epochs": 10},
    },
    "cartpole": {
        "description": "balance a pole on a cart",
        "env": {"id": "tf/CartPole-v1", "num_envs": 32},
        "agent": {"class": "PPO"},
        "optimizer": ADAM,
        "fit": {"epochs": 5},
    },
    "cartpole_a2c": {
        "description": "cartpole with A2C",
        "env": {"id": "tf/CartPole-v1", "num_envs": 8},
        "agent": {"class": "A2C"},
        "compile": {"steps_per_execution": 20},
        "fit": {"epochs": 12, "steps_per_epoch": 1000},
    },
    "cartpole_dqn": {
        "description": "cartpole with 3-step double DQN; 98,000 environment steps",
        "env": {"id": "tf/CartPole-v1", "num_envs": 8},
        "agent": DQN,
        "optimizer": ADAM_DQN,
        "fit": {"epochs": 15, "steps_per_epoch": 1600},
    },
    "cartpole_impala": {
        "description": "cartpole with IMPALA, an actor-critic with V-trace",
        "env": {"id": "tf/CartPole-v1", "num_envs": 8},
        "agent": {"class": "IMPALA"},
        "compile": {"steps_per_execution": 20},
        "fit": {"epochs": 12, "steps_per_epoch": 100},
    },
    "cartpole_novel": {
        "description": "cartpole with hidden velocities: needs memory",
        "env": {"id": "tf/CartPoleNoVel-v1", "num_envs": 32},
        "agent": {"class": "RecurrentPPO"},
        "network": {"builder": "recurrent", "cell": "lstm", "units": 64},
        "optimizer": ADAM,
        "fit": {"epochs": 10},
    },
    "cartpole_novel_dqn": {
        "description": "cartpole with hidden velocities, with recurrent DQN",
        "env": {"id": "tf/CartPoleNoVel-v1", "num_envs": 8},
        "agent": {"class": "RecurrentDQN"},
        "optimizer": ADAM_DQN,
        "fit": {"epochs": 10, "steps_per_epoch": 480},
    },
    "cartpole_reinforce": {
        "description": "cartpole with REINFORCE, on whole episodes",
        "env": {"id": "tf/CartPole-v1", "num_envs": 16},
        "agent": {"class": "Reinforce"},
        "optimizer": {
            "class": "Adam",
            "learning_rate": {
                "class": "PolynomialDecay",
                "initial_learning_rate": 1e-2,
                "decay_steps": None,
                "end_learning_rate": 1e-3,
            },
            "epsilon": 1e-5,
            "global_clipnorm": 0.5,
        },
        "fit": {"epochs": 6, "steps_per_epoch": 10},
    },
    "football_run_to_score": {
        "description": "football: run from midfield and beat the keeper; 131,000 environment steps",
        "env": {
            "id": "krp/Football-academy_run_to_score_with_keeper-v0",
            "num_envs": 8,
            "kwargs": {"rewards": "scoring,checkpoints"},
        },
        "agent": {
            "class": "RecurrentPPO",
            "minibatches": {"class": "Minibatches", "count": 8, "sequence_length": 16},
            "update_epochs": 6,
            "discount": 0.993,
            "entropy_coef": 0.005,
            "normalize_observations": True,
        },
        "optimizer": ADAM,
        "fit": {"epochs": 8, "steps_per_epoch": 768},
    },
    "lunarlander_dqn": {
        "description": "land a spacecraft between two flags; 200,000 environment steps",
        "env": {"id": "LunarLander-v3", "num_envs": 8},
        "agent": {
            "class": "DQN",
            "double": True,
            "replay": {"class": "ReplaySettings", "n_step": 3},
            "rescale_values": True,
            "exploration": {
                "class": "EpsilonGreedy",
                "epsilon": {
                    "class": "PolynomialDecay",
                    "initial_learning_rate": 1.0,
                    "decay_steps": 30000,
                    "end_learning_rate": 0.05,
                },
            },
        },
        "optimizer": {
            "class": "Adam",
            "learning_rate": {
                "class": "PolynomialDecay",
                "initial_learning_rate": 6e-4,
                "decay_steps": None,
                "end_learning_rate": 6e-5,
            },
            "epsilon": 1e-5,
            "global_clipnorm": 10.0,
        },
        "fit": {"epochs": 10, "steps_per_epoch": 4960},
    },
    "mountaincar": {
        "description": "drive an underpowered car out of a valley by rocking; each step costs 1",
        "env": {"id": "tf/MountainCar-v0", "num_envs": 32},
        "agent": {
            "class": "PPO",
            "rollout_steps": 32,
            "discount": 0.999,
            "gae_lambda": 0.98,
            "normalize_observations": True,
        },
        "optimizer": ADAM,
        "fit": {"epochs": 15, "steps_per_epoch": 640},
    },
    "mountaincar_linear_q": {
        "description": "mountaincar with values linear in radial basis features",
        "env": {"id": "tf/MountainCar-v0", "num_envs": 1},
        "agent": {"class": "LinearQ", "exploration": {"class": "EpsilonGreedy", "epsilon": 0.0}},
        "optimizer": {
            "class": "SGD",
            "learning_rate": {
                "class": "PolynomialDecay",
                "initial_learning_rate": 1e-2,
                "decay_steps": None,
                "end_learning_rate": 1e-3,
            },
        },
        "fit": {"epochs": 6, "steps_per_epoch": 10000},
    },
    "mountaincar_continuous": {
        "description": "mountaincar with a continuous throttle, whose use costs",
        "env": {"id": "tf/MountainCarContinuous-v0", "num_envs": 32},
        "agent": {"class": "PPO", "discount": 0.999, "entropy_coef": 0.005, "normalize_observations": True},
        "optimizer": ADAM,
        "fit": {"epochs": 8},
    },
    "pendulum": {
        "description": "swing up a pendulum and hold it with a torque",
        "env": {"id": "tf/Pendulum-v1", "num_envs": 16},
        "agent": {
            "class": "PPO",
            "rollout_steps": 200,
            "minibatches": 10,
            "update_epochs": 10,
            "discount": 0.9,
            "entropy_coef": 0.0,
        },
        "optimizer": ADAM,
        "fit": {"epochs": 10},
    },
    "pendulum_kl": {
        "description": "pendulum with an adaptive KL penalty and cutoff instead of clipping",
        "env": {"id": "tf/Pendulum-v1", "num_envs": 16},
        "agent": {
            "class": "PPO",
            "rollout_steps": 200,
            "minibatches": 10,
            "update_epochs": 10,
            "discount": 0.9,
            "clip_ratio": None,
            "entropy_coef": 0.0,
            "kl_penalty": {"class": "KLPenalty", "target": 0.01},
        },
        "optimizer": ADAM,
        "fit": {"epochs": 10},
    },
    "pendulum_novel": {
        "description": "pendulum with hidden velocity: needs memory",
        "env": {"id": "tf/PendulumNoVel-v1", "num_envs": 32},
        "agent": {
            "class": "RecurrentPPO",
            "rollout_steps": 200,
            "minibatches": 8,
            "update_epochs": 5,
            "discount": 0.95,
            "entropy_coef": 0.0,
        },
        "optimizer": ADAM,
        "fit": {"epochs": 10},
    },
    "recall": {
        "description": "name the cue that was shown four steps ago: needs memory",
        "env": {"id": "tf/Recall-v0", "num_envs": 32},
        "agent": {"class": "RecurrentPPO", "entropy_coef": 0.02},
        "optimizer": ADAM,
        "fit": {"epochs": 6},
    },
}
