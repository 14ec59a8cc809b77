"""The manifest of a bundle, `manifest.json`: what is in it, for which device, how to check it. See docs/format.md."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["FILE_NAME", "FileEntry", "InputOutput", "LevelEntry", "Manifest", "Variant"]

FILE_NAME: Final = "manifest.json"


def _inside_the_bundle(path: str) -> str:
    """Accept only plain relative POSIX paths: nothing absolute, no `..`, no backslash, no drive."""
    parts = PurePosixPath(path).parts
    if not path or path.startswith("/") or "\\" in path or ":" in path or ".." in parts or str(PurePosixPath(path)) != path:
        raise ValueError("a path inside the bundle, such as ort-switch/model.onnx")
    return path


RelativePath = Annotated[str, AfterValidator(_inside_the_bundle)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(_Strict):
    """A file of the bundle: where, how large, and what it hashes to."""

    path: RelativePath
    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class InputOutput(_Strict):
    """An input or output; a shape entry of null may have any size."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class LevelEntry(_Strict):
    """A level as the ladder describes it."""

    name: str
    sparsity: float = Field(ge=0, lt=1)
    density: float | None = Field(default=None, ge=0, le=1)
    flops_fraction: float | None = Field(default=None, ge=0, le=1)
    accuracy: float | None = Field(default=None, ge=0, le=1)


class Variant(_Strict):
    """One rewriting of the canonical graph for a runtime.

    Attributes:
        name: The exporter's name.
        runtime: The runtime adapter that loads it.
        files: Role -> path, relative to the bundle. Roles are the exporter's own words ("model", "level_0").
        options: What the adapter must know to run it; JSON values, the exporter's own words.
        relative_tolerance: The numeric contract against the golden outputs.
        level_bytes: Bytes of weights that each level needs in memory, sparsest first.
    """

    name: str
    runtime: str
    files: dict[str, RelativePath]
    options: dict[str, Any] = Field(default_factory=dict)
    relative_tolerance: float = Field(default=1e-4, gt=0)
    level_bytes: tuple[int, ...] = ()


class Manifest(_Strict):
    """Everything about a bundle."""

    format: Literal[1] = 1
    name: str
    device: str
    ladder: tuple[LevelEntry, ...] = Field(min_length=1, max_length=255)
    inputs: tuple[InputOutput, ...] = Field(min_length=1)
    outputs: tuple[InputOutput, ...] = Field(min_length=1)
    variants: tuple[Variant, ...] = Field(min_length=1)
    golden: RelativePath
    files: tuple[FileEntry, ...]
    versions: dict[str, str]
    provenance: dict[str, Any] = Field(default_factory=dict)
