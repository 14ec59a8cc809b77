"""A bundle's own profile tunes; what reaches out is the owner's to say."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support.bundles import bundle

from elsa_edge.bundle import open_bundle
from elsa_edge.bundle.manifest import Manifest
from elsa_edge.errors import BundleError
from elsa_edge.files import sha256_of
from elsa_edge.loading import resolve_profile
from elsa_edge.profiles import load_profile, profile_names, save_profile
from elsa_edge.profiles.carried import carried, require_harmless, within_cores
from elsa_edge.profiles.schema import DeviceProfile

PLAIN = load_profile("generic-x86-64")

REACHING = {
    "writes a file": {
        "runtime": {"options": {"session.collect_node_memory_stats_to_file": "/home/me/.profile"}}
    },
    "loads a library": {"runtime": {"options": {"session.custom_op_library": "x.so"}}},
    "an odd switch": {"runtime": {"options": {"session.set_denormal_as_zero": "lots"}}},
    "a number below zero": {"runtime": {"options": {"session.dynamic_block_base": "-9"}}},
    "another package": {"runtime": {"options": {"litert.package": "mine"}}},
    "another root": {"probes": {"root": "/home/me"}},
    "a pipe that hangs": {"probes": {"meminfo": "tmp/fifo"}},
    "the kernel's log": {"probes": {"pressure": "proc/kmsg"}},
    "the whole disk": {"probes": {"thermal": ("**/*",)}},
    "a step up": {"probes": {"thermal": ("sys/class/thermal/thermal_zone0/../temp",)}},
    "another group": {"probes": {"cgroup": "home/me"}},
}


def changed(change: dict) -> DeviceProfile:
    values = PLAIN.model_dump()
    for section, entries in change.items():
        values[section] = values[section] | entries
    return DeviceProfile.model_validate(values)


@pytest.mark.parametrize("change", REACHING.values(), ids=REACHING)
def test_what_reaches_out_is_refused_on_the_way_in_and_stays_out_on_the_way(change: dict) -> None:
    """Each names what it is; what is left of the profile is harmless and tunes as before."""
    try:
        profile = changed(change)
    except ValueError:
        return  # refused by the schema already
    with pytest.raises(BundleError, match="only the owner"):
        require_harmless(profile)
    kept, left_out = carried(profile)
    assert left_out
    assert require_harmless(kept).runtime.threads == PLAIN.runtime.threads


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_of_ours_may_travel(name: str) -> None:
    """Nothing of them is lost on the way into a bundle."""
    profile = load_profile(name)
    assert carried(profile) == (profile, [])
    assert require_harmless(profile) is profile


def test_usual_places_and_options_may_travel() -> None:
    """Other zones and sensors, and settings that only tune."""
    profile = changed(
        {
            "runtime": {"options": {"session.set_denormal_as_zero": "1"}},
            "probes": {
                "thermal": ("sys/class/thermal/thermal_zone3/temp", "sys/class/hwmon/hwmon*/temp1_input")
            },
        }
    )
    assert carried(profile) == (profile, [])


def tampered(folder: Path, profile: DeviceProfile | None, **changes: object) -> Path:
    """Return a bundle with another profile inside and hashes that fit."""
    shutil.copytree(bundle("mlp"), folder)
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_text())
    files = [entry for entry in manifest.files if entry.path != "device.yaml"]
    if profile is None:
        (folder / "device.yaml").unlink()
    else:
        save_profile(profile, folder / "device.yaml")
        old = next(entry for entry in manifest.files if entry.path == "device.yaml")
        path = folder / "device.yaml"
        size = path.stat().st_size
        files.append(old.model_copy(update={"size_bytes": size, "sha256": sha256_of(path)}))
    manifest = manifest.model_copy(update={"files": tuple(files), **changes})
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return folder


def test_a_bundle_that_reaches_out_is_not_run(tmp_path: Path) -> None:
    """With a profile of the owner it runs all the same: the bundle's own is not looked at then."""
    reaching = changed(REACHING["writes a file"])
    opened = open_bundle(tampered(tmp_path / "b", reaching))
    with pytest.raises(BundleError, match="collect_node_memory_stats_to_file"):
        resolve_profile(opened, None)
    assert resolve_profile(opened, "generic-x86-64") == PLAIN


@pytest.mark.parametrize("device", ["/etc/profile.yaml", "../evil.yaml", "evil.yaml", "nobody-knows"])
def test_a_bundle_without_a_profile_names_one_of_ours_or_none(tmp_path: Path, device: str) -> None:
    """A path would be read from a place of the bundle's choice."""
    opened = open_bundle(tampered(tmp_path / "b", None, device=device))
    with pytest.raises(BundleError, match="elsa-edge comes with none for its device"):
        resolve_profile(opened, None)


def test_a_bundle_has_no_more_threads_than_there_are_cores(tmp_path: Path) -> None:
    """A thousand threads take the memory of a board, or hang; the owner's own profile may say what it likes."""
    many = changed({"runtime": {"threads": 1024}})
    opened = open_bundle(tampered(tmp_path / "b", many))
    assert resolve_profile(opened, None).runtime.threads == os.cpu_count()
    assert resolve_profile(opened, many).runtime.threads == 1024
    assert within_cores(PLAIN) is PLAIN
