"""Files: written whole or not at all, locked, held and claimed. Every file of ours is written through here.

writing.py    a destination changes in one step or not at all; hashes
exchange.py   two paths change places in one step
locks.py      locks that end with their holder
pins.py       a running session keeps the bundle that it opened
claims.py     may a command write there?
scratch.py    folders for a while, swept when their process is gone
"""

from elsa_edge.files.scratch import scratch_folder
from elsa_edge.files.writing import (
    atomic_directory,
    atomic_file,
    require_writable,
    sha256_of,
    sweep,
    write_bytes,
)

__all__ = [
    "atomic_directory",
    "atomic_file",
    "require_writable",
    "scratch_folder",
    "sha256_of",
    "sweep",
    "write_bytes",
]
