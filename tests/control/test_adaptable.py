"""Saying that there is nothing to adapt, and what would change that."""

from __future__ import annotations

import pytest

from elsa_edge.control import LevelFacts
from elsa_edge.control.adaptable import nothing_to_adapt, restless


def facts(ms: tuple[float, ...], memory_mb: tuple[int, ...]) -> list[LevelFacts]:
    names = ("s95", "s90", "dense")
    return [
        LevelFacts(name=name, p50_ms=p50, memory_bytes=size * 1_000_000, accuracy=0.5 + 0.1 * k)
        for k, (name, p50, size) in enumerate(zip(names, ms, memory_mb, strict=True))
    ]


@pytest.mark.parametrize(
    ("variant", "instead"), [("ort-switch", "ort-nested"), ("ort-nested", "4x1"), ("of-others", "channel")]
)
def test_levels_of_the_same_time_and_memory_are_told_and_what_would_differ(variant, instead):
    """All as fast and as large as the densest: one sentence with the variant's way out."""
    sentence = nothing_to_adapt(facts((10.0, 10.1, 10.0), (40, 40, 40)), variant)
    assert sentence is not None
    assert "no level is faster or smaller here than dense" in sentence
    assert instead in sentence


@pytest.mark.parametrize(
    ("ms", "memory_mb"), [((5.0, 7.0, 10.0), (40, 40, 40)), ((10.0, 10.0, 10.0), (20, 30, 40))]
)
def test_levels_that_differ_in_time_or_in_memory_are_worth_a_controller(ms, memory_mb):
    """Either is enough."""
    assert nothing_to_adapt(facts(ms, memory_mb), "ort-nested") is None


def test_one_level_has_nothing_beside_it():
    """A network without levels is not advised about them."""
    assert nothing_to_adapt(facts((5.0, 7.0, 10.0), (1, 1, 1))[:1], "ort-switch") is None


def test_a_measurement_beside_other_work_is_told():
    """The controller draws its first tail from these figures."""
    calm = LevelFacts(name="dense", p50_ms=8.5, p95_ms=12.8)

    assert restless([calm, LevelFacts(name="never measured")]) is None
    sentence = restless([LevelFacts(name="s90", p50_ms=2.4, p95_ms=6.9), calm])
    assert "2.9 times the median or longer at s90" in sentence
