"""8-bit levels of library networks against ONNX Runtime's dense 8 bits: `python -m benchmarks.zoo.int8`.

Cut in 4x4 blocks at 90 and 80 % of each layer, weights with heavy tails. Each network is what a build makes of it
(`int8_one`), in a process of its own with a time limit. Results are kept after each network, and a run goes on where
it was stopped; rows of another processor are dropped.

    --network tv_resnet18      measures parts, also again
    --graphs FOLDER            keeps the traced networks there: tracing takes longer than measuring
"""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import click
import numpy as np

from benchmarks.common import (
    RESULTS,
    Claim,
    Result,
    Row,
    at_least,
    benchmark,
    context,
    in_subprocess,
    parts_option,
    report_text,
)
from benchmarks.int8.kept import cpu, rows_kept
from benchmarks.zoo import run_worker
from elsa_edge.errors import first_line
from elsa_edge.files import write_bytes

__all__ = ["CONVOLUTIONAL", "OTHERS", "claims", "main"]

CONVOLUTIONAL: Final = (
    "tv_squeezenet1_1", "timm_resnet10t", "tv_mobilenet_v2", "timm_lcnet_050", "tv_shufflenet_v2_x1_0",
    "timm_mnasnet_small", "tv_regnet_x_400mf", "timm_dla46_c", "timm_mobileone_s0", "tv_mobilenet_v3_small",
    "timm_efficientnet_lite0", "tv_resnet18", "timm_mobilenetv4_conv_small", "tv_mnasnet0_5", "timm_tinynet_e",
    "timm_semnasnet_075", "timm_ghostnet_100", "timm_repvit_m0_9", "tv_regnet_y_400mf", "timm_hardcorenas_a",
    "tv_efficientnet_b0", "tv_mobilenet_v3_large", "tv_googlenet", "tv_lraspp", "tv_alexnet", "tv_densenet121",
    "tv_resnet50", "tv_deeplabv3", "tv_inception_v3", "smp_unet", "yolov8n", "tv_mc3_18",
)  # fmt: skip
# What the median leaves out: no level may make these slower, either.
OTHERS: Final = (
    "hf_llama", "hf_distilbert", "hf_bert_token_types", "hf_gpt2", "timm_vit_tiny", "own_gru", "own_lstm", "own_field",
    "own_shared_block", "own_weight_norm", "own_spectral_norm", "own_keyword_only", "own_optional_argument",
)  # fmt: skip
_NAME: Final = "int8-zoo"
_LEVELS: Final = (0.9, 0.8, 0.0)
_TURNS_S, _QUICK_S = 6.0, 0.5
_LIMIT_S: Final = 900.0
_MEDIAN, _NEVER_BELOW = 1.8, 0.97


@benchmark(
    _NAME,
    parts_option("network", (*CONVOLUTIONAL, *OTHERS)),
    click.option("--graphs", type=click.Path(file_okay=False, path_type=Path), help="Where graphs are kept."),
)
def main(quick: bool, networks: tuple[str, ...], graphs: Path | None) -> Result:
    """8-bit levels of library networks against ONNX Runtime's dense 8 bits."""
    known = [] if quick else rows_kept(_NAME, ("network",), [])
    done = {row["network"] for row in known}
    names = networks or tuple(n for n in (*CONVOLUTIONAL, *OTHERS)[: 1 if quick else None] if n not in done)
    with ExitStack() as stack:
        folder = graphs or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="elsa-zoo-")))
        rows = known
        for name in names:
            row = _row(name, folder, _QUICK_S if quick else _TURNS_S)
            rows = [*(other for other in rows if other["network"] != name), row]
            click.echo(f"{name}: {row['over_int8']} {row['note']}", err=True)
            if not quick:
                _save(rows)
    return Result(rows, claims(rows))


def _save(rows: list[Row]) -> None:
    text = report_text(_NAME, Result(rows, claims(rows)), context() | {"quick": False})
    write_bytes(RESULTS / f"{_NAME}.json", text.encode())


def claims(rows: list[Row]) -> list[Claim]:
    """Return the median at 90 % of convolutional networks, and every network's least ratio; of those that went."""
    found = [row for row in rows if row["over_int8"] is not None]
    counted = [row["over_int8"][0] for row in found if row["network"] not in OTHERS]
    about = f"median over {len(counted)} convolutional networks at 90 %, 4x4: over dense int8"
    median = [at_least(about, _MEDIAN, float(np.median(counted)))] if counted else []
    least = (at_least(f"{row['network']}: any level", _NEVER_BELOW, min(row["over_int8"])) for row in found)
    return [*median, *least]


def _row(name: str, graphs: Path, turns_s: float) -> Row:
    row: Row = {"network": name, "over_int8": None, "note": ""}
    load = round(os.getloadavg()[0], 2)
    try:
        file = _traced(name, graphs)
        row |= in_subprocess("benchmarks.zoo.int8_one:measured", str(file), turns_s, timeout_s=_LIMIT_S)
    except subprocess.TimeoutExpired as error:
        row["note"] = f"not done after {error.timeout:g} s"
    except (FileNotFoundError, RuntimeError) as error:
        row["note"] = first_line(RuntimeError(str(error).strip().splitlines()[-1]))
    date = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    return row | {"date_utc": date, "load_1_min": load, "commit": context()["commit"], "cpu": cpu()}


def _traced(name: str, folder: Path) -> Path:
    """Return the canonical graph of a network, which the zoo's own environment makes where it is not there yet."""
    file = folder / f"{name}.onnx"
    if file.is_file():
        return file
    folder.mkdir(parents=True, exist_ok=True)
    ladder = ",".join(map(str, _LEVELS))
    done = run_worker(["--static", f"--graph={folder}", f"--levels={ladder}", name], _LIMIT_S)
    if done.returncode or not file.is_file():
        raise RuntimeError(f"not traced: {' '.join(done.stderr.strip().splitlines()[-1:])}")
    return file


if __name__ == "__main__":
    main()
