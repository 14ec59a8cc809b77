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
# Built for the second device; the README's bundle has what its device asks for.
VARIANTS = ("ort-switch", "ort-levels", "onnx-selector")
PAGES = sorted(path.relative_to(ROOT) for path in ROOT.glob("docs/**/*.md"))


def blocks(page, language):
    """Return the code blocks of a page in a language, in order."""
    return [code for found, code in BLOCK.findall((ROOT / page).read_text()) if found == language]


def run(command, folder):
    """Run a command as a reader would, in a folder of the reader's; fail with what it said."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, "ELSA_EDGE_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
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


# What a page takes for granted: the reader's own network and loop.
BEFORE = {
    "docs/controller.md": f"""
import shutil, sys

sys.path.insert(0, {str(ROOT / "tests")!r})
from support.bundles import bundle

shutil.copytree(bundle("conv"), "bundle")
""",
    "docs/repair.md": """
from pathlib import Path

from elsa_edge.sparsify import sparsify
from elsa_edge.trained import load_dense
from examples import repair
from examples.cnn import tiny

repair.main()
network = tiny()
load_dense(network, Path("net.pt"))
sparsify(network, [0.9, 0.0]).save(Path("cut.safetensors"))
""",
    "docs/training.md": """
import torch

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))

def my_training_loop(model, optimizer):
    for _ in range(400):
        optimizer.zero_grad()
        model(torch.randn(4, 12)).square().mean().backward()
        optimizer.step()
""",
}
# What must then be true, beside that the program ends well.
AFTER = {
    "docs/controller.md": """
assert late.total() == 2
""",
    "docs/repair.md": """
told = repaired.provenance["repair"]["levels"]
assert told["s90"]["repaired"] > told["s90"]["cut"], told
""",
    "docs/training.md": """
from elsa_edge.checkpoint import NestedCheckpoint
densities = [level.density for level in NestedCheckpoint.load(Path("nested.safetensors")).ladder]
assert [round(density, 1) for density in densities] == [0.1, 0.1, 1.0], densities
assert densities == sorted(densities)
""",
}


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=str)
def test_every_program_of_the_pages_runs(page, tmp_path):
    folder = readers_folder(tmp_path)
    for code in blocks(page, "python"):
        story = BEFORE.get(str(page), "") + code + AFTER.get(str(page), "")
        run([sys.executable, "-W", "error", "-c", story], folder)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_shell_block_of_the_pages_runs(page, tmp_path):
    folder = readers_folder(tmp_path)
    for code in blocks(page, "sh"):
        run(["bash", "-euo", "pipefail", "-c", code], folder)


def test_links_between_pages_lead_somewhere():
    for page in [Path("README.md"), Path("CONTRIBUTING.md"), *PAGES]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text()):
            assert (ROOT / page.parent / target).exists(), f"{page} links to {target}"


def test_the_ten_changes_begin_in_files_that_exist():
    """CONTRIBUTING names one file for each, and the architecture has its room."""
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("## Ten changes")[2].partition("\n## ")[0]
    files = re.findall(r"^\| [^|]+ \| `([^`]+)`", table, re.MULTILINE)
    assert len(files) == 10
    for name in files:
        assert (ROOT / name).is_file(), name


def test_make_offers_what_the_readme_says():
    for target, command in {
        "quickstart": "elsa-edge quickstart --out quickstart",
        "test": "-m pytest",
    }.items():
        assert command in run(
            ["make", "--always-make", "--dry-run", "PYTHON=" + sys.executable, target], ROOT
        )


@pytest.fixture(scope="module")
def photographs(walked):
    with np.load(walked / "photos.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope="module")
def torchs_top5(photographs):
    """Return the five most likely classes of each photograph according to torch, `(3, 5)`."""
    import torch

    from examples.efficientnet_lite0 import checkpoint_path, efficientnet_lite0

    model = efficientnet_lite0()
    model.load_state_dict(torch.load(checkpoint_path(), weights_only=True))
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(photographs["inputs"])).numpy()
    return np.argsort(-logits, axis=1)[:, :5]


@pytest.fixture(scope="module")
def oracle(walked, photographs):
    """Return the canonical graph's answers, one array per level."""
    from elsa_edge.graph.canonical import CanonicalGraph
    from elsa_edge.graph.oracle import run_canonical

    answers = run_canonical(CanonicalGraph.load(walked / "model.onnx"), photographs)
    return [next(iter(outputs.values())) for outputs in answers]


@pytest.fixture(scope="module", params=["generic-x86-64", "raspberry-pi-5"])
def bundle(request, walked):
    """Return the README's bundle, or one for the other device, verified."""
    if request.param == "generic-x86-64":
        return walked / "bundle"
    folder = walked / f"bundle-{request.param}"
    wanted = [word for name in VARIANTS for word in ("--variant", name)]
    run(
        ["elsa-edge", "build", "model.onnx", "--device", request.param, *wanted, "-o", folder.name],
        walked,
    )
    run(["elsa-edge", "verify", folder.name], walked)
    return folder


def test_the_photographs_are_recognised_in_torch(torchs_top5):
    from examples.efficientnet_lite0 import PHOTOGRAPHS

    for classes, found in zip(PHOTOGRAPHS.values(), torchs_top5, strict=True):
        assert found[0] in classes


def test_a_sparse_level_still_knows_what_is_on_the_photographs(walked, oracle):
    """The walk-through ends in something to use: level 1 names the cat, the cup and the rocket."""
    from examples.efficientnet_lite0 import PHOTOGRAPHS

    for classes, row in zip(PHOTOGRAPHS.values(), oracle[1], strict=True):
        assert int(np.argmax(row)) in classes
    with np.load(walked / "sparse.npz") as arrays:
        (named,) = (arrays[name] for name in arrays.files)
    assert named.argmax(1).tolist() == oracle[1].argmax(1).tolist()


def test_every_level_of_every_variant_is_within_the_contract_on_photographs(
    bundle, photographs, oracle, torchs_top5, tmp_path
):
    from elsa_edge.bundle import open_bundle
    from elsa_edge.session import AdaptiveSession

    variants = [variant.name for variant in open_bundle(bundle).manifest.variants]
    assert "ort-switch" in variants
    for variant in variants:
        with AdaptiveSession.open(bundle, variant=variant, cache=tmp_path) as session:
            for level, expected in enumerate(oracle):
                (found,) = session.run(photographs, level=level).values()
                limit = 1e-4 * max(1.0, np.abs(expected).max())
                assert np.abs(found - expected).max() <= limit, (variant, level)
            assert np.argsort(-found, axis=1)[:, :5].tolist() == torchs_top5.tolist()


def test_the_levels_are_as_sparse_as_asked_for(bundle):
    """One weight in a thousand of the trained network is zero, and zeros count at no level."""
    from elsa_edge.bundle import open_bundle

    ladder = open_bundle(bundle).ladder
    assert [level.density for level in ladder] == pytest.approx([0.4, 0.6, 1.0], abs=2e-3)
