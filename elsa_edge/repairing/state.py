"""The file that a repair keeps its work in, so that an interrupted one goes on where it was.

    SHA-256 of the rest (64 characters) | what torch writes

A flipped bit in a tensor would go on as a slightly other repair, so the whole file is checked before it is read.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import CheckpointError, UsageError
from elsa_edge.files import atomic_file
from elsa_edge.repairing.records import LevelResult
from elsa_edge.repairing.settings import RepairSettings
from elsa_edge.repairing.tune import LevelTuner

if TYPE_CHECKING:
    from elsa_edge.repairing.student import Student

__all__ = ["RepairState"]

_HASH: Final = 64
_PARTS: Final = frozenset({"digest", "spent_s", "student", "tuner", "results"})


class RepairState:
    """Finished levels, and the one in work.

    Attributes:
        spent_s: Seconds of the runs before.
        tuner: State of the level in work, to be taken once; None where there is none.
    """

    def __init__(self, path: Path | None, digest: str, *, writes: bool = True) -> None:
        self._path, self._digest, self._writes = path, digest, writes
        self._loaded: Mapping[str, Any] | None = None
        self.spent_s = 0.0
        self.tuner: Mapping[str, Any] | None = None

    @classmethod
    def open(
        cls,
        path: Path | None,
        settings: RepairSettings,
        checkpoint: NestedCheckpoint,
        inputs: str,
        *,
        writes: bool = True,
    ) -> RepairState:
        """Read the state of an interrupted repair, if there is one; of several processes one writes it.

        Raises:
            UsageError: When it is of another checkpoint, other inputs or other settings.
            CheckpointError: When it is damaged.
        """
        state = cls(path, _digest(settings, checkpoint, inputs), writes=writes)
        if path is None or not path.is_file():
            return state
        loaded = _read(path)
        if loaded["digest"] != state._digest:
            raise UsageError(
                f"The repair in {path} was begun with another checkpoint, other inputs or other settings",
                fix="Go back to those, choose another output, or give --restart",
            )
        state._loaded, state.tuner, state.spent_s = loaded, loaded["tuner"], float(loaded["spent_s"])
        return state

    def begin(self, student: Student) -> dict[int, LevelResult]:
        """Put what is finished into the network; return its results by level."""
        if self._loaded is None:
            return {}
        student.load_state(self._loaded["student"])
        return {int(k): LevelResult(**facts) for k, facts in self._loaded["results"].items()}

    def save(
        self, student: Student, results: Mapping[int, LevelResult], tuner: LevelTuner | None, spent_s: float
    ) -> None:
        """Write the state, where there is a file for it."""
        import torch

        if self._path is None or not self._writes:
            return
        content = {
            "digest": self._digest,
            "spent_s": spent_s,
            "student": student.state(),
            "tuner": None if tuner is None else tuner.state(),
            "results": {level: asdict(found) for level, found in results.items()},
        }
        written = io.BytesIO()
        torch.save(content, written)
        with atomic_file(self._path) as temporary:
            temporary.write_bytes(_hash(written.getvalue()) + written.getvalue())

    def remove(self) -> None:
        """Forget the work: it is done."""
        if self._path is not None and self._writes:
            self._path.unlink(missing_ok=True)


def _hash(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _read(path: Path) -> Mapping[str, Any]:
    """Return what `save` wrote.

    Raises:
        CheckpointError: When it is anything else.
    """
    import torch

    raw = path.read_bytes()
    damaged = CheckpointError(
        f"The saved repair {path} is damaged, or of another version", fix="Give --restart, or remove it"
    )
    if _hash(raw[_HASH:]) != raw[:_HASH]:
        raise damaged
    loaded = torch.load(io.BytesIO(raw[_HASH:]), map_location="cpu", weights_only=True)
    if not isinstance(loaded, dict) or not loaded.keys() >= _PARTS:
        raise damaged
    return loaded


def _digest(settings: RepairSettings, checkpoint: NestedCheckpoint, inputs: str) -> str:
    digest = hashlib.sha256(f"{settings.digest()} {inputs} {checkpoint.ladder.to_json()}".encode())
    for part in (checkpoint.weights, checkpoint.indices, checkpoint.tables):
        for name in sorted(part):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(part[name]).tobytes())
    return digest.hexdigest()
