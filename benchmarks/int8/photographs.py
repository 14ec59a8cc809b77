"""Answers of ImageNet networks in 8 bits, on natural photographs: `python -m benchmarks.int8.photographs`.

EfficientNet-Lite0 and MobileNetV2 with their trained weights, a level of 50 % in one shot. Calibrated on crops of some
photographs, judged on whole ones and crops of others: which share of the answers stays the float network's.

    --network MobileNetV2      one of the two
"""

from __future__ import annotations

from typing import Final

import torch

from benchmarks.common import Claim, Result, Row, at_least, benchmark, parts_option
from benchmarks.common.sessions import INPUT
from benchmarks.int8.accuracy import rows_of
from benchmarks.repair.imagenet import IMAGENET
from benchmarks.repair.photographs import photographs
from elsa_edge.graph.export import export_canonical
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec

__all__ = ["main"]

_CALIBRATION: Final = 64
_CROPS: Final = 90
_LEAST_AGREEMENT: Final = 0.95


@benchmark("int8-photographs", parts_option("network", tuple(IMAGENET)))
def main(quick: bool, networks: tuple[str, ...]) -> Result:
    """Agreement of 8-bit variants with the float network on photographs."""
    rows = [row for name in networks or IMAGENET for row in _measure(name, quick)]
    return Result(rows=rows, claims=_claims(rows))


def _measure(network: str, quick: bool) -> list[Row]:
    known = IMAGENET[network]
    photos, model = photographs(known.scaling), known.make()
    step = max(1, len(photos.learning) // _CALIBRATION)
    calibration = photos.learning.take(torch.arange(0, len(photos.learning), step)[:_CALIBRATION])[0][0]
    crops = photos.crops[:: max(1, len(photos.crops) // (8 if quick else _CROPS))]
    checkpoint = sparsify(
        model, (0.5, 0.0), granularity="1x4", data=[(calibration,)], exclude=[known.classifier]
    )
    graph = export_canonical(checkpoint, model, [TensorSpec("", (1, 3, 224, 224))])
    about: Row = {"network": f"{network}, ImageNet weights", "granularity": "1x4"}
    images = torch.cat([photos.whole, crops]).numpy()
    return rows_of(about, graph.with_input_names(INPUT), calibration.numpy(), images, None)


def _claims(rows: list[Row]) -> list[Claim]:
    share = "dense answers on photographs that stay float32's"
    return [
        at_least(f"{row['network']}, {row['variant']}: {share}", _LEAST_AGREEMENT, row["agreement"])
        for row in rows
        if row["variant"] != "float32" and row["sparsity"] == 0
    ]


if __name__ == "__main__":
    main()
