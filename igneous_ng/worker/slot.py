"""One child and the message in its hands: from the request to the acknowledgement, and through every death."""

from __future__ import annotations

import dataclasses
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from igneous_ng.errors import TransientError
from igneous_ng.records import Run
from igneous_ng.worker import verdicts
from igneous_ng.worker.crew import Child, Crew
from igneous_ng.worker.events import Cause, Event, Kind, Sink
from igneous_ng.worker.job import Job

log = logging.getLogger(__name__)

PARKED_S = 60.0  # what cannot be done now or here is looked at again after this time
_HOST = socket.gethostname()


@dataclass(frozen=True)
class Surroundings:
    """What slots share: how children are made, who hears of things, all memory, and a count of the kernel's kills."""

    crew: Crew
    sink: Sink
    room: int
    kills: Callable[[], int]
    until: float | None = None


class Slot:
    """Runs one message after the other in a child of its own; ``device`` is the accelerator that is its alone."""

    def __init__(self, number: int, around: Surroundings, device: str | None = None) -> None:
        self.number, self.around, self.device = number, around, device
        self.job: Job | None = None
        self.state = ""
        self.ended_by: Cause = ""
        self.ended_text = ""
        self.longest = 0.0
        self.answer: dict[str, Any] | None = None
        self.child = self._born()

    def _born(self) -> Child:
        self._kills = self.around.kills()
        if self.device is None:
            return self.around.crew.fork()
        return self.around.crew.spawn({"CUDA_VISIBLE_DEVICES": self.device})

    # What a supervisor asks of it.

    def take(self, job: Job) -> None:
        """Begin with a message."""
        self.job, self.state = job, "executing"
        self.child.forget_errors()
        self._say("leased")
        if job.lease.attempt > verdicts.DELIVERIES:
            self._give_up_vanished(job)
            return
        self._ask("execute", attempt=job.lease.attempt, depth=job.depth, until=self.around.until, longest=self.longest)

    def keep(self, units: int) -> None:
        """Leave all but so many units of the message to others."""
        self.child.ask("keep", units=units)

    def ask_of(self, runs: Iterable[Run], what: str) -> None:
        """Find out ``settled`` or ``straggler`` of these runs; ``answer`` has it in time."""
        self.answer = None
        self.child.ask(what, runs=[dataclasses.asdict(run) for run in runs])

    def kill(self, cause: Cause, text: str = "") -> None:
        """End the child, for this cause."""
        self.ended_by, self.ended_text = cause, text
        self.child.kill()

    def drop(self, why: str) -> None:
        """Stop work on a message that is no longer ours."""
        self._say("left", text=why)
        self.job = None
        self._replace_child()

    def save(self) -> bool:
        """Let a fresh child store what was heard of the message, which then goes back; False: there is nothing."""
        if self.job is None or self.state != "executing" or not self.job.lines:
            return False
        self._replace_child()
        self.state = "preempted"
        self._ask_note(self.job, [])
        return True

    def close(self, at_once: bool) -> None:
        """End the child: whatever it does, or as its input ends."""
        if at_once:
            self.child.kill()
        self.child.close()

    # What the child says.

    def hear(self) -> None:
        """Take in what the child has said, or its death."""
        events, alive = self.child.events()
        for event in events:
            self._react(event)
        if not alive:
            self._bury()

    def _react(self, event: dict[str, Any]) -> None:
        name = event.pop("event")
        if name in ("settled", "straggler") or (name == "error" and self.job is None):
            self.answer = event
        elif self.job is not None:
            getattr(self, f"_on_{name}")(self.job, event)

    def _on_begun(self, job: Job, event: dict[str, Any]) -> None:
        job.missing = [(lo, hi) for lo, hi in event["missing"]]
        if job.careful:
            self.keep(1)

    def _on_started(self, job: Job, event: dict[str, Any]) -> None:
        job.started[event["unit"]] = time.monotonic()
        self._say("started", unit=event["unit"])

    def _on_unit(self, job: Job, event: dict[str, Any]) -> None:
        line = event["line"]
        job.lines[event["unit"]] = line
        self._ended(job, event["unit"], line)
        keys = ("seconds", "cpu_seconds", "peak_bytes", "attempt")
        self._say("unit", unit=event["unit"], figures={key: line[key] for key in keys})

    def _on_failed(self, job: Job, event: dict[str, Any]) -> None:
        self._ended(job, event["unit"], event)
        self._fail(job, event["unit"], event)

    def _on_given(self, job: Job, event: dict[str, Any]) -> None:
        for lo, hi in event["spans"]:
            self._say("split", text=f"units {lo}-{hi} are for others")
        job.give([(lo, hi) for lo, hi in event["spans"]])
        with _tolerated("putting a part of a message"):
            job.put(job.given)

    def _on_executed(self, job: Job, event: dict[str, Any]) -> None:
        if event["stopped"] == "cancelled":
            self._settle(job)
        elif event["stopped"]:
            self.release(event["stopped"], delay=PARKED_S if event["stopped"] == "paused" else 0.0)
        elif job.failures:
            self._note(job)
        else:
            self.state = "finishing"
            self._ask("finish")

    def _on_noted(self, job: Job, _event: dict[str, Any]) -> None:
        if self.state == "saving":
            self.release("its process was killed; the units that were finished are recorded", counts=True)
        elif self.state == "preempted":
            self.release("interrupted; the units that were finished are recorded")
        else:
            self._settle(job)

    def _on_finished(self, job: Job, _event: dict[str, Any]) -> None:
        self._settle(job)

    def _on_error(self, job: Job, event: dict[str, Any]) -> None:
        """The message as a whole failed: it cannot be read, or storage fails."""
        if event["cause"] == "version":
            self.release(event["text"], cause="version", delay=PARKED_S)
        else:
            self._fail_all(job, event["cause"], event["text"])

    def _ended(self, job: Job, unit: int, figures: dict[str, Any]) -> None:
        job.started.pop(unit, None)
        job.progressed = time.monotonic()
        job.peak_bytes = max(job.peak_bytes, figures["peak_bytes"])
        self.longest = max(self.longest, figures["seconds"])

    # Deaths.

    def _bury(self) -> None:
        job, errors, pid = self.job, self.child.errors(), self.child.pid
        status = self.around.crew.status(self.child)
        cause = self.ended_by or verdicts.cause_of_death(status, self.around.kills() > self._kills)
        text = "\n".join(filter(None, (self.ended_text if self.ended_by else _died(status), errors)))
        self._raise_child()
        if job is None:
            return
        if self.state != "executing":
            self.state = ""
            self._fail_all(job, cause, text)
        elif cause == "killed":
            self.state = "saving"
            self._ask_note(job, [])
        elif not job.started:
            self._fail_all(job, cause, text)
        else:
            self._fail_suspects(job, cause, text, pid)

    def _fail_suspects(self, job: Job, cause: Cause, text: str, pid: int) -> None:
        """Blame the one unit under way; of several each runs alone, so that the guilty one is found."""
        suspects = self._suspects(job, cause)
        for unit in suspects:
            if len(suspects) == 1:
                self._fail(job, unit, {"cause": cause, "text": text, "pid": pid, "peak_bytes": job.peak_bytes})
            else:
                job.owed.append(replace(job.unit(unit), alone=True))
        job.owed += job.parts(job.unfinished(suspects))
        job.started.clear()
        self._note(job)

    def _suspects(self, job: Job, cause: Cause) -> list[int]:
        if cause == "time limit":  # the others only waited for their turn
            return [min(job.started, key=lambda unit: job.started[unit])]
        return sorted(job.started)

    def _replace_child(self) -> None:
        """End the child, whatever it does, and raise another."""
        self.child.kill()
        self.around.crew.status(self.child)
        self._raise_child()

    def _raise_child(self) -> None:
        self.child.close()
        self.ended_by, self.ended_text = "", ""
        self.child = self._born()

    # Failures.

    def _fail(self, job: Job, unit: int, event: dict[str, Any]) -> None:
        """One unit failed: try it again by a message of its own, or give it up."""
        one = job.unit(unit)
        tried = one.tried + 1
        failure = {"pid": self.child.pid, **event, "unit": unit, "tried": tried, "host": _HOST, "time": time.time()}
        failure["dead"] = verdicts.final(failure["cause"], tried)
        job.failures.append(failure)
        if failure["dead"]:
            verdict = verdicts.reason(one, failure)
            if job.message.hi == job.message.lo + 1:
                job.verdict = verdict
            else:
                job.owed.append(replace(one, tried=tried, verdict=verdict))
        else:
            job.owed.append(verdicts.again(one, failure, self.around.room))
        kind: Kind = "dead" if failure["dead"] else "failed"
        self._say(kind, unit=unit, cause=failure["cause"], text=failure["text"])

    def _fail_all(self, job: Job, cause: Cause, text: str) -> None:
        """The message as a whole failed: try it again, or give it up."""
        tried = job.lease.attempt
        if not verdicts.final(cause, tried):
            self._say("failed", cause=cause, text=text)
            self.release(text, counts=True, delay=verdicts.delay(tried))
            return
        self._give_up(job, {"cause": cause, "text": text, "tried": tried})

    def _give_up_vanished(self, job: Job) -> None:
        text = f"{job.lease.attempt - 1} holders of it vanished without a word; does it take all memory?"
        self._give_up(job, {"cause": "killed", "text": text, "tried": job.lease.attempt})

    def _give_up(self, job: Job, what: dict[str, Any]) -> None:
        """Lay the whole message among the dead letters."""
        failure = {**what, "host": _HOST, "time": time.time()}
        job.verdict = verdicts.reason(job.message, failure)
        self._say("dead", cause=failure["cause"], text=failure["text"])
        if self.state == "noting":  # not even that can be stored: the queue at least shall know
            self._settle(job)
            return
        self.state = "noting"
        self._ask_note(job, [[job.message.lo, job.message.hi, failure]])

    def _note(self, job: Job) -> None:
        self.state = "noting"
        self._ask_note(job, [[f["unit"], f["unit"] + 1, f] for f in job.failures if f["dead"]])

    def _ask_note(self, job: Job, given_up: list[Any]) -> None:
        owner = f"{_HOST}-{os.getpid()}-{job.lease.token}".replace(".", "-")
        details = {"lines": list(job.lines.values()), "failures": job.failures, "given_up": given_up}
        self._ask("note", owner=owner, last=self.state == "noting", **details)

    # The end of a message.

    def release(self, why: str, *, cause: Cause = "", counts: bool = False, delay: float = 0.0) -> None:
        """Give the message back."""
        job = self.job
        assert job is not None
        with _tolerated("giving a message back"):
            if job.narrowed:  # others have a part of it: what is left goes back by itself
                job.put([*job.given, replace(job.message, after=time.time() + delay if delay else 0.0)])
                job.queue.done(job.lease)
            else:
                job.queue.release(job.lease, counts=counts, delay=delay)
        self._say("left", cause=cause, text=why)
        self.job = None

    def _settle(self, job: Job) -> None:
        """Put what is owed and acknowledge; where the queue fails, again at the next heartbeat."""
        self.state = "settling"
        with _tolerated("an acknowledgement"):
            job.put(job.given)
            if job.verdict:
                job.queue.fail(job.lease, job.verdict)
            else:
                job.put(job.owed)
                job.queue.done(job.lease)
            self._say("done")
            self.job = None

    def beat(self, seconds: float) -> None:
        """Keep the lease, and what was owed or could not be said."""
        job, now = self.job, time.monotonic()
        if job is None or now - job.renewed < seconds / 3:
            return
        held = now - job.renewed < seconds
        with _tolerated("a heartbeat"):
            held = job.queue.renew(job.lease, seconds)
            job.renewed = now if held else job.renewed
        if not held:
            self.drop("the lease was lost; its work goes on elsewhere")
        elif self.state == "settling":
            self._settle(job)

    def _ask(self, do: str, **details: Any) -> None:
        assert self.job is not None
        body = self.job.message.to_json() if do != "execute" else self.job.lease.body
        self.child.ask(do, body, **details)

    def _say(self, kind: Kind, **details: Any) -> None:
        message = self.job.message if self.job else None
        self.around.sink(Event(kind, message, slot=self.number, **details))


def _died(status: int) -> str:
    how = f"ended with status {status}" if status >= 0 else f"was killed by signal {-status}"
    return f"the process that ran it {how}"


@contextmanager
def _tolerated(what: str) -> Iterator[None]:
    """A failing queue is no reason to end: the lease runs on, and there is another heartbeat."""
    try:
        yield
    except TransientError as error:
        log.warning("%s failed and will be tried again: %s", what, error)
