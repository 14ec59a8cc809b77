"""Start projects: a client's sources with a bundle inside; the platforms' own tools run them in `make test-clients`."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.bundles import bundle, model

from elsa_edge import start_project as projects
from elsa_edge.bundle import open_bundle
from elsa_edge.cli import cli
from elsa_edge.errors import ElsaError, UsageError
from elsa_edge.start_project import PLATFORMS, bundle_in, start_project

EXPECTED = {
    "android": ("settings.gradle.kts", "gradle/libs.versions.toml", "app/src/main/AndroidManifest.xml"),
    "web": ("package.json", "src/session.ts", "demo/page.ts"),
    "cpp": ("CMakeLists.txt", "include/elsa_edge.h", "src/ort_abi.h"),
}  # fmt: skip


def of_kind(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Let every variant that is looked at be of a kind."""
    real = projects.open_bundle

    def changed(folder: Path) -> Any:
        found = real(folder)
        variants = tuple(
            variant.model_copy(
                update={"instructions": variant.instructions.model_copy(update={"kind": kind})}
            )
            for variant in found.manifest.variants
        )
        object.__setattr__(found, "manifest", found.manifest.model_copy(update={"variants": variants}))
        return found

    monkeypatch.setattr(projects, "open_bundle", changed)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_project_has_the_client_the_bundle_and_words_how_to_build_it(platform, tmp_path):
    with start_project(platform, tmp_path / "project") as place:
        shutil.copytree(bundle("conv"), place)

    project = tmp_path / "project"
    assert open_bundle(project / bundle_in(platform)).manifest.variants
    for file in (*EXPECTED[platform], "README.md"):
        assert (project / file).is_file(), file
    assert not list(project.rglob("test")), "our own tests stay at home"
    assert not any(
        re.search(r"https?://(?!schemas\.android|localhost|127\.)", text) for text in sources(project)
    )


def sources(project: Path) -> list[str]:
    """Return the texts of a project, without its lock file."""
    files = (
        path for path in project.rglob("*") if path.suffix in {".kt", ".java", ".ts", ".mjs", ".md", ".kts"}
    )
    return [path.read_text() for path in files]


def test_a_project_of_yours_is_not_written_over(tmp_path):
    (tmp_path / "mine.txt").write_text("work")

    with pytest.raises(UsageError, match=r"not written over.*without --for"), start_project("web", tmp_path):
        pytest.fail("the build must not begin")

    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_bundle_that_the_client_cannot_run_is_refused_and_nothing_is_left(tmp_path, monkeypatch):
    of_kind(monkeypatch, "nested")

    with (
        pytest.raises(ElsaError, match="--variant ort-switch"),
        start_project("web", tmp_path / "p") as place,
    ):
        shutil.copytree(bundle("conv"), place)

    assert list(tmp_path.iterdir()) == []


def test_kernels_for_android_come_along_or_are_said_to_be_missing(tmp_path, monkeypatch):
    of_kind(monkeypatch, "nested")
    monkeypatch.setattr(projects, "library_for", lambda _: None)
    with (
        pytest.raises(ElsaError, match="only nested variants"),
        start_project("android", tmp_path / "p") as place,
    ):
        shutil.copytree(bundle("conv"), place)

    library = tmp_path / "libelsa_nested.android-arm64.so"
    library.write_bytes(b"the kernels")
    monkeypatch.setattr(projects, "library_for", lambda _: library)
    with start_project("android", tmp_path / "q") as place:
        shutil.copytree(bundle("conv"), place)

    natives = tmp_path / "q" / "app/src/main/jniLibs/arm64-v8a/libelsa_nested.so"
    assert natives.read_bytes() == b"the kernels"


def test_the_verb_writes_a_project(tmp_path):
    command = ["build", str(model("conv")), "--device", "generic-x86-64", "--variant", "ort-switch"]

    done = CliRunner().invoke(cli, [*command, "--for", "cpp", "-o", str(tmp_path / "robot"), "--json"])

    assert done.exit_code == 0, done.output
    assert (tmp_path / "robot" / "bundle" / "manifest.json").is_file()
    assert '"bundle": "' + str(tmp_path / "robot" / "bundle") in done.stdout
    assert f"--for [{'|'.join(PLATFORMS)}]" in CliRunner().invoke(cli, ["build", "--help"]).output
