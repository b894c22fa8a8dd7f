"""The message of an alert: what the contract asks, in its words, under an id that a replay repeats."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest

from pipelines.alerts.bedside import UNKNOWN, Bedside
from pipelines.alerts.message import Alert, encode
from pipelines.batch import MessageBatch, StreamBatch
from pipelines.decode.json import JsonDecoder
from warehouse.contract import load_contracts

MOMENT = datetime(2026, 11, 22, 1, 2, 3, 456_000, UTC)
MS = int(MOMENT.timestamp() * 1000)
ALERT = Alert(
    rule="news2",
    rule_version="1",
    severity="emergency",
    level=3,
    code=None,
    value=None,
    score=8.0,
    score_is_lower_bound=True,
    patient_id="P000123",
    subject_token="t0",
    ward="ICU-2",
    episode_start_ms=MS - 60_000,
    reasons=("NEWS2 8, trigger 7 or more",),
    missing=("temperature",),
    device_ms=MS,
    received_ms=None,
    appended_ms=MS + 44,
    effective_ms=MS,
    expires_ms=MS + 900_044,
    partition=2,
    offset=40123,
    late=False,
)


def told(alert=ALERT, bedside=UNKNOWN):
    return json.loads(encode(alert, "topic", MOMENT + timedelta(seconds=1), MOMENT + timedelta(seconds=1.004), bedside))


def paths(value, prefix=""):
    for name, inner in value.items():
        yield from paths(inner, f"{prefix}{name}.") if isinstance(inner, dict) else [f"{prefix}{name}"]


STREAMS = [("clinical.alerts", ALERT), ("clinical.alerts.withheld", replace(ALERT, withheld_because="cool_down"))]
NOT_IN_THE_CONTRACT = {"score_is_lower_bound"}


@pytest.mark.parametrize(("stream", "alert"), STREAMS)
def test_the_message_has_the_fields_of_its_contract(stream, alert):
    contracted = {column.path for column in load_contracts().stream(stream).message}
    assert set(paths(told(alert))) - NOT_IN_THE_CONTRACT == contracted - NOT_IN_THE_CONTRACT


@pytest.mark.parametrize(("stream", "alert"), STREAMS)
def test_the_stream_decodes_what_it_sent(stream, alert):
    contract = load_contracts().stream(stream)
    message = encode(alert, "topic", MOMENT, MOMENT)
    one = np.zeros(1, np.int64)
    batch = MessageBatch(stream, "id", one.astype(np.int32), one, one, [alert.key], [message], {0: (0, 1)})
    decoded = JsonDecoder(contract).decode(StreamBatch(batch))
    assert decoded.rejects == ()
    row = decoded.rows.to_pylist()[0]
    assert (row["alert_id"], row["patient_id"], row["source_offset"]) == (alert.alert_id, "P000123", 40123)


def test_times_are_utc_with_milliseconds():
    message = told()
    assert message["episode_start"] == "2026-11-22T01:01:03.456Z"
    assert message["expires_at"] == "2026-11-22T01:17:03.500Z"
    assert message["times"] == {
        "device": "2026-11-22T01:02:03.456Z",
        "received": None,
        "appended": "2026-11-22T01:02:03.500Z",
        "effective": "2026-11-22T01:02:03.456Z",
        "processed": "2026-11-22T01:02:04.456Z",
        "alerted": "2026-11-22T01:02:04.460Z",
    }


def test_a_time_of_another_zone_is_told_in_utc():
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=5)))
    assert json.loads(encode(ALERT, "topic", elsewhere, elsewhere))["times"]["alerted"] == "2026-11-22T01:02:03.456Z"


def test_the_patient_has_two_identifiers_and_a_bed_where_admissions_told_them():
    message = told(bedside=Bedside(date(1950, 2, 28), "ICU-2", "07"))
    assert message["patient"] == {"patient_id": "P000123", "birth_date": "1950-02-28"}
    assert (message["bed"], message["missing"]) == ("07", ["temperature"])


def test_a_bed_of_another_ward_is_none():
    message = told(bedside=Bedside(date(1950, 2, 28), "ICU-1", "07"))
    assert (message["bed"], message["missing"]) == (None, ["temperature", "bed"])


def test_a_second_identifier_that_nobody_told_is_named_as_missing():
    message = told()
    assert message["patient"] == {"patient_id": "P000123", "birth_date": None}
    assert message["missing"] == ["temperature", "birth_date", "bed"]
    assert message["score_is_lower_bound"] is True


def test_the_source_is_the_position_of_the_triggering_reading():
    assert told()["source"] == {"topic_id": "topic", "partition": 2, "offset": 40123}


def test_only_a_withheld_alert_says_why():
    assert "withheld_because" not in told()
    assert told(replace(ALERT, withheld_because="expired"))["withheld_because"] == "expired"


def test_the_key_is_the_patient():
    assert ALERT.key == b"P000123"


@pytest.mark.parametrize(
    "change",
    [
        {"rule": "threshold.spo2"},
        {"rule_version": "2"},
        {"subject_token": "t1"},
        {"episode_start_ms": MS},
        {"level": 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_id_tells_rule_version_subject_episode_and_level_apart(change):
    assert replace(ALERT, **change).alert_id != ALERT.alert_id


def test_the_id_is_the_same_for_the_same_finding_read_again():
    again = replace(ALERT, appended_ms=MS + 99, offset=7, ward=None, withheld_because="expired")
    # printf 'news2\x1f1\x1ft0\x1f1795309263456\x1f3' | sha256sum | cut -c1-32
    assert again.alert_id == ALERT.alert_id == "39acd2856911f40fae9319c67a17a389"
