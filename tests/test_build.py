"""Building: a bundle appears only when every variant is proved, and mistakes are named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from support.bundles import VARIANTS, bundle, model

import elsa_edge.build as build_module
from elsa_edge.build import build_bundle
from elsa_edge.bundle import Golden, open_bundle
from elsa_edge.errors import ContractError, ElsaError, ExportError, InputError, UnknownNameError
from elsa_edge.plugins import Preflight
from elsa_edge.profiles import load_profile

DEVICE = "generic-x86-64"


def test_a_bundle_holds_what_a_device_needs() -> None:
    """Ladder, tensors, variants with their files, the profile, versions, provenance."""
    opened = open_bundle(bundle("two_inputs"))
    manifest = opened.manifest
    assert [variant.name for variant in manifest.variants] == list(VARIANTS)
    assert set(opened.inputs) == {"x", "offset"}
    assert {entry.path for entry in manifest.files} >= {"device.yaml", "golden.npz", "ort-switch/model.onnx"}
    assert load_profile(opened.folder / "device.yaml").name == DEVICE == manifest.device
    assert manifest.versions["onnxruntime"]
    assert manifest.provenance["model"]["method"] == "zoo"


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    """No clock, no path, no random number that is not seeded goes into a bundle."""
    build_bundle(model("two_inputs"), DEVICE, tmp_path / "again", variants=VARIANTS)
    first, second = (open_bundle(path).manifest.files for path in (bundle("two_inputs"), tmp_path / "again"))
    assert first == second


def test_own_golden_inputs_are_used(tmp_path: Path) -> None:
    """Real inputs from an .npz end up in the bundle."""
    x = np.linspace(-1, 1, 3 * 6 * 20, dtype=np.float32).reshape(3, 6, 20)
    np.savez(tmp_path / "real.npz", x=x, offset=np.ones((3, 3), np.float32))
    built = build_bundle(
        model("two_inputs"), DEVICE, tmp_path / "b", variants=["onnx-selector"], golden=tmp_path / "real.npz"
    )
    np.testing.assert_array_equal(built.golden.inputs["x"], x)
    assert built.golden.outputs[0]["logits"].shape == (3, 3)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.zeros((1, 6, 20), np.float32)}, "other names"),
        ({"x": np.zeros((1, 6, 21), np.float32), "offset": np.zeros((1, 3), np.float32)}, "wrong shape"),
        ({"x": np.zeros((1, 6, 20)), "offset": np.zeros((1, 3), np.float32)}, "wrong type"),
        (None, "not a readable"),
        ("missing", "no file"),
    ],
)
def test_golden_inputs_that_do_not_fit_are_refused(tmp_path: Path, arrays, words: str) -> None:
    """Nothing is written then."""
    path = tmp_path / "real.npz"
    if arrays is None:
        path.write_bytes(b"PK rubbish")
    elif arrays != "missing":
        np.savez(path, **arrays)
    with pytest.raises(InputError, match=words):
        build_bundle(model("two_inputs"), DEVICE, tmp_path / "b", golden=path)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"device": "rasberry-pi-5"}, UnknownNameError, "Nearest: 'raspberry-pi-5'"),
        ({"variants": ["ort-swich"]}, UnknownNameError, "Nearest: 'ort-switch'"),
        ({"model": "nowhere.onnx"}, ContractError, "no model"),
    ],
)
def test_wrong_names_are_answered_with_the_nearest(tmp_path: Path, arguments, kind, words: str) -> None:
    """Device, variant, file."""
    given = {"model": model("two_inputs"), "device": DEVICE} | arguments
    with pytest.raises(kind, match=words):
        build_bundle(given.pop("model"), given.pop("device"), tmp_path / "b", **given)
    assert not list(tmp_path.iterdir())


def harmed(tmp_path: Path, change) -> Path:
    """Return a copy of the canonical graph with one initializer changed."""
    path = tmp_path / "harmed.onnx"
    proto = onnx.load(model("mlp"))
    change(proto)
    onnx.save(proto, path)
    return path


def _replace(proto, suffix: str, change) -> None:
    tensor = next(t for t in proto.graph.initializer if t.name.endswith(suffix))
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), tensor.name))


@pytest.mark.parametrize(
    "change",
    [
        lambda p: _replace(p, ".level_index", lambda a: np.full_like(a, 100)),
        lambda p: _replace(p, ".level_index", lambda a: a[:-1]),
        lambda p: _replace(p, ".level_index", np.zeros_like),
        lambda p: p.ClearField("metadata_props"),
        lambda p: p.graph.node.pop(),
    ],
)
def test_a_tampered_graph_is_refused(tmp_path: Path, change) -> None:
    """Level indices that are not the ladder's, missing metadata, missing nodes."""
    with pytest.raises(ElsaError):
        build_bundle(harmed(tmp_path, change), DEVICE, tmp_path / "b")
    assert not (tmp_path / "b").exists()


class WrongExporter:
    """Writes the selector of the right graph but promises other numbers: golden outputs are shifted by its error."""

    name = "wrong"
    runtime = "onnxruntime"
    applies = True

    def preflight(self, graph, profile) -> Preflight:
        return Preflight(applies=self.applies, reasons=("it is wrong",))

    def export(self, graph, profile, golden: Golden, folder: Path):
        from elsa_edge.exporters.ort.selector import OnnxSelectorExporter

        path = folder / "model.onnx"
        graph.save(path)
        proto = onnx.load(path)
        _replace(proto, "head.weight", lambda a: a * np.float32(1.01))
        onnx.save(proto, path)
        other = folder / "other"
        other.mkdir()
        variant = OnnxSelectorExporter().export(graph, profile, golden, other)
        shutil.rmtree(other)
        return variant.model_copy(update={"name": self.name})


def test_a_variant_with_other_numbers_never_becomes_a_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof on the real runtime finds it, names variant and level, and leaves the older bundle."""
    shutil.copytree(bundle("two_inputs"), tmp_path / "b")
    before = (tmp_path / "b" / "manifest.json").read_bytes()
    monkeypatch.setattr(build_module, "find_exporter", lambda _name: WrongExporter())
    with pytest.raises(ContractError, match="wrong differs from the canonical graph at level 0"):
        build_bundle(model("two_inputs"), DEVICE, tmp_path / "b", variants=["wrong"])
    assert (tmp_path / "b" / "manifest.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_variant_that_does_not_apply_is_an_error_when_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reasons are told."""
    monkeypatch.setattr(WrongExporter, "applies", False)
    monkeypatch.setattr(build_module, "find_exporter", lambda _name: WrongExporter())
    with pytest.raises(ExportError, match="it is wrong"):
        build_bundle(model("two_inputs"), DEVICE, tmp_path / "b", variants=["wrong"])
