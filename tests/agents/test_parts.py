"""Agents with several parts, each with its loss, variables and optimizer; errors are raised as early as possible."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob.agents.graphs import settings
from keras_rl_prob.agents.network_checks import prefers_xla
from keras_rl_prob.agents.policy_gradient import PolicyGradient
from keras_rl_prob.learning import LearningModel, Part, variables_of
from keras_rl_prob.learning.parts import check_parts
from keras_rl_prob.ops.masking import masked_mean

ENV = "tf/CartPole-v1"


class Two(PolicyGradient):
    """A critic and an actor; each subclass has one mistake."""

    def __init__(self, network=None, *, name=None):
        network = network or krp.networks.feed_forward(ENV, (8,))
        super().__init__(network, rollout_steps=4, name=name)

    def metric_names(self):
        return ["critic_loss", "actor_loss", "explained_variance"]

    def parts(self):
        return [
            Part("critic", variables_of(self.network, "value"), self.critic_loss),
            Part("actor", variables_of(self.network, "action"), self.actor_loss),
        ]

    def critic_loss(self, data):
        _, value = self.policy_and_value(data)
        return masked_mean(tf.square(value - data.target), data.valid), {}

    def actor_loss(self, data):
        policy, _ = self.policy_and_value(data)
        return masked_mean(-policy.log_prob(data.raw) * data.advantage, data.valid), {}


def fit(agent, optimizer=None, **arguments):
    agent.compile(optimizer or keras.optimizers.SGD(0.1), run_eagerly=True)
    return agent.fit(ENV, epochs=1, steps_per_epoch=1, num_envs=2, seed=0, verbose=0, **arguments).history


def test_each_part_changes_its_own_variables_with_its_own_optimizer():
    agent = Two()
    agent.build(ENV)
    parts = {part.name: part.variables for part in agent.parts()}
    assert {name: len(variables) for name, variables in parts.items()} == {"critic": 4, "actor": 4}
    before = {name: [np.array(variable) for variable in variables] for name, variables in parts.items()}
    history = fit(agent, {"critic": keras.optimizers.SGD(0.0), "actor": keras.optimizers.SGD(0.1)})
    assert {"critic_loss", "actor_loss"} <= set(history)
    assert "loss" not in history
    for name, variables in parts.items():
        same = [np.array_equal(x, y) for x, y in zip(before[name], variables, strict=True)]
        assert all(same) if name == "critic" else not any(same), name


def test_a_part_with_a_period_learns_and_is_logged_at_every_so_many_gradient_steps():
    logs, weights = [], []
    for eager in (True, False):
        keras.utils.set_random_seed(0)
        agent = with_parts(lambda agent: [critic(agent), Two.parts(agent)[1]._replace(period=2)])()
        agent.compile(keras.optimizers.SGD(0.1), run_eagerly=eager, jit_compile=False)
        history = agent.fit(ENV, epochs=1, steps_per_epoch=5, num_envs=2, seed=0, verbose=0).history
        assert {name: int(x.iterations) for name, x in agent.optimizers.items()} == {"critic": 5, "actor": 2}
        logs.append([history[name][0] for name in ("critic_loss", "actor_loss")])
        weights.append(agent.get_weights())
    assert logs[0][1] != 0.0
    np.testing.assert_allclose(logs[0], logs[1], rtol=1e-5)  # a graph computes nothing in the other steps
    for x, y in zip(*weights, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def test_optimizers_must_be_those_of_the_parts():
    with pytest.raises(ValueError, match=r"for each of the parts \['critic', 'actor'\]. Received: \['critic'\]"):
        fit(Two(), {"critic": keras.optimizers.SGD(0.1)})


def test_optimizers_that_parts_cannot_have():
    optimizer = keras.optimizers.SGD(0.1)
    with pytest.raises(ValueError, match=r"an optimizer of its own for each of the parts.*Received: one twice"):
        fit(Two(), {"critic": optimizer, "actor": optimizer})
    averaging = keras.optimizers.SGD(0.1, use_ema=True)
    for wrong in (averaging, {"critic": optimizer, "actor": averaging}):
        with pytest.raises(ValueError, match=r"`use_ema=False` for an agent with the parts \['critic', 'actor'\]"):
            fit(Two(), wrong)


def test_the_learning_rate_of_a_single_optimizer_is_that_of_all_parts(tmp_path):
    agent = krp.TD3(rollout_steps=4, replay=krp.ReplaySettings(capacity=64, batch_size=4, learning_starts=4), updates=1)
    given = {"steps_per_epoch": 1, "num_envs": 2, "seed": 0, "verbose": 0}
    agent.compile(keras.optimizers.Adam(1e-3), run_eagerly=True)
    agent.fit("tf/Pendulum-v1", 1, callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch, rate: 1e-5)], **given)
    agent.save(tmp_path / "agent.keras")
    loaded = keras.saving.load_model(tmp_path / "agent.keras")
    loaded.run_eagerly = True
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 4)
    for one, expected in ((agent, 1e-5), (loaded, 1e-5), (loaded, 2.5e-6)):
        if expected != 1e-5:
            one.fit("tf/Pendulum-v1", 2, initial_epoch=1, callbacks=[schedule], **given)
        rates = {name: float(x.learning_rate) for name, x in one.optimizers.items()}
        assert rates == pytest.approx({"critic": expected, "actor": expected})


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_all_parts_leave_out_of_weight_decay_what_the_given_optimizer_does(named, scaled):
    agent = Two()
    agent.build(ENV)
    biases = [x for x in agent.trainable_variables if x.name == "bias"]
    optimizer = keras.optimizers.SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(**{"var_names": ["bias"]} if named else {"var_list": biases})
    agent.compile(keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer)
    for part in agent.parts():
        decayed = getattr(agent.optimizers[part.name], "inner_optimizer", agent.optimizers[part.name])
        assert {x.name for x in part.variables if decayed._use_weight_decay(x)} == {"kernel"}, part.name


@pytest.mark.parametrize(
    ("kind", "env"), [(krp.DQN, ENV), (krp.ACER, ENV), (krp.SAC, "tf/Pendulum-v1"), (krp.TD3, "tf/Pendulum-v1")]
)
def test_target_networks_are_not_learned_even_if_all_layers_are_made_trainable(kind, env):
    agent = kind()
    agent.build(env)
    agent.compile()
    before = [[x.path for x in part.variables] for part in agent.parts()]
    agent.trainable = False
    agent.trainable = True
    for layer in agent.layers:
        layer.trainable = True
    check_parts(agent, agent.parts())
    assert [[x.path for x in part.variables] for part in agent.parts()] == before


def with_parts(parts):
    return type("Wrong", (Two,), {"parts": parts})


def critic(agent):
    return Two.parts(agent)[0]


WRONG_PARTS = {
    "no variables": (lambda agent: [critic(agent)._replace(variables=[])], r"Keras variables for 'critic' to change"),
    "no loss": (
        lambda agent: [critic(agent)._replace(loss=None)],
        r"a function for the loss of 'critic'. Received: None",
    ),
    "variables in none": (lambda agent: [critic(agent)], r"every trainable variable in a part.*Received: \["),
    "variables in two": (
        lambda agent: [critic(agent), critic(agent)._replace(name="actor")],
        r"not have two parts that change the same variable.*in 'critic' and 'actor'",
    ),
    "no parts": (lambda agent: [], r"return a list of `Part`s. Received: \[\]"),
    "one name": (lambda agent: [critic(agent), critic(agent)], r"a unique name for each part"),
    "period": (lambda agent: [critic(agent)._replace(period=0)], r"positive integer for the period of 'critic'"),
}


@pytest.mark.parametrize("wrong", WRONG_PARTS)
def test_parts_that_cannot_be_learned_are_refused_by_build(wrong):
    parts, message = WRONG_PARTS[wrong]
    with pytest.raises(ValueError, match=r"`Wrong\.parts` must (have )?(a )?" + message):
        with_parts(parts)().build(ENV)


def test_an_agent_without_a_loss_is_refused_by_build():
    class Lossless(krp.RandomAgent):
        loss_and_logs = LearningModel.loss_and_logs

    with pytest.raises(NotImplementedError, match="`Lossless` must define `loss_and_logs` or `parts`"):
        Lossless().build(ENV)


def test_an_argument_that_is_not_kept_is_refused_by_build():
    class Forgetful(Two):
        def __init__(self, network=None, *, temperature=1.0, name=None):
            super().__init__(network, name=name)

    with pytest.raises(ValueError, match=r"`Forgetful` must keep its arguments.*Missing: \['temperature'\]"):
        Forgetful().build(ENV)


def method(name, function, of=Two):
    def named(self, *args):
        return function(self, *args)

    named.__name__ = name
    return type("Wrong", (of,), {name: named})


class Plain(krp.A2C):
    def __init__(self, network=None, *, name=None):
        super().__init__(network or krp.networks.feed_forward(ENV, (8,)), rollout_steps=4, name=name)


RETURNED = {
    "no logs": (
        method("critic_loss", lambda self, data: tf.constant(0.0)),
        r"critic_loss` must return the loss, a scalar",
    ),
    "a vector in the logs": (
        method("critic_loss", lambda self, data: (tf.constant(0.0), {"value": data.target})),
        r"critic_loss` must return a scalar for 'value'",
    ),
    "no policy loss": (
        method("policy_loss", PolicyGradient.policy_loss, Plain),
        r"must have a `policy_loss`, or `parts`",
    ),
    "a policy loss of another shape": (
        method("policy_loss", lambda self, policy, log_prob, advantage, data: (log_prob[..., None], {}), Plain),
        r"policy_loss` must return a loss for each row, a tensor of the shape \(1, 8\)",
    ),
    "a value error of another shape": (
        method("value_error", lambda self, value, data: value[0], Plain),
        r"value_error` must return a loss for each row, a tensor of the shape \(1, 8\)",
    ),
}


@pytest.mark.parametrize("wrong", RETURNED)
def test_methods_that_return_something_else_are_named(wrong):
    kind, message = RETURNED[wrong]
    with pytest.raises((ValueError, NotImplementedError), match=r"`Wrong(\.|` )" + message):
        fit(kind())


@pytest.mark.parametrize("kind", [krp.DQN, krp.RecurrentDQN])
def test_targets_of_values_that_would_broadcast_are_named(kind):
    settings = krp.SequenceReplaySettings if kind is krp.RecurrentDQN else krp.ReplaySettings
    replay = settings(capacity=200, batch_size=3, learning_starts=8)
    wrong = type("Wrong", (kind,), {"target": lambda self, reward, discount, next_value: reward[..., None]})
    agent = wrong(krp.networks.q_network(ENV, (8, 8), cell="gru" if kind is krp.RecurrentDQN else None), replay=replay)
    agent.compile(run_eagerly=True)
    with pytest.raises(
        ValueError, match=r"`Wrong.target` must return a target for each value, a tensor of the shape \("
    ):
        agent.fit(ENV, epochs=1, steps_per_epoch=agent.updates, num_envs=2, seed=0, verbose=0)


@pytest.mark.parametrize("eager", [True, False])
@pytest.mark.parametrize("part", ["critic", "actor"])
def test_a_number_that_is_not_finite_changes_no_weight_of_any_part_and_is_reported(part, eager):
    agent = method(f"{part}_loss", lambda self, data: (tf.constant(np.nan), {}))()
    agent.build(ENV)
    agent.compile(keras.optimizers.SGD(0.1), run_eagerly=eager, jit_compile=False)
    before = [np.array(variable) for variable in agent.trained_variables]
    with pytest.raises(FloatingPointError, match=rf"loss or its gradient is not finite.*'{part}_loss': nan"):
        agent.fit(ENV, epochs=1, steps_per_epoch=1, num_envs=2, seed=0, verbose=0)
    assert all(np.array_equal(x, y) for x, y in zip(before, agent.trained_variables, strict=True))


@pytest.mark.parametrize("eager", [True, False])
@pytest.mark.parametrize("loss", [0.0, np.nan])
def test_nothing_follows_a_gradient_step_after_a_number_that_is_not_finite(loss, eager):
    class Counting(Two):
        def build(self, env):
            super().build(env)
            self.steps = self.add_number("steps")

        def actor_loss(self, data):
            return super().actor_loss(data)[0] + loss, {}

        def after_update(self, data):
            self.steps.assign_add(1.0)

    agent = Counting()
    agent.compile(run_eagerly=eager, jit_compile=False)
    with contextlib.suppress(FloatingPointError):
        agent.fit(ENV, epochs=1, steps_per_epoch=3, num_envs=2, seed=0, verbose=0)
    assert float(agent.steps) == (3.0 if loss == 0.0 else 0.0)


class WithCritic(krp.A2C):
    """An agent with a second network, `critic`, in a separate part."""

    def __init__(self, network=None, critic=None, *, name=None):
        super().__init__(network, rollout_steps=4, name=name)
        self.critic = critic

    def build_networks(self, env):
        self.critic = self.critic or krp.networks.feed_forward(env, (8,))

    def parts(self):
        rate = self.critic.trainable_variables
        return [
            Part("critic", rate, self.critic_loss),
            Part("actor", self.network.trainable_variables, self.actor_loss),
        ]

    def metric_names(self):
        return ["critic_loss", "actor_loss"]

    def critic_loss(self, data):
        return tf.reduce_mean(self.critic(data.observation[0])["value"] ** 2), {}

    def actor_loss(self, data):
        return self.loss_and_logs(data)[0], {}


def with_critic(*more):
    """An agent whose critic has a Dense layer with `more` after it."""
    inputs = keras.Input((4,))
    x = keras.layers.Dense(8, kernel_regularizer=keras.regularizers.L2(0.5))(inputs)
    for layer in more:
        x = layer(x)
    return WithCritic(krp.networks.feed_forward(ENV, (8,)), keras.Model(inputs, {"value": keras.layers.Dense(1)(x)}))


def test_regularisation_goes_into_the_loss_of_the_part_whose_network_it_is_of():
    agent = with_critic()
    agent.build(ENV)
    critic, actor = agent.parts()
    penalty = 0.5 * float(tf.reduce_sum(agent.critic.layers[1].kernel ** 2))
    assert float(agent.regularized(critic, tf.constant(2.0))) == pytest.approx(2.0 + penalty)
    assert float(agent.regularized(actor, tf.constant(2.0))) == 2.0
    one = fit(agent, keras.optimizers.SGD(0.0))
    assert one["critic_loss"][0] > penalty


def test_all_networks_of_an_agent_are_looked_at():
    agent = with_critic(krp.layers.NoisyDense(8), keras.layers.Dropout(0.5, name="loses"))
    with pytest.warns(UserWarning, match="'loses': it passes its input on"):
        agent.build(ENV)
    assert agent.networks == [agent.network, agent.critic]
    assert [layer.name for layer in agent.noisy_layers] == [agent.critic.layers[2].name]
    image = keras.Input((8, 8, 1))
    convolutions = keras.Model(image, keras.layers.Conv2D(2, 3)(image))
    assert prefers_xla([agent.network])
    assert prefers_xla([agent.network, convolutions]) is bool(tf.config.list_physical_devices("GPU"))


def raising():
    raise TypeError("an open file")


def test_graphs_of_an_agent_that_cannot_be_described_are_never_used_again():
    agent = with_critic()
    agent.get_config = raising
    agent.build(ENV)
    agent.compile()
    assert settings(agent) != settings(agent)


def test_graphs_are_kept_though_an_agent_has_several_networks():
    agent = with_critic()
    agent.build(ENV)
    agent.compile()
    assert settings(agent) == settings(agent)
    assert not {"network", "critic"} & set(settings(agent)[0])


def test_the_variables_of_an_output_are_those_it_depends_on():
    network = krp.networks.recurrent(ENV, units=4, shared=True)
    value, action = (variables_of(network, name) for name in ("value", "action"))
    shared = {id(variable) for variable in value} & {id(variable) for variable in action}
    assert (len(value), len(action), len(shared)) == (
        7,
        7,
        5,
    )  # Dense and LSTM; each has a kernel and a bias of its own
