"""Policy and critics that share an encoder, which only the critics train; `Dropout` in critics."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import keras_rl_prob as krp
from keras_rl_prob.sources.replay import Transitions

IMAGES = spaces.Box(0, 255, (36, 36, 1), np.uint8)
BOTH = spaces.Dict(image=IMAGES, x=spaces.Box(-1.0, 1.0, (2,), np.float32))
ACTIONS = spaces.Box(-1.0, 1.0, (1,), np.float32)


def encoders(agent):
    return agent.network.get_layer("encoder"), agent.critic.get_layer("encoder")


def made(kind=krp.SAC, rates=(0.1, 0.1)):
    keras.utils.set_random_seed(0)
    pair = (BOTH, ACTIONS)
    encoder = krp.networks.shared_encoder(BOTH)
    actor = krp.networks.stochastic_actor if kind is krp.SAC else krp.networks.deterministic_actor
    options = {"temperature": 0.1} if kind is krp.SAC else {"policy_period": 1}
    agent = kind(actor(pair, (4,), encoder=encoder), krp.networks.critic(pair, (4,), encoder=encoder), **options)
    agent.compile({"critic": keras.optimizers.SGD(rates[0]), "actor": keras.optimizers.SGD(rates[1])}, run_eagerly=True)
    agent.build(pair)
    return agent


def transitions(seed=(4, 5)):
    rng = np.random.default_rng(0)

    def seen():
        x = tf.constant(rng.uniform(-1.0, 1.0, (3, 2)), tf.float32)
        return {"image": tf.constant(rng.integers(0, 255, (3, 36, 36, 1)), tf.uint8), "x": x}

    return Transitions(
        observation=seen(),
        action=tf.constant(rng.normal(size=(3, 1)), tf.float32),
        reward=tf.constant(rng.normal(size=3), tf.float32),
        next_observation=seen(),
        discount=tf.fill((3,), 0.9),
        weight=tf.ones(3),
        index=tf.constant(0),
        seed=tf.constant(seed),
        report={name: tf.constant(0.0) for name in ("failure", "return", "length", "episodes", "replay_size")},
    )


@pytest.mark.parametrize("kind", [krp.SAC, krp.TD3])
def test_only_the_critics_train_the_encoder(kind):
    for rates, changes in (((0.1, 0.0), True), ((0.0, 0.1), False)):
        agent = made(kind, rates)
        encoder, other = encoders(agent)
        assert encoder is other
        assert len(encoder.trainable_variables) == 8
        before, head = encoder.get_weights(), agent.network.layers[-1].get_weights()
        agent.train_step(transitions())
        assert [np.array_equal(x, y) for x, y in zip(before, encoder.get_weights(), strict=True)] == [not changes] * 8
        changed = any(
            not np.array_equal(x, y) for x, y in zip(head, agent.network.layers[-1].get_weights(), strict=True)
        )
        assert changed is not changes, "the policy learns by itself"
    target = agent.target_critic.get_layer("encoder")
    assert target is not encoder


def test_the_encoder_is_shared_by_default_for_images_and_again_after_loading(tmp_path):
    agent = made()
    agent.save(tmp_path / "agent.keras")
    again = keras.saving.load_model(tmp_path / "agent.keras")
    first, second = encoders(again)
    assert first is second
    for one in (agent, again):
        one.train_step(transitions())
    assert all(np.array_equal(x, y) for x, y in zip(agent.get_weights(), again.get_weights(), strict=True))
    default = krp.RecurrentSAC()
    default.build((BOTH, ACTIONS))
    default.save(tmp_path / "default.keras")
    for one in (default, keras.saving.load_model(tmp_path / "default.keras")):
        first, second = encoders(one)
        assert first is second
    names = [layer.name for layer in krp.networks.critic("tf/Pendulum-v1").layers]
    assert "encoder" not in names


def test_a_default_policy_has_the_encoder_of_the_critics_that_were_given(tmp_path):
    observation = {"image": np.full((2, 36, 36, 1), 99, np.uint8), "x": np.ones((2, 2), np.float32)}
    for make, cell in ((krp.SAC, None), (krp.RecurrentTD3, "lstm")):
        agent = make(critic=krp.networks.critic((BOTH, ACTIONS), (4,), cell=cell))
        agent.build((BOTH, ACTIONS))
        first, second = encoders(agent)
        assert first is second
        agent.save(tmp_path / "agent.keras")
        loaded = keras.saving.load_model(tmp_path / "agent.keras")
        np.testing.assert_array_equal(loaded.predict(observation, verbose=0), agent.predict(observation, verbose=0))


def test_penalties_of_a_shared_encoder_count_once_and_for_the_critics():
    agent = made()
    krp.networks.regularize(encoders(agent)[0], 0.1)
    agent.network.layers[-2].kernel.regularizer = keras.regularizers.L2(0.5)
    critic, actor = agent.parts()
    once = sum(0.1 * float(tf.reduce_sum(x.kernel**2)) for x in encoders(agent)[0].layers if hasattr(x, "kernel"))
    assert float(agent.regularized(critic, tf.constant(0.0))) == pytest.approx(once, rel=1e-5)
    own = 0.5 * float(tf.reduce_sum(agent.network.layers[-2].kernel ** 2))
    assert float(agent.regularized(actor, tf.constant(0.0))) == pytest.approx(own, rel=1e-5)


@pytest.mark.parametrize("what", ["a model of another name", "a layer"])
def test_what_a_file_could_not_restore_is_not_shared(what):
    pair = (BOTH, ACTIONS)
    if what == "a layer":
        dense = keras.layers.Dense(4, name="both")
        x, observation, action = keras.Input((2,)), keras.Input((2,)), keras.Input((1,))
        network = keras.Model(x, {"action": krp.layers.DenseNormal((1,), [[-1.0, 1.0]], hard_bounds=True)(dense(x))})
        joined = keras.layers.Concatenate()([dense(observation), action])
        critic = keras.Model({"observation": observation, "action": action}, keras.layers.Dense(2)(joined))
        pair = (BOTH["x"], ACTIONS)
    else:
        encoder = keras.Model(*krp.networks.encoder(BOTH), name="both")
        network = krp.networks.stochastic_actor(pair, (4,), encoder=encoder)
        critic = krp.networks.critic(pair, (4,), encoder=encoder)
    with pytest.raises(ValueError, match=r"only within a model named 'encoder'.*Received: \['both'"):
        krp.SAC(network, critic).build(pair)


def test_penalties_of_activities_count_once():
    agent = made()
    for layer in encoders(agent)[0].layers:
        if isinstance(layer, keras.layers.Dense):
            layer.activity_regularizer = keras.regularizers.L2(0.1)
            last = layer
    seen = {"image": np.full((2, 36, 36, 1), 99, np.uint8), "x": np.ones((2, 2), np.float32)}
    agent.critic({"observation": seen, "action": np.zeros((2, 1), np.float32)})
    assert len(last.losses) == 1
    expected = float(sum(agent.critic.losses))
    assert float(agent.regularized(agent.parts()[0], tf.constant(0.0))) == pytest.approx(expected)


def dropping(rate=0.5):
    observation, action = keras.Input((3,), name="observation"), keras.Input((1,), name="action")
    x = keras.layers.Dense(16, "relu")(keras.layers.Concatenate()([observation, action]))
    values = keras.layers.Dense(2)(keras.layers.Dropout(rate)(x))
    return keras.Model({"observation": observation, "action": action}, values)


def noisy_agent():
    keras.utils.set_random_seed(0)
    env = "tf/Pendulum-v1"
    settings = krp.ReplaySettings(capacity=200, batch_size=8, learning_starts=16)
    agent = krp.SAC(krp.networks.stochastic_actor(env, (4,)), dropping(), updates=2, replay=settings)
    agent.compile(jit_compile=False)
    return agent


@pytest.mark.filterwarnings("error::keras_rl_prob.learning.progress.hints.TrainingHint")
def test_dropout_in_critics_drops_by_the_seed_of_the_step():
    agent = noisy_agent()
    agent.build("tf/Pendulum-v1")
    inputs = {"observation": tf.ones((1, 3)), "action": tf.ones((1, 1))}
    hidden = np.asarray(agent.critic.layers[3](tf.ones((1, 4))))[0].astype(np.float64)  # [16]
    kernel, bias = (np.asarray(x, np.float64) for x in agent.critic.layers[-1].get_weights())
    received = []
    for step in range(3):
        agent.reseed(tf.constant([1, step // 2]))
        data = transitions()._replace(observation=inputs["observation"])
        received.append(agent.values(agent.critic, data, inputs["action"]).numpy()[0])
    np.testing.assert_array_equal(received[0], received[1])
    assert not np.array_equal(received[1], received[2])
    masks = np.array(np.meshgrid(*[[0.0, 2.0]] * int(np.sum(hidden > 0)))).reshape(int(np.sum(hidden > 0)), -1).T
    possible = (masks * hidden[hidden > 0]) @ kernel[hidden > 0] + bias  # all that dropping half of the units can give
    for value in received:
        assert np.min(np.abs(possible - value).max(-1)) < 1e-5


def test_a_training_with_dropout_is_resumed_exactly(tmp_path):
    fit = {"steps_per_epoch": 4, "num_envs": 2, "seed": 0, "verbose": 0}
    whole, part = noisy_agent(), noisy_agent()
    whole.fit("tf/Pendulum-v1", epochs=2, **fit)
    part.fit("tf/Pendulum-v1", epochs=1, **fit)
    part.save(tmp_path / "agent.keras")
    again = keras.saving.load_model(tmp_path / "agent.keras")
    again.fit("tf/Pendulum-v1", epochs=2, initial_epoch=1, **fit)
    assert all(np.array_equal(x, y) for x, y in zip(whole.get_weights(), again.get_weights(), strict=True))
