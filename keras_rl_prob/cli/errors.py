"""What is the user's to mend, as opposed to what is a bug."""

import contextlib
from collections.abc import Iterator


class UserError(Exception):
    """Something that was asked for cannot be; its text says what and why, in a line or two."""


@contextlib.contextmanager
def blaming(what: str | None, *errors: type[BaseException]) -> Iterator[None]:
    """Turns errors of these types into a `UserError` about `what`.

    Args:
        what: What the user gave, or `None` where the errors speak for themselves.
        *errors: Classes of exceptions.

    Example:
    >>> with blaming("`x.json` is no configuration", ValueError):
    ...     raise ValueError("Expecting value")
    Traceback (most recent call last):
        ...
    keras_rl_prob.cli.errors.UserError: `x.json` is no configuration: Expecting value
    """
    try:
        yield
    except UserError:
        raise
    except errors as error:
        words = " ".join(str(error).split()) or type(error).__name__
        words = words if len(words) < 500 else f"{words[:500]}..."
        raise UserError(f"{what}: {words}" if what else words) from error
