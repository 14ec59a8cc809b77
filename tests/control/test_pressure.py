"""Triggers of memory pressure: on the kernel's file where it has one, and quiet everywhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
