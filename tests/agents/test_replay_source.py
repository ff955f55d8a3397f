"""Replayed transitions are those that were collected: scripted episodes whose observations identify episode and step."""

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import keras_rl_prob as krp
from keras_rl_prob.learning import failures
from keras_rl_prob.testing import ScriptedEnv

GAMMA = 0.9
SCRIPT = [(4, "terminated"), (2, "truncated"), (1, "terminated"), (7, "truncated"), (1, "truncated"), (3, "terminated")]


def scripted(num_envs=3, mode=AutoresetMode.NEXT_STEP, script=SCRIPT):
    """Environments that follow the script, each from a different position."""
    makers = [lambda i=i: ScriptedEnv(i, script[i:] + script[:i]) for i in range(num_envs)]
    return SyncVectorEnv(makers, autoreset_mode=mode)


def source_of(env, agent_class=krp.DQN, network=None, **arguments):
    """A source of updates with four batches of 16 for every rollout of 4 rows."""
    network = network or krp.networks.q_network(env, units=(4,))
    defaults = {"rollout_steps": 4, "updates": 4, "batch_size": 16, "capacity": 90, "learning_starts": 1}
    agent = agent_class(network, **{**defaults, "discount": GAMMA, **arguments})
    agent.compile()
    made = krp.envs.make(env)
    agent._prepare_for(made, agent.updates)
    return agent, agent.make_source(made, 0)


def batches(source, rollouts):
    """Arrays of all updates on this many rollouts, concatenated."""
    iterator = iter(source.dataset())
    for _ in range(rollouts):
        element = next(iterator)
        for index in range(int(element.updates)):
            yield tf.nest.map_structure(lambda x: x.numpy(), element.update(tf.constant(index)))


def episode_of(observation):
    """`(length, end)` of the episode in which an observation `(index, episode, step)` was made."""
    index, episode, _ = observation.astype(int)
    return SCRIPT[(index + episode) % len(SCRIPT)]


def expected(observation, n):
    """Return, discount and observation `n` steps later, from the definition."""
    index, episode, step = observation.astype(int)
    length, end = episode_of(observation)
    total, factor = 0.0, 1.0
    for _ in range(n):
        step += 1
        total += factor * (10.0 * episode + step)
        factor *= GAMMA
        if step == length:
            factor *= end == "truncated"
            break
    return total, factor, (index, episode, step)


WITHIN = (AutoresetMode.SAME_STEP, AutoresetMode.DISABLED)


@pytest.mark.parametrize(
    ("mode", "n_step", "prioritized"),
    [
        (AutoresetMode.NEXT_STEP, 1, False),
        (AutoresetMode.NEXT_STEP, 3, True),
        (AutoresetMode.SAME_STEP, 3, False),
        (AutoresetMode.SAME_STEP, 4, True),
        (AutoresetMode.DISABLED, 5, True),
        *(
            pytest.param(mode, n, prioritized, marks=pytest.mark.long)
            for mode, n, prioritized in (
                (AutoresetMode.NEXT_STEP, 1, True),
                (AutoresetMode.NEXT_STEP, 3, False),
                (AutoresetMode.NEXT_STEP, 5, False),
                (AutoresetMode.NEXT_STEP, 5, True),
                (AutoresetMode.SAME_STEP, 1, False),
                (AutoresetMode.SAME_STEP, 2, True),
                (AutoresetMode.SAME_STEP, 5, False),
                (AutoresetMode.DISABLED, 2, False),
            )
        ),
    ],
)
def test_transitions_are_what_was_played_also_when_the_ring_wraps_around(mode, n_step, prioritized):
    _, source = source_of(scripted(mode=mode), n_step=n_step, prioritized=prioritized, capacity=60)
    used, left_out, seen = 0, 0, set()
    for batch in batches(source, 14):  # 56 rows added to a ring of 20
        for i, weight in enumerate(batch.weight):
            observation = batch.observation[i]
            if weight == 0.0:
                left_out += 1
                assert observation[2] == episode_of(observation)[0]  # a final observation, whose action was ignored
                continue
            total, discount, following = expected(observation, n_step)
            assert batch.reward[i] == pytest.approx(total, rel=1e-6)
            assert batch.discount[i] == pytest.approx(discount, rel=1e-6)
            if discount:
                assert tuple(batch.next_observation[i]) == following
            used += 1
            seen.add(tuple(observation))
    assert used > 500
    assert (left_out == 0) if prioritized or mode in WITHIN else (left_out > 50)
    assert {observation[0] for observation in seen} == {0.0, 1.0, 2.0}
    assert len(seen) > 60
    steps = {(*episode_of(np.array(observation)), observation[2]) for observation in seen}
    assert steps == {(length, end, step) for length, end in SCRIPT for step in range(length)}, "some are never drawn"


def test_old_rows_are_forgotten_and_new_ones_are_there():
    _, source = source_of(scripted(), capacity=60)
    *_, last = batches(source, 30)
    episodes = last.observation[:, 1]
    assert episodes.min() > 20  # of about 27 per environment; the ring has 20 rows
    assert episodes.max() >= 26


@pytest.mark.parametrize(
    ("mode", "prioritized"),
    [
        (AutoresetMode.NEXT_STEP, False),
        (AutoresetMode.SAME_STEP, True),
        pytest.param(AutoresetMode.NEXT_STEP, True, marks=pytest.mark.long),
        pytest.param(AutoresetMode.SAME_STEP, False, marks=pytest.mark.long),
    ],
)
def test_a_seam_between_two_trainings_is_no_transition(mode, prioritized):
    """With priorities it is never sampled, otherwise it has weight 0."""
    agent, source = source_of(scripted(mode=mode), n_step=2, capacity=300, prioritized=prioritized)
    iterator = iter(source.dataset())
    for _ in range(3):
        next(iterator)
    other = agent.make_source(krp.envs.make(scripted(mode=mode)), 1)  # with new episodes, as after a resume
    for part in ("ring", "priorities") if prioritized else ("ring",):
        for mine, theirs in zip(getattr(other, part).variables, getattr(source, part).variables, strict=True):
            mine.assign(theirs)
    crossing = 0
    for batch in batches(other, 4):
        for i, weight in enumerate(batch.weight):
            total, discount, following = expected(batch.observation[i], 2)
            if weight:
                assert batch.reward[i] == pytest.approx(total, rel=1e-6)
                assert not discount or tuple(batch.next_observation[i]) == following
            else:
                crossing += batch.observation[i][2] < episode_of(batch.observation[i])[0]
    assert crossing == 0 if prioritized else crossing > 0


def test_learning_starts_when_there_is_enough():
    agent, source = source_of(scripted(), learning_starts=50, capacity=300)
    first = next(iter(source.dataset()))
    assert float(first.report["replay_size"]) == 60.0  # five rollouts of 4 rows x 3 environments
    assert int(agent.env_steps.numpy()) < 60  # final observations are not steps
    assert float(first.report["episodes"]) > 0
    assert source.rollouts == 1


def test_rewards_are_clipped_before_they_are_added_up():
    _, source = source_of(scripted(), n_step=3, reward_clip=1.0)
    for batch in batches(source, 2):
        for i in np.flatnonzero(batch.weight):
            length, _ = episode_of(batch.observation[i])
            steps = min(3, length - int(batch.observation[i][2]))
            assert batch.reward[i] == pytest.approx(sum(GAMMA**k for k in range(steps)))


def test_the_online_update_is_the_newest_transitions():
    _, source = source_of(scripted(), online_updates=True, capacity=300, batch_size=6)
    iterator = iter(source.dataset())
    for _ in range(4):
        element = next(iterator)
    newest = element.update(tf.constant(0)).observation.numpy()
    ages = source.ring.size - 2 - tf.constant([0, 0, 0, 1, 1, 1])
    stored = source.ring.read("observation", source.ring.place(ages), tf.constant([0, 1, 2, 0, 1, 2]))
    np.testing.assert_array_equal(newest, stored)
    assert not np.array_equal(element.update(tf.constant(1)).observation.numpy(), newest)


def test_the_number_of_updates_is_poisson_if_so_wished():
    _, source = source_of(scripted(), poisson_updates=True)
    iterator = iter(source.dataset())
    counts = np.array([int(next(iterator).updates) for _ in range(300)])
    assert counts.mean() == pytest.approx(4.0, abs=0.5)
    assert counts.var() == pytest.approx(4.0, abs=1.2)
    fixed = iter(source_of(scripted())[1].dataset())
    assert [int(next(fixed).updates) for _ in range(3)] == [4, 4, 4]


def test_same_seed_same_batches():
    def drawn():
        return [batch.observation for batch in batches(source_of(scripted(), prioritized=True)[1], 5)]

    for one, other in zip(drawn(), drawn(), strict=True):
        np.testing.assert_array_equal(one, other)


# ---- priorities in the loop -------------------------------------------------------------------------------------


def test_errors_become_priorities_with_the_next_rollout():
    numbers = krp.PrioritizedReplay(alpha=0.5, beta=0.7, epsilon=0.01)
    agent, source = source_of(scripted(), prioritized=numbers, capacity=300)
    iterator = iter(source.dataset())
    next(iterator)
    items = source._pending.numpy().ravel()
    errors = np.random.default_rng(0).exponential(size=agent.td_errors.shape).astype(np.float32)
    agent.td_errors.assign(errors)
    before = source.priorities.tree.priority(tf.constant(items)).numpy()
    assert (before == 1.0).all()  # new items
    element = next(iterator)
    wanted = {}
    for item, error in zip(items, errors.ravel(), strict=True):
        wanted[item] = max(wanted.get(item, 0.0), (error + 0.01) ** 0.5)
    after = source.priorities.tree.priority(tf.constant(list(wanted))).numpy()
    np.testing.assert_allclose(after, list(wanted.values()), rtol=1e-5)
    source.priorities.tree.check_valid()
    drawn = tf.constant(source._pending)
    priority = source.priorities.tree.priority(drawn).numpy()
    weights = np.stack([element.update(tf.constant(i)).weight for i in range(4)])
    np.testing.assert_allclose(weights, (priority / priority.min(1, keepdims=True)) ** -0.7, rtol=1e-5)


@pytest.mark.parametrize("online", [pytest.param(False, marks=pytest.mark.long), True])
def test_only_complete_windows_have_a_priority(online):
    agent, source = source_of(scripted(), prioritized=True, n_step=3, capacity=60, online_updates=online)
    iterator = iter(source.dataset())
    for _ in range(12):
        next(iterator)
        agent.td_errors.assign(tf.ones(agent.td_errors.shape))
        size, ring = int(source.ring.size), source.ring
        ages = tf.range(size)
        for env in range(3):
            places = ring.place(ages)
            priority = source.priorities.tree.priority(places * 3 + env).numpy()
            valid = ring.read("valid", places, tf.fill((size,), env)).numpy()
            np.testing.assert_array_equal(priority > 0, valid & (np.arange(size) < size - 3))


# ---- frames -----------------------------------------------------------------------------------------------------


class Film(gymnasium.Env):
    """An image of one pixel with the value `20 * episode + step`; twelve episodes of 3 to 6 steps, repeated."""

    observation_space = gymnasium.spaces.Box(0, 255, (1, 1, 1), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)
    episode = -1

    def reset(self, *, seed=None, options=None):
        self.episode, self.count = self.episode + 1, 0
        return self._frame(), {}

    def step(self, action):
        self.count += 1
        over, odd = self.count == 3 + self.episode % 4, self.episode % 2 == 1
        return self._frame(), 1.0, over and not odd, over and odd, {}

    def _frame(self):
        return np.full((1, 1, 1), 20 * (self.episode % 12) + self.count, np.uint8)


@pytest.mark.parametrize(
    ("mode", "prioritized", "padding"),
    [
        (AutoresetMode.NEXT_STEP, False, "zero"),
        pytest.param(AutoresetMode.NEXT_STEP, True, "reset", marks=pytest.mark.long),
        (AutoresetMode.SAME_STEP, True, "reset"),
        pytest.param(AutoresetMode.SAME_STEP, False, "zero", marks=pytest.mark.long),
    ],
)
def test_stacks_of_frames_are_put_together_again(mode, prioritized, padding):
    def make():
        return gymnasium.wrappers.FrameStackObservation(Film(), 4, padding_type=padding)

    env = SyncVectorEnv([make, make], autoreset_mode=mode)
    network = krp.networks.q_network(
        (gymnasium.spaces.Box(0, 255, (4, 1, 1, 1), np.uint8), gymnasium.spaces.Discrete(2)), units=(4,)
    )
    _, source = source_of(env, network=network, frame_axis=0, capacity=80, prioritized=prioritized, n_step=2)
    images = [variable for variable in source.ring.variables if variable.dtype == tf.uint8]
    assert [image.shape for image in images] == [(40, 2, 1, 1, 1)] * (1 + (mode in WITHIN))  # each frame once
    checked, ends = 0, 0
    for batch in batches(source, 15):  # 60 rows added to a ring of 40
        for i in np.flatnonzero(batch.weight):
            for stack in (batch.observation[i], batch.next_observation[i]):
                frames = stack.ravel().astype(int)
                step = frames[-1] % 20
                start = frames[-1] - step
                expected = [start + max(step - back, 0) for back in (3, 2, 1, 0)]
                if padding == "zero":
                    expected = [0 if back > step else frame for back, frame in zip((3, 2, 1, 0), expected, strict=True)]
                np.testing.assert_array_equal(frames, expected)
                checked += 1
                ends += step == 3 + start // 20 % 4
    assert checked > 500
    assert ends > 50


@pytest.mark.parametrize("make", [krp.DQN, krp.ACER])
def test_other_frames_before_the_first_are_refused(make):
    space = gymnasium.spaces.Box(0, 255, (1, 1, 1), np.uint8)
    before = np.full(space.shape, 7, np.uint8)

    def stacked():
        return gymnasium.wrappers.FrameStackObservation(Film(), 2, padding_type=before)

    settings = {"capacity": 64, "learning_starts": 0, "frame_axis": 0}
    replay = krp.RolloutReplaySettings(**settings) if make is krp.ACER else krp.ReplaySettings(**settings, batch_size=8)
    agent = make(rollout_steps=4, replay=replay)
    agent.compile(run_eagerly=True)
    with pytest.raises(ValueError, match="has neither its first frame in all of the stack, nor zeros before it"):
        agent.fit(stacked, epochs=1, num_envs=1, verbose=0)
    if make is krp.DQN:
        episodes = krp.envs.record_episodes(stacked(), lambda observation: 0, episodes=9)
        agent.add_experience(episodes)
        with pytest.raises(ValueError, match="`episodes` do not fit `frame_axis`: the first observation of an episode"):
            agent.fit(stacked, epochs=1, num_envs=1, verbose=0)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("prioritized", [False, True])
def test_nothing_is_drawn_of_a_rollout_with_a_failure(mode, prioritized):
    agent, source = source_of(scripted(mode=mode), n_step=2, prioritized=prioritized)
    spoiled, collect = tf.Variable(False), source.driver.collect

    def spoiling():
        rollout = collect()
        return rollout._replace(reward=tf.where(spoiled, np.nan, rollout.reward))

    source.driver.collect = spoiling
    rollouts = iter(source.dataset())
    next(rollouts)
    spoiled.assign(True)
    assert float(next(rollouts).report["failure"]) == failures.REWARD
    spoiled.assign(False)
    drawn = 0
    for _ in range(8):
        for index in range(agent.updates):
            batch = tf.nest.map_structure(lambda x: x.numpy(), next(rollouts).update(tf.constant(index)))
            assert np.isfinite(batch.reward).all()
            for i in np.flatnonzero(batch.weight):
                reward, discount, after = expected(batch.observation[i], 2)
                np.testing.assert_allclose([batch.reward[i], batch.discount[i]], [reward, discount], rtol=1e-6)
                assert not discount or tuple(batch.next_observation[i]) == after
                drawn += 1
    assert drawn > 100


# ---- recorded episodes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_recorded_episodes_are_there_before_the_first_rollout(mode):
    env = ScriptedEnv(0, SCRIPT)
    episodes = krp.envs.record_episodes(env, lambda observation: int(observation[2] % 2), episodes=6)
    assert [len(episode.rewards) for episode in episodes] == [4, 2, 1, 7, 1, 3]
    network = krp.networks.q_network(scripted(), units=(4,))
    agent = krp.DQN(network, rollout_steps=4, batch_size=16, capacity=90, learning_starts=1, discount=GAMMA, n_step=2)
    agent.compile()
    made = krp.envs.make(scripted(1, mode))
    agent._prepare_for(made, agent.updates)
    agent.add_experience(episodes)
    agent.add_experience([episode._asdict() for episode in episodes])
    source = agent.make_source(made, 0)
    assert int(source.ring.size) == 2 * (18 + 6)
    used = 0
    for batch in batches(source, 1):
        for i in np.flatnonzero(batch.weight):
            total, discount, following = expected(batch.observation[i], 2)
            assert batch.reward[i] == pytest.approx(total, rel=1e-6)
            assert batch.discount[i] == pytest.approx(discount, rel=1e-6)
            assert not discount or tuple(batch.next_observation[i]) == following
            used += 1
    assert used > 30


def test_recorded_episodes_that_do_not_fit_are_refused():
    _, source = source_of(scripted())
    with pytest.raises(ValueError, match="at least one episode"):
        source.load([])
    (episode,) = krp.envs.record_episodes(ScriptedEnv(0, [(9, "terminated")]))
    with pytest.raises(ValueError, match=r"one observation more\. Received: episode 0 with 8 rewards"):
        source.load([episode._replace(rewards=episode.rewards[1:])])
    (short,) = krp.envs.record_episodes(ScriptedEnv(0, [(1, "terminated")]))
    with pytest.raises(ValueError, match="at least 3 steps for 3 environments"):
        source.load([short])
    (other,) = krp.envs.record_episodes("Acrobot-v1", lambda observation: 2, max_steps=500, seed=1)
    with pytest.raises(
        ValueError,
        match=r"must have the shape \(3,\). Received: \(6,\). Give the agent recordings of its own environment",
    ):
        source.load([other])
    with pytest.raises(ValueError, match=r"The action .*must be in Discrete.*Received .*: [78]"):
        source.load([episode._replace(actions=episode.actions + 7)])


# ---- sequences --------------------------------------------------------------------------------------------------


def memory_network(env):
    return krp.networks.q_network(env, units=(4, 3), cell="lstm")


@pytest.mark.parametrize(  # how an environment that does not reset itself is stored: the transitions above
    "mode",
    [pytest.param(mode, marks=pytest.mark.long if mode is AutoresetMode.DISABLED else ()) for mode in AutoresetMode],
)
def test_sequences_are_rows_as_they_were_played_with_the_state_before_them(mode):
    env = scripted(mode=mode)
    agent, source = source_of(
        env, krp.RecurrentDQN, memory_network(env), sequence_length=5, burn_in=3, period=4, n_step=2, capacity=120,
        batch_size=8,
    )  # fmt: skip
    count = 0
    for batch in batches(source, 3):
        assert batch.observation.shape == (10, 8, 3)
        for i in range(8):
            rows = batch.observation[:, i].astype(int)
            for t in range(9):
                length, end = episode_of(rows[t].astype(np.float32))
                over = rows[t][2] == length
                assert batch.valid[t, i] == (not over)
                if mode in WITHIN and end == "terminated":  # what follows does not matter
                    assert not over
                    begins = rows[t][2] + 1 == length
                else:
                    begins = over
                following = (rows[t][0], rows[t][1] + 1, 0) if begins else (rows[t][0], rows[t][1], rows[t][2] + 1)
                assert tuple(rows[t + 1]) == following
                assert batch.is_first[t + 1, i] == begins
                if not over:
                    assert batch.reward[t, i] == 10 * rows[t][1] + rows[t][2] + 1
                    assert batch.ended[t, i] == (rows[t][2] + 1 == length)
                    assert batch.terminated[t, i] == (batch.ended[t, i] and end == "terminated")
            count += 1
            # the state that the network has after playing this episode up to the sequence's first row
            steps = int(rows[0][2])
            played = np.stack([[rows[0][0], rows[0][1], s] for s in range(steps)]).astype(np.float32) if steps else None
            got = [x[i] for x in tf.nest.flatten(batch.state)]
            if steps:
                is_first = tf.constant([[s == 0] for s in range(steps)])
                _, state = agent._unrolled(tf.constant(played[:, None]), is_first, agent.initial_state(1))
                for x, y in zip(got, tf.nest.flatten(state), strict=True):
                    np.testing.assert_allclose(x, y[0], atol=1e-6)
    assert count == 3 * 4 * 8


def test_sequences_start_at_every_period():
    env = scripted()
    _, source = source_of(
        env, krp.RecurrentDQN, memory_network(env), sequence_length=4, burn_in=0, period=2, n_step=1, capacity=120
    )
    iterator = iter(source.dataset())
    for _ in range(14):
        next(iterator)
        priority = source.priorities.tree.priority(tf.range(20 * 3)).numpy().reshape(20, 3)
        size = int(source.ring.size)
        starts = (size - 5) // 2 + 1  # whole windows of 5 rows
        assert ((priority > 0).sum(0) == starts).all()
        source.priorities.tree.check_valid()
