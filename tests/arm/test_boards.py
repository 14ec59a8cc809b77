"""Emulated boards behind a real SSH server: from a fresh userland to a verified running release, and back."""

from __future__ import annotations

import os

import pytest

from benchmarks.boards import lacks, scenario

pytestmark = [pytest.mark.arm, pytest.mark.timeout(3600)]

# Of each board the two that differ most; `python -m benchmarks.boards` has all that it runs, in twice the time.
VARIANTS = {"arm64": ("ort-levels", "ort-nested"), "armhf": ("tflite-levels",)}


@pytest.mark.parametrize("name", VARIANTS)
def test_everything_that_people_do_with_a_board(name: str, tmp_path) -> None:
    """Add, deploy, deploy again, cut, deploy, roll back, run under the controller, doctor."""
    if missing := lacks(name):
        pytest.skip(f"needs: apt-get install {' '.join(missing)}")
    row = scenario(name, tmp_path / "board", variants=VARIANTS[name])

    assert row["home_was"] == []
    assert not row["pip_there"]
    assert row["facts"]["machine"] != os.uname().machine
    assert row["deployed"] == "deployed"
    assert row["levels_verified_there"] == dict.fromkeys(VARIANTS[name], 3)
    assert row["table_came_home"]
    assert row["again"] == "unchanged"
    assert row["cut_status"] != 0
    assert row["arrived_before_the_cut_bytes"] > 0
    assert row["old_served_after_cut"]
    assert row["serves_new"]
    assert row["rolled_back"]
    assert row["runs_under_the_controller"] >= 1
    assert not [finding for finding in row["doctor"] if finding["state"] == "problem"]
