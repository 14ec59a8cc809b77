"""The claims about TFLite are read from rows: those of the committed result say again what it claims."""

from __future__ import annotations

import json

import pytest

from benchmarks.common import RESULTS
from benchmarks.tflite.claims import claims_of

COMMITTED = json.loads((RESULTS / "tflite.json").read_text())


def test_the_committed_rows_give_the_committed_claims() -> None:
    """Sentence, target, figure and verdict; only what those rows hold can be compared."""
    wanted = {claim["claim"]: claim for claim in COMMITTED["claims"]}
    found = {claim.claim: claim for claim in claims_of(COMMITTED["rows"])}

    shared = set(wanted) & set(found)
    assert len(shared) >= 8
    for sentence in shared:
        claim, before = found[sentence], wanted[sentence]
        assert (claim.target, claim.holds) == (before["target"], before["holds"])
        assert claim.measured == pytest.approx(before["measured"])


def test_a_quick_run_claims_only_what_it_measured() -> None:
    rows = [row for row in COMMITTED["rows"] if row["network"] == "mlp"]

    assert [claim.claim for claim in claims_of(rows)] == [
        "largest difference of all variants and levels over what is allowed",
        "mlp: sparse file at 90 % over the dense file",
    ]


def test_speed_without_hidden_avx_is_not_measured() -> None:
    """The stand-in hid nothing, or the sparse file ran the dense kernels: there is no figure then, and no success."""
    for change in ({"hidden": False}, {"same_bits": True}, {"relative_difference": 1e-3}):
        rows = [row | change if row["network"] == "mobilenet_v1" else row for row in COMMITTED["rows"]]
        (claim,) = [claim for claim in claims_of(rows) if "stand-in" in claim.claim]
        assert (claim.measured, claim.holds) == (None, False)
