"""Facts about a machine that decide whether networks run on it, each with its remedy where one is needed.

Every reader takes a root prefix, so that a test can show it another machine. Known traps come from the issue trackers
of the runtimes: wheels built for newer ARM cores than the Pi 4's (Illegal instruction), tflite-runtime against
NumPy 2, no onnxruntime wheel for 32-bit ARM or old Pythons, 16 KiB pages.
"""

from __future__ import annotations

from elsa_edge.doctor.machine import Finding, Machine, Start
from elsa_edge.doctor.power import power
from elsa_edge.doctor.processor import processor, python
from elsa_edge.doctor.resources import caches, limits, memory
from elsa_edge.doctor.runtimes import extras, runtimes

__all__ = ["Finding", "Machine", "Start", "examine"]


def examine(machine: Machine | None = None) -> list[Finding]:
    """Return everything that was found, the basics first."""
    seen = machine or Machine()
    looks = (python, processor, runtimes, extras, memory, limits, caches, power)
    return [finding for look in looks for finding in look(seen)]
