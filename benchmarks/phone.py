"""A stand-in for a phone: the real adbd of Debian's backports, Android's shell (mksh) and its tools (toybox), one adb.

adbd listens at every interface, so it and the adb that calls it live in a network namespace of their own. The processor
is this machine's, and `getprop` answers what an Android would.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.userland import fetch_packages, unpack

__all__ = ["Phone", "missing_tools", "phone"]

_CACHE: Final = Path(__file__).resolve().parents[1] / ".cache" / "phone"
_PORT: Final = 5777  # at 5555 adb would call it an emulator too
_SERIAL: Final = f"127.0.0.1:{_PORT}"
_BACKPORTS: Final = "bookworm-backports"
_GETPROP: Final = """#!/bin/sh
case "$1" in
  ro.build.version.release) echo 14 ;;
  ro.product.model) echo "Pixel 6" ;;
esac
"""
_TOOLS: Final = {
    "apt-get": "apt", "dpkg-deb": "dpkg", "unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2",
}  # fmt: skip


@dataclass
class Phone:
    """A running stand-in.

    Attributes:
        folder: Its files; `adb` in bin/ of it comes first on PATH.
        daemon: adbd.
    """

    folder: Path
    daemon: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        """As `device add` takes it."""
        return f"adb:{_SERIAL}"

    def path(self) -> str:
        """PATH with this phone's `adb` first."""
        return f"{self.folder / 'bin'}:{os.environ['PATH']}"

    def go_offline(self) -> None:
        """End adbd and what it runs, as when the cable is pulled."""
        os.killpg(self.daemon.pid, signal.SIGKILL)
        self.daemon.wait()

    def come_back(self) -> None:
        """Start adbd again, and let adb find it."""
        self.daemon = _daemon(self.folder)
        _adb_script(self.folder, self.daemon.pid)
        _connect(self.folder)


def missing_tools() -> list[str]:
    """Return the Debian packages that this machine lacks for a stand-in."""
    return sorted({package for tool, package in _TOOLS.items() if shutil.which(tool) is None})


@contextlib.contextmanager
def phone(folder: Path) -> Iterator[Phone]:
    """Run a phone until the block ends.

    Raises:
        RuntimeError: When something is missing here, or a package cannot be had.
    """
    _fetch()
    (folder / "bin").mkdir(parents=True)
    _system(folder / "system")
    running = Phone(folder, _daemon(folder))
    _adb_script(folder, running.daemon.pid)
    try:
        _connect(folder)
        yield running
    finally:
        subprocess.run([folder / "bin/adb", "kill-server"], capture_output=True, check=False)
        running.go_offline()


def _fetch() -> None:
    """Get the packages once; adb and adbd are of different releases and stay apart."""
    if _CACHE.is_dir():
        return
    work = _CACHE.with_name(f".{_CACHE.name}")
    shutil.rmtree(work, ignore_errors=True)
    arch = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    ).stdout.strip()
    wanted = {"adb": ("adb",), "adbd": ("-t", _BACKPORTS, "adbd"), "system": ("toybox", "mksh")}
    for name, packages in wanted.items():
        state = work / f"apt-{name}"
        for package in fetch_packages(arch, packages, state, _BACKPORTS if name == "adbd" else None):
            unpack(package, work / name)
        shutil.rmtree(state)
    work.rename(_CACHE)


def _system(folder: Path) -> None:
    """Make the phone's commands: toybox under each of its names, mksh as the shell. Debian's toybox has no `tr`."""
    folder.mkdir()
    toybox = next(_CACHE.glob("system/**/bin/toybox"))
    names = subprocess.run([toybox], capture_output=True, text=True, check=True).stdout.split()
    for name in names:
        (folder / name).symlink_to(toybox)
    (folder / "sh").symlink_to(next(_CACHE.glob("system/**/bin/mksh")))
    (folder / "tr").symlink_to(str(shutil.which("tr")))
    (folder / "getprop").write_text(_GETPROP)
    (folder / "getprop").chmod(0o755)


def _libraries(name: str) -> str:
    """Return the search path of what was unpacked, without the C library: that is this machine's."""
    found = {
        path.parent
        for path in (_CACHE / name).rglob("lib*.so*")
        if not path.name.startswith(("libc.", "ld-"))
    }
    return ":".join(str(path) for path in sorted(found))


def _daemon(folder: Path) -> subprocess.Popen[bytes]:
    program = next(_CACHE.glob("adbd/**/platform-tools/adbd"))
    environment = {
        "PATH": str(folder / "system"),
        "HOME": str(folder),
        "ADBD_PORT": str(_PORT),
        "LD_LIBRARY_PATH": _libraries("adbd"),
    }
    script = f'{shutil.which("ip")} link set lo up && exec "$1"'
    command = [
        str(shutil.which("unshare")), "--user", "--map-root-user", "--net", "/bin/sh", "-c", script, "sh", str(program),
    ]  # fmt: skip
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def _adb_script(folder: Path, number: int) -> None:
    """Write an `adb` that goes into the phone's network first."""
    program = next(_CACHE.glob("adb/**/platform-tools/adb"))
    text = (
        f"#!/bin/sh\nexec nsenter -t {number} -U --preserve-credentials -n "
        f'env LD_LIBRARY_PATH="{_libraries("adb")}" HOME="{folder}" "{program}" "$@"\n'
    )
    path = folder / "bin/adb"
    path.write_text(text)
    path.chmod(0o755)


def _connect(folder: Path) -> None:
    for _ in range(60):
        done = subprocess.run(
            [folder / "bin/adb", "connect", _SERIAL], capture_output=True, text=True, check=False
        )
        state = subprocess.run(
            [folder / "bin/adb", "-s", _SERIAL, "get-state"], capture_output=True, text=True, check=False
        )
        if state.stdout.strip() == "device":
            return
        time.sleep(0.25)
    raise RuntimeError(
        f"adb does not reach the phone: {done.stdout}{done.stderr}{(folder / 'log').read_text()}"
    )
