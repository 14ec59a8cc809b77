"""`python -m benchmarks` says which benchmarks there are; each is run as `python -m benchmarks.NAME`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import click

__all__ = ["found", "main"]


def found() -> Iterator[tuple[str, str]]:
    """Yield each program of this folder and the first sentence of its docstring."""
    here = Path(__file__).parent
    for path in sorted([*here.glob("*.py"), *here.glob("*/__main__.py")]):
        text = path.read_text(encoding="utf-8")
        if path == Path(__file__) or path.parent.name == "common" or 'if __name__ == "__main__":' not in text:
            continue
        said = (ast.get_docstring(ast.parse(text)) or "").splitlines()[0]
        yield path.parent.name if path.name == "__main__.py" else path.stem, said


@click.command()
def main() -> None:
    """Say which benchmarks there are."""
    for name, said in found():
        click.echo(f"{name:12} {said}")


if __name__ == "__main__":
    main()
