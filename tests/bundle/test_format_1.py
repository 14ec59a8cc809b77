"""Bundles of format 1 open, run and verify as they did, and their bytes stay as they are."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.bundle_files import edit

from elsa_edge.bundle import open_bundle
from elsa_edge.bundle.instructions import (
    Levels,
    Nested,
    Other,
    Selector,
    Switch,
    TfliteFiles,
    TfliteSignatures,
)
from elsa_edge.errors import BundleError
from elsa_edge.verify import verify_bundle

ARCHIVE = Path(__file__).parents[1] / "data" / "bundles_format_1.zip"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The folder of two bundles as the last version that wrote format 1 left them."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    return tmp_path


def test_an_old_bundle_verifies_at_every_level_of_every_variant(old: Path) -> None:
    """Also with the caches of both runtimes; not a byte of it changes, so its identity stays."""
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}

    for name in ("signatures", "files"):
        assert verify_bundle(old / name, device="generic-x86-64", cache=old / "cache").ok
        assert json.loads((old / name / "manifest.json").read_text())["format"] == 1

    assert {path: path.read_bytes() for path in before} == before


def test_options_become_instructions_and_notes(old: Path) -> None:
    """Each kind of today; what only people read is apart."""
    manifest = open_bundle(old / "signatures").manifest
    found = {variant.name: variant.instructions for variant in manifest.variants}

    assert [type(found[name]) for name in ("onnx-selector", "ort-levels", "ort-switch")] == [
        Selector,
        Levels,
        Switch,
    ]
    assert found["ort-nested"] == Nested(
        choices=("model", "all_nested"), nested_layers=(("node_linear",), ("node_linear",), ())
    )
    signatures = found["tflite-levels"]
    assert isinstance(signatures, TfliteSignatures)
    assert signatures.inputs[0].file_shape == (1, 6, 6, 2)
    assert isinstance(open_bundle(old / "files").manifest.variants[0].instructions, TfliteFiles)
    assert set(manifest.variant("ort-nested").notes) == {"decided_by", "time_over_dense"}
    assert set(manifest.variant("tflite-sparse").notes) == {"input_layout", "sparse", "preflight"}
    assert manifest.variant("ort-switch").notes == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v[0]["options"].update(kind="magic"), "other:NAME, found .magic."),
        (lambda v: v[0]["options"].pop("kind"), "instructions.kind: expected one of the kinds"),
        (lambda v: v[0].pop("options"), "instructions.kind: expected one of the kinds"),
        (lambda v: v[0].update(options=[]), "options of the variant onnx-selector are not readable"),
        (lambda v: v[3]["options"].update(level_count=2), "another number of levels .*expected 3, found 2"),
        (lambda v: v[3]["options"].update(level_count="many"), "another number of levels"),
        (lambda v: v[0].update(notes={}), "onnx-selector says format 1 and has keys of format 2.*notes"),
        (lambda v: v[0].update(instructions={"kind": "switch"}), "keys of format 2.*instructions"),
        (lambda v: v[0].update(colour="red"), "onnx-selector.colour: unknown key"),
        (lambda v: v[3]["options"].pop("nested_layers"), "nested_layers: the key is missing"),
        (lambda v: v[4]["options"].pop("batch"), "batch: the key is missing"),
        (lambda v: v[4]["options"]["inputs"][0].update(surprise=1), "surprise: unknown key"),
        (lambda v: v[3].update(files=None), "variants.ort-nested.files: expected an object, found null"),
        (lambda v: v[3].update(files=7), "variants.ort-nested.files: expected an object, found 7"),
        (lambda v: v.insert(0, 5), "variants"),
    ],
)
def test_a_damaged_old_manifest_is_refused(old: Path, change: Callable[[Any], object], words: str) -> None:
    """As clearly as a new one."""
    edit(old / "signatures", lambda data: change(data["variants"]))

    with pytest.raises(BundleError, match=words):
        open_bundle(old / "signatures")


def test_an_old_third_party_keeps_its_options(old: Path) -> None:
    """They become its settings."""
    edit(old / "signatures", lambda d: d["variants"][0].update(runtime="theirs", options={"a": 1}))

    assert open_bundle(old / "signatures").manifest.variants[0].instructions == Other(
        kind="other:theirs", settings={"a": 1}
    )
