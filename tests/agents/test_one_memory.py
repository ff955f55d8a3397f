"""There is only one replay buffer: a run that continues uses that of the last one, and files are written block by block."""

import keras
import numpy as np
import pytest

import keras_rl_prob as krp
from keras_rl_prob.replay import ring

ENV = "tf/CartPole-v1"


def make_agent(kind="DQN", capacity=400):
    keras.utils.set_random_seed(1)
    more = {"sequence_length": 4, "burn_in": 2, "period": 2} if kind == "RecurrentDQN" else {}
    agent = getattr(krp, kind)(capacity=capacity, learning_starts=20, rollout_steps=4, updates=1, batch_size=4, **more)
    agent.compile(keras.optimizers.SGD(1e-2), run_eagerly=True)  # graphs that are made anew: test_reuse.py
    return agent


def fit(agent, epochs=1, **kwargs):
    return agent.fit(ENV, num_envs=4, seed=3, steps_per_epoch=2, verbose=0, epochs=epochs, **kwargs).history


@pytest.fixture
def calls(monkeypatch):
    """Records operations on whole replay buffers."""
    made = []
    for name in ("__init__", "pack", "unpack", "clear"):
        function = getattr(ring.Ring, name)

        def noted(*args, function=function, name=name):
            made.append(name)
            return function(*args)

        monkeypatch.setattr(ring.Ring, name, noted)
    return made


CHANGES = {
    "nothing": lambda agent: None,
    "an argument": lambda agent: setattr(agent, "discount", 0.9),
    "compile": lambda agent: agent.compile(keras.optimizers.SGD(1e-3), run_eagerly=True),
}


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        pytest.param("DQN", "nothing", marks=pytest.mark.long),  # test_contract.py, and the last two tests but one here
        pytest.param("DQN", "an argument", marks=pytest.mark.long),
        ("DQN", "compile"),
        ("RecurrentDQN", "an argument"),
    ],
)
def test_a_training_that_goes_on_makes_no_second_memory_whatever_has_changed(kind, change, tmp_path, calls):
    agent = make_agent(kind)
    first = fit(agent)["replay_size"][0]
    agent.save(tmp_path / "agent.keras")
    rings, loaded = agent.position().rings, keras.saving.load_model(tmp_path / "agent.keras")
    loaded.run_eagerly = True
    assert len(rings) == (2 if kind == "RecurrentDQN" else 1)
    calls.clear()
    CHANGES[change](agent)
    assert fit(agent, 2, initial_epoch=1)["replay_size"][0] > first
    assert calls == []
    assert [id(x) for x in agent.position().rings] == [id(x) for x in rings]
    CHANGES[change](loaded)
    fit(loaded, 2, initial_epoch=1)  # through the file
    for one, other in zip(agent.position().stored(), loaded.position().stored(), strict=True):
        np.testing.assert_array_equal(one[1], other[1])
    for one, other in zip(agent.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_experience_is_added_to_a_memory_once(tmp_path):
    agent = make_agent(capacity=64)  # full, so that every new row replaces an old one
    agent.build(ENV)
    with krp.envs.make_one("CartPole-v1") as env:
        agent.add_experience(krp.envs.record_episodes(env, episodes=3, seed=0))
    fit(agent)
    assert int(agent.position().rings[0].size) == 16
    agent.save(tmp_path / "agent.keras")
    agent.discount = 0.9
    loaded = keras.saving.load_model(tmp_path / "agent.keras")
    loaded.discount, loaded.run_eagerly = 0.9, True
    for one in (agent, loaded):
        one.fit(ENV, num_envs=4, seed=3, steps_per_epoch=1, verbose=0, epochs=2, initial_epoch=1)
    for one, other in zip(agent.position().stored(), loaded.position().stored(), strict=True):
        np.testing.assert_array_equal(one[1], other[1])


def test_a_training_that_could_not_begin_leaves_the_memory_to_the_next(calls):
    agent = make_agent()
    first = fit(agent)["replay_size"][0]
    before = dict(agent.position().stored())

    def fail(logs):
        raise RuntimeError("not yet")

    with pytest.raises(RuntimeError, match="not yet"):
        fit(agent, 2, initial_epoch=1, callbacks=[keras.callbacks.LambdaCallback(on_train_begin=fail)])
    with pytest.raises(ValueError, match="`num_envs` that it was started with"):
        agent.fit(ENV, num_envs=2, epochs=2, initial_epoch=1, verbose=0)
    for key, value in agent.position().stored():
        np.testing.assert_array_equal(value, before[key])
    calls.clear()
    assert fit(agent, 2, initial_epoch=1)["replay_size"][0] > first
    assert "clear" not in calls


def test_a_new_training_begins_with_an_empty_memory():
    agent = make_agent()
    first = fit(agent)["replay_size"]
    agent.discount = 0.9
    assert fit(agent)["replay_size"] == first


def test_one_block_at_a_time_is_saved_and_restored(tmp_path, monkeypatch):
    """Each is packed after the one before is in the file, and read after the one before is in the buffer."""
    monkeypatch.setattr(ring, "BLOCK_BYTES", 300)
    agent, events = make_agent(), []
    fit(agent)
    pack, convert = ring.Ring.pack, keras.src.saving.saving_lib.H5IOStore.__setitem__
    monkeypatch.setattr(ring.Ring, "pack", lambda self, index: events.append("pack") or pack(self, index))
    monkeypatch.setattr(
        keras.src.saving.saving_lib.H5IOStore,
        "__setitem__",
        lambda self, key, value: (events.append("store") if "_block_" in key else None) or convert(self, key, value),
    )
    agent.save(tmp_path / "agent.keras")
    assert len(events) > 6
    assert events == ["pack", "store"] * (len(events) // 2)
