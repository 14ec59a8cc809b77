"""Be woken by memory pressure: a trigger of the kernel's pressure stall information (PSI), asked without waiting.

The averages of PSI lag behind by ten seconds. A trigger fires within a fraction of one: when tasks have stalled on
memory for longer than a share of a window. Source: Linux Documentation/accounting/psi.rst; without privileges a window
is a multiple of two seconds.
"""

from __future__ import annotations

import contextlib
import os
import select
from pathlib import Path
from types import TracebackType
from typing import Final, Self

__all__ = ["PressureTrigger"]

_WINDOW_US: Final = 2_000_000


class PressureTrigger:
    """Fires when the system stalls on memory for more than a share of two seconds.

    Where there is no such file, or the kernel refuses, it never fires.

    Args:
        path: `/proc/pressure/memory`, or the `memory.pressure` of a control group.
        percent: The share, in (0, 100].
    """

    def __init__(self, path: Path, percent: float) -> None:
        self._handle: int | None = None
        self._poll = select.poll()
        stall_us = max(1, min(_WINDOW_US, round(_WINDOW_US * percent / 100.0)))
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
            try:
                os.write(handle, f"some {stall_us} {_WINDOW_US}\0".encode())
            except OSError:
                os.close(handle)
                raise
            self._handle = handle
            self._poll.register(handle, select.POLLPRI)

    @property
    def armed(self) -> bool:
        """Whether the kernel has taken the trigger."""
        return self._handle is not None

    def fired(self) -> bool:
        """Return whether it fired since the last call; about a microsecond."""
        return self._handle is not None and any(what & select.POLLPRI for _, what in self._poll.poll(0))

    def close(self) -> None:
        """Take the trigger back. Twice is fine."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
