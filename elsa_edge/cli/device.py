"""`elsa-edge device`: add, list, check and remove devices that are reached by ssh or adb."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from elsa_edge.cli._common import emit, json_option, new_file, print_table, say
from elsa_edge.cli._device_needs import verifier, wheels
from elsa_edge.files.claims import NOTHING

if TYPE_CHECKING:
    from elsa_edge.deploy import Device
    from elsa_edge.deploy.facts import DeviceFacts, StoreFacts

__all__ = ["command"]

_MB = 1_000_000
_ONLY_HASHES = "The release in service has the hashes that it should; nothing there can ask for numbers."


@click.group("device", epilog="Example: elsa-edge device add pi5 ssh://pi@raspberrypi.local")
def command() -> None:
    """Add, list, check and remove devices.

    What is known of a device is two files on this machine: how it is reached, and its profile.
    """


command.add_command(wheels)
command.add_command(verifier)


@command.command("add", epilog="Example: elsa-edge device add pi5 ssh://pi@raspberrypi.local")
@click.argument("name")
@click.argument("address", metavar="ADDRESS")
@click.option("--root", metavar="FOLDER", help="The store there. Default: elsa-edge in the home folder.")
@click.option("--python", default="", metavar="PATH", help="The Python to use there; by default it is found.")
@json_option
def add(*, name: str, address: str, root: str | None, python: str, as_json: bool) -> None:
    """Ask the device at ADDRESS what it is, and write it down as NAME with a profile.

    ADDRESS is ssh://[USER@]HOST[:PORT] (OpenSSH's configuration, agent and known_hosts are used), adb:SERIAL, or local:
    for this machine.
    """
    from elsa_edge.deploy import Device, DeviceBook, look, open_line
    from elsa_edge.deploy.new_profile import profile_of
    from elsa_edge.deploy.plan import check_store
    from elsa_edge.deploy.targets import parse_target
    from elsa_edge.errors import UsageError

    book = DeviceBook.default()
    target = parse_target(address)
    place = root or ("/data/local/tmp/elsa-edge" if target.kind == "adb" else "elsa-edge")
    device = Device(name, str(target), place, python)
    book.check_new(name)
    with open_line(device) as line:
        facts, store = look(line, device)
    check_store(store)
    if python and facts.python is None:
        found = (
            ".".join(map(str, facts.pythons[0].version))
            if facts.pythons
            else "nothing that answers as a Python"
        )
        raise UsageError(f"{python} on {name} cannot be used", expected="Python 3.11 or newer", found=found)
    book.add(device, profile_of(name, facts))
    _show(device, facts, store)
    say(
        f"Its profile is {book.profile_path(name)}: set a budget there, then: elsa-edge deploy BUNDLE --to {name}"
    )
    told = {"name": name, "address": str(target), "profile": str(book.profile_path(name)), **facts.as_json()}
    emit(told, as_json=as_json)


@command.command("list", epilog="Example: elsa-edge device list")
@json_option
def list_devices(*, as_json: bool) -> None:
    """List the devices that were added. None of them is contacted."""
    from elsa_edge.deploy import DeviceBook

    book = DeviceBook.default()
    devices = [(book.get(name), book.profile(name)) for name in book.names()]
    print_table(
        "Devices",
        ("name", "address", "arch", "cores", "memory MB", "max level", "budget ms", "measured"),
        [
            (
                device.name,
                device.address,
                profile.hardware.arch,
                profile.hardware.cores,
                profile.hardware.memory_mb,
                profile.deploy.max_level,
                profile.qos.latency_budget_ms,
                "yes" if profile.measured else "no",
            )
            for device, profile in devices
        ],
    )
    listed = [
        {"name": d.name, "address": d.address, "root": d.root, "profile": profile.model_dump(mode="json")}
        for d, profile in devices
    ]
    emit({"devices": listed}, as_json=as_json)


@command.command("check", epilog="Example: elsa-edge device check pi5 --numbers")
@click.argument("name")
@click.option(
    "--numbers",
    is_flag=True,
    help="Let it also compare the release in service with its hashes and golden answers.",
)
@json_option
def check(*, name: str, numbers: bool, as_json: bool) -> None:
    """Ask the device NAME what it is now, and which releases lie on it. Nothing is changed there."""
    from elsa_edge.deploy import DeviceBook, look, open_line, prove_again

    device = DeviceBook.default().get(name)
    with open_line(device) as line:
        facts, store = look(line, device)
    _show(device, facts, store)
    releases = [
        {"release": key, "bundle": store.names.get(key, ""), "state": state}
        for key, state in store.releases.items()
    ]
    places = {store.previous: "to return to", store.current: "in service"}
    print_table(
        "Releases",
        ("release", "bundle", "state", ""),
        [(r["release"][:12], r["bundle"], r["state"], places.get(r["release"], "")) for r in releases],
    )
    answer = prove_again(device) if numbers else None
    if answer is not None:
        say("The release in service computes what it should." if answer else _ONLY_HASHES)
    lock = None if store.lock is None else {"owner": store.lock.owner, "age_s": store.lock.age_s}
    emit(
        {
            "name": name,
            "address": device.address,
            **facts.as_json(),
            "free_bytes": store.free_bytes,
            "current": store.current,
            "previous": store.previous,
            "releases": releases,
            "trusted_keys": list(store.trusted),
            "counter": None if store.counter is None else store.counter[0],
            "lock": lock,
            **({} if answer is None else {"verify": answer}),
        },
        as_json=as_json,
    )


@command.command("trust", epilog="Example: elsa-edge device trust pi5 release-key.pub")
@click.argument("name")
@click.argument("keys", nargs=-1, required=True, metavar="KEY.pub...")
@json_option
def trust_keys(*, name: str, keys: tuple[str, ...], as_json: bool) -> None:
    """Tell the device NAME to let in only bundles that one of these Ed25519 keys has signed; earlier keys are dropped.

    The device refuses all others from then on, whoever deploys them, and every bundle older than the newest it took.
    The profile here demands the same, so that a mistake is noticed before anything travels.
    """
    from elsa_edge.bundle.signature import read_keys
    from elsa_edge.deploy import DeviceBook, trust

    book = DeviceBook.default()
    device, profile, lines = book.get(name), book.profile(name), read_keys(keys)
    trust(device, lines)
    demand = profile.deploy.model_copy(update={"require_signature": True, "trusted_keys": lines})
    book.save_profile(name, profile.model_copy(update={"deploy": demand}))
    say(f"{name} lets in bundles signed by {len(lines)} key{'s' if len(lines) > 1 else ''}, and no others.")
    emit({"name": name, "trusted_keys": list(lines)}, as_json=as_json)


@command.command("unit", epilog="Example: elsa-edge device unit pi5 -o camera.service /home/pi/camera.py")
@click.argument("name")
@click.argument("application", nargs=-1, required=True, metavar="SCRIPT [ARGUMENT...]")
@click.option("--user", metavar="USER", help="Who runs it there; by default who deploys.")
@click.option(
    "--watchdog",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    help="Seconds without a run after which it is restarted (elsa_edge.telemetry.systemd). 0: no watchdog.",
)
@new_file(help="The unit to write.", kinds=(NOTHING,))
@json_option
def unit(
    *,
    name: str,
    application: tuple[str, ...],
    user: str | None,
    watchdog: int,
    destination: Path,
    as_json: bool,
) -> None:
    """Write a systemd unit that runs a Python program on the device NAME with the release in service.

    It starts at boot, is restarted when it dies or hangs, and takes the next release at its next start.
    """
    from elsa_edge.deploy import DeviceBook, look, open_line
    from elsa_edge.deploy.unit import service_unit
    from elsa_edge.errors import UsageError
    from elsa_edge.files import write_bytes

    device = DeviceBook.default().get(name)
    who = user or device.target.user
    if who is None:
        raise UsageError(f"The address of {name} names no user", fix="Say who runs it there: --user")
    with open_line(device) as line:
        _, store = look(line, device)
    text = service_unit(name, store.root, application, user=who, watchdog_s=watchdog)
    write_bytes(destination, text.encode())
    say(f"On {name}: copy it to /etc/systemd/system, then: systemctl enable --now {destination.name}")
    emit({"output": str(destination), "unit": text}, as_json=as_json)


@command.command("remove", epilog="Example: elsa-edge device remove pi5")
@click.argument("name")
@click.option("--wipe", is_flag=True, help="Remove the releases on the device too.")
@json_option
def remove(*, name: str, wipe: bool, as_json: bool) -> None:
    """Forget the device NAME. What runs there stays, unless --wipe is given."""
    from elsa_edge.deploy import DeviceBook, wipe_store

    book = DeviceBook.default()
    device = book.get(name)
    if wipe:
        wipe_store(device)
        say(f"Nothing of elsa-edge is left in {device.root} on {name}.")
    book.remove(name)
    say(f"{name} is forgotten.")
    emit({"name": name, "wiped": wipe}, as_json=as_json)


def _show(device: Device, facts: DeviceFacts, store: StoreFacts) -> None:
    python = facts.python
    version = "" if python is None else ".".join(map(str, python.version))
    packages = [] if python is None else [f"{name} {number}" for name, number in python.packages.items()]
    rows = [
        ("model", facts.model),
        (
            "processor",
            f"{facts.machine}, {facts.cores} cores, {' '.join(facts.features) or 'no known extensions'}",
        ),
        ("memory", f"{facts.memory_bytes / _MB:.0f} MB, {facts.available_bytes / _MB:.0f} MB free"),
        ("memory pages", f"{facts.page_bytes} bytes"),
        ("clock", facts.governor or "not told"),
        ("free disk", f"{store.free_bytes / _MB:.0f} MB"),
        ("Python", "none that is new enough" if python is None else f"{python.path} {version}"),
        ("packages", ", ".join(packages) or "none"),
    ]
    if store.trusted:
        newest = "none yet" if store.counter is None else f"the newest has the counter {store.counter[0]}"
        rows.append(("lets in", f"what {len(store.trusted)} trusted keys have signed; {newest}"))
    if store.lock is not None:
        rows.append(("in use", f"{store.lock.owner}, last heard of {store.lock.age_s} s ago"))
    print_table(f"{device.name} at {device.address}", ("what", "found"), rows)
