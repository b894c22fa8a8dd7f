"""Messages of a file, of public data and of another topic, sent into the streams' topics, and rejects sent again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from infra.cli import sending
from infra.cli.rejects_replay import replay_rejects
from infra.cli.replay import load, read_lines, replay
from infra.cli.sending import NotSentError, Sent
from infra.simulator.ward import Event
from tests.infra.cli.test_rejects import CANARY, MESSAGES, NOON, STREAM, settings, written  # noqa: F401
from tests.oracle.kafka_log import read_topic
from tests.oracle.oracle import READERS
from warehouse.audit import FILE, verify
from warehouse.settings import Settings

TOPICS = {"device.vitals": "t.device.vitals", "lab.results": "t.lab.results"}
WHY = "ticket 4711, unit table mended"


def lines(folder: Path, *said: object) -> Path:
    path = folder / "messages.jsonl"
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in said))
    return path


def wanted(value: object, stream: str = "device.vitals", key: str = "P000001") -> dict:
    return {"stream": stream, "key": key, "value": value}


# ------------------------------------------------------------------ lines


def test_a_value_is_an_object_text_or_nothing(tmp_path: Path) -> None:
    path = lines(tmp_path, wanted({"a": 1.5, "ü": None}), wanted('{"a":', stream="lab.results"), "", wanted(None))

    events = list(read_lines(path, TOPICS))

    assert [(e.stream, e.value) for e in events] == [
        ("device.vitals", '{"a":1.5,"ü":null}'.encode()), ("lab.results", b'{"a":'), ("device.vitals", None),
    ]  # fmt: skip
    assert {event.key for event in events} == {b"P000001"}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 2: not JSON"),
        ('{"stream":"device.vitals"}', "line 2: a message is an object"),
        (wanted({}, key=7), "line 2: a message is an object"),  # ty: ignore[invalid-argument-type]
        (wanted([1]), "line 2: the value is an object, text or null"),
        (wanted({}, stream="device.vital"), "line 2: no such stream; streams are device.vitals, lab.results"),
        (wanted({}, stream="clinical.alerts"), "line 2: clinical.alerts is made by the stream itself"),
    ],
)
def test_a_line_that_is_no_message_is_named(line: object, told: str, tmp_path: Path) -> None:
    with pytest.raises(NotSentError) as refused:
        list(read_lines(lines(tmp_path, wanted({"value": CANARY}), line), TOPICS))

    assert told in str(refused.value)
    assert CANARY not in str(refused.value)


def test_a_source_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cgm.csv").write_text("time,value\n1,2\n")

    with pytest.raises(NotSentError, match="sources are physionet, mimic, cgm, icu"):
        load("eicu", tmp_path, 0)
    with pytest.raises(NotSentError, match="does not read as cgm"):
        load("cgm", tmp_path / "cgm.csv", 0)


def glucose(folder: Path) -> Path:
    path = folder / "cgm.csv"
    path.write_text("id,time,gl\na,2015-06-06 16:50:27,153\na,2015-06-06 17:05:27,137\n")
    return path


def test_a_dry_run_counts_and_needs_no_broker(tmp_path: Path, settings: Settings, capsys) -> None:  # noqa: F811
    assert replay(settings, str(glucose(tmp_path)), as_source="cgm", dry_run=True) == 0
    out = capsys.readouterr().out
    assert "would send 2 messages: iot.patient 2" in out
    assert "2 of 2 values mapped (100.0%)" in out
    assert "99504-3" in out

    assert replay(settings, str(glucose(tmp_path)), as_source="cgm", dry_run=True, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["messages"], told["mapped"], told["items"]["gl"]["unit"]) == (2, 2, "mg/dL")


def test_what_is_not_there_is_told(tmp_path: Path, settings: Settings, capsys) -> None:  # noqa: F811
    assert replay(settings, str(tmp_path / "nothing.csv"), as_source="cgm") == 2
    assert replay(settings, "another.topic") == 1
    assert replay(settings, "device.vitals", into="device.vitals") == 1
    err = capsys.readouterr().err
    assert "is absent: name a CSV of glucose readings" in err
    assert "name the stream that it goes into: --into STREAM" in err
    assert "own topic" in err


# ------------------------------------------------------------------ rejects


class Taken:
    """Stands for the broker: takes what is sent."""

    def __init__(self, unacknowledged: int = 0) -> None:
        self.events: list[Event] = []
        self._unacknowledged = unacknowledged

    def __call__(self, events: Iterable[Event]) -> Sent:
        sent = Sent(unacknowledged=self._unacknowledged)
        for event in events:
            self.events.append(event)
            sent.by_stream[event.stream] += 1
        return sent


def test_rejects_are_sent_as_they_were_and_the_opening_is_on_record(settings: Settings, capsys) -> None:  # noqa: F811
    taken = Taken()

    assert replay_rejects(settings, why=WHY, send=taken) == 0

    assert [(event.stream, event.key, event.value) for event in taken.events] == [
        (STREAM, message.key, message.value) for message in MESSAGES[:2]
    ]
    out, err = capsys.readouterr()
    assert "2 of 3 rejects sent again" in out
    assert "1 can no longer be opened" in out
    assert CANARY not in out + err
    opened, done = (json.loads(line) for line in (settings.home / FILE).read_text().splitlines())
    assert (opened["what"], opened["why"], opened["kafka_offsets"]) == ("reject.replay", WHY, "100,101,102")
    assert (done["what"], len(done["kafka_offsets"].split(","))) == ("reject.replayed", 2)
    assert verify(settings.home / FILE) == 2


def test_what_was_sent_again_once_is_not_sent_again_later(settings: Settings) -> None:  # noqa: F811
    assert replay_rejects(settings, why=WHY, send=Taken()) == 0
    later = Taken()
    assert replay_rejects(settings, why=WHY, send=later) == 0
    assert later.events == []


def test_what_was_not_acknowledged_is_sent_again(settings: Settings) -> None:  # noqa: F811
    assert replay_rejects(settings, why=WHY, send=Taken(unacknowledged=1)) == 1
    again = Taken()
    assert replay_rejects(settings, why=WHY, send=again) == 0
    assert len(again.events) == 2


@pytest.mark.parametrize(
    ("chosen", "values"),
    [
        ({"rejected_for": "invalid_utf8"}, [MESSAGES[1].value]),
        ({"stream": "lab.results"}, []),
        ({"since": NOON.replace(hour=13)}, []),
    ],
)
def test_only_the_chosen_rejects_are_opened(settings: Settings, chosen: dict, values: list) -> None:  # noqa: F811
    taken = Taken()

    assert replay_rejects(settings, why=WHY, send=taken, **chosen) == 0
    assert [event.value for event in taken.events] == values


def test_without_a_reason_nothing_is_opened(settings: Settings, capsys) -> None:  # noqa: F811
    taken = Taken()

    assert replay_rejects(settings, why="short", send=taken) == 1
    assert not taken.events
    assert "--reason" in capsys.readouterr().err
    assert not (settings.home / FILE).exists()


def test_a_dry_run_of_rejects_opens_nothing_and_needs_no_reason(settings: Settings, capsys) -> None:  # noqa: F811
    assert replay_rejects(settings, dry_run=True) == 0
    assert "would open and send 3 rejects again: device.vitals 3" in capsys.readouterr().out
    assert not (settings.home / FILE).exists()


# ------------------------------------------------------------------ on a real broker


@pytest.fixture
def deployed(kafka: str, tmp_path: Path) -> Settings:
    site = Settings.from_environment(
        {
            "WARDSTREAM_HOME": str(tmp_path / "home"),
            "WARDSTREAM_KAFKA_BOOTSTRAP": kafka,
            "WARDSTREAM_TOPIC_PREFIX": f"{tmp_path.name}.",
        }
    )
    client = AdminClient({"bootstrap.servers": kafka})
    topics = [NewTopic(topic, 4, 1) for topic in sending.topics_of(site).values()]
    for made in client.create_topics(topics).values():
        made.result(30)
    return site


def test_a_file_goes_to_its_topics_and_a_topic_into_another_in_each_patient_s_order(
    deployed: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vitals = [
        wanted({"event_id": f"{patient}-{n}", "patient_id": patient}, key=patient)
        for n in range(50)
        for patient in ("P000001", "P000002", "P000003", "P000012")
    ]
    path = lines(tmp_path, *vitals)
    assert replay(deployed, str(path), ledger=tmp_path / "ledger.jsonl", as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["messages"], told["acknowledged"], told["by_stream"]) == (200, 200, {"device.vitals": 200})

    assert replay(deployed, deployed.topic("device.vitals"), into="iot.patient") == 0
    assert "200 messages" in capsys.readouterr().out
    kafka = {"bootstrap.servers": deployed.kafka_bootstrap}
    names = ("device.vitals", "iot.patient")
    one, other = (read_topic(kafka, name, deployed.topic(name), READERS[name]) for name in names)
    assert len(one.log) == len(other.log) == 200
    assert one.log["digest"].to_pylist() == other.log["digest"].to_pylist(), "every patient's messages in their order"
    assert len({partition for partition, (low, high) in one.ends.items() if high > low}) > 1


def test_an_absent_topic_and_an_absent_broker_are_told(deployed: Settings, tmp_path: Path, capsys) -> None:
    assert replay(deployed, "nowhere.at.all", into="device.vitals") == 1
    assert "no file and no topic nowhere.at.all" in capsys.readouterr().err
    unmade = dataclasses.replace(deployed, topic_prefix="unmade.")
    assert replay(unmade, str(lines(tmp_path, wanted({})))) == 1
    assert "`wardstream contracts apply`" in capsys.readouterr().err


def test_contracts_name_the_streams_that_may_be_sent_to(deployed: Settings) -> None:
    assert set(sending.topics_of(deployed)) >= {"device.vitals", "lab.results", "adt.events"}
    assert not set(sending.MADE_HERE) & set(sending.topics_of(deployed))
