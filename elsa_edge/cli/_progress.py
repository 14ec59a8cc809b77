"""A bar with the time left on a terminal, lines elsewhere; both on stderr, so that stdout keeps the results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from elsa_edge.cli._common import stderr_console

__all__ = ["bar"]


class Step(Protocol):
    """What a long command tells of itself."""

    @property
    def step(self) -> int:
        """Steps that are done."""

    @property
    def steps(self) -> int:
        """Steps in all."""


_E = TypeVar("_E", bound=Step)


@contextmanager
def bar(
    task: str, *, describe: Callable[[_E], str], line: Callable[[_E], None]
) -> Iterator[Callable[[_E], None]]:
    """Yield what is to be called with each event.

    Args:
        task: What is shown before the first event.
        describe: What the bar says of an event.
        line: Writes an event where there is no terminal.
    """
    if not sys.stderr.isatty():
        yield line
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr_console(), transient=True) as progress:
        shown = progress.add_task(task, total=None)

        def show(event: _E) -> None:
            progress.update(shown, completed=event.step, total=event.steps, description=describe(event))

        yield show
