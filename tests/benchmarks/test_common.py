"""The benchmark harness: pairing, ratios, memory of another process, claims, the JSON object."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.common import (
    Result,
    anonymous_bytes,
    at_least,
    at_most,
    benchmark,
    context,
    in_subprocess,
    interleaved,
    ratio,
)


def test_runs_take_turns_and_every_one_goes_first_equally_often():
    calls = []
    ticks = iter(np.arange(0.0, 1000.0, 1.0))
    samples = interleaved(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")},
        rounds=4,
        warmup=1,
        clock=lambda: float(next(ticks)),
    )

    assert calls == ["a", "b", "a", "b", "b", "a", "a", "b", "b", "a"]
    assert samples["a"].tolist() == samples["b"].tolist() == [1.0] * 4


def test_quick_callables_are_repeated_and_divided_again():
    clock = [0.0]

    def run():
        clock[0] += 0.001

    samples = interleaved({"only": run}, rounds=2, warmup=1, least_s=0.01, clock=lambda: clock[0])

    assert samples["only"] == pytest.approx([0.001, 0.001])
    assert clock[0] == pytest.approx(0.001 * (1 + 2 * 10))


def test_the_ratio_of_proportional_samples_is_exact_and_its_interval_closes_on_it():
    base = np.random.default_rng(1).uniform(1, 2, 40)
    found = ratio(3 * base, base)

    assert (found.value, found.low, found.high) == pytest.approx((3, 3, 3))


def test_the_interval_contains_the_ratio_of_noisy_samples():
    rng = np.random.default_rng(2)
    found = ratio(2 * rng.lognormal(0, 0.2, 60), rng.lognormal(0, 0.2, 60))

    assert found.low < found.value < found.high
    assert found.low < 2 < found.high


def test_anonymous_memory_counts_what_a_process_holds_and_not_what_it_gave_back():
    size = 64 << 20
    before = anonymous_bytes()
    held = np.ones(size, np.uint8)
    during = anonymous_bytes()
    del held

    assert during - before > 0.9 * size
    assert anonymous_bytes() < before + 0.5 * size


def test_a_function_of_another_process_gets_json_and_answers_json():
    assert in_subprocess("os.path:join", "a", "b") == "a/b"


def test_a_failure_in_the_other_process_is_told_with_its_reason():
    with pytest.raises(RuntimeError, match="no_such_function"):
        in_subprocess("os.path:no_such_function")


def test_claims_that_were_not_measured_do_not_hold():
    assert at_most("small", 1.03, 1.03).holds
    assert not at_most("small", 1.03, 1.04).holds
    assert at_least("large", 2, 2.5).holds
    assert not at_least("large", 2, None).holds


def test_the_context_says_what_the_measurement_ran_on():
    found = context()

    assert found["logical_cpus"] >= 1
    assert found["versions"]["numpy"] == np.__version__
    json.dumps(found, allow_nan=False)


def test_a_benchmark_prints_one_json_object_and_writes_it_where_told(tmp_path):
    @benchmark("demo")
    def command(quick: bool) -> Result:
        """Measure nothing."""
        return Result([{"net": "a", "ms": 1.5}], [at_most("fast", 2, 1.5), at_least("big", 2, 1)])

    done = CliRunner().invoke(command, ["--quick", "--json", "--out", str(tmp_path / "demo.json")])
    report = json.loads(done.stdout)

    assert done.exit_code == 0
    assert set(report) == {"benchmark", "context", "rows", "claims"}
    assert (report["benchmark"], report["context"]["quick"]) == ("demo", True)
    assert report["claims"] == [
        {"claim": "fast", "target": 2, "measured": 1.5, "holds": True},
        {"claim": "big", "target": 2, "measured": 1, "holds": False},
    ]
    assert json.loads((tmp_path / "demo.json").read_text()) == report
    assert "not measured" not in done.stderr
    assert "NO" in done.stderr


def test_only_the_object_is_on_stdout(tmp_path):
    """Whatever a benchmark, or a program that it starts, prints goes to stderr."""
    (tmp_path / "noisy.py").write_text(
        "import subprocess, sys\n"
        "from benchmarks.common import Result, benchmark\n"
        "@benchmark('noisy')\n"
        "def main(quick):\n"
        "    print('noise')\n"
        "    subprocess.run([sys.executable, '-c', 'print(\"more\")'], check=True)\n"
        "    return Result(rows=[])\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, tmp_path / "noisy.py", "--quick", "--json"],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["benchmark"] == "noisy"
    assert "noise" in done.stderr
    assert "more" in done.stderr
