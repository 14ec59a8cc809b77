"""Bring a bundle to one device: look, decide, lock, bring, verify there, switch, make first runs, keep or return.

Until the one rename on the device nothing that serves has been touched; after it the device returns by itself when the
first runs fail. Every step can be cut anywhere: the next deployment takes up what has arrived.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from elsa_edge.bundle import open_bundle
from elsa_edge.bundle.trim import trimmed
from elsa_edge.deploy.agent import Reply
from elsa_edge.deploy.contents import ReleaseFile
from elsa_edge.deploy.devices import Device
from elsa_edge.deploy.dialogue import expect, locked, look, open_line
from elsa_edge.deploy.errors import DeviceError, RolledBackError
from elsa_edge.deploy.facts import StoreFacts
from elsa_edge.deploy.outcome import Options, Outcome, Tell
from elsa_edge.deploy.packages import PackagePlan
from elsa_edge.deploy.plan import Plan, notes, plan_release
from elsa_edge.deploy.prepare import prepare, profile_hash
from elsa_edge.deploy.ssh import SshTransport
from elsa_edge.deploy.transport import Parcel, Transport
from elsa_edge.files import scratch_folder
from elsa_edge.profiles import load_profile, render_profile
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.progress import told

__all__ = ["deploy"]

_TRIES: Final = 2
# Of a deployment, for the time that is left: bringing files; the rest is checking and proving them there.
_BROUGHT: Final = 0.8


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
        if plan.step == "nothing" and not _intact(talk, device, plan):
            tell(f"{device.name}: the release in service is damaged on the device's disk; it is put right")
            plan = replace(plan, step="verify")
        for note in plan.notes:
            tell(f"{device.name}: {note}")
        if packages.python is None:
            tell(f"{device.name}: {packages.reason}")
        tell(f"{device.name}: {_intention(plan)}")
        if options.dry_run or plan.step == "nothing":
            return Outcome(device.name, "planned" if options.dry_run else "unchanged", plan, packages)
        with locked(talk, device, store, options.take_over) as token:
            job = _Job(talk, device, profile, plan, packages, options, token, tell, store)
            return job.run()


def _intact(line: Transport, device: Device, plan: Plan) -> bool:
    """Whether the files of the release in service still are what they were."""
    reply = expect(line.ask("intact", {"ROOT": device.root, "RELEASE": plan.release.hash}), device)
    return reply.one("intact") == "yes"


def _intention(plan: Plan) -> str:
    if plan.step == "nothing":
        return f"{plan.release.hash[:12]} is in service already; nothing to do"
    if plan.step == "verify":
        return f"{plan.release.hash[:12]} is there already; it will be verified and put into service with this profile"
    return (
        f"{plan.release.hash[:12]} of {plan.release.size_bytes / 1e6:.2f} MB; "
        f"{len(plan.blobs)} files and {len(plan.wheels)} wheels will travel, {plan.travel_bytes / 1e6:.2f} MB"
    )


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
        with scratch_folder() as scratch:
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
            self.tell(told(f"{self.device.name}: verified there, at every level", 0.95))
        first = self._activate()
        self.tell(f"{self.device.name}: {self.plan.release.hash[:12]} is in service")
        return Outcome(
            self.device.name,
            "deployed",
            self.plan,
            self.packages,
            self.moved_bytes,
            verified.json(),
            first.json(),
            self._measure() if self.options.measure_s > 0 and self.packages.python is not None else None,
        )

    def _ask(self, verb: str, **settings: str) -> Reply:
        return expect(self._try(verb, **settings), self.device)

    def _try(self, verb: str, **settings: str) -> Reply:
        common = {
            "ROOT": self.device.root,
            "TOKEN": self.token,
            "RELEASE": self.plan.release.hash,
            "PYTHON": self.packages.python.path if self.packages.python else "",
            "PROGRAM": self.plan.release.program,
        }
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
            "stage",
            LIST=self.plan.release.listing,
            NAME=self.plan.release.name,
            WHEELS=" ".join(self.plan.python_path),
            LAUNCHER=self.plan.release.launcher,
            PROFILE=render_profile(self.profile).rstrip("\n"),
        )
        if reply.all("damaged"):
            return reply.all("damaged")
        expect(reply, self.device)
        return []

    def _count(self, moved: int) -> None:
        self.moved_bytes += moved
        total = max(1, self.plan.travel_bytes)
        line = f"{self.device.name}: {self.moved_bytes / 1e6:.2f} of {total / 1e6:.2f} MB"
        self.tell(told(line, _BROUGHT * self.moved_bytes / total))

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
                found=words[-1][:1000] if words else None,
            )
        return expect(reply, self.device)

    def _measure(self) -> DeviceProfile:
        self.tell(f"{self.device.name}: measuring there")
        reply = self._ask("measure", SECONDS_EACH=f"{self.options.measure_s:g}")
        with scratch_folder() as scratch:
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
