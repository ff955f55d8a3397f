"""What an agent has traced and compiled, kept for the next call that needs the same."""


class Kept:
    """The latest few values that were made for a key; keys are compared, not hashed.

    Args:
        most: How many to keep; what was used least recently goes first.
    """

    def __init__(self, most):
        self._most, self._pairs = most, []

    def get(self, key, make):
        """The value that was kept for `key`, or else that of `make()`, which is then kept."""
        pair = next((pair for pair in self._pairs if pair[0] == key), None) or (key, make())
        self._pairs = [pair, *(other for other in self._pairs if other is not pair)][: self._most]
        return pair[1]

    def __contains__(self, key):
        return any(pair[0] == key for pair in self._pairs)

    def clear(self):
        """Forgets everything."""
        self._pairs = []
