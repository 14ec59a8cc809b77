"""Writing that either happens whole or not at all, and the hashes that bundles are checked with.

A file or folder is written under a temporary name beside its destination and renamed when complete, so a full disk,
an exception or a kill leaves the destination as it was. Temporary names carry the process id; those of dead processes
are swept away by the next write to the same place.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from elsa_edge.errors import ElsaError

__all__ = ["atomic_directory", "atomic_file", "sha256_of", "write_bytes"]

_CHUNK_BYTES = 1 << 20


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _temporary_beside(destination: Path) -> Path:
    """Return a fresh temporary path next to `destination`, after removing those that dead processes left there."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    pattern = re.compile(re.escape(f".{destination.name}.") + r"(\d+)\.tmp")
    for entry in destination.parent.iterdir():
        match = pattern.fullmatch(entry.name)
        if match and not _is_running(int(match.group(1))):
            _remove(entry)
    temporary = destination.with_name(f".{destination.name}.{os.getpid()}.tmp")
    _remove(temporary)
    return temporary


@contextlib.contextmanager
def _readable_disk_errors(destination: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ElsaError(
            f"Writing {destination} failed ({error.strerror or error}); it is as it was before",
            fix="Check the free space and the permissions of that folder",
        ) from error


@contextlib.contextmanager
def atomic_file(destination: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path to write to; on success it becomes `destination`, on failure it vanishes.

    Raises:
        ElsaError: When the disk refuses (full, read-only, no permission). The destination is unchanged.
    """
    target = Path(destination)
    if target.is_dir():
        raise ElsaError(f"{target} is a folder", expected="the name of a file to write")
    with _readable_disk_errors(target):
        temporary = _temporary_beside(target)
        temporary.touch()  # with the user's own permissions; some writers would choose others
        try:
            yield temporary
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
            temporary.replace(target)
        finally:
            _remove(temporary)


@contextlib.contextmanager
def atomic_directory(
    destination: str | os.PathLike[str], *, may_replace: str | None = None
) -> Iterator[Path]:
    """Yield a temporary folder to fill; on success it becomes `destination`, on failure it vanishes.

    Args:
        destination: The folder to create.
        may_replace: Name of a file that marks a folder as ours (a bundle's manifest): an existing destination that
            holds it is replaced, any other non-empty one is refused.

    Raises:
        ElsaError: When the destination is somebody else's folder, or the disk refuses. It is then unchanged.
    """
    target = Path(destination)
    ours = may_replace is not None and (target / may_replace).is_file()
    if target.exists() and not ours and not (target.is_dir() and not any(target.iterdir())):
        raise ElsaError(
            f"{target} exists and was not written by this command",
            fix="Choose another name or remove it first",
        )
    with _readable_disk_errors(target):
        temporary = _temporary_beside(target)
        temporary.mkdir()
        retired = temporary.with_name(temporary.name + ".old")
        try:
            yield temporary
            if target.exists():
                target.replace(retired)
            temporary.replace(target)
        except BaseException:
            if retired.exists() and not target.exists():
                retired.replace(target)
            raise
        finally:
            _remove(temporary)
            _remove(retired)


def write_bytes(destination: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to `destination` atomically."""
    with atomic_file(destination) as temporary:
        temporary.write_bytes(content)
