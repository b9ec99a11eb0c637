"""`segment infer`: the same bytes in any cells, without seams; masks, missing parts, both outputs, and refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import correlate, gaussian_filter
from scipy.special import expit

from igneous_ng import run
from igneous_ng.affinities import Affinities
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels.patches import Lattice
from igneous_ng.models import greys, opening
from igneous_ng.models.base import Machine, grey
from igneous_ng.models.greys import Greys
from igneous_ng.stage import Layer
from igneous_ng.stages.segment_infer import Infer
from tests import networks
from tests.layers import create, files, notes, whole

LO, SIDES = (-5, 3, 7), (41, 30, 27)
NM = (8.0, 8.0, 8.0)
CELLS = [(16, 16, 16), (16, 32, 48), (48, 16, 32)]


def tissue(sides: Vec3 = SIDES, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(0, 1, sides), 1.2)
    shades: np.ndarray = np.clip(128 + 120 * smooth / np.abs(smooth).max(), 1, 255).astype(np.uint8)
    return shades[..., None]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return create(tmp_path / "image", tissue(), LO, (16, 16, 16), resolution=NM)


def infer(image: Path, name: str = "out", **fields: Any) -> Path:
    layer = image.parent / name
    run.inline(Infer(image=str(image), layer=str(layer), **{"cell": (64, 64, 64), "chunk": (16, 16, 16), **fields}))
    return layer


def net(image: Path, **fields: Any) -> str:
    pytest.importorskip("onnxruntime")
    return networks.stored(f"file://{image.parent}/model", **fields)


@pytest.mark.parametrize("output", ["affinities", "boundary"])
@pytest.mark.parametrize("model", ["sheet", "boundary net", "affinity net"])
def test_cells_leave_no_trace(image: Path, output: str, model: str) -> None:
    name = "sheet" if model == "sheet" else net(image, channels=3 if model == "affinity net" else 1)
    fields: dict[str, Any] = {"model": name, "output": output, "patch": (30, 28, 32)}
    expected = files(infer(image, **fields))
    assert whole(image.parent / "out").std() > 1
    for n, cell in enumerate(CELLS):
        assert files(infer(image, f"out{n}", **fields, cell=cell)) == expected


def test_units_in_any_order_and_twice_write_the_same(image: Path) -> None:
    stage = Infer(image=str(image), layer=str(image.parent / "a"), model=net(image), cell=(16, 16, 16), chunk=(16,) * 3)
    other = Infer(image=str(image), layer=str(image.parent / "b"), model=net(image), cell=(16, 16, 16), chunk=(16,) * 3)
    run.inline(stage)
    io = IO()
    other.prepare(io)
    for unit in [*reversed(other.units(io)), *other.units(io)]:
        other.execute(unit, IO())
    assert files(image.parent / "a") == files(image.parent / "b")


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.8])
def test_patches_are_blended_without_seams(image: Path, overlap: float) -> None:
    url = net(image, patch=(20, 18, 16), overlap=overlap)
    found = whole(infer(image, model=url)).astype(int)
    card = opening.card(IO(), url, NM, SIDES)
    lattice = Lattice(Box.sized(LO, SIDES), SIDES, (2, 2, 2), (0, 0, 0))
    part = lattice.touching(lattice.bounds)[0]
    patch = lattice.cut(tissue()[..., 0], lattice.bounds, part)
    single = opening.load(opening.learnt(IO(), url, card), card, Machine()).predict(np.asfortranarray(grey(patch)))
    expected = np.rint(single[2:-2, 2:-2, 2:-2] * np.float32(255)).astype(int)
    for axis in range(3):
        np.moveaxis(expected[..., axis], axis, 0)[0] = 0
    assert np.abs(found - expected).max() <= 1
    assert (found != expected).mean() < 1e-3


def test_the_sheet_filter_is_that_of_the_whole_at_once(image: Path) -> None:
    patches, once = (whole(infer(image, name, patch=patch)) for name, patch in (("a", (30, 25, 24)), ("b", None)))
    assert (patches == once).all()
    card = opening.card(IO(), "sheet", NM, SIDES)
    assert notes(image.parent / "b")[0]["patches"] == 1
    sides = max(SIDES[:2]), max(SIDES[:2]), SIDES[2]
    assert card.shape.patch == vec(n + 2 * m for n, m in zip(sides, card.shape.margin, strict=True))


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_classes_are_what_the_network_says_of_each_voxel(image: Path, channels: int) -> None:
    pytest.importorskip("onnxruntime")
    kernel = networks.weights(channels)
    url = networks.classes(f"file://{image.parent}/model", kernel, (20, 18, 16))
    found = whole(infer(image, model=url))
    shades = np.pad(tissue()[..., 0] / np.float32(255), networks.REACH, mode="reflect").astype(float)
    inner = (slice(networks.REACH, -networks.REACH),) * 3
    said = np.stack([expit(correlate(shades, one[0].T.astype(float), mode="constant")[inner]) for one in kernel], -1)
    expected = np.rint(said * 255).astype(int)
    assert found.shape == (*SIDES, channels)
    assert np.abs(found - expected).max() <= 1
    assert (found != expected).mean() < 1e-3
    first = files(image.parent / "out")
    for n, cell in enumerate(CELLS):
        assert files(infer(image, f"out{n}", model=url, output="classes", cell=cell)) == first


@pytest.mark.parametrize("channels", [1, 3])
def test_classes_of_turned_images_are_those_of_the_image(image: Path, channels: int) -> None:
    pytest.importorskip("onnxruntime")
    url = networks.classes(f"file://{image.parent}/model", networks.round_weights(channels))
    plain = whole(infer(image, "plain", model=url)).astype(int)
    assert plain.std() > 5
    for augment in ("flips", "all"):
        turned = whole(infer(image, augment, model=url, augment=augment)).astype(int)
        assert np.abs(turned - plain).max() <= 1
        assert (turned != plain).mean() < 1e-3


def test_no_class_is_where_a_mask_leaves_out(image: Path) -> None:
    pytest.importorskip("onnxruntime")
    url = networks.classes(f"file://{image.parent}/model", networks.weights(2))
    kept = np.ones((*SIDES, 1), np.uint8)
    kept[5:20, :9] = 0
    mask = create(image.parent / "mask", kept, LO, (16, 16, 16), resolution=NM)
    plain = whole(infer(image, "plain", model=url))
    plain[kept[..., 0] == 0] = 0
    assert (whole(infer(image, "masked", model=url, mask=str(mask))) == plain).all()


def test_classes_are_no_affinities(image: Path) -> None:
    pytest.importorskip("onnxruntime")
    url = networks.classes(f"file://{image.parent}/model", networks.weights(2))
    for output in ("affinities", "boundary"):
        with pytest.raises(SpecError, match=f"{output}, and .* tells the classes class 0, class 1"):
            infer(image, model=url, output=output)
    with pytest.raises(SpecError, match="tells affinities or boundaries, no classes"):
        infer(image, output="classes")
    assert not (image.parent / "out").exists()
    layer = infer(image, model=url)
    with pytest.raises(SpecError, match="2 channels of uint8; affinities are 3"):
        Affinities(f"file://{layer}", 0).volume(IO())


@pytest.mark.parametrize("channels", [1, 3])
def test_boundaries_and_affinities_tell_the_same(image: Path, channels: int) -> None:
    url, bounds = net(image, channels=channels), Box.sized(LO, SIDES)
    affinities, boundary = (infer(image, output, model=url, output=output) for output in ("affinities", "boundary"))
    if channels == 1:
        read = [Affinities(f"file://{layer}", 0).read(IO(), bounds) for layer in (affinities, boundary)]
        assert (read[0] == read[1]).all()
        assert (whole(affinities) == read[0]).all()
    else:
        known = whole(affinities).astype(int)
        for axis in range(3):
            np.moveaxis(known[..., axis], axis, 0)[0] = 255
        assert (whole(boundary)[..., 0] == 255 - known.min(axis=3)).all()


@pytest.mark.parametrize("output", ["affinities", "boundary"])
def test_nothing_is_said_of_what_a_mask_leaves_out(image: Path, output: str) -> None:
    kept = np.ones((*SIDES, 1), np.uint8)
    kept[:20] = 0
    kept[30, 10:20, 10:20] = 0
    mask = create(image.parent / "mask", kept, LO, (16, 16, 16), resolution=NM)
    fields: dict[str, Any] = {"output": output, "patch": (20, 20, 20), "model": net(image, channels=1)}
    plain = whole(infer(image, "plain", **fields))
    before = notes(image.parent / "plain")[0]
    masked = infer(image, "masked", **fields, mask=str(mask), cell=(16, 16, 16))
    out = kept[..., 0] == 0
    if output == "boundary":
        plain[out] = 255
    else:
        for axis in range(3):
            faces = out.copy()
            np.moveaxis(faces, axis, 0)[1:] |= np.moveaxis(out, axis, 0)[:-1]
            plain[..., axis][faces] = 0
    assert (whole(masked) == plain).all()
    assert before["masked_patches"] == 0
    assert sum(one["masked_patches"] for one in notes(masked)) > 0
    assert any("backend" not in one for one in notes(masked))  # cells of nothing read no image and open no model


def test_the_edge_of_the_image_under_a_mask_is_no_boundary(tmp_path: Path) -> None:
    grey_, there = tissue(), np.ones((*SIDES, 1), np.uint8)
    there[:, 12:] = 0
    black = create(tmp_path / "black", grey_ * there, LO, (16, 16, 16), resolution=NM)
    mask = create(tmp_path / "mask", there, LO, (16, 16, 16), resolution=NM)
    fields: dict[str, Any] = {"output": "boundary"}
    masked = {"mask": str(mask), "cell": (16, 16, 16)}
    found_in = infer(black, "found", **fields, **masked)
    found = whole(found_in)
    middle = json.loads((found_in / "infer.json").read_text())["levels"]["median"]
    filled = np.where(there, grey_, np.uint8(middle * 255)).astype(np.uint8)
    wanted = whole(
        infer(create(tmp_path / "filled", filled, LO, (16, 16, 16), resolution=NM), "wanted", **fields, **masked)
    )
    assert (found == wanted).all()
    assert (found != whole(infer(black, "plain", **fields)))[:, :12].any()


def test_a_cell_that_is_left_out_reads_no_image(image: Path) -> None:
    mask = create(image.parent / "mask", np.zeros((*SIDES, 1), np.uint8), LO, (16, 16, 16), resolution=NM)
    stage = Infer(image=str(image), layer=str(image.parent / "out"), mask=Layer(f"file://{mask}"))
    with pytest.raises(DataError, match="none holds two grey values"):
        stage.prepare(IO())
    shutil.rmtree(image / "8_8_8")
    stage = Infer(image=str(image), layer=str(image.parent / "out"), mask=Layer(f"file://{mask}"), model=net(image))
    run.inline(stage)
    assert not whole(image.parent / "out").any()


def test_patches_of_one_grey_value_are_not_asked_about(tmp_path: Path) -> None:
    voxels = tissue((64, 16, 16))
    voxels[20:] = 77
    image = create(tmp_path / "image", voxels, (0, 0, 0), (16, 16, 16), resolution=NM)
    layer = infer(image, model=net(image, patch=(12, 12, 12), overlap=0.0))
    found, note = whole(layer), notes(layer)[0]
    assert note["empty_patches"] > 0
    assert note["patches"] == 8 * 2 * 2
    assert not found[24:].any()
    assert found[1:23, 1:, 1:].all()


def test_missing_chunks_are_refused_or_count_as_nothing(image: Path) -> None:
    next((image / "8_8_8").glob("11-27_3-19_7-23*")).unlink()
    with pytest.raises(DataError, match="--fill-missing"):
        infer(image, model=net(image))
    layer = infer(image, "filled", model=net(image), fill_missing=True)
    assert whole(layer).any()


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_images_of_other_types_say_the_same(image: Path, dtype: str) -> None:
    voxels = tissue()
    same = voxels.astype(np.uint16) * 257 if dtype == "uint16" else voxels / np.float32(255)
    other = create(image.parent / "other", same, LO, (16, 16, 16), resolution=NM)
    for model in ("sheet", net(image)):
        name = model[-5:]
        one, two = (whole(infer(seen, f"{seen.name}-{name}", model=model)) for seen in (image, other))
        assert np.abs(one.astype(int) - two).max() <= 1


def test_darker_and_flatter_images_say_the_same(image: Path) -> None:
    voxels = tissue().astype(np.uint16) * 100 + 9000
    other = create(image.parent / "other", voxels, LO, (16, 16, 16), resolution=NM)
    for model in ("sheet", net(image, levels=True)):
        name = model[-5:]
        one, two = (whole(infer(seen, f"{seen.name}-{name}", model=model)) for seen in (image, other))
        assert np.abs(one.astype(int) - two).max() <= 2
        assert one.std() > 5


def test_levels_are_found_once_and_kept(image: Path) -> None:
    layer = infer(image)
    url = f"file://{layer}/infer.json"
    assert "median 0." in Infer(image=str(image), layer=str(layer)).said(IO())
    first = IO().get_json(url)
    assert first is not None
    voxels = tissue()[..., 0] / np.float32(255)
    assert Greys.parse(first["levels"], url) == Greys.of(greys.counted(voxels))
    volume = IO().volume(f"file://{image}", 0)
    IO().write(volume, volume.bounds, np.asfortranarray(tissue(seed=1) // 2))
    Infer(image=str(image), layer=str(layer), chunk=(16, 16, 16)).prepare(IO())
    assert IO().get_json(url) == first
    Infer(image=str(image), layer=str(layer), chunk=(16, 16, 16), model=net(image)).prepare(IO())
    assert (IO().get_json(url) or {})["levels"] == first["levels"]


def test_all_that_a_unit_depends_on_is_in_its_ledger(image: Path) -> None:
    url = net(image, levels=True)
    stage = Infer(image=str(image), layer=str(image.parent / "out"), model=url, cell=(16, 16, 16), chunk=(16, 16, 16))
    run.inline(stage)
    io = IO()
    stage.execute(stage.units(io)[0], io)
    assert {one["url"] for one in io.ledger.reads if "url" in one} == {
        f"{url}/model.json", f"{url}/model.onnx", f"file://{image.parent}/out/infer.json"
    }  # fmt: skip
    assert [one["layer"] for one in io.ledger.reads if "layer" in one] == [f"file://{image}"]
    assert stage.inputs(io) == (f"file://{image}", url)


def test_a_model_that_was_changed_meanwhile_is_refused(image: Path) -> None:
    url = net(image)
    stage = Infer(image=str(image), layer=str(image.parent / "out"), model=url, chunk=(16, 16, 16))
    run.inline(stage)
    IO().put(f"{url}/model.onnx", networks.onnx(networks.weights(3, seed=1)))
    with pytest.raises(DataError, match="changed since this layer was begun"):
        stage.execute(stage.units(IO())[0], IO())


def test_turned_patches_are_averaged(image: Path) -> None:
    url = net(image)
    plain = whole(infer(image, "plain", model=url))
    for augment in ("flips", "all"):
        fields: dict[str, Any] = {"model": url, "augment": augment, "overlap": 0.0}
        turned = infer(image, augment, **fields)
        assert (whole(turned) != plain).mean() > 0.5
        assert (whole(infer(image, f"{augment}-cells", **fields, cell=(16, 16, 16))) == whole(turned)).all()
    assert "grey values as they are" in Infer(image=str(image), layer=f"{image.parent}/flips", model=url).said(IO())
    sheets = [whole(infer(image, f"sheet-{augment}", augment=augment)) for augment in ("none", "all")]
    assert np.abs(sheets[0].astype(int) - sheets[1]).max() <= 1  # the filter sees no direction


def test_a_level_of_other_voxels_is_refused_and_the_right_one_named(tmp_path: Path) -> None:
    from igneous_ng.stages.image_downsample import Downsample

    image = create(tmp_path / "image", tissue(), LO, (16, 16, 16), resolution=(4.0, 4.0, 8.0))
    with pytest.raises(SpecError, match="resample"):
        infer(image, model=net(image))
    run.inline(Downsample(layer=str(image), num_mips=1))
    with pytest.raises(SpecError, match="give --mip 1"):
        infer(image, model=net(image))
    assert whole(infer(image, model=net(image), mip=1)).any()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"cell": (0, 1, 1)}, "cell"),
        ({"patch": (9, 0, 9)}, "patch"),
        ({"overlap": 1.0}, "overlap"),
        ({"precision": "half"}, "half precision is for --device cuda"),
        ({"layer": "image"}, "is the image"),
        ({"model": "ftp://x/y"}, "no store is called ftp"),
        ({"model": "sheet", "patch": (9, 99, 99)}, "nothing is left inside"),
        ({"model": "sheet", "patch": (99, 98, 99), "augment": "all"}, "cannot be turned"),
        ({"model": "none"}, "there is no model here"),
        ({"mip": 4}, "no mip 4"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_written(image: Path, fields: dict[str, Any], said: str) -> None:
    given = {"layer": "out", **fields}
    for key in ("layer", "model"):
        if given.get(key) in ("image", "out", "none"):
            given[key] = f"{image.parent}/{given[key]}"
    with pytest.raises(SpecError, match=said):
        run.inline(Infer(image=str(image), **given))
    assert not (image.parent / "out").exists()


def test_images_of_several_channels_or_labels_are_refused(tmp_path: Path) -> None:
    for name, voxels in (("rgb", np.zeros((4, 4, 4, 3), np.uint8)), ("labels", np.zeros((4, 4, 4, 1), np.uint64))):
        kind = "segmentation" if name == "labels" else "image"
        with pytest.raises(SpecError, match="an image is one channel"):
            infer(create(tmp_path / name, voxels, (0, 0, 0), kind=kind))


def test_a_model_has_one_spelling(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Infer(image="a", layer="b", model="models/mine/").model == f"file://{tmp_path}/models/mine"
    assert Infer(image="a", layer="b", model="net").model == "net"
