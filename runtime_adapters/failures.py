"""What a runtime's failure in the middle of an inference means: the inputs, the memory, or the network itself.

Names, shapes and types of the inputs were checked before. The runtimes' exceptions have hardly any classes, so their
words decide.
"""

from __future__ import annotations

from typing import Final

from elsa_edge.errors import ElsaError, InferenceError, InputError, OutOfMemoryError, first_line

__all__ = ["failure"]

_NO_MEMORY: Final = ("failed to allocate", "bad_alloc", "bad allocation", "out of memory", "cannot allocate")
_THE_INPUTS: Final = ("invalid_argument", "out of data bounds", "out of bounds")


def failure(runtime: str, error: Exception) -> ElsaError:
    """Return the error to raise from a runtime's own.

    Args:
        runtime: Name of the runtime, for people.
        error: What it raised.
    """
    words, reason = str(error).lower(), first_line(error)
    if isinstance(error, MemoryError) or any(part in words for part in _NO_MEMORY):
        return OutOfMemoryError(
            f"There is not enough memory for this inference ({runtime}: {reason})",
            fix="Run fewer samples at once, choose a sparser level, or free memory",
        )
    if any(part in words for part in _THE_INPUTS):
        return InputError(f"{runtime} could not run the network on these inputs ({reason})")
    return InferenceError(
        f"{runtime} failed inside the network ({reason})",
        fix="If other inputs run, the sizes of these do not fit together; else check the bundle: elsa-edge verify",
    )
