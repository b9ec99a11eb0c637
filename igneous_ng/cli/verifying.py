"""The commands that hold a layer against its records: fingerprint, verify."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from igneous_ng import words
from igneous_ng.cli import telling
from igneous_ng.cli.commands import Command, Place
from igneous_ng.cli.fields import FieldType
from igneous_ng.cli.telling import JSON, tell
from igneous_ng.geometry import Box
from igneous_ng.stage import Layer

if TYPE_CHECKING:
    from igneous_ng.findings import Findings
    from igneous_ng.records import Run
    from igneous_ng.stage import Stage
    from igneous_ng.subsets import Subset
    from igneous_ng.verification import Verification

_SHOWN = 20  # objects, or ranges, named in words


@click.command(cls=Command, example="./seg")
@click.argument("layer", type=Place())
@click.option("--box", type=FieldType(Box), help="Only the chunks of one level that this box touches.")
@click.option("--mip", default=0, show_default=True, help="The level of --box, which is in its voxels.")
@JSON
def fingerprint(layer: str, box: Box | None, mip: int, as_json: bool) -> None:
    """Say the fingerprint of LAYER and of each part of it, from the digests in its records.

    Two layers with the same objects have the same fingerprint. No data is read.
    """
    from igneous_ng import fingerprints
    from igneous_ng.store import Store

    found = fingerprints.take(Store(), Layer.parse(layer), None if box is None else (mip, box))
    sizes = (f"{part.objects:,} {part.kind}, {words.amount(part.bytes)}" for part in found.parts)
    lines = [f"  {part.digest}  {part.folder or '.'}  {size}" for part, size in zip(found.parts, sizes, strict=True)]
    tell(as_json, dataclasses.asdict(found), "\n".join([found.digest, *lines]))


@telling.quietly
@click.command(cls=Command, example="./seg --sample 0.01 -p 4")
@click.argument("layer", type=Place())
@click.option(
    "--sample", type=click.FloatRange(0, 1), default=1.0, show_default=True,
    help="Read the bytes of so large a part of all objects; that all are there is checked anyway.",
)  # fmt: skip
@click.option("--decode/--no-decode", default=False, show_default=True, help="Decode what is read, too.")
@click.option("--inputs", "reads", is_flag=True, help="Look also whether what units read is another now.")
@click.option("--repair", is_flag=True, help="Make what is wrong anew, and nothing else.")
@click.option("-p", "--processes", type=click.IntRange(1), default=1, show_default=True, help="Worker processes.")
@click.option("--queue", help="Put the tasks on this queue, for others to execute, and wait for them.")
@JSON
@click.pass_context
def verify(  # noqa: PLR0913 - one argument for each option
    ctx: click.Context, layer: str, sample: float, decode: bool, reads: bool, repair: bool, processes: int,
    queue: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Compare what lies in LAYER with what its records say; exit status 1 where something is wrong.

    Looked for is every object that a run wrote: whether it is there, of its size, with its bytes. What nobody recorded
    is listed, too. With --repair the tasks that wrote what is wrong run again, if their inputs are what they were.
    """
    from igneous_ng import verification

    how = {"sample": sample, "decode": decode, "reads": reads}
    with _place(processes, queue) as carry_out:
        told = verification.verify(Layer.parse(layer), how, carry_out, repair)
    tell(as_json, told.to_json(), "\n".join(_lines(told)))
    ctx.exit(0 if told.fine else 1)


@contextlib.contextmanager
def _place(processes: int, queue: str | None) -> Iterator[Callable[[Stage, Subset | None], Run]]:
    """Runs stages to the end: here, with one crew for all, or on a queue that others work on."""
    from igneous_ng import chains, run
    from igneous_ng.worker.crew import Crew

    if queue is not None:

        def queued(stage: Stage, subset: Subset | None) -> Run:
            ready = run.enqueue(stage, queue, subset=subset)
            chains.wait(ready)
            return ready

        yield queued
        return
    with Crew() as crew, telling.progress() as progress:
        crew.prepare()
        yield lambda stage, subset: run.here(stage, processes, progress, crew=crew, subset=subset)


def _lines(told: Verification) -> Iterator[str]:
    """What was found, what became of it, and what was found then, in words."""
    yield from _found(told.layer, told.found)
    if told.strangers:
        yield f"{words.count(len(told.strangers), 'object')} that no record names:"
        yield from (f"  {url}" for url in told.strangers[:_SHOWN])
    if told.repair is not None and told.then is not None:
        units, runs = words.count(told.repair.units, "unit"), words.count(len(told.repair.runs), "run")
        yield f"repaired {units} in {runs}; what these made:"
        yield from _found(told.layer, told.then)
        if told.repair.other:
            count = words.count(told.repair.other, "object")
            yield f"{count} with other bytes than before, though made from the same: another version of the program?"
        yield from (f"not repaired: {reason}" for reason in told.repair.refused)
    elif told.found.wrong:
        yield f"to make this anew:  igneous-ng verify {told.layer} --repair"


def _found(layer: str, found: Findings) -> Iterator[str]:
    from igneous_ng import history
    from igneous_ng.store import Store

    read = f"the bytes of {found.read:,} read, {words.amount(found.bytes)}"
    yield f"{words.count(found.objects, 'object')} looked for, {read}"
    if not found.wrong:
        yield "nothing is wrong"
    for cause, count in sorted(found.causes.items()):
        yield f"{cause}: {count:,}"
    for ident, spans in found.wrong.items():
        yield f"  {history.find(Store(), layer, ident).name} {ident}: {_units(spans)}"
    for one in found.examples:
        yield f"  {one['url']}: {one['cause']}; expected {one['expected'] or 'its format'}, found {one['found']}"


def _units(spans: list[tuple[int, int]]) -> str:
    """Units of a run in words."""
    from igneous_ng.ledger import PREPARED, PUBLISHED
    from igneous_ng.spans import size, without

    units = without(spans, [(PREPARED, 0)])
    named = [str(lo) if hi == lo + 1 else f"{lo}-{hi - 1}" for lo, hi in units[:_SHOWN]]
    more = ", ..." if len(units) > _SHOWN else ""
    parts = [f"{words.count(size(units), 'unit')} ({', '.join(named)}{more})"] if units else []
    beside = {PREPARED: "what was prepared", PUBLISHED: "what was published"}
    return ", ".join(parts + [said for number, said in beside.items() if any(lo <= number < hi for lo, hi in spans)])
