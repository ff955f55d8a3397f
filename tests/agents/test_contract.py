"""The interface of every agent: fit, evaluate, predict, save, load, exact resume, callbacks, eager mode, seeds, graph reuse.

The fixture `traced` has one agent of each class with traced graphs. Tests of the results of training reset it, which is
faster than creating another one; a test here checks that both give the same results.
"""

import json

import keras
import numpy as np
import pytest

import keras_rl_prob as krp

ENV, MASKED, CONTINUOUS, HIDDEN = "tf/CartPole-v1", "tf/CartPoleNoVel-v1", "tf/Pendulum-v1", "tf/PendulumNoVel-v1"
PPO = {"rollout_steps": 8, "minibatches": 2, "update_epochs": 2}
Q = {"rollout_steps": 4, "updates": 2, "batch_size": 16, "capacity": 400, "learning_starts": 40, "target_update": 3}
ACTOR_CRITIC = {
    "rollout_steps": 4,
    "updates": 2,
    "replay": krp.ReplaySettings(capacity=400, batch_size=16, learning_starts=40),
}
SEQUENCE_CRITIC = {
    "rollout_steps": 4,
    "updates": 2,
    "replay": krp.SequenceReplaySettings(
        capacity=400,
        batch_size=8,
        learning_starts=40,
        sequence_length=4,
        burn_in=2,
        period=2,
        n_step=2,
        prioritized=True,
    ),
}
NOISY = {"double": True, "dueling": True, "n_step": 3, "noisy": "factorized", "prioritized": True}
SEQUENCES = {"sequence_length": 4, "burn_in": 2, "period": 2, "n_step": 2, "noisy": "independent", "target_update": 0.1}


def rainbow_network():
    return krp.networks.q_network(ENV, (8,), dueling=True, noisy="factorized")


# name: (class, network, arguments, environment)
AGENTS = {
    "PPO": (krp.PPO, lambda: krp.networks.feed_forward(ENV, (8,)), PPO, ENV),
    "RecurrentPPO": (krp.RecurrentPPO, lambda: krp.networks.recurrent(MASKED, units=8, shared=True), PPO, MASKED),
    "A2C": (krp.A2C, lambda: krp.networks.feed_forward(ENV, (8,)), {"normalize_observations": True}, ENV),
    "A3C": (krp.A3C, lambda: krp.networks.feed_forward(ENV, (8,)), {"normalize_observations": True}, ENV),
    "IMPALA": (
        krp.IMPALA,
        lambda: krp.networks.feed_forward(ENV, (8,)),
        {"rollout_steps": 5, "lag": 2},
        ENV,
    ),
    "ACER": (
        krp.ACER,
        lambda: krp.networks.actor_critic(MASKED, (8,), cell="gru", critic="q"),
        {
            "rollout_steps": 5,
            "replay": krp.RolloutReplaySettings(400, ratio=2, learning_starts=40),
            "normalize_observations": True,
        },
        MASKED,
    ),
    "Reinforce": (
        krp.Reinforce,
        lambda: krp.networks.feed_forward(ENV, (8,), value=False),
        {"max_episode_steps": 20},
        ENV,
    ),
    "Reinforce with baseline": (
        krp.Reinforce,
        lambda: krp.networks.feed_forward(ENV, (8,)),
        {"max_episode_steps": 20, "baseline": True, "normalize_rewards": True},
        ENV,
    ),
    "DQN": (krp.DQN, lambda: krp.networks.q_network(ENV, (8,)), {**Q, "normalize_observations": True}, ENV),
    "DQN with everything": (krp.DQN, rainbow_network, {**Q, **NOISY, "poisson_updates": True}, ENV),
    "DQN without its replay": (
        krp.DQN,
        lambda: krp.networks.q_network(ENV, (8,)),
        {**Q, "checkpoint_replay": False},
        ENV,
    ),
    "QRDQN": (krp.QRDQN, lambda: krp.networks.q_network(ENV, (8,), quantiles=5), {**Q, "double": True}, ENV),
    "C51": (krp.C51, lambda: krp.networks.q_network(ENV, (8,), atoms=5, value_bounds=(0, 9)), ACTOR_CRITIC, ENV),
    "RecurrentDQN": (
        krp.RecurrentDQN,
        lambda: krp.networks.q_network(MASKED, (8, 8), cell="lstm", noisy="independent"),
        {**Q, **SEQUENCES},
        MASKED,
    ),
    "SAC": (
        krp.SAC,
        lambda: krp.networks.stochastic_actor(CONTINUOUS, (8,)),
        {**ACTOR_CRITIC, "normalize_observations": True},
        CONTINUOUS,
    ),
    "SAC, discrete": (krp.SAC, lambda: krp.networks.stochastic_actor(ENV, (8,)), ACTOR_CRITIC, ENV),
    "TD3": (krp.TD3, lambda: krp.networks.deterministic_actor(CONTINUOUS, (8,)), ACTOR_CRITIC, CONTINUOUS),
    "RecurrentSAC": (
        krp.RecurrentSAC,
        lambda: krp.networks.stochastic_actor(HIDDEN, (8,), "lstm"),
        SEQUENCE_CRITIC | {"normalize_observations": True},
        HIDDEN,
    ),
    "RecurrentTD3": (
        krp.RecurrentTD3,
        lambda: krp.networks.deterministic_actor(HIDDEN, (8,), cell="gru"),
        SEQUENCE_CRITIC,
        HIDDEN,
    ),
    "LinearQ": (
        krp.LinearQ,
        lambda: krp.networks.linear_q(ENV, samples=500),
        {"rollout_steps": 4, "exploration": krp.Boltzmann(0.5)},
        ENV,
    ),
    "RandomAgent": (krp.RandomAgent, None, {"rollout_steps": 8}, ENV),
}
# A3C is A2C, see test_gradients.py; discrete actions of SAC are in test_hybrid_trainings.py.
VARIANTS = {"A3C", "Reinforce with baseline", "DQN without its replay", "SAC, discrete"}


def of(*names):
    """Runs a test with the `traced` agents of these names, all tests of one agent after another."""
    return pytest.mark.parametrize("traced", names, indirect=True, scope="module")


each = of(*(pytest.param(name, marks=pytest.mark.long) if name in VARIANTS else name for name in AGENTS))


def some(*names):
    """Runs a test with agents that together cover every kind of training; with the others only in `make test-all`.

    `fit`, files and exact resume, in which the classes differ, are tested for each of them.
    """
    return of(*(name if name in names else pytest.param(name, marks=pytest.mark.long) for name in AGENTS))


def make(name, seed=1, **compiled):
    """A small compiled agent."""
    keras.utils.set_random_seed(seed)
    agent_class, network, arguments, _ = AGENTS[name]
    agent = agent_class(network() if network else None, **arguments)
    agent.compile(**{"jit_compile": False, **compiled})
    return agent


def fit(agent, name, callbacks=(), **arguments):
    """History of two epochs of four rollouts of four environments, without its speed."""
    updates = agent.updates_per_rollout(4)
    defaults = {"epochs": 2, "steps_per_epoch": 4 * updates, "num_envs": 4, "verbose": 0, "seed": 3}
    history = agent.fit(AGENTS[name][3], callbacks=[*callbacks], **{**defaults, **arguments}).history
    assert all(rate > 0 for rate in history.pop("env_steps_per_second"))
    return history


def observations(agent, batch):
    return np.random.default_rng(0).normal(size=(batch, *agent.observation_space.shape)).astype(np.float32)


def numbers(agent):
    """All variables of an agent and its optimizer, by path."""
    variables = agent.weights + agent.optimizer.variables
    return {f"{i} {variable.path}": variable.numpy() for i, variable in enumerate(variables)}


def assert_same(a, b):
    assert len(a) == len(b)
    for (path, x), y in zip(a.items(), b.values(), strict=True):
        assert np.array_equal(x, y), path


class Cut(keras.callbacks.Callback):
    """Stops training in the second epoch, as a crash would."""

    def on_train_batch_end(self, batch, logs=None):
        self.batches = getattr(self, "batches", 0) + 1
        if self.batches == 6:
            raise RuntimeError("power cut")


class Watch(keras.callbacks.Callback):
    """Counts the calls of its methods, and evaluates during training."""

    def __init__(self, env):
        super().__init__()
        self.steps, self.epochs, self.env = [], [], env

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(batch)
        assert {"return", "length", "env_steps"} <= set(logs)

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append((epoch, float(logs["env_steps"]), float(logs["val_return"])))
        self.model.evaluate(self.env, episodes=6, verbose=0)


class Traced:
    """An agent of one class, and the results of training it for two epochs.

    Attributes:
        agent, name, env: The agent, its name in `AGENTS`, its environment.
        history: History of that training run.
        result: `numbers` after it.
        traces: Number of functions traced in it.
    """

    def __init__(self, name, folder, traces):
        self.agent, self.name, self.env = make(name), name, AGENTS[name][3]
        self.agent.build(self.env)
        self._files = {moment: folder / f"{moment}.weights.h5" for moment in ("fresh", "trained")}
        self.agent.save_weights(self._files["fresh"])
        before = len(traces)
        self.history = fit(self.agent, name)
        self.result, self.traces = numbers(self.agent), len(traces) - before
        self.agent.save_weights(self._files["trained"])

    def at(self, moment):
        """Returns the agent with the state that it had at `moment`."""
        self.agent.load_weights(self._files[moment])
        return self.agent

    def scrambled(self):
        """The agent with other numbers in every variable."""
        random = np.random.default_rng(0)
        for variable in self.agent.weights + self.agent.optimizer.variables:
            variable.assign(random.integers(0, 2, variable.shape).astype(variable.dtype))
        return self.agent


@pytest.fixture(scope="module")
def traced(request, tmp_path_factory, traces):
    """The `Traced` of a name."""
    return Traced(request.param, tmp_path_factory.mktemp("files"), traces)


@each
def test_fit_evaluate_predict(traced, capsys):
    agent, history = traced.at("trained"), traced.history
    assert all(len(values) == 2 for values in history.values())
    assert history["env_steps"][1] > history["env_steps"][0] > 0
    assert history["return"][1] == history["length"][1] >= 8 or np.isnan(history["return"][1])
    assert all(np.isfinite(history[key]).all() for key in history if key not in ("return", "length"))
    env = traced.env
    results = [agent.evaluate(env, episodes=6, return_dict=True, verbose=0) for _ in range(2)]
    assert results[0] == results[1]
    stochastic = agent.evaluate(env, episodes=6, deterministic=False, verbose=0)
    if env in (CONTINUOUS, HIDDEN):
        assert results[0]["length"] == 200
        assert results[0]["return"] != stochastic[0]
    else:
        assert results[0]["return"] == results[0]["length"] >= 8
        assert stochastic[0] >= 8
    assert_same(numbers(agent), traced.result)
    actions = agent.predict(observations(agent, 32), verbose=0)
    assert actions.shape == (32, *agent.action_space.shape)
    assert all(action in agent.action_space for action in actions)
    policy = agent.policy()
    assert policy(observations(agent, 1)[0]) in agent.action_space
    agent.summary()
    assert "Total params" in capsys.readouterr().out


@each
def test_save_and_load(traced, tmp_path):
    agent = traced.at("trained")
    agent.save(tmp_path / "agent.keras")
    loaded = keras.saving.load_model(tmp_path / "agent.keras")
    assert type(loaded) is type(agent)
    assert json.dumps(loaded.get_config(), sort_keys=True) == json.dumps(agent.get_config(), sort_keys=True)
    assert_same(traced.result, numbers(loaded))
    x = observations(agent, 32)
    assert np.array_equal(agent.predict(x, verbose=0), loaded.predict(x, verbose=0))
    assert int(loaded.env_steps.numpy()) == int(agent.env_steps.numpy()) > 0


@each
def test_resume_is_exact(traced, tmp_path):
    if traced.name == "DQN without its replay":
        pytest.skip("an exact resume needs the replay buffer")
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
    with pytest.raises(RuntimeError, match="power cut"):
        fit(traced.at("fresh"), traced.name, [backup, Cut()])
    resumed = traced.scrambled()
    rest = fit(resumed, traced.name, [keras.callbacks.BackupAndRestore(tmp_path / "backup")])
    assert_same(traced.result, numbers(resumed))
    for key, values in rest.items():
        assert np.array_equal(values, traced.history[key][1:], equal_nan=True), key
    halves = traced.at("fresh")
    fit(halves, traced.name, epochs=1)
    fit(halves, traced.name, initial_epoch=1)
    assert_same(traced.result, numbers(halves))


class Stop(keras.callbacks.Callback):
    """Raises an error after this many rollouts."""

    def __init__(self, rollouts, error):
        super().__init__()
        self.left, self.error = rollouts, error

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise self.error


@some("PPO", "RecurrentDQN", "Reinforce", "LinearQ")
def test_an_interrupted_training_goes_on_from_its_last_whole_rollout(traced, tmp_path):
    """Three rollouts and an error of a callback, three more and Ctrl-C, then the last two of eight."""
    if traced.name == "DQN without its replay":
        pytest.skip("an exact resume needs the replay buffer")
    updates, begun, path = traced.agent.updates_per_rollout(4), {}, tmp_path / "interrupted.weights.h5"
    traced.at("fresh")
    for error in (RuntimeError("power cut"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            fit(traced.agent, traced.name, [Stop(3, error)], epochs=9, **begun)
        traced.agent.save_weights(path)
        traced.scrambled().load_weights(path)
        begun = {"initial_epoch": 1}
    fit(traced.agent, traced.name, epochs=2, initial_epoch=1, steps_per_epoch=2 * updates)
    assert_same(traced.result, numbers(traced.agent))


@of("DQN", "DQN without its replay")
def test_a_training_goes_on_with_its_replay_or_with_an_empty_one(traced):
    agent = traced.at("fresh")
    first = fit(agent, traced.name, epochs=1)["replay_size"][0]
    again = fit(agent, traced.name, epochs=2, initial_epoch=1)["replay_size"][0]
    assert again == first if "without" in traced.name else again > first + 60  # four rollouts of 16 more


@some("RecurrentPPO", "DQN", "Reinforce", "RandomAgent")
def test_callbacks_see_everything_and_change_nothing(traced, tmp_path):
    env = traced.env
    agent, watch = traced.at("fresh"), Watch(env)
    saved = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.keras", monitor="val_return", mode="max", save_best_only=True
    )
    stop = keras.callbacks.EarlyStopping("val_return", mode="max", patience=5)
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    histograms = krp.callbacks.RolloutHistograms(tmp_path / "tb")
    history = fit(agent, traced.name, [watch, saved, stop, log, histograms], validation_data=env, validation_episodes=6)
    assert len(watch.steps) == 8  # one call for each rollout
    assert [epoch for epoch, *_ in watch.epochs] == [0, 1]
    assert history["val_return"][0] >= (-2000 if env in (CONTINUOUS, HIDDEN) else 8)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3
    assert (tmp_path / "best.keras").exists()
    assert_same(numbers(agent), traced.result)


@some("PPO", "DQN with everything", "RandomAgent")  # memory step by step and in graphs: tests/layers/test_unrolled.py
def test_run_eagerly_gives_what_the_graph_gives(traced):
    agent = make(traced.name, run_eagerly=True)
    history, graph = fit(agent, traced.name, epochs=1), traced.history
    assert set(history) == set(graph)
    for key, values in history.items():
        np.testing.assert_allclose(values[0], graph[key][0], rtol=1e-3, atol=1e-5, err_msg=key)


@some("DQN with everything")  # PPO, with memory and in half precision: test_agent_surface.py
def test_compiled_with_xla_it_trains_too(traced):
    agent = make(traced.name, jit_compile=True)
    history = fit(agent, traced.name)
    assert all(np.isfinite(history[key]).all() for key in history if key not in ("return", "length"))
    assert set(history) == set(traced.history)


@some("A2C", "IMPALA", "ACER", "DQN", "RecurrentDQN", "Reinforce")
def test_seeds_decide_also_where_graphs_are_used_again(traced):
    agent = traced.at("fresh")
    other = fit(agent, traced.name, seed=4)  # leaves its own episodes, recurrent states and random keys behind
    history = fit(traced.at("fresh"), traced.name)
    assert_same(numbers(agent), traced.result)
    np.testing.assert_equal(history, traced.history)
    assert any(not np.array_equal(other[key], history[key], equal_nan=True) for key in history)


@some("RecurrentPPO", "DQN with everything", "Reinforce", "LinearQ")
def test_nothing_is_traced_twice(traced, traces):
    agent, env = traced.at("fresh"), traced.env
    assert traced.traces > 2, "traces are not counted"
    agent.evaluate(env, episodes=6, verbose=0)
    agent.evaluate(env, episodes=6, verbose=0, deterministic=False)
    traces.clear()
    fit(agent, traced.name, epochs=1)
    fit(agent, traced.name, epochs=2, initial_epoch=1)
    agent.evaluate(env, episodes=6, verbose=0, seed=7)
    agent.evaluate(env, episodes=6, verbose=0, deterministic=False)
    fit(agent, traced.name, validation_data=env, validation_episodes=6)
    assert traces == []
