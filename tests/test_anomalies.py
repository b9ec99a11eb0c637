"""Two boxes through all layers: which part, which is the root, and what is said where nothing can be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner

from igneous_ng import anomalies, anomaly_words, qualities, quality_maps, records, run
from igneous_ng.anomalies import Findings
from igneous_ng.cli import main
from igneous_ng.errors import SpecError
from igneous_ng.formats.info import new_info
from igneous_ng.geometry import Box, Grid
from igneous_ng.io import IO
from igneous_ng.records import Run
from igneous_ng.stages.image_measure import ImageMeasure
from igneous_ng.store import Store
from igneous_ng.subsets import Subset
from tests import layers

STORE = Store()
BOUNDS, CELL = Box((0, 0, 0), (48, 48, 32)), (8, 8, 8)
CORNER = Box((0, 0, 0), (24, 24, 16))
NM = 10.0


def figures(seed: int, planted: float = 0.0, mean: float = 100.0, noise: float = 5.0) -> list[float]:
    """One for each cell; those of the corner are lower by what is ``planted``."""
    rng, cells = np.random.default_rng(seed), Grid(BOUNDS, CELL)
    return [float(rng.normal(mean, noise)) - planted * bool((cell & CORNER).voxels) for cell in cells]


def create(path: Path, array: npt.NDArray[Any], kind: str = "image") -> str:
    """A layer that nobody recorded."""
    return f"file://{layers.create(path, array, (0, 0, 0), CELL, kind=kind, resolution=(NM, NM, NM))}"


def recorded(
    layer: str, stage: str, notes: list[dict[str, Any]], of: tuple[str, ...] = (), subset: Subset | None = None
) -> Run:
    """A finished run whose units, the cells, noted so, as a worker leaves it."""
    request, name = {"stage": stage, "version": 1}, subset.name if subset else ""
    found = records.new_run(request, layer, len(notes), subset=name)
    found = replace(found, span=len(notes))
    records.save(STORE, found, {"inputs": [{"url": url, "kind": "layer"} for url in of]})
    if subset:
        records.save_subset(STORE, found, subset)
    cells = Grid(BOUNDS, CELL)
    numbers = [subset.unit(n) if subset else n for n in range(len(notes))]
    for message in found.messages():
        lines = {
            n: {"unit": n, "what": str(cells[numbers[n]]), "notes": notes[n], "covers": [], "reads": [], "writes": []}
            for n in range(message.lo, message.hi)
        }
        records.write(STORE, message, lines)
    records.mark_finished(STORE, found)
    return found


def layer(path: Path, stage: str, of: tuple[str, ...] = (), **noted: list[float]) -> str:
    """A layer with the figures of one stage."""
    url = f"file://{path}"
    sizes: dict[str, Any] = {"bounds": BOUNDS, "resolution": (NM, NM, NM), "chunk": CELL}
    info = new_info(kind="image", dtype="uint8", channels=1, encoding="raw", **sizes)
    IO().create_layer(url, info)
    recorded(url, stage, [dict(zip(noted, values, strict=True)) for values in zip(*noted.values(), strict=True)], of)
    return url


def image(path: Path, planted: float = 0.0, seed: int = 1) -> str:
    return layer(path, "image create", membranes=figures(seed, planted), focus=figures(seed + 50))


def evidence(path: Path, of: str, planted: float = 0.0) -> str:
    return layer(path, "segment infer", (of,), mean=figures(2, planted), confidence=figures(3))


def pieces(path: Path, of: str, planted: float = 0.0) -> str:
    counts = [round(value) for value in figures(4, planted)]
    return layer(path, "segment watershed", (of,), supervoxels=[float(n) for n in counts], background=figures(5))


def chain(tmp_path: Path, *planted: float) -> Findings:
    """Three layers, the last one asked about."""
    first = image(tmp_path / "image", planted[0])
    second = evidence(tmp_path / "evidence", first, planted[1])
    return anomalies.find(STORE, pieces(tmp_path / "pieces", second, planted[2]), CORNER)


def names(nodes: list[anomalies.Node]) -> list[str]:
    return [node.layer.rpartition("/")[2] for node in nodes]


@pytest.mark.parametrize(
    ("planted", "parted", "roots"),
    [
        ((20, 20, 20), ["pieces", "evidence", "image"], ["image"]),
        ((0, 20, 20), ["pieces", "evidence"], ["evidence"]),
        ((0, 0, 20), ["pieces"], ["pieces"]),
        ((20, 0, 20), ["pieces", "image"], ["image"]),
        ((0, 0, 0), [], []),
    ],
)
def test_the_root_is_the_layer_furthest_up_that_parts(
    tmp_path: Path, planted: tuple[float, ...], parted: list[str], roots: list[str]
) -> None:
    found = chain(tmp_path, *planted)
    assert names(list(found.nodes)) == ["pieces", "evidence", "image"]
    assert names([node for node in found.nodes if found.parted(node)]) == parted
    assert names(found.roots) == roots
    said = "\n".join(anomaly_words.lines(found))
    assert ("nothing parts: 6 figures of 3 layers" in said) == (not roots)


def test_counts_are_told_by_volume_and_the_difference_in_words(tmp_path: Path) -> None:
    found = chain(tmp_path, 0, 0, 50)
    (worst,) = found.parted(found.nodes[0])
    assert worst.difference is not None
    inside, outside = worst.difference.means
    volume = 8**3 * NM**3 / 1e9
    assert inside * volume == pytest.approx(50, abs=3)
    assert outside * volume == pytest.approx(100, abs=3)
    assert f"root: {found.nodes[0].layer}: supervoxels per µm³" in "\n".join(anomaly_words.lines(found))
    assert "x 0.49, -8.9 sd" in anomaly_words.differs(worst)


def test_a_layer_that_two_were_made_of_comes_after_both_and_may_be_the_one_root(tmp_path: Path) -> None:
    first = image(tmp_path / "image", 20)
    one, other = evidence(tmp_path / "one", first, 20), evidence(tmp_path / "other", first)
    last = layer(tmp_path / "last", "segment watershed", (one, other, first), supervoxels=figures(9, 30))
    found = anomalies.find(STORE, last, CORNER)
    assert names(list(found.nodes)) == ["last", "one", "other", "image"]
    assert names(found.roots) == ["image"]
    assert names(found.above(found.nodes[0])) == ["one", "other", "image"]


def test_two_causes_are_both_named(tmp_path: Path) -> None:
    one, other = image(tmp_path / "one", 20), image(tmp_path / "other", 20, seed=7)
    last = layer(tmp_path / "last", "segment watershed", (one, other), supervoxels=figures(9, 30))
    assert names(anomalies.find(STORE, last, CORNER).roots) == ["one", "other"]


def test_layers_that_name_each_other_are_gone_through_once(tmp_path: Path) -> None:
    one = f"file://{tmp_path}/one"
    other = evidence(tmp_path / "other", one)
    layer(tmp_path / "one", "segment infer", (other,), mean=figures(1))
    assert names(list(anomalies.find(STORE, one, CORNER).nodes)) == ["one", "other"]


def test_a_silent_layer_is_said_to_be_so(tmp_path: Path) -> None:
    raw = f"file://{tmp_path}/raw"
    found = anomalies.find(STORE, evidence(tmp_path / "evidence", raw, 20), CORNER)
    said = "\n".join(anomaly_words.lines(found))
    assert f"silent  {raw}" in said
    assert f"{raw}, from which it came, keeps no figures: `igneous-ng image measure {raw}`" in said


def test_a_box_against_another(tmp_path: Path) -> None:
    url = evidence(tmp_path / "evidence", "file:///nowhere", 20)
    rest = Box((24, 24, 0), (48, 48, 32))
    assert names(anomalies.find(STORE, url, CORNER, rest).roots) == ["evidence"]
    assert not anomalies.find(STORE, url, Box((24, 0, 0), (48, 24, 32)), rest).roots
    with pytest.raises(SpecError, match="overlap; compare boxes"):
        anomalies.find(STORE, url, CORNER, Box((8, 8, 8), (32, 32, 32)))
    with pytest.raises(SpecError, match="holds no voxel"):
        anomalies.find(STORE, url, Box((8, 8, 8), (8, 9, 9)))


def test_units_count_by_how_much_of_them_lies_in_the_box(tmp_path: Path) -> None:
    url = evidence(tmp_path / "evidence", "file:///nowhere")
    region = anomalies.region(STORE, url, Box((4, 0, 0), (24, 16, 16)), None)
    (series, *_) = qualities.of_layer(STORE, url)
    sample = anomalies.sample(series, region)
    shares = {tuple(at): float(share) for at, share in zip(sample.at.tolist(), sample.inside, strict=True)}
    assert (shares[0, 0, 0], shares[1, 0, 0], shares[3, 0, 0]) == (0.5, 1, 0)
    assert sample.inside.sum() == 2.5 * 2 * 2
    assert (sample.inside + sample.outside == 1).all()


def test_the_newest_word_on_a_place_counts(tmp_path: Path) -> None:
    url = evidence(tmp_path / "evidence", "file:///nowhere", 20)
    first = next(iter(anomalies.ancestry(STORE, url)))
    runs = [one for one in (tmp_path / "evidence" / "runs").iterdir() if one.name[:2] == "20"]
    cells = Grid(BOUNDS, CELL)
    units = [n for n, cell in enumerate(cells) if (cell & CORNER).voxels]
    again = Subset.of_units(len(cells), [(n, (runs[0].name, n)) for n in units], "redo")
    recorded(first, "segment infer", [{"mean": 97.0 + n % 7} for n in range(len(units))], subset=again)
    assert not anomalies.find(STORE, url, CORNER).roots


@pytest.mark.parametrize(("off", "roots"), [(0.0, ["image"]), (4.0, ["alignment"])])
def test_an_alignment_is_compared_by_its_heat_map(tmp_path: Path, off: float, roots: list[str]) -> None:
    rng, home = np.random.default_rng(6), f"file://{tmp_path}/alignment"
    array = rng.uniform(1, 2, (6, 6, 4, 3)).astype(np.float32)
    array[:3, :3, :2, 0] += off
    array[5, 5] = -1
    sizes: dict[str, Any] = {"bounds": Box((0, 0, 0), (6, 6, 4)), "resolution": (80.0, 80.0, 80.0), "chunk": CELL}
    IO().create_layer(f"{home}/heat", new_info(kind="image", dtype="float32", channels=3, encoding="raw", **sizes))
    IO().write(IO().volume(f"{home}/heat", 0), sizes["bounds"], array)
    recorded(home, "align check", [{}])
    url = layer(tmp_path / "image", "image create", (home,), membranes=figures(1, 20))
    found = anomalies.find(STORE, url, CORNER)
    assert names(found.roots) == roots
    keys = [one.series.key for one in found.nodes[1].figures]
    assert keys == ["off", "gap", "strain"]
    assert np.isnan(found.nodes[1].figures[0].series.values).sum() == 4


def test_the_command_writes_maps_and_a_page(tmp_path: Path) -> None:
    found = chain(tmp_path, 20, 20, 20)
    asked = ["trace", found.nodes[0].layer, "--box", str(CORNER)]
    maps, page = tmp_path / "maps", tmp_path / "page.html"
    done = CliRunner().invoke(main, [*asked, "--maps", str(maps), "--report", str(page)])
    assert done.exit_code == 0, done.output
    assert f"root: {found.nodes[2].layer}: membrane contrast" in done.output
    text = page.read_text()
    assert text.count("<svg") == 12
    assert "root" in text
    (url,) = [one for one in maps.iterdir() if one.name.endswith("image.image-create.membranes")]
    volume = IO().volume(f"file://{url}", 0)
    array = IO().read(volume, volume.bounds)[..., 0]
    assert volume.bounds.shape == (6, 6, 4)
    assert volume.resolution == (80, 80, 80)
    assert array.ravel(order="F").tolist() == pytest.approx(figures(1, 20), rel=1e-6)
    told = json.loads(CliRunner().invoke(main, [*asked, "--json"]).stdout)
    assert told["roots"] == [found.nodes[2].layer]
    assert [one["parted"] for one in told["layers"]] == [True, True, True]


def test_a_grid_that_begins_within_a_voxel_as_large_as_a_unit_is_shown_in_finer_ones() -> None:
    assert quality_maps.times(40.0, 80.0) == 2
    assert quality_maps.times(-80.0 / 3, 80.0) == 3
    assert quality_maps.times(160.0, 80.0) == 1


@pytest.mark.parametrize("more", [["--maps", "x"], ["--box", "0:1,0:1,0:1", "--at", "0,0,0"]])
def test_options_that_do_not_go_together(more: list[str]) -> None:
    done = CliRunner().invoke(main, ["trace", "/nowhere", *more])
    assert done.exit_code == 2
    assert "--box" in done.output


def test_measuring_an_image_and_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grey = rng.integers(100, 110, (*BOUNDS.shape, 1)).astype(np.uint8)
    grey[:, ::6] -= 60
    grey[CORNER.slices()] = rng.integers(100, 110, (*CORNER.shape, 1))
    url = create(tmp_path / "grey", grey)
    before = sorted(path for path in (tmp_path / "grey").rglob("*") if "runs" not in path.parts)
    run.inline(ImageMeasure(layer=url, cell=CELL))
    assert sorted(path for path in (tmp_path / "grey").rglob("*") if "runs" not in path.parts) == before
    found = anomalies.find(STORE, url, CORNER)
    assert next(one.series.key for one in found.parted(found.nodes[0])) in ("membranes", "focus", "contrast")
    labels = np.zeros((*BOUNDS.shape, 1), np.uint64)
    labels[2:5, 2:5, 2:5], labels[5:12, 0:3, 0:3] = 7, 9
    seg = create(tmp_path / "seg", labels, "segmentation")
    run.inline(ImageMeasure(layer=seg, cell=CELL))
    known = {one.key: one.values[0] for one in qualities.of_layer(STORE, seg)}
    assert known["background"] == pytest.approx(1 - 54 / 512, rel=1e-5)
    assert known["labels"] == pytest.approx(2 / (512 * NM**3 / 1e9), rel=1e-6)
    assert (known["median"], known["enclosed"], known["missing"]) == (27, 0.5, 0)
