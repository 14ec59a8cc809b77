"""The proof of a bundle that is being built: each variant through its own runtime, at every level, against the oracle.

|variant - canonical| <= what it promises, answers follow inputs, memory <= the device's: else an error of its own
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from elsa_edge.bundle import Bundle
from elsa_edge.errors import ContractError, ElsaError, ExportError, RuntimeUnavailableError, first_line
from elsa_edge.files import scratch_folder
from elsa_edge.loading import why_not_loadable
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.progress import told
from elsa_edge.proof.tolerance import RELATIVE
from elsa_edge.running.peak_memory import Peak, watch_peak
from elsa_edge.verify import VariantCheck, check_variant

__all__ = ["prove_variants"]

Progress = Callable[[str], None]

_IN_PIECES: Final = (
    "TFLite runs a batch in pieces: where samples meet in the network (a mean over the batch), export with the batch "
    "that the device runs (elsa-edge export --batch N), or build an ONNX Runtime variant"
)


def prove_variants(bundle: Bundle, profile: DeviceProfile, tell: Progress) -> dict[str, ElsaError]:
    """Run every level of every variant through its adapter, in the form in which it will run on the device.

    Args:
        bundle: What was built.
        profile: The device; its memory is a limit here, too.
        tell: Called with a line for each variant that is proved.

    Returns:
        The variants that are not proved, and why. One that fails does not take the others with it.
    """
    failures: dict[str, ElsaError] = {}
    with scratch_folder() as cache:
        for done, variant in enumerate(bundle.manifest.variants, start=1):
            reason = why_not_loadable(variant)
            if reason is not None:
                failures[variant.name] = RuntimeUnavailableError(
                    f"{variant.name} cannot be proved here: {reason}",
                    fix="Install the runtime, or leave the variant out with --variant",
                )
                continue
            try:
                with _own_errors(variant.name), watch_peak() as peak:
                    check = check_variant(bundle, variant, profile, Path(cache))
                _require(check)
                _require_memory(variant.name, peak, profile)
            except ElsaError as error:
                failures[variant.name] = error
                continue
            worst = max(level.max_difference for level in check.levels)
            promise = variant.relative_tolerance
            own = (
                f", within the {promise:.2g} of the output's size that it promises"
                if promise > RELATIVE
                else ""
            )
            points = f" and {len(check.switch_points)} switch points" if check.switch_points else ""
            needs = "" if peak.grown_bytes is None else f"; {peak.grown_bytes / 1e6:.0f} MB of memory at most"
            line = (
                f"{variant.name}: proved at {len(check.levels)} levels{points}, "
                f"largest difference {worst:.2g}{own}{needs}"
            )
            tell(told(line, done / len(bundle.manifest.variants)))
    return failures


def _require_memory(variant: str, peak: Peak, profile: DeviceProfile) -> None:
    """Refuse a variant that needs more memory here, when it is opened and run, than the device has at all."""
    limit_mb = profile.hardware.memory_mb
    if peak.grown_bytes is not None and peak.grown_bytes > limit_mb * 1e6:
        raise ExportError(
            f"{variant} needs more memory than {profile.name} has",
            expected=f"at most {limit_mb} MB (hardware.memory_mb)",
            found=f"{peak.grown_bytes / 1e6:.0f} MB when it was opened and run at every level",
            fix="Take fewer levels, or ort-levels, which loads one level at a time",
        )


@contextlib.contextmanager
def _own_errors(variant: str) -> Iterator[None]:
    """Turn what a proof stumbles over into an error of its variant: it takes no other with it."""
    try:
        yield
    except (ElsaError, OSError, MemoryError):
        raise
    except Exception as error:
        raise ExportError(
            f"{variant} cannot be proved ({type(error).__name__}: {first_line(error)})",
            fix="Leave it out, and please report it, with --debug",
        ) from error


def _require(check: VariantCheck) -> None:
    for level in check.levels:
        within = level.max_difference <= level.allowed
        if within and not level.follows_inputs:
            raise ContractError(
                f"{check.name} answers the same to different inputs at level {level.level} ({level.name})",
                fix="Leave that level out, or cut less or otherwise",
            )
        if not level.ok:
            agreement = "" if level.agreement is None else f", agreement {level.agreement:.3g}"
            raise ContractError(
                f"{check.name} differs from the canonical graph at level {level.level} ({level.name})",
                expected=f"a difference of at most {level.allowed:.3g}",
                found=f"{level.max_difference:.3g}{agreement}",
                fix=_IN_PIECES if check.runtime == "litert" and not within else None,
            )
    for point in check.switch_points:
        if not point.ok:
            raise ContractError(
                f"{check.name} differs from the oracle where its segments run at levels {_shown(point.levels)}",
                expected=f"a difference of at most {point.allowed:.3g}",
                found=f"{point.max_difference:.3g}",
            )


def _shown(levels: Sequence[int]) -> str:
    return ", ".join(map(str, levels))
