"""The command itself: help, exit codes, errors as sentences, one JSON object on stdout."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from elsa_edge.cli import VERBS, LazyGroup, cli
from elsa_edge.cli._common import emit, print_table
from elsa_edge.errors import BundleError, LevelError

RUN = CliRunner()


def existing_verbs() -> list[str]:
    assert isinstance(cli, LazyGroup)
    return cli.list_commands(click.Context(cli))


def test_help_lists_the_verbs_and_imports_nothing_heavy() -> None:
    """`--help` stays fast because it knows the verbs without importing them."""
    script = (
        "import sys; from elsa_edge.cli import cli\n"
        "try: cli(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'numpy', 'pydantic', 'rich', 'yaml'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for verb in ("sparsify", "export", "build", "verify", "profile", "run", "inspect", "devices", "doctor"):
        assert f"  {verb} " in done.stdout


@pytest.mark.parametrize("verb", existing_verbs())
def test_every_verb_has_help_with_an_example_and_the_debug_switch(verb: str) -> None:
    """Also what it prints for `--json` is promised."""
    result = RUN.invoke(cli, [verb, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output
    assert "--debug" in result.output
    command = importlib.import_module(f"elsa_edge.cli.{verb}").command
    leaves = command.commands.values() if isinstance(command, click.Group) else [command]
    for leaf in leaves:
        assert any("--json" in parameter.opts for parameter in leaf.params), leaf.name


def test_a_misspelt_verb_is_answered_with_the_nearest() -> None:
    """Exit code 2 and a hint."""
    result = RUN.invoke(cli, ["biuld"])
    assert result.exit_code == 2
    assert "Nearest: 'build'" in result.output


@pytest.mark.parametrize(
    ("error", "exit_code", "words"),
    [
        (
            BundleError("It is broken", expected="a", found="b", fix="Mend it"),
            1,
            "expected a, found b. Mend it.",
        ),
        (LevelError("No such level"), 2, "No such level."),
        (OSError(28, "No space left on device", "out.bin"), 1, "No space left on device (out.bin)."),
        (MemoryError(), 1, "not enough memory"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 1, "pip install 'elsa-edge[export]'"),
        (ZeroDivisionError("division by zero"), 1, "Please report it"),
    ],
)
def test_errors_are_sentences_with_the_right_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: Exception, exit_code: int, words: str
) -> None:
    """No traceback, unless --debug asks for one, before or after the verb."""

    def fail() -> None:
        raise error

    command = click.Command("doctor", callback=fail)
    monkeypatch.setattr("elsa_edge.cli.doctor.command", command)
    for arguments, traceback in (
        (["doctor"], False),
        (["--debug", "doctor"], True),
        (["doctor", "--debug"], True),
    ):
        result = RUN.invoke(cli, arguments)
        assert result.exit_code == exit_code
        assert result.stdout == ""
        assert " ".join(words.split()) in " ".join(result.stderr.split())
        assert ("Traceback" in result.stderr) is traceback


def test_json_is_one_object_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers that JSON does not have become null; paths, tuples and numpy scalars are understood."""
    import numpy as np

    print_table("t", ("a", "b"), [("[red]x", None), ("y", 1.23456789)])
    table = capsys.readouterr().out
    assert "[red]x" in table
    assert "1.235" in table
    emit(
        {
            "nan": float("nan"),
            "inf": [float("-inf")],
            "path": Path("a/b"),
            "t": (1, True),
            "n": np.float32(0.5),
            3: {},
        },
        as_json=True,
    )
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "nan": None,
        "inf": [None],
        "path": "a/b",
        "t": [1, True],
        "n": 0.5,
        "3": {},
    }


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    """`elsa-edge --help | true` prints no traceback."""
    read, write = os.pipe()
    os.close(read)
    with (tmp_path / "err").open("wb") as errors:
        subprocess.run(
            [
                sys.executable,
                "-c",
                "from elsa_edge.cli import main; import sys; sys.argv = ['x', '--help']; main()",
            ],
            stdout=write,
            stderr=errors,
            check=False,
        )
    os.close(write)
    assert b"Traceback" not in (tmp_path / "err").read_bytes()


def test_each_verb_that_exists_is_described() -> None:
    """A module in the folder that the table of verbs forgot would never be found."""
    folder = Path(str(importlib.import_module("elsa_edge.cli").__file__)).parent
    modules = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    assert modules <= set(VERBS)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["inspect", "none.onnx", "--json"], 1, "nothing at"),
        (["devices", "show", "raspbery-pi-5", "--json"], 2, "raspberry-pi-5"),
        (["report", "--json"], 2, "Missing"),
    ],
)
def test_an_error_is_json_too_where_json_was_asked_for(arguments: list[str], code: int, words: str) -> None:
    """One object on stdout; the sentence stays on stderr, and so does the exit code."""
    done = CliRunner().invoke(cli, arguments)
    found = json.loads(done.stdout)
    assert (done.exit_code, found["exit_code"]) == (code, code)
    assert words in json.dumps(found["error"])


def test_ctrl_c_says_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped verb ends like a stopped program, without a traceback."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("elsa_edge.doctor.examine", interrupted)
    done = CliRunner().invoke(cli, ["doctor"])
    assert done.exit_code == 130
    assert done.stderr == "Stopped. Nothing was changed. The same command starts again.\n"


def test_the_module_and_the_short_switch_tell_the_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "elsa_edge", "-V"], capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"elsa-edge, version \S+\n", done.stdout)
