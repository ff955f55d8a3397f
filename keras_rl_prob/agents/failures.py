"""What stops a training: numbers that are not finite, and masks that allow nothing."""

FAILURES = (
    "",
    "an observation of the environment is not finite",
    "a reward of the environment is not finite",
    "the loss or its gradient is not finite",
    "an action mask of the environment allows no action though the episode goes on",
)
"""By the number that an agent's variable `failure` holds; 0 is health."""


def check_healthy(failure, logs):
    """Raises an error that names the culprit unless `failure` is 0.

    Args:
        failure: Integer, an index of `FAILURES`.
        logs: What the last update reported.

    Raises:
        FloatingPointError: Something is not finite.
        ValueError: A mask allows nothing.
    """
    if failure:
        known = {key: float(value) for key, value in logs.items() if "loss" in key or key == "env_steps"}
        error = ValueError if failure == 4 else FloatingPointError
        raise error(
            f"{FAILURES[failure]}. The weights are those of before that update, and training has stopped. "
            f"Received: {known}"
        )
