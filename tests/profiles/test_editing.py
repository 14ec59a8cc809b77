"""A profile that a person wrote is changed where it stands."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsa_edge.profiles import load_profile, profile_names, render_profile, update_profile
from elsa_edge.profiles.editing import edited
from elsa_edge.profiles.loader import profile_of
from elsa_edge.profiles.schema import Measured, MeasuredLevel

BY_HAND = """\
# The gate at dock 3.
name: gate   # not "gates"
hardware: {arch: aarch64, cpu: Cortex-A76, cores: 4, memory_mb: 4096}
variants:
  - ort-nested
  # kept for the old bundle
  - ort-switch
# Measured in March.
measured:
  levels:
    - {name: s90, p50_ms: 3.0}

runtime:
  threads: 2  # two are for the camera
  choice: model
qos: {latency_budget_ms: 40}
# The end.
"""


def changed(profile, *, variants=("ort-switch", "ort-nested"), choice="all_nested", ms=1.5):
    """Return the profile as `elsa-edge profile` changes one."""
    return profile.model_copy(
        update={
            "variants": variants,
            "runtime": profile.runtime.model_copy(update={"choice": choice}),
            "measured": Measured(levels=(MeasuredLevel(name="s90", p50_ms=ms),)),
        }
    )


def test_comments_and_order_stay():
    """Only the values that differ are other ones; the table is at the end, with its comment."""
    wanted = changed(profile_of("p", BY_HAND))
    made = edited(BY_HAND, wanted)
    assert profile_of("p", made) == wanted
    for kept in (
        "# The gate at dock 3.",
        'name: gate   # not "gates"',
        "threads: 2  # two are for",
        "# The end.",
    ):
        assert kept in made
    assert "Measured in March" not in made
    assert made.index("variants:") < made.index("runtime:") < made.index("\nmeasured:")


def test_nothing_changes_where_nothing_differs():
    """Not a letter."""
    assert edited(BY_HAND, profile_of("p", BY_HAND)) == BY_HAND


def test_a_key_without_a_place_means_writing_anew(tmp_path):
    """The choice stands nowhere in this text; the file is then a whole profile of ours."""
    text = BY_HAND.replace("  choice: model\n", "")
    wanted = changed(profile_of("p", text))
    assert edited(text, wanted) is None
    (tmp_path / "p.yaml").write_text(text)
    update_profile(wanted, tmp_path / "p.yaml")
    assert (tmp_path / "p.yaml").read_text() == render_profile(wanted)


@pytest.mark.parametrize("text", ["", "no: [profile", "[1, 2]", "{}"])
def test_what_is_no_profile_is_replaced(text, tmp_path):
    """Whatever lies there."""
    (tmp_path / "p.yaml").write_text(text)
    update_profile(load_profile("raspberry-pi-5"), tmp_path / "p.yaml")
    assert load_profile(tmp_path / "p.yaml") == load_profile("raspberry-pi-5")


@settings(max_examples=12)
@given(
    name=st.sampled_from(profile_names()),
    variants=st.permutations(["ort-nested", "ort-switch", "tflite-levels"]),
    choice=st.sampled_from(["model", "all_nested", "yes"]),
    ms=st.floats(1e-6, 1e9),
)
def test_the_text_means_what_was_wanted(name, variants, choice, ms):
    """For every profile that comes with elsa-edge, twice in a row."""
    first = changed(load_profile(name), variants=tuple(variants), choice=choice, ms=ms)
    text = edited(render_profile(load_profile(name)), first)
    assert text is not None
    assert profile_of("p", text) == first
    second = changed(first, ms=ms / 2)
    again = edited(text, second)
    assert again is not None
    assert profile_of("p", again) == second
    assert again.count("\nmeasured:") == 1
