"""Rerouting from build to session: what is built is proved, what is proved runs, and the clock decides in between."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support.bundles import folder, model

from elsa_edge import AdaptiveSession
from elsa_edge.build import build_bundle
from elsa_edge.bundle import Golden, open_bundle
from elsa_edge.bundle.rerouted import SWITCH_POINTS, Rerouted
from elsa_edge.cli import cli
from elsa_edge.control.history import RunEvent
from elsa_edge.control.record import JsonLog, TraceRecorder
from elsa_edge.control.trace import read_trace
from elsa_edge.errors import BundleError, ExportError, LevelError
from elsa_edge.files import sha256_of
from elsa_edge.profiles import load_profile
from elsa_edge.profiles.schema import DeviceProfile, Measured, MeasuredLevel
from elsa_edge.rerouting import switch_points
from elsa_edge.verify import verify_bundle


@cache
def rerouted(name: str = "conv", segments: int = 2) -> Path:
    """Return a bundle in segments; treat it as read-only."""
    path = folder() / f"{name}-rerouted-{segments}"
    variants = ("onnx-selector", "ort-switch", "ort-levels")
    build_bundle(model(name), "generic-x86-64", path, variants=variants, reroute=segments)
    return path


@pytest.mark.parametrize("segments", [-3, 0, 1, 17])
def test_a_number_of_segments_that_cannot_be_is_refused_before_anything_else(tmp_path, segments):
    told: list[str] = []
    with pytest.raises(ExportError, match="--reroute from 2 to 16"):
        build_bundle(model("conv"), "generic-x86-64", tmp_path / "b", reroute=segments, progress=told.append)
    assert told == []


def instructions(path: Path) -> Rerouted:
    found = open_bundle(path).manifest.variant("ort-switch").instructions
    assert isinstance(found, Rerouted)
    return found


class Clock:
    """A clock that the test sets: each reading takes the next step, then a small one."""

    def __init__(self) -> None:
        self.now_s, self.steps_ms = 100.0, []

    def __call__(self) -> float:
        self.now_s += (self.steps_ms.pop(0) if self.steps_ms else 0.01) / 1e3
        return self.now_s


def profile(budget_ms: float | None = 10.0) -> DeviceProfile:
    """Return a profile whose levels take 2, 4 and 8 ms."""
    base = load_profile("generic-x86-64")
    rows = tuple(
        MeasuredLevel(name=name, p50_ms=2.0 * 2**k, p95_ms=2.2 * 2**k)
        for k, name in enumerate(("s90", "s50", "s20"))
    )
    qos = base.qos.model_copy(update={"latency_budget_ms": budget_ms, "memory_reserve_mb": 0.0})
    probes = base.probes.model_copy(update={"interval_ms": 1e9})
    return base.model_copy(update={"qos": qos, "probes": probes, "measured": Measured(levels=rows)})


def opened(clock: Clock, events: list[RunEvent], budget_ms: float | None = 10.0) -> AdaptiveSession:
    return AdaptiveSession.open(
        rerouted(), profile(budget_ms), variant="ort-switch", cache=False, clock_s=clock, on_run=events.append
    )


def test_a_bundle_in_segments_is_proved_at_levels_and_switch_points() -> None:
    """With nothing but the bundle; a variant with a file per level stays whole; the report names each point."""
    result = verify_bundle(rerouted())
    assert result.ok
    points = {variant.name: len(variant.switch_points) for variant in result.variants}
    assert points == {"onnx-selector": 3, "ort-switch": 3, "ort-levels": 0}
    told = json.loads(json.dumps(result.as_json()))["variants"][0]["switch_points"]
    assert sorted(point["levels"] for point in told) == [[1, 0], [2, 0], [2, 1]]
    assert all(point["max_difference"] <= point["allowed"] for point in told)


def test_a_chain_that_mixes_up_a_switch_point_is_refused(tmp_path: Path) -> None:
    """Answers that another change of level gives do not pass; nor do segments in another order."""
    bundle = tmp_path / "bundle"
    shutil.copytree(rerouted(), bundle)
    manifest = json.loads((bundle / "manifest.json").read_text())
    variant = next(v for v in manifest["variants"] if v["name"] == "ort-switch")
    file = bundle / variant["files"][SWITCH_POINTS]
    answers = Golden.load(file, 3)
    Golden(answers.inputs, answers.outputs[::-1]).save(file)
    for entry in manifest["files"]:
        entry["size_bytes"] = (bundle / entry["path"]).stat().st_size
        entry["sha256"] = sha256_of(bundle / entry["path"])
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    result = verify_bundle(bundle)
    assert not result.ok
    assert [v.name for v in result.variants if not v.ok] == ["ort-switch"]


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda i: i["switch_points"][0].update(levels=[0, 1]), "must not rise"),
        (lambda i: i["switch_points"][0].update(levels=[2]), "a level of the ladder for each segment"),
        (lambda i: i["switch_points"][0].update(levels=[7, 1]), "a level of the ladder for each segment"),
        (lambda i: i["segments"][0].update(work=[1.0]), "work of segment 0 must have one entry per level"),
        (lambda i: i["segments"][0].update(instructions={"kind": "levels"}), "all levels in one file"),
        (lambda i: i["segments"][0].pop("inputs"), "the key is missing"),
        (lambda i: i["segments"].pop(), "segments"),
    ],
)
def test_a_manifest_that_tells_nonsense_of_segments_is_refused(tmp_path: Path, harm, message: str) -> None:
    """In words that name the entry."""
    manifest = json.loads((rerouted() / "manifest.json").read_text())
    harm(next(v for v in manifest["variants"] if v["name"] == "ort-switch")["instructions"])
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=message):
        open_bundle(tmp_path)


def test_an_inference_that_is_late_at_the_border_goes_on_sparser() -> None:
    """Its outputs are the oracle's at that switch point, and it is told what happened."""
    clock, events = Clock(), []
    with opened(clock, events) as session:
        x = session.bundle.golden.inputs
        assert session.level == 2
        whole = session.run(x)
        assert events[-1].rerouted is None
        clock.steps_ms = [0.01, 0.01, 0.01, 9.0, 0.5]  # twice before, began, border after 9 ms of 10, end
        found = session.run(x)
        assert events[-1].rerouted is not None
        assert (events[-1].level, events[-1].rerouted.border, events[-1].rerouted.level) == (2, 0, 0)
        assert session.stats.rerouted == 1
        assert events[-1].rerouted.whole_ms > events[-1].latency_ms
        at = [point.levels for point in instructions(rerouted()).switch_points].index((2, 0))
    file = open_bundle(rerouted()).manifest.variant("ort-switch").files[SWITCH_POINTS]
    expected = Golden.load(rerouted() / file, 3).outputs[at]
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5)
        assert not np.allclose(found[name], whole[name], rtol=1e-3)


@pytest.mark.parametrize(("budget_ms", "arguments"), [(None, {}), (10.0, {"level": 2})])
def test_without_a_limit_or_with_a_level_of_the_callers_nothing_is_rerouted(budget_ms, arguments) -> None:
    """However long it takes."""
    clock, events = Clock(), []
    with opened(clock, events, budget_ms) as session:
        clock.steps_ms = [0.01, 0.01, 0.01, 500.0, 500.0]
        session.run(session.bundle.golden.inputs, **arguments)
    assert events[-1].rerouted is None


def test_a_deadline_in_the_past_and_a_clock_that_goes_back_end_in_outputs() -> None:
    """The application never crashes: the fastest level runs, or the outputs come without teaching anything."""
    clock, events = Clock(), []
    with opened(clock, events) as session:
        x = session.bundle.golden.inputs
        session.run(x, within_ms=-5.0)
        assert (events[-1].level, events[-1].chosen_by) == (0, "deadline-short")
        clock.steps_ms = [0.01, 0.01, 0.01, -50.0, -50.0]
        assert set(session.run(x)) == set(session.outputs)
        with pytest.raises(LevelError):
            session.run(x, level=3)


def test_rerouted_runs_are_recorded_as_they_would_have_been(tmp_path: Path) -> None:
    """A trace replays the level that was left for want of time; the log says what really happened."""
    clock, events = Clock(), []
    with opened(clock, events) as session:
        clock.steps_ms = [0.01, 0.01, 0.01, 9.0, 0.5]
        session.run(session.bundle.golden.inputs)
    with TraceRecorder(tmp_path / "t.csv", [1, 1, 1]) as trace, JsonLog(tmp_path / "l.jsonl") as log:
        trace(events[-1])
        log(events[-1])
    told = json.loads((tmp_path / "l.jsonl").read_text())
    assert told["rerouted"]["level"] == 0
    assert told["latency_ms"] == pytest.approx(9.51, abs=0.05)
    rows = (tmp_path / "t.csv").read_text().splitlines()
    line = dict(zip(rows[0].split(","), rows[1].split(","), strict=True))
    assert float(line["latency_ms"]) == pytest.approx(told["rerouted"]["whole_ms"], abs=1e-3)
    assert (float(line["rerouted_ms"]), line["rerouted_to"]) == (pytest.approx(9.51, abs=0.05), "0")
    assert read_trace(tmp_path / "t.csv", [2.0, 4.0, 8.0])


def test_the_profile_may_ask_for_it_and_the_command_line_says_why_not(tmp_path: Path) -> None:
    """A wrong number is refused before anything is written."""
    asked = load_profile("generic-x86-64").model_copy(update={"reroute": 2})
    bundle = build_bundle(model("mlp"), asked, tmp_path / "asked", variants=["ort-switch"])
    assert isinstance(bundle.manifest.variants[0].instructions, Rerouted)
    for number, words in (("1", "from 2 to 16"), ("0", "from 2 to 16"), ("14", "--reroute up to")):
        arguments = ["build", str(model("mlp")), "--device", "generic-x86-64", "--reroute", number]
        result = CliRunner().invoke(cli, [*arguments, "-o", str(tmp_path / "never")])
        assert result.exit_code == 1
        assert words in result.output
    assert not (tmp_path / "never").exists()
    with pytest.raises(ExportError, match="network of one level"):
        build_bundle(model("two_inputs"), "generic-x86-64", tmp_path / "never", reroute=2)


@pytest.mark.parametrize(("segments", "levels"), [(2, 2), (3, 3), (4, 7), (16, 255)])
def test_switch_points_cover_every_border_and_never_rise(segments: int, levels: int) -> None:
    """Each border has a change from the densest to the sparsest level; the manifest takes as many as there are."""
    points = switch_points(segments, levels)
    assert len(points) == len(set(points)) <= 64
    for border in range(1, segments):
        assert (levels - 1,) * border + (0,) * (segments - border) in points
    assert all(list(point) == sorted(point, reverse=True) for point in points)
