"""Previews: what a section looks like, from thumbnails alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from igneous_ng import run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import columns
from igneous_ng.formats.sections import name
from igneous_ng.formats.tiles import Tile, encode
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.stages.stitch_preview import Preview
from tests.sections import Shot, build, seen, shifted

Array = npt.NDArray[Any]


def smooth(points: Array) -> Array:
    x, y = points[..., 0], points[..., 1]
    return np.asarray(128 + 60 * np.sin(x / 150) * np.cos(y / 170))


def thumbnail(pixels: Array, factor: int) -> Array:
    width, height = (n // factor for n in pixels.shape[:2])
    cut = pixels[: width * factor, : height * factor].reshape(width, factor, height, factor, -1)
    return np.asarray(cut.mean(axis=(1, 3)), np.float32)


def montage(folder: Path, without: int | None = None) -> str:
    """Six tiles of 600 x 520 pixels, without raw files, with thumbnails of all but one."""
    maps = [shifted((600, 520), 500 * (n % 3) + 3.0, 440 * (n // 3) - 250.0) for n in range(6)]
    home = build(folder / "m", {7: [Shot(seen(one, smooth), one) for one in maps]})
    section = json.loads((folder / f"m/sections/{name(7)}.json").read_text())
    lines, thumbs = [], {"factor": np.array([16], np.int32)}
    for n, tile in enumerate(reversed(section["tiles"])):
        url = tile["pictures"][0][0]
        lines.append(Tile(tile=tile["tile"], z=7, x=tile["x"] * 4, y=tile["y"] * 4, pixel=4.0, url=url))
        index = 5 - n
        Path(url.removeprefix("file://")).unlink()
        if index != without:
            thumbs[str(n)] = thumbnail(seen(maps[index], smooth), 16)
    IO().put(f"{home}/manifest/{name(7)}.jsonl", encode(lines))
    IO().put(f"{home}/verified/{name(7)}/000.thumbs", columns.pack(thumbs))
    return home


def shown(folder: Path, home: str, **fields: Any) -> tuple[Array, Box]:
    run.inline(Preview(montage=home, layer=str(folder / "layer"), chunk=(64, 64, 1), **fields))
    io = IO()
    volume = io.volume(f"file://{folder}/layer", 0)
    return io.read(volume, volume.bounds)[:, :, 0, 0], volume.bounds


@pytest.mark.parametrize("scale", [16, 32])
@pytest.mark.parametrize("positions", ["solved", "stage"])
def test_a_preview_shows_the_scene_coarsely(tmp_path: Path, scale: int, positions: str) -> None:
    found, bounds = shown(tmp_path, montage(tmp_path), scale=scale, positions=positions)
    assert IO().info(f"file://{tmp_path}/layer").scales[0].resolution == (4.0 * scale, 4.0 * scale, 40.0)
    xs, ys = (np.arange(bounds.lo[n], bounds.hi[n]) for n in (0, 1))
    points = (np.stack(np.meshgrid(xs, ys, indexing="ij"), axis=-1) + 0.5) * scale - 0.5
    low, high = np.array([3, -250]) + scale, np.array([3 + 1600, -250 + 960]) - scale
    inside = ((points > low) & (points < high)).all(axis=-1)
    assert inside.sum() > 1000
    assert np.abs(found[inside] - smooth(points)[inside]).max() < 3
    assert not found[((points < low - 2 * scale) | (points > high + 2 * scale)).any(axis=-1)].any()


def test_a_tile_without_a_thumbnail_is_left_out(tmp_path: Path) -> None:
    found, bounds = shown(tmp_path, montage(tmp_path, without=5), scale=16)
    x, y = (np.array([1350, 500]) // 16 - np.array(bounds.lo[:2])).tolist()
    assert found[x, y] == 0
    assert found[x - 30, y] > 60


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    home = montage(tmp_path)
    (tmp_path / f"m/verified/{name(7)}/000.thumbs").unlink()
    with pytest.raises(DataError, match="no thumbnails of section 7; run `ingest verify`"):
        shown(tmp_path, home)
    (tmp_path / f"m/manifest/{name(7)}.jsonl").write_bytes(b"")
    with pytest.raises(DataError, match="has no line for"):
        shown(tmp_path, home)
    with pytest.raises(SpecError, match="a scale of 0"):
        Preview(montage=home, layer="a", scale=0)
