"""One network: its engines opened, timed in turns, and described as rows."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.common import Row, context
from benchmarks.common.prepare import LADDER as FEW_LEVELS
from benchmarks.latency.engines import Absent, Engine, nested_engines, peer_engines, plain_engines
from benchmarks.latency.files import Subject
from benchmarks.latency.memory import memory_row
from benchmarks.latency.timing import here, row_of, take_turns

__all__ = ["Plan", "measure", "measure_memory", "plan_of"]

_PEER_SPARSITIES: Final = (0.95, 0.9, 0.8, 0.0)
_TWO_THREADS_AT: Final = (0.95, 0.9, 0.0)
_WITH_PEERS: Final = ("resnet18", "resnet50", "mobilenet_v2", "mlp")
_QUICK_S: Final = 2.0
_TURNS_S: Final = 10.0
_TURNS_WITH_PEERS_S: Final = 18.0


@dataclass(frozen=True)
class Plan:
    """How much of a network is measured.

    Attributes:
        int8: Also our int8 weights.
        peers: Also the engines of others.
        two_threads: Also on two threads, by the wall clock.
        memory: Also memory.
        turns_s: Seconds of taking turns, for each number of threads.
    """

    int8: bool
    peers: bool
    two_threads: bool
    memory: bool
    turns_s: float


def plan_of(network: str, granularity: str, *, quick: bool) -> Plan:
    """Return what a full or quick run measures of a network with one pattern of zeros."""
    free = granularity == "unstructured"
    if quick:
        return Plan(int8=True, peers=False, two_threads=False, memory=True, turns_s=_QUICK_S)
    return Plan(
        int8=granularity != "channel",
        peers=free and network in _WITH_PEERS,
        two_threads=free,
        memory=free,
        turns_s=_TURNS_WITH_PEERS_S if free and network in _WITH_PEERS else _TURNS_S,
    )


def _rows(engines: Iterable[Engine | Absent], threads: int, turns_s: float) -> list[Row]:
    rows: list[Row] = []
    present: dict[str, Engine] = {}
    for engine in engines:
        if isinstance(engine, Absent):
            rows.append({"engine": engine.name, "note": engine.note})
        else:
            present[f"{engine.name}@{engine.sparsity}"] = engine
    samples = take_turns({key: engine.run for key, engine in present.items()}, budget_s=turns_s)
    for key, engine in present.items():
        base = samples[f"{engine.base}@0.0"]
        row: Row = {"engine": engine.name, "sparsity": engine.sparsity}
        row |= row_of(samples[key], base, threads) | {"base": engine.base}
        if engine.difference is not None:
            row["difference"] = float(f"{engine.difference:.2g}")
        rows.append(row)
    return rows


def _switching(subject: Subject, engines: Iterable[Engine], turns_s: float) -> Row:
    """Time alternating between two levels against the same inferences with each level staying."""
    first, second = (engine.run for engine in engines if engine.sparsity in subject.ladder[1:3])

    def stay() -> None:
        first(2)
        second(2)

    def alternate() -> None:
        for run in (first, second, first, second):
            run(1)

    samples = take_turns({"stay": here(stay), "alternate": here(alternate)}, budget_s=turns_s / 4)
    return {"engine": "switch of level"} | row_of(samples["alternate"], samples["stay"], 1)


def measure(network: str, granularity: str, plan: Plan, folder: Path) -> list[Row]:
    """Return the rows of one network with one pattern of zeros.

    Args:
        network: A name in `NETS`.
        granularity: "unstructured", "block" or "channel".
        plan: How much.
        folder: An existing empty folder for its files.
    """
    subject = Subject(network, granularity, folder)
    files = {name: subject.nested(int8=name.endswith("int8")) for name in _names(plan)}
    rows: list[Row] = []
    with ExitStack() as stack:
        engines: list[Engine | Absent] = list(plain_engines(subject, 1))
        nested = {name: list(nested_engines(subject, name, *files[name], 1)) for name in files}
        engines += [engine for group in nested.values() for engine in group]
        if plan.peers:
            engines += peer_engines(subject, _PEER_SPARSITIES, stack)
        rows += _rows(engines, 1, plan.turns_s)
        rows.append(_switching(subject, nested["ort-nested"], plan.turns_s))
    if plan.two_threads:
        engines = list(plain_engines(subject, 2))
        for name, (place, variant) in files.items():
            made = nested_engines(subject, name, place, variant, 2)
            engines += [engine for engine in made if engine.sparsity in _TWO_THREADS_AT]
        rows += _rows(engines, 2, plan.turns_s / 2)
    if plan.memory:
        rows.append(_memory(subject, files["ort-nested"][0]))
    return _signed(network, granularity, rows)


def measure_memory(network: str, folder: Path) -> list[Row]:
    """Return the memory of a network with few levels: each level that runs densely holds weights of its own."""
    subject = Subject(network, "unstructured", folder, FEW_LEVELS)
    return _signed(network, "memory", [_memory(subject, subject.nested()[0])])


def _memory(subject: Subject, nested: Path) -> Row:
    found = memory_row(subject.fixed(subject.dense), nested, subject.input_path)
    return found | {"levels": len(subject.ladder)}


def _signed(network: str, part: str, rows: list[Row]) -> list[Row]:
    """Add when and on what this part of a run was measured."""
    when: Row = {
        "engine": "when",
        "date_utc": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "commit": context()["commit"],
        "load_1_min": round(os.getloadavg()[0], 2),
    }
    return [{"network": network, "granularity": part} | row for row in (*rows, when)]


def _names(plan: Plan) -> tuple[str, ...]:
    return ("ort-nested", "ort-nested-int8") if plan.int8 else ("ort-nested",)
