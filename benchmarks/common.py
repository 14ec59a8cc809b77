"""What every benchmark shares: context, interleaved timing, memory in subprocesses, claims, the JSON report.

    ratio = median(variant) / median(base)     round-robin in one process, CPU time of the calling thread
    interval = its 2.5 % and 97.5 % quantiles over bootstrap resamples of the rounds (pairs stay together)

On a machine that is shared with other work, CPU time of one thread and ratios in one process can be trusted;
wall-clock medians from different minutes cannot. Run the runtimes with one thread for that reason.

    @benchmark("latency")
    def main(quick: bool) -> Result:
        times = interleaved({"dense": run_dense, "ours": run_ours}, rounds=9 if quick else 41)
        ours = ratio(times["ours"], times["dense"])
        claim = at_most("ours <= 1.03x dense", 1.03, ours.value)
        return Result(rows=[{"variant": "ours", **ours.row()}], claims=[claim])

    if __name__ == "__main__":
        main()
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime as dt
import importlib
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = [
    "RESULTS",
    "Claim",
    "Ratio",
    "Result",
    "anonymous_bytes",
    "at_least",
    "at_most",
    "benchmark",
    "context",
    "in_subprocess",
    "interleaved",
    "median_ms",
    "quantile_ms",
    "ratio",
    "report_text",
]

RESULTS: Final = Path(__file__).parent / "results"
_PACKAGES: Final = (
    "elsa-edge",
    "numpy",
    "torch",
    "onnx",
    "onnx-ir",
    "onnxscript",
    "onnxruntime",
    "ai-edge-litert",
    "tflite-runtime",
)
_ISA: Final = (
    "sse4_2",
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "amx_tile",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
)

_WIDTH: Final = 240

Seconds = npt.NDArray[np.float64]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Claim:
    """A figure that an issue says must be reached, and what was measured.

    Attributes:
        claim: The sentence, with its condition.
        target: The figure to reach.
        measured: What was reached; None when it could not be measured here.
        holds: Whether the target is met. A claim that could not be measured does not hold.
    """

    claim: str
    target: float
    measured: float | None
    holds: bool


def at_most(claim: str, target: float, measured: float | None) -> Claim:
    """Return the claim that `measured` does not exceed `target`."""
    return Claim(claim, target, measured, measured is not None and measured <= target)


def at_least(claim: str, target: float, measured: float | None) -> Claim:
    """Return the claim that `measured` reaches `target`."""
    return Claim(claim, target, measured, measured is not None and measured >= target)


@dataclass(frozen=True)
class Result:
    """What a benchmark found: any JSON rows, and its claims."""

    rows: Sequence[Row]
    claims: Sequence[Claim] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of medians with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def row(self) -> Row:
        """Return the columns `ratio`, `ratio_low`, `ratio_high`."""
        return {
            "ratio": round(self.value, 4),
            "ratio_low": round(self.low, 4),
            "ratio_high": round(self.high, 4),
        }


def _nothing() -> None:
    """Stand where there is nothing to do before a sample."""


def interleaved(
    runs: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 31,
    warmup: int = 3,
    least_s: float = 0.002,
    before: Mapping[str, Callable[[], object]] | None = None,
    clock: Callable[[], float] = time.thread_time,
) -> dict[str, Seconds]:
    """Time several callables round-robin in this process.

    Args:
        runs: Name -> callable without arguments, which works in the calling thread.
        rounds: Samples of each; each round runs all once, starting one place further than the round before.
        warmup: Untimed calls of each before the first round.
        least_s: A sample repeats a quick callable until about this long, and is divided again.
        before: Name -> untimed callable that goes before every sample of that name; it is then not repeated.
        clock: Seconds; `time.thread_time` (CPU time of this thread) or `time.perf_counter`.

    Returns:
        Name -> `(rounds,)` seconds per call, in round order, so that samples of one round can be paired.
    """
    names = list(runs)
    prepare = {name: (before or {}).get(name, _nothing) for name in names}
    repeats = {}
    for name in names:
        for _ in range(max(1, warmup)):
            start = clock()
            runs[name]()
            last_s = clock() - start
        repeats[name] = 1 if prepare[name] is not _nothing else max(1, math.ceil(least_s / max(last_s, 1e-7)))
    samples = {name: np.empty(rounds) for name in names}
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            run, count = runs[name], repeats[name]
            prepare[name]()
            start = clock()
            for _ in range(count):
                run()
            samples[name][number] = (clock() - start) / count
    return samples


def median_ms(samples: Seconds) -> float:
    """Return the median of samples in seconds, in milliseconds."""
    return float(np.median(samples) * 1e3)


def quantile_ms(samples: Seconds, quantile: float) -> float:
    """Return a quantile (0..1) of samples in seconds, in milliseconds."""
    return float(np.quantile(samples, quantile) * 1e3)


def ratio(samples: Seconds, base: Seconds, *, resamples: int = 1000, seed: int = 0) -> Ratio:
    """Return median(samples) / median(base) and its 95 % bootstrap interval over rounds.

    Args:
        samples: `(rounds,)` seconds, from the same `interleaved` call as `base`.
        base: `(rounds,)` seconds.
        resamples: Bootstrap resamples of the rounds.
        seed: Of the resampling.
    """
    picks = np.random.default_rng(seed).integers(len(base), size=(resamples, len(base)))
    ratios = np.median(samples[picks], axis=1) / np.median(base[picks], axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Ratio(float(np.median(samples) / np.median(base)), float(low), float(high))


def anonymous_bytes() -> int:
    """Return this process's resident anonymous memory in bytes, after giving free heap back to the kernel.

    File-backed pages (memory-mapped weights) are not in it. Linux only: reads /proc/self/smaps_rollup.
    """
    with contextlib.suppress(AttributeError):  # musl has no malloc_trim: free heap then counts as used
        ctypes.CDLL(None).malloc_trim(0)
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this kernel's smaps_rollup has no Anonymous line")


def in_subprocess(function: str, *arguments: object, timeout_s: float = 600) -> Any:
    """Call `package.module:function` with JSON arguments in a fresh interpreter and return its JSON result.

    Raises:
        RuntimeError: When the process fails; the message carries the end of its stderr.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.common", function, json.dumps(arguments)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{function} failed in its process: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _first_line(path: str) -> str | None:
    try:
        return Path(path).read_text().splitlines()[0].strip()
    except (OSError, IndexError):
        return None


def _cpu() -> tuple[str, list[str]]:
    """Return the CPU's name and the instruction sets of `_ISA` that it has."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine(), []
    facts = {
        key.strip(): value.strip()
        for key, _, value in (line.partition(":") for line in reversed(lines))
        if value
    }
    flags = set((facts.get("flags") or facts.get("Features") or "").split())
    return facts.get("model name") or facts.get("Model") or platform.machine(), [
        isa for isa in _ISA if isa in flags
    ]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or None


def context() -> Row:
    """Return what a reader needs to judge a measurement: machine, load, versions, settings."""
    cpu, isa = _cpu()
    return {
        "date_utc": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": platform.machine(),
        "cpu": cpu,
        "isa": isa,
        "logical_cpus": os.cpu_count(),
        "governor": _first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "load_1_5_15_min": [round(load, 2) for load in os.getloadavg()],
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "clock": "CPU time of the calling thread for ratios, unless a row says otherwise",
    }


def _show(name: str, result: Result) -> None:
    """Print rows and claims as tables on stderr."""
    from rich.console import Console
    from rich.table import Table

    console = Console(stderr=True)
    if not console.is_terminal:
        console = Console(stderr=True, width=_WIDTH)  # a file can be scrolled sideways
    kinds: dict[tuple[str, ...], list[Row]] = {}  # rows that say the same things share a table
    for row in result.rows:
        kinds.setdefault(tuple(row), []).append(row)
    for columns, rows in kinds.items():
        table = Table(*columns, title=f"benchmarks.{name}")
        for row in rows:
            table.add_row(*(f"{v:.4g}" if isinstance(v := row[c], float) else str(v) for c in columns))
        console.print(table)
    claims = Table("holds", "measured", "target", "claim", title="claims")
    for claim in result.claims:
        measured = "not measured" if claim.measured is None else f"{claim.measured:.4g}"
        claims.add_row("yes" if claim.holds else "NO", measured, f"{claim.target:.4g}", claim.claim)
    console.print(claims)


def report_text(name: str, result: Result, facts: Row) -> str:
    """Return a result as the JSON that `--json` prints and that lies in benchmarks/results."""
    claims = [
        {"claim": c.claim, "target": c.target, "measured": c.measured, "holds": c.holds}
        for c in result.claims
    ]
    report = {"benchmark": name, "context": facts, "rows": list(result.rows), "claims": claims}
    return json.dumps(report, indent=2, allow_nan=False) + "\n"


@contextlib.contextmanager
def stdout_for_result() -> Iterator[None]:
    """Send to stderr what anybody prints meanwhile, also started programs: stdout is the result's."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def same_machine(facts: Row, others: Row) -> bool:
    """Tell whether two contexts are of one kind of machine: only then may their rows stand in one file."""
    return all(facts.get(key) == others.get(key) for key in ("machine", "cpu", "logical_cpus"))


def parts_option(name: str, choices: Sequence[str]) -> Callable[[Any], Any]:
    """Return the option `--NAME`, repeatable, that measures only these parts; the function gets them as `NAMEs`."""
    import click

    return click.option(
        f"--{name}", f"{name}s", multiple=True, type=click.Choice(choices), help="Only this one; repeatable."
    )


def benchmark(
    name: str, *options: Callable[[Any], Any]
) -> Callable[[Callable[..., Result]], Callable[..., Any]]:
    """Turn `function(quick, ...) -> Result` into `python -m benchmarks.NAME [--quick] [--json] [--out FILE] ...`.

    `options` are further click options, whose values the function gets by name. A full run writes
    `benchmarks/results/NAME.json`; a quick one writes only where `--out` says. Claims that do not hold are reported,
    and the exit status is still 0: a benchmark tells, it does not judge.
    """

    def decorate(function: Callable[..., Result]) -> Callable[..., Any]:
        import click

        from elsa_edge.files import write_bytes

        @click.command(name, help=(function.__doc__ or name).strip())
        @click.option(
            "--quick", is_flag=True, help="Fewer nets and rounds: checks the plumbing, not the figures."
        )
        @click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
        @click.option(
            "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the JSON object there."
        )
        def command(quick: bool, as_json: bool, out: Path | None, **more: Any) -> None:
            before = context()
            with stdout_for_result():
                result = function(quick, **more)
            text = report_text(name, result, before | {"quick": quick})
            destination = out or (None if quick else RESULTS / f"{name}.json")
            if destination is not None:
                write_bytes(destination, text.encode())
            _show(name, result)
            if as_json:
                click.echo(text, nl=False)

        for option in options:
            option(command)
        return command

    return decorate


if __name__ == "__main__":  # the child of in_subprocess
    _module, _, _function = sys.argv[1].partition(":")
    print(json.dumps(getattr(importlib.import_module(_module), _function)(*json.loads(sys.argv[2]))))
