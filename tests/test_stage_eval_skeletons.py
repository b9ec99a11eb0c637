"""Run lengths of cases worked by hand, from layers and SWC files, whatever the cells and parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner

from igneous_ng import cli, run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import skeleton, swc
from igneous_ng.io import IO
from igneous_ng.kernels.run_lengths import Runs
from igneous_ng.stages.eval_skeletons import EvalSkeletons, Nodes, RunLengths
from tests.layers import create

Array = npt.NDArray[Any]
LO = (-4, 2, 0)
STEP = 10.0  # nm: a voxel


def line(row: int, nodes: int = 11, first: int = 0) -> tuple[Array, Array]:
    """A straight skeleton along x in a row of voxels of y, a node in the middle of each voxel."""
    at = np.stack([np.arange(first, first + nodes), np.full(nodes, row), np.zeros(nodes)], axis=1)
    points = (at + LO + 0.5) * STEP
    return points, np.stack([np.arange(nodes - 1), np.arange(1, nodes)], axis=1)


def layer(folder: Path, array: Array) -> str:
    return str(create(folder / "segments", array[..., None], LO, resolution=(STEP,) * 3, kind="segmentation"))


def written(folder: Path, *trees: tuple[Array, Array]) -> str:
    """SWC files."""
    (folder / "swc").mkdir(exist_ok=True)
    for n, (points, edges) in enumerate(trees):
        ones = np.ones(len(points))
        (folder / "swc" / f"cell {n}.swc").write_bytes(swc.encode(points, edges, ones, ones.astype(int)))
    return f"{folder}/swc"


def measured(segments: str, skeletons: str, out: Path, **fields: Any) -> dict[str, Any]:
    for stage in EvalSkeletons(segmentation=segments, skeletons=skeletons, out=str(out), **fields).steps(IO()):
        run.inline(stage)
    found: dict[str, Any] = json.loads((out / "run_lengths.json").read_text())
    return found


def edges(found: dict[str, Any]) -> list[tuple[int, float]]:
    return [(found[kind]["edges"], found[kind]["nm"]) for kind in ("correct", "split", "merged", "omitted")]


def test_a_split_makes_two_runs(tmp_path: Path) -> None:
    segments = np.ones((11, 3, 1), np.uint32)
    segments[5:] = 2
    found = measured(layer(tmp_path, segments), written(tmp_path, line(0)), tmp_path / "out")
    assert edges(found) == [(9, 90), (1, 10), (0, 0), (0, 0)]
    assert found["expected"] == (40**2 + 50**2) / 100
    assert (found["possible"], found["normalized"]) == (100, 0.41)


def test_voids_omit_edges_and_a_segment_that_comes_back_is_one_run(tmp_path: Path) -> None:
    segments = np.ones((11, 3, 1), np.uint32)
    segments[5] = 0
    found = measured(layer(tmp_path, segments), written(tmp_path, line(0)), tmp_path / "out")
    assert edges(found) == [(8, 80), (0, 0), (0, 0), (2, 20)]
    assert found["expected"] == 80**2 / 100


@pytest.mark.long
def test_a_merger_leaves_no_run_and_few_nodes_are_none(tmp_path: Path) -> None:
    segments = np.ones((11, 3, 1), np.uint64)
    segments[:, 1:] = 2**60
    segments[0, 1] = 1  # one node of the second lies in the segment of the first
    one, skeletons = layer(tmp_path, segments), written(tmp_path, line(0), line(1))
    found = measured(one, skeletons, tmp_path / "strict")
    assert edges(found) == [(9, 90), (1, 10), (10, 100), (0, 0)]
    assert found["expected"] == 90**2 / 200
    assert [skeleton["name"] for skeleton in found["worst"]] == ["cell 0", "cell 1"]
    found = measured(one, skeletons, tmp_path / "lenient", merged=2)
    assert edges(found) == [(19, 190), (1, 10), (0, 0), (0, 0)]
    assert found["expected"] == (100**2 + 90**2) / 200


def test_nodes_outside_lie_in_no_segment(tmp_path: Path) -> None:
    found = measured(
        layer(tmp_path, np.ones((6, 3, 1), np.uint32)), written(tmp_path, line(0, first=-2)), tmp_path / "out"
    )
    assert edges(found) == [(5, 50), (0, 0), (0, 0), (5, 50)]


def bent(seed: int, nodes: int = 60) -> tuple[Array, Array]:
    """A random tree inside and around the volume."""
    rng = np.random.default_rng(seed)
    points = (rng.uniform(-2, [22, 19, 15], (nodes, 3)) + LO) * STEP
    parents = np.array([rng.integers(0, n) for n in range(1, nodes)])
    return np.round(points, 1), np.stack([parents, np.arange(1, nodes)], axis=1)


def defined(array: Array, trees: list[tuple[Array, Array]], least: int) -> tuple[float, list[int]]:
    """Expected run length and edges by kind, edge by edge."""
    nodes = [[looked_up(array, p) for p in points] for points, _ in trees]
    merging = {s for s in np.unique(array).tolist() if s and sum(n.count(s) >= least for n in nodes) > 1}
    kinds, squares, total = [0, 0, 0, 0], 0.0, 0.0
    for of, (points, pairs) in zip(nodes, trees, strict=True):
        runs: dict[int, float] = {}
        for a, b in pairs:
            length = float(np.linalg.norm(points[a] - points[b]))
            total += length
            kind = 3 if 0 in (of[a], of[b]) else 1 if of[a] != of[b] else 2 if of[a] in merging else 0
            kinds[kind] += 1
            if kind == 0:
                runs[of[a]] = runs.get(of[a], 0) + length
        squares += sum(run**2 for run in runs.values())
    return squares / total, kinds


def looked_up(array: Array, point: Array) -> int:
    at = np.floor(point / STEP).astype(int) - LO
    inside = (at >= 0).all() and (at < array.shape).all()
    return int(array[tuple(at)]) if inside else 0


@pytest.mark.long
@pytest.mark.parametrize(("seed", "least"), [(0, 1), (1, 3), (2, 9)])
def test_any_cells_and_parts_and_both_forms_give_the_same_bytes(tmp_path: Path, seed: int, least: int) -> None:
    rng = np.random.default_rng(seed)
    array = np.kron(rng.integers(0, 9, (3, 3, 2)), np.ones((7, 6, 7))).astype(np.uint32)
    trees = [bent(seed + n) for n in range(4)]
    one, files = layer(tmp_path, array), written(tmp_path, *trees)
    chosen: list[dict[str, Any]] = [{}, {"parts": 1, "cell": (4, 4, 4)}, {"parts": 65, "cell": (8, 4, 12)}]
    for n, fields in enumerate(chosen):
        found = measured(one, files, tmp_path / str(n), merged=least, **fields)
    expected, kinds = defined(array, trees, least)
    assert [count for count, _ in edges(found)] == kinds
    assert found["expected"] == pytest.approx(expected, abs=1e-3)
    bytes_ = {(tmp_path / str(n) / "run_lengths.json").read_bytes() for n in range(3)}
    assert len(bytes_) == 1
    told = in_layer(tmp_path / "made", trees)
    again = measured(one, told, tmp_path / "layer", merged=least)
    assert np.array(edges(again)) == pytest.approx(np.array(edges(found)), abs=0.1)
    assert again["expected"] == pytest.approx(found["expected"], abs=1e-2)


def in_layer(folder: Path, trees: list[tuple[Array, Array]]) -> str:
    """The trees as the skeletons of a layer."""
    io, url = IO(), f"file://{create(folder, np.ones((4, 4, 4, 1), np.uint32), (0, 0, 0), kind='segmentation')}"
    io.edit_info(url, skeletons="bones")
    io.put_json(f"{url}/bones/info", skeleton.info(0, ()))
    for n, (points, pairs) in enumerate(trees):
        io.put(f"{url}/bones/{1000 + n}", skeleton.encode(skeleton.Graph(points, pairs.astype(np.uint32), {})))
    return url


def test_sums_add_up_exactly() -> None:
    long = Runs(skeletons=1, correct=10**9, correct_length=10**15, runs_square=10**30, whole_square=10**30)
    many = sum([long] * 1000, Runs())
    assert (many.expected, many.possible, many.length) == (10**12, 10**12, 10**18)
    assert Runs().expected == 0


def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    one, skeletons, out = layer(tmp_path, np.ones((11, 3, 1), np.uint32)), written(tmp_path, line(0)), f"{tmp_path}/out"
    with pytest.raises(SpecError, match="at least 1"):
        Nodes(segmentation=one, skeletons=skeletons, out=out, merged=0)
    with pytest.raises(DataError, match="has not finished|overlaps are missing"):
        run.inline(RunLengths(segmentation=one, skeletons=skeletons, out=out))
    with pytest.raises(DataError, match="names no skeletons"):
        run.plan(Nodes(segmentation=one, skeletons=one, out=out))
    with pytest.raises(Exception, match="no skeletons are here"):
        run.inline(Nodes(segmentation=one, skeletons=f"{tmp_path}/segments/10_10_10", out=out))
    with pytest.raises(SpecError, match="levels 0 to 1"):
        run.plan(Nodes(segmentation=one, skeletons=skeletons, out=out, level=2))
    with pytest.raises(SpecError, match="evaluated otherwise"):
        run.inline(Nodes(segmentation=one, skeletons=skeletons, out=out))


def test_it_is_a_command(tmp_path: Path) -> None:
    one, skeletons = layer(tmp_path, np.ones((11, 3, 1), np.uint32)), written(tmp_path, line(0))
    done = CliRunner().invoke(cli.main, ["eval", "skeletons", one, skeletons, f"{tmp_path}/out"])
    assert done.exit_code == 0, done.output
    assert "expected run length 0.10 um of 0.10 (100.0%)" in done.output
