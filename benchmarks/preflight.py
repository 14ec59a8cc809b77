"""Times that `elsa-edge preflight` expects beside those measured, per level: five networks, float32 and 8 bits.

error = expected / measured - 1

Expected before the variant is built; then the variant is built, opened by its adapter and timed, levels in turns. Both
use the CPU time of the calling thread. A variant that its exporter refuses has a row that says why. Weights are cut as
each variant wants them: in blocks for the nested kernels in 8 bits, singly for the others.

On the device's own kind of machine preflight times the nested kernels of each level; `model_ms` is what the cost model
alone says, as for a device that is elsewhere, with this machine's rates. The expectation is asked before and after the
variant was timed, and the median of both counts: on a shared machine one moment is not the next.

    --network resnet18 --variant ort-int8      measures a part; other rows stay, if they are of the same processor
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.common import RESULTS, Claim, Result, Row, benchmark, context, parts_option, same_machine
from benchmarks.common.sessions import profile_for
from benchmarks.networks import NETS
from elsa_edge.bundle.golden import Golden
from elsa_edge.errors import ElsaError
from elsa_edge.exporters.int8.exporter import NestedInt8Exporter, OrtInt8Exporter
from elsa_edge.exporters.int8.forecast import forecast_nested8
from elsa_edge.exporters.nested.forecast import forecast_nested
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.export import export_canonical
from elsa_edge.plugins import Exporter
from elsa_edge.plugins.installed import find_adapter, find_exporter
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.proof.making import made
from elsa_edge.running.rotation import order, rounds
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec

__all__ = ["main"]

NETWORKS: Final = ("mlp", "mobilenet_v2", "resnet18", "transformer", "efficientnet_lite0")
VARIANTS: Final = ("ort-nested", "ort-switch", "ort-int8", "nested-int8")
LADDER: Final = (0.95, 0.9, 0.8, 0.0)
_GRANULARITIES: Final = {"nested-int8": "1x4"}
_SECONDS: Final = 6.0
_SAMPLES: Final = 16
_GOAL: Final = 0.2
# Networks with random weights change answers in 8 bits; their times do not care.
_FOR_TIMES: Final[dict[str, Exporter]] = {
    "ort-int8": OrtInt8Exporter(strict=False),
    "nested-int8": NestedInt8Exporter(strict=False),
}


def _graph(name: str, granularity: str) -> CanonicalGraph:
    net = NETS[name]
    model = net.factory()
    cut = sparsify(model, LADDER, granularity=granularity)
    return export_canonical(cut, model, [TensorSpec("", net.input_shape)], prove=False)


def _measured_ms(graph: CanonicalGraph, variant: str, seconds: float) -> list[float]:
    """Build a variant and return the median time of each level.

    Raises:
        ElsaError: When the exporter refuses.
    """
    profile = profile_for(variant)
    golden = Golden(made(graph.inputs, _SAMPLES), ())
    count = len(graph.ladder)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / variant).mkdir()
        exporter = _FOR_TIMES.get(variant) or find_exporter(variant)
        written = exporter.export(graph, profile, golden, folder / variant)
        placed = written.model_copy(
            update={"files": {role: f"{variant}/{file}" for role, file in written.files.items()}}
        )
        opened = find_adapter(placed.runtime).open(
            folder, placed, level_count=count, runtime=profile.runtime, cache=None
        )
        feed = {name: array[:1] for name, array in golden.inputs.items()}
        times: list[list[float]] = [[] for _ in range(count)]
        for turn in rounds(seconds, fewest=5, most=100):
            for level in order(count, turn):
                opened.run(feed, level)
                for _ in range(3):
                    began = time.thread_time()
                    opened.run(feed, level)
                    times[level].append(time.thread_time() - began)
        opened.close()
    return [float(np.median(level)) * 1e3 for level in times]


def _expected_ms(graph: CanonicalGraph, variant: str, profile: DeviceProfile) -> tuple[float, ...]:
    forecast = find_exporter(variant).forecast(graph, profile)
    assert forecast is not None
    return forecast.level_ms


def _model_ms(graph: CanonicalGraph, variant: str, profile: DeviceProfile) -> Sequence[float | None]:
    """Return what the cost model says where it is asked: of nested kernels."""
    models = {"ort-nested": forecast_nested, "nested-int8": forecast_nested8}
    if variant not in models:
        return [None] * len(graph.ladder)
    return models[variant](graph, profile, trial=False).level_ms


def _rows(name: str, variants: tuple[str, ...], seconds: float) -> list[Row]:
    graphs: dict[str, CanonicalGraph] = {}
    rows: list[Row] = []
    for variant in variants:
        granularity = _GRANULARITIES.get(variant, "unstructured")
        if granularity not in graphs:
            graphs[granularity] = _graph(name, granularity)
        graph, profile = graphs[granularity], profile_for(variant)
        facts = context()
        when = {key: facts[key] for key in ("date_utc", "commit", "load_1_5_15_min")}
        base: dict[str, Any] = {"network": name, "variant": variant, "granularity": granularity} | when
        nothing = {
            "level": None,
            "expected_ms": None,
            "measured_ms": None,
            "error": None,
            "refused": None,
            "model_ms": None,
            "model_error": None,
        }
        try:
            began = time.perf_counter()
            expected = [_expected_ms(graph, variant, profile)]
            took_s = time.perf_counter() - began
            measured = _measured_ms(graph, variant, seconds)
            expected.append(_expected_ms(graph, variant, profile))
            model = _model_ms(graph, variant, profile)
        except ElsaError as error:
            rows.append({**base, **nothing, "refused": str(error)[:300], "forecast_s": None})
            continue
        rows += [
            {
                **base,
                "level": level.name,
                "expected_ms": told,
                "measured_ms": found,
                "error": told / found - 1,
                "model_ms": by_model,
                "model_error": None if by_model is None else by_model / found - 1,
                "refused": None,
                "forecast_s": took_s,
            }
            for level, told, found, by_model in zip(
                graph.ladder, np.median(expected, axis=0).tolist(), measured, model, strict=True
            )
        ]
    return rows


def _old_rows(measured: set[tuple[str, str]]) -> list[Row]:
    """Return rows of an earlier run that were not measured again, of this kind of machine only."""
    path = RESULTS / "preflight.json"
    if not path.is_file():
        return []
    old = json.loads(path.read_text())
    if not same_machine(context(), old["context"]):
        return []
    return [row for row in old["rows"] if (row["network"], row["variant"]) not in measured]


def _claims(rows: list[Row]) -> list[Claim]:
    claims = []
    for network in dict.fromkeys(row["network"] for row in rows):
        for word, variants in (("float32", VARIANTS[:2]), ("8 bits", VARIANTS[2:])):
            errors = [
                abs(row["error"])
                for row in rows
                if row["network"] == network and row["variant"] in variants and row["error"] is not None
            ]
            worst = max(errors, default=None)
            claims.append(
                Claim(
                    f"{network}, {word}: largest error of an expected time over all levels",
                    _GOAL,
                    worst,
                    worst is not None and worst <= _GOAL,
                )
            )
    return claims


@benchmark("preflight", parts_option("network", NETWORKS), parts_option("variant", VARIANTS))
def main(quick: bool, networks: tuple[str, ...], variants: tuple[str, ...]) -> Result:
    """Expected beside measured times."""
    rows: list[Row] = []
    for name in networks or NETWORKS[: 1 if quick else None]:
        rows += _rows(name, variants or VARIANTS, 1.0 if quick else _SECONDS)
    if not quick:
        rows = _old_rows({(row["network"], row["variant"]) for row in rows}) + rows
    return Result(rows, _claims(rows))


if __name__ == "__main__":
    main()
