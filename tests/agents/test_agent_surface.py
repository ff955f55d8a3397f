"""The Keras API of an agent: compile, fit, evaluate, predict, save, load, summary, callbacks, seeds."""

import json

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from environments import ImageEnv, MaskedEnv, masked_network

import keras_rl_prob as krp
from keras_rl_prob.testing import DictTask, HybridTask

ENV = "tf/CartPoleNoVel-v1"


def small(agent_class=krp.RecurrentPPO, network=None, run_eagerly=False, **arguments):
    """A compiled agent that trains fast: 8 environments x 8 steps, 2 x 2 updates."""
    if network is None and agent_class is krp.RecurrentPPO:
        network = krp.networks.recurrent(ENV, units=8, shared=True)
    agent = agent_class(network, **{"rollout_steps": 8, "minibatches": 2, "update_epochs": 2, **arguments})
    agent.compile(keras.optimizers.Adam(1e-3), jit_compile=False, run_eagerly=run_eagerly)
    return agent


def fit(agent, env=ENV, **arguments):
    return agent.fit(env, **{"epochs": 2, "steps_per_epoch": 8, "num_envs": 8, "verbose": 0, **arguments})


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """An agent for `ENV` that all tests train, and a file with its initial state."""
    agent, path = small(), tmp_path_factory.mktemp("kept") / "fresh.weights.h5"
    agent.build(ENV)
    agent.save_weights(path)
    return agent, path


@pytest.fixture
def fresh(kept):
    """That agent in its initial state, whatever other tests did with it; its graphs are traced once."""
    agent, path = kept
    agent.load_weights(path)
    return agent


def test_history_has_the_promised_logs(fresh):
    agent = fresh
    history = fit(agent, validation_data=ENV, validation_episodes=4).history
    expected = {
        "return",
        "length",
        "env_steps",
        "env_steps_per_second",
        "loss",
        "policy_loss",
        "value_loss",
        "entropy",
        "kl",
        "clip_fraction",
    }
    assert set(history) == expected | {"explained_variance", "val_return", "val_length", "val_return_std"}
    assert all(len(values) == 2 for values in history.values())
    assert history["return"] == history["length"]  # CartPole pays 1 for every step
    assert 5 < history["return"][0] < 60
    assert history["env_steps"][0] <= 2 * 8 * 8
    assert history["env_steps"][1] > history["env_steps"][0] > 1.5 * 8 * 8
    assert int(agent.optimizer.iterations.numpy()) == 16
    assert history["val_return"][0] == history["val_length"][0] >= 8


def test_no_finished_episode_is_nan_not_zero():
    history = fit(small(krp.PPO, run_eagerly=True), "tf/Pendulum-v1", epochs=1, steps_per_epoch=4).history
    assert np.isnan(history["return"]).all()


def test_set_random_seed_gives_the_same_history_twice(kept):
    def run(seed):
        keras.utils.set_random_seed(seed)
        made = small()
        made.build(ENV)
        agent, path = kept
        agent.load_weights(path)
        agent.network.set_weights(made.network.get_weights())
        history = fit(agent, epochs=1, validation_data=ENV, validation_episodes=4).history
        del history["env_steps_per_second"]
        return history, agent.get_weights()

    (first, weights), (second, same_weights), (other, _) = run(7), run(7), run(8)
    assert first == second
    assert all(np.array_equal(a, b) for a, b in zip(weights, same_weights, strict=True))
    assert other["loss"] != first["loss"]


def test_fit_seed_decides_alone(kept):
    agent, path = kept
    histories = [agent.load_weights(path) or fit(agent, seed=seed).history for seed in (5, 5, 6)]
    for history in histories:
        del history["env_steps_per_second"]
    assert histories[0] == histories[1]
    assert histories[0] != histories[2]


def test_callbacks_and_evaluation_do_not_change_training(kept):
    def run(callbacks, **arguments):
        agent, path = kept
        agent.load_weights(path)
        history = fit(agent, callbacks=callbacks, seed=3, **arguments).history
        return history["loss"], agent.get_weights()

    class Meddling(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.evaluate(ENV, episodes=3, verbose=0)
            self.model.policy()(np.zeros(4, np.float32))

        def on_train_batch_end(self, batch, logs=None):
            if batch < 5:
                self.model.evaluate(ENV, episodes=2, verbose=0, deterministic=False)

    plain, weights = run([])
    watched, same_weights = run(
        [Meddling(), keras.callbacks.LambdaCallback()], validation_data=ENV, validation_episodes=2
    )
    assert plain == watched
    assert all(np.array_equal(a, b) for a, b in zip(weights, same_weights, strict=True))


# That such executions run under XLA is in test_python_calls.py.
@pytest.mark.parametrize("jit_compile", [pytest.param(True, marks=pytest.mark.long), False], ids=["jit", "graph"])
def test_several_rollouts_in_one_execution_are_the_same_training(jit_compile):
    def run(steps_per_execution):
        keras.utils.set_random_seed(1)
        agent = krp.A2C(krp.networks.feed_forward("tf/CartPole-v1", units=(8,)))
        agent.compile(steps_per_execution=steps_per_execution, jit_compile=jit_compile)
        batches = []
        callback = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: batches.append((batch, int(logs["env_steps"])))
        )
        history = agent.fit("tf/CartPole-v1", epochs=3, steps_per_epoch=12, num_envs=4, verbose=0, callbacks=[callback])
        del history.history["env_steps_per_second"]
        return history.history, agent.get_weights(), batches

    (history, weights, each), (same_history, same_weights, fourth) = run(None), run(4)
    assert history == same_history
    assert all(np.array_equal(a, b) for a, b in zip(weights, same_weights, strict=True))
    assert fourth == each[3::4]
    assert [batch for batch, _ in fourth] == [3, 7, 11] * 3


def test_a_second_training_knows_nothing_of_the_episodes_of_the_first(fresh):
    agent = fresh
    fit(agent, epochs=1, steps_per_epoch=4)  # leaves episodes unfinished
    history = fit(agent, epochs=1, steps_per_epoch=4, callbacks=[Lengths()]).history
    assert not history["length"][0] > 8  # rows of a rollout; NaN if no episode ended


class Lengths(keras.callbacks.Callback):
    """Checks after the first rollout that accumulated statistics started with this training run."""

    def on_train_batch_end(self, batch, logs=None):
        follower = self.model._training.source.follower
        score, length, discounted = (variable.numpy() for variable in follower.variables)
        assert length.max() <= 8
        assert np.array_equal(score, length)
        assert (discounted <= score).all()


@pytest.mark.parametrize("wrong", [3, 24])
def test_steps_per_execution_must_be_whole_rollouts(wrong):
    agent = small()
    agent.compile(steps_per_execution=wrong)
    with pytest.raises(
        ValueError, match=r"`steps_per_execution` of `compile` must be a multiple of the 4 .* Received: "
    ):
        fit(agent, steps_per_epoch=16)


def test_evaluate_plays_whole_episodes_and_repeats_them(fresh):
    agent = fresh
    first = agent.evaluate(ENV, episodes=10, verbose=0, return_dict=True)
    assert first == agent.evaluate(ENV, episodes=10, verbose=0, return_dict=True)
    assert first != agent.evaluate(ENV, episodes=10, verbose=0, return_dict=True, seed=1)
    assert agent.evaluate(ENV, episodes=10, verbose=0) == [first["return"], first["length"]]
    stochastic = agent.evaluate(ENV, episodes=10, deterministic=False, verbose=0, return_dict=True)
    assert stochastic != first
    assert int(agent.env_steps.numpy()) == 0


def test_evaluate_counts_the_same_number_of_episodes_in_every_environment():
    from keras_rl_prob.testing import ScriptedEnv

    scripts = [[(2, "terminated")], [(3, "truncated"), (4, "terminated")], [(1, "terminated")]]
    agent = small(krp.PPO)
    vector_env = gymnasium.vector.SyncVectorEnv([lambda i=i, s=s: ScriptedEnv(i, s) for i, s in enumerate(scripts)])
    result = agent.evaluate(vector_env, episodes=4, verbose=0, return_dict=True)  # two in each of the three
    assert list(result) == ["return", "length", "return_std"]  # as `fit` shows them
    assert result["length"] == pytest.approx((2 + 2 + 3 + 4 + 1 + 1) / 6)
    assert result["return"] == pytest.approx((3 + 23 + 6 + 50 + 1 + 11) / 6)
    assert result["return_std"] == pytest.approx(np.std([3, 23, 6, 50, 1, 11]))


@pytest.mark.parametrize(
    ("env", "network", "arguments"),
    [
        (ENV, None, {"kl_penalty": krp.KLPenalty(0.02), "normalize_observations": True}),
        # hybrid actions after loading: tests/old_files; schedules: test_config_is_json_and_complete
        pytest.param(
            HybridTask,
            None,
            {"entropy_coef": keras.optimizers.schedules.PolynomialDecay(0.01, 100, 0.0)},
            marks=pytest.mark.long,
        ),
        pytest.param(DictTask, None, {"normalize_observations": True, "clip_ratio": None}, marks=pytest.mark.long),
        pytest.param(MaskedEnv, masked_network, {"target_kl": 0.1}, marks=pytest.mark.long),
        pytest.param("tf/Pendulum-v1", None, {"sequence_length": 8}, marks=pytest.mark.long),
    ],
    ids=["no velocity", "hybrid", "dict", "mask", "Pendulum"],
)
def test_saved_and_loaded_agents_act_alike_and_go_on_alike(env, network, arguments, tmp_path):
    agent = small(network=network() if network else krp.networks.recurrent(env, units=8, shared=True), **arguments)
    fit(agent, env, epochs=1)
    agent.save(tmp_path / "agent.keras")
    loaded = keras.saving.load_model(tmp_path / "agent.keras")
    assert type(loaded) is type(agent)
    assert json.dumps(loaded.get_config()) == json.dumps(agent.get_config())
    assert loaded.action_space == agent.action_space
    for variable, same in zip(agent.weights, loaded.weights, strict=True):
        assert np.array_equal(variable.numpy(), same.numpy()), variable.path
    for variable, same in zip(agent.optimizer.variables, loaded.optimizer.variables, strict=True):
        assert np.array_equal(variable.numpy(), same.numpy()), variable.path
    assert int(loaded.optimizer.iterations.numpy()) == 8
    assert loaded.evaluate(env, episodes=4, verbose=0) == agent.evaluate(env, episodes=4, verbose=0)
    if env == ENV:
        assert float(loaded.reward_normalizer.variance.numpy()) != 1.0
        assert np.any(loaded.observation_normalizers[0].mean.numpy() != 0.0)
    assert fit(loaded, env, epochs=1, seed=2).history["loss"] == fit(agent, env, epochs=1, seed=2).history["loss"]


def test_config_is_json_and_complete():
    agent = small(krp.PPO, kl_penalty=krp.KLPenalty(), clip_ratio=keras.optimizers.schedules.PolynomialDecay(0.2, 10))
    config = json.loads(json.dumps(agent.get_config()))
    assert krp.PPO.from_config(config).get_config() == agent.get_config()
    assert krp.PPO.from_config(config).kl_penalty == krp.KLPenalty()


def test_predict_maps_batches_and_sequences_to_actions(fresh):
    agent = fresh
    observations = np.random.default_rng(0).normal(size=(70, 9, 4)).astype(np.float32)
    assert agent.predict(observations[:, 0], verbose=0).shape == (70,)
    actions = agent.predict(observations, batch_size=32, verbose=0)
    assert actions.shape == (70, 9)
    policy = agent.policy(num_envs=70)
    assert np.array_equal(np.stack([policy(observations[:, t]) for t in range(9)], 1), actions)
    assert np.array_equal(actions[:, 0], agent.predict(observations[:, 0], verbose=0))


def test_predict_keeps_the_structure_of_the_action_space():
    agent = small(krp.PPO)
    agent.build(HybridTask)
    observations = {"target": np.zeros((5, 1), np.float32), "tool": np.zeros((5,), np.int32)}
    pointer, tool = agent.predict(observations, verbose=0)
    assert pointer.shape == (5, 1)
    assert tool.shape == (5,)


def test_policy_acts_on_single_observations_and_forgets_on_reset():
    agent = small(network=krp.networks.recurrent(DictTask, units=8, shared=True))
    agent.build(DictTask)
    env = DictTask()
    observation, _ = env.reset(seed=0)
    policy = agent.policy(deterministic=False, seed=1)
    first = [policy(observation) for _ in range(4)]
    assert all(env.action_space.contains(action) for action in first)
    policy = agent.policy(deterministic=True)
    params = [policy(observation) for _ in range(3)]
    policy.reset()
    assert str(policy(observation)) == str(params[0])


def test_images_stay_uint8_until_the_network():
    agent = krp.PPO(krp.networks.nature_cnn(ImageEnv), rollout_steps=16, minibatches=2, update_epochs=2)
    agent.compile(keras.optimizers.Adam(1e-3))
    before = agent.network(np.zeros((1, 32, 32, 1), np.uint8))["value"].numpy()
    assert np.isfinite(fit(agent, ImageEnv, epochs=1).history["loss"]).all()
    assert not np.array_equal(before, agent.network(np.zeros((1, 32, 32, 1), np.uint8))["value"].numpy())
    assert agent.jit_compile is False, "convolutions on a CPU are faster without XLA"
    batch = next(iter(agent.make_source(krp.envs.make(ImageEnv, 8), 0).dataset()))
    batch = agent.prepare(batch).update(0)
    assert batch.observation.dtype == tf.uint8
    assert batch.observation.shape == (1, 64, 32, 32, 1)


@pytest.mark.parametrize(
    ("agent_class", "network", "jit_compile"),
    [
        (krp.RecurrentPPO, lambda: krp.networks.recurrent(ENV, units=8), True),
        (krp.DQN, lambda: krp.networks.q_network(ENV, (8,)), False),
    ],
)
def test_mixed_precision_trains_with_values_in_float32(agent_class, network, jit_compile):
    small_replay = {"updates": 2, "batch_size": 8, "capacity": 256, "learning_starts": 32}
    small_rollouts, seen = {"minibatches": 2, "update_epochs": 1}, []
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        settings = {"rollout_steps": 8, "normalize_observations": True}
        agent = agent_class(network(), **settings, **(small_replay if agent_class is krp.DQN else small_rollouts))
        agent.compile(keras.optimizers.Adam(1e-3), jit_compile=jit_compile)
        # the reported steps are those up to the rollout just learned from
        watch = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: seen.append((int(logs["env_steps"]), int(agent.env_steps.numpy())))
        )
        arguments = {"epochs": 2, "steps_per_epoch": 4, "num_envs": 4, "verbose": 0, "callbacks": [watch]}
        history = agent.fit(ENV, **arguments).history
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert np.isfinite(history["loss"]).all()
    assert len({steps for steps, _ in seen}) == len(seen) == 4
    assert all(reported == played for reported, played in seen)
    assert all(variable.dtype == "float32" for variable in agent.network.trainable_variables)
    assert any(layer.compute_dtype == "bfloat16" for layer in agent.network.layers)
    assert agent.normalize(tf.ones((1, 4))).dtype == tf.float32


def test_stock_callbacks_do_their_work(tmp_path):
    agent = small(krp.PPO)
    rates = []
    history = fit(
        agent,
        "tf/CartPole-v1",
        epochs=6,
        validation_data="tf/CartPole-v1",
        validation_episodes=2,
        callbacks=[
            keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", "val_return", save_best_only=True, mode="max"),
            keras.callbacks.LearningRateScheduler(lambda epoch, rate: 1e-3 / (epoch + 1)),
            keras.callbacks.ReduceLROnPlateau("val_return", factor=0.5, patience=1, mode="max"),
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
            keras.callbacks.TerminateOnNaN(),
            keras.callbacks.EarlyStopping("val_return", mode="max", min_delta=1e9, patience=2),
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: rates.append(float(agent.optimizer.learning_rate.numpy()))
            ),
        ],
    ).history
    assert len(history["loss"]) == 3, "EarlyStopping did not stop"
    assert rates[0] == pytest.approx(1e-3)
    assert rates[1] == pytest.approx(5e-4, rel=0.51)
    assert "val_return" in (tmp_path / "log.csv").read_text().splitlines()[0]
    best = keras.saving.load_model(tmp_path / "best.keras")
    result = best.evaluate("tf/CartPole-v1", episodes=2, verbose=0, return_dict=True)
    assert result["return"] == max(history["val_return"])


def test_summary_and_parameter_counts(fresh, capsys):
    agent = fresh
    agent.summary()
    shown = capsys.readouterr().out
    assert "recurrent_ppo" in shown
    assert agent.network.count_params() == sum(int(tf.size(w)) for w in agent.trainable_weights)


def test_a_second_fit_starts_from_the_weights_of_the_first(fresh):
    agent = fresh
    fit(agent)
    steps = int(agent.env_steps.numpy())
    history = fit(agent, steps_per_epoch=4).history  # another number of environments: test_reuse.py
    assert len(history["loss"]) == 2
    assert int(agent.env_steps.numpy()) > steps
    assert int(agent.optimizer.iterations.numpy()) == 16 + 8


# How each of them is opened: tests/envs/test_gymnasium_env.py; one that is made already, native or not: test_reuse.py.
@pytest.mark.parametrize(
    "make_env",
    [
        pytest.param(lambda: gymnasium.make("CartPole-v1"), marks=pytest.mark.long),
        pytest.param(lambda: lambda: gymnasium.make("CartPole-v1"), marks=pytest.mark.long),
        pytest.param(lambda: gymnasium.make_vec("CartPole-v1", 4, vectorization_mode="sync"), marks=pytest.mark.long),
        lambda: gymnasium.make_vec("CartPole-v1", 4, vectorization_mode="async"),
        pytest.param(
            lambda: gymnasium.make_vec("CartPole-v1", 4, vectorization_mode="vector_entry_point"),
            marks=pytest.mark.long,
        ),
        pytest.param(lambda: krp.envs.make("tf/CartPole-v1", 4), marks=pytest.mark.long),
        pytest.param(lambda: "krp/CartPoleNoVel-v1", marks=pytest.mark.long),
    ],
    ids=["Env", "callable", "sync", "async", "vectorised", "native", "krp id"],
)
def test_fit_takes_every_kind_of_environment(make_env, fresh):
    env, agent = make_env(), fresh
    num_envs = 4 if callable(env) or isinstance(env, str) else None
    history = fit(agent, env, epochs=1, num_envs=num_envs).history
    assert np.isfinite(history["loss"]).all()
    if hasattr(env, "close"):
        env.close()
