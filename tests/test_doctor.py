"""Each trap on a machine that has it: what doctor finds, and its remedy."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from elsa_edge.doctor import Machine, Start, examine
from elsa_edge.doctor.machine import _start
from elsa_edge.doctor.runtimes import extras

CORES = "processor\t: 0\nprocessor\t: 1\nprocessor\t: 2\nprocessor\t: 3\n"


@pytest.mark.parametrize(
    ("machine", "what", "state", "words"),
    [
        ({"python": (3, 9, 2)}, "Python", "problem", "3.11"),
        ({"packages": {}}, "runtimes", "problem", "pip install onnxruntime"),
        ({"packages": {}, "architecture": "armv7l"}, "runtimes", "problem", "tflite-runtime"),
        (
            {"packages": {"tflite-runtime": "2.14.0", "numpy": "2.4.6"}},
            "tflite-runtime",
            "problem",
            "numpy<2",
        ),
        ({"packages": {"onnxruntime": "1.19.2"}}, "onnxruntime", "problem", "1.22"),
        ({"packages": {"onnxruntime": "1.23.2"}}, "onnxruntime", "note", "1.31.1"),
        (
            {
                "architecture": "aarch64",
                "cpuinfo": "Features\t: fp asimd\n",
                "packages": {"onnxruntime": "1.21.0"},
            },
            "instructions",
            "problem",
            "Illegal instruction",
        ),
        ({"architecture": "x86_64", "cpuinfo": "flags\t: sse4_2\n"}, "instructions", "note", "AVX2"),
        ({"page_bytes": 16384}, "memory pages", "note", "16 KiB"),
        ({"meminfo": "MemAvailable: 30000 kB\n"}, "free memory", "note", "ort-levels"),
        ({}, "free memory", "note", "cannot heed"),
        ({"governor": "powersave"}, "CPU governor", "note", "performance"),
        (
            {"pressure": "some avg10=42.00 avg60=1 avg300=1 total=1\n"},
            "memory pressure",
            "note",
            "needs the memory",
        ),
        ({"thermal": "85000"}, "temperature", "note", "cool it"),
        ({"throttled": "50005\n"}, "throttling", "note", "supply that belongs"),
        ({"throttled": "80000\n"}, "throttling", "note", "Cool it"),
        ({"x86_throttled": "3\n"}, "throttling", "note", "cool it"),
        (
            {"cgroup": "0::/app\n", "cpu.max": "50000 100000\n", "cpuinfo": CORES},
            "processor limit",
            "note",
            "at most 1",
        ),
        (
            {"cgroup": "4:cpu,cpuacct:/app\n", "quota": "150000", "period": "100000", "cpuinfo": CORES},
            "processor limit",
            "note",
            "CPUQuota",
        ),
        ({"cgroup": "0::/app\n", "memory.max": "30000000\n"}, "memory limit", "note", "MemoryMax="),
        ({"start": Start(-4)}, "onnxruntime", "problem", "Illegal instruction"),
        ({"start": Start(-11)}, "onnxruntime", "problem", "signal 11"),
        (
            {"start": Start(1, "ImportError: ELF load command address/offset not page-aligned")},
            "onnxruntime",
            "problem",
            "kernel8.img",
        ),
        ({"start": Start(1, "ImportError: libgomp.so.1: no such file")}, "numpy", "problem", "libgomp"),
    ],
)
def test_doctor_knows_the_traps(
    tmp_path: Path, machine: dict[str, Any], what: str, state: str, words: str
) -> None:
    """Each trap on a machine that has it."""
    files = {
        "cpuinfo": "proc/cpuinfo",
        "meminfo": "proc/meminfo",
        "pressure": "proc/pressure/memory",
        "governor": "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
        "thermal": "sys/class/thermal/thermal_zone0/temp",
        "throttled": "sys/devices/platform/soc/soc:firmware/get_throttled",
        "x86_throttled": "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count",
        "cgroup": "proc/self/cgroup",
        "cpu.max": "sys/fs/cgroup/app/cpu.max",
        "quota": "sys/fs/cgroup/cpu/app/cpu.cfs_quota_us",
        "period": "sys/fs/cgroup/cpu/app/cpu.cfs_period_us",
        "memory.max": "sys/fs/cgroup/app/memory.max",
    }
    for key, path in files.items():
        if key in machine:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(machine.pop(key))
    packages = machine.pop("packages", {"onnxruntime": "1.31.1", "numpy": "2.4.6"})
    start = machine.pop("start", Start(0))
    seen = Machine(root=tmp_path, installed=packages.get, start=lambda _: start, cache=None, **machine)
    found = {f.what: f for f in examine(seen)}
    assert found[what].state == state
    assert words in str(found[what].advice)


def test_a_machine_without_limits_has_none_to_tell(tmp_path: Path) -> None:
    """`max`, the largest integer of v1, and a share of all processors are no limits."""
    for path, text in {
        "proc/self/cgroup": "0::/\n5:memory:/\n", "proc/cpuinfo": CORES, "sys/fs/cgroup/cpu.max": "max 100000\n",
        "sys/fs/cgroup/memory.max": "max\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    }.items():  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    found = [f.what for f in examine(Machine(root=tmp_path, installed={}.get, start=lambda _: Start(0)))]

    assert "processor limit" not in found
    assert "memory limit" not in found


def test_what_nothing_has_used_for_a_month_is_told(tmp_path: Path) -> None:
    for name, days in (("ort-old", 40), ("ort-new", 1)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.ort").write_bytes(bytes(3_000_000))
        then_s = time.time() - days * 86_400
        for path in (tmp_path / name / "model.ort", tmp_path / name):
            os.utime(path, (then_s, then_s))
    machine = Machine(root=tmp_path, installed={}.get, start=lambda _: Start(0), cache=tmp_path)
    (cache,) = (f for f in examine(machine) if f.what == "cache")

    assert cache.state == "note"
    assert cache.found == f"6 MB in {tmp_path}, 3 MB of it unused for 30 days"
    assert str(cache.advice).startswith(f"rm -r {tmp_path}")


def test_an_import_that_kills_its_process_kills_no_doctor(tmp_path: Path, monkeypatch) -> None:
    """A module that dies as one does with instructions which the processor has not, and one that only fails."""
    (tmp_path / "newer.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    (tmp_path / "broken.py").write_text("raise ImportError('no such library')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    assert _start("newer").status == -4
    assert _start("broken") == Start(1, "ImportError: no such library")
    assert _start("json") == Start(0)


def test_kernels_that_are_not_compiled_are_a_note(tmp_path: Path, monkeypatch) -> None:
    """With what cannot run and the command that helps; nothing else is wrong."""
    monkeypatch.setenv("ELSA_KERNELS_LIBRARY", str(tmp_path / "absent.so"))
    (found,) = (finding for finding in extras(Machine()) if finding.what == "sparse kernels")
    assert (found.found, found.state) == ("not compiled", "note")
    assert "elsa_edge.runtime_adapters.kernels.build" in (found.advice or "")
