"""The code blocks of README and docs, and how a reader would run them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["BLOCK", "ROOT", "blocks", "readers_folder", "run"]

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path | str, language: str) -> list[str]:
    """Return the code blocks of a page in a language, in order."""
    return [code for found, code in BLOCK.findall((ROOT / page).read_text()) if found == language]


def run(command: list[str], folder: Path, first_on_path: Path = Path(sys.executable).parent) -> str:
    """Run a command as a reader would, in a folder of the reader's, and return what it printed.

    Raises:
        AssertionError: When it fails; with what it said.
    """
    path = os.pathsep.join([str(first_on_path), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, "ELSA_EDGE_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def readers_folder(folder: Path) -> Path:
    """Make a folder that holds what a reader has: the examples."""
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder
