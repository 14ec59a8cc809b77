"""Gather what is already known into a record: from a bundle, a measured profile and a recorded run.

Nothing is run here. What is not known is listed with the command that finds it out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from elsa_edge.bundle import Bundle, Variant
from elsa_edge.bundle.manifest import Manifest
from elsa_edge.errors import BundleError, InputError, first_line
from elsa_edge.profiles.schema import DeviceProfile, Measured
from elsa_edge.report.record import LayerFact, LayerTime, LevelFact, Missing, Record, Row, now_utc

__all__ = ["from_bundle", "from_profile", "layers_of", "precision_of", "what_is_missing", "with_measured"]


def precision_of(variant: str) -> str:
    """Return how a variant computes, which its name says: `ort-nested-int8` is int8."""
    words = variant.split("-")
    return next((name for name in ("int8", "float16") if name in words), "float32")


def from_bundle(bundle: Bundle, profile: DeviceProfile) -> Record:
    """Return what a bundle says about itself: levels, layers, sizes, provenance. No times."""
    manifest = bundle.manifest
    levels = tuple(
        LevelFact(**entry.model_dump(exclude={"samples"}), accuracy_samples=entry.samples or None)
        for entry in manifest.ladder
    )
    sizes = {entry.path: entry.size_bytes for entry in manifest.files}
    rows = tuple(_row(variant, level, sizes) for variant in manifest.variants for level in range(len(levels)))
    provenance = {key: value for key, value in manifest.provenance.items() if key != "layers"}
    return Record(
        name=manifest.name,
        device=profile.name,
        bundle=bundle.identity,
        made_utc=now_utc(),
        budget_ms=profile.qos.latency_budget_ms,
        levels=levels,
        rows=rows,
        layers=layers_of(manifest),
        provenance={**provenance, "versions": dict(manifest.versions), "built_for": manifest.device},
    )


def from_profile(profile: DeviceProfile) -> Record:
    """Return what a measured profile says without its bundle.

    Raises:
        InputError: When nothing was measured.
    """
    table = _table(profile)
    empty = Record(
        name=profile.name,
        device=profile.name,
        bundle=table.bundle,
        made_utc=now_utc(),
        budget_ms=profile.qos.latency_budget_ms,
        levels=tuple(LevelFact(name=row.name, accuracy=row.accuracy) for row in table.levels),
    )
    return with_measured(empty, profile)


def with_measured(record: Record, profile: DeviceProfile) -> Record:
    """Return a record with the measured table of a profile in it.

    Raises:
        InputError: When nothing was measured, for another bundle, or on another device.
    """
    table = _table(profile)
    if record.bundle is not None and table.bundle is not None and table.bundle != record.bundle:
        raise InputError(
            f"The profile {profile.name} was measured with another bundle",
            expected=f"the bundle {record.bundle[:12]}",
            found=table.bundle[:12],
            fix="Measure this one: elsa-edge profile BUNDLE -o FILE.yaml, or give the bundle that was measured",
        )
    names = [level.name for level in record.levels]
    if [row.name for row in table.levels] != names:
        raise InputError(
            f"The profile {profile.name} was measured at other levels",
            expected=", ".join(names),
            found=", ".join(row.name for row in table.levels),
        )
    variant = table.variant or "variant"
    kept = {row.level: row for row in record.rows if row.variant == variant}
    rows = [row for row in record.rows if row.variant != variant]
    for number, found in enumerate(table.levels):
        base = kept.get(number) or Row(
            variant=variant, runtime=profile.runtime.name, precision=precision_of(variant), level=number
        )
        rows.append(base.model_copy(update=found.model_dump(exclude={"name"})))
    timed = [LayerTime(variant=variant, **layer.model_dump()) for layer in table.layers]
    others = [layer for layer in record.layer_times if layer.variant != variant]
    return record.model_copy(
        update={
            "rows": tuple(rows),
            "layer_times": (*others, *timed),
            "device": profile.name,
            "conditions": dict(table.context),
        }
    )


def what_is_missing(record: Record, source: str) -> tuple[Missing, ...]:
    """Return what a reader would like to know and a record does not tell.

    Args:
        record: The record.
        source: The bundle as the reader calls it.
    """
    found = []
    unmeasured = sorted({row.variant for row in record.rows if row.p50_ms is None})
    again = f"elsa-edge report {source} --measure -o report.html"
    if not record.rows and record.runs:
        found.append(
            Missing(
                what="Names, densities and accuracies of the levels that ran. With the bundle:",
                how="elsa-edge report BUNDLE run.csv -o report.html",
            )
        )
    if not record.measured:
        what = "Latency and memory: nothing was measured. On the device:"
        found.append(Missing(what=what, how=again))
    elif unmeasured:
        found.append(Missing(what=f"Latency of {', '.join(unmeasured)}. On the device:", how=again))
    if record.measured and not record.layer_times:
        found.append(
            Missing(
                what="Which layers take the time (LiteRT does not tell). By --measure, or in a profile:",
                how=f"elsa-edge profile {source} --layers -o FILE.yaml",
            )
        )
    if all(record.accuracy(row) is None for row in record.rows):
        found.append(
            Missing(
                what="Accuracy of the levels. With labelled data, before the bundle is built again:",
                how="elsa-edge evaluate MODEL --data FILE.npz",
            )
        )
    if not record.checks:
        found.append(Missing(what="Numeric verification on this device.", how=again))
    precisions = {row.precision for row in record.rows}
    if record.rows and "int8" not in precisions:
        found.append(
            Missing(
                what="An int8 variant to compare with. Beside the others:",
                how="elsa-edge build MODEL --variant ort-int8",
            )
        )
    if not record.sustained:
        found.append(Missing(what="Speed under sustained load (heat).", how=f"{again} --sustained 600"))
    if record.runs and record.runs_bundle is None:
        found.append(
            Missing(
                what="Whether the recorded run is of this bundle: the recording does not say, so that it could not be "
                "checked. A new one says so:",
                how=f"elsa-edge run {source} --seconds 60 --record run.csv",
            )
        )
    if not record.runs:
        found.append(
            Missing(
                what="A recorded run under the controller, to be given to the report, too.",
                how=f"elsa-edge run {source} --seconds 60 --record run.csv",
            )
        )
    return tuple(found)


def _table(profile: DeviceProfile) -> Measured:
    if profile.measured is None:
        raise InputError(
            f"The profile {profile.name} has no measured table",
            fix="Make one on the device: elsa-edge profile BUNDLE --device NAME -o FILE.yaml",
        )
    return profile.measured


def _row(variant: Variant, level: int, sizes: Mapping[str, int]) -> Row:
    return Row(
        variant=variant.name,
        runtime=variant.runtime,
        precision=precision_of(variant.name),
        level=level,
        weight_bytes=variant.level_bytes[level] if variant.level_bytes else None,
        file_bytes=sum(sizes[path] for path in set(variant.files.values())),
    )


def layers_of(manifest: Manifest) -> tuple[LayerFact, ...]:
    """Return the nested weights that `build` notes in a manifest; a bundle of an older version has none.

    Raises:
        BundleError: When what is noted are no layers.
    """
    found, levels = manifest.provenance.get("layers"), len(manifest.ladder)
    if not isinstance(found, Sequence):
        return ()
    known = LayerFact.model_fields.keys()
    try:
        layers = tuple(
            LayerFact.model_validate({key: value for key, value in dict(layer).items() if key in known})
            for layer in found
        )
    except (ValidationError, TypeError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else first_line(error)
        raise BundleError(
            f"What the manifest notes of layers cannot be shown ({reason})", fix="Build the bundle again"
        ) from error
    return layers if all(len(layer.densities) == levels for layer in layers) else ()
