"""`python -m benchmarks.tflite`: the TFLite variants, measured and held to their claims.

Numbers are compared on this machine; `make test-arm` does the same on the emulated ARM runtimes. The stand-in hides AVX
from XNNPACK (sse_stand_in.py), so that both sides run four-lane kernels; it is no ARM core.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from benchmarks.common import Result, Row, benchmark
from benchmarks.tflite.cases import case
from benchmarks.tflite.claims import claims_of
from benchmarks.tflite.measure import on_the_stand_in, one_file, trained_int8, variants

__all__ = ["main"]

_NETWORKS: Final = ("mobilenet_v2", "efficientnet_lite0", "resnet18", "mlp", "lstm_transformer")


@benchmark("tflite")
def main(quick: bool) -> Result:
    """The TFLite variants: numbers, sizes, switching, memory, int8 accuracy, sparse kernels."""
    networks, rounds = (("mlp",), 9) if quick else (_NETWORKS, 31)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="elsa-edge-") as name:
        folder = Path(name)
        for network in networks:
            rows += variants(case(network), folder)
        rows += one_file(networks[0], folder, rounds)
        rows.append(trained_int8(folder))
        if not quick:
            rows.append(on_the_stand_in(folder, rounds))
    return Result(rows, claims_of(rows))


if __name__ == "__main__":
    main()
