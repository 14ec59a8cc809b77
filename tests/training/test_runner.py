"""`elsa-edge train`: resumable to the bit, several processes, clear errors, nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.cli import cli
from elsa_edge.errors import ElsaError
from elsa_edge.training.config import OptimizerConfig, ScheduleConfig, TrainConfig, read_config
from elsa_edge.training.json_schema import PAGE_FILE, SCHEMA_FILE, json_schema, reference_page
from elsa_edge.training.runner import run_training

HERE = Path(__file__).parent
BASE = {
    "model": "support.nets:conv",
    "data": "support.tasks:images",
    "ladder": [0.8, 0.5, 0.0],
    "epochs": 2,
    "batch_size": 16,
    "optimizer": {"lr": 0.05},
    "seed": 3,
}


@pytest.fixture
def write(tmp_path):
    def make(**changes: object) -> Path:
        path = tmp_path / "train.yaml"
        path.write_text(yaml.safe_dump(BASE | changes))
        return path

    return make


def same(one: NestedCheckpoint, other: NestedCheckpoint) -> bool:
    parts = [(one.weights, other.weights), (one.indices, other.indices), (one.tables, other.tables)]
    return all(set(a) == set(b) and all(np.array_equal(a[n], b[n]) for n in a) for a, b in parts)


def test_it_trains_every_level_and_reports_one_json_object(write, tmp_path):
    """Checkpoint, log and JSON agree; the levels have learnt something; no state is left behind."""
    out = tmp_path / "out.safetensors"
    result = CliRunner().invoke(
        cli, ["train", str(write(epochs=8)), "-o", str(out), "--json"], catch_exceptions=False
    )
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    checkpoint = NestedCheckpoint.load(out)
    assert [row["density"] for row in report["levels"]] == list(checkpoint.densities)
    assert report["levels"][-1]["accuracy"] > 0.5  # a guess has 0.1
    assert [row["flops_fraction"] for row in report["levels"]][-1] == 1.0
    assert len((tmp_path / "out.safetensors.run" / "log.csv").read_text().splitlines()) == 25
    assert not (tmp_path / "out.safetensors.run" / "state.pt").exists()


class StopError(Exception):
    """Ends a training from outside."""


@pytest.mark.parametrize(
    ("stop_after", "changes"),
    [
        (
            3,
            {
                "model": "support.tasks:with_dropout",
                "optimizer": {"name": "adamw", "lr": 0.01},
                "accumulate": 2,
            },
        ),
        (15, {"method": {"name": "rigl", "every": 2}, "granularity": "block", "clip_norm": 0.5}),
        (7, {"trainer": "joint", "distillation": 0.5, "switch_points": True}),
    ],
)
def test_a_stopped_run_ends_like_one_that_was_not(write, tmp_path, changes, stop_after):
    """Stopped in the middle of an epoch, with dropout, momentum and moving masks: the same bits at the end."""
    config = read_config(write(save_every_s=1e-9, **changes))
    whole = run_training(config, tmp_path / "whole.safetensors")

    def stopping(event):
        if event.step == stop_after:
            raise StopError

    out = tmp_path / "parts.safetensors"
    with pytest.raises(StopError):
        run_training(config, out, progress=stopping)
    torch.rand(17)  # what another process would have drawn meanwhile
    steps = []
    resumed = run_training(config, out, progress=lambda event: steps.append(event.step))
    assert steps[0] == stop_after
    assert same(whole, resumed)
    if changes.get("switch_points"):
        measured = [entry["accuracy"] for entry in resumed.provenance["switch_points"]]
        assert len(measured) == 4
        assert (measured[0], measured[-1]) == (resumed.ladder[0].accuracy, resumed.ladder[2].accuracy)
    assert whole.ladder == resumed.ladder


def test_a_killed_process_goes_on_to_the_same_file(write, tmp_path):
    """SIGKILL at a moment nobody chose: resuming gives the file of an undisturbed run."""
    config = write(epochs=6, save_every_s=1e-9)
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    out = tmp_path / "killed.safetensors"
    command = [
        sys.executable,
        "-c",
        "from elsa_edge.cli import main; main()",
        "train",
        str(config),
        "-o",
        str(out),
    ]
    state = tmp_path / "killed.safetensors.run" / "state.pt"
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while not state.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    resumed = run_training(read_config(config), out)
    whole = run_training(read_config(config), tmp_path / "whole.safetensors")
    assert same(resumed, whole)
    assert same(NestedCheckpoint.load(out), whole)


def test_two_processes_train_what_one_does(write, tmp_path):
    """Under torchrun with gloo:

    the same global batch gives the same levels up to rounding, tables included.
    """
    config = write(
        model="support.tasks:without_norm", method={"name": "rigl", "every": 2}, optimizer={"lr": 0.02}
    )
    environment = os.environ | {
        "PYTHONPATH": str(HERE.parent),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    out = tmp_path / "two.safetensors"
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "--no-python",
    ]
    command = [
        sys.executable,
        "-c",
        "from elsa_edge.cli import main; main()",
        "train",
        str(config),
        "-o",
        str(out),
    ]
    done = subprocess.run(
        [*launcher, *command], env=environment, check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one = run_training(read_config(config), tmp_path / "one.safetensors")
    two = NestedCheckpoint.load(out)
    assert two.provenance["processes"] == 2
    assert two.densities == one.densities
    for name in one.indices:
        assert np.mean(one.indices[name] != two.indices[name]) < 0.02  # ties that rounding decides
    for level in range(3):
        a, b = one.at_level(level), two.at_level(level)
        assert max(np.abs(a[name] - b[name]).max() for name in a if name.endswith("bias")) < 1e-2


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"modell": "x"}, 2, "line 9, column 1: there is no key 'modell'"),
        ({"optimizer": {"learning": 1}}, 2, "there is no key 'optimizer.learning'"),
        ({"optimizer": {"name": "sdg"}}, 2, "optimizer.name is wrong"),
        ({"ladder": [0.0, 0.5]}, 2, "ordered from the sparsest"),
        ({"epochs": [1, 2]}, 2, "one number, or 3 of them"),
        ({"batch_size": 0}, 2, "batch_size is wrong"),
        ({"batch_size": 1000}, 2, "smaller than one batch"),
        ({"method": "magnitud"}, 2, "Nearest: 'magnitude'"),
        ({"method": {"name": "rigl", "evry": 2}}, 2, "has no option 'evry'"),
        ({"data": "support.tasks:nonsense"}, 2, "returned no data"),
        ({"data": "support.tasks:empty"}, 1, "empty dataset"),
        ({"model": "support.nets:not_a_network"}, 2, "returned no network"),
        ({"compressed_start": "none.safetensors"}, 1, "no compressed start"),
        ({"ladder": [0.9999, 0.0]}, 2, "cannot be reached"),
        ({"granularity": "2:4"}, 2, "cannot be reached by N of 4"),
        ({"trainer": "joint", "accumulate": 2}, 2, "joint trainer takes neither"),
        ({"trainer": "joint", "norms": "recalibrate"}, 2, "no setting 'norms'"),
        (
            {"trainer": "joint", "ladder": [0.5, 0.0], "granularity": "2:4", "allocation": "erk"},
            2,
            "no allocation 'erk' with it",
        ),
    ],
)
def test_mistakes_in_the_file_are_told_and_write_nothing(write, tmp_path, changes, code, message):
    """Wrong keys, values, names and combinations: exit code, one sentence, no output."""
    out = tmp_path / "out.safetensors"
    result = CliRunner().invoke(cli, ["train", str(write(**changes)), "-o", str(out)])
    assert result.exit_code == code, result.stderr
    assert message in " ".join(result.stderr.split())
    assert not out.exists()


def test_files_that_are_no_training_file_are_told(tmp_path):
    """Missing, no YAML, no mapping, without its keys."""
    for content, message in [
        (None, "no training file at"),
        ("{", "this is not YAML"),
        ("- 1", "not a training file"),
        ("data: x", "lacks the key"),
        ("seed: 1\nseed: 2", "line 2, column 1: the key 'seed' is given twice"),
    ]:
        path = tmp_path / "c.yaml"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)
        with pytest.raises(ElsaError, match=message):
            read_config(path)


def test_nan_stops_and_keeps_the_last_good_state(write, tmp_path):
    """A loss that is no number ends the run with a sentence; the state before it stays and can be loaded."""
    path = write(optimizer={"lr": 1e25}, schedule={"warmup": 0.0}, save_every_s=1e-9)
    out = tmp_path / "out.safetensors"
    with pytest.raises(ElsaError, match="loss is NaN or infinite in segment 0"):
        run_training(read_config(path), out)
    assert not out.exists()
    state = tmp_path / "out.safetensors.run" / "state.pt"
    if state.exists():
        saved = torch.load(state, weights_only=True)
        assert all(torch.isfinite(tensor).all() for tensor in saved["model"].values())


def test_another_configuration_does_not_resume(write, tmp_path):
    """A state of another configuration is refused and kept; --restart starts anew; a damaged one is told."""
    out = tmp_path / "out.safetensors"

    def stopping(event):
        if event.step == 3:
            raise StopError

    with pytest.raises(StopError):
        run_training(read_config(write(save_every_s=1e-9)), out, progress=stopping)
    state = tmp_path / "out.safetensors.run" / "state.pt"
    before = state.read_bytes()
    with pytest.raises(ElsaError, match="begun with another configuration"):
        run_training(read_config(write(seed=4)), out)
    assert state.read_bytes() == before
    state.write_bytes(before[:1000])
    with pytest.raises(ElsaError, match=r"damaged.*Remove it"):
        run_training(read_config(write()), out)
    run_training(read_config(write(seed=4)), out, restart=True)
    assert out.exists()


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_trains(write, tmp_path, precision):
    """Autocast, and loss scaling with fp16: the levels come out finite and nested."""
    config = read_config(write(precision=precision, epochs=1, clip_norm=1.0))
    checkpoint = run_training(config, tmp_path / "out.safetensors")
    assert all(np.isfinite(array).all() for array in checkpoint.weights.values())
    assert checkpoint.densities == pytest.approx((0.2, 0.5, 1.0), abs=1e-3)


def test_a_compressed_start_goes_round(write, tmp_path):
    """ASNI-I writes its compressed start; ASNI-II begins from it with the same masks."""
    start = tmp_path / "start.safetensors"
    config = read_config(
        write(
            ladder=[0.8],
            method={"name": "asni", "width": 0.5},
            save_compressed_start=str(start),
        )
    )
    first = run_training(config, tmp_path / "one.safetensors")
    again = read_config(write(ladder=[0.8], compressed_start=str(start)))
    second = run_training(again, tmp_path / "two.safetensors")
    assert all(np.array_equal(first.indices[n], second.indices[n]) for n in first.indices)
    assert not np.array_equal(first.weights["conv2.weight"], second.weights["conv2.weight"])


def test_a_finished_result_of_another_configuration_is_not_replaced(write, tmp_path):
    """Neither another training's result nor any other file; --restart says that it may go."""
    out = tmp_path / "out.safetensors"
    run_training(read_config(write(epochs=1)), out)
    before = out.read_bytes()
    with pytest.raises(ElsaError, match="was not made with this configuration"):
        run_training(read_config(write(epochs=1, seed=4)), out)
    assert out.read_bytes() == before
    out.write_text("somebody's notes")
    with pytest.raises(ElsaError, match="was not made with this configuration"):
        run_training(read_config(write(epochs=1)), out)
    run_training(read_config(write(epochs=1, seed=4)), out, restart=True)
    assert NestedCheckpoint.load(out).provenance["config"]["seed"] == 4


def test_what_is_finished_is_not_trained_twice(write, tmp_path):
    """The same but for what is kept beside it; --restart trains it again."""
    out = tmp_path / "out.safetensors"
    first = run_training(read_config(write(epochs=1)), out)
    steps = []
    second = run_training(read_config(write(epochs=1, save_every_s=5.0)), out, progress=steps.append)
    assert same(first, second)
    assert [level.accuracy for level in second.ladder] == [level.accuracy for level in first.ladder]
    assert not steps
    result = CliRunner().invoke(cli, ["train", str(write(epochs=1)), "-o", str(out)], catch_exceptions=False)
    assert "already. To train it again: --restart" in result.stderr
    assert result.exit_code == 0
    run_training(read_config(write(epochs=1)), out, restart=True, progress=steps.append)
    assert steps


def test_a_pipe_gets_lines_and_an_interruption_the_command_that_goes_on(write, tmp_path, monkeypatch):
    """Every epoch is a line on stderr; Ctrl-C is answered with what to type."""
    config, out = write(epochs=1), tmp_path / "out.safetensors"
    result = CliRunner().invoke(cli, ["train", str(config), "-o", str(out)], catch_exceptions=False)
    assert [line.split(",")[0] for line in result.stderr.splitlines()[:3]] == [
        "s80: epoch 1",
        "s50: epoch 1",
        "dense: epoch 1",
    ]

    def interrupt(*_arguments, **_settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("elsa_edge.training.runner.run_training", interrupt)
    result = CliRunner().invoke(cli, ["train", str(config), "-o", str(out)])
    assert f"To go on: elsa-edge train {config} -o {out}" in result.stderr
    assert result.exit_code == 130


def test_the_published_schema_and_reference_page_are_current():
    """`python -m elsa_edge.training.json_schema` was run after the last change of the keys; each key is explained."""
    assert SCHEMA_FILE.read_text() == json_schema()
    assert PAGE_FILE.read_text() == reference_page()
    for model in (TrainConfig, OptimizerConfig, ScheduleConfig):
        assert all(field.description for field in model.model_fields.values())
