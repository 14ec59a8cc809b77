"""A bundle opens only when it is exactly what its manifest says, and is written whole or not at all."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from support.bundle_files import LADDER, edit, fill

from elsa_edge.bundle import open_bundle, write_bundle
from elsa_edge.bundle.manifest import FILE_NAME, RelativePath
from elsa_edge.errors import BundleError, ElsaError, UnknownNameError
from elsa_edge.tensors import TensorSpec


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return fill(tmp_path / "bundle")


def test_a_bundle_comes_back_as_written(bundle: Path) -> None:
    """Ladder, tensors, golden arrays and variant paths survive the way to the disk and back."""
    opened = open_bundle(bundle)

    assert opened.ladder.sparsities == LADDER.sparsities
    assert opened.inputs["x"] == TensorSpec("x", (None, 4))
    assert opened.manifest.variant("plain").files == {
        "model": "plain/model.onnx",
        "data": "plain/sub/data.bin",
    }
    np.testing.assert_array_equal(opened.golden.outputs[1]["y"], np.ones((1, 2), np.float32))
    assert sorted(path.name for path in bundle.parent.iterdir()) == ["bundle"]


def test_an_unknown_variant_is_named_with_what_there_is(bundle: Path) -> None:
    """The error lists the variants of the bundle and the nearest one."""
    with pytest.raises(UnknownNameError, match=r"Allowed: plain\. Nearest: 'plain'"):
        open_bundle(bundle).manifest.variant("plane")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda b: (b / "plain/model.onnx").unlink(), "plain/model.onnx is missing"),
        (lambda b: (b / "plain/model.onnx").write_bytes(b"weightz"), "SHA-256 differs"),
        (lambda b: (b / "plain/model.onnx").write_bytes(b"weights+"), "size differs"),
        (lambda b: (b / "golden.npz").write_bytes(b""), "golden.npz has changed"),
        (lambda b: (b / "plain/extra.bin").write_bytes(b"?"), "plain/extra.bin"),
        (lambda b: (b / "plain/link").symlink_to("/etc"), "plain/link"),
        (lambda b: (b / FILE_NAME).unlink(), "is not a bundle"),
        (lambda b: (b / FILE_NAME).write_text("[]"), "not a manifest"),
        (lambda b: (b / FILE_NAME).write_text('{"format": 1'), "not a manifest"),
        (lambda b: (b / FILE_NAME).write_bytes(b"\xff\xfe\x00"), "not a manifest"),
        (lambda b: (b / FILE_NAME).write_text("[" * 100_000), "not a manifest"),
    ],
)
def test_a_damaged_bundle_is_refused(bundle: Path, harm: object, words: str) -> None:
    """Missing, changed and extra files and a broken manifest are each named in the error."""
    harm(bundle)  # type: ignore[operator]

    with pytest.raises(BundleError, match=words):
        open_bundle(bundle)


def test_a_link_in_place_of_a_file_is_refused_even_with_the_right_content(
    bundle: Path, tmp_path: Path
) -> None:
    """A symbolic link to identical bytes outside is not a file of the bundle."""
    outside = tmp_path / "outside.onnx"
    (bundle / "plain/model.onnx").rename(outside)
    (bundle / "plain/model.onnx").symlink_to(outside)

    with pytest.raises(BundleError, match="is a link"):
        open_bundle(bundle)


def test_a_folder_that_is_a_link_is_refused(bundle: Path, tmp_path: Path) -> None:
    """A variant's folder may not lead out of the bundle."""
    (bundle / "plain").rename(tmp_path / "elsewhere")
    (bundle / "plain").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(BundleError, match="leads through one"):
        open_bundle(bundle)


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "/etc/passwd",
        "a/../../b",
        "a\\b",
        "C:x",
        "",
        ".",
        "a//b",
        "a/./b",
        "./a",
        "a\nb",
        "a\0b",
        "~/../x",
    ],
)
def test_a_path_that_could_lead_outside_is_refused(bundle: Path, path: str) -> None:
    """Paths in the manifest are plain and relative."""
    edit(bundle, lambda data: data["files"][0].update(path=path))

    with pytest.raises(BundleError, match="path inside the bundle"):
        open_bundle(bundle)


@given(st.text(st.sampled_from("ab./\\:~ \n"), max_size=12))
@settings(max_examples=200, deadline=None)
def test_every_accepted_path_stays_inside(path: str) -> None:
    """Whatever the manifest's path rule accepts resolves below the folder."""
    try:
        accepted = TypeAdapter(RelativePath).validate_python(path)
    except ValidationError:
        return

    assert os.path.normpath(f"/bundle/{accepted}") == f"/bundle/{accepted}"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(format=3), "another format: expected 1 or 2, found 3"),
        (lambda d: d.update(format=0), "another format"),
        (lambda d: d.update(format="2"), 'format: expected a valid integer, found "2"'),
        (lambda d: d.update(format=2.0), "format: expected a valid integer, found 2.0"),
        (lambda d: d.update(format=1.0), "format: expected a valid integer, found 1.0"),
        (lambda d: d.update(format=True), "format: expected a valid integer, found true"),
        *(
            (lambda d, name=name: d["variants"][0].update(name=name), r"\.name: expected text like")
            for name in ("", "..", ".hidden", "a/b", "a b", "-rf", "new\nline", "\x1b[31mred", "a" * 50 + "/")
        ),
        (lambda d: d["variants"][0].update(name="a" * 101), "name: expected at most 100 characters"),
        (lambda d: d["variants"][0].update(runtime="../litert"), "runtime: expected text like"),
        (lambda d: d.pop("format"), "format: the key is missing"),
        (lambda d: d.update(surprise=1), "surprise"),
        (lambda d: d.pop("golden"), "golden"),
        (lambda d: d.update(golden="nowhere.npz"), "nowhere.npz is used but not in the list"),
        (lambda d: d["variants"][0]["files"].update(model="plain/none.onnx"), "not in the list"),
        (lambda d: d["variants"].append(d["variants"][0]), "same variant name"),
        (lambda d: d["variants"][0].update(level_bytes=[1]), "one entry per level"),
        (lambda d: d["variants"][0].update(relative_tolerance=float("inf")), "relative_tolerance"),
        (
            lambda d: d["variants"][0].update(relative_tolerance=1.0),
            "relative_tolerance: expected less than 1",
        ),
        (
            lambda d: d["variants"][0].update(relative_tolerance="1e-4"),
            "relative_tolerance: expected a valid",
        ),
        (lambda d: d["variants"][0].update(level_bytes=[-1, 1]), "level_bytes"),
        (lambda d: d["variants"][0].update(level_bytes=[1, 2**60]), "level_bytes"),
        (lambda d: d["variants"][0].update(level_bytes=[True, True]), "level_bytes.*found true"),
        (lambda d: d["inputs"][0].update(shape=[-1, 4]), "inputs.x.shape"),
        (lambda d: d["inputs"][0].update(shape=[None, "4"]), "inputs.x.shape"),
        (lambda d: d["variants"][0].update(sizes=1, colour=2), "sizes: unknown key.*colour: unknown key"),
        (lambda d: d["files"].append(d["files"][0]), "same file name"),
        (lambda d: d["files"][0].update(sha256="0" * 63), "sha256"),
        (lambda d: d["files"][0].update(size_bytes=-1), "size_bytes"),
        (lambda d: d["ladder"].reverse(), "damaged ladder"),
        (lambda d: d["ladder"][0].update(sparsity=1.5), "sparsity"),
        (lambda d: d["inputs"][0].update(dtype="object"), "dtype"),
        (lambda d: d.update(ladder=[]), "ladder"),
        (lambda d: d.update(inputs=[]), "inputs"),
        (lambda d: d.update(outputs=[]), "outputs"),
        (lambda d: d.update(variants=[]), "variants"),
    ],
)
def test_a_hostile_manifest_is_refused(bundle: Path, change: object, words: str) -> None:
    """A manifest that contradicts itself or the format never opens."""
    edit(bundle, change)

    with pytest.raises(BundleError, match=words):
        open_bundle(bundle)


@pytest.mark.parametrize(("what", "key", "words"), [("inputs", "x", "z"), ("outputs", "y", "z")])
def test_golden_arrays_are_those_of_the_network(bundle: Path, what: str, key: str, words: str) -> None:
    """A golden file that fits its hash but has other names is refused when it is first read."""
    edit(bundle, lambda d: d[what][0].update(name=words))

    with pytest.raises(BundleError, match=f"other {what} than the network: expected {words}, found {key}"):
        _ = open_bundle(bundle).golden


def test_a_manifest_may_be_as_large_as_the_limit_and_no_larger(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One byte more is refused before it is read."""
    size = (bundle / FILE_NAME).stat().st_size
    monkeypatch.setattr("elsa_edge.bundle.reader.LARGEST_MANIFEST_BYTES", size)
    open_bundle(bundle)
    monkeypatch.setattr("elsa_edge.bundle.reader.LARGEST_MANIFEST_BYTES", size - 1)
    with pytest.raises(BundleError, match="is too large"):
        open_bundle(bundle)


def test_writing_refuses_a_foreign_folder(tmp_path: Path) -> None:
    """A folder that is not a bundle, also one with some other manifest.json, is left alone."""
    for name, content in (("notes.txt", "mine"), (FILE_NAME, '{"name": "a web app"}')):
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        (folder / name).write_text(content)

        with pytest.raises(ElsaError, match="is not a bundle"):
            fill(folder)

        assert (folder / name).read_text() == content


def test_writing_refuses_to_delete_files_beside_an_old_bundle(bundle: Path) -> None:
    """What a person put into the folder is never swept away with the old bundle."""
    (bundle / "plain" / "notes.txt").write_text("mine")

    with pytest.raises(ElsaError, match=r"plain/notes\.txt"):
        fill(bundle)

    assert (bundle / "plain" / "notes.txt").read_text() == "mine"


def test_writing_replaces_an_old_bundle_even_a_damaged_one(bundle: Path) -> None:
    """Building again into the same place works."""
    (bundle / "plain/model.onnx").unlink()

    fill(bundle, b"newer")

    assert (open_bundle(bundle).folder / "plain/model.onnx").read_bytes() == b"newer"


def test_an_error_while_writing_leaves_the_old_bundle(bundle: Path) -> None:
    """An exception inside the block changes nothing and leaves no temporary folder."""
    before = (bundle / FILE_NAME).read_bytes()

    with pytest.raises(ZeroDivisionError), write_bundle(bundle) as writer:
        (writer.variant_folder("x") / "half").write_bytes(bytes([1 // 0]))

    assert (bundle / FILE_NAME).read_bytes() == before
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def test_a_block_without_seal_is_an_error(tmp_path: Path) -> None:
    """A folder without a manifest is never passed off as a bundle."""
    with pytest.raises(BundleError, match="without its manifest"), write_bundle(tmp_path / "b"):
        pass

    assert not (tmp_path / "b").exists()


def test_a_full_disk_leaves_the_old_bundle(bundle: Path) -> None:
    """When the disk refuses half-way the error says so, and the old bundle still opens."""
    before = (bundle / FILE_NAME).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(ElsaError, match="as it was before"):
            fill(bundle, bytes(1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)

    assert (bundle / FILE_NAME).read_bytes() == before
    open_bundle(bundle)
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def test_a_kill_while_writing_leaves_the_old_bundle(bundle: Path) -> None:
    """SIGKILL in the middle of a write leaves the old bundle, and the next write sweeps up what is left."""
    script = textwrap.dedent(
        f"""
        import os, signal
        from elsa_edge.bundle import write_bundle
        with write_bundle({str(bundle)!r}) as writer:
            (writer.variant_folder("x") / "half").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    done = subprocess.run([sys.executable, "-c", script], check=False)

    assert done.returncode == -signal.SIGKILL
    open_bundle(bundle)
    fill(bundle, b"newer")
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]
