"""What stops a training: numbers that are not finite."""

FAILURES = ("", "an observation of the environment", "a reward of the environment", "the loss or its gradient")
"""By the number that an agent's variable `failure` holds; 0 is health."""


def check_healthy(failure, logs):
    """Raises a `FloatingPointError` that names the culprit unless `failure` is 0.

    Args:
        failure: Integer, an index of `FAILURES`.
        logs: What the last update reported.
    """
    if failure:
        losses = {key: float(value) for key, value in logs.items() if "loss" in key}
        raise FloatingPointError(
            f"{FAILURES[failure]} is not finite. The weights are those of before that update, and training has stopped. "
            f"Received: {losses}"
        )
