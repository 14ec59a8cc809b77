"""Instructions of whole inferences on ARM, ours and others': `python -m benchmarks.arm inferences [--only NET]`.

    instructions = sum over blocks of (how often it ran x its length),  of one inference after another one

Counted, not modelled, by a plugin of the emulator: exact for these builds, and no time. The block that ran most
instructions is taken out of the runtime's library as it is and given to LLVM's analyser: **a model, +-30 %**. Random
weights. One thread.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import numpy as np

from benchmarks.arm.cores import CORES, Core, analyser, modelled_cycles
from benchmarks.arm.emulate import Block, board, compile_plugin, count
from benchmarks.common import RESULTS, Result, Row, benchmark
from benchmarks.common.sessions import INPUT
from benchmarks.latency.files import Subject
from elsa_edge.bundle.golden import Golden
from elsa_edge.errors import ElsaError
from elsa_edge.exporters.int8.exporter import NestedInt8Exporter
from elsa_edge.exporters.nested.exporter import OrtNestedExporter
from elsa_edge.profiles import load_profile
from elsa_edge.runtime_adapters.kernels.build import compile_library

__all__ = ["NETWORKS"]

NETWORKS: Final = ("resnet18", "mobilenet_v2", "keyword")
LADDER: Final = (0.95, 0.9, 0.8, 0.0)
_CALIBRATION_SAMPLES: Final = 16
# The emulator's core -> the model that its hottest block is given to.
_CPUS: Final = {"cortex-a72": "Cortex-A72", "cortex-a76": "Cortex-A76"}
_PRODUCTS: Final = re.compile(r"^\s*(fmla|sdot|udot|sadalp|smlal2?|usdot|smmla|ummla)\s")


@dataclass(frozen=True)
class _Job:
    """A file to run: `levels` is None for a file without them.

    Attributes:
        engine: What the table calls it.
        kind: "onnx" or "tflite".
        file: The network.
        library: Of custom operators, or "".
        levels: How many levels it has, or None.
    """

    engine: str
    kind: str
    file: str
    library: str = ""
    levels: int | None = None


def _jobs(subject: Subject, folder: Path, library: Path) -> Iterator[_Job]:
    """Yield dense files of others first, then ours; a file that cannot be made is left out by its row's absence."""
    yield _Job("ort, dense", "onnx", str(subject.fixed(subject.dense)))
    yield _Job("ort int8, dense", "onnx", str(subject.quantised(subject.dense)))
    yield _Job("LiteRT/XNNPACK, dense", "tflite", str(subject.litert(subject.dense, "dense")))
    yield _Job("LiteRT/XNNPACK int8, dense", "tflite", str(subject.litert(subject.dense, "int8")))
    profile = load_profile("raspberry-pi-4")
    free = profile.model_copy(
        update={"tflite": profile.tflite.model_copy(update={"int8_changed_answers": 1.0})}
    )
    random = np.random.default_rng(1)
    shape = (_CALIBRATION_SAMPLES, *subject.inputs[INPUT].shape[1:])
    golden = Golden({INPUT: random.standard_normal(shape).astype(np.float32)}, ())
    (folder / "quads").mkdir()
    quads = Subject(subject.network, "1x4", folder / "quads", LADDER)
    # Random weights change their mind easily: here only instructions are asked for.
    eight = NestedInt8Exporter("nested", strict=False)
    for name, cut in (("nested, unstructured", subject), ("nested int8, 1x4", quads)):
        target = folder / name.split(",")[0].replace(" ", "-")
        target.mkdir()
        exporter = eight if cut is quads else OrtNestedExporter(choose="nested")
        exporter.export(cut.graph, free, golden, target)
        yield _Job(name, "onnx", str(target / "model.onnx"), str(library), len(cut.ladder))


def _disassembled(code: bytes) -> list[str]:
    """Return the instructions of a block as text."""
    listed = " ".join(f"0x{byte:02x}" for byte in code)
    command = next(c for c in (analyser().replace("mca", "mc"), "llvm-mc") if shutil.which(c))
    words = [command, "-disassemble", "-triple=aarch64", "-mattr=+all"]
    said = subprocess.run(words, input=listed, capture_output=True, text=True, check=True).stdout
    return [line.strip() for line in said.splitlines() if line.strip() and not line.strip().startswith(".")]


def _hottest(blocks: list[Block], core: Core, total: int) -> Row:
    """Return what the block with the most instructions is, and the model of it."""
    most = max(blocks, key=lambda block: block.instructions)
    loop = _disassembled(most.code)
    products = sum(bool(_PRODUCTS.match(line)) for line in loop)
    row: Row = {
        "hottest_share": round(most.instructions / total, 3),
        "hottest_instructions": len(loop),
        "hottest_products": products,
    }
    if products:
        row["model_cycles_a_product"] = round(modelled_cycles(loop, core, analyser()) / products, 3)
    return row


def _rows(network: str, plugin: Path, library: Path, folder: Path) -> Iterator[Row]:
    subject = Subject(network, "unstructured", folder, LADDER)
    jobs = list(_jobs(subject, folder, library))
    (folder / "jobs.json").write_text(json.dumps([vars(job) for job in jobs]))
    emulator = board()
    sites = [emulator.onnxruntime_site(), emulator.build("arm64") / "site"]
    for cpu, core_name in _CPUS.items():
        core = next(core for core in CORES if core.name == core_name)
        blocks = count(plugin, folder / "jobs.json", subject.input_path, cpu, sites)
        number = 0
        for job in jobs:
            for level in [None] if job.levels is None else range(job.levels):
                number += 1
                here = [block for block in blocks if block.mark == number]
                total = sum(block.instructions for block in here)
                yield {
                    "network": network,
                    "cpu": cpu,
                    "engine": job.engine,
                    "sparsity": 0.0 if level is None else subject.ladder[level],
                    "instructions": total,
                    **_hottest(here, core, total),
                }


@benchmark(
    "arm-inferences",
    click.option("--only", multiple=True, type=click.Choice(NETWORKS), help="Only this network; repeatable."),
)
def main(quick: bool, only: tuple[str, ...]) -> Result:
    """Count the instructions of whole inferences on emulated boards."""
    rows: list[Row] = []
    kept = RESULTS / "arm-inferences.json"
    wanted = only or (NETWORKS[-1:] if quick else NETWORKS)
    if only and kept.is_file():
        rows = [row for row in json.loads(kept.read_text())["rows"] if row["network"] not in only]
    with tempfile.TemporaryDirectory(prefix="elsa-edge-") as made:
        plugin = compile_plugin(Path(made))
        library = compile_library(Path(made, "libelsa_nested.so"), target="linux-aarch64")
        for network in wanted:
            folder = Path(made, network)
            folder.mkdir()
            try:
                rows += _rows(network, plugin, library, folder)
            except ElsaError as error:
                rows.append({"network": network, "engine": "failed", "note": str(error)})
    return Result(rows=rows, claims=[])
