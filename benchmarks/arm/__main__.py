"""ARM without a board, `python -m benchmarks.arm VERB`: models, instructions, masks, half floats, shared loads."""

from __future__ import annotations

import click

from benchmarks.arm import clusters, halves, inferences, loops, masks, shared


@click.group()
def main() -> None:
    """Models of ARM cores and counts under emulation; nothing is measured on a board."""


main.add_command(loops.main, "loops")
main.add_command(inferences.main, "inferences")
main.add_command(masks.main, "masks")
main.add_command(halves.main, "halves")
main.add_command(shared.main, "shared")
main.add_command(clusters.main, "clusters")

if __name__ == "__main__":
    main()
