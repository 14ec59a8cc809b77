"""Open a bundle and refuse it when anything in it is missing, changed, foreign or leads outside."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from elsa_edge.bundle import format_1
from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.instructions import level_role
from elsa_edge.bundle.manifest import FILE_NAME, SIGNATURE_NAME, FileEntry, Manifest, Variant
from elsa_edge.bundle.mistakes import mistakes
from elsa_edge.bundle.trim import trimmed
from elsa_edge.errors import BundleError, ElsaError
from elsa_edge.files import sha256_of
from elsa_edge.levels import Ladder
from elsa_edge.tensors import TensorSpec

__all__ = ["LARGEST_MANIFEST_BYTES", "Bundle", "open_bundle", "read_manifest"]

LARGEST_MANIFEST_BYTES: Final = 16 << 20
READABLE_FORMATS: Final = (1, 2)
_REBUILD: Final = "Copy the bundle again or build it again"


@dataclass(frozen=True)
class Bundle:
    """An opened bundle; its files were checked against the manifest when it was opened.

    Attributes:
        folder: Where it is.
        manifest: What it says about itself, up to the highest level that was asked for.
        whole_count: Levels that it has where it was built.
    """

    folder: Path
    manifest: Manifest
    whole_count: int

    @cached_property
    def ladder(self) -> Ladder:
        """The levels, sparsest first."""
        return self.manifest.to_ladder()

    def levels_in(self, variant: Variant) -> int:
        """Return how many levels a variant's files hold: with a file per level those of the ladder, else all."""
        return len(self.manifest.ladder) if level_role(0) in variant.files else self.whole_count

    @cached_property
    def golden(self) -> Golden:
        """Golden inputs, and the oracle's outputs at each level.

        Raises:
            BundleError: When the file is damaged, or is of another network.
        """
        golden = Golden.load(self.folder / self.manifest.golden, len(self.manifest.ladder))
        for what, found, told in (
            ("inputs", golden.inputs, self.inputs),
            ("outputs", golden.outputs[0], self.outputs),
        ):
            if set(found) != set(told):
                raise BundleError(
                    f"The golden file has other {what} than the network",
                    expected=", ".join(told),
                    found=", ".join(found),
                    fix=_REBUILD,
                )
        return golden

    @cached_property
    def inputs(self) -> dict[str, TensorSpec]:
        """Inputs by name."""
        return {entry.name: entry.to_spec() for entry in self.manifest.inputs}

    @cached_property
    def outputs(self) -> dict[str, TensorSpec]:
        """Outputs by name."""
        return {entry.name: entry.to_spec() for entry in self.manifest.outputs}

    @property
    def identity(self) -> str:
        """SHA-256 of the manifest, which holds the SHA-256 of everything else."""
        return sha256_of(self.folder / FILE_NAME)


def read_manifest(folder: Path) -> Manifest:
    """Read and validate the manifest of a bundle, without looking at the other files.

    Raises:
        BundleError: When there is none, or it is not a manifest of this format.
    """
    path = folder / FILE_NAME
    if not folder.is_dir():
        raise BundleError(f"There is no bundle at {folder}", expected=f"a folder with a {FILE_NAME}")
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{folder} is not a bundle", expected=f"a file {FILE_NAME} in it")
    try:
        if path.stat().st_size > LARGEST_MANIFEST_BYTES:
            raise BundleError(f"{path} is too large", expected=f"at most {LARGEST_MANIFEST_BYTES} bytes")
        manifest = _parse(path, path.read_bytes())
        manifest.to_ladder()
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror or error})") from error
    except ElsaError as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{path} has a damaged ladder ({error})", fix=_REBUILD) from error
    return manifest


def _parse(path: Path, content: bytes) -> Manifest:
    """Validate a manifest, one of format 1 as what it would say today."""
    try:
        values = from_json(content, allow_inf_nan=False)
    except ValueError:
        values = None  # what is wrong with it, the validation below says
    told = values.get("format") if isinstance(values, dict) else None
    if type(told) is int and told not in READABLE_FORMATS:
        raise BundleError(
            f"{path} is of another format",
            expected=" or ".join(map(str, READABLE_FORMATS)),
            found=told,
            fix="Update elsa-edge here, or build the bundle again with the version that runs here",
        )
    if type(told) is int and told == 1:
        values = format_1.upgrade(values)
        content = to_json(values)
    try:
        # Through JSON, because only there pydantic's strict mode takes lists for tuples.
        return Manifest.model_validate_json(content, strict=True)
    except ValidationError as error:
        raise BundleError(
            f"{path} is not a manifest of this format: {mistakes(error, values)}", fix=_REBUILD
        ) from error


def open_bundle(
    path: str | os.PathLike[str], *, check_hashes: bool = True, max_level: int | None = None
) -> Bundle:
    """Open a bundle after checking that it is exactly what its manifest says.

    Args:
        path: The bundle's folder.
        check_hashes: Read every file and compare its SHA-256. False compares only presence and sizes.
        max_level: Take levels up to this one only; files that higher levels need may be absent, and are not used.

    Raises:
        BundleError: When the manifest is missing or wrong, or a file is missing, changed, extra, a link or
            outside.
    """
    folder = Path(path)
    whole = read_manifest(folder)
    manifest = trimmed(whole, max_level)
    for entry in manifest.files:
        _check_file(folder, entry, check_hashes=check_hashes)
    listed = {FILE_NAME, SIGNATURE_NAME, *(entry.path for entry in whole.files)}
    extra = sorted(name for name in _files_in(folder) if name not in listed)
    if extra:
        raise BundleError(
            "The bundle holds files that its manifest does not list",
            found=", ".join(extra[:5]) + (f" and {len(extra) - 5} more" if len(extra) > 5 else ""),
            fix="Remove them or build the bundle again",
        )
    return Bundle(folder, manifest, len(whole.ladder))


def _check_file(folder: Path, entry: FileEntry, *, check_hashes: bool) -> None:
    path = folder / entry.path
    if path.resolve() != folder.resolve() / entry.path:
        raise BundleError(
            f"{entry.path} is a link or leads through one", expected="a plain file inside the bundle"
        )
    try:
        status = path.lstat()
    except OSError as error:
        raise BundleError(f"{entry.path} is missing from the bundle", fix=_REBUILD) from error
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"{entry.path} is not a plain file", fix=_REBUILD)
    if status.st_size != entry.size_bytes:
        raise BundleError(
            f"{entry.path} has changed: its size differs",
            expected=f"{entry.size_bytes} bytes",
            found=f"{status.st_size} bytes",
            fix=_REBUILD,
        )
    if check_hashes:
        try:
            found = sha256_of(path)
        except OSError as error:
            raise BundleError(f"{entry.path} cannot be read ({error.strerror or error})") from error
        if found != entry.sha256:
            raise BundleError(
                f"{entry.path} has changed: its SHA-256 differs",
                expected=entry.sha256[:16] + "...",
                found=found[:16] + "...",
                fix=_REBUILD,
            )


def _files_in(folder: Path) -> Iterator[str]:
    """Yield every file and link below `folder` as a relative POSIX path; links are not followed."""
    for parent, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in (*names, *links):
            yield (Path(parent) / name).relative_to(folder).as_posix()
