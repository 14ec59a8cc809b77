"""A loaded variant is what the manifest promised, or it is refused and closed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from support.bundle_files import edit
from support.bundles import VARIANTS, bundle

from elsa_edge.bundle import Bundle, open_bundle
from elsa_edge.errors import BundleError
from elsa_edge.loading import open_adapter
from elsa_edge.profiles import load_profile

PROFILE = load_profile("generic-x86-64")


def _changed(folder: Path, where: str, changes: dict[str, Any]) -> Bundle:
    """A copy of a bundle whose manifest says something else of its only input or output."""
    shutil.copytree(bundle("mlp"), folder)
    edit(folder, lambda data: data[where][0].update(changes))
    return open_bundle(folder)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("where", "changes"),
    [
        ("inputs", {"dtype": "int8"}),
        ("inputs", {"shape": [None, 63]}),
        ("inputs", {"shape": [None, 64, 1], "sizes": []}),
        ("inputs", {"name": "other"}),
        ("outputs", {"dtype": "float16"}),
        ("outputs", {"shape": [None, 33]}),
    ],
)
def test_other_inputs_or_outputs_than_promised_are_refused(
    tmp_path: Path, variant: str, where: str, changes: dict[str, Any]
) -> None:
    """Name, type, number of dimensions and each size: a manifest that lies would be believed by callers."""
    changed = _changed(tmp_path / "changed", where, changes)

    with pytest.raises(BundleError, match=rf"{variant} has other {where} than the network.*expected .*found"):
        open_adapter(changed, changed.manifest.variant(variant), PROFILE, None)


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_as_promised_opens(variant: str) -> None:
    """The counterpart: without a change nothing is refused."""
    whole = open_bundle(bundle("mlp"))
    opened = open_adapter(whole, whole.manifest.variant(variant), PROFILE, None)

    assert set(opened.inputs) == set(whole.inputs)
    assert all(spec.agrees(opened.outputs[name]) for name, spec in whole.outputs.items())
    opened.close()


def test_another_number_of_levels_is_refused(tmp_path: Path) -> None:
    """A ladder with a level more than the variant has."""
    shutil.copytree(bundle("mlp"), tmp_path / "changed")
    edit(tmp_path / "changed", lambda data: data["ladder"].insert(0, {"name": "more", "sparsity": 0.99}))
    edit(tmp_path / "changed", lambda data: data["variants"][0].update(level_bytes=[]))
    edit(tmp_path / "changed", lambda data: data.update(variants=data["variants"][:1], noise={}))
    changed = open_bundle(tmp_path / "changed")

    with pytest.raises(BundleError, match="another number of levels than the bundle"):
        open_adapter(changed, changed.manifest.variants[0], PROFILE, None)
