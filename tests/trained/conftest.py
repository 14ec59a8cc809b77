"""Networks of the sparsify tests, importable as `nets`."""

import sys
from pathlib import Path

HERE = str(Path(__file__).parents[1] / "sparsify")
if HERE not in sys.path:
    sys.path.insert(0, HERE)
