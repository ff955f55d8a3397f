"""LinearQ learns from the rows of a rollout one by one, in order; its features are those of scikit-learn."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import keras_rl_prob as krp
from keras_rl_prob.layers import QValues
from keras_rl_prob.spaces import sample
from keras_rl_prob.testing import ScriptedEnv

GAMMA = 0.9
SCRIPT = [(3, "terminated"), (2, "truncated"), (1, "terminated"), (1, "truncated")]
BOUNDED = (spaces.Box(np.array([-1.2, -0.07], np.float32), np.array([0.6, 0.07], np.float32)), spaces.Discrete(3))


def scripted(num_envs=2, mode=AutoresetMode.NEXT_STEP):
    makers = [lambda i=i: ScriptedEnv(i, SCRIPT[i:] + SCRIPT[:i]) for i in range(num_envs)]
    return SyncVectorEnv(makers, autoreset_mode=mode)


def linear_network(actions=2):
    """Values that are linear in the observation itself, weights random."""
    inputs = keras.Input((3,))
    network = keras.Model(inputs, {"action": QValues((actions,))(keras.layers.Dense(actions, name="linear")(inputs))})
    random = np.random.default_rng(0)
    network.set_weights([random.normal(size=w.shape) for w in network.get_weights()])
    return network


def agent_and_source(env, **arguments):
    agent = krp.LinearQ(linear_network(), **{"rollout_steps": 4, "discount": GAMMA, **arguments})
    agent.compile(keras.optimizers.SGD(0.003), jit_compile=False)
    made = krp.envs.make(env)
    agent._prepare_for(made, agent.updates_per_rollout(made.num_envs))
    return agent, agent.make_source(made, 0)


def batches(source, rollouts):
    iterator = iter(source.dataset())
    for _ in range(rollouts):
        element = next(iterator)
        for index in range(int(element.updates)):
            yield element.update(tf.constant(index))


def arrays(batch):
    return tf.nest.map_structure(lambda x: x.numpy(), batch)


def ends(index, episode):
    return SCRIPT[(index + episode) % len(SCRIPT)]


@pytest.mark.parametrize(
    ("clip", "mode"),
    [
        (None, AutoresetMode.NEXT_STEP),
        (2.0, AutoresetMode.NEXT_STEP),
        (None, AutoresetMode.SAME_STEP),
        (2.0, AutoresetMode.DISABLED),
    ],
)
def test_each_update_is_the_transition_of_one_row_in_the_order_of_play(clip, mode):
    agent, source = agent_and_source(scripted(mode=mode), reward_clip=clip)
    final_rows = mode is AutoresetMode.NEXT_STEP
    assert agent.updates_per_rollout(2) == 4
    now = {0: (0, 0), 1: (0, 0)}  # episode and step
    seen, count = set(), 0
    for number, batch in enumerate(map(arrays, batches(source, 10))):
        assert batch.index == number % 4
        for i in range(2):
            episode, step = now[i]
            length, end = ends(i, episode)
            assert tuple(batch.observation[i]) == (i, episode, step)
            over = step == length if final_rows else False
            following = (episode + 1, 0) if over else (episode, step + 1)
            now[i] = (episode + 1, 0) if not final_rows and step + 1 == length else following
            assert batch.weight[i] == (not over)
            if not over:
                reward = 10.0 * episode + step + 1
                assert batch.reward[i] == (reward if clip is None else min(reward, clip))
                terminated = step + 1 == length and end == "terminated"
                assert tuple(batch.next_observation[i]) == (i, *following) or terminated
                assert batch.discount[i] == pytest.approx(0.0 if terminated else GAMMA)
                seen.add((end, step + 1 == length))
            count += 1
    assert count == 80
    assert len(seen) == 4  # terminations, truncations, and steps before them


@pytest.mark.parametrize("compiled", [False, True])
def test_gradient_descent_goes_row_by_row(compiled):
    """Each row changes the weights by the mean of lr (r + gamma max Q(s') - Q(s, a)) s."""
    agent, source = agent_and_source(scripted())
    kernel, bias = (w.astype(float) for w in agent.network.get_weights())
    by_hand = []
    rows = [arrays(batch) for batch in batches(source, 2)]
    for batch in rows:
        change = [np.zeros_like(kernel), np.zeros_like(bias)]
        for i in np.flatnonzero(batch.weight):
            observation, action = batch.observation[i], batch.action[i]
            following = (batch.next_observation[i] @ kernel + bias).max()
            error = batch.reward[i] + batch.discount[i] * following - (observation @ kernel + bias)[action]
            change[0][:, action] += error * observation / (batch.weight > 0).sum()
            change[1][action] += error / (batch.weight > 0).sum()
        kernel, bias = kernel + 0.003 * change[0], bias + 0.003 * change[1]
        by_hand.append((kernel, bias))
    if compiled:
        agent, source = agent_and_source(scripted())
        agent.make_train_function()
        iterator = iter(source.dataset())
        for rollout in (0, 1):
            agent.train_function(iterator)
            if rollout == 0:  # the second rollout is collected with other weights, and has other actions
                for got, wanted in zip(agent.network.get_weights(), by_hand[3], strict=True):
                    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
        assert int(agent.optimizer.iterations) == 8
        return
    for batch, wanted in zip(batches(agent_and_source(scripted())[1], 2), by_hand, strict=True):
        agent.train_step(batch)
        for got, expected in zip(agent.network.get_weights(), wanted, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_the_default_optimizer_is_plain_gradient_descent():
    optimizer = krp.LinearQ().default_optimizer()
    assert type(optimizer) is keras.optimizers.SGD
    assert (float(optimizer.learning_rate), optimizer.momentum, optimizer.global_clipnorm) == (
        pytest.approx(0.01),
        0.0,
        None,
    )


# ---- features -----------------------------------------------------------------------------------------------------


def features_of(network):
    (fourier,) = [layer for layer in network.layers if isinstance(layer, krp.layers.FourierFeatures)]
    return keras.Model(network.inputs[0], fourier.output)


def expected_features(fitted_on, gammas, components, seed, x):
    scaling = pytest.importorskip("sklearn.preprocessing")
    approximation = pytest.importorskip("sklearn.kernel_approximation")
    scaler = scaling.StandardScaler().fit(fitted_on)
    return np.concatenate(
        [
            approximation.RBFSampler(gamma=gamma, n_components=components, random_state=seed + i)
            .fit(scaler.transform(fitted_on))
            .transform(scaler.transform(x))
            for i, gamma in enumerate(gammas)
        ],
        -1,
    )


def test_features_are_those_of_scikit_learn_also_after_saving(tmp_path):
    pytest.importorskip("sklearn")
    arguments = {"gammas": (3.0, 0.5), "components": 20, "samples": 300, "seed": 5}
    agent = krp.LinearQ(krp.networks.linear_q(BOUNDED, **arguments))
    agent.compile()
    agent.build(BOUNDED)
    x = sample(BOUNDED[0], 50, tf.constant([8, 9])).numpy()
    fitted_on = sample(BOUNDED[0], 300, tf.constant([5, 0])).numpy()
    expected = expected_features(fitted_on, (3.0, 0.5), 20, 5, x)
    assert expected.shape == (50, 40)
    np.testing.assert_allclose(features_of(agent.network)(x), expected, atol=2e-5)
    np.testing.assert_array_equal(agent.network(x)["action"], 0.0)  # at first
    assert [w.shape for w in agent.network.trainable_variables] == [(40, 3)]  # no bias

    agent.save(tmp_path / "agent.keras")
    again = keras.models.load_model(tmp_path / "agent.keras")
    np.testing.assert_allclose(features_of(again.network)(x), expected, atol=2e-5)


def test_the_default_network_is_linear_in_features_of_four_kernels():
    pytest.importorskip("sklearn")
    agent = krp.LinearQ()
    agent.build(BOUNDED)
    x = sample(BOUNDED[0], 50, tf.constant([8, 9])).numpy()
    features = features_of(agent.network)(x).numpy()
    fitted_on = sample(BOUNDED[0], 10_000, tf.constant([0, 0])).numpy()
    np.testing.assert_allclose(features, expected_features(fitted_on, (5.0, 2.0, 1.0, 0.5), 100, 0, x), atol=2e-5)
    weights = np.random.default_rng(0).normal(size=(400, 3))
    agent.network.layers[-2].set_weights([weights])
    values = agent.network(x)["action"].numpy()
    np.testing.assert_allclose(values, features @ weights, atol=1e-3)


def test_unbounded_observations_are_those_of_random_play():
    pytest.importorskip("sklearn")
    network = krp.networks.linear_q("tf/CartPole-v1", gammas=(1.0,), components=8, samples=400)
    (scaling,) = [layer for layer in network.layers if isinstance(layer, keras.layers.Normalization)]
    deviations = np.sqrt(np.asarray(scaling.variance)).ravel()
    assert ((deviations > 0.01) & (deviations < 3.0)).all()  # random episodes end within 0.2 rad
    assert deviations[2] < 0.2


def test_unbounded_observations_without_an_environment_are_an_error():
    pytest.importorskip("sklearn")
    agent = krp.LinearQ()
    pair = (spaces.Box(-np.inf, np.inf, (2,)), spaces.Discrete(2))
    with pytest.raises(
        ValueError, match=r"`env` must be an environment, to be played at random.*Received: the pair of spaces"
    ):
        agent.build(pair)
    assert not agent.built


def test_without_scikit_learn_the_error_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.kernel_approximation", None)
    with pytest.raises(ImportError, match=r'needs scikit-learn: pip install "keras_rl_prob\[linear\]"'):
        krp.LinearQ().build(BOUNDED)
