"""Ingest stays within the memory that it declares, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from igneous_ng import run
from igneous_ng.io import IO
from igneous_ng.stage import Stage, to_dict
from igneous_ng.stages.ingest_copy import Copy
from igneous_ng.stages.ingest_register import Register
from igneous_ng.stages.ingest_verify import Verify
from tests.measuring import MEASURE
from tests.tiles import Lattice, picture, texture, write_manifest

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc")


def files(folder: Path, name: str, side: int) -> str:
    """A montage of pictures of many kinds, two of each, of ``side``, planned with and without sizes."""
    lattice = Lattice(folder / name, rows=1, columns=1, side=32)
    lattice.write()
    rows = np.tile(texture((512, 512), 0), (side // 512 + 1, side // 512 + 1))[:side, :side]
    kinds = {"gray": rows, "wide": rows.astype(np.uint16) * 7, "colour": np.stack([rows] * 3, axis=2)}
    kinds["float"] = rows.astype(np.float32)
    for kind, values in kinds.items():
        for n in range(2):
            tile = f"{kind}{n}"
            url = lattice.url(tile)
            if kind == "float":
                url = url.replace(".png", ".tif")
                tifffile.imwrite(url.removeprefix("file://"), values)
            else:
                lattice.files[tile] = picture(values)
            known = side if n else None
            lattice.lines[tile] = replace(lattice.lines["r0c0"], tile=tile, url=url, width=known, height=known)
    lattice.write()
    return write_manifest(folder / name / "montage", {12: [line for t, line in lattice.lines.items() if t != "r0c0"]})


def section(folder: Path, name: str, count: int) -> str:
    """A montage of ``count`` x ``count`` small tiles that were looked at, of which some have findings."""
    lattice = Lattice(folder / name, rows=count, columns=count, side=64, step=58)
    for n in range(0, count, 3):
        lattice.files[f"r{n}c1"] = b"torn"
    montage = lattice.write()
    run.inline(Verify(montage=montage))
    return montage


def measured(stages: list[Stage]) -> tuple[int, int]:
    """What the first unit of the first stage takes, and what it declares; the second warms the process up."""
    words = [json.dumps(to_dict(stage)) for stage in stages]
    done = subprocess.run([sys.executable, "-c", MEASURE, *words], capture_output=True, text=True, check=True)
    taken, declared = json.loads(done.stdout)
    return taken, declared


def within(stages: list[Stage]) -> None:
    taken, declared = measured(stages)
    print(f"{stages[0].name}: {taken / 1e6:.0f} of {declared / 1e6:.0f} MB")  # noqa: T201 - shown with -s
    assert taken <= declared


@pytest.mark.long
def test_verifying_large_pictures(tmp_path: Path) -> None:
    within([Verify(montage=files(tmp_path, name, side)) for name, side in (("big", 2000), ("small", 64))])


def test_registering_many_tiles(tmp_path: Path) -> None:
    within([Register(montage=section(tmp_path, name, count)) for name, count in (("big", 20), ("small", 4))])


def test_copying_large_files(tmp_path: Path) -> None:
    stages: list[Any] = []
    for name, side in (("big", 2000), ("small", 64)):
        montage = files(tmp_path, name, side)
        run.inline(Verify(montage=montage))
        stages.append(Copy(montage=montage, archive=str(tmp_path / f"{name}-kept")))
        stages[-1].prepare(IO())
    within(stages)
