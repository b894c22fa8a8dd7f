"""Days made again from Kafka and held against the table: equal as they are, and each planted change is told."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from dataclasses import replace as with_
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from assets.definitions import definitions
from assets.replay import Replay, Request, replay
from assets.replay_check import replay_key
from infra.cli.replay_check import check, exit_code, lines
from infra.planning import contracts as planning
from pipelines import normalise
from pipelines.source import SourceError, read_topic_facts
from tests.conftest import settings_on
from tests.end_to_end.test_new_stream import one_file
from tests.pipelines.messages import reading
from tests.pipelines.small_ingest import Message, ingest, send
from warehouse.audit import FILE
from warehouse.catalog import open_catalog
from warehouse.contract import load_contracts
from warehouse.days import changes_since
from warehouse.settings import Settings
from warehouse.snapshots import vector_of
from warehouse.vault import open_vault

STREAM = "device.vitals"
NOW = datetime.now(UTC)
# Not so near to midnight that a day's readings would lie on the day before; a device's clock may run ahead.
BASE = NOW if NOW.hour or NOW.minute > 5 else NOW + timedelta(minutes=10)
DAY = BASE.date()


def iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def ward(seed: int, count: int = 120) -> list[Message]:
    """Readings of a few patients on DAY and the day before, with repeats, rejects, late ones and unknown fields."""
    draw = random.Random(seed)
    sent: list[Message] = []
    for number in range(count):
        patient = f"P{draw.randrange(6):06}"
        at = BASE - timedelta(seconds=draw.choice((5, 50, 86_400 + 5 * number)))
        said = reading(event_id=f"{seed}-{number}", patient_id=patient, event_time=iso(at), seq=number)
        kind = draw.randrange(10)
        if kind == 0 and sent:
            sent.append(draw.choice(sent))
        elif kind == 1:
            sent.append((patient, b"{" + str(number).encode()))
        elif kind == 2:
            sent.append((patient, said | {"unit": "furlong"}))
        elif kind == 3:
            sent.append((patient, said | {"firmware": f"v{number}"}))
        elif kind == 4:
            sent.append(("P999999", said))
        elif kind == 5:
            sent.append((patient, said | {"code": "8310-5", "unit": "[degF]", "value": draw.uniform(96, 99)}))
        else:
            sent.append((patient, said | {"value": draw.uniform(40, 180)}))
    return sent


def ingested(settings: Settings) -> Settings:
    """A small ward of two sendings, ingested."""
    planning.apply(settings)
    send(settings, STREAM, ward(1))
    ingest(settings, STREAM)
    send(settings, STREAM, ward(1)[:20] + ward(2, 40))
    ingest(settings, STREAM)
    return settings


@pytest.fixture(scope="module")
def ward_lake(kafka: str, store: str, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """One for all tests that leave its topics as they are."""
    return ingested(settings_on(kafka, store, cache, tmp_path_factory.mktemp("home")))


@pytest.fixture
def lake(ward_lake: Settings) -> Iterator[Settings]:
    """That lake, its rows afterwards as they were before."""
    tables = [Vitals(ward_lake, name) for name in ("vitals", "rejects", "duplicates")]
    yield ward_lake
    for table in tables:
        table.restore()


def asked(settings: Settings, table: str = "vitals", days: tuple[date, ...] = (DAY,), **options: object) -> Replay:
    request = Request(table, days, who="test", why="a test of replay", **options)  # ty: ignore[invalid-argument-type]
    return replay(settings, load_contracts(own=settings.contracts), request)


def told(result: Replay) -> set[tuple[str, str, str | None, str | None, int]]:
    """(table, kind, column, instead, rows) of every difference."""
    return {(t.table, d.kind, d.column, d.instead, d.rows) for t in result.tables for d in t.differences}


def test_a_day_as_ingested_is_equal(lake: Settings, capsys: pytest.CaptureFixture) -> None:
    days = (DAY - timedelta(days=1), DAY)
    result = asked(lake, days=days)
    assert told(result) == set()
    assert (result.equal, result.complete) == (True, True)
    own, rejects, duplicates = result.tables
    assert own.kept == own.rebuilt
    assert set(own.kept) == set(days)
    assert sum(rejects.rebuilt.values()) > 10
    assert sum(duplicates.rebuilt.values()) > 10

    site = with_(lake, embedded_kafka=False, embedded_s3=False)
    assert check(site, "vitals", days, reason="ticket 4711") == 0
    printed = capsys.readouterr().out
    assert printed.endswith("equal\n")
    assert not {"P00000", "8867-4", "MON-0042"} & set(printed.split())
    (line,) = [one for one in (lake.home / FILE).read_text().splitlines() if "ticket 4711" in one]
    assert '"what": "replay.check"' in line
    assert check(site, "vitals", days, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["equal"] is True
    bucket = open_catalog(lake).load_table((lake.namespace, "vitals"))
    files = {task.file.file_path for task in bucket.scan().plan_files()}
    before = set(objects(lake, "vitals"))
    assert files <= before
    assert asked(lake).equal
    assert set(objects(lake, "vitals")) == before, "no shadow is left behind"


def objects(settings: Settings, name: str) -> list[str]:
    """Every data object under a table's location, as the store lists them."""
    table = open_catalog(settings).load_table((settings.namespace, name))
    place = urlsplit(f"{table.location()}/data/")
    client = boto3.client(
        "s3", endpoint_url=settings.s3_endpoint, aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=settings.s3_secret_key, region_name=settings.s3_region,
    )  # fmt: skip
    listed = client.list_objects_v2(Bucket=place.netloc, Prefix=place.path.lstrip("/")).get("Contents", [])
    return [f"s3://{place.netloc}/{each['Key']}" for each in listed if each["Size"]]


@pytest.mark.parametrize("table", ["rejects", "duplicates"])
def test_what_several_streams_feed_is_equal(lake: Settings, table: str) -> None:
    result = asked(lake, table, days=(NOW.date(),))
    assert (result.equal, result.complete, told(result)) == (True, True, set())
    assert sum(rows for each in result.tables for rows in each.rebuilt.values()) > 10


def test_wards_of_any_seed_are_equal_however_often_the_stream_began_anew(settings: Settings) -> None:
    planning.apply(settings)
    before: list[Message] = []
    for seed in random.Random(str(settings.home)).sample(range(1_000_000), 3):
        sent = ward(seed, 50)
        random.Random(seed).shuffle(sent)
        send(settings, STREAM, sent + before[:15])
        ingest(settings, STREAM)
        before = sent
        days = tuple(DAY - timedelta(days=back) for back in (2, 1, 0))
        result = asked(settings, days=days)
        assert (told(result), result.complete) == (set(), True), seed
        assert sum(result.tables[0].rebuilt.values()) > 20


# ------------------------------------------------------------------ planted changes


class Vitals:
    """The table of rows, changed behind everybody's back."""

    def __init__(self, settings: Settings, name: str = "vitals") -> None:
        self._table = open_catalog(settings).load_table((settings.namespace, name))
        self.rows = self._table.scan().to_arrow()

    def on_day(self) -> pa.Table:
        at = [moment.date() == DAY for moment in self.rows["event_time"].to_pylist()]
        return self.rows.filter(pa.array(at))

    def write(self, rows: pa.Table) -> None:
        self._table.refresh()
        self._table.overwrite(rows)

    def restore(self) -> None:
        """Put back what was there when this was made, unless nobody wrote since."""
        before = self._table.metadata.current_snapshot_id
        if self._table.refresh().metadata.current_snapshot_id != before:
            self.write(self.rows)

    def without(self, row: pa.Table) -> pa.Table:
        partition, offset = row["kafka_partition"][0].as_py(), row["kafka_offset"][0].as_py()
        places = zip(self.rows["kafka_partition"].to_pylist(), self.rows["kafka_offset"].to_pylist(), strict=True)
        return self.rows.filter(pa.array([place != (partition, offset) for place in places]))


def changed(row: pa.Table, column: str, value: object) -> pa.Table:
    at = row.schema.get_field_index(column)
    return row.set_column(at, row.schema.field(at), pa.array([value], row.schema.field(at).type))


def test_every_planted_change_is_told(lake: Settings) -> None:
    table = Vitals(lake)
    row = table.on_day().slice(3, 1)
    duplicate = Vitals(lake, "duplicates").rows.slice(0, 1)
    elsewhere = changed(
        changed(row, "kafka_offset", duplicate["kafka_offset"][0].as_py()),
        "kafka_partition",
        duplicate["kafka_partition"][0].as_py(),
    )
    planted: dict[str, tuple[pa.Table, set]] = {
        "dropped": (table.without(row), {("vitals", "missing", None, None, 1)}),
        "doubled": (pa.concat_tables([table.rows, row]), {("vitals", "doubled", None, None, 1)}),
        "value": (
            pa.concat_tables([table.without(row), changed(row, "numeric_value", 1.25)]),
            {("vitals", "column", "numeric_value", None, 1)},
        ),
        "ward": (
            pa.concat_tables([table.without(row), changed(row, "ward", "ICU-9")]),
            {("vitals", "column", "ward", None, 1)},
        ),
        "day": (
            pa.concat_tables([table.without(row), changed(row, "event_time", BASE - timedelta(days=9))]),
            {("vitals", "column", "event_time", None, 1)},
        ),
        "moved": (
            pa.concat_tables([table.without(row), elsewhere]),
            {("vitals", "missing", None, None, 1), ("vitals", "extra", None, "duplicates", 1)},
        ),
        "ingest": (
            pa.concat_tables([table.without(row), changed(row, "ingest_time", BASE)]),
            set(),
        ),
    }
    for name, (rows, expected) in planted.items():
        table.write(rows)
        result = asked(lake)
        assert told(result) == expected, name
        assert result.tables[0].moved == (1 if name == "moved" else 0)
        if name not in ("moved", "ingest"):
            (difference,) = result.tables[0].differences
            place = (row["topic_id"][0].as_py(), row["kafka_partition"][0].as_py(), row["kafka_offset"][0].as_py())
            assert difference.examples == (place,), name
    table.write(table.rows)
    assert asked(lake).equal


def test_what_is_planted_beside_the_rows_is_told_too(lake: Settings) -> None:
    rejects, log = Vitals(lake, "rejects"), Vitals(lake, "duplicates")
    row = rejects.rows.slice(0, 1)
    sealed = row["sealed_payload"][0].as_py()
    flipped = changed(row, "sealed_payload", sealed[:-1] + bytes([sealed[-1] ^ 1]))
    planted: list[tuple[Vitals, pa.Table, set]] = [
        (rejects, rejects.without(row), {("rejects", "missing", None, None, 1)}),
        (
            rejects,
            pa.concat_tables([rejects.without(row), flipped]),
            {("rejects", "column", "sealed_payload", None, 1)},
        ),
        (
            rejects,
            pa.concat_tables([rejects.without(row), changed(row, "reason", "tombstone")]),
            {("rejects", "column", "reason", None, 1)},
        ),
        (log, pa.concat_tables([log.rows, log.rows.slice(0, 1)]), {("duplicates", "doubled", None, None, 1)}),
        (
            log,
            pa.concat_tables([log.without(log.rows[:1]), changed(log.rows[:1], "first_offset", 1 << 40)]),
            {("duplicates", "column", "first_offset", None, 1)},
        ),
    ]
    days = tuple(DAY - timedelta(days=back) for back in (1, 0))
    for table, rows, expected in planted:
        table.write(rows)
        assert told(asked(lake, days=days)) == expected
        if "doubled" in str(expected):
            assert not asked(lake, "duplicates", days=(NOW.date(),)).equal
        table.write(table.rows)


# ------------------------------------------------------------------ a change of code, a swap


def other_fahrenheits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deliberate change of code: degrees Fahrenheit by another factor."""
    right = normalise._tables

    def wrong(value_sets: tuple[str, ...]) -> object:
        tables = right(value_sets)
        is_fahrenheit = np.array([unit == "[degF]" for unit in (*tables.units.to_pylist(), "")])
        return with_(tables, factor=np.where(is_fahrenheit, 0.5, tables.factor))

    monkeypatch.setattr(normalise, "_tables", wrong)


def test_a_change_of_code_shows_as_the_column_it_changes_and_is_swapped_in_on_command(
    lake: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, table = Vitals(lake), open_catalog(lake).load_table((lake.namespace, "vitals"))
    warm = sum(code == "8310-5" for code in before.on_day()["code"].to_pylist())
    other_fahrenheits(monkeypatch)

    changed_code = asked(lake)
    assert told(changed_code) == {("vitals", "column", "numeric_value", None, warm)}

    planned = asked(lake, swap=True, dry_run=True)
    assert planned.swap is not None
    assert (planned.swap.refusals, planned.swap.snapshot_id, exit_code(planned)) == ((), None, 1)
    assert planned.swap.rows_before == planned.swap.rows_after == before.on_day().num_rows
    assert Vitals(lake).rows.equals(before.rows), "a dry run changes nothing"

    swapped = asked(lake, swap=True)
    assert swapped.swap is not None
    assert swapped.swap.snapshot_id is not None, swapped.swap.refusals
    after = open_catalog(lake).load_table((lake.namespace, "vitals"))
    assert vector_of(after.metadata) == vector_of(table.metadata)
    seen = table.current_snapshot().sequence_number  # ty: ignore[unresolved-attribute]
    assert changes_since(after, seen).rows == {DAY: before.on_day().num_rows}, "news to gates and what is derived"
    assert asked(lake).equal
    monkeypatch.undo()
    assert told(asked(lake)) == {("vitals", "column", "numeric_value", None, warm)}
    assert asked(lake, days=(DAY - timedelta(days=1),)).equal, "another day was not touched"


def test_rows_that_were_lost_come_back_and_those_that_nobody_sent_go(lake: Settings) -> None:
    table = Vitals(lake)
    on_day = table.on_day()
    lost = table.without(on_day.slice(0, 1))
    phantom = changed(changed(on_day.slice(1, 1), "kafka_offset", 10_000), "event_id", "phantom")
    table.write(pa.concat_tables([lost, phantom]))
    assert told(asked(lake)) == {("vitals", "missing", None, None, 1)}, "the phantom lies beyond what was read"
    (refusal,) = asked(lake, swap=True).swap.refusals  # ty: ignore[unresolved-attribute]
    assert "at positions that were not made again" in refusal

    table.write(lost)
    assert asked(lake, swap=True).swap.snapshot_id is not None  # ty: ignore[unresolved-attribute]
    assert asked(lake).equal
    table.write(table.rows.filter(pa.array([at.date() != DAY for at in table.rows["event_time"].to_pylist()])))
    assert asked(lake, swap=True).swap.snapshot_id is not None, "a day that was lost whole"  # ty: ignore
    assert asked(lake).equal
    assert Vitals(lake).rows.num_rows == table.rows.num_rows


def test_dagster_shows_the_same_as_a_check_of_the_day(lake: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    replays = [asset for asset in definitions(lake).assets or () if replay_key("vitals") in getattr(asset, "keys", ())]

    def checked() -> dg.AssetCheckEvaluation:
        with dg.DagsterInstance.ephemeral() as instance:
            run = dg.materialize(
                replays, partition_key=DAY.isoformat(), resources={"settings": lake}, instance=instance
            )
            (evaluation,) = run.get_asset_check_evaluations()
            assert run.asset_materializations_for_node(run.all_node_events[0].node_name)
            return evaluation

    same = checked()
    assert (same.passed, same.check_name) == (True, "same_when_made_again")
    assert same.metadata["rows"] == same.metadata["rows_made_again"]
    other_fahrenheits(monkeypatch)
    differs = checked()
    assert (differs.passed, differs.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "numeric_value" in str(differs.description)


# ------------------------------------------------------------------ what is gone, what is kept raw


def let_go(settings: Settings, stream: str, keep: int = 0) -> None:
    """What Kafka's retention does: all but the last `keep` messages of each partition leave the log."""
    fact = read_topic_facts(settings, (stream,))[stream]
    ends = [TopicPartition(fact.topic, p, max(low, high - keep)) for p, (low, high) in fact.ranges.items()]
    admin = AdminClient(settings.kafka())
    for future in admin.delete_records(ends).values():
        future.result(30)


def test_what_kafka_no_longer_has_is_told_as_such_and_is_no_difference(settings: Settings) -> None:
    lake = ingested(settings)
    let_go(lake, STREAM, keep=5)
    result = asked(lake)
    assert told(result) == set()
    assert (result.equal, result.complete, exit_code(result)) == (True, False, 2)
    gone = result.streams[0].gone
    assert {(interval.start, interval.partition) for interval in gone} >= {(0, interval.partition) for interval in gone}
    assert any("neither Kafka nor the raw messages have them" in line for line in lines(result))
    table = Vitals(lake)
    table.write(table.without(table.on_day().slice(0, 1)))
    refused = asked(lake, swap=True).swap
    assert refused is not None
    assert refused.refusals[0] == "not all positions of these days can be made again"


def wait_until_absent(settings: Settings) -> None:
    """A deleted topic is described for a moment more."""
    for _ in range(100):
        try:
            read_topic_facts(settings, (STREAM,))
        except SourceError:
            return
        time.sleep(0.1)
    raise AssertionError("the topic is still there")


def test_of_a_topic_that_was_made_anew_the_old_life_is_gone_and_the_new_one_is_compared(settings: Settings) -> None:
    lake = ingested(settings)
    before = Vitals(lake).on_day().num_rows
    admin = AdminClient(lake.kafka())
    admin.delete_topics([lake.topic(STREAM)])[lake.topic(STREAM)].result(30)
    wait_until_absent(lake)
    deleted = asked(lake)
    assert (deleted.equal, deleted.complete, exit_code(deleted)) == (True, False, 2)
    assert "does not exist" in deleted.refused[0]
    unasked = asked(lake, source="raw")
    assert (unasked.complete, unasked.tables[0].rebuilt) == (False, {}), "nothing is kept raw, and no broker was asked"

    planning.apply(lake)
    send(lake, STREAM, ward(7, 30))
    ingest(lake, STREAM)
    anew = asked(lake)
    assert (told(anew), anew.equal, anew.complete) == (set(), True, False)
    assert len({gone.topic_id for gone in anew.streams[0].gone}) == 1
    assert 0 < sum(anew.tables[0].rebuilt.values()) < before


def changed_stream(folder: Path, said: str, instead: str) -> Path:
    """A site's own stream, its contract changed in one place."""
    made = one_file(folder)
    file = made / "device.ventilators.odcs.yaml"
    text = file.read_text()
    assert said in text
    file.write_text(text.replace(said, instead))
    return made


def raw_stream(folder: Path) -> Path:
    """One that keeps its messages as they came."""
    return changed_stream(folder, "{property: keepRaw, value: false", "{property: keepRaw, value: true")


def test_a_stream_that_keeps_its_messages_is_made_again_without_kafka(settings: Settings, tmp_path: Path) -> None:
    lake, stream = with_(settings, contracts=raw_stream(tmp_path / "contracts")), "device.ventilators"
    planning.apply(lake)
    send(lake, stream, ward(3, 60))
    ingest(lake, stream)
    send(lake, stream, ward(3, 60)[:10] + ward(4, 30))
    ingest(lake, stream)
    raw = Vitals(lake, "raw_messages").rows
    assert raw.num_rows == 100
    assert not any(b"P0000" in sealed or b"event_id" in sealed for sealed in raw["sealed_message"].to_pylist())
    assert asked(lake, "raw_messages", days=(NOW.date(),)).tables[0].equal

    by_kafka, by_raw = asked(lake, "ventilators"), asked(lake, "ventilators", source="raw")
    let_go(lake, stream, keep=3)
    by_both = asked(lake, "ventilators")
    let_go(lake, stream)
    without_kafka = asked(lake, "ventilators")
    for result in (by_kafka, by_raw, by_both, without_kafka):
        assert (told(result), result.equal, result.complete) == (set(), True, True)
        assert result.tables[0].rebuilt == by_kafka.tables[0].rebuilt

    vault = open_vault(lake.vault_uri, time.monotonic)
    vault.destroy(next(token for token in raw["subject_token"].to_pylist() if token))
    vault.close()
    forgotten = asked(lake, "ventilators")
    assert (told(forgotten), forgotten.complete) == (set(), False)
    assert forgotten.streams[0].closed > 0


def short_memory(folder: Path) -> Path:
    """One that remembers an event for two seconds."""
    return changed_stream(folder, "horizonSeconds: 604800", "horizonSeconds: 2")


def test_what_compaction_found_past_the_horizon_is_no_difference_and_does_not_come_back(
    settings: Settings, tmp_path: Path
) -> None:
    lake, stream = with_(settings, contracts=short_memory(tmp_path / "contracts")), "device.ventilators"
    planning.apply(lake)
    sent = [message for message in ward(5, 40) if isinstance(message[1], dict) and "firmware" not in message[1]]
    send(lake, stream, sent)
    ingest(lake, stream)
    time.sleep(3.5)
    send(lake, stream, sent[:1])
    ingest(lake, stream)
    rows, log = Vitals(lake, "ventilators"), Vitals(lake, "duplicates")
    (event,) = {sent[0][1]["event_id"]}  # ty: ignore
    twice = rows.rows.filter(pa.array([each == event for each in rows.rows["event_id"].to_pylist()]))
    twice = twice.sort_by("kafka_offset")
    assert twice.num_rows == 2
    assert asked(lake, "ventilators", _days_of(rows)).equal

    # as compaction does it
    second = twice.slice(1, 1)
    noted = {
        name: second[name]
        for name in (
            "event_id",
            "subject_token",
            "topic_id",
            "kafka_partition",
            "kafka_offset",
            "kafka_time",
            "ingest_time",
        )
    }
    noted |= {"stream": pa.array([stream]), "first_offset": twice["kafka_offset"].slice(0, 1)}
    log.write(pa.concat_tables([log.rows, pa.table(noted).select(log.rows.schema.names).cast(log.rows.schema)]))
    rows.write(rows.without(second))
    result = asked(lake, "ventilators", _days_of(rows))
    assert (told(result), result.tables[0].past_horizon) == (set(), 1)

    other = next(n for n in range(rows.rows.num_rows) if rows.rows["event_id"][n].as_py() != event)
    again = Vitals(lake, "ventilators")
    again.write(again.without(rows.rows.slice(other, 1)))
    swapped = asked(lake, "ventilators", _days_of(rows), swap=True).swap
    assert swapped is not None
    assert (swapped.refusals, swapped.rows_after) == ((), rows.rows.num_rows - 1)
    assert asked(lake, "ventilators", _days_of(rows)).equal

    # but where the first of the two is lost, the second is no duplicate of anything
    again = Vitals(lake, "ventilators")
    again.write(again.without(twice.slice(0, 1)))
    lost = asked(lake, "ventilators", _days_of(rows))
    assert ("ventilators", "missing", None, "duplicates", 1) in told(lost)


def _days_of(table: Vitals) -> tuple[date, ...]:
    days = sorted({at.date() for at in table.rows["event_time"].to_pylist()})
    return tuple(days[0] + timedelta(days=n) for n in range((days[-1] - days[0]).days + 1))
