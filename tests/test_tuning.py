"""Tuning: the fastest exact way to run a bundle on this machine goes into the profile, and the adapter follows it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from support.bundles import bundle, folder
from torch import nn

from elsa_edge.build import build_bundle
from elsa_edge.bundle import Bundle, open_bundle
from elsa_edge.errors import RuntimeUnavailableError
from elsa_edge.graph.export import export_canonical
from elsa_edge.loading import choose_variant, open_adapter, why_not_loadable
from elsa_edge.measure import one_sample
from elsa_edge.profiles import load_profile
from elsa_edge.session import AdaptiveSession
from elsa_edge.sparsify import sparsify
from elsa_edge.tensors import TensorSpec
from elsa_edge.tuning import tune

PROFILE = load_profile("raspberry-pi-5").model_copy(update={"variants": ("ort-nested", "ort-switch")})


@cache
def estimated() -> Bundle:
    """Return a bundle for another kind of processor, on which an estimate left some layers dense."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 64, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2304, 9)
    )
    checkpoint = sparsify(model, (0.95, 0.0), allocation="uniform", exclude=["0.weight"])
    source = folder() / "estimated.onnx"
    export_canonical(checkpoint, model, [TensorSpec("", (1, 3, 10, 10))]).save(source)
    return build_bundle(
        source, PROFILE, folder() / "estimated", variants=("ort-nested", "ort-switch", "ort-nested-int8")
    )


def test_a_bundle_carries_another_choice_over_the_same_weights() -> None:
    """The graph is small, and answers as the built choice does at every level."""
    opened = estimated()
    variant = opened.manifest.variant("ort-nested")
    runtime = PROFILE.runtime.model_copy(update={"choice": "all_nested"})
    adapters = [
        open_adapter(opened, variant, profile, None)
        for profile in (PROFILE, PROFILE.model_copy(update={"runtime": runtime}))
    ]
    assert set(variant.files) == {"model", "data", "all_nested"}
    assert variant.notes["decided_by"] == ["estimate", "estimate"]
    for level in range(2):
        one, other = (adapter.run(one_sample(opened), level) for adapter in adapters)
        for name, array in one.items():
            np.testing.assert_allclose(other[name], array, atol=1e-4)
    for adapter in adapters:
        adapter.close()


def test_the_profile_gets_the_fastest_way_that_is_as_exact(tmp_path: Path) -> None:
    """What was timed is told; less exact variants are not; the choice is only changed for a gain of 5 %."""
    profile, timed = tune(estimated(), PROFILE, cache=tmp_path, seconds=0.2, tell=lambda _: None)
    ways = [(way.variant, way.choice) for way in timed]
    best = min(timed, key=lambda way: way.score_ms)
    taken = next(
        way for way in timed if (way.variant, way.choice) == (profile.variants[0], profile.runtime.choice)
    )

    assert ways[:2] == [("ort-nested", "model"), ("ort-nested", "all_nested")]
    assert "ort-nested-int8" not in dict(ways)
    assert set(profile.variants) == set(PROFILE.variants)
    assert taken in {best, timed[0]}
    assert (taken is timed[0]) == (best.score_ms > 0.95 * timed[0].score_ms)
    assert choose_variant(estimated(), profile).name == taken.variant


def test_where_there_is_one_way_nothing_is_timed(tmp_path: Path) -> None:
    """The profile is returned as it is."""
    profile = load_profile("generic-x86-64").model_copy(update={"variants": ("ort-switch",)})
    said: list[str] = []
    assert tune(open_bundle(bundle("two_inputs")), profile, cache=tmp_path, tell=said.append) == (profile, [])
    assert said == []


def test_without_compiled_kernels_the_next_variant_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The reason is a sentence with the command that helps."""
    opened = estimated()
    monkeypatch.setenv("ELSA_KERNELS_LIBRARY", str(tmp_path / "absent.so"))

    assert "elsa_edge.runtime_adapters.kernels.build" in str(
        why_not_loadable(opened.manifest.variant("ort-nested"))
    )
    assert choose_variant(opened, PROFILE).name == "ort-switch"
    with AdaptiveSession.open(opened.folder, PROFILE, cache=False) as session:
        said = (
            "ort-nested comes first in the profile and cannot be loaded here: our kernels were not compiled"
        )
        assert session.notes[0].startswith(said)
        assert session.notes[0].endswith("ort-switch runs in its place.")
    with AdaptiveSession.open(opened.folder, PROFILE, variant="ort-switch", cache=False) as session:
        assert not any("in its place" in note for note in session.notes)
    with pytest.raises(RuntimeUnavailableError, match="needs our kernels"):
        open_adapter(opened, opened.manifest.variant("ort-nested"), PROFILE, None)
