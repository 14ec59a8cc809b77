"""ARM without a board: models of loops, instructions of inferences, masks. `python -m benchmarks.arm VERB`."""

from __future__ import annotations

import click

from benchmarks.arm import inferences, loops, masks


@click.group()
def main() -> None:
    """Models of ARM cores and counts under emulation; nothing is measured on a board."""


main.add_command(loops.main, "loops")
main.add_command(inferences.main, "inferences")
main.add_command(masks.main, "masks")

if __name__ == "__main__":
    main()
