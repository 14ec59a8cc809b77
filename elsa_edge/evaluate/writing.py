"""Measured accuracies into a ladder, and the ladder back into the file or bundle that it belongs to.

Only the ladder changes: weights, graph and variants stay as they are, bit for bit. A file is replaced whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from elsa_edge.bundle import Bundle, LevelEntry
from elsa_edge.bundle.manifest import FILE_NAME, SIGNATURE_NAME, Variant
from elsa_edge.bundle.rerouted import Rerouted
from elsa_edge.errors import BundleError
from elsa_edge.evaluate.metrics import Figure
from elsa_edge.files import atomic_directory, write_bytes
from elsa_edge.levels import Ladder

if TYPE_CHECKING:
    from elsa_edge.bundle.manifest import Manifest

__all__ = ["with_figures", "write_bundle_ladder"]

_SIGN_AGAIN: Final = "Write to another place with -o and sign that, or evaluate before signing"


def with_figures(ladder: Ladder, figures: Sequence[Figure], metric: str) -> Ladder:
    """Return a ladder with the accuracy of each level, its interval, sample count and metric."""
    return Ladder(
        tuple(
            replace(
                level,
                accuracy=figure.accuracy,
                accuracy_low=figure.low,
                accuracy_high=figure.high,
                samples=figure.samples,
                metric=metric,
            )
            for level, figure in zip(ladder, figures, strict=True)
        )
    )


def _with_switch_points(variant: Variant, figures: Sequence[Figure]) -> Variant:
    """Return a rerouted variant whose switch points have an accuracy."""
    instructions = variant.instructions
    assert isinstance(instructions, Rerouted)
    points = tuple(
        point.model_copy(update={"accuracy": figure.accuracy})
        for point, figure in zip(instructions.switch_points, figures, strict=True)
    )
    return variant.model_copy(
        update={"instructions": instructions.model_copy(update={"switch_points": points})}
    )


def write_bundle_ladder(
    bundle: Bundle,
    ladder: Ladder,
    destination: Path | None,
    switch_points: Mapping[str, Sequence[Figure]] | None = None,
) -> None:
    """Write a bundle's ladder: into the bundle itself, or into a copy of it.

    Args:
        bundle: What was measured.
        ladder: Its levels with their figures.
        destination: Where the copy goes; None for into the bundle.
        switch_points: Name of a rerouted variant -> a figure for each of its switch points.

    Raises:
        BundleError: When the bundle is signed and would be changed in its place.
        ElsaError: When the disk refuses; what was there is as it was.
    """
    entries = tuple(LevelEntry(**asdict(level)) for level in ladder)
    points = switch_points or {}
    variants = tuple(
        _with_switch_points(variant, points[variant.name]) if variant.name in points else variant
        for variant in bundle.manifest.variants
    )
    manifest: Manifest = bundle.manifest.model_copy(update={"ladder": entries, "variants": variants})
    text = (manifest.model_dump_json(indent=2) + "\n").encode()
    if destination is None:
        if (bundle.folder / SIGNATURE_NAME).exists():
            raise BundleError(
                f"{bundle.folder} is signed: a new ladder would break its signature", fix=_SIGN_AGAIN
            )
        write_bytes(bundle.folder / FILE_NAME, text)
        return
    with atomic_directory(destination, may_replace=FILE_NAME) as folder:
        for entry in bundle.manifest.files:
            (folder / entry.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.folder / entry.path, folder / entry.path)
        (folder / FILE_NAME).write_bytes(text)
