"""What every client is held to: traces of the controller under random policies, and a bundle with the answers to give.

    python -m benchmarks.clients.fixtures FOLDER [--steps 12000]

writes `traces.json` (policies, levels, observations, decisions), `bundle/`, `golden.json` (inputs, and the canonical
graph's outputs per level) and `hostile/`: folders with the files of the bundle that somebody changed, 500 of each kind.
`manifest-N` and `data-N` have hashes that fit, those of `unhashed-N` do not. `signed/` has a signed manifest and two
keys. The traces begin with those of tests/control/golden_traces.json, which reach every branch.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import click

from benchmarks.clients.traces import GOLDEN, Trace, record
from benchmarks.reliability import corpus
from benchmarks.reliability.mutations import mutated_bytes, mutated_manifest
from elsa_edge.bundle import open_bundle
from elsa_edge.bundle.signature import sign_bundle
from elsa_edge.control.state import Reason

# A level that cannot be loaded is the Python session's matter; its controller begins anew without it.
REASONS = tuple(str(reason) for reason in Reason if reason is not Reason.UNLOADABLE)
# Rows that show each reason.
FEWEST = 10
# What the clients run between them; the hostile bundles are tried with the first.
VARIANTS = ("ort-switch", "ort-levels", "onnx-selector", "ort-nested", "ort-nested-int8", "tflite-levels")


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
    traces: list[Trace] = json.loads(GOLDEN.read_text())
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
