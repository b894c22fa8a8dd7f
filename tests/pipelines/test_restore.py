"""The rules' state after a restart, read from a real lake, against a monitor that never stopped."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pyarrow as pa
import pytest

from pipelines.clinical.monitor import WardMonitor
from pipelines.clinical.signals import INDEX
from pipelines.rules_before import FORGET_AFTER, rebuilt
from pipelines.state import ProcessState
from tests.pipelines.clinical.streams import past as as_told
from tests.pipelines.clinical.test_monitor import least_past
from tests.pipelines.clinical.wards import as_past, eventful, reading, table
from tests.warehouse.fenced import new_table
from warehouse import history
from warehouse.analytics import Analytics
from warehouse.commit import FencedTable
from warehouse.contract import load_contracts
from warehouse.offsets import Interval
from warehouse.tables import arrow_schema

TOPIC = "topic"


def commit(settings, rows: pa.Table) -> None:
    """The rows of one partition, as rows of `vitals`."""
    catalog, identifier = new_table(settings)
    schema = arrow_schema(load_contracts().table("vitals"))
    told = {name: rows[name].combine_chunks() for name in rows.column_names}
    told["event_id"] = pa.array([str(offset) for offset in rows["kafka_offset"].to_pylist()])
    told["topic_id"] = pa.array([TOPIC] * len(rows))
    told["ingest_time"] = told["kafka_time"]
    columns = [
        told[field.name].cast(field.type) if field.name in told else pa.nulls(len(rows), field.type) for field in schema
    ]
    fenced = FencedTable(catalog, identifier, writer="test")
    fenced.establish(TOPIC, {0: 0})
    fenced.commit(pa.Table.from_arrays(columns, schema=schema), [Interval(TOPIC, 0, 0, len(rows))])


TURN = 600
SLIGHTLY_OFF = {"9279-1": (16.0, 11.0), "59408-5": (97.0, 94.0), "8480-6": (120.0, 104.0), "8867-4": (80.0, 100.0)}


def unsettled(seed, patients=8):
    """Patients of whom four signals score 0 or 1 at random and a fifth 0, so that none is alerted on; from `TURN` on
    the fifth scores 1 too, and what the four were last decides. Every third reading is dated 50 minutes ahead."""
    rng = np.random.default_rng(seed)
    readings = []
    for offset in range(TURN + 10 * patients):
        token, minute = f"t{rng.integers(patients)}", offset / 20
        code, value = "8310-5", 38.5 if offset >= TURN else 37.0
        if offset < TURN and offset % 5:
            code = list(SLIGHTLY_OFF)[offset % 5 - 1]
            value = SLIGHTLY_OFF[code][int(rng.random() < 0.7)]
        ahead = 50.0 if rng.random() < 1 / 3 else 0.0
        readings.append(reading(token, code, value, minute - 0.01 + ahead, offset, appended=minute))
    return readings


@pytest.mark.parametrize(
    ("readings", "stops"),
    [(eventful(4), range(40, 600, 80)), (eventful(5), range(40, 600, 80)), (unsettled(0), (TURN - 7, TURN))],
    ids=["eventful", "with stragglers", "well so far"],
)
def test_at_any_position_the_lake_gives_back_the_state_of_never_having_stopped(settings, readings, stops):
    assert sum(r["event"] > r["appended"] for r in readings) > 20, "the ward must try clocks that are ahead"
    commit(settings, table(readings))
    told = 0
    with Analytics(settings) as session:
        for stop in stops:
            going, restored = WardMonitor(), WardMonitor()
            past = least_past(going.observe(table(readings[:stop])))
            alerted = sorted({alert.subject_token for alert in past})
            rows = history.readings_below(
                session, TOPIC, {0: stop}, list(INDEX), alerted, restored.lookback, FORGET_AFTER
            )
            restored.restore(rows, as_past(past))
            rest = table(readings[stop:])
            expected = going.observe(rest)
            assert restored.observe(rest) == expected, stop
            told += len(expected)
            at_a_glance = rebuilt(WardMonitor, session, {"device.vitals": (TOPIC, {0: stop})}, as_told(past))
            assert at_a_glance.observe(rest) == expected, stop
    assert told, "a ward without alerts shows nothing"


def test_a_start_is_refused_no_answer_for_its_size(settings, monkeypatch):
    """A bound that a hospital outgrows would keep its stream from ever starting again."""
    commit(settings, table(eventful(4)))
    monkeypatch.setattr("warehouse.analytics.ANSWER_BYTES", 1)
    analytics = ProcessState(settings)._restorer()._analytics
    with closing(analytics):
        rows = history.readings_below(analytics, TOPIC, {0: 600}, ["8867-4"], ["t0"], FORGET_AFTER, FORGET_AFTER)
    assert len(rows) > 1
