"""Check a bundle with nothing but the bundle: hashes, and every level of every variant against the golden outputs.

max |variant - canonical| <= max(tolerance, 8 * noise) * max |canonical|        for each output, level and batch size
max |variant(x) - variant(x')| far above that                               for different inputs x and x', at each level
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy.typing as npt

from elsa_edge.bundle import Bundle, Golden, Tolerance, Variant
from elsa_edge.bundle.rerouted import SWITCH_POINTS, Rerouted
from elsa_edge.bundle.signature import Accepted
from elsa_edge.errors import BundleError, ElsaError, RuntimeUnavailableError
from elsa_edge.loading import CachePath, choices_of, open_adapter, open_for, why_not_loadable
from elsa_edge.plugins import Opened
from elsa_edge.plugins.chain import Chain
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.progress import told
from elsa_edge.proof.comparing import Comparison, agreement, compare
from elsa_edge.proof.information import spread, told_apart
from elsa_edge.proof.making import given, made_up
from elsa_edge.tensors import TensorSpec

__all__ = ["LevelCheck", "SwitchPointCheck", "VariantCheck", "Verification", "check_variant", "verify_bundle"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class LevelCheck:
    """How one level of a variant compares with the golden outputs.

    Attributes:
        level: Its number.
        name: Its name in the ladder.
        max_difference: Largest absolute difference of the output that is nearest to its limit, over all batch sizes;
            infinite where shapes or NaNs differ.
        allowed: What the contract allows for that output.
        agreement: Share of places whose largest entry along the classes is the same; None where no output has classes.
        follows_inputs: Whether the level answers otherwise to other inputs.
        ok: Whether every output is within the contract.
    """

    level: int
    name: str
    max_difference: float
    allowed: float
    agreement: float | None
    follows_inputs: bool
    ok: bool


@dataclass(frozen=True, slots=True)
class SwitchPointCheck:
    """How one way to change the level inside an inference compares with the oracle's answers.

    Attributes:
        levels: The level of each segment.
        max_difference: As in `LevelCheck`, on the golden inputs. allowed likewise.
        ok: Whether every output is within the contract.
    """

    levels: tuple[int, ...]
    max_difference: float
    allowed: float
    ok: bool


@dataclass(frozen=True, slots=True)
class VariantCheck:
    """How one variant compares; `skipped` says why it could not be loaded here.

    Attributes:
        switch_points: Of a rerouted variant, the worst first; empty for others.
    """

    name: str
    runtime: str
    levels: tuple[LevelCheck, ...] = ()
    skipped: str | None = None
    switch_points: tuple[SwitchPointCheck, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every level and switch point is within the contract; a skipped variant is not."""
        return self.skipped is None and all(level.ok for level in self.levels) and self._points_ok

    @property
    def _points_ok(self) -> bool:
        return all(point.ok for point in self.switch_points)


@dataclass(frozen=True, slots=True)
class Verification:
    """The whole result. `ok` when at least one variant was checked and none failed.

    Attributes:
        bundle: Its folder.
        variants: How each compares.
        not_proved: What the golden inputs do not prove, as the bundle says: parts of outputs that none of them moves.
        accepted: What a device keeps in mind of a signed bundle; None where no signature was demanded.
    """

    bundle: str
    variants: tuple[VariantCheck, ...]
    accepted: Accepted | None = None
    not_proved: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the bundle can be trusted here."""
        checked = [variant for variant in self.variants if variant.skipped is None]
        return bool(checked) and all(variant.ok for variant in checked)

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "bundle": self.bundle,
            "ok": self.ok,
            "not_proved": list(self.not_proved),
            "variants": [
                {
                    "name": variant.name,
                    "runtime": variant.runtime,
                    "ok": variant.ok,
                    "skipped": variant.skipped,
                    "levels": [asdict(level) for level in variant.levels],
                    "switch_points": [asdict(point) for point in variant.switch_points],
                }
                for variant in self.variants
            ],
        }


def verify_bundle(
    path: str | os.PathLike[str],
    *,
    device: str | os.PathLike[str] | DeviceProfile | None = None,
    cache: CachePath = None,
    trusted_keys: Sequence[str | os.PathLike[str]] = (),
    accepted: Accepted | None = None,
    progress: Callable[[str], None] | None = None,
) -> Verification:
    """Check hashes, then the numbers of every variant whose runtime is installed.

    Args:
        path: The bundle.
        device: Profile with the runtime settings; by default the one the bundle was built for.
        cache: Folder for files derived on this device, so that what is checked is what will run.
        trusted_keys: Public keys, one of which must have signed the bundle.
        accepted: The newest bundle that was accepted before; an older one is refused.
        progress: Called with a line for each step.

    Raises:
        BundleError: When a file is missing, changed, extra or escapes, a variant does not load, or the signature is
            not as demanded.
        RuntimeUnavailableError: When not one runtime is installed.

    Example:
        >>> verify_bundle(bundle).ok
        True
    """
    bundle, profile = open_for(path, device, trusted_keys=trusted_keys, accepted=accepted)
    tell = progress or (lambda _: None)
    tell(f"{len(bundle.manifest.files)} files are as the manifest says")
    for sentence in bundle.manifest.not_proved:
        tell(f"note: {sentence}")
    checks = []
    for done, variant in enumerate(bundle.manifest.variants, start=1):
        reason = why_not_loadable(variant)
        if reason is not None:
            checks.append(VariantCheck(variant.name, variant.runtime, skipped=reason))
            tell(f"{variant.name}: skipped, {reason}")
            continue
        check = check_variant(bundle, variant, profile, cache)
        checks.append(check)
        place = "within" if check.ok else "OUTSIDE"
        line = f"{variant.name}: {place} the contract at {len(check.levels)} levels"
        tell(told(line, done / len(bundle.manifest.variants)))
    if all(check.skipped for check in checks):
        raise RuntimeUnavailableError(
            "No variant of the bundle can be loaded here",
            found="; ".join(f"{check.name}: {check.skipped}" for check in checks),
            fix="Install one of the runtimes",
        )
    counter = bundle.manifest.counter
    accepts = Accepted(counter, bundle.identity) if trusted_keys and counter is not None else None
    return Verification(str(bundle.folder), tuple(checks), accepts, bundle.manifest.not_proved)


def check_variant(bundle: Bundle, variant: Variant, profile: DeviceProfile, cache: CachePath) -> VariantCheck:
    """Run a variant on the golden inputs at every level and compare, with every choice that a profile may make.

    Args:
        bundle: The bundle, with its golden inputs and answers.
        variant: Of the bundle.
        profile: Runtime settings.
        cache: Folder for files derived on this device, or None.

    Raises:
        BundleError: When the variant does not load.
        RuntimeUnavailableError: When its runtime is not installed.
    """
    choices = choices_of(variant) or (profile.runtime.choice,)
    runs, points = [], []
    for choice in choices:
        chosen = profile.model_copy(update={"runtime": profile.runtime.model_copy(update={"choice": choice})})
        adapter = open_adapter(bundle, variant, chosen, cache)
        try:
            runs.append(
                [_check_level(adapter, bundle, variant, level) for level in range(len(bundle.ladder))]
            )
            if isinstance(adapter, Chain):
                points += _check_switch_points(adapter, bundle, variant)
        finally:
            adapter.close()
    levels = tuple(map(_worst, zip(*runs, strict=True)))
    points.sort(key=lambda point: (point.ok, -point.max_difference))
    return VariantCheck(variant.name, variant.runtime, levels, switch_points=tuple(points))


def _check_switch_points(chain: Chain, bundle: Bundle, variant: Variant) -> list[SwitchPointCheck]:
    """Change the level inside an inference in every way that the bundle has the oracle's answer to."""
    instructions = variant.instructions
    assert isinstance(instructions, Rerouted)
    points = instructions.switch_points
    answers = Golden.load(bundle.folder / variant.files[SWITCH_POINTS], len(points))
    checks = []
    for point, expected in zip(points, answers.outputs, strict=True):
        levels = point.levels
        if max(levels) >= len(bundle.ladder):
            continue  # of a level that this device did not take

        def tolerance_of(output: str, levels: tuple[int, ...] = levels) -> Tolerance:
            every = [bundle.manifest.tolerance(variant, output, level) for level in set(levels)]
            return max(every, key=lambda tolerance: tolerance.noise)

        def at_border(border: int, _: int, levels: tuple[int, ...] = levels) -> int:
            return levels[border + 1]

        found = chain.run_rerouted(answers.inputs, levels[0], at_border)
        one = compare(found, expected, tolerance_of)
        checks.append(SwitchPointCheck(levels, one.difference, one.allowed, one.ok))
    return checks


def _worst(checks: Sequence[LevelCheck]) -> LevelCheck:
    """Return the check of one level that is worst among the choices of kernels."""
    return min(checks, key=lambda check: (check.ok, -check.max_difference))


def _check_level(adapter: Opened, bundle: Bundle, variant: Variant, level: int) -> LevelCheck:
    def tolerance_of(output: str) -> Tolerance:
        return bundle.manifest.tolerance(variant, output, level)

    worst: Comparison | None = None
    answers: list[dict[str, Array]] = []
    for batch in bundle.golden.batches:
        expected, found = batch.outputs[level], adapter.run(batch.inputs, level)
        if set(found) != set(expected):
            raise BundleError(
                f"The variant {variant.name} has other outputs than the canonical graph",
                expected=", ".join(expected),
                found=", ".join(found),
            )
        one = compare(found, expected, tolerance_of)
        worst = one if worst is None else worst.worse(one)
        answers.append(found)
    assert worst is not None  # there is at least one batch
    golden = bundle.golden
    same = agreement(answers[0], golden.outputs[level], _class_axes(bundle))
    enough = variant.minimum_agreement is None or same is None or same >= variant.minimum_agreement
    follows = _follows(adapter, bundle, level, answers)
    return LevelCheck(
        level=level,
        name=bundle.ladder[level].name,
        max_difference=worst.difference,
        allowed=worst.allowed,
        agreement=same,
        follows_inputs=follows,
        ok=enough and worst.ok and follows,
    )


def _class_axes(bundle: Bundle) -> Mapping[str, int]:
    """Return where outputs have their classes; bundles of before took the last axis."""
    told = bundle.manifest.class_axes
    if told is not None:
        return told
    return {name: array.ndim - 1 for name, array in bundle.golden.outputs[0].items() if array.ndim >= 2}


def _follows(adapter: Opened, bundle: Bundle, level: int, answers: Sequence[Mapping[str, Array]]) -> bool:
    """Tell whether a level answers otherwise to other inputs.

    The golden samples and batches are such inputs; `build` keeps among them what it has seen to move a class. Bundles
    of before may hold one input only: it is changed (`elsa_edge.proof.making.given`), then replaced by made-up ones.
    Runs that the network refuses say nothing.
    """
    if told_apart(answers, {name: spec.batch_axis for name, spec in bundle.outputs.items()}):
        return True
    for other in _other_inputs(bundle):
        try:
            moved = adapter.run(other, level)
        except ElsaError:
            continue
        if any(spread(array, [moved[name]]) > 0.0 for name, array in answers[0].items()):
            return True
    return False


def _other_inputs(bundle: Bundle) -> Iterator[Mapping[str, Array]]:
    golden = bundle.golden.inputs
    yield from given(bundle.inputs, golden).others
    specs = {name: TensorSpec(name, array.shape, str(array.dtype)) for name, array in golden.items()}
    ranges = {
        name: (int(array.min()), int(array.max()))
        for name, array in golden.items()
        if array.dtype.kind in "iu" and array.size
    }
    for candidate in made_up(specs, 1, ranges):
        yield candidate.inputs
        yield from candidate.others
