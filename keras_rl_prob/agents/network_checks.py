"""Checks of networks, before anything is built."""

from collections.abc import Iterable, Sequence

import gymnasium
import keras
import numpy as np
import tensorflow as tf
from gymnasium import spaces as gym_spaces

from keras_rl_prob import masks, spaces
from keras_rl_prob.distributions import Joint
from keras_rl_prob.envs.factory import BatchEnv
from keras_rl_prob.keras_internals import inputs_behind, layer_behind, layers_of
from keras_rl_prob.layers import Dueling, Head, NoisyDense, QValues, StatefulRNN
from keras_rl_prob.learning.progress.hints import cure_of_inert
from keras_rl_prob.types import Nest

HEAD_FOR = {"continuous": "DenseNormal", "discrete": "DenseCategorical", "binary": "DenseBernoulli"}


class ActionHeads:
    """The heads of a network's `"action"` outputs, found through its Functional graph and not tracked by Keras again.

    Args:
        network: A network that passed `check_network`.
    """

    def __init__(self, network: keras.Model) -> None:
        outputs = keras.tree.lists_to_tuples(network.output["action"])
        self._heads = keras.tree.map_structure(lambda output: layer_behind(output), outputs)

    def distribution(self, parameters: Nest) -> Joint:
        """The `Joint` distribution for a nest of the heads' outputs."""
        return Joint(keras.tree.map_structure(lambda head, x: head.distribution(x), self._heads, parameters))

    def explored(self, parameters: Nest, sample: Nest) -> Nest:
        """What an agent takes while it explores, for a nest of the heads' outputs and a sample of their distribution."""
        return keras.tree.map_structure(lambda head, x, y: head.explored(x, y), self._heads, parameters, sample)

    def action(self, raw: Nest) -> Nest:
        """Actions from a nest of raw samples."""
        return keras.tree.map_structure(lambda head, x: head.action(x), self._heads, raw)

    def raw(self, action: Nest) -> Nest:
        """Raw samples from a nest of actions."""
        return keras.tree.map_structure(lambda head, x: head.raw(x), self._heads, action)


def check_no_strategy(network: keras.Model | None = None) -> None:
    """Raises a `ValueError` in the scope of a `tf.distribute` strategy, or if the variables of `network` were made in one."""
    mirrored = network is not None and [
        v.path for v in network.variables if isinstance(v.value, tf.distribute.DistributedValues)
    ]
    if tf.distribute.has_strategy() or mirrored:
        received = f"the variable {mirrored[0]}" if mirrored else type(tf.distribute.get_strategy()).__name__
        raise ValueError(
            "An agent and its network must be made and used outside the scope of `tf.distribute` strategies, which are not "
            f"supported: leave out `strategy.scope()`, and give one device more work by `num_envs`. Received: {received}"
        )


def check_network(
    network: keras.Model, output_names: Sequence[str], observation_space: gymnasium.Space, action_space: gymnasium.Space
) -> None:
    """Raises a `ValueError` unless `network` maps observations of the one space to heads for the other.

    Args:
        network: The argument `network`.
        output_names: Keys that the output must have.
        observation_space: Gymnasium space.
        action_space: Gymnasium space.
    """
    if not isinstance(network, keras.Model) or not hasattr(network, "inputs"):
        raise ValueError(
            "`network` must be a Functional `keras.Model` for one step: "
            f'`keras.Model(inputs, {{"action": head(x), "value": keras.layers.Dense(1)(x)}})`. Received: network={network!r}'
        )
    _check_inputs(network, observation_space)
    outputs = None if isinstance(network, keras.Sequential) else network.output
    if not isinstance(outputs, dict) or not set(output_names) <= set(outputs):
        got = sorted(outputs) if isinstance(outputs, dict) else type(outputs).__name__
        raise ValueError(f"`network` must output a dict with the keys {list(output_names)}. Received: outputs={got}")
    if "value" in output_names and tuple(outputs["value"].shape[1:]) != (1,):
        raise ValueError(
            '`network`\'s "value" must be one number for each observation, as from `keras.layers.Dense(1)`. '
            f"Received: shape={tuple(outputs['value'].shape)}"
        )
    _check_heads(keras.tree.lists_to_tuples(outputs["action"]), action_space)
    check_noise(network)
    for place in masks.places(observation_space, action_space):
        _check_masked(keras.tree.flatten(outputs["action"])[place.action])


def check_noise(network: keras.Model) -> None:
    """Raises a `ValueError` if a network has, besides `NoisyDense`, layers that would be in training mode with its noise."""
    layers = layers_of(network)
    others = [layer.name for layer in layers if cure_of_inert(layer)]
    if others and any(isinstance(layer, NoisyDense) for layer in layers):
        raise ValueError(
            "`network` must not have `NoisyDense` together with layers that differ between training and inference, since an "
            "agent acts with the noise of training: leave them out, or use `LayerNormalization` or `kernel_regularizer`. "
            f"Received: {others}"
        )


def check_same_spaces(agent: keras.Model, env: BatchEnv | gymnasium.Env) -> None:
    """Raises a `ValueError` unless `env` has the spaces that `agent` was built for."""
    for name in ("observation_space", "action_space"):
        built, got = getattr(agent, name), getattr(env, name)
        if spaces.tensor_specs(built) != spaces.tensor_specs(got) or _categories(built) != _categories(got):
            raise ValueError(
                f"`env` must have the {name} that the agent was built for. Expected: {built}. Received: {got}"
            )


def _categories(space):
    """What shapes do not show: the types of the leaves and their numbers of classes."""
    return [
        (type(leaf), str(getattr(leaf, "n", None)), str(getattr(leaf, "nvec", None))) for leaf in spaces.leaves(space)
    ]


def _check_inputs(network, observation_space):
    specs = spaces.tensor_specs(observation_space)
    expected = [tuple(spec.shape) for spec in keras.tree.flatten(specs)]
    received = [tuple(x.shape[1:]) for x in network.inputs]
    if len(expected) == len(received) and all(map(_fits, expected, received)):
        return
    raise ValueError(
        f"`network`'s inputs must have the shapes of the observation space {observation_space}, without a time axis. "
        f"Expected: {expected}. Received: {received}"
    )


def _fits(shape, pattern):
    """Whether an input of shape `pattern`, in which `None` stands for any size, takes a tensor of shape `shape`."""
    return len(shape) == len(pattern) and all(n in (None, m) for m, n in zip(shape, pattern, strict=True))


def _check_heads(outputs, action_space):
    wanted = spaces.map_structure(_describe, action_space)
    leaves = spaces.leaves(action_space)
    try:
        keras.tree.assert_same_structure(outputs, spaces.map_structure(lambda leaf: 0, action_space))
    except (ValueError, TypeError):
        raise ValueError(
            f'`network`\'s "action" must have the structure of the action space {action_space}, one head for each component. '
            f"Expected: {wanted}. Received: {keras.tree.map_structure(lambda x: tuple(x.shape), outputs)}"
        ) from None
    for output, leaf in zip(keras.tree.flatten(outputs), leaves, strict=True):
        head = layer_behind(output)
        if not isinstance(head, Head):
            raise ValueError(
                f'`network`\'s "action" must come from a head of `keras_rl_prob.layers`, here {_describe(leaf)} for {leaf}. '
                f"Received: {type(head).__name__} {head.name!r}"
            )
        kind, shape, classes = _kind(leaf)
        fits = head.action_kind == kind and tuple(head.action_shape) == shape
        if fits and kind == "discrete":
            fits = np.array_equal(head.num_classes, classes)
        if not fits:
            raise ValueError(
                f"`network`'s head {head.name!r} does not fit the action space {leaf}. Expected: {_describe(leaf)}. "
                f"Received: {type(head).__name__} of {head.action_kind} actions with shape {tuple(head.action_shape)}"
            )


def _check_masked(output):
    """Raises a `ValueError` if a head does not get the mask that the observation has for it."""
    head = layer_behind(output)
    if len(inputs_behind(output)) == 1:
        raise ValueError(
            f"`network`'s head {head.name!r} must get the mask that the observation has under {masks.KEY!r}: "
            f"`{type(head).__name__}(...)([x, mask])`. Rename that key if it is no mask. Received: a head without one"
        )


def _kind(leaf):
    if isinstance(leaf, gym_spaces.Box):
        return "continuous", leaf.shape, None
    if isinstance(leaf, gym_spaces.MultiBinary):
        return "binary", leaf.shape, None
    return "discrete", leaf.shape, leaf.n if isinstance(leaf, gym_spaces.Discrete) else leaf.nvec


def _describe(leaf):
    kind, shape, _ = _kind(leaf)
    if isinstance(leaf, gym_spaces.Discrete):
        shape = (int(leaf.n),)
    if isinstance(leaf, gym_spaces.MultiDiscrete):
        shape = (*leaf.shape, int(leaf.nvec.max()))
    return f"{HEAD_FOR[kind]}({shape})"


def has_memory(network: keras.Model) -> bool:
    """Whether a network has a `StatefulRNN`."""
    return any(isinstance(layer, StatefulRNN) for layer in layers_of(network))


def prefers_xla(networks: Iterable[keras.Model]) -> bool:
    """Whether networks train faster when compiled with XLA: not if one has convolutions and there is no GPU."""
    layers = [layer for network in networks for layer in layers_of(network)]
    convolutions = any(isinstance(layer, keras.layers.Conv2D) for layer in layers)
    return not convolutions or bool(tf.config.list_physical_devices("GPU"))


def reject_q_values(network: keras.Model, agent_name: str) -> None:
    """Raises a `ValueError` if a network's `"action"` are action values instead of a policy."""
    for output in keras.tree.flatten(network.output["action"]):
        if isinstance(layer_behind(output), QValues):
            raise ValueError(
                f'`network`\'s "action" must be a policy for {agent_name}, as from `keras_rl_prob.layers.DenseCategorical`; '
                "action values, and `Dueling`, are for `krp.DQN`. Received: QValues "
                f"{layer_behind(output).name!r}"
            )


def check_has_memory(network: keras.Model, agent_name: str, alternative: str, argument: str = "network") -> None:
    """Raises a `ValueError` unless a network, which is this argument of the agent, has a `StatefulRNN`."""
    if not has_memory(network):
        raise ValueError(
            f"`{argument}` must have memory for {agent_name}, a `keras_rl_prob.layers.StatefulRNN`. "
            f"Use `krp.{alternative}` for networks "
            f"without. Received: {argument}={network.name!r} with the layers {[layer.name for layer in network.layers]}"
        )


def check_has_no_memory(network: keras.Model, agent_name: str, alternative: str, argument: str = "network") -> None:
    """Raises a `ValueError` if a network, this argument of the agent, has a `StatefulRNN`; `alternative` is a sentence."""
    if has_memory(network):
        raise ValueError(
            f"`{argument}` must have no memory for {agent_name}, which replays single steps. {alternative} "
            f"Received: {[layer.name for layer in layers_of(network) if isinstance(layer, StatefulRNN)]}"
        )


def check_q_network(agent: keras.Model, network: keras.Model, action_space: gymnasium.Space) -> None:
    """Raises a `ValueError` unless the action is Discrete and `network` fits the arguments of a value-based agent."""
    name = type(agent).__name__
    if not isinstance(action_space, gym_spaces.Discrete):
        raise ValueError(
            f"{name} needs a Discrete action space, for it compares the values of all actions. Use `krp.PPO`, "
            f"`krp.RecurrentPPO`, `krp.A2C` or `krp.Reinforce`, which take any. Received: action_space={action_space}"
        )
    head = layer_behind(network.output["action"])
    if not isinstance(head, QValues):
        raise ValueError(
            f'`network`\'s "action" must be action values for {name}: '
            f"`keras_rl_prob.layers.QValues(({int(action_space.n)},))(values)`. Received: {type(head).__name__} "
            f"{head.name!r}"
        )
    layers = layers_of(network)
    if not agent.wants_memory:
        check_has_no_memory(network, name, "Use `krp.RecurrentDQN`, which replays sequences.")
    for argument, kind in (("dueling", Dueling), ("noisy", NoisyDense)):
        if getattr(agent, argument, None) and not any(isinstance(layer, kind) for layer in layers):
            raise ValueError(
                f"`{argument}` needs a network with `keras_rl_prob.layers.{kind.__name__}`, such as that of "
                f"`krp.networks.q_network(env, {argument}=...)`. Received: {argument}={getattr(agent, argument)!r} and "
                f"network={network.name!r} without one"
            )
    noisy = [layer.name for layer in layers if isinstance(layer, NoisyDense)]
    if noisy and "noisy" not in agent.get_config():
        raise ValueError(
            f"`network` must have no noisy layers for {name}. Use `krp.DQN(noisy={layers_kind(layers)!r})`. Received: {noisy}"
        )
    if noisy and not agent.noisy:
        raise ValueError(
            f"`noisy` must say that the network has noisy layers: `noisy={layers_kind(layers)!r}`. Received: "
            f"noisy=None and {noisy}"
        )


def layers_kind(layers: Iterable[keras.layers.Layer]) -> str:
    """The `kind` of the first `NoisyDense` among layers."""
    return next(layer.kind for layer in layers if isinstance(layer, NoisyDense))
