"""Scratch folders of this process, below the system's folder for temporary files; those of dead processes are swept.

    TMPDIR/elsa-edge-TOKEN/      TOKEN is 16 random hexadecimal digits; locked while its process lives

An exception removes a scratch folder; a kill or a power cut does not, and a device that is switched off at will would
fill its disk. The kernel drops the lock with its holder, so the next process that needs scratch space removes what
nobody holds, of its own user only.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from elsa_edge.files.locks import Lock, locked_folder

__all__ = ["scratch_folder", "sweep_scratch"]

_PREFIX: Final = "elsa-edge-"
_OURS: Final = re.compile(re.escape(_PREFIX) + r"[0-9a-f]{16}")


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a fresh folder that only this user can read; it vanishes afterwards."""
    place = Path(tempfile.gettempdir())
    sweep_scratch(place)
    folder, lock = locked_folder(lambda: place / f"{_PREFIX}{secrets.token_hex(8)}", mode=0o700)
    with lock:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep_scratch(place: Path) -> None:
    """Remove the scratch folders below `place` whose processes are gone."""
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if _OURS.fullmatch(entry.name) and _is_own_folder(entry):
                lock = Lock.take(Path(entry))
                if lock is not None:
                    with lock:
                        shutil.rmtree(entry, ignore_errors=True)


def _is_own_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a folder, no link to one, that belongs to this user."""
    try:
        is_folder, owner = entry.is_dir(follow_symlinks=False), entry.stat(follow_symlinks=False).st_uid
    except OSError:
        return False
    return is_folder and owner == getattr(os, "geteuid", lambda: owner)()
