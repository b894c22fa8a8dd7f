"""What Dagster keeps of a failure: where and what kind, never a patient's value."""

from __future__ import annotations

from datetime import date

import dagster as dg
import duckdb
import pytest

from assets import derive, gate
from assets.failures import WithheldError, without_values
from tests.assets.conftest import Lake
from tests.assets.test_runs import GATE, MINUTES, NOW, run
from tests.expectations.day import DAY, good_rows
from warehouse.release import DayNotReleasedError

CANARY = "CANARYPATIENT"


def quote_a_value(*_: object) -> None:
    """DuckDB's own error about a value it cannot convert: it quotes it."""
    duckdb.sql(f"SELECT CAST('{CANARY}' AS INTEGER)").fetchall()


def quote_a_value_behind_our_own(*_: object) -> None:
    try:
        quote_a_value()
    except duckdb.Error as error:
        raise DayNotReleasedError("vitals: the day could not be read") from error


def day_of_a_value() -> date:
    return date.fromisoformat(CANARY)


def stored(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> str:
    return "".join(dg.serialize_value(entry) for entry in instance.all_logs(result.run_id))


def test_the_planted_error_does_quote_the_value() -> None:
    with pytest.raises(duckdb.ConversionException, match=CANARY):
        quote_a_value()


@pytest.mark.parametrize("failing", [quote_a_value, quote_a_value_behind_our_own], ids=["its own", "as a cause"])
def test_the_gate_s_failure_quotes_nobody(lake: Lake, defs, instance, monkeypatch, failing) -> None:
    lake.commit(good_rows())
    monkeypatch.setattr(gate, "validate_day", failing)
    result = run(defs, instance, GATE)
    log = stored(instance, result)
    assert not result.success
    assert CANARY not in log
    assert ("ConversionException at" in log) == (failing is quote_a_value)
    assert ("could not be read" in log) == (failing is not quote_a_value)


def test_the_roll_up_s_failure_quotes_nobody(lake: Lake, defs, instance, monkeypatch) -> None:
    lake.commit(good_rows())
    gate.run_gate(lake.settings, "vitals", DAY, now=NOW)
    monkeypatch.setattr(derive, "rolled_up", quote_a_value)
    result = run(defs, instance, MINUTES)
    log = stored(instance, result)
    assert not result.success
    assert "ConversionException at" in log
    assert CANARY not in log


def test_the_place_named_is_the_last_line_of_ours() -> None:
    with pytest.raises(WithheldError, match=r"builtins.ValueError at .*test_failures") as caught:
        without_values(day_of_a_value)
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None
