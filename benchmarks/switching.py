"""`ort-switch` and `ort-levels` against the same dense network exported plainly: latency, switching, memory.

latency ratio    one inference at a level / one inference of the plain dense network
switch ratio     (change of level + first inference) / one inference at that level without a change
memory ratio     anonymous bytes of the variant, after running every level / those of a plain dense session
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import (
    Claim,
    Result,
    Row,
    anonymous_bytes,
    at_most,
    benchmark,
    in_subprocess,
    interleaved,
    median_ms,
    ratio,
)
from benchmarks.common.prepare import Prepared, prepare
from benchmarks.common.sessions import INPUT, dense_session, profile_for
from benchmarks.networks import FEW
from elsa_edge.build import build_bundle
from elsa_edge.bundle import open_bundle
from elsa_edge.loading import open_adapter
from elsa_edge.plugins import Opened

__all__ = ["main", "memory_of_dense", "memory_of_variant"]

VARIANTS = ("ort-switch", "ort-levels")
_WARM_RUNS = 3


def _adapter(bundle: Path, variant: str, cache: Path) -> Opened:
    opened = open_bundle(bundle)
    return open_adapter(opened, opened.manifest.variant(variant), profile_for(variant), cache)


def memory_of_dense(model: str, shape: Sequence[int]) -> int:
    """Return the anonymous bytes that a plain session adds to this process after a few runs."""
    import onnxruntime  # noqa: F401 - its own memory is not the network's

    inputs = {INPUT: np.zeros(shape, np.float32)}
    before = anonymous_bytes()
    session = dense_session(Path(model), profile_for("ort-switch"))
    for _ in range(_WARM_RUNS):
        session.run(None, inputs)
    return anonymous_bytes() - before


def memory_of_variant(bundle: str, variant: str, cache: str, shape: Sequence[int]) -> int:
    """Return the anonymous bytes that a variant adds to this process after a few runs at every level."""
    import onnxruntime  # noqa: F401 - its own memory is not the network's

    inputs = {INPUT: np.zeros(shape, np.float32)}
    before = anonymous_bytes()
    adapter = _adapter(Path(bundle), variant, Path(cache))
    for level in range(adapter.level_count):
        for _ in range(_WARM_RUNS):
            adapter.run(inputs, level)
    return anonymous_bytes() - before


def _latency(net: Prepared, bundles: dict[str, Path], cache: Path, rounds: int) -> list[Row]:
    """Return a row for each level of each variant, with the ratio to the plain dense network."""
    dense = dense_session(net.plain, profile_for("ort-switch"))
    runs: dict[str, Any] = {"plain": lambda: dense.run(None, net.inputs)}
    labels: dict[str, tuple[str, int]] = {}
    adapters = []
    for variant, bundle in bundles.items():
        adapter = _adapter(bundle, variant, cache)
        adapters.append(adapter)
        for level in range(adapter.level_count):
            if variant == "ort-levels" and level > 0:  # one level is resident: one adapter for each
                adapter = _adapter(bundle, variant, cache)
                adapters.append(adapter)
            label = f"{variant} {level}"
            labels[label] = (variant, level)
            runs[label] = lambda adapter=adapter, level=level: adapter.run(net.inputs, level)
    samples = interleaved(runs, rounds=rounds)
    for adapter in adapters:
        adapter.close()
    rows: list[Row] = [
        {
            "net": net.name,
            "what": "latency",
            "variant": "plain dense",
            "ms": round(median_ms(samples["plain"]), 4),
        }
    ]
    for label, (variant, level) in labels.items():
        found = ratio(samples[label], samples["plain"]).row()
        ms = round(median_ms(samples[label]), 4)
        rows.append(
            {"net": net.name, "what": "latency", "variant": variant, "level": level, "ms": ms, **found}
        )
    return rows


def _switching(net: Prepared, bundle: Path, cache: Path, rounds: int) -> Row:
    """Return the row of a switch with its first inference, over all changes of level, against staying."""
    adapter = _adapter(bundle, "ort-switch", cache)
    levels = range(adapter.level_count)
    runs, before = {}, {}
    for old in levels:
        for new in levels:
            label = f"{old} {new}"
            runs[label] = lambda new=new: adapter.run(net.inputs, new)
            before[label] = lambda old=old: adapter.run(net.inputs, old)
    samples = interleaved(runs, rounds=rounds, before=before)
    adapter.close()
    changes = [(old, new) for old in levels for new in levels if old != new]
    switch = np.mean([samples[f"{old} {new}"] for old, new in changes], axis=0)
    stay = np.mean([samples[f"{new} {new}"] for _, new in changes], axis=0)
    found = ratio(switch, stay).row()
    return {
        "net": net.name,
        "what": "switch",
        "variant": "ort-switch",
        "ms": round(median_ms(switch), 4),
        **found,
    }


def _memory(net: Prepared, bundles: dict[str, Path], cache: Path) -> list[Row]:
    shape = list(net.inputs[INPUT].shape)
    dense = in_subprocess("benchmarks.switching:memory_of_dense", str(net.plain), shape)
    rows: list[Row] = [
        {"net": net.name, "what": "memory", "variant": "plain dense", "anonymous_bytes": dense}
    ]
    for variant, bundle in bundles.items():
        found = in_subprocess(
            "benchmarks.switching:memory_of_variant", str(bundle), variant, str(cache), shape
        )
        row = {"anonymous_bytes": found, "ratio": round(found / dense, 4)}
        rows.append({"net": net.name, "what": "memory", "variant": variant, **row})
    return rows


def _decision(decisions: int, count: int) -> Row:
    """Return the row of one decision of the controller among `count` levels, with noisy latencies."""
    from elsa_edge.control import Controller, LevelFacts, Observation, Policy, make_plan

    levels = [LevelFacts(name=f"level {k}", work=0.1 * (k + 1), p50_ms=4.0 * (k + 1)) for k in range(count)]
    controller = Controller(make_plan(levels, Policy(budget_ms=25.0)), now_ms=0.0)
    slow_down = np.random.default_rng(0).lognormal(0.0, 0.2, decisions)
    seconds = np.empty(decisions)
    for number in range(decisions):
        level = controller.level
        seen = Observation(
            now_ms=30.0 * (number + 1), level=level, latency_ms=4.0 * (level + 1) * float(slow_down[number])
        )
        start = time.thread_time()
        controller.observe(seen)
        seconds[number] = time.thread_time() - start
    us = [round(float(q) * 1e6, 2) for q in np.quantile(seconds, [0.5, 0.99])]
    return {"what": "decision", "variant": f"controller, {count} levels", "us": us[0], "p99_us": us[1]}


def _claims(rows: Sequence[Row]) -> list[Claim]:
    def worst(what: str, variant: str) -> float:
        return max(float(row["ratio"]) for row in rows if row["what"] == what and row["variant"] == variant)

    decision_us = max(float(row["us"]) for row in rows if row["what"] == "decision")

    nets = ", ".join(dict.fromkeys(row["net"] for row in rows if "net" in row))
    targets = [
        ("ort-switch latency at any level over plain dense", 1.03, worst("latency", "ort-switch")),
        ("ort-levels latency at any level over plain dense", 1.03, worst("latency", "ort-levels")),
        ("ort-switch switch and first inference over one inference", 1.25, worst("switch", "ort-switch")),
        ("ort-switch anonymous memory over a plain dense session", 1.15, worst("memory", "ort-switch")),
    ]
    return [
        *(at_most(f"{claim} (worst of {nets})", target, found) for claim, target, found in targets),
        at_most("one decision of the controller, microseconds (worst of 3 and 10 levels)", 50, decision_us),
    ]


@benchmark("switching")
def main(quick: bool) -> Result:
    """Latency, switching and memory of the ONNX Runtime variants against a plain dense session."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ["mlp"] if quick else FEW:
            net = prepare(name, folder)
            bundles = {}
            for variant in VARIANTS:
                bundles[variant] = folder / f"{name}-{variant}"
                build_bundle(net.canonical, profile_for(variant), bundles[variant])
            cache = folder / "cache"
            # The first start derives the cache; what is measured are the starts after it.
            _adapter(bundles["ort-switch"], "ort-switch", cache).close()
            rows += _latency(net, bundles, cache, 9 if quick else 61)
            rows.append(_switching(net, bundles["ort-switch"], cache, 9 if quick else 61))
            rows += _memory(net, bundles, cache)
    rows += [_decision(500 if quick else 20_000, count) for count in (3, 10)]
    return Result(rows, _claims(rows))


if __name__ == "__main__":
    main()
