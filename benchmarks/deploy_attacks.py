"""Bundles that a device must refuse by itself: changed, unsigned, older, brought once more."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest.mock import patch

from benchmarks.common import Row
from benchmarks.deploy_bench import WHOLE, Bench, rehash, silent
from benchmarks.sshd import make_key
from elsa_edge.bundle import open_bundle
from elsa_edge.bundle.signature import sign_bundle
from elsa_edge.deploy import Device, deploy, trust
from elsa_edge.deploy import prepare as home
from elsa_edge.deploy.errors import DeviceError

__all__ = ["attacks"]


def attacks(bench: Bench) -> list[Row]:
    """Deploy what must be refused, with every check at home switched off; the device runs its own Python."""
    keys = bench.folder / "keys"
    keys.mkdir()
    line, theirs = make_key(keys / "ours"), keys / "theirs"
    make_key(theirs)
    device = bench.device(bench.folder / "store to attack")
    trust(device, [line])

    def made(name: str, key: Path | None, counter: int, harm: bool = False) -> Path:
        target = bench.folder / "attacks" / name
        shutil.copytree(bench.bundle, target)
        rehash(target, counter=counter)
        if key is not None:
            sign_bundle(target, key)
        if harm:
            model = target / "ort-levels" / "level_0.onnx"
            data = bytearray(model.read_bytes())
            data[len(data) // 2] ^= 1
            model.write_bytes(data)
        return target

    good = made("good", keys / "ours", 5)
    deploy(good, device, bench.profile, WHOLE, tell=silent)
    rehashed = made("re-hashed", keys / "ours", 6, harm=True)
    rehash(rehashed)
    twin = made("same counter", None, 5)
    rehash(twin, name="twin")
    sign_bundle(twin, keys / "ours")
    newer = made("newer", keys / "ours", 9)
    refused = {
        "re-hashed": rehashed, "unsigned": made("unsigned", None, 8), "other key": made("other", theirs, 8),
        "downgraded": made("older", keys / "ours", 4), "same counter": twin,
    }  # fmt: skip
    rows = []
    served = open_bundle(Path(device.root) / "current" / "bundle").identity
    with patch.object(home, "check_signature", lambda *_: ""):
        for name, source in refused.items():
            rows.append(_refused(bench, device, name, source, served))
        deploy(newer, device, bench.profile, WHOLE, tell=silent)
        served = open_bundle(newer).identity
        rows.append(_refused(bench, device, "replayed", good, served))
    return rows


def _refused(bench: Bench, device: Device, name: str, source: Path, served: str) -> Row:
    try:
        deploy(source, device, bench.profile, WHOLE, tell=silent)
        said = ""
    except DeviceError as error:
        said = str(error)
    after = open_bundle(Path(device.root) / "current" / "bundle").identity
    return {
        "attack": name,
        "refused_there": "does not verify" in said and after == served,
        "said": said[-160:],
    }
