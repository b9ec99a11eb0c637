"""The site of the documentation: it is built strictly, holds every page, and fetches nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.pages import DOCS, ROOT

FETCHED = re.compile(r"<(?:script|img|iframe|source)[^>]* src=\"?https?:[^\" >]+|<link[^>]* href=\"?https?:[^\" >]+")


def build(config: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    words = ["-m", "mkdocs", "build", "--config-file", str(config), "--site-dir", str(folder)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run([sys.executable, *words], env=quiet, capture_output=True, text=True, timeout=300)


def test_the_site_is_whole(tmp_path: Path) -> None:
    """One test, for the site is built once: it takes seconds."""
    done = build(ROOT / "mkdocs.yml", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    every_page_is_there_and_is_reached(tmp_path)
    files_that_pages_name_are_shown(tmp_path)
    for page in tmp_path.rglob("*.html"):
        assert not FETCHED.findall(page.read_text(encoding="utf-8")), page


def every_page_is_there_and_is_reached(site: Path) -> None:
    pages = {path.relative_to(DOCS).with_suffix(".html").as_posix() for path in DOCS.rglob("*.md")}
    made = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    assert {re.sub(r"README\.html$", "index.html", page) for page in pages} <= made
    linked = {os.path.normpath(page.parent.relative_to(site) / link) for page in site.rglob("*.html")
              for link in re.findall(r'<a href="([^"#:]+)', page.read_text(encoding="utf-8"))}  # fmt: skip
    assert made - linked <= {"404.html"}


def files_that_pages_name_are_shown(site: Path) -> None:
    shown = (site / "tree" / "examples" / "stitching.toml.html").read_text(encoding="utf-8")
    assert "ingest register" in re.sub("<[^>]+>", "", shown)


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
