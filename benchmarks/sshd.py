"""A real SSH server on loopback for tests and benchmarks, with keys and known_hosts of its own, none of the user's."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        port: Where it listens.
        folder: Its keys; `ssh` in it comes first on PATH and reads this server's configuration instead of the user's.
        process: To end it in the middle of something.
    """

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        """As `device add` takes it."""
        return f"ssh://tester@127.0.0.1:{self.port}"

    def path(self) -> str:
        """PATH with this server's `ssh` and `sftp` first."""
        return f"{self.folder / 'bin'}:{os.environ['PATH']}"

    def know(self, port: int) -> None:
        """Let its users know the same server at another port of this machine, behind a forwarder."""
        known = self.folder / "known_hosts"
        line = f"[127.0.0.1]:{port} {(self.folder / 'host.pub').read_text()}"
        known.write_text(known.read_text() + line)

    def kill_sessions(self) -> None:
        """Kill everything that runs for its users, as when the device loses power; the server itself stays."""
        for number in _children_of(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


def _children_of(number: int) -> list[int]:
    """Return all processes below one, the deepest last."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == number:
            child_number = int(path.parent.name)
            found += [child_number, *_children_of(child_number)]
    return found


def free_port() -> int:
    """Return a port that nobody listens at, a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_key(path: Path) -> str:
    """Make an Ed25519 pair and return its public line."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)],
        check=True,
        capture_output=True,
    )
    return path.with_suffix(".pub").read_text().strip()


@contextlib.contextmanager
def server(folder: Path, *, force_command: str | None = None, port: int | None = None) -> Iterator[Server]:
    """Run sshd as the present user until the block ends."""
    assert SSHD is not None
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    (folder / "home").mkdir(exist_ok=True)
    make_key(folder / "host")
    (folder / "authorized").write_text(make_key(folder / "user") + "\n")
    host_key = (folder / "host.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    lines = [
        f"Port {port}", "ListenAddress 127.0.0.1",
        f'HostKey "{folder}/host"', f'AuthorizedKeysFile "{folder}/authorized"',
        "UsePAM no", "StrictModes no", "PasswordAuthentication no", f'PidFile "{folder}/pid"', "MaxStartups 100",
        "PermitRootLogin yes",
        # A home of its own: what this machine's user has in ~/.bashrc takes its time at every step, and may wait for a
        # lock of a session that was killed.
        f'SetEnv "HOME={folder}/home"',
        # A command that stands for a board has a program there.
        f"Subsystem sftp {'/usr/lib/openssh/sftp-server' if force_command else 'internal-sftp'}",
    ]  # fmt: skip
    if force_command:
        lines.append(f"ForceCommand {force_command}")
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")
    # What a user has in ~/.ssh/config: who to be there, with which key, and which hosts are known.
    (folder / "ssh_config").write_text(
        f'Host 127.0.0.1\n  User {user}\n  IdentityFile "{folder}/user"\n  IdentitiesOnly yes\n'
        f'  UserKnownHostsFile "{folder}/known_hosts"\n  GlobalKnownHostsFile /dev/null\n'
    )
    binaries = folder / "bin"
    binaries.mkdir(exist_ok=True)
    for name in ("ssh", "sftp"):
        program = binaries / name
        program.write_text(f'#!/bin/sh\nexec {shutil.which(name)} -F "{folder}/ssh_config" "$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(folder / "sshd_config")],
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_until_it_listens(port, process, folder)
        yield Server(port, folder, process)
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait_until_it_listens(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert process.poll() is None, (folder / "log").read_text()
        time.sleep(0.05)
    raise AssertionError("sshd does not listen")
