"""The record behind every report: plain numbers with their conditions. Its JSON is also the form for CI.

Page, Markdown and comparison only read a record; whoever measures or gathers only makes one. Times are milliseconds,
memory and sizes bytes, shares 0 to 1. None means: not known.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from elsa_edge.errors import InputError
from elsa_edge.visible import VisibleName

__all__ = [
    "FORMAT",
    "Check",
    "LayerFact",
    "LayerTime",
    "LevelFact",
    "Missing",
    "Record",
    "Row",
    "Run",
    "Window",
    "now_utc",
    "read_record",
]

FORMAT: Final = "elsa-edge report 1"

Share = Annotated[float, Field(ge=0, le=1)]
Ms = Annotated[float, Field(ge=0)]
Bytes = Annotated[int, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LevelFact(_Strict):
    """A level, whatever runs it."""

    name: VisibleName
    sparsity: Share | None = None
    density: Share | None = None
    flops_fraction: Share | None = None
    accuracy: Share | None = None
    accuracy_low: Share | None = None
    accuracy_high: Share | None = None
    accuracy_samples: int | None = Field(default=None, ge=1)
    metric: str | None = None


class LayerFact(_Strict):
    """A nested weight and the share of it that each level uses, sparsest first."""

    name: VisibleName
    shape: tuple[int, ...]
    densities: tuple[Share, ...]


class LayerTime(_Strict):
    """What a layer of a variant takes at each level, by the runtime's own profiling; None where it does not run.

    Its name is that of its nested weight (a `LayerFact`), or of the runtime's operator where it has none.
    """

    variant: str
    name: str
    kind: str = ""
    level_ms: tuple[Ms | None, ...]


class Row(_Strict):
    """One level of one variant as it ran on the device."""

    variant: str
    runtime: str
    precision: str
    level: int = Field(ge=0)
    runs: int | None = Field(default=None, ge=0)
    p50_ms: Ms | None = None
    p90_ms: Ms | None = None
    p95_ms: Ms | None = None
    p99_ms: Ms | None = None
    first_ms: Ms | None = None
    cold_ms: Ms | None = None
    switch_ms: Ms | None = None
    memory_bytes: Bytes | None = None
    weight_bytes: Bytes | None = None
    file_bytes: Bytes | None = None
    accuracy: Share | None = None


class Check(_Strict):
    """How one level of a variant compares with the golden outputs; `skipped` says why it could not be compared."""

    variant: str
    level: int | None = None
    max_difference: float | None = None
    allowed: float | None = None
    agreement: Share | None = None
    ok: bool
    skipped: str | None = None


class Window(_Strict):
    """A stretch of uninterrupted inferences at one level."""

    until_s: float = Field(ge=0)
    p50_ms: Ms
    p95_ms: Ms
    runs: int = Field(ge=1)


class Run(_Strict):
    """What the controller did in one recorded run."""

    at_ms: float = Field(ge=0)
    level: int = Field(ge=0)
    latency_ms: Ms
    reason: str | None = None
    available_mb: float | None = None
    late: bool | None = None


class Missing(_Strict):
    """Something that the report would show if it were known, and the command that finds it out."""

    what: str
    how: str


class Record(_Strict):
    """Everything a report shows."""

    format: Literal["elsa-edge report 1"] = FORMAT
    name: str
    device: str
    bundle: str | None = None
    made_utc: str
    budget_ms: Ms | None = None
    levels: tuple[LevelFact, ...] = Field(min_length=1, max_length=255)
    rows: tuple[Row, ...] = ()
    layers: tuple[LayerFact, ...] = ()
    layer_times: tuple[LayerTime, ...] = ()
    checks: tuple[Check, ...] = ()
    sustained_variant: str | None = None
    sustained_level: int | None = None
    sustained: tuple[Window, ...] = ()
    runs: tuple[Run, ...] = ()
    runs_bundle: str | None = None
    conditions: dict[str, Any] = Field(default_factory=dict)
    provenance: dict[str, Any] = Field(default_factory=dict)
    missing: tuple[Missing, ...] = ()

    @model_validator(mode="after")
    def _levels_exist(self) -> Record:
        """Every row, check and run is of a level that the record has; every layer has a density and a time for each."""
        count = len(self.levels)
        numbers = [
            *(row.level for row in self.rows),
            *(check.level for check in self.checks if check.level is not None),
            *(run.level for run in self.runs),
        ]
        if numbers and max(numbers) >= count:
            raise ValueError(f"level {max(numbers)} is not one of the {count} levels")
        for layer in self.layers:
            if len(layer.densities) != count:
                raise ValueError(f"{layer.name} needs {count} densities, one per level")
        for timed in self.layer_times:
            if len(timed.level_ms) != count:
                raise ValueError(f"{timed.name} needs {count} times, one per level")
        seen = [(row.variant, row.level) for row in self.rows]
        if len(set(seen)) != len(seen):
            raise ValueError("a level of a variant has two rows")
        return self

    @property
    def measured(self) -> tuple[Row, ...]:
        """Rows whose latency is known."""
        return tuple(row for row in self.rows if row.p50_ms is not None)

    def accuracy(self, row: Row) -> float | None:
        """Return the accuracy of a row: its own where it was measured, else that of its level."""
        return row.accuracy if row.accuracy is not None else self.levels[row.level].accuracy

    def label(self, row: Row) -> str:
        """Return what people call a row: `ort-nested s90`."""
        return f"{row.variant} {self.levels[row.level].name}"


def now_utc() -> str:
    """Return the time of making, to the second."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


_LARGEST_BYTES: Final = 64 << 20
_OPEN: Final = b'<script type="application/json" id="record">'
_CLOSE: Final = b"</script>"


def read_record(path: Path) -> Record:
    """Read the record in a report: a `.json`, or a page made by this program, which carries it.

    Raises:
        InputError: When there is none, or it is cut off or of another kind.
    """
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise InputError(f"{path} is too large to be a report", expected="at most 64 MB")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"The report {path} cannot be read ({error.strerror})") from error
    if path.suffix.lower() in (".html", ".htm"):
        _, found, rest = content.partition(_OPEN)
        content, closed, _ = rest.partition(_CLOSE)
        if not found or not closed:
            raise InputError(
                f"{path} is not a report of elsa-edge", expected="a page that carries its record"
            )
        content = content.replace(b"\\u003c", b"<")
    try:
        return Record.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{path} is not a whole report of elsa-edge ({where + ': ' if where else ''}{first['msg']})",
            expected=f'JSON of format "{FORMAT}"',
            fix="Make it again: elsa-edge report BUNDLE --measure -o report.json",
        ) from error
