"""From rollouts to a replay buffer, and from there to updates."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_rl_prob.drivers import Rollout, make_driver
from keras_rl_prob.envs.factory import BatchEnv
from keras_rl_prob.learning import failures
from keras_rl_prob.ops.n_step import n_step_sums
from keras_rl_prob.ops.temporal_difference import clipped
from keras_rl_prob.replay import Prioritized
from keras_rl_prob.replay.frames import frames_of
from keras_rl_prob.replay.ring import Ring
from keras_rl_prob.replay.settings import ReplaySettings
from keras_rl_prob.sources.recorded import recorded_rows, update_normalizers
from keras_rl_prob.sources.rollouts import RolloutSource
from keras_rl_prob.sources.stored_rows import StoredRows, known
from keras_rl_prob.types import Nest


class Transitions(NamedTuple):
    """Data of one gradient step: `N` transitions, each over up to `n_step` environment steps.

    Attributes:
        observation: Nest `[N, ...]`, as the environment returned it.
        action: Nest `[N, ...]`; as the policy sampled it, int32 `[N]` for Discrete actions.
        reward: float32 `[N]`; discounted sum of the rewards of these steps.
        next_observation: Nest `[N, ...]`; the observation after these steps, which may be the final one of an episode.
        discount: float32 `[N]`; factor of the value of `next_observation`, 0 after a termination.
        weight: float32 `[N]`; importance sampling weight, 0 where this is not a valid transition.
        index: int32 scalar; number of earlier updates on this rollout.
        seed: int32 `[2]`, for noise.
        report: Dict of float32 scalars that describe the rollout.
    """

    observation: Any
    action: tf.Tensor
    reward: tf.Tensor
    next_observation: Any
    discount: tf.Tensor
    weight: tf.Tensor
    index: tf.Tensor
    seed: tf.Tensor
    report: dict


class Replayed(NamedTuple):
    """The samples for the updates on a rollout.

    Attributes:
        drawn: The first fields of `Transitions`, each `[maximum number of updates, ...]`.
        updates: int32 scalar; number of gradient steps to take.
        seed: int32 `[2]`.
        report: Dict of float32 scalars that describe the rollout.
    """

    drawn: tuple
    updates: tf.Tensor
    seed: tf.Tensor
    report: dict

    @property
    def kind(self) -> type:
        """Class of the data of a gradient step."""
        return Transitions

    def update(self, index: tf.Tensor) -> Any:
        """Returns the data of a gradient step."""
        drawn = tf.nest.map_structure(lambda x: x[index], self.drawn)
        return self.kind(*drawn, index, self.seed + tf.stack([0, (index + 1) * 2**20]), self.report)


class ReplaySource(RolloutSource):
    """Stores rollouts in a ring buffer and samples transitions from it.

    A stored row has the values of all environments at one time step; the observation that an action led to is in the next row.
    An item that can be sampled is a window of `window` rows of one environment; windows start at every `stride`-th row.

    Environments that reset within the same step return the final observation of a truncated episode separately. Their rows
    store it as a second observation; when it is read, it is a row of its own, as with other environments.

    A transition is invalid (has weight 0) if its next observation is unknown, which happens where a resumed run starts new
    episodes.

    Args:
        agent: A built agent with the attributes of a `ReplayingModel` and a `discount`.
        env: A native or Gymnasium environment.
        seed: Integer that determines resets, actions and samples.
        settings: `ReplaySettings`.
    """

    replayed = Replayed

    def __init__(self, agent: keras.Model, env: BatchEnv, seed: int, settings: ReplaySettings) -> None:
        window, stride = settings.window, settings.stride
        compiled = agent.jit_compile and agent.acts_compiled
        driver = make_driver(
            agent, env, steps=agent.rollout_steps, sequence_length=stride, seed=seed, jit_compile=compiled
        )
        super().__init__(agent, env, driver, seed)
        self._settings: Any = settings
        self._num_envs, self._stride = env.num_envs, stride
        self._draws = settings.most_updates(agent.updates)
        self._frames = None if settings.frame_axis is None else frames_of(env.observation_space, settings.frame_axis)
        self._history = 0 if self._frames is None else -(-(self._frames - 1) // stride) * stride
        self._span = -(-window // stride)  # of a window, in strides
        rows = settings.capacity // env.num_envs // stride * stride
        self._check_capacity(rows)
        self.rows = StoredRows(agent.make_ring, settings.frame_axis, env, driver, rows)
        self.ring = self.rows.ring
        self.priorities: Any = None
        if settings.priorities:
            numbers = settings.priorities
            self.priorities = Prioritized(rows // stride * env.num_envs, numbers.alpha, numbers.epsilon)
        drawn = tf.zeros((self._draws, settings.batch_size), tf.int32)
        self._pending = tf.Variable(drawn, trainable=False, name="pending")  # items of the last updates
        self._count = tf.Variable(0, trainable=False, name="count")  # of these updates
        self._recorded: list[Any] | None = None  # episodes to learn from without further rollouts

    def _check_capacity(self, rows):
        settings, rollout_steps = self._settings, self.agent.rollout_steps
        least = max(self._span + 1, 2) * self._stride + self._history + rollout_steps
        if rows < least:
            raise ValueError(
                f"`capacity` must hold a rollout and the rows of a sample of every environment, here {least} rows of "
                f"{self._num_envs} environments: {least * self._num_envs}. Received: capacity={settings.capacity}, "
                f"rollout_steps={rollout_steps}, n_step={settings.n_step}"
            )
        if settings.learning_starts > rows * self._num_envs:
            raise ValueError(
                f"`learning_starts` must be at most what the buffer holds, {rows * self._num_envs} transitions. "
                f"Received: learning_starts={settings.learning_starts}, capacity={settings.capacity}"
            )

    @property
    def variables(self) -> list[tf.Variable]:
        """Everything besides the agent that the next update depends on, as far as it can be stored."""
        replay = [self._pending, self._count, *self.ring.variables]
        replay += self.priorities.variables if self.priorities else []
        return [*super().variables, *(replay if self._settings.checkpoint_replay else [])]

    @property
    def rings(self) -> list[Ring]:
        """The ring buffer, if it is stored in files."""
        return [self.ring] if self._settings.checkpoint_replay else []

    def restart(self, env: BatchEnv, seed: int, goes_on: bool = False) -> None:
        """Starts anew, with the replay buffer of a new source unless `goes_on`."""
        super().restart(env, seed, goes_on)
        if not (goes_on and self.rings):
            self._begin_memory()

    def _begin_memory(self):
        self.ring.clear()
        if self.priorities:
            self.priorities.clear()
        for variable in (self._pending, self._count):
            variable.assign(tf.zeros_like(variable))
        if self._recorded or self.agent.experience:
            self.load(self._recorded or self.agent.experience)

    def break_off(self) -> None:
        """Discards the iterator after an exception; errors of updates that failed do not become priorities."""
        super().break_off()
        if int(self.agent.failure) != failures.NONE:
            self._count.assign(0)

    # ---- storing ----------------------------------------------------------------------------------------------

    def collect(self) -> dict[str, tf.Tensor]:
        """Collects and stores a rollout, and more of them until learning may start; returns the report on them."""
        if self.priorities:
            tf.cond(self._count > 0, self._settle, lambda: None)
        if self._recorded:
            return dict.fromkeys(self.follower.reported, tf.constant(0.0))

        def another(count, report):
            rollout = self.play()
            with tf.control_dependencies(tf.nest.flatten(rollout)):  # if an environment fails, nothing is stored
                further = self.store(rollout)
            failure = tf.maximum(report["failure"], further["failure"])
            return count + 1, {**{name: report[name] + further[name] for name in report}, "failure": failure}

        start = 0, dict.fromkeys(self.follower.reported, tf.constant(0.0))
        going = lambda count, _: tf.equal(count, 0) | ~self._ready()  # noqa: E731
        return tf.while_loop(going, another, start, parallel_iterations=1)[1]

    def play(self) -> Rollout:
        """Collects a rollout with newly sampled noise."""
        self.agent.resample_noise(self.driver.key + [3, 0])
        return self.driver.collect()

    def prepare(self, report: dict[str, tf.Tensor]) -> Replayed:
        """Samples the batches of the updates on what was collected."""
        report |= self.agent.exploration_report()
        report["replay_size"] = tf.cast(self.ring.size * self._num_envs, tf.float32)
        seed, updates = self.next_seed(), tf.constant(self.agent.updates)
        if self._settings.poisson_updates:
            drawn = tf.random.stateless_poisson((), seed + [5, 0], float(self.agent.updates), tf.int32)
            updates = tf.minimum(drawn, self._draws)
        return self.replayed(self.draw(seed, updates), updates, seed, report)

    def store(self, rollout: Rollout) -> dict[str, tf.Tensor]:
        """Adds a rollout to the ring buffer; returns the report on it. Nothing can be drawn of a rollout with a failure."""
        report, healthy = self.follower.follow(rollout)
        record = rollout.record
        self.follower.keep_actions(rollout)
        beside = {}
        if not self.rows.has_final_rows:
            beside["final_observation"] = self.rows.newest(rollout.final_value)
            beside["has_final"] = rollout.ended & (rollout.discount > 0.0)
        observation, known_stacks = self.rows.apart(rollout.observation, rollout.is_first)
        failure = tf.where(healthy & ~known_stacks, float(failures.STACK), report["failure"])
        rows = {
            **observation,
            **beside,
            "action": record["raw"],
            "reward": rollout.reward,
            "terminated": tf.equal(rollout.discount, 0.0),
            "ended": rollout.ended,
            "is_first": rollout.is_first,
            "valid": rollout.valid,
        }
        usable = tf.equal(failure, failures.NONE)
        rows = tf.nest.map_structure(lambda x: tf.where(usable, x, tf.zeros_like(x)), rows)
        self.add_rows(rows | {"is_first": rows["is_first"] | ~usable})  # so that no transition leads into it
        return report | {"failure": failure}

    def learn_from(self, episodes: Iterable[Any]) -> None:
        """Makes recorded episodes all that the ring buffer will ever have, unless it has them as that of a resumed training.

        Args:
            episodes: As in `load`.

        Raises:
            ValueError: The buffer is too small for the episodes, or they are too few for a sample.
        """
        rows, capacity = recorded_rows(self.agent, episodes), self.ring.capacity * self._num_envs
        if len(rows["reward"]) > capacity:
            raise ValueError(
                f"`capacity` must hold the recorded episodes, {len(rows['reward'])} rows. Received: {capacity}"
            )
        self._recorded = list(episodes)
        if int(self.ring.size.numpy()):
            return
        self.load(episodes)
        update_normalizers(self.agent, rows["observation"])
        if not bool(self._ready(0)):
            raise ValueError(
                f"`episodes` must have the steps of a sample for each of {self._num_envs} environments; `num_envs=1` needs the "
                f"fewest. Received: {len(rows['reward'])}, final observations included"
            )

    def load(self, episodes: Iterable[Any]) -> None:
        """Adds recorded episodes to the ring buffer, only the last ones if there are too many.

        Args:
            episodes: List of `Episode`s, or of objects or dicts with its fields.
        """
        rows = recorded_rows(self.agent, episodes)
        if self._frames is not None:
            stored, known_stacks = self.rows.apart(rows["observation"][:, None], rows["is_first"][:, None])
            if not bool(known_stacks):
                raise ValueError(f"`episodes` do not fit `frame_axis`: {failures.MESSAGES[failures.STACK]}")
            rows |= {name: x[:, 0].numpy() for name, x in stored.items()}
        count = min(len(rows["reward"]) // self._num_envs, self.ring.capacity) // self._stride * self._stride
        if not count:
            raise ValueError(
                f"`episodes` must have at least {self._num_envs * self._stride} steps for {self._num_envs} environments. "
                f"Received: {len(rows['reward'])}, final observations included"
            )

        def columns(x):
            x = x[-count * self._num_envs :].reshape(self._num_envs, count, *x.shape[1:])
            return tf.constant(x.swapaxes(0, 1))

        rows = tf.nest.map_structure(columns, rows)
        rows["action"] = self.agent.raw_action(rows["action"])
        if not self.rows.has_final_rows:  # those of recorded episodes are rows
            rows["final_observation"] = tf.nest.map_structure(tf.zeros_like, rows["observation"])
            rows["has_final"] = tf.zeros_like(rows["ended"])
        self.add_rows(rows)

    def add_rows(self, rows: dict[str, Nest]) -> None:
        """Adds rows `[T, B, ...]`, `T` a multiple of the stride, to the ring buffer; completed items get a priority."""
        self.ring.add(rows)
        if not self.priorities:
            return
        complete = rows["reward"].shape[0] // self._stride
        incomplete = self._span - 1
        back = tf.range(incomplete + complete, 0, -1)  # strides back from the newest row, oldest first
        ages = self.ring.size - back * self._stride
        places, envs = self._grid(ages)
        present = (ages >= self._history)[:, None] & (back > incomplete)[:, None] & self._may_start(places, envs)
        self.priorities.add(tf.reshape(self._item(places, envs), (-1,)), tf.reshape(present, (-1,)))
        if self._history:  # rows whose earlier frames were overwritten
            items = tf.reshape(self._item(*self._grid(tf.range(0, self._history, self._stride))), (-1,))
            self.priorities.add(items, tf.zeros_like(items, tf.bool))

    def _grid(self, ages):
        """Slots and environments `[len(ages), B]` of all rows of these ages."""
        shape = (ages.shape[0], self._num_envs)
        places, envs = self.ring.place(ages)[:, None], tf.range(self._num_envs)[None]
        return tf.broadcast_to(places, shape), tf.broadcast_to(envs, shape)

    def _may_start(self, places, envs):
        """Whether rows start a valid transition, bool: final observations do not, nor do rows before a resume."""
        *_, usable = self._window(places, envs)
        return usable

    def _item(self, places, envs):
        return places // self._stride * self._num_envs + envs

    def _ready(self, learning_starts=None):
        """Whether there are enough rows to sample from, and for the learning to start."""
        learning_starts = self._settings.learning_starts if learning_starts is None else learning_starts
        steps = max(-(-learning_starts // self._num_envs), self._history + (self._span + 1) * self._stride)
        enough = self.ring.size >= steps
        return enough & (self.priorities.tree.total > 0.0) if self.priorities else enough

    def _settle(self):
        """Updates the priorities of the items of the last updates; invalid items keep the priority 0."""
        items, errors = (tf.reshape(x[: self._count], (-1,)) for x in (self._pending, self.agent.td_errors.value))
        drawable = self.priorities.tree.priority(items) > 0.0
        self.priorities.update(tf.boolean_mask(items, drawable), tf.boolean_mask(errors, drawable))

    # ---- sampling ---------------------------------------------------------------------------------------------

    def draw(self, seed: tf.Tensor, used: tf.Tensor) -> tuple[Nest, ...]:
        """Samples the data of all updates on a rollout, of which `used` take place: each field `[updates, N, ...]`."""
        updates, batch = self._draws, self._settings.batch_size
        if self.priorities:
            items = self.priorities.draw(updates * batch, seed)
            places, envs = items // self._num_envs * self._stride, items % self._num_envs
        else:
            starts = (self.ring.size - self._history) // self._stride - self._span + 1
            number = starts * self._num_envs
            drawn = tf.random.stateless_uniform((updates * batch,), seed, 0, number, tf.int32)
            places = self.ring.place(self._history + drawn // self._num_envs * self._stride)
            envs = drawn % self._num_envs
        places, envs = (tf.reshape(x, (updates, batch)) for x in (places, envs))
        if self._settings.online_updates:
            newest = tf.range(batch)
            back = tf.minimum(newest // self._num_envs + self._span, self.ring.size // self._stride)
            newest_places = self.ring.place(self.ring.size - back * self._stride)
            places = tf.concat([newest_places[None], places[1:]], 0)
            envs = tf.concat([(newest % self._num_envs)[None], envs[1:]], 0)
        weights = tf.ones(places.shape)
        if self.priorities:
            items = self._item(places, envs)
            self._pending.assign(items)
            self._count.assign(used)
            weights = self.priorities.weights(items, self._settings.priorities.current_beta(self.agent.env_steps))
            if self._settings.online_updates:
                weights = tf.concat([tf.ones_like(weights[:1]), weights[1:]], 0)
        return self.read(places, envs, weights)

    def _window(self, places, envs):
        """Reads the windows that start at `places`, of any shape.

        Returns:
            `(rows, final)` of `StoredRows.window`; steps, reward and discount of transitions; whether they are valid, bool.
        """
        n = self._settings.n_step
        rows, final = self.rows.window(places, envs, n + 1)  # [n + 1, ...]
        window = self.rows.entries(("reward", "terminated", "ended", "is_first"), rows, envs[None], final)
        reward, discount, steps = n_step_sums(
            clipped(window["reward"][:n], self._settings.reward_clip),
            self.agent.discount * (1.0 - tf.cast(window["terminated"][:n], tf.float32)),
            ~window["ended"][:n],
        )
        usable = self.ring.read("valid", places, envs) & known(window["is_first"][1:], steps, discount)
        return rows, final, steps, reward, discount, usable

    def read(self, places: tf.Tensor, envs: tf.Tensor, weights: tf.Tensor) -> tuple[Nest, ...]:
        """Returns the transitions that start at `places` `[updates, N]`, as the first fields of `Transitions`."""
        rows, final, steps, reward, discount, usable = self._window(places, envs)
        after, after_is_final = (
            tf.reduce_sum(
                tf.one_hot(steps, self._settings.n_step + 1, axis=0, dtype=tf.int32) * tf.cast(x, tf.int32), 0
            )
            for x in (rows, final)
        )
        return (
            self.rows.observation(places, envs),
            self.ring.read("action", places, envs),
            reward,
            self.rows.observation(after, envs, tf.cast(after_is_final, tf.bool)),
            discount,
            tf.where(usable, weights, 0.0),
        )
