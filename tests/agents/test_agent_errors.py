"""Invalid input: the error messages, and that the agent is not changed."""

import contextlib
import os
import signal
import threading

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import keras_rl_prob as krp
from keras_rl_prob.layers import DenseBernoulli, DenseCategorical, DenseNormal


class BrokenEnv(gymnasium.Env):
    """Does `trouble(env)` at its `at`-th step."""

    observation_space = spaces.Box(-1.0, 1.0, (2,))
    action_space = spaces.Discrete(2)

    def __init__(self, trouble, at=20, action_space=None):
        self.trouble, self.at, self.steps = trouble, at, 0
        self.action_space = action_space or self.action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        result = [np.zeros(2, np.float32), 1.0, False, self.steps % 10 == 0, {}]
        return tuple(self.trouble(result) or result) if self.steps == self.at else tuple(result)


class WithSpaces(BrokenEnv):
    """Only its spaces matter."""

    def __init__(self, observation_space=BrokenEnv.observation_space, action_space=BrokenEnv.action_space):
        super().__init__(lambda result: result)
        self.observation_space, self.action_space = observation_space, action_space


def agent(network=None, **arguments):
    agent = krp.PPO(network, **{"rollout_steps": 16, "minibatches": 2, "update_epochs": 1, **arguments})
    agent.compile(run_eagerly=True)
    return agent


def network(action=None, value=1, inputs=(4,)):
    x = keras.Input(inputs)
    outputs = {"action": (action or DenseCategorical((2,)))(x)}
    if value:
        outputs["value"] = keras.layers.Dense(value)(x)
    return keras.Model(x, outputs)


def fit(agent, env="tf/CartPole-v1", **arguments):
    return agent.fit(env, **{"epochs": 1, "steps_per_epoch": 2, "num_envs": 4, "verbose": 0, **arguments})


@pytest.mark.parametrize(
    ("env", "error", "message"),
    [
        ("CartPol-v1", ValueError, r"`env` must be an environment id.*env='CartPol-v1'.*Did you mean"),
        ("nowhere/CartPole-v1", ValueError, r"`env` must be an environment id.*Received: env='nowhere/CartPole-v1'"),
        ("tf/CartPol-v1", ValueError, r"tf/CartPole-v1"),
        (3, TypeError, r"`env` must be an environment id.*Received: env=3 of type int"),
        (gymnasium.make, TypeError, r"missing 1 required positional argument|must make a `gymnasium.Env`"),
        (lambda: 5, TypeError, r"`env` as a callable must make a `gymnasium.Env`.*made 5"),
        (np.zeros((4, 2)), TypeError, r"`env` must be an environment id"),
        (lambda: WithSpaces(spaces.Text(5)), ValueError, r"`observation_space` must be made of Box.*contains Text"),
        (
            lambda: WithSpaces(action_space=spaces.Sequence(spaces.Discrete(2))),
            ValueError,
            r"`action_space` must be made of Box.*contains Sequence",
        ),
        (
            lambda: WithSpaces(action_space=spaces.Dict({"a": spaces.Graph(spaces.Discrete(2), None)})),
            ValueError,
            r"`action_space` must be made of Box.*contains Graph",
        ),
    ],
)
def test_environments_that_cannot_be_used(env, error, message):
    unspoiled = agent()
    with pytest.raises(error, match=message):
        fit(unspoiled, env)
    assert not unspoiled.built


@pytest.mark.parametrize(
    ("bad_network", "message"),
    [
        (
            lambda: network(DenseNormal((2,))),
            r"head.*does not fit the action space Discrete\(2\).*Expected: DenseCategorical",
        ),
        (lambda: network(DenseCategorical((3,))), r"head.*does not fit.*DenseCategorical\(\(2,\)\)"),
        (lambda: network(DenseBernoulli((2,))), r"head.*does not fit.*of binary actions"),
        (lambda: network(keras.layers.Dense(2)), r"must come from a head of `keras_rl_prob.layers`.*Received: Dense"),
        (
            lambda: network(value=None),
            r"must output a dict with the keys \['action', 'value'\].*Received: outputs=\['action'\]",
        ),
        (lambda: network(value=2), r"\"value\" must be one number.*Received: shape=\(None, 2\)"),
        (lambda: network(inputs=(5,)), r"inputs must have the shapes of the observation space.*Received: \[\(5,\)\]"),
        (lambda: keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), r"must output a dict"),
        (lambda: keras.layers.Dense(2), r"`network` must be a Functional `keras.Model`"),
        (
            lambda: keras.Model(x := keras.Input((4,)), {"action": (DenseCategorical((2,))(x),), "value": x[:, :1]}),
            r"\"action\" must have the structure of the action space Discrete\(2\)",
        ),
    ],
)
def test_networks_that_do_not_fit(bad_network, message):
    unspoiled = agent(bad_network())
    with pytest.raises(ValueError, match=message):
        fit(unspoiled)
    assert not unspoiled.built


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sequence_length": 5}, r"`sequence_length` must divide `rollout_steps`.*sequence_length=5, rollout_steps=16"),
        ({"rollout_steps": 0}, r"`rollout_steps` must be a positive integer.*rollout_steps=0"),
        ({"minibatches": 1.5}, r"`minibatches` must be a positive integer.*minibatches=1.5"),
        ({"discount": 1.5}, r"`discount` must be between 0 and 1.*discount=1.5"),
        ({"gae_lambda": -1}, r"`gae_lambda` must be between 0 and 1"),
    ],
)
def test_constructor_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        agent(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"steps_per_epoch": 3},
            ValueError,
            r"multiple of the 2 that one rollout gives, such as 2 or 4.*steps_per_epoch=3",
        ),
        ({"steps_per_epoch": 1}, ValueError, r"multiple of the 2.*such as 2\. Received"),
        ({"num_envs": 0}, ValueError, r"`num_envs` must be a positive integer"),
        ({"num_envs": 3, "env": "minibatches"}, ValueError, r"`minibatches` must divide the sequences.*minibatches=2"),
        ({"y": np.zeros(3)}, TypeError, r"`y` is not an argument of `fit`: an agent learns from an environment"),
        ({"sample_weight": np.ones(3)}, TypeError, r"`sample_weight` is not an argument of `fit`: an agent learns"),
        ({"validation_split": 0.1}, TypeError, r"`validation_split` is not an argument of `fit`: an agent learns"),
        ({"batch_size": 32}, TypeError, r"`batch_size` is not an argument of `fit`: an agent learns"),
        ({"epochs": np.zeros(3)}, ValueError, r"`epochs` must be a positive integer"),
        ({"validation_data": 3}, TypeError, r"`env` must be an environment id"),
        (
            {"validation_data": "tf/Pendulum-v1"},
            ValueError,
            r"must have the observation_space that the agent was built for",
        ),
    ],
)
def test_fit_arguments_that_do_not_fit(arguments, error, message):
    unspoiled = agent(sequence_length=16)
    env = arguments.pop("env", "tf/CartPole-v1") and "tf/CartPole-v1"
    with pytest.raises(error, match=message):
        fit(unspoiled, env, **arguments)
    assert int(unspoiled.optimizer.iterations.numpy()) == 0


def test_a_refused_agent_trains_when_asked_properly():
    refused = agent()
    for arguments in ({"env": "CartPol-v1"}, {"steps_per_epoch": 3}, {"validation_data": "tf/Pendulum-v1"}):
        with pytest.raises(ValueError, match=r"`env`|`steps_per_epoch`"):
            fit(refused, **arguments)
    assert np.isfinite(fit(refused).history["loss"]).all()


def test_fit_before_compile():
    with pytest.raises(ValueError, match=r"call `compile\(\)`"):
        krp.PPO().fit("tf/CartPole-v1", verbose=0)


def test_acting_before_there_is_an_environment():
    with pytest.raises(ValueError, match="`predict` needs a built agent"):
        agent().predict(np.zeros((3, 4)), verbose=0)
    with pytest.raises(ValueError, match="`policy` needs a built agent"):
        agent().policy()


def test_num_envs_with_an_environment_that_is_already_made():
    with pytest.raises(ValueError, match=r"`num_envs` sizes.*num_envs=4 with an env of 2"):
        fit(agent(), krp.envs.make("tf/CartPole-v1", 2))


def test_evaluating_in_the_training_environment():
    env = gymnasium.make_vec("CartPole-v1", 4, vectorization_mode="sync")
    with pytest.raises(ValueError, match="`validation_data` must not be the very environment that is trained on"):
        fit(agent(), env, num_envs=None, validation_data=env)


def test_another_environment_later():
    built = agent()
    fit(built)
    with pytest.raises(ValueError, match=r"must have the action_space that.*Expected: Discrete\(2\)"):
        fit(built, lambda: WithSpaces(built.observation_space, spaces.Discrete(3)))


class Trouble(RuntimeError):
    """Raised by an environment."""


def raise_trouble(result):
    raise Trouble("out of paint")


def with_part(index, value):
    def change(result):
        result[index] = value
        return result

    return change


@pytest.mark.parametrize("worker", ["sync", "async"])
def test_an_exception_in_step_surfaces_as_itself(worker):
    vector = gymnasium.vector.AsyncVectorEnv if worker == "async" else gymnasium.vector.SyncVectorEnv
    trained = agent()
    fit(trained, lambda: BrokenEnv(lambda result: result))
    before = trained.get_weights()
    env = vector([lambda: BrokenEnv(raise_trouble, at=5)] * 4)
    with pytest.raises(Trouble, match="out of paint") as caught:
        fit(trained, env, num_envs=None)
    assert any("fix the environment and call `fit` again" in note for note in caught.value.__notes__)
    assert all(np.array_equal(a, b) for a, b in zip(before, trained.get_weights(), strict=True))
    fit(trained, lambda: BrokenEnv(lambda result: result))
    env.close(**({"terminate": True} if worker == "async" else {}))


def test_a_killed_worker_surfaces_with_what_to_do():
    env = gymnasium.vector.AsyncVectorEnv(
        [lambda: BrokenEnv(lambda result: os.kill(os.getpid(), signal.SIGKILL), at=5)] * 2
    )
    with pytest.raises((EOFError, OSError)) as caught:
        fit(agent(), env, num_envs=None)
    assert any("a worker process of the environment has died" in note for note in caught.value.__notes__)
    krp.envs.GymnasiumEnv(env).close()
    assert env.closed


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        (with_part(0, np.array([0.0, np.nan], np.float32)), r"observation.* not finite.*environment 0"),
        (with_part(1, np.inf), r"reward.* not finite.*environment 0"),
    ],
)
def test_numbers_that_are_not_finite_stop_training_before_weights_are_spoiled(trouble, message):
    trained = agent(normalize_observations=True)
    fit(trained, lambda: BrokenEnv(lambda result: result))
    before = trained.get_weights()
    with pytest.raises(FloatingPointError, match=message):
        fit(trained, lambda: BrokenEnv(trouble, at=5))
    assert all(np.isfinite(weight).all() for weight in trained.get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(before[:8], trained.get_weights()[:8], strict=True))
    assert np.isfinite(fit(trained, lambda: BrokenEnv(lambda result: result)).history["loss"]).all()


def test_a_loss_that_is_not_finite_stops_training():
    trained = agent(value_coef=1e38)
    trained.compile(keras.optimizers.SGD(1e-3), run_eagerly=True)
    with pytest.raises(FloatingPointError, match=r"the loss or its gradient is not finite.*'loss'"):
        fit(trained)
    assert all(np.isfinite(weight).all() for weight in trained.get_weights())


def test_an_observation_of_another_shape_is_named():
    with pytest.raises(ValueError, match=r"[Ss]hape") as caught:
        fit(agent(), lambda: BrokenEnv(with_part(0, np.zeros(3, np.float32)), at=5))
    assert "at step 5 of this run" in caught.value.__notes__[0]


class Masked(BrokenEnv):
    """Its observation has an `"action_mask"` of this shape for three actions."""

    def __init__(self, shape=3, mask=(1, 1, 0), at=5):
        super().__init__(with_part(0, {"action_mask": np.array(mask, np.int8), "x": np.zeros(2, np.float32)}), at)
        x = spaces.Box(-1.0, 1.0, (2,))
        self.observation_space = spaces.Dict({"action_mask": spaces.MultiBinary(shape), "x": x})
        self.action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed)
        return {"action_mask": np.ones(self.observation_space["action_mask"].shape, np.int8), "x": observation}, info

    def step(self, action):
        observation, *rest = super().step(action)
        return observation if isinstance(observation, dict) else self.reset()[0], *rest


@pytest.mark.parametrize("make", [krp.PPO, krp.RecurrentPPO, krp.DQN, krp.RandomAgent])
def test_a_mask_that_does_not_fit_the_actions(make):
    unspoiled = make()
    unspoiled.compile()
    message = r"`action_mask` of .* the shape \(3,\), to mask the action space's Discrete\(3\). Received: shape \(4,\)"
    with pytest.raises(ValueError, match=message):
        unspoiled.fit(lambda: Masked(shape=4), verbose=0)
    assert not unspoiled.built


def test_a_network_of_ones_own_must_use_the_mask_or_it_has_another_name():
    def masked_network(key, masked):
        inputs = {key: keras.Input((3,), dtype="int32", name=key), "x": keras.Input((2,), name="x")}
        head = DenseCategorical((3,), name="choice")([inputs["x"], inputs[key]] if masked else inputs["x"])
        return keras.Model(inputs, {"action": head, "value": keras.layers.Dense(1)(inputs["x"])})

    def named(key):
        space = Masked().observation_space
        return spaces.Dict({key: space["action_mask"], "x": space["x"]}), spaces.Discrete(3)

    message = (
        r"head 'choice' must get the mask that the observation has under 'action_mask': `DenseCategorical\(...\)\(\[x, "
    )
    with pytest.raises(ValueError, match=message):
        krp.PPO(masked_network("action_mask", False)).build(named("action_mask"))
    krp.PPO(masked_network("action_mask", True)).build(named("action_mask"))
    krp.PPO(masked_network("a_mask", False)).build(named("a_mask"))


def test_a_mask_that_allows_nothing_stops_the_training():
    stopped = agent()
    with pytest.raises(ValueError, match=r"action_mask=\[0, 0, 0\] in environment 0 at step 5") as caught:
        fit(stopped, lambda: Masked(mask=(0, 0, 0)))
    assert "at step 5 of this run" in caught.value.__notes__[0]
    fit(stopped, Masked)


def test_interrupting_leaves_a_usable_agent():
    interrupted = agent()
    interrupted.compile(jit_compile=False)  # in eager mode no compiled call has to end first
    fit(interrupted)
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # processes in the background ignore the signal
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))  # Ctrl-C
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(interrupted, epochs=10_000)
    finally:
        signal.signal(signal.SIGINT, usual)
    updates = int(interrupted.optimizer.iterations.numpy())
    assert updates % 2 == 0
    fit(interrupted)
    assert int(interrupted.optimizer.iterations.numpy()) == updates + 2
    assert np.isfinite(interrupted.evaluate("tf/CartPole-v1", episodes=2, verbose=0)[0])


class Failing(gymnasium.Env):
    """Random observations; raises an error once, after this many steps of both environments together."""

    observation_space, action_space = spaces.Box(-1.0, 1.0, (3,)), spaces.Discrete(2)
    steps, at = 0, None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self._seen(), {}

    def step(self, action):
        Failing.steps += 1
        self.time += 1
        if Failing.steps == Failing.at:
            Failing.at = None
            raise Trouble("once")
        return self._seen(), float(action), self.time % 5 == 0, False, {}

    def _seen(self):
        return self.np_random.uniform(-1, 1, 3).astype(np.float32)


REPLAY = {"rollout_steps": 4, "updates": 1, "batch_size": 4, "capacity": 200, "learning_starts": 4}


@pytest.mark.parametrize(
    "make",
    [
        lambda: krp.PPO(rollout_steps=4, minibatches=1, update_epochs=1),
        lambda: krp.DQN(**REPLAY),
        pytest.param(lambda: krp.A2C(rollout_steps=4), marks=pytest.mark.long),  # its source is that of PPO
    ],
)
def test_an_error_of_the_environment_leaves_the_last_whole_rollout(make, tmp_path):
    """Weights, recurrent states and counters are as if training had ended there, and it continues from there."""
    states, again = [], []
    for at in (None, 30):  # rollouts of 8 rows: the error comes in the fifth
        keras.utils.set_random_seed(0)
        trained = make()
        trained.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
        Failing.steps, Failing.at, whole = 0, at, 4 if at is None else 9
        updates = trained.updates_per_rollout(2)
        arguments = {"num_envs": 2, "epochs": 1, "steps_per_epoch": whole * updates, "seed": 3, "verbose": 0}
        with pytest.raises(Trouble) if at else contextlib.nullcontext():
            trained.fit(Failing, **arguments)
        position = dict(trained.position().stored())
        trained.save_weights(tmp_path / "cut.weights.h5")
        trained.load_weights(tmp_path / "cut.weights.h5")
        for key, value in trained.position().stored():
            np.testing.assert_array_equal(value, position[key])
        played = [value for key, value in position.items() if key not in ("training_epoch", "training_num_envs")]
        states.append([x.numpy() for x in trained.weights + trained.optimizer.variables] + played)
        trained.fit(Failing, **arguments | {"epochs": 2, "initial_epoch": 1, "steps_per_epoch": updates})
        again.append(
            int(trained.env_steps.numpy()) - int(states[-1][[w.name for w in trained.weights].index("env_steps")])
        )
    for x, y in zip(*states, strict=True):
        np.testing.assert_array_equal(x, y)
    assert again[0] == again[1] > 0


class Interrupting(Failing):
    """Ctrl-C is received during a step."""

    steps = 0

    def step(self, action):
        Interrupting.steps += 1
        if Interrupting.steps == 40:
            os.kill(os.getpid(), signal.SIGINT)
        return super().step(action)


@pytest.mark.parametrize("eagerly", [False, True])
def test_ctrl_c_does_not_wait_for_the_end_of_a_rollout_of_a_python_environment(eagerly):
    trained = krp.PPO(rollout_steps=5000, minibatches=1, update_epochs=1)
    trained.compile(keras.optimizers.SGD(0.1), run_eagerly=eagerly, jit_compile=False)
    Interrupting.steps = 0
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # processes in the background ignore the signal
    try:
        with pytest.raises(KeyboardInterrupt):
            trained.fit(Interrupting, num_envs=2, steps_per_epoch=1, verbose=0)
    finally:
        signal.signal(signal.SIGINT, usual)
    assert Interrupting.steps < 5000  # of 10,000: how soon a signal arrives depends on the machine
    assert int(trained.env_steps.numpy()) == 0
    assert signal.set_wakeup_fd(-1) == -1


class SpoiledNative(krp.envs.native.CartPole):
    """CartPole whose observations or rewards become NaN, or too large, after a while."""

    def __init__(self, num_envs, what, number=np.nan):
        super().__init__(num_envs)
        self.what, self.number = what, number

    def transition(self, state, action, seed):
        state, reward, terminated = super().transition(state, action, seed)
        spoiled = tf.abs(state[:, 2]) > 0.1
        if self.what == "reward":
            return state, tf.where(spoiled, self.number, reward), terminated
        return tf.where(spoiled[:, None], self.number, state), reward, terminated


@pytest.mark.parametrize(
    ("what", "number", "message", "jit_compile"),
    [
        ("reward", np.nan, "a reward of the", False),
        pytest.param("reward", 1e25, "a reward of the", False, marks=pytest.mark.long),
        ("observation", np.nan, "an observation of the", True),
        pytest.param("observation", -1e25, "an observation of the", False, marks=pytest.mark.long),
    ],
)
def test_native_numbers_that_are_no_use_are_named(what, number, message, jit_compile):
    trained = agent(normalize_observations=True)
    trained.compile(jit_compile=jit_compile)
    env = SpoiledNative(4, what, number)
    trained.build((env.observation_space, env.action_space))
    healthy = [trained.network.get_weights()]
    keep = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: healthy.append(trained.network.get_weights())
    )
    with pytest.raises(FloatingPointError, match=f"{message} environment is not finite"):
        fit(trained, env, num_envs=None, epochs=100, callbacks=[keep])
    assert all(map(np.array_equal, trained.network.get_weights(), healthy[-1])), "changed by the spoiled rollout"
    assert all(np.isfinite(weight).all() for weight in trained.get_weights())
    assert float(trained.reward_normalizer.variance) < 1e4
    assert float(np.max(trained.observation_normalizers[0].variance)) < 1e4
    if not jit_compile:  # training can continue
        assert np.isfinite(fit(trained).history["loss"]).all()


def test_unbounded_box_actions_are_fine():
    env = lambda: WithSpaces(action_space=spaces.Box(-np.inf, np.inf, (2,)))  # noqa: E731
    assert np.isfinite(fit(agent(), env).history["loss"]).all()
