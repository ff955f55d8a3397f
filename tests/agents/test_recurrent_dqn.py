"""RecurrentDQN: loss on stored sequences against an oracle that runs row by row, and arguments."""

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp
from keras_rl_prob.layers import QValues, StatefulRNN
from keras_rl_prob.sources.sequences import StoredSequences

SPACES = (gymnasium.spaces.Box(-5.0, 5.0, (3,)), gymnasium.spaces.Discrete(4))
BURN_IN, LENGTH, N_STEP, GAMMA = 2, 4, 3, 0.9
ROWS, SEQUENCES = BURN_IN + LENGTH + N_STEP, 7
REPORT = {name: tf.constant(0.0) for name in ("return", "length", "episodes", "failure", "epsilon", "replay_size")}


def network(cell=keras.layers.GRUCell):
    inputs = keras.Input((3,))
    x = StatefulRNN(cell(5))(keras.layers.Dense(4, "tanh")(inputs))
    return keras.Model(inputs, {"action": QValues((4,))(keras.layers.Dense(4)(x))})


def agent_with(cell=keras.layers.GRUCell, **arguments):
    """An agent whose target network is another network, all weights random."""
    defaults = {
        "sequence_length": LENGTH, "burn_in": BURN_IN, "period": 2, "rollout_steps": 4, "n_step": N_STEP,
        "batch_size": SEQUENCES, "discount": GAMMA, "updates": 3,
    }  # fmt: skip
    agent = krp.RecurrentDQN(network(cell), **{**defaults, **arguments})
    agent.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    agent.build(SPACES)
    for seed, model in ((1, agent.network), (2, agent.target_network)):
        random = np.random.default_rng(seed)
        model.set_weights([random.normal(size=w.shape) for w in model.get_weights()])
    return agent


def sequences(agent, index=0, rows=ROWS):
    """Sequences: no end; both ends, with final rows; a resume; ends without final rows; ends outside; no valid row.

    The rows of burn-in, learning and bootstrap are 0-1, 2-5 and 6-8.
    """
    random = np.random.default_rng(7)
    shape = (rows, SEQUENCES)
    terminated, ended, is_first, final = (np.zeros(shape, bool) for _ in range(4))

    def end(row, sequence, terminates, own_row=True):
        terminated[row, sequence], ended[row, sequence] = terminates, True
        final[row + 1, sequence] = own_row
        if row + 1 + own_row < rows:
            is_first[row + 1 + own_row, sequence] = True

    if rows == ROWS:
        end(3, 1, True)
        end(4, 2, False)
        is_first[5, 3] = True  # a resumed run
        end(2, 4, True, own_row=False)
        end(4, 4, False, own_row=False)
        end(0, 5, True, own_row=False)
        end(7, 5, False)
        final[:, 6] = True
    is_first[0, 2] = True
    state = tf.nest.map_structure(
        lambda x: random.normal(size=x.shape).astype(np.float32), agent.initial_state(SEQUENCES)
    )
    return StoredSequences(
        observation=tf.constant(random.normal(size=(*shape, 3)), tf.float32),
        action=tf.constant(random.integers(0, 4, shape), tf.int32),
        reward=tf.constant(3.0 * random.normal(size=shape), tf.float32),
        terminated=tf.constant(terminated),
        ended=tf.constant(ended),
        is_first=tf.constant(is_first),
        valid=tf.constant(~final),
        state=tf.nest.map_structure(tf.constant, state),
        weight=tf.constant(random.uniform(0.2, 1.8, SEQUENCES), tf.float32),
        index=tf.constant(index),
        seed=tf.constant([0, 0]),
        report=REPORT,
    )


def slow_values(unrolled, data, burn_in):
    """Values `[T, N, actions]` row by row, with explicit resets of the state; the burn-in gets no gradient."""
    state, values = data.state, []
    for row in range(len(data.reward)):
        keep = 1.0 - tf.cast(data.is_first[row], tf.float32)[:, None]
        state = tf.nest.map_structure(lambda x, keep=keep: x * keep, state)
        outputs, state = unrolled.step(data.observation[row], tf.zeros(SEQUENCES, tf.bool), state)
        if row == burn_in - 1:
            state = tf.nest.map_structure(tf.stop_gradient, state)
        values.append(outputs["action"])
    return tf.stack(values)


def h(x):
    return np.sign(x) * (np.sqrt(np.abs(x) + 1) - 1) + 1e-3 * x


def inverse_h(y):
    """By bisection: `h` grows with `x`."""
    low, high = -1e5, 1e5
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if h(middle) < y else (low, middle)
    return 0.5 * (low + high)


def targets(agent, data, online, target):
    """`{(row, sequence): target}` of the rows that can be learned from, by the definition."""
    found = {}
    scale, unscale = (h, inverse_h) if agent.rescale_values else (float, float)
    for i in range(SEQUENCES):
        for row in range(agent.replay.burn_in, agent.replay.burn_in + agent.replay.sequence_length):
            if not data.valid[row, i]:
                continue
            total, factor, now = 0.0, 1.0, row
            known = True
            for _ in range(agent.replay.n_step):
                total += factor * data.reward[now, i]
                factor *= 0.0 if data.terminated[now, i] else agent.discount
                over, now = data.ended[now, i], now + 1
                known &= not data.is_first[now, i] or factor == 0.0
                if over:
                    break
            if known:
                chooser = online if agent.double else target
                following = target[now, i, chooser[now, i].argmax()]
                found[row, i] = scale(total + factor * unscale(following))
    return found


def oracle(agent, data):
    """Loss, gradients, means and priorities from the definitions."""
    tensors, data = data, tf.nest.map_structure(lambda x: x.numpy(), data)
    target = slow_values(agent._target_unrolled, tensors, agent.replay.burn_in).numpy()
    with tf.GradientTape() as tape:
        online = slow_values(agent._unrolled, tensors, agent.replay.burn_in)
        wanted = targets(agent, data, online.numpy().astype(float), target.astype(float))
        loss, values, errors = 0.0, [], {i: [] for i in range(SEQUENCES)}
        for (row, i), number in wanted.items():
            value = online[row, i, data.action[row, i]]
            error = number - value
            size = abs(error)
            delta = agent.huber_delta
            term = 0.5 * error**2 if delta is None or size <= delta else delta * (size - 0.5 * delta)
            loss += data.weight[i] * term / len(wanted)
            values.append(float(value))
            errors[i].append(float(size))
    gradients = tape.gradient(loss, agent.network.trainable_variables)
    priorities = [0.9 * max(e) + (1 - 0.9) * np.mean(e) if e else 0.0 for e in errors.values()]
    return loss, gradients, np.mean(values), np.mean(np.concatenate(list(errors.values()))), priorities, wanted


def compare(agent, data):
    """Checks the agent's results for the sequences against the oracle; returns the oracle's targets."""
    variables = agent.network.trainable_variables
    with tf.GradientTape() as tape:
        loss, logs = agent.loss_and_logs(data)
    gradients = tape.gradient(loss, variables)
    wanted_loss, wanted_gradients, q_value, td_error, priorities, wanted = oracle(agent, data)
    assert float(loss) == pytest.approx(float(wanted_loss), rel=1e-4)
    assert float(logs["q_value"]) == pytest.approx(q_value, rel=1e-4)
    assert float(logs["td_error"]) == pytest.approx(td_error, rel=1e-4)
    for variable, got, expected in zip(variables, gradients, wanted_gradients, strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-3, atol=2e-5, err_msg=variable.path)
        assert np.abs(expected).max() > 1e-3
    if agent.replay.prioritized:
        np.testing.assert_allclose(agent.td_errors[int(data.index)], priorities, rtol=1e-4)
    return wanted


@pytest.mark.parametrize(
    ("double", "rescaled", "delta"), [(True, True, 1.0), (False, True, None), (True, False, None), (False, False, 1.0)]
)
def test_loss_gradient_and_priorities_equal_the_definitions(double, rescaled, delta):
    agent = agent_with(double=double, rescale_values=rescaled, huber_delta=delta)
    wanted = compare(agent, sequences(agent, index=1))
    learned = {i: sorted(row for row, sequence in wanted if sequence == i) for i in range(SEQUENCES)}
    assert learned == {
        0: [2, 3, 4, 5],
        1: [2, 3, 5],  # not the final row
        2: [2, 3, 4],  # neither
        3: [5],  # what followed the other rows is unknown, since the run was resumed there
        4: [2, 5],  # the final observation of the episode of rows 3 and 4 is missing
        5: [2, 3, 4, 5],
        6: [],
    }
    np.testing.assert_array_equal(agent.td_errors.numpy()[[0, 2]], 0.0)


@pytest.mark.parametrize("cell", [keras.layers.LSTMCell, keras.layers.SimpleRNNCell])
def test_other_cells(cell):
    agent = agent_with(cell)
    compare(agent, sequences(agent))


@pytest.mark.parametrize(("burn_in", "length", "n_step"), [(0, 6, 3), (5, 3, 1), (1, 1, 7)])
def test_other_divisions_of_the_rows(burn_in, length, n_step):
    agent = agent_with(burn_in=burn_in, sequence_length=length, n_step=n_step, prioritized=False)
    compare(agent, sequences(agent))


def test_the_burn_in_changes_the_values_but_gets_no_gradient():
    agent = agent_with()
    data = sequences(agent)._replace(is_first=tf.zeros((ROWS, SEQUENCES), tf.bool))
    with tf.GradientTape() as tape:
        tape.watch([data.observation, data.state])
        loss, _ = agent.loss_and_logs(data)
    gradient, of_state = tape.gradient(loss, [data.observation, data.state], unconnected_gradients="zero")
    gradient = np.abs(gradient.numpy()).sum((1, 2))
    assert (gradient[:BURN_IN] == 0).all()
    assert (gradient[BURN_IN : BURN_IN + LENGTH] > 0).all()
    assert (gradient[BURN_IN + LENGTH :] == 0).all()  # these are only for targets
    assert all((x.numpy() == 0).all() for x in tf.nest.flatten(of_state))
    for changed in (
        data._replace(observation=tf.concat([data.observation[:1] + 1.0, data.observation[1:]], 0)),
        data._replace(state=tf.nest.map_structure(lambda x: x + 1.0, data.state)),
    ):
        assert abs(float(agent.loss_and_logs(changed)[0]) - float(loss)) > 1e-4


def test_the_state_that_was_stored_does_not_matter_where_an_episode_starts():
    agent = agent_with()
    data = sequences(agent)
    is_first = tf.concat([tf.ones((1, SEQUENCES), tf.bool), data.is_first[1:]], 0)
    data = data._replace(is_first=is_first)
    other = data._replace(state=tf.nest.map_structure(lambda x: x + 1.0, data.state))
    assert float(agent.loss_and_logs(data)[0]) == float(agent.loss_and_logs(other)[0])


def test_eta_is_the_weight_of_the_greatest_error():
    priorities = {}
    for eta in (0.0, 0.25, 1.0):
        agent = agent_with(eta=eta)
        agent.loss_and_logs(sequences(agent))
        priorities[eta] = agent.td_errors[0].numpy()
    assert (priorities[1.0][[0, 1, 2]] > 1.05 * priorities[0.0][[0, 1, 2]]).all()
    np.testing.assert_allclose(priorities[0.25], 0.25 * priorities[1.0] + 0.75 * priorities[0.0], rtol=1e-5)


def test_noise_is_in_all_rows_of_both_networks():
    x = inputs = keras.Input((3,))
    x = StatefulRNN(keras.layers.GRUCell(5))(x)
    model = keras.Model(inputs, {"action": QValues((4,))(krp.layers.NoisyDense(4, sigma=3.0)(x))})
    agent = krp.RecurrentDQN(
        model, noisy="factorized", sequence_length=LENGTH, burn_in=BURN_IN, period=2, rollout_steps=4, n_step=N_STEP
    )
    agent.build(SPACES)
    data = sequences(agent)
    for unrolled in (agent._unrolled, agent._target_unrolled):
        agent.resample_noise(tf.constant([4, 2]))
        expected = unrolled(data.observation, data.is_first, data.state, training=True)[0]["action"][BURN_IN:]
        np.testing.assert_allclose(agent._values_of(unrolled, data), expected, rtol=1e-4, atol=1e-5)


# ---- arguments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"period": 4}, r"`period` must divide `rollout_steps`. Received: period=4, rollout_steps=10"),
        ({"period": 0}, r"`period` must be a positive integer. Received: period=0"),
        ({"burn_in": -1}, r"`burn_in` must be an integer of at least 0. Received: burn_in=-1"),
        ({"burn_in": 1.5}, r"`burn_in` must be an integer of at least 0. Received: burn_in=1.5"),
        ({"eta": 1.1}, r"`eta` must be between 0 and 1. Received: eta=1.1"),
        ({"eta": -0.1}, r"`eta` must be between 0 and 1. Received: eta=-0.1"),
        ({"sequence_length": 0}, r"`sequence_length` must be a positive integer. Received: sequence_length=0"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        krp.RecurrentDQN(**arguments)


def test_a_network_without_memory_is_for_dqn():
    agent = krp.RecurrentDQN(krp.networks.q_network(SPACES, units=(4,)))
    with pytest.raises(ValueError, match=r"must have memory for RecurrentDQN.*Use `krp.DQN`"):
        agent.build(SPACES)


def test_the_default_network_has_memory():
    agent = krp.RecurrentDQN(dueling=True, noisy="independent")
    agent.build(SPACES)
    kinds = [type(layer).__name__ for layer in agent.network.layers]
    assert {"StatefulRNN", "Dueling", "NoisyDense"} <= set(kinds)
