"""`elsa-edge run` with files that cannot be written and times that cannot be: nothing is left behind or lost."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.bundles import bundle

from elsa_edge.cli import cli


@pytest.mark.parametrize(
    ("record", "log", "words"),
    [("new.csv", "old.log", "exists already"), ("same.x", "same.x", "both name")],
)
def test_what_is_refused_leaves_nothing_behind(tmp_path: Path, record: str, log: str, words: str) -> None:
    """Or the corrected command would be refused as well."""
    (tmp_path / "old.log").write_text("of last week")
    arguments = ["--record", str(tmp_path / record), "--log", str(tmp_path / log)]
    ended = CliRunner().invoke(cli, ["run", str(bundle("conv")), *arguments])
    assert (ended.exit_code, words in ended.stderr) == (1, True), ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["old.log"]


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files there")
def test_a_log_that_is_full_is_named_and_what_was_run_is_told(tmp_path: Path) -> None:
    """Of 512-byte blocks four are allowed, as on a full disk; the results come all the same."""
    command = [sys.executable, "-m", "elsa_edge", "run", str(bundle("conv")), "--variant", "onnx-selector"]
    command += ["--seconds", "0.2", "--log", str(tmp_path / "l.jsonl"), "--json"]
    ended = subprocess.run(
        ["sh", "-c", f"ulimit -f 4; exec {shlex.join(command)}"],
        capture_output=True,
        text=True,
        env={**os.environ, "ELSA_EDGE_CACHE": ""},
        check=False,
    )

    assert ended.returncode == 1
    assert json.loads(ended.stdout)["runs"] > len((tmp_path / "l.jsonl").read_text().splitlines()) > 1
    assert f"{tmp_path / 'l.jsonl'} cannot be written any more (File too large) and ends here" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("seconds", ["nan", "inf"])
@pytest.mark.parametrize("verb", ["run", "profile"])
def test_a_time_that_is_no_number_is_wrong_usage(verb: str, seconds: str, tmp_path: Path) -> None:
    out = ["-o", str(tmp_path / "d.yaml")] if verb == "profile" else []
    ended = CliRunner().invoke(cli, [verb, str(bundle("conv")), "--seconds", seconds, *out])
    assert (ended.exit_code, "is not a finite number" in ended.stderr) == (2, True), ended.stderr
    assert not list(tmp_path.iterdir())
