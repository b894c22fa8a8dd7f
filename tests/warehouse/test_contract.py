"""What the contracts in the package say, and that a contract which leaves something out is refused with a remedy."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from warehouse.contract import FOLDER, POSITION_COLUMNS, ContractError, Subject, load_contracts, read_contract

ALL = load_contracts()
VITALS = ALL.stream("device.vitals")
INCOMING = {
    "device.vitals", "iot.patient", "lab.results", "adt.events", "medication.events", "patient.consent.updates",
}  # fmt: skip
USED_ONLY_ON_DEMAND = {"raw.messages.odcs.yaml", "consent_withheld.odcs.yaml"}
POSITIONED = {
    "vitals", "wearables", "labs", "adt_events", "medication_events", "alerts", "alerts_withheld", "rejects",
    "duplicates", "lineage_events", "data_deletions", "consent_updates", "scores", "alert_feedback",
}  # fmt: skip


def test_every_file_of_the_folder_is_a_stream() -> None:
    files = {path.name for path in FOLDER.glob("*.odcs.yaml")}
    assert {f"{name}.odcs.yaml" for name in ALL} == files - USED_ONLY_ON_DEMAND
    assert {topic.stream for topic in ALL.topics()} >= {*INCOMING, "clinical.alerts", "clinical.alerts.withheld"}


def test_the_streams_of_patients_are_parted_alike() -> None:
    parted = {(ALL.stream(s).topic.copartition_group, ALL.stream(s).topic.partitions) for s in INCOMING}
    assert parted == {("patient", 4)}
    assert {ALL.stream(s).topic.key_system for s in INCOMING} == {"urn:wardstream:patient-id"}


def test_a_contract_says_which_version_of_a_result_is_current() -> None:
    versions = ALL.table("labs").versions
    assert versions.key == ("subject_token", "order_id", "code")
    assert versions.order == ("reported_at", "status", "event_id")
    assert versions.ranks == {"status": ("P", "F", "C", "X")}
    assert versions.withdrawn == {"status": ("X",)}
    assert ALL.table("vitals").versions is None


def test_a_message_field_bears_the_name_of_the_column_it_becomes() -> None:
    assert VITALS.field("numeric_value").path == "value"
    assert ALL.stream("clinical.alerts").field("appended_at").path == "times.appended"
    assert ALL.stream("clinical.alerts").field("patient_id").path == "patient.patient_id"


def test_the_subject_is_named_by_its_row_name_though_the_message_nests_it() -> None:
    assert ALL.stream("clinical.alerts").subject == Subject("patient_id", "urn:wardstream:patient-id")
    assert ALL.stream("quality_results").subject is None
    assert ALL.stream("quality_results").no_subject_because


def test_no_table_keeps_an_identifier_in_clear() -> None:
    bare = [
        (table.name, column.name)
        for table in ALL.tables()
        for column in table.columns
        if column.classification == "identifying" and column.protection != "sealed"
    ]
    assert bare == []
    assert "patient_id" not in {column.name for table in ALL.tables() for column in table.columns}


def test_rejects_and_duplicates_are_fed_by_every_topic() -> None:
    streams = {topic.stream for topic in ALL.topics()}
    assert set(ALL.table("rejects").fed_by) == set(ALL.table("duplicates").fed_by) == streams
    assert {table.name for table in ALL.tables_of("device.vitals")} == {"vitals", "rejects", "duplicates"}
    assert ALL.table("vitals_by_minute").derived_from == ("vitals",)


def test_tables_fed_by_topics_and_only_they_carry_positions() -> None:
    carrying = {table.name for table in ALL.tables() if set(POSITION_COLUMNS) <= {c.name for c in table.columns}}
    assert carrying == POSITIONED == {table.name for table in ALL.tables() if table.positioned}


def test_withheld_alerts_differ_from_alerts_by_the_cause_alone() -> None:
    sent, withheld = ALL.stream("clinical.alerts"), ALL.stream("clinical.alerts.withheld")
    assert withheld.message[:-1] == sent.message
    assert withheld.message[-1].name == "withheld_because"
    kept = [(c.name, c.iceberg, c.required) for c in ALL.table("alerts").columns]
    also = [(c.name, c.iceberg, c.required) for c in ALL.table("alerts_withheld").columns]
    assert [each for each in also if each[0] != "withheld_because"] == kept


def test_topics_of_one_group_are_parted_alike_and_keep_the_brokers_time() -> None:
    for topic in ALL.topics():
        assert topic.partitions == 4
        assert topic.config["message.timestamp.type"] == "LogAppendTime"
    assert VITALS.topic is not None
    assert VITALS.topic.config["retention.ms"] == "604800000"


def test_quality_rules_keep_what_the_contract_gives_great_expectations() -> None:
    rule = next(rule for rule in ALL.table("vitals").quality if rule.name == "mostly_scorable")
    assert rule.expectation == "expect_column_values_to_be_null"
    assert rule.arguments == {"column": "quality_flag", "mostly": 0.8}
    assert not rule.blocking


def test_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(
        KeyError, match=r"no contract has a table vital; there are adt_events, alert_feedback, alerts, .*vitals"
    ):
        ALL.table("vital")


def test_loading_brings_in_neither_pyiceberg_nor_the_standards_model() -> None:
    code = (
        "import sys, warehouse.contract as c; c.load_contracts(); print({'pyiceberg', 'pydantic'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


def _column(document: dict, schema: int, name: str) -> dict:
    return next(p for p in document["schema"][schema]["properties"] if p["name"] == name)


def _drop_custom(node: dict, name: str) -> None:
    node["customProperties"] = [entry for entry in node["customProperties"] if entry["property"] != name]


def _set_custom(node: dict, name: str, **entry: object) -> None:
    _drop_custom(node, name)
    node["customProperties"].append({"property": name, **entry})


def _drop_member(document: dict, role: str) -> None:
    document["team"]["members"] = [m for m in document["team"]["members"] if m["role"] != role]


def _drop_sla(document: dict, name: str, element: str) -> None:
    document["slaProperties"] = [
        entry for entry in document["slaProperties"] if (entry["property"], entry["element"]) != (name, element)
    ]


REFUSED: dict[str, tuple[Callable[[dict], object], str]] = {
    "owner": (lambda d: _drop_member(d, "owner"), r"team\.members: add .*role owner"),
    "schema owner": (lambda d: _drop_member(d, "schemaOwner"), r"team\.members: add .*role schemaOwner"),
    "retention class": (
        lambda d: _drop_sla(d, "retentionClass", "vitals"),
        r"slaProperties: add .*retentionClass.*clinical_record.*element: vitals",
    ),
    "a topic that its class contradicts": (
        lambda d: d["slaProperties"].append(
            {"property": "retention", "value": 8, "unit": "d", "element": "device.vitals"}
        ),
        r"slaProperties\[retention\]: class clinical_signals keeps 7 d on Kafka: leave it out",
    ),
    "a stream whose class says nothing of Kafka": (
        lambda d: d["slaProperties"].__getitem__(0).update(value="derived"),
        r"slaProperties: class derived says no hot_days",
    ),
    "access group": (lambda d: d.pop("roles"), r"roles: name the access groups"),
    "a group that reads": (lambda d: d.update(roles=d["roles"][:1]), r"roles: .*consume or query"),
    "purpose of a group": (lambda d: d["roles"][0].pop("customProperties"), r"roles\[front-doors\].*purpose: list"),
    "purpose": (lambda d: _drop_custom(d, "purpose"), r"customProperties\.purpose: list the purposes"),
    "an unknown purpose": (lambda d: _set_custom(d, "purpose", value=["fun"]), r"purpose: list the purposes.*care"),
    "subject": (lambda d: _drop_custom(d, "subject"), r"customProperties\.subject: write \{column, system\}, or none"),
    "reason for no subject": (lambda d: _set_custom(d, "subject", value="none"), r"subject\.description: say why"),
    "subject that is no column": (
        lambda d: _set_custom(d, "subject", value={"column": "mrn", "system": "urn:x"}),
        r"subject\.value: there is no column mrn",
    ),
    "unit": (lambda d: _column(d, 0, "value").pop("customProperties"), r"\[value\]\.customProperties\.unit: write the"),
    "reason for no unit": (
        lambda d: _set_custom(_column(d, 0, "seq"), "unit", value="none"),
        r"\[seq\]\.customProperties\.unit\.description: say why the number has no unit",
    ),
    "protection": (
        lambda d: _drop_custom(_column(d, 0, "patient_id"), "protection"),
        r"\[patient_id\]\.customProperties\.protection: say how",
    ),
    "an identifier in a table": (
        lambda d: _column(d, 1, "ward").update(
            classification="identifying", customProperties=[{"property": "protection", "value": "dropped"}]
        ),
        r"schema\[vitals\]\.properties\[ward\]: .*sealed or not at all",
    ),
    "a name of customProperties": (
        lambda d: d["customProperties"].append({"property": "colour", "value": "red"}),
        r"customProperties\[colour\]: knows only",
    ),
    "a field id twice": (
        lambda d: _column(d, 1, "ward").update(id="1"),
        r"field id 1 is given twice; take one above 22",
    ),
    "no field id": (lambda d: _column(d, 1, "ward").pop("id"), r"id: write the Iceberg field id"),
    "a source that is no field": (
        lambda d: _column(d, 1, "ward").update(transformSourceObjects=["room"]),
        r"properties\[ward\]: transformSourceObjects names no field",
    ),
    "a position column": (
        lambda d: d["schema"][1]["properties"].remove(_column(d, 1, "kafka_time")),
        r"required column kafka_time \(timestamptz\)",
    ),
    "partitioning": (
        lambda d: _drop_custom(d["schema"][1], "partitioning"),
        r"schema\[vitals\]\.customProperties\.partitioning: write",
    ),
    "the file's name": (lambda d: d.update(name="iot.patient"), r"name: the file must be called iot\.patient"),
    "the standard's version": (lambda d: d.update(apiVersion="v2.2.2"), r"apiVersion: write v3\.1\.0"),
    "where a deprecated one leads": (lambda d: d.update(status="deprecated"), r"deprecationPath: say which stream"),
}


@pytest.mark.parametrize("wanting", REFUSED)
def test_a_contract_is_refused_with_file_field_and_remedy(wanting: str, tmp_path: Path) -> None:
    spoil, message = REFUSED[wanting]
    document = yaml.safe_load((FOLDER / VITALS.file).read_text("utf-8"))
    spoil(document)
    (tmp_path / VITALS.file).write_text(yaml.safe_dump(document), "utf-8")
    with pytest.raises(ContractError, match=rf"device\.vitals\.odcs\.yaml: .*{message}"):
        read_contract(tmp_path / VITALS.file)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a: [", b"- just a list", b""])
def test_what_is_no_contract_at_all_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / VITALS.file).write_bytes(content)
    with pytest.raises(ContractError, match=r"device\.vitals\.odcs\.yaml: file: must be"):
        read_contract(tmp_path / VITALS.file)


def with_left_out(folder: Path, entry: dict) -> Path:
    """The contract of vitals with another list of what a replay leaves out."""
    document = yaml.safe_load((FOLDER / VITALS.file).read_text("utf-8"))
    properties = document["schema"][1]["customProperties"]
    properties[:] = [each for each in properties if each["property"] != "leftOutOfReplay"]
    properties += [{"property": "leftOutOfReplay", **entry}] if entry else []
    (folder / VITALS.file).write_text(yaml.safe_dump(document), "utf-8")
    return folder / VITALS.file


def test_a_contract_lists_what_a_replay_does_not_compare(tmp_path: Path) -> None:
    said = {"value": ["ingest_time", "seq"], "description": "counted anew at each start"}
    (table,) = read_contract(with_left_out(tmp_path, said)).tables
    assert (table.left_out, table.left_out_because) == (("ingest_time", "seq"), "counted anew at each start")
    (table,) = read_contract(with_left_out(tmp_path, {})).tables
    assert table.left_out == ("ingest_time",)
    assert ALL.table("stays").left_out == ()


@pytest.mark.parametrize(
    "entry",
    [
        {"value": ["nothing"], "description": "no such column"},
        {"value": ["kafka_offset"], "description": "rows are told apart by it"},
        {"value": "ingest_time", "description": "no list"},
        {"value": ["ingest_time"]},
    ],
)
def test_what_cannot_be_left_out_is_refused(entry: dict, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"leftOutOfReplay.*list columns of this table"):
        read_contract(with_left_out(tmp_path, entry))


def test_messages_are_kept_where_a_contract_asks_for_it_and_the_table_exists_only_then(tmp_path: Path) -> None:
    assert "raw_messages" not in {table.name for table in ALL.tables()}
    text = (FOLDER / "iot.patient.odcs.yaml").read_text().replace("iot.patient", "device.ventilators")
    text = text.replace("wearables", "ventilators").replace("keepRaw, value: false", "keepRaw, value: true")
    (tmp_path / "device.ventilators.odcs.yaml").write_text(text)
    contracts = load_contracts(FOLDER, tmp_path)
    assert contracts.table("raw_messages").fed_by == ("device.ventilators",)
    assert "raw_messages" in {table.name for table in contracts.tables_of("device.ventilators")}
    assert "raw_messages" not in {table.name for table in contracts.tables_of("device.vitals")}


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="put at least one contract here"):
        load_contracts(tmp_path)


def test_a_table_stands_in_one_contract_only(tmp_path: Path) -> None:
    shutil.copy(FOLDER / VITALS.file, tmp_path)
    other = (FOLDER / VITALS.file).read_text("utf-8").replace("device.vitals", "iot.patient")
    (tmp_path / "iot.patient.odcs.yaml").write_text(other, "utf-8")
    with pytest.raises(ContractError, match=r"iot\.patient.*schema\[vitals\]: the table is in device\.vitals"):
        load_contracts(tmp_path)


def test_a_derived_table_names_tables_that_are_there(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "vitals_by_minute.odcs.yaml", tmp_path)
    with pytest.raises(ContractError, match="there is no table vitals"):
        load_contracts(tmp_path)


def test_a_new_stream_is_one_file(tmp_path: Path) -> None:
    for path in FOLDER.glob("*.odcs.yaml"):
        shutil.copy(path, tmp_path)
    text = (
        (FOLDER / VITALS.file).read_text("utf-8").replace("device.vitals", "iot.patient").replace("vitals", "wearables")
    )
    (tmp_path / "iot.patient.odcs.yaml").write_text(text, "utf-8")
    grown = load_contracts(tmp_path)
    assert "iot.patient" in grown.table("rejects").fed_by
    assert grown.table("wearables").fed_by == ("iot.patient",)
