"""What a person wants of a run: stop it, hold it, let it go on, try again what was given up, or do what is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from igneous_ng import history, records, status
from igneous_ng.errors import SpecError
from igneous_ng.queues import Queue
from igneous_ng.records import Message, Run
from igneous_ng.spans import Spans, size, without
from igneous_ng.store import Store


def cancel(store: Store, run: Run) -> None:
    """Let no worker begin another unit of ``run``; what is recorded stays. SpecError where it is finished."""
    if records.finished(store, run):
        raise SpecError(f"{run.folder} is finished; there is nothing left to cancel")
    records.set_mark(store, run, "cancelled")


def pause(store: Store, run: Run) -> None:
    """Let workers leave ``run`` alone until it is resumed. SpecError where it is finished or cancelled."""
    for word in ("finished", "cancelled"):
        if records.marked(store, run, word):
            raise SpecError(f"{run.folder} is {word}; only a run that goes on can be paused")
    records.set_mark(store, run, "paused")


def resume(store: Store, run: Run) -> None:
    """Let workers go on with a paused run. SpecError where it was cancelled: its messages may be gone."""
    if records.marked(store, run, "cancelled"):
        raise SpecError(
            f"{run.folder} was cancelled; to take it up again give the command that made it, with --missing: "
            f"igneous-ng {run.name} ... --missing"
        )
    records.clear_mark(store, run, "paused")


def retry(store: Store, queue: Queue, ids: Collection[str] | None = None) -> int:
    """Put dead letters of ``queue``, all or those with these ``ids``, back; their units count as missing again."""
    letters = [letter for letter in queue.dead() if ids is None or letter.id in ids]
    if absent := sorted(set(ids or ()) - {letter.id for letter in letters}):
        raise SpecError(f"{queue.url} has no dead letter {absent[0]}; `igneous-ng queue dead ls` shows those there are")
    as_they_are: list[str] = []
    for letter in letters:
        message = Message.known(letter.body)
        if message is not None:
            records.take_up(store, message)  # first, for a worker may fail at it again at once
        if message is None or message == message.renewed():
            as_they_are.append(letter.id)
        else:  # the new one first: a death between the two leaves both, and then one finds the records of the other
            queue.put([message.renewed().to_json()], priority=message.priority)
            queue.forget_dead([letter.id])
    queue.retry_dead(as_they_are)
    return len(letters)


# Going on with a run that was begun before.


def earlier(store: Store, wanted: Run, missing: bool, queue: str | None) -> Run | None:
    """The run to continue instead of beginning ``wanted``; SpecError where ``missing`` asks for one that is not.

    That is the newest run of the very request, if it is on this ``queue`` and to be worked on, or if ``missing``.
    """
    found = history.same(store, wanted)
    if missing:
        if found is None:
            raise SpecError(
                f"{wanted.name}: no run of this very request, of {wanted.units} units, is recorded in "
                f"{wanted.home}/runs; ask without --missing to begin one"
            )
        records.clear_mark(store, found, "cancelled")
        records.clear_mark(store, found, "stopped")
        return found
    if found is None or queue is None or records.queue_of(store, found) != queue:
        return None
    over = records.finished(store, found) or records.marked(store, found, "cancelled")
    return None if over else found


def lacking(store: Store, run: Run, queue: Queue | None = None) -> Spans:
    """The units that messages must name for ``run`` to be finished; what was given up is taken up.

    Units that are leased on ``queue``, or that its dead letters name, are left out; those letters are put back.
    """
    if records.finished(store, run):
        return []
    given_up = records.dead(store, run)
    for lo, hi in given_up:
        records.take_up(store, Message(run, lo, hi))
    left = records.unwritten(store, run) or [(run.units - 1, run.units)]  # if only publishing is left, any will do
    if queue is None:
        return left
    with contextlib.suppress(SpecError):  # SQS cannot show what is leased; work done twice is only time
        left = without(left, status.leased(queue, run))
    return without(left, _revived(queue, run)) if given_up else left


def hidden(queue: Queue) -> int:
    """How many messages, about, wait or are leased on a queue that cannot show them; 0 where it can."""
    try:
        next(iter(queue.held()), None)
    except SpecError:
        counts = queue.counts()
        return counts.waiting + counts.leased
    return 0


def _revived(queue: Queue, run: Run) -> Spans:
    """Put the dead letters of ``run`` back; the units that they name."""
    found = ((letter.id, Message.known(letter.body)) for letter in queue.dead())
    own = {ident: message for ident, message in found if message is not None and message.run.id == run.id}
    queue.retry_dead(list(own))
    return [(message.lo, message.hi) for message in own.values()]


def continued(store: Store, run: Run) -> str:
    """What is continued, in words for people."""
    if records.finished(store, run):
        return f"run {run.id} of this very request is finished already"
    held = " (which is paused: igneous-ng resume lets it go on)" if records.marked(store, run, "paused") else ""
    left = size(records.missing(store, run))
    return f"continuing run {run.id}{held}: {left} of {run.units} units have no record"
