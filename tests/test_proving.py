"""What takes a variant out of a bundle that is being built; that wrong numbers do is in test_build.py."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from support.bundles import bundle, model

import elsa_edge.proving as proving_module
from elsa_edge.build import build_bundle
from elsa_edge.bundle import open_bundle
from elsa_edge.errors import ExportError
from elsa_edge.profiles import load_profile
from elsa_edge.proving import prove_variants
from elsa_edge.running.peak_memory import Peak

DEVICE = "generic-x86-64"


def test_a_variant_that_needs_more_memory_than_the_device_has_is_left_out(
    monkeypatch, tmp_path: Path
) -> None:
    """What it needed here is compared with the profile; the other variants stay."""
    needed = iter([3_000_000, 4_097_000_000])

    @contextlib.contextmanager
    def told() -> Iterator[Peak]:
        yield Peak(next(needed))

    monkeypatch.setattr(proving_module, "watch_peak", told)
    lines: list[str] = []
    built = build_bundle(
        model("two_inputs"),
        DEVICE,
        tmp_path / "b",
        variants=["onnx-selector", "ort-switch"],
        progress=lines.append,
    )
    assert [variant.name for variant in built.manifest.variants] == ["onnx-selector"]
    reason = built.manifest.provenance["left_out"]["ort-switch"]
    assert "more memory than generic-x86-64 has" in reason
    assert "4097 MB" in reason
    assert any("3 MB of memory at most" in line for line in lines)


def test_what_a_proof_stumbles_over_is_an_error_of_its_variant(monkeypatch) -> None:
    """Something that nobody foresaw takes no other variant with it, and says whom to blame."""
    built = open_bundle(bundle("two_inputs"))
    proved = proving_module.check_variant

    def stumbles(whole, variant, profile, cache):
        if variant.name == "onnx-selector":
            raise KeyError("tensor")
        return proved(whole, variant, profile, cache)

    monkeypatch.setattr(proving_module, "check_variant", stumbles)
    lines: list[str] = []
    failures = prove_variants(built, load_profile(DEVICE), lines.append)

    assert set(failures) == {"onnx-selector"}
    assert isinstance(failures["onnx-selector"], ExportError)
    assert "onnx-selector cannot be proved (KeyError: 'tensor')" in str(failures["onnx-selector"])
    assert [str(line).split(":")[0] for line in lines] == ["ort-levels", "ort-switch"]
