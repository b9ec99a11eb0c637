"""TileSpecs of render: what its services and clients write, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import tilespecs
from igneous_ng.formats.tiles import Tile
from igneous_ng.formats.tilespecs import TileSpec
from tests.test_adapters_names import read

PACKAGE = "mpicbg.trakem2.transform."


def leaf(name: str, *numbers: float) -> dict[str, Any]:
    return {"type": "leaf", "className": PACKAGE + name, "dataString": " ".join(map(str, numbers))}


def spec(*transforms: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A TileSpec with the fields that render's web services give."""
    return {
        "tileId": "150427_A.12.0",
        "layout": {"sectionId": "12.0", "temca": "1", "camera": "5", "imageRow": 3, "imageCol": 4, "stageX": 1.0},
        "z": 12.0,
        "minX": 1.0,
        "width": 2560.0,
        "height": 2160.0,
        "minIntensity": 0.0,
        "mipmapLevels": {
            "0": {"imageUrl": "file:/data/a%20b.tif", "maskUrl": "file:/m.png"},
            "1": {"imageUrl": "file:/data/half.tif"},
        },
        "transforms": {"type": "list", "specList": list(transforms)},
        **more,
    }


def affine(*transforms: dict[str, Any]) -> tuple[float, ...]:
    (found,) = tilespecs.decode(json.dumps(spec(*transforms)).encode(), "here")
    return found.affine


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_a_tile_with_an_affine(tmp_path: Path) -> None:
    source = write(tmp_path / "t.json", [spec(leaf("AffineModel2D", 0.9, -0.004, 0.002, 0.98, 1142.5, 857.0))])
    (found,) = read("render", source, pixel=2.0, z=1)
    assert found == Tile(
        tile="150427_A.12.0",
        z=13,
        x=2285.0,
        y=1714.0,
        pixel=2.0,
        url="file:///data/a b.tif",
        width=2560,
        height=2160,
        row=3,
        col=4,
        matrix=(0.9, 0.002, -0.004, 0.98),
        camera="5",
    )


def test_each_model_is_as_mpicbg_has_it() -> None:
    assert affine() == (1, 0, 0, 0, 1, 0)
    assert affine(leaf("TranslationModel2D", 3, 4)) == (1, 0, 3, 0, 1, 4)
    quarter = math.pi / 2  # x' = -y + 10, y' = x + 5
    assert affine(leaf("RigidModel2D", quarter, 10, 5)) == pytest.approx((0, -1, 10, 1, 0, 5))
    assert affine(leaf("SimilarityModel2D", 2, quarter, 10, 5)) == pytest.approx((0, -2, 10, 2, 0, 5))
    assert affine(leaf("AffineModel2D", 1, 2, 3, 4, 5, 6)) == (1, 3, 5, 2, 4, 6)


numbers = st.floats(-3, 3)
models = st.lists(
    st.one_of(
        st.builds(lambda *n: leaf("AffineModel2D", *n), *[numbers] * 6),
        st.builds(lambda *n: leaf("SimilarityModel2D", *n), *[numbers] * 4),
        st.builds(lambda *n: leaf("TranslationModel2D", *n), *[numbers] * 2),
    ),
    max_size=4,
)


@given(models, st.tuples(numbers, numbers))
def test_the_first_of_a_list_is_applied_first(transforms: list[dict[str, Any]], point: tuple[float, float]) -> None:
    wanted = np.array([*point, 1.0])
    for one in transforms:
        a, b, x, c, d, y = affine(one)
        wanted = np.array([[a, b, x], [c, d, y], [0, 0, 1]]) @ wanted
    a, b, x, c, d, y = affine(*transforms)
    assert np.allclose(np.array([[a, b, x], [c, d, y]]) @ [*point, 1.0], wanted[:2])
    nested = {"type": "list", "specList": transforms[1:]}
    assert affine(*transforms[:1], nested) == pytest.approx(affine(*transforms))


def test_a_collection_shares_transforms(tmp_path: Path) -> None:
    shared = {"lens": leaf("TranslationModel2D", 1, 2), "both": {"type": "ref", "refId": "lens"}}
    tile = spec({"type": "ref", "refId": "both"}, leaf("TranslationModel2D", 10, 20))
    source = write(tmp_path / "r.json", {"transformIdToSpecMap": shared, "tileIdToSpecMap": {"150427_A.12.0": tile}})
    (found,) = read("render", source, pixel=1.0)
    assert (found.x, found.y) == (11.0, 22.0)
    again = write(tmp_path / "r.json", {"transformIdToSpecMap": {}, "tileIdToSpecMap": {"a": tile}})
    with pytest.raises(DataError, match="refers to the transform 'both', which is not in the file"):
        read("render", again)
    shared["lens"] = {"type": "ref", "refId": "both"}
    again = write(tmp_path / "r.json", {"transformIdToSpecMap": shared, "tileIdToSpecMap": {"a": tile}})
    with pytest.raises(DataError, match="refer to each other without end"):
        read("render", again)


def test_channels_and_a_folder_of_files(tmp_path: Path) -> None:
    channels = [{"name": n, "mipmapLevels": {"0": {"imageUrl": f"pictures/{n}.tif"}}} for n in ("DAPI", "GFP")]
    write(tmp_path / "z10.json", [spec(channels=channels, z=10, mipmapLevels=None, layout=None)])
    write(tmp_path / "z9.json", spec(z=9, transforms=[leaf("TranslationModel2D", 3, 4)]))
    (tmp_path / "notes.txt").write_text("no TileSpec")
    found = read("render", tmp_path)
    assert [(tile.z, tile.channel, tile.x) for tile in found] == [(9, 0, 12.0), (10, 0, 0.0), (10, 1, 0.0)]
    assert found[2].url == f"file://{tmp_path}/pictures/GFP.tif"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[\n{,", "line 2: is no JSON"),
        ([{}], "tile 0: has no tileId"),
        ([3], "tile 0: has no tileId"),
        ([spec(z="a")], "tile '150427_A.12.0': is no TileSpec of render"),
        ([spec(z=1.5)], "tile '150427_A.12.0': lies at z 1.5; sections are whole numbers"),
        ([spec(z=None)], "is no TileSpec of render"),
        ([spec(mipmapLevels={"1": {"imageUrl": "a"}})], "has no picture at mipmap level 0"),
        ([spec(mipmapLevels={"0": {"imageUrl": "a", "imageLoaderType": "H5_SLICE"}})], "of the kind H5_SLICE"),
        ([spec(leaf("ThinPlateSplineTransform", 2, 3))], "mpicbg.trakem2.transform.ThinPlateSplineTransform, which is"),
        ([spec({"className": "lenscorrection.NonLinearTransform", "dataString": "1"})], "lenscorrection.NonLinear"),
        ([spec({"type": "interpolated", "a": {}})], "of the type 'interpolated'"),
        ([spec(leaf("AffineModel2D", 1, 2, 3))], "has the data '1 2 3'; expected 6 numbers"),
        ([spec(leaf("TranslationModel2D", 1)) | {"transforms": 3}], "is no TileSpec"),
        ([spec({"type": "leaf"})], "is no TileSpec"),
        ([spec(leaf("AffineModel2D", 1, 2, 2, 4, 0, 0))], "which is flat"),
    ],
)
def test_what_is_refused_names_the_tile(tmp_path: Path, value: Any, message: str) -> None:
    (tmp_path / "t.json").write_text(value if isinstance(value, str) else json.dumps(value))
    with pytest.raises(DataError, match=f"t.json, .*{message}"):
        read("render", tmp_path / "t.json")


def test_no_files_or_no_pixel(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no .json here"):
        read("render", tmp_path)
    with pytest.raises(SpecError, match="give --pixel"):
        read("render", tmp_path, pixel=None)


wholes = st.none() | st.integers(0, 10**5)
reals = st.floats(-1e9, 1e9)


@given(
    st.lists(
        st.builds(
            TileSpec,
            tile=st.text(),
            z=st.floats(0, 1e6),
            urls=st.lists(st.text(), min_size=1, max_size=3).map(tuple),
            affine=st.tuples(*[reals] * 6),
            width=wholes,
            height=wholes,
            row=wholes,
            col=wholes,
            camera=st.text(),
        )
    )
)
def test_what_is_written_is_read_again(specs: list[TileSpec]) -> None:
    plain = [TileSpec(**{**_fields(one), "affine": tuple(n + 0.0 for n in one.affine)}) for one in specs]
    assert list(tilespecs.decode(tilespecs.encode(plain), "here")) == plain


def _fields(one: TileSpec) -> dict[str, Any]:
    return {name: getattr(one, name) for name in TileSpec.__slots__}
