"""What a device said about itself: processor, memory, Python, store. From the reply of `look`; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from elsa_edge.deploy.agent import Reply
from elsa_edge.deploy.errors import DeviceError

__all__ = ["DeviceFacts", "Lock", "PythonFacts", "StoreFacts", "facts_of", "store_of"]

Arch = Literal["x86-64", "aarch64", "armv7l"]

_ARCHITECTURES: Final[Mapping[str, Arch]] = {
    "x86_64": "x86-64", "amd64": "x86-64", "aarch64": "aarch64", "arm64": "aarch64", "armv7l": "armv7l",
    "armv8l": "armv7l",
}  # fmt: skip
# The kernel's word -> ours. A feature counts only where every core has it, which is what the kernel prints.
_FEATURES: Final = {
    "asimd": "neon", "neon": "neon", "asimdhp": "fp16", "asimddp": "dotprod", "i8mm": "i8mm", "sve": "sve",
    "avx2": "avx2", "avx512f": "avx512", "avx512_vnni": "vnni",
}  # fmt: skip
_OLDEST_PYTHON: Final = (3, 11)
_KB: Final = 1024
_MOST_CORES: Final = 1024
_MOST_DIGITS: Final = 18


@dataclass(frozen=True, slots=True)
class PythonFacts:
    """An interpreter of the device.

    Attributes:
        path: Where it is.
        version: Such as (3, 11, 2).
        libc: Such as (2, 36) for glibc; empty where it is another.
        packages: Name -> version of those that matter here.
        bits: 32 on a 32-bit system, even where the kernel has 64.
    """

    path: str
    version: tuple[int, ...]
    libc: tuple[int, ...] = ()
    packages: Mapping[str, str] = field(default_factory=dict)
    bits: int = 64

    @property
    def new_enough(self) -> bool:
        """Whether elsa-edge runs on it."""
        return self.version >= _OLDEST_PYTHON


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """The machine.

    Attributes:
        arch: In a profile's words; None for one that is not supported.
        machine: As `uname -m` said it.
        os: "android" where it says so.
        model: Board, phone or processor, for people.
        cores: Processors that are on.
        features: In a profile's words.
        memory_bytes: Main memory.
        available_bytes: Of it, free now.
        page_bytes: Size of a memory page.
        governor: How the clock is set; empty where the device does not tell.
        home: The user's folder.
        tools: Of sha256sum, rsync and ssh-keygen, those that are there.
        pythons: Interpreters, the preferred one first.
    """

    arch: Arch | None
    machine: str
    os: Literal["linux", "android"]
    model: str
    cores: int
    features: tuple[str, ...]
    memory_bytes: int
    available_bytes: int
    page_bytes: int
    governor: str
    home: str
    tools: frozenset[str]
    pythons: tuple[PythonFacts, ...]
    kernel: str = ""

    @property
    def python(self) -> PythonFacts | None:
        """The interpreter to use: the first that is new enough."""
        return next((python for python in self.pythons if python.new_enough), None)

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        python = self.python
        return {
            "arch": self.arch,
            "machine": self.machine,
            "os": self.os,
            "model": self.model,
            "cores": self.cores,
            "features": list(self.features),
            "memory_bytes": self.memory_bytes,
            "available_bytes": self.available_bytes,
            "page_bytes": self.page_bytes,
            "governor": self.governor or None,
            "kernel": self.kernel,
            "tools": sorted(self.tools),
            "python": None if python is None else ".".join(map(str, python.version)),
            "packages": {} if python is None else dict(python.packages),
        }


@dataclass(frozen=True, slots=True)
class Lock:
    """Who is at work on a device, and since how many seconds its last step."""

    token: str
    age_s: int
    owner: str


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What lies on the device.

    Attributes:
        free_bytes: Free space where the store is.
        writable: Whether we may write there.
        foreign: Whether the folder has files in it and is no store.
        root: The store's folder, absolute.
        current: Name of the release in service; None when there is none.
        previous: What a rollback returns to.
        releases: Name -> "staged", "verified" or "good".
        names: Name -> the bundle's name, for people.
        items: Path in the release in service -> SHA-256.
        blobs: SHA-256 -> size.
        parts: SHA-256 -> bytes that have arrived.
        wheels: SHA-256 of unpacked wheels.
        profile: SHA-256 of the profile in force, without its first line; empty when there is none.
        trusted: Public keys whose bundles the device lets in; none: anybody's.
        counter: Highest signed counter accepted; None when there was none.
        lock: Who is at work.
    """

    free_bytes: int
    writable: bool
    root: str = ""
    current: str | None = None
    previous: str | None = None
    releases: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    items: Mapping[str, str] = field(default_factory=dict)
    blobs: Mapping[str, int] = field(default_factory=dict)
    parts: Mapping[str, int] = field(default_factory=dict)
    wheels: frozenset[str] = frozenset()
    profile: str = ""
    trusted: tuple[str, ...] = ()
    counter: tuple[int, str] | None = None
    lock: Lock | None = None
    foreign: bool = False


def facts_of(reply: Reply) -> DeviceFacts:
    """Return the machine that a reply of `look` describes.

    Raises:
        DeviceError: When it lacks what every Linux tells.
    """
    machine, cores = reply.one("arch"), _cores(reply.one("cores"))
    if not machine or not _number(reply.one("memory_kb")) or cores > _MOST_CORES:
        raise DeviceError(
            "The device does not say what it is",
            expected="Linux or Android with /proc",
            found=f"{machine or 'no processor'}, {reply.one('cores') or '?'} cores, "
            f"{reply.one('memory_kb') or 'no'} kB of memory",
        )
    flags = reply.one("features").split()
    pythons = tuple(filter(None, map(_python, reply.all("python"))))
    arch = _ARCHITECTURES.get(machine.lower())
    if arch == "aarch64" and pythons and all(python.bits == 32 for python in pythons):
        arch = "armv7l"  # a 32-bit system on a 64-bit kernel: what counts is what its programs are
    features = tuple(dict.fromkeys(ours for theirs, ours in _FEATURES.items() if theirs in flags))
    return DeviceFacts(
        arch=arch,
        machine=machine,
        os="android" if reply.one("system").startswith("android") else "linux",
        model=reply.one("model") or "unknown",
        cores=cores,
        features=features,
        memory_bytes=_number(reply.one("memory_kb")) * _KB,
        available_bytes=_number(reply.one("available_kb")) * _KB,
        page_bytes=_number(reply.one("page_bytes")) or 4096,
        governor=reply.one("governor"),
        home=reply.one("home"),
        tools=frozenset(reply.all("tool")),
        pythons=pythons,
        kernel=reply.one("kernel"),
    )


def store_of(reply: Reply) -> StoreFacts:
    """Return what lies on the device, from the same reply."""
    releases = [line.split(" ", 2) for line in reply.all("release")]
    counter = reply.one("counter").split()
    lock = reply.one("lock").split(" ", 2)
    return StoreFacts(
        free_bytes=_number(reply.one("free_kb")) * _KB,
        writable=reply.one("writable") == "yes",
        root=reply.one("root"),
        current=reply.one("current") or None,
        previous=reply.one("previous") or None,
        releases={words[0]: words[1] for words in releases if len(words) > 1},
        names={words[0]: words[2] for words in releases if len(words) > 2},
        items={path: hash_ for hash_, _, path in (line.partition(" ") for line in reply.all("item"))},
        blobs=_sizes(reply.all("blob")),
        parts=_sizes(reply.all("part")),
        wheels=frozenset(reply.all("wheel")),
        profile=reply.one("profile"),
        trusted=tuple(reply.all("trusted")),
        counter=(_number(counter[0]), counter[1]) if len(counter) == 2 else None,
        foreign=reply.one("foreign") == "yes",
        lock=Lock(lock[0], _number(lock[1]), lock[2]) if len(lock) == 3 else None,
    )


def _cores(text: str) -> int:
    """Return how many processors it tells of: 1 where it does not, more than there can be where that is no number."""
    if not text.isdecimal():
        return _MOST_CORES + 1 if text else 1
    return max(1, int(text[:_MOST_DIGITS]))


def _number(text: str) -> int:
    """Return a number of at most 18 digits, else 0: a device may say anything."""
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else 0


def _sizes(lines: list[str]) -> dict[str, int]:
    return {hash_: _number(size) for hash_, _, size in (line.partition(" ") for line in lines)}


def _python(line: str) -> PythonFacts | None:
    try:
        told = json.loads(line)
        libc = str(told["libc"]).partition(" ")
        return PythonFacts(
            path=str(told["path"]),
            version=tuple(int(part) for part in told["version"]),
            libc=tuple(int(part) for part in libc[2].split(".")[:2]) if libc[0] == "glibc" else (),
            packages={str(name): str(version) for name, version in dict(told["packages"]).items()},
            bits=int(told["bits"]),
        )
    except (ValueError, KeyError, TypeError):
        return None
