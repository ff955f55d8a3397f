"""`make` and `opened`: everything that `fit(env)` accepts, which environments are closed, and the error messages."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from keras_rl_prob.envs import GymnasiumEnv, is_owned, make, make_native, opened, spaces_of, spec
from keras_rl_prob.envs.native import CartPole, CartPoleNoVel
from keras_rl_prob.testing import ScriptedEnv


class Counted(ScriptedEnv):
    """Counts open instances."""

    open = 0

    def __init__(self, observation_space=None):
        super().__init__(0, [(2, "terminated")])
        self.observation_space = observation_space or self.observation_space
        Counted.open += 1

    def close(self):
        Counted.open -= 1


@pytest.fixture(autouse=True)
def _none_open():
    Counted.open = 0


def sync(count=2, env=Counted):
    return SyncVectorEnv([env] * count)


class Pool:
    """Gymnasium's vector interface without its base class, as EnvPool's environments have it."""

    def __init__(self):
        self._env = sync(5)
        self.num_envs = 5
        self.metadata = None
        self.single_action_space = self._env.single_action_space
        self.single_observation_space = self._env.single_observation_space
        self.reset, self.step, self.close = self._env.reset, self._env.step, self._env.close


@pytest.mark.parametrize(
    ("env", "kind", "count"),
    [
        ("tf/CartPole-v1", CartPole, 32),
        ("tf/CartPoleNoVel-v1", CartPoleNoVel, 32),
        ("CartPole-v1", CartPoleVectorEnv, 32),
        ("krp/CartPoleNoVel-v1", SyncVectorEnv, 32),
        (Counted, SyncVectorEnv, 32),
        (lambda: ScriptedEnv(1, [(1, "truncated")]), SyncVectorEnv, 32),
        (lambda: sync(3), SyncVectorEnv, 3),
        (lambda: make_native("tf/Recall-v0", 4), None, 4),
        (Pool, Pool, 5),
        (lambda: Pool(), Pool, 5),
        (lambda: gymnasium.make("Pendulum-v1"), SyncVectorEnv, 32),
    ],
    ids=["native", "native no velocity", "id", "krp id", "class", "Env maker", "vector maker", "native maker"]
    + ["pool class", "pool maker", "make"],
)
def test_what_the_library_makes_itself(env, kind, count):
    assert is_owned(env)
    made = make(env)
    assert made.num_envs == count
    assert made.compilable == (not isinstance(made, GymnasiumEnv))
    inner = made.vector_env if isinstance(made, GymnasiumEnv) else made
    assert kind is None or isinstance(inner.unwrapped if isinstance(inner, gymnasium.vector.VectorEnv) else inner, kind)
    made.close()
    assert Counted.open == 0


def test_a_single_environment_is_not_one_of_a_vector_implementation():
    made = make("CartPole-v1", num_envs=1)
    assert isinstance(made.vector_env, SyncVectorEnv)
    assert made.vector_env.envs[0].spec.max_episode_steps == 500
    made.close()
    chosen = make(spec("CartPole-v1", vectorization_mode="vector_entry_point"), num_envs=1)
    assert isinstance(chosen.vector_env.unwrapped, CartPoleVectorEnv)
    chosen.close()


@pytest.mark.parametrize("env", ["tf/CartPole-v1", "CartPole-v1", "krp/CartPoleNoVel-v1", Counted])
def test_num_envs_sizes_what_the_library_makes(env):
    made = make(env, num_envs=3)
    assert made.num_envs == 3
    _, step = made.reset(np.array([1, 2], np.int32))
    assert step.observation.shape[0] == 3
    made.close()


def test_a_callable_is_called_once_for_each_environment():
    made = make(Counted, 4)
    assert Counted.open == 4
    assert len({id(env.unwrapped) for env in made.vector_env.envs}) == 4
    made.close()
    assert Counted.open == 0


@pytest.mark.parametrize(
    ("make_env", "count"),
    [
        (Counted, 1),
        (lambda: gymnasium.make("CartPole-v1"), 1),
        (sync, 2),
        (lambda: AsyncVectorEnv([Counted] * 2), 2),
        (lambda: gymnasium.wrappers.vector.RecordEpisodeStatistics(sync()), 2),
        (lambda: make_native("tf/CartPole-v1", 3), 3),
        (lambda: GymnasiumEnv(sync()), 2),
    ],
    ids=["Env", "wrapped Env", "sync", "async", "vector wrapper", "native", "adapter"],
)
def test_what_the_user_made_is_used_as_it_is_and_left_open(make_env, count):
    env = make_env()
    open_before = Counted.open
    assert not is_owned(env)
    with opened(env) as made:
        assert made.num_envs == count
        if isinstance(env, gymnasium.Env):
            assert [single.env for single in made.vector_env.envs] == [env]
        else:
            assert env is (made.vector_env if isinstance(env, gymnasium.vector.VectorEnv) else made)
    assert Counted.open == open_before
    assert not getattr(env, "closed", False)
    with opened(env, count) as made:  # its own number is allowed
        made.reset(np.array([0, 1], np.int32))
    env.close()


def test_an_environment_that_the_user_made_without_a_base_class_is_used_as_it_is():
    pool = Pool()
    made = make(pool)
    assert made.vector_env is pool
    assert made.num_envs == 5


def test_opened_closes_what_it_made_also_after_an_exception():
    with opened(Counted, 3):
        assert Counted.open == 3
    assert Counted.open == 0
    with pytest.raises(ZeroDivisionError), opened(lambda: sync(2)) as made:
        made.num_envs / (Counted.open - 2)
    assert Counted.open == 0


@pytest.mark.parametrize(
    ("env", "num_envs"),
    [(lambda: Counted(spaces.Text(5)), 3), (lambda: sync(2), 3)],
    ids=["space that is not supported", "number that does not fit"],
)
def test_what_cannot_be_used_is_closed(env, num_envs):
    with pytest.raises(ValueError, match=r"`observation_space` must|`num_envs` sizes"):
        make(env, num_envs)
    assert Counted.open == 0


def test_what_the_user_made_is_not_closed_when_it_cannot_be_used():
    env = Counted(spaces.Text(5))
    with pytest.raises(ValueError, match="`observation_space` must"):
        make(env)
    assert Counted.open == 1


@pytest.mark.parametrize(
    ("env", "num_envs", "error", "message"),
    [
        ("CartPol-v1", None, ValueError, r"`env` must be an environment id that Gymnasium knows.*env='CartPol-v1'"),
        ("CartPole-v99", None, ValueError, r"`env` must be an environment id.*Received: env='CartPole-v99'"),
        ("not/there-v0", None, ValueError, r"`env` must be an environment id.*Received: env='not/there-v0'"),
        ("tf/CartPol-v1", None, ValueError, r"must be one of.*Did you mean 'tf/CartPole-v1'"),
        ("tf/", None, ValueError, r"must be one of \['tf/Acrobot-v1'"),
        (
            None,
            None,
            TypeError,
            r"`env` must be an environment id such as \"CartPole-v1\" or \"tf/CartPole-v1\".*env=None",
        ),
        (7, None, TypeError, r"or a native environment. Received: env=7 of type int"),
        (np.zeros(3), None, TypeError, r"Received: env=array\(\[0., 0., 0.\]\) of type ndarray"),
        (spaces.Discrete(2), None, TypeError, r"Received: env=Discrete\(2\) of type Discrete"),
        (
            lambda: "CartPole-v1",
            None,
            TypeError,
            r"`env` as a callable must make a `gymnasium.Env`.*made 'CartPole-v1'",
        ),
        (lambda: None, None, TypeError, r"`env` as a callable must make a `gymnasium.Env`.*which made None"),
        *(
            (
                Counted,
                number,
                ValueError,
                rf"`num_envs` must be a positive integer, or `None`. Received: num_envs={number!r}",
            )
            for number in (0, -1, 2.0, "4")
        ),
        (lambda: Counted(spaces.Text(5)), None, ValueError, r"`observation_space` must be made of Box.*contains Text"),
    ],
)
def test_errors(env, num_envs, error, message):
    with pytest.raises(error, match=message):
        make(env, num_envs)


def test_unsupported_action_spaces_are_named():
    env = ScriptedEnv(0, [(1, "truncated")], action_space=spaces.Sequence(spaces.Discrete(2)))
    with pytest.raises(ValueError, match=r"`action_space` must be made of Box.*contains Sequence"):
        make(env)


@pytest.mark.parametrize(
    ("make_env", "num_envs", "count"),
    [(sync, 3, 2), (Counted, 2, 1), (lambda: make_native("tf/CartPole-v1", 2), 1, 2)],
    ids=["vector", "Env", "native"],
)
def test_num_envs_cannot_size_what_the_user_made(make_env, num_envs, count):
    with pytest.raises(ValueError, match=rf"`num_envs` sizes.*Received: num_envs={num_envs} with an env of {count}"):
        make(make_env(), num_envs)


# ---- lists -----------------------------------------------------------------------------------------------------------


def scripted(index):
    return lambda: ScriptedEnv(index, [(9, "truncated")])


def test_the_environments_of_a_list_are_dealt_out_in_turn():
    env = [scripted(5), scripted(7), scripted(6)]
    assert is_owned(env)
    made = make(env, 6)
    assert isinstance(made.vector_env, SyncVectorEnv)
    _, step = made.reset(np.array([1, 2], np.int32))
    np.testing.assert_array_equal(step.observation, [[index, 0, 0] for index in (5, 7, 6, 5, 7, 6)])
    made.close()


def test_a_list_takes_ids_with_and_without_settings_and_callables():
    env = [
        "CartPole-v1",
        spec("CartPole-v1", max_episode_steps=3),
        lambda: gymnasium.make("CartPole-v1", max_episode_steps=7),
    ]
    with opened(env, 3) as made:
        names = [inner.spec.id for inner in made.vector_env.envs]
        limits = [inner.spec.max_episode_steps for inner in made.vector_env.envs]
    assert (names, limits) == (["CartPole-v1"] * 3, [500, 3, 7])
    assert spaces_of(env)[1] == spaces.Discrete(2)


@pytest.mark.parametrize(
    ("kinds", "default", "count"),
    [(1, 32, 32), (2, 32, 32), (3, 32, 48), (5, 32, 40), (33, 32, 33), (3, 8, 12), (3, 1, 3)],
)
def test_how_many_a_list_makes_by_default(kinds, default, count):
    with opened([Counted] * kinds, default_num_envs=default) as made:
        assert made.num_envs == Counted.open == count
    assert Counted.open == 0


def test_the_spaces_of_a_list_take_one_environment_of_each():
    opened_at_once = []

    class Watched(Counted):
        def __init__(self):
            super().__init__()
            opened_at_once.append(Counted.open)

    assert spaces_of([Watched] * 3)[0].shape == (3,)
    assert opened_at_once == [1, 2, 3]
    assert Counted.open == 0


@pytest.mark.parametrize(
    ("env", "num_envs", "error", "message"),
    [
        ([], None, ValueError, r"must have at least one element. Received: env=\[\]"),
        (
            [Counted] * 3,
            7,
            ValueError,
            r"must be a multiple of the 3 environments.*, such as 6 or 9. Received: num_envs=7",
        ),
        ([Counted] * 3, 2, ValueError, r"such as 3 or 6. Received: num_envs=2"),
        (
            [Counted, "tf/CartPole-v1"],
            2,
            ValueError,
            r"Native environments come in batches.*Received: 'tf/CartPole-v1' in a",
        ),
        ([Counted, "CartPol-v1"], 2, ValueError, r"`env` must be an environment id that Gymnasium.*'CartPol-v1'"),
        ([Counted, 7], 2, TypeError, r"must be ids, `krp.envs.spec`s or callables. Received: 7 in a list"),
        ([Counted, ["CartPole-v1"]], 2, TypeError, r"Received: \['CartPole-v1'\] in a list"),
        ([Counted, scripted(0)()], 2, TypeError, r"must be ids.*Received: <.*ScriptedEnv object.* in a list"),
        ([Counted, sync], 2, TypeError, r"callable must make a `gymnasium.Env`. Received.*which made SyncVectorEnv"),
        ((Counted, Counted), 2, TypeError, r"`env` must be an environment id .* a list of such .*of type tuple"),
        (
            [Counted, lambda: Counted(spaces.Box(0.0, 1.0, (3,)))],
            4,
            ValueError,
            r"same `observation_space`. Received: Box\(-inf, inf, \(3,\), float32\) of <Counted instance> and "
            r"Box\(0.0, 1.0, \(3,\), float32\) of <Counted instance> \(environments 0 and 1\)",
        ),
        (
            ["CartPole-v1", "CartPole-v1", "MountainCar-v0"],
            3,
            ValueError,
            r"same `observation_space`.*CartPole-v1.*MountainCar-v0.*\(environments 0 and 2\)",
        ),
        (
            [Counted, lambda: ScriptedEnv(0, [(1, "truncated")], spaces.Discrete(3))],
            2,
            ValueError,
            r"same `action_space`. Received: Discrete\(2\) of <Counted.* and Discrete\(3\) of <Scr.*\(environments 0 and 1\)",
        ),
        ([Counted, lambda: Counted(spaces.Text(5))], 2, ValueError, "must have the same `observation_space`"),
        ([lambda: Counted(spaces.Text(5))] * 2, 2, ValueError, "`observation_space` must be made of Box"),
    ],
)
def test_errors_of_lists_leave_nothing_open(env, num_envs, error, message):
    with pytest.raises(error, match=message):
        make(env, num_envs)
    assert Counted.open == 0


def test_environments_are_closed_when_a_later_one_cannot_be_made():
    calls = []

    def third_time_unlucky():
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("no more")
        return Counted()

    with pytest.raises(RuntimeError, match="no more"):
        make(third_time_unlucky, 4)
    assert Counted.open == 0


def test_a_callable_that_makes_the_same_environment_again_is_refused():
    env = Counted()
    with pytest.raises(ValueError, match=r"must make a new environment at each call. Received: env=<function"):
        make(lambda: env, 2)
    assert make(lambda: Counted(), 1).num_envs == 1
