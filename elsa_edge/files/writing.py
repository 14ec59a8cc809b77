"""Writing that either happens whole or not at all, and the hashes that bundles are checked with.

    .NAME.TOKEN.tmp/      a folder beside the destination, locked while its writer lives; TOKEN is random
    .NAME.TOKEN.tmp/NAME  what becomes the destination in one step

A full disk, an exception or a kill leaves the destination as it was. What a dead writer left is swept away by the next
write to the same place: the kernel drops its lock with it, also that of another container or after a power cut. A
folder that replaces another is exchanged with it (`elsa_edge.files.exchange`); the old one is whole until then.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from elsa_edge.errors import ElsaError
from elsa_edge.files.exchange import exchange
from elsa_edge.files.locks import Lock, locked_folder

__all__ = ["atomic_directory", "atomic_file", "require_writable", "sha256_of", "sweep", "write_bytes"]

_CHUNK_BYTES: Final = 1 << 20
_RETIRED: Final = "retired"
# Errors of a disk, whichever file of ours they strike. Others may be of a file that was only read.
_OF_THE_DISK: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ENODEV}
)


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


def sweep(destination: Path) -> None:
    """Remove what dead writers left beside a destination; give back an old folder that one was about to replace.

    A retired folder that a running session still reads from is left to a later sweep.
    """
    # Only what we make: other programs call their temporary files .NAME.NUMBER.tmp, and nobody's file is a folder.
    pattern = re.compile(re.escape(f".{destination.name}.") + r"[0-9a-f]{16}\.tmp")
    for entry in list(destination.parent.iterdir()):
        if not pattern.fullmatch(entry.name) or entry.is_symlink() or not entry.is_dir():
            continue
        lock = Lock.take(entry)
        if lock is None:
            continue
        with lock:
            retired = entry / _RETIRED
            if retired.is_dir() and not destination.exists():
                retired.replace(destination)
            if all(_unread(inner) for inner in (retired, entry / destination.name)):
                _remove(entry)


def _unread(folder: Path) -> bool:
    """Tell whether no session holds a folder open."""
    if not folder.is_dir():
        return True
    lock = Lock.take(folder)
    if lock is not None:
        lock.release()
    return lock is not None


@contextlib.contextmanager
def _workplace(destination: Path) -> Iterator[Path]:
    """Yield a fresh locked folder beside `destination`, after sweeping; it vanishes afterwards."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    sweep(destination)
    folder, lock = locked_folder(
        lambda: destination.with_name(f".{destination.name}.{secrets.token_hex(8)}.tmp")
    )
    with lock:
        try:
            yield folder
        finally:
            if _unread(folder / destination.name) and _unread(folder / _RETIRED):
                _remove(folder)


@contextlib.contextmanager
def _readable_disk_errors(destination: Path, workplace: Path | None = None) -> Iterator[None]:
    """Say of errors of the disk and of our own files what they mean; let those of other files through."""
    try:
        yield
    except OSError as error:
        ours = workplace is None or str(error.filename or "").startswith(str(workplace))
        if not ours and error.errno not in _OF_THE_DISK:
            raise
        raise ElsaError(
            f"Writing {destination} failed ({error.strerror or error}); it is as it was before",
            fix="Check the free space and the permissions of that folder",
        ) from error


def _sync_folder(folder: Path) -> None:
    """Force a rename to the disk, where the system can do that for folders."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def atomic_file(destination: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path to write to; on success it becomes `destination`, on failure it vanishes.

    Raises:
        ElsaError: When the disk refuses (full, read-only, no permission). The destination is unchanged.
    """
    target = Path(destination)
    if target.is_dir():
        raise ElsaError(f"{target} is a folder", expected="the name of a file to write")
    with contextlib.ExitStack() as stack:
        with _readable_disk_errors(target):
            folder = stack.enter_context(_workplace(target))
            temporary = folder / target.name
            temporary.touch()
            permissions = stat.S_IMODE(temporary.stat().st_mode)  # the user's own; some writers choose others
        with _readable_disk_errors(target, folder):
            yield temporary
        with _readable_disk_errors(target):
            with temporary.open("rb+") as stream:
                temporary.chmod(permissions)
                os.fsync(stream.fileno())
            temporary.replace(target)
            _sync_folder(target.parent)


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
    with contextlib.ExitStack() as stack:
        with _readable_disk_errors(target):
            folder = stack.enter_context(_workplace(target))
            temporary = folder / target.name
            temporary.mkdir()
        with _readable_disk_errors(target, folder):
            yield temporary
        with _readable_disk_errors(target):
            _put(temporary, target, folder / _RETIRED)
            _sync_folder(target.parent)


def _put(fresh: Path, target: Path, retired: Path) -> None:
    """Make a folder the destination; what was there is at `fresh` or `retired` afterwards."""
    if not target.exists():
        fresh.replace(target)
        return
    if exchange(fresh, target):
        return
    # A file system that cannot exchange: a kill between the two lines is mended by the next sweep.
    target.replace(retired)
    try:
        fresh.replace(target)
    except OSError:
        retired.replace(target)
        raise


def write_bytes(destination: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to `destination` atomically."""
    with atomic_file(destination) as temporary:
        temporary.write_bytes(content)


def require_writable(destination: Path) -> None:
    """Find out now, before hours of work, whether a file or folder can be put at `destination`; leaves nothing behind.

    Raises:
        ElsaError: When it cannot.
    """
    place = destination.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with contextlib.suppress(FileExistsError):
            probe = place / f".{destination.name}.{secrets.token_hex(8)}.tmp"
            probe.mkdir()
            probe.rmdir()
    except OSError as error:
        raise ElsaError(
            f"{destination} cannot be written ({error.strerror or error})",
            fix="Choose another place, or check the permissions of that folder",
        ) from error
