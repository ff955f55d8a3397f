"""Extension of Griffe, which reads the docstrings for the reference: adds support for Keras-style docstrings."""

import re
import textwrap

import griffe

SECTION = re.compile(r"^(Example|Returns):\n(.*?)(?=\n\n[A-Z][\w ]+:\n|\Z)", re.DOTALL | re.MULTILINE)


class KerasDocstrings(griffe.Extension):
    """Shows `>>>` lines below `Example:` as code, indented or not, and what follows `Returns:` as it is."""

    def on_object(self, *, obj, **kwargs):
        """Rewrites the docstring of an object."""
        if not obj.is_alias and obj.docstring:
            obj.docstring.value = SECTION.sub(_rewrite, obj.docstring.value)


def _rewrite(section):
    title, text = section[1], textwrap.dedent(section[2])
    return f"**Returns:**\n\n{text}" if title == "Returns" else "Examples:\n" + textwrap.indent(text, "    ")
