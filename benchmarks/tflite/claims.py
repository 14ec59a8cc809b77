"""What the TFLite variants should reach, each as a line: sentence, target, and the figure read from the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.common import Claim, Row, at_least, at_most
from elsa_edge.proof.tolerance import RELATIVE

__all__ = ["TRAINED", "claims_of"]

TRAINED: Final = "fashion (trained, 500 test images)"

Figure = Callable[[Sequence[Row], str], float | None]


@dataclass(frozen=True, slots=True)
class _Line:
    """A claim about each of some networks; none means one claim about all rows.

    Attributes:
        claim: The sentence; `{}` stands for the network.
        compare: `at_most` or `at_least`.
        target: The figure to reach.
        networks: Which networks; those that were not measured are left out.
        figure: (rows, network) -> what was reached, None where it could not be measured.
    """

    claim: str
    compare: Callable[[str, float, float | None], Claim]
    target: float
    networks: tuple[str, ...]
    figure: Figure


def _of(rows: Sequence[Row], network: str, variant: str) -> Row:
    """Return the row of a network and a variant.

    Raises:
        LookupError: When it was not measured.
    """
    for row in rows:
        if (row["network"], row["variant"]) == (network, variant):
            return row
    raise LookupError(network, variant)


def _over_allowed(rows: Sequence[Row], _: str) -> float:
    return max(float(row["difference"] / row["allowed"]) for row in rows if "allowed" in row)


def _sparse_over_dense(rows: Sequence[Row], network: str) -> float:
    sparse, dense = (
        _of(rows, network, name)["bytes_by_level"] for name in ("tflite-sparse", "tflite-levels")
    )
    share: float = sparse[1] / dense[-1]
    return share


def _together_over_dense(rows: Sequence[Row], network: str) -> float:
    row = _of(rows, network, "three sparse levels in one file")
    share: float = row["bytes"] / row["dense_bytes"]
    return share


def _switching(rows: Sequence[Row], network: str) -> float:
    ratio: float = _of(rows, network, "switch between signatures")["ratio"]
    return ratio


def _memory(rows: Sequence[Row], network: str) -> float:
    every, one = (
        _of(rows, network, name)["anonymous_bytes"]
        for name in ("lowest-RAM mode, all levels in turn", "one interpreter")
    )
    share: float = every / one
    return share


def _lost_points(rows: Sequence[Row], _: str) -> float:
    row = _of(rows, TRAINED, "tflite-int8")
    pairs: list[tuple[float, float]] = list(zip(row["float_accuracy"], row["int8_accuracy"], strict=True))
    return max(100.0 * (a - b) for a, b in pairs)


def _export_s(rows: Sequence[Row], network: str) -> float:
    return sum(
        float(_of(rows, network, variant)["export_cpu_s"])
        for variant in ("tflite-levels", "tflite-sparse", "tflite-int8")
    )


def _gain(rows: Sequence[Row], network: str) -> float | None:
    """Return how much faster sparse is; None when AVX was not hidden, or the kernels were not other ones."""
    row: dict[str, Any] = _of(rows, network, "90 % sparse on the SSE stand-in")
    real = row["hidden"] and row["relative_difference"] <= RELATIVE and not row["same_bits"]
    return float(row["gain"]) if real else None


_MOBILE: Final = ("mobilenet_v2", "efficientnet_lite0", "mlp")
_FIRST: Final = ("mobilenet_v2", "mlp")
_TABLE: Final = (
    _Line(
        "largest difference of all variants and levels over what is allowed", at_most, 1.0, (), _over_allowed
    ),
    _Line("{}: sparse file at 90 % over the dense file", at_most, 0.25, _MOBILE, _sparse_over_dense),
    _Line(
        "{}: three sparse levels in one file over one dense file", at_most, 0.8, _FIRST, _together_over_dense
    ),
    _Line("{}: switch of signature plus inference over one inference", at_most, 1.1, _FIRST, _switching),
    _Line("{}: memory of the lowest-RAM mode over one interpreter", at_most, 1.2, _FIRST, _memory),
    _Line("int8: points of accuracy lost at any level of a trained network", at_most, 1.0, (), _lost_points),
    _Line(
        "{} to all TFLite variants, CPU seconds of one core", at_most, 60, ("efficientnet_lite0",), _export_s
    ),
    _Line(
        "{} at 90 %: dense over sparse on the SSE stand-in (AVX hidden; not ARM)",
        at_least,
        3.0,
        ("mobilenet_v1",),
        _gain,
    ),
)


def claims_of(rows: Sequence[Row]) -> list[Claim]:
    """Return the claims about what was measured."""
    claims = []
    for line in _TABLE:
        for network in line.networks or ("",):
            try:
                figure = line.figure(rows, network)
            except LookupError:  # not measured in this run
                continue
            claims.append(line.compare(line.claim.format(network), line.target, figure))
    return claims
