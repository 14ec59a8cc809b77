"""Writing whole or not at all."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from elsa_edge.errors import ElsaError
from elsa_edge.files import atomic_directory, atomic_file, sha256_of, write_bytes


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class TestFile:
    def test_content_arrives_whole(self, tmp_path):
        """A successful write leaves the destination and nothing else, with the user's permissions."""
        umask = os.umask(0o022)
        try:
            write_bytes(tmp_path / "new" / "a.bin", b"hello")
        finally:
            os.umask(umask)
        assert names(tmp_path / "new") == ["a.bin"]
        assert (tmp_path / "new" / "a.bin").read_bytes() == b"hello"
        assert (tmp_path / "new" / "a.bin").stat().st_mode & 0o777 == 0o644

    def test_an_exception_leaves_the_old_content(self, tmp_path):
        """The destination is as it was, and no temporary file stays."""
        target = tmp_path / "a.bin"
        target.write_bytes(b"old")
        with pytest.raises(RuntimeError, match="stop"), atomic_file(target) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError("stop")
        assert names(tmp_path) == ["a.bin"]
        assert target.read_bytes() == b"old"

    def test_a_full_disk_is_a_sentence(self, tmp_path):
        """A write beyond the allowed size fails with an explanation and changes nothing."""
        target = tmp_path / "a.bin"
        target.write_bytes(b"old")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            with pytest.raises(ElsaError, match="it is as it was before"):
                write_bytes(target, b"x" * 100_000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert names(tmp_path) == ["a.bin"]
        assert target.read_bytes() == b"old"

    def test_a_folder_is_not_a_file(self, tmp_path):
        """Writing a file over a folder is refused."""
        with pytest.raises(ElsaError, match="is a folder"):
            write_bytes(tmp_path, b"")

    def test_a_kill_leaves_the_old_content_and_the_next_write_sweeps(self, tmp_path):
        """SIGKILL in the middle changes nothing; the leftover goes with the next write."""
        target = tmp_path / "a.bin"
        target.write_bytes(b"old")
        program = textwrap.dedent(
            f"""
            import time
            from elsa_edge.files import atomic_file
            with atomic_file({str(target)!r}) as temporary:
                temporary.write_bytes(b"half")
                print("writing", flush=True)
                time.sleep(60)
            """
        )
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"writing\n"
            process.kill()
        deadline = time.monotonic() + 10
        while len(names(tmp_path)) != 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert target.read_bytes() == b"old"
        write_bytes(target, b"new")
        assert names(tmp_path) == ["a.bin"]
        assert target.read_bytes() == b"new"


class TestDirectory:
    def test_a_folder_arrives_whole(self, tmp_path):
        """The folder appears under its name with all its files."""
        with atomic_directory(tmp_path / "out") as temporary:
            (temporary / "a").write_text("1")
        assert names(tmp_path) == ["out"]
        assert names(tmp_path / "out") == ["a"]

    def test_our_own_folder_is_replaced(self, tmp_path):
        """A folder that holds the marker file is exchanged as a whole."""
        for text in ("old", "new"):
            with atomic_directory(tmp_path / "out", may_replace="manifest.json") as temporary:
                (temporary / "manifest.json").write_text(text)
                (temporary / text).write_text("")
        assert names(tmp_path) == ["out"]
        assert names(tmp_path / "out") == ["manifest.json", "new"]

    def test_a_foreign_folder_is_refused(self, tmp_path):
        """Somebody else's files are never removed."""
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.tex").write_text("years")
        with (
            pytest.raises(ElsaError, match="was not written by this command"),
            atomic_directory(tmp_path / "out", may_replace="manifest.json"),
        ):
            pass
        assert names(tmp_path / "out") == ["thesis.tex"]

    def test_a_failure_keeps_the_old_folder(self, tmp_path):
        """An exception while filling leaves the old folder untouched."""
        with atomic_directory(tmp_path / "out", may_replace="m") as temporary:
            (temporary / "m").write_text("old")
        with (
            pytest.raises(RuntimeError),
            atomic_directory(tmp_path / "out", may_replace="m") as temporary,
        ):
            (temporary / "m").write_text("new")
            raise RuntimeError
        assert names(tmp_path) == ["out"]
        assert (tmp_path / "out" / "m").read_text() == "old"


def test_the_hash_is_sha256(tmp_path):
    """The hash of "abc" is the one that FIPS 180-2 gives."""
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
