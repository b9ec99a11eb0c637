"""The volume: what maps say comes out, exactly where it can, and however tasks are cut."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from igneous_ng import run
from igneous_ng.alignment import Alignment, Rough, encode_rough
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.info import SEGMENTATION, new_info
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO
from igneous_ng.redo import Redo, carried_out
from igneous_ng.stage import Layer
from igneous_ng.stages.align_render import AlignRender
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.image_transfer import Transfer
from igneous_ng.stages.stitch_render import Render
from igneous_ng.warps import Warp
from tests import alignments
from tests.alignments import begun, stack
from tests.layers import files, notes, whole
from tests.sections import build, grid

Array = npt.NDArray[Any]
BENT = np.array([[1.004, -0.031], [0.027, 0.992]])


def texture(shape: tuple[int, ...], dtype: str = "uint8", seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return np.asfortranarray(rng.normal(size=shape).astype(dtype))
    limits = np.iinfo(dtype)
    return np.asfortranarray(rng.integers(limits.min, limits.max, shape, dtype, endpoint=True))


def render(made: Alignment, layer: Path, **fields: Any) -> Path:
    more = {"chunk": (64, 64, 1), "num_mips": 0, "unchecked": True, **fields}
    run.inline(AlignRender(alignment=made.home, layer=str(layer), **more))
    return layer


def at(layer: Path, box: Box) -> Array:
    io = IO()
    return io.read(io.volume(f"file://{layer}", 0), box)


def straight(z: int, x: float = 0.0, y: float = 0.0, **more: Any) -> Rough:
    return Rough(np.eye(2), np.array([x, y], np.float64), **{"source": z, **more})


def crooked(folder: Path, dtype: str = "uint8", channels: int = 1, depth: int = 5, step: int = 40) -> Alignment:
    """Sections that are turned, bent and moved, one of them missing, one inverted; two of them swapped."""
    layer = stack(folder / "stack", texture((300, 260, depth, channels), dtype), offset=(-20, 7, 3))
    rng = np.random.default_rng(1)
    maps = [
        Rough(BENT + rng.normal(0, 0.002, (2, 2)), rng.uniform(-9, 9, 2), source=z, inverted=z == 4)
        for z in range(3, 3 + depth)
    ]
    maps[2] = Rough(np.eye(2), np.zeros(2), source=-1)
    maps[3], maps[4] = (Rough(m.matrix, m.shift, source=z) for m, z in zip(maps[3:5], (7, 6), strict=True))
    made = begun(f"file://{folder}/alignment", layer, maps)
    shape = made.new_round(IO(), 1, 0, step).box.shape
    values = np.round(rng.normal(0, 1.5, (*shape, 2)) * 64) / 64
    alignments.fields(made, 1, step, "inverse", values)
    return made


def test_maps_that_move_nothing_give_the_bytes_of_the_sections_at_all_levels(tmp_path: Path) -> None:
    voxels = texture((256, 192, 3, 1))
    made = begun(f"file://{tmp_path}/alignment", stack(tmp_path / "stack", voxels, offset=(-64, 128, 5)))
    alignments.fields(made, 1, 32, "inverse", np.zeros((*made.new_round(IO(), 1, 0, 32).box.shape, 2)))
    layer = render(made, tmp_path / "layer", num_mips=2)
    run.inline(Transfer(source=made.layer, layer=str(tmp_path / "copy"), num_mips=2, chunk=(64, 64, 1)))
    assert IO().info(f"file://{layer}") == IO().info(f"file://{tmp_path}/copy")
    same = {name: data for name, data in files(layer).items() if name != "info"}
    assert same == {name: data for name, data in files(tmp_path / "copy").items() if name != "info"}
    assert len(same) == 3 * (12 + 4 + 1)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_shifts_by_whole_pixels_change_no_value(tmp_path: Path, dtype: str, channels: int) -> None:
    voxels = texture((150, 170, 2, channels), dtype)
    layer = stack(tmp_path / "stack", voxels)
    made = begun(f"file://{tmp_path}/alignment", layer, [straight(0, 17, -5), straight(1, -3, 0)])
    alignments.fields(made, 1, 50, "inverse", np.full((*made.new_round(IO(), 1, 0, 50).box.shape, 2), 2.0))
    shown = at(render(made, tmp_path / "layer", background=9), Box((0, 0, 0), (150, 170, 2)))
    assert np.array_equal(shown[15:, :163, 0], voxels[: 150 - 15, 7:, 0])
    assert np.array_equal(shown[:145, :168, 1], voxels[5:, 2:, 1])
    assert (shown[:15, :, 0] == 9).all()
    assert (shown[:, 163:, 0] == 9).all()


def test_an_affine_map_is_one_cubic_interpolation(tmp_path: Path) -> None:
    picture = ndimage.gaussian_filter(texture((240, 200, 1, 1), "float32"), (2, 2, 0, 0))
    layer = stack(tmp_path / "stack", np.asfortranarray(picture))
    rough = Rough(BENT, np.array([3.3, -2.2]), source=0)
    made = begun(f"file://{tmp_path}/alignment", layer, [rough])
    shown = at(render(made, tmp_path / "layer"), Box((20, 20, 0), (200, 180, 1)))[:, :, 0, 0]
    points = np.stack(np.meshgrid(np.arange(20, 200), np.arange(20, 180), indexing="ij"), axis=-1)
    wanted = keys(picture[:, :, 0, 0].astype(np.float64), rough.section(points))
    assert np.abs(shown - wanted).max() < 1e-4 * picture.std()


def keys(picture: Array, places: Array) -> Array:
    """Keys' cubic convolution at places inside, term by term."""

    def weight(t: Array) -> Array:
        t = np.abs(t)
        return np.where(t < 1, 1.5 * t**3 - 2.5 * t**2 + 1, np.where(t < 2, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2, 0))

    x, y = places[..., 0], places[..., 1]
    i, j = np.floor(x).astype(int), np.floor(y).astype(int)
    total = np.zeros(x.shape)
    for a in range(-1, 3):
        for b in range(-1, 3):
            ax, by = np.clip(i + a, 0, picture.shape[0] - 1), np.clip(j + b, 0, picture.shape[1] - 1)
            total += picture[ax, by] * weight(x - i - a) * weight(y - j - b)
    return total


@pytest.mark.long
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_how_tasks_are_cut_changes_no_voxel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    made = crooked(tmp_path, dtype)
    bounds = Box((-64, -32, 2), (320, 288, 9))
    wanted = whole(render(made, tmp_path / "one", chunk=(384, 320, 1), bounds=bounds))
    assert len(np.unique(wanted)) > 100
    other: dict[str, dict[str, Any]] = {
        "small": {"chunk": (16, 48, 1)},
        "deep": {"chunk": (64, 32, 7)},
        "odd": {"chunk": (37, 41, 2), "num_mips": 1},
        "poor": {"chunk": (32, 32, 1), "memory": 3_000_000},
    }
    for name, fields in other.items():
        assert np.array_equal(whole(render(made, tmp_path / name, bounds=bounds, **fields)), wanted), name
    monkeypatch.setattr("igneous_ng.showing.CELL", 64)
    monkeypatch.setattr("igneous_ng.projections._BLOCK", 1)
    assert np.array_equal(whole(render(made, tmp_path / "cells", bounds=bounds)), wanted)
    part = Box((-40, 3, 4), (77, 100, 6))
    shown = at(render(made, tmp_path / "part", bounds=part), part)
    assert np.array_equal(shown, wanted[part.slices(bounds.lo)])


def test_levels_are_those_of_a_downsampling(tmp_path: Path) -> None:
    made = crooked(tmp_path)
    layer = render(made, tmp_path / "made", num_mips=3, chunk=(32, 16, 1))
    run.inline(Transfer(source=str(render(made, tmp_path / "plain")), layer=str(tmp_path / "other"),
                        roi=IO().info(f"file://{layer}").scales[0].bounds))  # fmt: skip
    run.inline(Downsample(layer=str(tmp_path / "other"), num_mips=3))
    for mip in range(4):
        assert np.array_equal(whole(layer, mip), whole(tmp_path / "other", mip)), mip


@pytest.mark.parametrize(("dtype", "low", "high"), [("uint8", 0, 255), ("uint16", 0, 65535), ("int16", -32768, 32767)])
def test_opposite_contrast_is_restored_within_the_type(tmp_path: Path, dtype: str, low: int, high: int) -> None:
    voxels = texture((70, 60, 2, 1), dtype)
    maps = [straight(0, 3, inverted=True), straight(1)]
    made = begun(f"file://{tmp_path}/alignment", stack(tmp_path / "stack", voxels), maps)
    box = Box((3, 0, 0), (70, 60, 2))
    shown = at(render(made, tmp_path / "restored", background=5), Box((0, 0, 0), (70, 60, 2)))
    assert np.array_equal(shown[3:, :, 0].astype(int), low + high - voxels[:67, :, 0].astype(int))
    assert np.array_equal(shown[..., 1, :], voxels[..., 1, :])
    assert (shown[:3, :, 0] == 5).all()
    kept = at(render(made, tmp_path / "kept", contrast="kept"), box)
    assert np.array_equal(kept[..., 0, :], voxels[:67, :, 0])
    stage = AlignRender(alignment=made.home, layer=str(tmp_path / "restored"))
    assert stage.said(IO()) == "2 sections shown, by round 0; the contrast of 1 restored"


def labels(folder: Path, dtype: str, shape: Vec3, resolution: tuple[float, float, float]) -> tuple[str, Array]:
    values = texture((*shape, 1), dtype)
    info = new_info(kind=SEGMENTATION, dtype=dtype, channels=1, bounds=Box((0, 0, 0), shape), resolution=resolution,
                    chunk=(64, 64, 2), encoding="raw")  # fmt: skip
    io, url = IO(), f"file://{folder}"
    io.create_layer(url, info)
    io.write(io.volume(url, 0), Box((0, 0, 0), shape), values)
    return url, values


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize(("factor", "voxel"), [(1, 8.0), (0.5, 4.0), (4, 32.0)])
def test_labels_are_those_of_the_voxel_in_which_a_centre_lies(
    tmp_path: Path, dtype: str, factor: float, voxel: float
) -> None:
    layer = stack(tmp_path / "stack", texture((256, 128, 2, 1)))
    rough = Rough(BENT, np.array([3.3, -2.2]), source=1)
    made = begun(f"file://{tmp_path}/alignment", layer, [rough, straight(0)])
    shape = (round(256 / factor), round(128 / factor), 2)
    url, values = labels(tmp_path / "labels", dtype, shape, (voxel, voxel, 32.0))
    shown = whole(render(made, tmp_path / "layer", image=url, num_mips=1, background=1))
    assert IO().info(f"file://{tmp_path}/layer").kind == SEGMENTATION
    assert np.array_equal(shown[: shape[0], : shape[1], 1], values[:, :, 0])
    points = np.stack(np.meshgrid(*(np.arange(n) for n in shown.shape[:2]), indexing="ij"), axis=-1)
    places = (rough.section((points + 0.5) * factor - 0.5) + 0.5) / factor - 0.5
    sure = (np.abs(places - np.floor(places) - 0.5) > 1e-3).all(axis=-1)
    at_ = np.floor(places + 0.5).astype(int)
    inside = ((at_ >= 0) & (at_ < shape[:2])).all(axis=-1)
    clipped = np.clip(at_, 0, np.array(shape[:2]) - 1)
    wanted = np.where(inside, values[clipped[..., 0], clipped[..., 1], 1, 0], 1)
    assert np.array_equal(shown[:, :, 0, 0][sure], wanted[sure])
    assert sure.mean() > 0.9


def test_sections_that_are_missing_are_background_or_the_nearest(tmp_path: Path) -> None:
    voxels = texture((64, 64, 6, 1))
    maps = [straight(z, 0, z, source=-1 if z in (0, 2, 3) else z) for z in range(6)]
    made = begun(f"file://{tmp_path}/alignment", stack(tmp_path / "stack", voxels), maps)
    shown = whole(render(made, tmp_path / "layer", background=7, num_mips=1))
    assert (shown[:, :, [0, 2, 3]] == 7).all()
    assert np.array_equal(shown[:, 1:, 1], voxels[:, :-1, 1])
    assert [n["missing"] for n in notes(tmp_path / "layer") if n] == [{"0": None}, {"2": None}, {"3": None}]
    filled = whole(render(made, tmp_path / "filled", absent="nearest", chunk=(64, 64, 6)))
    for z, near in enumerate((1, 1, 1, 4, 4, 5)):
        assert np.array_equal(filled[:, near:, z], voxels[:, :-near, near]), z
    assert notes(tmp_path / "filled") == [{"missing": {"0": 1, "2": 1, "3": 4}}]
    stage = AlignRender(alignment=made.home, layer=str(tmp_path / "filled"), absent="nearest")
    assert stage.said(IO()) == "3 sections shown, by round 0; 3 missing: 0, 2, 3; the nearest are shown instead"


def test_a_section_shown_at_another_place_is_the_one_named(tmp_path: Path) -> None:
    voxels = texture((64, 64, 3, 1))
    maps = [straight(1), straight(0), straight(2)]
    made = begun(f"file://{tmp_path}/alignment", stack(tmp_path / "stack", voxels, offset=(0, 0, 0)), maps)
    assert np.array_equal(whole(render(made, tmp_path / "layer")), voxels[:, :, [1, 0, 2]])


def test_what_was_not_passed_is_not_rendered(tmp_path: Path) -> None:
    made = begun(f"file://{tmp_path}/alignment", stack(tmp_path / "stack", texture((64, 64, 1, 1))))
    asked: dict[str, Any] = {"alignment": made.home, "layer": str(tmp_path / "layer"), "num_mips": 0}
    with pytest.raises(DataError, match="says nothing of round 0; run `align check` first"):
        run.inline(AlignRender(**asked))
    IO().put_json(f"{made.home}/verdict.json", {"round": 0, "publish": False, "reasons": ["drift of 9 px", "gaps"]})
    with pytest.raises(DataError, match="round 0 did not pass: drift of 9 px; gaps"):
        run.inline(AlignRender(**asked))
    assert not (tmp_path / "layer/info").exists()
    IO().put_json(f"{made.home}/verdict.json", {"round": 0, "publish": True, "reasons": []})
    run.inline(AlignRender(**asked))
    alignments.fields(made, 1, 32, "inverse", np.zeros((2, 2, 1, 2)))
    with pytest.raises(DataError, match="says nothing of round 1"):
        run.inline(AlignRender(**asked))


def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    layer = stack(tmp_path / "stack", texture((64, 64, 1, 1)))
    made = begun(f"file://{tmp_path}/alignment", layer)
    with pytest.raises(SpecError, match="not both"):
        AlignRender(alignment=made.home, layer="a", image=Layer("b"), montage=Layer("c"))
    with pytest.raises(SpecError, match="is read"):
        AlignRender(alignment=made.home, layer=made.home)
    with pytest.raises(SpecError, match="has the sections"):
        render(made, tmp_path / "stack", chunk=(256, 256, 1))
    with pytest.raises(SpecError, match="uint8 has no background 300"):
        render(made, tmp_path / "layer", background=300)
    with pytest.raises(DataError, match="this round was not begun"):
        render(made, tmp_path / "layer", round=4)
    alignments.fields(made, 4, 32, "forward", np.zeros((2, 2, 1, 2)))
    with pytest.raises(DataError, match="rounds/4/inverse/info: there is no layer here"):
        render(made, tmp_path / "layer", round=4)
    odd = labels(tmp_path / "odd", "uint8", (30, 30, 1), (12.0, 12.0, 32.0))[0]
    with pytest.raises(SpecError, match="coarser or finer by a whole factor"):
        render(made, tmp_path / "layer", image=odd)
    wide = labels(tmp_path / "wide", "uint32", (30, 30, 1), (8.0, 8.0, 32.0))[0]
    with pytest.raises(SpecError, match="cannot be interpolated"):
        render(made, tmp_path / "layer", image=wide, pick="cubic")
    assert not (tmp_path / "layer/info").exists()
    IO().put_json(f"{made.home}/rough.json", {"bounds": "0:64,0:64,0:1"})
    render(made, tmp_path / "layer")
    IO().put_json(f"{made.home}/rough.json", {"bounds": "-3:64,0:64,0:1"})
    with pytest.raises(SpecError, match="sections now reach"):
        render(made, tmp_path / "layer")


def test_tiles_and_their_layer_show_the_same(tmp_path: Path) -> None:
    picture = texture((300, 260, 3), "uint8", 4)
    smooth = ndimage.gaussian_filter(picture.astype(np.float32), (3, 3, 0))
    smooth = np.round((smooth - smooth.min()) / np.ptp(smooth) * 250).astype(np.uint8)
    montage = build(tmp_path / "montage", {2: grid(smooth, (120, 110), (90, 75), (-130, -70))}, pixel=8.0)
    run.inline(Render(montage=montage, layer=str(tmp_path / "stack"), chunk=(128, 128, 1), num_mips=0, thickness=32.0))
    rough = Rough(np.array([[0.0, -1.0], [1.0, 0.0]]) @ BENT, np.array([5.3, -80.2]), source=2, inverted=True)
    made = begun(f"file://{tmp_path}/alignment", f"file://{tmp_path}/stack", [rough])
    bounds = Box((-256, -320, 2), (256, 256, 3))
    one = whole(render(made, tmp_path / "one", bounds=bounds)).astype(int)
    other = whole(render(made, tmp_path / "other", bounds=bounds, montage=montage)).astype(int)
    tiles = ndimage.binary_erosion((other > 0).all(axis=-1), np.ones((7, 7, 1)))
    assert tiles.sum() > 60_000
    assert np.abs(one - other)[tiles].max() <= 1
    assert not other[ndimage.binary_dilation((one > 0).any(axis=-1), np.ones((7, 7, 1))) == 0].any()
    cut = whole(render(made, tmp_path / "cut", bounds=bounds, montage=montage, chunk=(32, 16, 1), memory=30_000_000))
    assert np.array_equal(cut, other)


def test_tiles_finer_than_their_layer_keep_their_frame(tmp_path: Path) -> None:
    x, y = np.meshgrid(np.arange(400), np.arange(320), indexing="ij")
    fine = (128 + 60 * np.sin(x / 19 + y / 31) + 50 * np.cos(y / 17))[..., np.newaxis]
    montage = build(tmp_path / "montage", {0: grid(np.round(fine).astype(np.uint8), (160, 160), (120, 80))}, pixel=4.0)
    coarse = np.round(fine.reshape(200, 2, 160, 2, 1).mean(axis=(1, 3))).astype(np.uint8)
    made = begun(f"file://{tmp_path}/alignment", stack(tmp_path / "stack", coarse[:, :, np.newaxis]), [straight(0, 8)])
    box = Box((20, 12, 0), (180, 140, 1))
    one, other = (at(render(made, tmp_path / name, **more), box).astype(int)
                  for name, more in (("one", {}), ("other", {"montage": montage})))  # fmt: skip
    assert np.abs(one - other).max() <= 2


@pytest.mark.long
def test_a_change_of_one_place_makes_only_its_chunks_anew(tmp_path: Path) -> None:
    made = crooked(tmp_path, step=3)
    bounds = Box((-64, -64, 3), (320, 320, 8))
    stage: dict[str, Any] = {"chunk": (64, 64, 1), "bounds": bounds}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("igneous_ng.showing.CELL", 64)
        render(made, tmp_path / "layer", **stage)
        before = files(tmp_path / "layer")
        io, url = IO(), f"{made.home}/rounds/1/inverse"
        values = whole(tmp_path / "alignment/rounds/1/inverse")
        values[23, 19, 3] += 1  # a node of one section, at (49, 64); nodes of one object go from (-21, 6) to (170, 197)
        io.write(io.volume(url, 0), io.info(url).scales[0].bounds, values)
        waves = carried_out(
            Redo(IO().store, [f"file://{tmp_path}/layer"]), lambda wave: run.inline(wave.stage, wave.subset)
        )
        assert [len(wave.subset) for wave, _ in waves] == [4 * 5]
        after = files(tmp_path / "layer")
        changed = {name.rpartition("/")[2].removesuffix(".gz") for name in before if before[name] != after[name]}
        assert changed == {"0-64_0-64_6-7", "0-64_64-128_6-7"}
        render(made, tmp_path / "anew", **stage)
    assert files(tmp_path / "anew") == after


def test_a_task_reads_each_chunk_of_the_sections_once(tmp_path: Path) -> None:
    made = crooked(tmp_path)
    reads: list[str] = []

    class Told(IO):
        def read(self, volume: Any, box: Box, out: Array | None = None) -> Array:
            if volume.path == made.layer:
                reads.append(str(box))
            return super().read(volume, box, out)

    stage = AlignRender(alignment=made.home, layer=str(tmp_path / "layer"), chunk=(32, 32, 5), unchecked=True)
    stage.prepare(IO())
    io = Told()
    for unit in stage.units(io):
        stage.execute(unit, io)
    assert len(reads) == len(set(reads)) == 4


def test_the_last_round_that_was_inverted_is_shown_unless_one_is_named(tmp_path: Path) -> None:
    made = crooked(tmp_path)
    IO().put_json(f"{made.home}/rounds/2/round.json", {})
    stage = next(AlignRender(alignment=made.home, layer="a").steps(IO()))
    assert isinstance(stage, AlignRender)
    assert stage.round == 1
    point = np.array([100.0, 90.0])
    assert not np.array_equal(Warp(IO(), made, 3, 0).section(point), Warp(IO(), made, 3, 1).section(point))
    last, named, rough = (whole(render(made, tmp_path / str(n), round=n)) for n in (-1, 1, 0))
    assert np.array_equal(last, named)
    assert not np.array_equal(last, rough)


def test_rough_maps_that_end_too_early_are_told(tmp_path: Path) -> None:
    made = crooked(tmp_path)
    IO().put(f"{made.home}/rough.affines", encode_rough(3, [straight(3)]))
    with pytest.raises(DataError, match="says nothing of section 4"):
        render(made, tmp_path / "layer")


@pytest.mark.long
def test_killed_at_any_moment_the_bytes_are_the_same(tmp_path: Path) -> None:
    made = crooked(tmp_path)
    wanted = files(render(made, tmp_path / "layer", chunk=(16, 16, 2), num_mips=2))
    (tmp_path / "layer").rename(tmp_path / "undisturbed")
    command = [sys.executable, "-m", "igneous_ng.cli", "align", "render", made.home, str(tmp_path / "layer"),
               "--chunk", "16,16,2", "--num-mips", "2", "--unchecked"]  # fmt: skip
    rng = np.random.default_rng(5)
    for _ in range(8):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            child.wait(timeout=float(rng.uniform(0.5, 4)))
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    assert subprocess.run(command, capture_output=True, check=True).returncode == 0
    assert files(tmp_path / "layer") == wanted
