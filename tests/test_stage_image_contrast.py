"""Contrast: any chunk, cell and offset gives what numpy makes of each whole section."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.io import IO
from igneous_ng.kernels import quality
from igneous_ng.stages.image_contrast import Apply, Measure
from tests.layers import create, files, grey, notes, whole

Array = npt.NDArray[Any]
LO = (-7, 3, -21)


def measure(path: Path, **fields: Any) -> Measure:
    return Measure(**{"layer": str(path), **fields})


def apply(source: Path, layer: Path, **fields: Any) -> Apply:
    return Apply(**{"source": str(source), "layer": str(layer), "cell": (8, 8, 4), **fields})


def ranked(values: Array, lower: float, upper: float, zeros: bool) -> Any:
    ordered = np.sort(values if zeros else values[values != 0])
    if not len(ordered):
        return None
    n = len(ordered)
    low, high = int(ordered[int(Fraction(lower) * n)]), int(ordered[n - 1 - int(Fraction(upper) * n)])
    return (low, high) if low < high else None


def stretched(image: Array, counted: Array, fields: dict[str, Any]) -> Array:
    """The whole volume, section by section, from numpy's own functions."""
    new = np.dtype(fields.get("dtype") or image.dtype)
    lower, upper, zeros = (fields.get(k, d) for k, d in (("lower", 0.01), ("upper", 0.01), ("zeros", False)))
    reach, white = fields.get("window", 1) // 2, int(np.iinfo(new).max)
    out = np.zeros(image.shape, new)
    for c in range(image.shape[3]):
        depth = image.shape[2]
        all_limits = [ranked(image[:, :, z, c][counted[:, :, z]], lower, upper, zeros) for z in range(depth)]
        for z in range(depth):
            near = [pair for pair in all_limits[max(0, z - reach) : z + reach + 1] if pair]
            pair = [int(np.floor(np.median(side))) for side in zip(*near, strict=True)] if near else None
            low, high = pair or (0, int(np.iinfo(image.dtype).max))
            exact = (2 * (image[:, :, z, c].astype(int) - low) * white + high - low) // (2 * (high - low))
            out[:, :, z, c] = np.clip(exact, 0, white)
    out[~counted] = 0
    return out


@settings(deadline=None, max_examples=15)
@given(
    shape=st.tuples(*[st.integers(1, 17)] * 2, st.integers(1, 11), st.integers(1, 3)),
    lo=st.tuples(*[st.integers(-20, 9)] * 3),
    chunk=st.tuples(*[st.integers(2, 7)] * 3),
    cell=st.sampled_from([(1, 1, 1), (8, 8, 8), (100, 100, 100)]),
    old=st.sampled_from(["uint8", "uint16"]),
    fields=st.fixed_dictionaries({
        "lower": st.sampled_from([0.0, 0.01, 0.2]), "upper": st.sampled_from([0.0, 0.1]), "zeros": st.booleans(),
        "window": st.sampled_from([1, 3, 7]), "dtype": st.sampled_from(["", "uint8", "uint16"]),
    }),
)  # fmt: skip
def test_any_cut_is_the_whole_volume(
    tmp_path_factory: pytest.TempPathFactory, shape: Any, lo: Any, chunk: Any, cell: Any, old: str, fields: Any
) -> None:
    image, folder = grey(shape, old), tmp_path_factory.mktemp("contrast")
    source = create(folder / "source", image, lo, chunk)
    run.inline(measure(source))
    run.inline(apply(source, folder / "new", cell=cell, **fields))
    assert np.array_equal(whole(folder / "new"), stretched(image, np.ones(shape[:3], bool), fields))
    assert IO().info(f"file://{folder}/new").scales[0].bounds == IO().info(f"file://{source}").scales[0].bounds


def test_the_counts_of_a_section_are_those_of_numpy(tmp_path: Path) -> None:
    image = grey((21, 13, 9, 2), "uint16")
    source = create(tmp_path, image, LO)
    run.inline(measure(source))
    for z in range(9):
        stored = IO().get(f"file://{source}/contrast/0/{z + LO[2]}")
        assert stored is not None
        found = np.frombuffer(stored, "<i8").reshape(2, 65536)
        for c in range(2):
            assert np.array_equal(found[c], np.bincount(image[:, :, z, c].ravel(), minlength=65536))


def test_samples_are_the_same_every_time_and_the_list_is_as_long_as_it_says(tmp_path: Path) -> None:
    image = grey((40, 40, 18, 1))
    one, other = (create(tmp_path / name, image, LO) for name in ("one", "other"))
    for path in (one, other):
        stage = measure(path, coverage=0.2, seed=7, dir="levels")  # a folder that is not there
        units = stage.units(IO())
        assert len(units) == len(list(units)) == 5
        run.inline(stage)
    assert files(one) == files(other)
    io = IO()
    for z in range(18):
        stored = io.get(f"file://{one}/levels/0/{z + LO[2]}")
        assert stored is not None
        assert np.frombuffer(stored, "<i8").sum() == 20 * 16  # of the hundred chunks of a slab
    run.inline(measure(one, coverage=0.2, seed=8, dir="others"))
    assert io.get(f"file://{one}/levels/0/{LO[2]}") != io.get(f"file://{one}/others/0/{LO[2]}")


def test_other_counts_are_not_mixed_with_those_there_are(tmp_path: Path) -> None:
    source = create(tmp_path, grey((9, 9, 9, 1)), LO)
    run.inline(measure(source))
    before = files(source)
    run.inline(measure(source))
    with pytest.raises(SpecError, match="other counts are already here"):
        run.inline(measure(source, coverage=0.5))
    assert files(source) == before


def test_a_mask_neither_counts_nor_shows_what_it_leaves_out(tmp_path: Path) -> None:
    image = grey((24, 20, 8, 2))
    labels = np.zeros((6, 5, 8, 1), "uint8")
    labels[1:4, 2:5] = 3
    source = create(tmp_path / "source", image, (0, 0, 0))
    mask = create(tmp_path / "mask", labels, (0, 0, 0), resolution=(16.0, 16.0, 40.0))
    counted = np.kron(labels[..., 0], np.ones((4, 4, 1), "uint8")) == 3
    fields: dict[str, Any] = {"mask": str(mask), "mask_labels": (3,)}
    for unread in (source / "4_4_40").glob("0-4_*"):
        unread.unlink()  # wholly left out: it is not read
    run.inline(measure(source, **fields))
    run.inline(apply(source, tmp_path / "new", cell=(4, 4, 4), **fields))
    assert np.array_equal(whole(tmp_path / "new"), stretched(image, counted, {}))
    assert notes(tmp_path / "new")[0] == {"left_out": 1.0}
    assert sum(note["left_out"] for note in notes(source)) == (~counted).sum()


def test_fixed_limits_need_no_counts(tmp_path: Path) -> None:
    image = grey((9, 9, 9, 1), "uint16")
    source = create(tmp_path / "source", image, LO)
    run.inline(apply(source, tmp_path / "new", low=1000, high=50000, dtype="uint8"))
    exact = np.clip((2 * (image.astype(int) - 1000) * 255 + 49000) // 98000, 0, 255)
    assert np.array_equal(whole(tmp_path / "new"), exact)


def test_quality_is_noted(tmp_path: Path) -> None:
    image = grey((16, 16, 4, 1))
    source = create(tmp_path / "source", image, (0, 0, 0))
    run.inline(measure(source))
    (source / "4_4_40" / "0-4_0-4_0-4.gz").unlink()
    run.inline(apply(source, tmp_path / "new", cell=(8, 8, 4), fill_missing=True))
    found, new = notes(tmp_path / "new"), whole(tmp_path / "new")
    assert [note["missing"] for note in found] == [0.25, 0, 0, 0]
    assert found[1] == {**quality.figures(new[8:16, 0:8]), "missing": 0.0}
    assert found[1]["black"] == pytest.approx((new[8:16, 0:8] == 0).mean())
    values = np.sort(new[8:16, 0:8][new[8:16, 0:8] != 0])
    rank = int(0.05 * len(values))
    assert found[1]["contrast"] == float(values[-1 - rank]) - float(values[rank])


def test_focus_tells_sharp_from_smooth() -> None:
    from scipy.ndimage import gaussian_filter, laplace

    sharp = np.random.default_rng(0).integers(0, 255, (40, 40, 1, 1)).astype("uint8")
    smooth = gaussian_filter(sharp, (2, 2, 0, 0))
    assert quality.focus(sharp) > 50 * quality.focus(smooth)
    inner = laplace(sharp[:, :, 0, 0].astype(float))[1:-1, 1:-1]
    assert quality.focus(sharp) == pytest.approx(inner.var())
    assert quality.focus(sharp[:2]) == 0
    nothing = {"black": 1.0, "contrast": 0.0, "focus": 0.0, "membranes": 0.0}
    assert quality.figures(np.zeros((3, 3, 3, 1), "uint8")) == nothing


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"lower": 0.6, "upper": 0.5}, "leave no grey"),
        ({"window": 2}, "odd number"),
        ({"low": 9, "high": 9}, "less than high"),
        ({"low": 1, "high": 300}, "which low or high is beyond"),
        ({"dir": "../other"}, "no folder name"),
        ({"measured": 3}, "nothing was measured here"),
        ({"cell": (0, 1, 1)}, "holds nothing"),
        ({"mip": 2}, "no mip 2"),
        ({"encoding": "zip"}, "no encoding is called 'zip'"),
        ({"memory": 1000}, "more --memory"),
    ],
)
def test_a_wrong_request_changes_nothing(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    source = create(tmp_path / "source", grey((9, 9, 9, 1)), LO)
    run.inline(measure(source))
    before = files(tmp_path)
    with pytest.raises(SpecError, match=words):
        run.inline(apply(source, tmp_path / "new", **fields))
    assert files(tmp_path) == before


def test_labels_have_no_contrast_and_a_layer_is_not_written_over(tmp_path: Path) -> None:
    source = create(tmp_path / "source", np.ones((4, 4, 4, 1), "uint32"), LO)
    with pytest.raises(SpecError, match="uint32 and contrast is of uint8"):
        run.inline(measure(source))
    with pytest.raises(SpecError, match="cannot be read and created at once"):
        apply(source, source)


def test_counts_that_are_gone_are_named(tmp_path: Path) -> None:
    source = create(tmp_path / "source", grey((9, 9, 9, 1)), LO)
    run.inline(measure(source))
    (source / "contrast" / "0" / "-20.gz").unlink()
    with pytest.raises(DataError, match="-20: the counts of this section are damaged or gone"):
        run.inline(apply(source, tmp_path / "new"))


def test_workers_on_a_queue_leave_the_bytes_of_one_process(tmp_path: Path) -> None:
    image = grey((19, 23, 9, 2))
    for name in ("one", "other"):
        create(tmp_path / name / "source", image, LO)
    for stage in (measure(tmp_path / "one" / "source"), apply(tmp_path / "one" / "source", tmp_path / "one" / "new")):
        run.inline(stage)
    for stage in (
        measure(tmp_path / "other" / "source"),
        apply(tmp_path / "other" / "source", tmp_path / "other" / "new"),
    ):
        run.here(stage, processes=2)
    for part in ("source", "new"):
        assert files(tmp_path / "one" / part) == files(tmp_path / "other" / part)


def test_the_published_counts_are_those_of_a_whole_run(tmp_path: Path) -> None:
    source = create(tmp_path / "source", grey((9, 9, 9, 1)), LO)
    stage, io = measure(source), IO()
    stage.prepare(io)
    for unit in stage.units(io):
        with pytest.raises(SpecError, match="nothing was measured here"):
            run.plan(apply(source, tmp_path / "new"))
        stage.execute(unit, io)
    stage.finish(io)
    run.plan(apply(source, tmp_path / "new"))
