"""How commands answer: in words or as JSON, with remarks and progress unless these are unwanted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from igneous_ng.reporting.progress import Progress

JSON = click.option("--json", "as_json", is_flag=True, help="Say it in JSON, one line.")
"""The option of every command that answers something: with it standard output is one JSON value, a line."""
_QUIET = "igneous_ng.quiet"


def _hush(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[_QUIET] = True


QUIET = click.Option(
    ["-q", "--quiet"], is_flag=True, expose_value=False, callback=_hush,
    help="Show no progress and no remarks; only answers, and what goes wrong.",
)  # fmt: skip
"""The option of the program and of each command that shows how it goes on."""


def quietly(command: click.Command) -> click.Command:
    """``command`` with the option."""
    command.params.append(QUIET)
    return command


def quiet() -> bool:
    """Whether remarks are unwanted."""
    ctx = click.get_current_context(silent=True)
    return bool(ctx and ctx.meta.get(_QUIET))


def tell(as_json: bool, raw: Any, text: str) -> None:
    """Answer: in words, or as one line of JSON."""
    click.echo(json.dumps(raw) if as_json else text)


def row(as_json: bool, text: str) -> None:
    """Say a part of an answer as soon as it is known; as JSON the whole is told at the end."""
    if not as_json:
        click.echo(text)


def remark(text: str, err: bool = False) -> None:
    """Say what nobody asked for."""
    if not quiet():
        click.echo(text, err=err)


def progress(above: Callable[[], Any] | None = None) -> Progress:
    """What shows how work goes on: a live view in a terminal, lines elsewhere; when quiet only what goes wrong."""
    from igneous_ng.reporting.progress import Progress

    return Progress(above=above, quiet=quiet())


def coloured() -> bool | None:
    """Whether messages have colours: as NO_COLOR and FORCE_COLOR say, else (None) where a terminal shows them."""
    if os.environ.get("NO_COLOR"):
        return False
    return True if os.environ.get("FORCE_COLOR") else None
