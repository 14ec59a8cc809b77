"""The controller's decisions on recorded observations are the same on every machine and in every version."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.clients.traces import GOLDEN, play

CASES = json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_decisions_on_golden_traces_are_unchanged(case):
    """`PYTHONPATH=. python tests/control/golden.py` writes the file anew after a wanted change of behaviour."""
    for found, expected in play(case):
        if found is None or expected is None:
            assert found is expected
            continue
        assert found[:3] == expected[:3]
        for number, told in zip(found[3:], expected[3:], strict=True):
            assert number == (None if told is None else pytest.approx(told, rel=1e-9))


def test_the_golden_traces_reach_every_branch_of_the_controller():
    """What no trace reaches, a twin in another language could have otherwise. Own process: coverage counts imports."""
    script = (
        "import json; from benchmarks.clients.coverage import reached; "
        "print(json.dumps({(row['function']): row['missing'] for row in reached() if row['missing']}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    (missing,) = json.loads(done.stdout.splitlines()[-1]).items()
    # Levels that cannot be loaded are the Python session's alone.
    assert missing[0] == "make_plan"
    assert len(missing[1]) == 1
