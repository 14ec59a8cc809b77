"""Logs of a training: a CSV file (default) or TensorBoard, one row an epoch."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from elsa_edge.errors import RuntimeUnavailableError

__all__ = ["Log", "open_log"]


class Log(Protocol):
    """Takes rows."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Add one epoch: segment, epoch, loss, accuracy, lr, seconds."""


class _Nothing:
    def write(self, row: Mapping[str, Any]) -> None:
        """Processes other than the first keep no log."""


class _Csv:
    def __init__(self, path: Path, *, resumed: bool) -> None:
        self._path = path
        self._rows = _kept_rows(path) if resumed else []

    def write(self, row: Mapping[str, Any]) -> None:
        """Write the file again whole, so that a kill never leaves half a row;

        an epoch trained twice shows once.
        """
        key = (row["segment"], str(row["epoch"]))
        self._rows = [r for r in self._rows if (r["segment"], str(r["epoch"])) != key] + [dict(row)]
        from elsa_edge.files import atomic_file

        with atomic_file(self._path) as temporary, temporary.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(row))
            writer.writeheader()
            writer.writerows(self._rows)


def _kept_rows(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


class _TensorBoard:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def write(self, row: Mapping[str, Any]) -> None:
        """Add one point to each curve of the segment."""
        for name in ("loss", "accuracy", "lr"):
            self._writer.add_scalar(f"{row['segment']}/{name}", row[name], row["epoch"])


@contextlib.contextmanager
def open_log(kind: str, folder: Path, *, resumed: bool, active: bool) -> Iterator[Log]:
    """Open `log.csv` or TensorBoard files in a folder.

    Raises:
        RuntimeUnavailableError: When TensorBoard is asked for and not installed.
    """
    if not active:
        yield _Nothing()
        return
    if kind == "csv":
        yield _Csv(folder / "log.csv", resumed=resumed)
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise RuntimeUnavailableError(
            "TensorBoard is not installed", fix="pip install tensorboard, or set log: csv"
        ) from error
    writer = SummaryWriter(str(folder / "tensorboard"))
    try:
        yield _TensorBoard(writer)
    finally:
        writer.close()
