"""Let go of pages of a mapped file that only loading has touched.

    resident after opening = what the runtime read once      resident after running = what the levels in use read

ONNX Runtime maps external data privately and reads some of it while it opens a session, weights of all levels alike.
Nothing gives these pages back but memory pressure, which a small device had better not wait for.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["release_clean_pages", "resident_bytes"]

_SMAPS: Final = Path("/proc/self/smaps")


def release_clean_pages(file: Path) -> int:
    """Drop this process's pages of every mapping of `file` in which nothing was written; they are read again at need.

    A mapping that has been written to, and so has pages that are not in the file, is left alone. Call it while nobody
    else in this process can write to such a mapping for the first time.

    Returns:
        Bytes that were resident in these mappings; 0 where the system offers no way.
    """
    advise = getattr(mmap, "MADV_DONTNEED", None)
    try:
        madvise = ctypes.CDLL(None, use_errno=True).madvise
        mappings = list(_mappings(file))
    except (OSError, AttributeError):
        return 0  # not Linux
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    released = 0
    for start, end, facts in mappings:
        clean = facts.get("Anonymous", 1) == 0 and facts.get("Locked", 0) == 0
        if clean and advise is not None and madvise(start, end - start, advise) == 0:
            released += facts.get("Rss", 0)
    return released


def resident_bytes(file: Path) -> int:
    """Return how many bytes of `file` this process has resident through mappings.

    Raises:
        OSError: Where the system does not tell.
    """
    return sum(facts.get("Rss", 0) for _, _, facts in _mappings(file))


def _mappings(file: Path) -> Iterator[tuple[int, int, dict[str, int]]]:
    """Yield (start, end, bytes by kind) of this process's mappings of a file."""
    wanted = str(file.resolve()).replace("\n", "\\012")
    current: tuple[int, int, dict[str, int]] | None = None
    with _SMAPS.open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            words = line.split(maxsplit=5)
            if not words[0].endswith(":"):  # start-end permissions offset device inode path
                if current is not None:
                    yield current
                start, _, end = words[0].partition("-")
                mine = len(words) == 6 and words[5].rstrip("\n") == wanted
                current = (int(start, 16), int(end, 16), {}) if mine else None
            elif current is not None and words[-1] == "kB":
                current[2][words[0][:-1]] = int(words[1]) * 1024
    if current is not None:
        yield current
