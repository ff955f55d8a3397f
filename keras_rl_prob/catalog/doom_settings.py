"""Presets for VizDoom: a small grey screen and the game variables, with memory unless it is DQN."""

ADAM = {
    "class": "Adam",
    "learning_rate": {
        "class": "PolynomialDecay",
        "initial_learning_rate": 5e-4,
        "decay_steps": None,  # all gradient steps of the run
        "end_learning_rate": 5e-5,
    },
    "epsilon": 1e-5,
    "global_clipnorm": 0.5,
}
SCREEN = {"frame_skip": 4, "screen_resolution": "RES_160X120", "screen_format": "GRAY8"}
RECURRENT_PPO = {
    "class": "RecurrentPPO",
    "rollout_steps": 64,
    "minibatches": {"class": "Minibatches", "sequence_length": 16},
    "normalize_observations": True,
}
DQN = {
    "class": "DQN",
    "double": True,
    "rescale_values": True,
    "target_update": 200,
    "replay": {"class": "ReplaySettings", "capacity": 20000, "n_step": 3},
    "exploration": {
        "class": "EpsilonGreedy",
        "epsilon": {
            "class": "PolynomialDecay",
            "initial_learning_rate": 1.0,
            "decay_steps": 20000,
            "end_learning_rate": 0.05,
        },
    },
    "normalize_observations": True,
}
MEMORY = {"builder": "nature_cnn", "cell": "lstm", "units": 128}
FIT = {"epochs": 40, "steps_per_epoch": 160, "validation_episodes": 16, "validation_freq": 5}

SETTINGS = {
    "doom_basic": {
        "description": "shoot the monster on the other side of the room; 100 thousand steps",
        "env": {"id": "VizdoomBasic-v1", "num_envs": 16, "kwargs": SCREEN},
        "agent": RECURRENT_PPO,
        "network": MEMORY,
        "optimizer": ADAM,
        "fit": {**FIT, "epochs": 10, "validation_freq": 2},
    },
    "doom_basic_dqn": {
        "description": "doom_basic with 3-step double DQN, from single frames without memory; 60 thousand steps",
        "env": {"id": "VizdoomBasic-v1", "num_envs": 8, "kwargs": SCREEN},
        "agent": DQN,
        "optimizer": {**ADAM, "global_clipnorm": 10.0},
        "fit": {"epochs": 10, "env_steps": 60_000, "validation_episodes": 16, "validation_freq": 2},
    },
    "doom_deadly_corridor": {
        "description": "run to the armour at the end of a corridor of enemies",
        "env": {"id": "VizdoomDeadlyCorridor-v1", "num_envs": 16, "kwargs": SCREEN},
        "agent": RECURRENT_PPO,
        "network": MEMORY,
        "optimizer": ADAM,
        "fit": FIT,
    },
    "doom_deathmatch": {
        "description": "kill as many opponents as possible, with all buttons and free turning; not learned in 95,000 steps",
        "env": {"id": "VizdoomDeathmatch-MultiBinary-v1", "num_envs": 16, "kwargs": SCREEN},
        "agent": RECURRENT_PPO,
        "network": MEMORY,
        "optimizer": ADAM,
        "fit": FIT,
    },
    "doom_defend_center": {
        "description": "shoot monsters that come from all sides, with few bullets",
        "env": {"id": "VizdoomDefendCenter-v1", "num_envs": 16, "kwargs": SCREEN},
        "agent": RECURRENT_PPO,
        "network": MEMORY,
        "optimizer": ADAM,
        "fit": FIT,
    },
    "doom_defend_line": {
        "description": "shoot monsters on the other side, which shoot back",
        "env": {"id": "VizdoomDefendLine-v1", "num_envs": 16, "kwargs": SCREEN},
        "agent": RECURRENT_PPO,
        "network": MEMORY,
        "optimizer": ADAM,
        "fit": FIT,
    },
    "doom_health_gathering": {
        "description": "find medicine on a floor of acid",
        "env": {"id": "VizdoomHealthGathering-v1", "num_envs": 16, "kwargs": SCREEN},
        "agent": RECURRENT_PPO,
        "network": MEMORY,
        "optimizer": ADAM,
        "fit": FIT,
    },
    "doom_health_gathering_supreme": {
        "description": "find medicine and avoid poison in a maze of acid",
        "env": {"id": "VizdoomHealthGatheringSupreme-v1", "num_envs": 16, "kwargs": SCREEN},
        "agent": RECURRENT_PPO,
        "network": MEMORY,
        "optimizer": ADAM,
        "fit": FIT,
    },
    "doom_my_way_home": {
        "description": "find the vest in a maze of rooms; not learned in 63,000 steps",
        "env": {"id": "VizdoomMyWayHome-v1", "num_envs": 16, "kwargs": SCREEN},
        "agent": RECURRENT_PPO,
        "network": MEMORY,
        "optimizer": ADAM,
        "fit": FIT,
    },
    "doom_predict_position": {
        "description": "hit a running monster with a slow rocket",
        "env": {"id": "VizdoomPredictPosition-v1", "num_envs": 16, "kwargs": SCREEN},
        "agent": RECURRENT_PPO,
        "network": MEMORY,
        "optimizer": ADAM,
        "fit": FIT,
    },
    "doom_take_cover": {
        "description": "dodge fireballs",
        "env": {"id": "VizdoomTakeCover-v1", "num_envs": 16, "kwargs": SCREEN},
        "agent": RECURRENT_PPO,
        "network": MEMORY,
        "optimizer": ADAM,
        "fit": FIT,
    },
}
