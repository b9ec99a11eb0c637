"""From tiles to mosaics, all steps together: against truth, and whatever happens on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from igneous_ng import run, solutions
from igneous_ng.io import IO
from igneous_ng.redo import Redo, carried_out
from tests.montages import PATTERN, do, image, rows, scenery

STEPS = ("ingest verify", "ingest register", "stitch flatfield", "stitch match", "stitch solve", "stitch balance",
         "stitch shade", "stitch levels")  # fmt: skip
SMALL: dict[str, Any] = {"tile": (256, 256), "overlap": 0.15, "stage_error": 8.0}


def tiles(folder: Path, shape: tuple[int, int], sections: int = 1, **fields: Any) -> Path:
    """Synthetic tiles of ``sections`` different pictures."""
    return cut(folder, np.stack([scenery(shape, seed) for seed in range(sections)], axis=2), **fields)


def cut(folder: Path, pictures: np.ndarray, **fields: Any) -> Path:
    """Synthetic tiles of pictures ``[x, y, z]``."""
    voxels = pictures[..., None]
    do("synth tiles", image=image(folder / "image", voxels), out=str(folder / "tiles"), **fields)
    return folder / "tiles"


def planned(raw: Path, montage: Path) -> None:
    do("ingest plan", source=str(raw / "raw"), montage=str(montage), pattern=PATTERN, pixel=8.0)


def stitched(raw: Path, montage: Path, layer: Path, steps: Sequence[str] = STEPS, **fields: Any) -> None:
    planned(raw, montage)
    for step in steps:
        do(step, montage=str(montage))
    do("stitch render", montage=str(montage), layer=str(layer), **fields)


def made(*folders: Path) -> dict[str, bytes]:
    """All that was made, but for records, which tell times, and plans, which are named after their place."""
    return {
        str(path.relative_to(folder.parent)): path.read_bytes()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {"runs", "plans"} & set(path.parts) and path.name != "provenance"
    }


def scores(montage: Path, raw: Path) -> dict[str, Any]:
    do("eval stitch", montage=str(montage), truth=str(raw))
    found: dict[str, Any] = json.loads((montage / "scores/z000000.json").read_text())
    return found


def planted(raw: Path) -> list[tuple[str, str]]:
    """Faults as they should be reported: their codes, and places as far as a finding names a tile."""
    codes = {"lost": "missing", "duplicate": "duplicate", "truncated": "corrupt"}
    told = json.loads((raw / "truth/z000000.json").read_text())["tiles"]
    return sorted((codes[t["fault"]], f"{t['row']},{t['col']}") for t in told if t["fault"])


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1])
def test_tiles_with_errors_and_faults_are_put_together_to_a_tenth_of_a_pixel(tmp_path: Path, seed: int) -> None:
    """The benchmark S1: 6 x 6 tiles of 512 x 512."""
    raw = tiles(tmp_path, (2900, 2900), lost=0.05, duplicate=0.02, truncated=0.01, seed=seed, tile=(512, 512))
    montage = tmp_path / "montage"
    stitched(raw, montage, tmp_path / "layer")
    found = scores(montage, raw)
    print(found)  # noqa: T201 - shown with -s
    assert found["position_rms"] <= 0.10
    assert found["position_max"] <= 0.3
    assert found["wrong"] == 0
    assert found["components"] == 1
    reported = rows(montage / "findings/z000000.jsonl")
    assert sorted(row["code"] for row in reported) == [code for code, _ in planted(raw)]
    for row in reported:
        place = row.get("tile", "").rpartition("/")[2]
        if place:
            row_, col = (int(part[1:]) for part in place.split("_")[1:3])
            assert (row["code"], f"{row_},{col}") in planted(raw)


@pytest.mark.long
def test_lens_and_bent_tiles_are_undone(tmp_path: Path) -> None:
    """The benchmark S2: what two tiles show of one place comes to lie within half a pixel."""
    raw = tiles(tmp_path, (2900, 2900), lens=3.0, distortion=3.0, tile=(512, 512))
    montage = tmp_path / "montage"
    stitched(raw, montage, tmp_path / "layer")
    found = scores(montage, raw)
    print(found)  # noqa: T201 - shown with -s
    assert found["overlap"]["p95"] <= 0.5
    assert found["wrong"] == 0


def test_the_mosaic_is_the_picture_that_was_cut(tmp_path: Path) -> None:
    picture = ndimage.gaussian_filter(scenery((560, 560)), 1.5)  # so that interpolation loses little
    raw = cut(tmp_path, picture[..., None], noise=0.0, gain=0.0, offset=0.0, **SMALL)
    montage, layer = tmp_path / "montage", tmp_path / "layer"
    stitched(raw, montage, layer)
    found = scores(montage, raw)
    assert found["position_max"] < 0.05
    maps, _ = solutions.decode((montage / "solutions/z000000.maps").read_bytes(), "maps")
    truth, _ = solutions.decode((raw / "truth/z000000.maps").read_bytes(), "truth")
    moved = np.mean([m.shift - t.shift for m, t in zip(maps, truth, strict=True)], axis=0)
    io = IO()
    bounds = io.volume(f"file://{layer}", 0).scale.bounds
    shown = io.read(io.volume(f"file://{layer}", 0), bounds)[:, :, 0, 0].astype(float)
    x, y = (np.arange(100, 440)[:, None] + [moved[k] - bounds.lo[k]] for k in (0, 1))
    at = np.stack(np.meshgrid(x.ravel(), y.ravel(), indexing="ij"))
    seen = ndimage.map_coordinates(shown, at, order=3)
    wrong = seen - picture[100:440, 100:440]
    assert abs(wrong.mean()) < 0.3
    assert wrong.std() < 1.0  # interpolated twice, here and in the mosaic


STEPS_UNSHADED = tuple(step for step in STEPS if step not in ("stitch shade", "stitch levels"))
CHUNKS: dict[str, Any] = {"chunk": (64, 64, 1), "num_mips": 1}


def replaced(folder: Path, steps: Sequence[str]) -> tuple[Path, dict[str, bytes], dict[str, bytes]]:
    """Two sections of 36 tiles, and all that is made of them, before and after one tile is exposed once more."""
    raw = tiles(folder, (1400, 1400), sections=2, **SMALL)
    montage, layer = folder / "montage", folder / "layer"
    stitched(raw, montage, layer, steps, **CHUNKS)
    before = made(montage, layer)
    victim = min((raw / "raw/z000000").glob("*r003_c003*"))
    other = folder / "other"
    do("synth tiles", image=f"file://{folder}/image", out=str(other), **{**SMALL, "noise": 7.0})
    victim.write_bytes((other / "raw/z000000" / victim.name).read_bytes())
    again = Redo(IO().store, [f"file://{montage}", f"file://{layer}"])
    for wave, _ in carried_out(again, lambda wave: run.inline(wave.stage, wave.subset)):
        assert wave.subset
    return raw, before, made(montage, layer)


@pytest.mark.long
def test_a_replaced_tile_changes_its_section_alone_and_a_redo_is_everything_made_anew(tmp_path: Path) -> None:
    steps = STEPS[:-1]  # levels bring sections nearer to their neighbours: all of these are touched
    raw, before, after = replaced(tmp_path, steps)
    changed = {name for name in before if before[name] != after.get(name)} | (after.keys() - before.keys())
    assert changed
    assert not [name for name in changed if "z000001" in name]
    chunks = [name.split("/")[-1].removesuffix(".gz") for name in changed if name.startswith("layer/")]
    boxes = [[int(part.split("-")[1]) for part in chunk.split("_")] for chunk in chunks if chunk[0].isdigit()]
    assert all(z == 1 for _, _, z in boxes)
    stitched(raw, tmp_path / "new/montage", tmp_path / "new/layer", steps, **CHUNKS)
    anew = made(tmp_path / "new/montage", tmp_path / "new/layer")
    pictures = {name for name in after if name.startswith("layer/")}
    assert {name: anew[name] for name in pictures} == {name: after[name] for name in pictures}


@pytest.mark.long
def test_a_replaced_tile_leaves_most_of_its_own_section_as_it_is(tmp_path: Path) -> None:
    _, before, after = replaced(tmp_path, STEPS_UNSHADED)
    tones = [np.frombuffer(files["montage/tones/z000000.f32"], "<f4").reshape(36, 2) for files in (before, after)]
    toned = (tones[0] != tones[1]).any(axis=1)
    maps = [solutions.decode(files["montage/solutions/z000000.maps"], "maps")[0] for files in (before, after)]
    moved = [not np.array_equal(one.shift, other.shift) for one, other in zip(*maps, strict=True)]
    own = [name for name in before if name.startswith("layer/8_") and name.split("_")[-1].startswith("0-1")]
    share = np.mean([before[name] != after[name] for name in own])
    print(toned.sum(), sum(moved), share)  # noqa: T201 - shown with -s
    assert len(own) == 484
    assert toned.sum() <= 3
    assert share <= 0.2  # the tile and its neighbours touch a fifth; more only where tiles move by 1/64 px


@pytest.mark.long
def test_killed_at_any_moment_the_bytes_are_the_same(tmp_path: Path) -> None:
    raw = tiles(tmp_path, (700, 480), **SMALL)
    montage, layer = tmp_path / "all/montage", tmp_path / "all/layer"
    stitched(raw, montage, layer)
    wanted = made(montage, layer)
    montage.parent.rename(tmp_path / "undisturbed")
    planned(raw, montage)
    rng = np.random.default_rng(5)
    for step in (*STEPS, "stitch render"):
        command = [sys.executable, "-m", "igneous_ng.cli", *step.split(), str(montage)]
        command += [str(layer)] if step == "stitch render" else []
        for attempt in range(6):
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                     start_new_session=True)  # fmt: skip
            if attempt == 5:
                assert child.wait() == 0
                break
            try:
                child.wait(timeout=float(rng.uniform(0.3, 1.6)))
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                time.sleep(0.05)
    found = made(montage, layer)
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []
