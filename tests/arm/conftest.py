"""The emulated boards take minutes: these tests are collected by `make test-arm` only."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("ELSA_EDGE_ARM") else ["test_*.py"]
