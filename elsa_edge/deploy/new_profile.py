"""From what a device said about itself to its first device profile; pure. People set the budget in it afterwards."""

from __future__ import annotations

from typing import Final

from elsa_edge.deploy.errors import DeviceError
from elsa_edge.deploy.facts import DeviceFacts
from elsa_edge.profiles.schema import DeviceProfile, Hardware, Probes, QoS, Runtime

__all__ = ["profile_of"]

_MB: Final = 1_000_000
# Beyond this many, threads of one small operator wait for each other.
_MOST_THREADS: Final = 4
_RESERVE_SHARE: Final = 1 / 32
_VARIANTS: Final = {
    "x86-64": ("ort-nested", "ort-switch", "ort-levels"),
    "aarch64": ("ort-switch", "ort-levels", "tflite-levels"),
    "armv7l": ("tflite-levels", "tflite-sparse"),
}


def profile_of(name: str, facts: DeviceFacts) -> DeviceProfile:
    """Return a profile with the device's hardware, no latency budget, and memory to spare for the rest.

    Raises:
        DeviceError: When its architecture is not one that networks can be built for.
    """
    if facts.arch is None:
        raise DeviceError(
            f"{name} has an architecture that nothing can be built for",
            found=facts.machine,
            allowed=("x86-64", "aarch64", "armv7l"),
        )
    threads = min(facts.cores, _MOST_THREADS)
    runtime = "litert" if facts.arch == "armv7l" else "onnxruntime"
    return DeviceProfile(
        name=name,
        description=f"{facts.model}, as it said about itself",
        hardware=Hardware(
            arch=facts.arch,
            os=facts.os,
            cpu=facts.model,
            cores=facts.cores,
            memory_mb=max(1, facts.memory_bytes // _MB),
            features=facts.features,
        ),
        runtime=Runtime(name=runtime, threads=threads),
        variants=_VARIANTS[facts.arch],
        probes=Probes(cgroup=None) if facts.os == "android" else Probes(),
        qos=QoS(memory_reserve_mb=float(max(16, round(facts.memory_bytes * _RESERVE_SHARE / _MB)))),
    )
