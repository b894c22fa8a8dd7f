"""Reading of the contracts in `warehouse/contracts/`, and the refusal of one that leaves something out.

Holds: what a contract must say, and the way from ODCS YAML to the objects of contract_model.py.
Does not hold: what is derived (tables.py, planning, suites), nor any check against what really exists.

One file is one stream. Where the stream has a topic, `schema[0]` is the message as it arrives and the further
entries are its tables; a contract without a topic has tables only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from warehouse.contract_document import ContractError, Place
from warehouse.contract_model import (
    ACCESS,
    CLASSIFICATIONS,
    LATENCY_CLASSES,
    POSITION_COLUMNS,
    PROTECTIONS,
    PURPOSES,
    SEVERITIES,
    STATUSES,
    TRANSFORMS,
    AccessGroup,
    Column,
    Contracts,
    Deduplication,
    EventTime,
    Partitioning,
    QualityRule,
    StreamContract,
    Subject,
    TableContract,
    TopicContract,
    Versions,
)
from warehouse.retention_classes import DAY_MS, RetentionClass, load_classes
from warehouse.retention_classes import FILE as CLASSES_FILE
from warehouse.vocabulary import VALUE_SETS

__all__ = [
    "POSITION_COLUMNS",
    "AccessGroup",
    "Column",
    "ContractError",
    "Contracts",
    "Deduplication",
    "EventTime",
    "Partitioning",
    "QualityRule",
    "RetentionClass",
    "StreamContract",
    "Subject",
    "TableContract",
    "TopicContract",
    "Versions",
    "load_contracts",
    "read_contract",
    "retention_classes",
]

FOLDER = Path(__file__).parent / "contracts"
SUFFIX = ".odcs.yaml"
API_VERSION = "v3.1.0"

_ICEBERG_OF = {
    "string": "string",
    "integer": "long",
    "number": "double",
    "timestamp": "timestamptz",
    "date": "date",
    "boolean": "boolean",
    "array": "list<string>",
}
_PHYSICAL = {
    "string": ("string", "binary"),
    "integer": ("int", "long"),
    "number": ("double",),
    "timestamp": ("timestamptz",),
    "date": ("date",),
    "boolean": ("boolean",),
    "array": ("list<string>", "list<double>", "json"),
}
_CUSTOM = {
    "contract": {"subject", "purpose", "time", "identity", "keepRaw", "deprecationPath"},
    "server": {"partitions", "copartitionGroup", "key", "headers", "largestMessage"},
    "table": {"partitioning", "sources", "versions", "leftOutOfReplay"},
    "column": {"unit", "codeSystem", "valueSets", "protection"},
    "role": {"purpose"},
}
_OF_TOPICS = (("topics",), ("kept",), ("consented",))
_SEMVER = re.compile(r"\d+\.\d+\.\d+")


@lru_cache(maxsize=8)
def load_contracts(folder: Path = FOLDER, own: Path | None = None) -> Contracts:
    """Read, check and connect every contract of a folder, and of the site's own folder beside it.

    Raises `ContractError` for the first that is wanting.
    """
    folders = [Path(each) for each in (folder, own) if each]
    classes = retention_classes(*folders)
    streams = tuple(read_contract(file, classes) for each in folders for file in _files(each))
    _refuse_doubles(streams)
    connected = (_connected(stream, streams) for stream in streams)
    return Contracts(tuple(stream for stream in connected if not _is_unused(stream)), classes)


def retention_classes(*folders: Path) -> dict[str, RetentionClass]:
    """The house's retention classes, those of the folders in their place. Raises `ContractError`."""
    return load_classes(FOLDER, *(folder for folder in folders if folder != FOLDER))


def _files(folder: Path) -> list[Path]:
    files = sorted(folder.glob(f"*{SUFFIX}"))
    if not files and not (folder / CLASSES_FILE).exists():
        raise ContractError(str(folder), "*" + SUFFIX, "put at least one contract here")
    return files


def read_contract(file: Path, classes: Mapping[str, RetentionClass] | None = None) -> StreamContract:
    """One file, not yet connected with the others (`fed_by` and `derived_from` of its tables are empty).

    `classes`: the retention classes there are; the house's own if None.
    """
    try:
        document = yaml.load(file.read_text("utf-8"), Loader=yaml.CSafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as failure:
        raise ContractError(file.name, "file", f"must be readable YAML in UTF-8 ({type(failure).__name__})") from None
    return _stream(Place(file.name, "", document), retention_classes() if classes is None else classes)


def _stream(root: Place, classes: Mapping[str, RetentionClass]) -> StreamContract:
    _fundamentals(root)
    name = root.text("name", "write the stream's name")
    custom = root.custom(_CUSTOM["contract"])
    message, tables = _schema(root, name, tuple(classes))
    columns = message or tables[0].columns
    subject, without = _subject(custom, columns)
    description = root.at("description", "say purpose, limitations and usage")
    stream = StreamContract(
        name=name,
        version=root.text("version", "write the contract's version, e.g. 1.0.0"),
        status=root.choice("status", STATUSES, "write the status"),
        deprecation_path=_deprecation_path(root, custom),
        domain=root.text("domain", "name the domain that answers for the data"),
        purpose_text=description.text("purpose", "say in a sentence what the data is for"),
        limitations=description.get("limitations", ""),
        usage=description.get("usage", ""),
        owner=_member(root, "owner", "the person or group that answers for the data"),
        schema_owner=_member(root, "schemaOwner", "the person or group that answers for the shape"),
        support=root.items("support", "give a channel where questions are answered")[0].text("channel", "name it"),
        access=_access(root),
        purposes=_purposes(custom, "purpose"),
        subject=subject,
        no_subject_because=without,
        time=_time(custom, columns),
        deduplication=_deduplication(custom, columns) if message else None,
        keep_raw=_flag(custom, "keepRaw"),
        topic=_topic(root, name, subject is not None, classes[tables[0].retention_class]) if message else None,
        message_description=root.get("schema")[0].get("description", "") if message else "",
        message=message,
        tables=tables,
        file=root.file,
    )
    if stream.keep_raw and stream.topic and stream.consented:
        raise root.refuse("write false: what a patient does not consent to is not kept, sealed or not", "keepRaw")
    return stream


def _fundamentals(root: Place) -> None:
    if not isinstance(root.value, dict):
        raise root.refuse("must be a mapping: an ODCS document")
    for field, wanted in (("apiVersion", API_VERSION), ("kind", "DataContract")):
        if root.get(field) != wanted:
            raise root.refuse(f"write {wanted}", field)
    name = root.text("name", "write the stream's name")
    if root.file != name + SUFFIX:
        raise root.refuse(f"the file must be called {name}{SUFFIX}, or the stream otherwise", "name")
    if root.get("id") != name:
        raise root.refuse("write the stream's name here too", "id")
    if not _SEMVER.fullmatch(str(root.get("version", ""))):
        raise root.refuse("write the contract's version as major.minor.patch, quoted if need be", "version")


def _deprecation_path(root: Place, custom: Place) -> str | None:
    if root.get("status") != "deprecated":
        return None
    return custom.at("deprecationPath", "say which stream takes over and until when this one lives").text("value", "")


def _member(root: Place, role: str, who: str) -> str:
    team = root.at("team", "name a team with members of role owner and schemaOwner")
    for member in team.items("members", f"add one of role {role}: {who}"):
        if member.get("role") == role:
            return member.text("username", f"name {who}")
    raise team.refuse(f"add a member of role {role}: {who}", "members")


def _access(root: Place) -> tuple[AccessGroup, ...]:
    groups = tuple(
        AccessGroup(
            name=role.text("role", "name the access group"),
            access=role.choice("access", ACCESS, "say what the group may do"),
            purposes=_purposes(role.custom(_CUSTOM["role"]), "purpose"),
        )
        for role in root.items("roles", "name the access groups: who may produce, who may consume or query")
    )
    kinds = {group.access for group in groups}
    if "produce" not in kinds or kinds == {"produce"}:
        raise root.refuse("name at least one group with access produce and one with consume or query", "roles")
    return groups


def _purposes(custom: Place, field: str) -> tuple[str, ...]:
    remedy = f"list the purposes the data may serve: {', '.join(PURPOSES)}"
    entry = custom.at(field, remedy)
    values = entry.at("value", remedy).value
    if not isinstance(values, list) or not set(values) <= set(PURPOSES):
        raise entry.refuse(remedy)
    return tuple(values)


def _flag(custom: Place, field: str) -> bool:
    value = (custom.get(field) or {}).get("value")
    if not isinstance(value, bool):
        raise custom.refuse("write true or false", field)
    return value


def _subject(custom: Place, columns: tuple[Column, ...]) -> tuple[Subject | None, str | None]:
    remedy = "write {column, system}, or none with a description that says why no row is about a person"
    entry = custom.at("subject", remedy)
    value = entry.get("value")
    if value == "none":
        return None, entry.text("description", "say why no row is about a person")
    node = entry.at("value", remedy)
    name = _row_name(node, node.text("column", "name the column that names the person"), columns)
    return Subject(name, node.text("system", "name the identifier system, as a URN")), None


def _row_name(node: Place, given: str, columns: tuple[Column, ...]) -> str:
    """The row name of a column that a contract names by its path (message) or name (table)."""
    for column in columns:
        if given == (column.path or column.name):
            return column.name
    raise node.refuse(f"there is no column {given}; name one of the schema")


def _time(custom: Place, columns: tuple[Column, ...]) -> EventTime:
    node = custom.at("time", "name the event time column").at("value", "write {column: ...}")
    earliest = node.get("earliest")
    return EventTime(
        column=_row_name(node, node.text("column", "name the event time column"), columns),
        allowed_lateness_seconds=node.get("allowedLatenessSeconds"),
        allowed_ahead_seconds=node.get("allowedAheadSeconds"),
        earliest=datetime.fromisoformat(earliest).astimezone(UTC) if earliest else None,
    )


def _deduplication(custom: Place, columns: tuple[Column, ...]) -> Deduplication | None:
    remedy = "write {column, horizonSeconds, maxIds}, or none with a description that says why a repeat does no harm"
    entry = custom.at("identity", "name the deduplication key")
    if entry.get("value") == "none":
        entry.text("description", "say why a message that comes twice does no harm")
        return None
    node = entry.at("value", remedy)
    replaces = node.get("replaces")
    return Deduplication(
        column=_row_name(node, node.text("column", "name the deduplication key"), columns),
        horizon_seconds=node.whole("horizonSeconds", "how long an id is remembered, by Kafka time"),
        max_ids=node.whole("maxIds", "how many ids are remembered at most"),
        replaces=_row_name(node, replaces, columns) if replaces else None,
    )


def _topic(root: Place, name: str, personal: bool, kept: RetentionClass) -> TopicContract:
    server = next((s for s in root.items("servers", "name the Kafka server") if s.get("type") == "kafka"), None)
    if server is None:
        raise root.refuse("add a server of type kafka: the schema begins with a topic", "servers")
    custom = server.custom(_CUSTOM["server"])
    key = custom.at("key", "write {system, pattern}").at("value", "write {system, pattern, devicePattern}")
    hot_days = _hot_days(root, name, kept)
    return TopicContract(
        stream=name,
        partitions=custom.at("partitions", "how many partitions").whole("value", "how many partitions"),
        copartition_group=custom.at("copartitionGroup", "name the group of equally parted topics").text("value", ""),
        key_system=key.text("system", "name the identifier system of the key") if personal else "",
        key_pattern=_pattern(key, "pattern") if personal else None,
        device_pattern=_pattern(key, "devicePattern") if key.get("devicePattern") else None,
        message_format=server.choice("format", ("json",), "write the format"),
        max_message_bytes=custom.at("largestMessage", "bytes").whole("value", "bytes of the largest message"),
        retention_ms=hot_days * DAY_MS,
        local_retention_ms=None if kept.local_days is None else kept.local_days * DAY_MS,
        latency_class=_sla_choice(root, "latencyClass", name, tuple(LATENCY_CLASSES)),
    )


def _pattern(node: Place, field: str) -> str:
    text = node.text(field, "write the regular expression a whole key matches")
    try:
        re.compile(text)
    except re.error:
        raise node.refuse("must be a regular expression", field) from None
    return text


def _sla(root: Place, name: str, element: str) -> Place | None:
    entries = root.items("slaProperties", "write retentionClass and latencyClass")
    return next((e for e in entries if e.get("property") == name and e.get("element") == element), None)


def _hot_days(root: Place, name: str, kept: RetentionClass) -> int:
    """What Kafka keeps, as the class has it: a contract may repeat it, but not contradict it."""
    if kept.hot_days is None:
        raise root.refuse(f"class {kept.name} says no hot_days: a stream's table needs one that does", "slaProperties")
    said = _sla(root, "retention", name)
    if said is not None and (said.get("unit"), said.get("value")) != ("d", kept.hot_days):
        remedy = (
            f"class {kept.name} keeps {kept.hot_days} d on Kafka: leave it out, or write {kept.hot_days} and unit d"
        )
        raise said.refuse(f"{remedy}; {CLASSES_FILE} is where it is changed")
    return kept.hot_days


def _sla_choice(root: Place, name: str, element: str, allowed: tuple[str, ...]) -> str:
    entry = _sla(root, name, element)
    if entry is None:
        wanted = f"{{property: {name}, value: one of {', '.join(allowed)}, element: {element}}}"
        raise root.refuse(f"add {wanted}", "slaProperties")
    return entry.choice("value", allowed, f"write the {name} of {element}")


def _schema(root: Place, stream: str, classes: tuple[str, ...]) -> tuple[tuple[Column, ...], tuple[TableContract, ...]]:
    entries = root.items("schema", "describe the message (if any) and the tables")
    with_topic = entries[0].get("physicalType") == "topic"
    if with_topic and entries[0].get("name") != stream:
        raise entries[0].refuse("the message bears the stream's name", "name")
    tables = tuple(_table(root, entry, stream, classes) for entry in (entries[1:] if with_topic else entries))
    if not tables:
        raise root.refuse("add the table the messages become", "schema")
    message = _message(entries[0], tables) if with_topic else ()
    for table, entry in zip(tables, entries[1:] if with_topic else entries, strict=True):
        _check_sources(entry, table, message)
    return message, tables


def _table(root: Place, entry: Place, stream: str, classes: tuple[str, ...]) -> TableContract:
    name = entry.text("name", "name the table")
    if entry.get("physicalType") != "table" or not name.isidentifier():
        raise entry.refuse("only schema[0] may be a topic; a table has physicalType table and a plain name")
    properties = entry.items("properties", "describe the columns")
    columns = tuple(_table_column(node) for node in properties)
    _check_columns(entry, columns)
    partitioning, sort = _partitioning(entry, columns)
    key = _primary_key(entry, properties)
    left_out, left_out_because = _left_out(entry, columns, key)
    return TableContract(
        name=name,
        stream=stream,
        version=root.text("version", "write the contract's version"),
        description=entry.text("description", "say in a sentence what the table holds"),
        grain=entry.text("dataGranularityDescription", "say in a sentence what one row is"),
        columns=columns,
        primary_key=key,
        partitioning=partitioning,
        sort=sort,
        retention_class=_sla_choice(root, "retentionClass", name, classes),
        latency_class=_sla_choice(root, "latencyClass", name, tuple(LATENCY_CLASSES)),
        quality=tuple(_quality_rule(rule) for rule in entry.items("quality", "")) if entry.get("quality") else (),
        sources=_sources(entry),
        versions=_versions(entry, columns),
        left_out=left_out,
        left_out_because=left_out_because,
    )


def _left_out(entry: Place, columns: tuple[Column, ...], key: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Columns that a replay does not compare, and why; where nothing is said, the time of ingest."""
    custom = entry.custom(_CUSTOM["table"])
    names = {column.name for column in columns}
    if custom.get("leftOutOfReplay") is None:
        return tuple(sorted({"ingest_time"} & names)), ""
    remedy = "list columns of this table, none of its primary key, with a description that says why they may differ"
    node = custom.at("leftOutOfReplay", remedy)
    given = node.at("value", remedy)
    if not isinstance(given.value, list) or not set(given.value) <= names - set(key):
        raise given.refuse(remedy)
    return tuple(given.value), node.text("description", remedy)


def _sources(entry: Place) -> tuple[str, ...]:
    value = (entry.custom(_CUSTOM["table"]).get("sources") or {}).get("value", ())
    return (value,) if isinstance(value, str) else tuple(value)


def _partitioning(entry: Place, columns: tuple[Column, ...]) -> tuple[Partitioning | None, tuple[str, ...]]:
    remedy = "write {column, transform, sort}, or none with a description that says why"
    given = entry.custom(_CUSTOM["table"]).at("partitioning", remedy)
    if given.get("value") == "none":
        given.text("description", "say why the table is not parted")
        return None, ()
    node = given.at("value", remedy)
    names = {column.name for column in columns}
    column, sort = node.text("column", remedy), tuple(node.get("sort", ()))
    if not {column, *sort} <= names:
        raise node.refuse("name columns of this table")
    return Partitioning(column, node.choice("transform", TRANSFORMS, "write the transform")), sort


def _versions(entry: Place, columns: tuple[Column, ...]) -> Versions | None:
    given = entry.custom(_CUSTOM["table"]).get("versions")
    if given is None:
        return None
    remedy = "write {key: [...], order: [...]} and, where words are ordered, ranks and withdrawn: {column: [words]}"
    node = entry.custom(_CUSTOM["table"]).at("versions", remedy).at("value", remedy)
    words = [{column: tuple(each) for column, each in node.get(field, {}).items()} for field in ("ranks", "withdrawn")]
    versions = Versions(tuple(node.get("key", ())), tuple(node.get("order", ())), *words)
    named = {*versions.key, *versions.order, *versions.ranks, *versions.withdrawn}
    if not versions.key or not versions.order or not named <= {column.name for column in columns}:
        raise node.refuse(f"{remedy}; name columns of this table")
    return versions


def _primary_key(entry: Place, properties: list[Place]) -> tuple[str, ...]:
    keyed = sorted((p.get("primaryKeyPosition", 0), p.get("name")) for p in properties if p.get("primaryKey"))
    if not keyed:
        raise entry.refuse("mark the columns that name one row: primaryKey and primaryKeyPosition", "properties")
    return tuple(name for _, name in keyed)


def _quality_rule(node: Place) -> QualityRule:
    if node.get("type") != "custom" or node.get("engine") != "greatExpectations":
        raise node.refuse("write type custom and engine greatExpectations")
    implementation = node.at("implementation", "write {type: expect_..., kwargs: {...}}")
    return QualityRule(
        name=node.text("name", "name the rule"),
        description=node.text("description", "say what must be true, and it will be shown when it is not"),
        dimension=node.get("dimension"),
        severity=node.choice("severity", SEVERITIES, "error blocks what is derived, warning does not"),
        expectation=implementation.text("type", "name the expectation, e.g. expect_column_values_to_be_unique"),
        arguments=dict(implementation.get("kwargs", {})),
    )


def _message(entry: Place, tables: tuple[TableContract, ...]) -> tuple[Column, ...]:
    """The message's fields, nested ones flattened, each under the name its table column has."""
    fields = list(_flattened(entry, ""))
    leaves = Counter(path.rpartition(".")[2] for path, _ in fields)
    named = {column.source: column.name for table in tables for column in table.columns if column.source}

    def row_name(path: str) -> str:
        leaf = path.rpartition(".")[2]
        return named.get(path) or (leaf if leaves[leaf] == 1 else path.replace(".", "_"))

    columns = tuple(replace(_column(node), name=row_name(path), path=path) for path, node in fields)
    _refuse_double_names(entry, columns)
    return columns


def _flattened(entry: Place, prefix: str) -> Iterator[tuple[str, Place]]:
    for node in entry.items("properties", "describe the fields"):
        path = prefix + node.text("name", "name the field")
        if node.get("logicalType") == "object":
            yield from _flattened(node, path + ".")
        else:
            yield path, node


def _table_column(node: Place) -> Column:
    column = _column(node)
    sources = node.get("transformSourceObjects", [])
    items = node.get("items", {})
    return replace(
        column,
        field_id=_field_id(node, node.get("id")),
        element_id=_field_id(node, items.get("id")) if column.type == "array" else None,
        source=sources[0] if sources else None,
        made_by=node.get("transformLogic"),
    )


def _field_id(node: Place, given: Any) -> int:
    if not str(given or "").isdigit():
        raise node.refuse('write the Iceberg field id as text, e.g. "7"; a list\'s element has its own', "id")
    return int(given)


def _column(node: Place) -> Column:
    name = node.text("name", "name the column")
    logical = node.choice("logicalType", tuple(_ICEBERG_OF), "write the logical type")
    options = node.get("logicalTypeOptions", {})
    binary = options.get("format") == "binary"
    iceberg = node.get("physicalType") or _ICEBERG_OF[logical]
    if iceberg not in _PHYSICAL[logical] or binary != (iceberg == "binary"):
        raise node.refuse(f"a {logical} is kept as {' or '.join(_PHYSICAL[logical])}", "physicalType")
    custom = node.custom(_CUSTOM["column"])
    unit, reason = _unit(custom, logical)
    return Column(
        name=name,
        type="binary" if binary else logical,
        iceberg=iceberg,
        required=bool(node.get("required", False)),
        classification=node.choice("classification", CLASSIFICATIONS, "classify the column"),
        description=node.text("description", "say what it means"),
        unit=unit,
        unit_reason=reason,
        code_system=(custom.get("codeSystem") or {}).get("value"),
        minimum=options.get("minimum"),
        maximum=options.get("maximum"),
        min_length=options.get("minLength"),
        max_length=options.get("maxLength"),
        pattern=options.get("pattern"),
        protection=_protection(node, custom),
        value_sets=_value_sets(custom),
        example=next(iter(node.get("examples", [])), None),
    )


def _value_sets(custom: Place) -> tuple[str, ...]:
    given = tuple((custom.get("valueSets") or {}).get("value", ()))
    if not set(given) <= set(VALUE_SETS):
        raise custom.refuse(f"a list of {', '.join(VALUE_SETS)}", "valueSets")
    return given


def _unit(custom: Place, logical: str) -> tuple[str | None, str | None]:
    if logical not in ("number", "integer") and not custom.get("unit"):
        return None, None
    remedy = "write the UCUM unit, `per code`, `per kind`, or none with a description that says why it has none"
    entry = custom.at("unit", remedy)
    unit = entry.text("value", remedy)
    if unit == "none":
        return None, entry.text("description", "say why the number has no unit")
    return unit, entry.get("description")


def _protection(node: Place, custom: Place) -> str | None:
    protection = (custom.get("protection") or {}).get("value")
    if protection is not None and protection not in PROTECTIONS:
        raise node.refuse(f"one of {', '.join(PROTECTIONS)}", "customProperties.protection")
    if node.get("classification") == "identifying" and protection is None:
        raise node.refuse("say how an identifying column is protected", "customProperties.protection")
    return protection


def _check_columns(entry: Place, columns: tuple[Column, ...]) -> None:
    _refuse_double_names(entry, columns)
    ids = Counter(i for column in columns for i in (column.field_id, column.element_id) if i)
    doubled = [i for i, count in ids.items() if count > 1]
    if doubled:
        raise entry.refuse(f"field id {doubled[0]} is given twice; take one above {max(ids)}", "properties")
    bare = [c.name for c in columns if c.classification == "identifying" and c.protection != "sealed"]
    if bare:
        raise entry.refuse("a table keeps an identifying column sealed or not at all", f"properties[{bare[0]}]")


def _refuse_double_names(entry: Place, columns: tuple[Column, ...]) -> None:
    doubled = [name for name, count in Counter(column.name for column in columns).items() if count > 1]
    if doubled:
        raise entry.refuse("is there twice; name one otherwise", f"properties[{doubled[0]}]")


def _check_sources(entry: Place, table: TableContract, message: tuple[Column, ...]) -> None:
    paths = {column.path for column in message}
    for column in table.columns:
        if column.source and column.source not in paths:
            raise entry.refuse("transformSourceObjects names no field of the message", f"properties[{column.name}]")
    if message or table.sources in _OF_TOPICS:
        kept = {column.name: column.iceberg for column in table.columns if column.required}
        wanting = [f"{name} ({type_})" for name, type_ in POSITION_COLUMNS.items() if kept.get(name) != type_]
        if wanting:
            raise entry.refuse(f"a table fed by a topic has the required column {wanting[0]}", "properties")
    elif not table.sources:
        raise entry.refuse(
            "say what the table is made of: topics, kept, consented, tables, acts, or table names",
            "customProperties.sources",
        )


def _refuse_doubles(streams: tuple[StreamContract, ...]) -> None:
    names = [stream.name for stream in streams]
    if doubled := [stream for at, stream in enumerate(streams) if stream.name in names[:at]]:
        raise ContractError(doubled[0].file, "name", "a stream of that name comes with Wardstream; take another")
    seen: dict[str, str] = {}
    for stream in streams:
        for table in stream.tables:
            if table.name in seen:
                raise ContractError(stream.file, f"schema[{table.name}]", f"the table is in {seen[table.name]} too")
            seen[table.name] = stream.file


def _connected(stream: StreamContract, streams: tuple[StreamContract, ...]) -> StreamContract:
    return replace(stream, tables=tuple(_connected_table(stream, table, streams) for table in stream.tables))


def _is_unused(stream: StreamContract) -> bool:
    """Whether its tables are for streams of a kind, and there is none of it: what nothing leads to does not exist."""
    return all(table.sources in (("kept",), ("consented",)) and not table.fed_by for table in stream.tables)


def _connected_table(
    stream: StreamContract, table: TableContract, streams: tuple[StreamContract, ...]
) -> TableContract:
    if stream.topic:
        return replace(table, fed_by=(stream.name,))
    if table.sources == ("topics",):
        return replace(table, fed_by=tuple(other.name for other in streams if other.topic))
    if table.sources == ("kept",):
        return replace(table, fed_by=tuple(other.name for other in streams if other.topic and other.keep_raw))
    if table.sources == ("consented",):
        return replace(table, fed_by=tuple(other.name for other in streams if other.topic and other.consented))
    if table.sources == ("acts",):
        return table
    tables = {other.name: other for owner in streams for other in owner.tables}
    if table.sources == ("tables",):
        return replace(table, derived_from=tuple(name for name, other in tables.items() if other.quality))
    unknown = sorted(set(table.sources) - set(tables))
    if unknown:
        raise ContractError(stream.file, f"schema[{table.name}].sources", f"there is no table {unknown[0]}")
    return replace(table, derived_from=table.sources)
