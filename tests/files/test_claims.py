"""Nothing of a person's is overwritten without being asked for."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support.bundles import model
from support.zoo import ZOO, nested_checkpoint

from elsa_edge.cli import cli
from elsa_edge.errors import ElsaError, UsageError
from elsa_edge.files.claims import CANONICAL, NESTED, NOTHING, PROFILE, claim


def nested(path: Path) -> Path:
    nested_checkpoint(ZOO["mlp"])[0].save(path)
    return path


def plain_safetensors(path: Path) -> Path:
    from safetensors.numpy import save_file

    save_file({"w": np.ones(3, np.float32)}, path)
    return path


def test_our_own_kind_may_be_replaced(tmp_path: Path) -> None:
    """A nested checkpoint by another, a canonical graph by another, an empty file by anything."""
    claim(nested(tmp_path / "n.safetensors"), kinds=(NESTED,))
    claim(model("mlp"), kinds=(NESTED, CANONICAL))
    (tmp_path / "empty").touch()
    claim(tmp_path / "empty", kinds=(CANONICAL,))
    (tmp_path / "pi.yaml").write_text("name: pi\n")
    claim(tmp_path / "pi.yaml", kinds=(PROFILE,))
    claim(tmp_path / "new" / "n.safetensors", kinds=(NESTED,))


@pytest.mark.parametrize("kind", [NESTED, CANONICAL, PROFILE])
@pytest.mark.parametrize(
    "make",
    [
        plain_safetensors,
        lambda path: path.write_text("# thesis") and path,
        lambda path: path.write_bytes(b"\x08\x0a plain onnx") and path,
        lambda path: path.write_bytes(b"\xff" * 100) and path,
        lambda path: path.write_bytes(b"\x02\0\0\0\0\0\0\0[]") and path,
    ],
)
def test_another_kind_is_refused_without_force(tmp_path: Path, kind, make) -> None:
    """A trained checkpoint, notes, a network of another tool, noise."""
    path = make(tmp_path / "precious")
    before = path.read_bytes()
    with pytest.raises(UsageError, match=f"is not a {kind.name}"):
        claim(path, kinds=(kind,))
    claim(path, kinds=(kind,), force=True)
    assert path.read_bytes() == before


def test_an_input_is_refused_under_any_of_its_names(tmp_path: Path) -> None:
    """A link and another spelling are the same file."""
    path = nested(tmp_path / "n.safetensors")
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "hard").hardlink_to(path)
    for other in (path, tmp_path / "link", tmp_path / "hard", tmp_path / "." / "n.safetensors"):
        with pytest.raises(UsageError, match="is an input"):
            claim(path, kinds=(NESTED,), inputs=[tmp_path / "nowhere", other])
    claim(path, kinds=(NESTED,), inputs=[path], force=True)


def test_a_folder_or_an_unwritable_place_is_refused_with_force_too(tmp_path: Path) -> None:
    """Force does not help where nothing can be written."""
    with pytest.raises(ElsaError, match="is a folder"):
        claim(tmp_path, kinds=(NESTED,), force=True)
    (tmp_path / "file").touch()
    with pytest.raises(ElsaError, match="cannot be written"):
        claim(tmp_path / "file" / "x", kinds=(NESTED,), force=True)


def test_sparsify_never_overwrites_the_trained_checkpoint(tmp_path: Path) -> None:
    """`sparsify ckpt.pt -o ckpt.pt` is refused before anything is loaded; the bytes stay."""
    path = plain_safetensors(tmp_path / "net.safetensors")
    before = path.read_bytes()
    arguments = ["sparsify", str(path), "--model", "no:where", "--levels", "0.5,0", "-o", str(path)]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert "is an input of this command" in result.output
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net.safetensors"]  # noqa: PTH208 - names alone


def test_nothing_is_written_into_a_bundle_unasked(tmp_path: Path) -> None:
    """At any depth, and by any command: its hashes would not fit any more."""
    bundle = tmp_path / "bundle"
    (bundle / "ort-levels").mkdir(parents=True)
    for name in ("manifest.json", "golden.npz"):
        (bundle / name).write_bytes(b"")
    for place in (bundle / "device.yaml", bundle / "ort-levels" / "new.yaml"):
        with pytest.raises(UsageError, match="lies in the bundle"):
            claim(place, kinds=(PROFILE,))
        claim(place, kinds=(PROFILE,), force=True)
    claim(tmp_path / "device.yaml", kinds=(PROFILE,))


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [(NESTED, "a.safetensors", "a.pt"), (CANONICAL, "a.onnx", "a"), (PROFILE, "a.yml", "a.json")],
)
def test_a_name_by_which_nothing_would_know_the_file_is_refused(kind, good, bad, tmp_path: Path) -> None:
    """`inspect` and the other verbs go by how names end."""
    claim(tmp_path / good, kinds=(kind,))
    with pytest.raises(UsageError, match="a name that ends in"):
        claim(tmp_path / bad, kinds=(kind,))
    claim(tmp_path / bad, kinds=(kind,), force=True)
    claim(tmp_path / bad, kinds=(NOTHING,))


@pytest.mark.parametrize(("given", "wanted"), [("net.pt", "levels.onnx"), ("net.onnx", "levels.safetensors")])
def test_sparsify_writes_no_kind_under_the_name_of_another(given: str, wanted: str, tmp_path: Path) -> None:
    """Before anything is loaded."""
    arguments = ["sparsify", given, "--model", "no:where", "--levels", "0.5,0", "-o", str(tmp_path / wanted)]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert "is the name of a" in result.output
