"""The latency benchmark: turns, rows, claims, merging of parts, files. What it measures, no test asserts."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.latency import __main__ as latency
from benchmarks.latency.calls import call_claims
from benchmarks.latency.claims import TARGETS, claims_of
from benchmarks.latency.measure import Plan, measure, plan_of
from benchmarks.latency.report import merge, write_csv, write_plot
from benchmarks.latency.timing import Samples, here, row_of, spread, take_turns
from benchmarks.networks import NETS, Net
from benchmarks.networks.dense import tiny
from elsa_edge.errors import InputError
from elsa_edge.runtime_adapters.kernels.build import ensure_library
from elsa_edge.runtime_adapters.mapped_pages import resident_bytes


def _samples(cpu_s, wall_s=None):
    cpu_s = np.asarray(cpu_s, float)
    return Samples(cpu_s, cpu_s if wall_s is None else np.asarray(wall_s, float))


def _row(network="mlp", engine="ort-nested", sparsity=0.9, speedup=1.0, **more):
    return {
        "network": network,
        "granularity": "unstructured",
        "engine": engine,
        "sparsity": sparsity,
        "threads": 1,
        "median_ms": 1 / speedup,
        "speedup": speedup,
        "speedup_high": speedup,
        "quiet_speedup": speedup,
        **more,
    }


class TestTurns:
    def test_every_name_goes_first_equally_often_and_times_are_an_inference(self):
        order = []

        def fake(name, once_s):
            def run(count):
                order.append(name)
                return once_s * count, 2 * once_s * count

            return run

        taken = take_turns(
            {"a": fake("a", 0.5), "b": fake("b", 0.001)}, budget_s=0, least_rounds=4, most_rounds=4
        )

        # After two calls each before the rounds; the quick one runs once untimed before each of its samples.
        assert order[4:] == ["a", "b", "b", "b", "b", "a", "a", "b", "b", "b", "b", "a"]
        assert taken["a"].cpu_s == pytest.approx([0.5] * 4)
        assert taken["b"].wall_s == pytest.approx([0.002] * 4)

    def test_a_budget_buys_rounds_within_limits(self):
        def run(count):
            return 0.1 * count, 0.1 * count

        rounds = [
            len(take_turns({"a": run}, budget_s=s, least_rounds=3, most_rounds=9)["a"].cpu_s)
            for s in (0, 0.55, 9)
        ]

        assert rounds == [3, 5, 9]

    def test_a_callable_of_this_process_runs_as_often_as_asked(self):
        calls = []
        cpu_s, wall_s = here(lambda: calls.append(1))(7)

        assert len(calls) == 7
        assert cpu_s >= 0
        assert wall_s > 0

    def test_a_row_compares_cpu_time_of_one_thread_and_the_wall_clock_of_two(self):
        base, ours = _samples([4.0] * 9, [4.0] * 9), _samples([2.0] * 9, [1.0] * 9)

        assert row_of(ours, base, 1)["speedup"] == row_of(ours, base, 1)["quiet_speedup"] == 2
        assert row_of(ours, base, 2)["speedup"] == 4

    def test_neighbours_show_in_the_spread_and_not_in_the_quiet_speedup(self):
        noisy = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0])
        row = row_of(_samples([0.5] * 10), _samples(noisy), 1)

        assert spread(noisy) == row["base_spread"] == 2
        assert (row["speedup"], row["quiet_speedup"]) == (4, 2)


class TestClaims:
    def test_every_cell_of_the_table_that_was_measured_is_a_claim(self):
        rows = [
            _row(network, sparsity=s, speedup=2.0) | {"granularity": g}
            for network, g in TARGETS
            for s in (0.8, 0.9, 0.95)
        ]
        table = [claim for claim in claims_of(rows) if "speed-up over dense" in claim.claim]

        assert len(table) == 3 * len(TARGETS)
        assert {c.target: c.holds for c in table if c.claim.startswith("mlp")} == {
            2.0: True,
            4.0: False,
            7.0: False,
        }

    def test_the_lowest_level_of_all_is_named(self):
        rows = [_row(speedup=3.0), _row("lstm", sparsity=0.5, speedup=0.9), _row(speedup=0.1, threads=2)]
        low = [claim for claim in claims_of(rows) if "below dense" in claim.claim]

        assert [(claim.measured, claim.holds) for claim in low] == [(0.9, False)] * 3
        assert "lowest: lstm, unstructured, 50%" in low[0].claim

    def test_a_peer_is_compared_through_the_base_of_its_own_process(self):
        rows = [
            _row(speedup=3.0),
            _row(engine="ort-dense (own process)", sparsity=0.0),
            _row(engine="deepsparse-sparse", speedup=2.0),
        ]
        found = {claim.claim: claim for claim in claims_of(rows) if "faster than" in claim.claim}

        assert found["mlp, unstructured, 90 %: faster than deepsparse-sparse"].measured == 1.5
        absent = found["mlp, unstructured, 90 %: faster than openvino-sparse"]
        assert (absent.measured, absent.holds) == (None, False)

    def test_the_worst_memory_of_all_networks_counts(self):
        memory = {
            "engine": "memory, bytes",
            "granularity": "unstructured",
            "levels": 3,
            "dense_anonymous": 100,
            "anonymous": 105,
            "level_0_bytes": 100,
            "level_0_file_pages": 120,
            "switching_grows": 0,
            "switching_peak": 4096,
            "staying_peak": 4096,
        }
        rows = [
            _row(),
            memory | {"network": "a"},
            memory | {"network": "b", "anonymous": 200, "switching_grows": 1 << 20},
        ]
        found = [c for c in claims_of(rows) if "worst: " in c.claim and "switch of" not in c.claim]

        assert [c.measured for c in found] == [2.0, 1.2, 1024.0, 0.0]
        assert "(3 levels; worst: b)" in found[0].claim


class TestReport:
    def test_what_was_not_measured_again_is_kept(self):
        old = [_row("a"), _row("b", speedup=1.0), {"layer": "old"}]
        new = [_row("b", speedup=2.0), {"layer": "new"}]

        assert merge(old, new) == [_row("a"), _row("b", speedup=2.0), {"layer": "new"}]
        assert merge(old, [_row("c")]) == [*old, _row("c")]

    def test_csv_has_a_line_for_each_timed_level(self, tmp_path):
        rows = [_row(), _row(difference=0.1), {"network": "mlp", "engine": "openvino", "note": "absent"}]
        write_csv(rows, tmp_path / "x.csv")
        with (tmp_path / "x.csv").open() as stream:
            read = list(csv.DictReader(stream))

        assert [(row["engine"], row["difference"]) for row in read] == [
            ("ort-nested", ""),
            ("ort-nested", "0.1"),
        ]

    def test_the_plot_is_a_picture(self, tmp_path):
        rows = [_row(sparsity=s) for s in (0.9, 0.0)] + [_row(engine="ort-int8", sparsity=0.0)]

        assert write_plot(rows, tmp_path / "x.png")
        assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"


class TestJobs:
    def test_options_restrict_the_run(self):
        jobs = latency._jobs(quick=False, only=("lstm", "mlp"), pattern=("block",))

        assert jobs == [("lstm", "block"), ("mlp", "block")]

    def test_an_unknown_name_is_answered_with_those_that_exist(self):
        done = CliRunner().invoke(latency.main, ["--only", "resnet81"])

        assert done.exit_code == 2
        assert "resnet18" in done.stderr

    def test_rows_of_two_machines_are_never_mixed(self, tmp_path):
        """A part is refused beside another machine's rows; a whole run starts from nothing."""
        here = {"machine": "m", "cpu": "a", "logical_cpus": 2}
        path = tmp_path / "latency.json"
        path.write_text(json.dumps({"context": here, "rows": [{"network": "mlp"}]}))
        assert latency.kept_rows(path, here, part=True) == [{"network": "mlp"}]
        assert latency.kept_rows(path, here | {"cpu": "b"}, part=False) == []
        with pytest.raises(InputError, match="another machine"):
            latency.kept_rows(path, here | {"cpu": "b"}, part=True)
        assert latency.kept_rows(tmp_path / "none.json", here, part=True) == []

    def test_a_full_run_covers_every_network_and_pattern(self):
        jobs = latency._jobs(quick=False, only=(), pattern=())

        assert {network for network, _ in jobs} == set(latency.NETWORKS) <= set(NETS)
        assert {pattern for _, pattern in jobs} == {"unstructured", "block", "channel", "memory"}
        assert plan_of("resnet50", "unstructured", quick=False).peers
        assert not plan_of("lstm", "unstructured", quick=False).peers


def _mapped_bytes(path):
    """Return what of a file is resident before and after a page of its mapping was read, in this fresh process."""
    import mmap
    from pathlib import Path

    with Path(path).open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
        view.madvise(mmap.MADV_RANDOM)  # no pages but those that are read
        before = resident_bytes(Path(path))
        assert view[0] == 0
        return before, resident_bytes(Path(path))


def test_resident_pages_of_a_mapped_file_are_counted(tmp_path):
    file = tmp_path / "data"
    # Large, because the system may map a good part of what lies around the page that is read.
    with file.open("wb") as stream:
        stream.truncate(1 << 26)
    before, after = _mapped_bytes(str(file))

    assert before == 0
    assert 4096 <= after < 1 << 26


def test_a_network_is_measured_into_rows_that_the_claims_can_read(tmp_path, monkeypatch):
    """All of it once, on a network too small for the figures to mean anything."""
    ensure_library()
    monkeypatch.setitem(NETS, "tiny", Net(tiny, (1, 16)))
    plan = Plan(int8=False, peers=False, two_threads=True, memory=True, turns_s=0.0)
    rows = measure("tiny", "unstructured", plan, tmp_path)
    ours = {(row["sparsity"], row["threads"]) for row in rows if row["engine"] == "ort-nested"}
    claims = claims_of(rows)

    assert ours >= {(s, 1) for s in (0.98, 0.95, 0.9, 0.8, 0.7, 0.5, 0.0)} | {(0.9, 2)}
    assert {"ort-dense", "ort-int8", "switch of level", "memory, bytes", "when"} <= {
        r["engine"] for r in rows
    }
    assert all(claim.measured is not None for claim in claims)


def test_calls_are_judged_by_the_operator_that_costs_most():
    """Time and allocations may have different worst operators; without a compiler there is nothing to claim."""
    rows = [
        {"operator": "NestedConv", "fixed_ns": 90.0, "least_ns": 200.0, "allocations": 4},
        {"operator": "NestedMatMul", "fixed_ns": 120.0, "least_ns": 150.0, "allocations": 2},
    ]
    fixed, heap = call_claims(rows)

    assert (fixed.measured, fixed.holds, heap.measured, heap.holds) == (120.0, True, 4, False)
    assert "NestedMatMul" in fixed.claim
    assert "NestedConv" in heap.claim
    assert call_claims([{"operator": "none", "note": "no C++ compiler found"}]) == []
