"""ACER: an update recomputed from its definition in NumPy, what is replayed, and what it refuses."""

import itertools

import gymnasium
import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from environments import SpoiledCartPole
from gymnasium import spaces

import keras_rl_prob as krp
from keras_rl_prob.sources.past_rollouts import PastRollouts
from keras_rl_prob.testing import ScriptedEnv

NATIVE, GAMMA, LAMBDA, CLIP, DELTA, DECAY, VALUE, ENTROPY = "tf/CartPole-v1", 0.9, 0.8, 1.2, 0.05, 0.7, 0.6, 0.1
NUMBERS = {
    "discount": GAMMA, "retrace_lambda": LAMBDA, "clip_rho": CLIP, "trust_region": DELTA, "average_decay": DECAY,
    "value_coef": VALUE, "entropy_coef": ENTROPY, "normalize_rewards": False,
}  # fmt: skip
SCRIPTS = [[(3, "terminated"), (4, "truncated")], [(5, "truncated"), (2, "terminated")]]
TRUNCATED = [[(3, "truncated"), (4, "truncated")], [(5, "truncated"), (2, "truncated")]]
EACH_CELL = pytest.mark.parametrize("cell", [None, "gru"])


def scripted(mode="NextStep", scripts=SCRIPTS):
    makers = [lambda i=i, s=s: ScriptedEnv(i, s) for i, s in enumerate(scripts)]
    return krp.envs.make(gymnasium.vector.SyncVectorEnv(makers, autoreset_mode=mode))


def begin(env, cell=None, ratio=2, capacity=200, rollout_steps=7, bots=None, **arguments):
    """An agent with large weights that is ready to learn in `env`, its source and an iterator of what that deals out."""
    network = krp.networks.actor_critic(env, (8,), cell=cell, critic="q")
    replay = krp.RolloutReplaySettings(capacity, ratio, learning_starts=0)
    agent = krp.ACER(network, rollout_steps=rollout_steps, replay=replay, **{**NUMBERS, **arguments})
    agent.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
    agent.build(env)
    randomize(agent.network, 0)
    agent.begin_training()
    agent._prepare_for(env, agent.updates_per_rollout(env.num_envs))
    source = bots.make_source(agent, env, 0) if bots else agent.make_source(env, 0)
    return agent, source, iter(source.dataset())


def randomize(network, seed):
    for index, weight in enumerate(network.weights):
        weight.assign(tf.random.stateless_normal(weight.shape, (index, seed)) * 0.3)


# ---- the definition -----------------------------------------------------------------------------------------------


def softmax(logits):
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)


def definition(data, logits, behaviour, average, q, delta=DELTA, clip=CLIP):
    """What an update comes to, from its equations, in float64 and row by row.

    `data` is a dict of arrays `[T + 1, N]`, `action` being numbers of joint actions; the logits of the three policies and `q`
    are `[T + 1, N, A]`. Returns a dict of the losses, of their gradients with respect to `logits` and `q`, `[T, N, A]`, and of
    what tells which branches were reached.
    """
    pi, mu, center = (softmax(np.asarray(x, float)) for x in (logits, behaviour, average))
    q = np.asarray(q, float)
    steps = len(q) - 1
    value = (pi * q).sum(-1)
    taken = np.take_along_axis
    action = data["action"][..., None]
    q_taken = taken(q, action, -1)[..., 0]
    ratio = (taken(pi, action, -1) / taken(mu, action, -1))[..., 0]
    target = oracles.retrace(
        data["reward"][:steps],
        GAMMA * data["discount"][:steps],
        q_taken[:steps],
        value[1:],
        1.0 - data["ended"][:steps],
        LAMBDA * np.minimum(1.0, ratio[:steps]),
    )
    scalars = ("value_loss", "entropy", "kl", "importance_weight", "bound", "correction", "weight")
    result = {name: np.zeros((steps, q.shape[1])) for name in scalars}
    result |= {name: np.zeros((steps, *q.shape[1:])) for name in ("z", "logits", "q")}
    valid = data["valid"][:steps].astype(bool)
    for t, b in np.argwhere(valid):
        p, m, c, a = pi[t, b], mu[t, b], center[t, b], data["action"][t, b]
        rho = np.divide(p, m, out=np.where(p > 0, np.inf, 0.0), where=m > 0)
        log_gradient = np.eye(len(p)) - p  # [b, logits]: d log pi(b) / d logits
        g = min(clip, rho[a]) * (target[t, b] - value[t, b]) * log_gradient[a]
        correction = np.zeros_like(g)
        for other in np.flatnonzero(p > 0):
            weight = max(0.0, 1.0 - clip / rho[other])
            correction += p[other] * weight * (q[t, b, other] - value[t, b]) * log_gradient[other]
        z = g + correction
        if delta is not None:
            k = p - c
            z = z - max(0.0, (k @ z - delta) / (k @ k)) * k if k @ k > 0 else z
            result["bound"][t, b] = (k @ (g + correction)) > delta
        result["correction"][t, b], result["weight"][t, b] = np.abs(correction).max(), rho[a]
        log_p, log_c = (np.log(np.where(x > 0, x, 1.0)) for x in (p, c))
        entropy = -(p * log_p).sum()
        result["z"][t, b], result["entropy"][t, b], result["importance_weight"][t, b] = z, entropy, rho[a]
        result["kl"][t, b] = (c * (log_c - log_p)).sum()
        result["value_loss"][t, b] = 0.5 * (q_taken[t, b] - target[t, b]) ** 2
        result["logits"][t, b] = (-z + ENTROPY * p * (log_p + entropy)) / valid.sum()
        result["q"][t, b, a] = VALUE * (q_taken[t, b] - target[t, b]) / valid.sum()
    means = {name: result[name][valid].mean() for name in ("value_loss", "entropy", "kl", "importance_weight")}
    return {**result, **means, "target": target}


def assert_is(logs, expected, names=("value_loss", "entropy", "kl", "importance_weight"), rtol=2e-4):
    for name in names:
        np.testing.assert_allclose(float(logs[name]), expected[name], rtol=rtol, atol=1e-6, err_msg=name)


# ---- one update, row by row ---------------------------------------------------------------------------------------

SPACES = {
    "discrete": spaces.Discrete(4, start=2),
    "multi-discrete": spaces.MultiDiscrete([3, 2]),
    "of rank 2": spaces.MultiDiscrete([[2, 1], [3, 2]]),
}


def joint(space, parameters):
    """Logits of all combinations, by name: the sums of their parts."""
    classes = [space.n] if isinstance(space, spaces.Discrete) else space.nvec.ravel().tolist()
    parts = np.asarray(parameters, float)
    parts = parts.reshape(*parts.shape[:2], len(classes), -1)
    every = list(itertools.product(*map(range, classes)))
    return np.stack([sum(parts[:, :, i, x] for i, x in enumerate(action)) for action in every], -1), every


def invented(space, seed, masked, steps=6, batch=5):
    """Rollouts that nobody played, and the parameters of three policies and values for them."""
    rng = np.random.default_rng(seed)
    shape = steps + 1, batch
    head = (space.n,) if isinstance(space, spaces.Discrete) else (*space.shape, int(space.nvec.max()))
    policies = [rng.normal(size=(*shape, *head)).astype(np.float32) * 1.5 for _ in range(3)]
    if masked:
        forbidden = rng.random((*shape, *head)) < 0.3
        forbidden[..., 0] = False
        policies = [np.where(forbidden, np.float32(-1e9), x) for x in policies]
    if isinstance(space, spaces.MultiDiscrete):
        exists = np.arange(head[-1]) < space.nvec[..., None]
        policies = [np.where(exists, x, np.float32(-2e9)) for x in policies]
    mu = softmax(joint(space, policies[1])[0])
    every = joint(space, policies[1])[1]
    number = np.array([rng.choice(len(every), p=p) for p in mu.reshape(-1, len(every))]).reshape(shape)
    raw = np.array(every)[number].reshape(*shape, *(space.shape or ()))
    ended = rng.random(shape) < 0.3
    data = {
        "reward": rng.normal(size=shape).astype(np.float32),
        "discount": np.where(ended & (rng.random(shape) < 0.5), 0.0, 1.0).astype(np.float32),
        "ended": ended,
        "valid": np.concatenate([np.ones((1, batch), bool), ~ended[:-1]]) | (rng.random(shape) < 0.3),
        "is_first": np.concatenate([np.ones((1, batch), bool), ended[:-1]]),
    }
    q = rng.normal(size=(*shape, len(every))).astype(np.float32)
    return data, number, raw.astype(np.int32), policies, q


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("space", SPACES)
def test_the_gradient_of_each_row_is_its_definition(space, masked):
    space = SPACES[space]
    observation_space = spaces.Box(-1.0, 1.0, (2,))
    agent = krp.ACER(**NUMBERS)
    agent.compile(run_eagerly=True)
    agent.build((observation_space, space))
    data, number, raw, (now, then, average), q = invented(space, 3, masked)
    batch = PastRollouts(
        observation=tf.zeros((*number.shape, 2)), raw=tf.constant(raw), parameters=tf.constant(then), state=(),
        index=0, report={},
        **{name: tf.constant(x) for name, x in data.items()},
    )  # fmt: skip
    logits, values = tf.Variable(now), tf.Variable(q)
    agent._unrolled = lambda *_, training: ({"action": logits.value(), "q": values.value()}, ())
    agent._average_unrolled = lambda *_: ({"action": tf.constant(average)}, ())
    with tf.GradientTape() as tape:
        loss, logs = agent.loss_and_logs(batch)
    by_logits, by_values = tape.gradient(loss, [logits, values])
    arguments = [joint(space, x)[0] for x in (now, then, average)]
    expected = definition({**data, "action": number}, *arguments, q)
    assert_is(logs, expected)
    np.testing.assert_allclose(by_values[:-1], expected["q"], rtol=1e-3, atol=1e-6)
    assert not by_values[-1].numpy().any()
    every = np.array(joint(space, now)[1])  # the gradient by a part's logit is the sum over the actions that it is in
    parts = np.zeros((*expected["logits"].shape[:2], every.shape[1], now.shape[-1]))
    for column, action in enumerate(every):
        for part, choice in enumerate(action):
            parts[:, :, part, choice] += expected["logits"][..., column]
    received = by_logits.numpy()[:-1].reshape(parts.shape)
    np.testing.assert_allclose(received, parts, rtol=1e-3, atol=1e-6)
    valid = data["valid"][:-1]
    assert 0 < expected["bound"][valid].mean() < 1, "the trust region binds everywhere or nowhere"
    assert 0 < (expected["weight"][valid] > CLIP).mean() < 1, "weights are cut off everywhere or nowhere"
    assert expected["correction"].max() > 0.1
    assert not valid.all()
    discounts = data["discount"][:-1][valid & data["ended"][:-1]]
    assert set(discounts) == {0.0, 1.0}, "no termination, or no truncation"


# ---- an update on rollouts that were played -----------------------------------------------------------------------


def outputs(unrolled, data):
    """What a network gives for the rollouts of a batch, step by step from the state that was stored with them, float64."""
    state, rows = data.state, []
    for t in range(len(data.is_first)):
        row, state = unrolled.step(data.observation[t], data.is_first[t], state)
        rows.append({name: x.numpy().astype(float) for name, x in row.items()})
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


@pytest.mark.parametrize(
    ("cell", "mode"),
    [
        (None, "NextStep"),
        ("gru", "SameStep"),
        pytest.param(None, "SameStep", marks=pytest.mark.long),
        pytest.param("gru", "NextStep", marks=pytest.mark.long),
    ],
)
def test_an_update_on_what_was_played_is_its_definition(cell, mode):
    agent, _, rollouts = begin(scripted(mode), cell)
    next(rollouts)
    first = next(rollouts)  # begins inside episodes, with memory
    randomize(agent.network, 4)
    randomize(agent.average_network, 5)
    bounds, updates = [], int(first.updates)
    for index in range(updates):
        data = first.update(tf.constant(index))
        now, before = outputs(agent._unrolled, data), outputs(agent._average_unrolled, data)
        arrays = {name: getattr(data, name).numpy() for name in ("reward", "discount", "ended", "valid")}
        expected = definition(
            {**arrays, "action": data.raw.numpy()}, now["action"], data.parameters.numpy(), before["action"], now["q"]
        )
        policy_loss = -(expected["z"] * np.log(softmax(now["action"][:-1]))).sum(-1)[arrays["valid"][:-1]].mean()
        average = agent.average_network.get_weights()
        heads = last_biases(agent.network)
        biases = [x.numpy() for x in heads]
        _, logs = agent.loss_and_logs(data)
        agent.train_step(data)
        assert_is(logs, expected)
        assert float(logs["policy_loss"]) == pytest.approx(policy_loss, rel=1e-3, abs=1e-5)
        for before, head, name in zip(biases, heads, ("logits", "q"), strict=True):
            np.testing.assert_allclose(
                head.numpy() - before, -0.01 * expected[name].sum((0, 1)), rtol=2e-3, atol=1e-6, err_msg=name
            )
        for old, new, weight in zip(
            average, agent.average_network.get_weights(), agent.network.get_weights(), strict=True
        ):
            np.testing.assert_allclose(new, DECAY * old + (1.0 - DECAY) * weight, rtol=1e-4, atol=1e-6)
        bounds += [*expected["bound"][arrays["valid"][:-1]]]
    assert updates > 1
    assert 0.0 < np.mean(bounds) < 1.0


@pytest.mark.parametrize("cell", [None, pytest.param("gru", marks=pytest.mark.long)])
def test_an_update_on_what_bots_played_has_them_act_with_probability_one(cell):
    """The first of two environments is a bot's; the other rows have the parameters of the agent that acted, as ever."""
    bots = krp.imitation.Bots(lambda observation: int(observation[2]) % 2)
    agent, _, rollouts = begin(scripted(), cell, bots=bots)
    next(rollouts)
    randomize(agent.network, 4)
    seen, first = [], next(rollouts)
    for index in range(int(first.updates)):
        data = first.update(tf.constant(index))
        now, before = outputs(agent._unrolled, data), outputs(agent._average_unrolled, data)
        arrays = {name: getattr(data, name).numpy() for name in ("reward", "discount", "ended", "valid")}
        action, observation = data.raw.numpy(), data.observation.numpy()
        by_bot = (observation[..., 0] == 0)[..., None]
        acted = arrays["valid"] & by_bot[..., 0]
        acted[-1] = False
        np.testing.assert_array_equal(action[acted], observation[acted][:, 2] % 2)
        certain = np.where(np.eye(2)[action], 0.0, -np.inf)
        behaviour = np.where(by_bot, certain, data.parameters.numpy())
        expected = definition({**arrays, "action": action}, now["action"], behaviour, before["action"], now["q"])
        heads = last_biases(agent.network)
        biases = [x.numpy() for x in heads]
        _, logs = agent.loss_and_logs(data)
        agent.train_step(data)
        assert_is(logs, expected)
        for old, head, name in zip(biases, heads, ("logits", "q"), strict=True):
            np.testing.assert_allclose(head - old, -0.01 * expected[name].sum((0, 1)), rtol=2e-3, atol=1e-6)
        seen += [*by_bot[:-1, :, 0][arrays["valid"][:-1]]]
    assert 0.0 < np.mean(seen) < 1.0


def last_biases(network):
    """Those of the policy's head and of the values."""
    heads = {type(layer).__name__: layer for layer in network.layers}
    return heads["DenseCategorical"].bias, [x for x in network.layers if x.name.startswith("dense")][-1].bias


@EACH_CELL
def test_what_was_just_played_needs_no_correction(cell):
    """Where pi is mu, weights are 1 and it does not matter where they are cut off; the average policy is the policy."""
    results = []
    for clip_rho in (1.0, float("inf")):
        agent, _, rollouts = begin(scripted(), cell, clip_rho=clip_rho)
        data = next(rollouts).update(tf.constant(0))
        _, logs = agent.loss_and_logs(data)
        assert float(logs["importance_weight"]) == pytest.approx(1.0, abs=1e-5)
        assert float(logs["kl"]) == pytest.approx(0.0, abs=1e-6)
        agent.train_step(data)
        results.append(agent.network.get_weights())
    for x, y in zip(*results, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def test_without_a_trust_region_there_is_no_average_policy():
    agent, _, rollouts = begin(scripted(), trust_region=None)
    assert not hasattr(agent, "average_network")
    randomize(agent.network, 4)
    data = next(rollouts).update(tf.constant(0))
    now = outputs(agent._unrolled, data)
    arrays = {name: getattr(data, name).numpy() for name in ("reward", "discount", "ended", "valid")}
    expected = definition(
        {**arrays, "action": data.raw.numpy()},
        now["action"],
        data.parameters.numpy(),
        now["action"],
        now["q"],
        delta=None,
    )
    head, _ = last_biases(agent.network)
    before = head.numpy()
    agent.train_step(data)
    np.testing.assert_allclose(head.numpy() - before, -0.01 * expected["logits"].sum((0, 1)), rtol=2e-3, atol=1e-6)
    assert "kl" not in agent.metric_names()


# ---- what is replayed ---------------------------------------------------------------------------------------------


def keys(data):
    """`(environment, episode, step)` of each row of each rollout."""
    return data.observation.numpy().astype(int).swapaxes(0, 1).tolist()


def test_final_observations_beside_rows_become_rows():
    rows = {}
    for mode in ("NextStep", "SameStep"):
        _, _, rollouts = begin(scripted(mode, TRUNCATED))
        rows[mode] = next(rollouts).update(tf.constant(0))
    for name in ("observation", "is_first", "reward", "ended", "valid"):
        x, y = (getattr(rows[mode], name).numpy()[:7] for mode in ("NextStep", "SameStep"))
        np.testing.assert_array_equal(x, y, err_msg=name)
    assert keys(rows["SameStep"])[0] == [
        [0, 0, 0],
        [0, 0, 1],
        [0, 0, 2],
        [0, 0, 3],
        [0, 1, 0],
        [0, 1, 1],
        [0, 1, 2],
        [0, 1, 3],
    ]
    assert rows["SameStep"].valid.numpy()[:7, 0].tolist() == [True, True, True, False, True, True, True]


def test_the_end_of_a_terminated_episode_is_no_row_where_it_comes_beside_one():
    _, _, rollouts = begin(scripted("SameStep"))
    data = next(rollouts).update(tf.constant(0))
    assert keys(data)[0] == [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 1, 0], [0, 1, 1], [0, 1, 2], [0, 1, 3], [0, 1, 4]]
    assert data.ended.numpy()[:7, 0].tolist() == [False, False, True, False, False, False, True]
    assert data.discount.numpy()[:7, 0].tolist() == [1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("mode", "axis", "padding"),
    [
        ("NextStep", 0, "zero"),
        ("SameStep", 1, "reset"),
        pytest.param("NextStep", 1, "reset", marks=pytest.mark.long),
        pytest.param("SameStep", 0, "zero", marks=pytest.mark.long),
    ],
)
def test_stacks_that_are_stored_frame_by_frame_are_those_that_were_seen(mode, axis, padding):
    def stacked(index, script):
        env = gymnasium.wrappers.FrameStackObservation(ScriptedEnv(index, script), 3, padding_type=padding)
        if axis == 0:
            return env
        space = spaces.Box(-np.inf, np.inf, (3, 3), np.float32)
        return gymnasium.wrappers.TransformObservation(env, np.transpose, space)

    scripts = [[(3, "terminated"), (9, "truncated")], [(5, "truncated"), (1, "terminated")]]
    seen = []
    for frame_axis in (None, axis):
        makers = [lambda i=i, s=s: stacked(i, s) for i, s in enumerate(scripts)]
        env = krp.envs.make(gymnasium.vector.SyncVectorEnv(makers, autoreset_mode=mode))
        agent, _, _ = begin(env)
        agent.replay = krp.RolloutReplaySettings(200, 3, learning_starts=0, frame_axis=frame_axis)
        source = agent.make_source(env, 0)
        rollouts = iter(source.dataset())
        seen.append([next(rollouts).sampled["observation"].numpy() for _ in range(4)])
        shape = source.ring.specs["rows"]["observation"].shape
        assert shape == ((2, 8, 3, 3) if frame_axis is None else (2, 10, 3))
    np.testing.assert_array_equal(*seen)


@EACH_CELL
def test_the_newest_rollout_comes_first_and_then_old_ones_as_they_were_played(cell):
    env = scripted(scripts=[[(99, "truncated")], [(99, "truncated")]])
    agent, source, rollouts = begin(env, cell, ratio=3, capacity=5 * 2 * 7)
    played, seen, counts = {}, set(), []
    for number in range(9):
        drawn = next(rollouts)
        counts.append(int(drawn.updates) - 1)
        for index in range(1 + agent.replay.most_replays):
            data = drawn.update(tf.constant(index))
            if index == 0:
                acted = outputs(agent._unrolled, data)["action"][:7]
                assert [rows[0] for rows in keys(data)] == [[0, 0, 7 * number], [1, 0, 7 * number]]
            for b, rows in enumerate(keys(data)):
                env_index, _, start = rows[0]
                assert rows == [[env_index, 0, start + t] for t in range(8)]
                kept = [x.numpy()[:, b] for x in (data.raw, data.parameters, data.reward)]
                kept += [x.numpy()[b] for x in tf.nest.flatten(data.state)]
                if index == 0:
                    played[env_index, start] = kept
                    np.testing.assert_allclose(kept[1][:7], acted[:, b], rtol=1e-4, atol=1e-5)
                for x, y in zip(kept, played[env_index, start], strict=True):
                    np.testing.assert_array_equal(x, y)
                if number == 8 and index:
                    seen.add(start // 7)
        randomize(agent.network, number)
    assert seen == {4, 5, 6, 7, 8}, "the memory holds five rollouts"
    assert source.ring.capacity == 5
    assert len(set(counts)) > 2
    assert 1.0 < np.mean(counts) < 5.0


def test_nothing_is_replayed_before_learning_starts():
    env = scripted()
    agent, _, _ = begin(env)
    agent.replay = krp.RolloutReplaySettings(200, ratio=4, learning_starts=43)
    rollouts = iter(agent.make_source(env, 0).dataset())
    updates = [int(next(rollouts).updates) for _ in range(9)]
    assert updates[:3] == [1, 1, 1]  # 14, 28, 42 rows
    assert np.mean(updates[3:]) > 2
    agent.replay = krp.RolloutReplaySettings(200, ratio=0, learning_starts=0)
    rollouts = iter(agent.make_source(env, 0).dataset())
    assert [int(next(rollouts).updates) for _ in range(3)] == [1, 1, 1]


def test_rewards_are_divided_by_the_deviation_of_the_discounted_return():
    agent, _, rollouts = begin(scripted(), normalize_rewards=True)
    for _ in range(2):
        data = next(rollouts).update(tf.constant(0))
    returns, now = [], np.zeros(2)
    _, _, again = begin(scripted())
    for _ in range(2):
        rows = next(again).update(tf.constant(0))
        for t in range(7):
            now = rows.reward.numpy()[t] + now
            returns += [*now[rows.valid.numpy()[t]]]
            now = GAMMA * now * (1.0 - rows.ended.numpy()[t])
    scale = float(agent.reward_normalizer(tf.constant([1.0]))[0])
    assert scale == pytest.approx(1.0 / np.std(returns), rel=1e-4)
    np.testing.assert_allclose(data.reward, scale * rows.reward.numpy(), rtol=1e-5)


# ---- trainings ----------------------------------------------------------------------------------------------------


def small(cell="gru"):
    network = krp.networks.actor_critic(NATIVE, (8,), cell=cell, critic="q", shared=True)
    replay = krp.RolloutReplaySettings(200, ratio=2, learning_starts=32)
    agent = krp.ACER(network, rollout_steps=4, replay=replay, normalize_observations=True)
    agent.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    return agent


def fit(agent, epochs=2, seed=3, **arguments):
    agent.fit(NATIVE, epochs=epochs, steps_per_epoch=12, num_envs=4, seed=seed, verbose=0, **arguments)
    return [variable.numpy() for variable in (*agent.weights, *agent.optimizer.variables)]


@pytest.mark.long  # each of them in test_contract.py
def test_a_second_training_and_a_resumed_one_are_those_of_a_new_agent(tmp_path):
    agent = small()
    agent.build(NATIVE)
    agent.save_weights(tmp_path / "new.weights.h5")
    whole = fit(agent)
    fit(agent, epochs=1, seed=5)  # leaves rollouts of its own behind
    agent.load_weights(tmp_path / "new.weights.h5")
    for x, y in zip(whole, fit(agent), strict=True):
        np.testing.assert_array_equal(x, y)
    agent.load_weights(tmp_path / "new.weights.h5")
    fit(agent, epochs=1)
    agent.save(tmp_path / "half.keras")
    loaded = keras.saving.load_model(tmp_path / "half.keras")
    for x, y in zip(whole, fit(loaded, initial_epoch=1, seed=99), strict=True):
        np.testing.assert_array_equal(x, y)


def test_observations_that_are_no_use_are_named():
    agent = small(cell=None)
    agent.compile(run_eagerly=True)
    with pytest.raises(FloatingPointError, match="an observation of the environment is not finite"):
        agent.fit(SpoiledCartPole(4), epochs=1, steps_per_epoch=3, verbose=0)


# ---- what it refuses ----------------------------------------------------------------------------------------------

BOX = spaces.Box(-1.0, 1.0, (3,))


@pytest.mark.parametrize(
    "space",
    [BOX, spaces.MultiBinary(3), spaces.Tuple([spaces.Discrete(2)]), spaces.MultiDiscrete([11, 10, 10])],
    ids=str,
)
@pytest.mark.parametrize("given", [False, True])
def test_actions_that_cannot_be_counted_through_are_refused(space, given):
    network = krp.networks.feed_forward((BOX, space)) if given else None
    with pytest.raises(
        ValueError, match=r"`env` must have a Discrete or MultiDiscrete action space of at most 1,000 actions"
    ):
        krp.ACER(network).build((BOX, space))


def test_a_thousand_actions_are_few_enough():
    agent = krp.ACER()
    agent.build((BOX, spaces.MultiDiscrete([10, 10, 10])))
    assert agent.network.output["q"].shape == (None, 1000)


def test_networks_without_values_of_all_actions_are_refused():
    with pytest.raises(ValueError, match=r"`network` must output a dict with the keys \['action', 'q'\]"):
        krp.ACER(krp.networks.feed_forward(NATIVE)).build(NATIVE)
    policy = krp.networks.feed_forward(NATIVE)
    network = keras.Model(policy.inputs, {**policy.output, "q": keras.layers.Dense(3)(policy.inputs[0])})
    with pytest.raises(ValueError, match=r'`network`\'s "q" must be a value for each of the 2 actions'):
        krp.ACER(network).check_network(
            network, *[getattr(krp.envs.make(NATIVE, 2), x) for x in ("observation_space", "action_space")]
        )


def test_a_memory_that_holds_no_rollout_is_refused():
    with pytest.raises(ValueError, match=r"`capacity` must hold a rollout.*capacity=10, rollout_steps=20"):
        krp.ACER(replay=krp.RolloutReplaySettings(capacity=10, learning_starts=0))
    agent = krp.ACER(replay=krp.RolloutReplaySettings(capacity=100, learning_starts=0))
    with pytest.raises(ValueError, match=r"`capacity` must hold a rollout.*capacity=100, rollout_steps=20, num_envs=6"):
        agent.updates_per_rollout(6)
    with pytest.raises(ValueError, match="`learning_starts` must be at most `capacity`"):
        krp.RolloutReplaySettings(capacity=100, learning_starts=101)
