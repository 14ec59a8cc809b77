"""A session's figures as Prometheus reads them."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from support.bundles import bundle

from elsa_edge import AdaptiveSession
from elsa_edge.errors import InputError
from elsa_edge.telemetry.prometheus import SessionCollector


@pytest.fixture
def scraped():
    """Return a session that has run 3 times at level 0 and once at level 1, and a scrape of it as samples."""
    with AdaptiveSession.open(bundle("conv"), variant="onnx-selector", cache=False) as session:
        registry = CollectorRegistry()
        registry.register(SessionCollector(session))
        before = generate_latest(registry).decode()
        for level in (0, 0, 0, 1):
            session.run(session.bundle.golden.inputs, level)
        after = generate_latest(registry).decode()
        yield session, before, after


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counters_agree_with_the_stats(scraped) -> None:
    session, _, after = scraped
    found, names = samples(after), [level.name for level in session.ladder]

    def at(metric: str, level: int, **labels: str) -> float:
        return found[metric, tuple(sorted({"level": str(level), "name": names[level], **labels}.items()))]

    assert [at("elsa_edge_runs_total", k) for k in range(3)] == [3.0, 1.0, 0.0]
    assert found["elsa_edge_switches_total", ()] == 1.0
    assert at("elsa_edge_latency_seconds", 0, quantile="0.5") == pytest.approx(
        session.stats.levels[0].p50_ms / 1e3
    )
    assert at("elsa_edge_busy_seconds_total", 1) == pytest.approx(session.stats.levels[1].busy_ms / 1e3)
    assert found["elsa_edge_choices_total", (("by", "caller"),)] == 4.0


def test_before_the_first_run_only_what_is_known_is_told(scraped) -> None:
    _, before, after = scraped

    assert "elsa_edge_next_level" not in before
    assert "elsa_edge_latency_seconds{" not in before
    assert "elsa_edge_next_level" in after
    assert 'variant="onnx-selector"' in before


def test_a_second_collector_is_refused_and_several_sessions_go_by_name() -> None:
    """Two of the same figure on one page are refused by Prometheus itself, long after."""
    bundles = bundle("conv")
    with (
        AdaptiveSession.open(bundles, variant="onnx-selector", cache=False) as door,
        AdaptiveSession.open(bundles, variant="onnx-selector", cache=False) as yard,
    ):
        registry = CollectorRegistry()
        registry.register(SessionCollector(door))
        with pytest.raises(ValueError, match="Duplicated timeseries"):
            registry.register(SessionCollector(yard))
        both = CollectorRegistry()
        both.register(SessionCollector({"door": door, "yard": yard}))
        yard.run(yard.bundle.golden.inputs, 0)
        text = generate_latest(both).decode()

    level = door.ladder[0].name
    at_level_0 = (("level", "0"), ("name", level))
    found = samples(text)
    assert found["elsa_edge_runs_total", (*at_level_0, ("session", "door"))] == 0.0
    assert found["elsa_edge_runs_total", (*at_level_0, ("session", "yard"))] == 1.0
    assert text.count("# TYPE elsa_edge_runs_total") == 1


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda session: [session], "list"),
        (lambda session: {1: session}, "AdaptiveSession under 1"),
        (lambda _: {"door": None}, "NoneType under 'door'"),
    ],
)
def test_what_is_no_session_is_refused_when_it_is_given_and_not_at_a_scrape(scraped, change, found) -> None:
    with pytest.raises(InputError, match=found):
        SessionCollector(change(scraped[0]))
