"""What an exporter tells an adapter: one class for each kind of variant, told apart by `kind`.

    selector | switch | levels | nested        ONNX Runtime
    tflite-files | tflite-signatures           LiteRT and TFLite
    rerouted                                   a chain of segments, each of a kind with all levels in one file
    other:NAME                                 third parties; `settings` are theirs

Only what a machine needs to run the variant stands here; what people may want to know goes into the variant's `notes`.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Tag

from elsa_edge.bundle.kinds import (
    OTHER,
    Dtype,
    FileLayout,
    Levels,
    Nested,
    Other,
    Port,
    Selector,
    Switch,
    TfliteFiles,
    TfliteSignatures,
    by_kind,
    level_role,
    plain_files,
    plain_role,
)
from elsa_edge.bundle.rerouted import Rerouted

__all__ = [
    "Dtype",
    "FileLayout",
    "Instructions",
    "Levels",
    "Nested",
    "Other",
    "Port",
    "Rerouted",
    "Selector",
    "Switch",
    "TfliteFiles",
    "TfliteSignatures",
    "level_role",
    "plain_files",
    "plain_role",
]

_KINDS: Final = ("selector", "switch", "levels", "nested", "tflite-files", "tflite-signatures", "rerouted")


Instructions = Annotated[
    Annotated[Selector, Tag("selector")]
    | Annotated[Switch, Tag("switch")]
    | Annotated[Levels, Tag("levels")]
    | Annotated[Nested, Tag("nested")]
    | Annotated[TfliteFiles, Tag("tflite-files")]
    | Annotated[TfliteSignatures, Tag("tflite-signatures")]
    | Annotated[Rerouted, Tag("rerouted")]
    | Annotated[Other, Tag(OTHER)],
    by_kind(f"one of the kinds {', '.join(_KINDS)} or {OTHER}NAME"),
]
