"""Presets for MuJoCo, Bullet and Box2D: PPO with normalised observations and rewards, actions squashed into their bounds."""

ADAM = {
    "class": "Adam",
    "learning_rate": {
        "class": "PolynomialDecay",
        "initial_learning_rate": 3e-4,
        "decay_steps": None,  # all gradient steps of the run
        "end_learning_rate": 3e-5,
    },
    "epsilon": 1e-5,
    "global_clipnorm": 0.5,
}
PPO = {
    "class": "PPO",
    "rollout_steps": 256,
    "minibatches": 32,
    "update_epochs": 10,
    "entropy_coef": 0.0,
    "normalize_observations": True,
}

PPO_LONG = {  # for episodes whose end tells more than their steps
    "class": "PPO",
    "rollout_steps": 256,
    "minibatches": 16,
    "discount": 0.999,
    "gae_lambda": 0.98,
    "normalize_observations": True,
}

SETTINGS = {
    "ant": {
        "description": "make a quadruped run; 2 million steps",
        "env": {"id": "Ant-v5", "num_envs": 8},
        "agent": PPO,
        "optimizer": ADAM,
        "fit": {"epochs": 40, "steps_per_epoch": 7680},
    },
    "ant_bullet": {
        "description": "make a heavier quadruped run, with the physics of Bullet; 2 million steps",
        "env": {"id": "AntBulletEnv-v0", "num_envs": 8},
        "agent": PPO,
        "optimizer": ADAM,
        "fit": {"epochs": 40, "steps_per_epoch": 7680},
    },
    "bipedal_walker": {
        "description": "walk on two legs over rough ground; 2 million steps",
        "env": {"id": "BipedalWalker-v3", "num_envs": 16},
        "agent": PPO_LONG,
        "optimizer": ADAM,
        "fit": {"epochs": 20, "steps_per_epoch": 1536},
    },
    "cheetah": {
        "description": "make a half-cheetah run; a million steps",
        "env": {"id": "HalfCheetah-v5", "num_envs": 8},
        "agent": PPO,
        "optimizer": ADAM,
        "fit": {"epochs": 20, "steps_per_epoch": 7680},
    },
    "hopper": {
        "description": "hop on one leg; a million steps",
        "env": {"id": "Hopper-v5", "num_envs": 8},
        "agent": PPO,
        "optimizer": ADAM,
        "fit": {"epochs": 20, "steps_per_epoch": 7680},
    },
    "humanoid": {
        "description": "walk upright with a humanoid body; 5 million steps",
        "env": {"id": "Humanoid-v5", "num_envs": 8},
        "agent": PPO,
        "optimizer": ADAM,
        "fit": {"epochs": 100, "steps_per_epoch": 7680},
    },
    "lunarlander": {
        "description": "land a spacecraft between two flags; a million steps",
        "env": {"id": "LunarLander-v3", "num_envs": 16},
        "agent": PPO_LONG,
        "optimizer": ADAM,
        "fit": {"epochs": 10, "steps_per_epoch": 1536},
    },
    "lunarlander_acer": {
        "description": "lunarlander with actor-critic and replay of whole rollouts; half a million steps",
        "env": {"id": "LunarLander-v3", "num_envs": 16},
        "agent": {"class": "ACER", "normalize_observations": True},
        "optimizer": {**ADAM, "global_clipnorm": 10.0},
        "compile": {"steps_per_execution": 25},
        "fit": {"epochs": 16, "steps_per_epoch": 500},
    },
    "reacher": {
        "description": "move the tip of an arm to a point; half a million steps",
        "env": {"id": "Reacher-v5", "num_envs": 8},
        "agent": PPO,
        "optimizer": ADAM,
        "fit": {"epochs": 10, "steps_per_epoch": 7680},
    },
    "walker": {
        "description": "walk on two legs; 2 million steps",
        "env": {"id": "Walker2d-v5", "num_envs": 8},
        "agent": PPO,
        "optimizer": ADAM,
        "fit": {"epochs": 40, "steps_per_epoch": 7680},
    },
}
