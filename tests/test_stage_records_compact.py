"""Compacted records: the same lines at any moment, by any way of reading them, whenever compacting dies."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import chains, evidence, history, messages, records, run, sheets, status
from igneous_ng.errors import DataError, SpecError, TransientError
from igneous_ng.io import IO
from igneous_ng.records import Line, Message, Run
from igneous_ng.stage import to_dict
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.records_compact import RecordsCompact
from igneous_ng.store import Store
from tests.faults import forked, lived, steps_of
from tests.measuring import MEASURE
from tests.test_format_ledgers import lines as odd_lines
from tests.test_format_ledgers import spelt, usual

STORE = Store()

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def made(folder: Path, units: int, span: int, found: list[Line] | None = None) -> Run:
    """A finished run whose units all have a line."""
    run = Run("20260101T000000.000000-abcdef01", f"file://{folder}/layer", {"stage": "some"}, units, span)
    records.save(STORE, run)
    for message in run.messages():
        lines = {unit: {**(found[unit] if found else usual(unit)), "unit": unit}
                 for unit in range(message.lo, message.hi)}  # fmt: skip
        records.write(STORE, message, lines)
    records.mark_finished(STORE, run)
    return run


def compact(run: Run) -> None:
    """All folders of ``run``, in this process."""
    stage = RecordsCompact(layer=run.home, runs=(run.id,))
    for unit in stage.units(IO()):
        stage.execute(unit, IO())


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small folders, and small parts of files."""
    monkeypatch.setattr(messages, "GROUP", 4)
    for module in ("igneous_ng.sheets", "igneous_ng.stages.records_compact"):
        monkeypatch.setattr(f"{module}.ROWS", 5)


def test_each_folder_becomes_one_file_and_the_lines_are_the_same(tmp_path: Path, few: None) -> None:
    run = made(tmp_path, 29, 3)
    before = list(records.all_lines(STORE, run))
    compact(run)
    folder = tmp_path / "layer" / "runs" / run.id
    assert [name for name in tree(folder) if name.startswith("records/")] == [
        f"records/{number}.parquet" for number in range(3)
    ]
    assert spelt(records.all_lines(STORE, run)) == spelt(before)
    assert [line["unit"] for line in before] == list(range(29))
    only = [{"unit": line["unit"], "covers": line["covers"]} for line in before]
    assert list(records.all_lines(STORE, run, only=("covers",))) == only


@settings(max_examples=30)
@given(st.lists(odd_lines, min_size=1, max_size=20), st.integers(1, 6))
def test_any_lines_survive(tmp_path_factory: pytest.TempPathFactory, found: list[Line], span: int) -> None:
    folder = tmp_path_factory.mktemp("odd")
    run = made(folder, len(found), span, found)
    before = spelt(records.all_lines(STORE, run))
    compact(run)
    assert not [name for name in tree(folder) if name.endswith(".jsonl")]
    assert spelt(records.all_lines(STORE, run)) == before


def test_all_readers_see_what_they_saw(tmp_path: Path, few: None) -> None:
    run = made(tmp_path, 29, 3)
    made(tmp_path / "other", 1, 1)

    def seen() -> list[Any]:
        files = list(records.stored(STORE, run))
        return [
            records.missing(STORE, run), records.unwritten(STORE, run), records.complete(STORE, run, near=13),
            records.done(STORE, run), records.settled(STORE, run),
            [records.read(STORE, Message(run, lo, hi)) for lo, hi in ((0, 1), (4, 6), (11, 13), (28, 29))],
            [line for file in files for line in records.lines_of(STORE, file)],
            all(file.whole for file in files), status.look(STORE, run), status.look_at(STORE, run, 17),
            history.usual_seconds(STORE, run.home, "some"),
        ]  # fmt: skip

    before = seen()
    compact(run)
    assert seen() == before


def test_of_a_large_run_a_sample_is_read(tmp_path: Path, few: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "EXACT", 10)
    monkeypatch.setattr(evidence, "SAMPLE", 2)
    run = made(tmp_path, 29, 3)
    compact(run)
    found = status.look(STORE, run)
    assert found.done == 29
    assert found.work is not None
    assert (found.work.exact, found.work.lines) == (False, 10), "two parts, of five units each"
    assert found.work.cpu_seconds == pytest.approx(29 * 0.4)


def test_the_first_line_of_each_unit_counts(tmp_path: Path) -> None:
    run = made(tmp_path, 12, 4)
    late = {unit: {**usual(unit), "attempt": 2} for unit in range(4)}
    STORE.delete(f"{run.folder}/records/0/0-4.jsonl")
    for lo, hi in ((2, 4), (0, 2), (0, 4)):
        lines = late if (lo, hi) == (0, 4) else {unit: usual(unit) for unit in range(lo, hi)}
        records.write(STORE, Message(run, lo, hi), {unit: lines[unit] for unit in range(lo, hi)})
    records.checkpoint(STORE, Message(run, 0, 4), {0: {**usual(0), "attempt": 3}}, "x")
    before = list(records.all_lines(STORE, run))
    assert [line["attempt"] for line in before] == [1, 1, 2, 2] + [1] * 8, "as files are read in order"
    compact(run)
    assert sorted(records.all_lines(STORE, run), key=lambda line: int(line["unit"])) == before
    assert STORE.list(f"{run.folder}/records/0") == []


# Any moment.


class Life:
    """A run whose records are compacted, from wherever another left it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run = folder, made(folder, 14, 3)
        self.lines = spelt(records.all_lines(STORE, self.run))
        shutil.copytree(folder / "layer", folder / "beginning")

    def begin(self) -> None:
        shutil.rmtree(self.folder / "layer")
        shutil.copytree(self.folder / "beginning", self.folder / "layer")

    def live(self) -> None:
        compact(self.run)

    def check(self) -> None:
        """Each line is seen once, and nothing is missing."""
        assert spelt(records.all_lines(STORE, self.run)) == self.lines
        assert records.missing(STORE, self.run) == []
        assert records.complete(STORE, self.run)
        for unit in range(14):
            assert records.read(STORE, Message(self.run, unit, unit + 1)).keys() == {unit}

    def objects(self) -> dict[str, bytes]:
        return {name: data for name, data in tree(self.folder / "layer").items() if ".tmp-" not in name}


@pytest.mark.long
def test_a_death_at_any_step_loses_and_doubles_nothing(
    tmp_path: Path, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    life = Life(tmp_path)
    steps = steps_of(life.live)
    wanted = life.objects()
    assert [name.rpartition(".")[2] for name in wanted] == ["json", "parquet", "parquet", "json"]
    for step in steps:
        life.begin()
        assert not lived(life.live, step.number)
        life.check()
        life.live()
        life.check()
        assert life.objects() == wanted
    assert {"replace", "unlink"} <= {step.call for step in steps}


def test_no_line_goes_before_the_file_has_its_name_on_the_disk(tmp_path: Path, few: None) -> None:
    life, pending = Life(tmp_path), set[str]()
    for step in steps_of(life.live):
        if step.call == "fsync":
            pending.discard(step.path)
        elif step.call == "replace":
            pending.add(os.path.dirname(step.path))
        elif step.call == "unlink" and step.path.endswith(".jsonl"):
            assert not pending


def test_a_reader_who_has_listed_files_that_go_finds_their_lines(tmp_path: Path, few: None) -> None:
    run = made(tmp_path, 14, 3)
    listed = list(records.stored(STORE, run))
    compact(run)
    assert [file.url.rpartition(".")[2] for file in listed] == ["jsonl"] * 5
    for file in listed:
        assert records.lines_of(STORE, file) == [usual(unit) for unit in range(file.lo, file.hi)]
        assert records.lines_of(STORE, file, ("host",)) == [
            {"unit": unit, "host": "node1"} for unit in range(file.lo, file.hi)
        ]
    gone = sheets.File(f"{run.folder}/records/0/0-3.x.part", 0, 3, False)
    assert records.lines_of(STORE, gone) == [], "what a holder took away has none"


def test_readers_meanwhile(tmp_path: Path) -> None:
    """Somebody compacts in another process, again and again, while this one reads."""
    life, chance = Life(tmp_path), random.Random(1)
    for _ in range(6):
        life.begin()
        pid = forked(life.live)
        looked = 0
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            assert spelt(records.all_lines(STORE, life.run)) == life.lines
            unit = chance.randrange(14)
            assert records.read(STORE, Message(life.run, unit, unit + 1)) == {unit: usual(unit)}
            looked += 1
        assert looked > 1


def test_two_who_compact_at_once_leave_the_bytes_of_one(tmp_path: Path, few: None) -> None:
    life = Life(tmp_path)
    life.live()
    wanted = life.objects()
    for _ in range(4):
        life.begin()
        both = [forked(life.live), forked(life.live)]
        assert [os.waitpid(pid, 0)[1] for pid in both] == [0, 0]
        assert life.objects() == wanted


def test_what_is_read_back_wrong_is_removed_and_the_lines_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(tmp_path, 14, 3)
    compact(replace(run, units=14))
    life = tree(tmp_path)
    shutil.rmtree(tmp_path / "layer")
    run = made(tmp_path, 14, 3, [{**usual(unit), "seconds": 9.0} for unit in range(14)])
    STORE.put(f"{run.folder}/records/0.parquet", life[f"layer/runs/{run.id}/records/0.parquet"])
    with pytest.raises(TransientError, match="read back, it was not what had been stored"):
        compact(run)
    assert [line["seconds"] for line in records.all_lines(STORE, run)] == [9.0] * 14
    compact(run)
    assert [line["seconds"] for line in records.all_lines(STORE, run)] == [9.0] * 14
    assert STORE.list(f"{run.folder}/records") == ["0", "0.parquet"]


def test_a_number_of_another_type_is_not_the_same(tmp_path: Path) -> None:
    run = made(tmp_path, 2, 2, [{**usual(0), "notes": {"n": 1}}, usual(1)])
    compact(run)
    data = STORE.get(f"{run.folder}/records/0.parquet")
    shutil.rmtree(tmp_path / "layer")
    run = made(tmp_path, 2, 2, [{**usual(0), "notes": {"n": 1.0}}, usual(1)])
    STORE.put(f"{run.folder}/records/0.parquet", data or b"")
    with pytest.raises(TransientError):
        compact(run)


def test_records_that_are_missing_are_not_compacted(tmp_path: Path) -> None:
    run = made(tmp_path, 14, 3)
    STORE.delete(f"{run.folder}/records/0/3-6.jsonl")
    before = tree(tmp_path)
    with pytest.raises(DataError, match="records/0: records of a finished run are missing"):
        compact(run)
    STORE.put(f"{run.folder}/records/0/3-6.jsonl", b'{"unit": 3}\n{"unit": 5}\n')
    with pytest.raises(DataError, match="no line of unit 4"):
        compact(run)
    STORE.delete(f"{run.folder}/records/0/3-6.jsonl")
    assert tree(tmp_path) == before


# Which runs.


@pytest.fixture
def layer(tmp_path: Path) -> str:
    np.save(tmp_path / "em.npy", np.random.default_rng(0).integers(0, 255, (32, 16, 16), np.uint8))
    run.inline(Create(source=str(tmp_path / "em.npy"), layer=str(tmp_path / "em"), axes="xyz",
                      chunk=(8, 8, 8), cell=(16, 16, 16)))  # fmt: skip
    run.inline(Downsample(layer=str(tmp_path / "em"), num_mips=1))
    return f"file://{tmp_path}/em"


def steps(layer: str) -> Callable[..., RecordsCompact]:
    return lambda **more: next(RecordsCompact(layer=layer, **more).steps(IO()))  # type: ignore[return-value]


def test_true_runs_are_compacted_once_and_those_of_this_stage_stay(layer: str) -> None:
    runs = list(history.runs(STORE, layer))[::-1]
    before = [spelt(records.all_lines(STORE, one)) for one in runs]
    assert steps(layer)().runs == tuple(one.id for one in runs)
    (done,) = chains.here(RecordsCompact(layer=layer), 1, lambda _: None)
    assert [spelt(records.all_lines(STORE, one)) for one in runs] == before
    assert all(url.endswith(".parquet") for one in runs for url in (f.url for f in records.stored(STORE, one)))
    lines = list(records.all_lines(STORE, done))
    assert [line["what"] for line in lines] == [[one.id, 0] for one in runs]
    assert [line["notes"]["lines"] for line in lines] == [one.units for one in runs]
    assert [line["writes"] for line in lines] == [[], []], "records are no data of the layer"
    assert steps(layer)().runs == (), "nothing is left to do"
    assert len(steps(layer)().units(IO())) == 2, "which a second run finds, and finishes"
    before_again = tree(Path(layer.removeprefix("file://")) / "runs" / runs[0].id)
    compact(runs[0])
    assert tree(Path(layer.removeprefix("file://")) / "runs" / runs[0].id) == before_again


def test_runs_that_go_on_are_left_alone(layer: str) -> None:
    newest, oldest = history.runs(STORE, layer)
    records.clear_mark(STORE, newest, "finished")
    assert steps(layer)().runs == (oldest.id,)
    with pytest.raises(SpecError, match=f"{newest.id} is not finished"):
        RecordsCompact(layer=layer, runs=(newest.id,)).units(IO())
    with pytest.raises(DataError, match="there is no run here"):
        RecordsCompact(layer=layer, runs=("nothing",)).units(IO())


def test_units_stay_the_same_while_others_finish(layer: str) -> None:
    newest, oldest = history.runs(STORE, layer)
    records.clear_mark(STORE, newest, "finished")
    stage = steps(layer)()
    before = list(stage.units(IO()))
    compact(oldest)
    records.mark_finished(STORE, newest)
    assert stage.units(IO()) == before


def test_memory_is_declared_by_what_lies_there(tmp_path: Path) -> None:
    run = made(tmp_path, 4000, 1000)
    text = sum(len(data) for name, data in tree(tmp_path).items() if name.endswith(".jsonl"))
    stage = RecordsCompact(layer=run.home)
    (unit,) = stage.units(IO())
    assert stage.peak_bytes(unit, IO()) > 7 * text
    compact(run)
    assert stage.peak_bytes(unit, IO()) == 1 << 24, "of what is compacted already nothing is read"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
def test_a_task_takes_no_more_memory_than_it_declares(tmp_path: Path) -> None:
    big, small = made(tmp_path / "big", 12_000, 1000), made(tmp_path / "small", 10, 10)
    stage = RecordsCompact(layer=big.home)
    declared = stage.peak_bytes((big.id, 0), IO())
    words = [json.dumps(to_dict(RecordsCompact(layer=one.home))) for one in (big, small)]
    done = subprocess.run([sys.executable, "-c", MEASURE, *words], capture_output=True, text=True, check=True)
    taken, _ = json.loads(done.stdout)
    assert 0 < taken <= declared, f"{taken / 1e6:.0f} MB and declares {declared / 1e6:.0f} MB"
    print(f"{taken / 1e6:.0f} of {declared / 1e6:.0f} MB")  # noqa: T201 - shown with -s
