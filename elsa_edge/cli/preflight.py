"""`elsa-edge preflight`: will it be fast on this device? Asked before anything is trained or built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from elsa_edge.cli._common import device_option, emit, json_option, print_table, show
from elsa_edge.cli._progress import telling
from elsa_edge.progress import told

if TYPE_CHECKING:
    from elsa_edge.preflight import Beside, Preflight

__all__ = ["command"]


@click.command(name="preflight", epilog="Example: elsa-edge preflight model.onnx --device raspberry-pi-5")
@click.argument("source", metavar="MODEL|CHECKPOINT|PKG.MODULE:FACTORY")
@device_option
@click.option("--model", metavar="PKG.MODULE:FACTORY", help="The network that a checkpoint belongs to.")
@click.option(
    "--input-shape",
    "input_shapes",
    multiple=True,
    metavar="[NAME=]SHAPE[:DTYPE]",
    help="An input of a checkpoint's network, such as 1x3x224x224; can be repeated.",
)
@click.option(
    "--levels",
    default="0.95,0.9,0.8,0",
    show_default=True,
    help="Sparsities to try on what has no levels yet.",
)
@click.option(
    "--granularity", default="unstructured", show_default=True, help="How to cut them: see `sparsify`."
)
@json_option
def command(
    *,
    source: str,
    device: str,
    model: str | None,
    input_shapes: tuple[str, ...],
    levels: str,
    granularity: str,
    as_json: bool,
) -> None:
    """Say how fast each level would be on a device, which variants make sense there, and what to change.

    Takes a canonical graph (`elsa-edge export`), any ONNX file, a checkpoint with --model and --input-shape, or only
    the factory of a network that is not trained yet. What has no levels is tried with levels by magnitude. With a
    profile that was measured, as `profile` writes it, expected times stand beside measured ones.
    """
    from elsa_edge.levels import Ladder
    from elsa_edge.preflight import Network, beside, examine, graph_of
    from elsa_edge.profiles import load_profile

    profile = load_profile(device)
    ladder = [level.sparsity for level in Ladder.parse(levels)]
    network = Network(source, model, input_shapes, granularity)
    with telling("looking") as tell:
        tell(told(f"reading {network.name}", 0.0))
        found = examine(graph_of(network, ladder), profile, tell=tell)
    both = beside(found, profile)
    _show(found, network.name)
    _show_both(both)
    measured = [asdict(row) | {"error": row.error} for row in both]
    emit(asdict(found) | {"measured": measured}, as_json=as_json)


def _show_both(rows: Sequence[Beside]) -> None:
    if rows:
        print_table(
            f"{rows[0].variant}: ms expected beside those that the profile has",
            ("level", "expected", "measured", "error"),
            [(row.level, row.expected_ms, row.measured_ms, f"{row.error:+.0%}") for row in rows],
        )


def _show(found: Preflight, name: str) -> None:
    """Print the answer first, then what it follows from."""
    for sentence in found.advice:
        show(sentence)
    timed = [verdict for verdict in found.variants if verdict.level_ms]
    names = [level.name for level in found.levels]
    print_table(
        f"{name} on {found.device}: ms expected per inference of one sample",
        ("variant", *names),
        [(verdict.name, *verdict.level_ms) for verdict in timed],
    )
    for basis in dict.fromkeys(verdict.basis for verdict in timed):
        show(f"Where the times come from: {basis}.")
    print_table(
        "What zeros can save at most",
        ("level", "sparsity", "work left", "at most x as fast"),
        [(level.name, level.sparsity, level.flops_fraction, level.most_speedup) for level in found.levels],
    )
    print_table(
        f"Weights that can be sparse: {found.sparse_work:.1%} of the work; ms of their layers",
        ("weight", "shape", "share of work", "blocks", "zeros to gain", "dense ms", *names),
        [
            (
                layer.name,
                "x".join(map(str, layer.shape)),
                layer.work_share,
                " ".join(layer.granularities) or None,
                layer.break_even,
                layer.dense_ms,
                *(layer.level_ms or (None,) * len(names)),
            )
            for layer in found.layers
        ],
    )
    for verdict in found.variants:
        word = "applies" if verdict.applies else "does not apply"
        show(f"{verdict.name} {word}{'' if verdict.listed else ' (not in the profile)'}")
        for reason in verdict.reasons:
            show(f"    {reason}")
