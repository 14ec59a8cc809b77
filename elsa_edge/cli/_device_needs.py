"""`elsa-edge device wheels` and `device verifier`: what is got here for devices that lack it, before deployments."""

from __future__ import annotations

from pathlib import Path

import click

from elsa_edge.cli._common import emit, json_option, new_file, say

__all__ = ["verifier", "wheels"]

_MB = 1_000_000
_WHEELS_MARK = "WHEELS.txt"


@click.command("wheels", epilog="Example: elsa-edge device wheels pi5 -o wheels/")
@click.argument("name")
@click.option(
    "--runtime", default=None, metavar="PACKAGE", help="The runtime to fetch; by default the profile's."
)
@new_file(help="Folder to put the wheels in.")
@json_option
def wheels(*, name: str, runtime: str | None, destination: Path, as_json: bool) -> None:
    """Fetch the wheels that the device NAME needs, for `deploy --wheels` where there is no network.

    The device is asked for its Python and C library; the wheels are fetched by this machine's pip, for the device.
    """
    import shutil

    from elsa_edge.deploy import DeviceBook, look, open_line
    from elsa_edge.deploy.packages import RUNTIMES, PackagePlan
    from elsa_edge.deploy.wheels import collect_wheels
    from elsa_edge.errors import UsageError
    from elsa_edge.files import atomic_directory
    from elsa_edge.loading import default_cache

    book = DeviceBook.default()
    device, profile = book.get(name), book.profile(name)
    with open_line(device) as line:
        facts, _ = look(line, device)
    if facts.python is None:
        raise UsageError(f"{name} has no Python that is new enough", expected="Python 3.11 or newer")
    known = RUNTIMES.get(profile.runtime.name, ())
    if runtime is None and not known:
        raise UsageError(
            f"The runtime {profile.runtime.name} is not one of ours", fix="Name its package: --runtime"
        )
    package = runtime or known[-1 if facts.arch == "armv7l" else 0][0]
    plan = PackagePlan("bring", facts.python, (package,), "as asked for")
    with atomic_directory(destination, may_replace=_WHEELS_MARK) as folder:
        found = collect_wheels(plan, facts, default_cache() or folder / ".cache", say)
        for wheel in found:
            shutil.copy(wheel.path, folder / wheel.path.name)
        (folder / _WHEELS_MARK).write_text(f"{facts.machine} {facts.python.path}\n", encoding="utf-8")
    size_bytes, unpacked_bytes = sum(w.size_bytes for w in found), sum(w.unpacked_bytes for w in found)
    say(
        f"{destination}: {len(found)} wheels, {size_bytes / _MB:.1f} MB, {unpacked_bytes / _MB:.1f} MB on the device"
    )
    emit(
        {
            "output": str(destination),
            "size_bytes": size_bytes,
            "unpacked_bytes": unpacked_bytes,
            "wheels": [wheel.path.name for wheel in found],
        },
        as_json=as_json,
    )


@click.command(
    "verifier", epilog="Example: elsa-edge device verifier pixel build/elsa-verify --runtime onnxruntime.aar"
)
@click.argument("name")
@click.argument("program", type=click.Path(path_type=Path))
@click.option(
    "--runtime",
    required=True,
    type=click.Path(path_type=Path),
    help="ONNX Runtime for that device: libonnxruntime.so, or the archive for Android that has it.",
)
@click.option(
    "--kernels", type=click.Path(path_type=Path), help="libelsa_nested.so, to verify nested variants, too."
)
@json_option
def verifier(*, name: str, program: Path, runtime: Path, kernels: Path | None, as_json: bool) -> None:
    """Let deployments to devices like NAME, which have no Python, verify numbers there with PROGRAM.

    PROGRAM is elsa-verify of the C++ client (`elsa-edge build --for cpp` writes its sources), built for such a device.
    It travels once, is run there against the golden answers in the bundle, and what it refuses is never activated.
    """
    from elsa_edge.deploy import DeviceBook
    from elsa_edge.deploy.native import keep_verifier

    book = DeviceBook.default()
    book.get(name)
    hardware = book.profile(name).hardware
    kept = keep_verifier(
        book.folder, hardware.os, hardware.arch, program=program, runtime=runtime, kernels=kernels
    )
    size_bytes = sum(file.size_bytes for file in kept.files)
    say(
        f"Every {kept.kind} device is verified with it from now on; {size_bytes / _MB:.1f} MB travel there once."
    )
    told = {"kind": kept.kind, "folder": str(kept.folder), "files": [file.path for file in kept.files]}
    emit({**told, "size_bytes": size_bytes}, as_json=as_json)
