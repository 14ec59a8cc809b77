"""`elsa-edge deploy --to`: what is no list of devices is said, before anything is asked of one."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from elsa_edge.cli import cli


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe\x00", "cannot be read"),
        (b"# nobody\n\n", "No device is named"),
        (b"gate\ngatte\n", "no device named 'gate'"),
    ],
)
def test_a_list_with_mistakes_is_refused(content: bytes, said: str, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ELSA_EDGE_DEVICES", str(tmp_path / "devices"))
    path = tmp_path / "fleet.txt"
    path.write_bytes(content)
    result = CliRunner().invoke(cli, ["deploy", "bundle", "--to", str(path)])

    assert result.exit_code == 2
    assert said in result.stderr
