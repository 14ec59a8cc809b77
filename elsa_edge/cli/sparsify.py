"""`elsa-edge sparsify`: dense checkpoint -> nested checkpoint, in one shot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from elsa_edge.cli._common import (
    emit,
    json_option,
    level_rows,
    new_file,
    print_table,
    say,
)
from elsa_edge.cli._progress import telling
from elsa_edge.cli._repairing import cut_as_asked, inputs_of, repair_rows, show_repair, watching
from elsa_edge.files.claims import CANONICAL, NESTED

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
    "--levels",
    required=True,
    metavar="S,S,...",
    help="Sparsities, sparsest first, such as 0.95,0.9,0; auto finds a few that are worth having on --data.",
)
@click.option(
    "--device",
    metavar="DEVICE.yaml",
    help="Of --levels auto: a profile with measured levels of this network; their time decides, not multiply-adds.",
)
@click.option(
    "--method",
    default="magnitude",
    show_default=True,
    help="Score of a weight: magnitude, random, fisher (what the outputs lose without it; needs --data), or auto: "
    "magnitude and fisher with several allocations, the nearest to the dense network on inputs held out of --data.",
)
@click.option("--allocation", help="Sparsity of each layer: global (default), uniform or erk.")
@click.option(
    "--granularity",
    default="unstructured",
    show_default=True,
    help="Cut together: unstructured, 4x1, 1x4 or 4x4 (consecutive output x input channels), channel, or N:M as 2:4.",
)
@click.option(
    "--include",
    multiple=True,
    metavar="PATTERN",
    help="Only these weights or modules, embeddings that are named among them; can be repeated.",
)
@click.option(
    "--exclude", multiple=True, metavar="PATTERN", help="Not these weights or modules; can be repeated."
)
@click.option(
    "--data",
    metavar="FILE.npz|FOLDER|PKG.MODULE:FACTORY",
    help="Inputs without labels: arrays, pictures, or what a factory makes; BatchNorm is re-estimated on them.",
)
@click.option(
    "--input-shape",
    "input_shapes",
    multiple=True,
    metavar="[NAME=]SHAPE[:DTYPE]",
    help="An input such as 1x3x224x224: a run then finds what the network multiplies with, whatever its layers are.",
)
@click.option(
    "--outputs",
    multiple=True,
    metavar="NAME",
    help="Of an ONNX file: end at this tensor, what only others need is cut off; can be repeated.",
)
@click.option(
    "--repair",
    "mode",
    metavar="MODE",
    help="Then repair the levels on --data: tables or weights, see `repair`.",
)
@click.option("--minutes", type=float, help="Of --repair: time for all levels together.")
@click.option("--seed", default=0, show_default=True, help="Of everything that is drawn by lot.")
@new_file(help="The nested checkpoint to write (.safetensors).", kinds=(NESTED, CANONICAL))
@json_option
def command(
    *,
    checkpoint: Path,
    model: str | None,
    weights: str | None,
    levels: str,
    device: str | None,
    method: str,
    allocation: str | None,
    granularity: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    data: str | None,
    input_shapes: tuple[str, ...],
    outputs: tuple[str, ...],
    mode: str | None,
    minutes: float | None,
    seed: int,
    destination: Path,
    as_json: bool,
) -> None:
    """Put nested sparsity levels into the trained CHECKPOINT (a file of torch or safetensors, or a folder of shards).

    The levels share one set of weights; each contains the sparser ones. No training is done, unless --repair asks for
    it. Of an ONNX file (model.onnx) a canonical graph is made at once, without torch.
    """
    from elsa_edge.errors import UsageError
    from elsa_edge.levels import Ladder
    from elsa_edge.profiles import load_profile
    from elsa_edge.repairing.settings import RepairSettings

    if device is not None and levels != "auto":
        raise UsageError("A device's times choose levels", fix="Give --levels auto, or leave --device out")
    if levels != "auto":
        Ladder.parse(levels)  # before the seconds that torch takes to load
    repairing = None if mode is None else RepairSettings(mode=mode, minutes=minutes, seed=seed)
    if repairing is not None and data is None:
        raise UsageError("A repair needs inputs", fix="Add --data")
    made, other = (CANONICAL, NESTED) if checkpoint.suffix == ".onnx" else (NESTED, CANONICAL)
    if destination.suffix in other.suffixes:
        raise UsageError(
            f"{checkpoint} becomes a {made.name}, and {destination} is the name of a {other.name}",
            expected=f"a name that ends in {made.suffixes[0]}",
        )
    if checkpoint.suffix == ".onnx":
        if repairing is not None or "auto" in (levels, method):
            raise UsageError("An ONNX file cannot be tuned", fix="Bring the checkpoint that it was made from")
        _sparsify_onnx(
            checkpoint,
            Ladder.parse(levels),
            destination,
            granularity=granularity,
            include=include,
            exclude=exclude,
            data=None if data is None else Path(data),
            outputs=outputs,
            as_json=as_json,
        )
        return
    if outputs:
        raise UsageError("--outputs is for ONNX files here", fix="Give it to `elsa-edge export`")
    if model is None:
        raise UsageError(
            "A checkpoint needs the network that it belongs to", fix="Add --model PKG.MODULE:FACTORY"
        )
    from elsa_edge.factory import build_model
    from elsa_edge.files import sha256_of
    from elsa_edge.sparsify.coverage import sentences
    from elsa_edge.trained import load_dense, plain_network

    network = build_model(model)
    example = None if not input_shapes else _example(network, input_shapes)
    taken = load_dense(network, checkpoint, weights=weights)
    network = plain_network(network)
    inputs = None if data is None else inputs_of(data, network, input_shapes, "auto")
    settings: dict[str, Any] = {
        "method": method,
        "allocation": allocation,
        "granularity": granularity,
        "include": include,
        "exclude": exclude,
        "seed": seed,
        "provenance": {"source": checkpoint.name, "source_sha256": sha256_of(checkpoint), "model": model},
    }
    measured = None if device is None else load_profile(device)
    with telling("cutting") as tell:
        nested = cut_as_asked(
            network, levels, inputs, example=example, settings=settings, device=measured, tell=tell
        )
    if repairing is not None:
        from elsa_edge.repairing import repair

        with watching() as progress:
            nested = repair(nested, network, inputs, repairing, progress=progress)
        show_repair(destination, nested.provenance)
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
            "levels": level_rows(nested.ladder, ("name", "sparsity", "density")),
            "coverage": nested.provenance["coverage"],
            "repair": None if repairing is None else repair_rows(nested.provenance),
            "notes": notes,
        },
        as_json=as_json,
    )


def _example(network: nn.Module, input_shapes: Sequence[str]) -> dict[str, Any]:
    """Return inputs of the written batch for a run that is watched."""
    from elsa_edge.graph.attempts import runnable_example
    from elsa_edge.graph.binding import bind_inputs
    from elsa_edge.tensors import parse_inputs

    return runnable_example(network, bind_inputs(network, parse_inputs(input_shapes)))


def _sparsify_onnx(
    source: Path,
    ladder: Ladder,
    destination: Path,
    *,
    granularity: str,
    include: Sequence[str],
    exclude: Sequence[str],
    data: Path | None,
    outputs: Sequence[str],
    as_json: bool,
) -> None:
    """Write a canonical graph made of an ONNX file."""
    from elsa_edge.onnx_levels import nest_onnx

    with telling("cutting") as tell:
        graph, notes = nest_onnx(
            source,
            ladder,
            granularity=granularity,
            include=include,
            exclude=exclude,
            inputs=data,
            outputs=outputs,
            progress=tell,
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
            "levels": level_rows(graph.ladder, ("name", "sparsity", "density")),
            "notes": notes,
        },
        as_json=as_json,
    )
