"""Gradient steps besides the loss: loss scaling, checks for non-finite numbers, additional variables and logs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob.learning import failures
from keras_rl_prob.learning.gradients import apply_gradients

ENV = "tf/CartPole-v1"
SMALL = {"rollout_steps": 8, "minibatches": 2, "update_epochs": 2}
DQN = {"rollout_steps": 4, "updates": 2, "batch_size": 8, "capacity": 400, "learning_starts": 16, "target_update": 0.5}


def trained(agent, optimizer, **arguments):
    agent.compile(optimizer, run_eagerly=True)
    agent.fit(ENV, epochs=1, steps_per_epoch=4, num_envs=4, seed=1, verbose=0, **arguments)
    return agent


def make(agent_class, network=None):
    keras.utils.set_random_seed(0)
    return agent_class(network, **(DQN if agent_class is krp.DQN else SMALL))


SCALED = {
    "factor": lambda: keras.optimizers.Adam(1e-2, loss_scale_factor=2.0**10),
    "dynamic": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-2)),
}


@pytest.mark.parametrize(
    ("agent_class", "scale"),
    [
        (krp.PPO, "dynamic"),
        (krp.DQN, "factor"),
        pytest.param(krp.PPO, "factor", marks=pytest.mark.long),
        pytest.param(krp.DQN, "dynamic", marks=pytest.mark.long),
    ],
)
def test_a_scaled_loss_gives_the_same_training(agent_class, scale):
    plain, scaled = (
        trained(make(agent_class), make_optimizer())
        for make_optimizer in (lambda: keras.optimizers.Adam(1e-2), SCALED[scale])
    )
    for x, y in zip(plain.network.weights, scaled.network.weights, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7)
    assert int(plain.optimizer.iterations) == int(scaled.optimizer.iterations) == 4


def test_gradients_that_overflow_their_scale_are_left_out_and_the_scale_shrinks():
    agent = krp.PPO(value_coef=1e3, **SMALL)
    trained(agent, keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1e-6), 2.0**120))
    assert int(agent.optimizer.iterations) < 4
    assert float(agent.optimizer.dynamic_scale) < 2.0**120
    assert all(np.isfinite(weight).all() for weight in agent.get_weights())


@pytest.mark.parametrize("target_update", [1, 0.5])
def test_a_target_network_stays_where_it_is_after_a_number_that_is_not_finite(target_update):
    agent = trained(krp.DQN(**DQN | {"target_update": target_update}), "sgd")
    source = agent.make_source(krp.envs.make(ENV, num_envs=4), 0)
    data = source.prepare(source.collect()).update(tf.constant(0))
    before = [weight + 1.0 for weight in agent.network.get_weights()]
    for failure, moves in ((failures.WEIGHTS, False), (0, True)):
        agent.target_network.set_weights(before)
        agent.failure.assign(failure)
        agent.train_step(data)
        for one, other in zip(before, agent.target_network.get_weights(), strict=True):
            assert np.array_equal(one, other) is not moves


BREAKING = {
    "a step that is too large": lambda: keras.optimizers.SGD(3e38, name="wild"),
    "a rate of NaN": lambda: keras.optimizers.Adam(float("nan"), name="wild"),
}


@pytest.mark.parametrize(("agent_class", "optimizer"), zip([krp.PPO, krp.DQN], BREAKING, strict=True))
def test_an_optimizer_that_breaks_weights_is_named_and_its_work_undone(agent_class, optimizer):
    agent = make(agent_class)
    agent.build(ENV)
    agent.compile(BREAKING[optimizer]())
    before = agent.network.get_weights()
    with pytest.raises(
        FloatingPointError, match=r"the optimizer made weights.*those before that update.*'optimizer': 'wild'"
    ):
        trained(agent, agent.optimizer)
    for x, y in zip(before, agent.network.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)
    if agent_class is krp.DQN:
        assert all(np.isfinite(x).all() for x in agent.target_network.get_weights())
    trained(agent, keras.optimizers.Adam(1e-3))  # training can continue


class Curious(krp.PPO):
    """With a layer and reports of its own."""

    def build(self, env):
        super().build(env)
        self.guess = keras.layers.Dense(1)
        self.guess.build((None, 4))

    def loss_and_logs(self, data):
        loss, logs = super().loss_and_logs(data)
        surprise = tf.reduce_mean(tf.square(self.guess(data.observation) - 1.0))
        return loss + surprise, logs | {"surprise": surprise}

    def train_step(self, data):
        return super().train_step(data) | {"index": tf.cast(data.index, tf.float32)}


@pytest.mark.parametrize("built_first", [False, pytest.param(True, marks=pytest.mark.long)])
def test_layers_and_reports_of_a_subclass_are_trained_and_logged(built_first, tmp_path):
    agent = Curious(**SMALL)
    agent.compile(keras.optimizers.Adam(1e-2), run_eagerly=True)
    if built_first:
        agent.build(ENV)
    history = agent.fit(ENV, epochs=2, steps_per_epoch=8, num_envs=4, seed=1, verbose=0).history
    assert history["index"] == [1.5, 1.5]
    assert history["surprise"][1] < history["surprise"][0]
    first = agent.guess.get_weights()
    history = agent.fit(ENV, epochs=1, steps_per_epoch=4, num_envs=8, seed=1, verbose=0).history  # traced anew
    assert history["index"] == [1.5]
    assert history["surprise"][0] > 0.0
    assert not np.array_equal(first[0], agent.guess.get_weights()[0])
    agent.save_weights(tmp_path / "agent.weights.h5")
    other = Curious(**SMALL)
    other.compile(keras.optimizers.Adam(1e-2), run_eagerly=True)
    other.build(ENV)
    other.load_weights(tmp_path / "agent.weights.h5")
    assert np.array_equal(other.guess.get_weights()[0], agent.guess.get_weights()[0])


@pytest.mark.parametrize("shape", [(), (3,), (3, 4), (2, 3, 4)])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e30])
def test_what_has_no_finite_norm_is_found(shape, value):
    x = np.full(shape, -2.0, np.float32)
    assert failures.finite([tf.constant(x), tf.ones((2, 2))])
    x.flat[-1] = value
    assert not failures.finite([tf.ones((2, 2)), tf.constant(x)])


def test_the_squared_norm_is_the_sum_of_all_squares():
    tensors = [np.arange(-3.0, 3.0, dtype=np.float32).reshape(shape) for shape in [(6,), (2, 3), (1, 2, 3), (6, 1)]]
    found = failures.squared_norm([tf.constant(x) for x in [*tensors, np.float32(5.0)]])
    assert float(found) == 4 * (9 + 4 + 1 + 0 + 1 + 4) + 25
    assert float(failures.squared_norm([])) == 0.0


GRADIENTS = [np.array([[3.0, -4.0]], np.float32), np.array([12.0], np.float32)]  # their global norm is 13
CLIPPED = {
    "norm": (lambda: keras.optimizers.SGD(1.0, global_clipnorm=6.5), 0.5),
    "norm within the limit": (lambda: keras.optimizers.SGD(1.0, global_clipnorm=14.0), 1.0),
    "no limit": (lambda: keras.optimizers.SGD(1.0), 1.0),
    "scaled loss": (lambda: keras.optimizers.SGD(1.0, global_clipnorm=6.5, loss_scale_factor=4.0), 0.25),
    "dynamic scale": (
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0, global_clipnorm=6.5), initial_scale=4.0),
        0.25,
    ),
}


@pytest.mark.parametrize(("make_optimizer", "factor"), CLIPPED.values(), ids=CLIPPED)
@pytest.mark.parametrize("jit_compile", [None, False, True], ids=["eager", "graph", "XLA"])
def test_gradients_are_clipped_by_their_global_norm(make_optimizer, factor, jit_compile):
    variables = [keras.Variable(np.zeros_like(x)) for x in GRADIENTS]
    optimizer = make_optimizer()
    optimizer.build(variables)
    limit = optimizer.global_clipnorm

    def step():
        gradients = [tf.constant(x) for x in GRADIENTS]
        apply_gradients(optimizer, gradients, variables, failures.squared_norm(gradients))

    (step if jit_compile is None else tf.function(step, jit_compile=jit_compile, autograph=False))()
    for gradient, variable in zip(GRADIENTS, variables, strict=True):
        np.testing.assert_allclose(variable, -factor * gradient, rtol=1e-6)
    assert optimizer.global_clipnorm == limit


def test_gradients_that_are_added_up_are_clipped_afterwards():
    variable = keras.Variable([0.0])
    optimizer = keras.optimizers.SGD(1.0, global_clipnorm=1.0, gradient_accumulation_steps=2)
    optimizer.build([variable])
    for gradient in (2.0, -10.0):  # clipped before, they would cancel out
        apply_gradients(optimizer, [tf.constant([gradient])], [variable], tf.constant(gradient**2))
    np.testing.assert_allclose(variable, [1.0])


def test_gradients_are_clipped_by_the_norm_that_is_known_and_an_error_leaves_the_limit():
    limits = []

    class Noting(keras.optimizers.SGD):
        def apply(self, *args):
            limits.append(self.global_clipnorm)
            super().apply(*args)

    variable, gradients = keras.Variable([0.0]), [tf.constant([2.0])]
    optimizer = Noting(1.0, global_clipnorm=1.0)
    optimizer.build([variable])
    apply_gradients(optimizer, gradients, [variable], tf.constant(64.0))
    np.testing.assert_allclose(variable, [-0.25])
    assert limits == [None]  # no second norm
    with pytest.raises(ValueError, match="Unknown variable"):
        apply_gradients(optimizer, gradients, [keras.Variable([0.0])], tf.constant(4.0))
    assert optimizer.global_clipnorm == 1.0


def test_float64_and_sparse_gradients_are_clipped_by_keras():
    for dtype, gradient in (
        ("float64", tf.constant([[3.0, 4.0]], tf.float64)),
        ("float32", tf.IndexedSlices(tf.constant([[3.0, 4.0]]), tf.constant([0]), tf.constant([1, 2]))),
    ):
        variable = keras.Variable(np.zeros((1, 2)), dtype=dtype)
        optimizer = keras.optimizers.SGD(1.0, global_clipnorm=1.0)
        optimizer.build([variable])
        apply_gradients(optimizer, [gradient], [variable], tf.constant(1e10))
        np.testing.assert_allclose(variable, [[-0.6, -0.8]], rtol=1e-6)


def test_half_precision_and_slices_have_a_norm():
    slices = tf.IndexedSlices(tf.ones((2, 3)), tf.constant([0, 4]), tf.constant([5, 3]))
    assert failures.finite([tf.constant([300.0], tf.float16), slices])
    assert not failures.finite([tf.IndexedSlices(tf.fill((1, 3), np.nan), tf.constant([0]), tf.constant([5, 3]))])
