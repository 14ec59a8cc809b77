"""Every command and program that the pages of docs/ show is run; links between pages lead somewhere."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from support.bundles import model
from support.pages import BLOCK, ROOT, blocks, readers_folder, run

PAGES = sorted(path.relative_to(ROOT) for path in ROOT.glob("docs/**/*.md"))

# Pages that begin with a canonical graph of the reader's, and a network to stand for it.
GIVEN = {
    "docs/controller.md": "conv",
    "docs/howto/android.md": "conv",
    "docs/howto/browser.md": "conv",
    "docs/howto/operate.md": "conv",
}
# What a page takes for granted: the reader's own network and loop.
BEFORE = {
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
    "docs/howto/plug-ins.md": f"""
import sys, tempfile
from pathlib import Path

sys.path.insert(0, {str(ROOT / "tests")!r})
from support.bundles import model
from elsa_edge.bundle.golden import Golden
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.oracle import run_canonical
from elsa_edge.plugins.guarded import GuardedAdapter, GuardedExporter
from elsa_edge.profiles import load_profile
from elsa_edge.proof.making import made

graph, profile = CanonicalGraph.load(model("mlp")), load_profile("generic-x86-64")
given = made(graph.inputs, 2)
with tempfile.TemporaryDirectory() as folder:
    exporter = GuardedExporter("reference", ReferenceExporter())
    assert exporter.preflight(graph, profile).applies
    variant = exporter.export(graph, profile, Golden(given, ()), Path(folder))
    opened = GuardedAdapter("onnx-reference", ReferenceAdapter()).open(
        Path(folder), variant, level_count=len(graph.ladder), runtime=profile.runtime, cache=None
    )
    for level, expected in enumerate(run_canonical(graph, given)):
        for name, array in opened.run(given, level).items():
            assert np.allclose(array, expected[name], atol=1e-5), (level, name)
""",
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


WITH_BLOCKS = [page for page in PAGES if blocks(page, "python") or blocks(page, "sh")]


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=str)
def test_every_block_of_the_pages_runs(page, tmp_path, warm):
    """Programs and commands in their order, as a reader would: what one makes the next one finds."""
    folder = readers_folder(tmp_path)
    if str(page) in GIVEN:
        shutil.copy(model(GIVEN[str(page)]), folder / "model.onnx")
    for language, code in BLOCK.findall((ROOT / page).read_text()):
        if language == "python":
            story = BEFORE.get(str(page), "") + code + AFTER.get(str(page), "")
            run([sys.executable, "-W", "error", "-c", story], folder)
        elif language == "sh":
            run(["bash", "-euo", "pipefail", "-c", code], folder, warm)


def links_of(page: Path) -> set[Path]:
    """Return the pages that a page of docs/ links to."""
    found = re.findall(r"\]\(([^)#:]+\.md)(?:#[^)]*)?\)", (ROOT / page).read_text())
    return {Path(os.path.normpath(page.parent / target)) for target in found}


@pytest.mark.parametrize(
    "question",
    [
        "How do I install it without CUDA?",
        "What do I bring?",
        "Which granularity?",
        "Which variant on a Pi 4, a Pi 5, a phone?",
        "How accurate is each level, and how do I find out?",
        "How fast is it against my int8 network?",
        "How do I get it onto the device?",
        "What if I have only ONNX?",
        'What does "proved" mean?',
        "What may a bundle do on my device?",
    ],
)
def test_what_newcomers_ask_is_answered_two_clicks_from_the_index(question):
    """One click to the page that has the question, a second to the page that its answer leads on to."""
    one = links_of(Path("docs/index.md"))
    answering = [page for page in one if f"## {question}\n" in (ROOT / page).read_text()]
    assert len(answering) == 1
    answer = (ROOT / answering[0]).read_text().partition(f"## {question}\n")[2].partition("\n## ")[0]
    assert len(answer.split()) >= 12
    assert "](" in answer


def test_links_between_pages_lead_somewhere():
    for page in [Path("README.md"), Path("CONTRIBUTING.md"), *PAGES]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text()):
            assert (ROOT / page.parent / target).exists(), f"{page} links to {target}"
