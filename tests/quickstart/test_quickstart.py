"""The quickstart as a person runs it, with one epoch: the table's figures are those of the bundle it leaves behind."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from elsa_edge.cli import cli

COLUMNS = {
    "level",
    "name",
    "sparsity",
    "density",
    "flops_fraction",
    "accuracy",
    "p50_ms",
    "p95_ms",
    "memory_bytes",
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Return the folder and the JSON object of one short quickstart with three levels."""
    folder = tmp_path_factory.mktemp("quickstart") / "out"
    arguments = [
        "quickstart",
        "--out",
        str(folder),
        "--epochs",
        "2",
        "--images",
        "960",
        "--seconds",
        "0.2",
        "--levels",
        "0.9,0.6,0",
    ]
    done = CliRunner().invoke(cli, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return folder, json.loads(done.stdout), done.stderr


def test_the_json_object_has_a_row_a_level_with_every_figure(ran):
    folder, found, _ = ran

    assert found["bundle"] == str(folder / "bundle")
    assert [row["sparsity"] for row in found["levels"]] == [0.9, 0.6, 0.0]
    assert [row["density"] for row in found["levels"]] == pytest.approx([0.1, 0.4, 1.0], abs=1e-3)
    for row in found["levels"]:
        assert set(row) == COLUMNS
        assert 0 < row["p50_ms"] <= row["p95_ms"]
        assert row["memory_bytes"] > 0


def test_the_table_is_on_stderr(ran):
    _, _, shown = ran

    assert "accuracy" in shown
    assert "Under the controller" in shown


def test_the_bundle_left_behind_has_the_accuracy_that_the_table_says(ran):
    from elsa_edge.quickstart.data import load_digits
    from elsa_edge.session import AdaptiveSession

    folder, found, _ = ran
    labels = load_digits(0).test_labels
    with (
        np.load(folder / "inputs.npz") as arrays,
        AdaptiveSession.open(folder / "bundle", cache=False) as session,
    ):
        images = arrays["images"]
        for row in found["levels"]:
            (logits,) = session.run({"images": images}, level=row["level"]).values()
            assert np.mean(np.argmax(logits, axis=1) == labels) == row["accuracy"]
            assert session.ladder[row["level"]].accuracy == pytest.approx(row["accuracy"], abs=0.005)


def test_training_in_one_epoch_already_tells_digits_apart(ran):
    _, found, _ = ran

    assert found["levels"][-1]["accuracy"] > 0.5


def test_it_ends_with_a_report_of_what_it_measured(ran):
    """The page carries the table's figures, and every run of the controller or an even share of them."""
    from elsa_edge.report.record import read_record

    folder, found, shown = ran
    record = read_record(folder / "report.html")

    assert f"Open {folder / 'report.html'}" in shown
    expected = [row["p50_ms"] for row in found["levels"]]
    assert [row.p50_ms for row in record.measured] == pytest.approx(expected, rel=1e-6)
    assert [level.accuracy for level in record.levels] == [row["accuracy"] for row in found["levels"]]
    assert 0 < len(record.runs) <= found["controlled"]["runs"]


def test_the_controller_ran_and_every_run_is_counted(ran):
    _, found, _ = ran
    controlled = found["controlled"]

    assert sum(controlled["runs_by_level"].values()) == controlled["runs"] > 0
    assert 0 <= controlled["missed_fraction"] <= 1


def test_every_file_can_be_used_by_the_other_verbs(ran):
    from elsa_edge.checkpoint import NestedCheckpoint
    from elsa_edge.graph.canonical import CanonicalGraph
    from elsa_edge.profiles import load_profile

    folder, _, _ = ran

    assert len(load_profile(folder / "device.yaml").measured.levels) == 3
    assert len(NestedCheckpoint.load(folder / "nested.safetensors").ladder) == 3
    assert len(CanonicalGraph.load(folder / "model.onnx").ladder) == 3


def test_a_destination_that_is_a_file_is_refused_and_stays(tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    done = CliRunner().invoke(cli, ["quickstart", "--out", str(path)])

    assert done.exit_code == 1
    assert "is a file" in done.stderr
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--levels", "0,0.9"], "ordered"), (["--device", "raspbery-pi-5"], "raspberry-pi-5"), ([], "--out")],
)
def test_wrong_usage_is_told_before_any_training(tmp_path, arguments, words):
    where = ["--out", str(tmp_path / "out")] if arguments else []
    done = CliRunner().invoke(cli, ["quickstart", *where, *arguments])

    assert done.exit_code == 2
    assert words in done.stderr
    assert not (tmp_path / "out").exists()
