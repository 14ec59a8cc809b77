"""Device profile: hardware, runtime, variants, probes, QoS policy and measurements, one strict document."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from elsa_edge.visible import VisibleName

__all__ = [
    "Deployment",
    "DeviceProfile",
    "Hardware",
    "Measured",
    "MeasuredLayer",
    "MeasuredLevel",
    "Probes",
    "QoS",
    "Runtime",
    "Switching",
    "Tflite",
]

NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9._-]*$"

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
RELATIVE_PATTERN: Final = r"^[^/]"

RelativePath = Annotated[str, Field(pattern=RELATIVE_PATTERN)]


class _Strict(BaseModel):
    """Unknown keys are mistakes, values are not converted, infinity and NaN are not numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


# Names that systems and package managers have for them.
_ARCHES: Final = {
    "x86_64": "x86-64",
    "amd64": "x86-64",
    "arm64": "aarch64",
    "armhf": "armv7l",
    "armv7": "armv7l",
}


def _arch(given: object) -> object:
    return _ARCHES.get(given, given) if isinstance(given, str) else given


class Hardware(_Strict):
    """What the device is. Exporters read it; nothing here changes what a network computes."""

    arch: Annotated[Literal["x86-64", "aarch64", "armv7l"], BeforeValidator(_arch)] = Field(
        description="Instruction set that native code is built for."
    )
    os: Literal["linux", "android"] = Field(default="linux", description="Operating system.")
    cpu: str = Field(default="", description="Cores by name, for people: Cortex-A76.")
    cores: int = Field(ge=1, le=1024, description="Cores that one inference may use.")
    memory_mb: int = Field(ge=1, description="Main memory in MB (10^6 bytes) of the whole device.")
    features: tuple[str, ...] = Field(
        default=(), description="CPU features that exporters may count on: neon, fp16, dotprod, avx2, avx512."
    )


class Runtime(_Strict):
    """How the network is run. The adapter named here reads it; see elsa_edge/plugins/."""

    name: Name = Field(
        default="onnxruntime", description="Runtime adapter: onnxruntime, litert, or one of your own."
    )
    threads: int = Field(default=1, ge=1, le=1024, description="Threads within one operator.")
    arena: bool = Field(
        default=True,
        description="Keep freed activation memory for the next run: faster, but memory is not given back.",
    )
    memory_map: bool = Field(
        default=True,
        description="Map weights from files, so the system may drop their pages, instead of copying them.",
    )
    prepack: bool = Field(
        default=True,
        description="Let the runtime keep weights in a second, faster layout: quicker, more memory.",
    )
    optimization: Literal["all", "extended", "basic", "none"] = Field(
        default="all", description="Graph optimisation by the runtime when it loads the network."
    )
    spin: bool = Field(default=False, description="Idle threads spin: lower latency, higher power and heat.")
    cache_mb: int = Field(
        default=512,
        ge=0,
        description="Largest size in MB of files that the adapter derives on the device; 0 for none.",
    )
    choice: Name = Field(
        default="model",
        description="Which of a variant's choices of kernels is opened, where it has several (ort-nested: model, "
        "all_nested); `profile` writes the fastest.",
    )
    options: dict[str, str] = Field(
        default_factory=dict, description="Settings passed to the runtime as they are."
    )


class Tflite(_Strict):
    """How the TFLite variants are written: `tflite-levels`, `tflite-sparse`, `tflite-int8`."""

    input_layout: Literal["NHWC", "NCHW"] = Field(
        default="NHWC",
        description="Order of axes of images in the file. NHWC is faster; elsa-edge's own API stays NCHW.",
    )
    packaging: Literal["auto", "files", "signatures"] = Field(
        default="auto",
        description="One file per level (least memory), or one file with one signature per level (fast switch); "
        "auto takes files below 1024 MB of main memory.",
    )
    batch: int = Field(
        default=1, ge=1, le=4096, description="Batch that the file is made for; others run in pieces."
    )
    sparse_for_size: bool = Field(
        default=False,
        description="Write tflite-sparse also where it would only be a smaller file, not a faster network.",
    )
    calibration: str | None = Field(
        default=None,
        description="An .npz of real inputs for tflite-int8; null takes the golden inputs of the build.",
    )
    int8_changed_answers: Fraction = Field(
        default=0.01,
        description="Share of the calibration inputs whose largest output may change in tflite-int8.",
    )


class Probes(_Strict):
    """Where the device tells its free memory, pressure and temperature. Paths are relative to `root`."""

    root: str = Field(
        default="/", min_length=1, description="Prefix of every path below; another root serves tests."
    )
    meminfo: RelativePath = Field(
        default="proc/meminfo", description="Free memory of the whole device (MemAvailable)."
    )
    cgroup: RelativePath | None = Field(
        default="sys/fs/cgroup",
        description="Mount of the control groups, v1 or v2; null where there is none.",
    )
    pressure: RelativePath | None = Field(
        default="proc/pressure/memory",
        description="Memory pressure stall information (PSI); null to ignore it.",
    )
    thermal: tuple[RelativePath, ...] = Field(
        default=("sys/class/thermal/thermal_zone*/temp",),
        description="Temperature files in milli-degrees; patterns are allowed, the hottest counts.",
    )
    interval_ms: Positive = Field(default=250.0, description="Shortest time between two readings.")


class Switching(_Strict):
    """When the controller changes the level. Down at once; up slowly."""

    margin: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="A level fits while its predicted latency is below budget x (1 - margin)."
    )
    up_margin: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.05, description="A denser level is entered only below budget x (1 - up_margin)."
    )
    up_after_runs: int = Field(
        default=8, ge=1, description="Runs in a row that a denser level must have fitted."
    )
    dwell_ms: Annotated[float, Field(ge=0)] = Field(
        default=500.0,
        description="Shortest stay at a level before going up; doubled after each failed attempt.",
    )
    discard_runs: int = Field(
        default=2,
        ge=0,
        le=100,
        description="Cold runs after a load, switch or idle gap that teach nothing (they count).",
    )
    idle_gap_ms: Positive = Field(default=2000.0, description="A pause this long makes the next runs cold.")

    @model_validator(mode="after")
    def _up_is_stricter(self) -> Switching:
        if self.up_margin < self.margin:
            raise ValueError("up_margin must be at least margin, or levels would be entered only to be left")
        return self


class QoS(_Strict):
    """What must hold while the network runs, and how the level is changed to hold it."""

    latency_budget_ms: Positive | None = Field(
        default=None, description="Time one inference may take, in ms; null for no limit."
    )
    latency_percentile: Annotated[float, Field(gt=0, lt=100)] = Field(
        default=95.0, description="Share of the runs, in percent, that must meet the budget."
    )
    window_runs: int = Field(
        default=200, ge=1, le=100_000, description="Runs over which that share is counted."
    )
    memory_reserve_mb: Annotated[float, Field(ge=0)] = Field(
        default=32.0, description="Memory in MB that must stay free for the rest of the device."
    )
    memory_hysteresis_mb: Annotated[float, Field(ge=0)] = Field(
        default=16.0,
        description="MB that must be free beyond the reserve before a level that needs more is entered.",
    )
    memory_pressure_percent: Annotated[float, Field(gt=0, le=100)] = Field(
        default=10.0,
        description="Share of time stalled on memory (PSI some avg10) above which levels only go down.",
    )
    temperature_limit_c: Positive | None = Field(
        default=None,
        description="At this temperature, in degrees Celsius, and above no denser level is entered.",
    )
    minimum_accuracy: Fraction | None = Field(
        default=None, description="Levels below this accuracy (0 to 1) are never used; null for no minimum."
    )
    switching: Switching = Field(default_factory=Switching, description="When the level changes.")


class Deployment(_Strict):
    """What a device takes in, and keeps."""

    max_level: Annotated[int, Field(ge=0, le=254)] | None = Field(
        default=None,
        description="Highest level that is brought and run here; files of higher ones stay at home. null: all.",
    )
    keep_releases: int = Field(
        default=3, ge=2, le=100, description="Releases that stay on the device, to return to."
    )
    require_signature: bool = Field(
        default=False, description="Refuse bundles that none of trusted_keys has signed, or that are older."
    )
    trusted_keys: tuple[str, ...] = Field(
        default=(),
        description="Public keys in OpenSSH's form, one a line of authorized_keys: ssh-ed25519 AAAA...",
    )

    @model_validator(mode="after")
    def _demands_can_be_met(self) -> Deployment:
        if self.require_signature and not self.trusted_keys:
            raise ValueError(
                "require_signature needs at least one of trusted_keys, or nothing could be deployed"
            )
        return self


class MeasuredLevel(_Strict):
    """One level as it ran on the device; null is "not measured"."""

    name: VisibleName = Field(min_length=1, description="The level's name in the ladder.")
    p50_ms: Positive | None = Field(default=None, description="Median latency of a warm inference.")
    p90_ms: Positive | None = Field(
        default=None, description="90th percentile of the latency of a warm inference."
    )
    p95_ms: Positive | None = Field(
        default=None, description="95th percentile of the latency of a warm inference."
    )
    p99_ms: Positive | None = Field(
        default=None, description="99th percentile of the latency of a warm inference."
    )
    first_ms: Positive | None = Field(
        default=None, description="From opening the variant to its first answer, in a process of its own."
    )
    cold_ms: Positive | None = Field(default=None, description="First inference after loading.")
    switch_ms: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="Switching to this level, beyond one warm inference."
    )
    memory_bytes: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Memory needed while this level is active, including what all levels share."
    )
    accuracy: Fraction | None = Field(default=None, description="Task metric of this level, 0 to 1.")

    @model_validator(mode="after")
    def _quantiles_are_ordered(self) -> MeasuredLevel:
        names = ("p50_ms", "p90_ms", "p95_ms", "p99_ms")
        known = [(name, value) for name in names if (value := getattr(self, name)) is not None]
        for (before, low), (name, high) in itertools.pairwise(known):
            if high < low:
                raise ValueError(f"{name} must be at least {before}, which is {low:g}")
        return self


class MeasuredLayer(_Strict):
    """What one layer took, by the runtime's own profiling."""

    name: VisibleName = Field(min_length=1, description="Its nested weight, or the runtime's operator.")
    kind: str = Field(default="", description="Types of its operators, in the runtime's words.")
    level_ms: tuple[Annotated[float, Field(ge=0)] | None, ...] = Field(
        max_length=255, description="Milliseconds at each level, sparsest first; null: does not run there."
    )


class Measured(_Strict):
    """What `elsa-edge profile` measured for one bundle on this device."""

    bundle: str | None = Field(default=None, description="Identity of the bundle that was measured.")
    variant: Name | None = Field(default=None, description="Variant that was measured.")
    levels: tuple[MeasuredLevel, ...] = Field(
        min_length=1, max_length=255, description="One row per level, sparsest first."
    )
    layers: tuple[MeasuredLayer, ...] = Field(
        default=(),
        max_length=10_000,
        description="Time of each layer, from `profile --layers`; only reports read it.",
    )
    context: dict[str, Any] = Field(
        default_factory=dict, description="Conditions of the measurement, for people."
    )

    @model_validator(mode="after")
    def _layers_have_every_level(self) -> Measured:
        for layer in self.layers:
            if len(layer.level_ms) != len(self.levels):
                raise ValueError(f"{layer.name} needs {len(self.levels)} times, one per level")
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> Measured:
        names = [level.name for level in self.levels]
        if len(set(names)) != len(names):
            raise ValueError("each level may have one row only")
        return self


class DeviceProfile(_Strict):
    """A kind of device, how networks run on it, and what must hold while they do."""

    name: Name = Field(
        description="Name of the profile: lower-case letters, digits, dots, dashes, underscores."
    )
    description: str = Field(default="", description="One line for people.")
    hardware: Hardware = Field(description="What the device is.")
    runtime: Runtime = Field(default_factory=Runtime, description="How the network is run.")
    variants: tuple[Name, ...] = Field(
        min_length=1,
        description="Exporters whose variants go into a bundle for this device; the first is preferred.",
    )
    reroute: Annotated[int, Field(ge=2, le=16)] | None = Field(
        default=None,
        description="Segments that a network is cut into at build; between them a running inference may go on at a "
        "sparser level to end in time. null: the level never changes inside an inference.",
    )
    tflite: Tflite = Field(default_factory=Tflite, description="How TFLite variants are written.")
    probes: Probes = Field(
        default_factory=Probes, description="Where memory, pressure and temperature are read."
    )
    qos: QoS = Field(default_factory=QoS, description="What must hold while the network runs.")
    deploy: Deployment = Field(default_factory=Deployment, description="What the device takes in, and keeps.")
    measured: Measured | None = Field(
        default=None, description="Latency and memory by level, written by `profile`."
    )

    @model_validator(mode="after")
    def _variants_are_unique(self) -> DeviceProfile:
        if len(set(self.variants)) != len(self.variants):
            raise ValueError("each variant may be listed once only")
        return self

    @model_validator(mode="after")
    def _the_reserve_leaves_memory(self) -> DeviceProfile:
        if self.qos.memory_reserve_mb >= self.hardware.memory_mb:
            raise ValueError(
                f"qos.memory_reserve_mb, {self.qos.memory_reserve_mb:g}, leaves nothing of hardware.memory_mb, "
                f"{self.hardware.memory_mb}: no level could run"
            )
        return self
