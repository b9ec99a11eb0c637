"""A transfer that was killed is continued by ``--missing`` to the same bytes, and does only what was not done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from igneous_ng import cli, records, run
from igneous_ng.records import Run
from igneous_ng.stages.image_transfer import Transfer
from igneous_ng.store import Store
from tests.layers import create

WORDS = ["--sharded", "--memory", "60000", "--encoding", "compressed_segmentation"]


def shards(layer: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in layer.glob("*/*.shard")}


def killed(old: Path, new: Path) -> int:
    """Kill a transfer and all its processes once something is written; how many shards are there then."""
    command = [sys.executable, "-m", "igneous_ng.cli", "image", "transfer", str(old), str(new), *WORDS]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and not any(new.glob("*/*.shard")):
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return len(shards(new))


def the_run(layer: Path) -> Run:
    (folder,) = (layer / "runs").glob("*T*")
    return records.load(Store(), f"file://{folder}")


def test_a_killed_transfer_is_continued_to_the_same_bytes(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 9, (128, 96, 64, 1)).astype("uint32")
    old = create(tmp_path / "old", labels, (3, -5, 7), (8, 8, 8), kind="segmentation")
    fields = {"sharded": True, "memory": 60_000, "encoding": ("compressed_segmentation",)}
    run.inline(Transfer(source=str(old), layer=f"{tmp_path}/whole", **fields))  # type: ignore[arg-type]
    expected = shards(tmp_path / "whole")
    for attempt in range(9):
        new = tmp_path / f"new-{attempt}"
        if 0 < killed(old, new) < len(expected):
            break
    else:
        pytest.fail("each transfer was over before it could be killed")
    assert not (new / "info").exists()
    before = records.done(Store(), the_run(new))
    done = CliRunner().invoke(cli.main, ["image", "transfer", str(old), str(new), *WORDS, "--missing"])
    assert done.exit_code == 0, done.output
    assert shards(new) == expected
    assert before < records.done(Store(), the_run(new)) == len(expected)
    assert (new / "info").read_bytes() == (tmp_path / "whole" / "info").read_bytes()
