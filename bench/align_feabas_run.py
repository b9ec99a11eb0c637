"""Sections aligned by FEABAS: run by `bench/align_feabas.py`, with the Python that `feabas` is installed in.

    PYTHON align_feabas_run.py

The working directory has configs/, settings.json, images/ and masks/, points.npy; maps.npy and spent.json are written.
FEABAS comes without its command line, so this calls the functions of the package as the steps of its manual do: match
thumbnails, relax them, match again on a finer mesh, relax that. https://github.com/YuelongWu/feabas, version 3.0.
"""

import json
import resource
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from feabas import constant, dal, mesh, thumbnail
from feabas.aligner import Aligner, match_section_from_initial_matches

Settings = dict[str, Any]
INITIAL, FIXED, MOVING = constant.MESH_GEAR_INITIAL, constant.MESH_GEAR_FIXED, constant.MESH_GEAR_MOVING
JOINT = "__to__"


def taken() -> np.ndarray:
    """Wall and CPU seconds so far, with those of processes that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return np.array([time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in used)])


def new(name: str) -> Path:
    """A folder, made."""
    folder = Path(name)
    folder.mkdir(parents=True)
    return folder


def picture(name: str) -> np.ndarray:
    """A section, ``[y, x]``."""
    return cv2.imread(f"images/{name}.png", cv2.IMREAD_GRAYSCALE)


def rough_matches(names: list[str], settings: Settings, resolution: float) -> None:
    """Match pairs of thumbnails: an affine map from features, then blocks."""
    out, chosen, ready = new("thumbnail_align/matches"), settings["thumbnail"], {}
    for name in names:
        image = picture(name)
        ready[name] = thumbnail.prepare_image(image, mask=np.ones(image.shape, np.uint16), **chosen["feature_matching"])
    for k in range(1, settings["distance"] + 1):
        for a, b in zip(names[:-k], names[k:], strict=True):
            file = str(out / f"{a}{JOINT}{b}.h5")
            thumbnail.align_two_thumbnails(ready[a], ready[b], file, **chosen, resolution=resolution)


def meshes(names: list[str], folder: str, settings: Settings, start: str = "") -> None:
    """A mesh of each section, which lies as that in ``start`` does."""
    out = new(folder)
    for name in names:
        made = mesh.mesh_from_mask(f"masks/{name}.png", **settings)
        if start:
            known = mesh.Mesh.from_h5(f"{start}/{name}.h5")
            made = mesh.transform_mesh(made, known, gears=(INITIAL, FIXED), tgears=(INITIAL, MOVING))
        made.save_to_h5(str(out / f"{name}.h5"), save_material=True)


def relaxed(names: list[str], folder: str, settings: Settings) -> None:
    """Relax the meshes of all sections together."""
    new(f"{folder}/tform")
    aligner = Aligner(f"{folder}/mesh", f"{folder}/tform", f"{folder}/matches", section_list=names, mip_level=0)
    aligner.run(num_workers=1, slide_window=settings)


def fine_matches(names: list[str], settings: Settings, resolution: float) -> None:
    """Match pairs again, in blocks, from what thumbnails say."""
    out, factor, loaders = new("align/matches"), 2 ** settings["working_mip_level"], {}
    for name in names:
        image = cv2.resize(picture(name), None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
        loaders[name] = dal.StreamLoader(image, resolution=resolution * factor)
    for rough in sorted(Path("thumbnail_align/matches").glob("*.h5")):
        both = [loaders[name] for name in rough.stem.split(JOINT)]
        match_section_from_initial_matches(str(rough), "align/mesh", both, str(out), {"matching": settings})


def shown(names: list[str], folder: str, resolution: float) -> np.ndarray:
    """Which points of each section lie at the points of the volume that are asked for, ``[z, point, 2]``."""
    points, found = np.load("points.npy"), []
    for name in names:
        made = mesh.Mesh.from_h5(f"{folder}/tform/{name}.h5")
        made.change_resolution(resolution)
        triangle, weights = made.cart2bary(points, MOVING, extrapolate=True)
        found.append(made.bary2cart(triangle, weights, INITIAL))
    return np.stack(found)


def main() -> None:
    """All steps, timed."""
    settings = json.loads(Path("settings.json").read_text())
    rough, fine, resolution = settings["thumbnail"], settings["fine"], settings["resolution"]
    cv2.setNumThreads(1)
    names = sorted(path.stem for path in Path("images").glob("*.png"))
    thumbs, last = "thumbnail_align", "align" if fine else "thumbnail_align"
    steps = {
        "thumbnail match": lambda: rough_matches(names, settings, resolution),
        "thumbnail mesh": lambda: meshes(names, f"{thumbs}/mesh", {**rough["mesh"], "resolution": resolution}),
        "thumbnail relax": lambda: relaxed(names, thumbs, rough["relax"]),
    }
    if fine:
        mesh_settings = {**fine["mesh"], "resolution": resolution}
        steps["mesh"] = lambda: meshes(names, "align/mesh", mesh_settings, f"{thumbs}/tform")
        steps["match"] = lambda: fine_matches(names, fine["match"], resolution)
        steps["relax"] = lambda: relaxed(names, "align", fine["relax"])
    spent = {}
    for name, step in steps.items():
        begun = taken()
        step()
        spent[name] = (taken() - begun).tolist()
    Path("spent.json").write_text(json.dumps(spent))
    np.save("maps.npy", shown(names, last, resolution))


if __name__ == "__main__":
    main()
