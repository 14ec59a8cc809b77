"""Whatever a plug-in raises becomes an error that names it; no plug-in ends a command."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import Final

from pydantic import ValidationError

from elsa_edge.errors import ElsaError, PluginError, first_line

__all__ = ["REPORT", "blamed", "failure", "first_mistake"]

REPORT: Final = "Leave it out, and report it to whoever wrote it, with --debug"
# Errors of a disk are the machine's, whoever writes.
_OF_THE_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})


def failure(who: str, doing: str, error: BaseException) -> PluginError:
    """Return the error of a plug-in that failed.

    Args:
        who: Its kind and name, such as "The exporter 'acme'".
        doing: What it was asked for, such as "export".
        error: What it raised.
    """
    if isinstance(error, MemoryError):
        return PluginError(f"{who} ran out of memory in {doing}")
    if isinstance(error, SystemExit):
        return PluginError(f"{who} tried to end the program in {doing}", fix=REPORT)
    said, kind = first_mistake(error), type(error).__name__
    return PluginError(f"{who} failed in {doing} ({kind if said == kind else f'{kind}: {said}'})", fix=REPORT)


def first_mistake(error: BaseException) -> str:
    """Return what an error says first; pydantic's own first line says only how many mistakes there are."""
    if not isinstance(error, ValidationError):
        return first_line(error)
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}"


@contextlib.contextmanager
def blamed(who: str, doing: str) -> Iterator[None]:
    """Turn what a plug-in raises into a `PluginError`; errors of ours, of the disk and Ctrl-C go through."""
    try:
        yield
    except (ElsaError, KeyboardInterrupt):
        raise
    except OSError as error:
        if error.errno in _OF_THE_DISK:
            raise
        raise failure(who, doing, error) from error
    except BaseException as error:  # SystemExit among them: a plug-in does not end a command
        raise failure(who, doing, error) from error
