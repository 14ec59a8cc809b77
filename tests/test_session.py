"""The session: what an application sees. Real bundles, real runtime, a clock and a /proc that the test owns."""

from __future__ import annotations

import errno
import itertools
import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from support.bundles import bundle

import elsa_edge
from elsa_edge import AdaptiveSession
from elsa_edge.control import Reason
from elsa_edge.control.history import ChosenBy, RunEvent
from elsa_edge.control.record import JsonLog
from elsa_edge.errors import ElsaError, InputError, LevelError, ProfileError, UnknownNameError
from elsa_edge.loading import default_cache
from elsa_edge.profiles import load_profile
from elsa_edge.profiles.schema import DeviceProfile, Measured, MeasuredLevel

MB = 1_000_000


class Clock:
    """Seconds that pass only when told to; each call adds what one inference is meant to take."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.step_s = 0.0

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


def profile(root: Path, budget_ms: float | None = 10.0, measured: bool = True) -> DeviceProfile:
    """Return a profile that reads its memory below `root` and whose levels take 2, 4 and 8 ms."""
    base = load_profile("generic-x86-64")
    qos = base.qos.model_copy(
        update={"latency_budget_ms": budget_ms, "memory_reserve_mb": 100.0, "memory_hysteresis_mb": 0.0}
    )
    rows = tuple(
        MeasuredLevel(name=name, p50_ms=2.0 * 2**k, p95_ms=2.2 * 2**k, memory_bytes=(50 + 50 * k) * MB)
        for k, name in enumerate(("s90", "s50", "s20"))
    )
    return base.model_copy(
        update={
            "probes": base.probes.model_copy(update={"root": str(root), "interval_ms": 100.0}),
            "qos": qos,
            "measured": Measured(levels=rows) if measured else None,
        }
    )


def free(root: Path, megabytes: float) -> None:
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc" / "meminfo").write_text(f"MemAvailable: {int(megabytes * MB / 1024)} kB\n")


@pytest.fixture
def session(tmp_path: Path):
    """A session on a device with 1 GB free and levels of 2, 4, 8 ms."""
    free(tmp_path, 1000)
    clock = Clock()
    with AdaptiveSession.open(
        bundle("conv"), profile(tmp_path), variant="onnx-selector", cache=False, clock_s=clock
    ) as opened:
        opened.clock = clock
        opened.root = tmp_path
        opened.x = {"input": opened.bundle.golden.inputs["input"][:1]}
        yield opened


def test_what_an_application_sees(session: AdaptiveSession) -> None:
    """Inputs and outputs as (shape, dtype), the ladder, the memory, outputs by name."""
    assert elsa_edge.AdaptiveSession is AdaptiveSession
    shape, dtype = session.inputs["input"]
    assert (shape, dtype) == ((None, 3, 12, 12), "float32")
    assert session.outputs == {"output": ((None, 5), "float32")}
    assert [level.sparsity for level in session.ladder] == [0.9, 0.5, 0.2]
    assert session.run(session.x)["output"].shape == (1, 5)
    assert session.memory().at(0) > 0


def test_the_densest_level_that_fits_runs(session: AdaptiveSession) -> None:
    """Budget 10 ms: the level of 8 ms."""
    assert session.level == 2
    assert session.last_decision.reason is Reason.START


def test_a_slow_device_goes_down_and_comes_up_again(session: AdaptiveSession) -> None:
    """Four times slower, only the level of 2 ms holds 10 ms; fast again: up, after a while."""
    seen = []
    for slowdown, runs in ((4.0, 100), (1.0, 2000)):
        for _ in range(runs):
            session.clock.step_s = slowdown * 0.002 * 2**session.level  # begin and end are one step apart
            session.run(session.x)
            session.clock.now_s += 0.05
        seen.append(session.level)
    assert seen == [0, 2]


def test_memory_comes_first(session: AdaptiveSession) -> None:
    """Free memory falls below the reserve: down at once, before the next run, whatever the latency."""
    session.run(session.x)
    free(session.root, 60)
    session.clock.now_s += 0.2  # the next reading is due
    session.run(session.x)
    assert session.level < 2
    assert session.last_decision.reason in (Reason.DOWN_MEMORY, Reason.INFEASIBLE_MEMORY, Reason.HOLD_MEMORY)


def test_a_clock_that_goes_back_blinds_nobody(session: AdaptiveSession) -> None:
    """Whether between two runs or within one: the memory is looked at and runs are counted as before."""
    for back_at in ("between", "within"):
        session.run(session.x)
        runs = session.stats.runs
        session.clock.now_s -= 3600.0
        if back_at == "within":
            session.clock.step_s = -60.0
            session.run(session.x)
            session.clock.step_s = 0.0
            assert session.stats.runs == runs
        session.run(session.x)
        assert session.stats.runs == runs + 1
    free(session.root, 60)
    session.clock.now_s += 0.2
    session.run(session.x)
    assert session.level < 2


def test_inputs_that_are_refused_are_no_reference(session: AdaptiveSession) -> None:
    """The measured table stands for the first inputs that run, not for the first that are tried."""
    level = session.level
    for shape in ((1, 1, 1, 1), (1, 300, 12, 12), (3, 12)):
        with pytest.raises(ElsaError):
            session.run({"input": np.zeros(shape, np.float32)})
        assert session.level == level
    session.clock.step_s = 0.008
    session.run(session.x)
    assert session.level == level
    assert session.last_decision.slowdown == pytest.approx(1.0, rel=0.2)


def test_a_size_that_comes_back_is_told_of_the_memory_before_it_runs(session: AdaptiveSession) -> None:
    """It was left at the densest level, when there was memory."""
    two = {"input": np.concatenate([session.x["input"]] * 2)}
    for inputs in (session.x, two):
        session.run(inputs)
    free(session.root, 60)
    session.clock.now_s += 0.2
    session.run(two)
    session.run(session.x)
    assert session.last_run is not None
    assert session.last_run.level < 2


def test_memory_is_read_at_most_once_an_interval(session: AdaptiveSession) -> None:
    """A hundred runs within the interval read nothing; files that vanish do not disturb."""
    free(session.root, 60)
    for _ in range(100):
        session.run(session.x)
    assert session.level == 2
    (session.root / "proc" / "meminfo").unlink()
    session.clock.now_s += 1.0
    session.run(session.x)


def test_the_caller_may_choose_the_level(session: AdaptiveSession) -> None:
    """It runs there, its latency teaches, and the controller's level is not lost."""
    golden = session.bundle.golden
    for level in (0, 1, 2):
        found = session.run(golden.inputs, level=level)
        np.testing.assert_allclose(found["output"], golden.outputs[level]["output"], atol=1e-4)
    for wrong in (-1, 3, True, 0.0):
        with pytest.raises(LevelError):
            session.run(session.x, level=wrong)


def test_every_run_is_told_and_counted(tmp_path: Path) -> None:
    """What the listener hears is what the figures are made from."""
    free(tmp_path, 1000.0)
    heard: list[RunEvent] = []
    with AdaptiveSession.open(
        bundle("conv"),
        profile(tmp_path),
        variant="onnx-selector",
        cache=False,
        clock_s=Clock(),
        on_run=heard.append,
    ) as session:
        feed = session.bundle.golden.inputs
        session.run(feed)
        session.run(feed, 0)
        stats = session.stats

    assert [(event.level, event.chosen_by) for event in heard] == [
        (heard[0].level, ChosenBy.CONTROLLER),
        (0, ChosenBy.CALLER),
    ]
    assert (stats.runs, stats.last, stats.switches) == (2, heard[1], int(heard[0].level != 0))
    assert session.last_run is stats.last


def test_a_run_with_less_time_than_the_budget_takes_a_sparser_level(session: AdaptiveSession) -> None:
    """The levels take 2, 4 and 8 ms; the budget allows the densest, 5 ms only the one in the middle."""
    feed = session.x
    assert session.level == 2
    session.run(feed, within_ms=5.0)
    middle = session.stats.last
    session.run(feed, within_ms=-1.0)

    assert middle is not None
    assert (middle.level, middle.chosen_by, middle.limit_ms) == (1, ChosenBy.DEADLINE, 5.0)
    assert (session.stats.last.level, session.stats.last.chosen_by) == (0, ChosenBy.DEADLINE_SHORT)
    with pytest.raises(InputError, match="not both"):
        session.run(feed, 0, within_ms=5.0)


def test_wrong_inputs_teach_the_controller_nothing(session: AdaptiveSession) -> None:
    """An error is no observation."""
    before = session._governor.controller.state
    with pytest.raises(InputError):
        session.run({"inputt": session.x["input"]})
    assert session._governor.controller.state is before


def test_a_closed_session_says_so(session: AdaptiveSession) -> None:
    """Closing twice is fine."""
    session.close()
    session.close()
    with pytest.raises(ElsaError, match="closed"):
        session.run(session.x)


def test_without_measurements_it_learns(tmp_path: Path) -> None:
    """No table, no memory file, no budget: it runs, says what is unknown, and ends at the densest level."""
    with AdaptiveSession.open(
        bundle("conv"), profile(tmp_path, None, measured=False), variant="onnx-selector", cache=False
    ) as session:
        assert any("No latency was measured" in note for note in session.notes)
        session.run(session.bundle.golden.inputs)
        assert session.level == 2


def test_the_profile_in_the_bundle_is_the_default() -> None:
    """A device needs only the bundle; an unknown device or variant is named with the nearest."""
    with AdaptiveSession.open(bundle("two_inputs"), cache=None) as session:
        assert session.profile.name == "generic-x86-64"
        assert session.variant.name == "ort-switch"
        assert session.run(session.bundle.golden.inputs)
    with pytest.raises(UnknownNameError, match="generic-x86-64"):
        AdaptiveSession.open(bundle("two_inputs"), device="generic-x86")
    with pytest.raises(UnknownNameError, match="Nearest: 'ort-levels'"):
        AdaptiveSession.open(bundle("two_inputs"), variant="ort-level")


@pytest.mark.parametrize("stale", [{"bundle": "0" * 64}, {"variant": "ort-levels"}])
def test_a_table_of_another_bundle_or_variant_is_ignored_and_said(
    tmp_path: Path, stale: dict[str, str]
) -> None:
    """Level names alone do not make figures fit."""
    base = profile(tmp_path)
    assert base.measured is not None
    other = base.model_copy(update={"measured": base.measured.model_copy(update=stale)})
    with AdaptiveSession.open(bundle("conv"), other, variant="onnx-selector", cache=False) as session:
        assert any("is ignored" in note for note in session.notes)
        assert any("No latency was measured" in note for note in session.notes)


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """The network runs; the note tells what it costs."""
    (tmp_path / "file").write_text("in the way")
    with AdaptiveSession.open(bundle("two_inputs"), cache=tmp_path / "file") as session:
        assert any("Every level stays in memory" in note for note in session.notes)
        assert session.run(session.bundle.golden.inputs)
    with AdaptiveSession.open(bundle("two_inputs"), cache=False) as session:
        assert not any("cache" in note for note in session.notes)


def test_an_accuracy_that_cannot_be_held_is_refused_when_opening(tmp_path: Path) -> None:
    """minimum_accuracy without known accuracies."""
    base = profile(tmp_path)
    strict = base.model_copy(update={"qos": base.qos.model_copy(update={"minimum_accuracy": 0.9})})
    with pytest.raises(ProfileError, match="minimum_accuracy"):
        AdaptiveSession.open(bundle("conv"), strict, cache=False)


def test_the_cache_folder_can_be_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """ELSA_EDGE_CACHE wins, empty means none, else the user's cache."""
    monkeypatch.setenv("ELSA_EDGE_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.setenv("ELSA_EDGE_CACHE", "")
    assert default_cache() is None
    monkeypatch.delenv("ELSA_EDGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "elsa-edge"


def test_a_device_needs_neither_torch_nor_the_onnx_tools() -> None:
    """A fresh process opens, verifies and runs a bundle; afterwards only one runtime and small packages are there."""
    script = textwrap.dedent(
        f"""
        import sys
        for name in ("torch", "onnx", "onnx_ir", "onnxscript", "safetensors", "rich", "click", "scipy"):
            sys.modules[name] = None  # importing it is an error
        from elsa_edge import AdaptiveSession
        from elsa_edge.verify import verify_bundle
        assert "onnxruntime" not in sys.modules, "the runtime is loaded only when a bundle is"
        with AdaptiveSession.open({str(bundle("two_inputs"))!r}, cache=False) as session:
            session.run(session.bundle.golden.inputs)
        assert verify_bundle({str(bundle("two_inputs"))!r}).ok
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_array_without_its_name_is_answered_with_the_names(tmp_path):
    """The error says what to write, and the session goes on."""
    with AdaptiveSession.open(bundle("mlp"), cache=tmp_path) as session:
        with pytest.raises(InputError, match=r"Inputs go by their names.*session\.run\(\{'x': array\}\)"):
            session.run(np.zeros((1, 24), np.float32))
        assert session.run({"x": np.zeros((1, 24), np.float32)}, level=0)


def test_a_larger_batch_is_another_reference_and_not_a_slower_device(session: AdaptiveSession) -> None:
    """Four times the work of a size: judged against what that size takes; back at the first, nothing was unlearned."""

    def run(batch: int, runs: int) -> None:
        x = np.repeat(session.x["input"], batch, axis=0)
        for _ in range(runs):
            session.clock.step_s = batch * 0.002 * 2**session.level
            session.run({"input": x})
            session.clock.step_s = 0.0
            session.clock.now_s += 0.02

    run(1, 40)
    assert session.level == 2
    slowdown = session.last_decision.slowdown
    run(4, 40)  # 8, 16 and 32 ms: only the sparsest holds the 10 ms
    assert session.level == 0
    assert session.last_decision.slowdown == pytest.approx(1.0, abs=0.1)
    run(1, 1)
    assert session.stats.last.level == 2
    assert session.last_decision.slowdown == pytest.approx(slowdown, abs=0.05)


def test_a_throttled_device_enters_no_denser_level(session: AdaptiveSession) -> None:
    """The firmware's flag counts as heat above every limit, and is told with every run."""
    flag = session.root / "sys/devices/platform/soc/soc:firmware/get_throttled"
    flag.parent.mkdir(parents=True)
    flag.write_text("4\n")
    meter = session.root / "sys/class/hwmon/hwmon0/power1_input"
    meter.parent.mkdir(parents=True)
    meter.write_text("2000000\n")
    free(session.root, 90)
    for step in range(80):
        if step == 10:
            free(session.root, 1000)
        session.clock.step_s = 0.002 * 2**session.level
        session.run(session.x)
        session.clock.step_s = 0.0
        session.clock.now_s += 0.05
    assert session.level == 0
    assert session.last_decision.reason is Reason.HOLD_HEAT
    assert session.stats.last.throttled is True
    assert session.stats.levels[0].energy_j == pytest.approx(
        session.stats.levels[0].busy_ms / 1e3 * 2.0, rel=0.1
    )
    flag.write_text("40000\n")
    for _ in range(40):
        session.clock.step_s = 0.002 * 2**session.level
        session.run(session.x)
        session.clock.step_s = 0.0
        session.clock.now_s += 0.05
    assert session.level == 2


def test_sessions_of_one_device_share_a_ledger(tmp_path: Path) -> None:
    """What another session has just changed is waited for; then the denser level is entered."""
    free(tmp_path, 90)
    clock = Clock()
    with AdaptiveSession.open(
        bundle("conv"), profile(tmp_path), variant="onnx-selector", cache=False, clock_s=clock,
        ledger=tmp_path / "ledger",
    ) as session:  # fmt: skip
        x = {"input": session.bundle.golden.inputs["input"][:1]}
        assert session.level == 0
        free(tmp_path, 1000)
        levels = []
        for other in (True, False):
            # Just now, or in a future that was before a restart of the machine.
            moment_ms = time.monotonic() * 1e3 + (-1.0 if other else 3600e3)
            (tmp_path / "ledger").write_text(f"another {moment_ms:.3f}\n")
            for _ in range(15):
                clock.step_s = 0.002 * 2**session.level
                session.run(x)
                clock.step_s = 0.0
                clock.now_s += 0.1
            levels.append(session.level)
    assert levels == [0, 2]


def test_a_quota_of_processor_time_is_another_reference_and_is_not_tested_again_and_again(
    session: AdaptiveSession,
) -> None:
    """Half a core slows the dense level but not a sparse one, which ends within the quota: no climbing to find out."""
    quota = session.root / "sys/fs/cgroup/cpu.max"
    quota.parent.mkdir(parents=True, exist_ok=True)
    levels: list[int] = []

    def run(share: float, runs: int) -> None:
        quota.write_text("max 100000\n" if share == 1.0 else f"{share * 100_000:.0f} 100000\n")
        for _ in range(runs):
            session.clock.step_s = 0.002 * 2**session.level * (1.0 if session.level == 0 else 1.0 / share)
            session.run(session.x)
            session.clock.step_s = 0.0
            session.clock.now_s += 0.02
            levels.append(session.level)

    run(1.0, 60)
    assert levels[-1] == 2
    run(0.5, 300)  # 2, 8 and 16 ms: the middle one holds the 10 ms
    assert levels[-1] == 1
    run(0.25, 300)  # 2, 16 and 32 ms
    assert levels[-1] == 0
    run(1.0, 120)
    assert levels[-1] == 2
    assert sum(a != b for a, b in itertools.pairwise(levels)) <= 5


@pytest.mark.parametrize("interval_ms", [1.0, 100.0, 1e6])
def test_one_shortage_is_charged_to_one_level(
    tmp_path: Path, interval_ms: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """10 MB too few at the densest level of 150 MB: the one of 100 MB has 40 to spare, however old the reading is."""
    base = profile(tmp_path)
    device = base.model_copy(update={"probes": base.probes.model_copy(update={"interval_ms": interval_ms})})
    clock, heard = Clock(), []
    total = 1000.0
    free(tmp_path, total)
    with AdaptiveSession.open(
        bundle("conv"), device, variant="onnx-selector", cache=False, clock_s=clock, on_run=heard.append
    ) as session:
        run = session._adapter.run

        def run_and_hold(inputs: dict[str, np.ndarray], level: int) -> dict[str, np.ndarray]:
            free(tmp_path, total - 50.0 * (1 + level))
            return run(inputs, level)

        monkeypatch.setattr(session._adapter, "run", run_and_hold)
        x = {"input": session.bundle.golden.inputs["input"][:1]}
        clock.step_s = 0.002
        for _ in range(5):
            session.run(x)
        assert session.level == 2
        total = 240.0
        free(tmp_path, 90.0)
        clock.now_s += 1e4
        heard.clear()
        for _ in range(20):
            session.run(x)

    assert {event.decision.level for event in heard} == {1}
    assert all(event.decision.feasible for event in heard)


def test_a_caller_s_small_level_leaves_no_room_for_the_controller_s(session: AdaptiveSession) -> None:
    """110 MB free at the smallest level are 10 at the densest, which needs 100 more: less than the reserve."""
    session.run(session.x)
    free(session.root, 110)
    session.run(session.x, level=0)
    session.clock.now_s += 0.2
    session.run(session.x, level=0)
    assert session.level == 0
    assert session.last_run is not None
    assert session.last_run.available_bytes == pytest.approx(110 * MB, abs=1024)


def test_a_new_size_begins_at_the_level_that_the_memory_allows(session: AdaptiveSession) -> None:
    """The densest level is in use, and what it holds is not missing."""
    free(session.root, 110)
    session.clock.now_s += 0.2
    session.run({"input": np.concatenate([session.x["input"]] * 2)}, level=2)
    assert session.level == 2
    session.run(session.x)
    assert session.last_run is not None
    assert session.last_run.level == 2


def test_what_did_not_run_is_no_reference(session: AdaptiveSession) -> None:
    """An empty batch, a level that is none, a level and a time: the table stands for the first inputs that run."""
    large = {"input": np.concatenate([session.x["input"]] * 16)}
    with pytest.raises(
        InputError, match=r"The inputs are empty: expected one sample at least, found input 0x"
    ):
        session.run({"input": session.x["input"][:0]})
    with pytest.raises(LevelError):
        session.run(large, level=99)
    with pytest.raises(InputError, match="not both"):
        session.run(large, 0, within_ms=5.0)
    session.clock.step_s = 0.008
    session.run(session.x)
    assert session.level == 2
    assert session.last_decision.slowdown == pytest.approx(1.0, rel=0.2)


@pytest.mark.parametrize("within_ms", [float("inf"), float("-inf"), 10**400], ids=["inf", "past", "large"])
def test_a_deadline_without_end_can_be_logged(tmp_path: Path, within_ms: float) -> None:
    free(tmp_path, 1000)
    with (
        JsonLog(tmp_path / "log.jsonl") as log,
        AdaptiveSession.open(
            bundle("conv"), profile(tmp_path), variant="onnx-selector", cache=False, on_run=log
        ) as session,
    ):
        assert session.run(session.bundle.golden.inputs, within_ms=within_ms)
    (line,) = (tmp_path / "log.jsonl").read_text().splitlines()
    assert json.loads(line)["limit_ms"] is None


def test_a_listener_that_cannot_write_loses_no_outputs(tmp_path: Path) -> None:
    """A full disk is said once; the runs go on, and so do the listener's calls."""
    free(tmp_path, 1000)
    heard: list[RunEvent] = []

    def full(event: RunEvent) -> None:
        heard.append(event)
        raise OSError(errno.ENOSPC, "No space left on device")

    with AdaptiveSession.open(
        bundle("conv"), profile(tmp_path), variant="onnx-selector", cache=False, on_run=full
    ) as session:
        before = session.notes
        for _ in range(3):
            assert session.run(session.bundle.golden.inputs)
        assert len(heard) == session.stats.runs == 3
        assert session.notes == (*before, "on_run failed (No space left on device); the runs go on.")


def test_a_log_that_ends_is_noted_once(tmp_path: Path) -> None:
    free(tmp_path, 1000)
    log = JsonLog(tmp_path / "log.jsonl")
    with AdaptiveSession.open(
        bundle("conv"), profile(tmp_path), variant="onnx-selector", cache=False, on_run=log
    ) as session:
        before = session.notes
        session.run(session.bundle.golden.inputs)
        log.close()
        for _ in range(2):
            assert session.run(session.bundle.golden.inputs)
        assert session.notes == (*before, log.problem)
