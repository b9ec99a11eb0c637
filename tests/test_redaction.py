"""Secrets: planted in URLs, headers and the environment, and looked for in all that is written and printed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from igneous_ng import queues, redaction, run
from igneous_ng.errors import SpecError
from igneous_ng.messages import Message
from igneous_ng.stage import Layer
from igneous_ng.stages.image_create import Create

CLI = [sys.executable, "-m", "igneous_ng.cli"]
USER, PASSWORD, TOKEN, KEY = "horse-battery", "staple-correct-7", "tok-3141592653589793", "wJalrXUtnFEMI/K7MDENG/bPxRfi"


@pytest.mark.parametrize(
    "text",
    [
        f"s3://{USER}:{PASSWORD}@bucket/x was not read", f"https://{USER}:{PASSWORD}@host/x?y=1",
        f"GET https://host/x?X-Amz-Signature={TOKEN}&y=1", f"https://host/?a=1&access_token={TOKEN}",
        f"https://host/x?sig={TOKEN}", f"Authorization: Bearer {TOKEN}", f"{{'Authorization': 'Token {TOKEN}'}}",
        f"aws_secret_access_key = {KEY}", f'{{"api_key": "{TOKEN}"}}', f"password={PASSWORD}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{TOKEN}\n-----END RSA PRIVATE KEY-----",
    ],
)  # fmt: skip
def test_what_stands_where_secrets_stand_is_hidden(text: str) -> None:
    said = redaction.redacted(text)
    assert redaction.HIDDEN in said
    assert not any(secret in said for secret in (PASSWORD, TOKEN, KEY))


@pytest.mark.parametrize(
    "text",
    [
        "file:///data/a@b:c/d", "s3://bucket/x@y:z/info", "https://host:8080/layer", "segment 17, key 4_4_40: 3 tokens",
        "igneous-ng status file:///data/seg/runs/20260101T000000.000000-abcdef01", "a\ttab and\na line: 50 %",
    ],
)  # fmt: skip
def test_ordinary_texts_stay_as_they_are(text: str) -> None:
    assert redaction.redacted(text) == text


def test_secrets_of_the_environment_are_hidden_wherever_they_turn_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SERVICE_TOKEN", "plain-words-here")
    monkeypatch.setenv("TOKEN_FILE", __file__)
    assert redaction.redacted("it said: plain-words-here!") == f"it said: {redaction.HIDDEN}!"
    assert redaction.redacted(__file__) == __file__


def test_what_steers_a_terminal_is_spelled_out() -> None:
    assert redaction.redacted("\x1b[2J\x07\u202egpj.exe\ud800") == "\\x1b[2J\\x07\\u202egpj.exe\\ud800"


@pytest.mark.parametrize(
    "url", [f"s3://{USER}:{PASSWORD}@bucket/x", f"https://host/x?token={TOKEN}", f"https://{'k' * 32}@h/x"]
)
def test_no_layer_has_a_secret_in_its_url(url: str) -> None:
    with pytest.raises(SpecError, match="has a password or a token in it") as caught:
        Layer.parse(url)
    assert not any(secret in str(caught.value) for secret in (PASSWORD, TOKEN, "k" * 32))


def everything(folder: Path) -> bytes:
    return b"\n".join(p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file())


@pytest.mark.long
def test_secrets_are_in_nothing_that_is_written_or_printed(tmp_path: Path) -> None:
    """A task that is done, one whose data are wrong, one with secrets in its URL, and two wrong requests."""
    secrets = {"AWS_SECRET_ACCESS_KEY": KEY, "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "BOSSDB_TOKEN": TOKEN}
    place, queue, printed = tmp_path / "place", f"fq://{tmp_path}/queue", b""
    place.mkdir()
    np.save(place / "labels.npy", np.ones((16, 16, 16), np.uint32))

    def said(*words: str) -> int:
        nonlocal printed
        done = subprocess.run([*CLI, "-v", *words], env={**os.environ, **secrets}, capture_output=True, check=False)
        printed += done.stdout + done.stderr
        return done.returncode

    def create(layer: str, source: Path) -> list[str]:
        size = ["--resolution", "4,4,4", "--chunk", "16,16,16", "--axes", "xyz", "--kind", "segmentation"]
        return ["image", "create", str(source), layer, *size]

    assert said(*create(str(place / "done"), place / "labels.npy"), "--queue", queue) == 0
    assert said(*create(f"s3://{USER}:{PASSWORD}@bucket/x", place / "labels.npy"), "--queue", queue) == 2
    assert said("image", "info", f"https://{USER}:{PASSWORD}@127.0.0.1:9/x?token={TOKEN}") == 2
    assert said(*create(str(place / TOKEN), place / "labels.npy"), "--queue", queue) == 0
    wrong = Create(source=str(place / "labels.npy"), layer=str(place / "wrong"), kind="segmentation", axes="xyz",
                   resolution=(4, 4, 4), chunk=(16, 16, 16))  # fmt: skip
    (message,) = run.enqueue(wrong, f"memory://{tmp_path}").messages()
    text = message.to_json().replace(str(place / "labels.npy"), f"s3://{USER}:{PASSWORD}@bucket/y")
    assert Message.parse(text).hi == 1
    queues.connect(queue).put([text, f'{{"igneous_ng": 3, "password": "{PASSWORD}"}}', f"token={TOKEN}"])
    (place / "done" / "info").unlink()  # now its data are wrong, and its traces go through every log there is
    log = place / "log.jsonl"
    assert said("execute", queue, "--log", str(log)) == 1
    assert said("queue", "dead", "ls", queue) == 0
    assert said("status", str(place / "wrong")) == 0
    assert b"dead" in printed
    reasons = b"".join(p.read_bytes() for p in (tmp_path / "queue" / "dead").glob("*.txt"))
    found = printed.replace(text.encode(), b"") + everything(place).replace(f"{place}/{TOKEN}".encode(), b"") + reasons
    leaked = [secret for secret in (PASSWORD, KEY) if secret.encode() in found]
    assert leaked == []


def test_a_done_task_records_nothing_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET", PASSWORD)
    np.save(tmp_path / "labels.npy", np.ones((16, 16, 16), np.uint32))
    run.inline(Create(source=str(tmp_path / "labels.npy"), layer=str(tmp_path / "layer"), kind="segmentation",
                      axes="xyz", resolution=(4, 4, 4), chunk=(16, 16, 16)))  # fmt: skip
    assert PASSWORD.encode() not in everything(tmp_path)
