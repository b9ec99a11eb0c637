"""What cloud-files would say on its own stays unsaid: standard output is for answers."""

from __future__ import annotations

import pytest

from igneous_ng.remote import others


def test_a_look_for_keys_of_google_prints_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    secrets = others._secrets()
    monkeypatch.setattr(secrets, "secretpath", lambda name: f"/nowhere/{name}")
    _, credentials = secrets.google_credentials("a-bucket-of-nobody")
    assert credentials is None
    assert capsys.readouterr() == ("", "")
