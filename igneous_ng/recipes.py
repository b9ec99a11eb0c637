"""A pipeline as text: a TOML file becomes steps, each a stage and the steps before it. All of it is checked first.

::

    default_profile = "workstation"
    [parameters]              # names for values: "{folder}/seg" in a text, "{cell}" alone keeps its type
    [profile.NAME]            # queue, processes, priority; parameters; fields: defaults of the steps' fields
    [steps.NAME]              # stage, its fields by their names; after, foreach
    [prices]                  # what things cost, for estimates
    [redo]                    # layers, box, mip: when all steps are done, run again what is stale, or reads that box

A field that names a layer takes ``"@step"``: the layer that this step makes, or ``"@step[item]"`` of several; the step
then waits for that one and for no other. Of steps that name layers by paths, those later in the file wait for those
before them that make what they touch, or read what they make. Paths are taken from the folder of the file. Nothing is
read or written here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields
from pathlib import PurePosixPath
from typing import Any, get_args

from igneous_ng import catalog, prices, spelling, templates
from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box
from igneous_ng.prices import Prices
from igneous_ng.queues.protocol import PRIORITIES, Priority
from igneous_ng.stage import Layer, Stage, coerce, field_types, to_dict

_TOP = ("default_profile", "parameters", "profile", "prices", "steps", "redo")
_REDO = ("layers", "box", "mip")
_PROFILE = ("queue", "processes", "priority", "parameters", "fields")
_OWN = ("stage", "after", "foreach")
Table = dict[str, Any]


@dataclass(frozen=True)
class Profile:
    """How the steps are run: on a queue, or here by so many processes."""

    name: str = ""
    queue: str | None = None
    processes: int = 1
    priority: Priority = "normal"


@dataclass(frozen=True)
class Step:
    """A stage by its name in the file, ``name`` or ``name[item]``, and the names of the steps that it waits for."""

    name: str
    stage: Stage
    after: tuple[str, ...]


@dataclass(frozen=True)
class Again:
    """What is to be redone at ``layers`` when all steps are done: what is stale, or what reads the box of the first."""

    layers: tuple[str, ...]
    box: Box | None
    mip: int


@dataclass(frozen=True)
class Recipe:
    """What a file asks for. Each step stands behind those that it waits for, else in the order of the file."""

    name: str
    profile: Profile
    steps: tuple[Step, ...]
    redo: Again | None = None
    prices: Prices | None = None


def parse(text: str, where: str, profile: str | None = None, settings: Mapping[str, str] | None = None) -> Recipe:
    """The recipe in ``text``, of the file at the absolute path ``where``; ``settings`` are of parameters.

    SpecError names the file, the step and the key, what was found, and what to do.
    """
    path = PurePosixPath(where)
    with _within(path.name):
        raw = templates.table(text)
        _known(raw, _TOP, "the file")
        tables = _tables(raw, "profile")
        name = profile if profile is not None else raw.get("default_profile", "")
        chosen = _chosen(tables, name)
        how = _profile(name, chosen, path.parent)
        names = templates.parameters(_table(raw, "parameters"), _table(chosen, "parameters"), settings or {})
        drafts = list(_drafts(_tables(raw, "steps"), names))
        if not drafts and "redo" not in raw:
            raise SpecError('there are no steps; write some, such as [steps.pyramid] with stage = "image downsample"')
        desk = _Desk(drafts, templates.filled(_table(chosen, "fields"), names, "fields"), path.parent)
        steps = tuple(desk.steps())
        costs = prices.parse(raw["prices"], "prices") if "prices" in raw else None
        return Recipe(path.name, how, steps, desk.redo(raw, names), costs)


@contextmanager
def _within(what: str) -> Iterator[None]:
    """Put before the text of a SpecError what it is about."""
    try:
        yield
    except SpecError as error:
        raise SpecError(f"{what}: {error}") from None


# Tables and profiles.


def _table(raw: Table, key: str) -> Table:
    found = raw.get(key, {})
    if not isinstance(found, dict):
        raise SpecError(f"{key}: expected a table, got {found!r}; write [{key}] and its keys below")
    return found


def _tables(raw: Table, key: str) -> dict[str, Table]:
    tables = _table(raw, key)
    return {name: _table(tables, name) for name in tables}


def _known(raw: Table, known: Sequence[str], what: str) -> None:
    if unknown := sorted(raw.keys() - set(known)):
        raise SpecError(f"{what} has no key {unknown[0]!r}; {spelling.choices(unknown[0], known)}")


def _chosen(tables: dict[str, Table], name: Any) -> Table:
    """The table of the profile ``name``; empty where none is asked for."""
    if name == "":
        return {}
    if name not in tables:
        raise SpecError(f"no profile is called {name!r}; {spelling.choices(str(name), tables)}")
    _known(tables[name], _PROFILE, f"profile {name}")
    return tables[name]


def _profile(name: str, raw: Table, folder: PurePosixPath) -> Profile:
    queue, processes, priority = raw.get("queue"), raw.get("processes", 1), raw.get("priority", "normal")
    if queue is not None and not isinstance(queue, str):
        raise SpecError(f"profile {name}.queue: expected fq://DIRECTORY or sqs://NAME, got {queue!r}")
    if type(processes) is not int or processes < 1:
        raise SpecError(f"profile {name}.processes: expected a number from 1 up, got {processes!r}")
    if priority not in PRIORITIES:
        raise SpecError(f"profile {name}.priority: expected {' or '.join(PRIORITIES)}, got {priority!r}")
    if queue is not None and queue.startswith("fq://") and queue[5:6] not in ("/", "~"):
        queue = f"fq://{folder / queue[5:]}"
    return Profile(name, queue, processes, priority)


# Steps before their layers are known.


@dataclass
class _Draft:
    """A step as it is written: its fields, and what it waits for by name."""

    name: str
    family: str
    stage: str
    values: Table
    after: list[str]
    stands_for: set[str] = field(default_factory=set)  # fields given by @
    waits: set[str] = field(default_factory=set)  # names of drafts, by @ and after


def _drafts(tables: dict[str, Table], names: Table) -> Iterator[_Draft]:
    for family, raw in tables.items():
        with _within(f"step {family}"):
            lists = templates.filled(_table(raw, "foreach"), names, "foreach")
            for items in _instances(lists, names):
                suffix = f"[{','.join(map(str, items.values()))}]" if items else ""
                yield _draft(family, family + suffix, raw, {**names, **items})


def _instances(lists: Table, names: Table) -> Iterator[Table]:
    """The items of each instance; one without items where there is no foreach."""
    for key, items in lists.items():
        if not isinstance(items, list) or not items:
            raise SpecError(f"foreach.{key}: expected a list of one item or more, got {items!r}")
        if key in names:
            raise SpecError(f"foreach.{key}: a parameter is called so, too; give one of them another name")
        if repeated := [item for number, item in enumerate(items) if item in items[:number]]:
            raise SpecError(f"foreach.{key}: {repeated[0]!r} is there twice; remove one")
    for items in itertools.product(*lists.values()):
        yield dict(zip(lists, items, strict=True))


def _draft(family: str, name: str, raw: Table, names: Table) -> _Draft:
    stage, after = raw.get("stage"), templates.filled(raw.get("after", []), names, "after")
    if not isinstance(stage, str):
        raise SpecError(f'stage: expected the name of a stage, such as "mesh forge", got {stage!r}')
    if not isinstance(after, list) or not all(isinstance(one, str) for one in after):
        raise SpecError(f"after: expected a list of names of steps, got {after!r}")
    values = {key: templates.filled(value, names, key) for key, value in raw.items() if key not in _OWN}
    return _Draft(name, family, stage, values, after)


class _Desk:
    """Where drafts become steps: references are looked up, stages made, the order found."""

    def __init__(self, drafts: list[_Draft], fields: Table, folder: PurePosixPath) -> None:
        self._drafts = {draft.name: draft for draft in drafts}
        self._fields, self._folder = fields, folder
        self._stages: dict[str, Stage] = {}
        self._open: list[str] = []
        self._used: set[str] = set()

    def steps(self) -> Iterator[Step]:
        """All steps, each behind those that it waits for."""
        for draft in self._drafts.values():
            self._stage(draft)
            with _within(f"step {draft.name}"):
                draft.waits |= {one.name for text in draft.after for one in self._found(draft, text, "after")}
        if unused := sorted(self._fields.keys() - self._used):
            raise SpecError(f"fields.{unused[0]}: no step has such a field; remove it, or see the reference of stages")
        self._refuse_twins()
        waits = self._waits()
        for name in _ordered(waits):
            yield Step(name, self._stages[name], tuple(other for other in self._drafts if other in waits[name]))

    def redo(self, raw: Table, names: Table) -> Again | None:
        """What is to be redone, when all steps are known; by default at the layers that they make."""
        if "redo" not in raw:
            return None
        with _within("redo"):
            asked = templates.filled(_table(raw, "redo"), names, "redo")
            _known(asked, _REDO, "it")
            layers, box, mip = asked.get("layers"), asked.get("box"), asked.get("mip", 0)
            if layers is None:
                layers = list(dict.fromkeys(stage.home() for stage in self._stages.values()))
            if not isinstance(layers, list) or not layers or not all(isinstance(one, str) for one in layers):
                raise SpecError(f'layers: expected a list of layers, such as ["data/seg"], got {layers!r}')
            found = tuple(
                coerce(self._layer(_Draft("redo", "", "", {}, []), "layers", one), Layer, "layers") for one in layers
            )
            return Again(found, coerce(box, Box | None, "box"), coerce(mip, int, "mip"))

    # Stages.

    def _stage(self, draft: _Draft) -> Stage:
        """The stage of a draft, made when it is first asked for."""
        if draft.name in self._open:
            raise SpecError(f"steps take layers of each other: {_ring([*self._open, draft.name])}; break the ring")
        if draft.name not in self._stages:
            self._open.append(draft.name)
            for other in self._meant(draft):
                self._stage(other)
            with _within(f"step {draft.name}"):
                self._stages[draft.name] = self._made(draft)
            self._open.pop()
        return self._stages[draft.name]

    def _meant(self, draft: _Draft) -> list[_Draft]:
        """The other steps that a draft means by @, as far as they are there."""
        values = [value for value in (*self._fields.values(), *draft.values.values()) if isinstance(value, str)]
        names = {value[1:] for value in values if value.startswith("@")}
        return [one for one in self._drafts.values() if one is not draft and names & {one.name, one.family}]

    def _made(self, draft: _Draft) -> Stage:
        cls = catalog.load(draft.stage)
        hints = field_types(cls)
        if unknown := sorted(draft.values.keys() - hints.keys()):
            raise SpecError(f"`{cls.name}` has no field {unknown[0]!r}; {spelling.choices(unknown[0], hints)}")
        defaults = {key: value for key, value in self._fields.items() if key in hints}
        self._used |= defaults.keys()
        values = {**defaults, **draft.values}
        if missing := [f.name for f in fields(cls) if f.default is MISSING and f.name not in values]:
            raise SpecError(f"`{cls.name}` needs the field {missing[0]!r}; there are: {', '.join(hints)}")
        layers = {key for key, hint in hints.items() if hint is Layer or Layer in get_args(hint)}
        return cls(**{key: self._layer(draft, key, v) if key in layers else v for key, v in values.items()})

    def _layer(self, draft: _Draft, key: str, value: Any) -> Any:
        """The layer that is meant by a name or a path."""
        if not isinstance(value, str):
            return value
        if not value.startswith("@"):
            scheme, mark, path = value.removeprefix("precomputed://").rpartition("://")
            return value if scheme not in ("", "file") else f"{scheme}{mark}{_from(self._folder, path)}"
        found = self._found(draft, value[1:], key)
        homes = sorted({self._stage(one).home() for one in found})
        if len(homes) > 1:
            raise SpecError(f"{key}: {value} stands for {len(homes)} layers; name one of {_names(found)}")
        draft.stands_for.add(key)
        draft.waits |= {one.name for one in found}
        return homes[0]

    def _found(self, draft: _Draft, name: str, key: str) -> list[_Draft]:
        """The steps that are called ``name``, one or all of its instances."""
        found = [one for one in self._drafts.values() if name in (one.name, one.family)]
        if not found:
            raise SpecError(f"{key}: no step is called {name!r}; {spelling.choices(name, self._drafts)}")
        if draft in found:
            raise SpecError(f"{key}: a step cannot wait for itself; name another")
        return found

    def _refuse_twins(self) -> None:
        seen: dict[str, str] = {}
        for name, stage in self._stages.items():
            other = seen.setdefault(str(to_dict(stage)), name)
            if other != name:
                raise SpecError(f"the steps {other} and {name} ask for the very same; remove one")

    # Order.

    def _waits(self) -> dict[str, set[str]]:
        """For each step the names of those that it waits for, as written and by the layers that they touch."""
        written = {name: draft.waits for name, draft in self._drafts.items()}
        waits = {name: set(others) for name, others in written.items()}
        for later, earlier in ((b, a) for a, b in itertools.combinations(self._drafts, 2)):
            if later not in reached(written, earlier) and self._touches(later, earlier):
                waits[later].add(earlier)
        return waits

    def _touches(self, later: str, earlier: str) -> bool:
        """Whether a step names by its path what an earlier one makes, or makes by its path what that one names."""
        stage, before = self._stages[later], self._stages[earlier]
        layers = _layers(stage)
        by_name = {layers[key] for key in self._drafts[later].stands_for}
        by_path = {layer for key, layer in layers.items() if key not in self._drafts[later].stands_for}
        own = set() if stage.home() in by_name else {stage.home()}
        seen = set(_layers(before).values())
        makes = any(_inside(layer, before.home()) or any(_below(layer, one) for one in seen) for layer in by_path | own)
        return makes or any(_inside(layer, home) for layer in seen for home in own)


def _from(folder: PurePosixPath, path: str) -> str:
    return path if not path or path.startswith("~") else str(folder / path)


def _layers(stage: Stage) -> dict[str, str]:
    return {key: value for key, value in vars(stage).items() if isinstance(value, Layer)}


def _inside(layer: str, home: str) -> bool:
    return layer == home or _below(layer, home)


def _below(layer: str, folder: str) -> bool:
    return layer.startswith(f"{folder}/")


def _names(drafts: Sequence[_Draft]) -> str:
    return ", ".join(f"@{one.name}" for one in drafts)


def _ring(names: list[str]) -> str:
    return " -> ".join(names[names.index(names[-1]) :])


def reached(waits: Mapping[str, Set[str]], name: str) -> set[str]:
    """All that a step waits for, and what they wait for."""
    found, open_ = set[str](), [name]
    while open_:
        new = waits[open_.pop()] - found
        found |= new
        open_ += new
    return found


def _ordered(waits: Mapping[str, set[str]]) -> Iterator[str]:
    """Names, each behind those that it waits for, else in the given order; SpecError where they wait in a ring."""
    placed: set[str] = set()
    while len(placed) < len(waits):
        free = next((name for name in waits if name not in placed and waits[name] <= placed), None)
        if free is None:
            raise SpecError(f"steps wait for each other: {_ring(_walk(waits, placed))}; break the ring")
        placed.add(free)
        yield free


def _walk(waits: Mapping[str, set[str]], placed: set[str]) -> list[str]:
    """A way from step to step that each waits for, up to the first that is met again."""
    way = [next(name for name in waits if name not in placed)]
    while way.count(way[-1]) == 1:
        way.append(min(waits[way[-1]] - placed))
    return way
