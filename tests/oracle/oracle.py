"""Collect a history from a deployment and judge it.

Holds: where everything is (`Places`), the collecting, the verdict and its report.
Does not hold: readers and checks themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .adt_event import read_admissions
from .alert_message import read_alerts
from .checks import check
from .findings import HEADINGS, Finding
from .history import (
    ADMISSIONS,
    ALERTS,
    DUPLICATES,
    LABS,
    MEDICATION,
    OWN_TABLE,
    REJECTS,
    SCORES,
    VITALS,
    WEARABLES,
    WITHHELD,
    History,
)
from .kafka_log import read_topic
from .lab_result import read_results
from .lake import LakePlace, read_lake
from .ledger import read_ledger, read_summary
from .medication_event import read_medication
from .reading import read_messages, read_wearables
from .score_message import read_scores
from .score_models import BUILT_IN, read_model
from .vault import read_vault

READERS = {
    VITALS: read_messages,
    WEARABLES: read_wearables,
    LABS: read_results,
    ADMISSIONS: read_admissions,
    MEDICATION: read_medication,
    ALERTS: read_alerts,
    WITHHELD: read_alerts,
    SCORES: read_scores,
}


@dataclass(frozen=True, slots=True)
class Places:
    """Where the facts are.

    Attributes:
        kafka: librdkafka settings, at least `bootstrap.servers`.
        topics: stream name -> Kafka topic; streams left out are not judged.
        lake: catalog and store.
        ledgers: the simulator's ledgers, in the order of playing; `summary` a ledger of `gen.py`.
        vault: the database of the embedded vault, its key files beside it; without it no sealed cell is opened.
        models: folders of the models that scores may be of, the one in force first.
        intensive_care: patterns of the wards that are that, where the site names them.
    """

    kafka: Mapping[str, object] = field(repr=False)
    topics: Mapping[str, str]
    lake: LakePlace
    ledgers: tuple[Path, ...] = ()
    summary: Path | None = None
    horizon_s: int = 172_800
    vault: Path | None = None
    models: tuple[Path, ...] = (BUILT_IN,)
    intensive_care: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found wrong, and how much of everything there was."""

    findings: tuple[Finding, ...]
    counts: Mapping[str, int]

    @property
    def passed(self) -> bool:
        return not self.findings

    @property
    def totals(self) -> dict[str, int]:
        """How many things are wrong under each heading."""
        return {h: sum(found.count for found in self.findings if found.heading == h) for h in HEADINGS}

    def report(self) -> str:
        """For people: counts, each finding, and the totals in the last line."""
        lines = [f"{name:.<40} {count:>12,}" for name, count in self.counts.items()]
        lines += [
            f"WRONG {f.heading}: {f.count:,} x {f.what} {f'(first: {f.where})' if f.where else ''}"
            for f in self.findings
        ]
        return "\n".join([*lines, " ".join(f"{name}={count}" for name, count in self.totals.items())])


def collect(places: Places) -> History:
    """Read ledger, Kafka and lake, each from its own place. Raises what the readers raise."""
    streams = {name: read_topic(places.kafka, name, topic, READERS[name]) for name, topic in places.topics.items()}
    tables = read_lake(places.lake, [*(OWN_TABLE[name] for name in places.topics), REJECTS, DUPLICATES])
    return History(
        streams,
        tables,
        tuple(read_ledger(path) for path in places.ledgers),
        read_summary(places.summary) if places.summary else None,
        places.horizon_s * 1_000_000,
        read_vault(places.vault) if places.vault else None,
        tuple(map(read_model, places.models)) if SCORES in places.topics else (),
        places.intensive_care,
    )


def judge(history: History) -> Verdict:
    """Check everything that can be checked on a history."""
    return Verdict(tuple(check(history)), _counts(history))


def examine(places: Places) -> Verdict:
    """Collect and judge."""
    return judge(collect(places))


def _counts(history: History) -> dict[str, int]:
    counts = {}
    if history.ledgers:
        counts["sent, by the ledgers"] = sum(len(ledger.sent) for ledger in history.ledgers)
    if history.summary:
        counts["sent, by the summary ledger"] = history.summary.messages
    counts |= {f"{name}: messages in Kafka": len(stream.log) for name, stream in history.streams.items()}
    counts |= {f"{name}: rows in Iceberg": len(table.rows) for name, table in history.tables.items()}
    return counts
