"""`wardstream rejects replay`: what was refused, opened and sent again after a fix.

Holds: the choice of rejects, their opening (on record first), and the sending of each different message once.
Does not hold: the sealing (`warehouse/identity.py`), the keys (`warehouse/vault.py`), the sending (`sending`).

A reject that is right by now becomes a row; one that is wrong still becomes another reject, which stands for it. What
was sent again once is left out from then on, by the audit file: event ids are known only for the contract's horizon,
and behind it a second sending would be a second row. Nothing of a message is printed.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from infra.cli import sending
from infra.cli.caller import caller
from infra.cli.rejects import LEAST_REASON, WRONG_USE, NotShownError, named_stream, outcome
from infra.cli.sending import NotReachableError, NotSentError, Send, Sent

if TYPE_CHECKING:
    from infra.simulator.ward import Event
    from warehouse.settings import Settings

SEALED = """
SELECT stream, topic_id, kafka_partition, kafka_offset, sealed_payload, sealed_under, subject_token
FROM rejects
WHERE ($stream IS NULL OR stream = $stream)
  AND ($reason IS NULL OR reason = $reason)
  AND ($since IS NULL OR kafka_time >= $since::TIMESTAMPTZ)
  AND ($reason IS NOT NULL OR NOT list_contains($unless_named, reason))
  AND reason <> 'erased' -- of these nothing was kept that could be sent
ORDER BY kafka_time, stream, kafka_partition, kafka_offset
"""
OPENED, REPLAYED = "reject.replay", "reject.replayed"
UNLESS_NAMED = ("poison", "time_in_future")
"""What no fix makes right: a message that ends the stream, and a time that only became possible by waiting."""


def replay_rejects(
    settings: Settings,
    *,
    stream: str | None = None,
    rejected_for: str | None = None,
    since: datetime | None = None,
    why: str | None = None,
    rate: float | None = None,
    dry_run: bool = False,
    as_json: bool = False,
    send: Send | None = None,
) -> int:
    """Send the chosen rejects again; with `dry_run` count them and open nothing. `why` goes on record before any is
    opened. Returns the exit code; `send` instead of the broker's is for tests."""
    stream, wrong = named_stream(settings, stream)
    if wrong:
        print(f"wardstream rejects: {wrong}", file=sys.stderr)
        return WRONG_USE
    chosen = {"stream": stream, "reason": rejected_for, "since": since, "unless_named": list(UNLESS_NAMED)}
    return outcome(settings, lambda: _replay(settings, chosen, (why or "").strip(), rate, dry_run, as_json, send))


def _replay(
    settings: Settings, chosen: Mapping[str, Any], why: str, rate: float | None, dry_run: bool, as_json: bool,
    send: Send | None,
) -> None:  # fmt: skip
    if not dry_run and len(why) < LEAST_REASON:
        raise NotShownError(
            f"rejects are opened only for a reason that is kept: --reason, {LEAST_REASON} letters or more"
        )
    done = _replayed(settings)
    rows = [
        row for row in _rows(settings, chosen) if row["stream"] not in sending.MADE_HERE and _place(row) not in done
    ]
    told: dict[str, Any] = {"rejects": len(rows), "dry_run": dry_run, "by_stream": Counter(r["stream"] for r in rows)}
    if rows and not dry_run:
        try:
            send = send or sending.sender(settings, rate=rate, quiet=as_json)
        except (NotSentError, NotReachableError) as error:
            raise NotShownError(str(error)) from None
        _record(settings, OPENED, rows, why)
        sent, opened = _sent(settings, rows, send)
        told |= sent
        if not told["unacknowledged"]:
            _record(settings, REPLAYED, opened, why)
    print(json.dumps(told) if as_json else _line(told))
    if told.get("unacknowledged"):
        raise NotShownError("not all were acknowledged; run it again soon: what arrived is known by its event id")


def _rows(settings: Settings, chosen: Mapping[str, Any]) -> list[dict[str, Any]]:
    from warehouse.analytics import Analytics

    with Analytics(settings) as analytics:
        return analytics.query(SEALED, parameters=chosen).table.to_pylist()


def _place(row: Mapping[str, Any]) -> tuple[str, int, int]:
    return row["topic_id"], row["kafka_partition"], row["kafka_offset"]


def _replayed(settings: Settings) -> set[tuple[str, int, int]]:
    """The rejects that were sent again, all of them acknowledged, as the audit file knows them."""
    from warehouse.audit import FILE

    file = settings.home / FILE
    lines = file.read_text().splitlines() if file.exists() else []
    done = [entry for line in lines if (entry := json.loads(line)).get("what") == REPLAYED]
    return {
        (entry["topic_id"], entry["kafka_partition"], int(offset))
        for entry in done
        for offset in entry["kafka_offsets"].split(",")
    }


def _record(settings: Settings, what: str, rows: list[dict[str, Any]], why: str) -> None:
    """Who opens, or has sent again, which rejects and why: a line a partition."""
    from warehouse.audit import FILE, record

    places: dict[tuple[str, str, int], list[int]] = {}
    for row in rows:
        places.setdefault((row["stream"], row["topic_id"], row["kafka_partition"]), []).append(row["kafka_offset"])
    for (stream, topic_id, partition), offsets in places.items():
        entry: dict[str, str | int | None] = {
            "who": caller(), "what": what, "stream": stream, "topic_id": topic_id,
            "kafka_partition": partition, "kafka_offsets": ",".join(map(str, offsets)), "why": why,
        }  # fmt: skip
        record(settings.home / FILE, datetime.now(UTC), entry)
    if what == OPENED:
        print(f"wardstream rejects: this opening is on record in {settings.home / FILE}", file=sys.stderr)


def _sent(settings: Settings, rows: list[dict[str, Any]], send: Send) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What became of the rejects, and those that could be opened."""
    from warehouse.identity import SealError, unseal_reject
    from warehouse.vault import open_vault

    closed, seen = [], set()

    def events() -> Iterator[Event]:
        vault = open_vault(settings.vault_uri, time.monotonic)
        try:
            for row in rows:
                try:
                    sealed = (row["sealed_payload"], row["sealed_under"], row["subject_token"])
                    message = unseal_reject(vault, row["stream"], *sealed)
                except SealError:
                    closed.append(row)
                    continue
                if (row["stream"], *message) not in seen:
                    seen.add((row["stream"], *message))
                    yield _event(row["stream"], message.key, message.value)
        finally:
            vault.close()

    sent: Sent = send(events())
    told = {
        "sent": sent.messages, "no_longer_to_be_opened": len(closed),
        "repeated": len(rows) - len(closed) - sent.messages, "unacknowledged": sent.unacknowledged,
    }  # fmt: skip
    return told, [row for row in rows if row not in closed]


def _event(stream: str, key: bytes | None, value: bytes | None) -> Event:
    from infra.simulator.ward import ROW, Event

    return Event(key, value, "replayed", "", None, 0, ROW, None, stream)  # ty: ignore[invalid-argument-type]


def _line(told: Mapping[str, Any]) -> str:
    streams = ", ".join(f"{stream} {count:,}" for stream, count in told["by_stream"].items())
    if not told["rejects"]:
        return "no rejects"
    if told["dry_run"]:
        return f"would open and send {told['rejects']:,} rejects again: {streams}"
    return (
        f"{told['sent']:,} of {told['rejects']:,} rejects sent again ({streams}); {told['repeated']:,} were the same "
        f"as another, {told['no_longer_to_be_opened']:,} can no longer be opened"
    )
