"""What `elsa-edge inspect` tells people, of things that are slow to make for real."""

from __future__ import annotations

from elsa_edge.cli._inside import show_inside


def test_layers_that_stay_float32_are_told_with_their_reasons(capsys) -> None:
    variant = {
        "name": "nested-int8", "runtime": "onnxruntime", "precision": "int8", "files": ["model.onnx"],
        "size_bytes": 1, "shared_bytes": 0, "relative_tolerance": 0.01, "instructions": {},
        "notes": {"float_layers": {"head": "the last layer costs accuracy"}},
    }  # fmt: skip
    plain = {**variant, "name": "ort-nested", "notes": {}}
    shown = {"headline": "a bundle", "levels": [], "provenance": {}}

    show_inside({**shown, "variants": [variant, plain]})
    told = " ".join(capsys.readouterr().out.split())
    assert "Layers that stay float32" in told
    assert "the last layer costs accuracy" in told

    show_inside({**shown, "variants": [plain]})
    assert "stay float32" not in capsys.readouterr().out
