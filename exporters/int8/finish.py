"""From choices to the finished file: what does not keep its promise there is written again without it.

    mixed levels       not where the file changes too many answers
    faster levels      dense, where they are not faster in the finished file
    dense levels       also a plain file each, where the network is short and the file makes one more than 3 % slower

Choices are timed alone, in a file without branches; on networks of a fraction of a millisecond a branch is noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from elsa_edge.exporters.int8.choose import Choice, require_faster_level, where_faster
from elsa_edge.exporters.int8.judge import Judgement
from elsa_edge.exporters.nested.timing import LARGEST_OVERHEAD

__all__ = ["Finished", "Written", "finish"]


@dataclass(frozen=True, slots=True)
class Written:
    """A file.

    Attributes:
        level_bytes: Bytes of weights that each level reads.
        judged: How far each level is from the float network.
    """

    level_bytes: tuple[int, ...]
    judged: Sequence[Judgement]


@dataclass(frozen=True, slots=True)
class Finished:
    """The last file, and what was decided on the way.

    Attributes:
        choices: Of each level.
        written: The file.
        plain: Levels with a file of their own.
        over_dense: Time of each level of the file over the dense 8-bit network's, where it was timed.
    """

    choices: Sequence[Choice]
    written: Written
    plain: tuple[int, ...]
    over_dense: tuple[float, ...] | None


def finish(
    choices: Sequence[Choice],
    write: Callable[[Sequence[Choice], Collection[int]], Written],
    good: Callable[[Judgement], bool],
    time: Callable[[Sequence[Choice]], Sequence[float]],
    short: Callable[[], bool],
) -> Finished:
    """Write the file until it keeps what the choices promise.

    Args:
        choices: Of each level.
        write: Writes the file for choices and for the levels that get one of their own.
        good: Tells whether a level is still the same network.
        time: Returns the time of each level of the last file over the dense 8-bit network's.
        short: Tells whether that network is so short that looking up a level is noticed.

    Raises:
        ExportError: When no level is faster than that network.
    """
    require_faster_level(choices)
    written = write(choices, ())
    if any(choice.kind == "mixed" for choice in choices) and not all(map(good, written.judged)):
        choices = [choice.unmixed() for choice in choices]
        require_faster_level(choices)
        written = write(choices, ())
    if choices[-1].by != "timing":
        return Finished(choices, written, (), None)
    while True:
        ratios = time(choices)
        settled = where_faster(choices, ratios)
        if settled == list(choices):
            break
        require_faster_level(settled)
        choices, written = settled, write(settled, ())
    dense = [level for level, choice in enumerate(choices) if choice.kind == "dense"]
    slow = any(ratios[level] > LARGEST_OVERHEAD for level in dense) and short()
    if slow:
        written = write(choices, dense)
    return Finished(choices, written, tuple(dense) if slow else (), tuple(ratios))
