"""A file of steps is checked as a whole: names, types, references, order; every refusal says where and what to do."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng import recipes, templates
from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box
from igneous_ng.recipes import Profile, Recipe

WHERE = "/data/study/pipe.toml"
CREATE = '[steps.create]\nstage = "image create"\nsource = "em.npy"\nlayer = "em"\naxes = "zyx"\n'


def parse(text: str, profile: str | None = None, **settings: str) -> Recipe:
    return recipes.parse(text, WHERE, profile, settings)


def after(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    return {step.name: step.after for step in recipe.steps}


def step(name: str, stage: str, **values: Any) -> str:
    lines = [f"[steps.{name}]", f'stage = "{stage}"', *(f"{key} = {_toml(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    return str(value).lower() if isinstance(value, bool) else repr(value)


# Values.


def test_paths_are_taken_from_the_folder_of_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (one,) = parse('[profile.a]\nqueue = "fq://q"\n' + CREATE, "a").steps
    assert vars(one.stage)["source"] == "file:///data/study/em.npy"
    assert one.stage.home() == "file:///data/study/em"
    layers = {"layer": "../seg", "remap": "file://table.npz", "mask": "s3://bucket/mask"}
    (one,) = parse(step("forge", "mesh forge", **layers)).steps
    assert [vars(one.stage)[key] for key in layers] == [
        "file:///data/seg",
        "file:///data/study/table.npz",
        "s3://bucket/mask",
    ]
    (one,) = parse(step("forge", "mesh forge", layer="~/seg")).steps
    assert one.stage.home() == f"file://{Path.home()}/seg"


def test_a_parameter_alone_keeps_its_type_and_inside_of_a_text_is_text() -> None:
    text = """
        [parameters]
        n = 2
        factor = [2, 2, 1]
        folder = "out"
        layer = "{folder}/{{{n}}}"
        half = 0.5
    """ + step(
        "down", "image downsample", layer="{layer}", num_mips="{n}", factor="{factor}", settings=["jpeg_quality={half}"]
    )
    (one,) = parse(text).steps
    stage = vars(one.stage)
    assert (stage["num_mips"], stage["factor"], stage["settings"]) == (2, (2, 2, 1), ("jpeg_quality=0.5",))
    assert stage["layer"] == "file:///data/study/out/{2}"
    (one,) = parse(text, n="3", factor="[1, 1, 2]", folder="5").steps
    stage = vars(one.stage)
    assert (stage["num_mips"], stage["factor"]) == (3, (1, 1, 2))
    assert stage["layer"] == "file:///data/study/5/{3}"


def test_a_profile_says_how_to_run_and_gives_parameters_and_defaults_of_fields() -> None:
    text = """
        default_profile = "here"
        [parameters]
        folder = "./x"
        [profile.here]
        processes = 3
        [profile.fleet]
        queue = "fq:///q"
        priority = "low"
        parameters = { folder = "/shared" }
        fields = { memory = 5_000_000_000, cell = [8, 8, 8] }
    """
    text += step("forge", "mesh forge", layer="{folder}/seg") + step("own", "mesh forge", layer="b", cell=[4, 4, 4])
    here, fleet = parse(text), parse(text, "fleet")
    assert here.profile == Profile("here", None, 3, "normal")
    assert fleet.profile == Profile("fleet", "fq:///q", 1, "low")
    assert parse(text, "").profile == Profile()
    first, second = (vars(one.stage) for one in fleet.steps)
    assert (first["memory"], first["cell"], second["cell"]) == (5_000_000_000, (8, 8, 8), (4, 4, 4))
    assert (first["layer"], vars(parse(text, "fleet", folder="/y").steps[0].stage)["layer"]) == (
        "file:///shared/seg",
        "file:///y/seg",
    )
    assert vars(here.steps[0].stage)["cell"] == (256, 256, 256)


NAMES = st.sampled_from(["a", "b", "c"])
SCALARS = st.one_of(st.integers(), st.booleans(), st.text(max_size=5), st.floats(allow_nan=False))


@given(st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=6))
def test_a_value_survives_being_a_parameter(value: Any) -> None:
    assert templates.filled("{a}", {"a": value}, "here") is value
    assert templates.filled(["{a}", {"k": "{a}"}], {"a": value}, "here") == [value, {"k": value}]


@given(st.text(alphabet="ab{}", max_size=8))
def test_braces_are_either_filled_as_python_does_or_refused(text: str) -> None:
    try:
        wanted = text.format(a="1", b="2", ab="3", ba="4")
    except (ValueError, KeyError, IndexError):
        with pytest.raises(SpecError, match="here"):
            templates.filled(text, {"a": "1", "b": "2", "ab": "3", "ba": "4"}, "here")
    else:
        assert templates.filled(text, {"a": "1", "b": "2", "ab": "3", "ba": "4"}, "here") == wanted


# Order.


def test_a_step_waits_for_the_steps_whose_layers_it_takes_and_for_no_other() -> None:
    text = CREATE.replace("[steps.create]", '[steps.create]\nkind = "segmentation"')
    text += step("forge", "mesh forge", layer="@create") + step("trace", "skeleton forge", layer="@create")
    text += step("merge", "mesh merge", layer="@forge") + step("join", "skeleton merge", layer="@trace")
    text += step("last", "image census", layer="@create", after=["merge", "join"])
    found = parse(text)
    assert after(found) == {
        "create": (),
        "forge": ("create",),
        "trace": ("create",),
        "merge": ("forge",),
        "join": ("trace",),
        "last": ("create", "merge", "join"),
    }
    assert {one.stage.home() for one in found.steps} == {"file:///data/study/em"}


def test_steps_that_name_a_layer_by_its_path_keep_the_order_of_the_file() -> None:
    text = CREATE + step("copy", "image transfer", source="em", layer="copy") + step("other", "mesh forge", layer="x")
    text += step("black", "image blackout", layer="em", box="0:1,0:1,0:1") + step(
        "inside", "image downsample", layer="copy/part"
    )
    assert after(parse(text)) == {
        "create": (),
        "copy": ("create",),
        "other": (),
        "black": ("create", "copy"),  # copy reads what black changes
        "inside": ("copy",),
    }


def test_a_stage_that_makes_several_layers_makes_all_below_the_folder_that_it_names() -> None:
    text = step("tissue", "synth volume", out="demo") + step("down", "image downsample", layer="demo/segmentation")
    assert after(parse(text + step("image", "image downsample", layer="@tissue"))) == {
        "tissue": (),
        "down": ("tissue",),
        "image": ("tissue",),
    }


def test_a_step_may_take_a_layer_of_one_that_stands_below_it() -> None:
    text = step("copy", "image transfer", source="@create", layer="copy") + CREATE
    assert after(parse(text)) == {"create": (), "copy": ("create",)}
    text = step("first", "mesh forge", layer="em", after=["create"]) + CREATE
    assert after(parse(text)) == {"create": (), "first": ("create",)}


def test_fan_out_makes_a_step_of_each_item_and_who_waits_for_them_waits_for_all() -> None:
    text = '[parameters]\nnames = ["a", "b"]\n'
    text += step("copy", "image transfer", foreach={"name": "{names}"}, source="em", layer="{name}")
    text += step("down", "image downsample", foreach={"name": "{names}"}, layer="@copy[{name}]")
    text += step("mips", "image count", foreach={"name": ["a"], "mip": [0, 1]}, layer="@copy[{name}]", mip="{mip}")
    text += step("end", "image count", layer="@copy[a]", mip=2, after=["down", "mips[a,1]"])
    assert after(parse(text)) == {
        "copy[a]": (),
        "copy[b]": (),
        "down[a]": ("copy[a]",),
        "down[b]": ("copy[b]",),
        "mips[a,0]": ("copy[a]",),
        "mips[a,1]": ("copy[a]",),
        "end": ("copy[a]", "down[a]", "down[b]", "mips[a,1]"),
    }


def test_several_that_make_one_layer_are_named_together() -> None:
    text = step("count", "image count", foreach={"mip": [0, 1]}, layer="/em", mip="{mip}")
    text += step("roi", "image roi", layer="@count")
    assert after(parse(text)) == {"count[0]": (), "count[1]": ("count[0]",), "roi": ("count[0]", "count[1]")}


@given(st.data())
def test_the_order_is_that_of_the_file_wherever_the_references_allow(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 5))
    names = [f"s{n}" for n in range(count)]
    shuffled = data.draw(st.permutations(names))
    waits = {name: data.draw(st.lists(st.sampled_from(shuffled[:n]), unique=True)) if n else [] for n, name in
             enumerate(shuffled)}  # fmt: skip
    text = "".join(step(name, "image count", layer=f"/{name}", after=waits[name]) for name in names)
    found = [one.name for one in parse(text).steps]
    assert sorted(found) == sorted(names)
    place = {name: n for n, name in enumerate(found)}
    assert all(place[one] < place[name] for name in names for one in waits[name])
    legal = (order for order in itertools.permutations(names) if all(
        order.index(one) < order.index(name) for name in names for one in waits[name]))  # fmt: skip
    assert found == list(next(legal)), "permutations come in the order of the file: the first legal one is wanted"


# Refusals.

DOWN = step("down", "image downsample", layer="/em")


def test_what_is_to_be_redone_is_told_by_layers_and_a_box() -> None:
    text = step("a", "image downsample", layer="seg") + step("b", "mesh forge", layer="@a")
    assert parse(text).redo is None
    assert parse(f"{text}[redo]").redo == recipes.Again(("file:///data/study/seg",), None, 0)
    asked = '[redo]\nlayers = ["@b", "s3://x/parts"]\nbox = "0:1,0:2,0:3"\nmip = 2'
    box = Box((0, 0, 0), (1, 2, 3))
    assert parse(text + asked).redo == recipes.Again(("file:///data/study/seg", "s3://x/parts"), box, 2)
    alone = parse('[redo]\nlayers = ["seg"]')
    assert (alone.steps, alone.redo) == ((), recipes.Again(("file:///data/study/seg",), None, 0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[redo]", "redo: layers: expected a list of layers"),
        ('[redo]\nlayers = ["@x"]', "redo: layers: no step is called 'x'"),
        ('[redo]\nlayers = ["seg"]\nbox = "0:1"', "redo: box: '0:1' is not a box"),
        ('[redo]\nlayers = ["seg"]\nmip = "x"', "redo: mip: expected int, got 'x'"),
        (
            '[redo]\nlayers = ["seg"]\nlayer = "x"',
            "redo: it has no key 'layer'; did you mean 'layers'? there are: layers, box, mip",
        ),
    ],
)
def test_a_wrong_redo_is_named(text: str, said: str) -> None:
    with pytest.raises(SpecError, match=re.escape(said)):
        parse(text)


WRONG = {
    "no TOML": ("[steps]\nsteps == 3", "not TOML: .*line 2"),
    "a key twice": (f"{DOWN}mip = 0\nmip = 1\n", "not TOML: .*Cannot overwrite"),
    "nothing": ("", "there are no steps; write some"),
    "top": (
        f"[step.a]\nstage='x'\n{DOWN}",
        "the file has no key 'step'; did you mean 'steps'. there are: default_profile, parameters",
    ),
    "table": ("steps = 3", "steps: expected a table, got 3"),
    "step": ("[steps]\ndown = 3", "down: expected a table, got 3"),
    "no stage": ("[steps.down]\nlayer = '/em'", "step down: stage: expected the name of a stage, .* got None"),
    "stage": (
        step("down", "image down", layer="/em"),
        "step down: no stage is called 'image down'; did you mean 'image downsample' or",
    ),
    "field": (f"{DOWN}mips = 3", "step down: `image downsample` has no field 'mips'; did you mean 'mip' or 'num_mips'"),
    "type": (f"{DOWN}num_mips = 'two'", "step down: image downsample.num_mips: expected int, got 'two'"),
    "check": (f"{DOWN}num_mips = 0", "step down: image downsample: 0 mips"),
    "date": (f"{DOWN}num_mips = 2026-01-01", "step down: .*expected int, got datetime"),
    "missing field": (
        "[steps.down]\nstage='image downsample'",
        "step down: `image downsample` needs the field 'layer'",
    ),
    "layer": (f"{DOWN}mask = 'ftp://x'", "step down: image downsample.mask: .*no store is called ftp://"),
    "layer's type": ("[steps.down]\nstage='image downsample'\nlayer=3", "step down: .*expected a layer's URL, got 3"),
    "parameter": (
        f"{DOWN}method = '{{how}}'",
        "step down: method: '{how}': no parameter is called 'how'; there are: none",
    ),
    "attribute": (f"[parameters]\na = 'x'\n{DOWN}method = '{{a.b}}'", "no parameter is called 'a.b'; there are: a"),
    "format": (f"[parameters]\na = 'x'\n{DOWN}method = '{{a:>3}}'", "no parameter is called 'a'"),
    "brace": (f"{DOWN}method = 'a{{'", "step down: method: 'a{': .* write {{ or }} for a brace itself"),
    "list in text": (
        f"[parameters]\na = [1]\n{DOWN}method = 'x{{a}}'",
        r"step down: method: \[1\] cannot stand inside",
    ),
    "parameter table": (f"[parameters.a]\nb = 1\n{DOWN}", "parameter a: a table cannot be a value"),
    "early": (f"[parameters]\na = '{{b}}'\nb = 1\n{DOWN}", "parameter a: '{b}': no parameter is called 'b'"),
    "reference": (f"{DOWN}mask = '@up'", "step down: mask: no step is called 'up'; there are: down"),
    "itself": (
        "[steps.down]\nstage='image downsample'\nlayer='@down'",
        "step down: layer: a step cannot wait for itself",
    ),
    "after": (f"{DOWN}after = ['up']", "step down: after: no step is called 'up'; there are: down"),
    "after's type": (f"{DOWN}after = 'up'", "step down: after: expected a list of names of steps, got 'up'"),
    "twins": (DOWN + DOWN.replace("[steps.down]", "[steps.two]"), "the steps down and two ask for the very same"),
    "ring": (
        step("a", "image count", layer="/a", after=["c"])
        + step("b", "image count", layer="/b", after=["a"])
        + step("c", "image count", layer="/c", after=["b"]),
        "steps wait for each other: a -> c -> b -> a; break the ring",
    ),
    "ring of layers": (
        step("a", "image transfer", source="@b", layer="@b") + step("b", "image transfer", source="@a", layer="@a"),
        "steps take layers of each other: a -> b -> a; break the ring",
    ),
    "empty foreach": (f"{DOWN}foreach = {{ m = [] }}", r"step down: foreach.m: expected a list of one item or more"),
    "foreach's type": (f"{DOWN}foreach = [1]", r"step down: foreach: expected a table, got \[1\]"),
    "item twice": (f"{DOWN}foreach = {{ m = [1, 2, 1] }}", "step down: foreach.m: 1 is there twice"),
    "item and parameter": (
        f"[parameters]\nm = 1\n{DOWN}foreach = {{ m = [1] }}",
        "foreach.m: a parameter is called so",
    ),
    "items unused": (f"{DOWN}foreach = {{ m = [1, 2] }}", r"the steps down\[1\] and down\[2\] ask for the very same"),
    "several layers": (
        step("copy", "image transfer", foreach={"n": ["a", "b"]}, source="/em", layer="{n}")
        + step("down", "image downsample", layer="@copy"),
        r"step down: layer: @copy stands for 2 layers; name one of @copy\[a\], @copy\[b\]",
    ),
    "default profile": (f"default_profile = 'x'\n{DOWN}", "no profile is called 'x'; there are: none"),
    "profile key": (
        f"default_profile='x'\n[profile.x]\nque = 'fq:///q'\n{DOWN}",
        "profile x has no key 'que'; did you mean 'queue'",
    ),
    "queue": (f"default_profile='x'\n[profile.x]\nqueue = 3\n{DOWN}", "profile x.queue: expected fq://DIRECTORY"),
    "processes": (
        f"default_profile='x'\n[profile.x]\nprocesses = true\n{DOWN}",
        "profile x.processes: expected a number",
    ),
    "priority": (
        f"default_profile='x'\n[profile.x]\npriority='urgent'\n{DOWN}",
        "profile x.priority: expected high or",
    ),
    "profile parameter": (
        f"default_profile='x'\n[profile.x]\nparameters={{a=1}}\n{DOWN}",
        "no parameter is called 'a'; there are: none",
    ),
    "profile field": (
        f"default_profile='x'\n[profile.x]\nfields={{mips=1}}\n{DOWN}",
        "fields.mips: no step has such a",
    ),
    "profile field's type": (
        f"default_profile='x'\n[profile.x]\nfields={{memory='8G'}}\n{DOWN}",
        "step down: image downsample.memory: expected int, got '8G'",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_with_the_file_the_step_and_the_key(case: str) -> None:
    text, said = WRONG[case]
    with pytest.raises(SpecError, match=rf"^pipe\.toml: .*{said}"):
        parse(text)


SETTINGS = {
    "unknown": ({"b": "1"}, "no parameter is called 'b'; there are: n, on, size, text"),
    "a text for a number": ({"n": "two"}, "parameter n: 'two' is no int as 1 is; write it as TOML does"),
    "a fraction": ({"n": "1.5"}, "parameter n: '1.5' is no int"),
    "a number for a switch": ({"on": "1"}, "parameter on: '1' is no bool"),
    "two lines": ({"n": "1\nm = 2"}, "parameter n: .* is no int"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_a_setting_has_the_type_of_its_parameter(case: str) -> None:
    given_, said = SETTINGS[case]
    text = f"[parameters]\nn = 1\non = true\nsize = 1.5\ntext = 'a'\n{DOWN}"
    with pytest.raises(SpecError, match=said):
        parse(text, **given_)


def test_a_setting_is_read_as_toml_where_its_parameter_is_no_text() -> None:
    own = {"n": 1, "on": True, "size": 1.5, "text": "a", "box": [1, 2]}
    settings = {"n": "0x10", "on": "false", "size": "2", "text": "[{n}]", "box": "[3]"}
    found = templates.parameters(own, {"n": 7}, settings)
    assert found == {"n": 16, "on": False, "size": 2, "text": "[{n}]", "box": [3]}
    assert templates.parameters(own, {"n": 7}, {})["n"] == 7


def test_the_example_is_sound_in_every_profile() -> None:
    text = (Path(__file__).parent.parent / "examples" / "segmentation.toml").read_text()
    profiles = tomllib.loads(text)["profile"]
    assert set(profiles) == {"workstation", "slurm", "sqs"}
    for name in profiles:
        recipe = recipes.parse(text, WHERE, name)
        assert [one.name for one in recipe.steps][:2] == ["create", "pyramid"]
        assert after(recipe)["skeletons"] == ("skeleton-pieces",)
        assert (recipe.profile.queue is None) == (name == "workstation")
