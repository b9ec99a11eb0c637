"""What Neuroglancer shows beside segments: labels, descriptions, text, tags and numbers, in one JSON file.

Source of the format: "Precomputed segment properties" (google/neuroglancer,
src/datasource/precomputed/segment_properties.md). The client reads the file whole, and knows no numbers of 64 bits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError, SpecError

Array = npt.NDArray[Any]
TYPE = "neuroglancer_segment_properties"
TEXTS = ("label", "description", "string")
WHOLE = ("uint8", "int8", "uint16", "int16", "uint32", "int32")
NUMBERS = (*WHOLE, "float32")
_ONCE = ("label", "description", "tags")


@dataclass(frozen=True)
class Property:
    """A property of segments, one value each: text, numbers, or of tags the places in ``tags``, ascending."""

    id: str
    type: str
    values: Sequence[Any]
    data_type: str = ""  # of numbers
    tags: tuple[str, ...] = ()
    description: str = ""

    def to_json(self) -> dict[str, Any]:
        """The property in JSON's types."""
        more = {"description": self.description} if self.description else {}
        more |= {"data_type": self.data_type} if self.type == "number" else {}
        tags = {"tags": list(self.tags)} if self.type == "tags" else {}
        return {"id": self.id, "type": self.type, **more, **tags, "values": list(self.values)}


def tagged(ident: str, words: Sequence[Sequence[str]]) -> Property:
    """The tags of each segment, from its words."""
    tags = tuple(sorted({word for some in words for word in some}))
    at = {tag: place for place, tag in enumerate(tags)}
    return Property(ident, "tags", [sorted({at[word] for word in some}) for some in words], tags=tags)


def numeric(ident: str, numbers: Array) -> Property:
    """Numbers in the least type that holds all of them, float32 where there is none; what is not a number is 0."""
    if numbers.dtype.kind == "f":
        narrow = np.where(np.isnan(numbers), 0, numbers).astype(np.float32)
        return Property(ident, "number", _shortest(narrow), "float32")
    low, high = int(numbers.min(initial=0)), int(numbers.max(initial=0))
    for kind in WHOLE:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return Property(ident, "number", numbers.tolist(), kind)
    return Property(ident, "number", _shortest(numbers.astype(np.float32)), "float32")


def encode(ids: Array, properties: Sequence[Property]) -> bytes:
    """The file of the properties of ``ids``, ascending; SpecError for what the client would refuse."""
    if wrong := _wrong(ids.tolist(), properties):
        raise SpecError(wrong)
    inline = {"ids": [str(one) for one in ids.tolist()], "properties": [one.to_json() for one in properties]}
    return (json.dumps({"@type": TYPE, "inline": inline}, separators=(",", ":")) + "\n").encode()


def parse(data: bytes, where: str) -> tuple[Array, list[Property]]:
    """What :func:`encode` took: ids, uint64, and their properties; DataError, naming ``where``, for another file."""
    try:
        raw = json.loads(data)
        if raw["@type"] != TYPE:
            raise ValueError(f"it is {raw['@type']!r}")
        ids = [int(one) for one in raw["inline"]["ids"]]
        properties = [
            Property(one["id"], one["type"], one["values"], one.get("data_type", ""), tuple(one.get("tags", ())),
                     one.get("description", "")) for one in raw["inline"]["properties"]
        ]  # fmt: skip
        if wrong := _wrong(ids, properties):
            raise ValueError(wrong)
        return np.array(ids, np.uint64), properties
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: not the properties of segments ({error}); make them again") from error


def _wrong(ids: Sequence[int], properties: Sequence[Property]) -> str:
    """What is wrong with them; empty where nothing is."""
    if any(not 0 < one < 1 << 64 for one in ids) or any(a >= b for a, b in pairwise(ids)):
        return "segments must be from 1 to 2^64 - 1, ascending, each once"
    names = [one.id for one in properties]
    kinds = [one.type for one in properties]
    for name in names:
        if names.count(name) > 1:
            return f"two properties are called {name!r}; call one otherwise"
    for kind in _ONCE:
        if kinds.count(kind) > 1:
            return f"there may be one property of the type {kind}, and there are {kinds.count(kind)}"
    return next((said for one in properties if (said := _wrong_values(one, len(ids)))), "")


def _wrong_values(one: Property, count: int) -> str:
    said = f"property {one.id!r}"
    if len(one.values) != count:
        return f"{said} has {len(one.values)} values for {count} segments"
    if one.type in TEXTS:
        return "" if all(isinstance(value, str) for value in one.values) else f"{said} holds other than text"
    if one.type == "number":
        return _wrong_numbers(one)
    if one.type == "tags":
        return _wrong_tags(one)
    return f"{said} is of the type {one.type!r}; there are: {', '.join((*TEXTS, 'tags', 'number'))}"


def _wrong_numbers(one: Property) -> str:
    if one.data_type not in NUMBERS:
        return f"property {one.id!r} is of {one.data_type or 'no data_type'}; there are: {', '.join(NUMBERS)}"
    if one.data_type == "float32":
        fits = all(type(value) in (int, float) and math.isfinite(value) for value in one.values)
    else:
        limits = np.iinfo(one.data_type)
        fits = all(type(value) is int and limits.min <= value <= limits.max for value in one.values)
    return "" if fits else f"property {one.id!r} has a value that is no finite {one.data_type}"


def _wrong_tags(one: Property) -> str:
    for tag in one.tags:
        if not tag or tag.startswith("#") or any(letter.isspace() for letter in tag):
            return f"tag {tag!r}: a tag has no spaces and does not begin with #"
    if len({tag.lower() for tag in one.tags}) != len(one.tags):
        return f"property {one.id!r} has a tag twice, but for capital letters"
    for value in one.values:
        known = all(type(at) is int and 0 <= at < len(one.tags) for at in value)
        if not known or any(a >= b for a, b in pairwise(value)):
            return f"property {one.id!r}: {value} are not places of tags, ascending"
    return ""


def _shortest(numbers: Array) -> list[float]:
    """Numbers of float32 with the fewest digits that tell them."""
    return [float(text) for text in numbers.astype("U32").tolist()]
