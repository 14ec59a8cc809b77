"""Triggers of memory pressure: on the kernel's file where it has one, and quiet everywhere else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.service.disturb import group
from elsa_edge.control.pressure import PressureTrigger

KERNEL = Path("/proc/pressure/memory")


@pytest.mark.parametrize("path", ["absent", "."])
def test_without_such_a_file_it_never_fires(tmp_path, path):
    """No file, or a folder: not armed, and closing is fine."""
    with PressureTrigger(tmp_path / path, 10.0) as trigger:
        assert not trigger.armed
        assert not trigger.fired()
    trigger.close()


def test_a_plain_file_never_fires(tmp_path):
    """What is no kernel's file has nothing urgent to say."""
    path = tmp_path / "memory"
    path.write_text("some avg10=90.00\n")
    with PressureTrigger(path, 10.0) as trigger:
        assert not trigger.fired()


@pytest.mark.skipif(
    not os.access(KERNEL, os.W_OK), reason="this kernel has no pressure stall information to write to"
)
@pytest.mark.parametrize("percent", [0.00001, 10.0, 100.0])
def test_the_kernel_takes_every_share_that_a_profile_may_ask_for(percent):
    """From a microsecond of two seconds to all of them."""
    with PressureTrigger(KERNEL, percent) as trigger:
        assert trigger.armed
        assert trigger.fired() in {False, True}
    assert not trigger.armed
    assert not trigger.fired()


# More than the group's memory is written and read again, so that the process waits for pages to be taken back.
THRASH = """
import os, sys
with open(sys.argv[1], "w+b", buffering=0) as file:
    for _ in range(40):
        file.write(bytes(1 << 20))
    os.fsync(file.fileno())
    for _ in range(500):
        file.seek(0)
        while file.read(1 << 16):
            pass
"""


@pytest.mark.skipif(not os.access(KERNEL, os.W_OK), reason="this kernel has no pressure stall information")
def test_it_fires_while_a_process_stalls_on_memory(tmp_path):
    """A real one, in a control group that has not enough; long before an average of ten seconds says so."""
    with group("memory") as held, PressureTrigger(KERNEL, 0.05) as trigger:
        if held is None:
            pytest.skip("no control group of memory can be made here")
        held.set_memory(16 << 20)
        trigger.fired()
        enter = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(held.members)]
        thrash = subprocess.Popen([*enter, sys.executable, "-c", THRASH, str(tmp_path / "pages")])
        try:
            fired = False
            while not fired and thrash.poll() is None:
                time.sleep(0.02)
                fired = trigger.fired()
        finally:
            thrash.kill()
            thrash.wait()

    assert fired
