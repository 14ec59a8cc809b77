"""The ONNX Runtime adapter on real bundles: every variant, every level, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from support.adapter_contract import (  # noqa: F401 - pytest collects them here
    sample,
    test_a_level_out_of_range_is_refused_before_the_runtime,
    test_closing_twice_is_fine_and_running_after_it_is_an_error,
    test_every_level_in_every_order_gives_the_golden_outputs,
    test_inputs_and_outputs_are_those_of_the_network,
    test_inputs_that_are_not_contiguous_or_native_are_understood,
    test_memory_has_a_base_and_one_figure_a_level,
    test_numpy_integers_are_levels,
    test_other_batch_sizes_run,
    test_wrong_inputs_are_refused_with_an_explanation,
)
from support.bundles import VARIANTS, bundle
from support.opening import open_variant

from elsa_edge.bundle import Bundle, Variant, open_bundle
from elsa_edge.bundle.instructions import Levels, Nested, Other
from elsa_edge.errors import BundleError, InputError
from elsa_edge.loading import open_adapter
from elsa_edge.plugins import Adapter, Opened
from elsa_edge.plugins.registry import ADAPTERS, find
from elsa_edge.profiles import load_profile
from elsa_edge.profiles.schema import Runtime
from elsa_edge.runtime_adapters.ort import adapter as ort_adapter
from elsa_edge.runtime_adapters.ort.adapter import OnnxRuntimeAdapter
from elsa_edge.runtime_adapters.ort.sessions import SessionPerLevel


@pytest.fixture(scope="module")
def conv() -> Bundle:
    return open_bundle(bundle("conv"))


@pytest.fixture(params=VARIANTS)
def adapter(request, conv: Bundle, tmp_path: Path):
    opened = open_variant(conv.folder, conv.manifest.variant(request.param), Runtime(), tmp_path / "cache")
    yield opened
    opened.close()


def test_it_is_found_by_name_and_keeps_the_protocol(adapter: Opened) -> None:
    """The entry point leads here; it is an Adapter, and what it opens is Opened."""
    assert find(ADAPTERS, "onnxruntime") is OnnxRuntimeAdapter
    assert isinstance(OnnxRuntimeAdapter(), Adapter)
    assert isinstance(adapter, Opened)


def test_one_session_a_level_keeps_only_one_resident(conv: Bundle) -> None:
    """The old level is let go before the new one comes; wrong inputs cost no switch."""
    opened = open_variant(conv.folder, conv.manifest.variant("ort-levels"), Runtime(), None)
    assert isinstance(opened, SessionPerLevel)
    assert opened.resident_level is None
    opened.run(sample(conv), 2)
    assert opened.resident_level == 2
    with pytest.raises(InputError):
        opened.run({}, 0)
    assert opened.resident_level == 2
    opened.run(sample(conv), 0)
    assert opened.resident_level == 0
    opened.close()
    assert opened.resident_level is None


def test_a_session_that_begins_at_a_level_loads_only_that_one(conv: Bundle, monkeypatch) -> None:
    """Inputs and outputs come from the file's header: opening loads nothing, and each switch one level."""
    made = []
    real = ort_adapter.open_session
    monkeypatch.setattr(
        ort_adapter, "open_session", lambda path, options: made.append(path.name) or real(path, options)
    )
    files = conv.manifest.variant("ort-levels").files
    opened = open_adapter(conv, conv.manifest.variant("ort-levels"), load_profile("generic-x86-64"), None)
    assert opened.inputs
    assert opened.outputs
    assert made == []
    for level in (2, 2, 0):
        opened.run(sample(conv), level)
    assert made == [Path(files["level_2"]).name, Path(files["level_0"]).name]
    opened.close()


def test_a_level_with_other_outputs_than_the_first_is_refused(conv: Bundle, tmp_path: Path) -> None:
    """A file that was put in another's place is found when it is loaded, not by a wrong answer."""
    folder = tmp_path / "bundle"
    shutil.copytree(conv.folder, folder)
    path = folder / conv.manifest.variant("ort-levels").files["level_1"]
    model = onnx.load(path, load_external_data=False)
    model.graph.output[0].name = model.graph.node[-1].output[0] = "other"
    onnx.save(model, path)
    opened = open_variant(folder, conv.manifest.variant("ort-levels"), Runtime(), None)
    opened.run(sample(conv), 0)
    with pytest.raises(BundleError, match=r"has other outputs than .*expected output.*found other"):
        opened.run(sample(conv), 1)
    opened.close()


def test_a_file_whose_header_says_too_little_is_asked_through_the_runtime(
    conv: Bundle, tmp_path: Path
) -> None:
    """An output without a shape is allowed in ONNX; the runtime infers it."""
    folder = tmp_path / "bundle"
    shutil.copytree(conv.folder, folder)
    path = folder / conv.manifest.variant("ort-levels").files["level_0"]
    model = onnx.load(path, load_external_data=False)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(model, path)
    opened = open_variant(folder, conv.manifest.variant("ort-levels"), Runtime(), None)
    assert opened.outputs["output"].agrees(conv.outputs["output"])
    opened.close()


def test_settings_of_the_profile_reach_the_runtime(conv: Bundle) -> None:
    """Threads, arena and prepacking change nothing but speed; a nonsense setting is refused in words."""
    variant = conv.manifest.variant("onnx-selector")
    plain = open_variant(conv.folder, variant, Runtime(), None).run(sample(conv), 1)["output"]
    other = Runtime(threads=2, arena=False, prepack=False, optimization="basic", spin=True)
    np.testing.assert_allclose(
        open_variant(conv.folder, variant, other, None).run(sample(conv), 1)["output"], plain, atol=1e-5
    )
    with pytest.raises(BundleError, match="cannot open"):
        open_variant(conv.folder, variant, Runtime(options={"": "x"}), None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"instructions": Other(kind="other:magic")}, "expected instructions of the kind selector, switch"),
        ({"files": {}}, "no file for 'model'"),
        ({"files": {"model": "nowhere.onnx"}}, "missing"),
        ({"instructions": Levels(), "files": {"level_1": "golden.npz"}}, "no file for 'level_0'"),
        ({"instructions": Nested(choices=("a",), nested_layers=((),))}, "no file for 'a'"),
        ({"files": {"model": "golden.npz"}}, "cannot open"),
    ],
)
def test_a_damaged_description_is_refused(conv: Bundle, change: dict[str, object], words: str) -> None:
    """Every hole in a variant's description has its sentence."""
    variant: Variant = conv.manifest.variant("onnx-selector").model_copy(update=change)
    with pytest.raises(BundleError, match=words):
        open_variant(conv.folder, variant, Runtime(), None)


def test_a_file_that_vanished_after_opening_is_a_clear_error(conv: Bundle, tmp_path: Path) -> None:
    """Levels are loaded late: what is gone by then is named."""
    folder = tmp_path / "copy"
    (folder / "ort-levels").mkdir(parents=True)
    variant = conv.manifest.variant("ort-levels")
    for path in variant.files.values():
        (folder / path).write_bytes((conv.folder / path).read_bytes())
    opened = open_variant(folder, variant, Runtime(), None)
    opened.run(sample(conv), 0)
    (folder / variant.files["level_1"]).unlink()
    with pytest.raises(BundleError, match=r"cannot open level_1\.onnx"):
        opened.run(sample(conv), 1)
    opened.run(sample(conv), 2)


def test_a_model_that_has_other_levels_than_the_bundle_is_refused(conv: Bundle) -> None:
    """The canonical graph says of itself how many it has."""
    with pytest.raises(BundleError, match="another number of levels than the bundle: expected 2, found 3"):
        open_variant(conv.folder, conv.manifest.variant("onnx-selector"), Runtime(), level_count=2)


def test_what_is_missing_is_said_before_anything_is_opened(conv: Bundle, monkeypatch, tmp_path: Path) -> None:
    """The runtime, our kernels, or a kind that a newer version knows."""
    adapter = OnnxRuntimeAdapter()
    plain = conv.manifest.variant("onnx-selector")
    nested = plain.model_copy(update={"instructions": Nested(choices=("model",), nested_layers=((), (), ()))})
    foreign = plain.model_copy(update={"instructions": Other(kind="other:magic")})
    assert [adapter.missing(variant) for variant in (plain, nested)] == [None, None]
    assert "does not know the kind other:magic" in str(adapter.missing(foreign))
    assert (adapter.choices(plain), adapter.choices(nested)) == ((), ("model",))
    monkeypatch.setenv("ELSA_KERNELS_LIBRARY", str(tmp_path / "absent.so"))
    assert "elsa_edge.runtime_adapters.kernels.build" in str(adapter.missing(nested))
    monkeypatch.setattr("elsa_edge.runtime_adapters.ort.adapter.find_spec", lambda _name: None)
    assert adapter.missing(plain) == "onnxruntime is not installed"
