"""`EpsilonGreedy` and `Boltzmann`: probabilities of actions, schedules and serialization."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp

SEED = tf.constant([3, 5])
STEP = tf.constant(0, tf.int64)
ROWS = 20_000
VALUES = tf.repeat(tf.constant([[0.5, -1e9, 2.0, 1.0, -1e9]]), ROWS, 0)  # the actions 1 and 4 are forbidden
FREE = tf.repeat(tf.constant([[0.5, 0.0, 2.0, 1.0, -3.0]]), ROWS, 0)
OBSERVATION = {"row": tf.range(ROWS), "other": tf.zeros([ROWS, 2], tf.uint8)}
MODES = {"eager": lambda f: f, "graph": tf.function, "jit": tf.function(jit_compile=True)}
schedules = keras.optimizers.schedules


class Bot:
    """A policy that records its observations, and returns the row's number modulo 5, or `answer`."""

    def __init__(self, answer=None):
        self.answer, self.asked = answer, []

    def __call__(self, observation):
        self.asked.append(observation)
        return observation["row"] % 5 if self.answer is None else self.answer


@keras.saving.register_keras_serializable("tests")
def scripted(observation):
    return np.full(len(observation["row"]), 3)


def at(schedule, steps):
    return [float(schedule.value(tf.constant(step, tf.int64))) for step in steps]


def rates(actions, n=5):
    return np.bincount(actions, minlength=n) / len(actions)


def restored(thing):
    """Through Keras' serialization and JSON."""
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(thing)))
    return keras.saving.deserialize_keras_object(config)


def test_epsilon_falls_in_closed_form():
    steps = np.array([0, 1, 100, 2_500, 9_999, 10_000, 10_001, 1_000_000])
    linear = 1 - 0.95 * np.minimum(steps / 10_000, 1)
    np.testing.assert_allclose(at(krp.EpsilonGreedy(), steps), linear, atol=1e-5)
    np.testing.assert_allclose(at(krp.EpsilonGreedy(minimum=0.5), steps), np.maximum(linear, 0.5), atol=1e-5)
    compound = krp.EpsilonGreedy(schedules.ExponentialDecay(1.0, 1, 0.9999), minimum=0.1)
    np.testing.assert_allclose(at(compound, steps), np.maximum(0.9999**steps, 0.1), rtol=1e-3)
    halved = krp.EpsilonGreedy(schedules.PolynomialDecay(3.0, 10_000, 1.0 - 1e-9))  # values above 1 count as 1
    np.testing.assert_array_equal(at(halved, steps), np.ones(8))
    late = krp.EpsilonGreedy(schedules.PolynomialDecay(2.0, 1_000, 0.0))
    np.testing.assert_allclose(at(late, [0, 400, 500, 750, 1_000, 2_000]), [1, 1, 1, 0.5, 0, 0], atol=1e-6)
    np.testing.assert_allclose(at(krp.EpsilonGreedy(0.3), [0, 10**9]), [0.3, 0.3], rtol=1e-6)
    np.testing.assert_array_equal(at(krp.EpsilonGreedy(7.0), [0]), [1])
    assert krp.EpsilonGreedy().value(STEP).dtype == tf.float32


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_frequencies_of_random_actions(epsilon, mode):
    """The greedy action is one of the three random ones. Standard errors are at most 0.0034."""
    exploration = krp.EpsilonGreedy(epsilon)
    assert exploration.compilable
    actions = MODES[mode](exploration.act)(VALUES, OBSERVATION, STEP, SEED)
    assert (actions.dtype, actions.shape) == (tf.int32, (ROWS,))
    expected = epsilon / 3 * np.array([1, 0, 1, 1, 0]) + (1 - epsilon) * np.array([0, 0, 1, 0, 0])
    np.testing.assert_allclose(rates(actions), expected, atol=0.014 * (epsilon > 0))
    np.testing.assert_array_equal(rates(actions)[[1, 4]], [0, 0])
    # Whether a row explores is independent of the action that it then takes, and of other rows.
    random = actions.numpy() != 2
    np.testing.assert_allclose((random[1:] & random[:-1]).mean(), (2 / 3 * epsilon) ** 2, atol=0.015)


def test_one_row_explores_as_well_as_many():
    """With few rows a dependence between whether a row explores and which action it takes would show."""
    exploration, trials = krp.EpsilonGreedy(0.3), 3_000
    seeds = tf.stack([tf.range(trials), tf.fill([trials], 7)], 1)
    draw = tf.function(lambda: tf.map_fn(lambda seed: exploration.act(VALUES[:1], OBSERVATION, STEP, seed)[0], seeds))
    np.testing.assert_allclose(rates(draw()), [0.1, 0, 0.8, 0.1, 0], atol=0.025)


@pytest.mark.parametrize("mode", MODES)
def test_the_schedule_counts_environment_steps(mode):
    exploration = krp.EpsilonGreedy(schedules.PolynomialDecay(1.0, 1_000, 0.0))
    act = MODES[mode](exploration.act)
    for step, share in [(0, 2 / 3), (500, 1 / 3), (1_000, 0.0)]:
        actions = act(VALUES, OBSERVATION, tf.constant(step, tf.int64), SEED).numpy()
        np.testing.assert_allclose((actions != 2).mean(), share, atol=0.014 * (share > 0))


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_a_bot_that_always_acts(mode):
    bot = Bot()
    exploration = krp.EpsilonGreedy(1.0, policy=bot)
    assert not exploration.compilable
    actions = MODES[mode](exploration.act)(FREE, OBSERVATION, STEP, SEED)
    assert (actions.dtype, actions.shape) == (tf.int32, (ROWS,))
    np.testing.assert_array_equal(actions, np.arange(ROWS) % 5)
    assert len(bot.asked) == 1
    assert set(bot.asked[0]) == {"row", "other"}
    np.testing.assert_array_equal(bot.asked[0]["row"], np.arange(ROWS))
    assert (bot.asked[0]["other"].shape, bot.asked[0]["other"].dtype) == ((ROWS, 2), np.uint8)


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_a_bot_that_is_never_asked(mode):
    bot = Bot()
    actions = MODES[mode](krp.EpsilonGreedy(0.0, policy=bot).act)(VALUES, OBSERVATION, STEP, SEED)
    np.testing.assert_array_equal(actions, np.full(ROWS, 2))
    assert bot.asked == []


def test_a_bot_that_acts_sometimes():
    actions = krp.EpsilonGreedy(0.25, policy=Bot(answer=4)).act(FREE, OBSERVATION, STEP, SEED)  # one for all rows
    np.testing.assert_allclose(rates(actions), [0, 0, 0.75, 0, 0.25], atol=0.014)


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_where_a_bot_wants_what_is_forbidden_an_allowed_action_is_drawn(mode):
    """The bot chooses each action in a fifth of the rows; 1 and 4 are forbidden. Standard errors are at most 0.0035."""
    exploration = krp.EpsilonGreedy(1.0, policy=Bot())
    actions = MODES[mode](exploration.act)(VALUES, OBSERVATION, STEP, SEED).numpy()
    wanted = np.arange(ROWS) % 5
    allowed = np.isin(wanted, [0, 2, 3])
    np.testing.assert_array_equal(actions[allowed], wanted[allowed])
    np.testing.assert_allclose(rates(actions[~allowed]), [1 / 3, 0, 1 / 3, 1 / 3, 0], atol=0.02)


@pytest.mark.parametrize("answer", [7, -1, 1.5])
def test_what_a_bot_wants_that_is_no_action_is_refused(answer):
    exploration = krp.EpsilonGreedy(1.0, policy=lambda observation: np.full(ROWS, answer))
    with pytest.raises(ValueError, match=rf"must return integers from 0 to 4.*Received: .*{answer}"):
        exploration.act(VALUES, OBSERVATION, STEP, SEED)


def test_a_bot_gets_an_observation_that_is_no_dict():
    seen = []
    exploration = krp.EpsilonGreedy(1.0, policy=lambda observation: seen.append(observation) or observation[:, 0])
    actions = exploration.act(tf.zeros([2, 3]), tf.constant([[2.0, 7.0], [1.0, 8.0]]), STEP, SEED)
    np.testing.assert_array_equal(actions, [2, 1])
    np.testing.assert_array_equal(seen, [[[2, 7], [1, 8]]])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("temperature", [0.2, 1.0, 5.0])
def test_boltzmann_frequencies_are_a_softmax(temperature, mode):
    """Standard errors are at most 0.0036."""
    exploration = krp.Boltzmann(temperature)
    assert exploration.compilable
    actions = MODES[mode](exploration.act)(VALUES, OBSERVATION, STEP, SEED)
    assert (actions.dtype, actions.shape) == (tf.int32, (ROWS,))
    e = np.exp(VALUES[0].numpy().astype("float64") / temperature) * [1, 0, 1, 1, 0]
    np.testing.assert_allclose(rates(actions), e / e.sum(), atol=0.015)
    np.testing.assert_array_equal(rates(actions)[[1, 4]], [0, 0])


@pytest.mark.parametrize("mode", MODES)
def test_boltzmann_with_values_that_the_temperature_brings_below_those_of_forbidden_actions(mode):
    values = tf.constant([[-1e7, -1e9, -1e7 - 2e4, -1e9]] * 100)
    actions = MODES[mode](krp.Boltzmann(1e-3).act)(values, OBSERVATION, STEP, SEED)
    np.testing.assert_array_equal(actions, np.zeros(100))


@pytest.mark.parametrize("mode", MODES)
def test_boltzmann_is_greedy_at_the_temperature_0_of_a_schedule(mode):
    exploration = krp.Boltzmann(schedules.PolynomialDecay(1.0, 100, 0.0))
    actions = MODES[mode](exploration.act)(VALUES, OBSERVATION, tf.constant(200, tf.int64), SEED)
    np.testing.assert_array_equal(actions, np.full(ROWS, 2))


def test_boltzmann_at_the_ends_of_its_schedule():
    exploration = krp.Boltzmann(schedules.PolynomialDecay(1e9, 100, 1e-3))
    np.testing.assert_allclose(at(exploration, [0, 50, 100]), [1e9, 5e8, 1e-3], rtol=1e-5)
    hot = exploration.act(VALUES, OBSERVATION, STEP, SEED)
    np.testing.assert_allclose(rates(hot), [1 / 3, 0, 1 / 3, 1 / 3, 0], atol=0.015)
    cold = exploration.act(VALUES, OBSERVATION, tf.constant(100, tf.int64), SEED)
    np.testing.assert_array_equal(cold, np.full(ROWS, 2))


@pytest.mark.parametrize("exploration", [krp.EpsilonGreedy(0.5), krp.Boltzmann()], ids=["epsilon", "boltzmann"])
def test_the_same_seed_gives_the_same_actions(exploration):
    actions = exploration.act(VALUES, OBSERVATION, STEP, SEED).numpy()
    np.testing.assert_array_equal(exploration.act(VALUES, OBSERVATION, STEP, SEED), actions)
    assert np.any(exploration.act(VALUES, OBSERVATION, STEP, SEED + [0, 1]).numpy() != actions)


@pytest.mark.parametrize(
    "thing",
    [
        krp.EpsilonGreedy(),
        krp.EpsilonGreedy(0.3, minimum=0.2),
        krp.EpsilonGreedy(schedules.ExponentialDecay(1.0, 1, 0.99), minimum=0.1, policy=scripted),
        krp.Boltzmann(),
        krp.Boltzmann(schedules.PolynomialDecay(4.0, 90, 0.5)),
    ],
    ids=["default", "number", "schedule", "boltzmann", "boltzmann-schedule"],
)
def test_explorations_can_be_stored(thing):
    for other in (restored(thing), type(thing).from_config(thing.get_config())):
        assert type(other) is type(thing)
        assert other.get_config() == thing.get_config()
        np.testing.assert_array_equal(at(other, [0, 10, 1_000]), at(thing, [0, 10, 1_000]))
        step = tf.constant(50, tf.int64)
        actions = other.act(VALUES, OBSERVATION, step, SEED)
        np.testing.assert_array_equal(actions, thing.act(VALUES, OBSERVATION, step, SEED))


def test_a_stored_bot_acts():
    exploration = restored(krp.EpsilonGreedy(1.0, policy=scripted))
    np.testing.assert_array_equal(exploration.act(VALUES, OBSERVATION, STEP, SEED), np.full(ROWS, 3))


def test_beta_of_prioritized_replay():
    def beta(replay, step):
        value = replay.current_beta(tf.constant(step, tf.int64))
        assert value.dtype == tf.float32
        return float(value)

    np.testing.assert_allclose([beta(krp.PrioritizedReplay(), 0), beta(krp.PrioritizedReplay(beta=0.0), 9)], [0.4, 0])
    growing = krp.PrioritizedReplay(beta=schedules.PolynomialDecay(0.4, 100, 1.0))
    np.testing.assert_allclose([beta(growing, step) for step in (0, 50, 100, 200)], [0.4, 0.7, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(beta(restored(growing), 50), 0.7, rtol=1e-6)


@pytest.mark.parametrize("beta", [None, 0.7, schedules.PolynomialDecay(0.4, 100, 1.0)], ids=["none", "number", "grows"])
def test_prioritized_replay_can_be_stored(beta):
    replay = krp.PrioritizedReplay(alpha=0.3, beta=beta, epsilon=0.02)
    for other in (restored(replay), krp.PrioritizedReplay.from_config(replay.get_config())):
        assert other.get_config() == replay.get_config()
        assert (other.alpha, other.epsilon, type(other.beta)) == (0.3, 0.02, type(beta))


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
def test_alpha_is_a_fraction(alpha):
    with pytest.raises(ValueError, match=rf"`alpha` must be between 0 and 1\. Received: alpha={alpha}"):
        krp.PrioritizedReplay(alpha=alpha)


def test_epsilon_rises_at_intervals_and_falls_as_it_did():
    linear = krp.EpsilonGreedy(schedules.PolynomialDecay(0.8, 100, 0.0), 0.1, perturb_every=40, perturb_by=0.4)
    steps = [0, 39, 40, 41, 79, 80, 120, 130, 1000]
    # Without rises 0.8 - 0.008 t, at least 0.1; a rise of 0.4 shrinks by 1/100 of it in each of the 40 steps.
    expected = [max(0.8 - 0.008 * t, 0.1) + (0.4 * (1 - t % 40 / 100) if t >= 40 else 0.0) for t in steps]
    np.testing.assert_allclose(at(linear, steps), np.minimum(expected, 1.0), rtol=1e-5)
    compound = krp.EpsilonGreedy(schedules.ExponentialDecay(0.5, 1, 0.99), perturb_every=10, perturb_by=0.2)
    expected = [0.5 * 0.99**t + (0.2 * 0.99 ** (t % 10) if t >= 10 else 0.0) for t in steps]
    np.testing.assert_allclose(at(compound, steps), expected, rtol=1e-4)
    np.testing.assert_allclose(
        at(krp.EpsilonGreedy(0.3, perturb_every=10, perturb_by=0.1), [9, 10, 15]), [0.3, 0.4, 0.4]
    )


def test_simulate_gives_what_training_will_have():
    exploration = krp.EpsilonGreedy(schedules.PiecewiseConstantDecay([50, 100], [1.0, 0.5, 0.2]))
    steps, values = exploration.simulate(200, points=5)
    np.testing.assert_array_equal(steps, [0, 50, 100, 150, 200])
    np.testing.assert_allclose(values, at(exploration, steps))
    assert krp.Boltzmann(3.0).simulate(10)[1].tolist() == [3.0] * 201
    with pytest.raises(ValueError, match="`env_steps` must be a positive integer"):
        exploration.simulate(0)


@pytest.mark.parametrize("mode", MODES)
def test_random_actions_come_from_a_pool_that_the_mask_limits(mode):
    def act(values, pool, start=0):
        exploration = krp.EpsilonGreedy(1.0, actions=pool)
        return MODES[mode](lambda x: exploration.act(x, OBSERVATION, STEP, SEED, start))(values).numpy()

    np.testing.assert_allclose(rates(act(FREE, (0, 3, 3, 3))), [0.25, 0, 0, 0.75, 0], atol=0.02)
    np.testing.assert_allclose(rates(act(VALUES, (1, 2, 3))), [0, 0, 0.5, 0.5, 0], atol=0.02)
    np.testing.assert_allclose(rates(act(VALUES, (1, 4))), [1 / 3, 0, 1 / 3, 1 / 3, 0], atol=0.02)  # none is allowed
    np.testing.assert_allclose(rates(act(FREE, (-2, 1), start=-2)), [0.5, 0, 0, 0.5, 0], atol=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"actions": ()}, "`actions` must be a tuple of integers"),
        ({"actions": 2}, "`actions` must be a tuple of integers"),
        ({"actions": (0.5,)}, "`actions` must be an integer"),
        ({"perturb_every": 0}, "`perturb_every` must be a positive integer"),
        ({"perturb_by": 2.0}, "`perturb_by` must be between 0 and 1"),
    ],
    ids=str,
)
def test_wrong_pools_and_perturbations(arguments, message):
    with pytest.raises(ValueError, match=message):
        krp.EpsilonGreedy(**arguments)


def test_a_pool_of_other_actions_than_those_of_the_environment():
    with pytest.raises(ValueError, match="`actions` of EpsilonGreedy must be integers from 0 to 4"):
        krp.EpsilonGreedy(1.0, actions=(5,)).act(FREE, OBSERVATION, STEP, SEED)
