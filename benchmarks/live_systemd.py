"""A real systemd that starts one unit of ours and nothing of this machine, as the first process of its namespaces.

Its root is empty but for what is lent: no unit, generator or setting of the distribution is there, /tmp and /run are
its own, /proc/sys and /sys cannot be written: what a start does, it empties /tmp, is not for this machine.
It needs root, for a group of processes, and the systemd hierarchy of control groups v1 (hybrid systems).
"""

from __future__ import annotations

import contextlib
import os
import pty
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Booted", "booted", "lacks", "lent_by_this_python"]

_SYSTEMD: Final = Path("/usr/lib/systemd/systemd")
_GROUPS: Final = Path("/sys/fs/cgroup/systemd")
_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
# What units of a usual system depend on, without anything in it.
_TARGETS: Final = ("sysinit", "basic", "multi-user", "shutdown", "local-fs", "umount", "final")
UNIT: Final = "application.service"


def lacks() -> str:
    """Return what this machine lacks for it; empty when it can be done."""
    tools = [
        tool for tool in ("unshare", "nsenter", "mount", "chroot", "systemctl") if shutil.which(tool) is None
    ]
    if tools or not _SYSTEMD.exists():
        return "systemd and util-linux"
    if os.getuid() != 0:
        return "root"
    return "" if _GROUPS.is_dir() else "the systemd hierarchy of control groups v1"


@dataclass(frozen=True)
class Booted:
    """A running systemd.

    Attributes:
        process: What holds its namespaces; killing it is pulling the plug.
        root: Its root, as it is mounted in its namespaces.
    """

    process: subprocess.Popen[bytes]
    root: Path

    def told(self, *properties: str) -> dict[str, str]:
        """Return properties of the unit, as `systemctl show` tells them; none while systemd does not answer yet."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        if not children:
            return {}
        enter = [
            "nsenter",
            "-t",
            children[0],
            "-U",
            "--preserve-credentials",
            "-m",
            "-p",
            f"--root=/proc/{children[0]}/root",
        ]
        words = ["systemctl", "show", UNIT, *(f"--property={name}" for name in properties)]
        done = subprocess.run([*enter, *words], capture_output=True, text=True, check=False)
        return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


@contextlib.contextmanager
def booted(folder: Path, unit: str, lent: Sequence[Path]) -> Iterator[Booted]:
    """Start systemd with one unit until the block ends, and then pull the plug.

    Args:
        folder: For its root; must be new, its path without blanks.
        unit: The unit's text.
        lent: Folders that it sees, at their own places.
    """
    root, group = folder / "root", _GROUPS / f"elsa-{os.getpid()}"
    root.mkdir(parents=True)
    group.mkdir(exist_ok=True)
    (folder / UNIT).write_text(unit)
    (folder / "start.sh").write_text(_script(root, group, folder / UNIT, lent))
    master, console = pty.openpty()
    command = ["sh", str(folder / "start.sh"), os.ttyname(console)]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
    )
    try:
        yield Booted(process, root)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        for end in (master, console):
            os.close(end)
        with contextlib.suppress(OSError):  # groups that systemd has made in it vanish a moment later
            group.rmdir()


def _script(root: Path, group: Path, unit: Path, lent: Sequence[Path]) -> str:
    """Return what makes the root and becomes systemd in it; $1 is the terminal that stands for the console."""
    place = shlex.quote(str(root))
    own = f"{place}/etc/systemd/system"
    lines = [
        "set -e", f"R={place}", "mount -t tmpfs -o mode=755 tmpfs $R",
        "for d in usr etc/systemd/system tmp var/tmp var/log run/systemd proc sys dev root; do mkdir -p $R/$d; done",
        "for d in bin sbin lib lib64; do ln -s usr/$d $R/$d; done",
        "mount --bind /usr $R/usr",
        "for d in system system-generators; do mount -t tmpfs tmpfs $R/usr/lib/systemd/$d; done",
        *(f"mkdir -p $R{word} && mount --rbind {word} $R{word}" for word in (shlex.quote(str(path)) for path in lent)),
        "mount -t tmpfs tmpfs $R/dev",
        f"for d in {' '.join(_DEVICES)}; do : > $R/dev/$d; mount --bind /dev/$d $R/dev/$d; done",
        ': > $R/dev/console; mount --bind "$1" $R/dev/console',
        "mount -t proc proc $R/proc", "mount --bind $R/proc/sys $R/proc/sys", "mount -o remount,ro,bind $R/proc/sys",
        "mount -t sysfs -o ro sysfs $R/sys", "mount -t tmpfs tmpfs $R/sys/fs/cgroup", "mkdir $R/sys/fs/cgroup/systemd",
        "mount -t cgroup -o none,name=systemd cgroup $R/sys/fs/cgroup/systemd",
        "echo root:x:0:0::/root:/bin/sh > $R/etc/passwd", "echo root:x:0: > $R/etc/group",
        "echo 0123456789abcdef0123456789abcdef > $R/etc/machine-id", "echo ID=stand-in > $R/etc/os-release",
        *(f"printf '[Unit]\\nDefaultDependencies=no\\n' > {own}/{name}.target" for name in _TARGETS),
        f"printf 'Wants={UNIT}\\n' >> {own}/multi-user.target",
        f"cp {shlex.quote(str(unit))} {own}/{UNIT}",
        (f"exec chroot $R /usr/bin/env -i container=elsa PATH=/usr/bin:/usr/sbin {_SYSTEMD} --system "
         "--unit=multi-user.target --log-target=console --show-status=no"),
    ]  # fmt: skip
    inside = shlex.quote("\n".join(lines))
    return (
        f"echo $$ > {shlex.quote(str(group / 'cgroup.procs'))}\n"
        "exec unshare --user --map-root-user --mount --pid --fork --kill-child --cgroup --uts --ipc --net "
        f'sh -c {inside} sh "$1"\n'
    )


def lent_by_this_python() -> list[Path]:
    """Return the folders from which this interpreter runs and imports, without those inside others."""
    found = {
        Path(sys.prefix),
        Path(sys.base_prefix),
        *(Path(entry) for entry in sys.path if Path(entry).is_dir()),
    }
    found |= {Path(sys.executable).resolve().parents[1]}
    return sorted(
        p
        for p in found
        if p.is_absolute() and not any(q != p and p.is_relative_to(q) for q in {*found, Path("/usr")})
    )
