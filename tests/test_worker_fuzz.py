"""Whoever can write to a queue: what is no task is a dead letter, what leaves the roots is refused, the rest is done.

The worker is the one that users start; it is watched by a hook in its processes.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from igneous_ng import catalog, queues, run
from igneous_ng.errors import IgneousError, SpecError, VersionError
from igneous_ng.fences import Fence
from igneous_ng.messages import Message
from igneous_ng.records import Run
from igneous_ng.stages.image_create import Create
from igneous_ng.store import Store
from igneous_ng.worker.admission import Admission
from tests import watching
from tests.hostile import Hostile
from tests.test_worker_supervisor import tree

ROOM = 1 << 30
STARTED = re.compile(
    r"'-m', 'igneous_ng.worker.nursery', '\d+'\]$|\t\['uname', '-p'\]$"
)  # of itself, and by Python's platform module


@dataclass
class Place:
    """A folder that workers may touch, one that they may not, a link from the first to the second, and a queue."""

    top: Path

    def __post_init__(self) -> None:
        self.inside, self.outside = self.top / "root", self.top / "outside"
        self.queue, self.log = f"fq://{self.top}/queue", self.top / "log"
        for folder in (self.inside, self.outside / "em", self.top / "scratch"):
            folder.mkdir(parents=True)
        (self.outside / "secret").write_text("what nobody may read")
        (self.inside / "link").symlink_to(self.outside)
        labels = np.random.default_rng(1).integers(0, 9, (64, 64, 64), np.uint32)
        for folder in (self.inside, self.outside):
            np.save(folder / "labels.npy", labels)
        self._watch = watching.install(self.top / "hook", self.log, self.outside)

    def create(self, layer: Path, cell: int = 16, source: Path | None = None) -> Create:
        return Create(
            source=str(source or self.inside / "labels.npy"), layer=str(layer), kind="segmentation", axes="xyz",
            resolution=(4, 4, 40), chunk=(16, 16, 16), cell=(cell, cell, cell),
        )  # fmt: skip

    def planned(self, stage: Create) -> list[str]:
        """The messages of a run, which go to no queue yet."""
        name = f"memory://{self.top}/{stage.layer}"
        ready = run.enqueue(stage, name)
        queues.connect(name).purge()
        return [message.to_json() for message in ready.messages()]

    def work(self) -> subprocess.CompletedProcess[str]:
        settings = {"TMPDIR": str(self.top / "scratch"), "PYTHONDONTWRITEBYTECODE": "1", **self._watch}
        command = [sys.executable, "-m", "igneous_ng.cli", "execute", self.queue, "--root", str(self.inside)]
        command += ["--memory", str(ROOM), "-p", "2"]
        return subprocess.run(
            command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=1500, check=False
        )

    def seen_outside(self) -> dict[str, tuple[int, int, bytes]]:
        found = (p for p in sorted(self.outside.rglob("*")) if p.is_file())
        return {str(p): (p.stat().st_mtime_ns, p.stat().st_size, p.read_bytes()) for p in found}

    def check_watched(self) -> None:
        """Nothing was written but in the root and the queue, nothing read outside, nothing but itself started."""
        ours = [str(self.top / name) for name in ("root/", "queue/", "scratch")]
        for what, detail in watching.events(self.log):
            if what == "subprocess.Popen" and STARTED.search(detail):
                continue
            assert what == "write", (what, detail)
            assert detail.startswith((*ours, "/dev/null", "/proc/")), detail


def left_for_others(text: str, inside: Path) -> bool:
    """Whether another worker may be able to do it: of another version, or more than this machine has."""
    try:
        message = Message.parse(text)
        if message.verdict:
            return False
        if Admission(ROOM, 2).refusal(message, [None]):
            return True
        if Fence((f"file://{inside}",)).holds(message.run.home):
            catalog.decode(message.run.stage)
    except VersionError:
        return True
    except IgneousError:
        return False
    return False


def fuzz(place: Place, count: int, seed: int) -> None:
    """So many hostile messages, and among them all of a run that is done in spite of them."""
    hostile, chance = Hostile(seed, place.inside, place.outside), random.Random(seed)
    run.inline(place.create(place.inside / "calm"))
    good = place.planned(place.create(place.inside / "em"))
    outside = place.planned(place.create(place.outside / "em", 64))
    linked = place.planned(place.create(place.inside / "link" / "linked", 64))
    source = place.planned(place.create(place.inside / "copy", 64, source=place.outside / "labels.npy"))
    bad = [hostile.message() for _ in range(count)]
    others = [text for text in bad if left_for_others(text, place.inside)]
    bad = [text for text in bad if not left_for_others(text, place.inside)] + others[:3]
    everything = good + outside + linked + source + bad
    chance.shuffle(everything)
    before = place.seen_outside()
    queues.connect(place.queue).put(everything)
    start = time.monotonic()
    ended = place.work()
    took = time.monotonic() - start
    letters = list(queues.connect(place.queue).dead())
    print(f"{len(everything)} messages in {took:.1f} s: {len(letters)} dead letters")  # noqa: T201 - shown with -s
    assert ended.returncode in (1, 64), ended.stderr[-3000:]
    assert queues.connect(place.queue).counts().leased == 0
    assert tree(place.inside / "em") == tree(place.inside / "calm")
    wanted = Counter(everything) - Counter(good) - Counter(others[:3])
    reasons = {letter.body: letter.reason for letter in letters}
    dead, judged = Counter(letter.body for letter in letters), Counter(_stored(text) for text in wanted.elements())
    assert not [(text[:2000], reasons[text]) for text in dead - judged]
    assert not [text[:2000] for text in judged - dead]
    assert not [letter.body for letter in letters if not letter.reason.strip()]
    assert not [reasons[text] for text in outside + linked + source if "--root" not in reasons[text]]
    assert place.seen_outside() == before
    place.check_watched()


def _stored(text: str) -> str:
    """What a queue makes of a text."""
    return text.encode(errors="surrogatepass").decode(errors="replace")


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("count", "seed"), [(60, 1), (10_000, 2)])
def test_hostile_messages_are_dead_letters_and_the_rest_is_done(tmp_path: Path, count: int, seed: int) -> None:
    fuzz(Place(tmp_path), count, seed)


def test_a_message_alone_makes_no_run(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (text,) = place.planned(place.create(place.inside / "em", 64))
    raw = json.loads(text)
    raw["run"]["stage"]["kind"] = "image"
    with pytest.raises(SpecError, match="planned with another stage"):
        _executed(json.dumps(raw))
    raw["run"]["id"] = "20260101T000000.000000-abcdef01"
    with pytest.raises(SpecError, match="no such run was planned"):
        _executed(json.dumps(raw))


def _executed(text: str) -> None:
    from igneous_ng.worker import task

    message = Message.parse(text)
    task.Task(message, Store()).execute()


DEEP = '{"igneous_ng": 3, "run": {"stage": ' + "[" * 500 + "]" * 500 + "}}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lo": -1}, "message.lo"), ({"hi": 10**400}, "message.hi"), ({"hi": 10}, "no range"),
        ({"after": True}, "after"),
        ({"tried": 1.5}, "tried"), ({"alone": 1}, "alone"), ({"memory": "1"}, "memory"), ({"verdict": None}, "verdict"),
        ({"priority": "urgent"}, "priority"), ({"more": 1}, "more"), ({"igneous_ng": "3"}, "format"),
    ],
)  # fmt: skip
def test_values_that_no_worker_puts_are_refused(change: dict[str, object], said: str) -> None:
    run_ = Run("20260101T000000.000000-abcdef01", "file:///layer", {"stage": "image create"}, 9, 9)
    raw = json.loads(Message(run_, 0, 9).to_json())
    assert Message.parse(json.dumps(raw)).hi == 9
    with pytest.raises(SpecError, match=said):
        Message.parse(json.dumps({**raw, **change}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": "../x"}, "run.id"), ({"id": ""}, "run.id"), ({"home": "/etc"}, "run.home"),
        ({"home": "file:///a\nb"}, "home"), ({"home": "file:///a/../b"}, "home"),
        ({"stage": {"stage": "os.system"}}, "run.stage"), ({"stage": []}, "run.stage"), ({"stage": {}}, "run.stage"),
        ({"peak_bytes": "1"}, "peak_bytes"), ({"units": 0}, "units"), ({"span": 0}, "span"), ({"subset": 1}, "subset"),
        ({"units": 1 << 63}, "units"),
    ],
)  # fmt: skip
def test_runs_that_nobody_plans_are_refused(change: dict[str, object], said: str) -> None:
    run_ = Run("20260101T000000.000000-abcdef01", "file:///layer", {"stage": "image create"}, 9, 9)
    raw = json.loads(Message(run_, 0, 9).to_json())
    with pytest.raises(SpecError, match=said):
        Message.parse(json.dumps({**raw, "run": {**raw["run"], **change}}))


@pytest.mark.parametrize("text", ["[" * 100_000, DEEP, '{"igneous_ng": NaN}', '{"lo": 1, "lo": 2}', "1" * 5000, "\0"])
def test_texts_that_hurt_readers_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match="not a message"):
        Message.parse(text)
