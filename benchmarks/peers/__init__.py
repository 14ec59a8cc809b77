"""Engines in processes of their own, for comparison: each runs `worker.py` under its own Python and answers lines.

    with Peer("openvino", threads=1) as peer:
        output = peer.load("dense", path, input_path)    # flattened first output
        cpu_s, wall_s = peer.run("dense", 10)

The environments are for measuring only and never part of elsa-edge. `python -m benchmarks.peers install NAME` makes
one; DeepSparse's licence allows evaluation in development and nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

__all__ = ["PACKAGES", "Peer", "PeerError", "environment", "install", "interpreter"]

ENVIRONMENTS: Final = Path(__file__).parents[2] / ".venvs"
PACKAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "openvino": ("openvino==2026.4.1",),
    "deepsparse": ("deepsparse==1.8.0",),
    "ncnn": ("ncnn==1.0.20261020", "pnnx==20261020", "numpy"),
}
_OURS: Final = "onnxruntime"  # runs under this interpreter: the base that the others are compared with
_ANSWER_S: Final = 120.0


class PeerError(RuntimeError):
    """A peer is absent, refused, died or did not answer; the message says which."""


def environment(name: str) -> Path:
    """Return where the environment of a peer lies, or would lie."""
    return ENVIRONMENTS / name


def interpreter(name: str) -> Path:
    """Return the Python that runs an engine.

    Raises:
        PeerError: When its environment is absent.
    """
    if name == _OURS:
        return Path(sys.executable)
    python = environment(name) / "bin" / "python"
    if not python.is_file():
        raise PeerError(f"not installed here; run: python -m benchmarks.peers install {name}")
    return python


def install(name: str) -> Path:
    """Make the environment of a peer with pip and return it.

    Raises:
        subprocess.CalledProcessError: When Python or pip fails.
    """
    folder = environment(name)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *PACKAGES[name]]
    subprocess.run(command, check=True)
    return folder


class Peer:
    """One engine in one process, on a fixed number of threads.

    Args:
        engine: "openvino", "deepsparse", "ncnn" or "onnxruntime".
        threads: Threads that the engine is told to use.
        answer_s: Seconds after which a silent process is ended.
        settings: More environment variables.

    Raises:
        PeerError: When the engine is absent.
    """

    def __init__(
        self,
        engine: str,
        threads: int = 1,
        *,
        answer_s: float = _ANSWER_S,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.engine = engine
        self._answer_s = answer_s
        # One thread means one everywhere; nobody is told over a network what is measured here.
        own = {"OMP_NUM_THREADS": str(threads), "NM_DISABLE_ANALYTICS": "True", **(settings or {})}
        worker = Path(__file__).with_name("worker.py")
        self._process = subprocess.Popen(
            [str(interpreter(engine)), str(worker), engine, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | own,
        )

    def load(
        self, name: str, model: Path, inputs: Path, options: Mapping[str, object] | None = None
    ) -> npt.NDArray[np.float64]:
        """Open a model under a name, run it once and return its first output, flattened.

        Args:
            name: What `run` will call it.
            model: An ONNX file.
            inputs: A `.npy` file with its only input.
            options: Settings of the engine beyond threads and precision.

        Raises:
            PeerError: When the engine refuses.
        """
        question = {
            "load": name,
            "path": str(model),
            "input": str(inputs),
            "options": dict(options or {}),
        }
        return np.array(self._ask(question)["output"])

    def run(self, name: str, count: int) -> tuple[float, float]:
        """Run a loaded model `count` times; return the CPU and wall-clock seconds of all together."""
        answer = self._ask({"run": name, "count": count})
        return answer["cpu_s"], answer["wall_s"]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, question: Mapping[str, object]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        watch = threading.Timer(self._answer_s, self._process.kill)
        watch.start()
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except (OSError, ValueError):
            line = ""  # it died before: the sentence below says so
        finally:
            watch.cancel()
        if not line:
            self.close()
            raise PeerError(f"{self.engine} ended with status {self._process.returncode} or was silent")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{self.engine}: {answer['error']}")
        return answer
