"""The comparison for owners of boards: what is compared, what is left out and why, and what makes figures doubtful."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.bundles import bundle

from elsa_edge.board import Suite, run_suite
from elsa_edge.board.conditions import Reading, board_facts, flags_of, read
from elsa_edge.board.kit import KitNet, kit_nets, own_kit
from elsa_edge.board.rows import comparison_of, label_of
from elsa_edge.board.sustained import Slice, keep_running, slower_by, sustained_json
from elsa_edge.board.timing import Request, time_beside
from elsa_edge.bundle import open_bundle
from elsa_edge.cli import cli
from elsa_edge.errors import ElsaError, RuntimeUnavailableError, UsageError
from elsa_edge.profiles import contributed, loader, profile_names

LEVELS = 3
CALM = Reading(50.0, 2400.0, (), 3, 7, 10**9)
QUICK = Suite(row_s=0.0, sustained_s=0.0, threads=1, quick=True)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_what_a_pi_tells_is_read_and_what_it_does_not_tell_is_none(tmp_path) -> None:
    pi = write(
        tmp_path / "pi",
        {
            "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000\n",
            "sys/devices/system/cpu/cpu3/cpufreq/scaling_cur_freq": "600000\n",
            "sys/class/thermal/thermal_zone0/temp": "81500\n",
            "proc/vmstat": "pgfault 9\npswpin 4\npswpout 6\n",
            "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd asimddp\nCPU part\t: 0xd0b\n\n"
            "processor\t: 1\n\nModel\t\t: Raspberry Pi 5\nSerial\t\t: 10000000abcdef\n",
            "proc/meminfo": "MemTotal:  1000 kB\n",
        },
    )
    told, facts = read(pi), board_facts(pi)

    assert told.throttled == ("too little voltage", "throttled")
    assert (told.temperature_c, told.clock_mhz, told.swapped_pages) == (81.5, 1500.0, 10)
    assert (facts["model"], facts["cores"], facts["cpu_part"]) == ("Raspberry Pi 5", 2, "0xd0b")
    assert facts["features"] == ["asimd", "asimddp"]
    assert facts["memory_bytes"] == 1_024_000
    assert "abcdef" not in json.dumps(facts)
    nothing = read(tmp_path / "nothing")
    assert nothing == Reading(None, None, (), None, None, None)
    assert flags_of([nothing, nothing]) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, None),
        ({"throttled": ("throttled",)}, "the firmware said: throttled"),
        ({"heat_events": 5}, "heat slowed the clock 2 times"),
        ({"swapped_pages": 107}, "100 pages were swapped"),
        ({"clock_mhz": 1500.0}, "the clock went from 2400 down to 1500 MHz"),
    ],
)
def test_what_makes_figures_doubtful_is_said(change, said) -> None:
    flags = flags_of([CALM, CALM, dataclasses.replace(CALM, **change)])

    assert [said in flag for flag in flags] == ([] if said is None else [True])


def test_a_board_that_slows_down_in_the_middle_is_flagged() -> None:
    """Throttled after a while: runs take a third longer, and the clock says why."""
    cold = [Slice(5.0 * k, (10.0, 20.0), CALM) for k in range(10)]
    hot = dataclasses.replace(CALM, clock_mhz=1800.0, throttled=("soft temperature limit",))
    slow = [Slice(50 + 5.0 * k, (13.3, 21.0), hot) for k in range(10)]
    told = sustained_json("net", ("a", "b"), [*cold, *slow])

    assert told["slower_by"] == pytest.approx(0.33)
    assert len(told["flags"]) == 3
    assert sustained_json("net", ("a", "b"), cold)["flags"] == []
    assert slower_by(cold[:1]) == 0.0


def test_engines_take_turns_while_it_works(tmp_path) -> None:
    order: list[str] = []
    slices = keep_running(
        [lambda: order.append("a"), lambda: order.append("b")], 0.05, lambda _: None, slice_s=0.01, root=tmp_path
    )  # fmt: skip

    assert order[:4] == ["a", "b", "a", "b"]
    assert order.count("a") == order.count("b")
    assert slices[-1].after_s >= 0.05


def test_an_engine_that_is_not_here_is_left_out_with_its_reason_and_the_base_is_stock_and_dense() -> None:
    variants = open_bundle(bundle("conv")).manifest.variants
    whole = comparison_of("conv", variants, lambda _: None)
    without = comparison_of(
        "conv", variants, lambda v: "no such runtime" if v.name in ("ort-levels", "ort-switch") else None
    )
    nothing = comparison_of("conv", variants, lambda _: "32-bit system")

    assert whole.base is not None
    assert (whole.base.name, whole.variants[0].name, whole.left_out) == ("ort-levels", "ort-levels", ())
    assert [one.what for one in without.left_out] == ["ort-levels", "ort-switch"]
    assert without.base is not None
    assert without.base.name == "onnx-selector"
    assert nothing.base is None
    assert {one.reason for one in nothing.left_out} == {"32-bit system"}
    assert label_of(whole.base) == ("ONNX Runtime", "float32")


def test_every_variant_of_a_bundle_has_a_row_a_level(tmp_path) -> None:
    place = tmp_path / "conv"
    shutil.copytree(bundle("conv"), place)
    whole = run_suite([KitNet("conv", place, None)], QUICK, lambda _: None)
    levels = len(open_bundle(place).ladder)

    assert len(whole["rows"]) == 3 * levels
    base = [row for row in whole["rows"] if row["variant"] == "ort-levels"][-1]
    assert base["times_as_fast_as_dense"] == 1.0
    assert all(row["p50_ms"] > 0 and row["runs"] > 0 for row in whole["rows"])
    assert [one["what"] for one in whole["left_out"]] == ["ncnn"]
    assert whole["sustained"] is None
    json.dumps(whole, allow_nan=False)


def test_a_row_that_cannot_be_timed_is_left_out_with_the_reason(tmp_path) -> None:
    """What ends the process of one engine (here: its file is damaged) is said, and costs its own rows only."""
    place = tmp_path / "conv"
    shutil.copytree(bundle("conv"), place)
    model = place / "ort-switch" / "model.onnx"
    model.write_bytes(bytes(model.stat().st_size))
    request = Request(str(place), "ort-levels", "ort-switch", None, None, 1, 0.0)

    with pytest.raises(ElsaError, match=r"model\.onnx"):
        time_beside(request)
    assert len(time_beside(dataclasses.replace(request, variant="ort-levels"))) == LEVELS


def test_contributed_files_are_whole_measurements_of_boards_that_there_are() -> None:
    """And a profile finds those of its own name, not of one that begins like it."""
    files = {name: contributed(name) for name in profile_names()}
    for name, paths in files.items():
        for path in paths:
            told = json.loads(path.read_text())
            assert (told["suite"], told["format"], told["quick"]) == ("board", 1, False), name
            assert told["sustained"]["seconds"] >= 600
    folder = Path(loader.__file__).parents[1] / "device_profiles" / "measured"
    assert sorted(folder.glob("*.json")) == sorted(path for paths in files.values() for path in paths)


def test_a_profile_names_the_figures_of_its_board(tmp_path, monkeypatch) -> None:
    (tmp_path / "measured").mkdir()
    for name in ("raspberry-pi-5.json", "raspberry-pi-5-fan.json", "raspberry-pi-50.json", "other.json"):
        (tmp_path / "measured" / name).touch()
    before = CliRunner().invoke(cli, ["devices", "show", "raspberry-pi-5"])
    monkeypatch.setattr(loader, "_FOLDER", tmp_path)

    assert "elsa-edge benchmark --suite board" in before.stderr
    assert [path.name for path in contributed("raspberry-pi-5")] == [
        "raspberry-pi-5-fan.json", "raspberry-pi-5.json",
    ]  # fmt: skip


def test_where_no_engine_runs_it_says_so(monkeypatch) -> None:
    monkeypatch.setattr("elsa_edge.board.suite.why_not_loadable", lambda _: "onnxruntime is not installed")
    with pytest.raises(RuntimeUnavailableError, match="onnxruntime is not installed"):
        run_suite([KitNet("conv", bundle("conv"), None)], QUICK, lambda _: None)


def test_the_wheel_carries_a_kit_whose_bundles_are_whole_and_compare_eight_bits_too() -> None:
    with own_kit() as folder:
        (net,) = kit_nets(folder)
        names = {variant.name for variant in open_bundle(net.bundle).manifest.variants}

        assert net.ncnn is not None
    assert names == {"ort-levels", "ort-int8", "ort-nested", "nested-int8", "tflite-levels", "tflite-int8"}


def test_a_folder_without_bundles_is_no_kit(tmp_path) -> None:
    with pytest.raises(UsageError, match="is no kit"):
        kit_nets(tmp_path)


def test_the_command_writes_one_file_and_shows_the_table(tmp_path) -> None:
    kit = tmp_path / "kit"
    shutil.copytree(bundle("conv"), kit / "conv")
    words = [
        "benchmark",
        "--suite",
        "board",
        "--quick",
        "--kit",
        str(kit),
        "-o",
        str(tmp_path / "b.json"),
        "--json",
    ]
    done = CliRunner().invoke(cli, words)

    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "b.json").read_text())
    assert told["suite"] == "board"
    assert told["format"] == 1
    assert told["quick"] is True
    assert {row["network"] for row in told["rows"]} == {"conv"}
    assert told["sustained"]["slices"]
    assert "ncnn is left out" in done.stderr
