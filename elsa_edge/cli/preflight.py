"""`elsa-edge preflight`: will it be fast on this device? Asked before anything is trained or built."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from elsa_edge.cli._common import device_option, emit, json_option, print_table, show

__all__ = ["command"]


@click.command(name="preflight", epilog="Example: elsa-edge preflight model.onnx --device raspberry-pi-5")
@click.argument("model", type=click.Path(path_type=Path))
@device_option
@click.option(
    "--levels", default="0.95,0.9,0.8,0", show_default=True, help="Sparsities to try on a plain ONNX file."
)
@json_option
def command(*, model: Path, device: str, levels: str, as_json: bool) -> None:
    """Say which variants of MODEL make sense on a device, why the others do not, and what zeros can save at most.

    MODEL is a canonical graph (`elsa-edge export`) or any ONNX file, which is tried with levels by magnitude.
    """
    from elsa_edge.levels import Ladder
    from elsa_edge.preflight import examine, graph_of
    from elsa_edge.profiles import load_profile

    profile = load_profile(device)
    ladder = [level.sparsity for level in Ladder.parse(levels)]
    found = examine(graph_of(model, ladder), profile)
    print_table(
        f"{model.name} on {found.device}: what zeros can save at most",
        ("level", "sparsity", "work left", "at most x as fast"),
        [(level.name, level.sparsity, level.flops_fraction, level.most_speedup) for level in found.levels],
    )
    print_table(
        f"Weights that can be sparse: {found.sparse_work:.1%} of the work",
        ("weight", "shape", "share of work", *(level.name for level in found.levels)),
        [
            (layer.name, "x".join(map(str, layer.shape)), layer.work_share, *layer.densities)
            for layer in found.layers
        ],
    )
    for verdict in found.variants:
        word = "applies" if verdict.applies else "does not apply"
        show(f"{verdict.name} {word}{'' if verdict.listed else ' (not in the profile)'}")
        for reason in verdict.reasons:
            show(f"    {reason}")
    for sentence in found.advice:
        show(sentence)
    emit(asdict(found), as_json=as_json)
