"""Several controllers on one device: one change of memory at a time, agreed through a locked file. No daemon.

    others changed less than SETTLE_MS ago  decide as if just the reserve were free: nothing is forced, nothing grows
    else, and the level's memory would change  claim the turn; where another was quicker, decide again as above

Two controllers that read the same free memory would otherwise both take it, both run short, both give it back, and so
on. With a turn each sees what the change before has left. A level that no longer holds the latency is left at once, and
announced: the ledger never makes a late run. Nor does anybody wait for the lock: a member that was stopped while it
held it is passed over after SETTLE_MS. The file holds who changed last and when, by the clock that all processes of a
machine share; a member that dies leaves a time that passes, and a lock that the kernel releases.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from elsa_edge.control.controller import Controller
from elsa_edge.control.state import Decision, Observation
from elsa_edge.errors import InputError
from elsa_edge.files.locks import Lock

__all__ = ["SETTLE_MS", "Ledger", "decide_together"]

SETTLE_MS: Final = 1000.0  # a few readings of the memory: the kernel's figures have followed by then
_LONGEST: Final = 100
_AT_ONCE: Final = getattr(os, "O_NONBLOCK", 0)  # whatever was put in its place: no run waits for a pipe
_LINE: Final = re.compile(r"[0-9a-f]{16} \d+\.\d{3}\n")  # as `_overwrite` is given it
_EXPECTED: Final = "a file in an existing folder that every session may write"


def _now_ms() -> float:
    return time.monotonic() * 1e3


class Ledger:
    """The turn to change how much memory one's level needs, shared by the sessions that name the same file.

    Args:
        path: The file; made where it is missing.
        clock_ms: A monotonic clock that all members share.

    Attributes:
        problem: Why the turn could not be told to the others; None while it could.

    Raises:
        InputError: When the file cannot be made, read or written, or holds something else: it would be overwritten.
    """

    def __init__(self, path: Path, *, clock_ms: Callable[[], float] = _now_ms) -> None:
        self._path, self._clock_ms = path, clock_ms
        self._member = secrets.token_hex(8)
        self._seen = (-1, -1)
        self._last: tuple[str, float] = ("", -SETTLE_MS)
        self._busy_since_ms: float | None = None
        self.problem: str | None = None
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            is_file = stat.S_ISREG(os.fstat(file).st_mode)
            os.close(file)
            text = _read(path) if is_file else ""
        except (OSError, ValueError) as error:  # a path with a NUL in it is a ValueError
            raise InputError(
                f"The ledger {str(path)!r} cannot be used ({getattr(error, 'strerror', None) or error})",
                expected=_EXPECTED,
            ) from error
        if not is_file:
            raise InputError(f"The ledger {path} is no file, and would keep nothing", expected=_EXPECTED)
        if text and _LINE.fullmatch(text) is None:
            raise InputError(
                f"{path} is no ledger, and would be overwritten",
                expected="an empty or absent file, or the one line of a ledger: a member of 16 hex digits and a time",
                found=repr(text[:40]),
                fix="Name another file, or remove this one",
            )

    def others_settle(self) -> bool:
        """Return whether another member changed so lately that the memory's figures may not show it yet."""
        with contextlib.suppress(OSError):
            now = self._path.stat()
            if (now.st_mtime_ns, now.st_size) != self._seen:
                self._seen = (now.st_mtime_ns, now.st_size)
                self._last = _parse(_read(self._path))
        member, changed_ms = self._last
        # After a restart of the machine the clock begins anew: what lies in the future is of before.
        return member != self._member and 0.0 <= self._clock_ms() - changed_ms < SETTLE_MS

    def claim(self) -> bool:
        """Take the turn; False where another member has it."""
        return self._write(even_so=False)

    def announce(self) -> None:
        """Tell the others of a change that could not wait."""
        self._write(even_so=True)

    def _write(self, *, even_so: bool) -> bool:
        lock = Lock.take(self._path)
        if lock is None and not even_so and self._held_by_another():
            return False
        if lock is not None:
            self._busy_since_ms = None  # who was stopped goes on; until then its turn stays over
        try:
            if not even_so:
                self._seen = (-1, -1)  # look at the file itself: two changes may have one time
                if self.others_settle():
                    return False
            self._overwrite(f"{self._member} {self._clock_ms():017.3f}\n".encode("ascii"))
            return True
        finally:
            if lock is not None:
                lock.release()

    def _overwrite(self, line: bytes) -> None:
        """Write a line in place of another: at once and of one length, so whoever is killed here leaves a whole one."""
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | _AT_ONCE, 0o666)
            try:
                os.pwrite(file, line, 0)
                os.ftruncate(file, len(line))
            finally:
                os.close(file)
        except OSError as error:
            # A session runs on by itself, and says so.
            self.problem = f"The ledger {self._path} cannot be written any more ({error.strerror})."

    def _held_by_another(self) -> bool:
        """Return whether a member is about to write; one that has held the lock for so long was stopped in its middle.

        Nobody waits for it: a lock is held for microseconds, and a run is not to be late for a process in a debugger.
        """
        if not self._path.exists():
            return False
        now_ms = self._clock_ms()
        since_ms = now_ms if self._busy_since_ms is None else self._busy_since_ms
        self._busy_since_ms = since_ms
        return 0.0 <= now_ms - since_ms < SETTLE_MS


def _read(path: Path) -> str:
    file = os.open(path, os.O_RDONLY | _AT_ONCE)
    try:
        return os.read(file, _LONGEST).decode("ascii", errors="replace")
    finally:
        os.close(file)


def _parse(text: str) -> tuple[str, float]:
    """Return member and time of a ledger; what is no ledger says nothing."""
    member, _, moment = text.partition(" ")
    try:
        return member, float(moment)
    except ValueError:
        return "", -SETTLE_MS


def decide_together(controller: Controller, observation: Observation, ledger: Ledger) -> Decision:
    """Let a controller decide, with the memory shared by the ledger's members.

    Args:
        controller: Takes in the observation.
        observation: As for `Controller.observe`.
        ledger: Shared with the others.
    """
    if observation.available_bytes is None:
        return controller.observe(observation)
    before, before_decision = controller.state, controller.decision
    waiting = ledger.others_settle()
    held = replace(observation, available_bytes=controller.plan.policy.reserve_bytes)
    decision = controller.observe(held if waiting else observation)
    memory = controller.plan.memory_bytes
    if memory[controller.state.position] == memory[before.position]:
        return decision
    if waiting:
        ledger.announce()
        return decision
    if ledger.claim():
        return decision
    controller.state, controller.decision = before, before_decision
    decision = controller.observe(held)
    if memory[controller.state.position] != memory[before.position]:
        ledger.announce()
    return decision
