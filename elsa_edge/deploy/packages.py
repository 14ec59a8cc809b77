"""The Python packages that a device runs with: its own, or wheels that travel. Decided here; got in wheels.py.

A device with nothing but Python and an SSH server needs no pip, no compiler and no network: wheels are zip files, and
each is unpacked there into a folder of its own, named by its hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from elsa_edge.bundle.manifest import Variant
from elsa_edge.deploy.errors import IncompatibleError
from elsa_edge.deploy.facts import DeviceFacts, PythonFacts
from elsa_edge.deploy.native import Verifier

__all__ = [
    "MACHINES",
    "RUNTIMES",
    "PackagePlan",
    "choose_packages",
    "platform_tags",
    "release_numbers",
    "takes",
]

# Runtime adapter -> packages that serve it, best first, each with its oldest release that can.
RUNTIMES: Final[dict[str, tuple[tuple[str, tuple[int, ...]], ...]]] = {
    "onnxruntime": (("onnxruntime", (1, 22)),),
    "litert": (("ai-edge-litert", (2, 0)), ("tflite-runtime", (2, 14))),
}
# Nobody makes wheels of these for such a processor: the device's own system has them, as packages.
_SYSTEMS_OWN: Final[dict[str, dict[str, str]]] = {
    "armv7l": {"numpy": "python3-numpy", "PyYAML": "python3-yaml"},
}
_OLDEST_GLIBC: Final = 17
MACHINES: Final = {"x86-64": "x86_64", "aarch64": "aarch64", "armv7l": "armv7l"}

Wish = Literal["auto", "own", "bring", "none"]


@dataclass(frozen=True, slots=True)
class PackagePlan:
    """How elsa-edge comes to run on a device.

    Attributes:
        kind: "own" (what is installed there), "bring" (wheels travel), or on a phone, which has no Python, "native"
            (the native client's verifier travels) or "none".
        python: The interpreter; None for a phone.
        runtimes: Packages of runtimes that will be there, for which the variants are meant.
        reason: Why it is so, for people.
        theirs: Packages that do not travel, because there are wheels of them nowhere and the device has its own.
    """

    kind: Literal["own", "bring", "native", "none"]
    python: PythonFacts | None
    runtimes: tuple[str, ...]
    reason: str
    theirs: tuple[str, ...] = ()


def release_numbers(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: "1.22.0rc1" -> (1, 22, 0)."""
    numbers = []
    for part in text.split(".")[:3]:
        digits = "".join(c for c in part[: len(part) - len(part.lstrip("0123456789"))])
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def choose_packages(
    facts: DeviceFacts,
    variants: Sequence[Variant],
    wish: Wish,
    version: str,
    verifier: Verifier | None = None,
) -> PackagePlan:
    """Decide whether the device's own packages serve, or wheels must come along.

    Args:
        facts: The device.
        variants: Those of the bundle.
        wish: What the user asked for.
        version: Of elsa-edge here: another version there could read the bundle in another way.
        verifier: For devices of that kind without Python, where one is at hand.

    Raises:
        IncompatibleError: When there is no Python that is new enough, or the device's own packages do not serve and
            nothing may be brought.
    """
    if facts.os == "android" or wish == "none":
        return _without_python(facts, variants, verifier)
    python = facts.python
    if python is None:
        found = ", ".join(".".join(map(str, p.version)) for p in facts.pythons) or "none"
        raise IncompatibleError(
            "The device has no Python that elsa-edge runs on", expected="Python 3.11 or newer", found=found,
            fix="Install one there (Debian: apt-get install python3), or name it: device add --python PATH",
        )  # fmt: skip
    missing = _missing(python, variants, version)
    if not missing and wish != "bring":
        runtimes = tuple(name for name in python.packages if name in _runtime_packages(variants))
        return PackagePlan("own", python, runtimes, f"elsa-edge {version} is installed there")
    if wish == "own":
        raise IncompatibleError(
            f"What is installed on the device does not serve this bundle: {missing}",
            fix="Install it there, or let deploy bring it: --packages bring",
        )  # fmt: skip
    wanted = tuple(
        "ai-edge-litert" if runtime == "litert" and facts.arch != "armv7l" else RUNTIMES[runtime][-1][0]
        for runtime in dict.fromkeys(variant.runtime for variant in variants)
        if runtime in RUNTIMES
    )
    if facts.arch == "armv7l":
        wanted = tuple(name for name in wanted if name != "onnxruntime")  # there is none for 32-bit ARM
    theirs = _theirs(facts, python, wanted[:1])
    return PackagePlan("bring", python, wanted[:1], missing or "as asked for", theirs)


def _without_python(
    facts: DeviceFacts, variants: Sequence[Variant], verifier: Verifier | None
) -> PackagePlan:
    """Decide whether numbers are verified on a device that has no Python, and say why not."""
    left = "hashes are checked there, numbers are the application's to check"
    if verifier is None:
        return PackagePlan(
            "none",
            None,
            (),
            f"{left}: no native verifier for {facts.os} on {facts.arch or facts.machine} is here",
        )
    verified = verifier.runs(variants)
    others = [variant.name for variant in variants if variant.name not in verified]
    if not verified:
        return PackagePlan("none", None, (), f"{left}: the native verifier does not run {', '.join(others)}")
    reason = f"the native client verifies {', '.join(verified)} there"
    if others:
        reason += f"; the numbers of {', '.join(others)} are the application's to check"
    return PackagePlan("native", None, (), reason)


def _theirs(facts: DeviceFacts, python: PythonFacts, runtimes: Sequence[str]) -> tuple[str, ...]:
    """Return what must be the device's own.

    Raises:
        IncompatibleError: When it is not there, or the runtime cannot live with it.
    """
    known = _SYSTEMS_OWN.get(facts.arch or "", {})
    lacks = [package for package in known if package not in python.packages]
    if lacks:
        raise IncompatibleError(
            f"There are no wheels of {', '.join(lacks)} for {facts.machine}, and the device has none of its own",
            fix=f"On the device: apt-get install {' '.join(known[package] for package in lacks)}",
        )
    numpy = python.packages.get("numpy", "0")
    if known and "tflite-runtime" in runtimes and release_numbers(numpy) >= (2,):
        raise IncompatibleError(
            "tflite-runtime was built for NumPy 1", found=f"NumPy {numpy} on the device",
            fix="Use a 64-bit system, which has newer runtimes, or Debian 12 with its python3-numpy",
        )  # fmt: skip
    return tuple(known)


def _runtime_packages(variants: Sequence[Variant]) -> set[str]:
    return {name for variant in variants for name, _ in RUNTIMES.get(variant.runtime, ())}


def _missing(python: PythonFacts, variants: Sequence[Variant], version: str) -> str | None:
    """Return what the device's own packages lack, or None."""
    there = python.packages.get("elsa-edge")
    if there is None:
        return "elsa-edge is not installed there"
    if there != version:
        return f"elsa-edge {there} is installed there, {version} here"
    for variant in variants:
        known = RUNTIMES.get(variant.runtime)
        if known is None:
            return None  # somebody's own runtime: the device knows
        if any(release_numbers(python.packages.get(name, "0")) >= oldest for name, oldest in known):
            return None
    found = [f"{n} {v}" for n, v in python.packages.items() if n in _runtime_packages(variants)]
    needed = " or ".join(
        f"{name} {'.'.join(map(str, oldest))}"
        for runtime in dict.fromkeys(v.runtime for v in variants)
        for name, oldest in RUNTIMES[runtime]
    )
    return f"it needs {needed} or newer, and there is {', '.join(found) or 'none'}"


def platform_tags(facts: DeviceFacts, python: PythonFacts) -> list[str]:
    """Return the wheel platforms that a device takes, newest first, for its C library.

    Raises:
        IncompatibleError: When its C library is not glibc: the runtimes have no wheels for another.
    """
    if facts.arch is None or python.libc[:1] != (2,) or len(python.libc) < 2:
        raise IncompatibleError(
            "There are no wheels of the runtimes for this device", expected="Linux with glibc",
            found=f"{facts.machine}, C library {'.'.join(map(str, python.libc)) or 'other'}",
            fix="Install elsa-edge and a runtime there by other means, then: --packages own",
        )  # fmt: skip
    machine = MACHINES[facts.arch]
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(python.libc[1], _OLDEST_GLIBC - 1, -1)]
    return [*tags, f"manylinux2014_{machine}", f"linux_{machine}"]


def takes(wheel: str, facts: DeviceFacts, python: PythonFacts) -> bool:
    """Return whether a device can use a wheel, by the tags in its file's name (PEP 425): Python, ABI, platform."""
    words = wheel.removesuffix(".whl").split("-")
    if len(words) < 5:
        return False
    pythons, abis, platforms = (set(word.split(".")) for word in words[-3:])
    major, minor = python.version[:2]
    exact, older = f"cp{major}{minor}", {f"cp{major}{n}" for n in range(2, minor + 1)}
    interpreter = bool(pythons & {"py3", f"py{major}{minor}", exact} or ("abi3" in abis and pythons & older))
    abi = bool(abis & {"none", "abi3", exact})
    return interpreter and abi and ("any" in platforms or bool(platforms & set(platform_tags(facts, python))))
