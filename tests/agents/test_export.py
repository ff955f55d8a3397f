"""Exported policies against their agents, in this process and in one that has only TensorFlow."""

import json
import os
import subprocess
import sys
import textwrap

import environments
import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import keras_rl_prob as krp
from keras_rl_prob.deployment.export import Step

STEPS, ROWS, SEED = 60, 3, 7

OBSERVATION = spaces.Dict(
    {
        "x": spaces.Box(-10.0, 10.0, (3,), np.float64),
        "left arm": spaces.Tuple([spaces.Discrete(4, start=2), spaces.MultiBinary(2)]),
        "count": spaces.Box(0, 255, (2,), np.uint8),
    }
)
ACTION = spaces.Tuple(
    [
        spaces.Box(np.float32([-2, 0]), np.float32([3, 0.5])),
        spaces.Discrete(5, start=-1),
        spaces.Dict({"a": spaces.MultiDiscrete([2, 3], start=[1, 2]), "b": spaces.MultiBinary(2)}),
        spaces.Box(-np.inf, 0.1, (2,), np.float64),
        spaces.Box(-3, 7, (2,), np.int64),
    ]
)
HYBRID = spaces.Tuple([spaces.Box(-1.0, 2.0, (2,)), spaces.Discrete(3)])


def agents():
    """Name -> a built agent: cells, spaces and networks that differ."""
    position = spaces.Box(-1.0, 1.0, (4,))
    masked, image = environments.MaskedEnv(), environments.ImageEnv()
    yield "lstm", recurrent(OBSERVATION, ACTION, "lstm", normalize_observations=True)
    yield "gru", recurrent(spaces.Tuple([position, spaces.Discrete(2)]), HYBRID, "gru")
    yield (
        "masked",
        built(krp.RecurrentPPO(environments.masked_network()), masked.observation_space, masked.action_space),
    )
    yield "feed_forward", built(krp.PPO(normalize_observations=True), position, spaces.Discrete(4))
    network = krp.networks.nature_cnn((image.observation_space, image.action_space), cell="simple", units=4)
    yield "image", built(krp.RecurrentPPO(network), image.observation_space, image.action_space)
    inputs = keras.Input((), dtype="int32")
    x = keras.layers.Dense(8)(keras.layers.IntegerLookup(vocabulary=[3, 1], output_mode="one_hot")(inputs))
    network = keras.Model(inputs, {"action": krp.layers.DenseCategorical((3,))(x), "value": keras.layers.Dense(1)(x)})
    yield "table", built(krp.PPO(network), spaces.Discrete(4), spaces.Discrete(3))


def recurrent(observation_space, action_space, cell, **arguments):
    network = krp.networks.recurrent((observation_space, action_space), cell, units=8, shared=True)
    return built(krp.RecurrentPPO(network, **arguments), observation_space, action_space)


def built(agent, *both_spaces):
    """Builds an agent, and gives it weights and statistics for which its actions depend on observations."""
    agent.build(both_spaces)
    noise = np.random.default_rng(0)
    for variable in agent.network.trainable_variables:
        variable.assign(variable + 0.5 * noise.normal(size=variable.shape))
    for layer in agent.observation_normalizers:
        if isinstance(layer, krp.layers.RunningNormalization):
            layer.update(noise.normal(2.0, 3.0, (50, *layer.mean.shape)))
    return agent


def experience(agent, steps=STEPS, rows=ROWS):
    """Random observations, a list of nests `[rows, ...]`, and where episodes begin, bool `[steps, rows]`."""
    space = gymnasium.vector.utils.batch_space(agent.observation_space, rows)
    space.seed(0)
    is_first = np.random.default_rng(1).random((steps, rows)) < 0.1
    is_first[0] = True
    return [space.sample() for _ in range(steps)], is_first


def reference(agent, steps=STEPS, rows=ROWS, **arguments):
    """The agent's actions for `experience`: a list of nests."""
    policy = agent.policy(num_envs=rows, **arguments)
    return [policy(*step) for step in zip(*experience(agent, steps, rows), strict=True)]


def stacked(nests):
    """A list of nests as a flat list of arrays with time in front."""
    return [np.stack(x) for x in zip(*map(tf.nest.flatten, nests), strict=True)]


def names(prefix, space):
    """The expected names of a space's leaves, in a nest like it."""
    if isinstance(space, spaces.Dict):
        return {key: names(f"{prefix}_{key.replace(' ', '_')}", child) for key, child in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(names(f"{prefix}_{i}", child) for i, child in enumerate(space))
    return prefix


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Name -> (agent, folder of its SavedModel)."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("exported")
    made = {}
    for name, agent in agents():
        agent.export(folder / name)
        made[name] = agent, folder / name
    return made


@pytest.fixture(scope="module")
def lstm(exported):
    agent, folder = exported["lstm"]
    return agent, tf.saved_model.load(folder)


each_case = pytest.mark.parametrize("name", ["lstm", "gru", "masked", "feed_forward", "image", "table"])

ELSEWHERE = """
    import json, sys

    sys.modules["keras"] = sys.modules["keras_rl_prob"] = sys.modules["tensorflow_probability"] = None

    import numpy as np
    import tensorflow as tf

    def nest(names):
        if isinstance(names, str):
            return names
        return {k: nest(v) for k, v in names.items()} if isinstance(names, dict) else tuple(map(nest, names))

    def serve(folder, names, data):
        policy, names = tf.saved_model.load(folder), nest(names)
        state = policy.initial_state(data["is_first"].shape[1])
        for t, is_first in enumerate(data["is_first"]):
            observation = tf.nest.map_structure(lambda name: data[name][t], names)
            action, state = policy.serve(observation, is_first, state)
            yield [x.numpy() for x in tf.nest.flatten(action)]

    def session(folder, names, data):  # how C, C++ and TensorFlow Serving load
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            loaded = tf.compat.v1.saved_model.load(session, ["serve"], folder)
            signature = loaded.signature_def["serving_default"]
            outputs = {name: x.name for name, x in signature.outputs.items()}
            shapes = {name: [x.size for x in v.tensor_shape.dim][1:] for name, v in signature.inputs.items()}
            rows = data["is_first"].shape[1]
            state = {name: np.zeros([rows, *shapes[name]]) for name in shapes if name.startswith("state_")}
            for t in range(len(data["is_first"])):
                inputs = {**{name: x[t] for name, x in data.items()}, **state}
                result = session.run(outputs, {signature.inputs[name].name: x for name, x in inputs.items()})
                state = {name: result["next_" + name] for name in state}
                yield [result[name] for name in sorted(result) if name.startswith("action")]

    for folder, names in json.loads(sys.argv[1]):
        data = dict(np.load(folder + ".npz"))
        results = [*zip(*serve(folder, names, data)), *zip(*session(folder, names, data))]
        np.savez(folder + ".result.npz", *map(np.stack, results))
"""


@pytest.fixture(scope="module")
def elsewhere(exported, tmp_path_factory):
    """Name -> the actions of `serve` and of a session, flat, computed by a process that has only TensorFlow."""
    jobs = []
    for agent, folder in exported.values():
        observations, is_first = experience(agent)
        structure = names("observation", agent.observation_space)
        data = dict(zip(tf.nest.flatten(structure), stacked(observations), strict=True))
        np.savez(f"{folder}.npz", is_first=is_first, **data)
        jobs.append((str(folder), structure))
    script = tmp_path_factory.mktemp("script") / "elsewhere.py"
    script.write_text(textwrap.dedent(ELSEWHERE))
    subprocess.run([sys.executable, "-I", script, json.dumps(jobs)], check=True, capture_output=True, cwd=script.parent)
    return {name: list(np.load(f"{folder}.result.npz").values()) for name, (_, folder) in exported.items()}


@each_case
def test_saved_model_acts_as_the_agent_in_a_process_without_keras(exported, elsewhere, name):
    expected = stacked(reference(exported[name][0]))
    assert len(elsewhere[name]) == 2 * len(expected)
    for got, want in zip(elsewhere[name], [*expected, *expected], strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=0, atol=5e-5 if got.dtype.kind == "f" else 0)
        assert (want != want[:1]).any()  # otherwise any constant action would pass


@each_case
def test_the_environment_can_take_the_action_as_it_is(exported, name):
    agent, folder = exported[name]
    policy = tf.saved_model.load(folder)
    action_space = gymnasium.vector.utils.batch_space(agent.action_space, ROWS)
    state = policy.initial_state(ROWS)
    for observation, is_first in zip(*experience(agent, steps=20), strict=True):
        action, state = policy.serve(observation, is_first, state)
        assert action_space.contains(tf.nest.map_structure(lambda x: x.numpy(), action))


def test_any_batch_size(lstm):
    agent, policy = lstm
    for rows in (1, 5):
        (observation,), is_first = experience(agent, steps=1, rows=rows)
        action, state = policy.serve(observation, is_first[0], policy.initial_state(rows))
        for got, want in zip(tf.nest.flatten(action), stacked(reference(agent, 1, rows)), strict=True):
            np.testing.assert_allclose(got, want[0], rtol=0, atol=5e-5)
        assert {x.shape[0] for x in tf.nest.flatten((action, state))} == {rows}


def test_samples_are_those_of_the_stochastic_policy(lstm):
    agent, policy = lstm
    state, actions = policy.initial_state(ROWS), []
    for t, step in enumerate(zip(*experience(agent, steps=20), strict=True)):
        action, state = policy.sample(*step, state, [SEED, t])
        actions.append(action)
    want = reference(agent, steps=20, deterministic=False, seed=SEED)
    for got, sampled, mode in zip(stacked(actions), stacked(want), stacked(reference(agent, steps=20)), strict=True):
        np.testing.assert_allclose(got, sampled, rtol=0, atol=5e-5)
        assert np.abs(got - mode).max() > 0.1


def test_initial_state_has_the_structure_of_the_agents(exported, lstm):
    agent, policy = lstm
    tf.nest.map_structure(np.testing.assert_array_equal, policy.initial_state(4), agent.initial_state(4))
    assert policy.initial_state(4)[0][0].shape == (4, 8)
    assert tf.saved_model.load(exported["feed_forward"][1]).initial_state(4) == ()


def test_the_signature_has_flat_names_and_the_dtypes_of_the_spaces(exported, lstm):
    signature = lstm[1].signatures["serving_default"]
    inputs = {name: (spec.dtype.name, spec.shape[1:]) for name, spec in signature.structured_input_signature[1].items()}
    assert inputs == {
        "observation_count": ("uint8", (2,)),
        "observation_left_arm_0": ("int64", ()),
        "observation_left_arm_1": ("int8", (2,)),
        "observation_x": ("float64", (3,)),
        "is_first": ("bool", ()),
        "state_0": ("float32", (8,)),
        "state_1": ("float32", (8,)),
    }
    outputs = {name: (x.dtype.name, x.shape[1:]) for name, x in signature.structured_outputs.items()}
    assert outputs == {
        "action_0": ("float32", (2,)),
        "action_1": ("int64", ()),
        "action_2_a": ("int64", (2,)),
        "action_2_b": ("int8", (2,)),
        "action_3": ("float64", (2,)),
        "action_4": ("int64", (2,)),
        "next_state_0": ("float32", (8,)),
        "next_state_1": ("float32", (8,)),
    }
    signature = tf.saved_model.load(exported["feed_forward"][1]).signatures["serving_default"]
    assert set(signature.structured_input_signature[1]) == {"observation", "is_first"}
    assert set(signature.structured_outputs) == {"action"}


# ---- every kind of agent --------------------------------------------------------------------------------------

ODD = spaces.Dict(
    {
        "a.b": spaces.Box(-1.0, 1.0, (2,)),
        "a": spaces.Dict({"b": spaces.Discrete(3, start=1)}),
        "a/b": spaces.Box(0, 9, (2,), np.int16),
        "a b:\u00fc": spaces.MultiBinary(2),
        "_": spaces.Discrete(2),
    }
)
KINDS = {
    "A2C": lambda: krp.A2C(),
    "A3C": lambda: krp.A3C(),
    "IMPALA": lambda: krp.IMPALA(),
    "ACER": lambda: krp.ACER(),
    "Reinforce": lambda: krp.Reinforce(baseline=True),
    "DQN": lambda: krp.DQN(dueling=True, noisy="factorized", prioritized=True),
    "RecurrentDQN": lambda: krp.RecurrentDQN(noisy="independent"),
    "Boltzmann": lambda: krp.DQN(exploration=krp.Boltzmann(0.5), normalize_observations=True),
    "LinearQ": lambda: krp.LinearQ(),
    "RandomAgent": lambda: krp.RandomAgent(),
    "QRDQN": lambda: krp.QRDQN(quantiles=3, dueling=True, noisy="factorized"),
    "C51": lambda: krp.C51(atoms=3),
    "SAC": lambda: krp.SAC(),
    "SAC, discrete": lambda: krp.SAC(),  # mixed ones: test_hybrid_trainings.py
    "TD3": lambda: krp.TD3(),
    "RecurrentSAC": lambda: krp.RecurrentSAC(),
    "RecurrentTD3": lambda: krp.RecurrentTD3(),
}
CONTINUOUS = {"SAC", "TD3", "RecurrentSAC", "RecurrentTD3"}


LIKE_ANOTHER = {
    "A3C",
    "IMPALA",
    "ACER",
    "Reinforce",
    "SAC, discrete",
    "RecurrentTD3",
    "C51",
}  # as A2C, TD3 or QRDQN act


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.long if kind in LIKE_ANOTHER else ()) for kind in KINDS]
)
def test_every_agent_exports_what_it_predicts(kind, tmp_path):
    agent = KINDS[kind]()
    observation_space = spaces.Box(-1.0, 1.0, (4,)) if kind == "LinearQ" else ODD
    action_space = spaces.Box(-2.0, 3.0, (2,)) if kind in CONTINUOUS else spaces.Discrete(5, start=3)
    built(agent, observation_space, action_space)
    agent.export(tmp_path / "saved")
    policy, session = tf.saved_model.load(tmp_path / "saved"), None
    if kind == "RandomAgent":
        with pytest.raises(ValueError, match=r"operations and dtypes ONNX has.*StatelessRandomUniform"):
            agent.export(tmp_path / "agent.onnx")
    else:
        agent.export(tmp_path / "agent.onnx")
        session = pytest.importorskip("onnxruntime").InferenceSession(tmp_path / "agent.onnx")
    actions = []
    for rows in (1, 7, 300):
        (observation,), _ = experience(agent, steps=1, rows=rows)
        expected, starts = agent.predict(observation, rows, verbose=0), np.ones(rows, bool)
        state = policy.initial_state(rows)
        tolerance = {"rtol": 1e-4, "atol": 1e-4} if kind in CONTINUOUS else {"rtol": 0.0}
        np.testing.assert_allclose(policy.serve(observation, starts, state)[0], expected, **tolerance)
        if session is not None:
            given = {f"state_{i}": x.numpy() for i, x in enumerate(tf.nest.flatten(state))} | {"is_first": starts}
            flat = [np.asarray(x) for _, x in krp.spaces.pairs(agent.observation_space, observation)]
            tensors = zip(Step(agent).flat.input_signature, flat, strict=False)
            given |= {spec.name: x for spec, x in tensors}
            wanted = {x.name for x in session.get_inputs()}
            result = session.run(["action"], {key: x for key, x in given.items() if key in wanted})[0]
            np.testing.assert_allclose(result, expected, **tolerance)
        sampled, _ = policy.sample(observation, starts, state, [1, 2])
        assert all(agent.action_space.contains(x) for x in (*np.asarray(sampled), *np.asarray(expected)))
        actions += np.asarray(expected).ravel().tolist()
    assert len(set(actions)) > 1


def test_what_only_the_critic_sees_is_no_input(tmp_path):
    space = spaces.Dict(
        {"seen": spaces.Box(-1.0, 1.0, (3,)), "truth": spaces.Dict({"all": spaces.Box(-1.0, 1.0, (2,))})}
    )
    inputs = {"seen": keras.Input((3,), name="seen"), "truth": {"all": keras.Input((2,), name="all")}}
    head = krp.layers.DenseCategorical((4,))(keras.layers.Dense(8, "tanh")(inputs["seen"]))
    value = keras.layers.Dense(1)(keras.layers.Concatenate()([inputs["seen"], inputs["truth"]["all"]]))
    agent = krp.PPO(keras.Model(inputs, {"action": head, "value": value}), normalize_observations=True)
    built(agent, space, spaces.Discrete(4))
    agent.export(tmp_path / "policy")
    policy = tf.saved_model.load(tmp_path / "policy")
    assert set(policy.signatures["serving_default"].structured_input_signature[1]) == {"observation_seen", "is_first"}
    (observation,), _ = experience(agent, steps=1, rows=7)
    action, _ = policy.serve({"seen": observation["seen"]}, np.ones(7, bool), ())
    np.testing.assert_array_equal(action, agent.predict(observation, verbose=0))


def test_a_network_that_normalises_itself_runs_as_onnx(tmp_path):
    inputs = keras.Input((2,))
    x = keras.layers.Normalization(mean=[1.0, 2.0], variance=[4.0, 9.0])(inputs)
    outputs = {"action": krp.layers.DenseCategorical((3,))(x), "value": keras.layers.Dense(1)(x)}
    agent = built(krp.PPO(keras.Model(inputs, outputs)), spaces.Box(-1.0, 1.0, (2,)), spaces.Discrete(3))
    agent.export(tmp_path / "agent.onnx")
    assert (tmp_path / "agent.onnx").exists()


@pytest.mark.parametrize("name", ["policy", "policy.onnx"])
def test_what_does_not_act_as_the_agent_is_not_written(name, tmp_path, monkeypatch):
    """The weights of the agent change as soon as they have been written."""
    agent = built(krp.PPO(), spaces.Box(-1.0, 1.0, (2,)), spaces.Box(-1.0, 1.0, (1,)))
    writer = tf.saved_model if name == "policy" else pytest.importorskip("tf2onnx").convert
    method = "save" if name == "policy" else "from_function"
    write = getattr(writer, method)

    def writing(*args, **kwargs):
        written = write(*args, **kwargs)
        for weight in agent.network.trainable_variables:
            weight.assign_add(tf.ones_like(weight))
        return written

    monkeypatch.setattr(writer, method, writing)
    with pytest.raises(ValueError, match=r"would not act as the agent. Expected: action=.*Nothing was written to"):
        agent.export(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "format"), [("p.onnx", "tf_saved_model"), ("p.onnx", "torch"), ("p", "torch")])
def test_the_name_decides_the_format(name, format, tmp_path):
    agent = built(krp.PPO(), spaces.Box(-1.0, 1.0, (2,)), spaces.Discrete(3))
    with pytest.raises(ValueError, match=rf"`format` must be one of .*Received: format='{format}', filepath=.*{name}"):
        agent.export(tmp_path / name, format)
    assert not list(tmp_path.iterdir())


# ---- files ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    """An agent that is fast to export, and one with other weights."""
    both = spaces.Box(-1.0, 1.0, (2,)), spaces.Discrete(9)
    made = [krp.PPO(krp.networks.feed_forward(both, units=(4,))) for _ in range(2)]
    return [built(agent, *both) for agent in made]


def action_of(folder):
    rows = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    policy = tf.saved_model.load(folder)
    return policy.serve(rows, np.ones(50, bool), ())[0].numpy()


def test_an_earlier_export_is_replaced_and_nothing_left_beside_it(small, tmp_path):
    path = tmp_path / "new folder" / "policy"
    small[0].export(path)
    before = action_of(path)
    small[1].export(path)
    assert (action_of(path) != before).any()
    assert os.listdir(path.parent) == ["policy"]


@pytest.mark.parametrize("fails", ["write", "rename"])
def test_an_export_that_fails_leaves_the_earlier_one(small, tmp_path, monkeypatch, fails):
    path = tmp_path / "policy"
    small[0].export(path)
    before = action_of(path)
    save, replace = tf.saved_model.save, os.replace

    def save_and_fail(*args, **kwargs):
        save(*args, **kwargs)
        raise OSError("disk full")

    def fail_for_the_new(source, target):
        if str(source).endswith("new"):
            raise OSError("disk full")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(
            *((tf.saved_model, "save", save_and_fail) if fails == "write" else (os, "replace", fail_for_the_new))
        )
        for target in (path, tmp_path / "another"):
            with pytest.raises(OSError, match="disk full"):
                small[1].export(target)
    assert (action_of(path) == before).all()
    assert os.listdir(tmp_path) == ["policy"]


def test_a_folder_of_other_things_is_left_alone(small, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(
        ValueError, match=r"`filepath` must be a new or an empty folder, or an earlier export\. Received: "
    ):
        small[0].export(tmp_path)
    with pytest.raises(ValueError, match="`filepath` must be a new or an empty folder"):
        small[0].export(tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    small[0].export(tmp_path / "empty")
    assert action_of(tmp_path / "empty").shape == (50,)


@pytest.mark.parametrize("format", ["litert", 3, "tf"])
def test_unknown_formats(small, tmp_path, format):
    with pytest.raises(
        ValueError, match=rf"`format` must be one of .*tf_saved_model.*onnx.* Received: format={format!r}"
    ):
        small[0].export(tmp_path / "policy", format)
    assert not os.listdir(tmp_path)


def test_an_agent_that_is_not_built(tmp_path):
    with pytest.raises(ValueError, match="`export` needs a built agent"):
        krp.PPO().export(tmp_path / "policy")


def test_keys_that_letters_and_digits_do_not_tell_apart_have_names_of_their_own(tmp_path):
    space = spaces.Dict({"a b": spaces.Discrete(2), "a_b": spaces.Discrete(2)})
    agent = krp.PPO()
    agent.build((space, spaces.Discrete(2)))
    agent.export(tmp_path / "policy")
    signature = tf.saved_model.load(tmp_path / "policy").signatures["serving_default"]
    assert set(signature.structured_input_signature[1]) == {"observation_a_b", "observation_a_b_", "is_first"}


# ---- ONNX -----------------------------------------------------------------------------------------------------


def onnx_actions(path, agent, steps, rows):
    """The actions of ONNX Runtime for `experience`, with the state passed by the caller: a flat list like `stacked`."""
    session = pytest.importorskip("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    structure = names("observation", agent.observation_space)
    outputs = [output.name for output in session.get_outputs()]
    state = {x.name: np.zeros((rows, *x.shape[1:]), np.float32) for x in session.get_inputs() if "state_" in x.name}
    actions = []
    for observation, is_first in zip(*experience(agent, steps, rows), strict=True):
        flat = dict(zip(tf.nest.flatten(structure), tf.nest.flatten(observation), strict=True))
        got = dict(zip(outputs, session.run(None, {**flat, "is_first": is_first, **state}), strict=True))
        state = {name: got[f"next_{name}"] for name in state}
        actions.append(tf.nest.map_structure(got.get, names("action", agent.action_space)))
    return stacked(actions)


ONNX_STEPS = {"lstm": 100, "gru": 100, "masked": 50, "feed_forward": 50, "image": 20}


@pytest.mark.parametrize(  # "masked" has a GRU too
    ("name", "steps"),
    [pytest.param(*case, marks=pytest.mark.long if case[0] == "gru" else ()) for case in ONNX_STEPS.items()],
)
def test_onnx_acts_as_the_agent(exported, tmp_path, name, steps):
    pytest.importorskip("tf2onnx")
    agent, path = exported[name][0], tmp_path / "policy.onnx"
    agent.export(path, format="onnx")
    assert os.listdir(tmp_path) == ["policy.onnx"]
    for got, want in zip(onnx_actions(path, agent, steps, 2), stacked(reference(agent, steps, 2)), strict=True):
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        np.testing.assert_allclose(got, want, rtol=0, atol=5e-5 if got.dtype.kind == "f" else 0)


def test_onnx_names_the_operations_that_it_does_not_have(tmp_path):
    pytest.importorskip("tf2onnx")
    inputs = keras.Input((2,))
    x = keras.ops.erfinv(keras.layers.Dense(2, "tanh")(inputs))
    head = krp.layers.DenseCategorical((2,))(x)
    agent = krp.PPO(keras.Model(inputs, {"action": head, "value": keras.layers.Dense(1)(x)}))
    agent.build((spaces.Box(-1.0, 1.0, (2,)), spaces.Discrete(2)))
    path = tmp_path / "policy.onnx"
    path.write_text("the earlier one")
    with pytest.raises(
        ValueError, match=r'`format="tf_saved_model"` takes any. Received: a network with \[\'Erfinv\'\]'
    ):
        agent.export(path, format="onnx")
    assert path.read_text() == "the earlier one"
    assert os.listdir(tmp_path) == ["policy.onnx"]


def test_onnx_without_its_extra(small, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ImportError, match=r'`pip install "keras_rl_prob\[onnx\]"`'):
        small[0].export(tmp_path / "policy.onnx", format="onnx")
