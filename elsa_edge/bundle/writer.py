"""Write a bundle: a temporary folder is filled and becomes the destination when it is complete."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from elsa_edge.bundle.golden import FILE_NAME as GOLDEN_NAME
from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.manifest import (
    FILE_NAME,
    SIGNATURE_NAME,
    FileEntry,
    InputOutput,
    LevelEntry,
    Manifest,
    Variant,
)
from elsa_edge.bundle.reader import read_manifest
from elsa_edge.errors import BundleError, ElsaError
from elsa_edge.files import atomic_directory, require_writable, sha256_of
from elsa_edge.levels import Ladder
from elsa_edge.tensors import TensorSpec

__all__ = ["BundleWriter", "write_bundle"]


@dataclass
class BundleWriter:
    """A bundle that is being filled; `write_bundle` makes one.

    Attributes:
        folder: The temporary folder. Files written into it become part of the bundle.
        variants: What `add_variant` was given, with paths relative to the bundle.
    """

    folder: Path
    variants: list[Variant] = field(default_factory=list)
    _manifest: Manifest | None = None

    def variant_folder(self, name: str) -> Path:
        """Return a new, empty folder for the files of a variant."""
        folder = self.folder / name
        try:
            folder.mkdir()
        except FileExistsError as error:
            raise BundleError(f"Two variants of one bundle are called {name!r}") from error
        return folder

    def add_variant(self, variant: Variant) -> Variant:
        """Take in a variant whose paths are relative to its own folder; return it relative to the bundle."""
        files = {role: f"{variant.name}/{path}" for role, path in variant.files.items()}
        placed = variant.model_copy(update={"files": files})
        self.variants.append(placed)
        return placed

    def drop_variant(self, name: str) -> None:
        """Take a variant out again, with those of its files that no other variant reads."""
        dropped = {
            path for variant in self.variants if variant.name == name for path in variant.files.values()
        }
        self.variants[:] = [variant for variant in self.variants if variant.name != name]
        used = {path for variant in self.variants for path in variant.files.values()}
        if not any(path.startswith(f"{name}/") for path in used):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for path in dropped - used:
            (self.folder / path).unlink(missing_ok=True)

    def seal(
        self,
        *,
        name: str,
        device: str,
        ladder: Ladder,
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
        golden: Golden,
        versions: Mapping[str, str],
        provenance: Mapping[str, Any],
        noise: Mapping[str, tuple[float, ...]] | None = None,
        class_axes: Mapping[str, int] | None = None,
        counter: int | None = None,
    ) -> Manifest:
        """Write the golden file, then the manifest with size and SHA-256 of every file. Call it last."""
        (self.folder / FILE_NAME).unlink(
            missing_ok=True
        )  # sealed before, with a variant that was dropped since
        golden.save(self.folder / GOLDEN_NAME)
        self._manifest = Manifest(
            format=2,
            name=name,
            device=device,
            ladder=tuple(LevelEntry(**asdict(level)) for level in ladder),
            inputs=tuple(InputOutput.of(spec) for spec in inputs.values()),
            outputs=tuple(InputOutput.of(spec) for spec in outputs.values()),
            variants=tuple(self.variants),
            golden=GOLDEN_NAME,
            files=tuple(self._entries()),
            versions=dict(versions),
            provenance=dict(provenance),
            noise=dict(noise or {}),
            class_axes=None if class_axes is None else dict(class_axes),
            counter=counter,
        )
        (self.folder / FILE_NAME).write_text(
            self._manifest.model_dump_json(indent=2) + "\n", encoding="utf-8"
        )
        return self._manifest

    @property
    def manifest(self) -> Manifest:
        """The manifest, once sealed."""
        if self._manifest is None:
            raise BundleError("A bundle was written without its manifest", fix="Call seal() last")
        return self._manifest

    def _entries(self) -> Iterator[FileEntry]:
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                relative = path.relative_to(self.folder).as_posix()
                yield FileEntry(path=relative, size_bytes=path.stat().st_size, sha256=sha256_of(path))


@contextlib.contextmanager
def write_bundle(destination: str | os.PathLike[str]) -> Iterator[BundleWriter]:
    """Yield a writer; when its block ends well the bundle is at `destination`, else that is as it was.

    Raises:
        BundleError: When the block ends without `seal`.
        ElsaError: When the destination is a folder that is not a bundle (or holds files beside one), or the
            disk refuses.
    """
    target = require_place(destination)
    with atomic_directory(target, may_replace=FILE_NAME) as folder:
        writer = BundleWriter(folder)
        yield writer
        _flush(folder, writer.manifest)


def require_place(destination: str | os.PathLike[str]) -> Path:
    """Return a place where a bundle may be written: nothing there, an empty folder, or a bundle to replace.

    Raises:
        ElsaError: When there is something else, or the place cannot be written to.
    """
    target = Path(destination)
    if target.exists() and not target.is_dir():
        raise ElsaError(f"{target} is a file", expected="the name of a folder for the bundle")
    if _exists_with_content(target):
        _check_ours(target)
    require_writable(target)
    return target


def _exists_with_content(target: Path) -> bool:
    return target.is_dir() and any(target.iterdir())


def _check_ours(target: Path) -> None:
    """Replacing deletes: only a folder whose every file belongs to an old bundle may be replaced."""
    choose = "Choose another name or remove it first"
    try:
        old = read_manifest(target)
    except BundleError as error:
        raise ElsaError(f"{target} exists and is not a bundle", fix=choose) from error
    known = {FILE_NAME, SIGNATURE_NAME, *(entry.path for entry in old.files)}
    foreign = sorted(
        path.relative_to(target).as_posix()
        for path in target.rglob("*")
        if (path.is_symlink() or not path.is_dir()) and path.relative_to(target).as_posix() not in known
    )
    if foreign:
        raise ElsaError(
            f"{target} holds files beside the old bundle", found=", ".join(foreign[:5]), fix=choose
        )


def _flush(folder: Path, manifest: Manifest) -> None:
    """Force the files to the disk before the rename: a power cut must not leave holes in a bundle."""
    for relative in (FILE_NAME, *(entry.path for entry in manifest.files)):
        with (folder / relative).open("rb") as stream:
            os.fsync(stream.fileno())
