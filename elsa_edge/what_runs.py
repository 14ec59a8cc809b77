"""Which kernels really run: the variant, its choice of kernels, the threads, and the instruction set taken here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from elsa_edge.bundle.manifest import Variant
from elsa_edge.nested_format.library import instruction_set
from elsa_edge.profiles.schema import Runtime

__all__ = ["WhatRuns", "what_runs"]

# Variants of our own kernels, and what in their library tells the instruction set that was chosen on loading.
_TELLERS: Final = {
    "ort-nested": "elsa_kernels_isa",
    "ort-nested-int8": "elsa_kernels_isa",
    "nested-int8": "elsa_kernels8_isa",
    "nested-float16": "elsa_kernels16_isa",
}


@dataclass(frozen=True, slots=True)
class WhatRuns:
    """What a session runs with.

    Attributes:
        variant: The variant's name.
        runtime: The runtime adapter.
        choice: Which of the variant's choices of kernels.
        threads: Threads within one operator.
        instruction_set: That our kernels have chosen on this machine; None for a runtime's own, which does not tell.
    """

    variant: str
    runtime: str
    choice: str
    threads: int
    instruction_set: str | None

    def __str__(self) -> str:
        """Return one line for people."""
        kernels = (
            f"our kernels for {self.instruction_set}" if self.instruction_set else "the runtime's own kernels"
        )
        return f"{self.variant} ({self.choice}) on {self.runtime}, {kernels}, threads: {self.threads}"


def what_runs(variant: Variant, runtime: Runtime) -> WhatRuns:
    """Return what a variant that was opened runs with."""
    teller = _TELLERS.get(variant.name)
    told = None if teller is None else instruction_set(teller)
    return WhatRuns(variant.name, variant.runtime, runtime.choice, runtime.threads, told)
