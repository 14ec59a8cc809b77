"""Ask a process apart what may end the process that does it: a runtime's parser meets files that it does not survive.

    this process --a line of JSON--> helper --fork--> does what is asked, answers, exits
                 <--a line of JSON--

The helper is started once and does nothing itself; where there is no fork it does, and is started again when it dies.
"""

from __future__ import annotations

import atexit
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from pydantic_core import from_json, to_json

from elsa_edge.running.children import start_child

__all__ = ["ENDED", "Apart", "answer_from_fork", "serve"]

ENDED: Final = "ended"  # the key of an answer that says how the process that did what was asked ended
_LONGEST_S: Final = 60.0

Question = dict[str, Any]
Answer = dict[str, Any]


class Apart:
    """The helper of one kind, started when it is first needed, again after a fork of ours or its own end.

    Args:
        module: What it runs; it calls `serve`.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._lock = threading.Lock()
        self._owner = -1
        self._process: subprocess.Popen[str] | None = None
        atexit.register(self.stop)

    def ask(self, question: Question) -> Answer:
        """Return the answer; what ended the process that tried is an answer too."""
        with self._lock:
            process = self._running()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(to_json(question).decode() + "\n")
                process.stdin.flush()
                ready = select.select([process.stdout], [], [], _LONGEST_S)[0]
                line = process.stdout.readline() if ready else None
            except OSError:
                line = ""
            if line:
                answer: Answer = from_json(line)
                return answer
            self.stop()
            return {ENDED: "did not end" if line is None else f"ended with {process.returncode}"}

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            self._process = start_child(self._module)
            self._owner = os.getpid()
        return self._process

    def stop(self) -> None:
        """End the process."""
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.communicate()
            self._process = None


def serve(answer: Callable[[Question], Answer]) -> None:
    """Answer questions until there are no more, each from a fork. What runtimes print goes nowhere."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(to_json(answer_from_fork(answer, from_json(line))).decode() + "\n")
        answers.flush()


def answer_from_fork(answer: Callable[[Question], Answer], question: Question) -> Answer:
    """Answer from a fork, so that the helper outlives what happens there."""
    if not hasattr(os, "fork"):
        return answer(question)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            with os.fdopen(writing, "wb") as stream:
                stream.write(to_json(answer(question)))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        content = stream.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if content:
        found: Answer = from_json(content)
        return found
    return {ENDED: f"ended with signal {-status}" if status < 0 else f"ended with {status}"}
