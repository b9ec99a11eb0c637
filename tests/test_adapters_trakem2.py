"""TrakEM2's XML: projects as TrakEM2 and Karsh's tools write them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from igneous_ng.adapters import trakem2
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.tiles import Tile
from tests.test_adapters_names import read
from tests.test_adapters_texts import write

DTD = """<?xml version="1.0" encoding="ISO-8859-1"?>
<!DOCTYPE trakem2_anything [
	<!ELEMENT trakem2 (project,t2_layer_set,t2_display)>
	<!ELEMENT t2_patch EMPTY>
	<!ATTLIST t2_patch oid NMTOKEN #REQUIRED>
	<!ATTLIST t2_patch file_path NMTOKEN #REQUIRED>
] >
"""
PATCH = """			<t2_patch
				oid="{oid}"
				width="1376.0"
				height="1040.0"
				transform="matrix(0.9,-0.004,0.002,0.98,1142.5,{y}.0)"
				title="0.{oid}-1"
				type="0"
				file_path="{path}"
				o_width="1376"
				o_height="1040"
			/>
"""
OPEN = '\n<trakem2>\n\t<project id="0"/>\n\t<t2_layer_set oid="3" transform="matrix(1,0,0,1,0,0)">\n'
CLOSE = "\t</t2_layer_set>\n</trakem2>\n"


def layer(z: str, *patches: str) -> str:
    return f'\t\t<t2_layer oid="4" thickness="0" z="{z}">\n{"".join(patches)}\t\t</t2_layer>\n'


def patch(oid: int, path: str = "/groups/a/A1_{oid}_2.tif", y: int = 857) -> str:
    return PATCH.format(oid=oid, path=path.format(oid=oid), y=y)


def test_a_project_with_two_layers(tmp_path: Path) -> None:
    text = DTD + OPEN + layer("0.0", patch(5)) + layer("1", patch(6, "b/x &amp; y.tif", 0)) + CLOSE
    first, second = read("trakem2", write(tmp_path / "p.xml", text), pixel=2.0, z=7)
    assert first == Tile(
        tile="0.5-1#5",
        z=7,
        x=2285.0,
        y=1714.0,
        pixel=2.0,
        url="file:///groups/a/A1_5_2.tif",
        width=1376,
        height=1040,
        matrix=(0.9, 0.002, -0.004, 0.98),
    )
    assert (second.z, second.url, second.y) == (8, f"file://{tmp_path}/b/x & y.tif", 0.0)


def test_patches_come_out_while_the_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = DTD + OPEN + "".join(layer(str(z), *(patch(n) for n in range(20))) for z in range(9)) + CLOSE
    source = write(tmp_path / "p.xml", text)
    whole = read("trakem2", source)
    assert [tile.z for tile in whole] == [z for z in range(9) for _ in range(20)]
    for step in (1000, len(text.encode()), 7):
        monkeypatch.setattr(trakem2, "_STEP", step)
        assert read("trakem2", source) == whole


BOMB = '<!DOCTYPE trakem2_anything [\n<!ENTITY a "aaaaaaaaaa">\n<!ENTITY b "&a;&a;&a;&a;">\n] >'
OUTSIDE = '<!DOCTYPE trakem2_anything [\n<!ENTITY a SYSTEM "file:///etc/passwd">\n] >'
BODY = OPEN + layer("0", patch(5)) + CLOSE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB + BODY, "line 2: declares the entity 'a'"),
        (OUTSIDE + BODY, "line 2: declares the entity 'a'"),
        (BODY[:-20], "is no XML"),
        ("<svg/>", "line 1: expected a project of TrakEM2, found the element 'svg'"),
        (DTD + OPEN + CLOSE, "no layer has a patch"),
        (OPEN + patch(5) + CLOSE, "line 5: a patch outside of a layer with a z"),
        (BODY.replace('file_path="/', 'file="/'), "line 6: a patch without file_path"),
        (BODY.replace("matrix(0.9,", "matrix("), r"line 6: transform is 'matrix\(-0.004"),
        (BODY.replace("0.98,", "x,"), "line 6: transform is 'x'; expected a number"),
        (BODY.replace("0.9,-0.004,0.002,0.98", "0,0,0,0"), "line 6: tile '0.5-1#5' has the matrix"),
        (BODY.replace('z="0"', 'z="0.5"'), "line 6: z is '0.5'; expected a whole number"),
        (BODY.replace('oid="5"', 'oid="5" ct_id="12"'), r"line 6: a patch is bent \(ct_id\)"),
        (BODY.replace("_2.tif", "_2.tif-----#slice=3"), "line 6: .* is a slice of a stack"),
        (
            BODY.replace(
                "/>\n\t\t</t2_layer>", '>\n<ict_transform class="lenscorrection" data=""/></t2_patch></t2_layer>'
            ),
            "line 17: a patch is bent by lenscorrection",
        ),
    ],
)
def test_what_is_refused_says_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=f"p.xml(, |: ){message}|p.xml, line [0-9]+: {message}"):
        read("trakem2", write(tmp_path / "p.xml", text))


def test_a_missing_file_or_pixel(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read("trakem2", tmp_path / "p.xml")
    with pytest.raises(SpecError, match="give --pixel"):
        read("trakem2", write(tmp_path / "p.xml", BODY), pixel=None)
