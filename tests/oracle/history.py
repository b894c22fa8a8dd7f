"""All collected facts as plain tables: what the checks judge, and what the oracle's own test tampers with.

Holds: the shape of a history.
Does not hold: how it is collected (`ledger`, `kafka_log`, `lake`) or judged (`checks`).

Strings that repeat are dictionary-encoded; a million messages take about 1 GiB while they are judged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from .ledger import Ledger, Summary
from .score_models import ScoreModel
from .vault import Keys

VITALS, ALERTS, WITHHELD = "device.vitals", "clinical.alerts", "clinical.alerts.withheld"
SCORES = "clinical.scores"
WEARABLES, LABS, ADMISSIONS, MEDICATION = "iot.patient", "lab.results", "adt.events", "medication.events"
OWN_TABLE = {
    VITALS: "vitals",
    WEARABLES: "wearables",
    LABS: "labs",
    ADMISSIONS: "adt_events",
    MEDICATION: "medication_events",
    ALERTS: "alerts",
    WITHHELD: "alerts_withheld",
    SCORES: "scores",
}
SENT_STREAMS = (VITALS, WEARABLES, LABS, ADMISSIONS, MEDICATION)
UNJUDGED_STREAMS = (
    "alert.feedback",
    "clinical.scores",
    "lineage.events",
    "patient.consent.updates",
    "patient.data.deletions",
)
"""They share the tables of rejects and duplicates with those that are judged; scores are judged where collected."""
"""What the outside world sends, keyed by the patient; in all of them a patient has the same partition."""
HORIZONS_S = {WEARABLES: 604_800, LABS: 2_592_000, ADMISSIONS: 2_592_000, MEDICATION: 2_592_000}
"""How far apart two messages of one event may be, where it is not `History.horizon_us`."""
REJECTS, DUPLICATES = "rejects", "duplicates"

Vector = dict[str, dict[int, int]]
"""topic id -> partition -> next offset"""


@dataclass(frozen=True, slots=True)
class Stream:
    """A topic as Kafka holds it.

    Attributes:
        topic_id: KIP-516 id, as the rows name it.
        ends: partition -> (first offset, next offset).
        log: one row a message, sorted by partition and offset: `partition` int32, `offset` int64, `appended`
            timestamp[us, UTC], `person` (patient of the key, null for a device's), `digest` (sha256 of the value),
            `size`, and what the message says: the columns of its reader's schema (`reading`, `lab_result` and so on).
    """

    name: str
    topic_id: str
    ends: dict[int, tuple[int, int]]
    log: pa.Table


@dataclass(frozen=True, slots=True)
class LakeTable:
    """An Iceberg table at one snapshot: its rows, its vector, and its rows counted a second way.

    `trouble`: why it could not be read, where it could not; then it counts as having no rows.
    """

    name: str
    rows: pa.Table
    vector: Vector
    duckdb_count: int
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class History:
    """What the ledger, Kafka, the lake and DuckDB each say.

    `streams` and `tables` by name; a stream that was not collected is not judged. `ledgers` in the order of playing.
    `horizon_us`: how far apart by Kafka time two messages of one event may be and still have to be told as duplicates
    (`HORIZONS_S` for some streams). `keys`: what opens sealed cells; without them only their sizes are judged.
    `models`: those that scores may be of, the first where none says; without any, scores are not judged.
    `intensive_care`: patterns of the wards that are that; without any, by usual names.
    """

    streams: dict[str, Stream]
    tables: dict[str, LakeTable]
    ledgers: tuple[Ledger, ...] = ()
    summary: Summary | None = None
    horizon_us: int = 172_800 * 1_000_000
    keys: Keys | None = None
    models: tuple[ScoreModel, ...] = ()
    intensive_care: tuple[str, ...] = ()

    def horizon_of(self, stream: str) -> int:
        """Microseconds."""
        return HORIZONS_S[stream] * 1_000_000 if stream in HORIZONS_S else self.horizon_us


def positions(partitions: pa.ChunkedArray, offsets: pa.ChunkedArray) -> np.ndarray:
    """int64[n]: partition and offset of one topic as one number, in the log's order."""
    return (partitions.to_numpy().astype(np.int64) << 48) | offsets.to_numpy()


def log_positions(log: pa.Table) -> np.ndarray:
    """Positions of a stream's log."""
    return positions(log["partition"], log["offset"])


def row_positions(rows: pa.Table) -> np.ndarray:
    """Positions that rows of a lake table name."""
    return positions(rows["kafka_partition"], rows["kafka_offset"])


def where_in(sorted_positions: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """int64[n]: index of each wanted position, -1 where it is not there."""
    if not len(sorted_positions):
        return np.full(len(wanted), -1, np.int64)
    at = np.searchsorted(sorted_positions, wanted)
    at[at == len(sorted_positions)] = 0
    return np.where(sorted_positions[at] == wanted, at, -1)
