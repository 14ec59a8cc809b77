"""The nested checkpoint format."""

from __future__ import annotations

import json
import resource
import signal

import numpy as np
import pytest
from safetensors.numpy import save_file

from elsa_edge.checkpoint import NestedCheckpoint
from elsa_edge.errors import CheckpointError, ElsaError
from elsa_edge.levels import NEVER, Ladder


def make(**changes):
    parts = {
        "weights": {
            "w": np.array([[1.0, -2.0], [3.0, -4.0]], np.float32),
            "b": np.array([5.0, 6.0], np.float32),
            "count": np.array(7, np.int64),
        },
        "indices": {"w": np.array([[NEVER, 1], [1, 0]], np.uint8)},
        "tables": {"b": np.array([[1.0, 2.0], [5.0, 6.0]], np.float32)},
        "ladder": Ladder.from_sparsities([0.75, 0.25]),
        "provenance": {"method": "test"},
    }
    return NestedCheckpoint(**(parts | changes))


def test_a_file_brings_back_everything(tmp_path):
    """Names, shapes (scalars too), types, bits, ladder with measured densities, provenance."""
    make().save(tmp_path / "c.safetensors")
    found = NestedCheckpoint.load(tmp_path / "c.safetensors")
    for part in ("weights", "indices", "tables"):
        ours, theirs = getattr(make(), part), getattr(found, part)
        assert list(ours) == sorted(theirs) or set(ours) == set(theirs)
        for name, array in ours.items():
            assert theirs[name].dtype == array.dtype
            assert theirs[name].shape == array.shape
            assert theirs[name].tobytes() == array.tobytes()
    assert [level.density for level in found.ladder] == [0.25, 0.75]
    assert found.provenance == {"method": "test"}


def test_the_file_is_what_the_format_page_says(tmp_path):
    """Keys and metadata by name, so that other programs can read it."""
    make().save(tmp_path / "c.safetensors")
    content = (tmp_path / "c.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert set(header) == {"__metadata__", "w", "b", "count", "w.level_index", "b.levels"}
    assert header["w.level_index"]["dtype"] == "U8"
    assert header["__metadata__"]["elsa_edge.format"] == "1"


def test_a_level_is_masked_weights_and_its_row(tmp_path):
    """`at_level` zeroes what is inactive and takes the level's row of each table."""
    state = make().at_level(0)
    assert state["w"].tolist() == [[0.0, 0.0], [0.0, -4.0]]
    assert state["b"].tolist() == [1.0, 2.0]
    assert state["count"] == 7


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"indices": {"x": np.zeros((2, 2), np.uint8)}}, "no such weight"),
        ({"indices": {"w": np.zeros((2, 3), np.uint8)}}, "wrong shape"),
        ({"indices": {"w": np.full((2, 2), 9, np.uint8)}}, "levels that are not in the ladder"),
        ({"tables": {"x": np.zeros((2, 2), np.float32)}}, "no such tensor"),
        ({"tables": {"b": np.zeros((3, 2), np.float32)}}, "wrong shape"),
        ({"tables": {"w": np.zeros((2, 2, 2), np.float32)}}, "either nested or"),
    ],
)
def test_contradictions_are_refused(changes, problem):
    """Parts that do not belong together never become a checkpoint."""
    with pytest.raises(CheckpointError, match=problem):
        make(**changes)


class TestBadFiles:
    def test_missing(self, tmp_path):
        """A path without a file is named."""
        with pytest.raises(CheckpointError, match="There is no checkpoint at"):
            NestedCheckpoint.load(tmp_path / "none.safetensors")

    @pytest.mark.parametrize("keep", [0, 7, 100, -5])
    def test_cut_off(self, tmp_path, keep):
        """A truncated file is an error, never a partial network."""
        path = tmp_path / "c.safetensors"
        make().save(path)
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(CheckpointError, match="cannot be read"):
            NestedCheckpoint.load(path)

    def test_dense(self, tmp_path):
        """An ordinary safetensors file is told apart, with the command that makes a nested one."""
        save_file({"w": np.zeros(2, np.float32)}, tmp_path / "d.safetensors")
        with pytest.raises(CheckpointError, match="elsa-edge sparsify"):
            NestedCheckpoint.load(tmp_path / "d.safetensors")

    @pytest.mark.parametrize("ladder", ["", "{}", '{"levels": [{"name": "a", "sparsity": 1.5}]}'])
    def test_damaged_ladder(self, tmp_path, ladder):
        """Metadata is checked like the rest."""
        metadata = {"elsa_edge.format": "1", "elsa_edge.ladder": ladder}
        save_file({"w": np.zeros(2, np.float32)}, tmp_path / "d.safetensors", metadata)
        with pytest.raises(CheckpointError, match="damaged"):
            NestedCheckpoint.load(tmp_path / "d.safetensors")


def test_a_full_disk_is_a_sentence(tmp_path):
    """Its writer raises a class of its own; the old file stays."""
    path = tmp_path / "n.safetensors"
    make().save(path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(ElsaError, match="it is as it was before"):
            make().save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["n.safetensors"]
