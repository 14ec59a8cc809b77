"""Scratch folders: gone afterwards, swept when their process is gone, and nobody else's is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from elsa_edge.files import scratch_folder
from elsa_edge.files.locks import Lock
from elsa_edge.files.scratch import sweep_scratch

HOLDS = """
import os, signal
from elsa_edge.files import scratch_folder
with scratch_folder() as folder:
    (folder / "big").write_bytes(bytes(1000))
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_scratch_folder_is_private_and_vanishes(place: Path) -> None:
    """After success and after an exception."""
    with scratch_folder() as folder:
        (folder / "file").touch()
        assert folder.parent == place
        assert folder.stat().st_mode & 0o777 == 0o700
    with pytest.raises(KeyError), scratch_folder() as folder:
        raise KeyError
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_has_is_not(place: Path) -> None:
    """The lock tells, not the number of the process."""
    both = [
        subprocess.Popen(
            [sys.executable, "-c", HOLDS],
            env=os.environ | {"TMPDIR": str(place)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    folders = [Path(process.stdout.readline().strip()) for process in both]
    both[0].send_signal(signal.SIGKILL)
    both[0].communicate()
    assert all((folder / "big").is_file() for folder in folders)

    with scratch_folder() as own:
        assert sorted(place.iterdir()) == sorted([own, folders[1]])

    both[1].communicate("\n")
    assert list(place.iterdir()) == []


def test_only_own_folders_of_this_form_are_swept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links, files, other names, and folders of other users stay; so does what somebody holds."""
    kept = place / "elsewhere"
    kept.mkdir()
    (place / f"elsa-edge-{'0' * 16}").symlink_to(kept)
    (place / f"elsa-edge-{'1' * 16}").touch()
    (place / "elsa-edge-abcdefgh").mkdir()
    (place / f"elsa-edge-{'2' * 16}").mkdir()
    held = Lock.take(place / f"elsa-edge-{'2' * 16}")
    assert held is not None
    before = sorted(place.iterdir())

    with scratch_folder():
        pass
    assert sorted(place.iterdir()) == before

    held.release()
    with monkeypatch.context() as other:
        other.setattr(os, "geteuid", lambda: 12345)
        sweep_scratch(place)
        assert sorted(place.iterdir()) == before
    with scratch_folder():
        pass
    assert f"elsa-edge-{'2' * 16}" not in {entry.name for entry in place.iterdir()}
