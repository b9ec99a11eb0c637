"""The commands that look and run nothing: image info, ingest formats."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from igneous_ng import words
from igneous_ng.cli.commands import Command, Place
from igneous_ng.cli.telling import JSON, tell
from igneous_ng.stage import Layer

if TYPE_CHECKING:
    from igneous_ng.looks import Level, Look


_NAMED = 5  # torn shards of a level


@click.command(cls=Command, example="./em")
@click.argument("layer", type=Place())
@JSON
def info(layer: str, as_json: bool) -> None:
    """Say what LAYER is, and of each level how much is stored and how well it is compressed."""
    from igneous_ng import looks
    from igneous_ng.store import Store

    found = looks.look(Store(), Layer.parse(layer))
    tell(as_json, dataclasses.asdict(found), "\n".join(_lines(found)))


@click.command(cls=Command, example="--json")
@JSON
def formats(as_json: bool) -> None:
    """List the formats of tiles that `ingest plan` reads."""
    from igneous_ng import adapters

    found = {entry.name: entry.summary.replace("``", "") for entry in adapters.entries().values()}
    width = max(map(len, found))
    tell(as_json, found, "\n".join(f"{name:{width}}  {summary}" for name, summary in found.items()))


def _lines(found: Look) -> Iterator[str]:
    channels = "" if found.channels == 1 else f", {found.channels} channels"
    yield f"{found.layer}\n{found.kind} of {found.dtype}{channels}"
    for level in found.levels:
        place = "" if not any(level.offset) else f" from {_side(level.offset)}"
        yield f"mip {level.mip}  {_side(level.size)} voxels{place}, {_nm(level.resolution)} nm"
        yield f"       chunks of {_side(level.chunk)}, {level.encoding}{', sharded' if level.sharded else ''}"
        yield f"       {_stored(level)}"
        if level.torn:
            named = ", ".join(level.torn[:_NAMED]) + (", ..." if len(level.torn) > _NAMED else "")
            yield f"       {words.count(len(level.torn), 'shard')} torn: {named}; write again"


def _stored(level: Level) -> str:
    about = "" if level.exact else "about "
    if level.expected is None:
        count = words.count(level.objects, "object")
    else:
        count = f"{about}{level.objects:,} of {words.count(level.expected, 'chunk')}"
    size = f"{about}{words.amount(level.stored_bytes)} of {words.amount(level.raw_bytes)}"
    ratio = f", compressed {level.ratio:.3g} times" if level.ratio else ""
    return f"{count} stored, {size}{ratio}{'' if level.exact else ' (from a sample of the chunks)'}"


def _side(values: tuple[int, ...]) -> str:
    return " x ".join(f"{value:,}" for value in values)


def _nm(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:g}" for value in values)
