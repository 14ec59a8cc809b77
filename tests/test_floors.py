"""The floors of docs/architecture.md: imports go only downwards, and a device needs neither torch nor onnx."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_imports_go_only_down_the_floors():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(linter), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-3000:]
    assert "0 broken" in done.stdout


def test_every_room_is_on_the_plan():
    """docs/architecture.md names each file and folder of elsa_edge/: a newcomer looks there first."""
    plan = (ROOT / "docs" / "architecture.md").read_text()
    rooms = {
        path.stem for path in (ROOT / "elsa_edge").iterdir() if not path.name.startswith(("_", "py.typed"))
    }

    assert len(rooms) > 30
    assert {room for room in rooms if room not in plan} == set()


def test_a_contract_ignores_no_import():
    """An exception to a floor would be a door that nobody sees on the plan."""
    assert "ignore_imports" not in (ROOT / "pyproject.toml").read_text()
