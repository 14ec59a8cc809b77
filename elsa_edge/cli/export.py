"""`elsa-edge export`: nested checkpoint -> canonical graph, proved equal to torch at every level."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
from elsa_edge.files.claims import CANONICAL

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
    help="An input, the batch first, such as 1x3x224x224 or tokens=1x24:int64. Capitals are sizes that stay free: "
    "tokens=1xS:int64, 1x3xHxW; N is the batch where it is not the first: h=2xNx64. NAME is the argument of forward "
    "that it feeds; without one, the next that is free. Arguments left out keep their default.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    help="Fix the batch at this number. By default a free batch is tried, then a fixed one.",
)
@click.option(
    "--size",
    "sizes",
    multiple=True,
    metavar="NAME=N,N,...",
    help="Prove the graph with these numbers of a free size; by default some that the network takes.",
)
@click.option(
    "--outputs",
    multiple=True,
    metavar="NAME",
    help="Keep only this output, or cut the network behind this module; repeatable.",
)
@click.option(
    "--data",
    "--inputs",
    "data",
    type=click.Path(path_type=Path),
    help="Real inputs (.npz, one array an input) for the trace and the proof, where random ones do not suit.",
)
@new_file(help="The ONNX file to write.", kinds=(CANONICAL,))
@json_option
def command(
    *,
    checkpoint: Path,
    model: str,
    input_shapes: tuple[str, ...],
    batch: int | None,
    sizes: tuple[str, ...],
    outputs: tuple[str, ...],
    data: Path | None,
    destination: Path,
    as_json: bool,
) -> None:
    """Write the nested CHECKPOINT as one ONNX graph with a level input.

    The graph is compared with torch at every level before it is written.
    """
    from elsa_edge.inputs import read_arrays
    from elsa_edge.tensors import parse_inputs

    inputs = parse_inputs(input_shapes)  # before the seconds that torch takes to load
    numbers = _numbers(sizes)
    real = None if data is None else read_arrays(data)
    from elsa_edge.checkpoint import NestedCheckpoint
    from elsa_edge.factory import build_model
    from elsa_edge.files import sha256_of
    from elsa_edge.graph.export import export_canonical

    nested = NestedCheckpoint.load(checkpoint)
    with telling("exporting") as tell:
        graph = export_canonical(
            nested,
            build_model(model),
            inputs,
            examples=real,
            batch=batch,
            sizes=numbers,
            outputs=outputs,
            progress=tell,
        )
    graph = graph.with_provenance(
        checkpoint=checkpoint.name, checkpoint_sha256=sha256_of(checkpoint), model=model
    )
    graph.save(destination)
    facts = graph.provenance["export"]
    for note in facts["notes"]:
        say(f"note: {note}")
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
            "batch": facts["batch"],
            "proved_sizes": facts["proved_sizes"],
            "notes": facts["notes"],
            "nested_weights": sorted(graph.nested),
            "tables": sorted(graph.tables),
            "levels": level_rows(graph.ladder, ("name", "sparsity", "density", "flops_fraction")),
        },
        as_json=as_json,
    )


def _numbers(texts: Sequence[str]) -> dict[str, list[int]]:
    """Read `S=8,32` into {"S": [8, 32]}."""
    from elsa_edge.errors import UsageError

    numbers: dict[str, list[int]] = {}
    for text in texts:
        name, _, listed = text.partition("=")
        parts = [part.strip() for part in listed.split(",")]
        if not name or not all(part.isdigit() and int(part) > 1 for part in parts):
            raise UsageError(
                "A size is not readable",
                expected="NAME=N,N,... such as S=8,32, each of them 2 or more: 1 would not show that the size is free",
                found=repr(text),
            )
        numbers[name] = [int(part) for part in parts]
    return numbers
