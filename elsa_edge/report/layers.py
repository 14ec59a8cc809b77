"""The heat map of a report: for each layer, which share of its weights every level uses, and what it costs there.

    shade of a density     density
    shade of a time        time / largest time of the variant's layers
    together               the sum over all operators that the runtime tells of

Text comes first: a shade repeats what its cell says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from elsa_edge.report.record import LayerFact, LayerTime, Record
from elsa_edge.report.tables import Shade, Table, number, percent

__all__ = ["layer_tables"]

# An operator without weights of its own is shown alone when it takes at least this share of a level's time.
_WORTH_A_ROW: Final = 0.01
# A page stays quick with so many rows of all variants together; the record in it has every layer.
_MOST_ROWS: Final = 240
_ABOUT_TIMES: Final = (
    "Milliseconds by the runtime's own profiling, which slows a network down a little: compare layers, not the sums "
    "with the table of levels. A layer is its weights' operator with what is fused to it or follows it element by "
    "element. "
)
_ABOUT_DENSITY: Final = "Density: the share of the layer's weights that a level uses. The darker, the more."


def layer_tables(record: Record) -> list[Table]:
    """Return a table per variant whose layers were timed; one of densities alone where none was."""
    variants = dict.fromkeys(layer.variant for layer in record.layer_times)
    if not variants:
        return [_densities(record)] if record.layers else []
    return [_times(record, variant, _MOST_ROWS // len(variants)) for variant in variants]


def _densities(record: Record) -> Table:
    names = [level.name for level in record.levels]
    shades: dict[tuple[int, int], Shade] = {}
    rows = []
    for place, layer in enumerate(record.layers):
        shades |= _density_shades(place, 1, layer)
        shape = "x".join(map(str, layer.shape))
        rows.append((layer.name, shape, *(percent(share) for share in layer.densities)))
    return Table(
        "Which weights each level uses",
        f"{_ABOUT_DENSITY} Times of layers were not measured.",
        ("layer", "shape", *names),
        tuple(rows),
        shades=shades,
    )


def _times(record: Record, variant: str, most_rows: int) -> Table:
    names = [level.name for level in record.levels]
    facts = {layer.name: layer for layer in record.layers}
    timed = [layer for layer in record.layer_times if layer.variant == variant]
    told = {layer.name for layer in timed}
    sums = _sums(timed, len(names))
    worth = [layer for layer in timed if layer.name in facts or _counts(layer, sums)]
    slowest = sorted(worth, key=lambda layer: -max(ms or 0.0 for ms in layer.level_ms))[:most_rows]
    kept = {layer.name for layer in slowest}
    single = [layer for layer in worth if layer.name in kept]
    small = [layer for layer in timed if layer.name not in kept]
    most_ms = max((ms for layer in single for ms in layer.level_ms if ms is not None), default=0.0)
    rows: list[tuple[str, ...]] = []
    shades: dict[tuple[int, int], Shade] = {}
    for layer in single:
        fact, place = facts.get(layer.name), len(rows)
        densities = ("-",) * len(names) if fact is None else tuple(map(percent, fact.densities))
        if fact is not None:
            shades |= _density_shades(place, 1, fact)
        for level, ms in enumerate(layer.level_ms):
            if ms is not None and most_ms > 0:
                shades[place, 2 + len(names) + level] = Shade("warm", ms / most_ms)
        rows.append((layer.name, layer.kind or "-", *densities, *(number(ms) for ms in layer.level_ms)))
    for fact in record.layers[:most_rows]:
        if fact.name not in told:
            shades |= _density_shades(len(rows), 1, fact)
            rows.append((fact.name, "not told apart", *map(percent, fact.densities), *("-",) * len(names)))
    blank = ("",) * len(names)
    if small:
        left = _sums(small, len(names))
        what = "other layers" if len(worth) > len(single) else "small operators"
        rows.append((f"{len(small)} {what}", "-", *blank, *(number(ms) for ms in left)))
    rows.append(("together", "-", *blank, *(number(ms) for ms in sums)))
    return Table(
        f"Which layers take the time: {variant}",
        _ABOUT_TIMES + _ABOUT_DENSITY,
        ("layer", "kernels", *(f"{name} density" for name in names), *(f"{name} ms" for name in names)),
        tuple(rows),
        frozenset({len(rows) - 1}),
        shades,
    )


def _density_shades(place: int, before: int, layer: LayerFact) -> dict[tuple[int, int], Shade]:
    return {(place, before + 1 + level): Shade("cool", share) for level, share in enumerate(layer.densities)}


def _sums(layers: Sequence[LayerTime], levels: int) -> list[float]:
    return [sum(layer.level_ms[level] or 0.0 for layer in layers) for level in range(levels)]


def _counts(layer: LayerTime, sums: Sequence[float]) -> bool:
    return any(
        ms is not None and ms >= _WORTH_A_ROW * whole for ms, whole in zip(layer.level_ms, sums, strict=True)
    )
