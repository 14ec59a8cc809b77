"""Two paths change places in one step: renameat2(2) with RENAME_EXCHANGE, which Python does not offer.

Linux 3.15 or newer, on ext4, xfs, btrfs, f2fs, tmpfs and overlayfs. Elsewhere (vfat, NFS, macOS) nothing happens and
the caller has to rename twice.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from typing import Final

__all__ = ["exchange"]

_HERE: Final = -100  # AT_FDCWD: paths are relative to the working directory
_EXCHANGE: Final = 2  # RENAME_EXCHANGE
_CANNOT: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EXDEV})


def exchange(one: Path, other: Path) -> bool:
    """Let two existing paths change places; return False where the system cannot do that in one step.

    Raises:
        OSError: When it can and did not (no permission, a path is gone).
    """
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    if rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(other))
