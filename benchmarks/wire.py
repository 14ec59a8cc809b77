"""A line that is counted, and can be cut or held: a forwarder between ssh and a server on loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Final, Self

__all__ = ["Wire"]

_CHUNK_BYTES: Final = 1 << 16


class Wire:
    """Forward every connection to a port of this machine, count all bytes both ways, and cut after so many.

    Args:
        port: Where the server listens.

    Attributes:
        port: Where this listens.
        moved_bytes: Of all connections, both directions, as they are on the line: encrypted, with all overhead.
        holds: Set while the line is held.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.moved_bytes = 0
        self._left: int | None = None
        self._hold_left: int | None = None
        self._flows = threading.Event()
        self._flows.set()
        self.holds = threading.Event()
        self._guard = threading.Lock()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, size_bytes: int | None) -> bool:
        """Cut all connections once so many bytes more have passed, and let no other through; None: never.

        Returns:
            Whether the line is cut by what was said before.
        """
        with self._guard:
            was_cut = self._left is not None and self._left < 0
            self._left = size_bytes
            return was_cut

    def hold_after(self, size_bytes: int) -> None:
        """Let nothing through any more once so many bytes more have passed, until `let_go`; nobody is told."""
        with self._guard:
            self._hold_left = size_bytes

    def let_go(self) -> None:
        """End the hold."""
        with self._guard:
            self._hold_left = None
        self.holds.clear()
        self._flows.set()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed: no more connections
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._server_port))
                self._open += [near, far]
                for a, b in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):  # either side has hung up
            while data := source.recv(_CHUNK_BYTES):
                self._flows.wait()
                if self._is_cut(len(data)):
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _is_cut(self, size_bytes: int) -> bool:
        with self._guard:
            self.moved_bytes += size_bytes
            if self._hold_left is not None:
                self._hold_left -= size_bytes
                if self._hold_left < 0:
                    self._flows.clear()
                    self.holds.set()
            if self._left is None:
                return False
            self._left -= size_bytes
            return self._left < 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        for end in self._open:
            end.close()
