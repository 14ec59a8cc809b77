"""Canonical graph + device profile -> verified bundle. Nothing appears at the destination before it is proved.

check contract -> golden inputs -> oracle outputs -> export each variant -> share bytes -> hashes -> verify -> rename
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy.typing as npt

from elsa_edge.bundle import Bundle, BundleWriter, Golden, open_bundle, require_place, write_bundle
from elsa_edge.bundle.manifest import NOT_PROVED
from elsa_edge.bundle.signature import sign_bundle
from elsa_edge.errors import (
    ElsaError,
    ExportError,
    InputError,
    PluginError,
)
from elsa_edge.files import sha256_of
from elsa_edge.golden_answers import golden_answers
from elsa_edge.inputs import read_inputs
from elsa_edge.levels import densities_by_weight
from elsa_edge.loading import PROFILE_NAME
from elsa_edge.plugins import Exporter, Preflight
from elsa_edge.plugins.installed import find_exporter
from elsa_edge.profiles import load_profile, save_profile
from elsa_edge.profiles.carried import carried
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.progress import part, told
from elsa_edge.proving import prove_variants
from elsa_edge.rerouting import export_rerouted
from elsa_edge.tensors import check_inputs
from elsa_edge.visible import visible

if TYPE_CHECKING:
    from elsa_edge.graph.canonical import CanonicalGraph
    from elsa_edge.graph.segments import Segments

__all__ = ["build_bundle"]

Array = npt.NDArray[Any]
Progress = Callable[[str], None]

# Of a build, for the time that is left: exporting; the rest is proving.
_EXPORTED: Final = 0.6
_PACKAGES: Final = ("elsa-edge", "numpy", "onnx", "onnx-ir", "onnxscript", "onnxruntime", "ai-edge-litert")


def build_bundle(
    model: str | os.PathLike[str],
    device: str | os.PathLike[str] | DeviceProfile,
    destination: str | os.PathLike[str],
    *,
    variants: Sequence[str] | None = None,
    golden: str | os.PathLike[str] | Mapping[str, Array] | None = None,
    name: str | None = None,
    sign: str | os.PathLike[str] | None = None,
    counter: int | None = None,
    reroute: int | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """Build a bundle and prove it on this machine before it appears at the destination.

    Args:
        model: A canonical graph.
        device: Device profile, by name, file or value.
        destination: The bundle's folder; an older bundle there is replaced.
        variants: Names of exporters; by default those of the profile that apply.
        golden: Real inputs, as arrays or an `.npz` of them; random ones are made otherwise.
        name: The bundle's name; by default the model file's.
        sign: Private Ed25519 key to sign the manifest with, or the public half of one in the ssh agent.
        counter: What must rise with every signed release; by default the time in seconds, when it is signed.
        reroute: Cut each variant into so many segments, between which the level may become sparser while an
            inference runs; by default what the profile says, which is not to cut.
        progress: Called with a line for each step.

    Raises:
        ContractError: When the model is not a canonical graph, a level does not follow its inputs, or every variant
            is outside its numeric contract. Where some are within, the others are left out and named.
        ExportError: When no variant can be exported, or none applies.
        InputError: When the golden inputs do not fit the network, or its outputs say nothing on them.
        RuntimeUnavailableError: When a variant cannot be proved because its runtime is not installed here.

    Example:
        `model` is a canonical graph, as `elsa-edge export` writes it.

        >>> built = build_bundle(model, "generic-x86-64", folder / "bundle", variants=["onnx-selector"])
        >>> [variant.name for variant in built.manifest.variants]
        ['onnx-selector']
    """
    from elsa_edge.graph.borders import require_segments
    from elsa_edge.graph.canonical import CanonicalGraph
    from elsa_edge.graph.check import check_contract
    from elsa_edge.graph.class_axis import class_axes
    from elsa_edge.sharing import share_data

    if reroute is not None:
        require_segments(reroute)
    tell = progress or (lambda _: None)
    profile = device if isinstance(device, DeviceProfile) else load_profile(device)
    source = Path(model)
    called = _visible_name(name or source.stem)
    require_place(destination)
    graph = check_contract(CanonicalGraph.load(source))
    tell(f"{source.name}: {len(graph.ladder)} levels, contract holds")
    segments = _segments(graph, profile.reroute if reroute is None else reroute, tell)
    not_proved: list[str] = []
    answers = _golden(graph, golden, profile, tell, not_proved)
    exporters = _applicable(graph, profile, variants, tell)
    with write_bundle(destination) as writer:
        left_out: dict[str, str] = {}
        for number, exporter in enumerate(exporters):
            tell(told(f"{exporter.name}: exporting", _EXPORTED * number / len(exporters)))
            try:
                _export(exporter, graph, segments, profile, golden=answers, writer=writer, tell=tell)
            except ElsaError as error:
                if len(left_out) + 1 == len(exporters):
                    raise
                shutil.rmtree(writer.folder / exporter.name, ignore_errors=True)
                left_out[exporter.name] = str(error)
                tell(f"{exporter.name}: left out, because {error}")
        writer.variants[:] = share_data(writer.folder, writer.variants)
        travelling, stays = carried(_without_old_measurements(profile))
        if stays:
            tell(f"stays out of the bundle, give it with --device on the device: {'; '.join(stays)}")
        save_profile(travelling, writer.folder / PROFILE_NAME)

        release = int(time.time()) if counter is None and sign is not None else counter

        def seal() -> Bundle:
            writer.seal(
                name=called,
                device=profile.name,
                ladder=graph.ladder,
                inputs=graph.inputs,
                outputs=graph.outputs,
                golden=answers,
                versions=_versions(),
                provenance={
                    "model_sha256": sha256_of(source),
                    "model": dict(graph.provenance),
                    "layers": _layers(graph),
                    "left_out": left_out,
                    NOT_PROVED: not_proved,
                },
                noise=graph.noise,
                class_axes=class_axes(graph.model),
                counter=release,
            )
            return open_bundle(writer.folder)

        failures = prove_variants(seal(), profile, part(tell, _EXPORTED, 1.0))
        if len(failures) == len(writer.variants):
            raise next(iter(failures.values()))
        for variant, failure in failures.items():
            left_out[variant] = str(failure)
            tell(f"{variant}: left out, because {failure}")
            writer.drop_variant(variant)
        if failures:
            seal()
        if sign is not None:
            sign_bundle(writer.folder, Path(sign))
            tell(f"signed with {sign}")
    return open_bundle(destination, check_hashes=False)


def _layers(graph: CanonicalGraph) -> list[dict[str, Any]]:
    """Return which share of each nested weight every level uses: for reports, nothing reads it on a device.

    The names are what a runtime may call the layer's operator (`elsa_edge.graph.layer_names`).
    """
    from elsa_edge.graph.layer_names import names_by_weight

    indices = {name: graph.index(name) for name in graph.nested}
    names = names_by_weight(graph)
    return [
        {
            "name": name,
            "shape": list(indices[name].shape),
            "densities": [round(share, 6) for share in shares],
            "names": list(names.get(name, ())),
        }
        for name, shares in densities_by_weight(indices, len(graph.ladder)).items()
    ]


def _without_old_measurements(profile: DeviceProfile) -> DeviceProfile:
    """Leave out a table that was measured for another bundle; one without a bundle's identity was meant for any."""
    if profile.measured is None or profile.measured.bundle is None:
        return profile
    return profile.model_copy(update={"measured": None})


def _golden(
    graph: CanonicalGraph,
    given: str | os.PathLike[str] | Mapping[str, Array] | None,
    profile: DeviceProfile,
    tell: Progress,
    not_proved: list[str],
) -> Golden:
    """Return golden inputs and answers; what they do not prove is told and appended to `not_proved`."""

    def note(sentence: str) -> None:
        not_proved.append(sentence)
        tell(f"note: {sentence}")

    if given is None:
        real = None
    elif isinstance(given, Mapping):
        real = check_inputs(graph.inputs, given)
    else:
        real = read_inputs(Path(given), graph.inputs)
    return golden_answers(graph, real, {profile.tflite.batch}, tell, note)


def _applicable(
    graph: CanonicalGraph, profile: DeviceProfile, wanted: Sequence[str] | None, tell: Progress
) -> list[Exporter]:
    """Return the exporters to run; a wanted one that does not apply is an error, a profile's one is left out."""
    chosen: list[Exporter] = []
    refusals = []
    for name in dict.fromkeys(wanted if wanted is not None else profile.variants):
        exporter = find_exporter(name)
        try:
            preflight = exporter.preflight(graph, profile)
        except PluginError as error:
            preflight = Preflight(applies=False, reasons=(str(error).rstrip("."),))
        for reason in preflight.reasons:
            tell(f"{name}: {reason}")
        if preflight.applies:
            chosen.append(exporter)
        else:
            refusals.append(f"{name}: {'; '.join(preflight.reasons) or 'no reason given'}")
    if refusals and (wanted is not None or not chosen):
        raise ExportError(
            f"A variant does not apply to this network on {profile.name}", found="; ".join(refusals)
        )
    return chosen


def _visible_name(name: str) -> str:
    """Return the name of a bundle, which people must be able to see as it is."""
    try:
        return visible(name)
    except ValueError as error:
        raise InputError(
            f"A bundle cannot be called so ({error})",
            found=repr(name),
            fix="Give it another one: --name NAME",
        ) from error


def _segments(graph: CanonicalGraph, count: int | None, tell: Progress) -> Segments | None:
    """Cut the network where that is wanted.

    Raises:
        ExportError: When it cannot be cut into so many segments.
    """
    from elsa_edge.graph.segments import cut

    if count is None:
        return None
    segments = cut(graph, count)
    kb = ", ".join(f"{size / 1e3:.1f}" for size in segments.live_bytes)
    work = ", ".join(f"{shares[-1]:.0%}" for shares in segments.shares())
    tell(f"cut into {count} segments with {work} of the densest level's work; {kb} kB cross the borders")
    return segments


def _export(
    exporter: Exporter,
    graph: CanonicalGraph,
    segments: Segments | None,
    profile: DeviceProfile,
    *,
    golden: Golden,
    writer: BundleWriter,
    tell: Progress,
) -> None:
    folder = writer.variant_folder(exporter.name)
    variant = export_rerouted(exporter, segments, profile, golden, folder) if segments is not None else None
    if variant is None:
        if segments is not None:
            tell(f"{exporter.name}: stays whole, because it loads a file to change the level")
        variant = exporter.export(graph, profile, golden, folder)
    floats = variant.notes.get("float_layers", {})
    if isinstance(floats, Mapping):  # an exporter of a third party may mean something else by it
        for layer, reason in floats.items():
            tell(f"{exporter.name}: {layer} stays float32: {reason}")
    writer.add_variant(variant)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions
