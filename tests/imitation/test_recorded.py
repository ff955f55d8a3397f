"""`Recorded`: agents that learn from recorded episodes alone; the bytes of a replay buffer of continuous data."""

import gymnasium
import keras
import numpy as np
import pytest
from gymnasium import spaces

import keras_rl_prob as krp
from keras_rl_prob.trajectory import Episode

OBSERVATIONS, ACTIONS = spaces.Box(-9.0, 9.0, (2,), np.float32), spaces.Box(-1.0, 1.0, (1,), np.float32)


class Refuses(gymnasium.Env):
    """An environment that can be reset but not stepped, unless it `runs`."""

    observation_space, action_space, runs = OBSERVATIONS, ACTIONS, False

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        assert self.runs, "the environment was stepped"
        return np.zeros(2, np.float32), 0.0, False, False, {}


def recorded(count, rng=None):
    """Episodes of 10 steps, whose reward is minus the squared distance of the action from half the first observation."""
    rng, episodes = rng or np.random.default_rng(0), []
    for _ in range(count):
        observations = rng.uniform(-1.0, 1.0, (11, 2)).astype(np.float32) + [0.0, 5.0]
        actions = rng.uniform(-0.9, 0.9, (10, 1)).astype(np.float32)
        rewards = -((actions[:, 0] - 0.5 * observations[:-1, 0]) ** 2)
        ended = np.arange(10) == 9
        episodes.append(Episode(observations.astype(np.float32), actions, rewards, ended, np.zeros(10, bool)))
    return episodes


def made(kind=krp.SAC, **arguments):
    keras.utils.set_random_seed(1)
    pair = (OBSERVATIONS, ACTIONS)
    actor = krp.networks.stochastic_actor if kind is krp.SAC else krp.networks.deterministic_actor
    settings = {"updates": 4, "discount": 0.0, "replay": krp.ReplaySettings(capacity=2000, batch_size=64)}
    agent = kind(actor(pair, (16,)), krp.networks.critic(pair, (16,)), **settings | arguments)
    agent.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    return agent


@pytest.mark.parametrize("kind", [krp.SAC, krp.TD3])
def test_an_agent_learns_the_best_recorded_actions_without_acting(kind):
    agent = made(kind, **({"temperature": 0.01} if kind is krp.SAC else {}))
    history = agent.fit(
        Refuses, epochs=2, steps_per_epoch=200, num_envs=2, seed=0, verbose=0, collectors=krp.imitation.Recorded(recorded(60))
    ).history  # fmt: skip
    observations = np.random.default_rng(3).uniform(-1.0, 1.0, (50, 2)).astype(np.float32) + np.float32([0.0, 5.0])
    actions = agent.predict(observations, verbose=0)[:, 0]
    assert np.mean(np.abs(actions - 0.5 * observations[:, 0])) < 0.12
    assert history["env_steps"] == [0, 0]
    assert np.isnan(history["return"]).all()
    assert history["replay_size"] == [660.0, 660.0]


def test_only_the_recorded_rows_are_sampled_and_their_statistics_are_those_of_normalisation():
    agent, episodes = made(normalize_observations=True), recorded(8)
    agent.fit(
        Refuses, epochs=1, steps_per_epoch=4, num_envs=2, seed=0, verbose=0, collectors=krp.imitation.Recorded(episodes)
    )
    seen = np.concatenate([episode.observations for episode in episodes])
    (layer,) = agent.observation_normalizers
    np.testing.assert_allclose(layer.mean, seen.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.variance, seen.var(0), rtol=1e-3)


def test_what_does_not_fit_is_said_in_one_sentence():
    episodes = recorded(8)
    fit = {"num_envs": 2, "verbose": 0}
    with pytest.raises(
        ValueError, match=r"`env_steps` must be `None` with `collectors=Recorded\(...\)`, which makes none"
    ):
        made().fit(Refuses, env_steps=100, collectors=krp.imitation.Recorded(episodes), **fit)
    ppo = krp.PPO()
    ppo.compile()
    with pytest.raises(ValueError, match=r"needs an agent with a replay buffer.*Received: a PPO"):
        ppo.fit(Refuses, collectors=krp.imitation.Recorded(episodes), **fit)
    small = made(replay=krp.ReplaySettings(capacity=64, batch_size=8, learning_starts=8))
    with pytest.raises(ValueError, match=r"`capacity` must hold the recorded episodes, 88 rows\. Received: 64"):
        small.fit(Refuses, collectors=krp.imitation.Recorded(episodes), **fit)
    agent = made()
    agent.add_experience(episodes)
    with pytest.raises(ValueError, match=r"must have all episodes.*8 others from `add_experience`"):
        agent.fit(Refuses, collectors=krp.imitation.Recorded(episodes), **fit)


@pytest.mark.parametrize(
    ("env", "changed", "message"),
    [
        (
            "Acrobot-v1",
            {},
            r"^The observation in episode 0 must have the shape \(4,\)\. Received: \(6,\)\. Give the agent",
        ),
        (
            "CartPole-v1",
            {"actions": 2},
            r"^The action in episode 0 must be in Discrete\(2\), and finite\. Received.*: 2$",
        ),
        ("CartPole-v1", {"actions": 0.5}, r"^The action in episode 0 must have the dtype int64\. Received: float64"),
    ],
)
@pytest.mark.parametrize("how", ["add_experience", "Recorded"])
def test_recordings_of_other_spaces(env, changed, message, how):
    [episode] = krp.envs.record_episodes(env, episodes=1)
    episode = episode._replace(**{name: np.full(len(episode.rewards), x) for name, x in changed.items()})
    agent = krp.DQN(krp.networks.q_network("CartPole-v1", (4,)))
    agent.compile(run_eagerly=True, jit_compile=False)
    collectors = krp.imitation.Recorded([episode]) if how == "Recorded" else agent.add_experience([episode])
    with pytest.raises(ValueError, match=message) as info:
        agent.fit("CartPole-v1", num_envs=1, verbose=0, collectors=collectors)
    assert "\n" not in str(info.value)


def test_a_data_set_of_minari_gives_the_same_training_as_its_episodes(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    from minari.data_collector import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env, rng = gymnasium.make("Pendulum-v1", max_episode_steps=12), np.random.default_rng(0)
    recorded = krp.envs.record_episodes(
        env, lambda observation: rng.uniform(-2.0, 2.0, 1).astype(np.float32), episodes=2, seed=0
    )
    buffers = [EpisodeBuffer(id=i, **episode._asdict()) for i, episode in enumerate(recorded)]
    told = {"algorithm_name": "random", "author": "none", "description": "Random actions."}
    minari.create_dataset_from_buffers("pendulum/random-v0", buffers, env="Pendulum-v1", **told)

    def training(episodes):
        keras.utils.set_random_seed(1)
        actor, critic = krp.networks.stochastic_actor, krp.networks.critic
        replay = krp.ReplaySettings(capacity=64, batch_size=8, learning_starts=8)
        agent = krp.SAC(actor(env, (4,)), critic(env, (4,)), updates=2, replay=replay, normalize_observations=True)
        agent.compile(run_eagerly=True)
        options = {"steps_per_epoch": 2, "num_envs": 2, "seed": 0, "verbose": 0}
        history = agent.fit("tf/Pendulum-v1", collectors=krp.imitation.Recorded(episodes), **options).history
        return agent, history

    by_name, history = training("pendulum/random-v0")
    by_hand, _ = training(recorded)
    assert history["replay_size"] == [26.0]  # two episodes of 12 steps and a final observation each
    (layer,) = by_name.observation_normalizers
    seen = np.concatenate([episode.observations for episode in recorded])
    np.testing.assert_allclose(layer.mean, seen.mean(0), atol=1e-5)
    assert all(np.array_equal(x, y) for x, y in zip(by_name.get_weights(), by_hand.get_weights(), strict=True))


@pytest.mark.parametrize("kind", [krp.SAC, krp.TD3])
def test_a_million_transitions_of_half_cheetah_are_below_130_megabytes(kind, monkeypatch):
    """17 numbers of an observation, 6 of an action and the reward in float32, 4 flags: 100 bytes, no next observation."""
    seen, make_ring = [], krp.agents.Agent.make_ring

    def record(agent, specs, capacity):
        seen.append((specs, capacity))
        return make_ring(agent, specs, 100)

    class Cheetah(Refuses):
        observation_space, action_space = spaces.Box(-np.inf, np.inf, (17,), np.float64), spaces.Box(-1.0, 1.0, (6,))

        def reset(self, *, seed=None, options=None):
            return np.zeros(17), {}

        def step(self, action):
            return np.zeros(17), 0.0, False, False, {}

    monkeypatch.setattr(krp.agents.Agent, "make_ring", record)
    agent = kind(
        critic=krp.networks.critic(Cheetah(), (4,)),
        replay=krp.ReplaySettings(capacity=1_000_000, learning_starts=8),
        updates=1,
    )
    agent.compile(run_eagerly=True)
    agent.fit(Cheetah, steps_per_epoch=1, num_envs=8, verbose=0)
    ((specs, rows),) = seen
    total = rows * sum(int(np.prod(spec.shape)) * spec.dtype.size for spec in keras.tree.flatten(specs))
    assert (rows, total) == (125_000, 100_000_000)
