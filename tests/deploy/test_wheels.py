"""Our own wheel, and what is known of a wheel before it travels."""

from __future__ import annotations

import struct
import subprocess
import sys
import zipfile

import pytest

import elsa_edge.deploy.own_wheel as own
from elsa_edge.deploy.elf import elf_alignment
from elsa_edge.deploy.errors import DeviceError
from elsa_edge.deploy.own_wheel import Kernels, kernels_for, own_wheel
from elsa_edge.deploy.wheels import Wheel, requirements, wheels_in


def elf(*alignments: int) -> bytes:
    """The head of a 64-bit library with one loaded segment for each alignment."""
    head = (
        b"\x7fELF\x02\x01"
        + bytes(26)
        + struct.pack("<Q", 64)
        + bytes(14)
        + struct.pack("<HH", 56, len(alignments))
    )
    segments = [struct.pack("<I", 1) + bytes(44) + struct.pack("<Q", alignment) for alignment in alignments]
    return head.ljust(64, b"\0") + b"".join(segments)


def test_the_smallest_alignment_of_a_library_counts() -> None:
    assert elf_alignment(elf(65536, 4096)) == 4096
    assert elf_alignment(elf(16384)) == 16384
    for other in (b"", b"MZ", elf(4096)[:70]):
        assert elf_alignment(other) is None


def test_our_own_wheel_runs_from_a_folder_and_is_always_the_same(tmp_path) -> None:
    """Unpacked like on a device, in an interpreter that sees nothing else of ours; entry points are found."""
    first, again = own_wheel(tmp_path / "1", None), own_wheel(tmp_path / "2", None)
    assert first.read_bytes() == again.read_bytes()
    with zipfile.ZipFile(first) as archive:
        archive.extractall(tmp_path / "site")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import elsa_edge.session, elsa_edge.plugins.registry as r;"
        "print(elsa_edge.__file__, r.names(r.ADAPTERS))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "site")],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert str(tmp_path / "site") in done.stdout
    assert "onnxruntime" in done.stdout


def test_what_is_asked_for_is_what_a_device_needs_and_no_workshop() -> None:
    wanted = requirements(("onnxruntime",))

    assert any(need.startswith("numpy") for need in wanted)
    assert wanted[-1].startswith("onnxruntime")
    assert not [need for need in wanted if need.startswith(("torch", "onnx>", "onnx_", "onnx-"))]


def test_a_folder_without_wheels_and_a_file_that_is_none_are_refused(tmp_path) -> None:
    with pytest.raises(DeviceError, match="holds no wheels"):
        wheels_in(tmp_path)
    (tmp_path / "x.whl").write_bytes(b"no zip")
    with pytest.raises(DeviceError, match="is not a wheel"):
        Wheel.of(tmp_path / "x.whl")


def test_kernels_travel_only_where_the_devices_c_library_can_load_them(tmp_path, monkeypatch) -> None:
    """The wheel's name says what they need; nothing is said of a library that needs no glibc."""
    library = tmp_path / "kernels.so"
    library.write_bytes(b"\x7fELF GLIBC_2.17 GLIBC_2.31 GLIBC_2.4")
    monkeypatch.setattr(own, "library_for", lambda arch: library if arch == "aarch64" else None)

    assert kernels_for("aarch64", (2, 31)) == (Kernels(library, "manylinux_2_31_aarch64"), "")
    assert kernels_for("aarch64", (2, 28))[0] is None
    assert "need glibc 2.31, the device has 2.28" in kernels_for("aarch64", (2, 28))[1]
    assert "has none" in kernels_for("aarch64", ())[1]
    assert "were compiled here" in kernels_for("armv7l", (2, 36))[1]
    assert own_wheel(tmp_path, Kernels(library, "manylinux_2_31_aarch64")).name.endswith(
        "-py3-none-manylinux_2_31_aarch64.whl"
    )
    library.write_bytes(b"\x7fELF")
    assert kernels_for("aarch64", ()) == (Kernels(library, "linux_aarch64"), "")
