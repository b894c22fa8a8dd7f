"""What a contract says, as frozen objects.

Holds: the objects and the words of closed lists in them.
Does not hold: reading and refusing (contract.py), nor anything derived (tables.py and the upper floors).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from warehouse.retention_classes import RetentionClass

POSITION_COLUMNS = {
    "topic_id": "string",
    "kafka_partition": "int",
    "kafka_offset": "long",
    "kafka_time": "timestamptz",
    "ingest_time": "timestamptz",
}

UNKNOWN_FIELDS, UNKNOWN_SEALED_UNDER = "unknown_fields", "unknown_sealed_under"
"""Columns of a table that keeps what its stream's contract does not know: sealed, and under whose key."""

LATENCY_CLASSES = {
    "clinical": "someone acts on it: sub-second on Kafka",
    "operational": "seconds to minutes in the lake",
    "analytical": "hours",
}
PURPOSES = ("care", "operations", "payment", "research", "marketing")
CONSENTED_PURPOSES = frozenset({"research", "marketing"})
"""Purposes that rest on a patient's consent; the others rest on law."""
STATUSES = ("draft", "active", "deprecated")
ACCESS = ("produce", "consume", "query")
CLASSIFICATIONS = ("identifying", "pseudonymous", "sensitive", "internal", "public")
PROTECTIONS = ("dropped", "generalised", "sealed", "token")
TRANSFORMS = ("day", "identity")
SEVERITIES = ("error", "warning")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, or a field of a message flattened to one.

    Attributes:
        name: in rows and tables. A message field that becomes a table column already has that column's name.
        type: ODCS logical type: string, integer, number, timestamp, date, boolean, array; or binary.
        iceberg: Iceberg type as text, e.g. `timestamptz`, `list<string>`.
        field_id, element_id: Iceberg field ids (element: of a list); None in a message.
        path: message only: where in the JSON, dotted, e.g. `times.appended`; None in a table.
        source: table only: the path in the message it is made of; None where a step makes it.
        made_by: table only: what is done to the source, or which step makes the column.
        unit: UCUM, `per code` (the vocabulary says which), `per kind` (the canonical unit of the row's kind of dose),
            or None; then `unit_reason` says why (numbers), or the column is no quantity.
        value_sets: of the vocabulary, from which a column of codes takes; empty: any code.
        minimum, maximum: both ends allowed.
    """

    name: str
    type: str
    iceberg: str
    required: bool
    classification: str
    description: str
    field_id: int | None = None
    element_id: int | None = None
    path: str | None = None
    source: str | None = None
    made_by: str | None = None
    unit: str | None = None
    unit_reason: str | None = None
    code_system: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    protection: str | None = None
    value_sets: tuple[str, ...] = ()
    example: object = None


@dataclass(frozen=True, slots=True)
class QualityRule:
    """An expectation beyond types: its Great Expectations type and arguments as the contract gives them."""

    name: str
    description: str
    dimension: str | None
    severity: str
    expectation: str
    arguments: Mapping[str, Any]

    @property
    def blocking(self) -> bool:
        return self.severity == "error"


@dataclass(frozen=True, slots=True)
class Partitioning:
    column: str
    transform: str


@dataclass(frozen=True, slots=True)
class Versions:
    """Which rows are versions of one thing, and which of them is current.

    Attributes:
        key: columns that name the thing.
        order: columns; of one thing's versions the greatest is current. What a message says and never when it came, so
            that any order of arrival leaves the same current state. Nulls come first.
        ranks: column of `order` -> its words from least to greatest, where letters do not say it.
        withdrawn: column -> the words that take the thing back: its current version then has no value.
    """

    key: tuple[str, ...]
    order: tuple[str, ...]
    ranks: Mapping[str, tuple[str, ...]]
    withdrawn: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class TableContract:
    """One Iceberg table.

    Attributes:
        stream, version: of the contract it stands in.
        grain: what one row is, in a sentence.
        primary_key: columns, in order.
        partitioning: None for a table of one partition.
        sort: columns compaction sorts by.
        versions: None where a row is never corrected.
        fed_by: streams whose topic positions it carries, each with a vector of its own topic; empty if derived.
        derived_from: tables it is made of; empty if fed by topics.
        left_out: columns that a replay does not compare, since they say when and by whom a row was written.
        left_out_because: why, in the contract's words; empty where only `ingest_time` is left out.
    """

    name: str
    stream: str
    version: str
    description: str
    grain: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    partitioning: Partitioning | None
    sort: tuple[str, ...]
    retention_class: str
    latency_class: str
    quality: tuple[QualityRule, ...]
    sources: tuple[str, ...]
    versions: Versions | None = None
    fed_by: tuple[str, ...] = ()
    derived_from: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    left_out_because: str = ""

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(column.name for column in self.columns)

    @property
    def positioned(self) -> bool:
        """Whether rows carry the position of a message."""
        return bool(self.fed_by)

    @property
    def daily(self) -> bool:
        """Whether it is partitioned by day."""
        return self.partitioning is not None and self.partitioning.transform == "day"

    @property
    def gated(self) -> bool:
        """Whether a gate judges it by day: fed by topics, with days and rules."""
        return self.positioned and self.daily and bool(self.quality)

    @property
    def derived(self) -> bool:
        """Whether it is made of other tables, a day at a time."""
        return not self.positioned and self.daily


@dataclass(frozen=True, slots=True)
class TopicContract:
    """One Kafka topic.

    Attributes:
        key_system: identifier system of a patient key; empty where no message is about a person.
        key_pattern: regular expression a patient key matches in full; None where no message is about a person.
        device_pattern: the same of a key that names no person (null token), None where every message has a patient.
        retention_ms: what Kafka keeps, by the retention class of the stream's table. local_retention_ms: what of it
            brokers keep themselves where `tiered`, by the class too; None where the class does not use tiered storage.
        config: topic configuration to create and check, name -> value as Kafka shows it.
    """

    stream: str
    partitions: int
    copartition_group: str
    key_system: str
    key_pattern: str | None
    device_pattern: str | None
    message_format: str
    max_message_bytes: int
    retention_ms: int
    latency_class: str
    local_retention_ms: int | None = None
    tiered: bool = False

    @property
    def config(self) -> dict[str, str]:
        remote = {"remote.storage.enable": "true", "local.retention.ms": str(self.local_retention_ms)}
        return {
            "cleanup.policy": "delete",
            "max.message.bytes": str(self.max_message_bytes),
            "message.timestamp.type": "LogAppendTime",
            "retention.ms": str(self.retention_ms),
            **(remote if self.tiered and self.local_retention_ms is not None else {}),
        }


@dataclass(frozen=True, slots=True)
class Subject:
    """Which column names the person (a row name, see `Column.name`), in which identifier system."""

    column: str
    system: str


@dataclass(frozen=True, slots=True)
class EventTime:
    """Which column is the event's time, and how far from append time it may lie.

    Later than `allowed_lateness_seconds` behind is late (an attribute, never a reason to drop); further ahead than
    `allowed_ahead_seconds`, or before `earliest`, is impossible and rejected.
    """

    column: str
    allowed_lateness_seconds: float | None = None
    allowed_ahead_seconds: float | None = None
    earliest: datetime | None = None


@dataclass(frozen=True, slots=True)
class Deduplication:
    """The key that makes two messages one event, and how long (seconds of Kafka time) and how many are remembered.

    `replaces` names the column that says which earlier event this one takes back.
    """

    column: str
    horizon_seconds: int
    max_ids: int
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class AccessGroup:
    name: str
    access: str
    purposes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StreamContract:
    """One contract file. `subject` is None where no row is about a person; then `no_subject_because` says so."""

    name: str
    version: str
    status: str
    deprecation_path: str | None
    domain: str
    purpose_text: str
    limitations: str
    usage: str
    owner: str
    schema_owner: str
    support: str
    access: tuple[AccessGroup, ...]
    purposes: tuple[str, ...]
    subject: Subject | None
    no_subject_because: str | None
    time: EventTime
    deduplication: Deduplication | None
    keep_raw: bool
    topic: TopicContract | None
    message_description: str
    message: tuple[Column, ...]
    tables: tuple[TableContract, ...]
    file: str

    @property
    def consented(self) -> tuple[str, ...]:
        """The categories of consent of which a patient must have given one for a row to be kept at all; empty where the
        data serves a purpose that rests on law too, or is about nobody."""
        rests_on_consent = bool(self.purposes) and CONSENTED_PURPOSES.issuperset(self.purposes)
        return self.purposes if rests_on_consent and self.subject else ()

    def field(self, name: str) -> Column:
        """The message column of that row name."""
        return next(column for column in self.message if column.name == name)


class Contracts(Mapping[str, StreamContract]):
    """All contracts of a folder, by stream name, and the retention classes of their tables."""

    def __init__(
        self, streams: tuple[StreamContract, ...], classes: Mapping[str, RetentionClass] = MappingProxyType({})
    ) -> None:
        self.retention_classes = classes
        self._streams = {stream.name: stream for stream in streams}
        self._tables = {table.name: table for stream in streams for table in stream.tables}

    def __getitem__(self, name: str) -> StreamContract:
        return self._streams[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._streams)

    def __len__(self) -> int:
        return len(self._streams)

    def stream(self, name: str) -> StreamContract:
        """Raises KeyError naming what there is."""
        return _found(self._streams, name, "stream")

    def table(self, name: str) -> TableContract:
        """Raises KeyError naming what there is."""
        return _found(self._tables, name, "table")

    def tables(self) -> tuple[TableContract, ...]:
        return tuple(self._tables.values())

    def topics(self) -> tuple[TopicContract, ...]:
        return tuple(stream.topic for stream in self._streams.values() if stream.topic)

    def tables_of(self, stream: str) -> tuple[TableContract, ...]:
        """Every table a message of this stream may end in: its own, rejects, duplicates, what is kept as it came."""
        return tuple(table for table in self._tables.values() if stream in table.fed_by)


def _found(things: Mapping[str, Any], name: str, kind: str) -> Any:
    if name not in things:
        raise KeyError(f"no contract has a {kind} {name}; there are {', '.join(sorted(things))}")
    return things[name]
