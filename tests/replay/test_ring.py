"""`Ring` against a Python list of all rows that were ever added."""

import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob.replay.ring
from keras_rl_prob.replay import Ring

ENVS, CAPACITY = 3, 7
SPECS = {
    "observation": {
        "image": tf.TensorSpec((ENVS, 2, 2), tf.uint8),
        "position": (tf.TensorSpec((ENVS, 4), tf.float32), tf.TensorSpec((ENVS,), tf.float32)),
    },
    "action": tf.TensorSpec((ENVS,), tf.int32),
    "is_first": tf.TensorSpec((ENVS,), tf.bool),
}


def random_rows(rng, count):
    """As `SPECS`, with a leading axis of `count`."""

    def draw(spec):
        shape = (count, *spec.shape)
        numbers = (
            rng.normal(size=shape)
            if spec.dtype.is_floating
            else rng.integers(0, 2 if spec.dtype.is_bool else 256, shape)
        )
        return tf.constant(numbers.astype(spec.dtype.as_numpy_dtype))

    return tf.nest.map_structure(draw, SPECS)


def check(ring, rows):
    """Checks the rows of the ring, oldest first, against the last rows of the list, for every key and environment."""
    kept = rows[-CAPACITY:]
    assert int(ring.size) == len(kept)
    places = ring.place(tf.range(len(kept)))
    for env in range(ENVS):
        for name in SPECS:
            stored = ring.read(name, places, env)
            expected = tf.nest.map_structure(lambda *x, env=env: np.stack(x)[:, env], *[row[name] for row in kept])
            tf.nest.assert_same_structure(stored, expected)
            for x, y in zip(tf.nest.flatten(stored), tf.nest.flatten(expected), strict=True):
                assert x.dtype == y.dtype
                np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("mode", ["eager", "graph", "jit"])
def test_a_ring_holds_the_last_rows(mode):
    rng, ring, rows = np.random.default_rng(0), Ring(SPECS, CAPACITY), []
    add = {"eager": lambda f: f, "graph": tf.function, "jit": tf.function(jit_compile=True)}[mode](ring.add)
    for count in [1, 2, 3, *rng.integers(1, CAPACITY + 1, 20), CAPACITY, CAPACITY, 1]:
        new = random_rows(rng, count)
        places = add(new)
        np.testing.assert_array_equal(places, np.arange(len(rows), len(rows) + count) % CAPACITY)
        rows += [tf.nest.map_structure(lambda x, t=t: x[t].numpy(), new) for t in range(count)]
        assert int(ring.head) == len(rows) % CAPACITY
        check(ring, rows)
    assert len(rows) > 5 * CAPACITY


def test_ages_before_and_after_wrapping_around():
    ring = Ring({"reward": tf.TensorSpec((1,), tf.float32)}, 4)
    ring.add({"reward": tf.constant([[0.0], [1.0], [2.0]])})
    np.testing.assert_array_equal(ring.place(tf.range(3)), [0, 1, 2])
    ring.add({"reward": tf.constant([[3.0], [4.0], [5.0]])})  # rows 2, 3, 4, 5 in the slots 2, 3, 0, 1
    ages = tf.constant([[0, 1], [2, 3]])
    np.testing.assert_array_equal(ring.place(ages), [[2, 3], [0, 1]])
    np.testing.assert_array_equal(ring.read("reward", ring.place(ages), 0), [[2, 3], [4, 5]])
    np.testing.assert_array_equal(ring.place(tf.constant([-1, 4, 5])), [1, 2, 3])  # newest, oldest, second oldest


def test_each_place_may_belong_to_another_environment():
    ring = Ring({"reward": tf.TensorSpec((ENVS,), tf.float32)}, 4)
    rows = np.arange(12.0, dtype="float32").reshape(4, ENVS)
    ring.add({"reward": tf.constant(rows)})
    places, envs = tf.constant([[0, 3, 2], [1, 1, 0]]), tf.constant([[2, 0, 1], [1, 2, 0]])
    read = tf.function(lambda: ring.read("reward", places, envs))
    np.testing.assert_array_equal(read(), rows[places.numpy(), envs.numpy()])
    # A whole window of one environment for each item: envs `[items]` against places `[steps, items]`.
    np.testing.assert_array_equal(ring.read("reward", places, envs[0]), rows[places.numpy(), envs.numpy()[0]])


def test_variables_are_all_of_the_state():
    rng, ring, other = np.random.default_rng(1), Ring(SPECS, CAPACITY), Ring(SPECS, CAPACITY)
    rows = [random_rows(rng, 1) for _ in range(10)]
    for row in rows:
        ring.add(row)
    for variable, copy in zip(ring.variables, other.variables, strict=True):
        assert not variable.trainable
        copy.assign(variable)
    last = random_rows(rng, 2)
    other.add(last)
    rows += [tf.nest.map_structure(lambda x, t=t: x[t : t + 1], last) for t in range(2)]
    check(other, [tf.nest.map_structure(lambda x: x[0].numpy(), row) for row in rows])


def test_a_memory_that_the_machine_cannot_hold_is_refused_before_it_is_made():
    specs = {"x": tf.TensorSpec((4, 84, 84, 4), tf.uint8), "y": tf.TensorSpec((4,), tf.float32)}
    with pytest.raises(
        MemoryError, match=r"would take 105\d\d.\d GiB, but this machine has .* GiB: set a smaller `capacity`"
    ):
        Ring(specs, 10**8)


ROW_BYTES = ENVS * (4 + 5 * 4 + 4 + 1)


def ring_of_blocks(monkeypatch, rows):
    monkeypatch.setattr(keras_rl_prob.replay.ring, "BLOCK_BYTES", rows * ROW_BYTES)
    return Ring(SPECS, CAPACITY)


def copied(ring, monkeypatch, rows):
    """Another ring, restored from the blocks of one."""
    other = ring_of_blocks(monkeypatch, rows)
    for mine, theirs in zip((other.size, other.head), (ring.size, ring.head), strict=True):
        mine.assign(theirs)
    for index in range(ring.blocks):
        other.unpack(index, ring.pack(index))
    return other


@pytest.mark.parametrize("rows", [1, 3, CAPACITY, 100])
def test_blocks_are_all_that_a_ring_holds_and_their_versions_tell_what_changed(rows, monkeypatch):
    rng, ring, known = np.random.default_rng(0), ring_of_blocks(monkeypatch, rows), {}
    for count in [0, 1, 2, 1, 3, 1, 7, 6, 1, 1, 5, 2]:
        if count:
            ring.add(random_rows(rng, count))
        assert ring.blocks == -(-int(ring.size) // min(rows, CAPACITY))
        blocks = {index: (ring.version(index), ring.pack(index)) for index in range(ring.blocks)}
        for index, (version, data) in blocks.items():
            if index in known:
                assert (version == known[index][0]) == (data == known[index][1])
        known = blocks
        for mine, theirs in zip(copied(ring, monkeypatch, rows).variables, ring.variables, strict=True):
            np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
    versions = [ring.version(index) for index in range(ring.blocks)]
    assert copied(ring, monkeypatch, rows).version(0) != versions[0]
    ring.clear()
    ring.size.assign(CAPACITY)
    assert not {ring.version(index) for index in range(ring.blocks)} & set(versions)


def test_blocks_of_bfloat16_and_large_numbers_come_back():
    ring, other = (Ring({"x": tf.TensorSpec((1,), tf.bfloat16), "y": tf.TensorSpec((1,), tf.int64)}, 4) for _ in "ab")
    ring.add({"x": tf.constant([[0.1], [-3.0]], tf.bfloat16), "y": tf.constant([[2**60], [-1]], tf.int64)})
    other.size.assign(2)
    other.unpack(0, ring.pack(0))
    for mine, theirs in zip(other.rows, ring.rows, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


def test_blocks_that_are_damaged_or_of_another_ring_are_refused():
    ring, other = Ring({"x": tf.TensorSpec((1,), tf.uint8)}, 4), Ring({"x": tf.TensorSpec((2,), tf.uint8)}, 4)
    for one in (ring, other):
        one.add({"x": tf.ones((3, one.num_envs), tf.uint8)})
    data = ring.pack(0)
    spoilt = bytearray(data)
    spoilt[data.index(b"0.npy") + 8] ^= 255
    for wrong, message in (
        (spoilt, "is damaged"),
        (data[:20], "is damaged"),
        (b"", "is damaged"),
        (other.pack(0), r"must have 3 rows of the shapes \[\[1\]\]. Received: shapes=\[\[3, 2\]\]"),
    ):
        with pytest.raises(ValueError, match=f"A block of the replay buffer {message}"):
            ring.unpack(0, bytes(wrong))
