"""The worst moment of some work is seen, even when it is over; a system that does not count says nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from elsa_edge.running import peak_memory
from elsa_edge.running.peak_memory import watch_peak

_SIZE = 64_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts resident memory for a process")
def test_what_was_freed_again_counts() -> None:
    """Bytes that were touched and given back are in the peak; a block that needs nothing has next to none."""
    with watch_peak() as peak:
        data = bytearray(_SIZE)
        del data
    with watch_peak() as quiet:
        pass

    assert peak.grown_bytes is not None
    assert peak.grown_bytes > 0.9 * _SIZE
    assert quiet.grown_bytes is not None
    assert quiet.grown_bytes < 0.1 * _SIZE


def test_an_error_passes_through_and_nothing_is_told_where_nothing_counts(monkeypatch, tmp_path) -> None:
    """On another system the number stays None."""
    real = Path

    def elsewhere(path: str) -> Path:
        return tmp_path / "none" / real(path).name

    monkeypatch.setattr(peak_memory, "Path", elsewhere)
    with pytest.raises(ZeroDivisionError), watch_peak() as peak:
        raise ZeroDivisionError
    assert peak.grown_bytes is None
