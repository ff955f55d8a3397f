"""An agent's policy as a file that runs where this library, Keras and Python are not: TensorFlow's SavedModel, and ONNX."""

import os
import pathlib
import re
import tempfile

import numpy as np
import tensorflow as tf
from gymnasium import spaces as gym_spaces

from keras_rl_prob import spaces
from keras_rl_prob.agents.persistence import write_whole

SAVED_MODEL = "saved_model.pb"  # what makes a folder an export


def export_policy(agent, filepath, format="tf_saved_model"):
    """Exports the policy of an agent: one step of it, with the recurrent state as an input and as an output.

    Observations go in as an environment gives them and actions come out as it takes them: normalisation, squashing,
    clipping, where classes start and the dtypes of the spaces are part of the graph. The action is the mode of the policy.
    Every tensor has a batch axis of any size. What the flat functions take and give:

    | input | output |
    | --- | --- |
    | `observation`, or `observation_<path>` for each component of a Dict or Tuple | `action`, or `action_<path>` |
    | `is_first`, bool `[B]`: which rows begin an episode, and so forget the state | |
    | `state_0`, `state_1`, ...: zeros at first, none without memory | `next_state_0`, `next_state_1`, ... |

    They are the signature `serving_default` of a SavedModel, and all that an ONNX file has (ONNX wants no name twice, hence
    `next_`). A SavedModel also has, for `tf.saved_model.load` in Python, with nests like the spaces:
    `serve(observation, is_first, state)` and, to draw actions instead of taking the mode,
    `sample(observation, is_first, state, seed)` with an int32 `seed` `[2]`, both of which return `(action, state)`; and
    `initial_state(batch_size)`.

    A file is written whole or not at all, and takes the place of an earlier export only when it is complete.

    Args:
        agent: A built agent.
        filepath: Folder of a SavedModel, or file of an ONNX model.
        format: `"tf_saved_model"` or `"onnx"`.

    Raises:
        ValueError: `format` is unknown, the policy has operations that ONNX lacks, or `filepath` is a folder of other
            things.
        ImportError: `"onnx"` without tf2onnx.

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
    writers = {"tf_saved_model": _write_saved_model, "onnx": _write_onnx}
    if format not in writers:
        raise ValueError(f"`format` must be one of {list(writers)}. Received: format={format!r}")
    filepath = pathlib.Path(filepath)
    filepath.absolute().parent.mkdir(parents=True, exist_ok=True)
    writers[format](Step(agent), filepath)


class Step:
    """One step of an agent's policy, with observations as an environment gives them and actions as it takes them.

    Args:
        agent: A built agent.

    Attributes:
        specs: Nests of `tf.TensorSpec`s with a batch axis: observation, `is_first` and recurrent state.
    """

    def __init__(self, agent):
        self.agent = agent
        observation = spaces.map_structure(
            lambda leaf: tf.TensorSpec((None, *leaf.shape), leaf.dtype), agent.observation_space
        )
        state = tf.nest.map_structure(lambda x: tf.TensorSpec((None, *x.shape[1:]), x.dtype), agent.initial_state(1))
        self.specs = (observation, tf.TensorSpec((None,), tf.bool), state)

    def __call__(self, observation, is_first, state, seed=None):
        """Returns `(action, state)`; the mode of the policy without a `seed`, int32 `[2]`, and else a sample."""
        flat = zip(spaces.leaves(self.agent.observation_space), tf.nest.flatten(observation), strict=True)
        specs = spaces.tensor_specs(self.agent.observation_space)
        encoded = [_encode(*pair, spec.dtype) for pair, spec in zip(flat, tf.nest.flatten(specs), strict=True)]
        encoded = tf.nest.pack_sequence_as(specs, encoded)
        action, _, state = self.agent.act(encoded, is_first, state, seed, deterministic=seed is None)
        flat = zip(spaces.leaves(self.agent.action_space), tf.nest.flatten(action), strict=True)
        return tf.nest.pack_sequence_as(action, [_decode(*pair) for pair in flat]), state

    def flat(self):
        """The step as a `tf.function` with an argument for each tensor, which returns a dict of tensors."""
        states = [f"state_{i}" for i in range(len(tf.nest.flatten(self.specs[2])))]
        inputs = [*_names("observation", self.agent.observation_space), "is_first", *states]
        outputs = [*_names("action", self.agent.action_space), *(f"next_{name}" for name in states)]

        def step(*tensors):
            results = self(*tf.nest.pack_sequence_as(self.specs, tensors))
            return dict(zip(outputs, tf.nest.flatten(results), strict=True))

        specs = zip(tf.nest.flatten(self.specs), inputs, strict=True)
        signature = [tf.TensorSpec(spec.shape, spec.dtype, name) for spec, name in specs]
        return tf.function(step, input_signature=signature, autograph=False)


def _encode(space, x, dtype):
    """`Codec.encode` of one leaf, in the graph."""
    start = getattr(space, "start", None)
    return tf.cast(x if start is None else x - tf.constant(start, x.dtype), dtype)


def _decode(space, x):
    """`Codec.decode` of one leaf, in the graph."""
    if isinstance(space, gym_spaces.Box):
        x = x if np.issubdtype(space.dtype, np.floating) else tf.round(x)
        return tf.clip_by_value(tf.cast(x, space.dtype), space.low, space.high)
    x = tf.cast(x, space.dtype)
    return x if getattr(space, "start", None) is None else x + tf.constant(space.start, x.dtype)


def _names(prefix, space):
    """Names of a space's leaves that graphs allow."""
    names = [f"{prefix}_{name}" if name else prefix for name in spaces.leaf_names(space)]
    names = [re.sub("[^0-9A-Za-z]", "_", name) for name in names]
    if len(set(names)) < len(names):
        raise ValueError(
            f"The components of `{prefix}_space` must have keys that differ in letters and digits, since exported tensors "
            f"are named after them. Received: {prefix}_space={space}, whose tensors would be {names}"
        )
    return names


def _write_saved_model(step, path):
    module = tf.Module()
    module.serve = tf.function(step, input_signature=step.specs, autograph=False)
    seed = tf.TensorSpec((2,), tf.int32)
    module.sample = tf.function(step, input_signature=(*step.specs, seed), autograph=False)
    size = tf.TensorSpec((), tf.int32, "batch_size")
    module.initial_state = tf.function(step.agent.initial_state, input_signature=[size], autograph=False)
    # Not the layers themselves: Keras' variables would be saved as copies, and a session then lack those of the graph.
    module.variables_used = list(module.serve.get_concrete_function().variables)
    network = tf.train.TrackableView(step.agent.network)
    module.tables = [x for x in network.descendants() if isinstance(x, tf.saved_model.experimental.TrackableResource)]
    _replace_folder(path, lambda folder: tf.saved_model.save(module, folder, signatures=step.flat()))


def _replace_folder(path, write):
    """Calls `write(temporary)`, then puts the folder in the place of `path`; whatever fails leaves the old one."""
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
        import tf2onnx  # noqa: PLC0415 (optional dependency)
    except ImportError as error:
        raise ImportError(
            f'`format="onnx"` needs tf2onnx: `pip install "keras_rl_prob[onnx]"`. Received: {error}'
        ) from error
    function = step.flat()
    model, _ = tf2onnx.convert.from_function(function, function.input_signature)
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
    write_whole(path, lambda temporary: temporary.write_bytes(model.SerializeToString()))


def _nodes(graph):
    """The nodes of an ONNX graph, those inside its branches and loops included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                yield from _nodes(inner)
