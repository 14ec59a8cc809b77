"""Instructions are typed: every kind comes back as written, and what is unknown, missing, foreign or wrong is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError
from support.bundle_files import edit, fill

from elsa_edge.bundle import open_bundle
from elsa_edge.bundle.instructions import (
    Instructions,
    Levels,
    Nested,
    Other,
    Port,
    Selector,
    Switch,
    TfliteFiles,
    TfliteSignatures,
)
from elsa_edge.errors import BundleError

PORT = {
    "name": "x",
    "shape": [None, 3, 4, 4],
    "dtype": "float32",
    "layout": "NHWC",
    "file_shape": [2, 4, 4, 3],
    "file_dtype": "int8",
}
TFLITE = {"batch": 2, "stateful": False, "inputs": [PORT], "outputs": [PORT]}
EVERY = (
    Selector(),
    Switch(),
    Levels(),
    Nested(choices=("model", "all_nested"), nested_layers=(("a", "b"), ())),
    TfliteFiles.model_validate(TFLITE),
    TfliteSignatures.model_validate(TFLITE),
    Other(kind="other:their-runtime", settings={"depth": [1, {"a": None}]}),
)


@pytest.mark.parametrize("instructions", EVERY, ids=lambda value: value.kind)
def test_every_kind_comes_back_as_written(instructions: object) -> None:
    """Through JSON, as the same class with the same values."""
    adapter: TypeAdapter[Instructions] = TypeAdapter(Instructions)
    assert adapter.validate_json(adapter.dump_json(instructions)) == instructions


@pytest.mark.parametrize(
    ("instructions", "words"),
    [
        (
            {"kind": "magic"},
            'other:NAME, found "magic"',
        ),
        ({"kind": "other:"}, "expected text like ^other:"),
        ({"kind": 7}, "instructions.kind: expected one of the kinds selector, switch"),
        ({}, "other:NAME, found null"),
        ([], "other:NAME, found []"),
        (None, "other:NAME, found null"),
        ({"kind": "selector", "custom_ops": True}, "variants.plain.instructions.custom_ops: unknown key"),
        (
            {"kind": "nested", "choices": ["model"]},
            "variants.plain.instructions.nested_layers: the key is missing",
        ),
        (
            {"kind": "nested", "choices": "model", "nested_layers": [[], []]},
            'instructions.choices: expected a valid array, found "model"',
        ),
        ({"kind": "nested", "choices": ["model", "model"], "nested_layers": [[], []]}, "the same name"),
        (
            {"kind": "nested", "choices": [], "nested_layers": [[], []]},
            "choices: expected at least 1 entry, found []",
        ),
        ({"kind": "nested", "choices": ["model"], "nested_layers": [[]]}, "one entry per level, 2 in all"),
        (
            {"kind": "nested", "choices": ["model"], "nested_layers": [["a", "a"], []]},
            "one nested layer twice",
        ),
        (
            {"kind": "nested", "choices": ["model"], "nested_layers": [[""], []]},
            "expected at least 1 character",
        ),
        ({"kind": "nested", "choices": ["faster"], "nested_layers": [[], []]}, "no file for faster"),
        ({"kind": "levels"}, "plain is of kind levels and has no file for level_0, level_1"),
        ({"kind": "tflite-signatures", **TFLITE}, "plain has other outputs than the network"),
        (
            {"kind": "tflite-files", **TFLITE, "batch": 0},
            "batch: expected greater than or equal to 1, found 0",
        ),
        ({"kind": "tflite-files", **TFLITE, "batch": "2"}, 'batch: expected a valid integer, found "2"'),
        ({"kind": "tflite-files", **TFLITE, "stateful": 0}, "stateful: expected a valid boolean, found 0"),
        ({"kind": "tflite-files", **TFLITE, "batsh": 2}, "unknown key, nearest is batch"),
        ({"kind": "tflite-files", **TFLITE, "batch": 3}, "file_shape must have the batch, 3"),
        (
            {"kind": "tflite-files", **TFLITE, "stateful": "perhaps"},
            'stateful: expected a valid boolean, found "perhaps"',
        ),
        ({"kind": "tflite-files", **TFLITE, "inputs": []}, "inputs: expected at least 1 entry"),
        (
            {"kind": "tflite-files", **TFLITE, "inputs": [{**PORT, "dtype": "object"}]},
            "dtype: expected 'float32', 'float16'",
        ),
        ({"kind": "tflite-files", **TFLITE, "inputs": [{**PORT, "shape": [None]}]}, "same number of axes"),
        ({"kind": "tflite-files", **TFLITE, "inputs": [{**PORT, "file_shape": [2, -1, 4, 3]}]}, "file_shape"),
    ],
)
def test_bad_instructions_are_refused_and_named(tmp_path: Path, instructions: object, words: str) -> None:
    """An unknown kind, a missing or foreign key, wrong types, and promises that the variant does not keep."""
    bundle = fill(tmp_path / "bundle")
    edit(bundle, lambda data: data["variants"][0].update(instructions=instructions))

    with pytest.raises(BundleError) as caught:
        open_bundle(bundle)

    assert words in str(caught.value)
    assert "variants" in str(caught.value) or "plain" in str(caught.value)


def test_a_variant_without_instructions_or_with_the_old_options_is_refused(tmp_path: Path) -> None:
    """In a manifest of format 2 there are no options."""
    bundle = fill(tmp_path / "bundle")
    edit(bundle, lambda data: data["variants"][0].pop("instructions"))
    with pytest.raises(BundleError, match="instructions: the key is missing"):
        open_bundle(bundle)
    edit(bundle, lambda data: data["variants"][0].update(instructions={"kind": "switch"}, options={}))
    with pytest.raises(BundleError, match=r"variants\.plain\.options: unknown key"):
        open_bundle(bundle)


def test_a_third_party_says_what_it_likes(tmp_path: Path) -> None:
    """Its settings are not looked at, and which files it needs is its own affair."""
    bundle = fill(tmp_path / "bundle")
    settings = {"anything": {"at": ["all", 1.5, None]}}
    edit(bundle, lambda d: d["variants"][0].update(instructions={"kind": "other:x", "settings": settings}))

    instructions = open_bundle(bundle).manifest.variant("plain").instructions

    assert isinstance(instructions, Other)
    assert instructions.settings == settings


def test_notes_are_for_people(tmp_path: Path) -> None:
    """Anything may stand there."""
    bundle = fill(tmp_path / "bundle")
    edit(bundle, lambda data: data["variants"][0].update(notes={"decided_by": ["timing", None]}))
    assert open_bundle(bundle).manifest.variant("plain").notes == {"decided_by": ["timing", None]}
    assert json.loads((bundle / "manifest.json").read_text())["format"] == 2


def test_a_port_with_channels_last_has_four_axes() -> None:
    """There is no other layout to turn it into."""
    with pytest.raises(ValidationError, match="layout NHWC needs four axes, and shape has 2"):
        Port.model_validate({**PORT, "shape": [None, 3], "file_shape": [2, 3]})
