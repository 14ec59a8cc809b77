"""Canonical graph + device profile -> verified bundle. Nothing appears at the destination before it is proved.

check contract -> golden inputs -> oracle outputs -> export each variant -> hashes -> verify -> rename
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.bundle import Bundle, BundleWriter, Golden, open_bundle, write_bundle
from elsa_edge.errors import (
    ContractError,
    ElsaError,
    ExportError,
    InputError,
    RuntimeUnavailableError,
    first_line,
)
from elsa_edge.files import sha256_of
from elsa_edge.inputs import read_inputs
from elsa_edge.loading import PROFILE_NAME, why_not_loadable
from elsa_edge.profiles import load_profile, save_profile
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.registry import EXPORTERS, find
from elsa_edge.tensors import TensorSpec, check_inputs
from elsa_edge.verify import VariantCheck, check_variant

if TYPE_CHECKING:
    from elsa_edge.graph.canonical import CanonicalGraph

__all__ = ["build_bundle", "golden_inputs"]

Array = npt.NDArray[Any]
Progress = Callable[[str], None]

_GOLDEN_BATCH: Final = 2  # more than one, so that a batch size frozen into a variant is found
# Golden floats are multiples of this: they compress to a fifth, bundles stay small.
_GOLDEN_STEP: Final = 0.125
_PACKAGES: Final = ("elsa-edge", "numpy", "onnx", "onnx-ir", "onnxscript", "onnxruntime", "ai-edge-litert")


def build_bundle(
    model: str | os.PathLike[str],
    device: str | os.PathLike[str] | DeviceProfile,
    destination: str | os.PathLike[str],
    *,
    variants: Sequence[str] | None = None,
    golden: str | os.PathLike[str] | Mapping[str, Array] | None = None,
    name: str | None = None,
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
        progress: Called with a line for each step.

    Raises:
        ContractError: When the model is not a canonical graph, or a variant is outside its numeric contract.
        ExportError: When a variant cannot be exported, or none applies.
        InputError: When the golden inputs do not fit the network.
        RuntimeUnavailableError: When a variant cannot be proved because its runtime is not installed here.
    """
    from elsa_edge.graph.canonical import CanonicalGraph
    from elsa_edge.graph.check import check_contract

    tell = progress or (lambda _: None)
    profile = device if isinstance(device, DeviceProfile) else load_profile(device)
    source = Path(model)
    graph = check_contract(CanonicalGraph.load(source))
    tell(f"{source.name}: {len(graph.ladder)} levels, contract holds")
    answers = _golden(graph, golden)
    exporters = _applicable(graph, profile, variants, tell)
    with write_bundle(destination) as writer:
        for exporter in exporters:
            tell(f"{exporter.name}: exporting")
            try:
                _export(exporter, graph, profile, answers, writer)
            except (ExportError, ContractError) as error:
                if variants is not None or exporter is exporters[0]:
                    raise
                shutil.rmtree(writer.folder / exporter.name)
                tell(f"{exporter.name}: left out, because {error}")
        save_profile(_without_old_measurements(profile), writer.folder / PROFILE_NAME)
        writer.seal(
            name=name or source.stem,
            device=profile.name,
            ladder=graph.ladder,
            inputs=graph.inputs,
            outputs=graph.outputs,
            golden=answers,
            versions=_versions(),
            provenance={"model_sha256": sha256_of(source), "model": dict(graph.provenance)},
        )
        _prove(open_bundle(writer.folder), profile, tell)
    return open_bundle(destination, check_hashes=False)


def _without_old_measurements(profile: DeviceProfile) -> DeviceProfile:
    """Leave out a table that was measured for another bundle; one without a bundle's identity was meant for any."""
    if profile.measured is None or profile.measured.bundle is None:
        return profile
    return profile.model_copy(update={"measured": None})


def _golden(graph: CanonicalGraph, given: str | os.PathLike[str] | Mapping[str, Array] | None) -> Golden:
    from elsa_edge.graph.oracle import run_canonical

    if given is None:
        inputs = golden_inputs(graph.inputs, _vocabularies(graph))
    elif isinstance(given, Mapping):
        inputs = check_inputs(graph.inputs, given)
    else:
        inputs = read_inputs(Path(given), graph.inputs)
    try:
        outputs = run_canonical(graph, inputs)
    except ElsaError:
        raise
    except Exception as error:
        first = first_line(error)
        raise InputError(
            f"The canonical graph does not run on the golden inputs ({first})",
            fix="Give real inputs with --golden FILE.npz",
        ) from error
    return Golden(inputs, outputs)


def golden_inputs(
    inputs: Mapping[str, TensorSpec], vocabularies: Mapping[str, int] | None = None, seed: int = 0
) -> dict[str, Array]:
    """Make reproducible inputs: normal floats, small integers, random booleans; two samples where the batch is free.

    Args:
        inputs: The network's inputs.
        vocabularies: Input name -> number of rows of the table that it indexes, where that is known.
        seed: Seed of the generator.
    """
    generator = np.random.default_rng(seed)
    made: dict[str, Array] = {}
    for name, spec in inputs.items():
        shape = tuple(
            size if size is not None else (_GOLDEN_BATCH if axis == 0 else 1)
            for axis, size in enumerate(spec.shape)
        )
        if spec.dtype.startswith("float"):
            values: Array = np.round(generator.standard_normal(shape) / _GOLDEN_STEP) * _GOLDEN_STEP
        else:
            values = generator.integers(0, max(1, min((vocabularies or {}).get(name, 2), 127)), shape)
        made[name] = np.asarray(values).astype(spec.dtype)
    return made


def _vocabularies(graph: CanonicalGraph) -> dict[str, int]:
    """Return for each input that indexes a table directly how many rows the smallest of these has."""
    rows: dict[str, int] = {}
    for node in graph.model.graph.all_nodes():
        if node.op_type != "Gather" or len(node.inputs) < 2:
            continue
        table, indices = node.inputs[0], node.inputs[1]
        if table is None or indices is None or indices.name not in graph.inputs or table.shape is None:
            continue
        axis = node.attributes.get_int("axis", 0)
        size = table.shape[axis] if table.shape.rank() > axis >= 0 else None
        if isinstance(size, int):
            rows[str(indices.name)] = min(size, rows.get(str(indices.name), size))
    return rows


def _applicable(
    graph: CanonicalGraph, profile: DeviceProfile, wanted: Sequence[str] | None, tell: Progress
) -> list[Any]:
    """Return the exporters to run; a wanted one that does not apply is an error, a profile's one is left out."""
    chosen = []
    refusals = []
    for name in dict.fromkeys(wanted if wanted is not None else profile.variants):
        exporter = find(EXPORTERS, name)()
        preflight = exporter.preflight(graph, profile)
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


def _export(
    exporter: Any, graph: CanonicalGraph, profile: DeviceProfile, golden: Golden, writer: BundleWriter
) -> None:
    folder = writer.variant_folder(exporter.name)
    variant = exporter.export(graph, profile, golden, folder)
    if variant.name != exporter.name:
        raise ExportError(f"The exporter {exporter.name} named its variant {variant.name!r}")
    writer.add_variant(variant)


def _prove(bundle: Bundle, profile: DeviceProfile, tell: Progress) -> None:
    """Run every level of every variant through its adapter, in the form in which it will run on the device."""
    with _scratch() as cache:
        for variant in bundle.manifest.variants:
            reason = why_not_loadable(variant)
            if reason is not None:
                raise RuntimeUnavailableError(
                    f"{variant.name} cannot be proved here: {reason}",
                    fix="Install the runtime, or leave the variant out with --variant",
                )
            check = check_variant(bundle, variant, profile, cache)
            _require(check)
            worst = max(level.max_difference for level in check.levels)
            tell(f"{variant.name}: proved at {len(check.levels)} levels, largest difference {worst:.2g}")


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="elsa-edge-") as folder:
        yield Path(folder)


def _require(check: VariantCheck) -> None:
    for level in check.levels:
        if not level.ok:
            agreement = "" if level.agreement is None else f", agreement {level.agreement:.3g}"
            raise ContractError(
                f"{check.name} differs from the canonical graph at level {level.level} ({level.name}); "
                "no bundle was written",
                expected=f"a difference of at most {level.allowed:.3g}",
                found=f"{level.max_difference:.3g}{agreement}",
            )


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions
