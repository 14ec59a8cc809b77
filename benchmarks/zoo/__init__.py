"""Architectures that nobody here wrote, taken the whole way: sparsify, export, build, every level against torch.

    python -m benchmarks.zoo install       an environment of its own, .venvs/zoo: torchvision fixes its torch
    python -m benchmarks.zoo run           goes on where it was stopped; NAME ... for some networks only
    python -m benchmarks.zoo share         the nested share alone, of rows that were measured under an older rule
    python -m benchmarks.zoo table         the table of docs/zoo.md from the results

Weights are random with heavy tails: numbers prove the path, not accuracy.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["ENVIRONMENT", "PACKAGES", "install", "interpreter", "run_worker"]

ROOT: Final = Path(__file__).parents[2]
# For processes in the zoo's environment
QUIET: Final = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "YOLO_OFFLINE": "true",
    "TQDM_DISABLE": "1",
}
ENVIRONMENT: Final = ROOT / ".venvs" / "zoo"
# torch and torchvision come as a pair.
PACKAGES: Final = (
    "torch==2.14.1",
    "torchvision==0.29.1",
    "timm==1.0.31",
    "transformers==5.24.0",
    "ultralytics==8.4.190",
    "segmentation-models-pytorch==0.6.0",
    "torch_geometric==2.8.1",
)


def interpreter() -> Path:
    """Return the Python of the zoo's environment.

    Raises:
        FileNotFoundError: When it was not installed.
    """
    python = ENVIRONMENT / "bin" / "python"
    if not python.is_file():
        raise FileNotFoundError("not installed here; run: python -m benchmarks.zoo install")
    return python


def run_worker(arguments: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Let the worker do something in the zoo's environment, in a process of its own.

    Raises:
        FileNotFoundError: When that environment was not installed.
        subprocess.TimeoutExpired: When it takes longer.
    """
    return subprocess.run(
        [str(interpreter()), "-m", "benchmarks.zoo.worker", *arguments],
        cwd=ROOT,
        env=os.environ | QUIET,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def install() -> Path:
    """Make the environment with pip and return it.

    Raises:
        subprocess.CalledProcessError: When Python or pip fails.
    """
    subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    pip = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, *PACKAGES], check=True)
    subprocess.run([*pip, "--editable", f"{ROOT}[export,ort]"], check=True)
    return ENVIRONMENT
