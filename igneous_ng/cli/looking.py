"""The commands that look at runs and queues, and mend queues: status, and the group queue."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import click

from igneous_ng import redaction, words
from igneous_ng.cli.commands import Command, Group
from igneous_ng.cli.steering import found, run_arguments
from igneous_ng.cli.telling import JSON, tell
from igneous_ng.errors import SpecError

_OVER = ("rolledback", "finished", "cancelled", "failed")
WATCH = click.option(
    "--watch", is_flag=False, flag_value=5.0, type=click.FloatRange(0.1), metavar="[SECONDS]",
    help="Say it again every SECONDS, 5 by default; write --watch=2.",
)  # fmt: skip


@click.command(cls=Command, example="./seg --watch")
@run_arguments
@click.option("--unit", type=click.IntRange(0), help="Say what happened to this unit: its record, failures and logs.")
@click.option(
    "--price", type=click.FloatRange(0), metavar="N", help="What a CPU-hour costs, to tell the cost in money."
)
@JSON
@WATCH
def status(where: str, ident: str, unit: int | None, price: float | None, as_json: bool, watch: float | None) -> None:
    """Say how far a run is, how fast it goes, what it took and what failed."""
    from igneous_ng import status as statuses
    from igneous_ng.cli import showing

    store, run = found(where, ident)

    def show() -> tuple[str, bool]:
        if unit is not None:
            one = statuses.look_at(store, run, unit)
            return json.dumps(dataclasses.asdict(one)) if as_json else showing.unit(one), one.state == "done"
        all_of_it = statuses.look(store, run)
        raw = dataclasses.asdict(all_of_it)
        if price is not None and all_of_it.work:
            raw["cost"] = all_of_it.work.cpu_seconds / 3600 * price
        return json.dumps(raw) if as_json else showing.status(all_of_it, price), all_of_it.state in _OVER

    repeat(show, watch)


def repeat(show: Callable[[], tuple[str, bool]], seconds: float | None) -> None:
    """Say what ``show`` returns, once or until it says that it is over or somebody interrupts."""
    try:
        while True:
            text, over = show()
            if seconds and sys.stdout.isatty():
                click.clear()
            click.echo(text)
            if seconds is None or over:
                return
            time.sleep(seconds)
    except KeyboardInterrupt:
        click.echo(err=True)


@click.group(cls=Group)
def queue() -> None:
    """Look into a queue and mend it: status, dead, release, purge."""


@queue.group(cls=Group)
def dead() -> None:
    """Look at dead letters and try them again: ls, show, retry."""


def _on_queue(
    group: click.Group, name: str | None = None, example: str = "fq://queue"
) -> Callable[[Callable[..., None]], click.Command]:
    """A command of ``group``: its function is handed the connected queue."""

    def made(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def connected(queue: str, **options: Any) -> None:
            from igneous_ng.queues import connect

            function(connect(queue), **options)

        return group.command(name, cls=Command, example=example)(click.argument("queue")(connected))

    return made


@_on_queue(queue, "status", "fq://queue --watch")
@JSON
@WATCH
def queue_status(queue: Any, as_json: bool, watch: float | None) -> None:
    """Count the messages, and say how far the runs are of which some are leased or dead."""
    from igneous_ng import status as statuses
    from igneous_ng.cli import showing
    from igneous_ng.store import Store

    store = Store()

    def show() -> tuple[str, bool]:
        counts, runs = queue.counts(), statuses.on_queue(store, queue)
        if as_json:
            return json.dumps({**dataclasses.asdict(counts), "runs": [dataclasses.asdict(run) for run in runs]}), False
        return showing.queue(counts, runs), False

    repeat(show, watch)


@_on_queue(dead)
@JSON
def ls(queue: Any, as_json: bool) -> None:
    """List the dead letters, each with the end of its reason."""
    from igneous_ng.cli import showing

    letters = [
        dataclasses.replace(letter, body=redaction.redacted(letter.body), reason=redaction.redacted(letter.reason))
        for letter in queue.dead()
    ]
    said = "\n".join(map(showing.letter, letters)) or "there are no dead letters"
    tell(as_json, [dataclasses.asdict(letter) for letter in letters], said)


@_on_queue(dead, example="fq://queue 1791000000-3f2a")
@click.argument("ident", metavar="ID")
@JSON
def show(queue: Any, ident: str, as_json: bool) -> None:
    """Show the dead letter ID: what it asks for, its whole reason, and how its unit failed before."""
    from igneous_ng import status as statuses
    from igneous_ng.cli import showing
    from igneous_ng.records import Message
    from igneous_ng.store import Store

    letter = next((letter for letter in queue.dead() if letter.id == ident), None)
    if letter is None:
        raise SpecError(f"{queue.url} has no dead letter {ident}; `igneous-ng queue dead ls` shows those there are")
    message = Message.known(letter.body)
    alone = message is not None and message.hi == message.lo + 1
    unit = statuses.look_at(Store(), message.run, message.lo) if message is not None and alone else None
    reason = redaction.redacted(letter.reason).strip()
    raw = {**dataclasses.asdict(letter), "body": redaction.redacted(letter.body), "reason": reason}
    said = f"{showing.about(letter)}, delivered {letter.attempts} times\n\n{reason}"
    said += f"\n\n{showing.unit(unit)}" if unit else ""
    tell(as_json, {**raw, "unit": dataclasses.asdict(unit) if unit else None}, said)


@_on_queue(dead)
@click.argument("ids", metavar="[ID]...", nargs=-1)
@JSON
def retry(queue: Any, ids: tuple[str, ...], as_json: bool) -> None:
    """Put dead letters back, all or those with these IDs."""
    from igneous_ng import steering
    from igneous_ng.store import Store

    count = steering.retry(Store(), queue, ids or None)
    said = f"{words.count(count, 'message')} put back; igneous-ng execute {queue.url} tries again"
    tell(as_json, {"messages": count}, said)


@_on_queue(queue)
@JSON
def release(queue: Any, as_json: bool) -> None:
    """Take every lease back. For when no worker is alive."""
    count = queue.release_all()
    tell(as_json, {"leases": count}, f"{words.count(count, 'lease')} released")


@_on_queue(queue, example="fq://queue --yes")
@click.confirmation_option(prompt="Delete every message of this queue?")
@JSON
def purge(queue: Any, as_json: bool) -> None:
    """Delete every message, the dead letters too."""
    count = queue.purge()
    tell(as_json, {"messages": count}, f"{words.count(count, 'message')} deleted")
