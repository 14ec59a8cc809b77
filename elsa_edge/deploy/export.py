"""For those who have a fleet server: the release as a file that it takes, and the recipe that goes with it.

    tar      the folder of the release, the same bytes for the same release
    oci      an image layout (index, config, one layer) for registries, balena and Greengrass components
    rauc     content/ with manifest.raucm and the image of a slot; `rauc bundle` signs it with your certificate
    mender   update.tar and dest_dir, the two files of Mender's update module `directory`

We write no fleet server and hold no certificates: what needs a tool or key of yours is in RECIPE.txt as a command.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Final, Literal

from elsa_edge.deploy.contents import Release, ReleaseFile
from elsa_edge.files import atomic_directory, write_bytes

__all__ = ["FORMATS", "Format", "export_release", "tar_of"]

Format = Literal["tar", "oci", "rauc", "mender"]
FORMATS: Final[tuple[Format, ...]] = ("tar", "oci", "rauc", "mender")

_MARK: Final = "RECIPE.txt"
_MENDER_PLACE: Final = "/var/lib/elsa-edge"
_ARCH: Final = {"x86-64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


def tar_of(release: Release, prefix: str = "") -> bytes:
    """Return a release as a tar file without owners and times: the same bytes for the same release.

    Args:
        release: What goes in: a folder `bundle`.
        prefix: Folder of that in the archive, with a slash at its end.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for file in release.files:
            content = _content(file)
            entry = tarfile.TarInfo(f"{prefix}{file.path}")
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _content(file: ReleaseFile) -> bytes:
    if file.content is not None:
        return file.content
    assert file.source is not None
    return file.source.read_bytes()


def export_release(release: Release, form: Format, destination: Path, *, arch: str, device: str) -> Path:
    """Write what a fleet tool takes.

    Args:
        release: The release.
        form: For which tool.
        destination: A file for `tar`, a folder for the others; a folder that this function wrote before is replaced.
        arch: The device's, in a profile's words.
        device: What the device is called: the compatibility string of RAUC and Mender.

    Raises:
        ElsaError: When the destination is somebody else's, or the disk refuses.
    """
    if form == "tar":
        write_bytes(destination, tar_of(release, f"releases/{release.hash}/"))
        return destination
    with atomic_directory(destination, may_replace=_MARK) as folder:
        if form == "oci":
            recipe = _write_oci(release, folder, arch)
        else:
            recipe = (_write_rauc if form == "rauc" else _write_mender)(release, folder, device)
        (folder / _MARK).write_text(recipe, encoding="utf-8")
    return destination


def _write_oci(release: Release, folder: Path, arch: str) -> str:
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    plain = tar_of(release, "opt/elsa-edge/")
    layer = gzip.compress(plain, mtime=0)
    config = _json(
        {
            "architecture": _ARCH.get(arch, arch),
            "os": "linux",
            "config": {"Labels": {"elsa-edge.release": release.hash}},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(plain).hexdigest()}"]},
        }
    )
    base = "application/vnd.oci.image"
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{base}.manifest.v1+json",
            "config": _store(blobs, config, f"{base}.config.v1+json"),
            "layers": [_store(blobs, layer, f"{base}.layer.v1.tar+gzip")],
            "annotations": {
                "org.opencontainers.image.title": release.name,
                "elsa-edge.identity": release.identity,
            },
        }
    )
    described = _store(blobs, manifest, f"{base}.manifest.v1+json")
    tag = release.hash[:12]
    index = {
        "schemaVersion": 2,
        "manifests": [described | {"annotations": {"org.opencontainers.image.ref.name": tag}}],
    }
    (folder / "index.json").write_bytes(_json(index))
    (folder / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    return (
        f"An OCI image layout with {release.name} in /opt/elsa-edge/bundle, for FROM or COPY --from in an image with\n"
        "elsa-edge.\n\n"
        f"    skopeo copy oci:.:{tag} docker://REGISTRY/NAME:{tag}        (in this folder)\n"
    )


def _store(blobs: Path, content: bytes, kind: str) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _write_rauc(release: Release, folder: Path, device: str) -> str:
    content, image = folder / "content", tar_of(release)
    content.mkdir()
    (content / "release.tar").write_bytes(image)
    (content / "manifest.raucm").write_text(
        f"[update]\ncompatible={device}\nversion={release.counter or release.hash[:12]}\n\n"
        "[bundle]\nformat=verity\n\n"
        f"[image.elsa-edge]\nsha256={hashlib.sha256(image).hexdigest()}\nsize={len(image)}\nfilename=release.tar\n",
        encoding="utf-8",
    )
    return (
        "A folder for `rauc bundle`. The slot class `elsa-edge` must be in the device's system.conf (type=ext4); RAUC\n"
        "unpacks the image there, and applications open the folder `bundle` of the slot.\n\n"
        "    rauc bundle --cert=CERT.pem --key=KEY.pem content elsa-edge.raucb        (in this folder)\n"
        "    rauc install elsa-edge.raucb                                             (on the device)\n"
    )


def _write_mender(release: Release, folder: Path, device: str) -> str:
    (folder / "update.tar").write_bytes(tar_of(release))
    (folder / "dest_dir").write_text(_MENDER_PLACE + "\n", encoding="utf-8")
    return (
        f"The payload of Mender's update module `directory`, which replaces {_MENDER_PLACE} (named in dest_dir) and\n"
        f"puts it back when the update fails. Applications open {_MENDER_PLACE}/bundle.\n\n"
        f"    mender-artifact write module-image -T directory -n {release.hash[:12]} -t {device} \\\n"
        "      -f update.tar -f dest_dir -o elsa-edge.mender        (in this folder)\n"
    )
