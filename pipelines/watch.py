"""What watches the patients of a shard: its monitors are shown every batch, and their alerts are on Kafka before it
goes on.

Holds: who is shown what, the ticks, and the reloading of rule packs between batches.
Does not hold: what a monitor finds (`pipelines/clinical/monitor.py`), the sending (`alert_sending.py`), or the order of
things around it (`state.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import pyarrow as pa

from pipelines.alert_producer import AlertProducer
from pipelines.alert_sending import AlertSender
from pipelines.alerts.bedside import ADMISSIONS
from pipelines.alerts.message import Alert
from pipelines.batch import MessageBatch, StreamBatch
from pipelines.clinical.monitor import VITALS
from pipelines.rule_folder import RuleFolder
from pipelines.score_watch import ScoreWatch
from pipelines.shards import ShardState
from warehouse.settings import Settings

TICK_S = 1.0
_FRESH_S = 5.0


class Watch:
    """The process's: one producer and one set of rule packs for all its shards."""

    def __init__(self, settings: Settings, producer: Callable[[], AlertProducer]) -> None:
        self._settings, self._alerts = settings, AlertSender(settings, producer)
        self.scores = ScoreWatch(settings, producer)
        self._decided_ms: dict[tuple[str, str, int], int] = {}
        """(shard, stream, partition) -> the latest append time of what was decided on."""
        self._ticked_at: dict[str, float] = {}

    @cached_property
    def rules(self) -> RuleFolder:
        return RuleFolder(self._settings.rules, time.monotonic)

    def show(self, state: ShardState, batch: StreamBatch) -> None:
        """Show the batch to who wants it. Returns when the broker has every alert that came of it."""
        stream = batch.messages.stream
        monitors = [monitor for monitor in state.monitors if stream in monitor.streams]
        if (monitors or self.scores.wants(state, stream)) and batch.rows is not None and batch.rows.num_rows:
            now, rows = datetime.now(UTC), monitored(batch)
            for monitor in monitors:
                self._tell(state, monitor.observe(rows, now, stream), stream, now)
            self.scores.show(state, stream, rows, now)
        if stream == ADMISSIONS and batch.rows is not None:
            state.take_admissions(batch)
        self._note_decided(state.shard.id, batch.messages)

    def turn(self, state: ShardState) -> None:
        """Between two batches: newer rule packs, and what the passing of time alone causes."""
        if state.monitor is not None and self.rules.look(max(self._decided_ms.values(), default=0)):
            state.monitor.use(self.rules.packs)
        now = time.monotonic()
        if now - self._ticked_at.get(state.shard.id, 0.0) >= TICK_S and self._is_live(state):
            self._ticked_at[state.shard.id] = now
            self._tick(state)

    def _note_decided(self, shard_id: str, messages: MessageBatch) -> None:
        for partition in np.unique(messages.partitions).tolist():
            newest_ms = int(messages.appended_ms[messages.partitions == partition].max())
            place = shard_id, messages.stream, partition
            self._decided_ms[place] = max(self._decided_ms.get(place, 0), newest_ms)

    def _is_live(self, state: ShardState) -> bool:
        """Whether what was read last of every partition is of now: in a backlog, a replay, or a bounded run silence
        means nothing. One partition that is behind is enough: who is silent in another may speak there."""
        if not state.monitors or state.shard.until or state.reader.trouble:
            return False
        fresh_ms = (time.time() - _FRESH_S) * 1000
        return all(
            self._decided_ms.get((state.shard.id, stream, partition), 0) > fresh_ms
            for stream, partition in state.reader.lagging()
        )

    def _tick(self, state: ShardState) -> None:
        now = datetime.now(UTC)
        for monitor in state.monitors:
            self._tell(state, monitor.tick(now, state.bedsides.has_left), VITALS, now)
        self.scores.tick(state, now)

    def _tell(self, state: ShardState, decided: list[Alert], stream: str, now: datetime) -> None:
        self._alerts.send(state, ((stream, alert) for alert in decided), now)


def monitored(batch: StreamBatch) -> pa.Table:
    """The rows as the rules want them: each with its subject's token and its position."""
    messages, index = batch.messages, batch.row_index
    return (
        batch.rows.append_column("subject_token", batch.tokens.take(pa.array(index)))
        .append_column("kafka_partition", pa.array(messages.partitions[index]))
        .append_column("kafka_offset", pa.array(messages.offsets[index]))
        .append_column("kafka_time", pa.array(messages.appended_ms[index] * 1000, pa.timestamp("us", "UTC")))
    )
