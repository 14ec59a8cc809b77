"""What is decided without a device: addresses, replies, profiles, what travels, who may take a lock."""

from __future__ import annotations

import dataclasses
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsa_edge.bundle import Variant
from elsa_edge.bundle.instructions import Selector
from elsa_edge.deploy.agent import parse_reply, script
from elsa_edge.deploy.errors import BusyError, DeviceError, IncompatibleError
from elsa_edge.deploy.facts import DeviceFacts, Lock, PythonFacts, StoreFacts, facts_of, store_of
from elsa_edge.deploy.new_profile import profile_of
from elsa_edge.deploy.packages import choose_packages, platform_tags, release_numbers, takes
from elsa_edge.deploy.plan import may_take
from elsa_edge.deploy.ssh import explain
from elsa_edge.deploy.targets import Target, parse_target
from elsa_edge.deploy.wheels import requirements
from elsa_edge.errors import UsageError

PI_5 = """@elsa arch aarch64
@elsa kernel 6.6.31+rpt
@elsa system Linux
@elsa model Raspberry Pi 5 Model B Rev 1.0
@elsa cores 4
@elsa features fp asimd evtstrm crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
@elsa memory_kb 4147200
@elsa available_kb 3500000
@elsa page_bytes 16384
@elsa governor ondemand
@elsa home /home/pi
@elsa tool sha256sum
@elsa python {"path": "/usr/bin/python3", "version": [3, 11, 2], "bits": 64, "libc": "glibc 2.36", "packages": {}}
@elsa root /home/pi/elsa-edge
@elsa free_kb 1000000
@elsa writable yes
@elsa current abc
@elsa counter 7 identity
@elsa release abc good my network
@elsa blob def 12
@elsa lock 0123 61 host pi process 9
@elsa end 0
"""


def python(**changes) -> PythonFacts:
    values = {"path": "/usr/bin/python3", "version": (3, 11, 2), "libc": (2, 36), "packages": {}}
    return PythonFacts(**(values | changes))


def facts(**changes) -> DeviceFacts:
    values = facts_of(parse_reply(PI_5))
    return dataclasses.replace(values, **changes)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("ssh://pi@raspberrypi.local", Target("ssh", "raspberrypi.local", "pi")),
        ("ssh://MyAlias", Target("ssh", "MyAlias")),
        ("ssh://a@[fe80::1]:2222", Target("ssh", "fe80::1", "a", 2222)),
        ("adb:R3CT30", Target("adb", "R3CT30")),
        ("adb:127.0.0.1:5555", Target("adb", "127.0.0.1:5555")),
        ("local:", Target("local")),
    ],
)
def test_an_address_is_taken_apart_and_written_again(text: str, target: Target) -> None:
    """Aliases of ssh's configuration keep their capitals; IPv6 has its brackets."""
    assert parse_target(text) == target
    assert parse_target(str(target)) == target


@pytest.mark.parametrize(
    "text",
    ["", "pi", "pi@host", "ssh:host", "ssh://", "ssh://-oProxyCommand=x", "ssh://a@h:99999", "ssh://h/etc", "adb:",
     "adb:-s", "ssh://u:secret@h", "ssh://-x@h", "local:x", "ssh://h;id", "adb:a b"],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_the_forms(text: str) -> None:
    """Nothing that ssh or adb would read as an option gets through."""
    with pytest.raises(UsageError, match=r"ssh://\[USER@\]HOST"):
        parse_target(text)


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60))
def test_any_text_arrives_in_the_shell_as_it_is(text: str) -> None:
    """A value is data: quotes, dollars, line ends and blanks do nothing."""
    made = script("unlock", {"NAME": text}).partition("_main() {")[0].rpartition("\nelsa")[0]
    head = made.split("say()", maxsplit=1)[0]
    done = subprocess.run(
        ["sh", "-s"], input=(head + "\nprintf '%s' \"$NAME\"").encode(), capture_output=True, check=True
    )

    assert done.stdout == text.encode()


def test_a_script_that_arrives_in_part_does_nothing() -> None:
    """Every prefix only defines functions: the call is the last line."""
    whole = script("lock", {"ROOT": "/nonexistent/elsa", "TOKEN": "x"})
    for share in (0.3, 0.6, 0.9, 0.999):
        done = subprocess.run(
            ["sh", "-s"], input=whole[: int(len(whole) * share)], capture_output=True, text=True, check=False
        )
        assert "@elsa" not in done.stdout


def test_a_setting_that_the_script_does_not_read_is_a_mistake_here() -> None:
    with pytest.raises(KeyError, match="NONSENSE"):
        script("look", {"NONSENSE": ""})


def test_a_device_is_read_from_its_reply_among_other_lines() -> None:
    """A login shell may greet; what is ours is marked."""
    reply = parse_reply("Welcome!\r\n" + PI_5.replace("\n", "\r\n"))
    found, store = facts_of(reply), store_of(reply)

    assert found.arch == "aarch64"
    assert found.features == ("neon", "fp16", "dotprod")
    assert found.page_bytes == 16384
    assert found.python is not None
    assert found.python.libc == (2, 36)
    assert store.releases == {"abc": "good"}
    assert store.names == {"abc": "my network"}
    assert store.counter == (7, "identity")
    assert store.lock == Lock("0123", 61, "host pi process 9")


@given(st.text(max_size=300))
def test_no_reply_breaks_the_reader(text: str) -> None:
    """Whatever comes back is a reply; only a machine that says nothing of itself is refused."""
    reply = parse_reply("".join(f"@elsa {line}\n" for line in text.splitlines()))
    store_of(reply)
    reply.json()
    with pytest.raises(DeviceError):
        facts_of(reply)


def test_a_32_bit_system_on_a_64_bit_kernel_is_a_32_bit_device() -> None:
    """The wheels are chosen for its programs, not for its kernel."""
    found = facts_of(parse_reply(PI_5.replace('"bits": 64', '"bits": 32')))

    assert found.arch == "armv7l"
    assert profile_of("pi", found).runtime.name == "litert"


def test_the_first_profile_has_the_hardware_and_no_budget() -> None:
    profile = profile_of("pi5", facts())

    assert (profile.hardware.arch, profile.hardware.cores, profile.hardware.memory_mb) == ("aarch64", 4, 4246)
    assert profile.qos.latency_budget_ms is None
    assert profile.variants[0] == "ort-switch"


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(DeviceError, match="riscv64"):
        profile_of("board", facts(arch=None, machine="riscv64"))


def variant(runtime: str) -> Variant:
    return Variant(name=f"{runtime}-variant", runtime=runtime, files={}, instructions=Selector())


def test_packages_are_the_devices_own_where_they_serve() -> None:
    own = python(packages={"elsa-edge": "0.1.0", "onnxruntime": "1.31.1"})
    plan = choose_packages(facts(pythons=(own,)), [variant("onnxruntime")], "auto", "0.1.0")

    assert plan.kind == "own"
    assert plan.runtimes == ("onnxruntime",)


@pytest.mark.parametrize(
    ("packages", "why"),
    [
        ({}, "not installed"),
        ({"elsa-edge": "0.0.9", "onnxruntime": "1.31.1"}, "0.0.9 is installed there"),
        ({"elsa-edge": "0.1.0", "onnxruntime": "1.20.0"}, "onnxruntime 1.20.0"),
    ],
)
def test_packages_travel_where_the_devices_own_do_not_serve(packages, why) -> None:
    """None, another version, or a runtime that is too old for the variant; `own` makes an error of it."""
    device = facts(pythons=(python(packages=packages),))
    plan = choose_packages(device, [variant("onnxruntime")], "auto", "0.1.0")

    assert plan.kind == "bring"
    assert plan.runtimes == ("onnxruntime",)
    assert why in plan.reason
    with pytest.raises(IncompatibleError, match=why):
        choose_packages(device, [variant("onnxruntime")], "own", "0.1.0")


def test_no_python_or_an_old_one_is_said_before_anything_is_fetched() -> None:
    for pythons, found in (((), "none"), ((python(version=(3, 9, 2)),), "3.9.2")):
        with pytest.raises(IncompatibleError, match=f"found {found}"):
            choose_packages(facts(pythons=pythons), [variant("onnxruntime")], "auto", "0.1.0")


def test_on_32_bits_what_has_no_wheels_is_the_systems_own() -> None:
    """NumPy and PyYAML: they stay out of what travels, and where they are missing their Debian packages are named."""
    there = python(packages={"numpy": "1.24.2", "PyYAML": "6.0"}, bits=32)
    plan = choose_packages(
        facts(arch="armv7l", machine="armv7l", pythons=(there,)), [variant("litert")], "auto", "0.1.0"
    )
    wanted = requirements(plan.runtimes, plan.theirs)

    assert plan.runtimes == ("tflite-runtime",)
    assert not [need for need in wanted if need.lower().startswith(("numpy", "pyyaml"))]
    assert [need for need in wanted if need.startswith("pydantic")]
    for packages, said in (
        ({}, "apt-get install python3-numpy python3-yaml"),
        ({"numpy": "2.2.4", "PyYAML": "6.0"}, "NumPy 2.2.4"),
    ):
        bare = facts(arch="armv7l", machine="armv7l", pythons=(python(packages=packages, bits=32),))
        with pytest.raises(IncompatibleError, match=said):
            choose_packages(bare, [variant("litert")], "auto", "0.1.0")


def test_a_phone_needs_no_python() -> None:
    assert (
        choose_packages(facts(os="android", pythons=()), [variant("litert")], "auto", "0.1.0").kind == "none"
    )


def test_wheels_are_asked_for_the_devices_c_library() -> None:
    tags = platform_tags(facts(), python(libc=(2, 31)))

    assert tags[0] == "manylinux_2_31_aarch64"
    assert "manylinux2014_aarch64" in tags
    with pytest.raises(IncompatibleError, match="glibc"):
        platform_tags(facts(), python(libc=()))


def test_a_wheel_says_by_its_name_which_devices_can_use_it() -> None:
    def usable(name: str, minor: int = 11, libc: tuple[int, ...] = (2, 31)) -> bool:
        return takes(name, facts(), python(version=(3, minor, 2), libc=libc))

    assert usable("pyyaml-6-py2.py3-none-any.whl")
    assert usable("numpy-2-cp311-cp311-manylinux2014_aarch64.manylinux_2_17_aarch64.whl")
    assert usable("x-1-cp38-abi3-manylinux_2_28_aarch64.whl")
    assert not usable("x-1-cp38-abi3-manylinux_2_36_aarch64.whl")
    assert usable("x-1-cp38-abi3-manylinux_2_36_aarch64.whl", libc=(2, 36))
    assert not usable("numpy-2-cp311-cp311-manylinux_2_17_x86_64.whl")
    assert not usable("numpy-2-cp311-cp311-manylinux_2_17_aarch64.whl", minor=12)
    assert not usable("numpy-2-cp312-cp312-manylinux_2_17_aarch64.whl")
    assert not usable("numpy.whl")


def test_version_numbers() -> None:
    assert release_numbers("1.22.0rc1") == (1, 22, 0)
    assert release_numbers("2.dev") == (2,)
    assert release_numbers("0") < (1, 22)


def test_a_lock_is_taken_only_from_the_dead() -> None:
    """Of this machine when its process is gone, of others after silence, or when the user says so."""
    mine, other = Lock("t", 5, "here ann process 12"), Lock("t", 5, "there bob process 12")

    assert may_take(None, "here", alive=False, force=False) == ""
    assert may_take(mine, "here", alive=False, force=False) == "t"
    assert may_take(other, "here", alive=False, force=True) == "t"
    assert may_take(Lock("t", 901, "there bob process 1"), "here", alive=False, force=False) == "t"
    for lock, alive in ((mine, True), (other, False)):
        with pytest.raises(BusyError, match=r"(ann|bob) process 12, last heard of 5 s ago"):
            may_take(lock, "here", alive=alive, force=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("@@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @@", "host key of pi port 2222 has changed"),
        ("Host key verification failed.", "is not known here"),
        ("pi@host: Permission denied (publickey).", "does not let us in"),
        ("rsync: write failed: No space left on device (28)", "disk of pi port 2222 is full"),
        ("ssh: connect to host pi port 2222: Connection refused", "broke, or could not be made"),
        ("", "exit status 255"),
    ],
)
def test_ssh_complaints_become_something_to_do(words: str, said: str) -> None:
    assert said in str(explain(Target("ssh", "pi", None, 2222), 255, words))


def test_an_empty_store_has_nothing() -> None:
    assert StoreFacts(0, writable=False).lock is None
