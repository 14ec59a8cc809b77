"""Where to cut a network into segments: at cheap borders, so that each segment takes about as long as the others. Pure.

    cost = sum over segments (work / total)^2  +  sum over borders PRICE * live bytes / total work

A border is a place in the order of the nodes; what lives across it must be carried from one segment to the next. The
first sum is smallest for equal segments, so a cheap border wins where it leaves them nearly equal.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from elsa_edge.errors import ExportError

__all__ = ["MOST_SEGMENTS", "Place", "choose_borders", "require_segments"]

MOST_SEGMENTS: Final = 16

# Multiply-adds for which a byte can be carried: it is written, changed in layout and read again, by processors that do
# some ten multiply-adds in the time of a byte.
_PRICE: Final = 10.0
# More places than this add nothing: one in each so small part of the work is kept, the cheapest.
_MOST_PLACES: Final = 256


@dataclass(frozen=True, slots=True)
class Place:
    """A place between two nodes.

    Attributes:
        work_before: Work of everything before it.
        live_bytes: Bytes of the tensors that are made before it and read after it, at batch 1; None where it cannot
            be cut, because one of them is not a plain tensor of a known type.
        levelled_before: How many nodes before it differ by level.
    """

    work_before: float
    live_bytes: int | None
    levelled_before: int


def require_segments(segments: int) -> None:
    """Refuse a number of segments that no network is cut into.

    Raises:
        ExportError: When it is not from 2 to `MOST_SEGMENTS`.
    """
    if not 2 <= segments <= MOST_SEGMENTS:
        raise ExportError(
            "A network cannot be cut into so many segments",
            expected=f"--reroute from 2 to {MOST_SEGMENTS}",
            found=segments,
        )


def choose_borders(places: Sequence[Place], total: Place, segments: int) -> list[int]:
    """Return the places to cut at, in order: `segments - 1` of them.

    Args:
        places: All places, in the order of the network.
        total: What would stand behind the last node.
        segments: How many segments are wanted.

    Raises:
        ExportError: When there are too few places: each segment needs a node that differs by level.
    """
    require_segments(segments)
    usable = _cheapest([k for k, place in enumerate(places) if place.live_bytes is not None], places, total)
    nodes = [Place(0.0, 0, 0), *(places[k] for k in usable), total]
    last = len(nodes) - 1
    work = max(total.work_before, 1.0)
    # best[j] = (cost, place before) of cutting what lies before place j into so many segments
    best = [(0.0, 0) if j == 0 else (math.inf, 0) for j in range(last + 1)]
    ways: list[list[tuple[float, int]]] = []
    for _ in range(segments):
        best = [
            min(
                (
                    (best[i][0] + _cost(nodes[i], nodes[j], work), i)
                    for i in range(j)
                    if nodes[i].levelled_before < nodes[j].levelled_before
                ),
                default=(math.inf, 0),
            )
            for j in range(last + 1)
        ]
        ways.append(best)
    if math.isinf(best[last][0]):
        most = _most(nodes)
        raise ExportError(
            "The network cannot be cut into so many segments: each needs a layer that differs by level",
            expected=f"--reroute up to {most}" if most > 1 else "no --reroute: it has one such layer",
            found=segments,
        )
    borders = []
    at = last
    for ways_of in reversed(ways[1:]):
        at = ways_of[at][1]
        borders.append(usable[at - 1])
    return borders[::-1]


def _cost(start: Place, end: Place, work: float) -> float:
    share = (end.work_before - start.work_before) / work
    return share * share + _PRICE * (end.live_bytes or 0) / work


def _cheapest(usable: list[int], places: Sequence[Place], total: Place) -> list[int]:
    """Keep the cheapest place of each small part of the work, and never lose a step in the levels."""
    if len(usable) <= _MOST_PLACES:
        return usable
    scale = _MOST_PLACES / max(total.work_before, 1.0)
    parts = itertools.groupby(usable, key=lambda k: int(places[k].work_before * scale))
    return [min(part, key=lambda k: (places[k].live_bytes or 0, k)) for _, part in parts]


def _most(nodes: Sequence[Place]) -> int:
    """Return into how many segments the places allow to cut."""
    levels = sorted({place.levelled_before for place in nodes})
    return min(MOST_SEGMENTS, len(levels) - 1)
