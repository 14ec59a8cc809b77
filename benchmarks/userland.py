"""Stand-ins for boards: Debian's own packages for ARM in a folder, entered through qemu-user; no root, no image.

    python -m benchmarks.userland arm64|armhf      makes .cache/userland/NAME once (about half a minute)

A user namespace of its own has the emulator as its interpreter of ARM programs (binfmt_misc) and the folder as its
root, so that a shell, Python and sftp there are the ARM ones, and say so. Numbers are those of the real ARM runtimes;
times mean nothing: everything takes some hundred times as long as on the board.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["BOARDS", "Board", "Userland", "fetch_packages", "missing_tools", "unpack", "userland"]

_CACHE: Final = Path(__file__).resolve().parents[1] / ".cache" / "userland"

# What a small Debian has anyway, Python, and what comes with an SSH server. No pip, no compiler, no rsync.
_PACKAGES: Final = (
    "bash", "coreutils", "dash", "findutils", "grep", "hostname", "libc-bin", "libgomp1", "libstdc++6",
    "libpython3-stdlib", "openssh-client", "openssh-sftp-server", "python3-minimal", "sed", "tar", "zlib1g",
)  # fmt: skip
_TOOLS: Final = {
    "apt-get": "apt", "dpkg-deb": "dpkg", "unshare": "util-linux", "chroot": "coreutils",
}  # fmt: skip


@dataclass(frozen=True)
class Board:
    """A kind of board.

    Attributes:
        arch: Debian's name of its architecture.
        qemu: The emulator.
        magic: How programs for it begin, as binfmt_misc takes it: bytes, mask.
        machine: What the board calls itself.
        cpu: What qemu emulates.
        cpuinfo: Its /proc/cpuinfo: qemu hands the host's through, and libraries that look there crash.
        packages: Debian packages beside the common ones.
    """

    arch: str
    qemu: str
    magic: tuple[str, str]
    machine: str
    cpu: str
    cpuinfo: str
    packages: tuple[str, ...] = ()


def _cpuinfo(features: str, part: str) -> str:
    return "".join(
        f"processor\t: {core}\nBogoMIPS\t: 108.00\nFeatures\t: {features}\nCPU implementer\t: 0x41\n"
        f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {part}\nCPU revision\t: 3\n\n"
        for core in range(4)
    )


def _magic(bits: int, machine: int) -> tuple[str, str]:
    head = rf"\x7fELF\x0{bits}\x01\x01\x00" + r"\x00" * 8 + rf"\x02\x00\x{machine:02x}\x00"
    mask = r"\xff" * 7 + r"\x00" + r"\xff" * 8 + r"\xfe\xff\xff\xff"
    return head, mask


BOARDS: Final = {
    "arm64": Board(
        "arm64",
        "qemu-aarch64-static",
        _magic(2, 0xB7),
        "Raspberry Pi 4 Model B Rev 1.4",
        "cortex-a72",
        _cpuinfo("fp asimd evtstrm crc32 cpuid", "0xd08"),
    ),
    # The last runtime for 32 bits needs NumPy 1, for which there are no wheels: Debian has it.
    "armhf": Board(
        "armhf",
        "qemu-arm-static",
        _magic(1, 0x28),
        "Raspberry Pi 2 Model B Rev 1.1",
        "cortex-a15",
        _cpuinfo("half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae", "0xc07"),
        ("python3-numpy", "python3-yaml"),
    ),
}


@dataclass(frozen=True)
class Userland:
    """A board's file system, and the command that enters it.

    Attributes:
        board: What it stands for.
        root: Its file system.
        enter: A script: runs its arguments, or $SSH_ORIGINAL_COMMAND as a login shell would, inside.
    """

    board: Board
    root: Path
    enter: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        return subprocess.run([str(self.enter), *words], capture_output=True, text=True, check=False)


def missing_tools(name: str) -> list[str]:
    """Return the Debian packages that this machine lacks for a stand-in."""
    tools = _TOOLS | {BOARDS[name].qemu: "qemu-user-static"}
    return [package for tool, package in tools.items() if shutil.which(tool) is None]


def userland(name: str, root: Path) -> Userland:
    """Return a fresh copy of a board's file system at `root`: nothing of ours is in it.

    Raises:
        RuntimeError: When something is missing here, or a package cannot be had.
    """
    if missing := missing_tools(name):
        raise RuntimeError(f"missing here: apt-get install {' '.join(missing)}")
    board, pristine = BOARDS[name], _CACHE / name
    if not pristine.is_dir():
        _make(board, pristine)
    shutil.copytree(pristine, root, symlinks=True)
    enter = root.with_name(f"{root.name}-enter")
    enter.write_text(_enter_script(board, root))
    enter.chmod(0o755)
    return Userland(board, root, enter)


def _run(command: Sequence[str | Path], **options: Any) -> None:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, **options
    )
    if done.returncode:
        raise RuntimeError(f"{shlex.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def _make(board: Board, target: Path) -> None:
    """Fetch the packages with an apt state of its own, and unpack them."""
    work = target.with_name(f".{target.name}")
    shutil.rmtree(work, ignore_errors=True)
    root = work / "root"
    for folder in ("bin", "sbin", "lib"):  # Debian's merged /usr
        (root / "usr" / folder).mkdir(parents=True)
        (root / folder).symlink_to(f"usr/{folder}")
    archives = fetch_packages(board.arch, (*_PACKAGES, *board.packages), work / "apt")
    for package in archives:
        unpack(package, root)
    for library in root.glob("usr/lib/*/*/lib*.so.3"):  # what Debian's alternatives would link
        (library.parents[1] / library.name).symlink_to(library.relative_to(library.parents[1]))
    for folder in ("proc", "sys", "dev", "tmp", "home/pi", "etc"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    if not (root / "bin/sh").exists():
        (root / "bin/sh").symlink_to("dash")
    (root / "etc/passwd").write_text("root:x:0:0::/home/pi:/bin/sh\n")
    (root / "etc/cpuinfo").write_text(f"{board.cpuinfo}Model\t\t: {board.machine}\n")
    shutil.rmtree(work / "apt")
    root.rename(target)
    shutil.rmtree(work)


def unpack(package: Path, root: Path) -> None:
    """Unpack a Debian package; where the root has a link to a folder, through the link."""
    root.mkdir(parents=True, exist_ok=True)
    _run(
        [
            "sh",
            "-c",
            'dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink -C "$2"',
            "sh",
            package,
            root,
        ]
    )


def fetch_packages(arch: str, names: Sequence[str], state: Path, suite: str | None = None) -> list[Path]:
    """Download Debian packages and all that they depend on for another architecture, and return the files."""
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    sources = state / "debian.sources"
    sources.write_text(_debian_sources(suite))
    options = {
        "Dir::State": state / "state",
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "APT::Architecture": arch,
        "APT::Architectures": arch,
        "APT::Sandbox::User": "root",
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
    }
    apt = [
        "apt-get",
        "-qq",
        "-y",
        *(word for key, value in options.items() for word in ("-o", f"{key}={value}")),
    ]
    _run([*apt, "update"])
    _run([*apt, "install", "--download-only", "--no-install-recommends", *names])
    return sorted((state / "cache/archives").glob("*.deb"))


def _debian_sources(suite: str | None) -> str:
    """Return this machine's own Debian sources without security updates, for which other lists may have nothing."""
    text = Path("/etc/apt/sources.list.d/debian.sources").read_text()
    kept = [part for part in text.split("\n\n") if "-security" not in part]
    if suite is not None:
        kept += [
            "\n".join(
                f"Suites: {suite}" if line.startswith("Suites:") else line for line in part.splitlines()
            )
            for part in kept
        ]
    return "\n\n".join(kept) + "\n"


def _enter_script(board: Board, root: Path) -> str:
    """Return the script: a namespace in which the kernel gives ARM programs to qemu, and the folder is the root."""
    head, mask = board.magic
    entry = f":elsa-{board.arch}:M:0:{head}:{mask}:{shutil.which(board.qemu)}:F"
    place = shlex.quote(str(root))
    variables = f"HOME=/home/pi USER=pi LOGNAME=pi PATH=/usr/bin:/bin OMP_NUM_THREADS=1 QEMU_CPU={board.cpu}"
    inside = "\n".join([
        "set -e",
        "mount -t binfmt_misc none /proc/sys/fs/binfmt_misc",
        f"printf '%s' {shlex.quote(entry)} > /proc/sys/fs/binfmt_misc/register",
        f"mount --rbind /proc {place}/proc",
        f"mount --rbind /dev {place}/dev",
        f"mount --bind {place}/etc/cpuinfo {place}/proc/cpuinfo",
        f'exec chroot {place} /usr/bin/env -i {variables} /bin/sh -c \'cd; exec "$@"\' sh "$@"',
    ])  # fmt: skip
    return (
        "#!/bin/sh\n"
        'if [ $# -eq 0 ]; then set -- /bin/sh -c "${SSH_ORIGINAL_COMMAND:-exec /bin/sh}"; fi\n'
        f'exec unshare --user --map-root-user --mount sh -c {shlex.quote(inside)} sh "$@"\n'
    )


if __name__ == "__main__":
    for wanted in sys.argv[1:] or ["arm64"]:
        _make(BOARDS[wanted], _CACHE / wanted)
