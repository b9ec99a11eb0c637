"""Holds leases, keeps them alive, and hands messages to children; it runs no kernel and touches no storage.

A kernel that holds the interpreter's lock, crashes or eats all memory therefore stops neither the heartbeat nor the
answer to a signal. How a message fares in its child is the business of :mod:`igneous_ng.worker.slot`.
"""

from __future__ import annotations

import dataclasses
import logging
import selectors
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

from igneous_ng import redaction
from igneous_ng.errors import ConfigurationError, SpecError, TransientError, VersionError
from igneous_ng.queues import Counts, Lease, MissingQueue, Queue
from igneous_ng.records import Message, Run
from igneous_ng.worker import machine, verdicts
from igneous_ng.worker.admission import Admission
from igneous_ng.worker.crew import Crew
from igneous_ng.worker.events import Event, Sink
from igneous_ng.worker.job import Job
from igneous_ng.worker.policy import Policy
from igneous_ng.worker.sharing import share
from igneous_ng.worker.slot import PARKED_S, Slot, Surroundings
from igneous_ng.worker.speculation import PATIENCE, private

log = logging.getLogger(__name__)

_TICK_S = 0.2
_ALIVE_S = 5.0  # between two signs of life
_LOOKING_S = 1.0  # for a message that is for this worker, now; then hearts must beat
_LAST_WORDS_S = 0.3  # for units that are all but done when a signal comes
_LAST_RECORDS_S = 0.4  # for storing what was heard of them
_LATEST_S = 3600.0  # how long a message may be put off
_UNSETTLED_S = 30.0  # how long an empty queue is asked again although records say that work is left
_UNSETTLED_INEXACT_S = 90.0  # the same where counts lag: those of SQS by a minute, and half of one to be sure


class Supervisor:
    """Works on one queue until it is empty, or for ever, or until a signal comes.

    ``crew`` makes its processes; without one it has its own. ``unsettled`` are runs that this worker met and that
    lacked records when the queue was empty.
    """

    def __init__(self, queue: Queue, policy: Policy, sink: Sink, crew: Crew | None = None) -> None:
        self._crew = crew
        self.queue, self.policy, self.sink = queue, policy, sink
        self.stopped = False
        self.unsettled: list[str] = []
        self.slots: list[Slot] = []
        self._until = policy.until or machine.end_of_walltime()
        self._waiting: Job | None = None
        self._runs: dict[str, Run] = {}
        self._next_look, self._empty = 0.0, 0
        self._empty_since: float | None = None
        self._just_looked = False
        self._shown = time.monotonic()
        self._unfit: dict[str, tuple[float, str]] = {}

    def work(self) -> bool:
        """Work; False where a signal or the end of walltime came before the queue was empty. Leases are given back."""
        own = nullcontext(self._crew) if self._crew else Crew(self.policy.roots)
        with machine.heeding(self._stop), own as crew:
            try:
                self._begin(crew)
                while not self.stopped:
                    self._assign()
                    if self._over():
                        return True
                    self._listen(_TICK_S)
                    self._watch()
                return False
            finally:
                self._end()

    def _begin(self, crew: Crew) -> None:
        room = self.policy.memory or machine.granted_memory()
        around = Surroundings(crew, self._hear, room, machine.Cgroup.mine().kills, self._until)
        gpus = machine.gpus() if self.policy.gpus == ("auto",) else self.policy.gpus
        devices = [None] * self.policy.processes + list(gpus)
        self.admission = Admission(room, len(devices))
        self.slots = [Slot(number, around, device) for number, device in enumerate(devices)]

    def _stop(self) -> None:
        self.stopped = True

    def _hear(self, event: Event) -> None:
        if event.kind in ("split", "failed"):  # something new may wait
            self._look_soon()
        elif event.cause == "version" and event.message is not None:
            job = self.slots[event.slot].job
            self._unfit[job.lease.id if job else event.message.to_json()] = time.monotonic(), event.text
        self.sink(event)

    # Taking messages.

    def _assign(self) -> None:
        while any(slot.job is None for slot in self.slots) and not self.stopped:
            if self._waiting is None and not self._take():
                return
            if not self._start():
                return

    def _take(self) -> bool:
        """Lease one message that can be done here; it waits until there is room for it."""
        end = time.monotonic() + _LOOKING_S
        while self._next_look <= time.monotonic() < end and not self.stopped:
            try:
                lease = self.queue.lease(self.policy.lease)
            except TransientError as error:
                log.warning("the queue cannot be read and will be tried again: %s", error)
                lease = None
            except MissingQueue as error:
                if not self.policy.wait:
                    raise
                if not self._empty:
                    log.warning("%s. This worker waits for it", error)
                lease = None
            if lease is None:
                self._look_later()
                return False
            self._look_soon()
            self._waiting = self._fit(lease)
            if self._waiting is not None:
                return True
        return False

    def _fit(self, lease: Lease) -> Job | None:
        """What is to be done with a message; None where that was to give it back or to lay it aside."""
        try:
            message = Message.parse(lease.body)
        except VersionError as error:
            self._leave(lease, None, redaction.redacted(str(error)))
            return None
        except SpecError as error:
            self._lay_aside(lease, None, redaction.redacted(str(error)))
            return None
        if message.verdict:
            why = redaction.redacted(message.verdict).strip()
            self._lay_aside(lease, message, why or "it was given up, and nobody said why")
            return None
        early = message.after - time.time()
        if 0 < early < _LATEST_S:  # a later time was set by no worker
            with suppress(TransientError):
                self.queue.release(lease, delay=min(early, PARKED_S))
            return None
        refusal = self.admission.refusal(message, [slot.device for slot in self.slots])
        if refusal is not None:
            self._leave(lease, message, refusal)
            return None
        return self._job(lease, message)

    def _job(self, lease: Lease, message: Message) -> Job:
        self._runs.setdefault(message.run.id, message.run)
        careful = lease.attempt >= verdicts.CAREFUL
        if careful:
            message = dataclasses.replace(message, alone=True)
        return Job(self.queue, lease, message, self.admission.depth(message), careful)

    def _leave(self, lease: Lease, message: Message | None, why: str) -> None:
        """Give back what another worker must do."""
        self._unfit[lease.id] = time.monotonic(), why
        with suppress(TransientError):
            self.queue.release(lease, delay=PARKED_S)
        self.sink(Event("left", message, text=why))

    def _lay_aside(self, lease: Lease, message: Message | None, why: str) -> None:
        """A dead letter that was judged before, or that nobody can read."""
        with suppress(TransientError):
            self.queue.fail(lease, why)
        if message is None:
            self.sink(Event("dead", None, cause="request", text=why))

    def _start(self) -> bool:
        """Hand the waiting message to a free slot, if there is room for it now."""
        job = self._waiting
        assert job is not None
        free = [slot for slot in self.slots if slot.job is None and self.admission.suits(job.message, slot.device)]
        if not free or not self.admission.admits(job, [slot.job for slot in self.slots if slot.job is not None]):
            return False
        self._waiting = None
        free[0].take(job)
        return True

    # The queue when it has nothing.

    def _look_soon(self) -> None:
        self._next_look, self._empty = 0.0, 0
        self._empty_since = None

    def _look_later(self) -> None:
        now, wait = time.monotonic(), self.policy.pause(self._empty)
        self._empty += 1
        self._empty_since = self._empty_since or now
        self._just_looked = True
        self._next_look = now + wait
        self.sink(Event("idle", figures={"seconds": wait}))

    def _busy(self) -> bool:
        return self._waiting is not None or any(slot.job for slot in self.slots)

    def _over(self) -> bool:
        """Whether there is nothing to do and nothing to come."""
        if not self._just_looked or self._busy() or self.policy.wait:
            return False
        self._just_looked = False
        self._speculate()
        if self._busy():
            return False
        with suppress(TransientError):  # then nobody knows, and there is another look
            counts = self.queue.counts()
            self._refuse_rest(counts)
            if self.queue.exact and (counts.waiting or (counts.leased and not self._all_known())):
                return False
            return self._settled(counts) or (self._patience_is_over() and not counts.waiting and not counts.leased)
        return False

    def _refuse_rest(self, counts: Counts) -> None:
        """ConfigurationError where all that waits is what this worker has just given back."""
        now = time.monotonic()
        self._unfit = {key: (seen, why) for key, (seen, why) in self._unfit.items() if now - seen < PARKED_S}
        if self._unfit and counts.waiting <= len(self._unfit) and not counts.leased:
            reasons = sorted({why for _, why in self._unfit.values()})
            raise ConfigurationError("only tasks that this worker cannot execute are left: " + "; ".join(reasons))

    def _all_known(self) -> bool:
        """Whether all that others hold belongs to runs whose records can be looked at."""
        held = map(Message.known, self.queue.held())
        return all(message is not None and message.run.id in self._runs for message in held)

    def _settled(self, counts: Counts) -> bool:
        """Whether the records of all runs that were met say that nothing is left to do."""
        if not self._runs:
            return self.queue.exact and not counts.leased
        self.unsettled = self._ask("settled").get("unsettled", [*self._runs])
        return not self.unsettled

    def _ask(self, what: str) -> dict[str, Any]:
        """Let an idle child look into the records of all runs that were met."""
        slot = self.slots[0]
        slot.ask_of(self._runs.values(), what)
        while slot.answer is None and not self.stopped:
            self._listen(_TICK_S)
        return slot.answer or {}

    def _speculate(self) -> None:
        """With nothing else to do, do again what others have had in hand for long."""
        empty_since = self._empty_since
        if not self.policy.speculate or empty_since is None:
            return
        self._meet_held()
        if not self._runs:
            return
        found = self._ask("straggler")
        if found.get("body") and time.monotonic() - empty_since > PATIENCE * found["seconds"]:
            self.slots[0].take(private(Message.parse(found["body"]), self.policy.lease))

    def _meet_held(self) -> None:
        """Learn the runs of what others hold: a worker that came last has met none of its own."""
        with suppress(TransientError):
            for message in map(Message.known, self.queue.held() if self.queue.exact else ()):
                if message is not None:
                    self._runs.setdefault(message.run.id, message.run)

    def _patience_is_over(self) -> bool:
        assert self._empty_since is not None
        patience = _UNSETTLED_S if self.queue.exact else _UNSETTLED_INEXACT_S
        return time.monotonic() - self._empty_since > patience

    # Watching.

    def _listen(self, seconds: float) -> None:
        self._show_life()
        with selectors.DefaultSelector() as selector:
            for slot in self.slots:
                selector.register(slot.child, selectors.EVENT_READ, slot)
            ready = [key.data for key, _ in selector.select(seconds)]
        for slot in ready:
            slot.hear()

    def _show_life(self) -> None:
        """Say now and then that hearts beat and signals are heard, whatever the children do."""
        if time.monotonic() - self._shown >= _ALIVE_S:
            self._shown = time.monotonic()
            self.sink(Event("alive"))

    def _watch(self) -> None:
        for slot in self.slots:
            slot.beat(self.policy.lease)
        self._beat_waiting()
        self.admission.watch(self.slots)
        self._limit_time()
        share(self.slots, self.queue)
        self._mind_walltime()

    def _beat_waiting(self) -> None:
        job, now = self._waiting, time.monotonic()
        if job is not None and now - job.renewed > self.policy.lease / 3:
            with suppress(TransientError):
                if not self.queue.renew(job.lease, self.policy.lease):
                    self._waiting = None
                job.renewed = now

    def _limit_time(self) -> None:
        limit = self.policy.time_limit
        for slot in self.slots:
            if limit is not None and slot.job is not None and slot.job.started and not slot.ended_by:
                since = max(slot.job.progressed, min(slot.job.started.values()))
                if time.monotonic() - since > limit:
                    slot.kill("time limit", f"it took more than {limit:g} s")

    def _mind_walltime(self) -> None:
        """Stop before the batch system does, once no unit would fit in what is left."""
        if self._until is not None and not any(slot.job for slot in self.slots):
            longest = max(slot.longest for slot in self.slots)
            self.stopped = self.stopped or time.time() + longest > self._until

    # The end.

    def _end(self) -> None:
        """Give everything back: what is nearly done has a moment to end, what was heard of is stored."""
        busy = [slot for slot in self.slots if slot.job is not None]
        for slot in busy:
            slot.child.ask("stop")
        self._listen_until(lambda: not any(slot.job for slot in busy), _LAST_WORDS_S)
        saving = [slot for slot in busy if slot.save()]
        for slot in busy:
            if slot.job is not None and slot not in saving:
                slot.release("interrupted")
        self._listen_until(lambda: not any(slot.job for slot in saving), _LAST_RECORDS_S)
        for slot in saving:
            if slot.job is not None:
                slot.release("interrupted")
        if self._waiting is not None:
            with suppress(TransientError):
                self.queue.release(self._waiting.lease)
        for slot in self.slots:
            slot.close(at_once=slot in busy)

    def _listen_until(self, reached: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not reached() and time.monotonic() < end:
            self._listen(max(0.0, end - time.monotonic()))
