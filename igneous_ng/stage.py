"""What a stage is: a frozen dataclass. Its fields are its command line, its JSON, its docs and its provenance."""

from __future__ import annotations

import dataclasses
import math
import os
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from igneous_ng import aliases, fences, redaction, spelling
from igneous_ng.errors import DataError, SpecError, VersionError
from igneous_ng.figures import Figure
from igneous_ng.geometry import Box, vec

if typing.TYPE_CHECKING:
    from igneous_ng.io import IO

_SAMPLED = 64
_VERSIONS = 10_000
_TYPES: dict[type, Mapping[str, Any]] = {}  # of the fields of stages
SCHEMES = ("file", "s3", "gs", "http", "https", "mem", "bossdb")


class Layer(str):
    """The URL of a layer, ``scheme://path`` without a slash at its end; a bare path becomes ``file://``, absolute.

    The name of a store (:mod:`igneous_ng.aliases`) is spelled out.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Layer:
        """``text`` in its one canonical spelling; SpecError for an unknown scheme or an empty path."""
        text = text.removeprefix("precomputed://")
        if text.partition("://")[0] not in SCHEMES:
            text = aliases.spelled_out(text)
        scheme, found, path = text.partition("://")
        if not found:
            scheme, path = "file", text
        if scheme not in SCHEMES:
            raise SpecError(f"layer {text!r}: no store is called {scheme}://; {spelling.choices(scheme, SCHEMES)}")
        if scheme == "file" and path:
            path = _absolute(path)
        if not path.strip("/"):
            raise SpecError(f"layer {text!r} names no place; write a folder, or scheme://bucket/path")
        return cls(_checked(f"{scheme}://{path.rstrip('/')}"))


def _checked(url: str) -> str:
    """``url``, unless there is something in it that must not be there."""
    try:
        fences.check_name(url)
    except DataError as error:
        raise SpecError(f"layer {error}") from None
    if redaction.in_url(url):
        raise SpecError(
            f"layer {redaction.redacted(fences.shown(url))} has a password or a token in it, and would be in every "
            "record; leave it out, and give it to this machine instead (SECURITY.md says how)"
        )
    return url


def _absolute(path: str) -> str:
    """A path from the root on, ``..`` and ``~`` undone, no link followed; SpecError for the home of nobody."""
    try:
        return os.path.abspath(Path(path).expanduser())  # noqa: PTH100
    except RuntimeError:
        raise SpecError(f"{path!r} begins with the home of a user that there is not; write the whole path") from None


LayerUrl = Annotated[str, Layer]
"""The type of a field that names a layer: any spelling is taken, the canonical one is kept."""


def arg(help: str) -> Any:
    """A field that the user must give; a positional argument on the command line."""
    return field(metadata={"help": help})


def opt(default: Any, help: str) -> Any:
    """A field with a default; an option on the command line."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step from layers to layers. A task is a stage and one of its units."""

    name: ClassVar[str]
    version: ClassVar[int]
    makes_data: ClassVar[bool] = True
    """Whether it makes data, and not only says something about data: then it shows in the provenance."""
    example: ClassVar[str] = ""
    """What is typed behind its name, for instance; help and reference page show it, and a test checks it."""
    local: ClassVar[tuple[str, ...]] = ()
    """Fields that may have another value in a part of a layer (`redo --set`): units of either value fit together."""
    quality: ClassVar[Mapping[str, Figure]] = MappingProxyType({})
    """Which of the figures that units note (``io.note``) tell of quality: `trace` compares places by them."""
    quality_layer: ClassVar[str] = ""
    """A layer in the folder :meth:`home` whose channels are these figures, in order and below 0 where unknown; where
    units are no places."""

    memory: int = opt(3_000_000_000, "Bytes of memory that one task may use; larger plans are refused.")

    def __init_subclass__(cls, name: str = "", version: int = 1) -> None:
        if name:
            cls.name, cls.version = name, version

    def __post_init__(self) -> None:
        hints = field_types(type(self))
        for key in hints:
            value = coerce(getattr(self, key), hints[key], f"{self.name}.{key}")
            object.__setattr__(self, key, value)
        if self.memory < 1:
            raise SpecError(f"{self.name}.memory: {self.memory} bytes hold nothing; give a positive number")
        self.check()

    def check(self) -> None:
        """Raise SpecError where the fields cannot go together. Reads nothing."""

    def home(self) -> str:
        """The URL of the layer under which the records of a run are kept."""
        raise NotImplementedError

    def inputs(self, io: IO) -> tuple[str, ...]:
        """URLs of what it may read, whose versions are recorded; by default of all layers that fields name."""
        return tuple(sorted({value for value in vars(self).values() if isinstance(value, Layer)}))

    def places(self, io: IO) -> tuple[str, ...]:
        """The folders below which units write; by default all of :meth:`home`. Others may work elsewhere meanwhile."""
        return (self.home(),)

    def prepare(self, io: IO) -> None:
        """Check the request against what is stored, and write what tasks need and no viewer shows. Idempotent."""

    def units(self, io: IO) -> Sequence[Any]:
        """The independent pieces of work, sized and in order; the same for every worker, roi apart."""
        raise NotImplementedError

    def peak_bytes(self, unit: Any, io: IO) -> int:
        """The most bytes that ``execute`` holds at once for ``unit``."""
        raise NotImplementedError

    def device_bytes(self, unit: Any, io: IO) -> int:
        """The most bytes of accelerator memory that ``execute`` holds at once; 0: it needs no accelerator."""
        return 0

    def execute(self, unit: Any, io: IO) -> None:
        """Read, compute and write one unit. Run twice, in any order, it leaves the same bytes."""
        raise NotImplementedError

    def finish(self, io: IO) -> None:
        """Publish: make what all units wrote visible to readers. Runs once every unit has a record; idempotent."""

    def said(self, io: IO) -> str:
        """What a person who ran it wants to read once a run is finished; empty where that is nothing."""
        return ""

    def steps(self, io: IO) -> Iterator[Stage]:
        """The stages that do together what is asked, in order: by default this one alone.

        Each is asked for when the one before is prepared, and begun when that is finished.
        """
        yield self

    def level_read(self, io: IO) -> int:
        """The level of its first layer whose voxels tell how much work it is."""
        return getattr(self, "mip", None) or 0

    def forecast(self, io: IO) -> tuple[str, ...]:
        """What a user should know before this runs, beside the tasks and their memory; a line each. Writes nothing."""
        return ()

    def spent(self, io: IO) -> tuple[str, ...]:
        """Folders of intermediates that nothing needs once a run of this stage is finished; inside :meth:`home`."""
        return ()


@dataclass(frozen=True, kw_only=True)
class Chain(Stage):
    """Several stages under one name: it has steps, and no units of its own. Its fields are those of its steps."""

    def step(self, cls: type[Stage], **more: Any) -> Stage:
        """The stage ``cls`` with the fields that it shares with this chain, and ``more``."""
        common = vars(self).keys() & field_types(cls).keys()
        return cls(**{name: getattr(self, name) for name in common}, **more)


def sampled(units: Sequence[Any]) -> list[Any]:
    """About 64 to 128 of ``units``, evenly spread; all where there are fewer."""
    return [units[i] for i in range(0, len(units), max(1, len(units) // _SAMPLED))]


def field_types(cls: type[Stage]) -> Mapping[str, Any]:
    """The type of each field of a stage, in order; that of a layer's URL is :class:`Layer`."""
    if cls not in _TYPES:  # looked up once: each stage that is made or read asks
        hints = typing.get_type_hints(cls, include_extras=True)
        found = {f.name: Layer if hints[f.name] == LayerUrl else hints[f.name] for f in dataclasses.fields(cls)}
        _TYPES[cls] = MappingProxyType(found)
    return _TYPES[cls]


def to_dict(stage: Stage) -> dict[str, Any]:
    """The JSON form. Every field is written, for defaults may change and records must not."""
    values = {key: plain(getattr(stage, key)) for key in field_types(type(stage))}
    return {"stage": stage.name, "version": stage.version, **values}


def plain(value: Any) -> Any:
    """A field's value in JSON's own types."""
    if isinstance(value, Box):
        return str(value)
    if isinstance(value, tuple):
        return [plain(v) for v in value]
    return str(value) if isinstance(value, Layer) else value


def from_dict(cls: type[Stage], raw: dict[str, Any]) -> Stage:
    """The stage that ``raw`` describes, every field checked; SpecError names the first that is wrong."""
    version = raw.get("version")
    if type(version) is not int or not 0 < version < _VERSIONS:
        raise SpecError(f"{cls.name}: the task is of version {repr(version)[:80]}, which is none; enqueue it again")
    if version != cls.version:
        raise VersionError(
            f"{cls.name}: the task is of version {version} and this program runs version "
            f"{cls.version}; enqueue it again with this program, or execute it with the one that made it"
        )
    names = field_types(cls)
    given = {key: value for key, value in raw.items() if key not in ("stage", "version")}
    if unknown := sorted(given.keys() - names.keys()):
        raise SpecError(f"{cls.name}: unknown field {unknown[0]!r}; {spelling.choices(unknown[0], names)}")
    if missing := sorted(names.keys() - given.keys()):
        raise SpecError(f"{cls.name}: the task lacks the field {missing[0]!r}; every field must be given")
    return cls(**given)


def coerce(value: Any, hint: Any, where: str) -> Any:
    """``value`` as the type ``hint``, or a SpecError that names ``where``, what was expected and what came."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        inner = next(a for a in args if a is not type(None))
        return None if value is None else coerce(value, inner, where)
    if origin is tuple and isinstance(value, (list, tuple)):
        return _tuple(value, args, where, hint)
    if origin is Literal:
        if type(value) in {type(a) for a in args} and value in args:
            return value
    elif (convert := _CONVERT.get(hint)) is not None:
        found = _attempt(convert, value, where)
        if found is not None:
            return found
    raise SpecError(f"{where}: expected {describe(hint)}, got {value!r}")


def _tuple(value: Sequence[Any], args: tuple[Any, ...], where: str, hint: Any) -> tuple[Any, ...]:
    if args[-1] is Ellipsis:
        args = (args[0],) * len(value)
    if len(value) != len(args):
        raise SpecError(f"{where}: expected {describe(hint)}, got {len(value)}: {value!r}")
    return tuple(coerce(v, a, f"{where}[{i}]") for i, (v, a) in enumerate(zip(value, args, strict=True)))


def _attempt(convert: Callable[[Any], Any], value: Any, where: str) -> Any:
    try:
        return convert(value)
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None


def _box(value: Any) -> Box | None:
    if isinstance(value, Box):
        return Box(vec(value.lo), vec(value.hi))
    return Box.parse(value) if isinstance(value, str) else None


def _layer(value: Any) -> Layer | None:
    return Layer.parse(value) if isinstance(value, str) else None


def _float(value: Any) -> float | None:
    if type(value) not in (int, float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def _exactly(kind: type) -> Callable[[Any], Any]:
    return lambda value: value if type(value) is kind else None


_CONVERT: dict[Any, Callable[[Any], Any]] = {
    Box: _box,
    Layer: _layer,
    float: _float,
    int: _exactly(int),
    str: _exactly(str),
    bool: _exactly(bool),
}


def describe(hint: Any) -> str:
    """A field's type, in words for users."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return describe(next(a for a in args if a is not type(None)))
    if origin is Literal:
        return " or ".join(map(str, args))
    if origin is tuple:
        return f"a list of {args[0].__name__}" if args[-1] is Ellipsis else f"{len(args)} of {args[0].__name__}"
    return {Box: "a box x0:x1,y0:y1,z0:z1", Layer: "a layer's URL"}.get(hint, getattr(hint, "__name__", str(hint)))
