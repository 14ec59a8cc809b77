"""What a device prints is bounded, does nothing to a terminal, and is told from a broken line."""

from __future__ import annotations

from pathlib import Path

import pytest

from elsa_edge.deploy import Device, DeviceError, LineError, look, open_line
from elsa_edge.deploy import transport as lines
from elsa_edge.deploy.transport import execute


@pytest.fixture
def answers(tmp_path, monkeypatch):
    """A function that makes every `ssh` do something, and looks at a device through it."""

    def through(script: str) -> None:
        program = tmp_path / "bin" / "ssh"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        device = Device("board", "ssh://board", "elsa-edge")
        with open_line(device) as line:
            look(line, device)

    return through


def test_an_answer_without_end_is_cut_off(answers, monkeypatch) -> None:
    monkeypatch.setattr(lines, "_LONGEST_ANSWER_BYTES", 1 << 20)
    with pytest.raises(DeviceError, match="does not come to an end"):
        answers("exec yes A=B")


def test_a_login_without_a_shell_is_no_broken_line(answers) -> None:
    with pytest.raises(DeviceError, match="gives us no shell") as caught:
        answers("cat > /dev/null; echo 'This account is not available.'")
    assert "This account is not available." in str(caught.value)
    assert not isinstance(caught.value, LineError)


@pytest.mark.parametrize("fact", ["cores 99999999999999999999", "cores many", "memory_kb 9e999"])
def test_a_device_that_says_what_cannot_be_is_refused(answers, fact) -> None:
    said = {"arch": "x86_64", "memory_kb": "4000000", "cores": "4"} | dict([fact.split(" ")])
    lines = "".join(f"@elsa {key} {value}\n" for key, value in [*said.items(), ("end", "0")])
    with pytest.raises(DeviceError, match="does not say what it is"):
        answers(f"cat > /dev/null; printf '%s' '{lines}'")


def test_what_a_device_prints_does_nothing_to_a_terminal(answers) -> None:
    with pytest.raises(LineError) as caught:
        answers(r"printf '\033]0;pwned\007boo\n' >&2; exit 1")
    assert str(caught.value).isprintable()
    assert "boo" in str(caught.value)


def test_a_program_that_does_not_end_is_ended() -> None:
    with pytest.raises(LineError, match="did not answer"):
        execute(["sleep", "600"], "never read " * 100_000, timeout_s=0.2)


def test_both_streams_come_back_whole(tmp_path: Path) -> None:
    """More than any pipe holds, in both directions."""
    text = "äb\n" * 200_000
    done = execute(["sh", "-c", "tee /dev/stderr; exit 3"], text)

    assert (done.stdout, done.stderr, done.returncode) == (text, text, 3)
