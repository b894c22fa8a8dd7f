"""What a certificate says of what cannot be let go of at once."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from warehouse.erasure.certificate import Run
from warehouse.erasure.requests import Receipt
from warehouse.erasure.states import DELETED, LOCATED, PROVEN

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TOPIC = "topic:adt.events"


def receipt(step: str, found: int, minutes: int | None = None, last: dict[str, int] | None = None) -> Receipt:
    said: dict[str, Any] = {"topic": "adt", "last_offsets": last} if last else {}
    if minutes is not None:
        said["until"] = (NOW + timedelta(minutes=minutes)).isoformat()
    return Receipt("b", "", TOPIC, step, found, found, 0, json.dumps(said), NOW, "test")


def remains(*receipts: Receipt) -> list[dict[str, Any]]:
    return Run((), receipts, ()).remains


def test_records_that_were_deleted_lie_in_their_segment_until_it_goes() -> None:
    told = receipt(LOCATED, 5, 30, {"0": 4}), receipt(DELETED, 5), receipt(PROVEN, 0)
    assert remains(*told) == [
        {
            "store": TOPIC,
            "left": 0,
            "topic": "adt",
            "last_offsets": {"0": 4},
            "until": receipt(LOCATED, 5, 30).said()["until"],
        }
    ]


def test_the_last_of_all_partitions_counts_by_whichever_step_told_it() -> None:
    (found,) = remains(
        receipt(LOCATED, 6, 30, {"0": 4, "1": 7}), receipt(DELETED, 7, 50, {"0": 9}), receipt(PROVEN, 1, 20, {"1": 8})
    )
    assert (found["left"], found["last_offsets"]) == (1, {"0": 9, "1": 8})
    assert datetime.fromisoformat(found["until"]) == NOW + timedelta(minutes=50)


def test_of_a_topic_that_had_nothing_nothing_remains() -> None:
    assert remains(receipt(LOCATED, 0), receipt(DELETED, 0), receipt(PROVEN, 0)) == []


def test_a_retention_that_was_shortened_since_counts_for_what_was_deleted_before() -> None:
    newest = int(NOW.timestamp() * 1000)
    said = {
        "topic": "adt",
        "last_offsets": {"0": 4},
        "newest_ms": newest,
        "until": (NOW + timedelta(days=30)).isoformat(),
    }
    (found,) = remains(
        replace(receipt(DELETED, 5), evidence=json.dumps(said)),
        replace(receipt(PROVEN, 0), evidence=json.dumps({"kept_ms": 60_000})),
    )
    assert (found["left"], found["last_offsets"]) == (0, {"0": 4})
    assert datetime.fromisoformat(found["until"]) == NOW + timedelta(minutes=1)
    assert not {"newest_ms", "kept_ms"} & found.keys()
