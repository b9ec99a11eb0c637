"""Sections aligned by FEABAS: run by `bench/align_feabas.py`, with the Python that `feabas` is installed in.

    PYTHON align_feabas_run.py      in a folder with configs/, settings.json, images/*.png (and maps.npy once it is done)

FEABAS comes without its command line, so this calls the functions of the package as the steps of its manual do: match
thumbnails, relax them, match again on a finer mesh, relax that. https://github.com/YuelongWu/feabas, version 3.0.
"""

import json
import resource
import time
from pathlib import Path

import cv2
import numpy as np
from feabas import constant, dal, mesh, thumbnail
from feabas.aligner import Aligner, match_section_from_initial_matches

RESOLUTION = json.loads(Path("settings.json").read_text())["resolution"]
INITIAL, FIXED, MOVING = constant.MESH_GEAR_INITIAL, constant.MESH_GEAR_FIXED, constant.MESH_GEAR_MOVING


def taken():
    """Wall and CPU seconds so far, with those of processes that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return np.array([time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in used)])


def new(name):
    folder = Path(name)
    folder.mkdir(parents=True)
    return folder


def pairs(names, distance):
    return [(a, b) for k in range(1, distance + 1) for a, b in zip(names, names[k:])]


def rough_matches(names, settings):
    """Pairs of thumbnails: affine by features, then blocks."""
    out, chosen = new("thumbnail_align/matches"), settings["thumbnail"]
    ready = {}
    for name in names:
        image = cv2.imread(f"images/{name}.png", cv2.IMREAD_GRAYSCALE)
        ready[name] = thumbnail.prepare_image(image, mask=np.ones(image.shape, np.uint16), **chosen["feature_matching"])
    for a, b in pairs(names, settings["distance"]):
        thumbnail.align_two_thumbnails(ready[a], ready[b], str(out / f"{a}__to__{b}.h5"), **chosen, resolution=RESOLUTION)


def meshes(names, folder, settings, start=None):
    """A mesh of each section, which lies as that of ``start`` does."""
    out = new(folder)
    for name in names:
        made = mesh.mesh_from_mask(f"masks/{name}.png", resolution=RESOLUTION, **settings)
        if start is not None:
            known = mesh.Mesh.from_h5(f"{start}/{name}.h5")
            made = mesh.transform_mesh(made, known, gears=(INITIAL, FIXED), tgears=(INITIAL, MOVING))
        made.save_to_h5(str(out / f"{name}.h5"), save_material=True)


def relaxed(names, folder, settings):
    """Meshes of all sections relaxed together."""
    new(f"{folder}/tform")
    aligner = Aligner(f"{folder}/mesh", f"{folder}/tform", f"{folder}/matches", section_list=names, mip_level=0)
    aligner.run(num_workers=1, slide_window=settings)


def fine_matches(names, settings):
    """Pairs again, in blocks, from what thumbnails say."""
    out, mip = new("align/matches"), settings["working_mip_level"]
    loaders = {}
    for name in names:
        image, size = cv2.imread(f"images/{name}.png", cv2.IMREAD_GRAYSCALE), 2.0**-mip
        image = cv2.resize(image, None, fx=size, fy=size, interpolation=cv2.INTER_AREA)
        loaders[name] = dal.StreamLoader(image, resolution=RESOLUTION * 2**mip)
    for rough in sorted(Path("thumbnail_align/matches").glob("*.h5")):
        both = [loaders[name] for name in rough.stem.split("__to__")]
        match_section_from_initial_matches(str(rough), "align/mesh", both, str(out), {"matching": settings})


def shown(names, folder, points):
    """Which points of each section lie at ``points`` of the volume, ``[z, point, 2]``."""
    found = []
    for name in names:
        made = mesh.Mesh.from_h5(f"{folder}/tform/{name}.h5")
        made.change_resolution(RESOLUTION)
        triangle, weights = made.cart2bary(points, MOVING, extrapolate=True)
        found.append(made.bary2cart(triangle, weights, INITIAL))
    return np.stack(found)


def main():
    settings = json.loads(Path("settings.json").read_text())
    cv2.setNumThreads(1)
    names = sorted(path.stem for path in Path("images").glob("*.png"))
    steps = {
        "thumbnail match": lambda: rough_matches(names, settings),
        "thumbnail mesh": lambda: meshes(names, "thumbnail_align/mesh", settings["thumbnail"]["mesh"]),
        "thumbnail relax": lambda: relaxed(names, "thumbnail_align", settings["thumbnail"]["relax"]),
    }
    fine, last = settings.get("fine"), "thumbnail_align"
    if fine:
        last = "align"
        steps["mesh"] = lambda: meshes(names, "align/mesh", fine["mesh"], "thumbnail_align/tform")
        steps["match"] = lambda: fine_matches(names, fine["match"])
        steps["relax"] = lambda: relaxed(names, "align", fine["relax"])
    spent = {}
    for name, step in steps.items():
        start = taken()
        step()
        spent[name] = (taken() - start).tolist()
    Path("spent.json").write_text(json.dumps(spent))
    np.save("maps.npy", shown(names, last, np.load("points.npy")))


if __name__ == "__main__":
    main()
