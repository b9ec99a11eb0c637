"""Names of object stores are spelled out, and no more than that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from igneous_ng import aliases


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLOUD_FILES_DIR", str(tmp_path))
    return tmp_path


def test_a_name_stands_for_an_endpoint(home: Path) -> None:
    (home / "aliases.json").write_text(json.dumps({"lab": {"host": "s3://https://lab.example.org"}}))
    assert aliases.spelled_out("lab://bucket/a") == "s3://https://lab.example.org/bucket/a"
    assert aliases.named("https://lab.example.org") == "lab"
    for url in ("s3://bucket/lab", "/lab/a", "lab", "other://a"):
        assert aliases.spelled_out(url) == url
    assert aliases.named("https://other.example.org") is None


@pytest.mark.parametrize("text", [None, "", "[]", "{", '{"lab": 3}', '{"lab": {}}'])
def test_a_file_that_says_nothing_names_nothing(home: Path, text: str | None) -> None:
    if text is not None:
        (home / "aliases.json").write_text(text)
    assert aliases.known() == {}


def test_a_user_without_a_home_has_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "CLOUD_FILES_DIR", "CLOUD_VOLUME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 4_000_000)
    assert aliases.known() == {}
