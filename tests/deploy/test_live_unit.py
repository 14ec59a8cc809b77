"""The unit under a real systemd: `make test-device` runs it, where this machine has what it takes."""

from __future__ import annotations

import os

import pytest
from support.bundles import slim

from benchmarks.live_systemd import lacks
from benchmarks.unit import scenario, workplace

pytestmark = [
    pytest.mark.arm,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not os.environ.get("ELSA_EDGE_ARM"), reason="minutes: make test-device"),
    pytest.mark.skipif(bool(lacks()), reason=f"needs {lacks()}"),
]


def test_systemd_starts_watches_and_restarts_it_and_power_loss_returns_to_the_release_before() -> None:
    with workplace() as folder:
        rows = scenario(folder, (slim(folder / "older"), slim(folder / "newer", counter=2)))

    assert [row["what"] for row in rows if not row["came"]] == []
