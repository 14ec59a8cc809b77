"""AdaptiveSession: what an application embeds. A loaded variant, what governs its level, and what happened so far.

    with AdaptiveSession.open("bundle/", device="raspberry-pi-5") as session:
        outputs = session.run({"input": x})         # at the level the controller has chosen
        outputs = session.run({"input": x}, level=0)  # at a level the caller chooses

On a device this needs numpy, pydantic, PyYAML and one runtime. One caller at a time: a second one is refused in words.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy.typing as npt

from elsa_edge.bundle import Bundle, Variant
from elsa_edge.bundle.rerouted import Rerouted
from elsa_edge.bundle.signature import Accepted
from elsa_edge.control import Decision, level_facts
from elsa_edge.control.deadline import time_left
from elsa_edge.control.governor import Begun, Governor
from elsa_edge.control.history import History, Rerouting, RunEvent, SessionStats
from elsa_edge.control.ledger import Ledger
from elsa_edge.errors import BundleError, InputError
from elsa_edge.files.pins import Pin
from elsa_edge.levels import Ladder
from elsa_edge.loading import (
    CachePath,
    choose_variant,
    default_cache,
    open_adapter,
    open_for,
    passed_over,
)
from elsa_edge.plugins import CacheUse, MemoryUse, Opened
from elsa_edge.plugins.chain import Chain
from elsa_edge.profiles.schema import DeviceProfile, Measured
from elsa_edge.rerouted_runs import ReroutedRuns
from elsa_edge.running.turns import Turn
from elsa_edge.tensors import TensorSpec
from elsa_edge.what_runs import WhatRuns, what_runs

__all__ = ["AdaptiveSession"]

Array = npt.NDArray[Any]


class AdaptiveSession:
    """One network that runs at several sparsity levels and holds a QoS policy by choosing among them.

    Open it with `AdaptiveSession.open`; close it, or use it as a context manager.

    Attributes:
        bundle: What was opened.
        profile: The device profile in force.
        variant: The variant that runs.
        ladder: The levels, sparsest first.

    Example:
        `bundle` is a bundle's folder, as `elsa-edge build` writes it.

        >>> import numpy
        >>> with AdaptiveSession.open(bundle, cache=False) as session:
        ...     inputs = {name: numpy.ones((1, *shape[1:]), dtype) for name, (shape, dtype) in session.inputs.items()}
        ...     outputs = session.run(inputs)
        ...     outputs = session.run(inputs, level=0)
        ...     session.stats.last.level
        0
    """

    def __init__(
        self,
        bundle: Bundle,
        variant: Variant,
        profile: DeviceProfile,
        adapter: Opened,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        on_run: Callable[[RunEvent], object] | None = None,
        pin: Pin | None = None,
        ledger: str | os.PathLike[str] | None = None,
        passed: Sequence[str] = (),
    ) -> None:
        self.bundle = bundle
        self._pin = pin
        self._turn = Turn()
        self.profile = profile
        self.variant = variant
        self.ladder: Ladder = bundle.ladder
        self._adapter = adapter
        self._on_run = on_run
        self._history = History([level.name for level in self.ladder])
        memory = adapter.memory()
        measured, stale = _measured_here(bundle, variant, profile)
        facts = level_facts(
            bundle.manifest.ladder,
            measured,
            [memory.at(level) for level in range(len(bundle.ladder))],
        )
        self._governor = Governor(
            facts,
            profile.qos,
            profile.probes,
            threads=profile.runtime.threads,
            clock_s=clock_s,
            ledger=None if ledger is None else Ledger(Path(ledger)),
        )
        self._own_notes = (*passed, *_about_cache(adapter), *stale)
        self._rerouted_runs = _rerouted_runs(variant, adapter, clock_s)

    @classmethod
    def open(
        cls,
        bundle: str | os.PathLike[str],
        device: str | os.PathLike[str] | DeviceProfile | None = None,
        *,
        variant: str | None = None,
        cache: CachePath | bool = True,
        check_hashes: bool = True,
        trusted_keys: Sequence[str | os.PathLike[str]] = (),
        accepted: Accepted | None = None,
        clock_s: Callable[[], float] = time.monotonic,
        on_run: Callable[[RunEvent], object] | None = None,
        ledger: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Open a bundle for running.

        Args:
            bundle: The bundle's folder.
            device: Device profile, by name, YAML file or value; by default the one the bundle was built for.
            variant: The variant to run; by default the profile's first that loads here.
            cache: Folder for files that the runtime derives on this device; True for the user's cache, False or
                None for none.
            check_hashes: Compare every file with its SHA-256 first. False trusts the storage, for a faster start.
            trusted_keys: Public keys (lines or files in OpenSSH's form), one of which must have signed the bundle. A
                profile that demands a signature brings its own; without either, signatures are not looked at.
            accepted: The newest bundle that was accepted before; an older one is then refused.
            clock_s: Monotonic clock in seconds.
            on_run: Called after every run with what happened, in the thread that runs; for a decision log
                (`elsa_edge.control.record.JsonLog`), a recorded trace (`TraceRecorder`) or metrics of your own. What it
                cannot write (an OSError, or its own `problem`) is noted in `notes`; the outputs are returned.
            ledger: A file that the sessions of one device share, so that they change their memory one at a time.

        Raises:
            BundleError: When the bundle is damaged or was changed, or is not signed as demanded.
            ProfileError: When the profile has a mistake in it, or its minimum accuracy cannot be held.
            RuntimeUnavailableError: When no variant's runtime is installed.
        """
        folder = default_cache() if cache is True else (None if cache is False else cache)
        pin = Pin.of(Path(bundle))
        try:
            opened, profile = open_for(
                bundle, device, check_hashes=check_hashes, trusted_keys=trusted_keys, accepted=accepted
            )
            chosen = choose_variant(opened, profile, variant)
            if not pin.is_still(opened.folder):
                raise BundleError("The bundle was replaced while it was being opened", fix="Open it again")
            adapter = open_adapter(replace(opened, folder=pin.path), chosen, profile, folder)
            try:
                return cls(
                    opened,
                    chosen,
                    profile,
                    adapter,
                    clock_s=clock_s,
                    on_run=on_run,
                    pin=pin,
                    ledger=ledger,
                    passed=() if variant else passed_over(opened, profile, chosen),
                )
            except BaseException:
                adapter.close()
                raise
        except BaseException:
            pin.release()
            raise

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for people: variants that cannot be loaded, levels that are left out, figures unknown."""
        return (*self._own_notes, *self._governor.notes)

    @property
    def inputs(self) -> dict[str, tuple[tuple[int | None, ...], str]]:
        """Input name -> (shape, dtype); None in a shape where any size fits."""
        return _pairs(self.bundle.inputs)

    @property
    def outputs(self) -> dict[str, tuple[tuple[int | None, ...], str]]:
        """Output name -> (shape, dtype)."""
        return _pairs(self.bundle.outputs)

    @property
    def level(self) -> int:
        """The level that the next `run` uses unless it is told another."""
        return self._governor.controller.level

    @property
    def last_decision(self) -> Decision:
        """The latest decision: level, reason, whether a level is expected to hold the policy, prediction."""
        return self._governor.controller.decision

    @property
    def stats(self) -> SessionStats:
        """Figures since the session was opened: runs, late ones, switches, percentiles per level, reasons.

        May be read by another thread than the one that runs.
        """
        return self._history.stats()

    @property
    def last_run(self) -> RunEvent | None:
        """The latest run as it happened; None before the first. Cheaper than `stats.last`, for use after every run."""
        return self._history.last

    @property
    def what_runs(self) -> WhatRuns:
        """Which kernels really run: variant, choice, threads, and the instruction set of our own kernels."""
        return what_runs(self.variant, self.profile.runtime)

    def memory(self) -> MemoryUse:
        """Return the memory need, base and per level, in bytes."""
        return self._adapter.memory()

    def run(
        self, inputs: Mapping[str, Array], level: int | None = None, *, within_ms: float | None = None
    ) -> dict[str, Array]:
        """Run one inference.

        Args:
            inputs: Input name -> array, batch first.
            level: The level to run at; by default the controller's choice. Its latency teaches either way.
            within_ms: The time that this run has, from now, where that is less than the budget: queueing and
                pre-processing have used some of it. The densest level that is expected to end in time runs, never
                one above the controller's choice; with too little time for any, the fastest. A variant that was
                built with `--reroute` also looks at the time on its way, and goes on sparser where it must.
                `stats.last.chosen_by` says which it was.

        Returns:
            Output name -> array.

        Raises:
            InputError: When an input's name, shape or type is wrong, when all inputs are empty, or when both a level
                and a time are given.
            LevelError: When there is no such level.
            UsageError: When another thread is running this session, or it was opened before a fork.
        """
        given: object = inputs  # callers without a type checker give arrays
        if type(given) is not dict and not isinstance(given, Mapping):
            names = ", ".join(self.bundle.inputs)
            raise InputError(
                "Inputs go by their names",
                expected=f"a dictionary with {names}",
                found=type(given).__name__,
                fix=f"session.run({{{next(iter(self.bundle.inputs), 'input')!r}: array}})",
            )
        with self._turn:
            return self._run(inputs, level, None if within_ms is None else time_left(within_ms))

    def _run(
        self, inputs: Mapping[str, Array], level: int | None, within_ms: float | None
    ) -> dict[str, Array]:
        run = self._governor.begin(inputs, level, within_ms)
        try:
            outputs, rerouted = self._infer(inputs, run)
        except BaseException as error:
            if (
                level is None
                and isinstance(error, BundleError)
                and self._governor.leave_out(run.level, error.problem)
            ):
                return self._run(inputs, level, within_ms)
            self._governor.refused()
            raise
        event = self._governor.end(run, rerouted)
        if event is not None:
            self._history.add(event)
            self._tell(event)
        return outputs

    def _infer(self, inputs: Mapping[str, Array], run: Begun) -> tuple[dict[str, Array], Rerouting | None]:
        if self._rerouted_runs is None:
            return self._adapter.run(inputs, run.level), None
        limit_ms = run.limit_ms if run.may_reroute else None
        governor = self._governor
        return self._rerouted_runs.run(
            inputs, run.level, limit_ms, governor.controller, governor.head_bytes()
        )

    def _tell(self, event: RunEvent) -> None:
        """Tell the listener of a run; one that cannot write loses nobody's outputs."""
        if self._on_run is None:
            return
        try:
            self._on_run(event)
        except OSError as error:
            self._note(f"on_run failed ({error.strerror or error}); the runs go on.")
        problem: object = getattr(self._on_run, "problem", None)
        if isinstance(problem, str):
            self._note(problem)

    def _note(self, sentence: str) -> None:
        """Keep a sentence for people, once."""
        if sentence not in self._own_notes:
            self._own_notes = (*self._own_notes, sentence)

    def close(self) -> None:
        """Release the runtime and its memory, after the run of another thread has ended. Closing twice is fine."""
        with self._turn.last():
            self._adapter.close()
            self._governor.close()
            if self._pin is not None:
                self._pin.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _rerouted_runs(variant: Variant, adapter: Opened, clock_s: Callable[[], float]) -> ReroutedRuns | None:
    """Return what runs a variant in segments; None for one that is whole."""
    if isinstance(variant.instructions, Rerouted) and isinstance(adapter, Chain):
        return ReroutedRuns(adapter, variant.instructions.segments, clock_s)
    return None


def _about_cache(adapter: Opened) -> tuple[str, ...]:
    """Say why an adapter that wanted to keep derived files could not; the network runs all the same."""
    if adapter.cache.use is not CacheUse.OFF:
        return ()
    return (f"The runtime's cache is {adapter.cache}. Every level stays in memory.",)


def _measured_here(
    bundle: Bundle, variant: Variant, profile: DeviceProfile
) -> tuple[Measured | None, tuple[str, ...]]:
    """Return the profile's table when it was measured for this bundle and variant, else why it is ignored."""
    table = profile.measured
    if table is None:
        return None, ()
    if table.bundle is not None and table.bundle != bundle.identity:
        return None, (
            "The profile's measured table belongs to another bundle and is ignored; measure again.",
        )
    if table.variant is not None and table.variant != variant.name:
        return None, (
            f"The profile's measured table is of {table.variant}, not {variant.name}, and is ignored.",
        )
    return table, ()


def _pairs(specs: Mapping[str, TensorSpec]) -> dict[str, tuple[tuple[int | None, ...], str]]:
    return {name: (spec.shape, spec.dtype) for name, spec in specs.items()}
