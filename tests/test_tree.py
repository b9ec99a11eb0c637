"""The tree over leaves: each node once, the same sets for any fan, and memory that does not grow with the volume."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels.unions import Table
from igneous_ng.tree import Tree


@pytest.mark.parametrize("leaves", [(1, 1, 1), (4, 1, 4), (5, 3, 1), (9, 17, 2)])
@pytest.mark.parametrize("fan", [2, 4])
def test_every_node_has_one_parent(leaves: Vec3, fan: int) -> None:
    tree = Tree(leaves, fan, "mem://tree/a", ("sum",))
    assert tree.nodes(tree.top).voxels == 1
    assert tree.top == 1 or tree.nodes(tree.top - 1).voxels > 1
    for level in range(1, tree.top + 1):
        count = tree.nodes(level).voxels
        children = [
            (child, at) for at in (tree.at(level, i) for i in range(count)) for child in tree.children(level, at)
        ]
        below = tree.nodes(level - 1)
        assert sorted(child for child, _ in children) == sorted(
            vec(p) for p in itertools.product(*map(range, below.hi))
        )
        assert all(tree.parent(child) == at for child, at in children)


def leaf(at: Vec3, leaves: Vec3, strands: int) -> Table:
    """A leaf crossed by ``strands`` along each axis, each an element of its own; keys number them."""
    number = 1 + at[0] + leaves[0] * (at[1] + leaves[1] * at[2])
    keys = np.uint64(number * 3 * strands) + np.arange(3 * strands, dtype=np.uint64)
    owners, names = [np.zeros(0, np.uint64)], [np.zeros((0, 2), np.uint64)]
    step = 1
    for axis in range(3):
        own = keys[axis * strands : (axis + 1) * strands]
        for side in (-1, 1):
            if 0 <= at[axis] + side < leaves[axis]:
                other = own + np.uint64(3 * strands * step) if side > 0 else own - np.uint64(3 * strands * step)
                owners.append(own)
                names.append(np.sort(np.stack([own, other], axis=1), axis=1))
        step *= leaves[axis]
    return Table(keys, np.ones((len(keys), 1), np.int64), np.concatenate(owners), np.concatenate(names))


def climb(tree: Tree, strands: int) -> None:
    """All work of the tree, level by level."""
    for level in range(1, tree.top + 1):
        for index in range(tree.nodes(level).voxels):
            at = tree.at(level, index)
            below = tree.children(1, at) if level == 1 else []
            tree.join(IO(), level, at, [leaf(child, tree.leaves, strands) for child in below])
    for level in range(tree.top - 1, 0, -1):
        for index in range(tree.nodes(level).voxels):
            tree.spread(IO(), level, tree.at(level, index))


@pytest.mark.parametrize("fan", [2, 3, 4])
def test_strands_through_the_whole_grid_are_one_each(tmp_path: Path, fan: int) -> None:
    leaves, strands = (5, 2, 7), 3
    tree = Tree(leaves, fan, f"file://{tmp_path}", ("sum",))
    climb(tree, strands)
    for at in itertools.product(*map(range, leaves)):
        keys = leaf(vec(at), leaves, strands).keys
        roots, payload = tree.answer(IO(), tree.parent(vec(at))).of(keys)
        for axis in range(3):
            start = vec(0 if axis == a else n for a, n in enumerate(at))
            part = slice(axis * strands, (axis + 1) * strands)
            assert roots[part].tolist() == leaf(start, leaves, strands).keys[part].tolist()
            assert (payload[part, 0] == leaves[axis]).all()


def test_what_is_missing_or_one_sided_is_an_error(tmp_path: Path) -> None:
    tree = Tree((5, 1, 1), 4, f"file://{tmp_path}", ("sum",))
    with pytest.raises(DataError, match="level below"):
        tree.join(IO(), 2, (0, 0, 0))
    with pytest.raises(SpecError, match="levels 1 to 2"):
        tree.check(3, tree.top)
    with pytest.raises(SpecError, match="no level at all"):
        tree.check(1, 0)
    alone = Tree((1, 1, 1), 4, f"file://{tmp_path}", ("sum",))
    with pytest.raises(DataError, match="one end only"):
        alone.join(IO(), 1, (0, 0, 0), [leaf((0, 0, 0), (2, 1, 1), 1)])


MEASURE = """
import sys, json
from pathlib import Path
from tests.test_tree import climb
from igneous_ng.tree import Tree
def resident(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))
climb(Tree((2, 2, 2), 4, f"file://{sys.argv[1]}/warm", ("sum",)), 10)
Path("/proc/self/clear_refs").write_text("5")
climb(Tree((4, 4, int(sys.argv[2])), 4, f"file://{sys.argv[1]}/{sys.argv[2]}", ("sum",)), 1000)
print(json.dumps(resident("VmHWM")))
"""


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
def test_ten_times_the_labels_take_the_same_memory(tmp_path: Path) -> None:
    peaks = [
        json.loads(subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path), str(length)], capture_output=True,
                                  text=True, check=True, cwd=Path(__file__).parent.parent).stdout)
        for length in (16, 160)
    ]  # fmt: skip
    print(peaks)  # noqa: T201 - shown with -s
    assert peaks[1] < 1.2 * peaks[0]
