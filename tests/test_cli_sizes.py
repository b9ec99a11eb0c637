"""What a newcomer reads, and a program: all figures, what is unknown, nothing written, options in their place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from igneous_ng.cli.root import main
from tests.layers import create

PRICES = str(Path(__file__).parent.parent / "examples" / "prices.toml")
PIPE = """
[prices]
cpu_hour = 3600.0
currency = "EUR"
[steps.pyramid]
stage = "image downsample"
layer = "seg"
[steps.pieces]
stage = "mesh forge"
layer = "@pyramid"
cell = [16, 16, 16]
[steps.meshes]
stage = "mesh merge"
layer = "@pieces"
"""
FIGURES = {
    "units", "left", "messages", "voxels", "task_bytes", "process_bytes", "factor", "cpu_seconds", "gpu_seconds",
    "wall_seconds", "read_bytes", "written_bytes", "get_requests", "put_requests", "queue_requests",
}  # fmt: skip


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    labels = (np.indices((32, 32, 32)).sum(0) // 20).astype(np.uint64)[..., None]
    return create(tmp_path / "seg", labels, (0, 0, 0), chunk=(16, 16, 16), kind="segmentation")


def said(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), catch_exceptions=False)


def raw(*words: str) -> dict[str, Any]:
    done = said(*words, "--dry-run", "--estimate", "--json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_one_command_tells_all_figures_and_writes_nothing(layer: Path) -> None:
    before = files(layer.parent)
    found = raw("mesh", "forge", str(layer), "--cell", "16,16,16", "-p", "3", "--prices", PRICES)
    (step,) = found["steps"]
    assert (step["stage"], step["step"], step["basis"]) == ("mesh forge", "", "rates")
    assert (step["units"], step["left"], step["messages"], step["voxels"]) == (8, 8, 8, 32**3)
    assert all(type(step[name]) in (int, float) for name in FIGURES)
    assert step["wall_seconds"] == pytest.approx(step["cpu_seconds"] * 3 / 8)  # three rounds of eight tasks
    assert step["cost"]["cpu_hour"] == pytest.approx(step["cpu_seconds"] / 3600 * 0.02)
    assert step["cost"]["million_puts"] == pytest.approx(step["put_requests"] * 5e-6)
    assert step["cost"]["gb_month"] == pytest.approx(step["written_bytes"] / 1e9 * 0.02)
    assert found["total"]["cost_sum"] == pytest.approx(sum(step["cost"].values()))
    assert (found["processes"], found["currency"]) == (3, "USD")
    assert files(layer.parent) == before


def test_in_words_it_says_whence_it_is_known(layer: Path) -> None:
    text = said("mesh", "forge", str(layer), "--dry-run", "--estimate", "-p", "2", "--price", "36").output
    lines = text.splitlines()
    assert lines[0] == f"mesh forge, for file://{layer}"
    assert "1 task " in lines[1]
    assert "tasks     1 in 1 message" in text
    assert "on 2 processes, if none waits for storage" in text
    assert "32,800 voxels by rates of" in text
    assert "no price is given for storage for a month, reading, writing, queue" in text
    assert lines[-1] == "nothing was written"
    assert "money" not in said("mesh", "forge", str(layer), "--dry-run", "--estimate").output


def test_unknown_prices_and_unknown_times_are_null(layer: Path) -> None:
    (step,) = raw("image", "roi", str(layer))["steps"]
    assert step["units"] == 1
    assert step["basis"] is step["cpu_seconds"] is step["wall_seconds"] is step["written_bytes"] is None
    assert set(step["cost"].values()) == {None}
    text = said("image", "roi", str(layer), "--dry-run", "--estimate", "--prices", PRICES).output
    assert "time unknown: neither records nor a rate" in text
    assert "name a layer that has records by --like" in text


def test_a_pipeline_sums_its_steps_and_says_which_are_known_later(layer: Path) -> None:
    (layer.parent / "pipe.toml").write_text(PIPE, encoding="utf-8")
    words = ["run", str(layer.parent / "pipe.toml")]
    found = raw(*words)
    steps = {step["step"]: step for step in found["steps"]}
    assert list(steps) == ["pyramid", "pieces", "meshes"]
    assert [step["units"] for step in found["steps"]] == [1, 8, None]
    assert found["total"]["units"] == 9
    assert found["total"]["unknown"]["units"] == 1
    assert steps["meshes"]["voxels"] == 32**3
    assert found["total"]["cpu_seconds"] == pytest.approx(sum(step["cpu_seconds"] for step in found["steps"]))
    assert found["total"]["cost_sum"] == pytest.approx(found["total"]["cpu_seconds"])
    assert found["currency"] == "EUR"
    text = said(*words, "--dry-run", "--estimate").output
    assert "together, but the tasks of 1 step, known later:" in text
    assert said(*words).exit_code == 0
    over = raw(*words)
    assert over["steps"] == []
    assert over["total"]["cost_sum"] is None
    assert "tasks     0" in said(*words, "--dry-run", "--estimate").output


def test_a_step_that_is_refused_says_why_and_fails(layer: Path) -> None:
    text = PIPE.replace('layer = "seg"', 'layer = "nothing"')
    (layer.parent / "pipe.toml").write_text(text, encoding="utf-8")
    done = said("run", str(layer.parent / "pipe.toml"), "--dry-run", "--estimate")
    assert done.exit_code == 1
    assert "cannot be planned" in done.output
    assert "there is no layer here" in done.output
    found = json.loads(
        said("run", str(layer.parent / "pipe.toml"), "--dry-run", "--estimate", "--json").stdout.split("\n")[0]
    )
    assert "there is no layer here" in found["steps"][0]["error"]
    assert found["total"]["cpu_seconds"] is None


def test_an_empty_job_is_refused(layer: Path) -> None:
    words = ["mesh", "forge", str(layer), "--roi", "900:901,0:1,0:1"]
    done = said(*words, "--dry-run", "--estimate")
    assert done.exit_code == 2
    assert "there is nothing to do" in done.output


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--estimate"], "give --dry-run, too"),
        (["--dry-run", "--like", "x"], "--like is for --dry-run --estimate"),
        (["--dry-run", "--prices", PRICES], "--prices is for --dry-run --estimate"),
        (["--dry-run", "--estimate", "--prices", "none.toml"], "none.toml: cannot be read"),
        (["--dry-run", "--estimate", "--like", "ftp://x"], "no store is called ftp://"),
    ],
)
def test_options_stand_in_their_place(layer: Path, words: list[str], why: str) -> None:
    done = said("mesh", "forge", str(layer), *words)
    assert done.exit_code == 2
    assert why in done.output
    assert not (layer / "runs").exists()


def test_a_file_of_prices_that_is_wrong_names_the_key(layer: Path) -> None:
    (layer.parent / "p.toml").write_text("cpu = 1\n", encoding="utf-8")
    done = said("mesh", "forge", str(layer), "--dry-run", "--estimate", "--prices", str(layer.parent / "p.toml"))
    assert done.exit_code == 2
    assert "p.toml: nothing has the price 'cpu'" in done.output
    (layer.parent / "pipe.toml").write_text("[prices]\ncpu_hour = -1\n" + PIPE.split("\n\n")[0].split('EUR"\n')[1])
    done = said("run", str(layer.parent / "pipe.toml"), "--dry-run")
    assert done.exit_code == 2
    assert "pipe.toml: prices.cpu_hour: expected a number from 0 up" in done.output
