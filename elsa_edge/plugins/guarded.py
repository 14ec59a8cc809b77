"""Exporters and adapters held to what they promise: each call and each answer is checked, and a failure names them.

The rest of elsa-edge meets plug-ins only like this; ours are treated as those of third parties.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from elsa_edge.bundle.golden import Golden
from elsa_edge.bundle.manifest import Variant
from elsa_edge.errors import ElsaError, PluginError, RuntimeUnavailableError
from elsa_edge.plugins.blame import REPORT, blamed, first_mistake
from elsa_edge.plugins.guarded_opened import GuardedOpened
from elsa_edge.plugins.protocols import Adapter, Exporter, Forecast, Forecaster, Opened, Preflight
from elsa_edge.plugins.timing import OperatorTime, OperatorTimer
from elsa_edge.profiles.schema import DeviceProfile, Runtime

if TYPE_CHECKING:
    from elsa_edge.graph.canonical import CanonicalGraph

__all__ = ["GuardedAdapter", "GuardedExporter"]


def _wrong(who: str, problem: str, expected: object, found: object) -> NoReturn:
    raise PluginError(f"{who} {problem}", expected=expected, found=found, fix=REPORT)


class GuardedExporter:
    """An exporter as the rest of elsa-edge sees it; satisfies `Exporter`."""

    def __init__(self, name: str, exporter: Exporter) -> None:
        self._exporter = exporter
        self._name = name
        self._who = f"The exporter {name!r}"
        with blamed(self._who, "its attributes"):
            called: object = exporter.name
            runtime: object = exporter.runtime
        if called != name:
            _wrong(self._who, f"calls itself {called!r}", "the name of its entry point", repr(called))
        if not isinstance(runtime, str) or not runtime:
            _wrong(self._who, "names no runtime", "the name of a runtime adapter", repr(runtime))
        self._runtime = runtime

    @property
    def name(self) -> str:
        """The entry-point name, which is also the variant's name."""
        return self._name

    @property
    def runtime(self) -> str:
        """Name of the runtime adapter that loads the variant."""
        return self._runtime

    def preflight(self, graph: CanonicalGraph, profile: DeviceProfile) -> Preflight:
        """Decide whether the variant makes sense; see `Exporter.preflight`."""
        with blamed(self._who, "preflight"):
            found: object = self._exporter.preflight(graph, profile)
        if not isinstance(found, Preflight):
            _wrong(self._who, "gave no verdict in preflight", "a Preflight", type(found).__name__)
        reasons: object = found.reasons
        if not isinstance(reasons, (tuple, list)) or not all(isinstance(reason, str) for reason in reasons):
            _wrong(
                self._who, "gave reasons in preflight that are none", "a tuple of sentences", repr(reasons)
            )
        return Preflight(bool(found.applies), tuple(map(_printable, reasons)))

    def forecast(self, graph: CanonicalGraph, profile: DeviceProfile) -> Forecast | None:
        """Return what the exporter expects of its variant; None where it says nothing of it."""
        if not isinstance(self._exporter, Forecaster):
            return None
        with blamed(self._who, "forecast"):
            found: object = self._exporter.forecast(graph, profile)
        if found is None:
            return None
        if not isinstance(found, Forecast) or len(found.level_ms) != len(graph.ladder):
            _wrong(
                self._who,
                "forecast something else",
                "a Forecast with a time a level, or None",
                repr(found)[:200],
            )
        return found

    def export(self, graph: CanonicalGraph, profile: DeviceProfile, golden: Golden, folder: Path) -> Variant:
        """Write the variant; see `Exporter.export`. What it returns is what the manifest will say."""
        with blamed(self._who, "export"):
            found: object = self._exporter.export(graph, profile, golden, folder)
        if not isinstance(found, Variant):
            _wrong(self._who, "described no variant", "a Variant", type(found).__name__)
        variant = self._as_the_manifest_has_it(found)
        if (variant.name, variant.runtime) != (self.name, self.runtime):
            _wrong(
                self._who,
                "described another variant",
                f"{self.name} for {self.runtime}",
                f"{variant.name!r} for {variant.runtime!r}",
            )
        for path in variant.files.values():
            place = folder / path
            if place.is_symlink() or not place.is_file():
                _wrong(self._who, "did not write a file that it names", f"a plain file {path}", _what(place))
        levels = len(graph.ladder)
        if variant.level_bytes and len(variant.level_bytes) != levels:
            _wrong(
                self._who, "gave level_bytes that do not fit", f"{levels} numbers", len(variant.level_bytes)
            )
        try:
            absent = [role for role in variant.instructions.roles(levels) if role not in variant.files]
        except ValueError as error:
            raise PluginError(f"{self._who} gave wrong instructions ({error})", fix=REPORT) from error
        if absent:
            _wrong(self._who, "left out files that its instructions need", ", ".join(absent), "none")
        return variant

    def _as_the_manifest_has_it(self, variant: Variant) -> Variant:
        try:
            return Variant.model_validate_json(variant.model_dump_json())
        except ValueError as error:  # pydantic's errors are such
            raise PluginError(
                f"{self._who} described its variant wrongly ({first_mistake(error)})", fix=REPORT
            ) from error


def _printable(reason: str) -> str:
    """Return a sentence without what a terminal would take for a command."""
    return "".join(letter if letter.isprintable() else " " for letter in reason)


def _what(place: Path) -> str:
    return "a link" if place.is_symlink() else "a folder" if place.is_dir() else "nothing"


class GuardedAdapter:
    """An adapter as the rest of elsa-edge sees it; satisfies `Adapter`."""

    def __init__(self, name: str, adapter: Adapter) -> None:
        self._adapter = adapter
        self._who = f"The runtime adapter {name!r}"

    def missing(self, variant: Variant) -> str | None:
        """Return what is missing here to run a variant; see `Adapter.missing`. One that fails cannot run it either."""
        try:
            with blamed(self._who, "missing"):
                found: object = self._adapter.missing(variant)
        except ElsaError as error:
            return str(error).rstrip(".")
        if found is None:
            return None
        if not isinstance(found, str) or not found:
            return f"{self._who} said neither what is missing nor that nothing is, but {found!r}"
        return _printable(found)

    def choices(self, variant: Variant) -> tuple[str, ...]:
        """Return the choices of a variant; see `Adapter.choices`."""
        with blamed(self._who, "choices"):
            found: object = self._adapter.choices(variant)
        if not isinstance(found, (tuple, list)) or not all(isinstance(choice, str) for choice in found):
            _wrong(self._who, "offered choices that are none", "a tuple of names", repr(found))
        return tuple(found)

    def open(
        self, folder: Path, variant: Variant, *, level_count: int, runtime: Runtime, cache: Path | None
    ) -> Opened:
        """Load a variant; see `Adapter.open`. What comes back satisfies `Opened`."""
        with blamed(self._who, "open"):
            opened: object = self._adapter.open(
                folder, variant, level_count=level_count, runtime=runtime, cache=cache
            )
        return GuardedOpened.of(self._who, opened)

    @property
    def times_operators(self) -> bool:
        """Whether the adapter can tell how long each operator takes."""
        return isinstance(self._adapter, OperatorTimer)

    def open_timed(
        self,
        folder: Path,
        variant: Variant,
        *,
        level_count: int,
        runtime: Runtime,
        cache: Path | None,
        into: Path,
    ) -> Opened:
        """Load a variant that notes the times of its operators; see `OperatorTimer.open_timed`."""
        with blamed(self._who, "open_timed"):
            opened: object = self._timer().open_timed(
                folder, variant, level_count=level_count, runtime=runtime, cache=cache, into=into
            )
        return GuardedOpened.of(self._who, opened)

    def operator_times(self, into: Path) -> list[list[OperatorTime]]:
        """Return what was noted, a list per run; see `OperatorTimer.operator_times`."""
        with blamed(self._who, "operator_times"):
            found: object = self._timer().operator_times(into)
        runs = [list(run) for run in found] if isinstance(found, (list, tuple)) else []
        if not runs or not all(isinstance(one, OperatorTime) for run in runs for one in run):
            _wrong(
                self._who, "told other operator times", "a list of OperatorTime per run", repr(found)[:200]
            )
        return runs

    def _timer(self) -> OperatorTimer:
        if not isinstance(self._adapter, OperatorTimer):
            raise RuntimeUnavailableError(f"{self._who} does not tell how long operators take")
        return self._adapter
