"""The kernels are compiled before their tests, again when a source is newer than the library."""

from __future__ import annotations

import pytest

from elsa_edge.runtime_adapters.kernels.build import CompileError, ensure_library


@pytest.fixture(scope="session", autouse=True)
def library():
    """A machine without a compiler cannot test them, and says so."""
    try:
        return ensure_library()
    except CompileError as error:
        pytest.skip(f"the kernels cannot be compiled here: {error}")
