"""Which layers `ort-nested` gives to the nested kernels, on whose word, and what the variant says about it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from elsa_edge.bundle.golden import Golden
from elsa_edge.exporters.nested.choose import _judge, estimate, judge_by_timing
from elsa_edge.exporters.nested.exporter import OrtNestedExporter
from elsa_edge.exporters.nested.layer_set import LayerSet, layer_set_of
from elsa_edge.exporters.nested.price import RATES, choose_layers
from elsa_edge.exporters.nested.write import write
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.torch_export import example_inputs
from elsa_edge.plugins.registry import EXPORTERS, find
from elsa_edge.profiles import load_profile
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec

HERE = load_profile("generic-x86-64")
SPARSITIES = (0.98, 0.6, 0.0)


@cache
def checkpoint():
    """Return two wide layers with three levels, the last one dense, and the network."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(256, 1024), nn.ReLU(), nn.Linear(1024, 64))
    return sparsify(model, SPARSITIES, allocation="uniform"), model


@cache
def graph():
    return export_canonical(*checkpoint(), [TensorSpec("", (1, 256))])


@cache
def layers() -> LayerSet:
    return layer_set_of(graph())


def golden() -> Golden:
    return Golden(example_inputs(list(graph().inputs.values()), 1, seed=5), ())


def test_the_faster_nested_kernels_are_the_more_layers_they_get():
    """For free all layers, at any price none; in between the choice grows as they become cheaper."""
    sizes = [
        len(
            choose_layers(
                layers().nodes, layers().layers, layers().coded, 1, RATES["x86-64"], nested_factor=factor
            )
        )
        for factor in (1e9, 2.0, 1.0, 0.5, 0.0)
    ]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (0, 2)


def test_a_level_is_nested_only_where_that_was_measured_to_be_faster():
    """Whatever the clock said: a nested level won by 5 %, and a timed one that did not is dense."""
    inputs = golden().inputs
    for verdict in judge_by_timing(layers(), RATES["x86-64"], inputs, HERE.runtime):
        if verdict.time_over_dense is None:
            assert verdict == type(verdict)(frozenset(), "estimate")
        else:
            assert verdict.by == "timing"
            assert bool(verdict.choice) == (verdict.time_over_dense <= 0.95)


@pytest.mark.parametrize(
    ("ratios", "dropped", "expected"),
    [
        ([0.9, 0.8], 1.0, (frozenset({2}), 0.8, False)),
        ([0.96], 1.0, (frozenset(), 0.96, False)),
        ([0.7], 0.72, (frozenset(), 0.7, False)),
        ([0.97], 1.4, (frozenset(), 0.97, True)),
        ([], 1.4, (frozenset(), None, True)),
    ],
)
def test_the_rule(ratios, dropped, expected):
    """Nested for a gain of 5 % over both dense networks; else the faster of these two."""
    verdict = _judge([frozenset({1}), frozenset({2})], ratios, dropped)
    assert (verdict.choice, verdict.time_over_dense, verdict.keep_dead) == expected


def test_another_kind_of_processor_gets_the_estimate(tmp_path):
    """What cannot be timed here is estimated, and the variant says so."""
    profile = load_profile("raspberry-pi-5")
    variant = OrtNestedExporter().export(graph(), profile, golden(), tmp_path)
    expected = [layers().names(verdict.choice) for verdict in estimate(layers(), RATES["aarch64"])]

    assert [list(layers) for layers in variant.instructions.nested_layers] == expected
    assert variant.notes["decided_by"] == ["estimate"] * 3
    assert variant.notes["time_over_dense"] == [None] * 3
    assert expected[0]
    assert not expected[-1]


def test_level_bytes_are_what_each_level_reads(tmp_path):
    """A nested level reads the segments up to its own; a dense one its dense weights, whatever other levels have."""
    every = layers().every
    nested = [layer for layer in layers().layers if layer.position in every]
    segments = [sum(layers().coded[layer.position].segments[k].nbytes for layer in nested) for k in range(3)]
    dense = sum(layer.weight.nbytes for layer in nested)
    for folder in ("mixed", "dense"):
        (tmp_path / folder).mkdir()
    mixed = write(layers(), tmp_path / "mixed", [every, every, frozenset()])

    assert mixed[0] >= segments[0]
    assert mixed[1] >= segments[0] + segments[1]
    assert mixed[1] < mixed[2]
    assert mixed[2] == pytest.approx(dense, rel=0.01)
    assert write(layers(), tmp_path / "dense", [frozenset()] * 3) == pytest.approx([dense] * 3, rel=0.01)


def test_a_level_that_lost_whole_outputs_has_a_smaller_network(tmp_path):
    """It may also keep them, where that is faster; fewer than a vector of outputs are no reason."""
    nested, model = checkpoint()
    indices = {name: index.copy() for name, index in nested.indices.items()}
    indices["0.weight"][3] = 2
    few = replace(nested, indices={name: index.copy() for name, index in indices.items()})
    # Rows that are zero behind the ReLU as well.
    negative = np.flatnonzero(nested.weights["0.bias"] < 0)[:16]
    indices["0.weight"][negative] = 2
    dead = replace(nested, indices=indices)
    with_dead = layer_set_of(export_canonical(dead, model, [TensorSpec("", (1, 256))]))
    with_few = layer_set_of(export_canonical(few, model, [TensorSpec("", (1, 256))]))

    assert not with_few.smaller_when_dense(0)

    assert with_dead.smaller_when_dense(0)
    assert not with_dead.smaller_when_dense(2)
    assert not layers().smaller_when_dense(2)
    for name, keep_dead in (("kept", [0]), ("dropped", [])):
        (tmp_path / name).mkdir()
        sizes = write(with_dead, tmp_path / name, [frozenset()] * 3, keep_dead=keep_dead)
        assert (sizes[0] < sizes[2]) == (name == "dropped")


def test_int8_weights_are_a_variant_of_their_own(tmp_path):
    """A device profile or `--variant` can ask for them by name; their tolerance is declared."""
    exporter = find(EXPORTERS, "ort-nested-int8")()
    variant = exporter.export(graph(), HERE, golden(), tmp_path)

    assert (exporter.name, variant.name) == ("ort-nested-int8", "ort-nested-int8")
    assert variant.relative_tolerance == 0.05
    assert exporter.preflight(graph(), HERE).applies
