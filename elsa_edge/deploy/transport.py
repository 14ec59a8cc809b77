"""What a line to a device can do: run a shell script there, and bring files. One class a kind of line; see also ssh.py.

Everything that decides is elsewhere; a transport knows nothing of releases.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Protocol, Self

from elsa_edge.deploy.agent import Reply, parse_reply, patience_s, script
from elsa_edge.deploy.errors import DeviceError, LineError
from elsa_edge.errors import RuntimeUnavailableError

__all__ = ["AdbTransport", "LocalTransport", "Parcel", "Transport", "execute", "tool"]

_CHUNK_BYTES: Final = 1 << 20
_LONGEST_S: Final = 3600.0
_LONGEST_ANSWER_BYTES: Final = 16 << 20

Moved = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Parcel:
    """A file to bring.

    Attributes:
        source: Here.
        name: Its name in the device's folder `incoming`.
        size_bytes: Its size.
        present_bytes: How much of it lies there from an earlier try.
    """

    source: Path
    name: str
    size_bytes: int
    present_bytes: int = 0


class Transport(Protocol):
    """An open line to one device. Use it as a context manager; closing it never raises."""

    sends_differences: bool
    """Whether a file that is there in an older form costs only what differs."""

    def ask(self, verb: str, settings: Mapping[str, str]) -> Reply:
        """Do one verb of agent.sh there.

        Raises:
            LineError: When the device cannot be reached or the line breaks.
            DeviceError: When it refuses us (host key, no shell).
        """

    def send(self, parcels: Sequence[Parcel], folder: str, moved: Moved) -> None:
        """Bring files into an absolute folder there, going on where an earlier try stopped.

        Args:
            parcels: What to bring.
            folder: The device's folder `incoming`.
            moved: Called with the bytes that travelled, after each file.

        Raises:
            LineError: When the line breaks. What has arrived stays there.
            DeviceError: When the device's disk is full.
        """

    def close(self) -> None:
        """Hang up."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def tool(name: str, package: str) -> str:
    """Return the path of a program of this machine.

    Raises:
        RuntimeUnavailableError: When it is not installed.
    """
    found = shutil.which(name)
    if found is None:
        raise RuntimeUnavailableError(
            f"The program {name} is not installed here", fix=f"Install it (Debian: apt-get install {package})"
        )
    return found


def execute(
    command: Sequence[str], text: str = "", *, timeout_s: float = _LONGEST_S
) -> subprocess.CompletedProcess[str]:
    """Run a program of this machine with some text as its input, and return what it said, without control characters.

    Raises:
        LineError: When it does not end in time.
        DeviceError: When it says more than any device has to say.
    """
    process = subprocess.Popen(  # noqa: S603 - the program is ours to choose, and no shell reads the words
        list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    said = (bytearray(), bytearray())
    threads = [
        threading.Thread(target=_read, args=(process, process.stdout, said[0])),
        threading.Thread(target=_read, args=(process, process.stderr, said[1])),
        threading.Thread(target=_write, args=(process.stdin, text.encode())),
    ]
    for thread in threads:
        thread.start()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired as error:
        raise LineError(f"{Path(command[0]).name} did not answer within {timeout_s:.0f} s") from error
    finally:
        process.kill()
        process.wait()
        for thread in threads:
            thread.join()
    if max(map(len, said)) > _LONGEST_ANSWER_BYTES:
        raise DeviceError(
            f"What answers there does not come to an end: {_LONGEST_ANSWER_BYTES >> 20} MB and more",
            fix="Look at what logging in there prints",
        )
    return subprocess.CompletedProcess(process.args, process.returncode, _plain(said[0]), _plain(said[1]))


def _read(process: subprocess.Popen[bytes], stream: IO[bytes] | None, into: bytearray) -> None:
    """Collect what a program says, and end it when that is too much."""
    assert stream is not None
    with stream:
        while data := stream.read(_CHUNK_BYTES >> 4):
            into += data
            if len(into) > _LONGEST_ANSWER_BYTES:
                process.kill()
                return


def _write(stream: IO[bytes] | None, data: bytes) -> None:
    assert stream is not None
    # A program may end without reading.
    with contextlib.suppress(OSError), stream:
        stream.write(data)


def _plain(data: bytearray) -> str:
    """Return text that a terminal shows and does not obey."""
    text = data.decode("utf-8", errors="replace").replace("\r\n", "\n")
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


class _Closing:
    """The context manager that every transport is."""

    def close(self) -> None:
        """Hang up."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LocalTransport(_Closing):
    """This machine itself: for a program that runs on the device, and for a card or disk that is mounted here."""

    sends_differences = False

    def ask(self, verb: str, settings: Mapping[str, str]) -> Reply:
        """See `Transport.ask`."""
        done = execute([tool("sh", "dash"), "-s"], script(verb, settings), timeout_s=patience_s(verb))
        return parse_reply(done.stdout, done.stderr)

    def send(self, parcels: Sequence[Parcel], folder: str, moved: Moved) -> None:
        """See `Transport.send`."""
        for parcel in parcels:
            target = Path(folder, parcel.name)
            begin = parcel.present_bytes if parcel.present_bytes <= parcel.size_bytes else 0
            try:
                with parcel.source.open("rb") as source, target.open("r+b" if begin else "wb") as copy:
                    source.seek(begin)
                    copy.seek(begin)
                    shutil.copyfileobj(source, copy, _CHUNK_BYTES)
                    copy.truncate()
            except OSError as error:
                raise DeviceError(f"{target} cannot be written ({error.strerror or error})") from error
            moved(parcel.size_bytes - begin)


class AdbTransport(_Closing):
    """A phone or board behind Android's adb, from the platform tools of this machine.

    Args:
        serial: As `adb devices` shows it.
    """

    sends_differences = False

    def __init__(self, serial: str) -> None:
        self._command = [tool("adb", "adb"), "-s", serial]
        self._serial = serial

    def ask(self, verb: str, settings: Mapping[str, str]) -> Reply:
        """See `Transport.ask`."""
        done = execute(
            [*self._command, "shell", "-T", "sh -s"], script(verb, settings), timeout_s=patience_s(verb)
        )
        reply = parse_reply(done.stdout, done.stderr)
        if not reply.complete:
            raise self._broken(done.stderr or done.stdout)
        return reply

    def send(self, parcels: Sequence[Parcel], folder: str, moved: Moved) -> None:
        """See `Transport.send`. adb brings whole files; those that are complete there are not sent again."""
        for parcel in parcels:
            done = execute([*self._command, "push", str(parcel.source), f"{folder}/{parcel.name}"])
            if done.returncode:
                words = done.stderr + done.stdout
                if "No space left" in words:
                    raise DeviceError(
                        f"The disk of {self._serial} is full", fix="Free some space and try again"
                    )
                raise self._broken(words)
            moved(parcel.size_bytes)

    def _broken(self, words: str) -> DeviceError:
        last = ([line for line in words.splitlines() if line.strip()] or ["no answer"])[-1].strip()
        if "unauthorized" in words:
            return DeviceError(
                f"{self._serial} does not trust this machine yet", fix="Unlock it and allow debugging"
            )
        return LineError(
            f"The line to {self._serial} broke ({last[:200]})",
            fix="`adb devices` shows what is there; then try again, it goes on where it stopped",
        )
