"""Days of derived tables made again and held against what is kept; nothing is written."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from assets.derive import derive
from assets.gate import run_gate
from assets.replay import NotReplayableError, Replay, Request, replay
from tests.assets.conftest import Lake
from tests.expectations.day import DAY, good_rows, reading
from warehouse.catalog import open_catalog
from warehouse.contract import load_contracts
from warehouse.vocabulary import HEART_RATE

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)


def asked(lake: Lake, table: str, **options: object) -> Replay:
    request = Request(table, (DAY,), who="test", why="a test of replay", **options)  # ty: ignore[invalid-argument-type]
    return replay(lake.settings, load_contracts(), request)


def told(result: Replay) -> set[tuple[str, str | None, int]]:
    return {(each.kind, each.column, each.rows) for table in result.tables for each in table.differences}


def test_a_derived_day_is_made_again_from_what_is_released(lake: Lake) -> None:
    lake.commit([*good_rows(), *(reading(60 + n, HEART_RATE, numeric_value=80.1 + n) for n in range(3))])
    unreleased = asked(lake, "vitals_by_minute")
    assert (unreleased.equal, unreleased.complete, len(unreleased.refused)) == (True, False, 1)

    assert run_gate(lake.settings, "vitals", DAY, now=NOW).passed
    for table in ("vitals_by_minute", "vitals_by_hour"):
        derive(lake.settings, load_contracts(), table, [DAY])
        result = asked(lake, table)
        assert (told(result), result.equal, result.complete) == (set(), True, True)
        assert result.derived[0].kept == result.derived[0].rebuilt != {DAY: 0}

    table = open_catalog(lake.settings).load_table((lake.settings.namespace, "vitals_by_minute"))
    rows = table.scan().to_arrow()
    at = rows.schema.get_field_index("mean")
    changed = rows["mean"].to_pylist()
    changed[0] += 1.0
    changed[1] *= 1 + 1e-13
    table.overwrite(rows.set_column(at, rows.schema.field(at), [changed]).slice(0, rows.num_rows - 1))
    result = asked(lake, "vitals_by_minute")
    assert told(result) == {("column", "mean", 1), ("missing", None, 1)}
    assert all(each.examples == () for each in result.derived[0].differences), "its key names people"
    again = open_catalog(lake.settings).load_table((lake.settings.namespace, "vitals_by_minute")).scan().to_arrow()
    assert again.num_rows == rows.num_rows - 1, "nothing was written"


def test_what_nothing_makes_again_is_said_with_the_way_out(lake: Lake) -> None:
    with pytest.raises(NotReplayableError, match="materialise lake/vitals_by_minute for those days"):
        asked(lake, "vitals_by_minute", swap=True)
    with pytest.raises(NotReplayableError, match="quality_results"):
        asked(lake, "quality_results")
    with pytest.raises(NotReplayableError, match="belongs to several streams"):
        asked(lake, "rejects", swap=True)
