"""Experience from elsewhere: recorded episodes as rows, weights of other networks."""

import keras
import numpy as np
import tensorflow as tf

from keras_rl_prob import border, masks, spaces


def episode_rows(episodes, observation_space, action_space):
    """Recorded episodes one after the other, as rows of a replay buffer.

    Args:
        episodes: Iterable of `keras_rl_prob.trajectory.Episode`s, or of objects or dicts with its fields.
        observation_space: Gymnasium space.
        action_space: Gymnasium space.

    Returns:
        Dict of nests of arrays `[N, ...]`; the final observation of an episode is a row that is not `"valid"`.

    Raises:
        ValueError: An episode's parts do not fit each other or the spaces, or an action was forbidden by the mask in the
            observation.
    """
    observations, actions = border.Codec(observation_space), border.Codec(action_space)
    parts = []
    for number, episode in enumerate(episodes):
        get = episode.get if isinstance(episode, dict) else lambda name, e=episode: getattr(e, name)
        seen, done = observations.encode(get("observations")), actions.encode(get("actions"))
        rewards = np.asarray(get("rewards"), np.float32)
        terminations, truncations = (np.asarray(get(name), bool) for name in ("terminations", "truncations"))
        steps = len(rewards)
        lengths = [len(terminations), len(truncations), *map(len, done), *(len(x) - 1 for x in seen)]
        if not steps or any(length != steps for length in lengths):
            raise ValueError(
                "An episode must have as many actions, terminations and truncations as rewards, and one observation more. "
                f"Received: episode {number} with {steps} rewards and, for the others, {lengths} steps"
            )

        _check_legal(number, seen, done, masks.places(observation_space, action_space))

        def with_final(x):
            return np.concatenate([x, np.zeros_like(x[:1])])

        parts.append(
            {
                "observation": tf.nest.pack_sequence_as(spaces.tensor_specs(observation_space), seen),
                "action": tf.nest.pack_sequence_as(spaces.tensor_specs(action_space), list(map(with_final, done))),
                "reward": with_final(rewards),
                "terminated": with_final(terminations),
                "ended": with_final(terminations | truncations),
                "is_first": np.arange(steps + 1) == 0,
                "valid": np.arange(steps + 1) < steps,
            }
        )
    if not parts:
        raise ValueError("`episodes` must hold at least one episode. Received: none")
    return tf.nest.map_structure(lambda *x: np.concatenate(x), *parts)


def checked_episodes(episodes):
    """A list of recorded episodes; `TypeError` where something else is among them."""
    listed = list(episodes) if np.iterable(episodes) and not isinstance(episodes, str | dict) else [episodes]
    for episode in listed:
        if not (isinstance(episode, dict) or hasattr(episode, "rewards")):
            raise TypeError(
                f"`episodes` must be a list of episodes, as from `krp.envs.record_episodes`. Received: {episode!r}"
            )
    return listed


def _check_legal(number, observations, actions, places):
    """Raises a `ValueError` where an action of an episode was not allowed: its value would have nothing to learn."""
    for place in places:
        chosen = actions[place.action]
        forbidden = masks.forbidden(place.leaf, observations[place.index][: len(chosen)], chosen)
        if forbidden.any():
            step = int(np.argmax(forbidden))
            raise ValueError(
                "An episode's actions must be allowed by the action masks in its observations. Received: episode "
                f"{number} with, at step {step}, {chosen[step]} (counted from 0) and the mask "
                f"{observations[place.index][step].tolist()}"
            )


def copy_weights(source, target):
    """Copies weights between the layers of two models that have the same name.

    So an agent can start from a supervised model.

    Args:
        source: Keras model; an agent's is `agent.network`.
        target: Keras model.

    Returns:
        List of the names of the layers that were copied.

    Raises:
        ValueError: No layer with weights has the same name in both, or one of them has other shapes; nothing was copied then.

    Example:
    ```python
    classifier.fit(observations, actions)
    agent.build(env)
    krp.copy_weights(classifier, agent.network)
    ```
    """
    layers = {layer.name: layer for layer in source.layers if layer.weights}
    shared = [(layers[layer.name], layer) for layer in target.layers if layer.weights and layer.name in layers]
    for one, other in shared:
        shapes = [[tuple(w.shape) for w in layer.weights] for layer in (one, other)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"Layers of the same name must have weights of the same shapes. Received: {one.name!r} with "
                f"{shapes[0]} and {shapes[1]}"
            )
    if not shared:
        raise ValueError(
            "`source` and `target` must share the names of layers with weights. "
            f"Received: {sorted(layers)} and {[layer.name for layer in target.layers if layer.weights]}"
        )
    for one, other in shared:
        other.set_weights(one.get_weights())
    return [layer.name for layer, _ in shared]


def average_weights(models):
    """The mean of the weights of several models of the same structure.

    Args:
        models: List of Keras models.

    Returns:
        List of arrays, for `set_weights`. What is not a real number, such as a counter, is the first model's.

    Raises:
        ValueError: The models do not have weights of the same shapes.

    Example:
    ```python
    agent.network.set_weights(krp.average_weights([one.network, other.network]))
    ```
    """
    weights = [model.get_weights() for model in models]
    shapes = [[w.shape for w in each] for each in weights]
    if not models or any(each != shapes[0] for each in shapes):
        raise ValueError(f"`models` must have weights of the same shapes. Received: {shapes}")
    return [
        np.mean(same, 0, dtype=same[0].dtype) if keras.backend.is_float_dtype(str(same[0].dtype)) else same[0]
        for same in zip(*weights, strict=True)
    ]
