"""Every command and program that the README and the pages of docs/ show is run, and the walk-through is checked.

The walk-through is the main job on a real, ImageNet-trained network and real photographs; building it for a second
device and comparing every level of every variant happens here too, on what the README's commands left behind.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = sorted(path.relative_to(ROOT) for path in ROOT.glob("docs/**/*.md"))


def blocks(page, language):
    """Return the code blocks of a page in a language, in order."""
    return [code for found, code in BLOCK.findall((ROOT / page).read_text()) if found == language]


def run(command, folder):
    """Run a command as a reader would, in a folder of the reader's; fail with what it said."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def readers_folder(folder):
    """Make a folder that holds what a reader has: the examples."""
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """Return the folder in which every shell block of the README has been run, in order."""
    folder = readers_folder(tmp_path_factory.mktemp("readme"))
    for code in blocks("README.md", "sh"):
        run(["bash", "-euo", "pipefail", "-c", code], folder)
    return folder


def test_every_shell_block_of_the_readme_runs(walked):
    assert (walked / "bundle" / "manifest.json").is_file()
    assert (walked / "device.yaml").is_file()


def test_every_program_of_the_readme_runs_on_what_its_commands_made(walked):
    programs = blocks("README.md", "python")

    assert programs
    for code in programs:
        assert "1000" in run([sys.executable, "-W", "error", "-c", code], walked)


def test_the_readmes_device_is_a_valid_one(tmp_path):
    profiles = blocks("README.md", "yaml")

    assert profiles
    for number, text in enumerate(profiles):
        assert yaml.safe_load(text)["qos"]
        (tmp_path / f"{number}.yaml").write_text(text)
        run(["elsa-edge", "devices", "check", f"{number}.yaml"], tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_shell_block_of_the_pages_runs(page, tmp_path):
    folder = readers_folder(tmp_path)
    for code in blocks(page, "sh"):
        run(["bash", "-euo", "pipefail", "-c", code], folder)


def test_links_between_pages_lead_somewhere():
    for page in [Path("README.md"), Path("CONTRIBUTING.md"), *PAGES]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text()):
            assert (ROOT / page.parent / target).exists(), f"{page} links to {target}"


def test_make_offers_what_the_readme_says():
    for target, command in {
        "quickstart": "elsa-edge quickstart --out quickstart",
        "test": "-m pytest",
    }.items():
        assert command in run(
            ["make", "--always-make", "--dry-run", "PYTHON=" + sys.executable, target], ROOT
        )


class TestEfficientNetLite0:
    """The walk-through's bundle, on photographs."""

    @pytest.fixture(scope="class")
    def photographs(self, walked):
        with np.load(walked / "photos.npz") as arrays:
            return {name: arrays[name] for name in arrays.files}

    @pytest.fixture(scope="class")
    def canonical(self, walked, photographs):
        from elsa_edge.graph.canonical import CanonicalGraph
        from elsa_edge.graph.oracle import run_canonical

        return run_canonical(CanonicalGraph.load(walked / "model.onnx"), photographs)

    @pytest.fixture(scope="class")
    def second_bundle(self, walked):
        run(["elsa-edge", "build", "model.onnx", "--device", "raspberry-pi-5", "-o", "bundle-pi"], walked)
        run(["elsa-edge", "verify", "bundle-pi"], walked)
        return walked / "bundle-pi"
