"""The line over OpenSSH: the user's own configuration, agent and known_hosts decide who is trusted and how.

Nothing here switches a check off. One connection is shared by all steps; files travel by rsync where both sides have
it (a changed file then costs only what differs), else by sftp, which goes on where an earlier try stopped.
"""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from elsa_edge.deploy.agent import Reply, parse_reply, patience_s, script
from elsa_edge.deploy.errors import DeviceError, LineError
from elsa_edge.deploy.targets import Target
from elsa_edge.deploy.transport import Moved, Parcel, _Closing, execute, tool

__all__ = ["SshTransport", "explain"]

# A password or a question would wait for ever behind a pipe; a dead line must be noticed. Scripts and lists shrink to a
# third; the work of compressing what does not shrink is this machine's, not the device's.
_OPTIONS: Final = (
    "-oBatchMode=yes", "-oConnectTimeout=15", "-oServerAliveInterval=5", "-oServerAliveCountMax=4",
    "-oControlMaster=auto", "-oControlPersist=60", "-oCompression=yes",
)  # fmt: skip
_FAILED: Final = 255
_SENT: Final = re.compile(r"Total bytes sent: ([\d,.]+)")


class SshTransport(_Closing):
    """A line to a device with an SSH server.

    Args:
        target: Its address.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._ssh = tool("ssh", "openssh-client")
        # Of the system's own temporary folder: a socket's path may have some hundred bytes only.
        self._folder = tempfile.mkdtemp(prefix="elsa-", dir="/tmp" if Path("/tmp").is_dir() else None)  # noqa: S108
        self._options = [*_OPTIONS, f"-oControlPath={self._folder}/line"]
        if target.port is not None:
            self._options.append(f"-oPort={target.port}")
        if target.user is not None:
            self._options.append(f"-oUser={target.user}")
        self.sends_differences = False

    def allow_rsync(self, there: bool) -> None:
        """Use rsync from now on where this machine has it too."""
        self.sends_differences = there and shutil.which("rsync") is not None

    def ask(self, verb: str, settings: Mapping[str, str]) -> Reply:
        """See `Transport.ask`."""
        done = execute(
            [self._ssh, *self._options, "-T", self._target.host, "sh -s"],
            script(verb, settings),
            timeout_s=patience_s(verb),
        )
        reply = parse_reply(done.stdout, done.stderr)
        if not reply.complete and not reply.lines and done.returncode == 0:
            raise DeviceError(
                f"{self._target.host} lets us in, but gives us no shell",
                found=first_line_of(done.stdout + done.stderr) or "no answer",
                fix=f"This must say hello: {_by_hand(self._target)} 'echo hello'",
            )
        if not reply.complete:
            raise explain(self._target, done.returncode, done.stderr)
        return reply

    def send(self, parcels: Sequence[Parcel], folder: str, moved: Moved) -> None:
        """See `Transport.send`."""
        for parcel in parcels:
            if self.sends_differences:
                moved(self._rsync(parcel, folder))
            else:
                moved(self._sftp(parcel, folder))

    def _rsync(self, parcel: Parcel, folder: str) -> int:
        """Send differences. What lies there may be of the same size and second, and other: never skip a file."""
        command = [
            tool("rsync", "rsync"), "--inplace", "--ignore-times", "--no-whole-file", "--stats",
            "--no-motd", "--protect-args", "-e", shlex.join([self._ssh, *self._options]),
            "--", str(parcel.source), f"{_bracketed(self._target.host)}:{folder}/{parcel.name}",
        ]  # fmt: skip
        done = execute(command)
        if done.returncode:
            raise explain(self._target, done.returncode, done.stderr)
        found = _SENT.search(done.stdout)
        return int(re.sub(r"\D", "", found.group(1))) if found else parcel.size_bytes

    def _sftp(self, parcel: Parcel, folder: str) -> int:
        """Send one file; `reput` goes on after what is there. A wrong beginning shows in the hash, afterwards."""
        begin = parcel.present_bytes if 0 < parcel.present_bytes < parcel.size_bytes else 0
        verb = "reput" if begin else "put"
        line = f"{verb} {_sftp_word(str(parcel.source))} {_sftp_word(f'{folder}/{parcel.name}')}\n"
        command = [tool("sftp", "openssh-client"), *self._options, "-b", "-", _bracketed(self._target.host)]
        done = execute(command, line)
        if done.returncode:
            raise explain(self._target, done.returncode, done.stderr)
        return parcel.size_bytes - begin

    def close(self) -> None:
        """Hang up: the shared connection ends, its socket's folder goes."""
        if Path(self._folder, "line").exists():
            execute([self._ssh, *self._options, "-O", "exit", self._target.host], timeout_s=15)
        shutil.rmtree(self._folder, ignore_errors=True)


def first_line_of(text: str) -> str:
    """Return the first line that says something, for a message."""
    return next((line.strip()[:200] for line in text.splitlines() if line.strip()), "")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _sftp_word(path: str) -> str:
    """Quote a path for sftp's own language: a pattern's characters and quotes need a backslash even inside quotes."""
    return '"' + re.sub(r'([\\"*?\[\]])', r"\\\1", path) + '"'


def explain(target: Target, status: int, words: str) -> DeviceError:
    """Turn ssh's, rsync's or sftp's complaint into an error that says what to do.

    Args:
        target: Who was called.
        status: The program's exit status.
        words: Its stderr.
    """
    where = f"{target.host}{f' port {target.port}' if target.port else ''}"
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    last = lines[-1][:200] if lines else f"exit status {status}"
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" in words:
        name = f"[{target.host}]:{target.port}" if target.port else target.host
        return DeviceError(
            f"The host key of {where} has changed; nothing was sent",
            fix=f"If you know why (a new card, a new system): ssh-keygen -R {shlex.quote(name)}, then connect once "
            "with ssh. If not, somebody may be in between",
        )
    if "Host key verification failed" in words:
        return DeviceError(
            f"The host key of {where} is not known here; nothing was sent",
            fix=f"Connect once by hand and compare the fingerprint: {_by_hand(target)}",
        )
    if "Permission denied" in words and "(" in words:
        return DeviceError(
            f"{where} does not let us in ({last})",
            expected="a key in your ssh agent or configuration that it accepts",
            fix=f"Try: {_by_hand(target)}; a key is brought there by ssh-copy-id",
        )
    if "No space left on device" in words or "write remote" in words.lower():
        return DeviceError(f"The disk of {where} is full", fix="Free some space and try again")
    return LineError(
        f"The line to {where} broke, or could not be made ({last})",
        fix="Try again when it is back: what has arrived stays there",
    )


def _by_hand(target: Target) -> str:
    port = f" -p {target.port}" if target.port else ""
    return f"ssh{port} {target.user + '@' if target.user else ''}{target.host}"
