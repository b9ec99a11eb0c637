"""Levels made in several passes, because memory is short, are those of one pass: no rounding is carried on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import chains, cleaning, cli, run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.kernels import carrying
from igneous_ng.kernels.averaging import Sums
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.store import Store
from tests.layers import create, whole

Array = npt.NDArray[Any]
LO = (-37, 12, -3)


def passes(layer: Path, **fields: Any) -> list[Downsample]:
    """Execute all passes of a request, one after the other."""
    request = Downsample(layer=str(layer), **fields)
    done = []
    for step in request.steps(IO()):
        assert isinstance(step, Downsample)
        run.inline(step)
        done.append(step)
    return done


def levels(layer: Path) -> list[tuple[Any, Array]]:
    scales = IO().info(f"file://{layer}").scales
    return [(scale, whole(layer, mip)) for mip, scale in enumerate(scales)]


def same(one: Path, other: Path) -> None:
    for (scale, voxels), (wanted, expected) in zip(levels(one), levels(other), strict=True):
        assert scale == wanted
        assert np.array_equal(voxels, expected)


def mean(array: Array, lo: tuple[int, ...], factor: int) -> Array:
    """The mean of blocks along x and y in float64."""
    total = array.astype(np.float64)
    count = np.ones_like(total)
    for axis in (0, 1):
        starts = [i for i in range(array.shape[axis]) if i == 0 or (lo[axis] + i) % factor == 0]
        total, count = np.add.reduceat(total, starts, axis), np.add.reduceat(count, starts, axis)
    found: Array = total / count
    return found


@pytest.mark.long
@pytest.mark.parametrize("sharded", [False, True])
def test_ten_levels_in_little_memory_are_means_within_a_half_and_no_darker(tmp_path: Path, sharded: bool) -> None:
    rng = np.random.default_rng(0)
    image = (rng.integers(0, 256, (700, 600, 3, 1)) // rng.integers(1, 9, (1, 1, 3, 1))).astype("uint8")
    layer = create(tmp_path / "layer", image, LO, (8, 8, 2))
    with pytest.raises(SpecError, match="give more --memory"):
        run.plan(Downsample(layer=str(layer), num_mips=10, memory=200_000))
    done = passes(layer, num_mips=10, memory=200_000, sharded=sharded)
    assert len(done) >= 3
    assert sum(one.num_mips for one in done) == 10
    for mip in range(1, 11):
        off = whole(layer, mip) - mean(image, LO, 2**mip)
        assert np.abs(off).max() <= 0.5
    assert IO().info(f"file://{layer}").scales[10].sharded == sharded


@pytest.mark.long
@settings(deadline=None, max_examples=20)
@given(
    shape=st.tuples(*[st.integers(1, 40)] * 2, st.integers(1, 5), st.integers(1, 2)),
    lo=st.tuples(*[st.integers(-9, 9)] * 3),
    dtype=st.sampled_from(["uint8", "int8", "uint16", "int32", "uint64", "float32"]),
    method=st.sampled_from(["average", "average", "mode", "max"]),
    sparse=st.booleans(),
    factor=st.sampled_from([(2, 2, 1), (2, 2, 2), (3, 1, 2)]),
    memory=st.sampled_from([6_000, 20_000, 60_000]),
)
def test_any_passes_are_one(
    tmp_path_factory: pytest.TempPathFactory,
    shape: Any,
    lo: Any,
    dtype: str,
    method: Any,
    sparse: bool,
    factor: Any,
    memory: int,
) -> None:
    folder = tmp_path_factory.mktemp("passes")
    image = np.random.default_rng(1).integers(0, 120, shape)
    image[: shape[0] // 2] = 0
    image = (image * (2**50 if dtype == "uint64" else 1)).astype(dtype)
    one, several = create(folder / "one", image, lo, (4, 4, 2)), create(folder / "several", image, lo, (4, 4, 2))
    asked: dict[str, Any] = {"num_mips": 4, "method": method, "sparse": sparse, "factor": factor}
    run.inline(Downsample(layer=str(one), **asked))
    try:
        passes(several, memory=memory, **asked)
    except SpecError:  # not even one level fits
        with pytest.raises(SpecError, match="give more --memory"):
            passes(several, memory=memory, **asked)
        return
    same(several, one)


def test_passes_have_their_encodings_and_go_on_from_the_masked_voxels(tmp_path: Path) -> None:
    image = np.random.default_rng(2).integers(0, 255, (64, 64, 4, 1)).astype("uint8")
    mask = np.zeros((4, 4, 1, 1), "uint8")
    mask[:2] = 1
    create(tmp_path / "mask", mask, (0, 0, 0), resolution=(64.0, 64.0, 160.0))
    one, several = (create(tmp_path / name, image, (-3, 1, 0), (8, 8, 4)) for name in ("one", "several"))
    asked: dict[str, Any] = {"num_mips": 4, "mask": f"{tmp_path}/mask", "encoding": ("png", "raw", "jpeg")}
    run.inline(Downsample(layer=str(one), **asked))
    assert len(passes(several, memory=100_000, **asked)) > 1
    same(several, one)
    assert [scale.encoding for scale, _ in levels(several)] == ["raw", "png", "raw", "jpeg", "jpeg"]


@pytest.mark.long
def test_a_region_is_made_with_all_that_later_passes_read(tmp_path: Path) -> None:
    image = np.random.default_rng(3).integers(0, 255, (1500, 130, 2, 1)).astype("uint8")
    one, several = (create(tmp_path / name, image, LO, (8, 8, 2)) for name in ("one", "several"))
    region = "20:24,90:94,-3:-1"
    run.inline(Downsample(layer=str(one), num_mips=5))
    done = passes(several, num_mips=5, memory=60_000, roi=region)
    assert len(done) > 1
    io = IO()
    for mip in range(1, 6):
        box = Box.parse(region) // (2**mip, 2**mip, 1)
        found = io.read(io.volume(f"file://{several}", mip), box)
        assert np.array_equal(found, whole(one, mip)[box.slices(io.volume(f"file://{one}", mip).bounds.lo)])
    with pytest.raises(DataError, match="missing"):
        whole(several, 1)


def test_sums_are_not_guessed_and_go_when_they_are_spent(tmp_path: Path) -> None:
    image = np.full((40, 40, 2, 1), 3, "uint8")
    layer = create(tmp_path / "layer", image, (0, 0, 0), (8, 8, 2))
    run.inline(Downsample(layer=str(layer)))
    with pytest.raises(DataError, match="run `image downsample` with --keep-sums"):
        run.inline(Downsample(layer=str(layer), mip=1, from_sums=True))
    with pytest.raises(SpecError, match="sums are of averages"):
        run.inline(Downsample(layer=str(layer), method="mode", keep_sums=True))
    run.inline(Downsample(layer=str(layer), keep_sums=True))
    assert [waste for waste in cleaning.wastes(Store(), f"file://{layer}", 0.0) if waste.place.endswith("/sums")] == []
    run.inline(Downsample(layer=str(layer), mip=1, from_sums=True))
    (spent,) = (one for one in cleaning.wastes(Store(), f"file://{layer}", 0.0) if one.place.endswith("/sums"))
    assert spent.kept == ""


@pytest.mark.long
def test_the_command_makes_all_levels_and_is_continued(tmp_path: Path) -> None:
    image = np.random.default_rng(4).integers(0, 255, (150, 130, 2, 1)).astype("uint8")
    layer = create(tmp_path / "layer", image, LO, (8, 8, 2))
    words = ["image", "downsample", str(layer), "--num-mips", "5", "--memory", "60000"]
    shown = CliRunner().invoke(cli.main, [*words, "--dry-run"], catch_exceptions=False)
    assert "the first of several stages" in shown.output
    request = Downsample(layer=str(layer), num_mips=5, memory=60_000)
    run.inline(next(request.steps(IO())))
    done = CliRunner().invoke(cli.main, [*words, "--missing"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert len(IO().info(f"file://{layer}").scales) == 6
    runs = len(list((layer / "runs").glob("*/run.json")))
    assert runs == len(list(request.steps(IO())))
    assert list(chains.here(request, 1, lambda _: None, missing=True))  # all is there
    assert len(list((layer / "runs").glob("*/run.json"))) == runs


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint64", "int32", "float32"])
@pytest.mark.parametrize("sparse", [False, True])
def test_sums_come_back_as_they_were_packed(dtype: str, sparse: bool) -> None:
    info = np.iinfo(dtype if dtype != "float32" else "int32")
    image = np.random.default_rng(5).integers(info.min, info.max, (9, 7, 5, 2), endpoint=True, dtype=info.dtype)
    image = image.astype(dtype)
    image[:4, :4] = 0
    sums = Sums.of(image, (-3, 2, 1), sparse).coarser((2, 2, 1))
    array = carrying.packed(sums)
    assert array.shape[3] == carrying.channels(image.dtype, 2, sparse)
    again = carrying.unpacked(array, sums.box, image.dtype, 2, 4)
    assert np.array_equal(again.values(), sums.values())
    assert np.array_equal(again.coarser((2, 2, 2)).values(), sums.coarser((2, 2, 2)).values())


def test_levels_that_would_make_long_tasks_are_left_to_another_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.random.default_rng(5).integers(0, 255, (130, 140, 2, 1)).astype("uint8")
    one, several = (create(tmp_path / name, image, (0, 0, 0), (8, 8, 2)) for name in ("one", "several"))
    run.inline(Downsample(layer=str(one), num_mips=4))
    monkeypatch.setattr("igneous_ng.passes.TASK_VOXELS", 1)
    monkeypatch.setattr("igneous_ng.passes.LARGEST_TASK", 32 * 32 * 2)
    assert [step.num_mips for step in passes(several, num_mips=4)] == [2, 2]
    same(several, one)
