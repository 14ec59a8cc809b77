"""`python -m elsa_edge`: the command line where the script `elsa-edge` is not on PATH."""

from __future__ import annotations

from elsa_edge.cli import main

if __name__ == "__main__":
    main()
