"""The demo's figures from what `eval` leaves, its floors, and its report, from canned files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from igneous_ng.cli.root import main
from igneous_ng.demo import figures, report, whole
from igneous_ng.demo.costs import Cost
from igneous_ng.demo.course import MEASURES, PIPELINE, SPECIMEN, Course
from igneous_ng.demo.figures import BOUNDS, Figure
from igneous_ng.demo.sights import Sight
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import swc
from tests.layers import create

LEVEL = {"precision": 0.5, "recall": 0.75, "f1": 0.6, "threshold": 0}
SPREAD = {"count": 9, "p50": 0.25, "p95": 0.75, "max": 1.0}


def put(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def canned(folder: Path) -> Path:
    """What a demo leaves of its measures: two sections of one tile each, one neuron, one synapse."""
    tiles = [
        {"row": 0, "col": 1, "fault": "truncated", "files": ["a"]},
        {"row": 1, "col": 0, "fault": "lost", "files": []},
        {"row": 1, "col": 1, "fault": "duplicate", "files": ["b", "c"]},
        {"row": 0, "col": 0, "fault": "", "files": ["d"]},
    ]
    put(folder / "tiles/truth/z000003.json", {"z": 3, "tiles": tiles})
    rows = [
        {"z": 3, "code": "corrupt", "tile": "z000003/z000003_r000_c001_t"},
        {"z": 3, "code": "missing", "tile": ""},
        {"z": 3, "code": "tone", "tile": "z000003/z000003_r000_c000_t"},
    ]
    (folder / "montage/findings").mkdir(parents=True)
    (folder / "montage/findings/z000003.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "montage/findings/sections.jsonl").write_text("")
    score = {"tiles": 2, "position_rms": 0.3, "position_max": 0.4, "matches": 4, "wrong": 0, "overlap": {"p95": 0.2}}
    put(folder / "montage/scores/z000003.json", score)
    put(folder / "montage/scores/z000004.json", {**score, "tiles": 6, "position_rms": 0.5, "overlap": {}})
    both = {"all": SPREAD, "elsewhere": SPREAD}
    sections = {"3": {"fault": "", "count": 0}, "4": {"fault": "", **SPREAD}}
    raw = {"shown": 2, "neighbour": both, "absolute": both, "sections": sections}
    put(folder / "alignment/scores/2/scores.json", raw)
    put(folder / "alignment/checks/z000003.json", {"correlation": None, "misaligned": 0.1})
    one = {"voi": 1.5, "voi_split": 1.0, "voi_merge": 0.5, "arand": 0.2}
    put(folder / "scores/segmentation/scores.json", {"one": one, "objects": 3, "segments": 4})
    runs = {"expected": 600.0, "possible": 1000.0, "normalized": 0.6, "skeletons": 1}
    put(folder / "scores/skeletons/run_lengths.json", runs)
    put(folder / "scores/clefts/clefts.json", {"f1": 0.7, "false": 1, "found": 9, "missed": 2, "truth": 8})
    put(folder / "scores/synapses/scores.json", {"detection": [LEVEL], "partners": [LEVEL]})
    edges = {"recall": 0.5, "recall_either_way": 0.75, "found": 2, "true": 4, "right": 2, "edges": 5, "turned": 1}
    put(folder / "scores/graph/edges.json", edges)
    skeletons(folder)
    return folder


def skeletons(folder: Path) -> None:
    """Two segments side by side; one has a skeleton, of its lower half."""
    labels = np.full((10, 10, 40, 1), 7, np.uint64, "F")
    labels[5:] = 8
    create(folder / "segmentation", labels, (0, 0, 0), (64, 64, 64), resolution=(10.0, 10.0, 10.0), kind="segmentation")
    info = json.loads((folder / "segmentation/info").read_text())
    put(folder / "segmentation/info", {**info, "skeletons": "skeletons"})
    put(folder / "segmentation/skeletons/info", {"@type": "neuroglancer_skeletons"})
    made = np.array([[20.0, 50.0, z] for z in range(0, 200, 10)])
    (folder / "segmentation/skeletons/7").write_bytes(
        np.array([len(made), len(made) - 1], "<u4").tobytes()
        + made.astype("<f4").tobytes()
        + np.array([[n, n + 1] for n in range(len(made) - 1)], "<u4").tobytes()
    )
    for name, x in (("1", 20.0), ("2", 80.0)):
        true = np.array([[x, 50.0, z] for z in range(5, 400, 10)])
        edges = np.array([[n, n + 1] for n in range(len(true) - 1)])
        (folder / "truth/skeletons").mkdir(parents=True, exist_ok=True)
        data = swc.encode(true, edges, np.ones(len(true)), np.full(len(true), 3))
        (folder / f"truth/skeletons/{name}.swc").write_bytes(data)


def test_figures_are_what_eval_left(tmp_path: Path) -> None:
    found = {one.key: one for one in figures.measured(canned(tmp_path))}
    assert found.keys() == BOUNDS["normal"].keys() == BOUNDS["small"].keys()
    assert found["faults"].value == pytest.approx(2 / 3)  # the tile that was taken twice was not told
    assert found["faults"].detail == "2 of 3"
    assert found["tile_error"].value == pytest.approx(((0.09 * 2 + 0.25 * 6) / 8) ** 0.5)
    assert found["overlap_error"].value == 0.2
    values = [found[key].value for key in ("neighbour_error", "neighbour_p95", "voi", "arand", "run_length")]
    assert values == [0.25, 0.75, 1.5, 0.2, 0.6]
    values = [found[key].value for key in ("cleft_voxels", "cleft_f1", "partner_f1", "edges_found", "edges_either_way")]
    assert values == [0.7, 0.6, 0.6, 0.5, 0.75]


def test_an_axis_is_covered_by_the_skeleton_of_its_own_segment_alone(tmp_path: Path) -> None:
    found = {one.key: one for one in figures.measured(canned(tmp_path))}
    lower = sum(z < 190 + 150 for z in range(5, 400, 10))  # of the first; the second has no skeleton
    assert found["coverage"].value == pytest.approx(lower / 80)
    assert found["coverage"].detail == "80 nodes"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    canned(tmp_path)
    (tmp_path / "scores/graph/edges.json").unlink()
    with pytest.raises(DataError, match=r"edges.json: cannot be read"):
        figures.measured(tmp_path)


def test_below_a_floor_is_said_with_the_layer_and_the_floor() -> None:
    bounds = {"voi": (2.0, True), "cleft_f1": (0.5, False)}
    good = [Figure("voi", "segmentation", "VOI", 2.0), Figure("cleft_f1", "synapses", "F1", 0.5)]
    assert figures.failed(good, bounds) == []
    bad = [dataclasses.replace(good[0], value=2.1), dataclasses.replace(good[1], value=0.25)]
    assert figures.failed(bad, bounds) == [
        "segmentation: VOI is 2.1, and must be at most 2",
        "synapses: F1 is 0.25, and must be at least 0.5",
    ]
    assert figures.failed([dataclasses.replace(good[1], value=float("nan"))], bounds)  # nothing was measured


def told(value: float) -> report.Told:
    return report.Told(
        figures=[Figure("voi", "segmentation", "variation <of> information", value, "bits", "split 1, merge 2")],
        bounds={"voi": (2.0, True)},
        costs=[
            Cost("segment infer", "evidence", 4, 12.5, 7.0, 300_000_000, 1.0),
            Cost("mesh forge", "seg", 1, 2.5, 2.0, 90_000_000, 2.0),
        ],
        sights=[Sight("segmentation", "what was found", np.zeros((4, 5, 3), np.uint8)),
                Sight("alignment", "a cut", np.zeros((4, 5), np.uint8))],
        plots={"Tiles": ("error, px", [0.5, float("nan"), 1.0])},
        look="igneous-ng view volume", screenshot="screenshot.png", wall_seconds=130.0,
    )  # fmt: skip


def test_the_report_tells_all() -> None:
    page = report.draw(told(1.5)).decode()
    for words in (
        "variation &lt;of&gt; information", "1.500 bits", "at most 2", "all layers are above their floors",
        "igneous-ng view volume", 'src="screenshot.png"', "what was found", "a cut", "segment infer", "12.5", "90 MB",
        "2 min 10 s of this command; 15 s of processor time", "about 7.5 s on two quiet cores", "at most 300 MB",
    ):  # fmt: skip
        assert words in page, words
    assert page.count("data:image/jpeg;base64,") == 2
    assert "below the floor" not in page


def test_the_report_says_what_is_below_its_floor_and_what_is_not_there() -> None:
    page = report.draw(dataclasses.replace(told(2.5), screenshot="", costs=[], sights=[], plots={})).decode()
    assert "below the floor" in page
    assert "segmentation: variation &lt;of&gt; information is 2.5, and must be at most 2" in page
    assert "chromium and chromedriver are not installed" in page


def test_the_command_fails_with_what_is_below_its_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Course] = []

    def carried_out(course: Course, _: Any) -> list[str]:
        asked.append(course)
        return ["graph: edges found is 0, and must be at least 0.1"] * (course.size == "small")

    monkeypatch.setattr(whole, "carried_out", carried_out)
    good = CliRunner().invoke(main, ["demo", str(tmp_path / "a")])
    assert (good.exit_code, good.output) == (0, "")
    bad = CliRunner().invoke(main, ["demo", str(tmp_path / "a"), "--size", "small", "-p", "3"])
    assert bad.exit_code == 1
    assert "Error: graph: edges found is 0, and must be at least 0.1" in bad.output
    assert asked == [Course(tmp_path / "a", "normal", 2), Course(tmp_path / "a", "small", 3)]


def test_recipes_are_whole_and_follow_the_size(tmp_path: Path) -> None:
    course = Course(tmp_path / "demo", "small", 2)
    course.lay_out()
    names = {name: [step.name for step in course.recipe(name).steps] for name in (SPECIMEN, PIPELINE, MEASURES)}
    assert names[SPECIMEN] == ["tissue", "sections", "tiles"]
    assert names[PIPELINE][0] == "plan"
    assert {"mosaic", "volume", "relabel", "meshes", "skeletons", "clefts", "graph"} < set(names[PIPELINE])
    tissue = {size: vars(Course(tmp_path / "demo", size, 2).recipe(SPECIMEN).steps[0].stage)["shape"]
              for size in ("normal", "small")}  # fmt: skip
    assert tissue["small"] < tissue["normal"]
    course.lay_out()  # again, as who goes on does
    whole_of_it = {step.name: step.after for step in course.whole().steps}
    assert len(whole_of_it) == sum(map(len, names.values()))
    assert whole_of_it["plan"] == ("specimen tissue", "specimen sections", "specimen tiles")
    assert {"graph", "volume"} < set(whole_of_it["measure truth"])
    assert "measure truth" in whole_of_it["measure segmentation"]


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(SpecError, match="is no folder of a demo"):
        Course(tmp_path, "small", 2).lay_out()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
