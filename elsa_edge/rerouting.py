"""Write a variant as a chain of segments, by whichever exporter writes the whole one, and prove its switch points.

    cut -> export each segment -> one entry of the manifest -> the oracle's answers at switch points

An exporter knows nothing of it: each segment is a canonical graph like another. A variant with a file per level stays
whole, because a change of level there loads a file, in the middle of an inference.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy.typing as npt

from elsa_edge.bundle import Golden, Variant
from elsa_edge.bundle.instructions import Levels, TfliteFiles
from elsa_edge.bundle.rerouted import SWITCH_POINTS, Rerouted, Segment, SwitchPoint, segment_role
from elsa_edge.inputs import take_samples
from elsa_edge.plugins import Exporter
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.tensors import BATCH

if TYPE_CHECKING:
    from elsa_edge.graph.segments import Segments

__all__ = ["export_rerouted", "switch_points"]

Array = npt.NDArray[Any]

_MOST_POINTS: Final = 24
_ANSWERS: Final = "switch_points.npz"


def switch_points(segments: int, levels: int) -> list[tuple[int, ...]]:
    """Return the vectors of levels to prove, one level per segment: one change each, and one of several.

    All pairs at all borders where these are few, or else the changes from and to the extremes, at every border.
    """
    top = levels - 1
    pairs = [(dense, sparse) for dense in range(top, 0, -1) for sparse in range(dense)]
    if len(pairs) * (segments - 1) > _MOST_POINTS:
        pairs = list(dict.fromkeys([(top, 0), (top, top - 1), (1, 0)]))
    points = [
        (dense,) * border + (sparse,) * (segments - border)
        for border in range(1, segments)
        for dense, sparse in pairs
    ]
    if levels > 2 and segments > 2:
        points.append(tuple(max(0, top - step) for step in range(segments)))
    return points


def export_rerouted(
    exporter: Exporter,
    segments: Segments,
    profile: DeviceProfile,
    golden: Golden,
    folder: Path,
) -> Variant | None:
    """Write a variant in segments into `folder`; None where the exporter writes a file per level.

    Args:
        exporter: What writes the whole network.
        segments: The network in pieces.
        profile: The device.
        golden: Golden inputs of the whole network.
        folder: An existing, empty folder; it is empty again when None is returned.

    Raises:
        ExportError: When the exporter does not take a segment.
    """
    parts: list[Variant] = []
    for number, (graph, feed) in enumerate(zip(segments.graphs, _feeds(segments, golden), strict=True)):
        place = folder / f"segment_{number}"
        place.mkdir()
        part = exporter.export(graph, profile, feed, place)
        if isinstance(part.instructions, (Levels, TfliteFiles)):
            shutil.rmtree(place)
            return None
        parts.append(part)
    points = _points(segments, golden, folder / _ANSWERS)
    files = {
        segment_role(number, role): f"segment_{number}/{path}"
        for number, part in enumerate(parts)
        for role, path in part.files.items()
    }
    agreements = [part.minimum_agreement for part in parts if part.minimum_agreement is not None]
    return Variant(
        name=exporter.name,
        runtime=exporter.runtime,
        files={**files, SWITCH_POINTS: _ANSWERS},
        instructions=Rerouted(
            segments=tuple(
                Segment.model_validate(
                    {
                        "instructions": part.instructions,
                        "inputs": tuple(graph.inputs),
                        "outputs": tuple(graph.outputs),
                        "work": tuple(round(share, 6) for share in shares),
                        "level_bytes": part.level_bytes,
                    }
                )
                for part, graph, shares in zip(parts, segments.graphs, segments.shares(), strict=True)
            ),
            switch_points=tuple(SwitchPoint(levels=levels) for levels in points),
        ),
        notes={
            "live_bytes_at_borders": list(segments.live_bytes),
            "segments": [part.notes for part in parts],
        },
        relative_tolerance=max(part.relative_tolerance for part in parts),
        minimum_agreement=min(agreements) if agreements else None,
        level_bytes=tuple(map(sum, zip(*(part.level_bytes for part in parts), strict=True)))
        if all(part.level_bytes for part in parts)
        else (),
    )


def _feeds(segments: Segments, golden: Golden) -> list[Golden]:
    """Return golden inputs and answers of each segment, fed by those before it at the densest level.

    A segment that reads a tensor without a batch of its own (flattened with another size, say) gets one sample: nobody
    could take one out of it later.
    """
    from elsa_edge.graph.oracle import open_canonical

    whole = segments.whole.inputs
    every: dict[str, Array] = dict(golden.inputs)
    first: dict[str, Array] = take_samples(whole, golden.inputs, 0, 1)
    feeds = []
    for graph in segments.graphs:
        run, levels = open_canonical(graph), range(len(graph.ladder))
        batched = all(BATCH in spec.sizes for spec in graph.inputs.values())
        for values in (first, every):
            inputs = {name: values[name] for name in graph.inputs}
            answers = tuple(run(inputs, level) for level in levels)
            values.update(answers[-1])
            feed = Golden(inputs, answers)
            if values is first:
                single = feed
        feeds.append(feed if batched else single)
    return feeds


def _points(segments: Segments, golden: Golden, file: Path) -> list[tuple[int, ...]]:
    """Write the oracle's answers at the switch points, and return these."""
    from elsa_edge.graph.rerouted import run_rerouted

    points = switch_points(len(segments.graphs), len(segments.whole.ladder))
    answers: tuple[Mapping[str, Array], ...] = run_rerouted(segments, golden.inputs, points)
    Golden(golden.inputs, answers).save(file)
    return points
