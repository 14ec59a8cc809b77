"""The lower levels of a bundle, without the files that only higher ones need.

A file in the role `level_K` is needed at level K alone; every other file is needed at all levels. What is left of a
manifest is read like a whole one; the manifest on the disk, and with it a bundle's identity and signature, stay as
they are.
"""

from __future__ import annotations

import re
from typing import Final

from elsa_edge.bundle.manifest import Manifest, Variant
from elsa_edge.errors import LevelError

__all__ = ["levels_of_files", "trimmed"]

_ROLE: Final = re.compile(r"level_(\d+)")


def _level_of(role: str) -> int:
    match = _ROLE.fullmatch(role)
    return int(match.group(1)) if match else 0


def levels_of_files(manifest: Manifest) -> dict[str, int]:
    """Return for each file the lowest level that needs it."""
    lowest: dict[str, int] = {}
    for variant in manifest.variants:
        for role, path in variant.files.items():
            lowest[path] = min(_level_of(role), lowest.get(path, 255))
    return {entry.path: lowest.get(entry.path, 0) for entry in manifest.files}


def trimmed(manifest: Manifest, max_level: int | None) -> Manifest:
    """Return the manifest of levels 0 to `max_level`; the same one where it has no higher levels.

    Raises:
        LevelError: When `max_level` is negative.
    """
    if max_level is None or max_level >= len(manifest.ladder) - 1:
        return manifest
    if max_level < 0:
        raise LevelError("max_level must be a level", expected="0 or more", found=max_level)
    needed = levels_of_files(manifest)
    return manifest.model_copy(
        update={
            "ladder": manifest.ladder[: max_level + 1],
            "variants": tuple(_variant(variant, max_level) for variant in manifest.variants),
            "files": tuple(entry for entry in manifest.files if needed[entry.path] <= max_level),
        }
    )


def _variant(variant: Variant, max_level: int) -> Variant:
    """Cut a variant: one with a file per level loses the higher ones; one with all in one file stays as it is."""
    files = {role: path for role, path in variant.files.items() if _level_of(role) <= max_level}
    if len(files) == len(variant.files):
        return variant
    level_bytes = variant.level_bytes[: max_level + 1]
    return variant.model_copy(update={"files": files, "level_bytes": level_bytes})
