"""`elsa-edge run`: run a bundle under the controller."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from elsa_edge.cli._common import SECONDS, cache_option, emit, json_option, print_table, say, show
from elsa_edge.cli._progress import bar
from elsa_edge.errors import InputError
from elsa_edge.files.claims import Kind, claim

if TYPE_CHECKING:
    from elsa_edge.control.record import JsonLog, TraceRecorder
    from elsa_edge.session import AdaptiveSession

__all__ = ["command"]


@click.command(
    name="run",
    epilog="Example: elsa-edge run bundle/ --device raspberry-pi-5 --input photo.npz --seconds 10",
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--device", metavar="NAME_OR_YAML", help="Device profile; by default the one the bundle was built for."
)
@click.option(
    "--input",
    "inputs",
    type=click.Path(path_type=Path),
    help="Inputs (.npz, one array per input); by default golden.",
)
@click.option("--seconds", type=SECONDS, help="Repeat for so long; by default run once.")
@click.option(
    "--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Samples of one inference."
)
@click.option("--level", type=int, help="Stay at this level instead of letting the controller choose.")
@click.option("--variant", metavar="NAME", help="Variant to run; by default the profile's first that loads.")
@click.option(
    "-o", "--output", "outputs", type=click.Path(path_type=Path), help="Write the last outputs (.npz)."
)
@click.option("--force", is_flag=True, help="Overwrite with -o a file that holds no outputs.")
@click.option(
    "--record",
    "trace",
    type=click.Path(path_type=Path),
    help="Write every run to this CSV file, for `elsa-edge simulate --trace`.",
)
@click.option("--log", type=click.Path(path_type=Path), help="Write every run and decision as JSON lines.")
@click.option(
    "--ledger",
    type=click.Path(path_type=Path),
    help="A file shared with other sessions on this device: they change their memory one at a time.",
)
@cache_option
@json_option
def command(
    *,
    bundle: Path,
    device: str | None,
    inputs: Path | None,
    seconds: float | None,
    batch: int,
    level: int | None,
    variant: str | None,
    outputs: Path | None,
    force: bool,
    trace: Path | None,
    log: Path | None,
    ledger: Path | None,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Run BUNDLE under the controller and say what it did.

    Each inference takes one sample; without --seconds each sample is run once.
    """
    from contextlib import ExitStack

    from elsa_edge.control.record import JsonLog, TraceRecorder
    from elsa_edge.inputs import read_inputs
    from elsa_edge.session import AdaptiveSession

    for path, kinds in ((outputs, (_OUTPUTS,)), (trace, ()), (log, ())):
        if path is not None:
            claim(path, kinds=kinds, inputs=[inputs] if inputs is not None else [], force=force)
    _require_new(trace, log)
    listeners: list[TraceRecorder | JsonLog] = []
    with ExitStack() as open_files:
        session = open_files.enter_context(
            AdaptiveSession.open(
                bundle,
                device,
                variant=variant,
                cache=cache,
                on_run=lambda event: [listen(event) for listen in listeners],
                ledger=ledger,
            )
        )
        for note in session.notes:
            say(note)
        specs = session.bundle.inputs
        feeds = _feeds(session, None if inputs is None else read_inputs(inputs, specs), batch)
        memory = session.memory()
        if trace is not None:
            memory_bytes = [memory.at(k) for k in range(len(session.ladder))]
            recorder = TraceRecorder(
                trace, memory_bytes, bundle=session.bundle.identity, device=session.profile.name
            )
            listeners.append(open_files.enter_context(recorder))
        if log is not None:
            listeners.append(open_files.enter_context(JsonLog(log)))
        stopped: KeyboardInterrupt | None = None
        last: dict[str, Any] = {}
        try:
            with _bar() as show_second:
                last = _repeat(session, feeds, seconds, level, show_second)
        except KeyboardInterrupt as error:
            if not session.stats.runs:
                raise
            stopped = error
        if outputs is not None and stopped is None:
            _write(outputs, last)
        runs_with = session.what_runs
        record = {"variant": session.variant.name, "runs_with": asdict(runs_with), **_record(session)}
        _show(record)
        say(f"Runs with {runs_with}")
        if trace is not None:
            say(f"Trace written to {trace}; replay it with `elsa-edge simulate --trace {trace}`")
        emit(
            {
                "bundle": str(bundle),
                "device": session.profile.name,
                **record,
                "outputs": {
                    name: {"shape": list(a.shape), "dtype": str(a.dtype)} for name, a in last.items()
                },
            },
            as_json=as_json,
        )
        _end(stopped, listeners)


def _end(stopped: KeyboardInterrupt | None, listeners: Sequence[TraceRecorder | JsonLog]) -> None:
    """End a command that has told what was done: its exit status says what was not."""
    lost = [listener.problem for listener in listeners if listener.problem is not None]
    for problem in lost:
        say(f"Error: {problem}")
    if stopped is not None:
        raise stopped
    if lost:
        click.get_current_context().exit(1)


def _require_new(trace: Path | None, log: Path | None) -> None:
    """Refuse a record or log that is there before either is begun: what is refused leaves nothing behind."""
    for path in (trace, log):
        if path is not None and path.exists():
            raise InputError(f"{path} exists already", fix="Choose another name, or remove it first")
    if trace is not None and log is not None and trace.resolve() == log.resolve():
        raise InputError(
            f"--record and --log both name {trace}", expected="two files", fix="Choose another name for one"
        )


@dataclass(frozen=True, slots=True)
class _Second:
    """How many seconds of a run are over."""

    step: int
    steps: int


def _bar() -> AbstractContextManager[Callable[[_Second], None]]:
    """Show how long a run still takes; without a terminal it says nothing until its table."""
    return bar("running", describe=lambda _: "running, seconds", line=lambda _: None)


def _feeds(session: AdaptiveSession, arrays: Mapping[str, Any] | None, batch: int) -> list[dict[str, Any]]:
    """Return the inputs of each inference: `batch` samples, the last one what is left; without arrays, one golden."""
    from elsa_edge.inputs import count_samples, take_samples

    specs = session.bundle.inputs
    if arrays is None:
        return [take_samples(specs, session.bundle.golden.inputs, 0, batch)]
    count = count_samples(specs, arrays)
    if not count:
        return [dict(arrays)]
    return [take_samples(specs, arrays, start, start + batch) for start in range(0, count, batch)]


def _repeat(
    session: AdaptiveSession,
    feeds: Sequence[dict[str, Any]],
    seconds: float | None,
    level: int | None,
    show_second: Callable[[_Second], None],
) -> dict[str, Any]:
    """Run all inputs once, or again and again until the time is up; return the outputs of the last full round."""
    import numpy as np

    began_s = time.monotonic()
    ends_s = began_s + (seconds or 0.0)
    passed = -1
    outputs = session.bundle.outputs
    last: dict[str, Any] = {}
    while True:
        round_: list[dict[str, Any]] = []
        for feed in feeds:
            round_.append(session.run(feed, level))
            now_s = time.monotonic()
            if last and now_s >= ends_s:
                return last
            if seconds and int(now_s - began_s) > passed:
                passed = int(now_s - began_s)
                show_second(_Second(min(passed, int(seconds)), max(1, int(seconds))))
        last = {
            name: array
            if len(round_) == 1 or outputs[name].batch_axis is None
            else np.concatenate([one[name] for one in round_], axis=outputs[name].batch_axis)
            for name, array in round_[-1].items()
        }
        if time.monotonic() >= ends_s:
            return last


def _record(session: AdaptiveSession) -> dict[str, Any]:
    """Return what happened, for `--json`."""
    stats = session.stats
    decision = session.last_decision
    budget_ms = session.profile.qos.latency_budget_ms
    return {
        "runs": stats.runs,
        "switches": stats.switches,
        "latency_budget_ms": budget_ms,
        "missed": None if budget_ms is None else stats.late,
        "p50_ms": stats.p50_ms,
        "p95_ms": stats.p95_ms,
        "p99_ms": stats.p99_ms,
        "levels": [
            {
                "level": one.level,
                "name": one.name,
                "runs": one.runs,
                "p50_ms": one.p50_ms,
                "p95_ms": one.p95_ms,
                "p99_ms": one.p99_ms,
            }
            for one in stats.levels
            if one.runs
        ],
        "reasons": dict(stats.reasons),
        "decision": {
            "level": decision.level,
            "reason": str(decision.reason),
            "feasible": decision.feasible,
            "predicted_ms": decision.predicted_ms,
            "slowdown": decision.slowdown,
            "miss_rate": decision.miss_rate,
        },
    }


def _holds_arrays(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return path.suffix == ".npz" and all(name.endswith(".npy") for name in archive.namelist())


_OUTPUTS: Final = Kind("file of arrays (.npz)", _holds_arrays)


def _write(path: Path, arrays: dict[str, Any]) -> None:
    from elsa_edge.inputs import write_arrays

    write_arrays(path, arrays)
    say(f"Outputs written to {path}")


def _show(record: dict[str, Any]) -> None:
    rows = [
        (f"{k['level']} {k['name']}", k["runs"], k["p50_ms"], k["p95_ms"], k["p99_ms"])
        for k in record["levels"]
    ]
    print_table(
        f"Levels of {record['variant']} that ran", ("level", "runs", "p50 ms", "p95 ms", "p99 ms"), rows
    )
    budget = record["latency_budget_ms"]
    missed = "" if budget is None else f", {record['missed']} over the budget of {budget:g} ms"
    decision = record["decision"]
    show(
        f"{_count(record['runs'], 'run')}, {_count(record['switches'], 'switch')}{missed}; "
        f"next level {decision['level']} ({decision['reason']}{'' if decision['feasible'] else ', NOT feasible'})"
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "es" if word.endswith("ch") else "s")
