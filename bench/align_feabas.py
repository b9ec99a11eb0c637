"""Alignment beside FEABAS (Wu et al.): the same sections, the same measure of errors, the same core.

    OMP_NUM_THREADS=1 taskset -c 0 python bench/align_feabas.py PYTHON [A1 A2 A3] [ours default tuned] [KEY=VALUE ...]

PYTHON is an interpreter with `feabas` 3 in its packages. Of each test of `bench/align.py` sections are made once, and
aligned in turn: by `align coarse, flow, relax`; by FEABAS as it comes; and by FEABAS with what was found best for these
sections. Fields such as `fine.match.matcher_config.sigma=2.5` go to the settings of FEABAS; `rounds=2` are ours;
`folder=DIR` is kept, else all is temporary. Seconds are those of matching and solving, in one process with one thread,
without the start of Python.

The sections are 520 by 520 pixels, which is what the manual of FEABAS advises for thumbnails ("500~4000 pixels on each
side"), so they are their own thumbnails, as it says of stacks without tiles; the finer alignment follows at the same
pixels. Its defaults are of 4 nm matched at mip 2; here they count pixels of matching: a mesh of 150, blocks of 70 that
lie 100 apart. No more than 25 of these lie on such a section. So `tuned` has a mesh of 40, blocks of 160 that lie 40
apart, as ours do, and softer meshes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from align import TESTS, Bench, local, told
from PIL import Image

from igneous_ng.alignment import Alignment, Rough, encode_rough
from igneous_ng.io import IO
from igneous_ng.kernels.fields import points as lattice_points

RUNNER = Path(__file__).with_name("align_feabas_run.py")
PIXEL = 8.0  # nm
STEP = 8  # pixels between the points at which the maps of meshes are taken
ROUND = 1

_RELAX = {
    "start_loc": "M",
    "window_size": 64,
    "buffer_size": 16,
    "residue_mode": "huber",
    "residue_len": -3,
    "elastic_params": {"tol": 1.0e-7, "atol": 0.001},
}
SETTINGS: dict[str, Any] = {
    "resolution": PIXEL,
    "distance": 2,
    "thumbnail": {
        "match_mode": "feature",
        "feature_matching": {
            "affine_only": True,
            "scale": 1.0,
            "detect_settings": {"sigma": 3.5, "min_spacing": 10, "num_features": 5000},
            "extract_settings": {"proj_num": 6, "beam_num": 8, "beam_wd": 3, "beam_radius": 15},
            "matching_settings": {"exhaustive": True},
            "strain_filter_settings": {
                "strain_limit": 0.2,
                "shear_limit": 45,
                "sample_ratio": 0.05,
                "inlier_thresh": 0.5,
            },
            "ransac_filter_settings": {"maxiter": 10000, "dis_tol": 4},
        },
        "block_matching": {
            "sigma": 3.5,
            "scale": 1.0,
            "conf_thresh": 0.35,
            "pad": True,
            "spacings": [150, 50],
            "shrink_factor": 1,
            "distributor": "intersect_triangulation",
            "residue_mode": "huber",
            "residue_len": -3,
            "min_boundary_distance": 20,
        },
        "mesh": {"mesh_size": 100, "simplify_tol": 2, "area_thresh": 9},
        "relax": _RELAX,
    },
    "fine": {
        "mesh": {"mesh_size": 150, "min_mesh_angle": 20, "simplify_tol": 2, "area_thresh": 25},
        "match": {
            "working_mip_level": 0,
            "loader_config": {},
            "matcher_config": {
                "num_workers": 1,
                "batch_size": 100,
                "conf_thresh": 0.35,
                "sigma": 3.5,
                "geodesic_mask": False,
                "pad": True,
                "distributor": "cartesian_region",
                "spacings": [400, 100],
                "shrink_factor": 0.7,
                "residue_mode": "huber",
                "residue_len": -2,
                "min_boundary_distance": 20,
                "stiffness_multiplier_threshold": 0.1,
                "render_weight_threshold": 0.1,
            },
        },
        "relax": _RELAX,
    },
}
"""Of FEABAS 3.0: its default_thumbnail_configs.yaml and default_alignment_configs.yaml."""
WAYS: dict[str, dict[str, Any]] = {
    "default": {},
    "tuned": {
        "fine.mesh.mesh_size": 40,
        "fine.match.matcher_config.spacings": [40],
        "fine.match.matcher_config.shrink_factor": 4,
        "fine.relax.elastic_params.stiffness_lambda": 0.3,
    },
}


def written(folder: Path, sections: str, thickness: float, settings: dict[str, Any]) -> None:
    """The folder that the runner works in: pictures, masks of nothing, configurations, settings."""
    for name in ("images", "masks", "configs"):
        (folder / name).mkdir(parents=True)
    io = IO()
    volume = io.volume(f"{sections}/image", 0)
    voxels = io.read(volume, volume.bounds)[..., 0]
    for z in range(voxels.shape[2]):
        Image.fromarray(voxels[:, :, z].T.copy()).save(folder / "images" / f"s{z:04d}.png")
        Image.fromarray(np.zeros(voxels.shape[1::-1], np.uint8)).save(folder / "masks" / f"s{z:04d}.png")
    general = {"working_directory": str(folder), "cpu_budget": 1, "full_resolution": PIXEL,
               "section_thickness": thickness, "parallel_framework": "process"}  # fmt: skip
    (folder / "configs" / "general_configs.yaml").write_text(json.dumps(general))
    (folder / "configs" / "thumbnail_configs.yaml").write_text(json.dumps({"thumbnail_mip_level": 0}))
    (folder / "settings.json").write_text(json.dumps(settings))


def adopted(home: str, sections: str, folder: Path, python: str) -> dict[str, list[float]]:
    """Let FEABAS align, and write its maps as those of a round; wall and CPU seconds of its steps."""
    io, layer = IO(), f"{sections}/image"
    scale = io.info(layer).scales[0]
    made = Alignment(home, layer, scale.resolution, scale.bounds, f"{sections}/mask")
    io.put_json(f"{home}/alignment.json", made.to_json())
    io.put(f"{home}/rough.affines", encode_rough(0, [Rough(np.eye(2), np.zeros(2), source=z) for z in made.zs]))
    io.put_json(f"{home}/rough.json", {"bounds": str(scale.bounds)})
    lattice = made.new_round(io, ROUND, 0, STEP)
    points = lattice_points(lattice.box.lo[:2], lattice.box.hi[:2], STEP)
    np.save(folder / "points.npy", points.reshape(-1, 2))
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    subprocess.run([python, RUNNER], cwd=folder, env={**os.environ, **one}, check=True)
    maps = np.load(folder / "maps.npy").reshape(-1, *points.shape)
    io.put_json(f"{home}/rounds/{ROUND}/round.json", lattice.to_json())
    url = f"{home}/rounds/{ROUND}/inverse"
    io.create_layer(url, made.field(lattice, 2))
    io.write(io.volume(url, 0), lattice.box, np.asfortranarray(np.moveaxis(maps - points, 0, 2), np.float32))
    return dict(json.loads((folder / "spent.json").read_text()))


def theirs(bench: Bench, name: str, sections: str, way: str, settings: dict[str, Any], python: str) -> None:
    """FEABAS: errors and seconds."""
    folder = bench.folder / f"{name}.{way}"
    written(folder, sections, PIXEL * max(TESTS[name].fields["every"], 1), settings)
    home = f"file://{folder}.alignment"
    seconds = adopted(home, sections, folder, python)
    found = scores(bench, home, sections, ROUND, TESTS[name].margin)
    wall, cpu = np.sum(list(seconds.values()), axis=0)
    parts = ", ".join(f"{step} {one[1]:.1f}" for step, one in seconds.items())
    print(f"{name} feabas, {way}: {told(found)}; wall s {wall:.1f}, CPU s {cpu:.1f} ({parts})", flush=True)


def ours(bench: Bench, name: str, sections: str) -> None:
    """The stages of this package, from sections to maps: errors, and seconds so far, after each round."""
    start, cpu = time.perf_counter(), time.process_time()
    home = bench.begun(name, sections)
    spent = np.array([time.perf_counter() - start, time.process_time() - cpu])
    for number in range(1, bench.rounds + 1):
        start, cpu = time.perf_counter(), time.process_time()
        for step in ("flow", "relax"):
            bench.do(f"align {step}", alignment=home, round=number)
        spent += time.perf_counter() - start, time.process_time() - cpu
        found = scores(bench, home, sections, number, TESTS[name].margin)
        print(f"{name} ours, round {number}: {told(found)}; wall s {spent[0]:.1f}, CPU s {spent[1]:.1f}", flush=True)


def scores(bench: Bench, home: str, sections: str, number: int, margin: int) -> dict[str, Any]:
    """Errors at points 16 pixels apart, which are nodes of nobody's; and 40 apart, where nodes of ours may be."""
    found = []
    for spacing in (40, 16):
        bench.do("eval align", alignment=home, truth=sections, round=number, margin=margin, spacing=spacing)
        found.append(json.loads(local(f"{home}/scores/{number}/scores.json").read_text()))
    return {**found[1], "nodes": found[0]["neighbour"]}


def changed(settings: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """Settings with others in place of some; `fine` = None leaves the finer alignment out."""
    copy: dict[str, Any] = json.loads(json.dumps(settings))
    for path, value in fields.items():
        *folders, name = path.split(".")
        where = copy
        for one in folders:
            where = where[one]
        where[name] = value
    return copy


def main() -> None:
    """Align what is asked for, by all who are asked to."""
    python, *rest = sys.argv[1:]
    given = dict(word.split("=", 1) for word in rest if "=" in word)
    keep, rounds = given.pop("folder", ""), int(given.pop("rounds", 3))
    fields = {key: json.loads(value) for key, value in given.items()}
    bench = Bench(Path(keep or tempfile.mkdtemp(prefix="feabas-")).absolute(), rounds=rounds)
    ways = [word for word in ("ours", *WAYS) if word in rest] or ["ours", *WAYS]
    try:
        for name in [word for word in rest if word in TESTS] or ("A1", "A2", "A3"):
            sections = bench.sections(name, bench.stack(), **TESTS[name].fields)
            for way in ways:
                if way == "ours":
                    ours(bench, name, sections)
                else:
                    theirs(bench, name, sections, way, changed(SETTINGS, {**WAYS[way], **fields}), python)
    finally:
        if not keep:
            shutil.rmtree(bench.folder)


if __name__ == "__main__":
    main()
