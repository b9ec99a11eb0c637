"""`ingest plan` over container files, from the command's stage to the pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import pictures, run
from igneous_ng.formats import tiles
from igneous_ng.io import IO
from igneous_ng.stages.ingest_plan import Plan
from tests.containers import dat, dm, image, mrc_bytes


def made(folder: Path, name: str, rows: Any) -> None:
    """A section of one tile."""
    content = {
        "dat": lambda: dat(rows[..., np.newaxis], 9),
        "dm": lambda: dm([image(rows, "<", scale=8.0, units="nm")], 4, "<"),
        "mrc": lambda: mrc_bytes(rows[np.newaxis], 1, nm=8.0),
    }[name]()
    suffix = {"dat": "dat", "dm": "dm4", "mrc": "mrc"}[name]
    (folder / f"M_20-01-01_00000{len(list(folder.iterdir()))}_0-0-0.{suffix}").write_bytes(content)


@pytest.mark.parametrize("name", ["dat", "dm", "mrc"])
def test_a_folder_becomes_a_montage_of_sections(tmp_path: Path, name: str) -> None:
    stack = np.random.default_rng(1).integers(-99, 99, (3, 6, 8)).astype("i2")
    (tmp_path / "raw").mkdir()
    for rows in stack:
        made(tmp_path / "raw", name, rows)
    stage = Plan(source=f"file://{tmp_path}/raw", montage=f"file://{tmp_path}/montage", format=name)
    run.inline(stage)
    for z, rows in enumerate(stack):
        url = tmp_path / "montage" / "manifest" / f"z{z:06d}.jsonl"
        (tile,) = tiles.decode(url.read_bytes(), str(url))
        assert (tile.z, tile.pixel, tile.width, tile.height) == (z, 8.0, 8, 6)
        np.testing.assert_array_equal(pictures.load(IO(), tile.picture)[..., 0], rows.T)
