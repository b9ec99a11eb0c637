"""Mosaics: what tiles show comes back, exactly where it can, and however tasks are cut."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner

from igneous_ng import cli, history, records, run, solutions
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.kernels.tile_maps import POWERS, Lens, TileMap
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.image_transfer import Transfer
from igneous_ng.stages.stitch_render import Render
from igneous_ng.store import Store
from tests.layers import files, whole
from tests.sections import Shot, build, cut, grid, seen, shifted, solve, store

Array = npt.NDArray[Any]
CHUNK = re.compile(r"/(-?\d+)-(-?\d+)_(-?\d+)-(-?\d+)_")


def texture(shape: tuple[int, ...], dtype: str = "uint8", seed: int = 0) -> Array:
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, shape, dtype, endpoint=True)


def smooth(points: Array) -> Array:
    """A scene without edges: values 28 to 228, waves of 35 pixels and more."""
    x, y = points[..., 0], points[..., 1]
    return np.asarray(128 + 50 * np.sin(x / 7 + y / 11) + 50 * np.cos(y / 5.7 - x / 13))


def render(montage: str, layer: Path, **fields: Any) -> Path:
    run.inline(Render(montage=montage, layer=str(layer), **{"chunk": (64, 64, 1), "num_mips": 0, **fields}))
    return layer


def at(layer: Path, box: tuple[int, int, int, int], z: int = 0, mip: int = 0) -> Array:
    io = IO()
    volume = io.volume(f"file://{layer}", mip, fill_missing=True)
    return io.read(volume, Box((box[0], box[1], z), (box[2], box[3], z + 1)))[:, :, 0]


def crooked(seed: int = 3, bent: bool = True) -> list[Shot]:
    """Six tiles of a smooth scene, turned and bent a little each, with tones of their own."""
    rng = np.random.default_rng(seed)
    lens = Lens((79.5, 69.5), 105.0, rng.uniform(-1, 1, (len(POWERS), 2)) * 0.4) if bent else None
    shots = []
    for n in range(6):
        matrix = np.eye(2) + rng.normal(0, 0.005, (2, 2))
        shift = np.array([n % 3 * 130 - 200, n // 3 * 115 - 50]) + rng.uniform(-2, 2, 2)
        nodes = rng.normal(0, 0.5, (4, 3, 2)) if bent else np.zeros((0, 0, 2))
        one = solutions.rounded(TileMap((160, 140), matrix, shift, lens, nodes))
        shots.append(Shot(np.clip(seen(one, smooth) + rng.integers(-9, 9), 0, 255).astype(np.uint8), one))
    return shots


@pytest.mark.parametrize(("dtype", "channels"), [("uint8", 1), ("uint8", 3), ("uint16", 1), ("uint16", 3)])
def test_pieces_of_a_picture_give_the_picture(tmp_path: Path, dtype: str, channels: int) -> None:
    picture = texture((300, 260, channels), dtype)
    montage = build(tmp_path / "montage", {5: grid(picture, (120, 110), (90, 75), (-130, -70))})
    layer = render(montage, tmp_path / "layer")
    assert np.array_equal(at(layer, (-130, -70, 170, 190), 5), picture)
    info = IO().info(f"file://{layer}")
    assert (info.dtype.name, info.channels, info.scales[0].resolution) == (dtype, channels, (4.0, 4.0, 40.0))
    outside = whole(layer)
    outside[62:362, 58:318] = 0  # what is left lies outside of all tiles
    assert info.scales[0].bounds == Box((-192, -128, 5), (192, 192, 6))
    assert not outside.any()


def test_tiles_shifted_by_parts_of_pixels_show_what_they_saw(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    maps = [shifted((150, 150), x + rng.uniform(-1, 1), y + rng.uniform(-1, 1)) for y in (0, 120) for x in (0, 120)]
    maps = [solutions.rounded(one) for one in maps]
    layer = render(build(tmp_path / "m", {0: [Shot(seen(one, smooth), one) for one in maps]}), tmp_path / "layer")
    truth = smooth(np.stack(np.meshgrid(np.arange(2, 266), np.arange(2, 266), indexing="ij"), axis=-1))
    assert np.abs(at(layer, (2, 2, 266, 266))[..., 0] - truth).max() < 1.5


def test_a_lens_is_undone(tmp_path: Path) -> None:
    terms = np.zeros((len(POWERS), 2))
    terms[POWERS.index((3, 0)), 0] = terms[POWERS.index((1, 2)), 0] = 3.0
    terms[POWERS.index((0, 3)), 1] = terms[POWERS.index((2, 1)), 1] = 3.0
    lens = Lens((99.5, 99.5), 140.0, terms)  # 3 pixels at the corners
    maps = [TileMap((200, 200), np.eye(2), np.array([x, 0.0]), lens) for x in (0.0, 170.0)]
    montage = build(tmp_path / "m", {0: [Shot(seen(one, smooth), one) for one in maps]})
    truth = smooth(np.stack(np.meshgrid(np.arange(5, 365), np.arange(5, 195), indexing="ij"), axis=-1))
    assert np.abs(at(render(montage, tmp_path / "layer"), (5, 5, 365, 195))[..., 0] - truth).max() < 1.5
    straight = [TileMap(one.size, one.matrix, one.shift) for one in maps]
    solve(tmp_path / "m", 0, straight)
    assert np.abs(at(render(montage, tmp_path / "bent"), (5, 5, 365, 195))[..., 0] - truth).max() > 20


@pytest.mark.long
def test_how_tasks_are_cut_changes_no_voxel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sections = {z: crooked(z) for z in (3, 4, 6)}
    montage = build(tmp_path / "m", sections)
    bounds = Box((-192, -64, 3), (256, 256, 7))
    wanted = whole(render(montage, tmp_path / "one", chunk=(448, 320, 1), bounds=bounds), fill_missing=True)
    assert len(np.unique(wanted)) > 100
    other: dict[str, dict[str, Any]] = {
        "small": {"chunk": (16, 48, 1)},
        "deep": {"chunk": (64, 32, 3)},
        "odd": {"chunk": (37, 41, 2), "num_mips": 1},
        "poor": {"chunk": (32, 32, 1), "memory": 2_000_000},
    }
    for name, fields in other.items():
        made = render(montage, tmp_path / name, bounds=bounds, **fields)
        assert np.array_equal(whole(made, fill_missing=True), wanted), name
    monkeypatch.setattr("igneous_ng.showing.CELL", 64)
    assert np.array_equal(whole(render(montage, tmp_path / "cells", bounds=bounds), fill_missing=True), wanted)
    shown = at(render(montage, tmp_path / "part", bounds=Box((-64, 0, 4), (10, 100, 5))), (-64, 0, 10, 100), 4)
    assert np.array_equal(shown, wanted[128:202, 64:164, 1])


@pytest.mark.long
def test_levels_are_those_of_a_downsampling(tmp_path: Path) -> None:
    montage = build(tmp_path / "m", {z: crooked(z) for z in (1, 2, 3)})
    made = render(montage, tmp_path / "made", num_mips=3, chunk=(32, 16, 1))
    render(montage, tmp_path / "plain", chunk=(32, 16, 1))
    bounds = IO().info(f"file://{made}").scales[0].bounds
    run.inline(Transfer(source=str(tmp_path / "plain"), layer=str(tmp_path / "other"), roi=bounds))
    run.inline(Downsample(layer=str(tmp_path / "other"), num_mips=3))
    for mip in range(4):
        assert np.array_equal(whole(made, mip), whole(tmp_path / "other", mip)), mip


def test_where_tiles_differ_no_border_is_seen(tmp_path: Path) -> None:
    flat = [np.full((160, 160, 1), value, np.uint8) for value in (100, 140)]
    shots = [Shot(pixels, shifted((160, 160), 120 * n, 0)) for n, pixels in enumerate(flat)]
    row = at(render(build(tmp_path / "m", {0: shots}), tmp_path / "layer"), (0, 0, 280, 160))[:, 80, 0].astype(int)
    assert row[0] == 100
    assert row[-1] == 140
    assert (np.diff(row) >= 0).all()
    assert np.diff(row).max() <= 2  # 40 levels over 40 pixels, and not at once


def test_fine_detail_comes_from_one_tile_alone(tmp_path: Path) -> None:
    noise = texture((160, 160, 1), seed=1) // 8 + 100
    shots = [Shot(noise, shifted((160, 160), 0, 0)), Shot(np.full_like(noise, 116), shifted((160, 160), 100, 0))]
    shown = at(render(build(tmp_path / "m", {0: shots}), tmp_path / "layer"), (100, 20, 160, 140))[..., 0]
    own = noise[100:160, 20:140, 0].astype(float)
    share = [np.polyfit(own[n], shown[n].astype(float), 1)[0] for n in range(60)]
    assert min(share[:28]) > 0.9
    assert max(share[32:]) < 0.1


def test_tones_flat_field_shade_and_level_are_applied_and_steps_go_away(tmp_path: Path) -> None:
    from igneous_ng.formats import columns, shades

    picture = texture((260, 150, 1), seed=4) // 4 + 60
    vignette = np.array([[[0.95], [0.98]], [[1.02], [1.04]]], np.float32)
    x = np.arange(150) / 149
    field = np.array(
        [[(1 - a) * (1 - b) * 0.95 + (1 - a) * b * 0.98 + a * (1 - b) * 1.02 + a * b * 1.04 for b in x] for a in x]
    )
    shots, tones = [], []
    for n, (gain, offset) in enumerate([(0.75, 8.0), (1.25, -16.0)]):
        true = picture[110 * n : 110 * n + 150]
        raw = (true[..., 0].astype(float) - offset) / gain * field
        shots.append(Shot(raw[..., np.newaxis].astype(np.float32), shifted((150, 150), 110 * n, 0)))
        tones.append([[gain, offset]])
    wide = [replace(one, pixels=np.round(one.pixels * 100).astype(np.uint16)) for one in shots]
    montage = build(tmp_path / "m", {0: wide})
    io = IO()
    io.put(f"{montage}/flat/a.cols", columns.pack({"flat": vignette}))
    io.put(f"{montage}/tones/z000000.f32", (np.array(tones) * [1, 100]).astype("<f4").tobytes())
    io.put(f"{montage}/shades/z000000.shade", shades.encode(np.full((3, 3, 1), 500.0), 64, (-64, -64)))
    io.put_json(f"{montage}/levels/z000000.json", {"gain": [0.5], "offset": [20.0]})
    shown = at(render(montage, tmp_path / "layer"), (0, 0, 260, 150)).astype(float)
    wanted = 0.5 * (picture * 100.0 + 500) + 20
    assert np.abs(shown - wanted).max() <= 1.0  # in 1/50 of a level: raw values and the result are rounded
    bare = at(render(montage, tmp_path / "bare", intensity="none"), (0, 0, 260, 150)).astype(float)
    assert np.abs(bare - wanted).max() > 1000


def test_a_tile_that_is_moved_changes_what_it_touches_and_nothing_else(tmp_path: Path) -> None:
    shots = crooked()
    montage = build(tmp_path / "m", {0: shots})
    stage = Render(montage=montage, layer=str(tmp_path / "layer"), chunk=(32, 32, 1), num_mips=1)
    run.inline(stage)
    before = files(tmp_path / "layer")
    moved = replace(shots[2].map, shift=shots[2].map.shift + np.array([0.25, 0.0]))
    solve(tmp_path / "m", 0, [*(one.map for one in shots[:2]), moved, *(one.map for one in shots[3:])])
    done = CliRunner().invoke(cli.main, ["redo", str(tmp_path / "layer")])
    assert done.exit_code == 0, done.output
    after = files(tmp_path / "layer")
    changed = {name for name in before if before[name] != after[name]}
    x0, y0, x1, y1 = moved.box()
    assert changed
    for name in changed:
        a, b, c, d = (int(n) * (1 if name.startswith("4_") else 2) for n in CHUNK.findall(name)[0])
        assert max(a, x0 - 1) <= min(b, x1), name
        assert max(c, y0 - 1) <= min(d, y1), name
    render(montage, tmp_path / "anew", chunk=(32, 32, 1), num_mips=1)
    assert files(tmp_path / "anew") == after


def test_a_task_reads_the_tiles_that_touch_it_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("igneous_ng.showing.CELL", 128)
    picture = texture((512, 100, 1))
    montage = build(tmp_path / "m", {0: grid(picture, (100, 100), (128, 128), (14, 14))})
    layer = render(montage, tmp_path / "layer", chunk=(128, 128, 1))
    found = next(history.runs(Store(), f"file://{layer}"))
    lines = [line for file in records.stored(Store(), found) for line in records.lines_of(Store(), file)]
    assert len(lines) == 4
    for line in lines:
        read = [one["url"].rpartition("/")[2] for one in line["reads"] if one["url"].endswith(".png")]
        assert read == [f"z000000_{line['unit']:03d}.png"]
        assert len([one for one in line["reads"] if one["url"].endswith(".maps")]) == 2  # the header and a tile


def test_what_is_wrong_with_tiles_is_said(tmp_path: Path) -> None:
    picture = texture((200, 100, 1))
    montage = build(tmp_path / "m", {0: [cut(picture, 0, 0, (110, 100)), cut(picture, 90, 0, (110, 100))]})
    raw = tmp_path / "raw" / "z000000_001.png"
    kept = raw.read_bytes()
    raw.unlink()
    with pytest.raises(DataError, match="z000000_001.png: the picture is not there"):
        render(montage, tmp_path / "layer")
    store(raw, picture[:90, :100])
    with pytest.raises(
        DataError, match=r"tile 't001' is \(90, 100, 1\) of uint8, and was registered as \(110, 100, 1\)"
    ):
        render(montage, tmp_path / "second")
    raw.write_bytes(kept)
    (tmp_path / "m/solutions/z000000.maps").unlink()
    with pytest.raises(DataError, match="this section is not solved"):
        render(montage, tmp_path / "third")
    assert np.array_equal(at(render(montage, tmp_path / "fourth", positions="stage"), (0, 0, 200, 100)), picture)


def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    picture = texture((200, 100, 1))
    montage = build(tmp_path / "m", {0: [cut(picture, 0, 0, (110, 100))], 2: [cut(picture, 0, 0, (110, 100))]})
    IO().put(f"{montage}/tones/z000002.f32", np.array([1, 0], "<f4").tobytes())
    with pytest.raises(DataError, match="tones: section 0 has none, 1 sections in all"):
        render(montage, tmp_path / "layer")
    with pytest.raises(SpecError, match="uint8 has no background 256"):
        render(montage, tmp_path / "layer", background=256, intensity="none")
    with pytest.raises(SpecError, match="a clip of"):
        Render(montage=montage, layer="a", clip=(0, 0, -1, 0))
    with pytest.raises(SpecError, match="is the montage"):
        Render(montage=montage, layer=montage)
    assert not (tmp_path / "layer/info").exists()


def test_sections_that_are_not_there_are_named_and_left_out(tmp_path: Path) -> None:
    picture = texture((128, 128, 1))
    montage = build(tmp_path / "m", {z: [cut(picture, 0, 0, (128, 128))] for z in (2, 5)})
    layer = render(montage, tmp_path / "layer", background=7, chunk=(64, 64, 3))
    stage = Render(montage=montage, layer=str(layer))
    assert stage.said(IO()) == "2 sections shown; 2 sections are not registered: 3, 4"
    for z in (2, 5):
        assert np.array_equal(at(layer, (0, 0, 128, 128), z), picture)
    assert (whole(layer)[:, :, 1:3] == 7).all()
    plain = render(montage, tmp_path / "plain")
    assert list((plain / "4_4_40").glob("0-64_0-64_2-3*"))
    assert not list((plain / "4_4_40").glob("*_3-4*"))


def test_borders_of_tiles_can_be_left_out(tmp_path: Path) -> None:
    picture = texture((200, 100, 1))
    shots = [cut(picture, 0, 0, (120, 100)), cut(picture, 80, 0, (120, 100))]
    damaged = shots[1].pixels.copy()
    damaged[:7] = 255
    montage = build(tmp_path / "m", {0: [shots[0], replace(shots[1], pixels=damaged)]})
    assert not np.array_equal(at(render(montage, tmp_path / "all"), (0, 0, 200, 100)), picture)
    layer = render(montage, tmp_path / "cut", clip=(7, 0, 0, 0))
    assert np.array_equal(at(layer, (7, 0, 200, 100)), picture[7:])
    assert not at(layer, (0, 0, 7, 100)).any()
