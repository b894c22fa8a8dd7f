"""Topics and tables on real servers: what is declared becomes real, once, and nothing that would hurt is done."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from infra.planning.contracts import RefusedError, UnreachableError, apply, plan
from infra.planning.topics import Topics
from warehouse.catalog import KEY_SYSTEM_PROPERTY, open_catalog, pinned_properties
from warehouse.contract import Contracts, load_contracts
from warehouse.settings import Settings
from warehouse.tables import iceberg_schema

ALL = load_contracts()
VITALS = Contracts((ALL.stream("device.vitals"),))
REJECTS = Contracts((ALL.stream("rejects"),))


def test_what_is_declared_becomes_real_and_a_second_run_has_nothing_to_do(settings: Settings) -> None:
    first = apply(settings)
    assert len(first.done) == len(ALL.topics()) + len(ALL.tables())
    assert apply(settings).done == ()
    assert plan(settings).as_text() == "real is as declared"
    for table in ALL.tables():
        made = open_catalog(settings).load_table((settings.namespace, table.name)).schema()
        assert str(made) == str(iceberg_schema(table)), "field ids too"


def test_two_processes_may_apply_at_once(settings: Settings) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda each: apply(each, VITALS), [settings, settings]))
    assert plan(settings, VITALS).empty


def test_topics_are_made_with_log_append_time_and_the_declared_partitions(settings: Settings) -> None:
    apply(settings, VITALS)
    name = settings.topic("device.vitals")
    topic = Topics(settings).observe([name])[name]
    assert topic.partitions == 4
    assert topic.config["message.timestamp.type"] == "LogAppendTime"
    assert topic.config["max.message.bytes"] == str(1 << 20)


def test_a_topic_that_keeps_the_producers_time_is_found_and_mended(settings: Settings) -> None:
    name = _topic(settings, partitions=4, **{"message.timestamp.type": "CreateTime"})
    found = [(c.key, c.before, c.after) for c in plan(settings, VITALS).topics if c.topic == name]
    assert ("message.timestamp.type", "CreateTime", "LogAppendTime") in found
    apply(settings, VITALS)
    assert plan(settings, VITALS).empty


def test_partitions_are_never_added_and_nothing_else_is_done_then(settings: Settings) -> None:
    _topic(settings, partitions=2)
    with pytest.raises(RefusedError, match=r"has 2 partitions, the contract says 4.*replay"):
        apply(settings, VITALS)
    assert [change.kind for change in plan(settings, VITALS).tables] == ["create"]


def test_a_new_optional_column_is_added_beside_what_is_there_and_a_required_one_refused(settings: Settings) -> None:
    apply(settings, REJECTS)
    with pytest.raises(RefusedError, match=r"rejects\.note: new and required; make it optional"):
        apply(settings, _with_column(required=True))
    apply(settings, _with_column(required=False))
    schema = open_catalog(settings).load_table((settings.namespace, "rejects")).schema()
    assert schema.find_field("note").field_id == schema.highest_field_id == 14
    assert plan(settings, _with_column(required=False)).empty


def test_a_property_somebody_changed_is_set_back(settings: Settings) -> None:
    apply(settings, REJECTS)
    table = open_catalog(settings).load_table((settings.namespace, "rejects"))
    with table.transaction() as transaction:
        transaction.set_properties({"commit.retry.num-retries": "4"})
    assert apply(settings, REJECTS).done == ("~ table rejects: commit.retry.num-retries 4 -> 0",)


def test_another_identifier_system_than_the_tables_were_written_under_is_refused(settings: Settings) -> None:
    apply(settings, VITALS)
    pinned_properties(
        open_catalog(settings), settings.namespace, {f"{KEY_SYSTEM_PROPERTY}.device.vitals": "urn:of-old"}
    )
    with pytest.raises(RefusedError, match="urn:of-old"):
        apply(settings, VITALS)


def test_a_broker_that_is_down_is_named_with_its_address(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.planning.topics.ANSWER_SECONDS", 1)
    with pytest.raises(UnreachableError, match=r"Kafka at 127\.0\.0\.1:9 "):
        plan(replace(settings, kafka_bootstrap="127.0.0.1:9"))


def test_a_store_that_is_down_is_named_with_its_address(settings: Settings) -> None:
    with pytest.raises(UnreachableError, match=r"object store at http://127\.0\.0\.1:9"):
        apply(replace(settings, s3_endpoint="http://127.0.0.1:9"), REJECTS)


def test_a_catalog_that_is_down_is_named_without_its_password(settings: Settings) -> None:
    with pytest.raises(UnreachableError, match=r"catalog at postgresql\+psycopg2://127\.0\.0\.1:9") as caught:
        plan(replace(settings, catalog_uri="postgresql+psycopg2://user:hunter2@127.0.0.1:9/lake"))
    assert "hunter2" not in str(caught.value)


def _topic(settings: Settings, partitions: int, **config: str) -> str:
    """The vitals topic as somebody else made it."""
    name, admin = settings.topic("device.vitals"), AdminClient(settings.kafka())
    admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result()
    return name


def _with_column(*, required: bool) -> Contracts:
    rejects = ALL.stream("rejects")
    (table,) = rejects.tables
    note = replace(table.column("detail"), name="note", field_id=14, required=required)
    return Contracts((replace(rejects, tables=(replace(table, columns=(*table.columns, note)),)),))
