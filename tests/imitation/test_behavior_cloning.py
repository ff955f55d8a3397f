"""Behaviour cloning: the loss against its definition, what it changes and what not, and that it learns CartPole."""

import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import keras_rl_prob as krp
from keras_rl_prob.testing import DictTask, HybridTask
from keras_rl_prob.trajectory import Episode

SPACES = spaces.Box(-10.0, 10.0, (3,)), spaces.Discrete(2)


def balance(observation):
    """Balances the pole for all of the 500 steps."""
    position, speed, angle, turning = observation
    return int(angle + 0.5 * turning + 0.02 * position + 0.05 * speed > 0)


def episodes(lengths, seed=0):
    """Random episodes for `SPACES`."""
    rng = np.random.default_rng(seed)
    return [
        Episode(
            rng.normal(3.0, 2.0, (n + 1, 3)).astype("float32"),
            rng.integers(0, 2, n),
            rng.normal(size=n),
            np.arange(n) == n - 1,
            np.zeros(n, bool),
        )
        for n in lengths
    ]


def built(kind, **arguments):
    agent = kind(**arguments)
    agent.compile(jit_compile=False)
    agent.build(SPACES)
    return agent


def cloning_of(agent, **arguments):
    cloning = krp.imitation.BehaviorCloning(agent, **arguments)
    cloning.compile(keras.optimizers.SGD(0.1))
    return cloning


def recorded_loss(agent, recorded, length=None):
    """The mean of `-log pi(a | o)`, episode by episode and step by step."""
    terms = []
    for episode in recorded:
        action, reward = 0, 0.0
        for t, chosen in enumerate(episode.actions):
            observation = episode.observations[None, t]
            if agent.previous_action_and_reward:
                previous = np.array([action], np.int32), np.array([[reward]], np.float32)
                observation = dict(
                    zip(("observation", "previous_action", "previous_reward"), (observation, *previous), strict=True)
                )
            starts = t % length == 0 if length else t == 0
            state = agent.initial_state(1) if starts else state  # noqa: F821
            seen = tf.nest.map_structure(tf.constant, observation)
            _, record, _, state = agent.policy_step(seen, tf.constant([starts]), state, tf.constant([0, 0]))
            logits = np.asarray(record["parameters"])[0]
            terms.append(np.log(np.exp(logits).sum()) - logits[chosen])
            action, reward = chosen, episode.rewards[t]
    return np.mean(terms)


@pytest.mark.parametrize(
    ("kind", "arguments", "length"),
    [
        (krp.PPO, {"normalize_observations": True}, None),
        (krp.RecurrentPPO, {"previous_action_and_reward": True}, None),
        (krp.RecurrentPPO, {}, 3),
    ],
)
def test_the_loss_is_that_of_every_recorded_step(kind, arguments, length):
    """Batches of 4 and 3 do not divide the steps; episodes of 1 to 7 steps need padding."""
    agent, recorded = built(kind, **arguments), episodes([5, 1, 7])
    loss, accuracy = cloning_of(agent, sequence_length=length).evaluate(recorded, batch_size=4, verbose=0)
    np.testing.assert_allclose(loss, recorded_loss(agent, recorded, length), rtol=1e-5)
    assert accuracy * 13 == pytest.approx(round(accuracy * 13), abs=1e-4)


def test_one_step_is_that_of_gradient_descent():
    agent, recorded = built(krp.A2C), episodes([4])
    before = recorded_loss(agent, recorded)
    variables = agent.network.trainable_variables
    with tf.GradientTape() as tape:
        policy = agent.distribution(agent.network(recorded[0].observations[:-1])["action"])
        loss = -tf.reduce_mean(policy.log_prob(tf.constant(recorded[0].actions, tf.int32)))
    gradients = tape.gradient(loss, [v.value for v in variables])
    wanted = [
        v.numpy() if g is None else v.numpy() - 0.1 * g.numpy() for v, g in zip(variables, gradients, strict=True)
    ]
    assert None in gradients  # those of the value
    cloning = cloning_of(agent)
    history = cloning.fit(recorded, epochs=1, verbose=0)
    np.testing.assert_allclose(history.history["loss"], [before], rtol=1e-5)
    for variable, value in zip(variables, wanted, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-4, atol=1e-6)
    assert int(agent.env_steps) == 0
    kernel = agent.network.layers[-1].kernel.numpy()  # of the value
    cloning.compile(keras.optimizers.SGD(0.1, weight_decay=0.5))
    cloning.fit(recorded, verbose=0)
    np.testing.assert_array_equal(agent.network.layers[-1].kernel, kernel)
    assert int(agent.optimizer.iterations) == 0


def test_statistics_are_those_of_the_recorded_observations_without_the_final_ones():
    agent, recorded = built(krp.PPO, normalize_observations=True), episodes([6, 9])
    cloning = cloning_of(agent)
    cloning.evaluate(recorded, verbose=0)
    assert float(agent.observation_normalizers[0].count) == 0  # evaluation changes nothing
    cloning.fit(recorded, validation_data=episodes([3], 1), verbose=0)
    seen = np.concatenate([episode.observations[:-1] for episode in recorded])
    np.testing.assert_allclose(agent.observation_normalizers[0].mean, seen.mean(0), rtol=1e-5)
    np.testing.assert_allclose(agent.observation_normalizers[0].variance, seen.var(0), rtol=1e-4)


def test_the_same_seed_ends_in_the_same_weights():
    """An epoch of one batch does not depend on the order, one of several does."""
    weights = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(0)
        agent = built(krp.Reinforce)
        cloning_of(agent).fit(episodes([20]), batch_size=3, epochs=2, seed=seed, verbose=0)
        weights.append(np.concatenate([np.ravel(w) for w in agent.network.get_weights()]))
    np.testing.assert_array_equal(weights[0], weights[1])
    assert np.abs(weights[0] - weights[2]).max() > 1e-6


@pytest.mark.parametrize("task", [HybridTask, DictTask])
def test_nested_spaces(task):
    agent = krp.PPO()
    agent.compile()
    agent.build(task())
    cloning = krp.imitation.BehaviorCloning(agent)
    cloning.compile(run_eagerly=True)
    history = cloning.fit(krp.envs.record_episodes(task(), episodes=8, seed=0), epochs=2, verbose=0).history
    assert history["loss"][1] < history["loss"][0]
    assert ("accuracy" in history) == (task is DictTask)  # no action is continuous


@pytest.mark.parametrize("kind", [krp.SAC, krp.TD3])
def test_actors_with_critics(kind):
    agent = kind()
    agent.compile()
    agent.build("Pendulum-v1")
    critic = agent.critic.get_weights()
    cloning = krp.imitation.BehaviorCloning(agent)
    cloning.compile()
    recorded = krp.envs.record_episodes("Pendulum-v1", lambda o: np.array([1.5 * o[1]], np.float32), seed=0)
    cloning.fit(recorded, epochs=40, verbose=0)
    observation = recorded[0].observations[:-1]
    error = np.abs(agent.predict(observation, verbose=0) - recorded[0].actions)
    assert error.mean() < 0.2
    for before, after in zip(critic, agent.critic.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_twenty_episodes_of_cartpole_are_enough(tmp_path):
    recorded = krp.envs.record_episodes("CartPole-v1", balance, episodes=20, seed=0)
    agent = krp.PPO(normalize_observations=True)
    agent.compile(jit_compile=False)
    agent.build("CartPole-v1")
    cloning = krp.imitation.BehaviorCloning(agent)
    cloning.compile()
    best = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="val_loss", save_best_only=True)
    cloning.fit(recorded[:18], epochs=8, validation_data=recorded[18:], callbacks=[best], seed=0, verbose=0)
    assert int(agent.env_steps) == 0
    agent = keras.saving.load_model(tmp_path / "best.keras")  # the agent, not `cloning`
    assert agent.evaluate("tf/CartPole-v1", episodes=10, return_dict=True, verbose=0)["return"] >= 450
    agent.fit("tf/CartPole-v1", epochs=1, steps_per_epoch=16, num_envs=4, verbose=0)  # goes on as any other


# ---- wrong recordings ---------------------------------------------------------------------------------------------


def changed(**fields):
    return episodes([4])[0]._replace(**fields)


@pytest.mark.parametrize(
    ("recorded", "message"),
    [
        ([], r"`episodes` must have at least one episode\. Received: none"),
        (
            [changed(observations=np.zeros((5, 4)))],
            r"observation in episode 0 must have the shape \(3,\)\. Received: \(4,",
        ),
        ([changed(observations=np.zeros((5, 3), complex))], r"observation in episode 0 must have the dtype float32"),
        ([changed(observations={"x": np.zeros((5, 3))})], r"observation in episode 0 must have the shape \(3,\)"),
        (
            [changed(observations=np.full((5, 3), np.nan))],
            r"observation in episode 0 must be in Box.*, and finite.*nan",
        ),
        (
            [changed(), changed(actions=np.zeros(4))],
            r"action in episode 1 must have the dtype int64\. Received: float64",
        ),
        ([changed(actions=np.zeros((4, 2), int))], r"action in episode 0 must have the shape \(\)\. Received: \(2,\)"),
        ([changed(actions=np.array([0, 1, 2, 1]))], r"action in episode 0 must be in Discrete\(2\).*Received.*: 2"),
        ([changed(actions=np.zeros(0, int))], "action in episode 0 must be one for each step"),
        ([changed(rewards=np.zeros(3))], "must have as many actions"),
        (["x"], "must be a list of episodes"),
        (3, "must be a list of episodes"),
    ],
)
def test_recordings_that_do_not_fit(recorded, message):
    cloning = cloning_of(built(krp.PPO))
    with pytest.raises((TypeError, ValueError), match=message):
        cloning.fit(recorded, verbose=0)
    with pytest.raises((TypeError, ValueError), match=message):
        cloning.fit(episodes([3]), validation_data=recorded, verbose=0)


def test_masks_forbid_recorded_actions():
    masked = spaces.Dict({"observation": SPACES[0], "action_mask": spaces.MultiBinary(2)}), SPACES[1]
    agent = krp.PPO()
    agent.compile()
    agent.build(masked)
    cloning = cloning_of(agent)
    episode = episodes([4])[0]
    mask = np.array([[1, 1], [0, 1], [1, 0], [1, 1], [1, 1]], np.int8)
    observations = {"observation": episode.observations, "action_mask": mask}
    allowed = episode._replace(observations=observations, actions=np.array([0, 1, 0, 1]))
    cloning.fit([allowed], verbose=0)
    _, _, outputs, _ = agent.policy_step(
        {"observation": episode.observations[1:3], "action_mask": mask[1:3]},
        tf.zeros(2, tf.bool),
        (),
        tf.zeros(2, tf.int32),
    )
    np.testing.assert_allclose(agent.distribution(outputs["action"]).log_prob(tf.constant([1, 0])), 0.0, atol=1e-6)
    with pytest.raises(ValueError, match=r"allowed by the action masks.*episode 0 with, at step 2, 1"):
        cloning.fit([allowed._replace(actions=np.array([0, 1, 1, 1]))], verbose=0)


@pytest.mark.parametrize(
    ("agent", "error", "message"),
    [
        (lambda: krp.PPO(), ValueError, r"`agent` must be built.*call `agent.build\(env\)`.*unbuilt PPO"),
        (
            lambda: built(krp.DQN),
            ValueError,
            r"must have a policy.*`agent.add_experience\(episodes\)`\. Received: a DQN",
        ),
        (lambda: "PPO", TypeError, "must be an agent of this library. Received: agent='PPO'"),
    ],
)
def test_agents_that_have_no_policy(agent, error, message):
    with pytest.raises(error, match=message):
        krp.imitation.BehaviorCloning(agent())


@pytest.mark.parametrize("arguments", [{"epochs": 0}, {"batch_size": 0}, {"batch_size": 1.5}, {"seed": "x"}])
def test_wrong_arguments(arguments):
    with pytest.raises(ValueError, match=f"`{next(iter(arguments))}` must be"):
        cloning_of(built(krp.PPO)).fit(episodes([3]), verbose=0, **arguments)


# ---- Minari -------------------------------------------------------------------------------------------------------


def test_data_sets_by_name_and_as_objects(monkeypatch):
    recorded = episodes([5, 3])
    data = types.SimpleNamespace(iterate_episodes=lambda: iter(recorded))
    cloning = cloning_of(built(krp.PPO))
    plain = cloning.evaluate(recorded, verbose=0)
    assert cloning.evaluate(data, verbose=0) == plain
    monkeypatch.setitem(sys.modules, "minari", types.SimpleNamespace(load_dataset={"a/b-v0": data}.__getitem__))
    assert cloning.evaluate("a/b-v0", verbose=0) == plain
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(ImportError, match=r'need Minari: pip install "keras_rl_prob\[minari\]"'):
        cloning.evaluate("a/b-v0", verbose=0)


def test_files_of_minari(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    from minari.data_collector import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    recorded = krp.envs.record_episodes("CartPole-v1", balance, episodes=2, seed=0)
    buffers = [EpisodeBuffer(id=i, **episode._asdict()) for i, episode in enumerate(recorded)]
    minari.create_dataset_from_buffers(
        "cartpole/balance-v0",
        buffers,
        env="CartPole-v1",
        algorithm_name="script",
        author="none",
        description="A script.",
    )
    agent = krp.PPO()
    agent.build("CartPole-v1")
    cloning = cloning_of(agent)
    expected = cloning.evaluate(recorded, verbose=0)
    assert cloning.evaluate("cartpole/balance-v0", verbose=0) == expected
    assert cloning.evaluate(minari.load_dataset("cartpole/balance-v0"), verbose=0) == expected
    with pytest.raises(FileNotFoundError, match="cartpole/other-v0 not found"):
        cloning.evaluate("cartpole/other-v0", verbose=0)


@pytest.mark.parametrize("eagerly", [True, False])
@pytest.mark.parametrize("optimizer", [lambda: keras.optimizers.SGD(3e38), lambda: keras.optimizers.Adam(float("nan"))])
def test_weights_that_an_optimizer_breaks_are_not_kept(optimizer, eagerly):
    agent = built(krp.PPO)
    before = agent.network.get_weights()
    cloning = krp.imitation.BehaviorCloning(agent)
    cloning.compile(optimizer(), run_eagerly=eagerly)
    with pytest.raises(
        FloatingPointError, match=r"the optimizer made weights that are not finite.*'optimizer': '(sgd|adam)"
    ):
        cloning.fit(episodes([6, 9]), epochs=2, verbose=0)
    assert all(np.array_equal(x, y) for x, y in zip(before, agent.network.get_weights(), strict=True))


@pytest.mark.parametrize("how", ["cloning", "recorded"])
def test_statistics_that_would_not_be_finite_are_not_kept(how):
    pair = spaces.Box(-np.inf, np.inf, (3,), np.float32), SPACES[1]
    (episode,) = episodes([9])
    observations = np.array(episode.observations)
    observations[4, 1] = 1e25
    bad = [episode._replace(observations=observations)]
    if how == "cloning":
        agent = krp.PPO(normalize_observations=True)
        agent.build(pair)
        learn = lambda: cloning_of(agent).fit(bad, verbose=0)  # noqa: E731
    else:
        agent = krp.DQN(normalize_observations=True, replay=krp.ReplaySettings(batch_size=2, learning_starts=2))
        agent.compile(run_eagerly=True)
        agent.build(pair)
        env = krp.testing.ScriptedEnv(0, [(7, "terminated")])
        learn = lambda: agent.fit(env, collectors=krp.imitation.Recorded(bad), verbose=0)  # noqa: E731
        env.observation_space = pair[0]
    with pytest.raises(FloatingPointError, match=r"statistics of recorded observations would not be finite.*1e\+25"):
        learn()
    (layer,) = agent.observation_normalizers
    np.testing.assert_array_equal(layer.variance, np.ones(3))


def test_agents_are_evaluated_and_saved_while_they_clone(tmp_path):
    agent = krp.PPO(krp.networks.feed_forward("CartPole-v1", (4,)))
    agent.build("CartPole-v1")
    recorded = krp.envs.record_episodes("CartPole-v1", lambda observation: int(observation[2] > 0), episodes=2, seed=0)
    callbacks = [
        krp.callbacks.EvaluateReturn("CartPole-v1", episodes=2, name="played"),
        krp.callbacks.BestCheckpoint(tmp_path / "best.keras", monitor="played_return", mode="max"),
    ]
    history = cloning_of(agent).fit(recorded, epochs=2, callbacks=callbacks, verbose=0).history
    assert len(history["played_return"]) == 2
    loaded = keras.saving.load_model(tmp_path / "best.keras")
    assert isinstance(loaded, krp.PPO)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Backup", ("backup",)),
        ("EnvStepLimit", (100,)),
        ("EpisodeWindow", ()),
        ("PlotLearningCurve", ("curve.png",)),
        ("RecordVideo", ("CartPole-v1", "video.mp4")),
        ("RolloutHistograms", ("histograms",)),
        ("StopOnSignal", ()),
        ("WatchEpisode", ("CartPole-v1",)),
    ],
)
def test_callbacks_that_watch_an_agent_are_refused(name, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    agent = krp.PPO(krp.networks.feed_forward("CartPole-v1", (4,)))
    agent.build("CartPole-v1")
    before = agent.get_weights()
    recorded = krp.envs.record_episodes("CartPole-v1", lambda observation: 0, episodes=1, seed=0)
    callback = getattr(krp.callbacks, name)(*arguments)
    with pytest.raises(ValueError, match=rf"`{name}` must be among the `callbacks` of an agent.*`BehaviorCloning`"):
        cloning_of(agent).fit(recorded, callbacks=[callback], verbose=0)
    assert all(map(np.array_equal, agent.get_weights(), before))
    assert not list(tmp_path.iterdir())
