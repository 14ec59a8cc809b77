"""What Ctrl-C leaves behind, verb by verb, and how to go on."""

from __future__ import annotations

from typing import Final

__all__ = ["CODE", "WHOLE", "sentence"]

# What a shell reports for a program that was stopped by Ctrl-C.
CODE: Final = 130

WHOLE: Final = "Files appear only when they are complete, so what was at the destination is as it was."
_AGAIN: Final = "The same command starts again."
_KEPT: Final = {
    "quickstart": "The files of the steps that were done lie in its folder. The same command starts again.",
    "repair": f"{WHOLE} The same command goes on from the last look at the held-out inputs; before the first it starts "
    "again.",
    "run": "What --record and --log had written is kept, and can be replayed or reported.",
    "deploy": "The device runs what it ran before. What had arrived stays there: the same command sends the rest.",
    "verify": f"Nothing was changed. {_AGAIN}",
    "preflight": f"Nothing was changed. {_AGAIN}",
    "simulate": f"Nothing was changed. {_AGAIN}",
    "inspect": f"Nothing was changed. {_AGAIN}",
    "doctor": f"Nothing was changed. {_AGAIN}",
}


def sentence(verb: str | None) -> str:
    """Return what is kept of a verb's work, and how to go on."""
    return f"Stopped. {_KEPT.get(verb or '', f'{WHOLE} {_AGAIN}')}"
