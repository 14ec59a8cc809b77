"""Writing whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from elsa_edge.errors import ElsaError
from elsa_edge.files import (
    atomic_directory,
    atomic_file,
    require_writable,
    sha256_of,
    sweep,
    write_bytes,
    writing,
)
from elsa_edge.files.exchange import exchange
from elsa_edge.files.locks import Lock


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
        while (len(names(tmp_path)) != 2 or process.poll() is None) and time.monotonic() < deadline:
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


class TestReplacing:
    def old(self, folder):
        with atomic_directory(folder, may_replace="m") as temporary:
            (temporary / "m").write_text("old")

    def test_the_folders_change_places_in_one_step(self, tmp_path):
        """The old folder is at the temporary place afterwards: there was no moment without one."""
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        (tmp_path / "a" / "new").write_text("")
        assert exchange(tmp_path / "a", tmp_path / "b")
        assert names(tmp_path / "b") == ["new"]
        assert names(tmp_path / "a") == []
        with pytest.raises(FileNotFoundError):
            exchange(tmp_path / "a", tmp_path / "missing")

    @pytest.mark.parametrize("fails", [False, True])
    def test_without_an_exchange_two_renames_do(self, tmp_path, monkeypatch, fails):
        """A file system that cannot exchange; the old folder is back when the second rename fails."""
        monkeypatch.setattr(writing, "exchange", lambda _a, _b: False)
        target = tmp_path / "out"
        self.old(target)
        real = Path.replace

        def replace(self, destination):
            if fails and destination == target and self.name == "out":
                raise OSError(errno.EACCES, "no")
            return real(self, destination)

        monkeypatch.setattr(Path, "replace", replace)
        wrong = pytest.raises(ElsaError, match="as it was before") if fails else contextlib.nullcontext()
        with wrong, atomic_directory(target, may_replace="m") as temporary:
            (temporary / "m").write_text("new")
        assert names(tmp_path) == ["out"]
        assert (target / "m").read_text() == ("old" if fails else "new")

    def test_a_kill_between_the_two_renames_is_mended(self, tmp_path):
        """The retired folder comes back with the next write beside it, and the litter goes."""
        left = tmp_path / ".out.0123456789abcdef.tmp" / "retired"
        left.mkdir(parents=True)
        (left / "m").write_text("old")
        sweep(tmp_path / "out")
        assert names(tmp_path) == ["out"]
        assert (tmp_path / "out" / "m").read_text() == "old"

    def test_only_our_own_litter_is_swept(self, tmp_path):
        """Other programs write atomically too, to .NAME.NUMBER.tmp, and a file of our name is not ours either."""
        (tmp_path / ".out.0123456789abcdef.tmp").mkdir()
        theirs = [".out.4242.tmp", ".out.fedcba9876543210.tmp"]
        folders = [".out.tmp", ".other.4242.tmp", "out.4242.tmp", ".out.0123456789abcdeg.tmp"]
        for name in theirs:
            (tmp_path / name).write_text("of another program")
        for name in folders:
            (tmp_path / name).mkdir()
        sweep(tmp_path / "out")
        assert names(tmp_path) == sorted(theirs + folders)

    def test_a_writer_that_makes_its_own_file_does_not_choose_its_permissions(self, tmp_path):
        """A library that writes a private file beside and renames it: the user's umask holds all the same."""
        with atomic_file(tmp_path / "out") as temporary:
            private = temporary.with_name("private")
            private.write_text("new")
            private.chmod(0o600)
            private.replace(temporary)
        (tmp_path / "plain").write_text("by the umask")
        assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode

    def test_a_folder_that_is_read_from_stays_until_it_is_not(self, tmp_path):
        """A session keeps the files that it opened, whatever is built over them."""
        target = tmp_path / "out"
        self.old(target)
        reader = Lock.take(target, shared=True)
        with atomic_directory(target, may_replace="m") as temporary:
            (temporary / "m").write_text("new")
        assert (target / "m").read_text() == "new"
        assert [path.read_text() for path in Path(f"/proc/self/fd/{reader.handle}").iterdir()] == ["old"]
        sweep(target)
        assert len(names(tmp_path)) == 2
        reader.release()
        sweep(target)
        assert names(tmp_path) == ["out"]

    def test_a_living_writer_is_not_swept(self, tmp_path):
        """Two writers of one destination, in one process too; the last to end wins."""
        target = tmp_path / "a"
        with atomic_file(target) as first:
            with atomic_file(target) as second:
                assert first != second
                second.write_text("second")
            assert target.read_text() == "second"
            first.write_text("first")
        assert target.read_text() == "first"
        assert names(tmp_path) == ["a"]


class TestErrors:
    def test_a_file_that_was_only_read_is_not_blamed_on_the_disk(self, tmp_path):
        """A missing input is named as such; the destination is none of its business."""
        with pytest.raises(FileNotFoundError, match="input"), atomic_directory(tmp_path / "out"):
            (tmp_path / "input").read_bytes()
        assert names(tmp_path) == []

    def test_an_error_in_our_own_folder_is_told_of_the_destination(self, tmp_path):
        """Permissions of the temporary folder are those of the destination."""
        with (
            pytest.raises(ElsaError, match=r"Writing .*out failed"),
            atomic_directory(tmp_path / "out") as folder,
        ):
            (folder / "no" / "such").write_bytes(b"")

    def test_a_full_disk_while_a_folder_is_filled(self, tmp_path):
        """Errors of the disk have no file name."""
        with pytest.raises(ElsaError, match="as it was before"), atomic_directory(tmp_path / "out"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        assert names(tmp_path) == []

    def test_an_unwritable_place_is_found_before_the_work(self, tmp_path):
        """Also where the folders are yet to be made; nothing is left behind."""
        require_writable(tmp_path / "new" / "deep" / "a.bin")
        (tmp_path / "file").write_text("")
        with pytest.raises(ElsaError, match="cannot be written"):
            require_writable(tmp_path / "file" / "a.bin")
        assert names(tmp_path) == ["file"]


def test_locks_end_with_their_holder(tmp_path):
    """One writer or many readers; a path that is gone has none."""
    first = Lock.take(tmp_path)
    assert first is not None
    assert Lock.take(tmp_path) is None
    assert Lock.take(tmp_path, shared=True) is None
    first.release()
    first.release()
    with Lock.take(tmp_path, shared=True), Lock.take(tmp_path, shared=True):
        assert Lock.take(tmp_path) is None
    assert Lock.take(tmp_path / "missing") is None


def test_the_hash_is_sha256(tmp_path):
    """The hash of "abc" is the one that FIPS 180-2 gives."""
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
