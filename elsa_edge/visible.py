"""Names that people see as they are: nothing in them is hidden, moves a cursor, or turns the text around.

Names of levels, layers, inputs and bundles come from files of others and stand in tables, on terminals and in pages.
A name with a zero-width space looks like another one, one with a line break is two rows, and one with a right-to-left
mark or an escape sequence changes what stands around it. So they are refused where they are made and where they are
read.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator

__all__ = ["VisibleName", "hidden_in", "visible"]


def hidden_in(name: str) -> str | None:
    r"""Return the first character of a name that cannot be seen, in words; None where all of them can.

    Seen are letters, marks, digits, punctuation and symbols of all scripts, and the plain space between others.

    Example:
        >>> hidden_in("s95") is None
        True
        >>> hidden_in("s9\u200b5")
        'U+200B ZERO WIDTH SPACE at place 3'
    """
    for place, letter in enumerate(name, 1):
        if not letter.isprintable():
            return f"U+{ord(letter):04X} {unicodedata.name(letter, 'CONTROL CHARACTER')} at place {place}"
    return None


def visible(name: str) -> str:
    """Return a name that can be seen as it is.

    Raises:
        ValueError: When it is empty, begins or ends with a space, or hides a character; its message goes on after
            "the name".
    """
    if not name or name != name.strip(" "):
        raise ValueError(
            "expected a name without spaces around it" if name else "expected a name, not nothing"
        )
    hidden = hidden_in(name)
    if hidden is not None:
        raise ValueError(f"expected a name whose characters can all be seen, found {hidden}")
    return name


# In manifests, profiles and reports.
VisibleName = Annotated[str, AfterValidator(visible)]
