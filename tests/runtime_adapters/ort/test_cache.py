"""The cache of the switch variant: used again, rebuilt when stale or damaged, bounded, and never needed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from support.bundles import bundle
from support.opening import open_variant

from elsa_edge.bundle import Bundle, open_bundle
from elsa_edge.plugins import CacheUse, Opened
from elsa_edge.profiles.schema import Runtime
from elsa_edge.runtime_adapters import derived as derived_files
from elsa_edge.runtime_adapters.ort import cache as ort_cache
from elsa_edge.runtime_adapters.ort import optimise as ort_optimise
from elsa_edge.runtime_adapters.ort.align import ALIGNMENT, external_spans


@pytest.fixture(scope="module")
def mlp() -> Bundle:
    """Seven levels, matrices whose sizes are not multiples of a cache line."""
    return open_bundle(bundle("mlp"))


@pytest.fixture(scope="module")
def filled(mlp: Bundle, tmp_path_factory) -> Path:
    """A cache with the entry of that network, made once."""
    cache = tmp_path_factory.mktemp("cache")
    assert opened(mlp, cache).cache.use is CacheUse.BUILT
    return cache


@pytest.fixture
def cache(filled: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may harm."""
    target = tmp_path / "cache"
    for path in filled.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(filled)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    return target


def opened(mlp: Bundle, cache: Path | None, runtime: Runtime | None = None) -> Opened:
    """Open the switch variant and compare it with the golden outputs at every level."""
    adapter = open_variant(mlp.folder, mlp.manifest.variant("ort-switch"), runtime or Runtime(), cache)
    for level, expected in enumerate(mlp.golden.outputs):
        np.testing.assert_allclose(
            adapter.run(mlp.golden.inputs, level)["output"], expected["output"], atol=1e-4
        )
    return adapter


def entry(cache: Path) -> Path:
    (path,) = cache.glob("ort-*")
    return path


def test_the_second_opening_uses_what_the_first_made(mlp: Bundle, cache: Path) -> None:
    """Nothing is written again, and no temporary file is left."""
    before = {path.name: path.stat().st_ino for path in entry(cache).iterdir()}
    assert opened(mlp, cache).cache.use is CacheUse.USED
    assert {path.name: path.stat().st_ino for path in entry(cache).iterdir()} == before
    assert [path.name for path in cache.iterdir()] == [entry(cache).name]


def test_weights_are_in_a_file_of_their_own_and_aligned(cache: Path) -> None:
    """Every tensor and prepacked matrix begins at a cache line: unaligned ones crash ONNX Runtime's kernels."""
    spans = external_spans(entry(cache) / "model.onnx")
    assert len(spans) > 7
    assert all(offset % ALIGNMENT == 0 for offset, _ in spans)


@pytest.mark.parametrize("name", ["model.onnx", "model.bin", "stamp.json"])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_damaged_entry_is_made_again(mlp: Bundle, cache: Path, name: str, harm: str) -> None:
    """A flipped bit, a cut file and a missing file are all found; the answer is right all the same."""
    path = entry(cache) / name
    data = bytearray(path.read_bytes())
    if harm == "flip":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif harm == "cut":
        path.write_bytes(data[:-1])
    else:
        path.unlink()

    assert opened(mlp, cache).cache.use is CacheUse.BUILT
    assert opened(mlp, cache).cache.use is CacheUse.USED


def test_an_entry_that_the_runtime_refuses_does_not_stop_the_network(mlp: Bundle, cache: Path) -> None:
    """Files that fit their stamp but are no model: the network runs from the bundle."""
    place = entry(cache)
    (place / "model.onnx").write_bytes(b"not a model")
    stamp = {
        p.name: [p.stat().st_size, derived_files.crc32_of(p)]
        for p in place.iterdir()
        if p.name != "stamp.json"
    }
    (place / "stamp.json").write_text(json.dumps(stamp))

    assert opened(mlp, cache).cache.use is CacheUse.OFF


def test_another_runtime_version_cpu_or_setting_gets_its_own_entry(
    mlp: Bundle, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optimised files fit one runtime, one CPU and one set of settings."""
    assert opened(mlp, cache, Runtime(prepack=False)).cache.use is CacheUse.BUILT
    monkeypatch.setattr(derived_files, "cpu_identity", lambda: "another CPU")
    assert opened(mlp, cache).cache.use is CacheUse.BUILT
    assert len(list(cache.glob("ort-*"))) == 3


def test_an_old_runtime_does_without(mlp: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 1.31.1 saved files do not load again; the reason names the version that is needed."""
    monkeypatch.setattr(ort_cache, "OLDEST_RUNTIME", (999, 0, 0))
    state = opened(mlp, tmp_path).cache
    assert state.use is CacheUse.OFF
    assert "999.0.0" in str(state.reason)


def test_no_cache_no_mapping_or_no_room_still_runs(mlp: Bundle, tmp_path: Path) -> None:
    """None, memory_map false, a limit of nothing, a limit that is too small."""
    assert opened(mlp, None).cache.use is CacheUse.NOT_WANTED
    assert opened(mlp, tmp_path, Runtime(memory_map=False)).cache.use is CacheUse.NOT_WANTED
    assert opened(mlp, tmp_path, Runtime(cache_mb=0)).cache.use is CacheUse.NOT_WANTED
    assert not list(tmp_path.iterdir())


def test_an_unwritable_place_still_runs(mlp: Bundle, tmp_path: Path) -> None:
    """A file stands where the cache's folder should be: no error, no cache."""
    (tmp_path / "file").write_text("in the way")
    assert opened(mlp, tmp_path / "file").cache.use is CacheUse.OFF
    assert (tmp_path / "file").read_text() == "in the way"


def test_without_an_interpreter_to_start_it_is_made_in_this_process(
    mlp: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An embedded Python has no sys.executable."""
    monkeypatch.setattr(sys, "executable", "")
    assert opened(mlp, tmp_path).cache.use is CacheUse.BUILT


def test_a_failing_optimiser_costs_only_the_cache(
    mlp: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies: the network runs, nothing is left behind."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert opened(mlp, tmp_path).cache.reason.startswith("the optimiser failed")
    assert not list(tmp_path.iterdir())


def test_an_optimised_model_with_other_numbers_is_found(mlp: Bundle, tmp_path: Path) -> None:
    """The optimiser runs what it wrote at every level before anyone else does."""
    import onnx
    import onnxruntime as ort
    from onnx import numpy_helper

    source = mlp.folder / mlp.manifest.variant("onnx-selector").files["model"]
    proto = onnx.load(source)
    head = next(tensor for tensor in proto.graph.initializer if tensor.name == "head.bias")
    head.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(head) + np.float32(0.01), head.name))
    onnx.save(proto, tmp_path / "other.onnx")
    session = ort.InferenceSession(source, providers=["CPUExecutionProvider"])

    ort_optimise._prove(session, source)
    with pytest.raises(RuntimeError, match="other numbers at level 0"):
        ort_optimise._prove(session, tmp_path / "other.onnx")
