"""A variant whose level may change inside an inference: a chain of segments, each a small variant of another kind.

segment_0 at level 2 -> border: is there time? -> segment_1 at level 2 -> border: no -> segment_2 at level 0
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, Tag, model_validator

from elsa_edge.bundle.kinds import OTHER, Nested, Other, Selector, Strict, Switch, TfliteSignatures, by_kind

__all__ = ["SWITCH_POINTS", "Rerouted", "Segment", "SwitchPoint", "segment_role"]

SWITCH_POINTS: Final = "switch_points"  # role of the answers at each switch point of a rerouted variant


def segment_role(segment: int, role: str) -> str:
    """Return the role that a file of a segment has in the whole variant."""
    return f"segment_{segment}.{role}"


_Whole = Annotated[
    Annotated[Selector, Tag("selector")]
    | Annotated[Switch, Tag("switch")]
    | Annotated[Nested, Tag("nested")]
    | Annotated[TfliteSignatures, Tag("tflite-signatures")]
    | Annotated[Other, Tag(OTHER)],
    by_kind("a kind with all levels in one file"),
]


class Segment(Strict):
    """One part of a rerouted network: a small variant with a level of its own.

    Attributes:
        instructions: How it is run.
        inputs: Names of the tensors that it reads: inputs of the network, or made by segments before it.
        outputs: Names of the tensors that it makes.
        work: Its part of the network's work at each level, in [0, 1]; what is believed of its time before it ran.
        level_bytes: Bytes of weights that each level needs in memory.
    """

    instructions: _Whole
    inputs: tuple[str, ...] = Field(min_length=1)
    outputs: tuple[str, ...] = Field(min_length=1)
    work: tuple[Annotated[float, Field(ge=0, le=1)], ...]
    level_bytes: tuple[Annotated[int, Field(ge=0)], ...] = ()


class SwitchPoint(Strict):
    """One way to change the level inside an inference, and what it costs in accuracy.

    Attributes:
        levels: The level of each segment, never rising.
        accuracy: Task metric of an inference that runs like this, in [0, 1]; null until it is evaluated.
    """

    levels: tuple[Annotated[int, Field(ge=0, lt=255)], ...]
    accuracy: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _never_rises(self) -> SwitchPoint:
        if list(self.levels) != sorted(self.levels, reverse=True):
            raise ValueError("levels must not rise along the depth")
        return self


class Rerouted(Strict):
    """A chain of segments, between which the level may become sparser. Files are `segment_K.ROLE`.

    Attributes:
        segments: In the order in which they run.
        switch_points: What was proved when it was built, in the order of the answers in the file `switch_points`.
    """

    kind: Literal["rerouted"] = "rerouted"
    segments: tuple[Segment, ...] = Field(min_length=2, max_length=16)
    switch_points: tuple[SwitchPoint, ...] = Field(min_length=1, max_length=64)

    def roles(self, level_count: int) -> tuple[str, ...]:
        """Return the roles of all segments, and the answers that prove them."""
        for number, segment in enumerate(self.segments):
            for what, told in (("work", segment.work), ("level_bytes", segment.level_bytes or segment.work)):
                if len(told) != level_count:
                    raise ValueError(f"{what} of segment {number} must have one entry per level")
        for point in self.switch_points:
            if len(point.levels) != len(self.segments) or max(point.levels) >= level_count:
                raise ValueError("a switch point must have a level of the ladder for each segment")
        parts = (
            segment_role(number, role)
            for number, segment in enumerate(self.segments)
            for role in segment.instructions.roles(level_count)
        )
        return (*parts, SWITCH_POINTS)
