"""What systemd hears of a session, at a socket like its own."""

from __future__ import annotations

import socket

import pytest
from support.bundles import bundle

from elsa_edge import AdaptiveSession
from elsa_edge.telemetry.systemd import Watchdog


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path):
    """A socket, and its address as systemd writes it."""
    address = (
        str(tmp_path / "notify") if request.param == "path" else f"@elsa-edge-{tmp_path.name}-{id(request)}"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind("\0" + address[1:] if address.startswith("@") else address)
        heard.settimeout(5)
        yield heard, address


def test_ready_at_the_first_run_and_then_signs_of_life(systemd) -> None:
    heard, address = systemd
    watchdog = Watchdog({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "4"})
    with AdaptiveSession.open(
        bundle("conv"), variant="onnx-selector", cache=False, on_run=watchdog
    ) as session:
        for _ in range(2):
            session.run(session.bundle.golden.inputs, 1)
    first, second = (heard.recv(500).decode().splitlines() for _ in range(2))

    assert first[:2] == ["READY=1", "WATCHDOG=1"]
    assert first[2].startswith("STATUS=level 1, ")
    assert second[0] == "WATCHDOG=1"


def test_it_does_not_talk_more_than_it_must(systemd) -> None:
    """A limit of an hour: the second sign of life is not due yet."""
    heard, address = systemd
    watchdog = Watchdog({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3600000000"})
    watchdog.alive("waiting\nfor work")
    watchdog.alive()
    assert heard.recv(500).decode() == "READY=1\nWATCHDOG=1\nSTATUS=waiting for work"
    heard.setblocking(False)
    with pytest.raises(BlockingIOError):
        heard.recv(500)


def test_without_systemd_nothing_happens() -> None:
    Watchdog({}).alive("nobody listens")
