"""Looking at a layer: counts and bytes are those of the files, or estimates; dry runs tell what is ahead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from igneous_ng import looks, run
from igneous_ng.cli import main
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.image_touch import Touch
from igneous_ng.store import Store
from tests.layers import create, files, grey


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    path = create(tmp_path / "em", grey((21, 27, 17, 2)), (-7, 3, -21))
    run.inline(Downsample(layer=str(path)))
    return path


def test_levels_are_counted_and_weighed(layer: Path) -> None:
    gone = layer / "4_4_40" / "-7--3_3-7_-21--17.gz"
    gone.unlink()
    (layer / "4_4_40" / "stray").write_bytes(b"no chunk")
    found = looks.look(Store(), f"file://{layer}")
    assert (found.kind, found.dtype, found.channels) == ("image", "uint8", 2)
    stored = {mip: list((layer / key).glob("*.gz")) for mip, key in enumerate(("4_4_40", "8_8_40"))}
    for level in found.levels:
        weight = sum(path.stat().st_size for path in stored[level.mip])
        assert (level.objects, level.stored_bytes) == (len(stored[level.mip]), weight)
        assert level.exact
    first, second = found.levels
    assert (first.expected, second.expected) == (6 * 7 * 5, 3 * 4 * 5)
    assert first.objects == 6 * 7 * 5 - 1
    assert first.raw_bytes == 21 * 27 * 17 * 2
    assert first.ratio == pytest.approx((first.raw_bytes - 128) / first.stored_bytes, rel=1e-3)
    assert second.offset == (-4, 1, -21)


def test_what_is_large_is_sampled_and_says_so(layer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = looks.look(Store(), f"file://{layer}").levels[0]
    monkeypatch.setattr(looks, "EXACT", 100)
    monkeypatch.setattr(looks, "SAMPLE", 100)
    found = looks.look(Store(), f"file://{layer}").levels
    assert not found[0].exact
    assert found[1].exact
    assert found[0].objects == exact.objects
    assert found[0].stored_bytes == pytest.approx(exact.stored_bytes, rel=0.1)
    assert found[0].ratio == pytest.approx(exact.ratio, rel=0.1)
    assert found == looks.look(Store(), f"file://{layer}").levels
    shown = CliRunner().invoke(main, ["image", "info", str(layer)]).output
    assert "about 210 of 210 chunks stored" in shown
    assert "from a sample of the chunks" in shown


def test_the_command_says_it_in_words_and_in_json(layer: Path) -> None:
    before = files(layer)
    shown = CliRunner().invoke(main, ["image", "info", str(layer)])
    assert shown.exit_code == 0, shown.output
    assert "mip 0  21 x 27 x 17 voxels from -7 x 3 x -21, 4 x 4 x 40 nm" in shown.output
    assert "210 of 210 chunks stored" in shown.output
    raw = json.loads(CliRunner().invoke(main, ["image", "info", str(layer), "--json"]).output)
    assert [level["key"] for level in raw["levels"]] == ["4_4_40", "8_8_40"]
    assert CliRunner().invoke(main, ["image", "info", str(layer / "no")]).exit_code == 1
    assert "info" in CliRunner().invoke(main, ["image", "--help"]).output
    assert "image info" in CliRunner().invoke(main, ["--help"]).output
    assert files(layer) == before


@pytest.mark.parametrize("compress", ["zstd", "brotli", "none"])
def test_chunks_count_however_they_are_compressed(tmp_path: Path, compress: Any) -> None:
    path = create(tmp_path / "em", grey((8, 8, 8, 1)), (0, 0, 0))
    run.inline(Touch(layer=str(path), rewrite=compress))
    (level,) = looks.look(Store(), f"file://{path}").levels
    assert (level.objects, level.expected) == (8, 8)
    assert level.stored_bytes == sum(file.stat().st_size for file in (path / "4_4_40").iterdir())


def test_torn_shards_are_named(tmp_path: Path) -> None:
    path = create(tmp_path / "em", grey((24, 24, 8, 1)), (0, 0, 0))
    run.inline(Downsample(layer=str(path), sharded=True, memory=4_000))
    shards = sorted((path / "8_8_40").iterdir())
    assert len(shards) > 3
    assert looks.look(Store(), f"file://{path}").levels[1].torn == ()
    shards[0].write_bytes(shards[0].read_bytes()[:-1])
    shards[1].write_bytes(b"")
    shards[2].write_bytes(b"\xff" * 100)
    torn = tuple(shard.name for shard in shards[:3])
    assert looks.look(Store(), f"file://{path}").levels[1].torn == torn
    shown = CliRunner().invoke(main, ["image", "info", str(path)])
    assert shown.exit_code == 0
    assert f"3 shards torn: {', '.join(torn)}; write again" in shown.output


@pytest.mark.parametrize(("key", "value"), [("chunk_sizes", [[0, 8, 8]]), ("resolution", [4, 0, 40])])
def test_an_info_that_cannot_be_is_refused_in_words(tmp_path: Path, key: str, value: Any) -> None:
    path = create(tmp_path / "em", grey((8, 8, 8, 1)), (0, 0, 0))
    raw = json.loads((path / "info").read_text())
    raw["scales"][0][key] = value
    (path / "info").write_text(json.dumps(raw))
    shown = CliRunner().invoke(main, ["image", "info", str(path)], catch_exceptions=False)
    assert shown.exit_code == 1
    assert "not the info of a Precomputed volume" in shown.output


def test_a_dry_run_tells_tasks_memory_time_and_cost(layer: Path) -> None:
    words = ["image", "downsample", str(layer), "--mip", "0", "--dry-run", "--price", "3600", "-p", "2"]
    said = CliRunner().invoke(main, words).output
    assert "1 task of 11 x 14 x 17 voxels, each of at most" in said
    (seconds,) = [float(line.split()[-1]) for line in said.splitlines() if line.startswith("cost about")]
    assert seconds > 0
    assert "on 2 at once: " in said
    assert "a task in the last run" in said
    said = CliRunner().invoke(main, ["contrast", "measure", str(layer), "--dry-run", "--price", "1"]).output
    assert "the time is not known" in said
    assert "cost" not in said
    assert said.splitlines()[-1] == "nothing was written"
