"""What the site adds to mkdocs: patterns in the navigation, and pages for files of the repository outside of docs."""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
TREE = "tree"
LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")
LANGUAGES = {".py": "python", ".toml": "toml", ".sh": "sh", ".yaml": "yaml", ".md": "markdown"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages that a pattern stands for in its place: those that no other entry names."""
    assert config.nav is not None
    named = set(_entries(config.nav))
    pages = sorted(path.relative_to(config.docs_dir).as_posix() for path in Path(config.docs_dir).rglob("*.md"))
    config.nav = _filled(config.nav, [page for page in pages if page not in named])
    return config


def _entries(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    inner = nav.values() if isinstance(nav, dict) else nav
    return [entry for part in inner for entry in _entries(part)]


def _filled(nav: Any, free: list[str]) -> Any:
    if isinstance(nav, dict):
        return {title: _filled(part, free) for title, part in nav.items()}
    if isinstance(nav, list):
        return [item for part in nav for item in (_matching(part, free) if _pattern(part) else [_filled(part, free)])]
    return nav


def _pattern(part: Any) -> bool:
    return isinstance(part, str) and part.endswith("*.md")


def _matching(pattern: str, free: list[str]) -> list[Any]:
    folder = posixpath.dirname(pattern)
    return [page for page in free if posixpath.dirname(page) == folder]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file outside of docs that a page links to, and for those that these link to."""
    waiting = list(files.documentation_pages())
    while waiting:
        file = waiting.pop()
        for target in map(_target_of(file.src_uri), LINK.finditer(file.content_string)):
            path = ROOT / target
            if target.startswith("docs/") or not path.exists() or files.get_file_from_path(_uri(target)):
                continue
            added = File.generated(config, _uri(target), content=_shown(path))
            files.append(added)
            waiting.append(added)
    return files


def _source(uri: str) -> str:
    """Where in the repository the page at ``uri`` comes from."""
    if not uri.startswith(f"{TREE}/"):
        return f"docs/{uri}"
    inner = uri.removeprefix(f"{TREE}/")
    plain = inner.removesuffix(".md")
    return plain if (ROOT / plain).is_file() else inner


def _uri(target: str) -> str:
    """Where on the site the file of the repository is shown."""
    inside = target.startswith("docs/")
    name = target.removeprefix("docs/") if inside else f"{TREE}/{target}"
    if (ROOT / target).is_dir():
        return f"{name}/README.md"
    return name if inside or name.endswith(".md") else f"{name}.md"


def _target_of(uri: str) -> Any:
    folder = posixpath.dirname(_source(uri))
    return lambda match: posixpath.normpath(posixpath.join(folder, match[2]))


def _shown(path: Path) -> str:
    """A file as a page: Markdown as it is, text in a block, a folder as a list of its files."""
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    name = path.relative_to(ROOT).as_posix()
    if path.is_dir():
        inner = sorted(entry.relative_to(path).as_posix() for entry in path.rglob("*") if _is_text(entry))
        return f"# {name}\n\n" + "".join(f"* [{entry}]({entry})\n" for entry in inner)
    return f"# {name}\n\n````{LANGUAGES.get(path.suffix, 'text')}\n{path.read_text(encoding='utf-8')}\n````\n"


def _is_text(path: Path) -> bool:
    """Whether a file is a source that people read, and nothing that a program left."""
    if not path.is_file() or re.search(r"(?:^|/)(?:__pycache__|\.)|\.egg-info", path.relative_to(ROOT).as_posix()):
        return False
    return b"\0" not in path.read_bytes()[:4096]


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let links to files outside of docs, and to folders, lead to their pages; the search finds prose, not sources."""
    uri = page.file.src_uri
    if not _source(uri).endswith(".md"):
        page.meta["search"] = {"exclude": True}
    target_of = _target_of(uri)

    def led(match: re.Match[str]) -> str:
        target = target_of(match)
        if not (ROOT / target).exists():
            return match[0]
        return f"{match[1]}{os.path.relpath(_uri(target), posixpath.dirname(uri) or '.')}{match[3]}"

    return LINK.sub(led, markdown)
