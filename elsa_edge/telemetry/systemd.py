"""Signs of life for systemd: ready once the session is open, alive after each run. A unit with WatchdogSec= needs them.

    with AdaptiveSession.open(bundle, on_run=Watchdog()) as session: ...

Without systemd ($NOTIFY_SOCKET is not set) nothing happens. Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import Final

from elsa_edge.control.history import RunEvent

__all__ = ["Watchdog"]

_S_PER_US: Final = 1e-6
# systemd recommends half of the time; a quarter survives one run that takes long.
_SHARE: Final = 0.25


class Watchdog:
    """A listener of runs that tells systemd that they happen.

    Args:
        environment: Where systemd's variables are; by default the process's.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        told = os.environ if environment is None else environment
        address = told.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the zero byte of Linux's abstract names.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        limit = told.get("WATCHDOG_USEC", "")
        self._every_s = int(limit) * _S_PER_US * _SHARE if limit.isdecimal() else 0.0
        self._told_s: float | None = None

    def __call__(self, event: RunEvent) -> None:
        """Say that the service is ready, at the first run, and that it lives, at most four times a limit."""
        self.alive(f"level {event.level}, {event.latency_ms:.1f} ms")

    def alive(self, status: str = "") -> None:
        """Say that it lives; applications that wait long for work call it while they wait.

        Args:
            status: For `systemctl status`, one line.
        """
        now_s = time.monotonic()
        if not self._address or (self._told_s is not None and now_s - self._told_s < self._every_s):
            return
        lines = ["READY=1"] if self._told_s is None else []
        lines += ["WATCHDOG=1", *([f"STATUS={' '.join(status.split())}"] if status else [])]
        self._told_s = now_s
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            line.sendto("\n".join(lines).encode(), self._address)
