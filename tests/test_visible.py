"""Names that hide something are refused where they are made and where they are read."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bundle_files import edit, fill

from elsa_edge.bundle import open_bundle
from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import BundleError, CheckpointError, LevelError
from elsa_edge.levels import Ladder, Level
from elsa_edge.profiles.schema import MeasuredLevel
from elsa_edge.visible import hidden_in, visible

HIDDEN = {
    "escape sequence": "s95\x1b[31m",
    "line break": "s95\nfake row",
    "carriage return": "s95\r",
    "line separator": "s95\u2028x",
    "no-break space": "s\u00a095",
    "zero-width space": "s9\u200b5",
    "zero-width joiner": "s9\u200d5",
    "byte-order mark": "\ufeffs95",
    "right-to-left override": "\u202e59s",
    "isolate": "s\u206695",
    "soft hyphen": "s\u00ad95",
    "tag": "s95\U000e0041",
    "private use": "s95\ue000",
    "half of a pair": "s95\ud800",
    "nothing": "",
    "space around": " s95",
}
hidden = pytest.mark.parametrize("name", HIDDEN.values(), ids=HIDDEN.keys())


@given(st.text(min_size=1))
def test_a_visible_name_is_letters_marks_digits_signs_and_inner_spaces(name: str) -> None:
    """Nothing of the categories "other" and "separator" passes but the plain space; everything else does."""
    strange = [c for c in name if unicodedata.category(c)[0] in "CZ" and c != " "]

    assert (hidden_in(name) is not None) == bool(strange)
    if not strange and name == name.strip(" "):
        assert visible(name) == name


@pytest.mark.parametrize("name", ["s95", "dense", "Stufe 3", "почти", "九割", "a/b.weight:0", "é", "<b>|`x`"])
def test_names_of_all_scripts_are_names(name: str) -> None:
    assert visible(name) == name


def test_the_character_is_named_with_its_place() -> None:
    assert hidden_in("s9\u202e5") == "U+202E RIGHT-TO-LEFT OVERRIDE at place 3"
    assert hidden_in("a\x1b") == "U+001B CONTROL CHARACTER at place 2"


@hidden
def test_a_ladder_refuses_it(name: str) -> None:
    with pytest.raises(LevelError, match="no name for a level"):
        Ladder((Level(name, 0.5),))


@hidden
def test_a_checkpoint_refuses_it_as_a_weight(name: str) -> None:
    with pytest.raises(CheckpointError, match="no name for a weight"):
        NestedCheckpoint({name: np.zeros(2, np.float32)}, {}, {}, Ladder.from_sparsities([0.5]))


@hidden
def test_a_measured_table_refuses_it(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"expected a name|at least 1 character|unable to parse raw data as a unicode"
    ):
        MeasuredLevel(name=name)


@pytest.mark.parametrize(
    "place", ["ladder", "inputs", "outputs", "name", "device", "role", "version", "size"]
)
@pytest.mark.parametrize(
    "name", [HIDDEN["escape sequence"], HIDDEN["zero-width space"]], ids=["escape", "zero-width"]
)
def test_a_manifest_refuses_it_everywhere(tmp_path: Path, place: str, name: str) -> None:
    """The error names the entry and the character, and shows neither as it is."""

    def change(values) -> None:  # JSON
        if place in ("ladder", "inputs", "outputs"):
            values[place][0]["name"] = name
        elif place == "role":
            values["variants"][0]["files"][name] = values["variants"][0]["files"]["data"]
        elif place == "version":
            values["versions"]["numpy"] = name
        elif place == "size":
            values["inputs"][0]["sizes"] = [name, None]
        else:
            values[place] = name

    folder = fill(tmp_path / "bundle")
    edit(folder, change)
    with pytest.raises(BundleError, match=r"found U\+(001B|200B)") as refused:
        open_bundle(folder)
    assert str(refused.value).isprintable()
