"""Bring a bundle to one device: look, decide, lock, bring, verify there, switch, make first runs, keep or return.

Until the one rename on the device nothing that serves has been touched; after it the device returns by itself when the
first runs fail. Every step can be cut anywhere: the next deployment takes up what has arrived.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from elsa_edge.bundle import open_bundle
from elsa_edge.bundle.manifest import FILE_NAME, SIGNATURE_NAME
from elsa_edge.bundle.reader import Bundle
from elsa_edge.bundle.signature import check_signature
from elsa_edge.bundle.trim import trimmed
from elsa_edge.deploy.agent import Reply
from elsa_edge.deploy.contents import Release, ReleaseFile, release_of
from elsa_edge.deploy.devices import Device
from elsa_edge.deploy.errors import BusyError, DeviceError, IncompatibleError, LineError, RolledBackError
from elsa_edge.deploy.facts import DeviceFacts, StoreFacts, facts_of, store_of
from elsa_edge.deploy.launcher import launcher
from elsa_edge.deploy.packages import PackagePlan, Wish, choose_packages
from elsa_edge.deploy.plan import Plan, may_take, notes, plan_release, refusals
from elsa_edge.deploy.ssh import SshTransport
from elsa_edge.deploy.transport import AdbTransport, LocalTransport, Parcel, Transport
from elsa_edge.deploy.wheels import Wheel, collect_wheels, own_version, wheels_in
from elsa_edge.errors import ElsaError
from elsa_edge.profiles import load_profile, render_profile
from elsa_edge.profiles.schema import DeviceProfile

__all__ = ["Options", "Outcome", "deploy", "look", "open_line", "payload", "rollback", "trust", "wipe_store"]

Tell = Callable[[str], None]

PYTHONS: Final = "python3\npython3.14\npython3.13\npython3.12\npython3.11"
_CARRIED_PROFILE: Final = "device.yaml"
_TRIES: Final = 2


@dataclass(frozen=True, slots=True)
class Options:
    """How to deploy.

    Attributes:
        packages: Whether Python packages are the device's own or travel; "auto" decides by what is there.
        wheels: A folder of wheels to bring instead of fetching them.
        trial_s: How long the first runs go on before the release counts as good.
        measure_s: How long to measure on the device afterwards; 0 for not at all.
        take_over: Take a lock whose owner will not come back.
        dry_run: Say what would be done, and do nothing.
        cache: Folder for fetched wheels.
    """

    packages: Wish = "auto"
    wheels: Path | None = None
    trial_s: float = 2.0
    measure_s: float = 0.0
    take_over: bool = False
    dry_run: bool = False
    cache: Path = field(default_factory=lambda: Path(tempfile.gettempdir(), "elsa-edge"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a deployment did.

    Attributes:
        device: Its name.
        state: "unchanged", "planned", "deployed".
        plan: What was decided.
        packages: How elsa-edge runs there.
        moved_bytes: Bytes of files that were sent; on the line a little more for the conversation.
        verified: The answer of `verify` on the device; empty where the device has no Python.
        first_runs: The answer of the first runs.
        profile: The device's profile with what was measured; None when nothing was.
    """

    device: str
    state: Literal["deployed", "unchanged", "planned"]
    plan: Plan
    packages: PackagePlan
    moved_bytes: int = 0
    verified: Mapping[str, Any] = field(default_factory=dict)
    first_runs: Mapping[str, Any] = field(default_factory=dict)
    profile: DeviceProfile | None = None

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        checked = (
            "numbers at every level, on the device"
            if self.packages.kind != "none"
            else "hashes only, on the device"
        )
        return {
            "device": self.device, "state": self.state, "plan": self.plan.as_json(), "moved_bytes": self.moved_bytes,
            "packages": self.packages.kind, "packages_reason": self.packages.reason, "checked": checked,
            "verify": dict(self.verified), "first_runs": dict(self.first_runs),
        }  # fmt: skip


def open_line(device: Device) -> Transport:
    """Return a line to a device; nothing is contacted before the first question.

    Raises:
        RuntimeUnavailableError: When the program for that kind of line is not installed here.
    """
    target = device.target
    if target.kind == "ssh":
        return SshTransport(target)
    return AdbTransport(target.host) if target.kind == "adb" else LocalTransport()


def look(line: Transport, device: Device) -> tuple[DeviceFacts, StoreFacts]:
    """Ask a device what it is and what lies on it. Nothing is written there."""
    pythons = device.python or PYTHONS
    reply = _expect(line.ask("look", {"ROOT": device.root, "PYTHONS": pythons}), device)
    facts = facts_of(reply)
    return facts, store_of(reply)


def deploy(
    bundle: Path,
    device: Device,
    profile: DeviceProfile,
    options: Options,
    *,
    tell: Tell,
    line: Transport | None = None,
) -> Outcome:
    """Bring a bundle to a device and put it into service there.

    Args:
        bundle: The bundle's folder.
        device: Where to.
        profile: The device's profile.
        options: How.
        tell: Called with a line for each step.
        line: An open line to use; by default one is made.

    Raises:
        IncompatibleError: When it cannot run there; nothing was copied.
        BusyError: When another deployment is at work there.
        LineError: When the line breaks; the device serves what it served, and the next try goes on.
        RolledBackError: When it failed there and the device has returned to what it served before.
        DeviceError: When the device refuses.
        BundleError: When the bundle is damaged here.
    """
    whole = open_bundle(bundle)
    with line or open_line(device) as talk:
        facts, store = look(talk, device)
        if isinstance(talk, SshTransport):
            talk.allow_rsync("rsync" in facts.tools)
        packages, wheels, release = prepare(whole, facts, profile, options, tell)
        kept = trimmed(whole.manifest, profile.deploy.max_level)
        said = notes(kept, facts, profile, release)
        plan = plan_release(
            release, store=store, facts=facts, wheels=wheels, profile_hash=profile_hash(profile), said=said
        )
        for note in plan.notes:
            tell(f"{device.name}: {note}")
        tell(f"{device.name}: {_intention(plan)}")
        if options.dry_run or plan.step == "nothing":
            return Outcome(device.name, "planned" if options.dry_run else "unchanged", plan, packages)
        with _locked(talk, device, store, options) as token:
            job = _Job(talk, device, profile, plan, packages, options, token, tell, store)
            return job.run()


def prepare(
    whole: Bundle, facts: DeviceFacts, profile: DeviceProfile, options: Options, tell: Tell
) -> tuple[PackagePlan, list[Wheel], Release]:
    """Decide how the bundle will run there, and make the release; refuse it when it cannot run.

    Raises:
        IncompatibleError: With every reason why it cannot.
        BundleError: When the profile demands a signature and it has none that is trusted.
    """
    kept = trimmed(whole.manifest, profile.deploy.max_level)
    packages = choose_packages(facts, kept.variants, options.packages, own_version())
    if profile.deploy.require_signature:
        check_signature(whole.folder, profile.deploy.trusted_keys)
        if packages.kind == "none":
            raise IncompatibleError(
                "The profile demands a signature, and this device has nothing that could check one",
                fix="Let the application check it, and set deploy.require_signature: false for the copy",
            )
    carried = whole.folder / _CARRIED_PROFILE
    built_for = load_profile(carried) if carried.is_file() else None
    reasons = list(refusals(kept, built_for, facts, profile, packages))
    if reasons:
        raise IncompatibleError(
            f"{whole.manifest.name} cannot run on this device; nothing was copied", found="; ".join(reasons),
            fix=f"Build it for the device: elsa-edge build MODEL --device {profile.name}",
        )  # fmt: skip
    wheels: list[Wheel] = []
    if packages.kind == "bring":
        wheels = (
            wheels_in(options.wheels)
            if options.wheels
            else collect_wheels(packages, facts, options.cache, tell)
        )
    command = (
        launcher(packages.python.path, [wheel.sha256 for wheel in wheels])
        if packages.python
        else "#!/bin/sh\n"
    )
    return packages, wheels, _release(whole, command, profile)


def _release(whole: Bundle, command: str, profile: DeviceProfile) -> Release:
    names = [name for name in (FILE_NAME, SIGNATURE_NAME) if (whole.folder / name).is_file()]
    attached = {name: (whole.folder / name).read_bytes() for name in names}
    return release_of(whole.folder, whole.manifest, attached, command, profile.deploy.max_level)


def payload(bundle: Path, profile: DeviceProfile) -> Release:
    """Return what a device of that profile gets of a bundle, without asking one: for tools that bring it in other ways.

    Raises:
        BundleError: When the bundle is damaged, or not signed as the profile demands.
    """
    whole = open_bundle(bundle)
    if profile.deploy.require_signature:
        check_signature(whole.folder, profile.deploy.trusted_keys)
    return _release(whole, "#!/bin/sh\n", profile)


def rollback(device: Device, options: Options, *, tell: Tell, line: Transport | None = None) -> str:
    """Put the release before this one back into service, and return its name.

    Raises:
        DeviceError: When there is none, or the device refuses.
        BusyError: When another deployment is at work there.
    """
    with line or open_line(device) as talk:
        _, store = look(talk, device)
        if store.previous is None:
            raise DeviceError(f"There is no earlier release on {device.name}", fix="Deploy the one you want")
        with _locked(talk, device, store, options) as token:
            reply = _expect(talk.ask("rollback", {"ROOT": device.root, "TOKEN": token}), device)
        tell(f"{device.name}: {reply.one('current')[:12]} is in service again")
        return reply.one("current")


def wipe_store(device: Device) -> None:
    """Remove everything of elsa-edge from the device's store.

    Raises:
        BusyError: When a deployment is at work there.
    """
    _under_lock(device, "remove", {})


def trust(device: Device, keys: Sequence[str]) -> None:
    """Tell a device whose bundles to let in from now on; it then refuses all others, whoever deploys them.

    Raises:
        BusyError: When a deployment is at work there.
    """
    _under_lock(device, "trust", {"TRUST": "\n".join(keys)})


def _under_lock(device: Device, verb: str, settings: Mapping[str, str]) -> None:
    with open_line(device) as talk:
        _, store = look(talk, device)
        with _locked(talk, device, store, Options()) as token:
            _expect(talk.ask(verb, {"ROOT": device.root, "TOKEN": token, **settings}), device)


def profile_hash(profile: DeviceProfile) -> str:
    """Return what the device says of a profile in force: SHA-256 without the first line, which names a file here."""
    text = render_profile(profile).rstrip("\n").partition("\n")[2] + "\n"
    return hashlib.sha256(text.encode()).hexdigest()


def _intention(plan: Plan) -> str:
    if plan.step == "nothing":
        return f"{plan.release.hash[:12]} is in service already; nothing to do"
    if plan.step == "verify":
        return f"{plan.release.hash[:12]} is there already; it will be verified and put into service with this profile"
    return (
        f"{plan.release.hash[:12]} of {plan.release.size_bytes / 1e6:.2f} MB; "
        f"{len(plan.blobs)} files and {len(plan.wheels)} wheels will travel, {plan.travel_bytes / 1e6:.2f} MB"
    )


def _expect(reply: Reply, device: Device) -> Reply:
    """Return a reply that says the step was done; raise what the device said otherwise."""
    if not reply.complete:
        raise LineError(
            f"{device.name} stopped in the middle of a step", fix="Try again: it goes on where it stopped"
        )
    if reply.error is not None:
        words = reply.words.strip().splitlines()
        said = f": {words[-1][:400]}" if words else ""
        full = "space" in reply.error or "No space left" in reply.words
        raise DeviceError(
            f"{device.name} says: {reply.error}{said}",
            fix="Free some space there and try again" if full else None,
        )
    return reply


def _host() -> str:
    return socket.gethostname().split()[0] if socket.gethostname() else "unknown"


def _alive(owner: str) -> bool:
    """Whether the process that a lock of this machine names still runs, as the same user's."""
    number = owner.rpartition(" process ")[2]
    return number.isdecimal() and Path(f"/proc/{number}").exists()


@contextlib.contextmanager
def _locked(line: Transport, device: Device, store: StoreFacts, options: Options) -> Iterator[str]:
    """Hold the device's lock; let it go at the end, as far as the line allows."""
    token = secrets.token_hex(8)
    owner = f"{_host()} {os.environ.get('USER') or os.environ.get('LOGNAME') or os.getuid()} process {os.getpid()}"
    take = may_take(store.lock, _host(), _alive(store.lock.owner) if store.lock else False, options.take_over)
    settings = {"ROOT": device.root, "TOKEN": token, "OWNER": owner, "TAKE_FROM": take}
    reply = line.ask("lock", settings)
    if reply.error == "locked":
        may_take(store_of(reply).lock, _host(), True, False)
        raise BusyError(f"Another deployment has just begun on {device.name}", fix="Wait for it")
    _expect(reply, device)
    try:
        yield token
    finally:
        with contextlib.suppress(ElsaError):
            line.ask("unlock", {"ROOT": device.root, "TOKEN": token})


@dataclass
class _Job:
    """One deployment under the device's lock."""

    line: Transport
    device: Device
    profile: DeviceProfile
    plan: Plan
    packages: PackagePlan
    options: Options
    token: str
    tell: Tell
    store: StoreFacts
    moved_bytes: int = 0

    def run(self) -> Outcome:
        """Bring, verify, switch, measure."""
        with tempfile.TemporaryDirectory(prefix="elsa-edge-") as scratch:
            for attempt in range(_TRIES):
                damaged = self._bring(
                    Path(scratch), self.plan.blobs if attempt == 0 else self.plan.release.unique
                )
                if not damaged:
                    break
                if attempt + 1 == _TRIES:
                    raise DeviceError(
                        f"{len(damaged)} files arrive damaged on {self.device.name}", fix="Check its disk"
                    )
                self.tell(f"{self.device.name}: {len(damaged)} files did not arrive whole; once more")
                _, self.store = look(self.line, self.device)
        verified = self._ask("verify", **self._trust())
        if verified.json():
            self.tell(f"{self.device.name}: verified there, at every level")
        first = self._activate()
        self.tell(f"{self.device.name}: {self.plan.release.hash[:12]} is in service")
        return Outcome(
            self.device.name, "deployed", self.plan, self.packages, self.moved_bytes, verified.json(), first.json(),
            self._measure() if self.options.measure_s > 0 and self.packages.kind != "none" else None,
        )  # fmt: skip

    def _ask(self, verb: str, **settings: str) -> Reply:
        return _expect(self._try(verb, **settings), self.device)

    def _try(self, verb: str, **settings: str) -> Reply:
        common = {
            "ROOT": self.device.root, "TOKEN": self.token, "RELEASE": self.plan.release.hash,
            "PYTHON": self.packages.python.path if self.packages.python else "",
        }  # fmt: skip
        return self.line.ask(verb, common | settings)

    def _bring(self, scratch: Path, blobs: Iterable[ReleaseFile]) -> list[str]:
        """Send what is missing and put the release together; return what did not arrive whole."""
        store = self.store
        parcels = [
            _parcel(
                file.sha256,
                file.size_bytes,
                _on_disk(file.source, file.content, scratch / file.sha256),
                store,
            )
            for file in blobs
            if store.blobs.get(file.sha256) != file.size_bytes
        ] + [
            _parcel(wheel.sha256, wheel.size_bytes, wheel.path, store)
            for wheel in self.plan.wheels
            if wheel.sha256 not in store.blobs
        ]
        if parcels:
            if self.plan.bases and self.line.sends_differences:
                self._ask("seed", BASES="\n".join(f"{new} {old}" for new, old in self.plan.bases.items()))
            try:
                self.line.send(parcels, f"{store.root}/incoming", self._count)
            except DeviceError as error:
                if "full" in error.problem:
                    self._try("forget")
                raise
            sent = "\n".join(f"{parcel.name} {parcel.size_bytes}" for parcel in parcels)
            damaged = self._try("receive", BLOBS=sent).all("damaged")
            if damaged:
                return damaged
        reply = self._try(
            "stage", LIST=self.plan.release.listing, NAME=self.plan.release.name,
            WHEELS=" ".join(self.plan.python_path),
            LAUNCHER=self.plan.release.launcher, PROFILE=render_profile(self.profile).rstrip("\n"),
        )  # fmt: skip
        if reply.all("damaged"):
            return reply.all("damaged")
        _expect(reply, self.device)
        return []

    def _count(self, moved: int) -> None:
        self.moved_bytes += moved
        total = max(1, self.plan.travel_bytes)
        self.tell(f"{self.device.name}: {self.moved_bytes / 1e6:.2f} of {total / 1e6:.2f} MB")

    def _trust(self) -> dict[str, str]:
        settings = self.profile.deploy
        return {"TRUST": "\n".join(settings.trusted_keys)} if settings.require_signature else {}

    def _activate(self) -> Reply:
        reply = self._try(
            "activate", TRIAL_S=f"{self.options.trial_s:g}", KEEP=str(self.profile.deploy.keep_releases)
        )
        if reply.all("rolled_back"):
            back = reply.one("rolled_back")
            words = reply.words.strip().splitlines()
            raise RolledBackError(
                f"The first runs failed on {self.device.name}; "
                + (f"it serves {back[:12]} again, as before" if back else "it serves nothing, as before"),
                found=words[-1][:400] if words else None,
            )
        return _expect(reply, self.device)

    def _measure(self) -> DeviceProfile:
        self.tell(f"{self.device.name}: measuring there")
        reply = self._ask("measure", SECONDS_EACH=f"{self.options.measure_s:g}")
        with tempfile.TemporaryDirectory(prefix="elsa-edge-") as scratch:
            path = Path(scratch, "measured.yaml")
            path.write_text("\n".join(reply.all("profile")) + "\n", encoding="utf-8")
            return load_profile(path)


def _on_disk(source: Path | None, content: bytes | None, scratch: Path) -> Path:
    if source is not None:
        return source
    scratch.write_bytes(content or b"")
    return scratch


def _parcel(sha256: str, size_bytes: int, path: Path, store: StoreFacts) -> Parcel:
    return Parcel(path, sha256, size_bytes, store.parts.get(sha256, 0))
