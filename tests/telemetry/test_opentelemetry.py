"""A session's figures as an OpenTelemetry reader collects them."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from support.bundles import bundle

from elsa_edge import AdaptiveSession
from elsa_edge.telemetry.opentelemetry import observe_session


def points(reader: InMemoryMetricReader) -> dict[str, list[tuple[dict, float]]]:
    data = reader.get_metrics_data()
    return {
        metric.name: [(dict(point.attributes), point.value) for point in metric.data.data_points]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_a_reader_collects_what_the_stats_say() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    with AdaptiveSession.open(bundle("conv"), variant="onnx-selector", cache=False) as session:
        observe_session(provider.get_meter("test"), session)
        before = points(reader)
        for level in (0, 1, 1):
            session.run(session.bundle.golden.inputs, level)
        found, stats = points(reader), session.stats
    provider.shutdown()

    assert "elsa_edge.next_level" not in before
    assert [value for _, value in found["elsa_edge.runs"]] == [1, 2, 0]
    assert found["elsa_edge.runs"][0][0] == {"level": 0, "name": stats.levels[0].name}
    assert found["elsa_edge.switches"] == [({}, 1)]
    assert [value for _, value in found["elsa_edge.latency.p95"]] == pytest.approx(
        [level.p95_ms / 1e3 for level in stats.levels if level.runs]
    )
    assert found["elsa_edge.next_level"] == [({}, stats.last.decision.level)]
    assert found["elsa_edge.rerouted_runs"] == [({}, 0)]
    assert {key["reason"]: count for key, count in found["elsa_edge.decisions"]} == dict(stats.reasons)
    assert found["elsa_edge.choices"] == [({"by": "caller"}, 3)]
    assert found["elsa_edge.slowdown"] == [({}, stats.last.decision.slowdown)]
    assert found["elsa_edge.miss_ratio"] == [({}, stats.last.decision.miss_rate)]
    assert len(found["elsa_edge.latency.p50"]) == len(found["elsa_edge.latency.p99"]) == 2
    # What the device does not tell is left out.
    assert found.get("elsa_edge.available_memory", []) == (
        [] if stats.last.available_bytes is None else [({}, stats.last.available_bytes)]
    )
    assert ("elsa_edge.power" in found) == (stats.last.power_w is not None)
