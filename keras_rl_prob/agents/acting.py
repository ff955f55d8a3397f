"""Acting of a built agent: policies, export, predictions."""

from typing import Any

import gymnasium
import keras
import tensorflow as tf

from keras_rl_prob import border, checks, spaces
from keras_rl_prob.agents import network_checks
from keras_rl_prob.deployment.export import export_policy
from keras_rl_prob.deployment.policy import Policy, deterministic_actions
from keras_rl_prob.distributions import Joint
from keras_rl_prob.envs.factory import BatchEnv
from keras_rl_prob.envs.playing import play
from keras_rl_prob.envs.playing.episodes import MAX_STEPS
from keras_rl_prob.envs.playing.rendering import Drawable, drawn
from keras_rl_prob.envs.previous_step import OBSERVATION, PreviousStep
from keras_rl_prob.keras_internals import layers_of
from keras_rl_prob.layers import NoisyDense
from keras_rl_prob.layers.dense_gsde import exploration
from keras_rl_prob.types import Mixin, Nest, Path


class ActingModel(Mixin):
    """Acting of an agent: `policy`, `export`, `predict`, and what they and the drivers use.

    Attributes:
        network, observation_space, action_space, normalize_observations: See `Agent`.
        input_space: The space of the network's inputs: `observation_space`, or what `krp.envs.with_previous_step` makes of it.
        observation_normalizers: List of a layer for each leaf of an observation, if observations are normalised.
    """

    observation_space: Any
    steps_per_execution: Any
    predict_function: Any

    previous_action_and_reward: bool = False
    """Whether the network also sees the previous action and reward; an argument of agents that may have memory."""

    def seen(self, env: BatchEnv) -> BatchEnv:
        """The environment as the network sees it: with the previous action and reward if the agent is to see them."""
        if not self.previous_action_and_reward:
            return env
        elsewhere = getattr(env, "with_previous_step", None)  # of environments that are stepped in other processes
        return PreviousStep(env) if elsewhere is None else elsewhere()

    def observed(self, seen: Nest) -> Nest:
        """The observation of the environment in what the network sees, nests `[B, ...]`."""
        if not self.previous_action_and_reward:
            return seen
        if isinstance(self.observation_space, gymnasium.spaces.Dict):
            return {key: seen[key] for key in self.observation_space}
        return seen[OBSERVATION]

    def policy(
        self, num_envs: int | None = None, deterministic: bool = True, seed: int = 0, epsilon: float = 0.0
    ) -> Policy:
        """A `Policy` that acts step by step and keeps the recurrent state, for play and deployment."""
        self._check_built("policy")
        num_envs, seed = checks.integer("num_envs", num_envs, none=True), checks.seed("seed", seed)
        return Policy(self, num_envs, checks.flag("deterministic", deterministic), seed, epsilon)

    def play(
        self,
        env: Drawable,
        episodes: int = 1,
        deterministic: bool = True,
        epsilon: float = 0.0,
        render_mode: str | None = "human",
        fps: float | None = None,
        max_steps: int = MAX_STEPS,
        seed: int = 0,
    ) -> list[dict[str, Any]]:
        """Plays episodes and shows them, in a window or a terminal, or returns their frames; the agent does not change.

        Args:
            env: Id of an environment, a `krp.envs.spec`, a callable that makes an environment, or a `gymnasium.Env` that was
                made with this render mode, which stays open. Native ids are drawn by Gymnasium's environment of the same
                physics.
            episodes: Number of episodes.
            deterministic: Whether to take the mode of the policy instead of samples.
            epsilon: Probability of a random action in place of the agent's.
            render_mode: `"human"` for a window, `"terminal"` for a picture of characters in a terminal, `"rgb_array"` for
                frames in what is returned, `None` for nothing.
            fps: Frames a second of a window or terminal, at most; the environment's own by default.
            max_steps: Number of steps after which an episode is left.
            seed: Seed of the first episode; the next one has `seed + 1`.

        Returns:
            A list with a dict for each episode, as by `krp.envs.play`: `"return"`, `"length"`, `"actions"` and `"frames"`.

        Raises:
            ValueError: `env` cannot be drawn, or has other spaces than the agent.
            RuntimeError: There is no display for a window, or no terminal.
        """
        checks.flag("deterministic", deterministic)
        policy = self.policy(deterministic=deterministic, seed=seed, epsilon=epsilon)
        with drawn(env, render_mode) as made:
            network_checks.check_same_spaces(self, made)
            return play(made, policy, episodes, render_mode, fps, max_steps, seed)

    def export(self, filepath: Path, format: str | None = None) -> None:
        """Writes the policy, from `(observation, is_first, state)` to `(action, state)`, for use without this library.

        See `keras_rl_prob.deployment.export.export_policy` for the contents of the files.

        Args:
            filepath: Folder of a SavedModel, or file of an ONNX model.
            format: `"tf_saved_model"`, or `"onnx"`, which takes `pip install "keras_rl_prob[onnx]"`; `None` for ONNX where
                `filepath` ends with `.onnx`.
        """
        self._check_built("export")
        export_policy(self, filepath, format)

    def predict(self, x: Nest, *args: Any, **kwargs: Any) -> Nest:
        """Actions for observations, as `keras.Model.predict`: the mode of the policy, with a recurrent state of zeros."""
        kept, self.steps_per_execution = self.steps_per_execution, 1  # the number of `fit` does not apply here
        try:
            return super().predict(x, *args, **kwargs)
        finally:
            self.steps_per_execution = kept

    def predict_step(self, data: Nest) -> Nest:
        """Deterministic actions for observations as environments return them, `[B, ...]` or sequences `[B, T, ...]`."""
        data = data[0] if isinstance(data, tuple) and len(data) == 1 else data
        return border.decode(self.action_space, deterministic_actions(self, border.encode(self.input_space, data)))

    def make_predict_function(self, force: bool = False) -> None:
        """Keras calls `predict_function` with a list of batches; every batch shape has its own trace."""
        self._check_built("predict")
        if self.predict_function is None or force:
            step = self.predict_step if self.run_eagerly else tf.function(self.predict_step, autograph=False)

            def predict_batches(batches):
                actions = [step(batch) for batch in batches]
                return keras.tree.map_structure(lambda *parts: tf.concat(parts, 0), *actions)

            self.predict_function = predict_batches

    def initial_state(self, batch_size: int) -> Nest:
        """Recurrent state at the start of an episode, a nest of zeros `[batch_size, ...]`; `()` without memory."""
        return self._unrolled.initial_state(batch_size)

    def normalize(self, observation: Nest) -> Nest:
        """Observations for the network: floats are normalised if `normalize_observations`, the rest stays unchanged."""
        if not self.normalize_observations:
            return observation
        flat = keras.tree.flatten(observation)
        normalized = [layer(x) for layer, x in zip(self.observation_normalizers, flat, strict=True)]
        return keras.tree.pack_sequence_as(observation, normalized)

    def distribution(self, parameters: Nest) -> Joint:
        """The `Joint` distribution over actions for a nest of the heads' outputs."""
        return self._heads.distribution(parameters)

    @property
    def noisy_layers(self) -> list[NoisyDense]:
        """List of the `NoisyDense` layers of all networks, whose noise explores."""
        layers = [layer for network in self.networks for layer in layers_of(network)]
        return [layer for layer in layers if isinstance(layer, NoisyDense)]

    def resample_noise(self, seed: tf.Tensor) -> None:
        """Draws new noise for the noisy layers; `seed`: int32 `[2]`."""
        for layer in self.noisy_layers:
            seed += [0, 7]
            layer.resample(seed)

    def policy_step(
        self, observation: Nest, is_first: tf.Tensor, state: Nest, seed: tf.Tensor, deterministic: bool = False
    ) -> tuple[Nest, dict[str, Nest], Nest, Nest]:
        """One step of a stochastic policy, for an `act`; the arguments are those of `act`.

        Returns:
            `(action, record, outputs, state)`: the action for the environment, a dict of its raw sample (`"raw"`) and the
            distribution's parameters (`"parameters"`), all outputs of the network, the next recurrent state.
        """
        noisy = bool(self.noisy_layers) and not deterministic
        with exploration(None if deterministic else seed):
            outputs, state = self._unrolled.step(self.normalize(observation), is_first, state, training=noisy)
        policy = self.distribution(outputs["action"])
        raw = policy.mode() if deterministic else self._heads.explored(outputs["action"], policy.sample(seed))
        return self.environment_action(raw), {"raw": raw, "parameters": outputs["action"]}, outputs, state

    def unroll(self, observation: Nest, is_first: tf.Tensor, state: Nest) -> tuple[Nest, Nest]:
        """The network's outputs for sequences `[T, B, ...]`, and the recurrent state after them."""
        return self._unrolled(self.normalize(observation), is_first, state)

    def environment_action(self, raw: Nest) -> Nest:
        """The action for the environment from a sample `raw` of the policy: squashed into bounds, or clipped to them."""
        return spaces.clip(self.action_space, self._heads.action(raw))

    def raw_action(self, action: Nest) -> Nest:
        """A sample for which `environment_action` returns this action; clipped actions stay as they are."""
        return self._heads.raw(action)

    def record_of_others(self, raw: Nest) -> dict[str, Nest] | None:
        """What `act` would have recorded of actions that somebody else took; `None` if the agent cannot learn from them.

        Args:
            raw: Nest `[B, ...]` of the actions, as samples of the policy (`raw_action`).
        """
        return None

    def _check_built(self, method):
        if not self.built:
            raise ValueError(
                f"`{method}` needs a built agent: call `fit(env)` or `build(env)` first. Received: {self.name} unbuilt"
            )
