"""What people are told when a deployment cannot be: each mishap, and what the device has afterwards.

The commands are typed as people type them, to a device behind a real SSH server and to a phone behind a real adbd. For
each the table has the whole message; the device must be as it was, or serve what it served where the line broke.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml

from benchmarks.common import Claim, Result, Row, at_least, benchmark
from benchmarks.deploy_bench import LADDER, Bench, opened_bench, rehash
from benchmarks.deploy_cuts import fill, small_disk
from benchmarks.phone import missing_tools, phone
from benchmarks.sshd import make_key, server
from elsa_edge.bundle import open_bundle
from elsa_edge.files import sha256_of

__all__ = ["claims", "main"]

_QUICKLY: Final = ("--trial", "0.1", "--measure", "0")
_MIDDLE_BYTES: Final = 2_000_000  # of the eight millions of the first release
_OLD_RUNTIME: Final = "onnxruntime==1.20.1"
# What a board without Python has.
_TOOLS: Final = (
    "sh", "uname", "sed", "grep", "head", "tail", "tr", "cut", "cat", "sort", "find", "wc", "date", "sha256sum", "df",
    "getconf", "mkdir", "rmdir", "mv", "rm", "cp", "ln", "readlink", "basename", "dirname", "chmod", "sync",
)  # fmt: skip


@dataclass
class _Desk:
    """Where somebody sits and types.

    Attributes:
        folder: Everything of it; there is a blank in its path.
        path: PATH, with the device's own `ssh` or `adb` first.
        rows: What happened.
    """

    folder: Path
    path: str
    rows: list[Row] = field(default_factory=list)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Type a command."""
        environment = {**os.environ, "PATH": self.path, "ELSA_EDGE_DEVICES": str(self.folder / "devices"),
                       "OMP_NUM_THREADS": "1"}  # fmt: skip
        return subprocess.Popen(
            [sys.executable, "-m", "elsa_edge", *words], env=environment, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def done(self, *words: str) -> None:
        """Type a command that must succeed."""
        process = self.start(*words)
        _, said = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{' '.join(words)}\n{said[-2000:]}")

    def refused(
        self,
        case: str,
        words: Sequence[str],
        wanted: str,
        store: Path,
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        """Type a command that must be refused, and write down what it says.

        Args:
            case: The mishap.
            words: The command.
            wanted: Words that the message must have.
            store: What must be as it was.
            meanwhile: What happens while it is at work; then a part of what was sent may lie there, and it must serve
                what it served.
        """
        before, serving = _content(store), _serving(store)
        process = self.start(*words)
        if meanwhile is not None:
            meanwhile()
        _, said = process.communicate()
        message = said[said.find("Error:") :].strip()
        self.rows.append(
            {"case": case, "command": shlex.join(["elsa-edge", *words]).replace(str(self.folder), "DESK"),
             "status": process.returncode, "says": message.replace(str(self.folder), "DESK"),
             "says_what_it_should": wanted in message and "Traceback" not in said,
             "as_it_was": _serving(store) == serving if meanwhile else _content(store) == before}
        )  # fmt: skip


def _content(store: Path) -> dict[str, str]:
    """Return everything below a folder but what is just arriving: path -> hash, or where a link leads."""
    return {
        str(path.relative_to(store)): str(path.readlink()) if path.is_symlink() else sha256_of(path)
        for path in store.rglob("*")
        if "incoming" not in path.relative_to(store).parts and (path.is_symlink() or path.is_file())
    }


def _serving(store: Path) -> str:
    """Return the identity of the bundle in service, each of its files checked; empty when there is none."""
    current = store / "current" / "bundle"
    return open_bundle(current).identity if current.exists() else ""


@benchmark("deploy-refusals")
def main(quick: bool) -> Result:  # noqa: ARG001 - every benchmark has it
    """Meet each mishap with the command that people type."""
    with (
        tempfile.TemporaryDirectory(prefix="elsa-edge-") as scratch,
        opened_bench(Path(scratch), "mlp") as bench,
    ):
        desk = _Desk(Path(scratch, "a desk"), bench.running.path())
        desk.folder.mkdir()
        bundle = Path(shutil.copytree(bench.bundle, desk.folder / "the bundle"))
        store = desk.folder / "the store"
        _good(desk, bench, bundle, store)
        _unreachable(desk, bench, bundle, store)
        _unfit(desk, bench, bundle, store)
        _in_the_middle(desk, bench, bundle, store)
        _untrusted(desk, bundle, store)
        if not missing_tools():
            _phone(desk, bundle)
    return Result(rows=desk.rows, claims=claims(desk.rows))


def _newer(bundle: Path, target: Path, number: int) -> Path:
    """Return a bundle of the same files and another identity."""
    shutil.copytree(bundle, target)
    rehash(target, provenance={"number": number})
    return target


def _good(desk: _Desk, bench: Bench, bundle: Path, store: Path) -> None:
    """Add the device twice, through the counted line and beside it, and deploy once: every path has a blank."""
    for name, port in (("pi", bench.running.port), ("pi-counted", bench.wire.port)):
        desk.done(
            "device", "add", name, f"ssh://127.0.0.1:{port}", "--root", str(store), "--python", sys.executable
        )
    desk.done("deploy", str(bundle), "--to", "pi", *_QUICKLY)
    serves = _serving(store) == open_bundle(bundle).identity
    desk.rows.append(
        {"case": "a path with blanks, here and there", "command": "elsa-edge deploy 'DESK/the bundle' --to pi",
         "status": 0, "says": "", "says_what_it_should": serves, "as_it_was": serves}
    )  # fmt: skip


def _unreachable(desk: _Desk, bench: Bench, bundle: Path, store: Path) -> None:
    """Another host key, none that is known, nobody there, a user who is not let in."""
    deploy = ("deploy", str(bundle), "--to", "pi")
    port, known = bench.running.port, bench.running.folder / "known_hosts"
    right = known.read_text()
    known.write_text(f"[127.0.0.1]:{port} {make_key(desk.folder / 'other')}\n")
    desk.refused("the host key has changed", deploy, "has changed", store)
    known.write_text("")
    desk.refused("a host that was never connected to", deploy, "not known here", store)
    known.write_text(right)
    desk.refused("nobody answers", ("device", "add", "off", "ssh://127.0.0.1:1"), "could not be made", store)
    stranger = ("device", "add", "strange", f"ssh://nobody-here@127.0.0.1:{port}")
    desk.refused("a user who is not let in", stranger, "does not let us in", store)


def _unfit(desk: _Desk, bench: Bench, bundle: Path, store: Path) -> None:
    """Another processor, a runtime that is too old, no Python, too little space."""
    from benchmarks.common.prepare import prepare
    from elsa_edge.build import build_bundle

    (desk.folder / "built").mkdir()
    foreign = desk.folder / "for a Pi"
    canonical = prepare("mlp", desk.folder / "built", LADDER).canonical
    build_bundle(canonical, "raspberry-pi-5", foreign, variants=["ort-levels"])
    desk.refused("another processor", ("deploy", str(foreign), "--to", "pi"), "built for aarch64", store)

    address = f"ssh://127.0.0.1:{bench.running.port}"
    old = _old_python(desk.folder / "old runtime")
    desk.done("device", "add", "old", address, "--root", str(store), "--python", str(old))
    newer = _newer(bundle, desk.folder / "newer", 1)
    too_old = ("deploy", str(newer), "--to", "old", "--packages", "own")
    desk.refused("a runtime that is too old", too_old, "does not serve this bundle", store)

    with server(desk.folder / "bare", force_command=str(_bare_shell(desk.folder))) as bare:
        there = _Desk(desk.folder, bare.path(), desk.rows)
        there.done("device", "add", "bare", bare.address.replace("tester@", ""), "--root", str(store))
        there.refused("no Python", ("deploy", str(newer), "--to", "bare"), "no Python", store)

    with small_disk(desk.folder / "small", megabytes=20) as mounted:
        if mounted:
            small = desk.folder / "small" / "store"
            desk.done("device", "add", "small", address, "--root", str(small), "--python", sys.executable)
            desk.refused(
                "too little space", ("deploy", str(bundle), "--to", "small"), "too little space", small
            )


def _old_python(folder: Path) -> Path:
    """Make an environment with everything that this one has, and an older runtime."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    packages = next((folder / "lib").glob("*/site-packages"))
    others = [entry for entry in sys.path if entry.endswith("site-packages")]
    (packages / "others.pth").write_text("".join(f"{entry}\n" for entry in [*others, str(Path.cwd())]))
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(packages),
        _OLD_RUNTIME,
    ]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "bin" / "python"


def _bare_shell(folder: Path) -> Path:
    """Write the command of a server whose users have POSIX tools, and no Python."""
    tools = folder / "tools"
    tools.mkdir()
    for name in _TOOLS:
        (tools / name).symlink_to(str(shutil.which(name)))
    command = Path(tempfile.mkdtemp(prefix="bare", dir=folder.parent)) / "shell"  # sshd takes no blank here
    command.write_text(f'#!/bin/sh\nPATH="{tools}"\nexec sh -c "$SSH_ORIGINAL_COMMAND"\n')
    command.chmod(0o755)
    return command


def _in_the_middle(desk: _Desk, bench: Bench, bundle: Path, store: Path) -> None:
    """Somebody else is at work, the device goes away, its disk fills: while a first release is on its way."""
    with _held(desk, bench, bundle, "elsewhere") as other:
        desk.refused(
            "another deployment is at work", ("deploy", str(bundle), "--to", "elsewhere-direct"),
            "Another deployment is at work on the device", desk.folder / "elsewhere",
        )  # fmt: skip
    if other.wait():
        raise RuntimeError("the deployment that was at work has failed")

    newer = _newer(bundle, desk.folder / "newest", 2)
    second = ("deploy", str(newer), "--to", "pi-counted", *_QUICKLY)

    def meanwhile(deed: Callable[[], object], after_bytes: int) -> Callable[[], None]:
        def do() -> None:
            bench.wire.holds.wait(120)
            deed()
            bench.wire.let_go()

        bench.wire.hold_after(after_bytes)
        return do

    dying = meanwhile(bench.running.kill_sessions, 9_000)
    desk.refused("the device goes away in the middle", second, "The line to 127.0.0.1", store, dying)
    with small_disk(desk.folder / "filling", megabytes=120) as mounted:
        if mounted:
            place = desk.folder / "filling"
            address = f"ssh://127.0.0.1:{bench.wire.port}"
            desk.done(
                "device",
                "add",
                "filling",
                address,
                "--root",
                str(place / "store"),
                "--python",
                sys.executable,
            )
            filling = meanwhile(lambda: fill(place / "filler"), _MIDDLE_BYTES)
            words = ("deploy", str(bundle), "--to", "filling", *_QUICKLY)
            desk.refused("the disk fills in the middle", words, "space", place / "store", filling)


@contextmanager
def _held(desk: _Desk, bench: Bench, bundle: Path, name: str) -> Iterator[subprocess.Popen[str]]:
    """Have a deployment at work that stands still until the block ends."""
    place = ("--root", str(desk.folder / name), "--python", sys.executable)
    desk.done("device", "add", name, f"ssh://127.0.0.1:{bench.wire.port}", *place)
    desk.done("device", "add", f"{name}-direct", f"ssh://127.0.0.1:{bench.running.port}", *place)
    bench.wire.hold_after(_MIDDLE_BYTES)
    process = desk.start("deploy", str(bundle), "--to", name, *_QUICKLY)
    bench.wire.holds.wait(120)
    try:
        yield process
    finally:
        bench.wire.let_go()
        process.communicate()


def _untrusted(desk: _Desk, bundle: Path, store: Path) -> None:
    """A bundle that was changed, one that is not signed: refused here, and there where somebody no longer asks here."""
    harmed = Path(shutil.copytree(bundle, desk.folder / "harmed"))
    model = harmed / "ort-levels" / "level_0.onnx"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    desk.refused("a bundle that was changed", ("deploy", str(harmed), "--to", "pi"), "level_0.onnx", store)
    make_key(desk.folder / "key")
    desk.done("device", "trust", "pi", str(desk.folder / "key.pub"))
    unsigned = _newer(bundle, desk.folder / "unsigned", 3)
    words = ("deploy", str(unsigned), "--to", "pi", *_QUICKLY)
    desk.refused("not signed, and the profile demands it", words, "is not signed", store)
    profile = desk.folder / "devices" / "pi.yaml"
    lenient = yaml.safe_load(profile.read_text())
    lenient["deploy"] |= {"require_signature": False, "trusted_keys": []}
    profile.write_text(yaml.safe_dump(lenient))
    # The device takes it in, looks at it and removes it: what it has besides is what it had.
    served = _serving(store)
    desk.refused("not signed, and only the device demands it", words, "does not verify", store)
    desk.rows[-1]["as_it_was"] = _serving(store) == served


def _phone(desk: _Desk, bundle: Path) -> None:
    """A phone that goes offline while a release is on its way."""
    with phone(desk.folder.parent / "pixel") as pixel:
        there = _Desk(desk.folder, pixel.path(), desk.rows)
        store = desk.folder / "phone"
        there.done("device", "add", "pixel", pixel.address, "--root", str(store))
        built = yaml.safe_load((bundle / "device.yaml").read_text())
        built["hardware"]["os"] = "android"
        (bundle / "device.yaml").write_text(yaml.safe_dump(built))
        rehash(bundle)
        newer = _newer(bundle, desk.folder / "for the phone", 4)
        there.done("deploy", str(bundle), "--to", "pixel")

        def pulled() -> None:
            while not (store / "lock").exists():
                time.sleep(0.01)
            pixel.go_offline()

        words = ("deploy", str(newer), "--to", "pixel")
        there.refused(
            "a phone that goes offline in the middle",
            words,
            "The line to 127.0.0.1:5777 broke",
            store,
            pulled,
        )
        there.refused("a phone that is offline", words, "The line to 127.0.0.1:5777 broke", store)
        pixel.come_back()
        there.done(*words)


def claims(rows: list[Row]) -> list[Claim]:
    """Return the claims about refusals."""
    return [
        at_least("mishaps that are told in words, with what to do", len(rows),
                 sum(row["says_what_it_should"] for row in rows)),
        at_least("mishaps after which the device is as it was", len(rows), sum(row["as_it_was"] for row in rows)),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
