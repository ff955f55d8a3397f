"""`check_agent`: each violated requirement is found, with a message that helps to fix it.

Each broken agent trains until the error is found, which takes a second or more; one of each stage and kind is not `long`.
"""

import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob.agents.policy_gradient import PolicyGradient
from keras_rl_prob.learning import Part, variables_of
from keras_rl_prob.ops.masking import masked_mean
from keras_rl_prob.testing import check_agent

ENV = "tf/CartPole-v1"
FEW = {"num_envs": 2, "rollouts": 1}
Q = {"rollout_steps": 4, "updates": 2, "target_update": 3}
REPLAY = krp.ReplaySettings(batch_size=16, capacity=400, learning_starts=16)
SMALL_PPO = {"rollout_steps": 8, "minibatches": 2, "update_epochs": 2}
GOOD = {
    "PPO": lambda: krp.PPO(krp.networks.feed_forward(ENV, (8,)), **SMALL_PPO),
    "RecurrentPPO": lambda: krp.RecurrentPPO(krp.networks.recurrent(ENV, units=8, shared=True), **SMALL_PPO),
    "DQN": lambda: krp.DQN(krp.networks.q_network(ENV, (8,)), replay=REPLAY, **Q),
}


def long(*values):
    return pytest.param(*values, marks=pytest.mark.long)


@pytest.mark.parametrize("name", [long(name) for name in GOOD])
def test_agents_of_this_library_pass(name):
    check_agent(GOOD[name])


class Small(PolicyGradient):
    """A critic and an actor; each subclass violates one requirement."""

    def __init__(self, network=None, *, gain=1.0, name=None):
        super().__init__(network, rollout_steps=4, name=name)
        self.gain = gain

    def default_network(self, env):
        return krp.networks.feed_forward(env, (4,))

    def default_optimizer(self):
        return keras.optimizers.SGD(0.1)

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


def broken(of=Small, **members):
    """A subclass called `Broken`."""
    return type("Broken", (of,), members)


@pytest.fixture
def eagerly(monkeypatch):
    """Everything in eager mode, which is faster for tests that do not depend on graphs."""
    compile_ = krp.Agent.compile
    monkeypatch.setattr(
        krp.Agent, "compile", lambda self, *args, **kw: compile_(self, *args, **{**kw, "run_eagerly": True})
    )


def check_fails(kind, message, error=ValueError, **arguments):
    """Checks that the error is a sentence with the method and its requirement."""
    if "must be registered" not in message:
        keras.saving.register_keras_serializable("test_agent_check")(kind)
    with pytest.raises(error, match=message) as caught:
        check_agent(kind, **{**FEW, **arguments})
    assert re.match(r"`Broken(\.\w+)?` must .*[.;] (Received|Missing): ", str(caught.value), re.DOTALL)


# ---- found before any training --------------------------------------------------------------------------------------


def constant(self, network=None, *, gain=2.0, name=None):
    Small.__init__(self, network, name=name)


def doubled(self, network=None, *, gain=2.0, name=None):
    Small.__init__(self, network, gain=2.0 * gain, name=name)


def only_the_name(self):
    return {"name": self.name}


def random_weights(self, env):
    Small.build(self, env)
    self.network.layers[1].set_weights(
        [np.random.default_rng().normal(size=x.shape) for x in self.network.layers[1].weights]
    )


def without(**changes):
    def parts(self):
        critic, actor = Small.parts(self)
        return [critic._replace(**changes), actor]

    return parts


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (broken(), r"`Broken` must be registered by `@keras.saving.register_keras_serializable"),
        (
            broken(__init__=constant),
            r"`Broken` must keep its arguments as they are given. Received: gain=0.75, of which .* 1.0",
        ),
        (
            broken(__init__=doubled),
            r"`Broken` must keep its arguments as they are given. Received: gain=4.0, of which .* 8.0",
        ),
        (broken(get_config=only_the_name), r"`Broken.get_config` must have every argument.*Missing: .*'gain'"),
        (
            broken(build=random_weights),
            r"`Broken.build` must make the same weights after the same .*Received: others in",
        ),
        (broken(parts=without(variables=[])), r"`Broken.parts` must have Keras variables for 'critic' to change"),
        (broken(parts=without(loss=None)), r"`Broken.parts` must have a function for the loss of 'critic'"),
    ],
    ids=["unregistered", "constant", "doubled", "lost", "random weights", "no variables", "no loss"],
)
def test_what_can_be_known_without_training(kind, message):
    check_fails(kind, message)


def test_what_makes_no_agent_is_refused():
    with pytest.raises(TypeError, match=r"`make` must return an agent. Received: .*which returned 3"):
        check_agent(lambda: 3)
    with pytest.raises(TypeError, match="`epochs` is not an argument of `check_agent`"):
        check_agent(Small, epochs=3)
    with pytest.raises(ValueError, match="`rollouts` must be a positive integer"):
        check_agent(Small, rollouts=0)


# ---- found in an epoch in eager mode ---------------------------------------------------------------------------------


def vector(self, data):
    return tf.square(data.target), {}


def wide(self, rollout, reward, next_value):
    return reward, reward[..., None]


def unmoved(self, data):
    _, value = self.policy_and_value(data)
    return masked_mean(tf.square(tf.stop_gradient(value) - data.target), data.valid), {}


def infinite(self, data):
    loss, _ = Small.critic_loss(self, data)
    return loss, {"ratio": loss / 0.0}


vector.__name__ = unmoved.__name__ = "critic_loss"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            broken(critic_loss=vector),
            r"`Broken.critic_loss` must return a scalar for the loss. Received: <tf.Tensor: shape=\(1,",
        ),
        (broken(advantages=wide), r"`Broken.advantages` must return advantages and value targets, .* \(4, 2\)"),
        (
            broken(metric_names=lambda self: ["surprise"]),
            r"`Broken.metric_names` must name only .*Received: \['surprise'\], of ",
        ),
        (
            broken(critic_loss=unmoved),
            r"`Broken.critic_loss` must change all variables of the part 'critic' within an epoch",
        ),
        long(broken(critic_loss=infinite), r"`Broken.fit` must report finite numbers. Received: {'ratio': \[inf\]}"),
    ],
    ids=["vector", "targets", "metric", "weight", "infinite"],
)
def test_what_can_be_known_from_plain_python(kind, message):
    check_fails(kind, message)


# ---- acting ----------------------------------------------------------------------------------------------------------


class Memory(Small):
    def default_network(self, env):
        return krp.networks.recurrent(env, units=4, shared=True)

    def metric_names(self):
        return ["loss"]

    def parts(self):
        return [Part("loss", self.trained_variables, self.loss_and_logs)]

    def loss_and_logs(self, data):
        return sum(loss(self, data)[0] for loss in (Small.critic_loss, Small.actor_loss)), {}


def remembers(self, observation, is_first, state, seed, deterministic=False):
    return Memory.act(self, observation, tf.zeros_like(is_first), state, seed, deterministic)


def contrary(self, observation, is_first, state, seed, deterministic=False):
    action, *rest = Small.act(self, observation, is_first, state, seed, deterministic)
    return 1 - action, *rest


def contrary_alone(self, observation, is_first, state, seed, deterministic=False):
    act = contrary if is_first.shape[0] == 1 else Small.act
    return act(self, observation, is_first, state, seed, deterministic)


def unrolls_through(self, observation, is_first, state):
    return Memory.unroll(self, observation, tf.concat([is_first[:1], tf.zeros_like(is_first[1:])], 0), state)


class Counting(Small):
    """Acts by its own variable, which is not reset between episodes."""

    def build(self, env):
        super().build(env)
        self.steps = self.add_number("steps", dtype="int32")

    def act(self, observation, is_first, state, seed, deterministic=False):
        _, record, state = super().act(observation, is_first, state, seed, deterministic)
        return tf.zeros_like(is_first, tf.int32) + self.steps.assign_add(1) % 3 // 2, record, state


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            broken(Memory, act=remembers),
            r"`Broken.act` must reset the recurrent state to zero where `is_first`. Received: ",
        ),
        long(broken(act=contrary), r"`Broken.predict` must choose the actions that `act` chooses. Received: "),
        long(
            broken(act=contrary_alone),
            r"`Broken.evaluate` must choose the actions that `act` chooses, in episode 1 of the same observations. Received: ",
        ),
        long(
            broken(Memory, unroll=unrolls_through),
            r"`Broken.act` must give the parameters that `unroll` gives for a sequence. Received: .* in step 3",
        ),
        long(broken(Counting), r"`Broken.policy` must choose the actions that `act` chooses. Received: "),
    ],
    ids=["no reset", "another action", "alone", "unroll", "a counter"],
)
def test_acting_is_the_same_everywhere(kind, message):
    check_fails(kind, message)


# ---- graphs, seeds and files -----------------------------------------------------------------------------------------


def counts_in_python(self, data):
    self.calls = getattr(self, "calls", 0) + 1
    loss, _ = Small.critic_loss(self, data)
    return loss * self.calls, {}


def test_what_a_graph_does_not_do_again_is_found():
    message = r"`Broken.train_step` must compute in a graph what it computes eagerly. Received: critic_loss="
    check_fails(broken(critic_loss=counts_in_python), message, rollouts=2)


class Untracked(Small):
    """Increments a variable that Keras does not track."""

    def build(self, env):
        super().build(env)
        self.growing = tf.Variable(1.0)

    def critic_loss(self, data):
        loss, _ = super().critic_loss(data)
        return loss * self.growing.assign_add(1.0), {}


class Sloppy(Small):
    """Does not restore all of its variables."""

    def load_own_variables(self, store):
        super().load_own_variables(store)
        self.env_steps.assign(0)


class Reborn(Small):
    """Does not continue its last training run."""

    def load_own_variables(self, store):
        super().load_own_variables({key: store[key] for key in store.keys() if not key.startswith("training")})  # noqa: SIM118


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        long(broken(Untracked), r"`Broken.fit` must come to the same weights with the same seed"),
        long(broken(Sloppy), r"`Broken.save` must store all numbers. Received: .*env_steps"),
        long(broken(Reborn), r"`Broken.fit` must continue from a loaded file"),
    ],
    ids=["untracked", "half loaded", "reborn"],
)
def test_trainings_repeat_and_go_on(kind, message):
    check_fails(kind, message)


@pytest.mark.long  # the page itself checks it in eager mode
def test_the_agent_of_the_page_passes():
    page = pathlib.Path(__file__).parents[2] / "docs" / "how-to" / "own-algorithm.md"
    namespace = {"__name__": "own_algorithm"}
    exec(re.search(r"```python\n(.*?)```", page.read_text(), re.DOTALL)[1], namespace)  # noqa: S102 (our own page)
    check_agent(lambda: namespace["AdvantageWeighted"](rollout_steps=8, minibatches=2, update_epochs=2))
