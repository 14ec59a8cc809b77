"""Start a module of ours in a process of its own, so that its memory goes back and its crash costs nothing else.

    python -P -m MODULE ARGUMENTS

-P keeps the working directory off the child's search path: `cd bundle && elsa-edge verify .` must not import a json.py
that lies in the bundle. The child finds what this process finds, apart from that.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["run_child", "start_child"]


def run_child(module: str, arguments: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run a module to its end and return what it said.

    Raises:
        subprocess.TimeoutExpired: When it takes longer; it is killed then.
        OSError: When it cannot be started.
    """
    return subprocess.run(  # noqa: S603 - our own module with our own arguments
        [sys.executable, "-P", "-m", module, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(_search_path())},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def start_child(module: str) -> subprocess.Popen[str]:
    """Start a module that answers lines on its standard input with lines on its standard output.

    Raises:
        OSError: When it cannot be started.
    """
    return subprocess.Popen(  # noqa: S603 - the same
        [sys.executable, "-P", "-m", module],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(_search_path())},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _search_path() -> list[str]:
    """Return the search path without the working directory, unless elsa-edge itself was found there."""
    here, home = Path.cwd(), Path(__file__).resolve().parents[2]
    entries = [entry for entry in sys.path if entry]
    return [entry for entry in entries if Path(entry).resolve() != here or here == home]
