"""Messages that nobody should ever put on a queue, from a seed: what the tests of the worker's defences share."""

from __future__ import annotations

import copy
import dataclasses
import json
import random
import typing
from pathlib import Path
from typing import Any

from igneous_ng import catalog
from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box
from igneous_ng.messages import FORMAT
from igneous_ng.stage import Layer, Stage, field_types, to_dict

PATHS = (
    "../", "../../../../etc/passwd", "/etc/passwd", "file:///etc/passwd", "file:///../../etc", "%2e%2e/%2e%2e/etc",
    "https://127.0.0.1:9/%2e%2e/x", "a/../../b", "nul\0byte", "new\nline", "\x1b[2J", "\u202egpj", "\uff0e\uff0e/etc",
    "\ud800", "s3://bucket/key", "gs://bucket/key", "http://127.0.0.1:9/x", "x" * 300, "y/" * 3000, "~root",
    "~nobody/x", "-rf", "$(id)", "`id`", "; rm -rf /", "{0.__class__}", "%s%n", "|/bin/sh", "CON", ".", "..", "",
    " ", "/", "//x",
    "file://", "s3://", "fq:///etc", "memory://x", "mem://x/y", "a\\..\\b",
    "s3://AKIAIOSFODNN7EXAMPLE:hunter2hunter2@b/k",
)  # fmt: skip
NUMBERS = (0, -1, -0.0, 1.5, 2**31, 2**53 + 1, 2**63, 2**64, -(2**64), 10**30, 10**400, 1e308, -1e308, 1e-320)
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    {"": {}},
    "",
    "0",
    "true",
    "NaN",
    b"".hex(),
    [None] * 5,
    "z" * 100_000,
)
TEXTS = (
    "", " ", "null", "true", "[]", "{}", '""', "0", "not json", "{", "}", '{"igneous_ng":3}',
    '{"igneous_ng":3,"run":null}',
    '{"igneous_ng":3,"run":{}}', "[" * 100_000, '{"a":' * 100_000, "[" * 100_000 + "]" * 100_000, "NaN", "Infinity",
    "1" * 100_000, "\ufffd\ufffd", "\ufeff{}", "<xml/>", "!!python/object/apply:os.system ['id']",
    "cos\nsystem\n(S'id'\ntR.", "\x80\x04\x95", "\0", '{"igneous_ng":3,"igneous_ng":3}', "'" * 1000, "\\u0000",
)  # fmt: skip


class Hostile:
    """Draws messages; ``inside`` is the folder that workers may touch, ``outside`` one that they may not."""

    def __init__(self, seed: int, inside: Path, outside: Path) -> None:
        self._chance = random.Random(seed)
        self._inside, self._outside = inside, outside
        self._names = list(catalog.entries())

    def message(self) -> str:
        """One message, wrong in one way or more."""
        kind = self._chance.random()
        if kind < 0.12:
            return self._chance.choice(TEXTS)
        raw = self._whole()
        if kind < 0.2:
            return self._torn(json.dumps(raw))
        for _ in range(self._chance.choice((1, 1, 1, 2, 5))):
            self._mutate(raw)
        text = json.dumps(raw)
        return self._doubled(text) if kind < 0.25 else text

    def _whole(self) -> dict[str, Any]:
        """A message as it should be, of a stage that was never planned."""
        stage = self._stage()
        where = self._layer()
        return {
            "igneous_ng": FORMAT,
            "run": {
                "id": f"20260101T000000.{self._chance.randrange(10**6):06d}-abcdef01", "home": where, "stage": stage,
                "units": 9, "span": 3, "peak_bytes": 1000, "device_bytes": 0, "subset": "",
            },
            "lo": 0, "hi": 3, "tried": 0, "alone": False, "memory": 0, "after": 0.0, "priority": "normal",
            "verdict": "",
        }  # fmt: skip

    def _stage(self) -> dict[str, Any]:
        """The JSON of a stage of the catalog, as legal as chance makes it."""
        cls = catalog.load(self._chance.choice(self._names))
        for _ in range(20):
            try:
                return to_dict(cls(**self._fields(cls)))
            except SpecError:
                continue
        return {"stage": cls.name, "version": cls.version, **dict.fromkeys(field_types(cls))}

    def _fields(self, cls: type[Stage]) -> dict[str, Any]:
        hints = field_types(cls)
        needed = [f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING]
        return {name: self._value(hints[name]) for name in needed}

    def _value(self, hint: Any) -> Any:
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin is typing.Literal:
            return self._chance.choice(args)
        if origin is tuple:
            count = 2 if args[-1] is Ellipsis else len(args)
            return tuple(self._value(args[0]) for _ in range(count))
        if args:
            return self._value(args[0])
        simple = {Layer: self._layer(), int: self._chance.randrange(1, 99), float: 4.0, bool: True, str: "name"}
        return Box((0, 0, 0), (8, 8, 8)) if hint is Box else simple[hint]

    def _layer(self) -> str:
        inside, outside = f"file://{self._inside}", f"file://{self._outside}"
        return self._chance.choice(
            [f"{inside}/em", f"{inside}/link/em", outside, f"{inside}/../outside/em", f"{inside}/new", f"{inside}x/em"]
        )

    def _mutate(self, raw: dict[str, Any]) -> None:
        """Change one thing, at any depth."""
        holder = self._holder(raw)
        if not holder:
            return
        key = self._chance.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        turn = self._chance.random()
        if turn < 0.15 and isinstance(holder, dict):
            del holder[key]
        elif turn < 0.25 and isinstance(holder, dict):
            holder[self._chance.choice((f"{key}_", str(key).upper(), "__class__", "é", ""))] = holder.pop(key)
        elif turn < 0.5:
            holder[key] = self._chance.choice(PATHS)
        elif turn < 0.7:
            holder[key] = self._chance.choice(NUMBERS)
        elif turn < 0.9:
            holder[key] = copy.deepcopy(self._chance.choice(ODD))
        else:
            holder[key] = self._deep(self._chance.choice((3, 40, 400)))

    def _holder(self, raw: dict[str, Any]) -> Any:
        """The message, its run or its stage, or something in them."""
        run = raw.get("run")
        stage = run.get("stage") if isinstance(run, dict) else None
        known = [one for one in (raw, run, stage, stage, stage) if isinstance(one, dict)]
        chosen = self._chance.choice(known)
        inner = [one for one in chosen.values() if isinstance(one, list) and one]
        return self._chance.choice(inner) if inner and self._chance.random() < 0.3 else chosen

    def _deep(self, depth: int) -> Any:
        value: Any = 1
        for _ in range(depth):
            value = [value] if self._chance.random() < 0.5 else {"a": value}
        return value

    def _torn(self, text: str) -> str:
        """Cut, or with some characters changed."""
        if self._chance.random() < 0.5:
            return text[: self._chance.randrange(len(text))]
        parts = list(text)
        for _ in range(self._chance.choice((1, 3, 30))):
            parts[self._chance.randrange(len(parts))] = chr(self._chance.choice((0, 34, 44, 58, 92, 123, 255, 0x2028)))
        return "".join(parts)

    def _doubled(self, text: str) -> str:
        """With a key that is there twice."""
        key, value = self._chance.choice((("lo", "1"), ("run", "{}"), ("home", '"/etc"'), ("stage", '"x"')))
        return text.replace(f'"{key}": ', f'"{key}": {value}, "{key}": ', 1)
