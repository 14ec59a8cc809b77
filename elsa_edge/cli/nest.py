"""`elsa-edge nest`: several checkpoints of one network, sparsest first -> one nested checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from elsa_edge.cli._common import (
    emit,
    json_option,
    level_rows,
    new_file,
    print_table,
    say,
)
from elsa_edge.files.claims import NESTED

__all__ = ["command"]


@click.command(
    "nest",
    epilog="Example: elsa-edge nest s95.pt s90.pt dense.pt --model nets:resnet20 -o nested.safetensors",
)
@click.argument("checkpoints", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--model", required=True, metavar="PKG.MODULE:FACTORY", help="Makes the network; takes no arguments."
)
@click.option("--weights", metavar="NAME", help="Which weights, where a file has several: ema, or a place.")
@new_file(help="The nested checkpoint to write (.safetensors).", kinds=(NESTED,))
@json_option
def command(
    *, checkpoints: tuple[Path, ...], model: str, weights: str | None, destination: Path, as_json: bool
) -> None:
    """Make a ladder of CHECKPOINTS that are nested already, sparsest first.

    Each level must hold the same values as the next on the weights that it has. Where that is not so, the error says
    in which tensors, how many weights and by how much. Densities count the weights that are not zero.
    """
    from elsa_edge.errors import UsageError
    from elsa_edge.factory import build_model
    from elsa_edge.files import sha256_of
    from elsa_edge.sparsify.joining import join
    from elsa_edge.sparsify.oneshot import arrays_of
    from elsa_edge.sparsify.prunable import choose, find_prunable
    from elsa_edge.trained import load_dense, plain_network, tensors_of

    network = build_model(model)
    states: list[dict[str, Any]] = []
    notes: list[str] = []
    for path in checkpoints:
        notes += [f"{path.name}: {sentence}" for sentence in load_dense(network, path, weights=weights)]
        states.append(arrays_of(network))
    plain = plain_network(network)
    if set(tensors_of(plain)) != set(states[-1]):
        raise UsageError(
            "The network computes its weights from others (weight_norm, masks of torch's pruning)",
            fix="Save plain weights: torch.nn.utils.parametrize.remove_parametrizations, or prune.remove",
        )
    found = choose(find_prunable(plain))
    facts = {
        "command": "nest",
        "model": model,
        "sources": [{"name": path.name, "sha256": sha256_of(path)} for path in checkpoints if path.is_file()],
        "notes": notes,
    }
    names = [name for weight in found for name in (weight.name, *weight.aliases)]
    nested = join(states, [path.name for path in checkpoints], names, facts)
    nested.save(destination)
    for note in notes:
        say(f"note: {note}")
    print_table(
        f"{destination}: {len(nested.indices)} nested weights, {len(nested.tables)} tables",
        ["level", "name", "density", "from"],
        [
            (k, level.name, level.density, path.name)
            for k, (level, path) in enumerate(zip(nested.ladder, checkpoints, strict=True))
        ],
    )
    emit(
        {
            "checkpoint": str(destination),
            "nested_weights": sorted(nested.indices),
            "tables": sorted(nested.tables),
            "levels": level_rows(nested.ladder, ("name", "sparsity", "density")),
            "notes": notes,
        },
        as_json=as_json,
    )
