"""The whole path, step by step, with the same functions that the verbs call.

digits -> train dense -> train levels inside -> export -> build -> verify -> measure -> run under the controller
-> report
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from elsa_edge.errors import ElsaError
from elsa_edge.levels import Ladder
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.quickstart.data import Digits, accuracy, load_digits
from elsa_edge.tensors import TensorSpec

if TYPE_CHECKING:
    from elsa_edge.report.record import Run

__all__ = ["Controlled", "LevelResult", "QuickstartResult", "run_quickstart"]

INPUT: Final = "images"
_GOLDEN_IMAGES: Final = 8


@dataclass(frozen=True, slots=True)
class LevelResult:
    """What was measured of one level on this machine; names as in the `--json` form."""

    level: int
    name: str
    sparsity: float
    density: float | None
    flops_fraction: float | None
    accuracy: float
    p50_ms: float | None
    p95_ms: float | None
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class Controlled:
    """A stretch of inferences under the controller.

    Attributes:
        runs: Inferences.
        budget_ms: The profile's latency budget; None without one.
        missed_fraction: Share of runs over the budget; None without one.
        accuracy: Share of images that were named rightly.
        runs_by_level: Level name -> inferences at it.
    """

    runs: int
    budget_ms: float | None
    missed_fraction: float | None
    accuracy: float
    runs_by_level: dict[str, int]


@dataclass(frozen=True, slots=True)
class QuickstartResult:
    """What the quickstart leaves behind and found; `seconds` by step."""

    bundle: Path
    report: Path
    device: str
    levels: tuple[LevelResult, ...]
    controlled: Controlled
    seconds: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return the `--json` object."""
        return {**dataclasses.asdict(self), "bundle": str(self.bundle), "report": str(self.report)}


def run_quickstart(
    out: Path,
    *,
    device: DeviceProfile,
    ladder: Ladder,
    epochs: int | None,
    train_count: int | None = None,
    seconds: float,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _line: None,
) -> QuickstartResult:
    """Do the whole path and leave its files in `out`.

    Args:
        out: Folder for dense.safetensors, nested.safetensors, model.onnx, inputs.npz, device.yaml, report.html and
            bundle/.
        device: Profile to build for and run with; what is measured is written into a copy of it.
        ladder: The levels, sparsest first.
        train_count: Use only so many of the 4000 training images.
        epochs: Passes over the training images for the dense network, the levels get shares of it; None for
            as many as fit into about a minute here.
        seconds: How long to measure, and again to run under the controller.
        seed: Of the split, the weights and the order of training.
        progress: Called with a line for each step.

    Raises:
        ElsaError: When a step fails, with its reason; the files of the steps before are there.
    """
    from elsa_edge.build import build_bundle
    from elsa_edge.bundle import open_bundle
    from elsa_edge.graph.export import export_canonical
    from elsa_edge.inputs import write_arrays
    from elsa_edge.layer_times import with_layer_times
    from elsa_edge.measure import measure_bundle
    from elsa_edge.profiles import save_profile
    from elsa_edge.quickstart.levels import train_levels
    from elsa_edge.quickstart.model import digits_net
    from elsa_edge.quickstart.summary import write_report
    from elsa_edge.verify import verify_bundle

    if out.exists() and not out.is_dir():
        raise ElsaError(f"{out} is a file", expected="a folder to write to, or a new name")
    out.mkdir(parents=True, exist_ok=True)
    steps = _Steps(progress)
    with steps("train"):
        digits = load_digits(seed, train_count)
        write_arrays(out / "inputs.npz", {INPUT: digits.test_images})
        nested = train_levels(digits, ladder, epochs=epochs, seed=seed, out=out, progress=progress)
    with steps("export"):
        graph = export_canonical(nested, digits_net(), [TensorSpec(INPUT, (1, 1, 28, 28))])
        graph.save(out / "model.onnx")
    with steps("build"):
        golden = {INPUT: digits.test_images[:_GOLDEN_IMAGES]}
        build_bundle(
            out / "model.onnx", device, out / "bundle", golden=golden, name="digits", progress=progress
        )
    with steps("verify"):
        if not verify_bundle(out / "bundle", cache=out / "cache", progress=progress).ok:
            raise ElsaError("The bundle does not compute what the canonical graph computes")
    with steps("measure"):
        profile = measure_bundle(out / "bundle", cache=out / "cache", seconds=seconds, progress=progress)
        levels = _measured(out, profile, digits)
        profile = with_layer_times(open_bundle(out / "bundle"), profile, out / "cache")
        save_profile(profile, out / "device.yaml")
    with steps("run"):
        controlled, runs = _under_control(out, profile, digits, seconds)
    with steps("report"):
        report = write_report(
            out, profile, [level.accuracy for level in levels], runs, len(digits.test_labels)
        )
    return QuickstartResult(out / "bundle", report, device.name, levels, controlled, steps.seconds)


class _Steps:
    """Tells when a step begins and remembers how long each took."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        self.seconds: dict[str, float] = {}
        self._progress = progress

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self._progress(f"== {name}")
        start_s = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - start_s, 2)


def _measured(out: Path, profile: DeviceProfile, digits: Digits) -> tuple[LevelResult, ...]:
    """Return the rows of the table; the accuracy is that of the bundle's variant, not of torch."""
    from elsa_edge.session import AdaptiveSession

    assert profile.measured is not None  # measure_bundle has just filled it
    rows = []
    with AdaptiveSession.open(out / "bundle", profile, cache=out / "cache") as session:
        for number, (level, found) in enumerate(zip(session.ladder, profile.measured.levels, strict=True)):
            (logits,) = session.run({INPUT: digits.test_images}, level=number).values()
            rows.append(
                LevelResult(
                    level=number,
                    name=level.name,
                    sparsity=level.sparsity,
                    density=level.density,
                    flops_fraction=level.flops_fraction,
                    accuracy=accuracy(logits, digits.test_labels),
                    p50_ms=found.p50_ms,
                    p95_ms=found.p95_ms,
                    memory_bytes=found.memory_bytes,
                )
            )
    return tuple(rows)


def _under_control(
    out: Path, profile: DeviceProfile, digits: Digits, seconds: float
) -> tuple[Controlled, list[Run]]:
    """Classify one test image after the other for some seconds, at the levels that the controller chooses."""
    from elsa_edge.report.record import Run
    from elsa_edge.session import AdaptiveSession

    levels: Counter[str] = Counter()
    history: list[Run] = []
    right = runs = missed = 0
    budget_ms = profile.qos.latency_budget_ms
    with AdaptiveSession.open(out / "bundle", profile, cache=out / "cache") as session:
        start_s = time.monotonic()
        while runs == 0 or time.monotonic() - start_s < seconds:
            place = runs % len(digits.test_labels)
            level = session.level
            levels[session.ladder[level].name] += 1
            before_s = time.monotonic()
            (logits,) = session.run({INPUT: digits.test_images[place : place + 1]}).values()
            ended_s = time.monotonic()
            latency_ms = (ended_s - before_s) * 1e3
            late = budget_ms is not None and latency_ms > budget_ms
            missed += late
            reason, at_ms = str(session.last_decision.reason), (ended_s - start_s) * 1e3
            history.append(Run(at_ms=at_ms, level=level, latency_ms=latency_ms, late=late, reason=reason))
            right += int(np.argmax(logits[0]) == digits.test_labels[place])
            runs += 1
    controlled = Controlled(
        runs=runs,
        budget_ms=budget_ms,
        missed_fraction=None if budget_ms is None else missed / runs,
        accuracy=right / runs,
        runs_by_level=dict(levels),
    )
    return controlled, history
