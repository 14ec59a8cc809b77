"""The benchmark of deployments: its line counts and cuts, its variations differ in one level, its claims can fail."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest
from support.bundles import bundle

from benchmarks.boards import _claims as claims_of_a_board
from benchmarks.boards import _verified
from benchmarks.deploy import _claims
from benchmarks.deploy_bench import variation
from benchmarks.wire import Wire
from elsa_edge.bundle import open_bundle


@pytest.fixture
def echo():
    """The port of a server that sends back what it gets, to one caller after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            # A caller that is cut off, and the closed listener at the test's end, raise here: both are expected.
            with contextlib.suppress(OSError):
                for _ in range(2):
                    near, _ = listener.accept()
                    with near:
                        while data := near.recv(1 << 16):
                            near.sendall(data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])


def test_a_line_counts_both_ways_and_is_cut_where_it_is_told(echo) -> None:
    with Wire(echo) as wire:
        with socket.create_connection(("127.0.0.1", wire.port)) as caller:
            caller.sendall(bytes(1000))
            assert len(caller.recv(1000, socket.MSG_WAITALL)) == 1000
            assert wire.moved_bytes == 2000
        assert not wire.cut_after(500)
        with socket.create_connection(("127.0.0.1", wire.port)) as caller:
            caller.sendall(bytes(1000))
            # A reset says the same, with more emphasis.
            with contextlib.suppress(ConnectionResetError):
                assert caller.recv(1000) == b""
        assert wire.cut_after(None)


def test_a_variation_is_a_bundle_of_which_one_level_differs(tmp_path) -> None:
    original, other = open_bundle(bundle("conv")), open_bundle(variation(bundle("conv"), tmp_path / "x", 3))
    hashes = [{entry.path: entry.sha256 for entry in each.manifest.files} for each in (original, other)]

    assert hashes[0].keys() == hashes[1].keys()
    assert [path for path in hashes[0] if hashes[0][path] != hashes[1][path]] == ["ort-levels/level_0.onnx"]


def test_claims_fail_where_they_should() -> None:
    """One interruption that lost the release, one attack let in, a fleet that did not stop, too many bytes."""
    moved = [
        {"what": what, "on_the_line_bytes": line, "changed_level_bytes": 100_000}
        for what, line in (("unchanged", 70_000), ("one level changed", 120_000), ("max_level: 0", 20_000))
    ]
    attacks = [{"refused_there": True}, {"refused_there": False}]
    cuts = [
        {"at_work": True, "served_whole": True, "recovered": True},
        {"at_work": True, "served_whole": False, "recovered": False},
        {"at_work": False, "served_whole": True, "recovered": True},
    ]
    fleet = {"peak_mb": 300, "serving": 10, "stopped_after_wave": 4}

    assert not [claim.claim for claim in _claims(moved, attacks, fleet, cuts, quick=True) if claim.holds]


def test_a_board_on_which_a_level_was_wrong_does_not_hold() -> None:
    def answer(*right: bool):
        levels = [{"ok": ok} for ok in right]
        return {"variants": [{"name": "tflite-levels", "ok": all(right), "levels": levels}]}

    row = {
        "board": "armhf",
        "variants": ["tflite-levels"],
        "deployed": "deployed",
        "table_came_home": True,
        "pip_there": False,
        "cut_status": 1,
        "old_served_after_cut": True,
        "deployed_after_cut": "deployed",
        "serves_new": True,
        "rolled_back": True,
        "runs_under_the_controller": 3,
    }
    good, bad = (
        claims_of_a_board(row | {"levels_verified_there": _verified(answer(*right))})
        for right in ((True, True, True), (True, False, True))
    )
    assert [claim.holds for claim in good] == [True] * 4
    assert [claim.holds for claim in bad] == [False, True, True, True]
