"""Graphs of updates read numbers from variables, so that agents with other numbers have the same graphs for XLA."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob.learning import model
from keras_rl_prob.settings import Numbers

POLICY = {"discount": 0.871, "value_coef": krp.ValueLoss(0.473, huber_delta=0.691), "entropy_coef": 0.0237}
REPLAY = {"capacity": 64, "batch_size": 4, "learning_starts": 8}
CRITIC = {
    "rollout_steps": 4,
    "updates": 2,
    "discount": 0.871,
    "target_update": 0.137,
    "replay": krp.ReplaySettings(**REPLAY),
}
CLIPPED = krp.Clipping(0.213, value_clip=0.317, log_prob_clip=7.43)
# name: (class, arguments, environment)
AGENTS = {
    "PPO": (krp.PPO, {"rollout_steps": 4, "gae_lambda": 0.931, "clip_ratio": CLIPPED, **POLICY}, "tf/CartPole-v1"),
    "IMPALA": (
        krp.IMPALA,
        {"rollout_steps": 4, "vtrace": krp.VTrace(0.937, clip_rho=1.13, clip_c=1.07, clip_pg_rho=1.19), **POLICY},
        "tf/CartPole-v1",
    ),
    "ACER": (
        krp.ACER,
        {
            "rollout_steps": 4,
            "discount": 0.871,
            "value_coef": 0.473,
            "entropy_coef": 0.0237,
            "retrace_lambda": 0.937,
            "clip_rho": 9.13,
            "trust_region": 0.713,
            "average_decay": 0.979,
        },
        "tf/CartPole-v1",
    ),
    "QRDQN": (krp.QRDQN, {**CRITIC, "huber_delta": 0.691}, "tf/CartPole-v1"),
    "SAC": (krp.SAC, {**CRITIC, "temperature": 0.0237}, "tf/Pendulum-v1"),
    "TD3": (krp.TD3, {**CRITIC, "target_noise": 0.213, "noise_clip": 0.517}, "tf/Pendulum-v1"),
}


def constants_of(graph):
    """The floats that are constants of a graph or of its functions."""
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    arrays = [tf.make_ndarray(node.attr["value"].tensor) for node in nodes if node.op == "Const"]
    return {float(x) for array in arrays if array.dtype == np.float32 for x in array.ravel()}


def numbers_in(value):
    """The floats of an argument: itself, or the fields of its settings."""
    if isinstance(value, krp.ReplaySettings):  # intervals of priorities
        return []
    values = value.get_config().values() if hasattr(value, "get_config") else [value]
    return [x for x in values if isinstance(x, float) and x != 1.0]


@pytest.mark.parametrize("name", AGENTS)
def test_updates_have_no_number_as_a_constant(name, monkeypatch):
    made, arguments, env = AGENTS[name]
    function, graphs = tf.function, []

    def recording(python_function=None, **options):
        compiled = function(python_function, **options)
        if getattr(python_function, "__name__", None) != "learn":
            return compiled

        def learn(*args):
            graphs.append(compiled.get_concrete_function(*args).graph.as_graph_def())
            return compiled(*args)

        return learn

    monkeypatch.setattr(model.tf, "function", recording)
    agent = made(**arguments)
    agent.compile(jit_compile=False)
    agent.fit(env, env_steps=32, num_envs=4, verbose=0)
    constants = constants_of(graphs[0])
    numbers = [x for value in arguments.values() for x in numbers_in(value)]
    assert len(numbers) >= 3
    assert len(constants) > 4
    variants = {np.float32(y) for x in numbers for y in (x, -x, 1 - x, 1 + x, 2 * x, x / 2, 1 / x)}
    assert constants & set(map(float, variants)) == set()


def test_a_number_is_itself_in_eager_mode_and_a_variable_in_graphs():
    numbers, traced = Numbers([0.25, "stored", krp.Clipping(0.5)]), []

    @tf.function
    def product(x):
        traced.append(x)
        return x * numbers.read(0.25) * numbers.read(0.5) * numbers.read(0.75)

    assert numbers.read(0.25) == 0.25
    assert float(product(tf.constant(1.0))) == 0.25 * 0.5 * 0.75
    assert len(traced) == 1  # TensorFlow traces functions that make variables twice
    graph = product.get_concrete_function(tf.constant(1.0)).graph
    assert len(graph.captures) == 2
    assert constants_of(graph.as_graph_def()) == {0.75}


def test_integers_none_and_schedules():
    agent = krp.PPO()
    agent.compile()
    agent.build("tf/CartPole-v1")
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 10, 0.0)
    assert (agent.now(None), agent.now(7), float(agent.now(schedule))) == (None, 7, 1.0)
