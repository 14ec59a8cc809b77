"""Every command and program that the README shows is run, and its walk-through is checked.

The walk-through is the main job on a real, ImageNet-trained network and real photographs; building it for a second
device and comparing every level of every variant happens here too, on what the README's commands left behind.
"""

import re
import sys

import numpy as np
import pytest
import yaml
from support.pages import ROOT, blocks, readers_folder, run

# Built for the second device; the README's bundle has what its device asks for.
VARIANTS = ("ort-switch", "ort-levels", "onnx-selector")


@pytest.fixture(scope="module")
def walked(tmp_path_factory, warm):
    """Return the folder in which every shell block of the README has been run, in order."""
    folder = readers_folder(tmp_path_factory.mktemp("readme"))
    for code in blocks("README.md", "sh"):
        run(["bash", "-euo", "pipefail", "-c", code], folder, warm)
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
def bundle(request, walked, warm):
    """Return the README's bundle, or one for the other device, verified."""
    if request.param == "generic-x86-64":
        return walked / "bundle"
    folder = walked / f"bundle-{request.param}"
    wanted = [word for name in VARIANTS for word in ("--variant", name)]
    run(
        ["elsa-edge", "build", "model.onnx", "--device", request.param, *wanted, "-o", folder.name],
        walked,
        warm,
    )
    run(["elsa-edge", "verify", folder.name], walked, warm)
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
