"""Runs, units, queues and dead letters in words for people."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

from igneous_ng import redaction, words
from igneous_ng.evidence import Work, host_of
from igneous_ng.queues.protocol import Counts, Letter
from igneous_ng.records import Message
from igneous_ng.status import OnQueue, Status, Unit

_STATES = {
    "publishing": "every unit is recorded; the next worker publishes the result",
    "failed": "ended, with units that were given up",
    "working": "at work",
    "waiting": "waiting for workers: nothing is leased, nothing was recorded lately",
    "unknown": "nothing was recorded lately, and nobody can say what is leased",
    "paused": "paused; igneous-ng resume lets it go on",
}


def status(found: Status, price: float | None) -> str:
    """All of a status, a line for each thing."""
    rows: list[tuple[str, str]] = [
        ("run", found.folder),
        ("state", _STATES.get(found.state, found.state)),
        ("queue", found.queue or "none: it was executed where it was asked for"),
        ("done", _done(found)),
    ]
    rows += [("failed", f"{found.failed:,}")] * bool(found.failed)
    rows += list(_open(found))
    if found.work:
        rows += list(_work(found, found.work, price))
    rows += [(reason.cause or "unknown", _reason(reason)) for reason in found.reasons]
    if found.failed and found.queue:
        rows.append(("", f"igneous-ng queue dead ls {found.queue} shows the dead letters"))
    return f"{found.stage}\n" + _table(rows)


def _done(found: Status) -> str:
    least = f", and what is in {found.closed:,} checkpoints that were not opened" if found.closed else ""
    return (
        f"{found.done:,} of {words.count(found.units, 'unit')} ({100 * found.done / max(1, found.units):.1f} %){least}"
    )


def _open(found: Status) -> Iterator[tuple[str, str]]:
    if found.state in ("finished", "publishing"):
        return
    if found.leased is not None:
        yield "leased", f"{found.leased:,}"
        yield "waiting", f"{found.waiting:,}"
        return
    yield "to do", f"{found.waiting:,}, leased or waiting"
    if (counts := found.queue_counts) is not None:
        yield (
            "",
            f"the queue has about {counts.waiting:,} messages waiting and {counts.leased:,} leased, of all its runs",
        )
    elif found.queue_trouble:
        yield "", found.queue_trouble


def _work(found: Status, work: Work, price: float | None) -> Iterator[tuple[str, str]]:
    about = "" if work.exact else "about "
    if found.state != "working":
        yield "took", f"{words.duration(work.last - work.first)} from the first unit to the last"
    elif work.rate is not None:
        yield "speed", f"{about}{words.rate(work.rate)} over the last {words.duration(work.window_s)}"
    if found.eta_s is not None:
        end = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + found.eta_s))
        yield "left", f"{about}{words.duration(math.ceil(found.eta_s))}, until {end}"
    elif found.state in ("working", "waiting", "unknown"):
        yield "left", "unknown: nothing was recorded lately"
    yield "cost", _cost(found, work, price)
    declared = f"; a task declares {words.amount(found.declared_bytes)}" if found.declared_bytes else ""
    yield "memory", f"{words.amount(work.peak_bytes)} at most in one process{declared}"
    yield "unit", f"{words.duration(work.usual_seconds)} usually; {_slowest(work)}"
    yield "hosts", ", ".join(f"{host.name} {about}{host.units:,}" for host in work.hosts)
    if not work.exact:
        yield "", f"'about' is estimated from {work.lines:,} records spread over the run"


def _cost(found: Status, work: Work, price: float | None) -> str:
    def told(seconds: float) -> str:
        money = "" if price is None else f" or {seconds / 3600 * price:,.2f}"
        return words.cpu(seconds) + money

    said = ("" if work.exact else "about ") + told(work.cpu_seconds)
    if 0 < found.done < found.units and found.state != "cancelled":
        said += f" so far; {told(work.cpu_seconds * found.units / found.done)} in all if the rest is alike"
    return said


def _slowest(work: Work) -> str:
    return "slowest " + ", ".join(f"{slow.unit} ({words.duration(slow.seconds)}, {slow.host})" for slow in work.slowest)


def _reason(reason: Any) -> str:
    last = reason.text.strip().splitlines()[-1:] or [""]
    return f"{words.count(reason.units, 'unit')}, such as {reason.unit}: {last[0]}"


def unit(found: Unit) -> str:
    """One unit: its record and what failed before it."""
    rows = [("run", found.folder), ("state", found.state)]
    if found.record is not None:
        rows += list(_record(found.record))
    text = f"unit {found.unit}\n" + _table(rows)
    text += _log(found.record or {})
    for failure in found.failures:
        text += f"\n\nattempt {failure.get('tried')} failed: {_failure(failure)}" + _log(failure)
    if found.verdict:
        text += f"\n\ngiven up: {found.verdict.get('cause') or 'unknown'}"
    return text


def _record(line: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "what", str(line.get("what"))
    yield "attempt", str(line.get("attempt", 1))
    yield "host", host_of(line)
    yield "begun", _clock(line["start"])
    yield "took", f"{words.duration(line['seconds'])}, {words.duration(line['cpu_seconds'])} of a processor"
    yield "memory", f"{words.amount(line['peak_bytes'])} at most"
    yield "io", f"{len(line.get('reads', ()))} reads, {len(line.get('writes', ()))} writes"
    if line.get("notes"):
        yield "notes", ", ".join(f"{key} {value}" for key, value in line["notes"].items())


def _failure(failure: dict[str, Any]) -> str:
    said = [str(failure.get("cause") or "unknown")]
    if "host" in failure:
        said.append(f"on {failure['host']}" + (f" (process {failure['pid']})" if "pid" in failure else ""))
    if "time" in failure:
        said.append(f"at {_clock(failure['time'])}")
    if "seconds" in failure:
        said.append(f"after {words.duration(failure['seconds'])}")
    if failure.get("peak_bytes"):
        said.append(f"at a peak of {words.amount(failure['peak_bytes'])}")
    return " ".join(said) + _indented(str(failure.get("text", "")))


def _log(raw: dict[str, Any]) -> str:
    log = raw.get("log")
    if not log:
        return ""
    return "\nlog:" + _indented(log if isinstance(log, str) else "\n".join(map(str, log)))


def queue(counts: Counts, runs: list[OnQueue]) -> str:
    """A queue: its counts, and the runs of what is leased or dead there."""
    rows = [("waiting", f"{counts.waiting:,}"), ("leased", f"{counts.leased:,}"), ("dead", f"{counts.dead:,}")]
    text = _table(rows)
    for run in runs:
        state = f"{run.done:,} of {words.count(run.units, 'unit')} done" if run.done is not None else "cannot be read"
        held = f"{words.count(run.leased, 'message')} leased, " if run.leased is not None else ""
        text += f"\n\n{run.stage}  {run.folder}\n  {state}; {held}{run.dead:,} dead"
    return text


def letter(found: Letter) -> str:
    """A dead letter in one line and the last of its reason."""
    last = found.reason.strip().splitlines()[-1:] or ["no reason was given"]
    return f"{found.id}  {about(found)}\n    {last[0]}"


def about(found: Letter) -> str:
    """What a dead letter asks for."""
    message = Message.known(found.body)
    if message is None:
        return f"unreadable: {redaction.redacted(found.body[:4096])[:80]}"
    units = f"unit {message.lo}" if message.hi == message.lo + 1 else f"units {message.lo}-{message.hi - 1}"
    return f"{message.run.name} {units} of {message.run.folder}"


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _indented(text: str) -> str:
    return "".join(f"\n    {line}" for line in text.strip().splitlines())


def _table(rows: list[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows)
