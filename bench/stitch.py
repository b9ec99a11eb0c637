"""Stitching measured against truth: synthetic tiles with errors and faults, and how fast raw tiles become a mosaic.

    python bench/stitch.py accuracy IMAGE [FOLDER]      IMAGE: a layer of a section or more, at least 2,910 pixels wide
    python bench/stitch.py speed IMAGE [FOLDER]

`accuracy` prints S1 (6 x 6 tiles of 512 x 512, 10 % overlap, 20 px of stage error, gain 0.8 to 1.2, offset 15, noise 6,
5 % lost, 2 % twice, one truncated) and S2 (the same with a lens and tiles that are bent by 3 px each). `speed` cuts
larger tiles and prints CPU seconds of each step and megabytes of raw pixels a second and core.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from igneous_ng import catalog, run, solutions
from igneous_ng.geometry import Box
from igneous_ng.io import IO

S1 = {"tile": (512, 512), "lost": 0.05, "duplicate": 0.02, "truncated": 0.01}
S2 = {**S1, "lens": 3.0, "distortion": 3.0}
PATTERN = r".*/z(?P<z>\d+)_r(?P<row>\d+)_c(?P<col>\d+)_t(?P<time>\d+)\.(png|tiff)"
BESIDE = (3, 19)  # pixels from a seam, where its step is measured


def do(name: str, **fields: Any) -> float:
    """Run a stage, here; CPU seconds."""
    start = time.process_time()
    run.inline(catalog.load(name)(**fields))
    return time.process_time() - start


def stitched(raw: Path, montage: Path, pixel: float, more: dict[str, Any]) -> dict[str, float]:
    """From tiles to a solved and levelled montage; CPU seconds a step."""
    home, seconds = str(montage), {}
    plan = {"source": str(raw), "format": "folder", "pattern": PATTERN, "pixel": pixel, **more}
    seconds["plan"] = do("ingest plan", montage=home, **plan)
    for step in ("ingest verify", "ingest register", "stitch match", "stitch solve", "stitch balance"):
        seconds[step] = do(step, montage=home)
    return seconds


def mosaic(layer: Path) -> tuple[np.ndarray, tuple[int, int, int]]:
    """The first section of a rendered layer, ``[x, y]``, and where it begins."""
    io = IO()
    volume = io.volume(f"file://{layer}", 0)
    lo, hi = volume.scale.bounds.lo, volume.scale.bounds.hi
    return io.read(volume, Box(lo, (hi[0], hi[1], lo[2] + 1)))[:, :, 0, 0], lo


def seam_steps(montage: Path, tiles: Path, image: str, layer: Path) -> np.ndarray:
    """How much brighter the mosaic is on one side of each seam than on the other, beside the true picture."""
    io = IO()
    section = json.loads((montage / "sections/z000000.json").read_text())
    maps, _ = solutions.decode((montage / "solutions/z000000.maps").read_bytes(), "solution")
    told = json.loads((tiles / "truth/z000000.json").read_text())["tiles"]
    truth, _ = solutions.decode((tiles / "truth/z000000.maps").read_bytes(), "truth")
    places = {f.rpartition("/")[2]: n for n, t in enumerate(told) for f in t["files"]}
    of = [places[t["pictures"][0][0].rpartition("/")[2]] for t in section["tiles"]]
    moved = np.mean([m(np.zeros(2)) - truth[n](np.zeros(2)) for m, n in zip(maps, of, strict=True)], axis=0)
    shown, lo = mosaic(layer)
    dx, dy = (round(float(v)) - o for v, o in zip(moved, lo, strict=False))  # truth + d is shown's index, and
    part = moved - np.round(moved)  # a part of a pixel
    scale = io.volume(image, 0).scale
    real = io.read(io.volume(image, 0), Box(scale.bounds.lo, (*scale.bounds.hi[:2], scale.bounds.lo[2] + 1)))[
        :, :, 0, 0
    ]
    real = ndimage.shift(real.astype(np.float32), part, order=3, mode="nearest")
    boxes = [maps[n].box() for n in range(len(maps))]
    true = np.full(shown.shape, np.nan)
    x0, y0 = max(0, dx), max(0, dy)
    x1, y1 = min(shown.shape[0], real.shape[0] + dx), min(shown.shape[1], real.shape[1] + dy)
    true[x0:x1, y0:y1] = real[x0 - dx : x1 - dx, y0 - dy : y1 - dy]
    true[shown == 0] = np.nan
    steps = []
    for i in range(len(maps)):
        for j in range(i + 1, len(maps)):
            a, b = boxes[i], boxes[j]
            side = [min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1)]
            if min(side) <= 4 or max(side) < 128:
                continue
            axis = int(side[1] < side[0])  # the one across the seam
            at = round((min(a[axis + 2], b[axis + 2]) + max(a[axis], b[axis])) / 2) - lo[axis]
            along = slice(round(max(a[1 - axis], b[1 - axis])) - lo[1 - axis] + 60,
                          round(min(a[3 - axis], b[3 - axis])) - lo[1 - axis] - 60)  # fmt: skip
            fields = [field if axis == 0 else field.T for field in (shown, true)]
            steps.append(step(*fields, at, along))
    return np.array(steps)


def step(shown: np.ndarray, true: np.ndarray, at: int, along: slice) -> float:
    """The step across a seam at ``at``: what the sides differ by, beyond a gain and an offset of the true picture."""
    near, far = BESIDE
    sides = [slice(at - far, at - near), slice(at + near, at + far)]
    seen, under = (
        np.concatenate([field[side, along].ravel() for side in sides]).astype(float) for field in (shown, true)
    )
    which = np.repeat([0.0, 1.0], [shown[side, along].size for side in sides])
    good = np.isfinite(under)
    kinds = np.stack([under[good], np.ones(good.sum()), which[good]], axis=1)
    return abs(float(np.linalg.lstsq(kinds, seen[good], rcond=None)[0][2]))


def faults(montage: Path, tiles: Path) -> str:
    """Which planted faults were found, and what was reported that is none."""
    told = json.loads((tiles / "truth/z000000.json").read_text())["tiles"]
    planted = {f"{t['row']},{t['col']}": t["fault"] for t in told if t["fault"]}
    rows = [json.loads(line) for line in (montage / "findings/z000000.jsonl").read_text().splitlines()]
    found = [(row["code"], row["severity"], row.get("tile", "")) for row in rows]
    return f"planted: {planted}\n  reported: {found}"


def accuracy(image: str, folder: Path) -> None:
    """S1 and S2."""
    pixel = IO().info(image).scales[0].resolution[0]
    for name, fields in (("S1", S1), ("S2", S2)):
        for seed in range(3):
            tiles, montage, layer = (folder / f"{name}.{seed}.{part}" for part in ("tiles", "montage", "mosaic"))
            do("synth tiles", image=image, out=str(tiles), seed=seed, **fields)
            stitched(tiles / "raw", montage, pixel, {})
            do("stitch render", montage=str(montage), layer=str(layer))
            do("eval stitch", montage=str(montage), truth=str(tiles))
            print(f"{name}, seed {seed}:", (montage / "scores/z000000.json").read_text())
            steps = seam_steps(montage, tiles, image, layer)
            print(f"  seams: median {np.median(steps):.2f}, p95 {np.percentile(steps, 95):.2f}, max {steps.max():.2f}")
            print(f"  {faults(montage, tiles)}", flush=True)


def speed(image: str, folder: Path) -> None:
    """CPU seconds of each step, for tiles of 2,048 x 2,048 where the image is large enough."""
    info = IO().info(image)
    side = min(2048, min(info.scales[0].bounds.shape[:2]) // 2)
    tiles, montage, layer = folder / "tiles", folder / "montage", folder / "mosaic"
    do("synth tiles", image=image, out=str(tiles), tile=(side, side), format="tiff")
    seconds = stitched(tiles / "raw", montage, info.scales[0].resolution[0], {})
    seconds["stitch render"] = do("stitch render", montage=str(montage), layer=str(layer))
    raw = sum(p.stat().st_size for p in (tiles / "raw").rglob("*.*")) / 1e6
    for step, taken in seconds.items():
        print(f"{step}: {taken:.2f} CPU s, {raw / taken:.0f} MB/s")
    total = sum(seconds.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"all: {total:.2f} CPU s for {raw:.0f} MB: {raw / total:.1f} MB/s and core (bound: 13); peak {peak:.0f} MB")


def main() -> None:
    """Measure what is asked for."""
    what, image, *rest = sys.argv[1:]
    url = image if "://" in image else f"file://{Path(image).absolute()}"
    folder = Path(rest[0] if rest else tempfile.mkdtemp(prefix="stitch-"))
    try:
        {"accuracy": accuracy, "speed": speed}[what](url, folder)
    finally:
        if not rest:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
