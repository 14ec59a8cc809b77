"""One caller at a time, in the process that began: runtimes answer wrongly or hang otherwise, and say nothing.

LiteRT from several threads was wrong in 4 to 6 % of the runs; ONNX Runtime's threads do not exist in a forked child, so
its first run there waits for ever.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from types import TracebackType

from elsa_edge.errors import UsageError

__all__ = ["Turn"]


class Turn:
    """A turn that one caller takes; used with `with`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: int | None = None
        self._process = os.getpid()

    def __enter__(self) -> None:
        if os.getpid() != self._process:
            raise UsageError(
                "This session was opened before the process was forked, and its runtime's threads stayed behind",
                fix="Open it in the child, or start processes with multiprocessing's spawn",
            )
        if not self._lock.acquire(blocking=False):
            if self._holder == threading.get_ident():
                raise UsageError(
                    "This session is in the middle of a run, in this very thread",
                    fix="Do not run it from `on_run`, which is told of a run: only return from there, or close it",
                )
            raise UsageError(
                "Another thread is running this session",
                expected="one caller at a time",
                fix="Give each thread a session of its own (they share the weights), or take turns with a lock",
            )
        self._holder = threading.get_ident()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._holder = None
        self._lock.release()

    @contextlib.contextmanager
    def last(self) -> Iterator[None]:
        """Wait until nobody has a turn and keep everybody out meanwhile: for closing.

        Who holds the turn (a listener that closes the session it was told of), or comes after a fork, does not wait.
        """
        if self._holder == threading.get_ident() or os.getpid() != self._process:
            yield
            return
        with self._lock:
            yield
