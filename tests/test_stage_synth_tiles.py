"""Synthetic tiles: they show the image where the truth says, and their faults are those that were asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from igneous_ng import run, solutions
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import pictures
from igneous_ng.formats.info import IMAGE, new_info
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO
from igneous_ng.stages.synth_tiles import SynthTiles

SHAPE = (400, 330, 2)
QUIET: dict[str, Any] = {"tile": (128, 96), "gain": 0.0, "offset": 0.0, "noise": 0.0}


def scenery(shape: Vec3 = SHAPE, channels: int = 1, dtype: str = "uint8") -> np.ndarray:
    """Smooth blobs, so that splines between pixels tell the truth."""
    rng = np.random.default_rng(4)
    found = ndimage.gaussian_filter(rng.normal(size=(*shape, channels)), (3, 3, 0, 0))
    found = (found - found.min()) / np.ptp(found)
    return np.asfortranarray((40 + found * 170) * (256 if dtype == "uint16" else 1)).astype(dtype)


def image(path: Path, offset: Vec3 = (0, 0, 0), channels: int = 1, dtype: str = "uint8") -> tuple[str, np.ndarray]:
    layer, voxels, io = f"file://{path}/image", scenery(channels=channels, dtype=dtype), IO()
    bounds = Box.sized(offset, SHAPE)
    info = new_info(kind=IMAGE, dtype=dtype, channels=channels, bounds=bounds, resolution=(4, 4, 30),
                    chunk=(64, 64, 1), encoding="raw")  # fmt: skip
    io.create_layer(layer, info)
    io.write(io.volume(layer, 0), bounds, voxels)
    return layer, voxels


def cut(path: Path, layer: str, **fields: Any) -> tuple[Path, list[dict[str, Any]]]:
    out = path / "tiles"
    run.inline(SynthTiles(image=layer, out=str(out), **fields))
    return out, [json.loads(p.read_text()) for p in sorted((out / "truth").glob("*.json"))]


def pixels(file: Path) -> np.ndarray:
    return pictures.decode(file.read_bytes(), file.suffix[1:], str(file))[..., 0]


@pytest.mark.parametrize("bends", [{}, {"lens": 3.0, "distortion": 2.0}])
@pytest.mark.parametrize("offset", [(0, 0, 0), (-70, 1000, 5)])
def test_tiles_show_the_image_where_the_truth_says(tmp_path: Path, bends: dict[str, float], offset: Vec3) -> None:
    layer, voxels = image(tmp_path, offset)
    out, truth = cut(tmp_path, layer, **QUIET, **bends)
    assert [t["z"] for t in truth] == [offset[2], offset[2] + 1]
    for k, section in enumerate(truth):
        maps, _ = solutions.decode((out / f"truth/z{section['z']:06d}.maps").read_bytes(), "truth")
        x, y = np.meshgrid(np.arange(128), np.arange(96), indexing="ij")
        for tile, placed in zip(section["tiles"], maps, strict=True):
            at = np.moveaxis(placed(np.stack([x, y], axis=-1)), -1, 0)
            wanted = ndimage.map_coordinates(voxels[:, :, k, 0].astype(float), at, order=3)
            assert np.abs(pixels(out / tile["files"][0]) - wanted).max() < 1
            assert np.abs(np.array(tile["shift"]) - tile["stage"]).max() <= 20


def test_bends_are_as_large_as_asked(tmp_path: Path) -> None:
    layer, _ = image(tmp_path)
    out, _ = cut(tmp_path, layer, **QUIET, lens=3.0)
    maps, _ = solutions.decode((out / "truth/z000000.maps").read_bytes(), "truth")
    x, y = np.meshgrid(np.linspace(0, 127, 65), np.linspace(0, 95, 65), indexing="ij")
    bent = maps[0].bent(np.stack([x, y], axis=-1)) - np.stack([x, y], axis=-1)
    assert 2.5 < np.abs(bent).max() <= 3.01
    assert all(np.array_equal(one.lens.terms, maps[0].lens.terms) for one in maps if one.lens and maps[0].lens)


def test_levels_noise_and_shading_are_as_the_truth_says(tmp_path: Path) -> None:
    layer, _ = image(tmp_path)
    plain, _ = cut(tmp_path / "a", layer, **QUIET)
    out, truth = cut(tmp_path / "b", layer, tile=(128, 96), gain=0.1, offset=10.0, noise=2.0, shading=0.3)
    x, y = np.linspace(-1, 1, 128)[:, None], np.linspace(-1, 1, 96)[None, :]
    for tile in truth[0]["tiles"]:
        before, after = (pixels(folder / tile["files"][0]).astype(float) for folder in (plain, out))
        wrong = after - (before * (1 - 0.15 * (x**2 + y**2)) * tile["gain"] + tile["offset"])
        assert abs(wrong.mean()) < 0.2
        assert 1.8 < wrong.std() < 2.2


def test_faults_are_those_asked_for_and_can_be_seen(tmp_path: Path) -> None:
    layer, _ = image(tmp_path)
    out, truth = cut(tmp_path, layer, **QUIET | {"noise": 3.0}, lost=0.2, duplicate=0.1, truncated=0.01)
    for section in truth:
        kinds = [tile["fault"] for tile in section["tiles"]]
        count = len(kinds)
        assert [kinds.count(k) for k in ("lost", "duplicate", "truncated")] == [-(-count // 5), -(-count // 10), 1]
        for tile in section["tiles"]:
            found = [out / file for file in tile["files"]]
            assert len(found) == (2 if tile["fault"] == "duplicate" else 1)
            assert all(file.exists() == (tile["fault"] != "lost") for file in found)
            if tile["fault"] == "truncated":
                with pytest.raises(DataError):
                    pixels(found[0])
            elif tile["fault"] == "duplicate":
                assert not np.array_equal(pixels(found[0]), pixels(found[1]))


def test_positions_are_a_coordinate_file(tmp_path: Path) -> None:
    layer, _ = image(tmp_path)
    out, truth = cut(tmp_path, layer, **QUIET, lost=0.1)
    lines = (out / "positions/z000001.txt").read_text().splitlines()
    assert lines[:3] == [f"{{ROOT_DIR}}\t{out}", "{RESOLUTION}\t4", "{TILE_SIZE}\t96\t128"]
    rows = [line.split("\t") for line in lines[3:]]
    assert rows == [[file, *map(str, t["stage"])] for t in truth[1]["tiles"] for file in t["files"]]


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    layer, _ = image(tmp_path)
    made = [cut(tmp_path / str(n), layer, tile=(128, 96), seed=n // 2, lens=1.0)[0] / "raw" for n in range(4)]
    first, again, other, _ = ({p.name: p.read_bytes() for p in sorted(m.rglob("*.png"))} for m in made)
    assert first == again
    assert all(first[name] != other[name] for name in first.keys() & other.keys())


def test_channels_of_16_bits(tmp_path: Path) -> None:
    layer, voxels = image(tmp_path, channels=2, dtype="uint16")
    out, truth = cut(tmp_path, layer, **QUIET | {"stage_error": 0.0}, format="tiff")
    tile = truth[0]["tiles"][0]
    x, y = tile["stage"]
    for channel, file in enumerate(tile["files"]):
        assert np.array_equal(pixels(out / file), voxels[x : x + 128, y : y + 96, 0, channel])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tile": (500, 100)}, "do not fit into a picture of 400 x 330"),
        ({"lost": -0.1}, "are fractions"),
        ({"overlap": 0.9}, "an overlap from 0 to 0.5"),
        ({"noise": -1.0}, "cannot be negative"),
    ],
)
def test_wrong_requests_are_refused(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    layer, _ = image(tmp_path)
    with pytest.raises(SpecError, match=message):
        run.inline(SynthTiles(image=layer, out=str(tmp_path / "out"), **fields))
    assert not (tmp_path / "out").exists()


def test_memory_is_as_declared(tmp_path: Path) -> None:
    import tracemalloc

    layer, _ = image(tmp_path)
    stage = SynthTiles(image=layer, out=str(tmp_path / "out"), tile=(256, 256), lens=2.0, distortion=1.0)
    io = IO()
    stage.prepare(io)
    stage.execute(0, io)  # imports
    tracemalloc.start()
    stage.execute(0, io)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < stage.peak_bytes(0, io)
