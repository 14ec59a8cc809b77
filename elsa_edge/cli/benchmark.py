"""`elsa-edge benchmark`: compare engines on this board, and write one file to contribute."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from elsa_edge.cli._common import emit, json_option, new_file, print_table, say
from elsa_edge.cli._progress import telling
from elsa_edge.files.claims import NOTHING

__all__ = ["command"]

_QUICK_ROW_S = 0.2
_QUICK_SUSTAINED_S = 1.0


@click.command("benchmark", epilog="Example: elsa-edge benchmark --suite board -o my-board.json")
@click.option("--suite", type=click.Choice(["board"]), required=True, help="What is compared.")
@click.option(
    "--kit",
    type=click.Path(path_type=Path),
    help="A folder of bundles to compare with; by default a small network that comes with elsa-edge.",
)
@click.option("--quick", is_flag=True, help="Only try everything: seconds, and no figures worth keeping.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="Minutes of work at the end, for heat and throttling. 0: none.",
)
@click.option(
    "--threads", type=click.IntRange(1, 64), help="Threads of every engine. Default: cores, at most 4."
)
@new_file(help="The file to contribute.", kinds=(NOTHING,))
@json_option
def command(
    *,
    suite: str,
    kit: Path | None,
    quick: bool,
    minutes: float,
    threads: int | None,
    destination: Path,
    as_json: bool,
) -> None:
    """Compare our kernels with ONNX Runtime, LiteRT and ncnn on this board: float32 and int8, at every level.

    Each engine takes turns with dense float32 in a process of its own. An engine that is not installed is left out, and
    said. Heat, a lower clock, throttling and swapping are noticed. The file names no person, host or network.
    """
    import json

    from elsa_edge.board import Suite, run_suite
    from elsa_edge.board.kit import kit_nets, own_kit
    from elsa_edge.files import write_bytes

    del suite  # there is one
    wanted = Suite(sustained_s=60 * minutes)
    if quick:
        wanted = Suite(row_s=_QUICK_ROW_S, sustained_s=min(60 * minutes, _QUICK_SUSTAINED_S), quick=True)
    if threads is not None:
        wanted = replace(wanted, threads=threads)
    with ExitStack() as stack:
        folder = kit or stack.enter_context(own_kit())
        tell = stack.enter_context(telling("comparing"))
        result = run_suite(kit_nets(folder), wanted, tell)
    write_bytes(destination, (json.dumps(result, indent=1) + "\n").encode())
    _show(result)
    say(f"{destination}: to contribute it, put it into device_profiles/measured (docs/boards.md)")
    emit({"output": str(destination), **result}, as_json=as_json)


def _show(result: dict[str, Any]) -> None:
    board = result["board"]
    print_table(
        f"{board['model']}, {result['threads']} threads, {board['userland_bits']}-bit programs",
        ("network", "engine", "precision", "level", "p50 ms", "times as fast", "doubtful"),
        [
            (
                row["network"], " ".join(filter(None, (row["engine"], row["choice"]))), row["precision"],
                row["level"], row["p50_ms"], row["times_as_fast_as_dense"], "; ".join(row["flags"]),
            )
            for row in result["rows"]
        ],
    )  # fmt: skip
    for one in result["left_out"]:
        say(f"{one['network']}: {one['what']} is left out: {one['reason']}")
    for flag in (result["sustained"] or {}).get("flags", []):
        say(f"minutes of work: {flag}")
