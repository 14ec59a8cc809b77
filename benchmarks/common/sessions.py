"""How networks are opened for measuring, without torch or any exporter: also for processes that weigh memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from elsa_edge.bundle.manifest import Variant
from elsa_edge.plugins import Opened
from elsa_edge.plugins.installed import find_adapter
from elsa_edge.profiles import load_profile
from elsa_edge.profiles.schema import DeviceProfile, Runtime

__all__ = ["INPUT", "dense_session", "open_variant", "profile_for"]

INPUT: Final = "input"


def profile_for(variant: str) -> DeviceProfile:
    """Return this kind of machine's profile with one thread and one variant."""
    base = load_profile("generic-x86-64")
    runtime = base.runtime.model_copy(update={"threads": 1})
    return base.model_copy(update={"variants": (variant,), "runtime": runtime})


def dense_session(path: Path, profile: DeviceProfile) -> Any:
    """Open the plain dense network in ONNX Runtime as the profile says."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = profile.runtime.threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = profile.runtime.arena
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def open_variant(folder: Path, variant: Variant, runtime: Runtime) -> Opened:
    """Open a variant of one of our exporters, which say what each level weighs, as an application would."""
    adapter = find_adapter(variant.runtime)
    count = len(variant.level_bytes)
    return adapter.open(folder, variant, level_count=count, runtime=runtime, cache=None)
