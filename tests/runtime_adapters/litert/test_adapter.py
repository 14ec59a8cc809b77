"""The LiteRT adapter: batches, levels, memory, closing, and an error for each thing a person can get wrong."""

from __future__ import annotations

import os

import numpy as np
import pytest
from support.opening import open_variant
from support.tflite_models import fully_connected, sparse_weight

from elsa_edge.bundle.instructions import Switch
from elsa_edge.bundle.manifest import Variant
from elsa_edge.errors import BundleError, InputError, LevelError, RuntimeUnavailableError
from elsa_edge.exporters.tflite.merge import merge
from elsa_edge.plugins import CacheUse, Opened
from elsa_edge.profiles.schema import Runtime
from elsa_edge.runtime_adapters.litert import adapter as litert_adapter
from elsa_edge.runtime_adapters.litert import cached
from elsa_edge.runtime_adapters.litert import engines as litert_engines
from elsa_edge.runtime_adapters.litert.adapter import LitertAdapter

LEVELS = 3
WEIGHTS = [sparse_weight((5, 8), density, 1) for density in (0.2, 0.6, 1.0)]


def _port(name: str, columns: int, batch: int) -> dict[str, object]:
    return {
        "name": name,
        "shape": [None, columns],
        "dtype": "float32",
        "layout": "same",
        "file_shape": [batch, columns],
        "file_dtype": "float32",
    }


def _variant(folder, kind: str, batch: int = 2, **changes: object) -> Variant:
    models = {f"level_{k}": fully_connected([weight], batch) for k, weight in enumerate(WEIGHTS)}
    if kind == "signatures":
        files = {"model": "model.tflite"}
        (folder / "model.tflite").write_bytes(merge(models).to_bytes())
    else:
        files = {key: f"{key}.tflite" for key in models}
        for key, model in models.items():
            (folder / files[key]).write_bytes(model.to_bytes())
    instructions = {
        "kind": f"tflite-{kind}",
        "batch": batch,
        "stateful": False,
        "inputs": [_port("x", 8, batch)],
        "outputs": [_port("y", 5, batch)],
    }
    values = {"name": "t", "runtime": "litert", "files": files, "level_bytes": (40, 120, 160)}
    return Variant.model_validate(values | {"instructions": instructions | changes})


@pytest.fixture(params=["signatures", "files"])
def opened(request, tmp_path):
    adapter = open_variant(tmp_path, _variant(tmp_path, request.param), Runtime(name="litert"))
    yield adapter
    adapter.close()


@pytest.mark.parametrize("batch", [0, 1, 2, 5])
def test_any_batch_runs_in_pieces_of_the_files(opened, batch):
    """The file is made for two samples; the answers are those of each sample alone."""
    x = np.random.default_rng(batch).standard_normal((batch, 8)).astype(np.float32)

    for level in (0, 2, 1, 0):
        found = opened.run({"x": x}, level)["y"]

        assert found.shape == (batch, 5)
        assert np.allclose(found, x @ WEIGHTS[level].T, atol=1e-5)


def test_it_is_an_adapter(opened):
    """Names, free batch and number of levels as the protocol wants them."""
    assert isinstance(opened, Opened)
    assert opened.level_count == LEVELS
    assert str(opened.inputs["x"]) == "x: ?x8 float32"
    assert str(opened.outputs["y"]) == "y: ?x5 float32"


def test_answers_do_not_change_under_the_callers_feet(opened):
    """A result belongs to the caller; the next run writes elsewhere."""
    x = np.ones((2, 8), np.float32)
    first = opened.run({"x": x}, 2)["y"]
    copy = first.copy()

    opened.run({"x": 3 * x}, 2)

    assert np.array_equal(first, copy)


@pytest.mark.parametrize("level", [-1, LEVELS, True, 0.5, "0"])
def test_a_level_that_is_none_is_refused(opened, level):
    """Nothing else is computed instead."""
    with pytest.raises(LevelError, match=r"0 \(sparsest\) to 2"):
        opened.run({"x": np.ones((1, 8), np.float32)}, level)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"z": np.ones((1, 8), np.float32)}, "other names"),
        ({"x": np.ones((1, 9), np.float32)}, "wrong shape"),
        ({"x": np.ones((1, 8), np.float64)}, "wrong type"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(opened, inputs, words):
    """By name, shape and type."""
    with pytest.raises(InputError, match=words):
        opened.run(inputs, 0)


def test_memory_says_what_is_resident(tmp_path):
    """Signatures keep every level; files keep one."""
    together = open_variant(tmp_path, _variant(tmp_path, "signatures"), Runtime(name="litert")).memory()
    alone = open_variant(tmp_path, _variant(tmp_path, "files"), Runtime(name="litert")).memory()

    assert together.at(0) == together.at(2)
    assert alone.at(0) < alone.at(2) < together.at(2)


def test_closing_twice_is_fine_and_ends_it(opened):
    """A closed adapter says so."""
    opened.close()
    opened.close()

    with pytest.raises(BundleError, match="closed"):
        opened.run({"x": np.ones((1, 8), np.float32)}, 0)


def test_a_damaged_file_is_named(tmp_path):
    """The runtime's own words come along."""
    variant = _variant(tmp_path, "signatures")
    path = tmp_path / "model.tflite"
    path.write_bytes(path.read_bytes()[:200])

    with pytest.raises(BundleError, match=r"cannot load model\.tflite"):
        open_variant(tmp_path, variant, Runtime(name="litert"))


def test_a_missing_file_is_named(tmp_path):
    """Before the runtime is asked."""
    variant = _variant(tmp_path, "files")
    (tmp_path / "level_1.tflite").unlink()

    with pytest.raises(BundleError, match=r"level_1\.tflite is missing"):
        open_variant(tmp_path, variant, Runtime(name="litert"))


@pytest.mark.parametrize(
    ("count", "changes", "words"),
    [
        (4, {}, "does not have the signatures"),
        (3, {"outputs": [_port("other", 5, 2)]}, "other inputs or outputs"),
    ],
)
def test_a_manifest_that_promises_something_else_is_refused(tmp_path, count, changes, words):
    """Wrong signatures, wrong names."""
    variant = _variant(tmp_path, "signatures", **changes)

    with pytest.raises(BundleError, match=words):
        open_variant(tmp_path, variant, Runtime(name="litert"), level_count=count)


def test_instructions_for_another_adapter_are_refused(tmp_path):
    """A kind that is not TFLite's; it never runs as something else."""
    variant = _variant(tmp_path, "files").model_copy(update={"instructions": Switch()})

    assert "does not know the kind switch" in str(LitertAdapter().missing(variant))
    with pytest.raises(BundleError, match="tflite-files or tflite-signatures, found switch"):
        open_variant(tmp_path, variant, Runtime(name="litert"))


def test_without_a_package_nothing_can_be_loaded(tmp_path, monkeypatch):
    """`missing` names both packages; nothing is opened to find out."""
    variant = _variant(tmp_path, "files")
    assert LitertAdapter().missing(variant) is None
    monkeypatch.setattr(litert_adapter, "installed", lambda _module: False)

    assert LitertAdapter().missing(variant) == "ai-edge-litert or tflite-runtime is not installed"


def test_without_a_runtime_the_error_says_what_to_install(monkeypatch):
    """Neither package is there."""
    monkeypatch.setattr(litert_engines, "installed", lambda _module: False)

    with pytest.raises(RuntimeUnavailableError, match="pip install ai-edge-litert"):
        litert_engines.choose_package(Runtime(name="litert"))


def test_tflite_runtime_next_to_numpy_2_is_refused_before_it_crashes(monkeypatch):
    """Its interpreter would die inside; the fix is a command."""
    monkeypatch.setattr(litert_engines, "installed", lambda module: module == "tflite_runtime")
    monkeypatch.setattr(litert_engines.np, "__version__", "2.4.6")

    with pytest.raises(RuntimeUnavailableError, match="numpy<2"):
        litert_engines.choose_package(Runtime(name="litert"))


def test_a_profile_may_name_the_package():
    """An unknown one is refused with those that are known."""
    with pytest.raises(RuntimeUnavailableError, match="tflite-runtime"):
        litert_engines.choose_package(Runtime(name="litert", options={"litert.package": "tensorflow"}))


def _cached(folder, cache, kind="signatures", **settings: object):
    return open_variant(folder, _variant(folder, kind), Runtime(name="litert", **settings), cache)


@pytest.mark.parametrize("kind", ["signatures", "files"])
def test_packed_weights_are_written_once_and_used_again(tmp_path, kind):
    """The numbers are the same without a cache, while it is made, and from it."""
    cache = tmp_path / "cache"
    x = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)
    for use in (CacheUse.BUILT, CacheUse.USED):
        adapter = _cached(tmp_path, cache, kind)
        assert adapter.cache.use is use
        for level in (0, 1, 2, 0):
            assert np.allclose(adapter.run({"x": x}, level)["y"], x @ WEIGHTS[level].T, atol=1e-5)
        adapter.close()

    entries = list(cache.iterdir())
    assert len(entries) == (1 if kind == "signatures" else LEVELS)
    assert all(
        {path.name for path in entry.iterdir()} == {"weights.xnnpack", "stamp.json"} for entry in entries
    )


def test_a_damaged_cache_is_rebuilt(tmp_path):
    """A flipped byte never becomes a wrong answer."""
    cache = tmp_path / "cache"
    _cached(tmp_path, cache).close()
    (packed,) = cache.glob("*/weights.xnnpack")
    whole = packed.read_bytes()
    packed.write_bytes(whole[:-8] + bytes(byte ^ 255 for byte in whole[-8:]))
    x = np.ones((1, 8), np.float32)

    found = _cached(tmp_path, cache).run({"x": x}, 1)["y"]

    assert np.allclose(found, x @ WEIGHTS[1].T, atol=1e-5)
    assert packed.read_bytes()[-8:] == whole[-8:]


def test_a_cache_that_cannot_be_used_is_done_without(tmp_path):
    """A file where the folder should be, or no space for it."""
    (tmp_path / "file").write_text("")
    x = np.ones((1, 8), np.float32)

    for cache, settings in ((tmp_path / "file", {}), (tmp_path / "small", {"cache_mb": 0})):
        adapter = _cached(tmp_path, cache, **settings)
        assert adapter.cache.use is (CacheUse.NOT_WANTED if settings else CacheUse.OFF)
        assert np.allclose(adapter.run({"x": x}, 2)["y"], x @ WEIGHTS[2].T, atol=1e-5)


def test_what_other_threads_say_during_an_inference_is_heard(tmp_path):
    """The runtime's notes are hidden while the file is opened; stderr is itself from then on, also at the first run."""
    adapter = _cached(tmp_path, tmp_path / "cache")
    assert adapter.cache.use is CacheUse.BUILT
    before, seen = os.fstat(2), []
    engine = adapter._engine
    original = engine._model.run_by_index
    engine._model.run_by_index = lambda *arguments: (seen.append(os.fstat(2)), original(*arguments))

    adapter.run({"x": np.ones((1, 8), np.float32)}, 1)

    assert [(entry.st_dev, entry.st_ino) for entry in seen] == [(before.st_dev, before.st_ino)]


def test_what_other_threads_say_while_a_file_is_opened_is_heard(tmp_path, capfd):
    """Only the runtime's own notes are kept off stderr: another thread's last words may stand between them."""
    _cached(tmp_path, tmp_path / "cache").close()
    capfd.readouterr()
    original = cached.CachedEngine._first_write

    def others_speak(engine):
        os.write(2, b"INFO: [made_up.cc:7] a note of the runtime\nTraceback: the words of another thread\n")
        original(engine)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cached.CachedEngine, "_first_write", others_speak)
        _cached(tmp_path, tmp_path / "cache").close()

    assert capfd.readouterr().err == "Traceback: the words of another thread\n"
