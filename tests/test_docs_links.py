"""Links between pages: files and headings that they name are there, as a reader of the repository follows them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.pages import DOCS, ROOT, written

PAGES = sorted({*written(), *DOCS.rglob("*.md"), *(page for page in ROOT.glob("examples/**/*.md"))})


def prose(page: Path) -> str:
    """A page without its blocks of code, in which nothing is a link or a heading."""
    return re.sub(r"^ *(```+)[^\n]*\n.*?^ *\1$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The names of the headings of a page; one that comes again is numbered."""
    names: list[str] = []
    for heading in re.findall(r"^#+ +(.*?) *$", text, flags=re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        names.append(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return {
        name if names[:at].count(name) == 0 else f"{name}-{names[:at].count(name)}" for at, name in enumerate(names)
    }


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", prose(page))):
        name, _, anchor = target.partition("#")
        if re.match(r"\w+:", name):
            continue
        there = page.parent / name if name else page
        if not there.exists() or (anchor and anchor not in anchors(prose(there))):
            wrong.append(target)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_pictures_are_small() -> None:
    """A clone is made often; what is larger than this is a picture that can be had with fewer colours."""
    large = {path.name: size for path in DOCS.rglob("*.png") if (size := path.stat().st_size) > 150_000}
    assert not large


def test_broken_links_are_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    (tmp_path / "other.md").write_text("# One `two`, three\n\n## Same\n\n## Same\n")
    links = ["other.md", "other.md#one-two-three", "other.md#same-1", "https://a.b/c", "#here"]
    page.write_text("# Here\n\n" + "".join(f"[x]({link})\n" for link in links) + "```\n[x](gone)\n```\n")
    assert broken(page) == []
    page.write_text("[x](gone.md) [x](other.md#four) [x](other.md#same-2) [x](#here)\n")
    assert broken(page) == ["gone.md", "other.md#four", "other.md#same-2", "#here"]
