"""Writing profiles: what is written reads back equal; the published JSON Schema is current."""

from __future__ import annotations

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elsa_edge.profiles import DeviceProfile, load_profile, profile_names, render_profile, save_profile
from elsa_edge.profiles.json_schema import json_schema
from elsa_edge.profiles.schema import Hardware, Measured, MeasuredLevel, QoS
from elsa_edge.profiles.writer import SCHEMA_FILE

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
# Levels are called by what can be seen: see elsa_edge.visible.
_NAME = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=30)
_MS = st.floats(1e-6, 1e9)


@st.composite
def profiles(draw) -> DeviceProfile:
    names = draw(st.lists(_NAME, min_size=1, max_size=3, unique=True))
    return DeviceProfile(
        name=draw(st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,12}\Z")),
        description=draw(_TEXT),
        hardware=Hardware(
            arch="aarch64",
            cpu=draw(_TEXT),
            cores=draw(st.integers(1, 1024)),
            # More than the default reserve.
            memory_mb=draw(st.integers(33, 10**9)),
        ),
        variants=("ort-switch",),
        qos=QoS(latency_budget_ms=draw(st.none() | _MS), minimum_accuracy=draw(st.none() | st.floats(0, 1))),
        measured=Measured(
            levels=tuple(MeasuredLevel(name=name, p50_ms=draw(st.none() | _MS)) for name in names),
            context={
                "governor": draw(_TEXT),
                "load": [1.5, None, True],
                # Longer ones are read as floats.
                draw(_TEXT): {"a b": draw(st.integers(1 - 10**18, 10**18 - 1))},
            },
        ),
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(profile=profiles())
def test_what_is_written_reads_back_equal(profile, tmp_path):
    """Any text, number and measurement survives the file."""
    save_profile(profile, tmp_path / "p.yaml")

    assert load_profile(tmp_path / "p.yaml") == profile


def test_built_in_profiles_survive_and_other_readers_agree(tmp_path):
    """A YAML 1.1 reader sees the same values in a rendered profile."""
    for name in profile_names():
        profile = load_profile(name)
        text = render_profile(profile)

        assert yaml.safe_load(text) == profile.model_dump(mode="json", exclude={"measured"})


def test_every_key_has_a_comment_and_no_place_on_this_machine_is_named():
    """A profile to edit explains itself, and may be handed on."""
    lines = render_profile(load_profile("raspberry-pi-5")).splitlines()

    assert not any(str(SCHEMA_FILE.parents[1]) in line for line in lines)
    keys = [i for i, line in enumerate(lines) if line.strip() and not line.lstrip().startswith(("#", "-"))]
    assert all(lines[i - 1].lstrip().startswith("# ") for i in keys)


def test_the_published_json_schema_is_current():
    """`python -m elsa_edge.profiles.json_schema` was run after the last change of the models."""
    assert SCHEMA_FILE.read_text() == json_schema()
