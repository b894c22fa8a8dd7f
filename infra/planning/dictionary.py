"""The data dictionary as Markdown, made of the contracts and the vocabulary.

Holds: the text of `warehouse/contracts/DICTIONARY.md`; the same contracts always give the same bytes.
Does not hold: any sentence about data that a contract could say itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from warehouse.contract import FOLDER, Column, Contracts, RetentionClass, StreamContract, TableContract, TopicContract
from warehouse.contract_model import LATENCY_CLASSES
from warehouse.vocabulary import CODE_SYSTEMS, CODES, ObservationCode

PATH: Path = FOLDER / "DICTIONARY.md"

_COLUMN_HEAD = ("Column", "Type", "Unit", "Code system", "Class", "Meaning", "Example")


def dictionary(contracts: Contracts) -> str:
    """The whole page. Sections: contents, streams with their tables, codes, classes."""
    sections = [_contents(contracts), *(_stream(contracts, stream) for stream in contracts.values())]
    sections += [_codes(CODES.values()), _classes(contracts)]
    note = "Made by `wardstream contracts docs` of the contracts beside it. Change those, not this."
    return "\n\n".join(["# Data dictionary", note, *sections]) + "\n"


def _contents(contracts: Contracts) -> str:
    rows = [
        (
            _link(stream.name),
            ", ".join(_link(table.name, f"table-{table.name}") for table in stream.tables),
            stream.purpose_text,
        )
        for stream in contracts.values()
    ]
    return _grid(("Stream", "Tables", "What it is for"), rows)


def _stream(contracts: Contracts, stream: StreamContract) -> str:
    parts = [f"## {stream.name}", stream.purpose_text, _facts(stream)]
    if stream.topic:
        parts += ["### Message", stream.message_description, _columns(stream.message)]
    parts += [_table(contracts, table) for table in stream.tables]
    return "\n\n".join(parts)


def _facts(stream: StreamContract) -> str:
    facts = [
        ("Contract", f"[{stream.file}]({stream.file}), version {stream.version}, {stream.status}"),
        (
            "Domain",
            f"{stream.domain}; owner {stream.owner}, schema owner {stream.schema_owner}; ask in {stream.support}",
        ),
        ("Access", "; ".join(f"{g.name} may {g.access} for {', '.join(g.purposes)}" for g in stream.access)),
        ("Subject", _subject(stream)),
        ("Event time", _event_time(stream)),
        *_topic(stream.topic),
        *_deduplication(stream),
        ("Limits", stream.limitations),
        ("Use", stream.usage),
    ]
    return "\n".join(f"- **{name}**: {text.rstrip('.')}." for name, text in facts if text)


def _subject(stream: StreamContract) -> str:
    if stream.subject is None:
        return f"none: {stream.no_subject_because}"
    return f"`{stream.subject.column}` in `{stream.subject.system}`"


def _event_time(stream: StreamContract) -> str:
    time = stream.time
    late = f", late beyond {time.allowed_lateness_seconds:g} s" if time.allowed_lateness_seconds else ""
    ahead = f", impossible beyond {time.allowed_ahead_seconds:g} s ahead" if time.allowed_ahead_seconds else ""
    return f"`{time.column}`{late}{ahead}"


def _topic(topic: TopicContract | None) -> Iterator[tuple[str, str]]:
    if topic is None:
        return
    yield (
        "Topic",
        f"{topic.partitions} partitions, co-partition group {topic.copartition_group}, {topic.message_format}",
    )
    device = f"`{topic.device_pattern}` where there is no patient" if topic.device_pattern else ""
    person = f"`{topic.key_pattern}`" if topic.key_pattern else ""
    yield "Key", ", or ".join(filter(None, (person, device)))
    days = topic.retention_ms // 86_400_000
    yield "Kept on Kafka", f"{days} days, messages of up to {topic.max_message_bytes} bytes"


def _deduplication(stream: StreamContract) -> Iterator[tuple[str, str]]:
    if stream.deduplication:
        key = stream.deduplication
        yield "One event", f"one `{key.column}` within {key.horizon_seconds // 3600} h and {key.max_ids} ids"


def _table(contracts: Contracts, table: TableContract) -> str:
    parts = [f'<a id="table-{table.name}"></a>', f"### Table `{table.name}`", table.description]
    return "\n\n".join([*parts, _table_facts(table), _columns(table.columns), *_rules(table)])


def _table_facts(table: TableContract) -> str:
    parted = f"{table.partitioning.transform} of `{table.partitioning.column}`" if table.partitioning else "none"
    made = ", ".join(_link(name) for name in table.fed_by) or ", ".join(
        _link(name, f"table-{name}") for name in table.derived_from
    )
    facts = [
        ("Grain", table.grain),
        ("Primary key", ", ".join(f"`{name}`" for name in table.primary_key)),
        ("Partitioning", parted),
        ("Made of", made),
        ("Retention class", table.retention_class),
        ("Latency class", table.latency_class),
        *_left_out(table),
    ]
    return "\n".join(f"- **{name}**: {text.rstrip('.')}." for name, text in facts)


def _left_out(table: TableContract) -> Iterator[tuple[str, str]]:
    if table.left_out:
        columns = ", ".join(f"`{name}`" for name in table.left_out)
        yield "Not compared on replay", columns + (f": {table.left_out_because}" if table.left_out_because else "")


def _rules(table: TableContract) -> Iterator[str]:
    if table.quality:
        rows = [(rule.name, "blocks" if rule.blocking else "warns", rule.description) for rule in table.quality]
        yield _grid(("Quality rule", "If broken", "What must be true"), rows)


def _columns(columns: Iterable[Column]) -> str:
    return _grid(_COLUMN_HEAD, [_column(column) for column in columns])


def _column(column: Column) -> tuple[str, ...]:
    kept = f", {column.protection}" if column.protection else ""
    made = f" ({column.made_by})" if column.made_by else ""
    return (
        f"`{column.path or column.name}`",
        column.iceberg + (" required" if column.required else ""),
        column.unit or (f"none: {column.unit_reason}" if column.unit_reason else ""),
        CODE_SYSTEMS.get(column.code_system or "", column.code_system or ""),
        column.classification + kept,
        column.description + made,
        "" if column.example is None else f"`{_example(column.example)}`",
    )


def _example(value: object) -> str:
    return (
        ", ".join(map(str, value))
        if isinstance(value, list)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )


def _codes(codes: Iterable[ObservationCode]) -> str:
    head = ("LOINC", "Name", "Unit", "Also taken", "Plausible", "Words", "Source")
    return "## Codes\n\n" + _grid(head, [_code(vital) for vital in codes])


def _code(vital: ObservationCode) -> tuple[str, ...]:
    return (
        vital.code,
        vital.name,
        f"`{vital.unit}`" if vital.unit else "",
        ", ".join(f"`{unit}`" for unit in vital.units if unit != vital.unit),
        f"{vital.low:g} to {vital.high:g}" if vital.low is not None and vital.high is not None else "",
        ", ".join(vital.values or ()),
        vital.source,
    )


def _classes(contracts: Contracts) -> str:
    head = ("Retention class", "Kept", "On Kafka", "Cold after", "Gone after", "Counted by", "Can be undone")
    retention = _grid(head, [_retention(each) for each in contracts.retention_classes.values()])
    latency = _grid(("Latency class", "Meaning"), list(LATENCY_CLASSES.items()))
    return f"## Classes\n\n{retention}\n\n{latency}"


def _retention(kept: RetentionClass) -> tuple[str, ...]:
    ages = (kept.hot_days, kept.cold_after_days, kept.gone_after_days)
    hot, cold, gone = ("" if age is None else f"{age} d" for age in ages)
    return kept.name, kept.kept, hot, cold or "never", gone or "never", kept.counted_by, f"{kept.undo_days} d"


def _link(name: str, anchor: str = "") -> str:
    """A link to a heading of this page; headings lose their dots in anchors."""
    return f"[{name}](#{anchor or name.replace('.', '')})"


def _grid(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
