"""What 8 bits cost in accuracy: `python -m benchmarks.int8.accuracy`.

The quickstart's network and an MLP, with levels trained inside them: top-1 of float32, nested-int8 and ort-int8. The
variants are those that a build writes, calibrated on inputs that are not judged on; nothing is timed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from benchmarks.common import Claim, Result, Row, at_most, benchmark
from benchmarks.common.sessions import INPUT, profile_for
from elsa_edge.bundle.golden import Golden
from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.exporters.int8.exporter import NestedInt8Exporter, OrtInt8Exporter
from elsa_edge.exporters.int8.judge import open_session
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.names import LEVEL_INPUT
from elsa_edge.quickstart.data import Digits, load_digits
from elsa_edge.quickstart.model import digits_net
from elsa_edge.quickstart.training import LEARNING_RATE, steps_of, train
from elsa_edge.tensors import TensorSpec
from elsa_edge.training import GradualMagnitude, Nesting, elsa_stages

__all__ = ["main", "rows_of", "trained_levels", "trained_networks"]

_LADDER: Final = (0.9, 0.8, 0.0)
_CALIBRATION: Final = 64
_EPOCHS: Final = 2
_MOST_LOST_POINTS: Final = 0.5

Array = npt.NDArray[Any]


def _mlp() -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(784, 256), nn.BatchNorm1d(256), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(256, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 10))


def trained_levels(
    make: Callable[[], nn.Module], ladder: Sequence[float], nesting: Nesting, digits: Digits, epochs: int
) -> NestedCheckpoint:
    """Train a network on digits, then levels inside it.

    Args:
        make: Makes the network.
        ladder: Shares of zeros, sparsest first.
        nesting: How levels lie inside it.
        digits: Images, in as many channels as the network reads.
        epochs: Passes over them, of the network and of each level.
    """
    torch.manual_seed(0)
    model, images, labels = make(), digits.train_images, digits.train_labels
    train(model, images, labels, epochs=epochs, seed=0)
    stages = elsa_stages(
        model,
        ladder,
        sparsifier=lambda _: GradualMagnitude(steps=steps_of(epochs, images)),
        donor={name: value.clone() for name, value in model.state_dict().items()},
        nesting=nesting,
    )
    for stage in stages:
        rate = LEARNING_RATE / 2
        train(
            model,
            images,
            labels,
            epochs=epochs,
            seed=1 + stage.level,
            learning_rate=rate,
            attach=stage.attach,
        )
    return stages.checkpoint()


def _answers(model: Path | bytes, feeds: list[dict[str, Array]]) -> Array:
    session = open_session(model)
    return np.concatenate([session.run(None, feed)[0].argmax(1) for feed in feeds])


def _levels(graph: CanonicalGraph, calibration: Array, images: Array) -> Iterator[tuple[int, str, Array]]:
    """Yield (level, variant, class of each image) of the float network and both 8-bit variants."""
    golden = Golden({INPUT: calibration}, ())
    parts = [images[i : i + 16] for i in range(0, len(images), 16)]
    # What a build would refuse is told here as a figure.
    for exporter in (None, NestedInt8Exporter("nested", strict=False), OrtInt8Exporter(strict=False)):
        with tempfile.TemporaryDirectory(prefix="elsa-edge-") as temporary:
            file = Path(temporary, "model.onnx")
            if exporter is None:
                graph.save(file)
            else:
                exporter.export(graph, profile_for(exporter.name), golden, Path(temporary))
            for level in range(len(graph.ladder)):
                feeds = [{INPUT: part, LEVEL_INPUT: np.array(level, np.int64)} for part in parts]
                yield level, "float32" if exporter is None else exporter.name, _answers(file, feeds)


def rows_of(
    about: Row, graph: CanonicalGraph, calibration: Array, images: Array, labels: Array | None
) -> list[Row]:
    """Return a row for each level and variant: accuracy where there are labels, and agreement with float32."""
    floats: dict[int, Array] = {}
    rows: list[Row] = []
    for level, variant, found in _levels(graph, calibration, images):
        floats.setdefault(level, found)
        row: Row = {
            **about,
            "sparsity": graph.ladder[level].sparsity,
            "variant": variant,
            "images": len(images),
            "accuracy": None if labels is None else round(float(np.mean(found == labels)), 4),
            "lost_points": None
            if labels is None
            else round(100 * float(np.mean(floats[level] == labels) - np.mean(found == labels)), 2),
            "agreement": round(float(np.mean(found == floats[level])), 4),
        }
        rows.append(row)
    return rows


def trained_networks(quick: bool) -> Iterator[tuple[Row, CanonicalGraph, Array, Digits]]:
    """Yield networks trained on digits with levels: what they are, the graph, calibration images, all images."""
    digits = load_digits(0, 640 if quick else None)
    epochs = 1 if quick else _EPOCHS
    kinds = [("MLP 256 on digits", _mlp), ("quickstart's network", digits_net)][: 1 if quick else 2]
    for name, make in kinds:
        for granularity in ("1x4",) if quick else ("unstructured", "1x4"):
            checkpoint = trained_levels(make, _LADDER, Nesting(granularity=granularity), digits, epochs)
            graph = export_canonical(checkpoint, make(), [TensorSpec("", (1, 1, 28, 28))])
            about: Row = {"network": name, "granularity": granularity}
            yield about, graph.with_input_names(INPUT), digits.train_images[:_CALIBRATION], digits


def _digits_rows(quick: bool) -> list[Row]:
    return [
        row
        for about, graph, calibration, digits in trained_networks(quick)
        for row in rows_of(about, graph, calibration, digits.test_images, digits.test_labels)
    ]


def _claims(rows: list[Row]) -> list[Claim]:
    about = "{network}, {granularity}, {sparsity:.0%}: points lost by 8 bits"
    ours = [row for row in rows if row["variant"] == "nested-int8"]
    return [at_most(about.format(**row), _MOST_LOST_POINTS, row["lost_points"]) for row in ours]


@benchmark("int8-accuracy")
def main(quick: bool) -> Result:
    """Accuracy of networks in 8 bits against float32, at every level."""
    rows = _digits_rows(quick)
    return Result(rows=rows, claims=_claims(rows))


if __name__ == "__main__":
    main()
