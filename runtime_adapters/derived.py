"""Files derived on the device, kept for the next start: one cache for all runtimes.

    CACHE/KIND-KEY/{files, stamp.json}      KEY = hash(kind of CPU, facts: source, runtime, settings)

An entry is made beside its place and renamed, carries size and CRC-32 of each file, and is made again when one differs.
Entries that were not used for longest are removed to keep the folder below its limit; what killed processes left goes
too. Whatever fails here, the network runs without the cache; the reason is kept.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic_core import from_json, to_json

from elsa_edge.errors import ElsaError
from elsa_edge.files import atomic_directory, sweep
from elsa_edge.plugins import NO_CACHE, CacheState, CacheUse

__all__ = ["Derived", "cpu_identity", "derived", "evict", "not_derived"]

STAMP: Final = "stamp.json"
_CHUNK_BYTES: Final = 1 << 20
# Lines of /proc/cpuinfo that tell which instructions there are.
_TELLING: Final = frozenset(
    {"model name", "flags", "Features", "CPU implementer", "CPU architecture", "CPU variant", "CPU part"}
)


@dataclass(frozen=True, slots=True)
class Derived:
    """What became of the wish for derived files.

    Attributes:
        folder: Where they are, or None when there are none.
        state: Whether they were found, made just now, or are off, and why.
    """

    folder: Path | None
    state: CacheState


def not_derived(reason: str) -> Derived:
    """Return that there are no files although they were wanted."""
    return Derived(None, CacheState(CacheUse.OFF, reason))


def derived(
    cache: Path | None, kind: str, facts: Sequence[str], make: Callable[[Path], None], *, limit_bytes: int
) -> Derived:
    """Return the folder of derived files, making it when it is missing, stale or damaged.

    Args:
        cache: Folder of the cache, or None for no cache.
        kind: Short name of what is derived; entries of one kind share the limit.
        facts: What decides the content, beside the CPU: hash of the source, version of the runtime, settings.
        make: Writes the files into the empty folder it is given. What it raises becomes the reason.
        limit_bytes: Largest size of all entries of that kind.
    """
    if cache is None or limit_bytes <= 0:
        return Derived(None, NO_CACHE)
    key = hashlib.sha256("\0".join([cpu_identity(), *facts]).encode()).hexdigest()[:32]
    entry = cache / f"{kind}-{key}"
    if _is_whole(entry):
        _touch(entry)
        return Derived(entry, CacheState(CacheUse.USED))
    try:
        _build(entry, make)
        size_bytes = _size_bytes(entry)
    except ElsaError as error:
        return not_derived(error.problem)
    except (OSError, ValueError, subprocess.SubprocessError, RuntimeError) as error:
        return not_derived(f"{type(error).__name__} {str(error)[:200]}")
    if size_bytes > limit_bytes:
        shutil.rmtree(entry, ignore_errors=True)
        return not_derived(f"the derived files are larger than {limit_bytes} bytes (runtime.cache_mb)")
    evict(cache, kind, entry, limit_bytes)
    return Derived(entry, CacheState(CacheUse.BUILT))


def cpu_identity(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return what tells one kind of CPU from another: derived files fit only the instructions they were made for."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    facts = {line.strip() for line in lines if line.split(":")[0].strip() in _TELLING}
    return "\n".join([platform.machine(), *sorted(facts)])


def _build(entry: Path, make: Callable[[Path], None]) -> None:
    if entry.exists() and not (entry / STAMP).is_file():
        shutil.rmtree(entry, ignore_errors=True)
    with atomic_directory(entry, may_replace=STAMP) as folder:
        make(folder)
        files = {path.name: [path.stat().st_size, crc32_of(path)] for path in sorted(folder.iterdir())}
        if not files:
            raise ElsaError("nothing was derived")
        (folder / STAMP).write_bytes(to_json(files))


def _is_whole(entry: Path) -> bool:
    """Return whether an entry holds exactly the files of its stamp, byte for byte."""
    try:
        files = from_json((entry / STAMP).read_bytes())
        if not files or {path.name for path in entry.iterdir()} != {STAMP, *files}:
            return False
        return all(
            (entry / name).stat().st_size == size and crc32_of(entry / name) == crc
            for name, (size, crc) in files.items()
        )
    except (OSError, ValueError, TypeError, AttributeError):
        return False


def crc32_of(path: Path) -> int:
    """Return the CRC-32 of a file: it finds damage, and is five times faster than a SHA-256."""
    value = 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            value = zlib.crc32(chunk, value)
    return value


def _touch(entry: Path) -> None:
    try:
        os.utime(entry / STAMP)
    except OSError:
        return  # a read-only cache still serves; only its order of removal ages


def _size_bytes(entry: Path) -> int:
    return sum(path.stat().st_size for path in entry.iterdir() if path.is_file())


def evict(cache: Path, kind: str, newest: Path, limit_bytes: int) -> None:
    """Remove the entries unused for longest until a kind fits, and what dead processes left of it.

    Mapped files live on until the session that mapped them ends.
    """
    total = _size_bytes(newest)
    others = [path for path in cache.glob(f"{kind}-*") if path != newest and path.is_dir()]
    for path in sorted(others, key=_last_use_ns, reverse=True):
        try:
            total += _size_bytes(path)
        except OSError:
            continue  # another process has just removed it
        if total > limit_bytes:
            shutil.rmtree(path, ignore_errors=True)
            total = limit_bytes  # everything older goes too
    for name in {_entry_of(path.name) for path in cache.glob(f".{kind}-*.tmp*")}:
        sweep(cache / name)


def _entry_of(temporary: str) -> str:
    """Return the name of the entry that a temporary folder was to become: `.NAME.TOKEN.tmp`."""
    return re.sub(r"^\.(.+?)\.[0-9a-f]+\.tmp(\.old)?$", r"\1", temporary)


def _last_use_ns(path: Path) -> int:
    """Return when an entry was last used; 0 when it is broken or gone, so that it goes first."""
    for candidate in (path / STAMP, path):
        try:
            return candidate.stat().st_mtime_ns
        except OSError:
            continue
    return 0
