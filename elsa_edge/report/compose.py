"""From what a person names (a bundle, a profile, a recorded run, an older report) to one record, and to a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from elsa_edge.bundle import open_bundle
from elsa_edge.errors import InputError, UsageError
from elsa_edge.files import write_bytes
from elsa_edge.loading import CachePath, resolve_profile
from elsa_edge.profiles import load_profile
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.report.against import Change, compare
from elsa_edge.report.gather import from_bundle, from_profile, what_is_missing, with_measured
from elsa_edge.report.record import Record, read_record
from elsa_edge.report.runs import from_runs, with_runs

__all__ = ["FORMS", "Measuring", "compose", "form_of", "render"]

FORMS: Final = (".html", ".md", ".json")


@dataclass(frozen=True, slots=True)
class Measuring:
    """What to measure here before reporting.

    Attributes:
        seconds: Of warm inferences, all variants together.
        sustained_s: Of inferences without a pause; 0 for none.
        variants: Which; all of the bundle when empty.
        cache: Folder for files that runtimes derive.
        tell: Called with a line for each step.
    """

    seconds: float
    sustained_s: float
    variants: tuple[str, ...]
    cache: CachePath
    tell: Callable[[str], None]


def compose(sources: Sequence[Path], device: str | None = None, measuring: Measuring | None = None) -> Record:
    """Return the record of what the sources hold.

    Args:
        sources: At most one bundle (a folder) or older report (.json, .html); measured profiles (.yaml) and
            recorded runs (.csv) of the same device. One alone is enough.
        device: Profile to measure with; by default the one that the bundle carries.
        measuring: Measure here, too; needs a bundle.

    Raises:
        InputError: When a source is missing, of another kind, or of another device or bundle than the others.
        UsageError: When the sources do not go together.
    """
    kinds = {path: _kind(path) for path in sources}
    bases = [path for path, kind in kinds.items() if kind in ("bundle", "report")]
    if len(bases) > 1:
        raise UsageError("A report is of one bundle", found=", ".join(map(str, bases)))
    profiles = {path: load_profile(path) for path, kind in kinds.items() if kind == "profile"}
    if len({profile.name for profile in profiles.values()}) > 1:
        raise InputError(
            "The profiles are of different devices",
            found=", ".join(f"{path} of {profile.name}" for path, profile in profiles.items()),
            fix="Make a report for each device",
        )
    runs = [path for path, kind in kinds.items() if kind == "run"]
    if len(runs) > 1:
        raise UsageError("A report shows one recorded run", found=", ".join(map(str, runs)))
    record = _base(bases, list(profiles.values()), runs, device, measuring)
    if runs:
        record = with_runs(record, runs[0])
    # An older report cannot be measured again, its bundle can.
    name = str(bases[0]) if bases and bases[0].is_dir() else "BUNDLE"
    return record.model_copy(update={"missing": what_is_missing(record, name)})


def _base(
    bases: Sequence[Path],
    profiles: Sequence[DeviceProfile],
    runs: Sequence[Path],
    device: str | None,
    measuring: Measuring | None,
) -> Record:
    if bases and bases[0].is_dir():
        bundle = open_bundle(bases[0])
        profile = resolve_profile(
            bundle, device if device is not None else (profiles[0] if profiles else None)
        )
        record = from_bundle(bundle, profile)
        if measuring is not None:
            from elsa_edge.report.take import measure_into, sustain_into

            record = measure_into(
                record,
                bundle,
                profile,
                variants=measuring.variants,
                cache=measuring.cache,
                seconds=measuring.seconds,
                tell=measuring.tell,
            )
            if measuring.sustained_s > 0:
                row = min(record.measured, key=lambda row: (-row.level, row.p50_ms))
                record = sustain_into(
                    record,
                    bundle,
                    profile,
                    variant=row.variant,
                    level=row.level,
                    cache=measuring.cache,
                    seconds=measuring.sustained_s,
                    tell=measuring.tell,
                )
    elif measuring is not None:
        raise UsageError("Only a bundle can be measured", expected="its folder", fix="Name the bundle, too")
    elif bases:
        record = read_record(bases[0])
    elif profiles:
        record, profiles = from_profile(profiles[0]), profiles[1:]
    else:
        record = from_runs(runs)
    for profile in profiles:
        if profile.measured is not None or measuring is None:
            record = with_measured(record, profile)
    return record


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    if path.is_dir():
        return "bundle"
    if not path.exists():
        raise InputError(
            f"There is nothing at {path}",
            expected="a bundle (folder), a profile (.yaml), a recorded run (.csv) or a report (.json, .html)",
        )
    kinds = {
        ".yaml": "profile",
        ".yml": "profile",
        ".csv": "run",
        ".json": "report",
        ".html": "report",
        ".htm": "report",
    }
    if suffix not in kinds:
        raise InputError(
            f"{path} is of an unknown kind",
            expected="a bundle (folder), .yaml, .csv, .json or .html",
            found=suffix,
        )
    return kinds[suffix]


def form_of(destination: Path) -> str:
    """Return the form that a destination's name asks for.

    Raises:
        UsageError: When it asks for none that there is.
    """
    suffix = destination.suffix.lower()
    if suffix not in FORMS:
        raise UsageError(
            f"A report is not written as {destination.name}", allowed=[f"NAME{form}" for form in FORMS]
        )
    return suffix


def render(record: Record, destination: Path, against: Path | None = None) -> list[Change]:
    """Write a record as its destination's name asks; return the changes against an older report.

    Raises:
        InputError: When the older report cannot be read or is of another device.
        RuntimeUnavailableError: When the packages that draw are not installed.
    """
    form = form_of(destination)
    changes = [] if against is None else compare(record, read_record(against))
    if form == ".html":
        from elsa_edge.report.page import page

        text = page(record, changes)
    elif form == ".md":
        from elsa_edge.report.markdown import markdown

        text = markdown(record, changes)
    else:
        text = record.model_dump_json(indent=2, exclude_none=True) + "\n"
    write_bytes(destination, text.encode())
    return changes
