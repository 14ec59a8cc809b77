"""The installed wheel holds one name, and files of other names beside a person's script do not disturb it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from elsa_edge.runtime_adapters.kernels.build import LIBRARY

REPOSITORY = Path(__file__).parents[1]
ARCHIVE = Path(__file__).parent / "data" / "bundles_format_1.zip"
SCRIPT = """
import sys
import numpy as np
import elsa_edge
from elsa_edge import AdaptiveSession
print(elsa_edge.__file__)
for variant in ("ort-switch", "ort-levels", "tflite-levels"):
    for _ in range(2):
        with AdaptiveSession.open("bundle", variant=variant, cache="cache") as session:
            for level in range(3):
                session.run({"input": np.zeros((1, 2, 6, 6), np.float32)}, level=level)
            print(variant, [note for note in session.notes if "cache" in note])
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with nothing but the wheel for this machine in it."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, REPOSITORY]
    subprocess.run(build, check=True, capture_output=True, env=os.environ | {"ELSA_EDGE_WHEEL_FOR": "native"})
    (wheel,) = folder.glob("elsa_edge-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.skipif(not LIBRARY.is_file(), reason="no C++ compiler has made the kernels here")
def test_a_wheel_carries_the_kernels(site: Path) -> None:
    """Who installs the wheel needs no compiler."""
    kernels = site / "elsa_edge" / "runtime_adapters" / "kernels"

    assert (kernels / "libelsa_nested.so").read_bytes() == LIBRARY.read_bytes()


def test_a_wheel_brings_one_name(site: Path) -> None:
    """No `exporters`, `tests` or `benchmarks` beside the package, which another distribution could overwrite."""
    assert sorted(path.name for path in site.iterdir() if not path.name.endswith(".dist-info")) == [
        "elsa_edge"
    ]
    for inside in (
        "exporters/ort/switch.py",
        "runtime_adapters/ort/adapter.py",
        "device_profiles/schema.json",
    ):
        assert (site / "elsa_edge" / inside).is_file()
        assert not (site / "elsa_edge" / inside).is_symlink()


def test_foreign_modules_beside_a_script_change_nothing(site: Path, tmp_path: Path) -> None:
    """Folders called like ours and a json.py, all of which fail when imported; also in our own child process."""
    for name in (
        "exporters/__init__.py",
        "runtime_adapters/__init__.py",
        "device_profiles/__init__.py",
        "json.py",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"raise RuntimeError('the foreign {name} was imported')\n")
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path / "bundles")
    (tmp_path / "bundles" / "signatures").rename(tmp_path / "bundle")
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ELSA")}

    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        str(site / "elsa_edge" / "__init__.py"),
        *(f"{name} []" for name in ("ort-switch", "ort-levels", "tflite-levels") for _ in range(2)),
    ]
