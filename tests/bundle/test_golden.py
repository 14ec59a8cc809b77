"""Golden arrays survive the disk, hostile files are refused, and differences are never overlooked."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from elsa_edge.bundle import Golden, largest_difference
from elsa_edge.bundle import golden as golden_module
from elsa_edge.bundle.golden import batches_of
from elsa_edge.errors import BundleError


def small() -> Golden:
    return Golden(
        {"a/b": np.array([[1, 2]], np.int64), "file": np.zeros((1, 1), np.float32)},
        tuple({"out:0": np.full((1, 3), k, np.float32), "10": np.zeros(1, np.uint8)} for k in range(11)),
    )


def test_odd_names_and_many_levels_come_back(tmp_path: Path) -> None:
    """Names with slashes and colons, and levels 1 and 10, are not confused."""
    small().save(tmp_path / "g.npz")
    loaded = Golden.load(tmp_path / "g.npz", 11)

    assert set(loaded.inputs) == {"a/b", "file"}
    assert loaded.inputs["a/b"].dtype == np.int64
    assert [float(outputs["out:0"][0, 0]) for outputs in loaded.outputs] == list(range(11))
    assert set(loaded.outputs[1]) == {"out:0", "10"}


def test_the_same_arrays_give_the_same_bytes(tmp_path: Path) -> None:
    """Building twice gives the same hashes: no clock in the file."""
    small().save(tmp_path / "a.npz")
    small().save(tmp_path / "b.npz")

    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"\x93NUMPY"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """Rubbish gives a sentence, not a zipfile traceback."""
    (tmp_path / "g.npz").write_bytes(content)

    with pytest.raises(BundleError, match="cannot be read"):
        Golden.load(tmp_path / "g.npz", 1)


def test_a_damaged_member_is_refused(tmp_path: Path) -> None:
    """A flipped byte inside the archive is found by its checksum."""
    path = tmp_path / "g.npz"
    small().save(path)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        first = archive.infolist()[0]
        end = first.header_offset + 30 + len(first.filename) + 20 + first.compress_size
    data[end - 5] ^= 0xFF
    path.write_bytes(data)

    with pytest.raises(BundleError, match="cannot be read"):
        Golden.load(path, 11)


def test_a_missing_level_is_refused(tmp_path: Path) -> None:
    """A golden file of 11 levels does not serve 12."""
    small().save(tmp_path / "g.npz")

    with pytest.raises(BundleError, match="incomplete"):
        Golden.load(tmp_path / "g.npz", 12)


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    """Object arrays are refused on the way out and on the way in."""
    objects = np.array([{"a": 1}], object)
    with pytest.raises(BundleError, match="Python objects"):
        Golden({"x": objects}, ({"y": np.zeros(1)},)).save(tmp_path / "g.npz")
    np.savez(tmp_path / "h.npz", **{"input/x": objects, "output/0/y": np.zeros(1)})

    with pytest.raises(BundleError, match="cannot be read"):
        Golden.load(tmp_path / "h.npz", 1)


def test_an_archive_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unpacked size is limited before anything is unpacked."""
    monkeypatch.setattr(golden_module, "LARGEST_BYTES", 10_000)
    with zipfile.ZipFile(tmp_path / "g.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("input/x.npy", bytes(1_000_000))

    with pytest.raises(BundleError, match="too large"):
        Golden.load(tmp_path / "g.npz", 1)


@pytest.mark.parametrize(
    ("found", "expected", "difference"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.5),
        ([np.nan, np.inf], [np.nan, np.inf], 0.0),
        ([np.nan], [1.0], np.inf),
        ([np.inf], [-np.inf], np.inf),
        ([-3e38], [-np.inf], 0.0),
        ([1e31, 1.0], [2e31, 1.0], 0.0),
        ([1e31], [-1e31], np.inf),
        ([1e31], [1.0], np.inf),
        ([9e29], [0.0], 9e29),
        ([1.0], [np.nan], np.inf),
        ([1.0, 2.0], [1.0], np.inf),
        ([], [], 0.0),
    ],
)
def test_the_largest_difference(found: list[float], expected: list[float], difference: float) -> None:
    """Shapes, NaN and infinity count; nothing is averaged away."""
    assert largest_difference(np.array(found), np.array(expected))[0] == difference


def test_integers_and_booleans_are_compared_without_wrapping() -> None:
    """uint8 0 against 255 differs by 255; booleans by 1."""
    assert largest_difference(np.uint8([0]), np.uint8([255]))[0] == 255.0
    assert largest_difference(np.array([True]), np.array([False]))[0] == 1.0


def test_further_batches_come_back(tmp_path: Path) -> None:
    """Another batch size has inputs and outputs of its own."""
    other = Golden({"x": np.ones((3, 2))}, ({"y": np.ones((3, 1))}, {"y": np.zeros((3, 1))}))
    golden = Golden({"x": np.ones((2, 2))}, ({"y": np.ones((2, 1))}, {"y": np.zeros((2, 1))}), (other,))
    golden.save(tmp_path / "g.npz")
    loaded = Golden.load(tmp_path / "g.npz", 2)

    assert [batch.inputs["x"].shape for batch in loaded.batches] == [(2, 2), (3, 2)]
    assert loaded.further[0].outputs[0]["y"].shape == (3, 1)
    assert loaded.inputs.keys() == {"x"}


def test_a_further_batch_without_an_output_is_refused(tmp_path: Path) -> None:
    """It must have what the first has."""
    other = Golden({"x": np.ones(3)}, ({"z": np.ones(3)},))
    Golden({"x": np.ones(2)}, ({"y": np.ones(2)},), (other,)).save(tmp_path / "g.npz")

    with pytest.raises(BundleError, match="incomplete"):
        Golden.load(tmp_path / "g.npz", 1)


@pytest.mark.parametrize(
    "strange",
    [
        np.array(["x", "y"]),
        np.zeros(2, [("a", "f4"), ("b", "i8")]),
        np.array([1 + 5j, 2]),
        np.array(["now"], "M8[s]"),
    ],
    ids=["text", "records", "complex", "dates"],
)
def test_golden_numbers_are_real_numbers(tmp_path: Path, strange: np.ndarray) -> None:
    """Text cannot be compared, and of complex numbers half would be dropped."""
    np.savez(tmp_path / "g.npz", **{"input/x": np.ones(2), "output/0/y": strange})

    with pytest.raises(BundleError, match="is not one of ours"):
        Golden.load(tmp_path / "g.npz", 1)


PARTS = ("input/x", "output/0/y")


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (
            [
                "input/x",
                "output/0/y",
                *(f"further/{k}/{part}" for k in range(9) for part in ("input/x", "output/0/y")),
            ],
            "8",
        ),
        (["input/x", "output/0/y", "further/1/input/x", "further/1/output/0/y"], "numbered from 0"),
        (["input/x", "output/0/y", "notes"], "'notes'"),
        (["input/x"], "incomplete"),
        (["output/0/y"], "incomplete"),
        (["input/x", "output/0/y", "output/\u0661/y"], "is not one of ours"),  # an Arabic 1
        (["input/x", "output/0/y", "further/0/input/x"], "incomplete"),
    ],
)
def test_names_are_looked_at_before_anything_is_unpacked(
    tmp_path: Path, entries: list[str], words: str
) -> None:
    """Each batch is run at every level of every variant: there are few, and all of each is there."""
    with zipfile.ZipFile(tmp_path / "g.npz", "w") as archive:
        for name in entries:
            archive.writestr(f"{name}.npy", b"no array, and nobody reads it")

    with pytest.raises(BundleError, match=words):
        Golden.load(tmp_path / "g.npz", 1)


def test_names_of_tensors_may_hold_anything() -> None:
    """Line breaks and slashes too: only what stands before them is ours."""
    assert batches_of(["input/a\nb/c", "output/0/y"], "g.npz", 1) == 0


def test_a_hundred_thousand_entries_are_the_most() -> None:
    """One more is refused."""
    names = ["input/x", *(f"output/0/y{k}" for k in range(99_999))]
    assert batches_of(names, "g.npz", 1) == 0
    with pytest.raises(BundleError, match="100001 entries"):
        batches_of([*names, "output/0/z"], "g.npz", 1)
