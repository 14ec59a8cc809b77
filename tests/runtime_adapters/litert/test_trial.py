"""Files are tried apart before this process opens them; what ends the process that tries is a refusal in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.opening import open_variant
from support.tflite_variants import golden_for, profile_with

from elsa_edge.errors import BundleError
from elsa_edge.exporters.tflite.levels import TfliteLevelsExporter
from elsa_edge.profiles import load_profile
from elsa_edge.runtime_adapters.litert import trial
from elsa_edge.runtime_adapters.litert.model_file import ModelFile


def file(path: Path) -> ModelFile:
    return ModelFile(path, (None,), ("x",), ("y",))


def test_a_file_that_ends_the_parser_is_called_damaged(monkeypatch, tmp_path):
    """The host lives, and the file's name is told."""
    monkeypatch.setattr(trial._helper, "ask", lambda _: {"ended": "ended with signal 11"})
    with pytest.raises(BundleError, match=r"signal 11 when it tried m\.tflite.*damaged"):
        trial.try_file(file(tmp_path / "m.tflite"), "ai-edge-litert", 1)


def test_a_file_that_is_none_is_refused_by_the_helper(tmp_path):
    """The helper answers, survives, and answers again."""
    (tmp_path / "m.tflite").write_bytes(b"no flatbuffer at all")
    for _ in range(2):
        with pytest.raises(BundleError, match=r"cannot load m\.tflite"):
            trial.try_file(file(tmp_path / "m.tflite"), "ai-edge-litert", 1)


def test_what_was_tried_is_remembered_in_the_cache(monkeypatch, tmp_path):
    """A file is tried once a device; a refusal is never remembered."""
    asked: list[str] = []

    def ask(question):
        asked.append(question["path"])
        return {"types": ["float32"]} if len(asked) > 1 else {"refused": "no"}

    monkeypatch.setattr(trial._helper, "ask", ask)
    monkeypatch.setattr(trial, "_tried", set())
    (tmp_path / "m.tflite").write_bytes(b"model")
    wanted = (file(tmp_path / "m.tflite"), "ai-edge-litert", 1, tmp_path / "cache")
    with pytest.raises(BundleError, match="no"):
        trial.require_tried(*wanted, stateful=False)
    for _ in range(2):
        trial.require_tried(*wanted, stateful=False)
        trial._tried.clear()
    assert len(asked) == 2


def test_shapes_that_the_manifest_only_claims_are_refused(canonical, tmp_path):
    """Arrays are allocated by these shapes: a batch of a thousand million would ask for all memory there is."""
    graph = canonical("mlp")
    variant = TfliteLevelsExporter().export(graph, profile_with(), golden_for(graph), tmp_path)
    told = variant.instructions
    (port, *rest) = told.inputs
    lie = port.model_copy(update={"file_shape": (10**9, *port.file_shape[1:])})
    changed = variant.model_copy(
        update={"instructions": told.model_copy(update={"batch": 10**9, "inputs": (lie, *rest)})}
    )
    with pytest.raises(BundleError, match="than the manifest says"):
        open_variant(tmp_path, changed, load_profile("generic-x86-64").runtime)
