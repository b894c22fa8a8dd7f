"""Made-up histories: few times, few words, so that ties, contradictions and gaps are frequent.

Holds: the making, and the decision said once more in the plainest way, by elimination.
Does not hold: anything of the product but `Provision`.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from warehouse.consent.decision import ALL, GRANT, NOT_UNDERSTOOD, REVOKE, Provision

START = datetime(2026, 1, 1, tzinfo=UTC)
STREAMS = ("device.vitals", "lab.results")
CATEGORIES = ("research", "marketing")
SCHEMA = pa.schema(
    {
        "subject_token": pa.string(),
        "action": pa.string(),
        "category": pa.string(),
        "scope": pa.string(),
        "provision_time": pa.timestamp("us", "UTC"),
        "expires_at": pa.timestamp("us", "UTC"),
        "sequence": pa.int64(),
        "reason": pa.string(),
        "topic_id": pa.string(),
        "kafka_partition": pa.int32(),
        "kafka_offset": pa.int64(),
        "kafka_time": pa.timestamp("us", "UTC"),
    }
)


def at(days: int) -> datetime:
    return START + timedelta(days=days)


def provision(dice: random.Random) -> Provision:
    """One thing said, within ten days."""
    action = dice.choice((GRANT, GRANT, REVOKE))
    categories = (*CATEGORIES, "care") if action == GRANT else (*CATEGORIES, "care", ALL, NOT_UNDERSTOOD)
    said = dice.randrange(10)
    return Provision(
        action=action,
        category=dice.choice(categories),
        scope=dice.choice((ALL, ALL, *STREAMS, NOT_UNDERSTOOD)),
        at=at(said),
        known_at=at(dice.randrange(10)),
        until=at(said + dice.randrange(1, 6)) if action == GRANT and dice.random() < 0.2 else None,
        sequence=dice.choice((None, 1, 1, 2, 3)),
    )


def history(dice: random.Random) -> list[Provision]:
    return [provision(dice) for _ in range(dice.randrange(7))]


def rows(told: list[Provision], token: str = "t1") -> list[dict[str, Any]]:
    """The registry's rows of a history."""
    return [
        {
            "subject_token": token, "action": p.action, "category": p.category or "Forschung",
            "scope": p.scope or "what is this",
            "provision_time": p.at, "expires_at": p.until, "sequence": p.sequence, "reason": p.reason,
            "topic_id": "topic", "kafka_partition": 0, "kafka_offset": n, "kafka_time": p.known_at,
        }
        for n, p in enumerate(told)
    ]  # fmt: skip


def registry(*histories: tuple[str, list[Provision]]) -> pa.Table:
    return pa.Table.from_pylist([row for token, told in histories for row in rows(told, token)], SCHEMA)


def by_elimination(told: list[Provision], category: str, stream: str, when: datetime, known_at: datetime) -> bool:
    """The rule as a list of reasons to say no. A provision is beaten by a later one, or by one of the same time with a
    greater sequence where all of that time are numbered; all that are not beaten must grant."""
    about = []
    for p in told:
        if p.known_at > known_at or p.at > when:
            continue
        if p.action == GRANT and p.category == category and p.scope in {ALL, stream}:
            about.append(p)
        if (
            p.action == REVOKE
            and p.category in {category, ALL, NOT_UNDERSTOOD}
            and p.scope in {ALL, stream, NOT_UNDERSTOOD}
        ):
            about.append(p)

    def beaten(p: Provision) -> bool:
        if any(other.at > p.at for other in about):
            return True
        same = [other for other in about if other.at == p.at]
        if any(other.sequence is None for other in same):
            return False
        return any(other.sequence > p.sequence for other in same)

    standing = [p for p in about if not beaten(p)]
    if not standing:
        return False
    return all(p.action == GRANT and (p.until is None or p.until > when) for p in standing)
