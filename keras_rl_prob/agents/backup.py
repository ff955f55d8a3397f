"""What a backup of a running training holds besides the agent, and how its file gets written."""

import os
import pathlib

PREFIX = "source_"


def store_source(store, source):
    """Puts the variables of a training's source into a Keras `store`; nothing without one."""
    for index, variable in enumerate(source.variables if source else []):
        store[f"{PREFIX}{index}"] = variable.numpy()


def without_source(store):
    """The entries of a Keras `store` that belong to the agent itself."""
    return {key: store[key] for key in set(store.keys()) if not key.startswith(PREFIX)}


def restore_source(store, source):
    """Assigns what `store_source` stored.

    Raises:
        ValueError: The stored training had other environments, or another number of them.
    """
    stored = [store[f"{PREFIX}{index}"] for index in range(sum(key.startswith(PREFIX) for key in set(store.keys())))]
    expected, received = [v.shape.as_list() for v in source.variables], [list(v.shape) for v in stored]
    if stored and expected != received:
        raise ValueError(
            "The backup is of a training with other environments or another `num_envs`: resume with the same ones, or "
            f"choose another folder. Expected: {expected}. Received: {received}"
        )
    for variable, value in zip(source.variables, stored, strict=False):
        variable.assign(value)


def write_whole(path, write):
    """Calls `write(temporary)` and then puts the file in the place of `path`, so that a crash leaves the old one."""
    path = pathlib.Path(path)
    temporary = path.with_name(f"part.{path.name}")  # Keras looks at how a name ends
    write(temporary)
    os.replace(temporary, path)
