"""CLAHE of a layer: cells show no seams, for any cell is a part of the whole section."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import run
from igneous_ng.errors import SpecError
from igneous_ng.kernels.clahe import Tiles, equalise
from igneous_ng.stages.image_clahe import Clahe
from tests.layers import Array, create, files, grey, notes, whole


def clahe(source: Path, layer: Path, **fields: Any) -> Clahe:
    return Clahe(**{"source": str(source), "layer": str(layer), **fields})


def equalised(image: Array, tile: tuple[int, int], clip: float, zeros: bool, counted: Array | None = None) -> Array:
    """The whole volume, each section at once."""
    out = np.zeros_like(image)
    width, height = image.shape[:2]
    both = Tiles.over(0, width, tile[0]), Tiles.over(0, height, tile[1])
    for z, c in np.ndindex(image.shape[2], image.shape[3]):
        section = image[:, :, z, c]
        known = np.ones(section.shape, bool) if zeros else section != 0
        if counted is not None:
            known &= counted[:, :, z]
        out[:, :, z, c] = np.where(known, equalise(section, ((0, width), (0, height)), both, clip, known), 0)
    return out


@pytest.mark.long
@settings(deadline=None, max_examples=15)
@given(
    shape=st.tuples(*[st.integers(1, 33)] * 2, st.integers(1, 5), st.integers(1, 2)),
    lo=st.tuples(*[st.integers(-20, 9)] * 3),
    chunk=st.tuples(*[st.integers(3, 8)] * 3),
    cell=st.sampled_from([(1, 1, 1), (9, 9, 9), (100, 100, 100)]),
    tile=st.tuples(st.integers(2, 20), st.integers(2, 20)),
    dtype=st.sampled_from(["uint8", "uint16"]),
    zeros=st.booleans(),
)
def test_any_cut_is_the_whole_section(
    tmp_path_factory: pytest.TempPathFactory, shape: Any, lo: Any, chunk: Any, cell: Any, tile: Any, dtype: str,
    zeros: bool,
) -> None:  # fmt: skip
    image, folder = grey(shape, dtype), tmp_path_factory.mktemp("clahe")
    source = create(folder / "source", image, lo, chunk)
    run.inline(clahe(source, folder / "new", cell=cell, tile=tile, zeros=zeros))
    assert np.array_equal(whole(folder / "new"), equalised(image, tile, 3.0, zeros))


def test_cells_leave_the_same_bytes(tmp_path: Path) -> None:
    source = create(tmp_path / "source", grey((50, 40, 6, 1)), (-3, 5, 2), chunk=(8, 8, 4))
    for name, cell in (("small", (8, 8, 4)), ("wide", (40, 8, 4)), ("all", (64, 64, 64))):
        run.inline(clahe(source, tmp_path / name, cell=cell, tile=(12, 10)))
    assert files(tmp_path / "small") == files(tmp_path / "wide") == files(tmp_path / "all")


def test_a_mask_neither_counts_nor_shows(tmp_path: Path) -> None:
    image = grey((32, 24, 4, 1))
    labels = np.zeros((8, 6, 4, 1), "uint8")
    labels[2:7, 1:5] = 1
    source = create(tmp_path / "source", image, (0, 0, 0))
    mask = create(tmp_path / "mask", labels, (0, 0, 0), resolution=(16.0, 16.0, 40.0))
    run.inline(clahe(source, tmp_path / "new", tile=(9, 9), mask=str(mask), cell=(4, 4, 4)))
    kept = np.kron(labels[..., 0], np.ones((4, 4, 1), "uint8")) == 1
    assert np.array_equal(whole(tmp_path / "new"), equalised(image, (9, 9), 3.0, False, kept))
    found = notes(tmp_path / "new")
    assert found[0] == {"left_out": 1.0}
    assert {"black", "contrast", "focus", "missing"} <= found[11].keys()


@pytest.mark.parametrize(
    ("fields", "words"), [({"tile": (0, 9)}, "at least 1 voxel"), ({"clip": 0.5}, "give 1 or more")]
)
def test_a_wrong_request(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        clahe(tmp_path / "a", tmp_path / "b", **fields)
