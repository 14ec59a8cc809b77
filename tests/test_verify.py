"""Verifying with nothing but the bundle: what is right passes, what is wrong is named, what is absent is skipped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.bundles import VARIANTS, bundle

import elsa_edge.verify as verify_module
from elsa_edge.bundle import Golden, open_bundle
from elsa_edge.errors import BundleError, InferenceError, RuntimeUnavailableError
from elsa_edge.files import sha256_of
from elsa_edge.runtime_adapters.ort.adapter import OnnxRuntimeAdapter
from elsa_edge.verify import verify_bundle


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A bundle that a test may harm."""
    shutil.copytree(bundle("two_inputs"), tmp_path / "bundle")
    return tmp_path / "bundle"


def resign(folder: Path, change=lambda _: None) -> None:
    """Write the hashes of harmed files into the manifest, as someone who means harm would."""
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    for entry in data["files"]:
        file = folder / entry["path"]
        entry["size_bytes"], entry["sha256"] = file.stat().st_size, sha256_of(file)
    change(data)
    path.write_text(json.dumps(data))


def harm_golden(folder: Path, level: int, difference: float) -> None:
    golden = open_bundle(folder).golden
    outputs = tuple(
        {name: array + (difference if k == level else 0) for name, array in rows.items()}
        for k, rows in enumerate(golden.outputs)
    )
    Golden(golden.inputs, tuple({n: a.astype(np.float32) for n, a in o.items()} for o in outputs)).save(
        folder / "golden.npz"
    )
    resign(folder)


def test_a_good_bundle_passes_at_every_level_of_every_variant() -> None:
    """Also seven levels, integers, and several outputs; the report is JSON."""
    for name in ("conv", "mlp", "two_inputs"):
        result = verify_bundle(bundle(name))
        assert result.ok
        assert [variant.name for variant in result.variants] == list(VARIANTS)
        levels = len(open_bundle(bundle(name)).ladder)
        assert all(len(variant.levels) == levels for variant in result.variants)
        assert all(k.max_difference <= k.allowed for variant in result.variants for k in variant.levels)
        assert json.loads(json.dumps(result.as_json()))["ok"] is True


def test_a_difference_beyond_the_contract_is_found(copy: Path) -> None:
    """The level and the size of the difference are told; ten times less passes."""
    harm_golden(copy, 0, 1e-2)
    result = verify_bundle(copy)
    assert not result.ok
    assert all(not variant.levels[0].ok for variant in result.variants)
    assert result.variants[0].levels[0].max_difference == pytest.approx(1e-2, rel=0.05)
    harm_golden(copy, 0, -1e-2 + 1e-5)
    assert verify_bundle(copy).ok


def test_not_a_number_is_a_difference(copy: Path) -> None:
    """NaN in the golden outputs matches only NaN."""
    harm_golden(copy, 0, float("nan"))
    assert not verify_bundle(copy).ok


def _first_two_changed(array: np.ndarray) -> np.ndarray:
    """Let another class (axis 1) be the largest at each place, half way between the first two.

    The place with the largest number stays, and with it the output's scale.
    """
    changed = np.moveaxis(array, 1, -1).copy()
    places = changed.reshape(-1, changed.shape[-1])
    loudest, step = int(np.abs(places).max(axis=1).argmax()), 0.01 * np.abs(array).max()
    for place, row in enumerate(places):
        if place != loudest:
            second, first = np.argsort(row)[-2:]
            middle = row[[first, second]].mean()
            row[first], row[second] = middle - step, middle + step
    return np.moveaxis(changed, -1, 1)


def test_too_little_agreement_fails_even_within_the_tolerance(copy: Path) -> None:
    """For variants that are not exact, the largest entry must be in the same place."""
    golden = open_bundle(copy).golden
    outputs = tuple(
        {name: _first_two_changed(array) for name, array in rows.items()} for rows in golden.outputs
    )
    Golden(golden.inputs, outputs).save(copy / "golden.npz")

    def loose(data, agreement):
        for variant in data["variants"]:
            variant |= {"relative_tolerance": 0.99, "minimum_agreement": agreement}

    resign(copy, lambda data: loose(data, None))
    assert verify_bundle(copy).ok
    resign(copy, lambda data: loose(data, 0.9))
    result = verify_bundle(copy)
    assert not result.ok
    assert result.variants[0].levels[0].agreement < 0.9


def test_the_manifest_says_along_which_axis_classes_lie(copy: Path) -> None:
    """Where no output has classes there is no agreement to ask for."""
    resign(copy, lambda data: data.update(class_axes={}))
    assert verify_bundle(copy).variants[0].levels[0].agreement is None
    name = open_bundle(copy).manifest.outputs[0].name
    resign(copy, lambda data: data.update(class_axes={name: 1}))
    assert verify_bundle(copy).variants[0].levels[0].agreement == 1.0


def test_a_changed_file_is_found_before_anything_runs(copy: Path) -> None:
    """Hashes come first."""
    path = copy / "onnx-selector" / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match="SHA-256 differs"):
        verify_bundle(copy)


def test_a_variant_that_has_other_levels_or_outputs_is_refused(copy: Path) -> None:
    """A manifest that promises more levels than the model has, or a model with other outputs."""
    other = open_bundle(bundle("conv"))
    shutil.copy(other.folder / "onnx-selector" / "model.onnx", copy / "onnx-selector" / "model.onnx")
    resign(copy)
    with pytest.raises(BundleError, match="another number of levels"):
        verify_bundle(copy)
    shutil.copytree(bundle("two_inputs"), copy, dirs_exist_ok=True)
    golden = open_bundle(copy).golden
    Golden(golden.inputs, tuple({"other": np.zeros(1)} for _ in golden.outputs)).save(copy / "golden.npz")
    resign(copy)
    with pytest.raises(BundleError, match="other outputs"):
        verify_bundle(copy)


def test_a_runtime_that_is_not_installed_is_skipped_and_said(copy: Path) -> None:
    """One variant of an unknown runtime does not stop the others; only unknown ones do."""
    resign(copy, lambda data: data["variants"][0].update(runtime="another-runtime"))
    result = verify_bundle(copy)
    assert result.ok
    assert "another-runtime" in str(result.variants[0].skipped)
    resign(copy, lambda data: [variant.update(runtime="another-runtime") for variant in data["variants"]])
    with pytest.raises(RuntimeUnavailableError, match="No variant of the bundle can be loaded here"):
        verify_bundle(copy)


def test_nothing_of_the_training_side_is_needed() -> None:
    """The module's own imports name neither torch nor onnx (test_session holds it for the running process)."""
    assert not {"torch", "onnx", "onnx_ir"} & set(vars(verify_module))


def test_every_choice_of_kernels_is_run(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile may name any of them; one that computes something else fails the variant."""
    seen = []
    real = OnnxRuntimeAdapter.open

    def open_choice(self, folder, variant, *, runtime, **rest):
        opened = real(self, folder, variant, runtime=runtime, **rest)
        seen.append(runtime.choice)
        if runtime.choice == "tampered":
            run = opened.run
            opened.run = lambda inputs, level: {
                n: a * np.float32(1.01) for n, a in run(inputs, level).items()
            }
        return opened

    monkeypatch.setattr(OnnxRuntimeAdapter, "open", open_choice)
    monkeypatch.setattr(OnnxRuntimeAdapter, "choices", lambda _self, _variant: ("model", "tampered"))
    result = verify_bundle(copy)
    assert not result.ok
    assert all(not level.ok for variant in result.variants for level in variant.levels)
    assert seen == ["model", "tampered"] * len(result.variants)
    monkeypatch.setattr(OnnxRuntimeAdapter, "choices", lambda _self, _variant: ("model", "other"))
    assert verify_bundle(copy).ok


def test_a_level_that_answers_the_same_to_everything_is_not_ok(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be within the contract: the golden answers come from the same dead level."""

    def dead(outputs):
        return {name: np.repeat(array[:1] * 0 + 1, len(array), 0) for name, array in outputs.items()}

    golden = open_bundle(copy).golden
    Golden(golden.inputs, tuple(dead(outputs) for outputs in golden.outputs)).save(copy / "golden.npz")
    resign(copy)
    real = OnnxRuntimeAdapter.open

    def frozen(self, *given, **rest):
        opened = real(self, *given, **rest)
        run = opened.run
        opened.run = lambda inputs, level: dead(run(inputs, level))
        return opened

    monkeypatch.setattr(OnnxRuntimeAdapter, "open", frozen)
    levels = [level for variant in verify_bundle(copy).variants for level in variant.levels]
    assert all(level.max_difference <= level.allowed for level in levels)
    assert not any(level.follows_inputs or level.ok for level in levels)


def test_the_worst_choice_of_kernels_is_reported(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are within the contract; the larger difference is what is told, whichever choice comes first."""
    plain = [level.max_difference for variant in verify_bundle(copy).variants for level in variant.levels]
    real = OnnxRuntimeAdapter.open

    def open_choice(self, folder, variant, *, runtime, **rest):
        opened = real(self, folder, variant, runtime=runtime, **rest)
        run, factor = opened.run, np.float32(1 + 1e-5 * (runtime.choice == "near"))
        opened.run = lambda inputs, level: {n: a * factor for n, a in run(inputs, level).items()}
        return opened

    monkeypatch.setattr(OnnxRuntimeAdapter, "open", open_choice)
    for choices in (("model", "near"), ("near", "model")):
        monkeypatch.setattr(OnnxRuntimeAdapter, "choices", lambda _self, _variant, choices=choices: choices)
        result = verify_bundle(copy)
        told = [level.max_difference for variant in result.variants for level in variant.levels]
        assert result.ok
        assert all(more > less for more, less in zip(told, plain, strict=True))


def test_bundles_of_before_have_their_classes_along_the_last_axis() -> None:
    """An output with one axis has samples and no classes."""
    outputs = {"scores": np.zeros((2, 5)), "maps": np.zeros((2, 5, 3)), "loss": np.zeros(2)}
    old = SimpleNamespace(
        manifest=SimpleNamespace(class_axes=None), golden=SimpleNamespace(outputs=[outputs])
    )
    assert verify_module._class_axes(old) == {"scores": 1, "maps": 2}


def test_inputs_that_a_network_refuses_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next ones are tried."""
    zero, one = {"y": np.zeros((1, 3))}, {"y": np.ones((1, 3))}
    answers = iter([InferenceError("not these"), zero, one])

    def run(_inputs, _level):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(verify_module, "_other_inputs", lambda _bundle: [{}, {}, {}])
    alone = SimpleNamespace(outputs={"y": SimpleNamespace(batch_axis=0)})
    assert verify_module._follows(SimpleNamespace(run=run), alone, 0, [zero])
    assert next(answers, None) is None


def test_progress_says_how_each_variant_is_and_how_far_the_work_is(copy: Path) -> None:
    """A line a variant, the last one at the end of the work."""
    told: list[str] = []
    verify_bundle(copy, progress=told.append)
    lines = [line for line in told if "the contract at" in line]
    assert all(": within the contract" in line for line in lines)
    assert [line.share for line in lines] == pytest.approx(
        [done / len(lines) for done in range(1, len(lines) + 1)]
    )
    harm_golden(copy, level=0, difference=0.1)
    told.clear()
    verify_bundle(copy, progress=told.append)
    assert any(": OUTSIDE the contract" in line for line in told)
