"""What a release holds, by content: the files of the bundle that the device needs, and the packages it runs with. Pure.

    HASH of a release = SHA-256 of its list and launcher;  a line of the list = SHA-256, size, path

The same bundle for the same kind of device is the same release everywhere, whoever deploys it and whenever. The
device's profile is beside it: that changes with every measurement.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from elsa_edge.bundle.manifest import FILE_NAME, Manifest
from elsa_edge.bundle.trim import trimmed
from elsa_edge.deploy.errors import DeviceError

__all__ = ["Release", "ReleaseFile", "release_of"]

BUNDLE: Final = "bundle"


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """A file of a release: path in it, content, and where the content lies here."""

    path: str
    sha256: str
    size_bytes: int
    source: Path | None = None
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """A release, before it is anywhere.

    Attributes:
        name: The bundle's name, for people.
        identity: The bundle's identity: SHA-256 of its manifest.
        files: Everything in it, sorted by path.
        stays_bytes: Bytes of the bundle that higher levels need, and that stay at home.
        launcher: The command that the release carries; it names the packages.
        counter: The signed counter of the bundle; None when it has none.
        tools: What its command runs, on a device without Python: the program first. They stay beside the release.
    """

    name: str
    identity: str
    files: tuple[ReleaseFile, ...]
    stays_bytes: int
    launcher: str
    counter: int | None = None
    tools: tuple[ReleaseFile, ...] = ()

    @property
    def listing(self) -> str:
        """The list whose hash is the release's name on the device."""
        return "\n".join(f"{file.sha256} {file.size_bytes} {file.path}" for file in self.files)

    @property
    def hash(self) -> str:
        """The release's name on the device: 64 hexadecimal digits."""
        return hashlib.sha256(f"{self.listing}\n{self.launcher}".encode()).hexdigest()

    @property
    def program(self) -> str:
        """The hash of the program that its command runs; empty where that is Python, or nothing."""
        return self.tools[0].sha256 if self.tools else ""

    @property
    def unique(self) -> tuple[ReleaseFile, ...]:
        """The files and tools, each content once."""
        return tuple({file.sha256: file for file in (*self.files, *self.tools)}.values())

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size_bytes for file in self.files)


def release_of(
    folder: Path,
    manifest: Manifest,
    attached: dict[str, bytes],
    launcher: str,
    max_level: int | None,
    *,
    tools: tuple[ReleaseFile, ...] = (),
) -> Release:
    """Return what a device gets of a bundle.

    Args:
        folder: The bundle.
        manifest: What it says about itself, whole.
        attached: Name -> content of its small files beside the listed ones: the manifest, the signature.
        launcher: The command that the release carries.
        max_level: Levels above stay at home.
        tools: What that command runs on a device without Python.
    """
    kept = trimmed(manifest, max_level)
    files = [
        ReleaseFile(f"{BUNDLE}/{entry.path}", entry.sha256, entry.size_bytes, folder / entry.path)
        for entry in kept.files
    ]
    files += [_small(f"{BUNDLE}/{name}", content) for name, content in attached.items()]
    strange = [file.path for file in files if "\n" in file.path or not file.path.isprintable()]
    if strange:
        raise DeviceError("A file of the bundle has a name that no shell can carry", found=repr(strange[0]))
    whole = sum(entry.size_bytes for entry in manifest.files)
    return Release(
        name=" ".join(manifest.name.split()) or "bundle",
        identity=hashlib.sha256(attached[FILE_NAME]).hexdigest(),
        files=tuple(sorted(files, key=lambda file: file.path)),
        stays_bytes=whole - sum(entry.size_bytes for entry in kept.files),
        launcher=launcher,
        counter=manifest.counter,
        tools=tools,
    )


def _small(path: str, content: bytes) -> ReleaseFile:
    return ReleaseFile(path, hashlib.sha256(content).hexdigest(), len(content), content=content)
