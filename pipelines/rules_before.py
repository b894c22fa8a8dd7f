"""What the rules must remember of before a position, from the lake's answers and from the alerts on Kafka.

Holds: which past alerts belong to the state and which are known to be sent, and the rebuilding of a monitor.
Does not hold: the questions (`warehouse/history.py`), the reading of Kafka (`restore.py`), or the rules.

An alert whose triggering row lies at or above the position is no state: it is decided again, and by its id not sent
twice. Rules over several streams are the exception: a restart may meet the rows of two topics in another order than
before, and find the same a moment sooner or later, under another id. So their alerts are all remembered, those beyond
the position too, and what is found again belongs to the episode that is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.clinical import glucose, shock_trend
from pipelines.clinical.cases import KEPT as CASES_KEPT
from pipelines.clinical.monitor import KNOWN, LABS, MEDICATION, VITALS, WEARABLES, WardMonitor
from pipelines.clinical.remembered import Remembered
from pipelines.clinical.results import KEPT as ORDERS_KEPT
from pipelines.clinical.rulebook import ACROSS_STREAMS, NAMES
from pipelines.clinical.sepsis.history import REACH_H
from pipelines.clinical.sepsis.stream_score import RULE as SEPSIS
from pipelines.clinical.signals import ANALYTES, INDEX
from pipelines.clinical.sofa import VASOPRESSORS
from warehouse import history
from warehouse.analytics import Analytics
from warehouse.subjects import is_of
from warehouse.vocabulary import CGM_GLUCOSE, HEART_RATE, MAP

FORGET_AFTER = timedelta(days=7)
SCORED_ANEW = timedelta(hours=REACH_H + 1)
"""An alert of the model that is older than this, before a patient's newest one, is not taken back any more."""
Watched = Mapping[str, tuple[str, dict[int, int]]]
"""stream -> its topic's id, and the offset of each partition from which it is read again"""
_ACROSS = frozenset((*(NAMES[rule] for rule in ACROSS_STREAMS), SEPSIS))

_MOMENT = pa.timestamp("us", "UTC")
_PAST = pa.schema(
    [
        ("alert_id", pa.string()),
        ("rule", pa.string()),
        ("rule_version", pa.string()),
        ("model", pa.string()),
        ("severity", pa.string()),
        ("subject_token", pa.string()),
        ("level", pa.int64()),
        ("episode_start", _MOMENT),
        ("effective_at", _MOMENT),
        ("evidence", pa.list_(pa.string())),
        ("retracts", pa.string()),
        ("withheld_because", pa.string()),
    ]
)


class AlertsBefore:
    """Collects alerts, parted by where their triggering rows lie. `beyond`: (alert stream, id) of those decided
    again."""

    def __init__(self, watched: Watched) -> None:
        self._watched = dict(watched.values())
        self._past: list[pa.Table] = []
        self.beyond: set[tuple[str, str]] = set()

    def take_table(self, analytics: Analytics, stream: str, table: str) -> None:
        """What the stream's table has."""
        for topic_id, at in self._watched.items():
            if any(at.values()):  # else no alert's row lies below
                self._past.append(_past(history.last_alerts_below(analytics, table, topic_id, at)))
                self._past.append(_past(history.alerts_with_evidence(analytics, table, topic_id, at, CASES_KEPT)))
                scored = history.alerts_of_rule_below(analytics, table, topic_id, at, SEPSIS, SCORED_ANEW)
                self._past.append(_past(scored))
        self._note_beyond(stream, history.alerts_from(analytics, table, self._watched))

    def take_topic(self, stream: str, rows: pa.Table) -> None:
        """Decoded messages that stand on Kafka behind the table."""
        for topic_id, at in self._watched.items():
            below, beyond = _parted(_of(rows, topic_id, at), at)
            self._past.append(_past(below))
            self._note_beyond(stream, beyond)

    def _note_beyond(self, stream: str, rows: pa.Table) -> None:
        self.beyond.update((stream, alert_id) for alert_id in rows["alert_id"].to_pylist())
        across = pc.is_in(rows["rule"].cast(pa.string()), pa.array(sorted(_ACROSS)))
        self._past.append(_past(rows.filter(across)))

    def past(self) -> pa.Table:
        """As `WardMonitor.restore` asks for it."""
        return pa.concat_tables(self._past) if self._past else _PAST.empty_table()


def rebuilt(empty: Callable[[], WardMonitor], analytics: Analytics, watched: Watched, past: pa.Table) -> WardMonitor:
    """A monitor that is what it was. `empty`: makes one that knows nothing.

    Of most patients with alerts the last minutes tell how things stand; of those of whom they do not, a second look
    goes as far back as anything may count. To go that far with everybody would take the longer the busier the house.
    """
    monitor = empty()
    others = _other_streams(monitor, analytics, watched, past)
    everybody = set(pc.unique(past["subject_token"]).to_pylist())
    # Rules over several streams look at results of hours ago, and need the readings of their time.
    far = everybody & set(pc.unique(others.results["subject_token"].cast(pa.string())).to_pylist())
    vitals, codes = watched[VITALS], list(INDEX)
    since = history.positions_since(analytics, *vitals, monitor.glance)

    def readings(far: set[str]) -> pa.Table:
        near = sorted(everybody - far)
        rows = history.readings_below(
            analytics, *vitals, codes, sorted(far), monitor.lookback, FORGET_AFTER, near, since
        )
        return rows.append_column(KNOWN, pa.array(_before(rows, since) & ~is_of(rows, "subject_token", far).to_numpy()))

    unsure = monitor.restore(readings(far), past, others) - far
    if unsure:
        monitor = empty()
        monitor.restore(readings(far | unsure), past, others)
    return monitor


def _before(rows: pa.Table, since: Mapping[int, int]) -> np.ndarray:
    """bool[n]: which rows lie below the positions."""
    partitions = rows["kafka_partition"].to_numpy().astype(np.int64)
    return rows["kafka_offset"].to_numpy() < _by_partition(since, partitions)[partitions]


def _by_partition(at: Mapping[int, int], partitions: np.ndarray) -> np.ndarray:
    """The positions, at the places of their partitions; 0 for others."""
    floors = np.zeros(max(*at, 0, int(partitions.max(initial=0))) + 1, np.int64)
    floors[list(at)] = list(at.values())
    return floors


def _other_streams(monitor: WardMonitor, analytics: Analytics, watched: Watched, past: pa.Table) -> Remembered:
    """What is remembered of the other streams, by one question a table."""
    alerted = pc.unique(past["subject_token"]).to_pylist()
    others = {}
    if LABS in watched:
        codes = [analyte.code for analyte in ANALYTES]
        most = 2 * ORDERS_KEPT
        others["results"] = history.results_below(
            analytics, *watched[LABS], codes, alerted, most, monitor.policy.lapse, FORGET_AFTER
        )
    if WEARABLES in watched:
        lookback = glucose.LOOKBACK + monitor.policy.lapse
        others["samples"] = history.samples_below(analytics, *watched[WEARABLES], CGM_GLUCOSE, lookback, FORGET_AFTER)
    if MEDICATION in watched:
        others["medication"] = history.medication_below(analytics, *watched[MEDICATION], list(VASOPRESSORS))
    windows = (shock_trend.WINDOW_MS, shock_trend.KEPT)
    others["windows"] = history.windows_below(analytics, *watched[VITALS], HEART_RATE, MAP, *windows)
    return Remembered(**others)


def _past(rows: pa.Table) -> pa.Table:
    """What the monitor asks of a past alert, in one form: tables know no reason for sending, only for withholding."""
    columns = [
        rows[field.name].cast(field.type) if field.name in rows.column_names else pa.nulls(len(rows), field.type)
        for field in _PAST
    ]
    return pa.table(columns, schema=_PAST)


def _of(rows: pa.Table, topic_id: str, at: dict[int, int]) -> pa.Table:
    """The alerts that rows of this topic and these partitions gave rise to."""
    ours = pc.is_in(rows["source_partition"], pa.array(sorted(at), rows["source_partition"].type))
    return rows.filter(pc.and_(pc.equal(rows["source_topic_id"], topic_id), ours))


def _parted(rows: pa.Table, at: dict[int, int]) -> tuple[pa.Table, pa.Table]:
    """The rows whose triggering row lies below `at`, and the others."""
    partitions = rows["source_partition"].to_numpy().astype(np.int64)
    below = rows["source_offset"].to_numpy() < _by_partition(at, partitions)[partitions]
    return rows.filter(pa.array(below)), rows.filter(pa.array(~below))
