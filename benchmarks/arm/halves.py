"""What half floats cost in accuracy: `python -m benchmarks.arm halves`.

The networks of `benchmarks.int8.accuracy`, trained on digits with levels inside them: top-1 and outputs of the float
network and of `nested-float16`, on images that the declared tolerance was not taken from. Computed in the slow form
that x86-64 has of the same loops; that those of ARM compute the same is a test of its own (tests/arm). Not timed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.common import Claim, Result, Row, at_most, benchmark
from benchmarks.common.sessions import INPUT
from benchmarks.int8.accuracy import trained_networks
from elsa_edge.bundle.golden import Golden
from elsa_edge.exporters.float16.exporter import NestedFloat16Exporter
from elsa_edge.exporters.int8.judge import open_session
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.names import LEVEL_INPUT
from elsa_edge.profiles import load_profile

__all__ = ["main", "rows_of"]

_PROFILE: Final = "raspberry-pi-5"
_MOST_LOST_POINTS: Final = 0.5  # as in 8 bits
_BATCH: Final = 16

Array = npt.NDArray[Any]


def rows_of(about: Row, graph: CanonicalGraph, calibration: Array, images: Array, labels: Array) -> list[Row]:
    """Return a row for each level.

    Args:
        about: What every row begins with.
        graph: A trained network with levels and one output of classes.
        calibration: Inputs that the declared tolerance comes from.
        images: Others, to judge on.
        labels: Their classes.
    """
    golden = Golden({INPUT: calibration}, ())
    with tempfile.TemporaryDirectory(prefix="elsa-edge-") as temporary:
        folder = Path(temporary)
        graph.save(folder / "canonical.onnx")
        variant = NestedFloat16Exporter().export(graph, load_profile(_PROFILE), golden, folder)
        plain, halves = open_session(folder / "canonical.onnx"), open_session(folder / "model.onnx")
        return [
            {
                **about,
                "sparsity": entry.sparsity,
                "images": len(images),
                "declared": round(variant.relative_tolerance, 6),
                "float32_layers": sorted(variant.notes["float_layers"]),
                **_compared(_answers(plain, images, level), _answers(halves, images, level), labels),
            }
            for level, entry in enumerate(graph.ladder)
        ]


def _answers(session: Any, images: Array, level: int) -> Array:
    feeds = [images[i : i + _BATCH] for i in range(0, len(images), _BATCH)]
    return np.concatenate(
        [session.run(None, {INPUT: feed, LEVEL_INPUT: np.array(level, np.int64)})[0] for feed in feeds]
    )


def _compared(expected: Array, found: Array, labels: Array) -> Mapping[str, Any]:
    classes, others = expected.argmax(1), found.argmax(1)
    return {
        "difference": round(float(np.abs(found - expected).max() / np.abs(expected).max()), 6),
        "agreement": round(float(np.mean(classes == others)), 5),
        "accuracy_float32": round(float(np.mean(classes == labels)), 4),
        "accuracy": round(float(np.mean(others == labels)), 4),
        "lost_points": round(100 * float(np.mean(classes == labels) - np.mean(others == labels)), 3),
    }


def _claims(rows: list[Row]) -> list[Claim]:
    about = "{network}, {granularity}, {sparsity:.0%}: ".format
    return [
        claim
        for row in rows
        for claim in (
            at_most(about(**row) + "float16 over the largest output", row["declared"], row["difference"]),
            at_most(about(**row) + "points lost by float16", _MOST_LOST_POINTS, row["lost_points"]),
        )
    ]


@benchmark("arm-halves")
def main(quick: bool) -> Result:
    """Accuracy of networks in half floats against float32, at every level."""
    rows = [
        row
        for about, graph, calibration, digits in trained_networks(quick)
        for row in rows_of(about, graph, calibration, digits.test_images, digits.test_labels)
    ]
    return Result(rows=rows, claims=_claims(rows))
