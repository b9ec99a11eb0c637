"""Where the optional test data lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("IGNEOUS_NG_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")


def data(*parts: str) -> Path:
    """A file or folder of the test data, read in place; the calling test is skipped where it is absent."""
    path = ROOT.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"test data {path} is absent; set IGNEOUS_NG_TEST_DATA to the folder that holds it")
    return path
