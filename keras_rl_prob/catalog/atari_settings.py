"""Presets for Atari: one grey frame with memory, or a stack of four without."""

LEARNING_RATE = {
    "class": "PolynomialDecay",
    "initial_learning_rate": 5e-4,
    "decay_steps": None,  # all gradient steps of the run
    "end_learning_rate": 5e-5,
}
ADAM = {
    "class": "Adam",
    "learning_rate": LEARNING_RATE,
    "epsilon": 1e-5,
    "global_clipnorm": 0.5,
}
ADAM_DQN = {"class": "Adam", "learning_rate": 1e-4, "epsilon": 1e-5, "global_clipnorm": 10.0}

# In training rewards are clipped and a lost life ends an episode; in validation neither.
FRAME = {"stack_num": 1, "repeat_action_probability": 0.0, "episodic_life": True}
STACK = {"stack_num": 4, "repeat_action_probability": 0.0, "episodic_life": True}
WHOLE_GAMES = {"episodic_life": False, "reward_clipping": False}
SERVED_GAMES = {**WHOLE_GAMES, "fire_after_life": True}  # after a reset FIRE is taken in any case

RECURRENT_PPO = {
    "class": "RecurrentPPO",
    "minibatches": {"class": "Minibatches", "sequence_length": 32},
    "clip_ratio": 0.1,
    "normalize_rewards": False,
}
PPO = {"class": "PPO", "clip_ratio": 0.1, "normalize_rewards": False}
DQN = {
    "class": "DQN",
    "double": True,
    "replay": {
        "class": "ReplaySettings",
        "capacity": 400000,
        "batch_size": 32,
        "learning_starts": 20000,
        "n_step": 3,
        "frame_axis": 0,
    },
    "target_update": 2000,
    "exploration": {
        "class": "EpsilonGreedy",
        "epsilon": {
            "class": "PolynomialDecay",
            "initial_learning_rate": 1.0,
            "decay_steps": 250000,
            "end_learning_rate": 0.01,
        },
    },
}
ACER = {
    "class": "ACER",
    "replay": {"class": "RolloutReplaySettings", "learning_starts": 10000, "frame_axis": 0},
    "normalize_rewards": False,
}
HUBER = {"class": "ValueLoss", "huber_delta": 1.0}
MEMORY = {"builder": "nature_cnn", "cell": "lstm", "units": 128}
IMAGE = {"builder": "nature_cnn"}

PPO_FIT = {"epochs": 250, "steps_per_epoch": 160, "validation_episodes": 8, "validation_freq": 25}
DQN_FIT = {"epochs": 200, "steps_per_epoch": 12480, "validation_episodes": 8, "validation_freq": 20}

SETTINGS = {
    "beam_rider": {
        "description": "shoot saucers on five beams, from single frames with memory; 10 million steps",
        "env": {"id": "ALE/BeamRider-v5", "num_envs": 32, "kwargs": FRAME, "validation_kwargs": WHOLE_GAMES},
        "agent": RECURRENT_PPO,
        "network": MEMORY,
        "optimizer": ADAM,
        "fit": PPO_FIT,
    },
    "beam_rider_dqn": {
        "description": "beam_rider with double DQN on four frames",
        "env": {"id": "ALE/BeamRider-v5", "num_envs": 8, "kwargs": STACK, "validation_kwargs": WHOLE_GAMES},
        "agent": DQN,
        "optimizer": ADAM_DQN,
        "fit": DQN_FIT,
    },
    "beam_rider_ppo": {
        "description": "beam_rider from four frames without memory",
        "env": {"id": "ALE/BeamRider-v5", "num_envs": 32, "kwargs": STACK, "validation_kwargs": WHOLE_GAMES},
        "agent": PPO,
        "network": IMAGE,
        "optimizer": ADAM,
        "fit": PPO_FIT,
    },
    "breakout": {
        "description": "knock bricks out of a wall, from single frames; 10 million steps",
        "env": {"id": "ALE/Breakout-v5", "num_envs": 32, "kwargs": FRAME, "validation_kwargs": SERVED_GAMES},
        "agent": RECURRENT_PPO,
        "network": MEMORY,
        "optimizer": ADAM,
        "fit": PPO_FIT,
    },
    "breakout_acer": {
        "description": "breakout with actor-critic and replay of whole rollouts of four frames",
        "env": {"id": "ALE/Breakout-v5", "num_envs": 16, "kwargs": STACK, "validation_kwargs": SERVED_GAMES},
        "agent": ACER,
        "network": {"builder": "actor_critic", "critic": "q"},
        "optimizer": {**ADAM, "global_clipnorm": 10.0},
        "fit": {"epochs": 250, "steps_per_epoch": 625, "validation_episodes": 8, "validation_freq": 25},
    },
    "breakout_dqn": {
        "description": "breakout with double DQN on four frames; not learned in 89,000 steps",
        "env": {"id": "ALE/Breakout-v5", "num_envs": 8, "kwargs": STACK, "validation_kwargs": SERVED_GAMES},
        "agent": DQN,
        "optimizer": ADAM_DQN,
        "fit": DQN_FIT,
    },
    "breakout_ppo": {
        "description": "breakout from four frames without memory",
        "env": {"id": "ALE/Breakout-v5", "num_envs": 32, "kwargs": STACK, "validation_kwargs": SERVED_GAMES},
        "agent": PPO,
        "network": IMAGE,
        "optimizer": ADAM,
        "fit": PPO_FIT,
    },
    "pong": {
        "description": "table tennis, from single frames with memory; 3 million steps",
        "env": {"id": "ALE/Pong-v5", "num_envs": 16, "kwargs": FRAME, "validation_kwargs": WHOLE_GAMES},
        "agent": {**RECURRENT_PPO, "minibatches": 8},
        "network": MEMORY,
        "optimizer": {**ADAM, "learning_rate": {**LEARNING_RATE, "initial_learning_rate": 1e-3}},
        "fit": {"epochs": 73, "steps_per_epoch": 640, "validation_episodes": 8, "validation_freq": 12},
    },
    "pong_a2c": {
        "description": "pong with A2C on four frames; 3 million steps; not learned in 2,315,000 steps",
        "env": {"id": "ALE/Pong-v5", "num_envs": 16, "kwargs": STACK, "validation_kwargs": WHOLE_GAMES},
        "agent": {"class": "A2C", "rollout_steps": 20, "normalize_rewards": False, "value_coef": HUBER},
        "network": IMAGE,
        "optimizer": ADAM,
        "fit": {"epochs": 80, "steps_per_epoch": 120, "validation_episodes": 8, "validation_freq": 10},
    },
    "pong_dqn": {
        "description": "pong with double DQN on four frames; not learned in 52,000 steps",
        "env": {"id": "ALE/Pong-v5", "num_envs": 8, "kwargs": STACK, "validation_kwargs": WHOLE_GAMES},
        "agent": DQN,
        "optimizer": ADAM_DQN,
        "fit": DQN_FIT,
    },
    "pong_impala": {
        "description": "pong with actor-critic and V-trace on four frames; 3 million steps; not learned in 1,972,000 steps",
        "env": {"id": "ALE/Pong-v5", "num_envs": 16, "kwargs": STACK, "validation_kwargs": WHOLE_GAMES},
        "agent": {"class": "IMPALA", "normalize_rewards": False},
        "network": IMAGE,
        "optimizer": ADAM,
        "fit": {"epochs": 80, "steps_per_epoch": 120, "validation_episodes": 8, "validation_freq": 10},
    },
    "pong_ppo": {
        "description": "pong from four frames without memory; not learned in 233,000 steps",
        "env": {"id": "ALE/Pong-v5", "num_envs": 32, "kwargs": STACK, "validation_kwargs": WHOLE_GAMES},
        "agent": PPO,
        "network": IMAGE,
        "optimizer": ADAM,
        "fit": PPO_FIT,
    },
    "pong_reinforce": {
        "description": "pong with REINFORCE on four frames, with a baseline; 3 million steps; not learned in 183,000 steps",
        "env": {"id": "ALE/Pong-v5", "num_envs": 2, "kwargs": STACK, "validation_kwargs": WHOLE_GAMES},
        "agent": {"class": "Reinforce", "max_episode_steps": 1000, "baseline": True, "value_coef": HUBER},
        "network": IMAGE,
        "optimizer": ADAM,
        "fit": {"epochs": 50, "steps_per_epoch": 30, "validation_episodes": 8, "validation_freq": 10},
    },
    "space_invaders": {
        "description": "shoot invaders before they land, from single frames; 10 million steps",
        "env": {"id": "ALE/SpaceInvaders-v5", "num_envs": 32, "kwargs": FRAME, "validation_kwargs": WHOLE_GAMES},
        "agent": RECURRENT_PPO,
        "network": MEMORY,
        "optimizer": ADAM,
        "fit": PPO_FIT,
    },
    "space_invaders_dqn": {
        "description": "space_invaders with double DQN on four frames; not learned in 89,000 steps",
        "env": {"id": "ALE/SpaceInvaders-v5", "num_envs": 8, "kwargs": STACK, "validation_kwargs": WHOLE_GAMES},
        "agent": DQN,
        "optimizer": ADAM_DQN,
        "fit": DQN_FIT,
    },
    "space_invaders_ppo": {
        "description": "space_invaders from four frames without memory",
        "env": {"id": "ALE/SpaceInvaders-v5", "num_envs": 32, "kwargs": STACK, "validation_kwargs": WHOLE_GAMES},
        "agent": PPO,
        "network": IMAGE,
        "optimizer": ADAM,
        "fit": PPO_FIT,
    },
}
