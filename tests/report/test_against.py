"""What changed against an older report."""

from __future__ import annotations

import pytest
from support.records import record, row

from elsa_edge.errors import InputError
from elsa_edge.report.against import compare


def test_only_changes_beyond_five_percent_are_flagged():
    old = record()
    rows = [
        r.model_copy(update={"p50_ms": r.p50_ms * 1.2}) if r.variant == "ort-switch" else r for r in old.rows
    ]
    rows[0] = rows[0].model_copy(update={"p50_ms": 2.08, "accuracy": 0.75})
    flagged = [c for c in compare(record(rows=tuple(rows)), old) if c.flagged]
    assert {(c.label, c.figure) for c in flagged} == {
        *((f"ort-switch {name}", "p50_ms") for name in ("s95", "s90", "dense")),
        ("ort-nested s95", "accuracy"),
    }
    assert all(c.change == pytest.approx(0.2) for c in flagged if c.figure == "p50_ms")


def test_another_device_is_refused():
    with pytest.raises(InputError, match="different devices"):
        compare(record(), record(device="other"))


def test_nothing_in_common_is_refused():
    with pytest.raises(InputError, match="nothing in common"):
        compare(record(), record(rows=(row("mine", 0, 1.0),)))
