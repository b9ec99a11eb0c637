"""Text on the command line to values: the fields of stages, sizes in memory, durations."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from typing import TYPE_CHECKING, Any, Literal

import click

from igneous_ng.cli.commands import Choice, Place
from igneous_ng.geometry import Box
from igneous_ng.stage import Layer, coerce

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_SIZES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SIZES |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class FieldType(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic from click 8.4 on
    """Text on the command line to a field's type, by the same checks as JSON and Python."""

    def __init__(self, hint: Any) -> None:
        self.hint = hint
        self.name = {Box: "box", Layer: "url"}.get(hint, "list" if typing.get_origin(hint) is tuple else "value")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value, or a usage error in the words of the contract."""
        if not isinstance(value, str):
            return value
        try:
            return coerce(_read(value, self.hint), self.hint, "value")
        except ValueError as error:
            self.fail(str(error).removeprefix("value: "), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
        """Folders and files, where a layer is asked for."""
        return Place().shell_complete(ctx, param, incomplete) if self.hint is Layer else []


def _read(text: str, hint: Any) -> Any:
    if typing.get_origin(hint) is tuple:
        return [_read(part, typing.get_args(hint)[0]) for part in text.split(",") if part.strip()]
    if hint in (int, float):
        try:
            return int(text)
        except ValueError:
            number = float(text)
            return int(number) if hint is int and number.is_integer() else number
    return text


def parameter(field: dataclasses.Field[Any], hint: Any) -> click.Parameter:
    """The click parameter of one field."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(a for a in typing.get_args(hint) if a is not type(None))
    flag = "--" + field.name.replace("_", "-")
    if field.default is dataclasses.MISSING:
        return click.Argument([field.name], type=FieldType(hint))
    help_text = field.metadata["help"]
    if field.name == "memory":  # the one field of all stages that is a size
        return click.Option([flag], type=Size(), default=field.default, show_default="3G", help=help_text)
    if hint is bool:
        names = [f"{flag}/--no-{flag[2:]}"]
        return click.Option(names, default=field.default, help=help_text, show_default=True)
    kind = Choice(typing.get_args(hint)) if typing.get_origin(hint) is Literal else FieldType(hint)
    default = field.default
    shown: Any = ",".join(map(str, default)) if isinstance(default, tuple) else default not in (None, "")
    return click.Option([flag], type=kind, default=default, show_default=shown or False, help=help_text)


class Size(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic from click 8.4 on
    """Bytes: a number, or one with K, M, G, T (thousands) or Ki, Mi, Gi, Ti (of 1024)."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number of bytes, or a usage error."""
        if isinstance(value, int):
            return value
        size = _times(value.removesuffix("B"), _SIZES)
        if size is None or size < 1:
            self.fail(f"{value!r} is no size; write bytes, or a number with K, M, G or T, such as 8G", param, ctx)
        return int(size)


class Duration(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic from click 8.4 on
    """Seconds: a number, or one with s, m, h or d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number of seconds, or a usage error."""
        if isinstance(value, (int, float)):
            return float(value)
        seconds = _times(value, _SECONDS)
        if not seconds:
            self.fail(
                f"{value!r} is no time; write seconds above 0, or a number with s, m, h or d: 90s, 2h", param, ctx
            )
        return seconds


def _times(text: str, factors: dict[str, int]) -> float | None:
    """A number with one of the suffixes of ``factors``; None for another text."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    return float(found[1]) * factors[found[2]] if found and found[2] in factors else None
