"""Whether consent was kept: every message of a stream that rests on consent in one place, and in the right one.

Holds: the reading of the topics and tables that this takes, and the judgement, of raw messages and with rules restated
here: what was said at the latest time not after an event decides, of several the greatest number, a no before a yes.
Does not hold: the streams that rest on law (`oracle.py`).

`python -m tests.oracle.consent --help` names what it wants to know.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from .kafka_log import read_topic
from .lake import LakePlace, read_lake

CONSENTS, DELETIONS = "patient.consent.updates", "patient.data.deletions"
REGISTRY, REJECTS, DUPLICATES, WITHHELD = "consent_updates", "rejects", "duplicates", "consent_withheld"
SCOPES = {
    CONSENTS, DELETIONS, "patient.app.events", "device.vitals", "iot.patient", "lab.results", "adt.events",
    "medication.events", "clinical.alerts", "clinical.alerts.withheld", "clinical.scores", "lineage.events",
}  # fmt: skip
"""Streams by name; another word for a scope means nothing we know."""
CATEGORIES = {"care", "operations", "payment", "research", "marketing"}
"""What data may serve; a revoke of another word means nothing we know."""
GRANTED_S, REVOKED_S = 30.0, 5.0
"""So long on Kafka before an event, a grant and a revoke must count for it."""

Place = tuple[str, int, int]
"""topic id, partition, offset"""


@dataclass(frozen=True, slots=True)
class Message:
    """A message as Kafka has it; `said` is None where it is no JSON object."""

    place: Place
    appended_s: float
    key: str | None
    said: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class History:
    """Messages of the consent topic, of the judged stream and of the deletions, and where tables have positions.

    Attributes:
        places: table -> positions of its rows, of these topics. vectors: table -> topic id -> partition -> next.
        ends: topic id -> partition -> next offset on Kafka. category, stream: what is judged.
    """

    consents: Sequence[Message]
    events: Sequence[Message]
    deletions: Sequence[Message]
    places: Mapping[str, Sequence[Place]]
    vectors: Mapping[str, Mapping[str, Mapping[int, int]]]
    ends: Mapping[str, Mapping[int, int]]
    own_table: str
    category: str
    stream: str


def judged(history: History) -> dict[str, int]:
    """Heading -> how many things are wrong; and the counts of each place under its own name, with a + before it."""
    wrong: Counter[str] = Counter()
    where = {name: Counter(history.places[name]) for name in (history.own_table, REJECTS, DUPLICATES, WITHHELD)}
    known = {message.place for message in history.events}
    for message in history.events:
        times = sum(places[message.place] for places in where.values())
        wrong["lost"] += times == 0
        wrong["doubled"] += times > 1
        wrong[_misjudged(history, message, where)] += 1
    topics = {place[0] for place in known}
    wrong["phantom"] += sum(place[0] in topics and place not in known for each in where.values() for place in each)
    wrong["holes"] += _holes(history)
    wrong["registry"] += _unregistered(history)
    wrong["requests"] += _requests(history)
    counts = {f"+{name}": sum(p in known for p in places) for name, places in where.items()}
    return {"+sent": len(history.events), **counts, **{name: wrong[name] for name in HEADINGS}}


HEADINGS = ("lost", "doubled", "phantom", "holes", "kept without consent", "withheld in spite of consent", "registry",
            "requests")  # fmt: skip


def _misjudged(history: History, message: Message, where: Mapping[str, Counter[Place]]) -> str:
    """The heading of a row that nobody consented to, or of a withheld message that somebody did; "" for neither."""
    said = [c for c in history.consents if c.key == message.key and _is_valid(c)]
    if message.said is None or message.key is None:
        return ""
    at = _seconds(message.said["event_time"])
    if where[history.own_table][message.place] and not _may_be_kept(history, said, message, at):
        return "kept without consent"
    early = [c for c in said if c.appended_s < message.appended_s - GRANTED_S]
    denied = any(c.said and c.said["action"] == "REVOKE" for c in said)
    if where[WITHHELD][message.place] and not denied and _consents(history, early, at):
        return "withheld in spite of consent"
    return ""


def _may_be_kept(history: History, said: Sequence[Message], message: Message, at: float) -> bool:
    """Whether a row can be right: by all that was ever said, or by all but the revokes that nobody need have read."""
    in_time = [c for c in said if c.said["action"] == "GRANT" or c.appended_s < message.appended_s - REVOKED_S]
    return _consents(history, said, at) or _consents(history, in_time, at)


def _consents(history: History, told: Iterable[Message], at: float) -> bool:
    """Whether what was told permits the stream's data of that time."""
    about = [each.said for each in told if each.said and _seconds(each.said["timestamp"]) <= at]
    about = [said for said in about if _concerns(said, history)]
    if not about:
        return False
    latest = max(_seconds(said["timestamp"]) for said in about)
    about = [said for said in about if _seconds(said["timestamp"]) == latest]
    if all(said.get("sequence") is not None for said in about):
        greatest = max(said["sequence"] for said in about)
        about = [said for said in about if said["sequence"] == greatest]
    return all(
        said["action"] == "GRANT" and (said.get("expires") is None or at < _seconds(said["expires"])) for said in about
    )


def _concerns(said: Mapping[str, Any], history: History) -> bool:
    category, scope = said["category"].strip().lower(), said["scope"].strip().lower()
    if said["action"] == "GRANT":
        return category == history.category and scope in ("all", "*", history.stream)
    return category not in CATEGORIES - {history.category} and scope not in SCOPES - {history.stream}


def _is_valid(message: Message) -> bool:
    said = message.said
    return bool(
        said
        and message.key == said.get("patientId")
        and said.get("action") in ("GRANT", "REVOKE")
        and all(isinstance(said.get(name), str) for name in ("category", "scope", "timestamp"))
    )


def _holes(history: History) -> int:
    """Partitions of which a table does not say that it has read them to the end."""
    wrong = 0
    (topic,) = {message.place[0] for message in history.events} or {""}
    for name in (history.own_table, REJECTS, DUPLICATES, WITHHELD):
        vector, ends = history.vectors[name].get(topic, {}), history.ends.get(topic, {})
        wrong += sum(vector.get(p) != ends.get(p) for p in vector.keys() | ends.keys())
    return wrong


def _unregistered(history: History) -> int:
    """Valid messages of the consent topic that are not once in the registry, and others that are there."""
    valid = Counter(message.place for message in history.consents if _is_valid(message))
    kept = Counter(history.places[REGISTRY])
    return sum(valid[place] != kept[place] for place in valid | kept)


def _requests(history: History) -> int:
    """Revokes without a request to end their category, and requests without a revoke."""
    revoked = {
        (message.key, category)
        for message in history.consents
        if _is_valid(message) and message.said["action"] == "REVOKE" and message.said.get("reason") != "ambiguous"
        if message.said["scope"].strip().lower() not in SCOPES
        for category in _categories(message.said["category"].strip().lower())
    }
    asked = {(m.said["patient_id"], m.said["category"]) for m in history.deletions if m.said}
    return len(revoked ^ asked)


def _categories(category: str) -> tuple[str, ...]:
    return ("research", "marketing") if category in ("all", "*") else (category,)


def _seconds(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


# --- collecting


def collect(
    kafka: Mapping[str, object], prefix: str, place: LakePlace, stream: str, own_table: str, category: str
) -> History:
    """Everything from its own place. Raises what the readers raise."""
    logs = {name: read_topic(kafka, name, prefix + name, _as_sent) for name in (CONSENTS, stream, DELETIONS)}
    names = [own_table, REJECTS, DUPLICATES, WITHHELD, REGISTRY]
    tables = read_lake(place, names)
    ours = {logs[name].topic_id for name in (CONSENTS, stream)}
    messages = {name: _messages(log.topic_id, log.log) for name, log in logs.items()}
    return History(
        messages[CONSENTS],
        messages[stream],
        messages[DELETIONS],
        {name: [at for at in _places(table.rows) if at[0] in ours] for name, table in tables.items()},
        {name: table.vector for name, table in tables.items()},
        {log.topic_id: {p: high for p, (_, high) in log.ends.items()} for log in logs.values()},
        own_table,
        category,
        stream,
    )


def _as_sent(keys: Sequence[bytes | None], values: Sequence[bytes | None], _: np.ndarray) -> pa.Table:
    return pa.table({"key": pa.array(keys, pa.binary()), "value": pa.array(values, pa.binary())})


def _messages(topic_id: str, log: pa.Table) -> list[Message]:
    names = ("partition", "offset", "appended", "key", "value")
    return [
        Message((topic_id, p, o), at.timestamp(), key.decode() if key else None, _object(value))
        for p, o, at, key, value in zip(*(log[name].to_pylist() for name in names), strict=True)
    ]


def _object(value: bytes | None) -> dict[str, Any] | None:
    try:
        said = json.loads(value or b"")
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _places(rows: pa.Table) -> list[Place]:
    names = ("topic_id", "kafka_partition", "kafka_offset")
    return list(zip(*(rows[name].to_pylist() for name in names), strict=True))


def passed(verdict: Mapping[str, int]) -> bool:
    """Whether nothing is wrong, and what was sent is the sum of its places."""
    counts = {name: count for name, count in verdict.items() if name.startswith("+")}
    return not any(verdict[name] for name in HEADINGS) and sum(counts.values()) == 2 * counts["+sent"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("bootstrap", "catalog", "namespace", "endpoint", "access-key", "stream", "table"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--prefix", default="")
    parser.add_argument("--category", default="research")
    given = parser.parse_args()
    secret = os.environ["WARDSTREAM_S3_SECRET_KEY"]
    place = LakePlace(given.catalog, given.namespace, given.endpoint, given.access_key, secret)
    kafka = {"bootstrap.servers": given.bootstrap}
    verdict = judged(collect(kafka, given.prefix, place, given.stream, given.table, given.category))
    print("\n".join(f"{name.lstrip('+'):.<40} {count:>10,}" for name, count in verdict.items()))
    return 0 if passed(verdict) else 1


if __name__ == "__main__":
    sys.exit(main())
