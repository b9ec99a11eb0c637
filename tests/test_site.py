"""The site of the documentation: it is built strictly, holds every page, and fetches nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import DOCS, ROOT

FETCHED = re.compile(r"<(?:script|img|iframe|source)[^>]* src=\"?https?:[^\" >]+|<link[^>]* href=\"?https?:[^\" >]+")


def build(config: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    words = ["-m", "mkdocs", "build", "--config-file", str(config), "--site-dir", str(folder)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run([sys.executable, *words], env=quiet, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.mark.xdist_group("site")
def test_every_page_is_there_and_is_reached(site: Path) -> None:
    pages = {path.relative_to(DOCS).with_suffix(".html").as_posix() for path in DOCS.rglob("*.md")}
    made = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    assert {re.sub(r"README\.html$", "index.html", page) for page in pages} <= made
    linked = {os.path.normpath(page.parent.relative_to(site) / link) for page in site.rglob("*.html")
              for link in re.findall(r'<a href="([^"#:]+)', page.read_text(encoding="utf-8"))}  # fmt: skip
    assert made - linked <= {"404.html"}


@pytest.mark.xdist_group("site")
def test_files_that_pages_name_are_shown(site: Path) -> None:
    shown = (site / "tree" / "examples" / "stitching.toml.html").read_text(encoding="utf-8")
    assert "ingest register" in re.sub("<[^>]+>", "", shown)
    assert '"tree/' not in (site / "tree" / "ARCHITECTURE.html").read_text(encoding="utf-8").split("<article")[1]


@pytest.mark.xdist_group("site")
def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert not FETCHED.findall(page.read_text(encoding="utf-8")), page


def test_what_is_broken_is_not_built(tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "index.md").write_text("# Home\n\n[gone](gone.md), [nowhere](#nowhere), [absolute](/index.md)\n")
    (pages / "forgotten.md").write_text("# Forgotten\n")
    config = tmp_path / "mkdocs.yml"
    config.write_text(f"INHERIT: {ROOT}/mkdocs.yml\ndocs_dir: pages\nhooks: []\nextra_css: []\nnav: [index.md]\n")
    done = build(config, tmp_path / "site")
    assert done.returncode == 1
    for wrong in ("gone.md", "#nowhere", "/index.md", "forgotten.md"):
        assert wrong in done.stderr, done.stderr
