"""What is exported is taken by the tools that it is for, with the commands of its RECIPE.txt."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from support.bundles import bundle

from elsa_edge.bundle import open_bundle
from elsa_edge.deploy.export import export_release
from elsa_edge.deploy.prepare import payload
from elsa_edge.profiles import load_profile


def needs(*tools: str) -> pytest.MarkDecorator:
    """Skip where the tool is not installed: Debian has each as a package of that name."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs: apt-get install {' '.join(missing)}")


@pytest.fixture
def exported(tmp_path):
    """A function that exports, and returns the folder and the commands of its recipe."""

    def export(form) -> tuple[Path, list[list[str]]]:
        release = payload(bundle("conv"), load_profile("generic-x86-64"))
        folder = export_release(release, form, tmp_path / form, arch="x86-64", device="pi5")
        text = (folder / "RECIPE.txt").read_text().replace("\\\n", "")
        lines = [line.partition("   (")[0] for line in text.splitlines() if line.startswith("    ")]
        return folder, [shlex.split(line) for line in lines]

    return export


def ran(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def same_as_the_bundle(folder: Path) -> bool:
    return open_bundle(folder).identity == open_bundle(bundle("conv")).identity


@needs("rauc", "mksquashfs", "openssl", "unsquashfs")
def test_rauc_signs_it_and_reads_its_image_back(exported, tmp_path) -> None:
    folder, (bundling, _) = exported("rauc")
    request = "openssl req -x509 -newkey rsa:2048 -nodes -keyout KEY.pem -out CERT.pem -subj /CN=test -days 2"
    ran(shlex.split(request), folder)
    ran(bundling, folder)
    told = ran(["rauc", "info", "--keyring=CERT.pem", "--output-format=shell", "elsa-edge.raucb"], folder)
    ran(["rauc", "extract", "--keyring=CERT.pem", "elsa-edge.raucb", "out"], folder)

    assert "RAUC_MF_COMPATIBLE='pi5'" in told
    assert "RAUC_IMAGE_NAME_0='release.tar'" in told
    shutil.unpack_archive(folder / "out" / "release.tar", tmp_path / "slot")
    assert same_as_the_bundle(tmp_path / "slot" / "bundle")


@needs("mender-artifact")
def test_mender_artifact_writes_it_for_the_module_directory(exported, tmp_path) -> None:
    folder, (writing,) = exported("mender")
    ran(writing, folder)
    told = ran(["mender-artifact", "read", "elsa-edge.mender"], folder)

    assert "directory" in told
    assert "pi5" in told
    assert all(name in told for name in ("update.tar", "dest_dir"))
    # What the module does: unpack into the folder that dest_dir names.
    assert (folder / "dest_dir").read_text() == "/var/lib/elsa-edge\n"
    shutil.unpack_archive(folder / "update.tar", tmp_path / "there")
    assert same_as_the_bundle(tmp_path / "there" / "bundle")


@needs("skopeo", "umoci")
def test_an_image_is_copied_by_its_tag_and_unpacked(exported, tmp_path) -> None:
    folder, (copying,) = exported("oci")
    image = tmp_path / "copy"
    copying = [word if not word.startswith("docker:") else f"oci:{image}:released" for word in copying]
    ran(copying, folder)
    ran(["umoci", "unpack", "--rootless", "--image", f"{image}:released", str(tmp_path / "root")], folder)

    assert same_as_the_bundle(tmp_path / "root" / "rootfs/opt/elsa-edge/bundle")
