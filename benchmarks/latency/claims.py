"""The figures that the plan of the nested kernels asks for, each beside what the rows say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from benchmarks.common import Claim, Row, at_least, at_most

__all__ = ["TARGETS", "claims_of", "layer_claims"]

# network, granularity -> speed-up over dense to reach at 80, 90, 95 % zeros
TARGETS: Final = {
    ("resnet18", "unstructured"): (1.4, 2.4, 4.0),
    ("resnet50", "unstructured"): (1.4, 2.4, 4.0),
    ("resnet18", "block"): (2.7, 4.5, 6.5),
    ("resnet50", "block"): (2.7, 4.5, 6.5),
    ("mobilenet_v2", "unstructured"): (1.2, 1.8, 2.3),
    ("efficientnet_lite0", "unstructured"): (1.2, 1.8, 2.3),
    ("mobilenet_v2", "block"): (1.5, 2.2, 2.6),
    ("efficientnet_lite0", "block"): (1.5, 2.2, 2.6),
    ("mlp", "unstructured"): (2.0, 4.0, 7.0),
}
_SPARSITIES: Final = (0.8, 0.9, 0.95)
_OURS: Final = ("ort-nested", "ort-nested-int8")

Key = tuple[str, str, str, float]


def _speeds(rows: Iterable[Row], column: str) -> dict[Key, float]:
    """Return (network, granularity, engine, sparsity) -> a column of the rows with one thread."""
    return {
        (row["network"], row["granularity"], row["engine"], row["sparsity"]): row[column]
        for row in rows
        if row.get("threads") == 1 and "sparsity" in row
    }


def claims_of(rows: Sequence[Row]) -> list[Claim]:
    """Return every claim about whole networks that the rows can answer, and those that they should have."""
    speed = _speeds(rows, "speedup")
    claims = list(_table(speed))
    # The lowest of a hundred noisy ratios lies low even where all are one; the others say whether that is noise.
    for column, meaning in (
        ("speedup", "medians"),
        ("quiet_speedup", "low deciles"),
        ("speedup_high", "upper ends of the intervals"),
    ):
        ours = {key: value for key, value in _speeds(rows, column).items() if key[2] == _OURS[0]}
        if ours:
            worst = min(ours, key=lambda key: ours[key])
            where = f"{worst[0]}, {worst[1]}, {worst[3]:.0%}"
            claims.append(
                at_least(
                    f"no level of any network below dense ({meaning}; lowest: {where})", 0.97, ours[worst]
                )
            )
    claims += _against_int8(speed)
    claims += _against_peers(speed)
    switches = [row["speedup"] for row in rows if row.get("engine") == "switch of level"]
    if switches:
        claims.append(
            at_most(
                "a switch of level in every inference over staying (worst network)", 1.02, 1 / min(switches)
            )
        )
    return [*claims, *_memory(rows)]


def _table(speed: dict[Key, float]) -> Iterable[Claim]:
    for (network, granularity), targets in TARGETS.items():
        for sparsity, target in zip(_SPARSITIES, targets, strict=True):
            found = speed.get((network, granularity, _OURS[0], sparsity))
            if found is not None:
                yield at_least(
                    f"{network}, {granularity}, {sparsity:.0%}: speed-up over dense", target, found
                )


def _best(speed: dict[Key, float], network: str, granularity: str, sparsity: float) -> float | None:
    found = [speed.get((network, granularity, engine, sparsity)) for engine in _OURS]
    return max((value for value in found if value is not None), default=None)


def _against_int8(speed: dict[Key, float]) -> Iterable[Claim]:
    for (network, granularity, engine, sparsity), value in speed.items():
        if engine == "ort-int8" and sparsity == 0.0 and network in ("resnet18", "resnet50", "mlp"):
            ours = _best(speed, network, granularity, 0.95)
            if ours is not None:
                yield at_least(
                    f"{network}, {granularity}: 95 % against ONNX Runtime's dense int8", 1.0, ours / value
                )


def _against_peers(speed: dict[Key, float]) -> Iterable[Claim]:
    """Compare at 90 %, each side with ONNX Runtime's dense network measured in the same way."""
    networks = dict.fromkeys(key[0] for key in speed if key[2] == "ort-dense (own process)")
    for network in networks:
        for peer in ("deepsparse-sparse", "openvino-sparse", "openvino-int8-sparse", "litert-sparse"):
            ours = (
                _best(speed, network, "unstructured", 0.9)  # int8 against int8, where that is our faster one
                if "int8" in peer
                else speed.get((network, "unstructured", _OURS[0], 0.9))
            )
            theirs = speed.get((network, "unstructured", peer, 0.9))
            measured = None if ours is None or theirs is None else ours / theirs
            yield at_least(f"{network}, unstructured, 90 %: faster than {peer}", 1.0, measured)


def _memory(rows: Iterable[Row]) -> Iterable[Claim]:
    found = [row for row in rows if row.get("engine") == "memory, bytes"]
    if not found:
        return
    questions: tuple[tuple[str, float, Callable[[Row], float]], ...] = (
        (
            "anonymous memory with all levels used over a dense session's",
            1.1,
            lambda row: row["anonymous"] / row["dense_anonymous"],
        ),
        (
            "resident pages of the data file at level 0 over level 0's bytes",
            1.3,
            lambda row: row["level_0_file_pages"] / row["level_0_bytes"],
        ),
        # Python's own heap grows by some pages now and then; one buffer of an inference would be far more.
        (
            "100 switches of level: growth of anonymous memory, KB",
            64.0,
            lambda row: max(0, row["switching_grows"]) / 1024,
        ),
        (
            "switching: peak of memory over that of staying, KB",
            64.0,
            lambda row: max(0, row["switching_peak"] - row["staying_peak"]) / 1024,
        ),
    )
    for question, target, value in questions:
        for levels in sorted({row["levels"] for row in found}):
            of_these = [row for row in found if row["levels"] == levels]
            worst = max(of_these, key=value)
            claim = f"{question} ({levels} levels; worst: {worst['network']})"
            yield at_most(claim, target, round(value(worst), 4))


def layer_claims(layers: Sequence[Row]) -> list[Claim]:
    """Return the claim about single 3x3 layers at 90 %."""
    shares = [row["share_of_peak"] for row in layers if row["kernel"] == 3 and row["block_rows"] == 1]
    mean = sum(shares) / len(shares)
    return [
        at_least(
            "3x3 layers at 90 %, unstructured: share of the multiply-add peak on nonzeros (mean)", 0.35, mean
        )
    ]
