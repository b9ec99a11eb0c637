"""Pictures of layers that are built here byte by byte, and the command that serves them."""

from __future__ import annotations

import gzip
import json
import shutil
import signal
import struct
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from igneous_ng.errors import DataError, SpecError, TransientError
from igneous_ng.formats import sharding
from igneous_ng.viewer import screenshot as camera
from igneous_ng.viewer.screenshot import ScreenshotUnavailable, write_png
from igneous_ng.viewer.view import client_folder, labels_to_show, serving, view

SIDE = 64
# The 3-D panel, 374 pixels high, shows 144 voxels: 2.6 pixels each. An octahedron of radius 30 voxels is
# there 78 pixels in radius, and its mean shadow sqrt(3) r^2 = 10,500 pixels.
MESH = "the mesh covers about 10,500 pixels"
RESOLUTION = (8, 8, 8)
HAVE = all(shutil.which(name) for name in ("chromium", "chromedriver"))
chromium = pytest.mark.skipif(not HAVE, reason="needs Debian's packages chromium and chromium-driver")


def write_volume(folder: Path, voxels: npt.NDArray[Any], kind: str, **extra: str) -> str:
    """A Precomputed layer of one raw chunk; returns its URL."""
    scale = {
        "key": "8_8_8",
        "size": voxels.shape,
        "chunk_sizes": [voxels.shape],
        "resolution": RESOLUTION,
        "encoding": "raw",
    }
    info = {"type": kind, "data_type": voxels.dtype.name, "num_channels": 1, "scales": [scale], **extra}
    (folder / "8_8_8").mkdir(parents=True)
    (folder / "info").write_text(json.dumps(info))
    name = "_".join(f"0-{n}" for n in voxels.shape)
    (folder / "8_8_8" / name).write_bytes(voxels.tobytes("F"))
    return f"file://{folder}"


def image_layer(folder: Path) -> str:
    """Bright everywhere, so that a gray pixel of this brightness can only be this image."""
    return write_volume(folder, np.full((SIDE, SIDE, SIDE), 200, np.uint8), "image")


def octahedron(radius: float, centre: float) -> bytes:
    """A legacy mesh: count of vertices, vertices in nm, triangles."""
    axes = np.eye(3, dtype=np.float32)
    vertices = np.vstack([axes, -axes]) * np.float32(radius) + np.float32(centre)
    faces = [(0, 1, 2), (1, 3, 2), (3, 4, 2), (4, 0, 2), (1, 0, 5), (3, 1, 5), (4, 3, 5), (0, 4, 5)]
    return struct.pack("<I", 6) + vertices.tobytes() + np.array(faces, "<u4").tobytes()


def write_mesh(folder: Path, label: int, fragment: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{label}:0").write_text(json.dumps({"fragments": [f"{label}:0:all"]}))
    (folder / f"{label}:0:all").write_bytes(fragment)


def write_skeleton(folder: Path, label: int) -> None:
    """A straight line along z through the volume, off its middle."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "info").write_text(json.dumps({"@type": "neuroglancer_skeletons"}))
    vertices = np.array([(60, 60, 0), (60, 60, 500)], "<f4")
    (folder / str(label)).write_bytes(
        struct.pack("<II", 2, 1) + vertices.tobytes() + np.array([(0, 1)], "<u4").tobytes()
    )


def segmentation_layer(folder: Path, *, mesh: bool = True, skeleton: bool = True) -> str:
    """Label 7 is a cube in the middle, label 9 fills one side; 7 has a mesh and a skeleton."""
    labels = np.zeros((SIDE, SIDE, SIDE), np.uint64)
    labels[16:48, 16:48, 16:48] = 7
    labels[:, :8, :] = 9
    extra = {key: key for key, wanted in (("mesh", mesh), ("skeletons", skeleton)) if wanted}
    url = write_volume(folder, labels, "segmentation", **extra)
    if mesh:
        write_mesh(folder / "mesh", 7, octahedron(240.0, 256.0))
    if skeleton:
        write_skeleton(folder / "skeletons", 7)
    return url


Pixels = npt.NDArray[np.int16]


def picture(folder: Path, layers: list[str], **options: Any) -> Pixels:
    """The picture that ``view`` takes of ``layers``: (height, width, 3)."""
    from PIL import Image

    view(layers, screenshot=folder / "out.png", announce=lambda _: None, **options)
    with Image.open(folder / "out.png") as opened:
        return np.asarray(opened.convert("RGB")).astype(np.int16)


def in_space(pixels: Pixels) -> int:
    """Tinted pixels of the 3-D panel (bottom left), save the yellow outline of the volume and its red axis."""
    red, green, blue = np.moveaxis(pixels[426:, :598], -1, 0)
    is_line = (np.abs(red - green) <= 40) & (blue < 80) | (red > 200) & (green < 80) & (blue < 80)
    return int(np.count_nonzero((pixels[426:, :598].max(-1) - pixels[426:, :598].min(-1) > 60) & ~is_line))


def in_sections(pixels: Pixels) -> tuple[int, int]:
    """Pixels of the three sections as bright as the image, and those that labels tint."""
    panels = (pixels[50:420, :598], pixels[50:420, 602:], pixels[426:, 602:])
    sections = np.vstack([panel.reshape(-1, 3) for panel in panels])
    tint = sections.max(-1) - sections.min(-1)
    return int(np.count_nonzero((sections == 200).all(-1))), int(np.count_nonzero((tint > 30) & (tint < 200)))


@chromium
def test_a_picture_shows_image_labels_mesh_and_skeleton(tmp_path: Path) -> None:
    layers = [image_layer(tmp_path / "em"), segmentation_layer(tmp_path / "seg")]
    pixels = picture(tmp_path, layers)
    assert pixels.shape == (camera.SIZE[1], camera.SIZE[0], 3)
    gray, tinted = in_sections(pixels)
    # Each of three sections is about 310 pixels wide; label 7 covers a quarter of it.
    assert 100_000 < gray < 230_000
    assert 60_000 < tinted < 110_000
    assert 7000 < in_space(pixels) < 15_000, MESH
    banners = pixels[760:, :500]
    assert np.count_nonzero(banners.max(-1) > 240) < 1000, "no message covers the lower edge"


@chromium
@pytest.mark.long
def test_a_picture_without_labels_has_no_colours(tmp_path: Path) -> None:
    pixels = picture(tmp_path, [image_layer(tmp_path / "em")])
    gray, tinted = in_sections(pixels)
    assert gray > 250_000
    assert tinted < 4000, "only axes, their names and the outline"
    assert in_space(pixels) < 200


@chromium
@pytest.mark.long
def test_a_skeleton_is_drawn_alone(tmp_path: Path) -> None:
    pixels = picture(tmp_path, [segmentation_layer(tmp_path / "seg", mesh=False)])
    assert 200 < in_space(pixels) < 3000


@chromium
@pytest.mark.long
def test_a_picture_comes_with_what_it_can_where_a_mesh_is_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layer = segmentation_layer(tmp_path / "seg", skeleton=False)
    pixels = picture(tmp_path, [layer], segments=(7, 9))
    assert 7000 < in_space(pixels) < 15_000, MESH
    assert "could not be loaded" in caplog.text


@chromium
def test_a_layer_that_the_client_cannot_read_is_an_error(tmp_path: Path) -> None:
    layer = image_layer(tmp_path / "em")
    info = tmp_path / "em" / "info"
    info.write_text(info.read_text().replace('"raw"', '"nonsense"'))
    with pytest.raises(DataError, match=r"cannot read a layer: em: .*nonsense"):
        picture(tmp_path, [layer])
    assert not (tmp_path / "out.png").exists()


@pytest.mark.long
@chromium
def test_no_process_outlives_a_picture_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen = children()
    with serving([image_layer(tmp_path / "em")]) as url:
        with pytest.raises(TransientError, match="no screenshot in time"):
            camera.capture(url, 1, timeout=0)
        with pytest.raises(TransientError, match="no screenshot in time: still"):
            camera.capture(url, 2, timeout=6)  # there is one layer: two never come
    assert children() == seen
    assert not list(tmp_path.glob("igneous-ng-view-*"))
    assert str(tmp_path / "igneous-ng-view-") not in command_lines()


def children() -> set[int]:
    """Processes that this one started."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text().split()}


def command_lines() -> str:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(file.read_bytes().decode(errors="replace"))
        except OSError:  # it ended meanwhile
            continue
    return "\n".join(found)


def test_without_chromium_the_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ScreenshotUnavailable, match="chromium and chromedriver.*install chromium chromium-driver"):
        view([image_layer(tmp_path / "em")], screenshot=tmp_path / "out.png", announce=pytest.fail)
    assert not (tmp_path / "out.png").exists()


def test_a_picture_is_stored_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_png(tmp_path / "out.png", b"first")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_png(tmp_path / "out.png", b"second")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"out.png": b"first"}


@chromium
def test_a_picture_in_no_folder_is_a_wrong_request(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no folder"):
        view([image_layer(tmp_path / "em")], screenshot=tmp_path / "no" / "out.png", announce=pytest.fail)


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        content: bytes = answer.read()
        return content


def state_of(view_url: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(get(view_url.partition("#!")[2]))
    return loaded


def test_layers_client_and_state_come_from_one_origin(tmp_path: Path) -> None:
    with serving([image_layer(tmp_path / "em"), segmentation_layer(tmp_path / "seg")]) as url:
        page, _, state_url = url.partition("/v/1/#!")
        assert state_url == f"{page}/state.json"
        em, seg = state_of(url)["layers"]
        assert (em["name"], em["source"]) == ("em", f"precomputed://{page}/layers/0")
        assert (seg["name"], seg["source"]) == ("seg", f"precomputed://{page}/layers/1")
        assert seg["segments"] == ["7"]
        assert get(f"{page}/layers/1/mesh/7:0") == (tmp_path / "seg" / "mesh" / "7:0").read_bytes()
        assert b"neuroglancer" in get(f"{page}/v/1/")


def test_asked_segments_are_selected(tmp_path: Path) -> None:
    with serving([segmentation_layer(tmp_path / "seg")], segments=(9, 8)) as url:
        assert state_of(url)["layers"][0]["segments"] == ["9", "8"]


def test_a_layer_on_the_web_is_named_not_served(tmp_path: Path) -> None:
    layers = [segmentation_layer(tmp_path / "seg")]
    with serving(layers) as elsewhere:
        address = elsewhere.partition("/v/1/")[0] + "/layers/0"
        with serving([address]) as url:
            (layer,) = state_of(url)["layers"]
    assert layer["source"] == f"precomputed://{address}"
    assert (layer["type"], layer["segments"]) == ("segmentation", [])


@pytest.mark.parametrize("layer", ["s3://bucket/em", "gs://bucket/em"])
def test_a_bucket_is_refused_with_what_to_do(layer: str) -> None:
    with pytest.raises(SpecError, match="copy the layer to a folder"), serving([layer]):
        pytest.fail("it served a bucket")


def test_wrong_requests_are_told_apart_from_wrong_data(tmp_path: Path) -> None:
    image = image_layer(tmp_path / "em")
    wrong: list[tuple[type[Exception], str, list[str], tuple[int, ...]]] = [
        (SpecError, "no such folder", [f"file://{tmp_path}/nowhere"], ()),
        (SpecError, "no layer is a segmentation", [image], (7,)),
        (SpecError, "segment 0 is no label", [image], (0,)),
        (SpecError, "at least one", [], ()),
        (DataError, "no info file", [f"file://{tmp_path}"], ()),
        (TransientError, "cannot be read", ["http://127.0.0.1:1/em"], ()),
    ]
    for error, what, layers, segments in wrong:
        with pytest.raises(error, match=what), serving(layers, segments=segments):
            pytest.fail(what)
    for content, what in ((b"{", "not JSON"), (b"[]", "holds a list"), (b"{}", "not of a Precomputed volume")):
        (tmp_path / "em" / "info").write_bytes(content)
        with pytest.raises(DataError, match=what), serving([image]):
            pytest.fail(what)


def test_a_layer_missing_from_the_web_is_wrong_data(tmp_path: Path) -> None:
    with serving([image_layer(tmp_path / "em")]) as url:
        address = url.partition("/v/1/")[0] + "/layers/9"
        with pytest.raises(DataError, match="404"), serving([address]):
            pytest.fail("it served a layer that is not there")


def test_a_compressed_info_is_read_and_a_torn_one_named(tmp_path: Path) -> None:
    layer = segmentation_layer(tmp_path / "seg")
    info = tmp_path / "seg" / "info"
    packed = gzip.compress(info.read_bytes())
    info.unlink()
    info.with_suffix(".gz").write_bytes(packed)
    with serving([layer]) as url:
        assert state_of(url)["layers"][0]["segments"] == ["7"]
    info.with_suffix(".gz").write_bytes(packed[:-9])
    with pytest.raises(DataError, match="not a whole gzip stream"), serving([layer]):
        pytest.fail("it served a torn info")


def test_the_largest_meshes_are_chosen(tmp_path: Path) -> None:
    for label in range(1, 14):
        write_mesh(tmp_path / "mesh", label, bytes(100 * label))
    write_mesh(tmp_path / "mesh", 2, bytes(10_000))
    (tmp_path / "mesh" / "99:0").write_text("torn")
    write_skeleton(tmp_path / "skeletons", 50)
    chosen = labels_to_show(tmp_path, {"mesh": "mesh", "skeletons": "skeletons"})
    assert chosen == (2, 5, 6, 7, 8, 9, 10, 11, 12, 13)


def test_meshes_of_several_resolutions_are_found_by_their_index(tmp_path: Path) -> None:
    folder = tmp_path / "mesh"
    folder.mkdir()
    for label, size in ((3, 10), (2**64 - 1, 20), (0, 30)):
        (folder / f"{label}.index").write_bytes(b"index")
        (folder / str(label)).write_bytes(bytes(size))
    assert labels_to_show(tmp_path, {"mesh": "mesh"}) == (3, 2**64 - 1)


def test_without_meshes_labels_with_skeletons_are_chosen(tmp_path: Path) -> None:
    (tmp_path / "mesh").mkdir()
    write_skeleton(tmp_path / "bones", 5)
    (tmp_path / "bones" / "6.gz").write_bytes(b"packed")
    assert labels_to_show(tmp_path, {"mesh": "mesh", "skeletons": "bones"}) == (5, 6)
    assert labels_to_show(tmp_path, {"mesh": "mesh", "skeletons": "nowhere"}) == ()
    assert labels_to_show(tmp_path, {}) == ()


def test_it_serves_until_interrupted_without_importing_the_heavy_package(tmp_path: Path) -> None:
    layer = image_layer(tmp_path / "em")
    script = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs begin deaf to it
        "from igneous_ng.viewer.view import view\n"
        "view([sys.argv[1]], announce=lambda url: print(url, flush=True))\n"
        "heavy = {'neuroglancer', 'numpy', 'cloudvolume'} & set(sys.modules)\n"
        "print('ended', *heavy)\n"
    )
    command = [sys.executable, "-c", script, layer]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert state_of(url)["layers"][0]["name"] == "em"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (out, err, process.returncode) == ("ended\n", "", 0)


def test_a_browser_is_opened_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    announced: list[str] = []

    def browse(url: str) -> None:
        opened.append(url)
        raise KeyboardInterrupt

    monkeypatch.setattr("webbrowser.open", browse)
    view([image_layer(tmp_path / "em")], open_browser=True, announce=announced.append)
    assert opened == announced
    assert len(opened) == 1


def test_the_client_is_the_one_in_the_wheel() -> None:
    assert client_folder().parts[-3:] == ("neuroglancer", "static", "client")


def test_without_the_wheel_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SpecError, match="pip install neuroglancer"):
        client_folder()


def test_what_is_in_shards_is_found_by_their_indices(tmp_path: Path) -> None:
    spec = sharding.Spec(0, 1, 1, "murmurhash3_x86_128", data_encoding="gzip")
    objects = {label: bytes(range(250)) * label for label in range(1, 14)}
    shards = spec.locate(np.array(list(objects), np.uint64))[0].tolist()
    folder = tmp_path / "mesh"
    folder.mkdir()
    (folder / "info").write_text(json.dumps({"sharding": spec.to_json()}))
    for shard in set(shards):
        inside = {label: objects[label] for label, at in zip(objects, shards, strict=True) if at == shard}
        (folder / spec.name(shard)).write_bytes(sharding.pack(spec, inside))
    chosen = labels_to_show(tmp_path, {"mesh": "mesh"})
    assert len(chosen) == 10
    assert set(chosen) <= set(objects)
    (folder / spec.name(shards[0])).write_bytes(b"torn, but long enough to have an index of some kind or other")
    with pytest.raises(DataError, match="not a shard"):
        labels_to_show(tmp_path, {"mesh": "mesh"})
    (folder / "info").write_text("[")
    with pytest.raises(DataError, match="not a description in JSON"):
        labels_to_show(tmp_path, {"mesh": "mesh"})
