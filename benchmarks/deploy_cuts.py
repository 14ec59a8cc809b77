"""Deployments over ssh that are cut anywhere: by either side, on the line, or by a full disk.

Each is cut at a random byte of its conversation; then the device must serve the old or the new release, whole, and the
next deployment must succeed. `--kept FILE` has a line for each cut, so that a run that was ended goes on.
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
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.common import Claim, Result, Row, at_least, benchmark
from benchmarks.deploy_bench import QUICK, WHOLE, Bench, opened_bench, rehash, silent, variation
from elsa_edge.bundle import open_bundle
from elsa_edge.deploy import Device, deploy
from elsa_edge.errors import ElsaError
from elsa_edge.profiles.schema import DeviceProfile

__all__ = ["child", "cut_claims", "fill", "interruptions", "kept_option", "main", "small_disk"]

_KINDS: Final = ("deployer killed", "device killed", "line cut", "disk full")
_QUESTIONS_BYTES: Final = 12_000  # about what is said before files travel, and after


def child(bundle: str, device: dict[str, str], profile: dict[str, Any], whole: bool) -> dict[str, str]:
    """Deploy in a process of its own, which can be killed."""
    made = DeviceProfile.model_validate_json(json.dumps(profile))
    outcome = deploy(Path(bundle), Device(**device), made, WHOLE if whole else QUICK, tell=silent)
    return {"state": outcome.state}


def _started(bench: Bench, source: Path, device: Device, whole: bool) -> subprocess.Popen[bytes]:
    words = {"name": device.name, "address": device.address, "root": device.root, "python": device.python}
    arguments = json.dumps([str(source), words, bench.profile.model_dump(mode="json"), whole])
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.common", "benchmarks.deploy_cuts:child", arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def _interrupt(bench: Bench, kind: str, source: Path, store: Path, *, whole: bool, point: int) -> Row:
    """Begin a deployment and cut it once so many bytes have passed.

    The line stands still while the deed is done, so that it hits a deployment at work, however slow the machine is.

    Returns:
        Whether the deployment was still at work then, and whether it failed of it.
    """
    device = bench.device(store)
    if kind == "line cut":
        bench.wire.cut_after(point)
        status = _started(bench, source, device, whole).wait()
        return {"at_work": bench.wire.cut_after(None), "deployment_failed": status != 0}
    bench.wire.hold_after(point)
    process = _started(bench, source, device, whole)
    while not bench.wire.holds.wait(0.05) and process.poll() is None:
        pass
    at_work = process.poll() is None
    filler = store.parent / "filler"
    if kind == "disk full":
        fill(filler)
    elif kind == "deployer killed":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        bench.running.kill_sessions()
    bench.wire.let_go()
    status = process.wait()
    filler.unlink(missing_ok=True)
    return {"at_work": at_work, "deployment_failed": status != 0}


def _point(chance: random.Random, conversation_bytes: int) -> int:
    """Return where to cut: in the questions before the files, in the files, or in what follows, each as often."""
    few = _QUESTIONS_BYTES
    parts = [(2_000, few), (few, conversation_bytes - few), (conversation_bytes - few, conversation_bytes)]
    return chance.randrange(*chance.choice(parts))


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[bool]:
    """Mount a small disk there until the block ends; tell whether that was possible (it takes root)."""
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None or os.getuid() != 0:
        yield False
        return
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=False
    )
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run([umount, "--lazy", str(folder)], check=False)


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as stream:
        try:
            for size in (1 << 16, 1 << 10, 1):
                while True:
                    stream.write(bytes(size))
        except OSError:
            return


def interruptions(bench: Bench, wanted: int, kept: Path | None = None) -> list[Row]:
    """Cut deployments, and return a row for each; one that had ended before its moment came does not count.

    Args:
        bench: Where to.
        wanted: How many that were at work.
        kept: Rows so far, a line each; those that are there are not made again.
    """
    rows: list[Row] = []
    if kept is not None and kept.is_file():
        rows = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    with small_disk(bench.folder / "small disk", 160) as full:
        store = bench.folder / "small disk" / "store"
        more = _cut_and_try(bench, store, len(rows), _KINDS if full else _KINDS[:3])
        while sum(row["at_work"] for row in rows) < wanted:
            row = next(more)
            rows.append(row)
            if kept is not None:
                with kept.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(row) + "\n")
    return rows


def _cut_and_try(bench: Bench, store: Path, first: int, kinds: Sequence[str]) -> Iterator[Row]:
    device = bench.device(store)
    deploy(bench.bundle, device, bench.profile, QUICK, tell=silent)
    usual = variation(bench.bundle, bench.folder / "usual", -1)
    before = bench.wire.moved_bytes
    deploy(usual, device, bench.profile, QUICK, tell=silent)
    conversation = bench.wire.moved_bytes - before
    serving = open_bundle(usual).identity
    for number in count(first):
        kind, whole = kinds[number % len(kinds)], number % 10 == 9
        new = bench.folder / f"new {number}"
        if whole:
            shutil.copytree(bench.bundle, new)
        else:
            variation(bench.bundle, new, number)
        rehash(new, provenance={"number": number})
        identity = open_bundle(new).identity
        point = _point(random.Random(number), conversation)  # noqa: S311 - a moment to cut, no secret
        cut = _interrupt(bench, kind, new, store, whole=whole, point=point)
        after = open_bundle(store / "current" / "bundle").identity
        began = time.perf_counter()
        again: str
        try:
            # As a person would: at once, without taking anything over by force.
            again = deploy(new, device, bench.profile, WHOLE if whole else QUICK, tell=silent).state
        except ElsaError as error:
            again = str(error)[:80]
        finally_serving = open_bundle(store / "current" / "bundle").identity
        yield {
            "number": number, "kind": kind, "after_bytes": point, "of_about_bytes": conversation, **cut,
            "with_python": whole, "served_whole": after in (serving, identity),
            "served": "new" if after == identity else "old", "next": again,
            "recovered": finally_serving == identity, "seconds": round(time.perf_counter() - began, 2),
        }  # fmt: skip
        serving = finally_serving
        shutil.rmtree(new)


def cut_claims(rows: list[Row]) -> list[Claim]:
    """Return the claims about interruptions of deployments at work."""
    cuts = [row for row in rows if row["at_work"]]
    return [
        at_least("interruptions after which the device served the old or the new release, whole", len(cuts),
                 sum(row["served_whole"] for row in cuts)),
        at_least("interruptions after which the next deployment succeeded", len(cuts),
                 sum(row["recovered"] for row in cuts)),
    ]  # fmt: skip


kept_option = click.option(
    "--kept",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file with a line for each cut that was made: go on after them.",
)


@benchmark(
    "deploy-cuts",
    click.option("--count", type=click.IntRange(1), default=50, show_default=True, help="How many cuts."),
    kept_option,
)
def main(quick: bool, count: int, kept: Path | None) -> Result:
    """Cut deployments over ssh at random bytes of their conversation, by either side, the line or a full disk."""
    with (
        tempfile.TemporaryDirectory(prefix="elsa-edge-") as scratch,
        opened_bench(Path(scratch), "mlp") as bench,
    ):
        rows = interruptions(bench, 4 if quick else count, kept)
    return Result(rows=rows, claims=cut_claims(rows))


if __name__ == "__main__":
    main()
