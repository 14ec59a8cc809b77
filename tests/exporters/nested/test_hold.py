"""`ort-nested` keeps what its choices promise in the finished file, and costs small networks nothing."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from support.opening import open_variant

from elsa_edge.bundle.golden import Golden
from elsa_edge.exporters.nested import exporter as module
from elsa_edge.exporters.nested.choose import Verdict
from elsa_edge.exporters.nested.exporter import OrtNestedExporter
from elsa_edge.exporters.nested.hold import held, too_slow_to_choose
from elsa_edge.exporters.nested.timing import Stopwatch
from elsa_edge.graph.torch_export import example_inputs
from elsa_edge.profiles import load_profile

HERE = load_profile("generic-x86-64")
NESTED = frozenset({0, 2})


@pytest.fixture
def watch(monkeypatch):
    """A stopwatch that measures what `told` holds."""
    told: list[float] = []
    monkeypatch.setattr(Stopwatch, "over_first", lambda *_: [told.pop(0)])
    monkeypatch.setattr(Stopwatch, "is_short", lambda *_: True)
    return Stopwatch({}, HERE.runtime, 1.0), told


def test_a_level_that_is_not_faster_in_the_file_becomes_dense(watch, tmp_path):
    """Clear cases are not timed again; of two measurements the better one counts."""
    clock, told = watch
    verdicts = [Verdict(NESTED, "timing", time) for time in (0.5, 0.9, 0.94)] + [
        Verdict(frozenset(), "timing")
    ]
    told += [0.99, 0.95, 0.98, 1.2]
    found = held(verdicts, clock, tmp_path, tmp_path)
    assert [bool(verdict.choice) for verdict in found] == [True, True, False, False]
    assert found[2].time_over_dense == 0.98
    assert not told


@pytest.mark.parametrize(
    ("nested", "times", "plain"),
    [
        ((True, False, False), [1.2, 1.04], (1, 2)),
        ((True, False, False), [1.2, 1.02], ()),
        ((True, False, False), [1.03], ()),
        ((True, True, True), [], ()),
    ],
)
def test_dense_levels_are_plain_where_choosing_them_costs_too_much(watch, tmp_path, nested, times, plain):
    """Decided by the densest one; where that is nested, nothing is."""
    clock, told = watch
    told += times
    verdicts = [Verdict(NESTED if one else frozenset(), "timing", 0.5) for one in nested]
    assert too_slow_to_choose(verdicts, clock, tmp_path, tmp_path) == plain
    assert not told


def test_plain_files_answer_as_the_file_with_all_levels(canonical, monkeypatch, tmp_path):
    """Their weights are places of the same data; the adapter runs them, and other levels in the file."""
    graph = canonical("conv")
    count = len(graph.ladder)
    monkeypatch.setattr(
        module,
        "judge_by_timing",
        lambda layers, *_: [
            Verdict(layers.every, "timing", 0.5),
            *[Verdict(frozenset(), "timing")] * (count - 1),
        ],
    )
    monkeypatch.setattr(Stopwatch, "over_first", lambda *_: [1.5])
    monkeypatch.setattr(Stopwatch, "is_short", lambda *_: True)
    golden = Golden(example_inputs(list(graph.inputs.values()), 1, seed=5), ())

    variant = OrtNestedExporter().export(graph, HERE, golden, tmp_path)

    dense = list(range(1, count))
    assert variant.notes["plain_levels"] == dense
    assert {path.name for path in tmp_path.iterdir()} == set(variant.files.values())
    last = onnx.load(tmp_path / variant.files[f"level_plain_{count - 1}"], load_external_data=False).graph
    assert not {"If", "Gather"} & {node.op_type for node in last.node}
    whole = {role: path for role, path in variant.files.items() if not role.startswith("level_")}
    others = variant.model_copy(update={"files": whole})
    found = [open_variant(tmp_path, one, HERE.runtime, level_count=count) for one in (variant, others)]
    for level in range(count):
        one, two = (opened.run(golden.inputs, level) for opened in found)
        assert all(np.array_equal(one[name], two[name]) for name in two)
    for opened in found:
        opened.close()
