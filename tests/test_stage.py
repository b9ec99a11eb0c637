"""The contract's own machinery: typed fields, their JSON, and layers in one spelling."""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box
from igneous_ng.stage import Layer, Stage, arg, coerce, describe, field_types, from_dict, opt, plain, to_dict

BOX = Box((-1, 0, 2), (3, 4, 5))
HINTS: list[tuple[Any, Any, str]] = [
    (int, 3, "int"),
    (float, 2.5, "float"),
    (str, "word", "str"),
    (bool, True, "bool"),
    (Box, BOX, "a box x0:x1,y0:y1,z0:z1"),
    (Layer, Layer("file:///a"), "a layer's URL"),
    (tuple[int, int, int], (1, 2, 3), "3 of int"),
    (tuple[float, ...], (1.0, 2.0), "a list of float"),
    (Literal["left", "right"], "left", "left or right"),
    (int | None, 7, "int"),
    (Box | None, BOX, "a box x0:x1,y0:y1,z0:z1"),
]


@dataclass(frozen=True, kw_only=True)
class Trial(Stage, name="test trial", version=3):
    """A stage that does nothing."""

    layer: Layer = arg("Where.")
    size: tuple[int, int, int] = opt((1, 2, 3), "How large.")
    roi: Box | None = opt(None, "Which part.")
    ids: tuple[int, ...] = opt((), "Which labels.")
    scale: float = opt(1.0, "How much.")

    def check(self) -> None:
        """Refuse nothing-sized work."""
        if 0 in self.size:
            raise SpecError("test trial: size 0")


@pytest.mark.parametrize(("hint", "value", "words"), HINTS, ids=str)
def test_a_value_of_its_type_stays_and_survives_json(hint: Any, value: Any, words: str) -> None:
    assert describe(hint) == words
    for given_value in (value, plain(value)):
        made = coerce(given_value, hint, "here")
        assert made == value
        assert type(made) is type(value)


WRONG: list[tuple[Any, list[Any]]] = [
    (int, [1.0, True, "1", None, [1]]),
    (float, [True, "1.5", None, math.nan, math.inf, -math.inf]),
    (str, [1, None, b"word", ["word"]]),
    (bool, [0, 1, "true", None]),
    (Box, [None, 3, "0:1", "3:1,0:1,0:1", [0, 0, 0, 1, 1, 1]]),
    (Layer, [None, 3, "ftp://x/y", "", "s3://"]),
    (tuple[int, int, int], [[1, 2], [1, 2, 3, 4], [1, 2, 3.0], "123", 1, None, {1: 2}]),
    (tuple[int, ...], ["123", [1, "2"], 1, {1, 2}]),
    (Literal["left", "right"], ["up", "", None, 0, ["left"]]),
    (Literal[1, 2], [True, 1.0, "1", 3]),
    (int | None, ["1", 1.0]),
]


@pytest.mark.parametrize(("hint", "value"), [(h, v) for h, values in WRONG for v in values], ids=repr)
def test_a_value_of_another_type_is_refused_by_name(hint: Any, value: Any) -> None:
    with pytest.raises(SpecError, match=r"^stage\.field"):
        coerce(value, hint, "stage.field")


def test_an_integer_is_a_float_and_the_place_in_a_list_is_named() -> None:
    assert type(coerce(3, float, "x")) is float
    with pytest.raises(SpecError, match=r"^size\[1\]: expected int, got 'b'$"):
        coerce((1, "b", 3), tuple[int, int, int], "size")


def test_a_list_becomes_a_tuple_and_lists_of_any_length_are_kept() -> None:
    assert coerce([4, 5, 6], tuple[int, int, int], "x") == (4, 5, 6)
    assert coerce([], tuple[int, ...], "x") == ()


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("precomputed://gs://bucket/a", "gs://bucket/a"),
        ("precomputed:///data/a/", "file:///data/a"),
        ("file:///data/a//", "file:///data/a"),
        ("/data/a/", "file:///data/a"),
        ("/data/./b/../a", "file:///data/a"),
        ("file:///data/b/../a", "file:///data/a"),
        ("mem://a/b", "mem://a/b"),
        ("https://host/a", "https://host/a"),
    ],
)
def test_a_layer_has_one_spelling(text: str, url: str) -> None:
    assert Layer.parse(text) == url
    assert Layer.parse(url) == url


def test_a_bare_path_is_absolute_from_here_or_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert Layer.parse("a/b/") == f"file://{tmp_path}/a/b"
    assert Layer.parse("file://a") == f"file://{tmp_path}/a"
    assert Layer.parse("~/a") == f"file://{tmp_path}/home/a"
    with pytest.raises(SpecError, match="home of a user that there is not"):
        Layer.parse("~nobody-of-this-name/a")


@settings(deadline=None)
@given(st.text("abc/._-").map("/a".__add__))
def test_spelling_a_layer_again_changes_nothing(path: str) -> None:
    assume(os.path.abspath(path) != "/")  # which names no place
    once = Layer.parse(path)
    assert Layer.parse(once) == once
    assert not once.endswith("/")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ftp://a/b", "no store is called ftp"),
        ("", "names no place"),
        ("s3://", "no place"),
        ("/", "no place"),
        ("/.", "no place"),
    ],
)
def test_a_layer_that_is_nowhere_is_refused(text: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        Layer.parse(text)


def test_a_stage_is_its_json() -> None:
    stage = Trial(layer=Layer("/a/"), roi=BOX, ids=(2**64 - 1, 0), scale=2)
    assert stage.layer == "file:///a"
    assert to_dict(stage) == {
        "stage": "test trial",
        "version": 3,
        "memory": 3_000_000_000,
        "layer": "file:///a",
        "size": [1, 2, 3],
        "roi": "-1:3,0:4,2:5",
        "ids": [2**64 - 1, 0],
        "scale": 2.0,
    }
    assert from_dict(Trial, to_dict(stage)) == stage
    assert list(field_types(Trial)) == ["memory", "layer", "size", "roi", "ids", "scale"]


def test_fields_are_checked_alone_and_together() -> None:
    for wrong, words in (
        ({"size": (1, 2)}, r"test trial\.size"),
        ({"memory": 0}, r"test trial\.memory"),
        ({"size": (1, 0, 2)}, "size 0"),
        ({"scale": math.nan}, r"test trial\.scale"),
    ):
        with pytest.raises(SpecError, match=words):
            Trial(**{"layer": Layer("/a"), **wrong})  # type: ignore[arg-type]


def test_json_of_other_fields_or_another_version_is_refused() -> None:
    raw = to_dict(Trial(layer=Layer("/a")))
    for wrong, words in (
        ({**raw, "sise": 1}, "unknown field 'sise'"),
        ({**raw, "version": 2}, "version 2 and this program runs version 3"),
        ({**raw, "version": None}, "version None"),
        ({k: v for k, v in raw.items() if k != "roi"}, "lacks the field 'roi'"),
    ):
        with pytest.raises(SpecError, match=words):
            from_dict(Trial, wrong)


def test_a_stage_cannot_be_changed_and_must_say_what_it_does() -> None:
    stage = Trial(layer=Layer("/a"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        stage.scale = 2.0  # type: ignore[misc]
    for method in (stage.home, lambda: stage.units(None), lambda: stage.execute(None, None)):  # type: ignore[arg-type]
        with pytest.raises(NotImplementedError):
            method()
