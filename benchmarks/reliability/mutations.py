"""Mutations of a bundle, as somebody who means harm would make them: the hashes fit afterwards.

A mutation of the manifest changes one value of its JSON: removes or repeats it, or puts something odd in its place. A
mutation of a data file flips, cuts, repeats or overwrites bytes. Both follow from a seed, so that a failure can be
repeated: `python -m benchmarks.reliability.fuzzing --first SEED --count 1`. Corpus: `benchmarks.reliability.corpus`, a
small network in every variant; a seed that once failed stays in `SEEDS`.
"""

from __future__ import annotations

import copy
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from elsa_edge.files import sha256_of

MANIFEST: Final = "manifest.json"
SEEDS: Final = (
    0,
    49,
    73,
)  # the first, and those that once found something: inputs that the golden file does not have
_ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 1e9, 10**30, 1e308, "", "..", "/etc/passwd", "a/../../b", "\u0000", "x" * 10_000, [], {},
    [[]], {"kind": "levels"}, "NaN", [1] * 300,
)  # fmt: skip


@dataclass(frozen=True)
class Original:
    """A bundle as it was: its manifest, and the bytes of every file."""

    manifest: dict[str, Any]
    contents: dict[str, bytes]

    @classmethod
    def of(cls, folder: Path) -> Original:
        """Read a bundle."""
        manifest = json.loads((folder / MANIFEST).read_text())
        names = [MANIFEST, *(entry["path"] for entry in manifest["files"])]
        return cls(manifest, {name: (folder / name).read_bytes() for name in names})

    def restore(self, folder: Path, name: str) -> None:
        """Put a file back, and the manifest."""
        for one in {name, MANIFEST}:
            (folder / one).write_bytes(self.contents[one])


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += _places(inner, (*path, key))
    return found


def mutated_manifest(manifest: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """Return a manifest with one value changed."""
    changed = copy.deepcopy(manifest)
    path = chance.choice(_places(changed))
    parent: Any = changed
    for key in path[:-1]:
        parent = parent[key]
    key = path[-1]
    what = chance.randrange(4)
    if what == 0:
        del parent[key]
    elif what == 1 and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(parent[key]))
    elif what == 2 and isinstance(parent[key], (int, float)) and not isinstance(parent[key], bool):
        parent[key] = chance.choice((parent[key] + 1, -parent[key], parent[key] * 1000, parent[key] / 3))
    else:
        parent[key] = copy.deepcopy(chance.choice(_ODD))
    return changed


def mutated_bytes(content: bytes, chance: random.Random) -> bytes:
    """Return content with some bytes changed."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8))):
        if not data:
            break
        place = chance.randrange(len(data))
        what = chance.randrange(4)
        if what == 0:
            data[place] ^= 1 << chance.randrange(8)
        elif what == 1:
            del data[place : place + chance.choice((1, 4, 100, len(data)))]
        elif what == 2:
            data[place:place] = data[place : place + chance.choice((1, 4, 100))]
        else:
            data[place : place + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f"))
    return bytes(data)


def mutate(original: Original, folder: Path, seed: int, kind: str) -> str:
    """Change one thing of the bundle in `folder`, of that kind, `manifest` or `data`; return which file.

    `Original.restore` puts it back. Only that file and the manifest are written, so thousands of mutations are cheap.
    """
    chance = random.Random(f"{kind} {seed}")  # noqa: S311 - no secret
    if kind == "manifest":
        changed = mutated_manifest(original.manifest, chance)
        (folder / MANIFEST).write_text(json.dumps(changed))
        return MANIFEST
    manifest = copy.deepcopy(original.manifest)
    entry = chance.choice(manifest["files"])
    file = folder / entry["path"]
    file.write_bytes(mutated_bytes(original.contents[entry["path"]], chance))
    entry["size_bytes"], entry["sha256"] = file.stat().st_size, sha256_of(file)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return str(entry["path"])
