"""`Backup`: exact resume from segments, of which only changed ones are written, also after crashes."""

import functools
import pathlib
import tempfile

import keras
import numpy as np
import pytest

import keras_rl_prob as krp
from keras_rl_prob.learning import persistence, segments
from keras_rl_prob.replay import ring

ENV = "tf/CartPoleNoVel-v1"
EPOCHS = 6  # the buffer is full in the fourth epoch


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Fifteen blocks of seven rows, the last one smaller, for a replay buffer of 100 rows."""
    monkeypatch.setattr(ring, "BLOCK_BYTES", 800)


def new_agent(kind="DQN", seed=1):
    keras.utils.set_random_seed(seed)
    more = {"sequence_length": 4, "burn_in": 2, "period": 2} if kind == "RecurrentDQN" else {"prioritized": True}
    agent = getattr(krp, kind)(
        capacity=400, learning_starts=40, rollout_steps=4, updates=1, batch_size=4, target_update=3, **more
    )
    agent.compile(keras.optimizers.Adam(1e-3), jit_compile=False)
    agent.build(ENV)
    return agent


new_agents = functools.cache(new_agent)


@functools.cache
def new_weights(kind, seed):
    """A folder with the weights of `new_agent(kind, seed)`."""
    folder = tempfile.TemporaryDirectory()
    new_agents(kind, seed).save_weights(f"{folder.name}/new.weights.h5")
    return folder


def make_agent(kind="DQN", seed=1):
    """Always the same agent, reset to what `new_agent(kind, seed)` creates: its graphs are traced once."""
    folder, agent = new_weights(kind, seed), new_agents(kind, 1)
    agent.load_weights(f"{folder.name}/new.weights.h5")
    keras.utils.set_random_seed(seed)
    return agent


def fit(agent, callbacks=(), epochs=EPOCHS, **kwargs):
    kwargs = {"num_envs": 4, "seed": 3, "steps_per_epoch": 6, "verbose": 0} | kwargs
    return agent.fit(ENV, epochs=epochs, callbacks=[*callbacks], **kwargs)


class Cut(keras.callbacks.Callback):
    """Stops training in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise RuntimeError("power cut")


def numbers(agent):
    position = agent.position()
    memory = [bytes(block) for blocks in position.memory for block in blocks]
    return [x.numpy() for x in agent.weights + agent.optimizer.variables], position.entries, memory


def assert_same(agent, expected):
    weights, entries, memory = numbers(agent)
    for x, y in zip(weights, expected[0], strict=True):
        np.testing.assert_array_equal(x, y)
    assert entries.keys() == expected[1].keys()
    for name, x in entries.items():
        np.testing.assert_array_equal(x, expected[1][name], name)
    assert memory == expected[2]


@pytest.fixture(scope="module")
def whole():
    """Agents after an uninterrupted training run."""
    kept = {}

    def of(kind):
        if kind not in kept:
            agent = make_agent(kind)
            fit(agent)
            kept[kind] = numbers(agent)
        return kept[kind]

    return of


def cut(folder, kind="DQN", epoch=EPOCHS - 1):
    """An agent whose training was stopped before an epoch."""
    agent = make_agent(kind)
    with pytest.raises(RuntimeError, match="power cut"):
        fit(agent, [krp.callbacks.Backup(folder), Cut(epoch)])
    return agent


def files(folder):
    return {path.name: path.stat().st_mtime_ns for path in (folder / "memory").iterdir()}


# The two memories of RecurrentDQN go on from a file in tests/agents/test_one_memory.py.
@pytest.mark.parametrize("kind", ["DQN", pytest.param("RecurrentDQN", marks=pytest.mark.long)])
def test_a_resumed_training_is_bit_identical(kind, tmp_path, whole):
    cut(tmp_path / "backup", kind)
    resumed = make_agent(kind, seed=99)
    history = fit(resumed, [krp.callbacks.Backup(tmp_path / "backup", delete_checkpoint=False)])
    assert history.epoch == [5]
    assert_same(resumed, whole(kind))
    assert (tmp_path / "backup" / "latest.weights.h5").exists()
    fit(resumed, [krp.callbacks.Backup(tmp_path / "backup")], epochs=EPOCHS)
    assert not (tmp_path / "backup").exists()


class Files(keras.callbacks.Callback):
    """The segments after each epoch, and the number of blocks packed until then."""

    def __init__(self, folder, monkeypatch):
        super().__init__()
        self.folder, self.packed, self.seen = folder, 0, []
        pack = ring.Ring.pack

        def counted(one, index):
            self.packed += 1
            return pack(one, index)

        monkeypatch.setattr(ring.Ring, "pack", counted)

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append((files(self.folder), self.packed))


def test_only_segments_that_changed_are_packed_and_written(tmp_path, monkeypatch):
    """An epoch has 24 rows: those of at most five blocks of seven."""
    watch = Files(tmp_path, monkeypatch)
    with pytest.raises(RuntimeError, match="power cut"):
        fit(make_agent(), [krp.callbacks.Backup(tmp_path), watch, Cut(7)], epochs=9)
    watch.seen.append((files(tmp_path), watch.packed))
    fit(make_agent(), [krp.callbacks.Backup(tmp_path, delete_checkpoint=False), watch], epochs=9)
    assert len(watch.seen) == 10
    assert [len(names) for names, _ in watch.seen[-5:]] == [15] * 5  # the buffer is full, no old rows are left
    for (before, packed_before), (after, packed) in zip(watch.seen, watch.seen[1:], strict=False):
        written = {name for name in after if after[name] != before.get(name)}
        assert packed - packed_before == len(written) <= 5
        assert len(after.keys() & before.keys()) >= len(before) - 5
    assert watch.seen[6][0] == watch.seen[7][0]


class PowerCutError(BaseException):
    """Stops everything."""


@pytest.mark.parametrize("step", [0, 4, 6, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 2, 3, 5, 7, 8, 9))])
def test_a_crash_at_any_moment_leaves_a_whole_backup(step, tmp_path, whole, monkeypatch):
    """The fifth backup is interrupted: it writes four segments and the weights, and removes four segments."""
    steps = iter(range(-1, 99))
    replace, unlink = persistence.os.replace, pathlib.Path.unlink
    watching = []

    def counting(function):
        def counted(*args, **kwargs):
            if watching and next(steps) == step - 1:
                raise PowerCutError
            return function(*args, **kwargs)

        return counted

    watch = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epoch == 4 and watching.append(True))
    with monkeypatch.context() as patch:
        patch.setattr(persistence.os, "replace", counting(replace))
        patch.setattr(pathlib.Path, "unlink", counting(unlink))
        with pytest.raises((PowerCutError, RuntimeError)):
            fit(make_agent(), [krp.callbacks.Backup(tmp_path), watch, Cut(5)])
    resumed = make_agent(seed=99)
    history = fit(resumed, [krp.callbacks.Backup(tmp_path, delete_checkpoint=False)])
    assert history.epoch == ([4, 5] if step <= 4 else [5])
    assert_same(resumed, whole("DQN"))
    assert len(files(tmp_path)) == len(set(files(tmp_path))) == sum(map(len, resumed.position().memory))


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_segment_that_is_missing_or_damaged_is_named_and_nothing_restored(tmp_path):
    cut(tmp_path)
    path = sorted((tmp_path / "memory").iterdir())[-1]
    agent = make_agent(seed=99)
    before = [x.numpy() for x in agent.weights + agent.optimizer.variables]
    for spoil, what in ((damage, "damaged. Received"), (pathlib.Path.unlink, "missing. Expected")):
        spoil(path)
        with pytest.raises(ValueError, match=f"A segment of the replay buffer is {what}: .*{path.name}$"):
            fit(agent, [krp.callbacks.Backup(tmp_path)])
        for x, y in zip(agent.weights + agent.optimizer.variables, before, strict=True):
            np.testing.assert_array_equal(x.numpy(), y)
        assert agent.position() is None
    assert fit(agent, epochs=1).epoch == [0]


def test_the_weights_of_a_backup_say_where_its_memory_is(tmp_path):
    cut(tmp_path)
    for read in (
        lambda: fit(make_agent(), [keras.callbacks.BackupAndRestore(tmp_path)]),
        lambda: cut(tmp_path / "other").load_weights(tmp_path / "latest.weights.h5"),
    ):
        with pytest.raises(ValueError, match=r"is stored in separate segments: use `krp\.callbacks\.Backup` to resume"):
            read()


def test_backups_of_keras_are_restored(tmp_path, whole):
    with pytest.raises(RuntimeError, match="power cut"):
        fit(make_agent(), [keras.callbacks.BackupAndRestore(tmp_path), Cut(2)])
    resumed = make_agent(seed=99)
    history = fit(resumed, [krp.callbacks.Backup(tmp_path, delete_checkpoint=False)])
    assert history.epoch == [2, 3, 4, 5]
    assert_same(resumed, whole("DQN"))
    assert files(tmp_path)


def test_files_of_their_own_hold_their_memory(tmp_path, whole):
    agent = cut(tmp_path / "backup")
    agent.save(tmp_path / "agent.keras")
    loaded = keras.saving.load_model(tmp_path / "agent.keras")
    fit(loaded, initial_epoch=5)
    assert_same(loaded, whole("DQN"))


def test_agents_without_a_replay_memory_have_no_segments(tmp_path):
    agent = krp.A2C(rollout_steps=4)
    agent.compile(run_eagerly=True)
    agent.fit(
        ENV,
        num_envs=2,
        steps_per_epoch=1,
        verbose=0,
        callbacks=[krp.callbacks.Backup(tmp_path, delete_checkpoint=False)],
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest.weights.h5", "training_metadata.json"]


def test_a_folder_that_went_away_is_written_anew(tmp_path, whole):
    remove = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: epoch == 2 and [path.unlink() for path in (tmp_path / "memory").iterdir()]
    )
    with pytest.raises(RuntimeError, match="power cut"):
        fit(make_agent(), [krp.callbacks.Backup(tmp_path), remove, Cut(3)])
    resumed = make_agent(seed=99)
    fit(resumed, [krp.callbacks.Backup(tmp_path)])
    assert_same(resumed, whole("DQN"))


def test_segments_bear_the_digest_of_what_they_hold(tmp_path):
    store = segments.Segments(tmp_path)
    one = ring.Ring({"x": ring.tf.TensorSpec((1,), ring.tf.uint8)}, 4)
    one.add({"x": ring.tf.ones((3, 1), ring.tf.uint8)})
    (digest,) = store.put([one])
    assert store.read(digest) == one.pack(0)
    (path,) = tmp_path.iterdir()
    assert np.load(path, allow_pickle=False)["0"].tolist() == [[1]] * 3


def test_what_was_in_the_memory_before_is_gone(tmp_path):
    """A training run with a full buffer, and then one that continues from before it was full."""
    agent, rows = make_agent(), []
    keep = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: epoch == 0 and agent.save_weights(tmp_path / "first.weights.h5")
    )
    fit(agent, [keep])
    for another in (agent, new_agent()):
        another.load_weights(tmp_path / "first.weights.h5")
        fit(another, initial_epoch=1, epochs=2)
        rows.append([x.numpy() for x in another.position().rings[0].rows])
    for x, y in zip(*rows, strict=True):
        np.testing.assert_array_equal(x, y)
