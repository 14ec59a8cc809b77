"""Deployments that are cut anywhere, counted on the line, rolled out to 200 stand-ins, and attacked.

The device is a folder of this machine behind a real sshd on loopback (the fleet: folders without one); what travels is
counted by a forwarder in between, with everything that ssh adds. Times are of this machine and no claim.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from benchmarks.common import Claim, Result, Row, at_least, at_most, benchmark, in_subprocess
from benchmarks.sshd import SSHD, Server, make_key, server
from benchmarks.stand_ins import FAILING
from benchmarks.wire import Wire
from elsa_edge.bundle import open_bundle
from elsa_edge.bundle.signature import sign_bundle
from elsa_edge.deploy import Device, Options, deploy, look, trust
from elsa_edge.deploy import prepare as home
from elsa_edge.deploy.errors import DeviceError
from elsa_edge.deploy.new_profile import profile_of
from elsa_edge.deploy.transport import LocalTransport
from elsa_edge.errors import ElsaError
from elsa_edge.files import sha256_of
from elsa_edge.profiles.schema import DeviceProfile

__all__ = ["byte_claims", "cut_claims", "interruptions", "main", "moved_rows", "opened_bench"]

_QUICK: Final = Options(
    packages="none", trial_s=0.0
)  # hashes only: what the device's Python adds is tested apart
_WHOLE: Final = Options(packages="own", trial_s=0.0)
_KINDS: Final = ("deployer killed", "device killed", "line cut", "disk full")
_LADDER: Final = (0.95, 0.9, 0.0)


def _silent(_: str) -> None:
    """Nobody watches."""


def _rehash(folder: Path, **changes: object) -> None:
    """Write the hashes of changed files into the manifest."""
    path = folder / "manifest.json"
    data = json.loads(path.read_text()) | changes
    for entry in data["files"]:
        file = folder / entry["path"]
        entry["size_bytes"], entry["sha256"] = file.stat().st_size, sha256_of(file)
    path.write_text(json.dumps(data))


def _variation(source: Path, target: Path, number: int) -> Path:
    """Copy a bundle; the file of its first level gets other content of the same size."""
    shutil.copytree(source, target)
    file = target / "ort-levels" / "level_0.onnx"
    file.write_bytes(random.Random(number).randbytes(file.stat().st_size))  # noqa: S311 - no secret
    _rehash(target)
    return target


@dataclass(frozen=True)
class _Bench:
    """A server, a counted line to it, and what is deployed."""

    folder: Path
    running: Server
    wire: Wire
    bundle: Path
    profile: DeviceProfile

    def device(self, store: Path) -> Device:
        return Device("stand-in", f"ssh://127.0.0.1:{self.wire.port}", str(store), sys.executable)


@contextmanager
def opened_bench(folder: Path, net: str) -> Iterator[_Bench]:
    """Build a network, and put a counted line in front of a real SSH server, until the block ends."""
    # Here, because each deployment that is cut is a process of its own, which needs neither torch nor the exporters.
    from benchmarks.common.prepare import prepare
    from elsa_edge.build import build_bundle

    prepared = prepare(net, folder, _LADDER)
    facts, _ = look(LocalTransport(), Device("here", "local:", str(folder / "none"), sys.executable))
    profile = profile_of("here", facts)
    built = folder / "bundle"
    build_bundle(prepared.canonical, profile, built, variants=["ort-levels"])
    with ExitStack() as stack:
        running = stack.enter_context(server(folder / "sshd"))
        wire = stack.enter_context(Wire(running.port))
        running.know(wire.port)
        before = os.environ["PATH"]
        os.environ["PATH"] = running.path()
        stack.callback(os.environ.__setitem__, "PATH", before)
        yield _Bench(folder, running, wire, built, profile)


def moved_rows(bench: _Bench) -> list[Row]:
    """Return what travels: at first, again unchanged, and after one level has changed."""
    device = bench.device(bench.folder / "store of bytes")
    rows: list[Row] = []
    changed = _variation(bench.bundle, bench.folder / "changed", 1)
    for what, source in (
        ("first", bench.bundle),
        ("unchanged", bench.bundle),
        ("one level changed", changed),
    ):
        before = bench.wire.moved_bytes
        outcome = deploy(source, device, bench.profile, _QUICK, tell=_silent)
        level = (source / "ort-levels" / "level_0.onnx").stat().st_size
        rows.append(
            {"what": what, "on_the_line_bytes": bench.wire.moved_bytes - before,
             "files_bytes": outcome.moved_bytes,
             "changed_level_bytes": level, "state": outcome.state}
        )  # fmt: skip
    low = bench.profile.model_copy(
        update={"deploy": bench.profile.deploy.model_copy(update={"max_level": 0})}
    )
    before = bench.wire.moved_bytes
    outcome = deploy(bench.bundle, bench.device(bench.folder / "low"), low, _QUICK, tell=_silent)
    dense = (bench.bundle / "ort-levels" / f"level_{len(_LADDER) - 1}.onnx").stat().st_size
    shared = bench.bundle / "ort-levels" / "shared.bin"
    dense += shared.stat().st_size if shared.exists() else 0
    rows.append(
        {"what": "max_level: 0", "on_the_line_bytes": bench.wire.moved_bytes - before,
         "files_bytes": outcome.moved_bytes,
         "changed_level_bytes": dense, "state": outcome.state}
    )  # fmt: skip
    return rows


def child(bundle: str, device: dict[str, str], profile: dict[str, Any], whole: bool) -> dict[str, str]:
    """Deploy in a process of its own, which can be killed."""
    made = DeviceProfile.model_validate_json(json.dumps(profile))
    outcome = deploy(Path(bundle), Device(**device), made, _WHOLE if whole else _QUICK, tell=_silent)
    return {"state": outcome.state}


def _interrupt(bench: _Bench, kind: str, source: Path, store: Path, *, whole: bool, point: int) -> bool:
    """Begin a deployment and cut it once so many bytes have passed; return whether it failed of that.

    The line stands still while the deed is done, so that it hits a deployment at work, however slow the machine is.
    """
    device = bench.device(store)
    if kind == "line cut":
        bench.wire.cut_after(point)
        status = _in_process(source, device, bench.profile, whole, dict(os.environ)).wait()
        bench.wire.cut_after(None)
        return status != 0
    bench.wire.hold_after(point)
    process = _in_process(source, device, bench.profile, whole, dict(os.environ))
    while not bench.wire.holds.wait(0.05) and process.poll() is None:
        pass
    filler = store.parent / "filler"
    if kind == "disk full":
        _fill(filler)
    elif kind == "deployer killed":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        bench.running.kill_sessions()
    bench.wire.let_go()
    status = process.wait()
    filler.unlink(missing_ok=True)
    return status != 0


def _point(conversation_bytes: int) -> int:
    """Return where to cut: in the questions before the files, in the files, or in what follows them, each as often."""
    few = 12_000
    parts = [(2_000, few), (few, conversation_bytes - few), (conversation_bytes - few, conversation_bytes)]
    low, high = random.choice(parts)  # noqa: S311 - a moment to cut, no secret
    return random.randrange(low, high)  # noqa: S311 - the same


@contextmanager
def _small_disk(folder: Path) -> Iterator[bool]:
    """Mount a disk of 160 MB there until the block ends; tell whether that was possible (it takes root)."""
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None or os.getuid() != 0:
        yield False
        return
    done = subprocess.run([mount, "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(folder)], check=False)
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run([umount, str(folder)], check=False)


def _fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as stream:
        try:
            for size in (1 << 16, 1 << 10, 1):
                while True:
                    stream.write(bytes(size))
        except OSError:
            return


def _in_process(
    source: Path, device: Device, profile: DeviceProfile, whole: bool, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    words = {"name": device.name, "address": device.address, "root": device.root, "python": device.python}
    arguments = json.dumps([str(source), words, profile.model_dump(mode="json"), whole])
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.common", "benchmarks.deploy:child", arguments], env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def interruptions(bench: _Bench, count: int) -> list[Row]:
    """Cut deployments at random; after each the device must serve old or new, whole, and the next one must succeed."""
    random.seed(13)
    with _small_disk(bench.folder / "small disk") as full:
        kinds = _KINDS if full else _KINDS[:3]
        return _cut_and_try(bench, bench.folder / "small disk" / "store", count, kinds)


def _cut_and_try(bench: _Bench, store: Path, count: int, kinds: Sequence[str]) -> list[Row]:
    device = bench.device(store)
    options = {True: _WHOLE, False: _QUICK}
    deploy(bench.bundle, device, bench.profile, _QUICK, tell=_silent)
    usual = _variation(bench.bundle, bench.folder / "usual", count)
    before = bench.wire.moved_bytes
    deploy(usual, device, bench.profile, _QUICK, tell=_silent)
    conversation = bench.wire.moved_bytes - before
    serving = open_bundle(usual).identity
    rows = []
    for number in range(count):
        kind, whole = kinds[number % len(kinds)], number % 10 == 9
        new = bench.folder / f"new {number}"
        shutil.copytree(bench.bundle, new)
        if not whole:
            shutil.rmtree(new)
            _variation(bench.bundle, new, number)
        _rehash(new, provenance={"number": number})
        identity = open_bundle(new).identity
        point = _point(conversation)
        cut = _interrupt(bench, kind, new, store, whole=whole, point=point)
        after = open_bundle(store / "current" / "bundle").identity
        began = time.perf_counter()
        again, problem = "", ""
        try:
            again = _retry(new, device, bench.profile, options[whole])
        except ElsaError as error:
            problem = str(error)
        finally_serving = open_bundle(store / "current" / "bundle").identity
        rows.append(
            {"number": number, "kind": kind, "after_bytes": point, "was_cut": cut, "with_python": whole,
             "served_whole": after in (serving, identity), "served": "new" if after == identity else "old",
             "next": again or problem[:80], "recovered": finally_serving == identity,
             "seconds": round(time.perf_counter() - began, 2)}
        )  # fmt: skip
        serving = finally_serving
        shutil.rmtree(new)
    return rows


def _retry(new: Path, device: Device, profile: DeviceProfile, options: Options) -> str:
    """Deploy again, as a person would: at once, without taking anything over by force."""
    return deploy(new, device, profile, options, tell=_silent).state


def _attacks(bench: _Bench) -> list[Row]:
    """Deploy what must be refused, with every check at home switched off; the device runs its own Python."""
    keys = bench.folder / "keys"
    keys.mkdir()
    line, theirs = make_key(keys / "ours"), keys / "theirs"
    make_key(theirs)
    device = bench.device(bench.folder / "store to attack")
    trust(device, [line])

    def made(name: str, key: Path | None, counter: int, harm: bool = False) -> Path:
        target = bench.folder / "attacks" / name
        shutil.copytree(bench.bundle, target)
        _rehash(target, counter=counter)
        if key is not None:
            sign_bundle(target, key)
        if harm:
            model = target / "ort-levels" / "level_0.onnx"
            data = bytearray(model.read_bytes())
            data[len(data) // 2] ^= 1
            model.write_bytes(data)
        return target

    good = made("good", keys / "ours", 5)
    deploy(good, device, bench.profile, _WHOLE, tell=_silent)
    rehashed = made("re-hashed", keys / "ours", 6, harm=True)
    _rehash(rehashed)
    twin = made("same counter", None, 5)
    _rehash(twin, name="twin")
    sign_bundle(twin, keys / "ours")
    newer = made("newer", keys / "ours", 9)
    attacks = {
        "re-hashed": rehashed, "unsigned": made("unsigned", None, 8), "other key": made("other", theirs, 8),
        "downgraded": made("older", keys / "ours", 4), "same counter": twin,
    }  # fmt: skip
    rows = []
    served = open_bundle(Path(device.root) / "current" / "bundle").identity
    with patch.object(home, "check_signature", lambda *_: ""):
        for name, source in attacks.items():
            rows.append(_refused(bench, device, name, source, served))
        deploy(newer, device, bench.profile, _WHOLE, tell=_silent)
        served = open_bundle(newer).identity
        rows.append(_refused(bench, device, "replayed", good, served))
    return rows


def _refused(bench: _Bench, device: Device, name: str, source: Path, served: str) -> Row:
    try:
        deploy(source, device, bench.profile, _WHOLE, tell=_silent)
        said = ""
    except DeviceError as error:
        said = str(error)
    after = open_bundle(Path(device.root) / "current" / "bundle").identity
    return {
        "attack": name,
        "refused_there": "does not verify" in said and after == served,
        "said": said[-160:],
    }


@benchmark("deploy")
def main(quick: bool) -> Result:
    """Cut deployments, count bytes, roll out to 200 stand-ins, attack."""
    if SSHD is None:
        raise RuntimeError("this needs sshd (Debian: apt-get install openssh-server)")
    with (
        tempfile.TemporaryDirectory(prefix="elsa-edge-") as scratch,
        opened_bench(Path(scratch), "mlp") as b,
    ):
        moved = moved_rows(b)
        attacks = _attacks(b)
        stand_ins = in_subprocess(
            "benchmarks.stand_ins:fleet", str(b.bundle), str(b.folder / "fleet"), 20 if quick else 200
        )
        cuts = interruptions(b, 4 if quick else 50)
    return Result(
        rows=[*moved, *attacks, stand_ins, *cuts], claims=_claims(moved, attacks, stand_ins, cuts, quick)
    )


def byte_claims(moved: list[Row]) -> list[Claim]:
    """Return the claims about what travels."""
    by = {row["what"]: row for row in moved}
    level, low = by["one level changed"], by["max_level: 0"]
    return [
        at_most("bytes on the line for an unchanged bundle", 64_000, by["unchanged"]["on_the_line_bytes"]),
        at_most("bytes on the line after one level changed / bytes of that level's file", 1.1,
                level["on_the_line_bytes"] / level["changed_level_bytes"]),
        at_most("bytes on the line for level 0 of a 95 % ladder / bytes of the dense file", 0.1,
                low["on_the_line_bytes"] / low["changed_level_bytes"]),
    ]  # fmt: skip


def cut_claims(cuts: list[Row]) -> list[Claim]:
    """Return the claims about interruptions."""
    return [
        at_least("interruptions after which the device served the old or the new release, whole", len(cuts),
                 sum(row["served_whole"] for row in cuts)),
        at_least("interruptions after which the next deployment succeeded", len(cuts),
                 sum(row["recovered"] for row in cuts)),
    ]  # fmt: skip


def _claims(
    moved: list[Row], attacks: list[Row], fleet_row: Row, cuts: list[Row], quick: bool
) -> list[Claim]:
    count = 20 if quick else 200
    return [
        *cut_claims(cuts),
        *byte_claims(moved),
        at_least("attacks that the device refused by itself", len(attacks),
                 sum(row["refused_there"] for row in attacks)),
        at_most("peak memory here of a roll-out to the stand-ins, MB", 200, fleet_row["peak_mb"]),
        at_least("stand-ins that serve after the patient roll-out", count - count // FAILING, fleet_row["serving"]),
        at_most("wave after which the strict roll-out stopped", 3, fleet_row["stopped_after_wave"]),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
