"""A bar with the time left on a terminal, lines elsewhere, nothing with `--json`; all on stderr.

bar         for events that are counted: steps of a training
telling     for lines, some of which say how far the work is (`elsa_edge.progress`)
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

from elsa_edge.cli._common import say, stderr_console, wants_json
from elsa_edge.progress import Tell, Told

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["bar", "telling"]


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
    if wants_json():
        yield lambda _: None
        return
    if not sys.stderr.isatty():
        yield line
        return
    with _shown("{task.completed}/{task.total}") as progress:
        number = progress.add_task(task, total=None)

        def show(event: _E) -> None:
            progress.update(number, completed=event.step, total=event.steps, description=describe(event))

        yield show


@contextmanager
def telling(task: str) -> Iterator[Tell]:
    """Yield what is to be called with each line.

    On a terminal the lines stay above a bar, which fills as far as they say and goes when the work ends.

    Args:
        task: What is done, two or three words.
    """
    if wants_json():
        yield lambda _: None
        return
    if not sys.stderr.isatty():
        yield say
        return
    with _shown("{task.percentage:>3.0f} %") as progress:
        number = progress.add_task(task, total=None)

        def show(line: str) -> None:
            progress.console.print(line, soft_wrap=True)
            if isinstance(line, Told):
                progress.update(number, completed=line.share, total=1.0)

        yield show


def _shown(count: str) -> Progress:
    """Return rich's bar, which removes itself."""
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(count),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=stderr_console(),
        transient=True,
    )
