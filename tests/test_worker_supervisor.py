"""The worker as users run it: real processes on a real queue, killed, signalled, fed with what cannot be done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from igneous_ng import environments, queues, records, run
from igneous_ng.errors import SpecError
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.store import Store
from igneous_ng.worker.events import Event
from igneous_ng.worker.policy import Policy
from tests.queue_harness import use_emulator

CLI = [sys.executable, "-m", "igneous_ng.cli"]


def tree(folder: Path) -> dict[str, bytes]:
    """Every data object below ``folder``: all but the records."""
    names = ((str(p.relative_to(folder)), p) for p in sorted(folder.rglob("*")) if p.is_file())
    return {name: p.read_bytes() for name, p in names if not name.startswith(("runs/", "provenance"))}


def make(tmp: Path, name: str, cell: int = 32) -> Create:
    source = tmp / "labels.npy"
    if not source.exists():
        np.save(source, np.random.default_rng(1).integers(0, 9, (96, 80, 64), np.uint32))
    return Create(
        source=str(source), layer=str(tmp / name), kind="segmentation", axes="xyz",
        resolution=(4, 4, 40), chunk=(16, 16, 16), cell=(cell, cell, cell), offset=(-5, 0, 3),
    )  # fmt: skip


def children(pid: int) -> list[int]:
    """The processes that run tasks: children of the nursery."""
    (nursery,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(p) for p in Path(f"/proc/{nursery}/task/{nursery}/children").read_text().split()]


def wait_for_records(layer: Path, count: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if sum(1 for _ in layer.glob("runs/*/records/*/*.jsonl")) >= count:
            return
        time.sleep(0.01)
    pytest.fail("no task was recorded within a minute")


def test_enqueue_then_execute_gives_the_bytes_of_an_inline_run(tmp_path: Path) -> None:
    run.inline(make(tmp_path, "inline"))
    url = f"fq://{tmp_path}/queue"
    events: list[Event] = []
    planned = run.enqueue(make(tmp_path, "queued"), url)
    run.execute(url, Policy(processes=2), events.append)
    assert tree(tmp_path / "inline") == tree(tmp_path / "queued")
    assert sum(e.kind == "unit" for e in events) == planned.units == 18
    assert records.finished(Store(), planned)
    counts = queues.connect(url).counts()
    assert (counts.waiting, counts.leased, counts.dead) == (0, 0, 0)


def test_two_runs_on_one_queue_are_both_published(tmp_path: Path) -> None:
    url = f"fq://{tmp_path}/queue"
    run.inline(make(tmp_path, "a"))
    run.inline(make(tmp_path, "b"))
    planned = [run.enqueue(Downsample(layer=str(tmp_path / name)), url) for name in "ab"]
    run.execute(url, Policy(processes=1))
    assert all(records.finished(Store(), one) for one in planned)
    assert all(len(json.loads((tmp_path / name / "info").read_bytes())["scales"]) == 2 for name in "ab")


@pytest.mark.timeout(120)
def test_a_run_through_sqs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_emulator(monkeypatch)
    run.inline(make(tmp_path, "inline"))
    planned = run.enqueue(make(tmp_path, "queued"), "sqs://first-light")
    run.execute("sqs://first-light", Policy(processes=2))
    assert tree(tmp_path / "inline") == tree(tmp_path / "queued")
    assert records.finished(Store(), planned)


def test_records_say_what_was_read_and_written(tmp_path: Path) -> None:
    planned = run.inline(make(tmp_path, "layer"))
    lines = [line for m in planned.messages() for line in records.read(Store(), m).values()]
    assert sorted(line["unit"] for line in lines) == list(range(planned.units))
    written = {w["url"]: w["digest"] for line in lines for w in line["writes"]}
    from igneous_ng.store import digest

    for url, fingerprint in written.items():
        path = Path(url.removeprefix("file://"))
        stored = path if path.exists() else path.with_name(path.name + ".gz")
        assert digest(stored.read_bytes()) == fingerprint
    assert len(written) == 6 * 5 * 4
    assert all(line["peak_bytes"] > 0 and line["environment"] == environments.name() for line in lines)


@pytest.mark.parametrize("victim", ["child", "supervisor"])
def test_kill_9_in_the_middle_leaves_the_same_bytes(tmp_path: Path, victim: str) -> None:
    run.inline(make(tmp_path, "inline", 16))
    url = f"fq://{tmp_path}/queue"
    run.enqueue(make(tmp_path, "queued", 16), url)
    worker = subprocess.Popen([*CLI, "execute", url, "-p", "2", "--lease", "2"], stderr=subprocess.PIPE)
    wait_for_records(tmp_path / "queued", 3)
    if victim == "child":
        os.kill(children(worker.pid)[0], signal.SIGKILL)
    else:
        os.kill(worker.pid, signal.SIGKILL)
        worker.communicate()
        worker = subprocess.Popen([*CLI, "execute", url, "-p", "2", "--lease", "2"], stderr=subprocess.PIPE)
    _, text = worker.communicate(timeout=120)
    assert worker.returncode == 0, text.decode()
    assert tree(tmp_path / "inline") == tree(tmp_path / "queued")
    (run_folder,) = (tmp_path / "queued" / "runs").glob("*T*")
    assert (run_folder / "finished.json").exists()


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_gives_leases_back_at_once(tmp_path: Path, number: signal.Signals) -> None:
    url = f"fq://{tmp_path}/queue"
    run.enqueue(make(tmp_path, "queued", 16), url)
    worker = subprocess.Popen([*CLI, "execute", url, "-p", "2"], stderr=subprocess.PIPE)
    wait_for_records(tmp_path / "queued", 1)
    began = time.monotonic()
    worker.send_signal(number)
    _, text = worker.communicate(timeout=60)
    assert worker.returncode == 75, text.decode()
    assert time.monotonic() - began < 10
    counts = queues.connect(url).counts()
    assert counts.leased == 0
    assert counts.waiting > 0
    run.execute(url, Policy(processes=2))
    run.inline(make(tmp_path, "inline", 16))
    assert tree(tmp_path / "inline") == tree(tmp_path / "queued")


def test_wrong_data_becomes_a_dead_letter_with_its_reason_and_the_rest_is_done(tmp_path: Path) -> None:
    run.inline(make(tmp_path, "layer"))
    next((tmp_path / "layer" / "4_4_40").glob("*_3-19.gz")).unlink()
    before = (tmp_path / "layer" / "info").read_bytes()
    url = f"fq://{tmp_path}/queue"
    run.enqueue(Downsample(layer=str(tmp_path / "layer"), memory=350_000), url)
    done = subprocess.run([*CLI, "execute", url], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    (letter,) = queues.connect(url).dead()
    assert "image downsample" in letter.body
    assert str(tmp_path / "layer") in letter.reason
    assert "mip 0" in letter.reason
    assert "--fill-missing" in letter.reason
    assert (tmp_path / "layer" / "info").read_bytes() == before
    assert sum(1 for _ in (tmp_path / "layer" / "8_8_40").glob("*.gz")) > 0


def test_a_message_that_is_none_and_one_outside_the_roots_are_set_aside(tmp_path: Path) -> None:
    url = f"fq://{tmp_path}/queue"
    run.enqueue(make(tmp_path, "layer", 96), url)
    queues.connect(url).put([json.dumps({"igneous_ng": "x", "stage": "os.system"}), "not json"])
    with pytest.raises(run.DeadLetters, match="3 message"):
        run.execute(url, Policy(roots=(f"file://{tmp_path}/elsewhere",)))
    reasons = " ".join(letter.reason for letter in queues.connect(url).dead())
    assert "--root" in reasons
    assert "not a message of igneous_ng" in reasons
    assert tree(tmp_path / "layer").keys() == {"info"}


def test_work_in_a_thread_of_a_larger_program(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        planned = pool.submit(run.here, make(tmp_path, "layer", 96)).result()
    assert records.finished(Store(), planned)


def test_policy_is_checked(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="processes"):
        run.execute(f"fq://{tmp_path}/queue", Policy(processes=0))
