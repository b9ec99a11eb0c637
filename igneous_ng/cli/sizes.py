"""What a job takes, in words for people and in JSON's types: ``--dry-run --estimate``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from igneous_ng import words
from igneous_ng.errors import SpecError

if TYPE_CHECKING:
    from igneous_ng.prices import Prices
    from igneous_ng.sizing import Part

ESTIMATE: tuple[tuple[list[str], dict[str, Any]], ...] = (
    (["--estimate"], {"is_flag": True,
                      "help": "With --dry-run: CPU-hours, time on -p processes, memory, bytes, requests and money, "
                              "from records of the same stage or else from rates measured elsewhere."}),
    (["--like"], {"multiple": True, "metavar": "LAYER|RUN",
                  "help": "For --estimate: ask the records here first. May be repeated."}),
    (["--prices"], {"type": click.Path(path_type=Path), "metavar": "FILE",
                    "help": "For --estimate: a TOML file of prices, such as examples/prices.toml."}),
)  # fmt: skip
"""Options of every command that can tell what it would take."""


@dataclass(frozen=True)
class Asked:
    """What is to be estimated beside the job: with how many processes, at which prices, in what form."""

    processes: int
    prices: Prices
    as_json: bool


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command of click's."""
    for names, settings in reversed(ESTIMATE):
        command = click.option(*names, **settings)(command)
    return command


def check(estimate: bool, dry_run: bool, **other: Any) -> None:
    """SpecError where options that belong to an estimate are given without one."""
    if estimate and not dry_run:
        raise SpecError("--estimate says what a job would take and runs nothing: give --dry-run, too")
    if lone := sorted(name for name, value in other.items() if value and not estimate):
        raise SpecError(f"--{lone[0]} is for --dry-run --estimate; add these, or leave it out")


def layers(like: Sequence[str]) -> list[str]:
    """URLs of layers or runs, in their one spelling."""
    from igneous_ng.stage import Layer

    return [str(Layer.parse(text)) for text in like]


def prices(path: Path | None, own: Prices | None, cpu_hour: float | None) -> Prices:
    """Those in a file, or else of the pipeline; ``--price`` wins for the CPU-hour."""
    from igneous_ng import prices as priced
    from igneous_ng import templates

    if path is not None:
        try:
            found = priced.parse(templates.table(path.read_text(encoding="utf-8")), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"{path}: cannot be read ({error}); name a TOML file of prices") from error
    else:
        found = own or priced.Prices()
    return found if cpu_hour is None else dataclasses.replace(found, cpu_hour=cpu_hour)


def show(parts: Sequence[Part], asked: Asked, head: str) -> None:
    """Say what the parts of a job take, and all of them together."""
    if asked.as_json:
        click.echo(json.dumps(raw(parts, asked)))
    else:
        click.echo(
            "\n".join(
                [
                    head,
                    *_rows(parts, asked),
                    *_sums(parts, asked),
                    *_notes(parts),
                    *_origin(parts),
                    "nothing was written",
                ]
            )
        )


# In JSON's types.


def raw(parts: Sequence[Part], asked: Asked) -> dict[str, Any]:
    """Everything, as numbers; null is not known."""
    steps = [_raw(part, asked) for part in parts]
    return {"steps": steps, "total": _total(steps), "processes": asked.processes, "currency": asked.prices.currency}


def _raw(part: Part, asked: Asked) -> dict[str, Any]:
    from igneous_ng import rates

    work, extent = part.work, part.extent
    base = rates.shipped().process_bytes
    seen = work.peak_bytes if work else None
    figures = {
        "cpu_seconds": work and work.cpu_seconds,
        "gpu_seconds": work and work.gpu_seconds,
        "wall_seconds": part.wall_seconds(asked.processes),
        "read_bytes": work and work.read,
        "written_bytes": work and work.written,
        "get_requests": work and work.gets,
        "put_requests": part.stored_puts,
        "queue_requests": part.queue_requests,
    }
    return {
        "step": part.step,
        "stage": part.stage,
        "units": part.units,
        "left": part.left,
        "messages": part.messages,
        "voxels": extent and extent.voxels,
        "voxels_assumed": part.assumed,
        "task_bytes": part.task_bytes,
        "process_bytes": None if part.task_bytes is None else max(part.task_bytes + base, seen or 0),
        "basis": work and work.basis,
        "source": work and work.source,
        "factor": work and work.factor,
        **figures,
        "cost": cost(figures, asked.prices),
        "error": str(part.error) if part.error else None,
        "notes": list(part.notes),
    }


def cost(figures: Mapping[str, Any], given: Prices) -> dict[str, float | None]:
    """What figures cost; of storage a month of what is written."""
    from igneous_ng.prices import bill

    def scaled(name: str, by: float) -> float | None:
        return None if figures[name] is None else figures[name] / by

    amounts = {
        "cpu_hour": scaled("cpu_seconds", 3600),
        "gpu_hour": scaled("gpu_seconds", 3600),
        "gb_month": scaled("written_bytes", 1e9),
        "million_gets": figures["get_requests"],
        "million_puts": figures["put_requests"],
        "million_queue_requests": figures["queue_requests"],
    }
    return bill(given, amounts)


_SUMMED = ("units", "left", "messages", "cpu_seconds", "gpu_seconds", "wall_seconds", "read_bytes", "written_bytes",
           "get_requests", "put_requests", "queue_requests")  # fmt: skip


def _total(steps: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Sums over the steps of which a figure is known; ``unknown`` counts the others."""
    sums = {name: [step[name] for step in steps if step[name] is not None] for name in _SUMMED}
    items = list(steps[0]["cost"]) if steps else []
    costs = {name: [step["cost"][name] for step in steps if step["cost"][name] is not None] for name in items}
    found = {name: sum(values) for name, values in costs.items() if values}
    return {
        **{name: sum(values) if values else None for name, values in sums.items()},
        "unknown": {name: len(steps) - len(values) for name, values in sums.items()},
        "task_bytes": max((step["task_bytes"] for step in steps if step["task_bytes"] is not None), default=None),
        "process_bytes": max((s["process_bytes"] for s in steps if s["process_bytes"] is not None), default=None),
        "factor": max((step["factor"] for step in steps if step["factor"] is not None), default=None),
        "cost": found,
        "cost_sum": sum(found.values()) if found else None,
    }


# In words.


def _rows(parts: Sequence[Part], asked: Asked) -> Iterator[str]:
    """A line for each part, in columns of equal width."""
    yield from words.table([_row(part, asked) for part in parts])


def _row(part: Part, asked: Asked) -> tuple[str, ...]:
    name = f"{part.step}: {part.stage}" if part.step else part.stage
    if part.error is not None:
        return name, f"cannot be planned: {part.error}", "", "", ""
    tasks = "tasks known later" if part.left is None else words.count(part.left, "task")
    if part.left is not None and part.units != part.left:
        tasks += f" of {part.units:,}"
    if part.messages is not None and part.messages != part.left:
        tasks += f" in {words.count(part.messages, 'message')}"
    memory = "" if part.task_bytes is None else f"each at most {words.amount(part.task_bytes)}"
    if part.work is None:
        return name, tasks, memory, "time unknown: neither records nor a rate", ""
    seconds = part.wall_seconds(asked.processes) or 0.0
    return name, tasks, memory, f"about {words.cpu(part.work.cpu_seconds)}", words.duration(seconds)


def _sums(parts: Sequence[Part], asked: Asked) -> Iterator[str]:
    total = raw(parts, asked)["total"]
    later = total["unknown"]["units"]
    yield "together:" if not later else f"together, but the tasks of {words.count(later, 'step')}, known later:"
    messages = f" in {words.count(total['messages'], 'message')}" if total["messages"] is not None else ""
    yield f"  tasks     {total['left'] or 0:,}{messages}"
    if total["cpu_seconds"] is not None:
        yield from _work(total, asked)
    if total["task_bytes"] is not None:
        most = words.amount(total["process_bytes"])
        yield f"  memory    {words.amount(total['task_bytes'])} in a task at most; give each process {most}"
    if total["written_bytes"] is not None:
        yield f"  reads     {_moved(total, 'read_bytes', 'get_requests')}"
        yield f"  writes    {_moved(total, 'written_bytes', 'put_requests')}"
    if total["queue_requests"] is not None:
        yield f"  queue     {_number(total['queue_requests'])} requests, if it is one that counts them"
    if asked.prices.known:
        yield from _money(total, asked.prices)


def _moved(total: dict[str, Any], size: str, requests: str) -> str:
    if total[size] is None:
        return "unknown"
    return f"about {words.amount(total[size])} in {_number(total[requests])} requests"


def _work(total: dict[str, Any], asked: Asked) -> Iterator[str]:
    seconds, factor, unknown = total["cpu_seconds"], total["factor"], total["unknown"]["cpu_seconds"]
    but = f", not counting {words.count(unknown, 'step')} of which nothing is known" if unknown else ""
    low, high = words.cpu(seconds / factor), words.cpu(seconds * factor)
    yield f"  work      about {words.cpu(seconds)}, between {low} and {high}{but}"
    if total["gpu_seconds"]:
        yield f"  devices   about {total['gpu_seconds'] / 3600:.3g} GPU-hours"
    place = "1 process" if asked.processes == 1 else f"{asked.processes:,} processes"
    yield f"  time      at least {words.duration(total['wall_seconds'])} on {place}, if none waits for storage"


def _money(total: dict[str, Any], given: Prices) -> Iterator[str]:
    names = {"cpu_hour": "CPU", "gpu_hour": "GPU", "gb_month": "storage for a month", "million_gets": "reading",
             "million_puts": "writing", "million_queue_requests": "queue"}  # fmt: skip
    found = total["cost"]
    said = ", ".join(f"{names[name]} {_money_of(value, '')}" for name, value in found.items() if value)
    if total["cost_sum"] is None:
        yield "  money     unknown"
        return
    yield f"  money     about {_money_of(total['cost_sum'], given.currency)}: {said}"
    lacking = [names[name] for name in names if getattr(given, name) is None and name != "gpu_hour"]
    if lacking:
        yield f"            no price is given for {', '.join(lacking)}"


def _money_of(value: float, currency: str) -> str:
    text = f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return f"{text} {currency}".rstrip()


def _number(value: float) -> str:
    """A count that is an estimate: its first three digits."""
    if value < 1000:
        return f"{value:.0f}"
    return f"{float(f'{value:.3g}'):,.0f}"


def _notes(parts: Sequence[Part]) -> Iterator[str]:
    """Whence it is known, what is assumed, and what the stages want a user to know."""
    for part in parts:
        where = f"  {part.step or part.stage}: "
        if part.work is not None:
            yield f"{where}{_basis(part)}"
        elif part.error is None:
            yield f"{where}neither records here nor a rate tell of it; name a layer that has records by --like"
        if part.again:
            passes = f"{part.again} more {'pass' if part.again == 1 else 'passes'}"
            yield f"{where}{passes} over coarser levels, whose tasks are not counted"
        yield from (f"{where}{note}" for note in part.notes)


def _basis(part: Part) -> str:
    assert part.work is not None
    work = part.work
    voxels = "" if part.extent is None else f" {_number(part.extent.voxels)} voxels{_assumed(part)}"
    known = f"records of {work.source}" if work.basis == "records" else f"rates of {work.source}"
    return f"{voxels.strip() or 'all units'} by {known}, within a factor of {work.factor:.2g}"


def _assumed(part: Part) -> str:
    return ", as in what it waits for," if part.assumed else ""


def _origin(parts: Sequence[Part]) -> Iterator[str]:
    """Where rates were measured, if any served."""
    from igneous_ng import rates

    if any(part.work is not None and part.work.basis == "rates" for part in parts):
        shipped = rates.shipped()
        yield f"rates were measured on {shipped.machine}, {shipped.date}; other machines and other tissue differ"
