"""Inputs and outputs of a TFLite file against those of the canonical graph: names, fixed shapes, layout, types.

    canonical (N, C, H, W)  --layout NHWC-->  file (n, H, W, C)        n is the batch that the file was converted for
    canonical (N, ...)      --layout same-->  file (n, ...)

The description goes into the manifest (`options`), so that the adapter, or an application that loads the file itself,
knows how to feed it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

__all__ = ["FROM_NHWC", "TO_NHWC", "FileLayout", "Port"]

FileLayout = Literal["NHWC", "same"]
TO_NHWC: Final = (0, 2, 3, 1)
FROM_NHWC: Final = (0, 3, 1, 2)


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output.

    Attributes:
        name: Its name in the canonical graph; also its name in the file's signatures.
        shape: Canonical shape, null where any size is allowed (the batch).
        dtype: Canonical numpy type.
        layout: "NHWC" when the file has the channels last, else "same".
        file_shape: Shape in the file.
        file_dtype: Type in the file; the adapter converts.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    layout: FileLayout
    file_shape: tuple[int, ...]
    file_dtype: str

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "shape": list(self.shape), "file_shape": list(self.file_shape)}
