"""What every stage owes, checked for each one in the catalog: a new stage is covered the day it is written."""

from __future__ import annotations

import dataclasses
import inspect
import json
import typing
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from igneous_ng import catalog, cli, reference
from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box
from igneous_ng.records import Message, Run
from igneous_ng.stage import Layer, Stage, field_types, from_dict, to_dict

corner = st.tuples(*[st.integers(-9, 9)] * 3)
boxes = st.builds(lambda a, b: Box(a, b) | Box(b, b), corner, st.tuples(*[st.integers(10, 19)] * 3))
layers = st.sampled_from(["file:///data/a", "file:///data/b/c", "s3://bucket/x"]).map(Layer)
BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    Box: boxes,
    Layer: layers,
    int: st.integers(-2, 300),
    float: st.one_of(st.floats(0.01, 1000), st.floats(allow_nan=False, allow_infinity=False)),
    str: st.text(max_size=5),
    bool: st.booleans(),
}


def values(field: dataclasses.Field[Any], hint: Any) -> st.SearchStrategy[Any]:
    """Values of a field; of most fields its default, for few strange values together are legal."""
    drawn = of_type(hint)
    if field.default is dataclasses.MISSING:
        return drawn
    return st.integers(0, 3).flatmap(lambda turn: drawn if turn == 3 else st.just(field.default))


def of_type(hint: Any) -> st.SearchStrategy[Any]:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and args[-1] is Ellipsis:
        return st.lists(of_type(args[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(of_type, args))
    if origin is typing.Literal:
        return st.sampled_from(args)
    if args:
        return st.one_of(st.none(), *(of_type(a) for a in args if a is not type(None)))
    return BY_TYPE[hint]


def any_of(cls: type[Stage]) -> st.SearchStrategy[Stage]:
    """Legal instances of a stage, from its annotations alone."""
    hints = field_types(cls)
    drawn = {f.name: values(f, hints[f.name]) for f in dataclasses.fields(cls)}

    def build(fields: dict[str, Any]) -> Stage:
        try:
            return cls(**fields)
        except SpecError:
            reject()

    return st.fixed_dictionaries(drawn).map(build)


relaxed = settings(
    deadline=None,
    max_examples=10,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
each = pytest.mark.parametrize("name", list(catalog.entries()))


@each
@relaxed
@given(data=st.data())
def test_the_message_of_a_task_round_trips(name: str, data: st.DataObject) -> None:
    stage = data.draw(any_of(catalog.load(name)))
    run = Run("20260101T000000.000000-abcdef01", "file:///data/a", to_dict(stage), 10, 3)
    for message in run.messages():
        again = Message.parse(message.to_json())
        assert again == message
        assert catalog.decode(again.run.stage) == stage


@each
@relaxed
@given(data=st.data())
def test_wrong_json_is_refused_by_name(name: str, data: st.DataObject) -> None:
    cls = catalog.load(name)
    raw = to_dict(data.draw(any_of(cls)))
    with pytest.raises(SpecError, match="unknown field 'mipp'"):
        catalog.decode({**raw, "mipp": 1})
    with pytest.raises(SpecError, match="version"):
        catalog.decode({**raw, "version": cls.version + 1})
    for field in field_types(cls):
        with pytest.raises(SpecError, match=field):
            from_dict(cls, {**raw, field: {"not": "a value"}})
        with pytest.raises(SpecError, match=f"lacks the field '{field}'"):
            from_dict(cls, {k: v for k, v in raw.items() if k != field})


@each
def test_is_documented_frozen_and_has_a_command(name: str) -> None:
    cls = catalog.load(name)
    assert cls.name == name
    assert inspect.getdoc(cls)
    assert catalog.entries()[name].summary.endswith(".")
    assert all(f.metadata["help"].endswith(".") for f in dataclasses.fields(cls))
    shown = CliRunner().invoke(cli.main, [*name.split(), "--help"])
    assert shown.exit_code == 0, shown.output
    for field in dataclasses.fields(cls):
        needed = field.default is dataclasses.MISSING
        assert (field.name.upper() if needed else "--" + field.name.replace("_", "-")) in shown.output
    method_names = ("home", "units", "peak_bytes", "execute")
    assert all(getattr(cls, method) is not getattr(Stage, method) for method in method_names)


@each
def test_page_and_schema_name_every_field(name: str) -> None:
    cls = catalog.load(name)
    schema = json.loads(reference.schema(cls))
    assert set(schema["required"]) == {"stage", "version", *field_types(cls)}
    page = reference.page(cls)
    assert all(f"`{field}`" in page for field in field_types(cls))


@each
def test_fields_cannot_be_changed(name: str) -> None:
    assert catalog.load(name).__dataclass_params__.frozen  # type: ignore[attr-defined]
