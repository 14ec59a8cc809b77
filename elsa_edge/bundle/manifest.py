"""The manifest of a bundle, `manifest.json`, format 2: what is in it and how to check it. See docs/format.md."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from elsa_edge.bundle.instructions import Dtype, Instructions, TfliteFiles, TfliteSignatures
from elsa_edge.errors import UnknownNameError
from elsa_edge.levels import Ladder, Level
from elsa_edge.proof.tolerance import LARGEST_NOISE, RELATIVE, Tolerance
from elsa_edge.tensors import TensorSpec
from elsa_edge.visible import VisibleName

__all__ = [
    "FILE_NAME",
    "NOT_PROVED",
    "SIGNATURE_NAME",
    "FileEntry",
    "InputOutput",
    "LevelEntry",
    "Manifest",
    "Variant",
]

FILE_NAME: Final = "manifest.json"
_LARGEST_LEVEL_BYTES: Final = 1 << 50  # a petabyte: more is a mistake, and memory is added up in 64 bits
_LONGEST_SENTENCE: Final = 1000
NOT_PROVED: Final = "not_proved"  # key of the provenance
SIGNATURE_NAME: Final = "manifest.json.sig"  # beside it; the one file that it cannot list


def _inside_the_bundle(path: str) -> str:
    """Accept only plain relative POSIX paths: not absolute, no `..`, backslash or drive."""
    plain = (
        bool(path) and str(PurePosixPath(path)) == path and path.isprintable() and not set(path) & {"\\", ":"}
    )
    if not plain or path.startswith("/") or path == "." or ".." in PurePosixPath(path).parts:
        raise ValueError("expected a path inside the bundle, such as ort-switch/model.onnx")
    return path


def _is_sentence(told: object) -> bool:
    return isinstance(told, str) and told.isprintable() and len(told) <= _LONGEST_SENTENCE


RelativePath = Annotated[str, AfterValidator(_inside_the_bundle)]
# Of variants and runtimes: folders, entry points and columns of tables are called so.
PlainName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=100)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FileEntry(_Strict):
    """A file of the bundle: where, how large, and what it hashes to."""

    path: RelativePath
    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class InputOutput(_Strict):
    """An input or output; a shape entry of null may have any size, and `sizes` says what that size is called."""

    name: VisibleName
    shape: tuple[Annotated[int, Field(ge=0)] | None, ...]
    dtype: Dtype
    sizes: tuple[VisibleName | None, ...] = ()

    @model_validator(mode="after")
    def _a_name_a_dimension(self) -> InputOutput:
        if self.sizes and len(self.sizes) != len(self.shape):
            raise ValueError("sizes must have one entry per dimension")
        return self

    @classmethod
    def of(cls, spec: TensorSpec) -> InputOutput:
        """Describe a tensor of a network."""
        entry = {"name": spec.name, "shape": spec.shape, "dtype": spec.dtype, "sizes": spec.sizes}
        return cls.model_validate(entry)

    def to_spec(self) -> TensorSpec:
        """Return it as the network's tensor."""
        return TensorSpec(self.name, self.shape, self.dtype, self.sizes)


class LevelEntry(_Strict):
    """A level as the ladder describes it."""

    name: VisibleName
    sparsity: float = Field(ge=0, lt=1)
    density: float | None = Field(default=None, ge=0, le=1)
    flops_fraction: float | None = Field(default=None, ge=0, le=1)
    accuracy: float | None = Field(default=None, ge=0, le=1)
    accuracy_low: float | None = Field(default=None, ge=0, le=1)
    accuracy_high: float | None = Field(default=None, ge=0, le=1)
    samples: int | None = Field(default=None, ge=0)
    metric: VisibleName | None = None


class Variant(_Strict):
    """One rewriting of the canonical graph for a runtime.

    Attributes:
        name: The exporter's name.
        runtime: The runtime adapter that loads it.
        files: Role -> path, relative to the bundle. Roles are the exporter's own words ("model", "level_0").
        instructions: What the adapter must know to run it, one class for each kind.
        notes: What people may want to know: JSON values, the exporter's own words. No machine reads them.
        relative_tolerance: The numeric contract against the golden outputs, below 1: zeros would keep any other.
        minimum_agreement: For variants that are not exact (int8, fp16): share of golden rows whose largest entry must
            be in the same place as the canonical graph's, at every level.
        level_bytes: Bytes of weights that each level needs in memory, sparsest first.
    """

    name: PlainName
    runtime: PlainName
    files: dict[VisibleName, RelativePath]
    instructions: Instructions
    notes: dict[str, Any] = Field(default_factory=dict)
    relative_tolerance: float = Field(default=RELATIVE, gt=0, lt=1)
    minimum_agreement: float | None = Field(default=None, ge=0, le=1)
    level_bytes: tuple[Annotated[int, Field(ge=0, le=_LARGEST_LEVEL_BYTES)], ...] = ()


class Manifest(_Strict):
    """Everything about a bundle.

    Attributes:
        class_axes: Output -> axis of its classes, for the outputs that have any; None where it was not looked for.
        noise: Output -> the network's own float32 noise at each level, relative to the output's scale.
        counter: Rises with every signed release: a device that demands signatures refuses a lower one.
    """

    format: Annotated[int, Field(ge=2, le=2)]  # a literal would take 2.0 for it
    name: VisibleName
    device: VisibleName
    ladder: tuple[LevelEntry, ...] = Field(min_length=1, max_length=255)
    inputs: tuple[InputOutput, ...] = Field(min_length=1)
    outputs: tuple[InputOutput, ...] = Field(min_length=1)
    variants: tuple[Variant, ...] = Field(min_length=1)
    golden: RelativePath
    files: tuple[FileEntry, ...]
    versions: dict[VisibleName, VisibleName]
    counter: int | None = Field(default=None, ge=0)
    provenance: dict[str, Any] = Field(default_factory=dict)
    class_axes: dict[str, Annotated[int, Field(ge=1, lt=16)]] | None = None
    noise: dict[str, tuple[Annotated[float, Field(ge=0, le=LARGEST_NOISE)], ...]] = Field(
        default_factory=dict
    )

    @property
    def not_proved(self) -> tuple[str, ...]:
        """What the golden inputs do not prove, a sentence each; empty where nobody has said."""
        told = self.provenance.get(NOT_PROVED)
        # Shown on terminals, and nobody's own words for certain.
        return tuple(one for one in told if _is_sentence(one)) if isinstance(told, list) else ()

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Manifest:
        """Names are unique, every used file is listed, every variant has what its instructions need at every level."""
        for what, names in (
            ("level", [level.name for level in self.ladder]),
            ("input", [entry.name for entry in self.inputs]),
            ("output", [entry.name for entry in self.outputs]),
            ("variant", [variant.name for variant in self.variants]),
            ("file", [entry.path for entry in self.files]),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"two entries have the same {what} name")
        listed = {entry.path for entry in self.files}
        if listed & {FILE_NAME, SIGNATURE_NAME}:
            raise ValueError(f"{FILE_NAME} cannot list itself or its signature")
        for path in (self.golden, *(path for variant in self.variants for path in variant.files.values())):
            if path not in listed:
                raise ValueError(f"{path} is used but not in the list of files")
        self._check_outputs()
        for variant in self.variants:
            self._check_variant(variant)
        return self

    def _check_outputs(self) -> None:
        """What is said of outputs is said of outputs that there are."""
        ranks = {entry.name: len(entry.shape) for entry in self.outputs}
        for what, said in (("noise", self.noise), ("class_axes", self.class_axes or {})):
            for output in set(said) - set(ranks):
                raise ValueError(f"{what} of {output}, which is no output")
        for output, axis in (self.class_axes or {}).items():
            if axis >= ranks[output]:
                raise ValueError(f"class_axes of {output} is {axis}, and it has {ranks[output]} dimensions")
        for output, noise in self.noise.items():
            if len(noise) != len(self.ladder):
                raise ValueError(f"noise of {output} must have one entry per level")

    def _check_variant(self, variant: Variant) -> None:
        if variant.level_bytes and len(variant.level_bytes) != len(self.ladder):
            raise ValueError(f"level_bytes of {variant.name} must have one entry per level")
        try:
            roles = variant.instructions.roles(len(self.ladder))
        except ValueError as error:
            raise ValueError(f"{variant.name}: {error}") from error
        absent = [role for role in roles if role not in variant.files]
        if absent:
            raise ValueError(
                f"{variant.name} is of kind {variant.instructions.kind} and has no file for {', '.join(absent)}"
            )
        if isinstance(variant.instructions, (TfliteFiles, TfliteSignatures)):
            for what, ports, own in (
                ("inputs", variant.instructions.inputs, self.inputs),
                ("outputs", variant.instructions.outputs, self.outputs),
            ):
                if {(port.name, port.dtype) for port in ports} != {
                    (entry.name, entry.dtype) for entry in own
                }:
                    raise ValueError(f"{variant.name} has other {what} than the network")

    def variant(self, name: str) -> Variant:
        """Return a variant by name.

        Raises:
            UnknownNameError: When the bundle has no such variant.
        """
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise UnknownNameError("variant in this bundle", name, [variant.name for variant in self.variants])

    def tolerance(self, variant: Variant, output: str, level: int) -> Tolerance:
        """Return the numeric contract of a variant's output at a level."""
        noise = self.noise.get(output)
        return Tolerance(variant.relative_tolerance, 0.0 if noise is None else noise[level])

    def to_ladder(self) -> Ladder:
        """Return the levels as a ladder.

        Raises:
            LevelError: When they are not one (unordered, duplicate).
        """
        return Ladder(tuple(Level(**level.model_dump()) for level in self.ladder))
