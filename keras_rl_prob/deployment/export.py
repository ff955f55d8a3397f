"""Exports an agent's policy as a TensorFlow SavedModel or ONNX file, which runs without this library, Keras or Python."""

import functools
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import gymnasium
import keras
import numpy as np
import tensorflow as tf
from gymnasium import spaces as gym_spaces

from keras_rl_prob import border, checks, spaces
from keras_rl_prob.envs.previous_step import begun
from keras_rl_prob.keras_internals import inputs_behind, layer_behind
from keras_rl_prob.learning.persistence import write_whole
from keras_rl_prob.types import Nest, Path

SAVED_MODEL = "saved_model.pb"  # a folder with this file is an export


def export_policy(agent: keras.Model, filepath: Path, format: str | None = None) -> None:
    """Exports the policy of an agent: one step, with the recurrent state as an input and as an output.

    Inputs are observations as an environment returns them, outputs are actions as it takes them: normalisation, squashing,
    clipping, the first class of each `Discrete` and the dtypes of the spaces are part of the graph. The action is the mode of
    the policy. Every tensor has a batch axis of any size. The inputs and outputs of the flat functions:

    | input | output |
    | --- | --- |
    | `observation`, or `observation_<path>` for each component of a Dict or Tuple | `action`, or `action_<path>` |
    | `is_first`, bool `[B]`: where an episode begins, so that the state is reset | |
    | `state_0`, `state_1`, ...: zeros at first, none without memory | `next_state_0`, `next_state_1`, ... |

    They are the signature `serving_default` of a SavedModel, and the whole interface of an ONNX file (names must be unique in
    ONNX, hence `next_`). A SavedModel also has functions for `tf.saved_model.load` in Python, which take and return nests like
    the spaces: `serve(observation, is_first, state)` and, to sample actions instead of taking the mode, `sample(observation,
    is_first, state, seed)` with an int32 `seed` `[2]`, both of which return `(action, state)`; and `initial_state(batch_size)`.

    Observations that only a critic uses are not inputs. Files are written atomically: an export is first compared with the
    agent, and replaces an earlier export only if both choose the same actions.

    Args:
        agent: A built agent.
        filepath: Folder of a SavedModel, or file of an ONNX model.
        format: `"tf_saved_model"` or `"onnx"`; `None` for ONNX if the name ends with `.onnx`, else a SavedModel.

    Raises:
        ValueError: `format` is unknown or does not match the name, the policy has operations that ONNX does not support, the
            export does not act like the agent, or `filepath` is a folder with other files.
        ImportError: tf2onnx or onnxruntime is not installed, for `"onnx"`.

    Example:
    ```python
    agent = krp.RecurrentPPO()
    agent.build("CartPole-v1")
    agent.export("cartpole_policy")
    policy = tf.saved_model.load("cartpole_policy")
    state = policy.initial_state(1)
    action, state = policy.serve(np.zeros((1, 4), np.float32), [True], state)
    ```
    """
    writers, filepath = (
        {"tf_saved_model": _write_saved_model, "onnx": _write_onnx},
        pathlib.Path(checks.path("filepath", filepath)),
    )
    by_name = "onnx" if filepath.suffix.lower() == ".onnx" else "tf_saved_model"
    format = by_name if format is None else format
    if format not in writers or (by_name == "onnx" and format != "onnx"):
        raise ValueError(
            f'`format` must be one of {list(writers)}, and `"onnx"` for a file that ends with `.onnx`. '
            f"Received: format={format!r}, filepath={str(filepath)!r}"
        )
    filepath.absolute().parent.mkdir(parents=True, exist_ok=True)
    writers[format](Step(agent), filepath)


class Step:
    """One step of an agent's policy, with observations as an environment returns them and actions as it takes them.

    Args:
        agent: A built agent.

    Attributes:
        observation_space: The components of the agent's observation space that its actions depend on; a critic may use more.
        specs: Nests of `tf.TensorSpec`s with a batch axis: observation, `is_first` and recurrent state.
    """

    def __init__(self, agent: keras.Model) -> None:
        self.agent, self._used = agent, _seen_by_actions(agent.network)
        self.observation_space: Any = _part(agent.input_space, iter(self._used))
        observation = spaces.map_structure(
            lambda leaf: tf.TensorSpec((None, *(leaf.shape or ())), leaf.dtype), self.observation_space
        )
        state = tf.nest.map_structure(lambda x: tf.TensorSpec((None, *x.shape[1:]), x.dtype), agent.initial_state(1))
        self.specs = (observation, tf.TensorSpec((None,), tf.bool), state)

    def __call__(
        self, observation: Nest, is_first: tf.Tensor, state: Nest, seed: tf.Tensor | None = None
    ) -> tuple[Nest, Nest]:
        """Returns `(action, state)`; a sample with a `seed`, int32 `[2]`, and else the mode of the policy."""
        seen, rows = iter(tf.nest.flatten(observation)), tf.shape(is_first)[0]
        leaves = zip(self._used, spaces.leaves(self.agent.input_space), strict=True)
        flat = [next(seen) if used else tf.zeros((rows, *leaf.shape), leaf.dtype) for used, leaf in leaves]
        whole = tf.nest.pack_sequence_as(spaces.tensor_specs(self.agent.input_space), flat)
        encoded = border.encode(self.agent.input_space, whole)
        if self.agent.previous_action_and_reward:
            encoded = begun(encoded, is_first)
        deterministic, seed = seed is None, tf.constant([0, 0]) if seed is None else seed
        action, _, state = self.agent.act(encoded, is_first, state, seed, deterministic)
        return border.decode(self.agent.action_space, action), state

    @functools.cached_property
    def flat(self) -> Callable[..., dict[str, tf.Tensor]]:
        """The step as a `tf.function` with an argument for each tensor, which returns a dict of tensors."""
        states = [f"state_{i}" for i in range(len(tf.nest.flatten(self.specs[2])))]
        inputs = [*_names("observation", self.observation_space), "is_first", *states]
        outputs = [*_names("action", self.agent.action_space), *(f"next_{name}" for name in states)]

        def step(*tensors):
            results = self(*tf.nest.pack_sequence_as(self.specs, tensors))
            return dict(zip(outputs, tf.nest.flatten(results), strict=True))

        specs = zip(tf.nest.flatten(self.specs), inputs, strict=True)
        signature = [tf.TensorSpec(spec.shape, spec.dtype, name) for spec, name in specs]
        return tf.function(step, input_signature=signature, autograph=False)


def _names(prefix, space):
    """Names of a space's leaves that are valid in graphs."""
    return [f"{prefix}_{name}" if name else prefix for name in spaces.graph_names(space)]


def _seen_by_actions(network):
    """Whether the actions of a network depend on each of its inputs, a list of bools."""
    tensors, seen = keras.tree.flatten(network.output["action"]), {}
    while tensors:
        x = tensors.pop()
        if id(x) not in seen:
            seen[id(x)] = x  # kept alive, so that its id is not reused
            tensors += inputs_behind(x)
    layers = {layer_behind(x) for x in seen.values()}
    return [layer_behind(x) in layers for x in network.inputs]


def _part(space, used):
    """A space without the components of Dicts that are not used; `used` yields a bool for each of its leaves."""
    if not isinstance(space, gym_spaces.Dict):
        parts = [next(used) for _ in spaces.leaves(space)]
        return space if any(parts) else None
    children = {key: _part(space.spaces[key], used) for key in sorted(space.spaces)}
    kept = {key: child for key, child in children.items() if child is not None}
    return gym_spaces.Dict(kept) if kept else None


def _check(step, path, run):
    """Raises a `ValueError` unless the export acts like the agent on random observations, in batches of 1 and 7.

    Args:
        step: The exported `Step`.
        path: Path of the export.
        run: Function from flat inputs to the outputs of the file, a dict of arrays.
    """
    for rows in (1, 7):
        batch = gymnasium.vector.utils.batch_space(step.observation_space, rows)
        batch.seed(rows)
        observation = [np.asarray(x) for _, x in spaces.pairs(step.observation_space, batch.sample())]
        state = [x.numpy() for x in tf.nest.flatten(step.agent.initial_state(rows))]
        inputs = [*observation, np.arange(rows) == 0, *state]
        expected, got = step.flat(*map(tf.constant, inputs)), run(inputs)
        for name, value in expected.items():
            same = np.isclose(got[name], value, rtol=1e-2, atol=1e-3)
            if got[name].shape != value.shape or np.mean(same) < 0.8:  # two actions may be equally good
                raise ValueError(
                    f"The file would not act as the agent. Expected: {name}={value.numpy().tolist()}. Received: "
                    f"{got[name].tolist()}. Nothing was written to {path}"
                )


def _write_saved_model(step, path):
    module = tf.Module()
    module.serve = tf.function(step, input_signature=step.specs, autograph=False)
    seed = tf.TensorSpec((2,), tf.int32)
    module.sample = tf.function(step, input_signature=(*step.specs, seed), autograph=False)
    size = tf.TensorSpec((), tf.int32, "batch_size")
    module.initial_state = tf.function(step.agent.initial_state, input_signature=[size], autograph=False)
    # Not the layers themselves: Keras' variables would be saved as copies, and a session then lack those of the graph.
    functions = module.serve, module.sample
    used = {id(x): x for function in functions for x in function.get_concrete_function().variables}
    module.variables_used = list(used.values())
    network = tf.train.TrackableView(step.agent.network)
    module.tables = [x for x in network.descendants() if isinstance(x, tf.saved_model.experimental.TrackableResource)]

    def write(folder):
        tf.saved_model.save(module, folder, signatures=step.flat)
        served = tf.saved_model.load(folder).signatures["serving_default"]
        names = [spec.name for spec in step.flat.input_signature]
        _check(step, path, lambda inputs: _arrays(served(**dict(zip(names, map(tf.constant, inputs), strict=True)))))

    _replace_folder(path, write)


def _arrays(tensors):
    return {name: x.numpy() for name, x in tensors.items()}


def _replace_folder(path, write):
    """Calls `write(temporary)`, then replaces the folder `path`; after an error the old folder is still there."""
    if path.exists() and not (path / SAVED_MODEL).exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ValueError(
            f"`filepath` must be a new or an empty folder, or an earlier export. Received: filepath={path}"
        )
    with tempfile.TemporaryDirectory(dir=path.absolute().parent, prefix=f"part.{path.name}.") as temporary:
        new, old = os.path.join(temporary, "new"), os.path.join(temporary, "old")
        write(new)
        try:
            if path.exists():
                os.replace(path, old)
            os.replace(new, path)
        except BaseException:
            if os.path.exists(old):
                os.replace(old, path)
            raise


def _write_onnx(step, path):
    try:
        import onnx  # noqa: PLC0415 (optional dependency)
        import onnxruntime  # noqa: PLC0415 (optional dependency)
        import tf2onnx  # noqa: PLC0415 (optional dependency)
    except ImportError as error:
        raise ImportError(
            f'`format="onnx"` needs tf2onnx and onnxruntime: `pip install "keras_rl_prob[onnx]"`. Received: {error}'
        ) from error
    function = step.flat
    model, _ = tf2onnx.convert.from_function(function, function.input_signature)
    _bind_constants(model.graph, function.get_concrete_function(), onnx.numpy_helper.from_array)
    unknown = sorted({node.op_type for node in _nodes(model.graph) if not onnx.defs.has(node.op_type, node.domain)})
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ValueError(
            '`format="onnx"` needs a network whose operations and dtypes ONNX has; `format="tf_saved_model"` takes any. '
            f"Received: a network with {unknown or error}"
        ) from error
    for tensor in [*model.graph.input, *model.graph.output]:
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content)
    names = [x.name for x in session.get_outputs()]

    def run(inputs):
        given = {x.name: value for x, value in zip(function.input_signature, inputs, strict=True)}
        wanted = {x.name for x in session.get_inputs()}
        return dict(zip(names, session.run(None, {k: v for k, v in given.items() if k in wanted}), strict=True))

    _check(step, path, run)
    write_whole(path, lambda temporary: temporary.write_bytes(content))


def _bind_constants(graph, function, from_array):
    """Makes captured constants of a function part of an ONNX graph, instead of unknown inputs."""
    for value, placeholder in function.graph.captures:
        if placeholder.dtype != tf.resource:
            graph.initializer.append(from_array(value.numpy(), placeholder.name))
            for unknown in [x for x in graph.input if x.name == placeholder.name]:
                graph.input.remove(unknown)


def _nodes(graph):
    """The nodes of an ONNX graph, those inside its branches and loops included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                yield from _nodes(inner)
