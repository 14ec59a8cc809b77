"""Traces to replay: how slow the device was at each run, how much memory was free. A CSV file or a scenario.

CSV columns, in any order, with a header line: `slowdown` (latency over the reference, the same for all levels), or
`latency_ms` and `level` as recorded on a device; optionally `idle_ms` (pause before the run), `available_mb`,
`pressure_percent`, `temperature_c`. An empty cell is "unknown". The columns that `elsa-edge run --record` adds
about its decisions and its origin are passed over: a replay decides anew.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from elsa_edge.control.record import DECISION_COLUMNS, ORIGIN_COLUMNS
from elsa_edge.errors import InputError, UnknownNameError, closest

__all__ = ["SCENARIOS", "Sample", "bundles_of", "read_trace", "scenario"]

_MB: Final = 1e6
_LARGEST: Final = 1e12  # of any column; times that add up to what is no number cannot be replayed
_NOISE: Final = 0.05  # log standard deviation of a single run on a quiet device
_COLUMNS: Final = (
    "slowdown",
    "latency_ms",
    "level",
    "idle_ms",
    "available_mb",
    "pressure_percent",
    "temperature_c",
)


class Sample(NamedTuple):
    """What the device is like at one run.

    Attributes:
        slowdown: Latency over the reference, for every level, above 0.
        idle_ms: Pause before the run.
        available_bytes: Free memory if the smallest level were in use; None for unknown.
        pressure_percent: Memory stall; None for unknown.
        temperature_c: None for unknown.
    """

    slowdown: float
    idle_ms: float = 0.0
    available_bytes: float | None = None
    pressure_percent: float | None = None
    temperature_c: float | None = None


def read_trace(path: Path, reference_ms: Sequence[float]) -> list[Sample]:
    """Read a CSV trace.

    Args:
        path: The file.
        reference_ms: Reference latency of each level, (levels,), to turn recorded latencies into slow-downs.

    Raises:
        InputError: When the file is missing, has unknown columns, or a value that cannot be; names the line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, strict=True)
            columns = tuple(name.strip() for name in reader.fieldnames or ())
            reader.fieldnames = columns
            _check_columns(path, columns)
            samples = [_sample(f"{path}, line {reader.line_num}", row, reference_ms) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The trace {path} cannot be read ({error})") from error
    if not samples:
        raise InputError(f"The trace {path} is empty", expected="a header line and one line per run")
    return samples


def bundles_of(path: Path) -> tuple[str, ...]:
    """Return the identities of the bundles that a recorded trace is of; none where it does not say.

    Args:
        path: A file that `read_trace` takes.
    """
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream, strict=True)
        reader.fieldnames = tuple(name.strip() for name in reader.fieldnames or ())
        named = [row.get(ORIGIN_COLUMNS[0]) for row in reader]
    return tuple(dict.fromkeys(name for name in named if name))


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    for name in columns:
        if name not in (*_COLUMNS, *DECISION_COLUMNS, *ORIGIN_COLUMNS):
            near = closest(name, _COLUMNS)
            raise InputError(
                f"The trace {path} has an unknown column {name!r}",
                allowed=_COLUMNS,
                fix=f"Nearest: {near!r}" if near else None,
            )
    if len(set(columns)) != len(columns) or not (
        "slowdown" in columns or {"latency_ms", "level"} <= set(columns)
    ):
        raise InputError(
            f"The trace {path} needs other columns",
            expected="slowdown, or latency_ms and level, each once",
            found=", ".join(columns) or "none",
        )


def _sample(where: str, row: Mapping[str | None, str | None], reference_ms: Sequence[float]) -> Sample:
    values = {key: _number(where, key, row.get(key), _lowest(key)) for key in _COLUMNS}
    if None in row:
        raise InputError(f"{where}: more cells than columns")
    slowdown = values["slowdown"]
    if slowdown is None:
        latency, level = values["latency_ms"], values["level"]
        if latency is None or level is None:
            raise InputError(f"{where}: a run needs a slowdown, or a latency_ms and a level")
        if level != int(level) or not 0 <= level < len(reference_ms):
            raise InputError(f"{where}: no such level", expected=f"0 to {len(reference_ms) - 1}", found=level)
        slowdown = latency / reference_ms[int(level)]
    if slowdown <= 0.0:
        raise InputError(
            f"{where}: a run takes some time", expected="a slowdown or latency above 0", found=slowdown
        )
    available = values["available_mb"]
    return Sample(
        slowdown,
        values["idle_ms"] or 0.0,
        None if available is None else available * _MB,
        values["pressure_percent"],
        values["temperature_c"],
    )


def _lowest(column: str) -> float:
    return -math.inf if column == "temperature_c" else 0.0


def _number(where: str, column: str, cell: str | None, lowest: float) -> float | None:
    if cell is None or not cell.strip():
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not lowest <= value <= _LARGEST:
        raise InputError(
            f"{where}: {column} must be a number from {max(lowest, -273.0):g} to {_LARGEST:g}",
            found=repr(cell),
        )
    return value


def _steady(generator: random.Random, slowdowns: Iterable[float], **others: float) -> list[Sample]:
    return [Sample(value * math.exp(generator.gauss(0.0, _NOISE)), **others) for value in slowdowns]


def _constant(runs: int, generator: random.Random) -> list[Sample]:
    return _steady(generator, [1.0] * runs)


def _step(runs: int, generator: random.Random) -> list[Sample]:
    """Another program takes half of the core for the middle third."""
    return _steady(generator, (2.0 if runs <= 3 * i < 2 * runs else 1.0 for i in range(runs)))


def _ramp(runs: int, generator: random.Random) -> list[Sample]:
    """Slowly up to 2.5 times as slow, and back."""
    return _steady(
        generator, (1.0 + 1.5 * (1.0 - abs(2.0 * i / max(1, runs - 1) - 1.0)) for i in range(runs))
    )


def _burst(runs: int, generator: random.Random) -> list[Sample]:
    """Bursts of 5 to 40 runs at 1.5 to 3 times the latency, about a fifth of the time."""
    slowdowns: list[float] = []
    while len(slowdowns) < runs:
        slowdowns += [1.0] * generator.randint(40, 160)
        slowdowns += [generator.uniform(1.5, 3.0)] * generator.randint(5, 40)
    return _steady(generator, slowdowns[:runs])


def _heavy_tail(runs: int, generator: random.Random) -> list[Sample]:
    """One run in 25 is delayed by a Pareto-distributed factor, up to 20."""
    return _steady(
        generator,
        (min(20.0, generator.paretovariate(1.5)) if generator.random() < 0.04 else 1.0 for _ in range(runs)),
    )


def _thermal(runs: int, generator: random.Random) -> list[Sample]:
    """The clock falls in steps as the device heats up, and recovers once."""
    samples = []
    for i in range(runs):
        stage = 6 * i // runs
        slowdown, celsius = ((1.0, 55.0), (1.0, 68.0), (1.3, 78.0), (1.7, 84.0), (1.3, 79.0), (1.0, 66.0))[
            stage
        ]
        samples.append(Sample(slowdown * math.exp(generator.gauss(0.0, _NOISE)), temperature_c=celsius))
    return samples


def _memory_squeeze(runs: int, generator: random.Random, reserve_bytes: float) -> list[Sample]:
    """For the middle third only 16 MB are free beyond the reserve; the system stalls while memory falls."""
    samples = []
    for i in range(runs):
        inside = runs <= 3 * i < 2 * runs
        falling = inside and 3 * i < runs + max(3, runs // 10)
        samples.append(
            Sample(
                math.exp(generator.gauss(0.0, _NOISE)),
                available_bytes=reserve_bytes + (16.0 if inside else 1000.0) * _MB,
                pressure_percent=20.0 if falling else 0.0,
            )
        )
    return samples


SCENARIOS: Final = ("constant", "step", "ramp", "burst", "heavy-tail", "thermal", "memory-squeeze")
_MAKERS: Final[Mapping[str, Callable[[int, random.Random], list[Sample]]]] = {
    "constant": _constant,
    "step": _step,
    "ramp": _ramp,
    "burst": _burst,
    "heavy-tail": _heavy_tail,
    "thermal": _thermal,
}


def scenario(name: str, runs: int, seed: int = 0, *, reserve_bytes: float = 32.0 * _MB) -> list[Sample]:
    """Return a made-up trace; the same arguments give the same trace.

    Args:
        name: One of `SCENARIOS`.
        runs: Its length.
        seed: Of the noise.
        reserve_bytes: The policy's memory reserve, which the memory squeeze comes close to.

    Raises:
        UnknownNameError: When there is no such scenario.
    """
    if name not in SCENARIOS:
        raise UnknownNameError("scenario", name, SCENARIOS)
    generator = random.Random(seed)  # noqa: S311 - a simulation needs no secret randomness
    if name == "memory-squeeze":
        return _memory_squeeze(runs, generator, reserve_bytes)
    return _MAKERS[name](runs, generator)
