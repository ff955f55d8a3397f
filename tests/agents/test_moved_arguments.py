"""Arguments that have moved into settings: they still work, and their warnings say where they are now."""

import warnings

import pytest

import keras_rl_prob as krp

MOVED = [
    (krp.PPO, {"sequence_length": 16}, "minibatches", krp.Minibatches(4, sequence_length=16)),
    (krp.PPO, {"minibatches": 8, "target_kl": 0.1}, "minibatches", krp.Minibatches(8, target_kl=0.1)),
    (krp.PPO, {"value_clip": 0.1}, "clip_ratio", krp.Clipping(0.2, value_clip=0.1)),
    (krp.PPO, {"clip_ratio": None, "value_clip": 0.1}, "clip_ratio", krp.Clipping(None, value_clip=0.1)),
    (
        krp.RecurrentPPO,
        {"minibatches": krp.Minibatches(2, target_kl=0.1), "sequence_length": 16},
        "minibatches",
        krp.Minibatches(2, 16, 0.1),
    ),
    (krp.DQN, {"capacity": 512, "n_step": 3}, "replay", krp.ReplaySettings(capacity=512, n_step=3)),
    (
        krp.DQN,
        {"replay": krp.ReplaySettings(n_step=3), "prioritized": True},
        "replay",
        krp.ReplaySettings(n_step=3, prioritized=True),
    ),
    (krp.RecurrentDQN, {"burn_in": 2}, "replay", krp.SequenceReplaySettings(burn_in=2)),
]


@pytest.mark.parametrize(("kind", "arguments", "name", "expected"), MOVED)
def test_a_moved_argument_says_where_it_is_now(kind, arguments, name, expected):
    old = next(reversed(arguments))
    with pytest.warns(DeprecationWarning, match=rf"`{old}` has moved: use `{name}=krp\..*\({old}=\.\.\.\)`") as caught:
        agent = kind(**arguments)
    assert caught[0].filename == __file__
    assert getattr(agent, name) == expected


def test_settings_do_not_warn_and_neither_do_files_of_earlier_versions():
    config = krp.DQN().get_config()
    del config["replay"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agent = krp.DQN.from_config({**config, "capacity": 512, "n_step": 3})
        krp.PPO(minibatches=krp.Minibatches(2, sequence_length=16), clip_ratio=krp.Clipping(0.1))
    assert agent.replay == krp.ReplaySettings(capacity=512, n_step=3)


@pytest.mark.parametrize("replay", [None, 3, krp.PrioritizedReplay()])
def test_a_wrong_object_is_named_beside_a_moved_argument(replay):
    with pytest.raises(ValueError, match=r"`replay` must be `krp.ReplaySettings\(...\)`. Received: replay="):
        krp.DQN(replay=replay, capacity=512)


def test_settings_are_immutable():
    with pytest.raises(AttributeError):
        krp.ReplaySettings().capacity = 3


def test_sequences_that_no_longer_fit_are_named_at_fit():
    agent = krp.PPO(rollout_steps=32, minibatches=krp.Minibatches(2, sequence_length=16))
    agent.compile(run_eagerly=True)
    agent.rollout_steps = 8
    with pytest.raises(
        ValueError, match=r"`sequence_length` must divide `rollout_steps`. Received: .*=16, rollout_steps=8"
    ):
        agent.fit("tf/CartPole-v1", num_envs=2, verbose=0)
