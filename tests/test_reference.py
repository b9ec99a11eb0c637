"""The generated pages: current on disk, mended by writing, and stale ones noticed."""

from __future__ import annotations

import json
import re
from pathlib import Path

from igneous_ng import catalog, reference
from igneous_ng.stages.image_create import Create


def test_the_pages_in_the_repository_are_current() -> None:
    assert reference.stale(reference.FOLDER) == {}


def test_writing_mends_what_is_stale_and_removes_what_belongs_to_no_stage(tmp_path: Path) -> None:
    reference.write(tmp_path)
    (tmp_path / "mesh-forge.md").write_text("old")
    (tmp_path / "gone.md").write_text("a stage that was")
    (tmp_path / "synth-tiles.md").unlink()
    assert list(reference.stale(tmp_path)) == ["gone.md", "mesh-forge.md", "synth-tiles.md"]
    reference.write(tmp_path)
    assert reference.stale(tmp_path) == {}
    assert len(list(tmp_path.iterdir())) == 2 * len(catalog.entries()) + len(catalog.chains()) + 3


def test_modules_stand_in_their_layers_in_their_own_words() -> None:
    rows = reference.modules().splitlines()[7:]
    assert rows[0].startswith("| 1 | `reference` |")
    assert rows[1].startswith("| 2 | `cli` | The command line:")
    assert re.match(r"\| \d\d \| `errors` \| Every error this package raises on purpose;", rows[-1])
    assert "|  | `remote` | Objects behind a protocol" in "\n".join(rows)


def test_a_page_shows_usage_types_and_defaults() -> None:
    page = reference.page(Create)
    assert "igneous-ng image create SOURCE LAYER [OPTIONS]" in page
    assert "| `source` | a layer's URL | required |" in page
    assert "| `chunk` | 3 of int | `[64, 64, 64]` |" in page
    assert "| `kind` | image or segmentation |" in page


def test_a_schema_says_the_types_of_json() -> None:
    fields = json.loads(reference.schema(Create))["properties"]
    assert fields["stage"] == {"const": "image create"}
    assert fields["resolution"]["items"] == {"type": "number"}
    assert fields["resolution"]["minItems"] == 3
    assert fields["kind"]["enum"] == ["image", "segmentation"]
    assert fields["layer"]["format"] == "uri"
