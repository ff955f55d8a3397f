"""REINFORCE: whole episodes, their discounted returns and the gradient along them, against the definitions."""

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob.testing import ScriptedEnv

GAMMA = 0.9
# The source resets once when it is created: the first rollout has the second episodes, and later ones follow.
SCRIPTS = [[(1, "terminated"), (3, "terminated")], [(1, "terminated"), (2, "truncated")], [(9, "truncated")]]
LENGTHS = {0: 3, 1: 2, 2: 4}  # the last one cut off by `max_episode_steps`
STEPS = 4


def scripted_env(mode="NextStep"):
    makers = [lambda i=i, s=s: ScriptedEnv(i, s) for i, s in enumerate(SCRIPTS)]
    return krp.envs.make(gymnasium.vector.SyncVectorEnv(makers, autoreset_mode=mode))


def linear_agent(baseline, **arguments):
    """An agent whose logits, and values if there are any, are linear in the observation."""
    inputs = keras.Input((3,))
    outputs = {"action": krp.layers.DenseCategorical((2,))(inputs)}
    if baseline:
        outputs["value"] = keras.layers.Dense(1)(inputs)
    arguments = {"max_episode_steps": STEPS, "discount": GAMMA, **arguments}
    agent = krp.Reinforce(keras.Model(inputs, outputs), baseline=baseline, **arguments)
    agent.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    return agent


def prepared(agent, mode="NextStep"):
    """The one minibatch of a rollout."""
    env = scripted_env(mode)
    agent.build(env)
    for index, weight in enumerate(agent.network.weights):
        weight.assign(tf.random.stateless_normal(weight.shape, (index, 4)) * 0.3)
    agent._prepare_for(env, 1)
    rollout = agent.prepare(next(iter(agent.make_source(env, 0).dataset())))
    assert rollout.updates == 1
    return rollout.update(tf.constant(0))


def rows_of(batch):
    """Dict from (environment, step) to the index of the row in the minibatch, for valid rows."""
    return {
        (int(batch.observation[place][0]), int(batch.observation[place][2])): place
        for place in map(tuple, np.argwhere(batch.valid.numpy()))
    }


def discounted_return(agent, index, step):
    """By the definition; with a baseline, a truncated episode bootstraps from its final observation's value."""
    length = LENGTHS[index]
    total = sum(GAMMA ** (k - step) * (10.0 + k + 1) for k in range(step, length))
    if agent.baseline and index != 0:
        final = np.array([[index, 1, length]], np.float32)
        total += GAMMA ** (length - step) * float(agent.network(final)["value"][0, 0])
    return total


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
@pytest.mark.parametrize("baseline", [False, True])
def test_returns_of_the_first_whole_episodes_are_exact(baseline, mode):
    agent = linear_agent(baseline)
    batch = prepared(agent, mode)
    rows = rows_of(batch)
    assert sorted(rows) == [(index, step) for index, length in LENGTHS.items() for step in range(length)]
    for (index, step), place in rows.items():
        assert int(batch.observation[place][1]) == 1, "not the first episode after the reset"
        total = discounted_return(agent, index, step)
        assert float(batch.target[place]) == pytest.approx(total, rel=1e-5), (index, step)
        value = float(agent.network(batch.observation[place][None])["value"][0, 0]) if baseline else 0.0
        assert float(batch.advantage[place]) == pytest.approx(total - value, rel=1e-4, abs=1e-5), (index, step)
    if not baseline:
        first = float(batch.advantage[rows[0, 0]])
        assert first == pytest.approx(11 + 0.9 * 12 + 0.81 * 13)  # 32.33
        assert float(batch.advantage[rows[1, 0]]) == pytest.approx(11 + 0.9 * 12)
        assert float(batch.advantage[rows[2, 0]]) == pytest.approx(11 + 0.9 * 12 + 0.81 * 13 + 0.729 * 14)
    assert int(agent.env_steps.numpy()) == 9
    report = {name: float(batch.report[name]) for name in ("episodes", "length", "return")}
    assert report == {"episodes": 3, "length": 9, "return": 36 + 23 + 50}


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("baseline", [False, True])
def test_gradient_equals_the_definition(baseline, normalize):
    agent = linear_agent(baseline, normalize_returns=normalize, value_coef=0.7, entropy_coef=0.0)
    batch = prepared(agent)
    rows, network = rows_of(batch), agent.network
    x = np.array([[index, 1.0, step] for index, step in rows])
    outputs = network(x.astype(np.float32))
    returns = np.array([discounted_return(agent, *row) for row in rows])
    values = outputs["value"].numpy()[:, 0].astype(float) if baseline else np.zeros(9)
    weight = returns - values
    if normalize:
        weight = (weight - weight.mean()) / weight.std()
    logits = outputs["action"].numpy().astype(float)
    probability = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    chosen = np.eye(2)[[int(batch.raw[place]) for place in rows.values()]]
    assert 0 < chosen[:, 0].sum() < 9, "the same action everywhere"
    loss = -np.mean((chosen * np.log(probability)).sum(-1) * weight) + 0.7 * baseline * np.mean((values - returns) ** 2)
    by_logits = -(chosen - probability) * weight[:, None] / 9  # of -sum(G log pi) / N
    gradients = {(3, 2): x.T @ by_logits, (2,): by_logits.sum(0)}
    if baseline:
        by_value = 0.7 * 2.0 * (values - returns)[:, None] / 9
        gradients |= {(3, 1): x.T @ by_value, (1,): by_value.sum(0)}
    with tf.GradientTape() as tape:
        got, logs = agent.loss_and_logs(batch)
    assert float(got) == pytest.approx(loss, rel=1e-4)
    assert ("value_loss" in logs) == baseline
    variables = [variable.value for variable in network.trainable_variables]
    assert sorted(tuple(variable.shape) for variable in variables) == sorted(gradients)
    for variable, gradient in zip(variables, tape.gradient(got, variables), strict=True):
        np.testing.assert_allclose(gradient, gradients[tuple(variable.shape)], rtol=1e-3, atol=1e-4)


def test_logs_have_one_episode_of_each_environment_and_one_step_for_each_rollout():
    episodes = []

    class Keep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            valid = self.model.last_rollout["valid"]
            episodes.append((valid.sum(0).tolist(), int(logs["env_steps"]), logs["length"]))

    agent = krp.Reinforce(max_episode_steps=60)
    agent.compile(keras.optimizers.Adam(1e-3), run_eagerly=True)
    history = agent.fit("tf/CartPole-v1", steps_per_epoch=3, num_envs=5, seed=0, verbose=0, callbacks=[Keep()]).history
    lengths = np.array([length for length, *_ in episodes])
    assert lengths.shape == (3, 5)
    assert len(set(lengths.ravel())) > 3
    assert [steps for _, steps, _ in episodes] == np.cumsum(lengths.sum(1)).tolist()
    np.testing.assert_allclose([mean for *_, mean in episodes], np.cumsum(lengths.mean(1)) / [1, 2, 3], rtol=1e-5)
    assert history["return"] == history["length"]
    assert int(agent.optimizer.iterations.numpy()) == 3
    assert set(history) == {"return", "length", "loss", "policy_loss", "entropy", "env_steps", "env_steps_per_second"}
    assert "value" not in agent.network.output


def test_episodes_are_cut_off_after_max_episode_steps():
    agent = krp.Reinforce(max_episode_steps=7, baseline=True)
    agent.compile(run_eagerly=True)
    history = agent.fit("tf/Pendulum-v1", epochs=2, steps_per_epoch=2, num_envs=3, verbose=0).history
    assert history["length"] == [7.0, 7.0]
    assert history["env_steps"] == [42, 84]
    assert {"value_loss", "explained_variance"} <= set(history)


def test_memory_starts_every_episode_at_zero():
    network = krp.networks.recurrent("tf/CartPole-v1", units=8, shared=True)
    agent = krp.Reinforce(network, max_episode_steps=20)
    agent.compile(keras.optimizers.Adam(1e-2), run_eagerly=True)
    env = krp.envs.make("tf/CartPole-v1", 4)
    agent._prepare_for(env, 1)
    source = iter(agent.make_source(env, 0).dataset())
    for _ in range(2):
        batch = agent.prepare(next(source)).update(tf.constant(0))
        assert all(not np.any(state) for state in tf.nest.flatten(batch.state))
        outputs, _ = agent._unrolled(batch.observation, batch.is_first, batch.state)
        log_prob = agent.distribution(outputs["action"]).log_prob(batch.raw)
        assert float(tf.reduce_max(tf.abs(log_prob - batch.log_prob) * batch.valid)) < 1e-5
        agent.train_step(batch)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_episode_steps": 0}, r"`max_episode_steps` must be a positive integer. Received: max_episode_steps=0"),
        ({"discount": -1.0}, r"`discount` must be between 0 and 1, or a schedule .* Received: discount=-1.0"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        krp.Reinforce(**arguments)


def test_a_baseline_needs_a_value_and_action_values_are_no_policy():
    with pytest.raises(ValueError, match=r"keys \['action', 'value'\]. Received: outputs=\['action'\]"):
        krp.Reinforce(linear_agent(baseline=False).network, baseline=True).build(scripted_env())
    inputs = keras.Input((4,))
    network = keras.Model(inputs, {"action": krp.layers.QValues((2,))(keras.layers.Dense(2)(inputs))})
    with pytest.raises(ValueError, match="must be a policy for Reinforce"):
        krp.Reinforce(network).build("tf/CartPole-v1")


def test_config_has_the_arguments_of_the_constructor():
    config = krp.Reinforce(max_episode_steps=9, baseline=True, normalize_returns=False).get_config()
    assert {"gae_lambda", "rollout_steps", "normalize_advantages"} & set(config) == set()
    again = krp.Reinforce.from_config(config)
    assert (again.rollout_steps, again.baseline, again.normalize_advantages) == (9, True, False)
    assert again.get_config() == config
