"""ARM without a board: models of loops, instructions, masks, half floats. `python -m benchmarks.arm VERB`."""

from __future__ import annotations

import click

from benchmarks.arm import halves, inferences, loops, masks


@click.group()
def main() -> None:
    """Models of ARM cores and counts under emulation; nothing is measured on a board."""


main.add_command(loops.main, "loops")
main.add_command(inferences.main, "inferences")
main.add_command(masks.main, "masks")
main.add_command(halves.main, "halves")

if __name__ == "__main__":
    main()
