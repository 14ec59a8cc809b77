"""Errors a person can act on: what was expected, what was found, what is allowed, what to do.

Every error raised on purpose by elsa-edge is an `ElsaError`. The command line prints its sentences and exits with
`exit_code`; a library user catches the class. Nothing here imports click: a device may not have it loaded.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar

__all__ = [
    "BundleError",
    "CheckpointError",
    "ContractError",
    "ElsaError",
    "ExportError",
    "InferenceError",
    "InputError",
    "LevelError",
    "NotFiniteError",
    "OutOfMemoryError",
    "PluginError",
    "ProfileError",
    "RuntimeUnavailableError",
    "UnknownNameError",
    "UsageError",
    "closest",
    "first_line",
]


def closest(name: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed name nearest to a misspelt one, or None when none is near."""
    matches = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.5)
    return matches[0] if matches else None


def first_line(error: BaseException) -> str:
    """Return the first line of somebody else's error, at most 300 characters; its class when it says nothing.

    A longer line loses its middle: runtimes begin with a path and end with the reason.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[0] if lines else type(error).__name__
    return line if len(line) <= 300 else f"{line[:100]} ... {line[-195:]}"


class ElsaError(Exception):
    """The work could not be done, said in one or two sentences.

    Args:
        problem: What is wrong, a sentence without its final full stop.
        expected: What would have been right.
        found: What was there instead.
        allowed: The values that are allowed, where they can be listed.
        fix: What to do about it, a sentence without its final full stop.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        problem: str,
        *,
        expected: object = None,
        found: object = None,
        allowed: Iterable[object] | None = None,
        fix: str | None = None,
    ) -> None:
        self.problem = problem
        self.expected = expected
        self.found = found
        self.allowed = None if allowed is None else tuple(str(value) for value in allowed)
        self.fix = fix
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        facts = []
        if self.expected is not None:
            facts.append(f"expected {self.expected}")
        if self.found is not None:
            facts.append(f"found {self.found}")
        text = self.problem + (": " + ", ".join(facts) if facts else "") + "."
        if self.allowed is not None:
            text += f" Allowed: {', '.join(self.allowed) or 'none'}."
        if self.fix is not None:
            text += f" {self.fix}."
        return text


class UsageError(ElsaError):
    """The command or call was written wrongly; nothing was tried."""

    exit_code: ClassVar[int] = 2


class UnknownNameError(UsageError):
    """A name (device, method, exporter ...) that does not exist; suggests the nearest one."""

    def __init__(self, kind: str, name: str, allowed: Iterable[str]) -> None:
        names = sorted(allowed)
        near = closest(name, names)
        super().__init__(
            f"There is no {kind} named {name!r}",
            allowed=names,
            fix=f"Nearest: {near!r}" if near else None,
        )


class LevelError(UsageError):
    """A ladder that is not one (unordered, duplicate, out of range) or a level that is not in the ladder."""


class CheckpointError(ElsaError):
    """A checkpoint that is missing, damaged, unsafe, or does not fit the model."""


class ExportError(ElsaError):
    """A model that cannot be written as a canonical graph or as a variant."""


class PluginError(ElsaError):
    """An exporter or runtime adapter that cannot be loaded, or is not what it is registered as."""


class ContractError(ElsaError):
    """A graph or variant that breaks the contract of its format (docs/format.md)."""


class DeadLevelError(ContractError):
    """A level whose outputs do not follow its inputs any more."""


class ProfileError(ElsaError):
    """A device profile with a mistake in it."""


class BundleError(ElsaError):
    """A bundle that is incomplete, changed or not a bundle."""


class NotFiniteError(ElsaError):
    """A training whose loss has become NaN or infinite."""


class InferenceError(ElsaError):
    """A runtime failed while it ran a network on inputs whose names, shapes and types were right."""


class OutOfMemoryError(InferenceError):
    """There was not enough memory for an inference."""


class InputError(ElsaError):
    """Inputs of a wrong name, shape or type given to a network."""


class RuntimeUnavailableError(ElsaError):
    """A runtime or tool that is not installed, or too old; the fix is the install command."""
