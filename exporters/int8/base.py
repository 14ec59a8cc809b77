"""What `nested-int8` and `ort-int8` have in common: they say how far from the float network they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import onnx_ir as ir

from elsa_edge.bundle.instructions import Instructions
from elsa_edge.bundle.manifest import Variant
from elsa_edge.errors import ExportError
from elsa_edge.exporters.int8.judge import LARGEST_TOLERANCE, Judgement
from elsa_edge.exporters.int8.share import eight_bit_share
from elsa_edge.profiles.schema import DeviceProfile

__all__ = ["Int8Exporter", "notes_of_shares"]

_LEAST_TOLERANCE: Final = 1e-3
_MARGIN: Final = 1.5  # other inputs than those of the calibration


class Int8Exporter:
    """What both have in common."""

    name: str
    runtime = "onnxruntime"
    strict = True

    def variant(
        self,
        instructions: Instructions,
        judged: Sequence[Judgement],
        profile: DeviceProfile,
        notes: Mapping[str, Any],
        *,
        files: dict[str, str],
        level_bytes: tuple[int, ...] = (),
    ) -> Variant:
        """Describe the files, or refuse a network that is not the same any more.

        Raises:
            ExportError: When a level's answers changed too often or too much.
        """
        allowed = profile.tflite.int8_changed_answers
        for level, one in enumerate(judged):
            if not self.good(one, profile):
                none_may = one.agreement < 1 and allowed * one.answers < 1 <= one.answers
                of_few = f" of only {one.answers}" if none_may else ""
                raise ExportError(
                    f"8 bits change too many answers of level {level}",
                    expected=f"at least {1 - allowed:.1%} of the largest outputs unchanged, no output off by more than "
                    f"{LARGEST_TOLERANCE:.0%}",
                    found=f"{one.agreement:.1%}{of_few}, off by {one.difference:.1%}",
                    fix=("Of so few not one may change. " if none_may else "")
                    + "Calibrate with more and more typical inputs, or allow more with tflite.int8_changed_answers",
                )
        tolerance = max(_MARGIN * max(one.difference for one in judged), _LEAST_TOLERANCE)
        if not self.strict:
            tolerance = min(tolerance, LARGEST_TOLERANCE)
        return Variant(
            name=self.name,
            runtime=self.runtime,
            files=files,
            instructions=instructions,
            notes={
                "difference": [round(one.difference, 6) for one in judged],
                "agreement": [round(one.agreement, 6) for one in judged],
                **notes,
            },
            relative_tolerance=tolerance,
            minimum_agreement=max(0.0, min(one.agreement for one in judged) - allowed),
            level_bytes=level_bytes,
        )

    def good(self, one: Judgement, profile: DeviceProfile) -> bool:
        """Tell whether a level is still the same network."""
        changed = 1 - one.agreement > profile.tflite.int8_changed_answers
        return not self.strict or not (changed or one.difference > LARGEST_TOLERANCE)


def notes_of_shares(models: Sequence[ir.Model], coded: Sequence[Collection[str]]) -> dict[str, list[float]]:
    """Return what each level computes in 8 bits, given the names of the nodes that do."""
    shares = [eight_bit_share(model, nodes) for model, nodes in zip(models, coded, strict=True)]
    return {"int8_weights": [w for w, _ in shares], "int8_multiply_adds": [m for _, m in shares]}
