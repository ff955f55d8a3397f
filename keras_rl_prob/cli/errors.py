"""Errors of the user, as opposed to bugs."""

import contextlib
from collections.abc import Iterator


class UserError(Exception):
    """A request of the user is not possible; the text says why in a line or two."""


@contextlib.contextmanager
def blaming(what: str | None, *errors: type[BaseException]) -> Iterator[None]:
    """Turns errors of these types into a `UserError` about `what`.

    Args:
        what: What the user passed, or `None` if the errors already say so.
        *errors: Classes of exceptions.

    Example:
    >>> with blaming("`x.json` is not a configuration", ValueError):
    ...     raise ValueError("Expecting value")
    Traceback (most recent call last):
        ...
    keras_rl_prob.cli.errors.UserError: `x.json` is not a configuration: Expecting value
    """
    try:
        yield
    except UserError:
        raise
    except errors as error:
        words = " ".join(str(error).split()) or type(error).__name__
        words = words if len(words) < 500 else f"{words[:500]}..."
        raise UserError(f"{what}: {words}" if what else words) from error
