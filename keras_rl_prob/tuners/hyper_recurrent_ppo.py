"""A KerasTuner hypermodel for recurrent agents."""

import importlib.util
from typing import Any

import keras

from keras_rl_prob import checks, masks, networks
from keras_rl_prob.agents import RecurrentPPO
from keras_rl_prob.agents.vocabulary import meant
from keras_rl_prob.envs import spaces_of
from keras_rl_prob.envs.factory import EnvOrSpaces
from keras_rl_prob.layers import StatefulRNN
from keras_rl_prob.networks.cells import CELLS
from keras_rl_prob.networks.encoder import dense


class HyperRecurrentPPO:
    """A hypermodel for KerasTuner: `RecurrentPPO` agents that differ in architecture and algorithm.

    Pass it to any tuner as its `hypermodel`. By default a search covers

    | hyperparameter | values | default |
    | --- | --- | --- |
    | `memory` | `"lstm"`, `"gru"`, `"none"` | `"lstm"` |
    | `units` of every layer | 32, 64, 128 | 64 |
    | `encoder_layers` before the memory | 1, 2 | 1 |
    | `shared` layers of policy and value, see `krp.networks.recurrent` | `False`, `True` | `False` |
    | `learning_rate` | 1e-4 to 3e-3, log | 3e-4 |
    | `entropy_coef` | 1e-4 to 3e-2, log | 0.01 |
    | `clip_ratio` | 0.1 to 0.3 | 0.2 |
    | `gae_lambda` | 0.9, 0.95, 0.98 | 0.95 |
    | `discount` | 0.95, 0.99, 0.995 | 0.99 |
    | `update_epochs` | 2, 4, 8 | 4 |
    | `minibatches` | those of 1, 2, 4, 8 that divide `rollout_steps` | 4, or the largest |
    | `normalize_observations` | `False`, `True` | `False` |

    All combinations work with any number of environments. An entry in the tuner's `hyperparameters` replaces the one with the
    same name. `rollout_steps` is not a hyperparameter, so that an epoch of `fit` has the same number of environment steps in
    every trial. To search over more, derive a class and override `network` or `build`; to override `fit`, derive it from
    `keras_tuner.HyperModel` too: `class Mine(HyperRecurrentPPO, keras_tuner.HyperModel)`.

    Needs KerasTuner and TensorBoard, which KerasTuner imports: `pip install "keras_rl_prob[tuner]"`.

    Args:
        env: Anything that `fit` accepts, or a pair `(observation_space, action_space)` of Gymnasium spaces; only its spaces are
            used, in the constructor.
        rollout_steps: Rows collected from each environment before the updates, in every trial.
        jit_compile: As in `Agent.compile`. Compiling with XLA takes seconds and memory for every trial, and pays for trials of
            more than about 200,000 environment steps.
        **unsupported: None; other arguments raise a `TypeError`.

    Raises:
        ImportError: KerasTuner or TensorBoard is not installed.
        TypeError: `env` is not an environment, or an argument is unknown.
        ValueError: `rollout_steps` is not a positive integer, `jit_compile` is invalid, or a space is not supported.

    Example:
    ```python
    env = "krp/CartPoleNoVel-v1"
    tuner = keras_tuner.RandomSearch(
        krp.tuners.HyperRecurrentPPO(env),
        objective=keras_tuner.Objective("val_return", "max"),
        max_trials=20,
        directory="runs",
        project_name="tuning",
    )
    tuner.search(env, epochs=3, validation_data=env)
    agent = tuner.get_best_models()[0]
    ```
    """

    def __init__(
        self, env: EnvOrSpaces, *, rollout_steps: int = 128, jit_compile: bool = False, **unsupported: Any
    ) -> None:
        _check_installed()
        _check_arguments(unsupported)
        rollout_steps = checks.integer("rollout_steps", rollout_steps)
        jit_compile = checks.flag("jit_compile", jit_compile, "auto")
        self.observation_space, self.action_space = spaces_of(env)
        self.rollout_steps, self.jit_compile = rollout_steps, jit_compile
        super().__init__()  # for classes that also derive from `keras_tuner.HyperModel`

    def __call__(self, hp: Any) -> RecurrentPPO:
        """Calls `build`: tuners call hypermodels that are not a `keras_tuner.HyperModel`."""
        return self.build(hp)

    def build(self, hp: Any) -> RecurrentPPO:
        """A built and compiled agent.

        Args:
            hp: `keras_tuner.HyperParameters` with the values of a trial.

        Returns:
            A `RecurrentPPO`.

        Raises:
            TypeError: `hp` has another type.
            ValueError: A hyperparameter has an invalid value.
        """
        _check_hyperparameters(hp)
        fitting = [n for n in (1, 2, 4, 8) if self.rollout_steps % n == 0]
        agent = RecurrentPPO(
            self.network(hp),
            rollout_steps=self.rollout_steps,
            minibatches=hp.Choice("minibatches", fitting, default=min(4, fitting[-1])),
            update_epochs=hp.Choice("update_epochs", [2, 4, 8], default=4),
            discount=hp.Choice("discount", [0.95, 0.99, 0.995], default=0.99),
            gae_lambda=hp.Choice("gae_lambda", [0.9, 0.95, 0.98], default=0.95),
            clip_ratio=hp.Float("clip_ratio", 0.1, 0.3, default=0.2),
            entropy_coef=hp.Float("entropy_coef", 1e-4, 3e-2, sampling="log", default=0.01),
            normalize_observations=checks.flag("normalize_observations", hp.Boolean("normalize_observations")),
        )
        learning_rate = hp.Float("learning_rate", 1e-4, 3e-3, sampling="log", default=3e-4)
        learning_rate = float(checks.number("learning_rate", learning_rate, above=0.0))
        optimizer = keras.optimizers.Adam(learning_rate, epsilon=1e-5, global_clipnorm=0.5)
        agent.compile(optimizer, jit_compile=self.jit_compile)
        agent.build((self.observation_space, self.action_space))
        return agent

    def network(self, hp: Any) -> keras.Model:
        """The network of a trial, like `krp.networks.recurrent`: tanh layers, an optional recurrent layer, heads and value.

        Args:
            hp: `keras_tuner.HyperParameters`.

        Returns:
            A Functional `keras.Model` for one step, as `RecurrentPPO` takes it.

        Raises:
            TypeError: `hp` has another type.
            ValueError: `memory` is an unknown cell, or a number is out of its range.
        """
        _check_hyperparameters(hp)
        memory = hp.Choice("memory", ["lstm", "gru", "none"])
        units = checks.integer("units", hp.Choice("units", [32, 64, 128], default=64))
        before = checks.integer("encoder_layers", hp.Int("encoder_layers", 1, 2), least=0)
        shared = checks.flag("shared", hp.Boolean("shared"))
        if memory not in (*CELLS, "none"):
            choices = [*CELLS, "none"]
            raise ValueError(f"The hyperparameter `memory` must be one of {choices}. Received: memory={memory!r}")
        inputs, features = networks.encoder(self.observation_space)

        def trunk():
            x = features
            for _ in range(before):
                x = dense(units)(x)
            if memory == "none":
                return x
            x = StatefulRNN(CELLS[memory](units))(x)
            return x if shared else dense(units)(x)

        x = trunk()
        value = keras.layers.Dense(1)(x if shared else trunk())
        mask = inputs[masks.KEY] if masks.places(self.observation_space, self.action_space) else None
        return keras.Model(inputs, {"action": networks.heads(self.action_space, x, mask), "value": value})


def _check_installed():
    missing = [name for name in ("keras_tuner", "tensorboard") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            "`HyperRecurrentPPO` needs KerasTuner and TensorBoard, which KerasTuner imports in every trial: "
            f'pip install "keras_rl_prob[tuner]". Missing: {", ".join(missing)}'
        )


def _check_arguments(unsupported):
    """Raises a `TypeError` for unknown arguments."""
    for name, value in unsupported.items():
        close = meant(name, ["env", "rollout_steps", "jit_compile"])
        hint = f" Did you mean `{close}`?" if close else " What is searched is set by the tuner's `hyperparameters`."
        raise TypeError(f"`{name}` is not an argument of `HyperRecurrentPPO`.{hint} Received: {name}={value!r}")


def _check_hyperparameters(hp):
    """Raises a `TypeError` unless values can be drawn from `hp`."""
    if not all(callable(getattr(hp, kind, None)) for kind in ("Boolean", "Choice", "Float", "Int")):
        raise TypeError(f"`hp` must be `keras_tuner.HyperParameters`. Received: hp={hp!r}")
