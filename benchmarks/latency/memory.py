"""Memory of a session with nested levels against a dense one, each in a fresh process, and what a switch allocates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.common import Row, anonymous_bytes, in_subprocess
from benchmarks.common.sessions import INPUT, dense_session, open_variant, profile_for
from elsa_edge.bundle.manifest import Variant

__all__ = ["dense_bytes", "memory_row", "nested_bytes"]

_SWITCHES: Final = 100


def _status_bytes(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"this kernel's status has no {key}")


def dense_bytes(model: str, inputs: str) -> int:
    """Return the anonymous bytes that a dense session and a run add to this fresh process."""
    feed = {INPUT: np.load(inputs)}
    import onnxruntime  # noqa: F401 - the runtime itself is not the session's memory

    before = anonymous_bytes()
    session = dense_session(Path(model), profile_for("ort-nested"))
    session.run(None, feed)
    return anonymous_bytes() - before


def _growth(work: Callable[[], object]) -> tuple[int, int]:
    """Return by how many bytes anonymous memory has grown after `work`, and by how many the most was above it."""
    before = anonymous_bytes()
    resident = _status_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    work()
    return anonymous_bytes() - before, _status_bytes("VmHWM") - resident


def nested_bytes(folder: str, inputs: str) -> dict[str, Any]:
    """Return memory of our variant in this fresh process: at level 0, with all levels used, and while switching."""
    import onnxruntime  # noqa: F401 - as above

    from elsa_edge.runtime_adapters.mapped_pages import resident_bytes

    place = Path(folder)
    variant = Variant.model_validate_json((place / "variant.json").read_text())
    feed = {INPUT: np.load(inputs)}
    data = place / variant.files["data"]
    before = anonymous_bytes()
    adapter = open_variant(place, variant, profile_for("ort-nested").runtime)
    adapter.run(feed, 0)
    at_level_0 = {"file_pages": resident_bytes(data), "anonymous": anonymous_bytes() - before}
    count = adapter.level_count
    for level in range(count):
        adapter.run(feed, level)
    anonymous = anonymous_bytes() - before

    def stay() -> None:
        for level in range(count):
            for _ in range(_SWITCHES // 5 // count + 1):
                adapter.run(feed, level)

    def switch() -> None:
        for number in range(_SWITCHES):
            adapter.run(feed, number % count)

    for warming in (stay, switch):  # what the allocators keep, they have after the first times
        warming()
    stay_grows, stay_peak = _growth(stay)
    switch_grows, switch_peak = _growth(switch)
    return {
        "level_0_bytes": variant.level_bytes[0],
        "level_0_file_pages": at_level_0["file_pages"],
        "level_0_anonymous": at_level_0["anonymous"],
        "anonymous": anonymous,
        "staying_grows": stay_grows,
        "staying_peak": stay_peak,
        "switching_grows": switch_grows,
        "switching_peak": switch_peak,
    }


def memory_row(dense_model: Path, nested: Path, inputs: Path) -> Row:
    """Measure a network's dense and `ort-nested` sessions, in processes of their own.

    Args:
        dense_model: The dense network.
        nested: Folder of the variant, with its description as `variant.json`.
        inputs: `.npy` of the only input.
    """
    dense = in_subprocess("benchmarks.latency.memory:dense_bytes", str(dense_model), str(inputs))
    found = in_subprocess("benchmarks.latency.memory:nested_bytes", str(nested), str(inputs))
    return {"engine": "memory, bytes", "dense_anonymous": dense, **found}
