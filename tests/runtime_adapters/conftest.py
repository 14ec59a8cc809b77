"""tflite-runtime has wheels for Python up to 3.11 only: without such a Python its tests are not collected."""

from __future__ import annotations

import shutil
import sys

PYTHON = sys.executable if sys.version_info < (3, 12) else shutil.which("python3.11")

collect_ignore = [] if PYTHON else ["test_tflite_runtime.py"]
