"""Cancelling, pausing, trying again; and that a request put twice is done once."""

from __future__ import annotations

import dataclasses
import uuid
from pathlib import Path

import numpy as np
import pytest

from igneous_ng import history, queues, records, run, status, steering
from igneous_ng.errors import SpecError
from igneous_ng.queues import Queue
from igneous_ng.records import Message, Run
from igneous_ng.stages.image_create import Create
from igneous_ng.store import Store
from igneous_ng.worker import task
from igneous_ng.worker.task import Task
from tests.test_evidence import line

STORE = Store()


@pytest.fixture
def stage(tmp_path: Path) -> Create:
    np.save(tmp_path / "em.npy", np.zeros((64, 32, 32), np.uint8))
    layer, source = str(tmp_path / "em"), str(tmp_path / "em.npy")
    return Create(source=source, layer=layer, axes="xyz", chunk=(16, 16, 16), cell=(16, 16, 16))


@pytest.fixture
def queue() -> Queue:
    return queues.connect(f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def said() -> list[str]:
    return []


def execute(queue: Queue, count: int = 1000) -> int:
    """Do at most ``count`` messages, as a worker would."""
    for number in range(count):
        lease = queue.lease(60.0)
        if lease is None:
            return number
        message = Message.parse(lease.body)
        store = task.store_of(message.run)
        Task(message, store).execute()
        task.finish(message, store)
        queue.done(lease)
    return count


def attempts(run: Run) -> int:
    return sum(1 for file in records.stored(STORE, run) for _ in records.lines_of(STORE, file))


# Marks.


def test_a_run_is_paused_resumed_and_cancelled(stage: Create, queue: Queue) -> None:
    ready = run.enqueue(stage, queue.url)
    steering.pause(STORE, ready)
    assert records.marked(STORE, ready, "paused")
    steering.resume(STORE, ready)
    assert not records.marked(STORE, ready, "paused")
    steering.resume(STORE, ready)
    steering.cancel(STORE, ready)
    assert records.marked(STORE, ready, "cancelled")
    with pytest.raises(SpecError, match="is cancelled; only a run that goes on can be paused"):
        steering.pause(STORE, ready)
    with pytest.raises(SpecError, match="igneous-ng image create ... --missing"):
        steering.resume(STORE, ready)


def test_a_finished_run_is_neither_paused_nor_cancelled(stage: Create) -> None:
    ready = run.inline(stage)
    with pytest.raises(SpecError, match="is finished"):
        steering.pause(STORE, ready)
    with pytest.raises(SpecError, match="is finished"):
        steering.cancel(STORE, ready)


# Dead letters.


def test_retried_letters_are_missing_again(stage: Create, queue: Queue) -> None:
    ready = run.enqueue(stage, queue.url)
    for _ in range(2):
        lease = queue.lease(60.0)
        assert lease is not None
        records.give_up(STORE, Message.parse(lease.body), {"cause": "data"})
        queue.fail(lease, "no")
    queue.put(["not a message"])
    while (lease := queue.lease(60.0)) is not None:
        if lease.body == "not a message":
            queue.fail(lease, "unreadable")
    assert len(records.dead(STORE, ready)) == 2
    one = next(letter for letter in queue.dead() if letter.body != "not a message")
    with pytest.raises(SpecError, match="no dead letter nothing"):
        steering.retry(STORE, queue, ["nothing", one.id])
    assert len(records.dead(STORE, ready)) == 2
    assert steering.retry(STORE, queue, [one.id]) == 1
    assert len(records.dead(STORE, ready)) == 1
    assert steering.retry(STORE, queue) == 2
    assert records.dead(STORE, ready) == []
    assert queue.counts().dead == 0


# The same request again.


def test_a_request_put_twice_is_done_once(stage: Create, queue: Queue, said: list[str]) -> None:
    first = run.enqueue(stage, queue.url, tell=said.append)
    assert said == []
    assert execute(queue, 3) == 3
    held = queue.lease(60.0)
    assert held is not None
    again = run.enqueue(stage, queue.url, tell=said.append)
    assert again == first
    assert len(said) == 1
    assert f"continuing run {first.id}: 13 of 16 units have no record; 0 messages put" in said[0]
    assert dataclasses.astuple(queue.counts()) == (12, 1, 0)
    queue.release(held)
    execute(queue)
    assert records.finished(STORE, first)
    assert attempts(first) == 16
    other = run.enqueue(stage, queue.url, tell=said.append)
    assert other.id != first.id, "a finished run is not continued unless --missing says so"


def test_messages_that_were_lost_are_put_again(stage: Create, queue: Queue, said: list[str]) -> None:
    first = run.enqueue(stage, queue.url)
    execute(queue, 3)
    queue.purge()
    assert run.enqueue(stage, queue.url, tell=said.append) == first
    assert "13 messages put" in said[0]
    execute(queue)
    assert records.finished(STORE, first)


def test_a_back_end_that_cannot_show_its_messages_gets_more_when_it_has_none(
    stage: Create, queue: Queue, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Queue) -> None:
        raise SpecError("SQS cannot show them")

    first = run.enqueue(stage, queue.url)
    monkeypatch.setattr(type(queue), "held", refuse)
    assert run.enqueue(stage, queue.url, tell=said.append) == first
    assert f"nothing was put, for {queue.url} has 16 messages and cannot show which" in said[0]
    assert queue.counts().waiting == 16
    queue.purge()
    assert run.enqueue(stage, queue.url, tell=said.append) == first
    assert "16 messages put" in said[1]
    execute(queue, 3)
    queue.put(["another's"])
    run.enqueue(stage, queue.url, missing=True)
    assert queue.counts().waiting == 14


def test_what_is_only_in_a_checkpoint_is_put_again_or_the_run_would_never_be_complete(
    stage: Create, queue: Queue
) -> None:
    first = run.enqueue(stage, queue.url)
    message = next(first.messages())
    execute(queue)
    url = f"{message.folder}/{message.lo}-{message.hi}"
    data = STORE.get(f"{url}.jsonl")
    assert data is not None
    STORE.delete(f"{url}.jsonl")
    STORE.put(f"{url}.killed.part", data)
    records.clear_mark(STORE, first, "finished")
    assert records.missing(STORE, first) == []
    run.enqueue(stage, queue.url)
    assert execute(queue) == 1
    assert records.complete(STORE, first)
    assert records.finished(STORE, first)


def test_a_run_that_only_lacks_publication_gets_one_message(stage: Create, queue: Queue) -> None:
    first = run.enqueue(stage, queue.url)
    execute(queue)
    records.clear_mark(STORE, first, "finished")
    assert run.enqueue(stage, queue.url) == first
    assert execute(queue) == 1
    assert records.finished(STORE, first)


def test_dead_letters_of_a_continued_run_are_tried_again(stage: Create, queue: Queue, said: list[str]) -> None:
    first = run.enqueue(stage, queue.url)
    other = run.enqueue(dataclasses.replace(stage, layer=f"{stage.layer}2"), queue.url)
    for _ in range(32):
        lease = queue.lease(60.0)
        assert lease is not None
        message = Message.parse(lease.body)
        if message.lo == 0:
            records.give_up(STORE, message, {"cause": "data"})
            queue.fail(lease, "no")
        else:
            queue.done(lease)
            records.write(STORE, message, {u: line(u) for u in range(message.lo, message.hi)})
    assert run.enqueue(stage, queue.url, tell=said.append) == first
    assert "0 messages put" in said[0], "the letter itself comes back, so that it is not on the queue twice"
    assert dataclasses.astuple(queue.counts()) == (1, 0, 1)
    assert records.dead(STORE, first) == []
    assert len(records.dead(STORE, other)) == 1


def test_another_queue_a_cancelled_run_and_another_request_begin_anew(stage: Create, queue: Queue) -> None:
    first = run.enqueue(stage, queue.url)
    elsewhere = queues.connect(f"memory://{uuid.uuid4().hex}")
    second = run.enqueue(stage, elsewhere.url)
    assert second.id != first.id
    assert elsewhere.counts().waiting == 16
    steering.cancel(STORE, second)
    third = run.enqueue(stage, elsewhere.url)
    assert third.id not in (first.id, second.id)
    other = dataclasses.replace(stage, memory=10**9)
    with pytest.raises(SpecError, match="writes there, too, and is not finished"):
        run.enqueue(other, elsewhere.url)
    for one in (first, third):
        steering.cancel(STORE, one)
    assert run.enqueue(other, elsewhere.url).id != third.id


# --missing.


def test_missing_asks_for_a_run_to_continue(stage: Create, queue: Queue, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="ask without --missing to begin one"):
        run.enqueue(stage, queue.url, missing=True)
    with pytest.raises(SpecError, match="no run of this very request, of 16 units"):
        run.here(stage, missing=True)
    assert not (tmp_path / "em").exists()


def test_missing_takes_a_run_to_another_queue_a_cancelled_one_too(stage: Create, queue: Queue) -> None:
    first = run.enqueue(stage, queue.url)
    execute(queue, 5)
    steering.cancel(STORE, first)
    elsewhere = queues.connect(f"memory://{uuid.uuid4().hex}")
    assert run.enqueue(stage, elsewhere.url, "high", missing=True) == first
    assert not records.marked(STORE, first, "cancelled")
    assert records.queue_of(STORE, first) == elsewhere.url
    assert elsewhere.counts().waiting == 11
    execute(elsewhere)
    assert records.finished(STORE, first)
    assert attempts(first) == 16


def test_missing_of_a_finished_run_puts_nothing(stage: Create, queue: Queue, said: list[str]) -> None:
    done = run.inline(stage)
    assert run.enqueue(stage, queue.url, missing=True, tell=said.append) == done
    assert "is finished already" in said[0]
    assert queue.counts().waiting == 0


def test_a_run_interrupted_here_is_continued_here(stage: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    real, left = Task.execute, [5]

    def interrupted(task: Task) -> str:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return real(task)

    monkeypatch.setattr(Task, "execute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.inline(stage)
    monkeypatch.undo()
    before = status.look(STORE, history.find(STORE, stage.home()))
    assert (before.done, before.state) == (5, "working")
    records.give_up(STORE, Message(records.load(STORE, before.folder), 7, 8), {"cause": "data"})
    done = run.here(stage, missing=True)
    assert done.folder == before.folder
    assert records.finished(STORE, done)
    assert attempts(done) == 16
    assert records.dead(STORE, done) == []
