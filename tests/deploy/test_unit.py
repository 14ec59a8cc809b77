"""The systemd unit for an application: systemd's own parser reads it, with paths of any kind."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from elsa_edge.deploy.launcher import launcher
from elsa_edge.deploy.unit import service_unit
from elsa_edge.errors import UsageError

ANALYZE = shutil.which("systemd-analyze")


@pytest.mark.skipif(ANALYZE is None, reason="no systemd-analyze here")
@pytest.mark.parametrize("watchdog_s", [0, 30])
def test_systemd_takes_the_unit(tmp_path, watchdog_s) -> None:
    """Blanks, quotes, dollars and percents in paths; the command must exist, so it does."""
    store = tmp_path / "a $store's 100%"
    (store / "current").mkdir(parents=True)
    command = store / "current" / "elsa-edge"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    unit = tmp_path / "application.service"
    unit.write_text(
        service_unit("pi", str(store), ["/home/pi/a b.py", 'say "$HOME"'], user="root", watchdog_s=watchdog_s)
    )
    done = subprocess.run(
        [ANALYZE, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )

    assert "application.service" not in done.stderr, done.stderr
    assert ("WatchdogSec=30" in unit.read_text()) == bool(watchdog_s)


def test_what_no_unit_can_say_is_refused() -> None:
    refused = {"Say what is to run": [], "no line breaks": ["/two\nlines"], "an absolute path": ["camera.py"]}
    for said, command in refused.items():
        with pytest.raises(UsageError, match=said):
            service_unit("pi", "/store", command, user="pi", watchdog_s=0)


def test_the_command_of_a_release_runs_applications_too(tmp_path) -> None:
    """With the packages of the release before others."""
    release = tmp_path / "a store" / "releases" / "hash"
    release.mkdir(parents=True)
    package = tmp_path / "a store" / "python" / "feed"
    package.mkdir(parents=True)
    (package / "of_the_release.py").write_text("print('found')\n")
    command = release / "elsa-edge"
    python = shutil.which("python3")
    assert python is not None
    command.write_text(launcher(python, ["feed"]))
    done = subprocess.run(
        ["sh", str(command), "python", "-c", "import of_the_release, sys; print(sys.argv[1:])", "a b"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "found\n['a b']\n"
