"""The stage that verifies: its units, what it notes, that it counts nothing of its own; and memory that stays flat."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from igneous_ng import findings, folders, history, ledger, records, run
from igneous_ng.errors import SpecError
from igneous_ng.io import IO
from igneous_ng.records import Message, Run
from igneous_ng.stages.records_verify import Verify
from igneous_ng.store import Store
from tests.queue_harness import use_emulator

STORE = Store()


def store(layer: str, units: int, deleted: int = 1, **stage: Any) -> Run:
    """A run whose every unit removed so many objects; none of them is there."""
    new = records.new_run({"stage": "x", "n": uuid.uuid4().hex, **stage}, layer, units)
    records.save(STORE, new)
    for message in new.messages():
        lines = {}
        for unit in range(message.lo, message.hi):
            writes = [{"url": f"{layer}/{unit}-{n}", "deleted": True} for n in range(deleted)]
            lines[unit] = {"unit": unit, "reads": [], "writes": writes, "covers": [], "seconds": 1.0}
        records.write(STORE, message, lines)
    return new


def test_units_are_ranges_of_the_units_of_runs(tmp_path: Path) -> None:
    layer = f"file://{tmp_path}/a"
    small, none = store(layer, 3), store(layer, 0)
    large = records.new_run({"stage": "x"}, layer, 1_000_003)
    records.save(STORE, large)
    idle = records.new_run({"stage": "y"}, layer, 5)
    records.save(STORE, idle, {"makes_data": False})
    units = Verify(layer=layer).units(IO())
    assert units[:2] == [(small.id, 0, 3), (none.id, 0, 0)]
    ranges = [(lo, hi) for ident, lo, hi in units[2:] if ident == large.id]
    assert len(ranges) == len(units) - 2 == 101
    assert [hi for _, hi in ranges[:-1]] == [lo for lo, _ in ranges[1:]]
    assert (ranges[0][0], ranges[-1][1]) == (0, 1_000_003)
    assert [u[0] for u in Verify(layer=layer, since=none.id, until=none.id).units(IO())] == [none.id]


def test_what_is_wrong_is_noted_by_run_and_its_reads_are_not(tmp_path: Path) -> None:
    layer = f"file://{tmp_path}/a"
    one = store(layer, 100, deleted=2)
    for unit in (3, 4, 7, 60):
        STORE.put(f"{layer}/{unit}-0", b"x")
    done = run.inline(Verify(layer=layer))
    lines = list(records.all_lines(STORE, done))
    assert all(line["reads"] == line["writes"] == line["covers"] == [] for line in lines)
    found = findings.of(STORE, done)
    assert (found.objects, found.read, found.causes) == (200, 0, {"not removed": 4})
    assert found.wrong == {one.id: [(3, 5), (7, 8), (60, 61)]}
    assert [(e["url"], e["unit"], e["run"]) for e in found.examples] == [
        (f"{layer}/{unit}-0", unit, one.id) for unit in (3, 4, 7, 60)
    ]
    assert [r.id for r in ledger.runs(STORE, layer)] == [one.id]
    again = run.inline(Verify(layer=layer))
    assert findings.of(STORE, again) == found
    assert len(list(history.runs(STORE, layer))) == 3


def test_only_twenty_are_named(tmp_path: Path) -> None:
    layer = f"file://{tmp_path}/a"
    store(layer, 1, deleted=30)
    for n in range(30):
        STORE.put(f"{layer}/0-{n}", b"x")
    found = findings.of(STORE, run.inline(Verify(layer=layer)))
    assert (len(found.examples), found.causes.total()) == (20, 30)


@pytest.mark.parametrize("sample", [-0.1, 1.1])
def test_a_fraction_is_a_fraction(sample: float) -> None:
    with pytest.raises(SpecError, match=r"records verify\.sample"):
        Verify(layer="/a", sample=sample)


@pytest.mark.long
def test_layers_elsewhere_are_verified_too(monkeypatch: pytest.MonkeyPatch) -> None:
    use_emulator(monkeypatch)
    import boto3

    bucket = f"verify-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    layer = f"s3://{bucket}/layer"
    new = records.new_run({"stage": "x"}, layer, 1)
    records.save(STORE, new)
    entries = []
    for n in range(4):
        made = STORE.put(f"{layer}/folder/{n}", b"content %d" % n, "gzip" if n % 2 else "none")
        assert made.stored is not None
        entries.append({"url": made.url, "bytes": len(made.stored), "digest": made.digest})
    records.write(STORE, Message(new, 0, 1), {0: {"unit": 0, "reads": [], "writes": entries, "covers": []}})
    assert not findings.of(STORE, run.inline(Verify(layer=layer))).wrong
    assert list(findings.strangers(STORE, layer)) == []
    STORE.put(f"{layer}/folder/1", b"content !", "gzip")
    STORE.put(f"{layer}/folder/2", b"content", "none")
    STORE.delete(f"{layer}/folder/3")
    STORE.put(f"{layer}/more/4", b"", "gzip")
    found = findings.of(STORE, run.inline(Verify(layer=layer)))
    assert {one["url"].rpartition("/")[2]: one["cause"] for one in found.examples} == {
        "1": "other bytes", "2": "other bytes", "3": "missing",
    }  # fmt: skip
    assert findings.of(STORE, run.inline(Verify(layer=layer, sample=0.0))).causes["missing"] == 1
    assert list(findings.strangers(STORE, layer)) == [f"{layer}/more/4"]
    assert sorted(folders.urls(f"{layer}/folder")) == [f"{layer}/folder/{n}" for n in range(3)]


# Memory.


GROWTH = """
import json, sys
from pathlib import Path
from igneous_ng import names, findings
from igneous_ng.io import IO
from igneous_ng.store import Store
from igneous_ng.stages.records_verify import Verify
def resident(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))
def look(layer):
    stage, io = Verify(layer=layer), IO()
    for part in stage.units(io):
        stage.execute(part, IO(io.store))
    return list(findings.strangers(io.store, layer))
stage = Verify(layer=sys.argv[2])
stage.prepare(IO())
names._SLICE = 1 << 12
look(sys.argv[1])
Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
look(sys.argv[2])
print(json.dumps(resident("VmHWM") - before))
"""


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
def test_memory_does_not_grow_with_the_records(tmp_path: Path) -> None:
    grown = {}
    store(f"file://{tmp_path}/warm", 100, deleted=8)
    for units in (1_000, 10_000):
        layer = f"file://{tmp_path}/{units}"
        for _ in range(2):
            store(layer, units, deleted=6)
        words = [sys.executable, "-c", GROWTH, f"file://{tmp_path}/warm", layer]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        grown[units] = json.loads(done.stdout)
    assert grown[10_000] < grown[1_000] + 4_000_000, grown
