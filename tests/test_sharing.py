"""Variants of one bundle read from each other's data files what they both hold, and answer as before."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from click.testing import CliRunner
from support.bundles import folder as scratch
from support.bundles import rehash
from support.opening import open_variant
from torch import nn

from elsa_edge.build import build_bundle
from elsa_edge.bundle import Bundle, Golden, Variant, open_bundle
from elsa_edge.bundle.writer import BundleWriter
from elsa_edge.cli.inspect import command as inspect
from elsa_edge.exporters.nested.choose import Verdict
from elsa_edge.exporters.nested.exporter import OrtNestedExporter
from elsa_edge.exporters.nested.layer_set import DENSE, layer_set_of
from elsa_edge.exporters.nested.write import write
from elsa_edge.exporters.ort.levels import OrtLevelsExporter
from elsa_edge.exporters.ort.selector import OnnxSelectorExporter
from elsa_edge.exporters.ort.switch import OrtSwitchExporter
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.export import export_canonical
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.graph.shared_data import initializers, place_of
from elsa_edge.graph.torch_export import example_inputs
from elsa_edge.plugins import CacheUse
from elsa_edge.profiles import load_profile
from elsa_edge.profiles.schema import Runtime
from elsa_edge.sharing import share_data
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec

PROFILE = load_profile("generic-x86-64")
DENSE_BYTES = 4 * 9 * (3 * 64 + 64 * 64 + 64 * 64) + 4 * 64 * 1024


class Decided(OrtNestedExporter):
    """Sparse levels nested, the densest plain: what timing decides on a quiet machine. Or which levels one says."""

    def __init__(self, *nested_levels: int) -> None:
        super().__init__()
        self._levels = nested_levels or (0, 1)

    def _judge(self, layers, profile, golden):
        choices = [layers.every if level in self._levels else DENSE for level in range(layers.count)]
        return [Verdict(choice, "request") for choice in choices]


@cache
def network() -> CanonicalGraph:
    """Three convolutions with norms of each level, and a matrix."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.BatchNorm2d(64)]
    layers += [nn.ReLU(), nn.Conv2d(64, 64, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1024)]
    model = nn.Sequential(*layers).eval()
    for module in model:
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    checkpoint = sparsify(model, [0.9, 0.8, 0.0], allocation="uniform")
    return export_canonical(checkpoint, model, [TensorSpec("", (1, 3, 14, 14))])


@cache
def golden() -> Golden:
    """Inputs, and the oracle's answers at each level."""
    feed = example_inputs(list(network().inputs.values()), 2, seed=3)
    return Golden(feed, run_canonical(network(), feed))


def exported(folder: Path, *exporters) -> BundleWriter:
    """Write variants into a folder that is to become a bundle."""
    folder.mkdir()
    writer = BundleWriter(folder)
    for exporter in exporters:
        place = writer.variant_folder(exporter.name)
        writer.add_variant(exporter.export(network(), PROFILE, golden(), place))
    return writer


def shared(folder: Path, *exporters) -> BundleWriter:
    """The same, and let them share."""
    writer = exported(folder, *exporters)
    writer.variants[:] = share_data(folder, writer.variants)
    return writer


def assert_right(folder: Path, variant: Variant, cached: Path | None = None) -> None:
    """Every level answers as the oracle does."""
    opened = open_variant(folder, variant, Runtime(), cached)
    for level, expected in enumerate(golden().outputs):
        for name, found in opened.run(golden().inputs, level).items():
            np.testing.assert_allclose(found, expected[name], atol=1e-5)
    opened.close()


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_dense_weights_are_stored_once(tmp_path: Path) -> None:
    """The cascade takes them from the nested variant's data file, and beside them has masks and small tables."""
    writer = shared(tmp_path / "b", Decided(), OrtSwitchExporter())
    nested, switch = writer.variants
    assert switch.files == {"model": "ort-nested/ort-switch.onnx", "data": "ort-nested/model.data"}
    assert files_in(writer.folder) == set(nested.files.values()) | set(switch.files.values())
    assert not (writer.folder / "ort-switch").exists()
    proto = onnx.load(writer.folder / switch.files["model"], load_external_data=False)
    places = [place for tensor in initializers(proto.graph) if (place := place_of(tensor)) is not None]
    assert sum(place.length for place in places) >= 0.9 * DENSE_BYTES
    # In a browser data files reach the outer graph only, so branches hold what they have: here the last bias.
    outer = {tensor.name for tensor in proto.graph.initializer}
    inside = [tensor for tensor in initializers(proto.graph) if tensor.name not in outer]
    assert sum(len(tensor.raw_data) == 4 * 1024 for tensor in inside) == 3
    assert not any(place_of(tensor) for tensor in inside)
    assert (writer.folder / switch.files["model"]).stat().st_size < 0.3 * DENSE_BYTES
    for variant in writer.variants:
        assert_right(writer.folder, variant)


@pytest.mark.parametrize("nested_levels", [(), (0,), (1,)])
def test_dense_levels_of_nested_kernels_are_masks_on_one_copy(tmp_path: Path, nested_levels) -> None:
    """A sparse level that nested kernels make no faster costs a mask and no copy; with `ort-switch` not even that."""
    exporter = Decided(*(nested_levels or (-1,)))
    writer = shared(tmp_path / "b", exporter, OrtSwitchExporter())
    nested, switch = writer.variants
    stored = sum((writer.folder / path).stat().st_size for path in set(nested.files.values()))
    assert stored < 1.6 * DENSE_BYTES
    assert (writer.folder / switch.files["model"]).stat().st_size < 0.2 * DENSE_BYTES
    dense = [size for level, size in enumerate(nested.level_bytes) if level not in nested_levels]
    assert set(dense) == {nested.level_bytes[-1]}
    assert dense[0] >= DENSE_BYTES
    assert_right(writer.folder, nested)
    assert_right(writer.folder, switch)


def test_plain_files_of_sparse_levels_are_masks_too(tmp_path: Path) -> None:
    """They read the same data, and answer as the level does."""
    layers = layer_set_of(network())
    write(layers, tmp_path, [layers.every, DENSE, DENSE], plain=(1, 2))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 1.6 * DENSE_BYTES
    for level in (1, 2):
        session = ort.InferenceSession(
            tmp_path / f"level_plain_{level}.onnx", providers=["CPUExecutionProvider"]
        )
        for name, expected in golden().outputs[level].items():
            (found,) = session.run([name], golden().inputs)
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_shared_weights_reach_the_cache_of_the_device(tmp_path: Path) -> None:
    """The optimiser reads them too; it starts anew where only the weights differ, and not the graph."""
    writer = shared(tmp_path / "b", Decided(), OrtSwitchExporter())
    switch = writer.variants[1]
    cached = tmp_path / "cache"
    assert_right(writer.folder, switch, cached)
    assert open_variant(writer.folder, switch, Runtime(), cached).cache.use is CacheUse.USED
    data = writer.folder / switch.files["data"]
    data.write_bytes(data.read_bytes()[:-4] + b"\0\0\0\0")
    assert open_variant(writer.folder, switch, Runtime(), cached).cache.use is CacheUse.BUILT


def test_a_network_a_level_shares_too_and_keeps_its_own_data_file(tmp_path: Path) -> None:
    """Its files move together, under its name."""
    writer = shared(tmp_path / "b", Decided(), OrtLevelsExporter())
    nested, levels = writer.variants
    assert set(levels.files.values()) >= {f"ort-nested/ort-levels.level_{k}.onnx" for k in range(3)}
    assert nested.files["data"] in levels.files.values()
    assert (writer.folder / levels.files["level_2"]).stat().st_size < 0.2 * DENSE_BYTES
    assert files_in(writer.folder) == set(nested.files.values()) | set(levels.files.values())
    assert_right(writer.folder, levels)


def test_what_a_guest_keeps_in_a_data_file_of_its_own_is_compared_too(tmp_path: Path) -> None:
    """A large layer that no level cuts is one tensor of all levels: it lies in the bundle once; the rest is kept."""
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 40)
    ).eval()
    checkpoint = sparsify(model, [0.9, 0.8, 0.0], allocation="uniform", exclude=["2.*"])
    graph = export_canonical(checkpoint, model, [TensorSpec("", (1, 256))])
    feed = example_inputs(list(graph.inputs.values()), 2, seed=3)
    answers = Golden(feed, run_canonical(graph, feed))
    writer = BundleWriter(tmp_path)
    for exporter in (Decided(), OrtLevelsExporter()):
        place = writer.variant_folder(exporter.name)
        writer.add_variant(exporter.export(graph, PROFILE, answers, place))
    before = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    writer.variants[:] = share_data(tmp_path, writer.variants)
    levels = writer.variants[1]
    after = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert before - after > 4 * 512 * 512
    assert files_in(tmp_path) == {path for variant in writer.variants for path in variant.files.values()}
    opened = open_variant(tmp_path, levels, Runtime(), None)
    for level, expected in enumerate(answers.outputs):
        for name, found in opened.run(feed, level).items():
            np.testing.assert_allclose(found, expected[name], atol=1e-5)
    opened.close()


@pytest.mark.parametrize("name", ["model", "all_nested"])
def test_a_guest_never_takes_the_place_of_a_file_of_its_home(tmp_path: Path, name: str) -> None:
    """An exporter of a third party may be called as a file of ours is: its variant stays where it is."""
    writer = exported(tmp_path / "b", Decided(), OrtSwitchExporter())
    nested, switch = writer.variants
    (writer.folder / "ort-nested" / f"{name}.onnx").touch()
    (writer.folder / "ort-switch").rename(writer.folder / name)
    renamed = switch.model_copy(update={"name": name, "files": {"model": f"{name}/model.onnx"}})
    before = (writer.folder / "ort-nested" / f"{name}.onnx").read_bytes()

    assert share_data(writer.folder, [nested, renamed]) == (nested, renamed)
    assert (writer.folder / "ort-nested" / f"{name}.onnx").read_bytes() == before


def test_what_has_little_in_common_stays_as_it_is(tmp_path: Path) -> None:
    """Weights before their norms are other bytes, so the canonical graph keeps its folder; so do variants alone."""
    for number, exporters in enumerate(
        ((OnnxSelectorExporter(), OrtSwitchExporter()), (OrtSwitchExporter(),))
    ):
        folder = tmp_path / str(number)
        writer = exported(folder, *exporters)
        before, paths = tuple(writer.variants), files_in(folder)
        assert share_data(folder, writer.variants) == before
        assert files_in(folder) == paths


def test_a_guest_stays_when_its_home_is_left_out(tmp_path: Path) -> None:
    """The data file stays for it, and nothing else of the home."""
    writer = shared(tmp_path / "b", Decided(), OrtSwitchExporter())
    writer.drop_variant("ort-nested")
    (switch,) = writer.variants
    assert files_in(writer.folder) == set(switch.files.values())
    assert_right(writer.folder, switch)


def test_a_home_stays_when_its_guest_is_left_out(tmp_path: Path) -> None:
    """Only the guest's graph goes."""
    writer = shared(tmp_path / "b", Decided(), OrtSwitchExporter())
    writer.drop_variant("ort-switch")
    (nested,) = writer.variants
    assert files_in(writer.folder) == set(nested.files.values())
    assert_right(writer.folder, nested)


@cache
def built() -> Bundle:
    """A whole bundle with the default variants."""
    network().save(scratch() / "sharing.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OrtNestedExporter, "_judge", lambda _, *given: Decided()._judge(*given))
        return build_bundle(scratch() / "sharing.onnx", PROFILE, scratch() / "sharing")


def test_people_are_told_what_is_shared() -> None:
    """`inspect` counts a shared file for the bundle once, and names it at each variant."""
    done = CliRunner().invoke(inspect, [str(built().folder), "--json"], catch_exceptions=False)
    told = json.loads(done.stdout)
    data = next(e for e in built().manifest.files if e.path == "ort-nested/model.data")
    assert [variant["shared_bytes"] for variant in told["variants"]] == [data.size_bytes] * 2
    assert all(variant["size_bytes"] > data.size_bytes for variant in told["variants"])
    assert told["size_bytes"] == sum(entry.size_bytes for entry in built().manifest.files)


def test_a_bundle_lists_shared_data_once_and_every_byte_of_it_counts(tmp_path: Path) -> None:
    """The manifest covers it with one hash; a change is found whichever variant runs."""
    manifest = built().manifest
    nested, switch = manifest.variants
    assert switch.files["data"] == nested.files["data"]
    assert [entry.path for entry in manifest.files].count(nested.files["data"]) == 1
    shutil.copytree(built().folder, tmp_path / "b")
    data = tmp_path / "b" / switch.files["data"]
    data.write_bytes(data.read_bytes()[:-1] + b"\1")
    with pytest.raises(Exception, match="SHA-256 differs"):
        open_bundle(tmp_path / "b")
    rehash(tmp_path / "b")
    assert open_bundle(tmp_path / "b").identity != built().identity
