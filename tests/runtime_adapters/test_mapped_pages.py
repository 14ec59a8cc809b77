"""Pages that only loading touched are given back; what a process has written into a mapping never is."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from elsa_edge.runtime_adapters.mapped_pages import release_clean_pages, resident_bytes

SIZE = 1 << 20


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some weights.data"
    path.write_bytes(np.arange(SIZE, dtype=np.uint8).tobytes())
    return path


def private(path: Path) -> mmap.mmap:
    """Map a file as ONNX Runtime does: privately, writable."""
    with path.open("rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)


def test_read_pages_go_and_come_back(file):
    """Nothing of the file is resident afterwards, its contents are, and the pages read again are the only ones."""
    with private(file) as mapped:
        before = mapped[:]
        assert resident_bytes(file) == SIZE
        assert release_clean_pages(file) == SIZE
        assert resident_bytes(file) == 0
        assert mapped[:10] == before[:10]
        assert 0 < resident_bytes(file) < SIZE
        assert mapped[:] == before


def test_written_pages_stay(file):
    """A mapping with a page of its own keeps all of them; another mapping of the same file does not."""
    with private(file) as written, private(file) as read:
        written[5] = 99
        assert len(written[:]) == len(read[:]) == SIZE
        assert release_clean_pages(file) == SIZE
        assert resident_bytes(file) == SIZE
        assert written[5] == 99


def test_other_files_stay(file, tmp_path):
    """A file whose name only begins alike is not touched, and one that is not mapped is nothing."""
    longer = Path(f"{file}.old")
    longer.write_bytes(file.read_bytes())
    with private(longer) as mapped:
        assert len(mapped[:]) == SIZE
        assert release_clean_pages(file) == 0
        assert resident_bytes(longer) == SIZE
    assert release_clean_pages(tmp_path / "absent") == 0
