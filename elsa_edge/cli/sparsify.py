"""`elsa-edge sparsify`: dense checkpoint -> nested checkpoint, in one shot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from elsa_edge.claims import CANONICAL, NESTED
from elsa_edge.cli._common import emit, json_option, new_file, print_table, say

if TYPE_CHECKING:
    from torch import nn

    from elsa_edge.levels import Ladder

__all__ = ["command"]


@click.command(
    "sparsify",
    epilog="Example: elsa-edge sparsify net.pt --model nets:resnet20 --levels 0.95,0.9,0 -o out.safetensors",
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--model", metavar="PKG.MODULE:FACTORY", help="Makes the network; takes no arguments. Not for ONNX files."
)
@click.option(
    "--weights",
    metavar="NAME",
    help="Which weights, where the file has several: ema, or the place that an error names.",
)
@click.option(
    "--levels", required=True, metavar="S,S,...", help="Sparsities, sparsest first, such as 0.95,0.9,0."
)
@click.option(
    "--method", default="magnitude", show_default=True, help="Score of a weight: magnitude or random."
)
@click.option("--allocation", help="Sparsity of each layer: global (default), uniform or erk.")
@click.option(
    "--granularity",
    default="unstructured",
    show_default=True,
    help="Cut together: unstructured, 4x1, 1x4 or 4x4 (consecutive output x input channels), channel, or N:M as 2:4.",
)
@click.option(
    "--include", multiple=True, metavar="PATTERN", help="Only these weights or modules; can be repeated."
)
@click.option(
    "--exclude", multiple=True, metavar="PATTERN", help="Not these weights or modules; can be repeated."
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="An .npz with inputs of the network; BatchNorm statistics are estimated on it at each level.",
)
@click.option(
    "--input-shape",
    "input_shapes",
    multiple=True,
    metavar="[NAME=]SHAPE[:DTYPE]",
    help="An input such as 1x3x224x224: a run then finds what the network multiplies with, whatever its layers are.",
)
@click.option("--seed", default=0, show_default=True, help="Of the random method.")
@new_file(help="The nested checkpoint to write (.safetensors).", kinds=(NESTED, CANONICAL))
@json_option
def command(
    *,
    checkpoint: Path,
    model: str | None,
    weights: str | None,
    levels: str,
    method: str,
    allocation: str | None,
    granularity: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    data: Path | None,
    input_shapes: tuple[str, ...],
    seed: int,
    destination: Path,
    as_json: bool,
) -> None:
    """Put nested sparsity levels into the trained CHECKPOINT (a file of torch or safetensors, or a folder of shards).

    The levels share one set of weights; each contains the sparser ones. No training is done. Of an ONNX file
    (model.onnx) a canonical graph is made at once, without torch.
    """
    from elsa_edge.errors import UsageError
    from elsa_edge.levels import Ladder

    ladder = Ladder.parse(levels)  # before the seconds that torch takes to load
    if checkpoint.suffix == ".onnx":
        _sparsify_onnx(
            checkpoint,
            ladder,
            destination,
            granularity=granularity,
            include=include,
            exclude=exclude,
            data=data,
            as_json=as_json,
        )
        return
    if model is None:
        raise UsageError(
            "A checkpoint needs the network that it belongs to", fix="Add --model PKG.MODULE:FACTORY"
        )
    from elsa_edge.factory import build_model
    from elsa_edge.files import sha256_of
    from elsa_edge.sparsify.coverage import sentences
    from elsa_edge.sparsify.data import read_npz
    from elsa_edge.sparsify.oneshot import sparsify
    from elsa_edge.trained import load_dense

    network = build_model(model)
    example = None if not input_shapes else _example(network, input_shapes)
    taken = load_dense(network, checkpoint, weights=weights)
    arrays = None if data is None else read_npz(data)
    nested = sparsify(
        network,
        ladder,
        method=method,
        allocation=allocation,
        granularity=granularity,
        include=include,
        exclude=exclude,
        data=arrays,
        example=example,
        seed=seed,
        provenance={"source": checkpoint.name, "source_sha256": sha256_of(checkpoint), "model": model},
    )
    nested.save(destination)
    notes = [*taken, *nested.provenance["notes"], *sentences(nested.provenance["coverage"])]
    for note in notes:
        say(f"note: {note}")
    print_table(
        f"{destination}: {len(nested.indices)} nested weights",
        ["level", "name", "sparsity", "density"],
        [(k, level.name, level.sparsity, level.density) for k, level in enumerate(nested.ladder)],
    )
    emit(
        {
            "checkpoint": str(destination),
            "nested_weights": sorted(nested.indices),
            "tables": sorted(nested.tables),
            "levels": [
                {"level": k, "name": level.name, "sparsity": level.sparsity, "density": level.density}
                for k, level in enumerate(nested.ladder)
            ],
            "coverage": nested.provenance["coverage"],
            "notes": notes,
        },
        as_json=as_json,
    )


def _example(network: nn.Module, input_shapes: Sequence[str]) -> dict[str, Any]:
    """Return one batch of two samples for a run that is watched."""
    from elsa_edge.graph.binding import bind_inputs
    from elsa_edge.graph.torch_export import example_inputs
    from elsa_edge.tensors import parse_inputs

    return example_inputs(bind_inputs(network, parse_inputs(input_shapes)).inputs, 2)


def _sparsify_onnx(
    source: Path,
    ladder: Ladder,
    destination: Path,
    *,
    granularity: str,
    include: Sequence[str],
    exclude: Sequence[str],
    data: Path | None,
    as_json: bool,
) -> None:
    """Write a canonical graph made of an ONNX file."""
    from elsa_edge.onnx_levels import nest_onnx

    graph, notes = nest_onnx(
        source, ladder, granularity=granularity, include=include, exclude=exclude, inputs=data
    )
    graph.save(destination)
    for note in notes:
        say(f"note: {note}")
    print_table(
        f"{destination}: {len(graph.nested)} nested weights",
        ["level", "name", "sparsity", "density", "FLOPs"],
        [(k, v.name, v.sparsity, v.density, v.flops_fraction) for k, v in enumerate(graph.ladder)],
    )
    emit(
        {
            "model": str(destination),
            "nested_weights": sorted(graph.nested),
            "levels": [
                {"level": k, "name": v.name, "sparsity": v.sparsity, "density": v.density}
                for k, v in enumerate(graph.ladder)
            ],
            "notes": notes,
        },
        as_json=as_json,
    )
