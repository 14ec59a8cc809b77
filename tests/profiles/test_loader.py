"""Reading device profiles: what is accepted, and what each mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from elsa_edge.errors import ProfileError, UnknownNameError
from elsa_edge.profiles import find_problems, load_profile, profile_names, save_profile

MINIMAL = """\
name: my-board
hardware: {arch: aarch64, cores: 4, memory_mb: 1024}
variants: [ort-switch]
"""


@pytest.fixture
def write(tmp_path: Path):
    def write_file(text: str) -> Path:
        path = tmp_path / "board.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def test_built_in_profiles_load_under_their_file_name():
    """Every profile that comes with elsa-edge is correct and is called like its file."""
    names = profile_names()

    assert {
        "generic-x86-64",
        "raspberry-pi-zero-2w",
        "raspberry-pi-32bit",
        "raspberry-pi-4",
        "raspberry-pi-5",
        "android-arm64",
    } <= set(names)
    assert [load_profile(name).name for name in names] == names


def test_a_minimal_file_is_completed_with_defaults(write):
    """Name, hardware and variants are enough."""
    profile = load_profile(write(MINIMAL))

    assert profile.runtime.name == "onnxruntime"
    assert profile.qos.latency_budget_ms is None
    assert profile.measured is None


def test_numbers_follow_yaml_1_2(write):
    """`1e3` is a number and `on` is text, as editors that follow the JSON Schema see them."""
    profile = load_profile(write(MINIMAL + "description: on\nqos: {latency_budget_ms: 1e3}\n"))

    assert profile.qos.latency_budget_ms == 1000.0
    assert profile.description == "on"


MISTAKES = {
    "unknown key": (
        MINIMAL + "qos:\n  latency_budget: 5\n",
        ["line 5, column 3", "'qos.latency_budget'", "Nearest: 'latency_budget_ms'"],
    ),
    "unknown section": (MINIMAL + "quality: {}\n", ["line 4", "'quality'", "Allowed: name, description"]),
    "wrong value": (
        MINIMAL + "runtime:\n  threads: 0\n",
        ["line 5", "'runtime.threads'", "expected greater than or equal to 1", "found 0"],
    ),
    "text for a number": (
        MINIMAL + 'qos: {latency_budget_ms: "50"}\n',
        ["line 4", 'found "50"', "valid number"],
    ),
    "yes for a boolean": (MINIMAL + "runtime: {arena: yes}\n", ["'runtime.arena'", "boolean", 'found "yes"']),
    "not one of the choices": (
        MINIMAL.replace("aarch64", "arm65"),
        ["line 2", "'hardware.arch'", "'x86-64', 'aarch64' or 'armv7l'", 'found "arm65"'],
    ),
    "missing key": (
        "name: x\nhardware: {arch: aarch64, memory_mb: 9}\nvariants: [a]\n",
        ["line 2, column 1", "'hardware.cores' is missing", "cores that one inference may use"],
    ),
    "empty variants": (
        MINIMAL.replace("[ort-switch]", "[]"),
        ["line 3", "'variants'", "at least one entry", "found []"],
    ),
    "a variant twice": (MINIMAL.replace("[ort-switch]", "[a, a]"), ["once only"]),
    "odd name": (
        MINIMAL.replace("my-board", "My Board"),
        ["line 1", "lower-case letters", 'found "My Board"'],
    ),
    "absolute probe path": (MINIMAL + "probes: {meminfo: /proc/meminfo}\n", ["without a leading slash"]),
    "not a number": (
        MINIMAL + "qos: {latency_budget_ms: .nan}\n",
        ["'qos.latency_budget_ms'", "finite", "NaN"],
    ),
    "infinite": (MINIMAL + "qos: {latency_budget_ms: .inf}\n", ["finite", "Infinity"]),
    "percentile of 100": (MINIMAL + "qos: {latency_percentile: 100}\n", ["less than 100"]),
    "margins the wrong way round": (
        MINIMAL + "qos:\n  switching: {margin: 0.2, up_margin: 0.1}\n",
        ["line 5", "'qos.switching'", "up_margin must be at least margin"],
    ),
    "reserve beyond the memory": (
        MINIMAL + "qos: {memory_reserve_mb: 99999}\n",
        ["memory_reserve_mb, 99999, leaves nothing of hardware.memory_mb"],
    ),
    "list for a mapping": (MINIMAL + "runtime: [1]\n", ["'runtime'", "a mapping", "found [1]"]),
    "mapping for a list": (MINIMAL.replace("[ort-switch]", "{a: b}"), ["'variants'", "a list"]),
    "measured twice": (
        MINIMAL + "measured: {levels: [{name: a}, {name: a}]}\n",
        ["'measured'", "each level may have one row only"],
    ),
    "quantiles the wrong way round": (
        MINIMAL + "measured:\n  levels:\n    - {name: a, p50_ms: 2, p95_ms: 1}\n",
        ["line 6", "p95_ms must be at least p50_ms"],
    ),
    "duplicate key": (
        MINIMAL + "name: again\n",
        ["line 4, column 1", "'name' is given twice", "first at line 1, column 1"],
    ),
    "broken YAML": (MINIMAL + "qos: {latency\n", ["not YAML", "line 5"]),
    "tab": (MINIMAL + "qos:\n\tlatency_budget_ms: 1\n", ["not YAML", "line 5"]),
    "two documents": (MINIMAL + "---\nname: b\n", ["not YAML", "line 4"]),
    "control character": (MINIMAL + "description: a\x01b\n", ["not YAML"]),
    "anchor": (MINIMAL + "probes: &p {}\n", ["anchors and aliases are not allowed", "line 4"]),
    "Python tag": (MINIMAL + "description: !!python/object/apply:os.system [ls]\n", ["tags are not allowed"]),
    "too deep": (MINIMAL + "description: " + "[" * 40 + "]" * 40 + "\n", ["nested too deeply"]),
    "list as key": (MINIMAL + "? [a]\n: 1\n", ["a key must be text"]),
    "text only": ("just text\n", ["not a device profile", 'found "just text"']),
    "empty": ("", ["not a device profile", "found nothing"]),
    "very long integer": (MINIMAL.replace("1024", "1" + "0" * 5000), ["'hardware.memory_mb'"]),
}


@pytest.mark.parametrize(("text", "parts"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_with_place_and_fix(write, text, parts):
    """The message names file, line, key, what was expected and what was found."""
    path = write(text)

    with pytest.raises(ProfileError) as caught:
        load_profile(path)

    message = str(caught.value)
    assert str(path) in message
    for part in parts:
        assert part in message, message


def test_all_mistakes_are_listed_in_file_order(write):
    """`find_problems` gives every mistake, `load_profile` the first and how many more there are."""
    path = write(MINIMAL + "qos: {latency_budget_ms: -1}\nruntime: {thread: 2}\n")

    problems = find_problems(path)

    assert ["line 4" in str(problems[0]), "line 5" in str(problems[1]), len(problems)] == [True, True, 2]
    with pytest.raises(ProfileError, match="and 1 more in this file"):
        load_profile(path)


def test_a_correct_file_has_no_problems(write):
    assert find_problems(write(MINIMAL)) == []


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="Nearest: 'raspberry-pi-5'"):
        load_profile("raspbery-pi-5")


def test_missing_file_is_told(tmp_path):
    with pytest.raises(ProfileError, match="no device profile at"):
        load_profile(tmp_path / "none.yaml")


def test_a_folder_is_no_profile(tmp_path):
    with pytest.raises(ProfileError):
        load_profile(tmp_path)


def test_bytes_that_are_not_text_are_told(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"name: \xff\xfe")

    with pytest.raises(ProfileError, match="cannot be read as UTF-8"):
        load_profile(path)


def test_a_huge_file_is_refused(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"# " + b"x" * (1 << 20))

    with pytest.raises(ProfileError, match="too large"):
        load_profile(path)


def test_a_device_that_was_added_is_found_by_its_name(tmp_path, monkeypatch) -> None:
    """Where `device add` writes; built-in names come first, and a name that is neither is answered with all of them."""
    monkeypatch.setenv("ELSA_EDGE_DEVICES", str(tmp_path))
    base = load_profile("raspberry-pi-5")
    for name in ("kitchen", "raspberry-pi-4"):
        save_profile(base.model_copy(update={"name": "kitchen"}), tmp_path / f"{name}.yaml")

    assert load_profile("kitchen").name == "kitchen"
    assert load_profile("raspberry-pi-4").name == "raspberry-pi-4"
    with pytest.raises(UnknownNameError, match="kitchen"):
        load_profile("kitchens")


@pytest.mark.parametrize(
    ("written", "meant"),
    [("arm64", "aarch64"), ("x86_64", "x86-64"), ("amd64", "x86-64"), ("armhf", "armv7l")],
)
def test_other_names_of_an_instruction_set(written, meant, tmp_path):
    """As `uname`, Debian and Android call it."""
    (tmp_path / "p.yaml").write_text(MINIMAL.replace("aarch64", written))
    assert load_profile(tmp_path / "p.yaml").hardware.arch == meant
