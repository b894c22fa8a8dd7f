"""The decision in SQL is the decision in words, and tables without a person or a time serve no consented purpose."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from tests.warehouse.consent.made import CATEGORIES, SCHEMA, STREAMS, at, history, registry, rows
from warehouse.consent.decision import ALL, BLANKS, EVERYTHING, GRANT, Provision, folded, permits_use
from warehouse.consent.filters import (
    PurposeError,
    consented_rows,
    decisions_sql,
    purpose,
    serves,
    streams_behind,
)
from warehouse.consent.filters import _folded as in_sql
from warehouse.consent.histories import provisions
from warehouse.contract import load_contracts

CONTRACTS = load_contracts()
GRANTED = Provision(GRANT, "research", ALL, at(1), at(1))


def shown(told: pa.Table, rows: pa.Table, *of: tuple[str, str], now) -> list[int]:
    """The numbers of the rows that SQL leaves."""
    with duckdb.connect(":memory:") as session:
        session.execute("SET TimeZone = 'UTC'")
        session.register("said_so_far", told)
        session.register("readings", rows)
        for n, (category, stream) in enumerate(of):
            made = decisions_sql("said_so_far", category, stream, STREAMS, now)
            session.execute(f"CREATE TEMP TABLE decided_{n} AS {made}")
        select = consented_rows("readings", "event_time", [f"decided_{n}" for n in range(len(of))])
        return sorted(row[0] for row in session.execute(f"SELECT n FROM ({select})").fetchall())


@pytest.mark.parametrize("seed", range(6))
def test_sql_leaves_the_rows_that_the_words_permit(seed: int) -> None:
    dice = random.Random(seed)
    told = [(f"t{number:03d}", history(dice)) for number in range(300)]
    category, stream, now = dice.choice(CATEGORIES), dice.choice(STREAMS), at(12)
    asked = [(token, h, at(dice.randrange(12)) + timedelta(seconds=dice.choice((-1, 0, 1)))) for token, h in told * 3]
    rows = pa.table(
        {
            "n": np.arange(len(asked)),
            "subject_token": [token for token, _, _ in asked],
            "event_time": pa.array([moment for _, _, moment in asked], pa.timestamp("us", "UTC")),
        }
    )
    permitted = [n for n, (_, h, moment) in enumerate(asked) if permits_use(h, category, stream, moment, now)]
    assert shown(registry(*told), rows, (category, stream), now=now) == permitted
    assert 20 < len(permitted) < len(asked)
    both = [n for n in permitted if permits_use(asked[n][1], category, STREAMS[stream == STREAMS[0]], asked[n][2], now)]
    of = [(category, each) for each in STREAMS]
    assert shown(registry(*told), rows, *of, now=now) == both


def test_sql_and_words_fold_every_letter_alike() -> None:
    words = [f"{c}A{c}" for c in map(chr, range(1, 0x3100))] + [f"{blank}ALL{blank}" for blank in BLANKS]
    with duckdb.connect(":memory:") as session:
        session.register("asked", pa.table({"word": words}))
        for word, there in session.execute(f"SELECT word, {in_sql('word')} FROM asked").fetchall():
            assert folded(word) == (ALL if there in EVERYTHING else there), [hex(ord(c)) for c in word]


@pytest.mark.parametrize("word", ["research\u00a0", "RESEARCH\u2009", "Forschung", "research\u200b", "R\u0130SEARCH"])
def test_who_revokes_in_other_letters_or_a_word_nobody_knows_is_not_shown(word: str) -> None:
    granted = {**rows([GRANTED])[0], "category": "Research "}
    revoked = {**granted, "action": "REVOKE", "category": word, "provision_time": at(5)}
    readings = pa.table({"n": [0], "subject_token": ["t1"], "event_time": pa.array([at(3)], pa.timestamp("us", "UTC"))})
    of = ("research", STREAMS[0])
    for told, left in (([granted], [0]), ([granted, revoked], [])):
        assert shown(pa.Table.from_pylist(told, SCHEMA), readings, of, now=at(9)) == left
        assert permits_use(provisions(told, STREAMS), *of, at(3), at(9)) is bool(left)


@pytest.mark.parametrize("action", ["GRANT", "REVOKE"])
def test_a_word_of_a_clock_that_is_ahead_takes_away_at_once_and_gives_later(action: str) -> None:
    before = [GRANTED] if action == "REVOKE" else [GRANTED, replace(GRANTED, action="REVOKE", at=at(2))]
    history = [*before, replace(GRANTED, action=action, at=at(6) + timedelta(minutes=50))]
    readings = pa.table({"n": [0], "subject_token": ["t1"], "event_time": pa.array([at(1)], pa.timestamp("us", "UTC"))})
    of, told = ("research", STREAMS[0]), registry(("t1", history))
    assert shown(told, readings, of, now=at(6)) == []
    later = at(6) + timedelta(minutes=51)
    assert shown(told, readings, of, now=later) == ([0] if action == "GRANT" else [])
    for now in (at(6), later):
        assert permits_use(history, *of, at(1), now) is bool(shown(told, readings, of, now=now))


def test_a_row_about_nobody_is_not_shown() -> None:
    rows = pa.table({"n": [0], "subject_token": pa.array([None], pa.string()), "event_time": [at(3)]})
    assert shown(registry(), rows.cast(_ROW), ("research", STREAMS[0]), now=at(12)) == []


_ROW = pa.schema({"n": pa.int64(), "subject_token": pa.string(), "event_time": pa.timestamp("us", "UTC")})


def test_a_purpose_sees_tables_whose_contracts_name_it() -> None:
    def seen(name: str) -> set[str]:
        wanted = purpose(name, at(0))
        return {table.name for table in CONTRACTS.tables() if serves(CONTRACTS, table, wanted)}

    assert {"vitals", "labs", "stays", "vitals_by_hour"} <= seen("research") <= seen("care") | {"research_cohort"}
    assert {"rejects", "ward_summary", "population_by_day"} <= seen("care")
    assert not {"rejects", "ward_summary", "population_by_day", "consent_updates"} & seen("research"), (
        "a table that does not say whom a row is about cannot leave anybody out"
    )
    assert seen("marketing") == set()


def test_a_derived_table_needs_consent_to_every_stream_behind_it() -> None:
    assert streams_behind(CONTRACTS, CONTRACTS.table("vitals_by_hour")) == ("device.vitals",)
    assert streams_behind(CONTRACTS, CONTRACTS.table("sensor_faults")) == ("device.vitals", "iot.patient")


def test_a_word_that_is_no_purpose_is_refused_with_those_there_are() -> None:
    with pytest.raises(PurposeError, match="care, operations, payment, research, marketing"):
        purpose("fun", at(0))
