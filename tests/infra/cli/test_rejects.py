"""What was rejected is told without opening it; opening needs a reason, which is on record first."""

from __future__ import annotations

import dataclasses
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from infra.cli.rejects import list_rejects, show_reject
from tests.warehouse.test_analytics import created, lake
from warehouse.audit import FILE, verify
from warehouse.contract import load_contracts
from warehouse.identity import RejectedMessage, seal_rejects
from warehouse.settings import Settings
from warehouse.tables import arrow_schema
from warehouse.vault import open_vault

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
STREAM = "device.vitals"
CANARY = "canary-7f3a"
MESSAGES = [
    RejectedMessage(b"P000123", f'{{"patient_id": "{CANARY}"'.encode()),
    RejectedMessage(b"device:MON-9", b"\xff\x1b[2J"),
    RejectedMessage(b"P000124", None),
]
TOKENS = ["token-of-123", None, "token-of-124"]


def rows(settings: Settings) -> list[dict[str, Any]]:
    vault = open_vault(settings.vault_uri, time.monotonic)
    sealed = seal_rejects(vault, STREAM, MESSAGES, TOKENS, [NOON.date()] * len(MESSAGES))
    vault.destroy("token-of-124")
    vault.close()
    known = {"stream": STREAM, "stage": "decode", "topic_id": "topic", "kafka_partition": 2, "ingest_time": NOON}
    reasons = ["malformed_json", "invalid_utf8", "empty_message"]
    return [
        {
            **known,
            "reason": reasons[n],
            "subject_token": TOKENS[n],
            "sealed_payload": sealed[n].payload,
            "sealed_under": sealed[n].under,
            "size_bytes": len(MESSAGES[n].value or b""),
            "kafka_offset": 100 + n,
            "kafka_time": NOON + timedelta(minutes=n),
        }
        for n in range(len(MESSAGES))
    ]


@pytest.fixture(scope="module")
def written(store: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = lake(store, tmp_path_factory.mktemp("rejects"))
    schema = arrow_schema(load_contracts().table("rejects"))
    created(settings, "rejects").append(pa.Table.from_pylist(rows(settings), schema))
    return settings


@pytest.fixture
def settings(written: Settings, tmp_path: Path) -> Settings:
    """The same lake and vault, an audit file of this test alone."""
    return dataclasses.replace(written, home=tmp_path)


def test_the_list_counts_reasons_and_names_positions(settings: Settings, capsys: pytest.CaptureFixture[str]):
    assert list_rejects(settings, as_json=True) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {row["reason"]: row["rejects"] for row in shown["counts"]} == {
        "malformed_json": 1, "invalid_utf8": 1, "empty_message": 1,
    }  # fmt: skip
    places = [(row["partition"], row["offset"], row["has_patient"]) for row in shown["newest"]]
    assert places == [(2, 102, True), (2, 101, False), (2, 100, True)]
    assert list_rejects(settings) == 0
    assert "malformed_json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("chosen", "offsets"),
    [
        ({"reason": "invalid_utf8"}, [101]),
        ({"stream": "clinical.alerts"}, []),
        ({"since": NOON + timedelta(minutes=1)}, [102, 101]),
        ({"stream": STREAM, "limit": 1}, [102]),
    ],
)
def test_the_list_is_narrowed(settings: Settings, chosen: dict[str, Any], offsets: list[int], capsys):
    assert list_rejects(settings, **chosen, as_json=True) == 0
    assert [row["offset"] for row in json.loads(capsys.readouterr().out)["newest"]] == offsets


def test_a_list_without_rejects_says_so(settings: Settings, capsys: pytest.CaptureFixture[str]):
    assert list_rejects(settings, stream="clinical.alerts") == 0
    assert capsys.readouterr().out == "no rejects\n"


def test_an_unknown_stream_or_reason_is_answered_with_those_there_are(settings: Settings, capsys) -> None:
    assert list_rejects(settings, stream="device.vital") == show_reject(settings, "device.vital", 0, 0) == 2
    assert capsys.readouterr().err.count("no such stream; streams are adt.events, alert.feedback, ") == 2
    assert list_rejects(settings, reason="malformed") == 0
    out, err = capsys.readouterr()
    assert out == "no rejects\n"
    assert "those there are: empty_message, invalid_utf8, malformed_json" in err


def test_a_stream_may_be_named_by_its_table(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    for name in (STREAM, "vitals"):
        assert show_reject(settings, name, 2, 100, as_json=True) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1] != ""


def test_showing_opens_nothing(settings: Settings, capsys: pytest.CaptureFixture[str]):
    assert show_reject(settings, STREAM, 2, 100) == 0
    out = capsys.readouterr().out
    assert "malformed_json" in out
    assert CANARY not in out
    assert "sealed_payload" not in out
    assert not (settings.home / FILE).exists()


@pytest.mark.parametrize("reason", [None, "", "  short  "])
def test_a_message_is_not_opened_without_a_reason(settings: Settings, reason: str | None, capsys):
    assert show_reject(settings, STREAM, 2, 100, reveal=True, reason=reason) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "--reason" in err
    assert not (settings.home / FILE).exists()


def test_a_message_opened_for_a_reason_is_on_record(settings: Settings, capsys: pytest.CaptureFixture[str]):
    assert show_reject(settings, STREAM, 2, 100, reveal=True, reason="ticket 4711, bad firmware", as_json=True) == 0
    out, err = capsys.readouterr()
    assert f"on record in {settings.home / FILE}" in err
    shown = json.loads(out)
    assert (shown["key"], shown["message"]) == ("P000123", f'{{"patient_id": "{CANARY}"')
    line = json.loads((settings.home / FILE).read_text())
    assert (line["what"], line["why"]) == ("reject.reveal", "ticket 4711, bad firmware")
    assert (line["stream"], line["kafka_partition"], line["kafka_offset"]) == (STREAM, 2, 100)
    assert CANARY not in json.dumps(line)
    assert "P000123" not in json.dumps(line)
    assert verify(settings.home / FILE) == 1


def test_bytes_that_are_no_text_do_not_steer_the_terminal(settings: Settings, capsys: pytest.CaptureFixture[str]):
    assert show_reject(settings, STREAM, 2, 101, reveal=True, reason="ticket 4711, bad firmware") == 0
    out = capsys.readouterr().out
    assert r"\xff" in out
    assert "\x1b" not in out


def test_a_message_whose_key_was_destroyed_stays_closed_and_the_attempt_is_on_record(settings: Settings, capsys):
    assert show_reject(settings, STREAM, 2, 102, reveal=True, reason="ticket 4711, bad firmware") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "destroyed" in err
    assert verify(settings.home / FILE) == 1


def test_nothing_is_opened_when_it_cannot_be_put_on_record(settings: Settings, capsys: pytest.CaptureFixture[str]):
    (settings.home / "audit").write_text("a file where the folder should be")
    assert show_reject(settings, STREAM, 2, 100, reveal=True, reason="ticket 4711, bad firmware") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert CANARY not in err


def test_a_position_without_a_reject_is_refused(settings: Settings, capsys: pytest.CaptureFixture[str]):
    assert show_reject(settings, STREAM, 2, 99) == 1
    assert "no reject at device.vitals, partition 2, offset 99" in capsys.readouterr().err


def test_a_lake_that_is_down_ends_in_two(settings: Settings):
    assert list_rejects(dataclasses.replace(settings, s3_endpoint="http://127.0.0.1:1")) == 2
