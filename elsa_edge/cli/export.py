"""`elsa-edge export`: nested checkpoint -> canonical graph, proved equal to torch at every level."""

from __future__ import annotations

from pathlib import Path

import click

from elsa_edge.claims import CANONICAL
from elsa_edge.cli._common import emit, json_option, new_file, print_table

__all__ = ["command"]


@click.command(
    "export",
    epilog="Example: elsa-edge export nested.safetensors --model nets:resnet20 --input-shape 1x3x32x32 -o model.onnx",
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--model", required=True, metavar="PKG.MODULE:FACTORY", help="Makes the network; takes no arguments."
)
@click.option(
    "--input-shape",
    "input_shapes",
    required=True,
    multiple=True,
    metavar="[NAME=]SHAPE[:DTYPE]",
    help="An input, the batch first, such as 1x3x224x224 or tokens=1x24:int64. NAME is the argument of forward that it "
    "feeds; without one, the next that is free. Arguments left out keep their default.",
)
@new_file(help="The ONNX file to write.", kinds=(CANONICAL,))
@json_option
def command(
    *, checkpoint: Path, model: str, input_shapes: tuple[str, ...], destination: Path, as_json: bool
) -> None:
    """Write the nested CHECKPOINT as one ONNX graph with a level input.

    The graph is compared with torch at every level before it is written.
    """
    from elsa_edge.tensors import parse_inputs

    inputs = parse_inputs(input_shapes)  # before the seconds that torch takes to load
    from elsa_edge.checkpoint import NestedCheckpoint
    from elsa_edge.factory import build_model
    from elsa_edge.files import sha256_of
    from elsa_edge.graph.export import export_canonical

    nested = NestedCheckpoint.load(checkpoint)
    graph = export_canonical(nested, build_model(model), inputs)
    graph = graph.with_provenance(
        checkpoint=checkpoint.name, checkpoint_sha256=sha256_of(checkpoint), model=model
    )
    graph.save(destination)
    print_table(
        f"{destination}: {len(graph.nested)} nested weights, {', '.join(map(str, graph.inputs.values()))}",
        ["level", "name", "sparsity", "density", "FLOPs"],
        [(k, v.name, v.sparsity, v.density, v.flops_fraction) for k, v in enumerate(graph.ladder)],
    )
    emit(
        {
            "model": str(destination),
            "inputs": {name: str(spec) for name, spec in graph.inputs.items()},
            "outputs": {name: str(spec) for name, spec in graph.outputs.items()},
            "nested_weights": sorted(graph.nested),
            "tables": sorted(graph.tables),
            "levels": [
                {
                    "level": k,
                    "name": level.name,
                    "sparsity": level.sparsity,
                    "density": level.density,
                    "flops_fraction": level.flops_fraction,
                }
                for k, level in enumerate(graph.ladder)
            ],
        },
        as_json=as_json,
    )
