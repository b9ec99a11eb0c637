"""The command run as a newcomer meets it: the example, here and on a queue, dry runs, status, refusals."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import queues
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from tests.drill import CLI
from tests.layers import files

EXAMPLE = Path(__file__).parent.parent / "examples" / "segmentation.toml"
STEPS = ["create", "pyramid", "mesh-pieces", "meshes", "skeleton-pieces", "skeletons"]
SMALL = ["--set", "cell=[24, 24, 24]", "--set", "axes=xyz"]


def igneous(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CLI, *words], capture_output=True, text=True, check=False, cwd=cwd)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def labels(folder: Path) -> Path:
    """A folder with the example and a file of labels: some touching boxes and a tube."""
    folder.mkdir(exist_ok=True)
    shutil.copy(EXAMPLE, folder / "pipe.toml")
    made = np.random.default_rng(0).integers(1, 6, (3, 3, 3)).astype(np.uint32)
    made = made.repeat(16, 0).repeat(16, 1).repeat(16, 2)
    made[20:28, 20:28, :] = 9
    np.save(folder / "labels.npy", made)
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return labels(tmp_path / "place")


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a layer whose stages were run by hand, one command after the other."""
    folder = labels(tmp_path_factory.mktemp("calm") / "place")
    for words in (
        ["image", "create", "labels.npy", "seg", "--axes", "xyz", "--kind", "segmentation", "--resolution", "8,8,40"],
        ["image", "downsample", "seg", "--num-mips", "2"],
        ["mesh", "forge", "seg", "--cell", "24,24,24"],
        ["mesh", "merge", "seg", "--dust", "100"],
        ["skeleton", "forge", "seg", "--cell", "24,24,24"],
        ["skeleton", "merge", "seg", "--dust", "100"],
    ):
        done = igneous(*words, cwd=folder)
        assert done.returncode == 0, done.stderr
    return files(folder / "seg")


@pytest.fixture
def fleet(place: Path) -> Iterator[str]:
    """A queue with a worker that waits for more."""
    url = f"fq://{place}/queue"
    queues.connect(url).put(())
    worker = subprocess.Popen([*CLI, "execute", url, "--wait"], stderr=subprocess.DEVNULL)
    yield url
    worker.send_signal(signal.SIGTERM)
    worker.wait()


def states(place: Path, *words: str) -> list[str]:
    shown = igneous("run", "pipe.toml", *words, "--status", "--json", cwd=place)
    assert shown.returncode == 0, shown.stderr
    return [step["state"] for step in json.loads(shown.stdout)]


def test_the_example_makes_what_the_commands_make(place: Path, calm: dict[str, bytes]) -> None:
    done = igneous("run", "place/pipe.toml", *SMALL, cwd=place.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "pipe.toml: all 6 steps are done\n"
    assert [line.split(":")[0] for line in done.stderr.splitlines() if line.endswith("is done")] == STEPS
    assert files(place / "data" / "seg") == calm
    before = tree(place)
    again = igneous("run", "pipe.toml", *SMALL, cwd=place)
    assert again.returncode == 0
    assert again.stderr.count("is done already, by run") == 6
    assert tree(place) == before


@pytest.mark.long
@pytest.mark.parametrize("queued", [False, True])
def test_the_example_of_a_regional_redo(place: Path, fleet: str, queued: bool) -> None:
    text = (place / "pipe.toml").read_text()
    (place / "pipe.toml").write_text(text.replace('kind = "', 'chunk = [8, 8, 8]\nkind = "'))
    assert igneous("run", "pipe.toml", *SMALL, cwd=place).returncode == 0
    shutil.copy(EXAMPLE.with_name("regional_redo.toml"), place / "redo.toml")
    words = ["run", "redo.toml", "--set", "box=0:10,0:10,0:10"]
    before = files(place / "data" / "seg")
    dry = igneous(*words, "--dry-run", cwd=place)
    assert "1 of 8 units stale, 0 more may follow" in dry.stdout, dry.stderr  # pieces of meshes
    done = igneous(*words, *(["--queue", fleet] if queued else []), cwd=place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "nothing has changed: every object has the bytes that it had"
    assert files(place / "data" / "seg") == before
    io = IO()
    volume, box = io.volume(f"file://{place}/data/seg", 0), Box((0, 0, 0), (48, 48, 48))
    voxels, _ = volume.read(box)
    voxels[3:9, 3:9, 3:9] = 7
    io.write(volume, box, voxels)
    done = igneous(*words, *(["--queue", fleet] if queued else []), cwd=place)
    assert done.returncode == 0, done.stderr
    assert "skeleton forge: 1 unit run again: 1 objects changed" in done.stdout
    assert "mesh merge: " in done.stdout
    assert (place / "data" / "seg" / "mesh" / "7:0").exists()
    assert igneous("stale", "data/seg", cwd=place).stdout.splitlines()[-1] == "nothing is stale"


def test_on_a_queue_it_makes_the_same(place: Path, calm: dict[str, bytes], fleet: str) -> None:
    watching = subprocess.Popen(
        [*CLI, "run", "pipe.toml", *SMALL, "--status", "--json", "--watch=0.2"],
        stdout=subprocess.PIPE, text=True, cwd=place,
    )  # fmt: skip
    done = igneous("run", "pipe.toml", *SMALL, "--queue", fleet, cwd=place)
    assert done.returncode == 0, done.stderr
    assert f"execute with:  igneous-ng execute {fleet} --wait" in done.stderr
    assert "mesh-pieces: mesh forge: 8 tasks queued as run" in done.stderr
    assert files(place / "data" / "seg") == calm
    looks = [json.loads(line) for line in watching.communicate(timeout=60)[0].splitlines()]
    assert watching.returncode == 0
    assert [step["state"] for step in looks[-1]] == ["done"] * 6
    lines = done.stderr.splitlines()
    begun = [lines.index(next(line for line in lines if line.startswith(f"{name}:"))) for name in STEPS]
    assert max(begun[2], begun[4]) < lines.index("mesh-pieces: is done"), "meshes and skeletons go side by side"


@pytest.mark.parametrize("kills", [2, pytest.param(40, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(place: Path, calm: dict[str, bytes], kills: int) -> None:
    chance = random.Random(kills)
    for number in range(kills):
        folder = place / f"elsewhere-{number}"
        folder.mkdir()
        driver = subprocess.Popen(
            [*CLI, "run", "../pipe.toml", *SMALL], cwd=folder, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        time.sleep(chance.uniform(0.3, 1.2))
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    done = igneous("run", "pipe.toml", *SMALL, cwd=place)
    assert done.returncode == 0, done.stderr
    assert files(place / "data" / "seg") == calm
    assert states(place, *SMALL) == ["done"] * 6


@pytest.mark.long
def test_a_dry_run_says_what_is_left_and_writes_nothing(place: Path) -> None:
    before = tree(place)
    dry = igneous("run", "pipe.toml", *SMALL, "--dry-run", "--price", "36", cwd=place)
    assert dry.returncode == 0, dry.stderr
    rows = {line.split()[0]: line for line in dry.stdout.splitlines() if line.startswith("  ")}
    assert "to do" in rows["create"]
    assert "1 task" in rows["create"]
    assert "each at most" in rows["create"]
    assert "time unknown: no earlier run here" in rows["create"]
    assert rows["meshes"].endswith("not yet plannable: needs mesh-pieces first")
    assert "0 of 6 steps done; of 1 more it is known:" in dry.stdout
    assert dry.stdout.endswith("nothing was written\n")
    assert tree(place) == before
    words = ["run", "pipe.toml", *SMALL]
    igneous(*words, cwd=place)
    before = tree(place)
    runs = sorted(run.parent for run in (place / "data" / "seg" / "runs").glob("*/run.json"))
    shutil.rmtree(runs[0])  # as if the first step had never been run
    raw = igneous(*words, "--dry-run", "--price", "3600", "--json", cwd=place)
    found = {step["step"]: step for step in json.loads(raw.stdout)}
    assert (found["create"]["state"], found["create"]["tasks"]) == ("ready", 1)
    forge = found["mesh-pieces"]
    assert (forge["state"], forge["needs"], forge["tasks"], forge["left"]) == ("waits", ["pyramid"], 8, 8)
    assert forge["cost"] == pytest.approx(forge["seconds"])
    assert forge["seconds"] > 0
    said = igneous(*words, "--dry-run", "--price", "36", cwd=place).stdout
    assert "to do after pyramid" in said
    assert "cost about" in said
    assert "at once" in said


@pytest.mark.long
def test_a_dry_run_counts_what_is_left_of_a_step(place: Path) -> None:
    url = f"fq://{place}/queue"
    igneous("run", "pipe.toml", *SMALL, cwd=place)
    runs = place / "data" / "seg" / "runs"
    (merged,) = (run for run in runs.glob("*T*") if b'"mesh merge"' in (run / "run.json").read_bytes())
    (merged / "finished.json").unlink()
    for name in sorted((merged / "records" / "0").iterdir())[:5]:
        name.unlink()
    dry = igneous("run", "pipe.toml", *SMALL, "--queue", url, "--dry-run", cwd=place)
    assert "to continue: 5 of 32 left" in dry.stdout
    assert "5 tasks" in dry.stdout
    assert "27 of 32 units" in igneous("run", "pipe.toml", *SMALL, "--status", cwd=place).stdout
    done = igneous("run", "pipe.toml", *SMALL, cwd=place)
    assert "meshes: goes on with mesh merge" in done.stderr
    assert len(list(runs.glob("*/run.json"))) == 6


def test_the_status_of_what_was_never_begun(place: Path) -> None:
    shown = igneous("run", "pipe.toml", "--status", "--profile", "slurm", cwd=place)
    assert shown.returncode == 0, shown.stderr
    head, *rows = shown.stdout.splitlines()
    assert head == "pipe.toml, profile slurm, on fq:///shared/queue: 0 of 6 steps done"
    assert rows[0].split() == ["create", "image", "create", "to", "do"]
    assert rows[-1].endswith("waits for skeleton-pieces")


@pytest.mark.long
def test_dead_letters_end_it_with_1_and_the_command_that_says_why(place: Path) -> None:
    igneous("run", "pipe.toml", *SMALL, cwd=place)
    seg = place / "data" / "seg"
    chunk = next((seg / "8_8_40").iterdir())
    content = chunk.read_bytes()
    chunk.unlink()
    words = ["run", "pipe.toml", "--set", "cell=[24, 24, 24]", "--set", "axes=xyz", "--set", "dust=3"]
    text = (place / "pipe.toml").read_text()
    (place / "pipe.toml").write_text(text.replace('layer = "@pyramid"', 'layer = "@pyramid"\ndir = "more"', 1))
    text = (place / "pipe.toml").read_text()
    (place / "pipe.toml").write_text(
        text.replace('layer = "@mesh-pieces"', 'layer = "@mesh-pieces"\ndir = "more"')
    )  # meshes are forged anew, in another folder
    failed = igneous(*words, cwd=place)
    assert failed.returncode == 1, failed.stderr
    last = failed.stderr.splitlines()[-1]
    assert "because of that left undone: meshes" in last
    command = last.split("`igneous-ng ")[1].split("`")[0].split()
    assert "is missing" in igneous(*command, cwd=place).stdout
    assert "skeletons: is done" in failed.stderr, "what needs no meshes is done"
    assert states(place, *words[2:]) == ["done", "done", "failed", "waits", "done", "done"]
    chunk.write_bytes(content)
    done = igneous(*words, cwd=place)
    assert done.returncode == 0, done.stderr


def test_an_interrupted_driver_says_how_to_go_on(place: Path) -> None:
    words = [*CLI, "run", "pipe.toml", *SMALL, "--queue", f"fq://{place}/queue"]
    driver = subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, cwd=place,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert driver.stderr is not None
    while "queued as run" not in driver.stderr.readline():
        pass
    driver.send_signal(signal.SIGINT)
    assert "what is queued is executed all the same. To go on, run it again" in driver.communicate(timeout=30)[1]
    assert driver.returncode == 75


WRONG: dict[str, tuple[list[str], str]] = {
    "no file": (["other.toml"], "other.toml: cannot be read"),
    "no text": (["labels.npy"], "labels.npy: cannot be read"),
    "profile": (["pipe.toml", "--profile", "aws"], "no profile is called 'aws'; there are: workstation, slurm, sqs"),
    "parameter": (["pipe.toml", "--set", "sel=3"], "no parameter is called 'sel'"),
    "no value": (["pipe.toml", "--set", "dust"], "'dust': write NAME=VALUE"),
    "value": (["pipe.toml", "--set", "dust=-1"], "step meshes: mesh merge.dust: -1 voxels"),
    "queue": (["pipe.toml", "--queue", "kafka://x"], "fq://"),
    "no source": (["pipe.toml", "--set", "labels=none.npy"], "none.npy: there is nothing of this name"),
    "no source, dry": (
        ["pipe.toml", "--set", "labels=none.npy", "--dry-run"],
        "none.npy: there is nothing of this name",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_request_exits_with_2_and_changes_nothing(place: Path, case: str) -> None:
    words, said = WRONG[case]
    before = tree(place)
    done = igneous("run", *words, cwd=place)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert tree(place) == before


def test_options_go_before_the_profile(place: Path) -> None:
    def head(*words: str) -> Any:
        return igneous("run", "pipe.toml", "--status", *words, cwd=place).stdout.splitlines()[0]

    assert head("--queue", "fq:///q", "--profile", "slurm").startswith("pipe.toml, profile slurm, on fq:///q:")
    assert head("--profile", "sqs", "--set", "layer=data/seg").startswith("pipe.toml, profile sqs, on sqs://igneous:")
