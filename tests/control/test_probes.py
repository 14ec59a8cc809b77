"""Reading memory, pressure and temperature below a faked root."""

from __future__ import annotations

from pathlib import Path

import pytest

from elsa_edge.control.probes import Probes, Reading
from elsa_edge.profiles import load_profile, profile_names

GIB = 1 << 30


@pytest.fixture
def root(tmp_path: Path):
    """Return a function that writes files below a root and returns probes on it."""

    def make(files: dict[str, str]) -> Probes:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Probes(root=tmp_path)

    return make


MEMINFO = {"proc/meminfo": "MemTotal:  4194304 kB\nMemFree:  10 kB\nMemAvailable:   2097152 kB\n"}


def test_nothing_there_is_nothing_known(root):
    """A system without any of the files gives None, not an error."""
    assert root({}).read() == Reading(None, None, None)


def test_mem_available_counts_not_mem_free(root):
    assert root(MEMINFO).read().available_bytes == 2 * GIB


@pytest.mark.parametrize("text", ["-5", "9" * 32, "nan", "1e3", ""])
def test_an_amount_of_memory_that_cannot_be_is_unknown(root, text):
    """Nothing is forced by it; so of the system, and of a control group's limit and usage."""
    assert root({"proc/meminfo": f"MemAvailable: {text} kB\n"}).read().available_bytes is None
    for name in ("memory.max", "memory.current"):
        group = {"proc/self/cgroup": "0::/app\n", "sys/fs/cgroup/app/memory.max": "1000000\n"}
        group |= {"sys/fs/cgroup/app/memory.current": "1000\n", f"sys/fs/cgroup/app/{name}": f"{text}\n"}
        assert root(MEMINFO | group).read().available_bytes == 2 * GIB


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (  # version 2: limit less usage
            {
                "proc/self/cgroup": "0::/app\n",
                "sys/fs/cgroup/app/memory.max": "1073741824\n",
                "sys/fs/cgroup/app/memory.current": "268435456\n",
            },
            GIB - GIB // 4,
        ),
        (  # the file cache can be dropped, so it is not used up
            {
                "proc/self/cgroup": "0::/app\n",
                "sys/fs/cgroup/app/memory.max": "1073741824\n",
                "sys/fs/cgroup/app/memory.current": "268435456\n",
                "sys/fs/cgroup/app/memory.stat": "anon 1\ninactive_file 134217728\nslab 3\n",
            },
            GIB - GIB // 8,
        ),
        (  # memory.high throttles before memory.max kills
            {
                "proc/self/cgroup": "0::/app\n",
                "sys/fs/cgroup/app/memory.max": "max\n",
                "sys/fs/cgroup/app/memory.high": "536870912\n",
                "sys/fs/cgroup/app/memory.current": "0\n",
            },
            GIB // 2,
        ),
        (  # a parent's limit holds too
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n",
                "sys/fs/cgroup/a/b/memory.current": "5\n",
                "sys/fs/cgroup/a/memory.max": "1000\n",
                "sys/fs/cgroup/a/memory.current": "400\n",
            },
            600,
        ),
        (  # in a container the path is that of the host, and the mount is the group itself
            {
                "proc/self/cgroup": "0::/docker/123\n",
                "sys/fs/cgroup/memory.max": "1000\n",
                "sys/fs/cgroup/memory.current": "400\n",
            },
            600,
        ),
        (  # version 1
            {
                "proc/self/cgroup": "5:cpu:/x\n4:memory:/job\n0::/\n",
                "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "300000000\n",
                "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "200000000\n",
                "sys/fs/cgroup/memory/job/memory.stat": "cache 9\ntotal_inactive_file 50000000\n",
            },
            150_000_000,
        ),
        (  # version 1 without a limit
            {
                "proc/self/cgroup": "4:memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "200\n",
            },
            2 * GIB,
        ),
        (  # used beyond the limit is nothing, not less
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": "100\n",
                "sys/fs/cgroup/memory.current": "400\n",
            },
            0,
        ),
        ({"proc/self/cgroup": "0::/../../etc\n"}, 2 * GIB),
        (
            {
                "proc/self/cgroup": "nonsense\n",
                "sys/fs/cgroup/memory.max": "many\n",
                "sys/fs/cgroup/memory.current": "\n",
            },
            2 * GIB,
        ),
    ],
)
def test_the_smaller_of_system_and_control_group_counts(root, files, expected):
    assert root(MEMINFO | files).read().available_bytes == expected


def test_a_limited_group_counts_without_meminfo(root):
    files = {"sys/fs/cgroup/memory.max": "1000\n", "sys/fs/cgroup/memory.current": "400\n"}

    assert root(files).read().available_bytes == 600


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("some avg10=12.50 avg60=1.00 avg300=0.00 total=1\nfull avg10=3.00 avg60=0 avg300=0 total=0\n", 12.5),
        ("full avg10=3.00 avg60=0 avg300=0 total=0\n", None),
        ("some avg10=1.2.3\n", None),
        ("", None),
    ],
)
def test_pressure_is_the_some_line(root, text, expected):
    assert root({"proc/pressure/memory": text}).read().pressure_percent == expected


def test_the_hottest_sensible_zone_counts(root):
    """Milli-degrees or degrees; sensors that are off do not count."""
    zones = {"0": "41000\n", "1": "-274000\n", "2": "65535000\n", "3": "63\n", "4": "", "5": "hot"}
    files = {f"sys/class/thermal/thermal_zone{k}/temp": text for k, text in zones.items()}

    assert root(files).read().temperature_c == 63.0


def test_probes_can_be_switched_off(root):
    """Null in the profile means that the figure is ignored."""
    probes = root(
        MEMINFO
        | {
            "sys/fs/cgroup/memory.max": "1\n",
            "sys/fs/cgroup/memory.current": "0\n",
            "proc/pressure/memory": "some avg10=1.0\n",
        }
    )
    off = Probes(probes.root, cgroup=None, pressure=None, thermal=("/absolute", ""))

    assert off.read() == Reading(2 * GIB, None, None)


@pytest.mark.parametrize("name", profile_names())
def test_every_built_in_profile_can_be_read_here(name):
    """On this Linux the memory is known; the rest may not be."""
    assert (Probes.from_settings(load_profile(name).probes).read().available_bytes or 0) > 0


FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
CPU = "sys/devices/system/cpu/cpufreq/"


@pytest.mark.parametrize(
    ("text", "throttled"),
    [("0\n", False), ("50000\n", False), ("4\n", True), ("0x50005\n", True), ("", None), ("no", None)],
)
def test_the_firmware_tells_whether_it_throttles_now(root, text, throttled):
    """The low four bits count; the high ones are of the past. Hot is above every limit."""
    reading = root({FIRMWARE: text, "sys/class/thermal/thermal_zone0/temp": "61000"}).read()
    assert reading.throttled is throttled
    assert reading.heat_c == (float("inf") if throttled else 61.0)


def test_the_slowest_clock_counts_as_a_share_of_its_highest(root):
    """Two groups of cores; a third without figures and one with nonsense are passed over."""
    files = {"policy0/scaling_cur_freq": "900000", "policy0/cpuinfo_max_freq": "1800000"}
    files |= {"policy4/scaling_cur_freq": "2000000", "policy4/cpuinfo_max_freq": "2400000"}
    files |= {
        "policy6/scaling_cur_freq": "1",
        "policy7/scaling_cur_freq": "-5",
        "policy7/cpuinfo_max_freq": "5",
    }
    assert root({CPU + name: text for name, text in files.items()}).read().clock_share == pytest.approx(0.5)


def test_meters_tell_the_power_and_else_the_batteries(root):
    """Microwatts of each meter, or microamperes times microvolts, whichever way they flow."""
    battery = {
        "sys/class/power_supply/battery/current_now": "-400000",
        "sys/class/power_supply/battery/voltage_now": "3900000",
        "sys/class/power_supply/usb/voltage_now": "5000000",
    }
    assert root(battery).read().power_w == pytest.approx(1.56)
    meters = {
        "sys/class/hwmon/hwmon0/power1_input": "2500000",
        "sys/class/hwmon/hwmon1/power2_input": "500000",
    }
    assert root(battery | meters).read().power_w == pytest.approx(3.0)
    assert root(dict.fromkeys((*battery, *meters), "none")).read().power_w is None


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"proc/self/cgroup": "0::/app\n", "sys/fs/cgroup/app/cpu.max": "50000 100000\n"}, 0.5),
        ({"proc/self/cgroup": "0::/app\n", "sys/fs/cgroup/app/cpu.max": "max 100000\n"}, None),
        (  # an ancestor is tighter
            {
                "proc/self/cgroup": "0::/box/app\n",
                "sys/fs/cgroup/box/cpu.max": "25000 100000\n",
                "sys/fs/cgroup/box/app/cpu.max": "300000 100000\n",
            },
            0.25,
        ),
        (  # version 1
            {
                "proc/self/cgroup": "3:memory:/app\n2:cpu,cpuacct:/app\n",
                "sys/fs/cgroup/cpu/app/cpu.cfs_quota_us": "1000\n",
                "sys/fs/cgroup/cpu/app/cpu.cfs_period_us": "4000\n",
            },
            0.25,
        ),
        (
            {
                "proc/self/cgroup": "2:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        (  # mounted together, without a link for each controller
            {
                "proc/self/cgroup": "2:cpu,cpuacct:/app\n",
                "sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us": "3000\n",
                "sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us": "4000\n",
            },
            0.75,
        ),
        (  # both versions side by side
            {
                "proc/self/cgroup": "1:name=systemd:/app\n0::/app\n",
                "sys/fs/cgroup/unified/app/cpu.max": "20000 100000\n",
            },
            0.2,
        ),
        ({"proc/self/cgroup": "0::/app\n", "sys/fs/cgroup/app/cpu.max": "50000\t100000\n"}, 0.5),
        ({"proc/self/cgroup": "0::/app\n", "sys/fs/cgroup/app/cpu.max": "50000 0\n"}, None),
        ({"proc/self/cgroup": "0::/app\n", "sys/fs/cgroup/app/cpu.max": "nan \xff\n"}, None),
    ],
)
def test_the_tightest_quota_of_processor_time_is_told_in_cores(root, files, cores):
    assert root(files).read().cpu_cores == cores


@pytest.mark.parametrize("number", ["9" * 30, "9" * 400, "-" + "9" * 400, "1" + "0" * 5000])
def test_a_number_that_no_kernel_writes_is_unknown(root, number):
    """It would not fit a float, and would reach the application as an OverflowError."""
    names = (
        "sys/class/thermal/thermal_zone0/temp",
        "sys/class/hwmon/hwmon0/power1_input",
        "sys/class/power_supply/BAT0/current_now",
        "sys/class/power_supply/BAT0/voltage_now",
        "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq",
        "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq",
    )
    assert root(dict.fromkeys(names, number)).read() == Reading()


def test_a_group_whose_path_cannot_be_is_no_group(root):
    assert root({"proc/self/cgroup": "0::/a\0b\n"}).read() == Reading()


@pytest.mark.parametrize("told", ["MemAvailable: {0} kB\n", "MemTotal: 1000 kB\nMemAvailable: 1001 kB\n"])
def test_more_memory_than_there_can_be_is_unknown(root, told):
    assert root({"proc/meminfo": told.format(2**62)}).read().available_bytes is None


def test_a_process_that_is_moved_to_another_group_reads_that_ones_limit(root):
    """Folders of groups are kept between readings, but only while the process is in them."""
    files = {
        f"sys/fs/cgroup/{name}/cpu.max": f"{quota} 100000\n" for name, quota in (("a", 50000), ("b", 25000))
    }
    probes = root(files | {"proc/self/cgroup": "0::/a\n"})
    assert probes.read().cpu_cores == 0.5

    (probes.root / "proc/self/cgroup").write_text("0::/b\n")

    assert probes.read().cpu_cores == 0.25


@pytest.mark.parametrize(("share", "percent"), [("100.00", 100.0), ("99999.0", None), ("9" * 400, None)])
def test_more_than_all_the_time_is_no_pressure(root, share, percent):
    probes = root({"proc/pressure/memory": f"some avg10={share} avg60=0.00 avg300=0.00 total=0\n"})
    assert probes.read().pressure_percent == percent
