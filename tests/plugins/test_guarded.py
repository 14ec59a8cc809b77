"""Plug-ins that crash, lie or leave early become one sentence that names them; nothing of theirs ends a command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.instructions import Selector
from elsa_edge.bundle.manifest import Variant
from elsa_edge.errors import ElsaError, InputError, OutOfMemoryError, PluginError
from elsa_edge.plugins import NO_CACHE, MemoryUse, Opened, Preflight
from elsa_edge.plugins.guarded import GuardedAdapter, GuardedExporter
from elsa_edge.tensors import TensorSpec

GRAPH: Any = SimpleNamespace(ladder=(0, 1))
PROFILE: Any = SimpleNamespace()
GOLDEN = Golden({"x": np.ones((1, 2), np.float32)}, ({"y": np.ones((1, 2), np.float32)},) * 2)


def described(**changes: Any) -> Variant:
    """What an honest exporter returns, changed."""
    honest = {"name": "theirs", "runtime": "some", "files": {"model": "m"}, "instructions": Selector()}
    return Variant(**honest | changes)


class TheirExporter:
    """Writes one file; what it does instead is set from outside."""

    name, runtime = "theirs", "some"

    def __init__(self, do: Callable[[Path, Golden], object] = lambda _f, _g: described()) -> None:
        self.do = do

    def preflight(self, graph: object, profile: object) -> Any:
        return self.do(Path(), GOLDEN)

    def export(self, graph: object, profile: object, golden: Golden, folder: Path) -> Any:
        (folder / "m").write_bytes(b"weights")
        return self.do(folder, golden)


def exit_early(*_: object) -> None:
    """What a script does that was never meant to be imported."""
    sys.exit(0)


def raise_(error: BaseException) -> Callable[..., object]:
    """Return a function that raises."""

    def do(*_: object) -> None:
        raise error

    return do


def write_into(_folder: Path, golden: Golden) -> Variant:
    """Calibrate in place."""
    golden.inputs["x"][:] = 0
    return described()


def link(folder: Path, _golden: Golden) -> Variant:
    """Leave a link where a file belongs."""
    (folder / "m").unlink()
    (folder / "m").symlink_to("/etc/hostname")
    return described()


@pytest.mark.parametrize(
    ("do", "words"),
    [
        (exit_early, "tried to end the program in export"),
        (raise_(ZeroDivisionError("of theirs")), "failed in export .ZeroDivisionError: of theirs"),
        (raise_(GeneratorExit()), "failed in export .GeneratorExit"),
        (raise_(MemoryError()), "ran out of memory in export"),
        (raise_(FileNotFoundError(2, "No such file", "/theirs")), "failed in export .FileNotFoundError"),
        (write_into, "failed in export .ValueError: assignment destination is read-only"),
        (link, "did not write a file that it names: expected a plain file m, found a link"),
        (lambda _f, _g: None, "described no variant: expected a Variant, found NoneType"),
        (lambda _f, _g: described(name="other"), "described another variant: expected theirs for some"),
        (lambda _f, _g: described(files={"model": "none"}), "expected a plain file none, found nothing"),
        (
            lambda _f, _g: described(files={"weights": "m"}),
            "files that its instructions need: expected model",
        ),
        (
            lambda _f, _g: described(level_bytes=(1,)),
            "level_bytes that do not fit: expected 2 numbers, found 1",
        ),
        (lambda _f, _g: described(notes={"a": object()}), "described its variant wrongly"),
        (lambda _f, _g: described(relative_tolerance=1e9), "relative_tolerance: Input should be less than 1"),
        (
            lambda _f, _g: described().model_copy(update={"files": {"model": "../m"}}),
            "path inside the bundle",
        ),
    ],
)
def test_an_export_that_goes_wrong_names_the_exporter(
    tmp_path: Path, do: Callable[..., object], words: str
) -> None:
    """What the manifest would say is checked at once."""
    with pytest.raises(PluginError, match=rf"The exporter 'theirs' .*{words}"):
        GuardedExporter("theirs", TheirExporter(do)).export(GRAPH, PROFILE, GOLDEN, tmp_path)
    assert np.all(GOLDEN.inputs["x"] == 1)


def test_errors_of_ours_and_ctrl_c_go_through(tmp_path: Path) -> None:
    """They say already what is wrong, or that a person wants to stop."""
    for error in (InputError("not these"), KeyboardInterrupt(), OSError(28, "No space left on device")):
        with pytest.raises(type(error)) as caught:
            GuardedExporter("theirs", TheirExporter(raise_(error))).export(GRAPH, PROFILE, GOLDEN, tmp_path)
        assert caught.value is error


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (None, "expected a Preflight, found NoneType"),
        (True, "expected a Preflight, found bool"),
        (Preflight(True, "sentence"), "expected a tuple of sentences"),  # type: ignore[arg-type]
        (Preflight(True, None), "expected a tuple of sentences"),  # type: ignore[arg-type]
    ],
)
def test_a_verdict_that_is_none_is_refused(verdict: Any, words: str) -> None:
    """A sentence in the place of a tuple would be told letter by letter."""
    with pytest.raises(PluginError, match=words):
        GuardedExporter("theirs", TheirExporter(lambda *_: verdict)).preflight(GRAPH, PROFILE)


def test_reasons_reach_a_terminal_without_commands() -> None:
    """Colours and cursor movements of a plug-in are its own."""
    exporter = GuardedExporter("theirs", TheirExporter(lambda *_: Preflight(True, ("a\x1b[31mb",))))
    assert exporter.preflight(GRAPH, PROFILE).reasons == ("a [31mb",)


class TheirOpened:
    """Doubles its input; what it answers instead is set from outside."""

    inputs = {"x": TensorSpec("x", (None, 2))}  # noqa: RUF012 - a test's constant
    outputs = {"y": TensorSpec("y", (None, 2))}  # noqa: RUF012 - the same
    level_count, cache = 2, NO_CACHE

    def __init__(self, **changes: Any) -> None:
        vars(self).update(changes)
        self.closed = False

    def run(self, inputs: Any, level: int) -> Any:
        return {"y": inputs["x"] * 2}

    def memory(self) -> Any:
        return MemoryUse(1, (1, 2))

    def close(self) -> None:
        self.closed = True


def opened_with(opened: object) -> Opened:
    """Open through the guard."""
    adapter: Any = SimpleNamespace(open=lambda *_args, **_kw: opened)
    return GuardedAdapter("some", adapter).open(
        Path(), described(), level_count=2, runtime=PROFILE, cache=None
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cache": "off"}, "expected a CacheState as cache, found 'off'"),
        ({"memory": lambda: None}, r"expected a MemoryUse of 2 levels from memory\(\), found None"),
        ({"memory": lambda: MemoryUse(1, ())}, "expected a MemoryUse of 2 levels"),
        ({"memory": raise_(KeyError("m"))}, "failed in its attributes .KeyError"),
        ({"level_count": "2"}, "expected a whole number as level_count, found '2'"),
        ({"inputs": [("x", 2)]}, "expected a mapping of names to TensorSpec as inputs"),
    ],
)
def test_what_is_opened_is_looked_at_once_and_closed_when_it_is_wrong(
    changes: dict[str, Any], words: str
) -> None:
    """Not at the first run, on a device."""
    opened = TheirOpened(**changes)
    with pytest.raises(PluginError, match=f"The runtime adapter 'some' .*{words}"):
        opened_with(opened)
    assert opened.closed
    with pytest.raises(PluginError, match=r"satisfies elsa_edge\.plugins\.Opened from open, found None"):
        opened_with(None)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda _x: None, "expected a dict of y from run, found None"),
        (lambda x: [x], "expected a dict of y from run"),
        (lambda _x: {}, "found a dict of nothing"),
        (lambda x: {"z": x}, "expected an array of float32 as y from run, found None"),
        (lambda x: {"y": x, "z": x}, "found a dict of y, z"),
        (lambda x: {"y": x + 5j}, "found an array of complex64"),
        (lambda x: {"y": x.astype(np.float64)}, "found an array of float64"),
        (lambda x: {"y": x.tolist()}, "expected an array of float32 as y"),
    ],
)
def test_an_answer_of_another_type_is_refused(answer: Callable[[Any], object], words: str) -> None:
    """A comparison would look at the real part of a complex number only."""
    opened = opened_with(TheirOpened(run=lambda inputs, _level: answer(inputs["x"])))
    with pytest.raises(PluginError, match=words):
        opened.run(GOLDEN.inputs, 0)


def test_a_run_that_fails_names_the_adapter() -> None:
    """Memory apart, which is nobody's fault; an honest run is handed out as it is."""
    assert np.all(opened_with(TheirOpened()).run(GOLDEN.inputs, 0)["y"] == 2)
    with pytest.raises(PluginError, match="'some' tried to end the program in run"):
        opened_with(TheirOpened(run=exit_early)).run(GOLDEN.inputs, 0)
    with pytest.raises(OutOfMemoryError, match="'some' ran out of memory"):
        opened_with(TheirOpened(run=raise_(MemoryError()))).run(GOLDEN.inputs, 0)
    with pytest.raises(InputError, match="of theirs"):
        opened_with(TheirOpened(run=raise_(InputError("of theirs")))).run(GOLDEN.inputs, 0)


def test_an_adapter_that_cannot_say_what_is_missing_cannot_run() -> None:
    """It takes no other variant with it."""

    def asked(missing: Callable[..., object]) -> str | None:
        adapter: Any = SimpleNamespace(missing=missing, choices=lambda _v: None)
        return GuardedAdapter("some", adapter).missing(described())

    assert asked(lambda _v: None) is None
    assert asked(lambda _v: "a library") == "a library"
    assert "failed in missing (ValueError: theirs)" in str(asked(raise_(ValueError("theirs"))))
    assert "but False" in str(asked(lambda _v: False))
    adapter: Any = SimpleNamespace(missing=None, choices=lambda _v: None)
    with pytest.raises(ElsaError, match="offered choices that are none"):
        GuardedAdapter("some", adapter).choices(described())
