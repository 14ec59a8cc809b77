"""What a session keeps: its files under a new build, its turn among threads, its outputs under a bad clock."""

from __future__ import annotations

import math
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from support.bundles import VARIANTS, bundle, model

from elsa_edge import AdaptiveSession
from elsa_edge.build import build_bundle
from elsa_edge.errors import BundleError, UsageError
from elsa_edge.files import sweep
from elsa_edge.files.pins import Pin
from elsa_edge.running.turns import Turn


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_running_session_keeps_the_network_that_it_opened(tmp_path: Path, variant: str) -> None:
    """Another network is built over it; every level answers as before, and the old files go when nobody reads them."""
    place = tmp_path / "bundle"
    shutil.copytree(bundle("two_inputs"), place)
    with AdaptiveSession.open(place, variant=variant, cache=tmp_path / "cache") as session:
        golden = session.bundle.golden
        build_bundle(model("conv"), "generic-x86-64", place, variants=["onnx-selector"])
        for level in range(len(session.ladder)):
            found = session.run(golden.inputs, level=level)
            for name, array in golden.outputs[level].items():
                np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-4 * np.abs(array).max())
        assert len(list(tmp_path.glob(".bundle.*.tmp"))) == 1
    sweep(place)
    assert not list(tmp_path.glob(".bundle.*.tmp"))
    with AdaptiveSession.open(place, cache=False) as session:
        assert list(session.inputs) == ["input"]


def test_a_pin_follows_its_folder(tmp_path: Path) -> None:
    """Renamed or replaced, the held folder is read."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "text").write_text("old")
    pin = Pin.of(tmp_path / "a")
    assert pin.is_still(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "a").mkdir()
    assert not pin.is_still(tmp_path / "a")
    assert (pin.path / "text").read_text() == "old"
    pin.release()
    pin.release()
    assert not pin.is_still(tmp_path / "b")


def test_a_folder_that_is_missing_is_told_as_such(tmp_path: Path) -> None:
    """Holding it is not what fails."""
    with pytest.raises(BundleError, match="There is no bundle at"):
        AdaptiveSession.open(tmp_path / "nowhere")


def test_a_second_thread_is_refused_in_words() -> None:
    """The first goes on; afterwards the turn is free."""
    turn, inside, leave = Turn(), threading.Event(), threading.Event()

    def hold() -> None:
        with turn:
            inside.set()
            leave.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait(10)
    with pytest.raises(UsageError, match="Another thread"), turn:
        pass
    leave.set()
    holder.join()
    with turn:
        pass
    with pytest.raises(ZeroDivisionError), turn:
        _ = 1 / 0
    with turn:
        pass


def test_a_forked_child_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would wait for threads that are not there."""
    turn = Turn()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(UsageError, match="before the process was forked"), turn:
        pass


@pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf, 0.0, 1e300])
def test_finished_outputs_are_never_thrown_away_for_a_clock(strange: float) -> None:
    """Whatever the clock says after the inference, its outputs are returned; later runs go on."""
    now = {"s": 100.0}
    with AdaptiveSession.open(
        bundle("two_inputs"), variant="onnx-selector", cache=False, clock_s=lambda: now["s"]
    ) as session:
        golden, run = session.bundle.golden, session._adapter.run

        def slow(inputs, level):
            now["s"] = strange
            return run(inputs, level)

        session._adapter.run = slow
        assert set(session.run(golden.inputs)) == set(golden.outputs[0])
        assert session.run(golden.inputs, level=0)
        session._adapter.run = run
        now["s"] = 101.0
        assert session.run(golden.inputs)


def test_a_level_that_is_lost_is_left_out_and_the_others_go_on(tmp_path: Path) -> None:
    """Its file was emptied in place: a note says so, and only the caller who insists on it gets the error."""
    place = tmp_path / "bundle"
    shutil.copytree(bundle("conv"), place)
    with AdaptiveSession.open(place, variant="ort-levels", cache=False) as session:
        golden, last = session.bundle.golden, len(session.ladder) - 1
        lost = session.level
        session.run(golden.inputs, level=0 if lost else last)
        (place / session.variant.files[f"level_{lost}"]).write_bytes(b"")

        found = session.run(golden.inputs)

        assert session.last_run is not None
        here = session.last_run.level
        assert here != lost
        np.testing.assert_allclose(
            next(iter(found.values())), next(iter(golden.outputs[here].values())), rtol=1e-3, atol=1e-4
        )
        assert any(f"{session.ladder[lost].name} is left out" in note for note in session.notes)
        for _ in range(30):
            session.run(golden.inputs)
            assert session.level != lost
        with pytest.raises(BundleError):
            session.run(golden.inputs, level=lost)
