"""Run the comparison on this board: every network of a kit, every engine that is here, then minutes of work.

The result is one JSON object that its owner may contribute. Nothing in it names a person, a host or a network.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from elsa_edge.board.conditions import board_facts, flags_of, read
from elsa_edge.board.kit import KitNet
from elsa_edge.board.ncnn import installed
from elsa_edge.board.rows import LeftOut, comparison_of, label_of
from elsa_edge.board.sustained import keep_running, sustained_json
from elsa_edge.board.timing import NCNN, Request, open_run, time_beside
from elsa_edge.bundle import Bundle, Variant
from elsa_edge.errors import ElsaError, RuntimeUnavailableError
from elsa_edge.loading import choices_of, open_for, why_not_loadable
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.progress import Tell, told

__all__ = ["FORMAT", "Suite", "run_suite"]

FORMAT: Final = 1
_PACKAGES: Final = ("elsa-edge", "numpy", "onnxruntime", "ai-edge-litert", "tflite-runtime", "ncnn")
_MOST_THREADS: Final = 4
_OURS: Final = ("ort-nested", "nested-int8")
# Of the whole, for the time that is left: rows; the rest is minutes of work.
_ROWS: Final = 0.6


@dataclass(frozen=True, slots=True)
class Suite:
    """How long everything takes.

    Attributes:
        row_s: Turns of one engine, all its levels together.
        sustained_s: Minutes of work.
        threads: Threads of every engine.
        quick: Whether this was only a try; its figures are no measurement.
    """

    row_s: float = 20.0
    sustained_s: float = 600.0
    threads: int = field(default_factory=lambda: min(_MOST_THREADS, os.cpu_count() or 1))
    quick: bool = False


def run_suite(nets: Sequence[KitNet], suite: Suite, tell: Tell) -> dict[str, Any]:
    """Return everything that was measured on this board.

    Args:
        nets: The networks of a kit.
        suite: How long.
        tell: Called with a line for each step.

    Raises:
        RuntimeUnavailableError: When no engine of any network is here.
        BundleError: When a bundle of the kit is damaged.
    """
    rows: list[dict[str, Any]] = []
    left_out: list[LeftOut] = []
    heavy: tuple[KitNet, Variant] | None = None
    for number, net in enumerate(nets):
        bundle, _ = open_for(net.bundle, None)
        compared = comparison_of(net.name, bundle.manifest.variants, why_not_loadable)
        left_out += compared.left_out
        if compared.base is None:
            continue
        heavy = (net, compared.base)
        for request in _requests(net, compared.base, compared.variants, suite):
            tell(
                told(
                    f"{net.name}: {request.variant} {request.choice or ''}".rstrip(),
                    _ROWS * number / len(nets),
                )
            )
            rows += _rows(net, bundle, request, left_out)
        left_out += _without_ncnn(net)
    if heavy is None:
        raise RuntimeUnavailableError(
            "No engine that is compared is installed here",
            found="; ".join(f"{one.what}: {one.reason}" for one in left_out),
            fix="pip install 'elsa-edge[ort]', and 'elsa-edge[litert]' for more rows",
        )  # fmt: skip
    sustained = _sustained(*heavy, suite, tell) if suite.sustained_s > 0 else None
    return {
        "suite": "board", "format": FORMAT, "quick": suite.quick, "board": board_facts(), "versions": _versions(),
        "threads": suite.threads, "load_average": round(os.getloadavg()[0], 2), "rows": rows,
        "left_out": [asdict(one) for one in left_out], "sustained": sustained,
    }  # fmt: skip


def _requests(net: KitNet, base: Variant, variants: Sequence[Variant], suite: Suite) -> Iterator[Request]:
    def asked(variant: str, choice: str | None = None, ncnn: str | None = None) -> Request:
        return Request(str(net.bundle), base.name, variant, choice, ncnn, suite.threads, suite.row_s)

    for variant in variants:
        for choice in choices_of(variant) or (None,):
            yield asked(variant.name, choice)
    if net.ncnn is not None and installed():
        yield asked(NCNN, ncnn=str(net.ncnn))


def _without_ncnn(net: KitNet) -> Iterator[LeftOut]:
    if net.ncnn is None:
        yield LeftOut(net.name, NCNN, "the kit has nothing for it")
    elif not installed():
        yield LeftOut(net.name, NCNN, "it is not installed here (pip install ncnn)")


def _rows(net: KitNet, bundle: Bundle, request: Request, left_out: list[LeftOut]) -> list[dict[str, Any]]:
    """Time one engine; where that fails it is left out, and said."""
    before = read()
    try:
        timed = time_beside(request)
    except ElsaError as error:
        left_out.append(LeftOut(net.name, request.variant, str(error)))
        return []
    after = read()
    ncnn = request.variant == NCNN
    engine, precision = (NCNN, "float32") if ncnn else label_of(bundle.manifest.variant(request.variant))
    ladder = bundle.manifest.ladder[-1:] if ncnn else bundle.manifest.ladder
    return [
        {
            "network": net.name, "engine": engine, "precision": precision, "variant": request.variant,
            "choice": request.choice, "level": ladder[one.level].name, "sparsity": ladder[one.level].sparsity,
            "p50_ms": round(one.p50_ms, 4), "p95_ms": round(one.p95_ms, 4), "runs": one.runs,
            "times_as_fast_as_dense": round(one.ratio, 3), "temperature_c": after.temperature_c,
            "clock_mhz": after.clock_mhz, "flags": flags_of([before, after]),
        }
        for one in timed
    ]  # fmt: skip


def _sustained(net: KitNet, base: Variant, suite: Suite, tell: Tell) -> dict[str, Any]:
    """Let the last network work: the base's densest level and, where it runs here, ours."""
    bundle, profile = open_for(net.bundle, None, check_hashes=False)
    ours = next((v for name in _OURS for v in bundle.manifest.variants if v.name == name), None)
    variants = [base] if ours is None or why_not_loadable(ours) else [base, ours]
    with ExitStack() as keep:
        runs = []
        for variant in variants:
            run, count = open_run(bundle, _on(profile, suite.threads), variant.name, None, keep)
            runs.append(lambda run=run, count=count: run(count - 1))
        slices = keep_running(
            runs, suite.sustained_s, lambda share: tell(told("minutes of work", _ROWS + (1 - _ROWS) * share))
        )
    return sustained_json(net.name, [label_of(variant)[0] for variant in variants], slices)


def _on(profile: DeviceProfile, threads: int) -> DeviceProfile:
    return profile.model_copy(update={"runtime": profile.runtime.model_copy(update={"threads": threads})})


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
