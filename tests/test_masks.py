"""Masks: a voxel takes the label that its centre lies in, for any ratio, offset and region."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.masks import Masked
from tests.layers import create


@dataclass(frozen=True, kw_only=True)
class Toy(Masked):
    name = "toy mask"


def oracle(labels: Any, lo: Any, coarse: Any, box: Box, fine: Any, wanted: tuple[int, ...], keep: bool) -> Any:
    """Voxel by voxel, in fractions of nm."""
    out = np.empty(box.shape, bool)
    for index in np.ndindex(*box.shape):
        at = [
            int((Fraction(2 * (b + i) + 1, 2) * Fraction(str(f))) // Fraction(str(c))) - o
            for b, i, f, c, o in zip(box.lo, index, fine, coarse, lo, strict=True)
        ]
        inside = all(0 <= a < n for a, n in zip(at, labels.shape, strict=False))
        label = int(labels[(*at, 0)]) if inside else 0
        out[index] = ((label in wanted) if wanted else label != 0) != keep
    return out


@settings(deadline=None, max_examples=50)
@given(
    coarse=st.sampled_from([(8.0, 8.0, 40.0), (12.0, 20.0, 40.0), (3.58, 10.74, 41.5), (2.0, 64.0, 80.0)]),
    lo=st.tuples(*[st.integers(-5, 3)] * 3),
    corner=st.tuples(*[st.integers(-12, 8)] * 3),
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    wanted=st.sampled_from([(), (2,), (0, 1), (1, 2, 3), (2**40,)]),
    keep=st.booleans(),
)
def test_lookup_is_that_of_centres(
    tmp_path_factory: pytest.TempPathFactory, coarse: Any, lo: Any, corner: Any, shape: Any, wanted: Any, keep: bool
) -> None:
    labels = np.random.default_rng(5).integers(0, 4, (6, 5, 4, 1)).astype("uint16")
    path = create(tmp_path_factory.mktemp("mask"), labels, lo, resolution=coarse, kind="segmentation")
    fine, box = (4.0, 3.58, 40.0), Box.sized(corner, shape)
    fields: dict[str, Any] = {"mask": str(path), "mask_labels": wanted, "mask_keep": keep}
    found = Toy(**fields).excluded(IO(), box, fine)
    assert found is not None
    assert np.array_equal(found, oracle(labels, lo, coarse, box, fine, wanted, keep))


def test_there_may_be_no_mask_but_then_no_options_of_one() -> None:
    assert Toy().excluded(IO(), Box((0, 0, 0), (1, 1, 1)), (1, 1, 1)) is None
    for fields in ({"mask_labels": (1,)}, {"mask_mip": 1}, {"mask_keep": False}):
        with pytest.raises(SpecError, match="give --mask"):
            Toy(**fields)


def test_a_damaged_mask_stops_and_is_named(tmp_path: Path) -> None:
    path = create(tmp_path, np.ones((8, 8, 8, 1), "uint8"), (0, 0, 0))
    (path / "4_4_40" / "4-8_0-4_0-4.gz").unlink()
    stage = Toy(mask=str(path))  # type: ignore[arg-type]
    assert not stage.excluded(IO(), Box((0, 0, 0), (4, 4, 4)), (4, 4, 40)).any()  # type: ignore[union-attr]
    with pytest.raises(DataError, match="4:8,0:4,0:4 is missing"):
        stage.excluded(IO(), Box((0, 0, 0), (8, 4, 4)), (4, 4, 40))
