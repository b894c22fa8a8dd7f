"""`wardstream rejects list | show`: what did not become a row, where it stands, and (asked for by name) what it said.

Holds: the two questions and what is printed. A payload is opened only with a reason, and only after that reason is on
disk (`warehouse/audit.py`); it goes to standard output and nowhere else.
Does not hold: the sealing (`warehouse/identity.py`), the keys (`warehouse/vault.py`), sending again (`rejects_replay`).

Exit codes: 0 shown, 1 refused, not there or no longer to be opened, 2 no such stream, or the catalog, the store or the
vault does not answer, 130 Ctrl-C.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from infra.cli import answers
from infra.cli.caller import caller
from infra.cli.reach import unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from warehouse.identity import RejectedMessage
    from warehouse.settings import Settings

SHOWN, REFUSED, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 130
WRONG_USE = 2
LEAST_REASON = 8

_MATCHING = """
FROM rejects
WHERE ($stream IS NULL OR stream = $stream)
  AND ($reason IS NULL OR reason = $reason)
  AND ($since IS NULL OR kafka_time >= $since::TIMESTAMPTZ)
"""
COUNTS = f"""
SELECT stream, stage, reason, count(*) AS rejects, sum(size_bytes)::BIGINT AS bytes, max(kafka_time) AS last_at
{_MATCHING}
GROUP BY ALL ORDER BY rejects DESC, stream, stage, reason
"""
POSITIONS = f"""
SELECT stream, kafka_partition AS partition, kafka_offset AS "offset", kafka_time, stage, reason, detail, size_bytes,
       subject_token IS NOT NULL AS has_patient
{_MATCHING}
ORDER BY kafka_time DESC, stream, partition, "offset" LIMIT $most
"""
REASONS = "SELECT DISTINCT reason FROM rejects ORDER BY reason"
ONE = """
SELECT * FROM rejects
WHERE stream = $stream AND kafka_partition = $partition AND kafka_offset = $offset
ORDER BY kafka_time DESC LIMIT 1
"""


class NotShownError(RuntimeError):
    """What was asked for is not there, or may not be shown. Says what to do."""


def list_rejects(
    settings: Settings,
    *,
    stream: str | None = None,
    reason: str | None = None,
    since: datetime | None = None,
    limit: int = 20,
    as_json: bool = False,
) -> int:
    """Print counts by stream, stage and reason, then the `limit` newest positions. `since` (with a zone) is Kafka time.

    Returns the exit code.
    """
    stream, wrong = named_stream(settings, stream)
    if wrong:
        return _tell(wrong, WRONG_USE)
    chosen = {"stream": stream, "reason": reason, "since": since}
    return outcome(settings, lambda: _list(settings, chosen, limit, as_json))


def show_reject(
    settings: Settings,
    stream: str,
    partition: int,
    offset: int,
    *,
    reveal: bool = False,
    reason: str | None = None,
    as_json: bool = False,
) -> int:
    """Print what is known of the reject at a position; with `reveal` and a `reason` the message itself.

    Where a topic was made anew and both of its lives have a reject there, the younger one is shown. Returns the exit
    code.
    """
    named, wrong = named_stream(settings, stream)
    if wrong:
        return _tell(wrong, WRONG_USE)
    position = {"stream": named, "partition": partition, "offset": offset}
    return outcome(settings, lambda: _show(settings, position, reveal, (reason or "").strip(), as_json))


def named_stream(settings: Settings, name: str | None) -> tuple[str | None, str]:
    """(the stream, what to say where no contract declares it): by its own name, or by that of the table it feeds."""
    from warehouse.contract import load_contracts

    contracts = load_contracts(own=settings.contracts)
    known = [topic.stream for topic in contracts.topics()]
    by_table = {table.name: table.stream for table in contracts.tables() if table.stream in known}
    stream = by_table.get(name, name) if name else name
    return stream, "" if stream is None or stream in known else f"no such stream; streams are {', '.join(known)}"


def outcome(settings: Settings, act: Callable[[], None]) -> int:
    """The exit code of a question to the lake; what it raises is told on standard error."""
    from warehouse.analytics import LakeUnavailable, StatementFailed
    from warehouse.audit import AuditError
    from warehouse.identity import SealError
    from warehouse.statement_guard import StatementRefused
    from warehouse.vault import VaultError, VaultUnavailableError

    if reason := unreachable(settings):
        return _tell(reason, UNAVAILABLE)
    try:
        act()
    except (NotShownError, StatementRefused, StatementFailed, SealError, VaultError, AuditError) as error:
        return _tell(str(error), REFUSED)
    except (LakeUnavailable, VaultUnavailableError) as error:
        return _tell(str(error), UNAVAILABLE)
    except KeyboardInterrupt:
        return INTERRUPTED
    return SHOWN


def _tell(line: str, code: int) -> int:
    print(f"wardstream rejects: {line}", file=sys.stderr)
    return code


def _list(settings: Settings, chosen: Mapping[str, Any], limit: int, as_json: bool) -> None:
    from warehouse.analytics import Analytics

    with Analytics(settings) as analytics:
        counts = analytics.query(COUNTS, parameters=chosen)
        newest = analytics.query(POSITIONS, parameters={**chosen, "most": limit})
        reasons = analytics.query(REASONS).table["reason"].to_pylist() if chosen["reason"] else []
    if as_json:
        shown = {"counts": counts.table.to_pylist(), "newest": newest.table.to_pylist(), "snapshots": newest.snapshots}
        print(json.dumps(answers.json_value(shown), ensure_ascii=False))
    elif not counts.table.num_rows:
        print("no rejects")
        if reasons and chosen["reason"] not in reasons:
            _tell(f"none has this reason; those there are: {', '.join(reasons)}", SHOWN)
    else:
        print(answers.table(counts).decode() + "\n" + answers.table(newest).decode(), end="")


def _show(settings: Settings, position: Mapping[str, Any], reveal: bool, reason: str, as_json: bool) -> None:
    if reveal and len(reason) < LEAST_REASON:
        raise NotShownError(
            f"a message is opened only for a reason that is kept: --reason, {LEAST_REASON} letters or more"
        )
    row = _find(settings, position)
    shown = {name: value for name, value in row.items() if name != "sealed_payload"}
    if reveal:
        _tell(f"this opening is on record in {_record(settings, row, reason)}", SHOWN)
        shown |= _readable(_opened(settings, row))
    if as_json:
        print(json.dumps(answers.json_value(shown), ensure_ascii=False))
        return
    width = max(map(len, shown))
    for name, value in shown.items():
        text = value if isinstance(value, str) else answers.json_value(value)
        print(f"{name:{width}}  {'·' if value is None else answers.printable(str(text))}")


def _find(settings: Settings, position: Mapping[str, Any]) -> dict[str, Any]:
    from warehouse.analytics import Analytics

    with Analytics(settings) as analytics:
        rows = analytics.query(ONE, parameters=position).table.to_pylist()
    if not rows:
        place = "{stream}, partition {partition}, offset {offset}".format_map(position)
        raise NotShownError(f"no reject at {place}; `wardstream rejects list` shows positions")
    return rows[0]


def _record(settings: Settings, row: Mapping[str, Any], reason: str) -> Path:
    """Say who opens what and why before it is opened: an attempt that then fails is on record too. Returns the file."""
    from warehouse.audit import FILE, record

    place = {name: row[name] for name in ("stream", "topic_id", "kafka_partition", "kafka_offset")}
    entry = {"who": caller(), "what": "reject.reveal", **place, "why": reason}
    record(settings.home / FILE, datetime.now(UTC), entry)
    return settings.home / FILE


def _opened(settings: Settings, row: Mapping[str, Any]) -> RejectedMessage:
    from warehouse.identity import unseal_reject
    from warehouse.vault import open_vault

    vault = open_vault(settings.vault_uri, time.monotonic)
    try:
        return unseal_reject(vault, row["stream"], row["sealed_payload"], row["sealed_under"], row["subject_token"])
    finally:
        vault.close()


def _readable(message: RejectedMessage) -> dict[str, str | None]:
    """Key and value as text; bytes that are no UTF-8 as \\x escapes."""
    parts = {"key": message.key, "message": message.value}
    return {name: None if part is None else part.decode(errors="backslashreplace") for name, part in parts.items()}
