"""Hold a folder as it is now, whatever is put in its place: a running session keeps the bundle that it opened.

    /proc/PID/fd/N/model.onnx      N is the open folder, which follows it when it is exchanged for a new one

A shared lock on the folder tells `elsa_edge.files` that somebody reads from it, so it is not removed before its last
session ends. Where there is no /proc the path itself is used, and only what is open already is kept.
"""

from __future__ import annotations

import os
from pathlib import Path

from elsa_edge.files.locks import Lock

__all__ = ["Pin"]


class Pin:
    """A folder that is held.

    Attributes:
        path: Where it can be read, by this process and those that it starts, until `release`.
    """

    def __init__(self, path: Path, lock: Lock | None) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def of(cls, folder: Path) -> Pin:
        """Hold a folder. One that cannot be held is read by its path; opening it tells what is wrong with it."""
        lock = Lock.take(folder, shared=True)
        if lock is None:
            return cls(folder, None)
        held = Path(f"/proc/{os.getpid()}/fd/{lock.handle}")
        try:
            return cls(held if held.samefile(folder) else folder, lock)
        except OSError:
            return cls(folder, lock)

    def is_still(self, folder: Path) -> bool:
        """Tell whether a path still leads to the folder that is held."""
        try:
            return self.path.samefile(folder)
        except OSError:
            return False

    def release(self) -> None:
        """Let it go. Twice is fine."""
        if self._lock is not None:
            self._lock.release()
