"""The command line as a newcomer meets it: help, exit codes, refusals that leave nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

CLI = [sys.executable, "-m", "igneous_ng.cli"]


def igneous(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CLI, *words], capture_output=True, text=True, check=False, cwd=cwd)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    np.save(tmp_path / "labels.npy", np.random.default_rng(0).integers(0, 5, (40, 30, 20), np.uint32))
    done = igneous(
        "image", "create", "labels.npy", "seg", "--axes", "xyz", "--kind", "segmentation",
        "--resolution", "3.58,4,40", "--offset", "-10,0,5", "--chunk", "16,16,16", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1 tasks done" in done.stdout
    return tmp_path / "seg"


def test_help_lists_every_stage_and_says_the_exit_codes() -> None:
    shown = igneous("--help")
    assert shown.returncode == 0
    for name in ("image create", "image downsample", "mesh forge", "mesh merge", "execute", "view"):
        assert name in shown.stdout
    assert "75 preempted" in shown.stdout


def test_a_relative_path_and_a_fractional_resolution_are_kept(layer: Path) -> None:
    from cloudvolume import CloudVolume

    volume = CloudVolume(f"file://{layer}", progress=False)
    assert list(volume.resolution) == [3.58, 4, 40]
    assert list(volume.voxel_offset) == [-10, 0, 5]
    np.testing.assert_array_equal(volume[:][..., 0], np.load(layer.parent / "labels.npy"))


WRONG = {
    "unknown encoding": (["image", "downsample", "seg", "--encoding", "jpgg"], "'jpgg'"),
    "unfit encoding": (["image", "downsample", "seg", "--encoding", "jpeg"], "compressed_segmentation"),
    "factor": (["image", "downsample", "seg", "--factor", "1,1,1"], "must shrink"),
    "type": (["image", "downsample", "seg", "--mip", "one"], "--mip"),
    "no such mip": (["image", "downsample", "seg", "--mip", "7"], "no mip 7"),
    "another pyramid": (
        ["image", "create", "labels.npy", "seg", "--axes", "xyz"],
        "another layer is already here",
    ),
    "resolution": (
        ["image", "create", "labels.npy", "new", "--axes", "xyz", "--resolution", "4e9,4,4"],
        "implausible",
    ),
    "axes": (["image", "create", "labels.npy", "new", "--axes", "xyzc"], "axes"),
    "scheme": (["image", "downsample", "ftp://somewhere/seg"], "ftp"),
    "queue": (["image", "downsample", "seg", "--queue", "kafka://x"], "fq://"),
    "memory": (["image", "downsample", "seg", "--memory", "1000"], "more --memory"),
    "option": (["image", "downsample", "seg", "--mips", "3"], "No such option"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_request_exits_with_2_and_changes_nothing(layer: Path, case: str) -> None:
    words, said = WRONG[case]
    before = tree(layer.parent)
    done = igneous(*words, cwd=layer.parent)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert tree(layer.parent) == before


def test_planning_shows_readers_nothing_new(layer: Path) -> None:
    before = tree(layer)
    dry = igneous("image", "downsample", "seg", "--num-mips", "2", "--dry-run", cwd=layer.parent)
    assert dry.returncode == 0
    assert "nothing was written" in dry.stderr
    assert tree(layer) == before
    queued = igneous("image", "downsample", "seg", "--queue", "fq://queue", cwd=layer.parent)
    assert queued.returncode == 0, queued.stderr
    assert "igneous-ng execute fq://queue" in queued.stdout
    assert (layer / "info").read_bytes() == before["info"]
    counted = igneous("queue", "status", "fq://queue", cwd=layer.parent)
    assert "waiting 1" in counted.stdout
    assert igneous("execute", "fq://queue", cwd=layer.parent).returncode == 0
    assert (layer / "info").read_bytes() != before["info"]
    (run,) = [p for p in (layer / "runs").iterdir() if b"downsample" in (p / "run.json").read_bytes()]
    assert "1 of 1 units recorded, finished" in igneous("status", str(run)).stdout


def test_dead_letters_are_shown_retried_and_purged(layer: Path) -> None:
    chunk = next((layer / "3.58_4_40").glob("*.gz"))
    data = chunk.read_bytes()
    chunk.write_bytes(data[: len(data) // 2])
    igneous("image", "downsample", "seg", "--queue", "fq://queue", cwd=layer.parent)
    failed = igneous("execute", "fq://queue", cwd=layer.parent)
    assert failed.returncode == 1
    assert "gz stream" in failed.stderr
    assert "gz stream" in igneous("queue", "dead", "fq://queue", cwd=layer.parent).stdout
    chunk.write_bytes(data)
    assert "1 messages" in igneous("queue", "retry", "fq://queue", cwd=layer.parent).stdout
    assert igneous("execute", "fq://queue", cwd=layer.parent).returncode == 0
    assert igneous("queue", "purge", "fq://queue", "--yes", cwd=layer.parent).returncode == 0
