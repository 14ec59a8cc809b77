"""Nested and dense 8-bit kernels side by side in one level: which layers, the same numbers, and whose word counts."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from support.eight_bits import TOLERANT, samples

from elsa_edge.bundle.golden import Golden
from elsa_edge.exporters.int8 import exporter as module
from elsa_edge.exporters.int8.candidates import Mix, candidates
from elsa_edge.exporters.int8.choose import by_timing
from elsa_edge.exporters.int8.exporter import NestedInt8Exporter
from elsa_edge.exporters.int8.judge import Judgement, judge
from elsa_edge.exporters.int8.plan import Plan8
from elsa_edge.exporters.int8.rival import dense8
from elsa_edge.exporters.int8.write import write8
from elsa_edge.exporters.nested.layer import Layer
from elsa_edge.exporters.nested.timing import Stopwatch
from elsa_edge.nested_format.activations import Activation
from elsa_edge.nested_format.library import library_path
from elsa_edge.nested_format.operators import DOMAIN


@pytest.fixture(scope="module")
def plan(small):
    return Plan8(small, samples(small))


@pytest.fixture(scope="module")
def dense_at(small):
    made = {level: dense8(small, level, samples(small), TOLERANT) for level in range(len(small.ladder))}
    return lambda level: made[level].clone()


def optimised(path):
    """Return how often ONNX Runtime runs each operator of a file, subgraphs included."""
    options = ort.SessionOptions()
    options.register_custom_ops_library(str(library_path()))
    options.optimized_model_filepath = str(path.with_name("optimised.onnx"))
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    found: list[str] = []

    def walk(graph):
        for node in graph.node:
            found.append(node.op_type)
            for attribute in node.attribute:
                walk(attribute.g)

    walk(onnx.load(options.optimized_model_filepath, load_external_data=False).graph)
    return found


@pytest.mark.parametrize("kept", [range(4), range(4, 11), (1, 3, 5, 7), (0, 10)], ids=str)
def test_any_layers_may_be_nested_and_the_others_are_dense_in_8_bits(plan, dense_at, kept, tmp_path):
    """Answers stay those of the float network, every layer is in one of both, and no convolution is left in float."""
    linked = plan.linked()
    nested = frozenset().union(*(group for place, group in enumerate(linked) if place in kept))
    write8(plan, [Mix(nested, True)] * plan.count, dense_at, tmp_path)
    for one in judge(tmp_path / "model.onnx", plan.models, samples(plan.graph), {}):
        assert one.difference < 0.2
    operators = optimised(tmp_path / "model.onnx")
    ours = sum(
        operators.count(name) for name in ("Int8Conv", "Int8Depthwise", "Int8MatMul", "Int8MatMulFloat")
    )
    assert ours == len(nested) * plan.count
    theirs = sum(operators.count(name) for name in ("QLinearConv", "QGemm", "QLinearMatMul"))
    assert theirs == (len(plan.layers) - len(nested)) * plan.count
    assert not {"Conv", "FusedConv", "Gemm", "MatMul"} & set(operators)


def test_products_with_codes_between_them_stay_together(plan):
    """The head's two products are one group; every layer is in exactly one group, in order."""
    linked = plan.linked()
    assert sorted(len(group) for group in linked)[-2:] == [1, 2]
    assert sorted(p for group in linked for p in group) == sorted(plan.layers)


def made_layer(position, level_of_all, *, rows=64, kind="conv"):
    """A layer whose weights all belong to one level."""
    index = np.full((rows, 64), level_of_all, np.uint8)
    index[:, :4] = 0
    weight, table = np.ones(index.shape, np.float32), np.ones((2, 2, rows), np.float32)
    return Layer(
        f"layer{position}",
        position,
        position,
        (),
        kind,
        weight,
        index,
        table,
        Activation(),
        None,
        None,
        vectors=200,
    )


def test_a_run_of_sparse_layers_is_a_candidate():
    """At the sparse level the run of sparse layers is nested, and the dense ones at both ends are not."""
    levels = [0, 0, 0, 1, 1, 1, 1, 0, 0]  # all weights at level 0: dense there; at level 1: sparse at level 0
    layers = {p: made_layer(p, level) for p, level in enumerate(levels)}
    linked = [frozenset({p}) for p in layers]
    found = candidates(layers, linked, 0, others=False)
    assert found[0] == Mix(frozenset(layers))
    assert Mix(frozenset({3, 4, 5, 6}), True) in found
    assert all(mix.nested for mix in found)
    assert candidates(layers, linked, 1, others=False) == [Mix(frozenset(layers))]
    assert candidates(layers, linked, 1, others=True)[-1] == Mix(frozenset(layers), True)


def test_a_mix_must_earn_its_dense_weights(monkeypatch, tmp_path):
    """Five per cent over nested everywhere, and faster than the dense network: else the plain kinds."""
    every, mixed = Mix(frozenset({1, 2})), Mix(frozenset({1}), True)
    for ratios, kind in (
        ((0.8, 0.75), "mixed"),
        ((0.8, 0.77), "nested"),
        ((1.2, 0.9), "mixed"),
        ((1.2, 0.98), "dense"),
        ((0.9, 1.5), "nested"),
    ):
        monkeypatch.setattr(Stopwatch, "over_first", lambda *_, told=ratios: list(told))
        watch = Stopwatch({}, TOLERANT.runtime, 1.0)
        (choice,) = by_timing(watch, tmp_path, [tmp_path, tmp_path], [[every, mixed]])
        assert choice.kind == kind
        assert choice.unmixed().kind == ("nested" if ratios[0] <= 0.97 else "dense")


def test_a_build_takes_the_fastest_mix_and_says_so(small, tmp_path, monkeypatch):
    """Timed, mixed at one level, named in the manifest; where it changed too many answers, it is built without."""
    first = Plan8(small, samples(small)).linked()
    mixed = Mix(frozenset().union(*first[:5]), True)
    monkeypatch.setattr(module, "candidates", lambda layers, *_, **__: [Mix(frozenset(layers)), mixed])
    times = [[0.6, 0.4], [0.6, 0.7], [1.1, 1.2]]
    told = iter([*times, *times])
    monkeypatch.setattr(Stopwatch, "over_first", lambda *_: next(told))
    monkeypatch.setattr(Stopwatch, "over_plain", lambda *_: 0.9)
    variant = NestedInt8Exporter().export(small, TOLERANT, Golden(samples(small), ()), tmp_path)
    assert variant.notes["kernels"] == ["mixed", "nested", "dense"]
    assert variant.notes["time_over_dense_int8"] == [0.4, 0.6, 1.1]
    assert variant.notes["int8_multiply_adds"] == [1.0, 1.0, 1.0]
    assert len(variant.instructions.nested_layers[0]) == 5
    nodes = onnx.load(tmp_path / "model.onnx", load_external_data=False).graph.node
    assert any(node.op_type == "If" or node.domain == DOMAIN for node in nodes)

    judged, calls = module.judge, []

    def bad_with_mixes(*arguments):
        calls.append(judged(*arguments))
        return [Judgement(one.difference, 0.1) for one in calls[-1]] if len(calls) == 1 else calls[-1]

    monkeypatch.setattr(module, "judge", bad_with_mixes)
    variant = NestedInt8Exporter().export(small, TOLERANT, Golden(samples(small), ()), tmp_path)
    assert variant.notes["kernels"] == ["nested", "nested", "dense"]
