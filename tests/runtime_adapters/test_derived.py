"""Derived files: made once, found again, made anew when damaged, bounded in size, and never in the way."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from elsa_edge.errors import ElsaError
from elsa_edge.plugins import CacheUse
from elsa_edge.runtime_adapters import derived as derived_files
from elsa_edge.runtime_adapters.derived import Derived, cpu_identity, derived, evict

CONTENT = b"0123456789"


def make(folder: Path) -> None:
    (folder / "a.bin").write_bytes(CONTENT)


def wanted(cache: Path | None, *facts: str, make=make, limit_bytes: int = 1000) -> Derived:
    return derived(cache, "kind", facts, make, limit_bytes=limit_bytes)


def test_it_is_made_once_and_used_again(tmp_path: Path) -> None:
    """Other facts and another CPU get entries of their own."""
    first, again, other = wanted(tmp_path, "x"), wanted(tmp_path, "x"), wanted(tmp_path, "y")

    assert [found.state.use for found in (first, again, other)] == [
        CacheUse.BUILT,
        CacheUse.USED,
        CacheUse.BUILT,
    ]
    assert first.folder == again.folder != other.folder
    assert (again.folder / "a.bin").read_bytes() == CONTENT
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["a.bin", "stamp.json"])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_damaged_entry_is_made_again(tmp_path: Path, name: str, harm: str) -> None:
    """A flipped bit, a cut file and a missing file are found by the stamp."""
    path = wanted(tmp_path).folder / name
    data = bytearray(path.read_bytes())
    if harm == "flip":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif harm == "cut":
        path.write_bytes(data[:-1])
    else:
        path.unlink()

    assert wanted(tmp_path).state.use is CacheUse.BUILT
    assert wanted(tmp_path).state.use is CacheUse.USED


@pytest.mark.parametrize(
    "stamp", [b"[]", b"{}", b"7", b'{"a.bin": 3}', b'{"a.bin": [10]}', b'{"../a.bin": [10, 0]}', b"\xff"]
)
def test_a_foreign_stamp_is_no_stamp(tmp_path: Path, stamp: bytes) -> None:
    """Whatever stands there, the files are made again."""
    (wanted(tmp_path).folder / "stamp.json").write_bytes(stamp)

    assert wanted(tmp_path).state.use is CacheUse.BUILT


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ElsaError("no luck"), "no luck"),
        (RuntimeError("broken"), "RuntimeError broken"),
        (OSError("full"), "full"),
    ],
)
def test_what_fails_is_told_and_leaves_nothing(tmp_path: Path, error: Exception, reason: str) -> None:
    """The network runs without."""

    def fail(folder: Path) -> None:
        (folder / "half").write_bytes(CONTENT)
        raise error

    found = wanted(tmp_path, make=fail)

    assert (found.folder, found.state.use) == (None, CacheUse.OFF)
    assert reason in str(found.state.reason)
    assert not list(tmp_path.iterdir())


def test_nothing_is_wanted_or_made_or_it_is_too_large(tmp_path: Path) -> None:
    """No folder, no room at all, too little room, and no file."""
    assert wanted(None).state.use is CacheUse.NOT_WANTED
    assert wanted(tmp_path, limit_bytes=0).state.use is CacheUse.NOT_WANTED
    assert "larger than 5 bytes" in str(wanted(tmp_path, limit_bytes=5).state.reason)
    assert "nothing was derived" in str(wanted(tmp_path, make=lambda _: None).state.reason)
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    """Where the cache's folder should be."""
    (tmp_path / "file").write_text("mine")
    assert wanted(tmp_path / "file").state.use is CacheUse.OFF
    assert (tmp_path / "file").read_text() == "mine"


def test_the_oldest_entries_go_when_the_folder_is_full(tmp_path: Path) -> None:
    """The newest stays, entries unused for longest are removed first, other kinds and files are left alone."""
    newest = wanted(tmp_path).folder
    size = sum(path.stat().st_size for path in newest.iterdir())
    for age, name in enumerate(["kind-recent", "kind-old", "kind-oldest", "other-ancient"], start=1):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.bin").write_bytes(bytes(size))
        (tmp_path / name / "stamp.json").write_text("{}")
        then = time.time() - 1000 * age
        os.utime(tmp_path / name / "stamp.json", (then, then))
    (tmp_path / "notes.txt").write_text("mine")

    evict(tmp_path, "kind", newest, int(size * 2.5))

    assert {path.name for path in tmp_path.iterdir()} == {
        newest.name,
        "kind-recent",
        "other-ancient",
        "notes.txt",
    }


def test_what_a_killed_process_left_is_swept_by_the_next_entry(tmp_path: Path) -> None:
    """Also where the next entry is another one."""
    script = f"""
        import os, signal
        from pathlib import Path
        from elsa_edge.runtime_adapters.derived import derived
        def make(folder):
            (folder / "half").write_bytes(b"0")
            os.kill(os.getpid(), signal.SIGKILL)
        derived(Path({str(tmp_path)!r}), "kind", ["killed"], make, limit_bytes=1000)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert [path.name.startswith(".kind-") for path in tmp_path.iterdir()] == [True]

    made = wanted(tmp_path, "another").folder

    assert list(tmp_path.iterdir()) == [made]


def test_the_cpu_is_told_apart_by_its_instructions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clock speed and core number do not matter; flags and core type do. Another CPU makes its own files."""
    texts = {
        "a": "processor: 0\nmodel name\t: X\nflags\t\t: avx2\ncpu MHz : 1\nprocessor: 1\nmodel name\t: X\n",
        "b": "processor: 7\nmodel name\t: X\nflags\t\t: avx2\ncpu MHz : 2\n",
        "c": "processor: 0\nmodel name\t: X\nflags\t\t: avx2 avx512f\n",
        "d": "CPU part\t: 0xd08\nFeatures\t: asimd\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    a, b, c, d = (cpu_identity(tmp_path / name) for name in "abcd")
    assert a == b
    assert len({a, c, d, cpu_identity(tmp_path / "none")}) == 4
    wanted(tmp_path / "cache")
    monkeypatch.setattr(derived_files, "cpu_identity", lambda: "another CPU")
    assert wanted(tmp_path / "cache").state.use is CacheUse.BUILT
