"""The command line as a newcomer meets it: help, exit codes, refusals that leave nothing behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from igneous_ng import run
from igneous_ng.cli import main
from igneous_ng.cli.fields import Duration, Size
from igneous_ng.worker.policy import Policy

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
    assert "1 task done" in done.stdout
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
    "priority": (["image", "downsample", "seg", "--queue", "fq://q", "--priority", "urgent"], "'urgent'"),
    "missing": (["image", "downsample", "seg", "--missing"], "ask without --missing to begin one"),
    "missing, queued": (["image", "downsample", "seg", "--queue", "fq://q", "--missing"], "ask without --missing"),
    "size": (["execute", "fq://q", "--memory", "8 apples"], "'8 apples' is no size"),
    "time": (["execute", "fq://q", "--time-limit", "0"], "'0' is no time"),
    "no queue": (["execute", "fq://q"], "there is no queue at fq://"),
    "log": (["execute", "fq://q", "--log", "nowhere/log"], "nowhere/log: cannot be written"),
    "metrics": (["execute", "fq://q", "--metrics", "nowhere/figures"], "cannot be written"),
    "unit": (["status", "seg", "--unit", "7"], "this run has the units 0 to 0"),
    "pausing what is finished": (["pause", "seg"], "is finished; only a run that goes on can be paused"),
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


@pytest.mark.long
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
    assert "waiting  1" in counted.stdout
    assert igneous("execute", "fq://queue", cwd=layer.parent).returncode == 0
    assert (layer / "info").read_bytes() != before["info"]
    (ran,) = [p for p in (layer / "runs").glob("*T*") if b"downsample" in (p / "run.json").read_bytes()]
    for where in ([str(ran)], [str(layer)], [str(layer), ran.name]):
        shown = igneous("status", *where).stdout
        assert "state   finished" in shown
        assert "1 of 1 unit (100.0 %)" in shown
    assert json.loads(igneous("status", str(ran), "--json").stdout)["state"] == "finished"
    one = igneous("status", str(layer), "--unit", "0").stdout
    assert "state    done" in one
    assert "1 reads" in one
    priced = json.loads(igneous("status", str(layer), "--json", "--price", "3600").stdout)
    assert priced["cost"] == pytest.approx(priced["work"]["cpu_seconds"])
    assert priced["cost"] > 0


def test_dead_letters_are_shown_retried_and_purged(layer: Path) -> None:
    chunk = next((layer / "3.58_4_40").glob("*.gz"))
    data = chunk.read_bytes()
    chunk.write_bytes(data[: len(data) // 2])
    igneous("image", "downsample", "seg", "--queue", "fq://queue", cwd=layer.parent)
    failed = igneous("execute", "fq://queue", "--log", "log", "--metrics", "figures", cwd=layer.parent)
    assert failed.returncode == 1
    assert "given up: image downsample unit 0" in failed.stderr
    assert "whole gzip stream" in failed.stderr
    (line,) = (layer.parent / "log").read_text().splitlines()
    assert json.loads(line)["outcome"] == "dead"
    assert "igneous_ng_dead_total" in (layer.parent / "figures").read_text()
    shown = igneous("queue", "dead", "ls", "fq://queue", cwd=layer.parent).stdout
    assert "whole gzip stream" in shown
    (letter,) = json.loads(igneous("queue", "dead", "ls", "fq://queue", "--json", cwd=layer.parent).stdout)
    assert letter["id"] in shown
    whole = igneous("queue", "dead", "show", "fq://queue", letter["id"], cwd=layer.parent).stdout
    assert "image downsample unit 0 of file://" in whole
    assert "whole gzip stream" in whole
    chunk.write_bytes(data)
    for words in (["show", "fq://queue", "nothing"], ["retry", "fq://queue", "nothing"]):
        refused = igneous("queue", "dead", *words, cwd=layer.parent)
        assert refused.returncode == 2
        assert "has no dead letter nothing" in refused.stderr
    retried = igneous("queue", "dead", "retry", "fq://queue", letter["id"], cwd=layer.parent)
    assert "1 message put back" in retried.stdout
    assert "there are no dead letters" in igneous("queue", "dead", "ls", "fq://queue", cwd=layer.parent).stdout
    assert igneous("execute", "fq://queue", cwd=layer.parent).returncode == 0
    assert igneous("queue", "purge", "fq://queue", "--yes", cwd=layer.parent).returncode == 0


@pytest.mark.long
def test_the_same_command_again_continues_and_runs_are_steered(layer: Path) -> None:
    words = ["image", "downsample", "seg", "--queue", "fq://queue"]
    igneous(*words, cwd=layer.parent)
    again = igneous(*words, cwd=layer.parent)
    assert "continuing run" in again.stdout
    assert "0 messages put" in again.stdout
    assert json.loads(igneous("queue", "status", "fq://queue", "--json", cwd=layer.parent).stdout)["waiting"] == 1
    assert "is paused" in igneous("pause", str(layer)).stdout
    assert "paused; igneous-ng resume" in igneous("status", str(layer)).stdout
    assert "goes on" in igneous("resume", str(layer)).stdout
    assert "is cancelled" in igneous("cancel", str(layer)).stdout
    refused = igneous("resume", str(layer))
    assert refused.returncode == 2
    assert "igneous-ng image downsample ... --missing" in refused.stderr
    here = igneous("image", "downsample", "seg", "--missing", cwd=layer.parent)
    assert here.returncode == 0, here.stderr
    assert "state   finished" in igneous("status", str(layer)).stdout


@pytest.mark.long
def test_clean_says_what_it_would_remove_and_then_removes_it(layer: Path) -> None:
    igneous("mesh", "forge", "seg", cwd=layer.parent)
    igneous("mesh", "merge", "seg", cwd=layer.parent)
    before = tree(layer)
    dry = igneous("clean", "seg", "--dry-run", cwd=layer.parent).stdout
    assert f"would remove from file://{layer}/mesh/fragments: intermediates of mesh merge" in dry
    assert "nothing was removed" in dry
    assert tree(layer) == before
    assert "removed from" in igneous("clean", "seg", cwd=layer.parent).stdout
    assert not (layer / "mesh" / "fragments").exists()
    assert "0 bytes in all" in igneous("clean", "seg", cwd=layer.parent).stdout


def test_watching_ends_with_the_run(layer: Path) -> None:
    igneous("image", "downsample", "seg", "--queue", "fq://queue", cwd=layer.parent)
    watching = subprocess.Popen(
        [*CLI, "status", str(layer), "--json", "--watch=0.2"], stdout=subprocess.PIPE, text=True
    )
    assert watching.stdout is not None
    assert json.loads(watching.stdout.readline())["state"] == "waiting"
    igneous("execute", "fq://queue", cwd=layer.parent)
    rest = watching.communicate(timeout=30)[0].splitlines()
    assert json.loads(rest[-1])["state"] == "finished"
    assert watching.returncode == 0


def test_watching_a_queue_ends_quietly_when_interrupted(layer: Path) -> None:
    igneous("image", "downsample", "seg", "--queue", "fq://queue", cwd=layer.parent)
    watching = subprocess.Popen(
        [*CLI, "queue", "status", "fq://queue", "--watch=0.1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=layer.parent,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs begin deaf to it
    )  # fmt: skip
    assert watching.stdout is not None
    assert watching.stdout.readline() == "  waiting  1\n"
    watching.send_signal(signal.SIGINT)
    assert "Traceback" not in watching.communicate(timeout=30)[1]
    assert watching.returncode == 0


# Values on the command line.


@pytest.mark.parametrize(
    ("text", "size"),
    [("500", 500), ("8G", 8 * 10**9), ("1.5M", 1_500_000), ("2Ki", 2048), ("3GiB", 3 * 2**30), ("4 TB", 4 * 10**12)],
)
def test_sizes(text: str, size: int) -> None:
    assert Size().convert(text, None, None) == size


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86400)])
def test_durations(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "G", "-1", "0", "8g", "8GG", "1e9", "nan", "2 h h"])
def test_what_is_no_size_and_no_duration(text: str) -> None:
    for kind in (Size(), Duration()):
        with pytest.raises(click.BadParameter):
            kind.convert(text, None, None)


def test_the_options_of_execute_make_its_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(run, "execute", lambda queue, policy, sink: seen.append((queue, policy)))
    words = ["execute", "fq://q", "-p", "3", "--memory", "8G", "--time-limit", "2h", "--gpus", "0,1", "--lease", "1m"]
    done = CliRunner().invoke(main, [*words, "--wait", "--speculate", "--root", "s3://b/a/", "--root", "/x"])
    assert done.exit_code == 0, done.output
    ((queue, policy),) = seen
    assert queue == "fq://q"
    assert (policy.processes, policy.memory, policy.time_limit, policy.lease) == (3, 8 * 10**9, 7200.0, 60.0)
    assert (policy.gpus, policy.wait, policy.speculate) == (("0", "1"), True, True)
    assert policy.roots == ("s3://b/a", "file:///x")
    CliRunner().invoke(main, ["execute", "fq://q"])
    assert seen[1][1] == Policy()


def test_a_stage_of_three_words_is_a_command() -> None:
    shown = CliRunner().invoke(main, ["segment", "train", "--help"])
    assert shown.exit_code == 0
    assert "Train boosted trees" in shown.output
    assert "segment train net" in CliRunner().invoke(main, ["segment", "--help"]).output
    assert CliRunner().invoke(main, ["segment", "train", "none"]).exit_code == 2
