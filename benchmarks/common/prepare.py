"""From a network to what is measured: its nested checkpoint, canonical graph, plain dense export, and bundles."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.common.sessions import INPUT
from benchmarks.networks import NETS
from benchmarks.networks.settle import noise
from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.graph.export import export_canonical
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec

if TYPE_CHECKING:
    from torch import nn

__all__ = ["LADDER", "Prepared", "folder_bytes", "living_levels", "prepare", "stays_dense"]

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


def stays_dense(model: nn.Module) -> list[str]:
    """Return the weights that nobody makes sparse: of the first convolution, and depthwise ones."""
    weights = [(key, value) for key, value in model.named_parameters() if value.dim() >= 2]
    first = [weights[0][0]] if weights[0][1].dim() == 4 else []
    return first + [key for key, value in weights if value.dim() == 4 and value.shape[1] == 1]


def living_levels(
    model: nn.Module,
    input_shape: tuple[int, ...],
    ladder: tuple[float, ...] = LADDER,
    *,
    granularity: str = "unstructured",
) -> NestedCheckpoint:
    """Make nested levels in a network with random weights, each of which still follows its inputs.

    Cut globally, the layers with the smallest random weights would go as a whole, as would most depthwise
    filters; and without statistics of their own the activations of a deep sparse level fade to nothing.
    Nobody ships such a level, and no proof takes it.
    """
    from elsa_edge.sparsify.norms import batch_norms

    return sparsify(
        model,
        ladder,
        allocation="uniform",
        granularity=granularity,
        exclude=stays_dense(model),
        data=[noise(input_shape)] if batch_norms(model) else None,
    )


def prepare(name: str, folder: Path, ladder: tuple[float, ...] = LADDER) -> Prepared:
    """Make nested levels in a network of `NETS` and export both forms into `folder`."""
    import torch

    net = NETS[name]
    model = net.factory()
    checkpoint = living_levels(model, net.input_shape, ladder)
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
