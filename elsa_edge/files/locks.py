"""Locks on files and folders that end with their holder, whoever ends it: flock(2).

A process id says nothing across containers, is used again, and survives a power cut in a file's name; a lock does not.
Where there is no flock (Windows) every lock is granted: nothing is swept that is in use only because nobody looks.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]  # the module or None, asked for below

__all__ = ["Lock", "locked_folder"]


class Lock:
    """A lock that is held on a file or folder."""

    def __init__(self, handle: int) -> None:
        self._handle: int | None = handle

    @classmethod
    def take(cls, path: Path, *, shared: bool = False, wait: bool = False) -> Lock | None:
        """Lock a path; None when somebody else holds it, or it is gone.

        Args:
            path: An existing file or folder.
            shared: Others may hold it too, as long as they share it.
            wait: Wait for the holder instead of giving up.
        """
        try:
            # At once, even where somebody put a pipe in the file's place.
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        except OSError:
            return None
        if fcntl is not None:
            kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
            try:
                fcntl.flock(handle, kind)
            except OSError:
                os.close(handle)
                return None
        return cls(handle)

    @property
    def handle(self) -> int | None:
        """The open file or folder; None once released."""
        return self._handle

    def release(self) -> None:
        """Give it up. Twice is fine."""
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.close(self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def locked_folder(fresh_path: Callable[[], Path], mode: int = 0o777) -> tuple[Path, Lock]:
    """Make a folder and hold it, under another path again where a sweep comes between the two.

    Args:
        fresh_path: Returns a path that nobody uses, another one at each call.
        mode: Permissions, less the umask.
    """
    while True:
        folder = fresh_path()
        folder.mkdir(mode=mode)
        lock = Lock.take(folder)
        if lock is not None and folder.is_dir():
            return folder, lock
