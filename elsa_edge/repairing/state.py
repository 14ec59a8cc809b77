"""The file that a repair keeps its work in, so that an interrupted one goes on where it was."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
        import torch

        state = cls(path, _digest(settings, checkpoint, inputs), writes=writes)
        if path is None or not path.is_file():
            return state
        try:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
            digest = loaded["digest"]
        except Exception as error:
            raise CheckpointError(
                f"The saved repair {path} is damaged", fix="Remove it to start anew"
            ) from error
        if digest != state._digest:
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
        with atomic_file(self._path) as temporary:
            torch.save(content, temporary)

    def remove(self) -> None:
        """Forget the work: it is done."""
        if self._path is not None and self._writes:
            self._path.unlink(missing_ok=True)


def _digest(settings: RepairSettings, checkpoint: NestedCheckpoint, inputs: str) -> str:
    digest = hashlib.sha256(f"{settings.digest()} {inputs} {checkpoint.ladder.to_json()}".encode())
    for part in (checkpoint.weights, checkpoint.indices, checkpoint.tables):
        for name in sorted(part):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(part[name]).tobytes())
    return digest.hexdigest()
