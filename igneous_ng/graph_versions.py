"""What a graph keeps in versions, each a folder of its own: its edges, and the contacts of its segments."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from igneous_ng.desks import Desk
from igneous_ng.errors import SpecError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_DATE = re.compile(r"(\d{4}-\d\d-\d\d)?")


@dataclass(frozen=True)
class Kept(Desk):
    """The version called ``tag`` of something in the graph in the folder ``layer``."""

    kind: ClassVar[str]
    """The folder of all versions."""
    tag: str = ""

    @property
    def url(self) -> str:
        """Where its stages leave what only they need."""
        return f"{self.home}/work"

    @property
    def home(self) -> str:
        """Where its folder is."""
        return folder(self.layer, self.kind, self.tag)


def folder(graph: str, kind: str, tag: str) -> str:
    """Where a version is."""
    return f"{graph}/{kind}/{tag}"


def is_name(tag: str) -> bool:
    """Whether a version may be called so."""
    return _NAME.fullmatch(tag) is not None


def check_tag(field: str, tag: str) -> None:
    """SpecError unless the name of a version can be that of a folder."""
    if not is_name(tag):
        raise SpecError(f"{field}: {tag!r} is no name; give letters, digits, dashes and dots")


def check_date(field: str, date: str) -> None:
    """SpecError unless the date of a version is empty or a day."""
    if not _DATE.fullmatch(date):
        raise SpecError(f"{field}: {date!r}; give a day such as 2026-07-01")
