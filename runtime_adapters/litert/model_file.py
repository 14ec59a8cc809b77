"""A `.tflite` against what the manifest says is in it, and the errors where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from elsa_edge.errors import BundleError

__all__ = ["ModelFile", "not_loadable"]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A `.tflite` and what the manifest says is in it.

    Attributes:
        path: The file.
        keys: Signatures that will be run; None stands for the only one.
        inputs: Input names that every signature must have.
        outputs: The same for outputs.
    """

    path: Path
    keys: tuple[str | None, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def resolve(self, signatures: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str | None, str]:
        """Return key -> the signature of the file.

        Raises:
            BundleError: When the file has not the signatures, or these not the inputs and outputs.
        """
        present = list(signatures)
        found: dict[str | None, str] = {}
        for key in self.keys:
            chosen = key if key is not None else present[0] if len(present) == 1 else None
            if chosen is None or chosen not in signatures:
                raise BundleError(
                    f"{self.path.name} does not have the signatures that the manifest promises",
                    expected=", ".join(name or "exactly one" for name in self.keys),
                    found=", ".join(present) or "none",
                    fix="Build the bundle again",
                )
            inputs, outputs = signatures[chosen]["inputs"], signatures[chosen]["outputs"]
            if set(inputs) != set(self.inputs) or set(outputs) != set(self.outputs):
                raise BundleError(
                    f"The signature {chosen} of {self.path.name} has other inputs or outputs than the manifest says",
                    expected=f"{', '.join(self.inputs)} -> {', '.join(self.outputs)}",
                    found=f"{', '.join(inputs)} -> {', '.join(outputs)}",
                    fix="Build the bundle again",
                )
            found[key] = chosen
        return found


def not_loadable(package: str, file: ModelFile, error: Exception) -> BundleError:
    """Return the error for a file that the runtime refuses."""
    reason = (str(error).strip().splitlines() or ["no reason given"])[0][:200]
    return BundleError(
        f"{package} cannot load {file.path.name} ({reason})",
        fix="Check the bundle with `elsa-edge verify`, or build it again",
    )
