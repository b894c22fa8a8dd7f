"""A stream's topic read to its end into its tables, in this process: the graph's steps and the fence, without Beam."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping

from confluent_kafka import Producer

from pipelines.lake_rows import duplicate_rows, raw_rows, reject_rows, table_rows
from pipelines.rebuild import read_from_kafka
from pipelines.restore import Restorer, open_table, refuse_other_tokens
from pipelines.source import read_topic_facts
from warehouse.analytics import Analytics
from warehouse.contract import load_contracts
from warehouse.offsets import Interval
from warehouse.settings import Settings
from warehouse.vault import open_vault

Message = tuple[str | None, Mapping[str, object] | bytes | None]
"""key, and what is said: an object, or bytes as they are"""


def send(settings: Settings, stream: str, messages: Iterable[Message], **options: object) -> None:
    """Produce messages as front doors do, acknowledged."""
    producer = Producer(settings.kafka(partitioner="murmur2_random", **options))
    for key, said in messages:
        value = json.dumps(said) if isinstance(said, Mapping) else said
        producer.produce(settings.topic(stream), key=key, value=value)
    assert producer.flush(30) == 0


def ingest(settings: Settings, stream: str) -> None:
    """What the stream would have put into its tables by now, in one commit a table and batch."""
    contracts = load_contracts(own=settings.contracts)
    vault = open_vault(settings.vault_uri, time.monotonic)
    refuse_other_tokens(settings, vault, contracts)
    made = {"rejects": reject_rows, "raw_messages": raw_rows}
    with Analytics(settings) as analytics:
        restorer = Restorer(settings, contracts, vault, analytics)
        facts = read_topic_facts(settings, (stream,))
        starts = restorer.starts(facts)[stream]
        steps = restorer.steps(facts[stream], starts)
        ranges = {p: (starts[p], high) for p, (_, high) in facts[stream].ranges.items()}
        tables = [(table, open_table(settings, table.name)) for table in contracts.tables_of(stream)]
        for messages in read_from_kafka(settings, facts[stream], ranges):
            batch, now_us = steps.all(messages), time.time_ns() // 1000
            spans = [Interval(messages.topic_id, p, *span) for p, span in messages.intervals.items()]
            for table, fenced in tables:
                rows_of = made.get(table.name, table_rows)
                rows = (
                    duplicate_rows(batch, table, now_us)
                    if table.name == "duplicates"
                    else rows_of(batch, vault, table, now_us)
                )
                fenced.commit(rows, spans)
    vault.close()
