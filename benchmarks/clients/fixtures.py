"""What every client is held to: traces of the controller under random policies, and a bundle with the answers to give.

    python -m benchmarks.clients.fixtures FOLDER [--steps 12000]

writes `traces.json` (policies, levels, observations, decisions), `bundle/`, `golden.json` (inputs, and the canonical
graph's outputs per level) and `hostile/`: folders with the files of the bundle that somebody changed, 500 of each kind.
`manifest-N` and `data-N` have hashes that fit, those of `unhashed-N` do not. `signed/` has a signed manifest and two
keys. The controller's rows have the form of tests/control/golden_traces.json.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import shutil
import subprocess
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from benchmarks.reliability import corpus
from benchmarks.reliability.mutations import mutated_bytes, mutated_manifest
from elsa_edge.bundle import open_bundle
from elsa_edge.bundle.signature import sign_bundle
from elsa_edge.control import LevelFacts, Observation, Policy, make_plan, start, step
from elsa_edge.control.state import Reason
from elsa_edge.control.trace import SCENARIOS, Sample, scenario
from elsa_edge.errors import ProfileError

MB = 1_000_000
# A level that cannot be loaded is the Python session's matter; its controller begins anew without it.
REASONS = tuple(str(reason) for reason in Reason if reason is not Reason.UNLOADABLE)
# Rows that show each reason.
FEWEST = 10
# What the clients run between them; the hostile bundles are tried with the first.
VARIANTS = ("ort-switch", "ort-levels", "onnx-selector", "ort-nested", "ort-nested-int8", "tflite-levels")


def some_policy(generator: random.Random) -> Policy:
    """Return a policy such as people write, and some that nobody should."""
    return Policy(
        budget_ms=generator.choice((math.inf, *(generator.uniform(5.0, 60.0) for _ in range(5)))),
        allowed_miss_rate=generator.choice((0.01, 0.05, 0.1, 0.5)),
        window_runs=generator.choice((1, 20, 50, 200)),
        reserve_bytes=generator.uniform(0.0, 100.0) * MB,
        hysteresis_bytes=generator.uniform(0.0, 30.0) * MB,
        temperature_limit_c=generator.choice((math.inf, 60.0, 80.0)),
        minimum_accuracy=generator.choice((0.0, 0.0, 0.62)),
        margin=generator.choice((0.0, 0.1)),
        up_margin=generator.choice((0.05, 0.2)),
        up_after_runs=generator.randint(1, 12),
        dwell_ms=generator.uniform(0.0, 800.0),
        discard_runs=generator.randint(0, 3),
        idle_gap_ms=generator.choice((50.0, 2000.0)),
    )


def some_levels(generator: random.Random) -> list[LevelFacts]:
    """Return one to eight levels; measured or not, with accuracies or without, sometimes not in order of latency."""
    count = generator.randint(1, 8)
    measured = [
        generator.random() < share for share in [generator.choice((0.0, 0.5, 1.0))] for _ in range(count)
    ]
    accurate, known_memory = generator.random() < 0.5, generator.random() < 0.8
    times = sorted(generator.uniform(2.0, 50.0) for _ in range(count))
    if generator.random() < 0.2:
        generator.shuffle(times)
    return [
        LevelFacts(
            name=f"level-{k}",
            work=(k + 1) / count,
            p50_ms=times[k] if measured[k] else None,
            p95_ms=times[k] * generator.uniform(1.0, 1.4) if measured[k] else None,
            switch_ms=generator.choice((0.0, 2.0)),
            memory_bytes=int(generator.uniform(10.0, 20.0 + 20.0 * k) * MB) if known_memory else None,
            accuracy=0.6 + 0.3 * (k / count) ** 0.5 if accurate else None,
        )
        for k in range(count)
    ]


def record(generator: random.Random, runs: int) -> dict[str, Any] | None:
    """Return one trace, or None where no plan can be made."""
    policy, levels = some_policy(generator), some_levels(generator)
    measured_ms = [fact.p50_ms for fact in levels if fact.p50_ms is not None]
    if measured_ms and generator.random() < 0.7:
        # A budget that some levels hold and others do not.
        policy = replace(policy, budget_ms=generator.choice(measured_ms) * generator.uniform(0.8, 1.6))
    try:
        plan = make_plan(levels, policy)
    except ProfileError:
        return None
    name = generator.choice(SCENARIOS)
    samples = scenario(name, runs, generator.randrange(1 << 30), reserve_bytes=policy.reserve_bytes)
    truth = [(fact.p50_ms or 20.0 * fact.work) * generator.uniform(0.8, 1.3) for fact in levels]
    free = generator.choice((None, policy.reserve_bytes + 200.0 * MB))
    state, decision, reason = start(plan, available_bytes=free)
    first, rows, now = [decision.level, str(reason), decision.feasible], [], 0.0
    squeezed = 0
    for sample in samples:
        # Now and then another program takes all that is left, for some runs.
        squeezed = generator.randint(3, 30) if generator.random() < 0.01 else max(0, squeezed - 1)
        if squeezed:
            left = policy.reserve_bytes - generator.uniform(0.0, 12.0) * MB
            sample = sample._replace(available_bytes=max(0.0, left))  # noqa: PLW2901 - the same moment, as it is now
        observation = observe(generator, sample, truth[decision.level], decision.level, now)
        now = observation.now_ms
        state, decision, reason = step(state, observation, plan)
        rows.append(
            [
                list(asdict(observation).values()),
                [decision.level, str(reason), decision.feasible, decision.predicted_ms, decision.miss_rate],
            ]
        )
    return {
        "policy": {key: value if math.isfinite(value) else None for key, value in asdict(policy).items()},
        "levels": [asdict(fact) for fact in levels],
        "available_bytes": free,
        "start": first,
        "rows": rows,
    }


def observe(
    generator: random.Random, sample: Sample, truth_ms: float, level: int, now_ms: float
) -> Observation:
    """Return a run, or now and then only a look at the memory; sometimes after a pause, sometimes at no latency."""
    pause_ms = sample.idle_ms + (generator.uniform(60.0, 4000.0) if generator.random() < 0.01 else 5.0)
    latency_ms = 0.0 if generator.random() < 0.002 else truth_ms * sample.slowdown
    ran = generator.random() > 0.03
    return Observation(
        now_ms=now_ms + pause_ms + latency_ms,
        level=level if ran else None,
        latency_ms=latency_ms if ran else None,
        available_bytes=sample.available_bytes,
        pressure_percent=sample.pressure_percent,
        temperature_c=sample.temperature_c,
    )


def write_hostile(bundle: Path, folder: Path, count: int) -> None:
    """Write what differs from the bundle, for `count` mutations of each kind, into folders of their own."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    read = [
        entry
        for entry in manifest["files"]
        if entry["path"].startswith(("device.yaml", "golden.npz", "ort-switch/"))
    ]
    shutil.rmtree(folder, ignore_errors=True)
    for seed in range(count):
        for kind in ("manifest", "data", "unhashed"):
            chance, place = random.Random(f"{kind} {seed}"), folder / f"{kind}-{seed:03d}"  # noqa: S311 - see above
            place.mkdir(parents=True)
            if kind == "manifest":
                (place / "manifest.json").write_text(json.dumps(mutated_manifest(manifest, chance)))
                continue
            entry = chance.choice(read)
            content = (bundle / entry["path"]).read_bytes()
            while (harmed := mutated_bytes(content, chance)) == content:
                pass
            (place / entry["path"]).parent.mkdir(exist_ok=True)
            (place / entry["path"]).write_bytes(harmed)
            if kind == "data":
                fitting = {"size_bytes": len(harmed), "sha256": hashlib.sha256(harmed).hexdigest()}
                files = [file | fitting if file is entry else file for file in manifest["files"]]
                (place / "manifest.json").write_text(json.dumps(manifest | {"files": files}))


def write_signed(bundle: Path, folder: Path) -> None:
    """Write the bundle's manifest with a counter of 7 and a signature, the key that made it, and another key."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in ("ours", "theirs"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    manifest = json.loads((bundle / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"counter": 7}))
    sign_bundle(folder, folder / "ours")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--steps", default=12_000, show_default=True)
@click.option("--hostile", default=500, show_default=True, help="Hostile bundles of each kind.")
def main(folder: Path, steps: int, hostile: int) -> None:
    """Write the fixtures into FOLDER, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = random.Random(20)  # noqa: S311 - made-up traces need no secrets
    traces: list[dict[str, Any]] = []
    seen: Counter[str] = Counter()
    while sum(seen.values()) < steps or min(seen[reason] for reason in REASONS) < FEWEST:
        trace = record(generator, generator.randint(40, 300))
        if trace is not None:
            traces.append(trace)
            seen.update([trace["start"][1], *(row[1][1] for row in trace["rows"])])
    (folder / "traces.json").write_text(json.dumps(traces, allow_nan=False))
    shutil.rmtree(folder / "bundle", ignore_errors=True)
    corpus.build(folder, variants=VARIANTS)
    write_signed(folder / "bundle", folder / "signed")
    write_hostile(folder / "bundle", folder / "hostile", hostile)
    golden = open_bundle(folder / "bundle").golden
    (folder / "golden.json").write_text(
        json.dumps(
            {
                "inputs": {
                    name: {"dims": list(a.shape), "data": a.ravel().tolist()}
                    for name, a in golden.inputs.items()
                },
                "outputs": [
                    {name: a.ravel().tolist() for name, a in level.items()} for level in golden.outputs
                ],
            }
        )
    )


if __name__ == "__main__":
    main()
