"""From a network to what is measured: its nested checkpoint, canonical graph, plain dense export, and bundles."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.models import NETS
from benchmarks.sessions import INPUT
from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.graph.export import export_canonical
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec

__all__ = ["LADDER", "Prepared", "folder_bytes", "prepare"]

LADDER: Final = (0.95, 0.9, 0.0)


@dataclass(frozen=True)
class Prepared:
    """A network ready to measure.

    Attributes:
        name: Its name in `NETS`.
        plain: The same dense network exported by torch for ONNX Runtime, without any level: the base of every ratio.
        canonical: The canonical graph.
        inputs: One input of batch 1 by name.
    """

    name: str
    plain: Path
    canonical: Path
    inputs: dict[str, npt.NDArray[np.float32]]


def prepare(name: str, folder: Path, ladder: tuple[float, ...] = LADDER) -> Prepared:
    """Make nested levels in a network of `NETS` and export both forms into `folder`."""
    import torch

    net = NETS[name]
    model = net.factory()
    checkpoint = sparsify(model, ladder)
    plain, canonical = folder / f"{name}.plain.onnx", folder / f"{name}.onnx"
    _export_plainly(model, net.input_shape, plain)
    export_canonical(checkpoint, model, [TensorSpec("", net.input_shape)]).with_input_names(INPUT).save(
        canonical
    )
    NestedCheckpoint.save(checkpoint, folder / f"{name}.safetensors")
    torch.manual_seed(1)
    return Prepared(name, plain, canonical, {INPUT: torch.randn(net.input_shape).numpy()})


def _export_plainly(model: Any, input_shape: tuple[int, ...], path: Path) -> None:
    """Export as anyone would, in one file, with a free batch."""
    import torch

    model.eval()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells that torchvision is absent
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, about its own pytrees
        program = torch.onnx.export(
            model,
            (torch.zeros((2, *input_shape[1:])),),
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=["output"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    assert program is not None
    program.save(str(path), external_data=False)


def folder_bytes(folder: Path) -> int:
    """Return the size of all files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
