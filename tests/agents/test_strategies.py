"""`tf.distribute` strategies: the errors and when they are raised."""

import keras
import pytest
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob.layers import DenseCategorical

MESSAGE = (
    r"must be made and used outside the scope of `tf.distribute` strategies.*leave out `strategy.scope\(\)`.*Received: "
)


def ppo(network=None):
    return krp.PPO(network, rollout_steps=16, minibatches=2, update_epochs=1)


def network():
    x = keras.Input((4,))
    return keras.Model(x, {"action": DenseCategorical((2,))(x), "value": keras.layers.Dense(1)(x)})


@pytest.fixture(params=[tf.distribute.MirroredStrategy, lambda devices: tf.distribute.OneDeviceStrategy(devices[0])])
def strategy(request):
    return request.param(["CPU:0"])


@pytest.mark.parametrize(
    "use",
    [
        lambda agent: ppo(),
        lambda agent: krp.DQN(),
        lambda agent: agent.build("tf/CartPole-v1"),
        lambda agent: agent.compile(),
        lambda agent: agent.fit("tf/CartPole-v1", num_envs=4, steps_per_epoch=2, verbose=0),
        lambda agent: agent.evaluate("tf/CartPole-v1", episodes=2, verbose=0),
    ],
    ids=["PPO", "DQN", "build", "compile", "fit", "evaluate"],
)
def test_nothing_is_done_in_the_scope_of_a_strategy(strategy, use):
    agent = ppo()
    agent.compile()
    with strategy.scope(), pytest.raises(ValueError, match=MESSAGE + type(strategy).__name__):
        use(agent)
    assert not agent.built


def test_a_network_of_a_strategy_is_refused():
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        mirrored = network()
    agent = ppo(mirrored)
    with pytest.raises(ValueError, match=MESSAGE + "the variable .*kernel"):
        agent.build("tf/CartPole-v1")
    assert not agent.built
