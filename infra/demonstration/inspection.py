"""What stands in the lake when the ward is played out: the gates' verdicts, what was derived, answers to questions.

Holds: the run that Dagster is asked for, and the questions asked of DuckDB.
Does not hold: a gate, or any SQL of a derived table (assets, warehouse).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from operator import itemgetter
from typing import Any

from infra.services.environment import environment_of
from infra.simulator.hospital import STREAMS
from warehouse.analytics import Analytics
from warehouse.contract import TableContract, load_contracts
from warehouse.named_queries import named_query
from warehouse.settings import Settings

OWN_TABLES = ("vitals", "wearables", "labs", "adt_events", "medication_events")
"""Where the ward's messages become rows."""
RUN_SECONDS = 120
SHOWN_QUESTION = "alerts_by_rule"


@dataclass(frozen=True, slots=True)
class DayVerdict:
    """The newest verdicts on one day.

    Attributes:
        tables, expectations, rows: how many of each were judged.
        failed: `table: expectation` for each that was not met.
    """

    day: date
    tables: int
    expectations: int
    failed: list[str]
    rows: int

    @property
    def passed(self) -> bool:
        return not self.failed


class Inspection:
    """Questions to the lake, each answered by the product's own read-only session."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._analytics = Analytics(settings)

    def days(self) -> list[date]:
        """The days of event time that `vitals` has."""
        return [row["day"] for row in self._rows("SELECT DISTINCT event_time::DATE AS day FROM vitals ORDER BY day")]

    def judge(self, days: Sequence[date], between: Callable[[int], None]) -> list[date]:
        """Have Dagster judge these days of every table that has rows of them, and derive what is made of them; those
        whose run did not succeed. `between` is called while waiting, with how many days are over."""
        home = self._settings.home
        environment = {**os.environ, **environment_of(self._settings), "DAGSTER_HOME": str(home / "dagster")}
        work = [f"{day.isoformat()}={','.join(self._work_of(day))}" for day in days]
        said = home / "run" / "demonstration-judged.jsonl"
        with (home / "run" / "demonstration-dagster.log").open("ab") as log, said.open("wb") as stdout:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "assets.judging", *work],
                env={**environment, "DAGSTER_DISABLE_TELEMETRY": "1"},
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for us: we end it
            )
        try:
            while process.poll() is None:
                between(len(said.read_text().splitlines()))
        finally:
            process.kill()
            process.wait()
        runs = [json.loads(line) for line in said.read_text().splitlines()]
        succeeded = {run["day"] for run in runs if run["succeeded"]}
        return [day for day in days if day.isoformat() not in succeeded]

    def _work_of(self, day: date) -> list[str]:
        """Asset keys of the gates of the tables that have rows of a day, and of all that is made of these."""
        contracts = load_contracts(own=self._settings.contracts)
        found = {table.name for table in contracts.tables() if table.gated and self._has_rows(table, day)}
        gates = [f"quality/{name}" for name in sorted(found)]
        derived = [table for table in contracts.tables() if table.derived]
        while due := [table for table in derived if table.name not in found and table.derived_from[0] in found]:
            found |= {table.name for table in due}
        return gates + [f"lake/{table.name}" for table in derived if table.name in found]

    def _has_rows(self, table: TableContract, day: date) -> bool:
        assert table.partitioning is not None, "a table with a gate has days"
        return bool(self._rows(f"SELECT 1 FROM {table.name} WHERE {table.partitioning.column}::DATE = '{day}' LIMIT 1"))

    def verdicts(self) -> list[DayVerdict]:
        """The newest verdict of each table on each day, told by day."""
        newest = self._rows(
            "SELECT day, table_name, expectations, failed, rows FROM quality_results "
            "QUALIFY row_number() OVER (PARTITION BY table_name, day ORDER BY evaluated_at DESC) = 1 "
            "ORDER BY day, table_name"
        )
        return [_day_verdict(day, list(rows)) for day, rows in groupby(newest, key=itemgetter("day"))]

    def counts(self) -> dict[str, int]:
        """Rows of the tables a message of the ward can end in, and of its alerts."""
        played = f"WHERE stream IN ({', '.join(repr(stream) for stream in STREAMS)})"
        questions = dict.fromkeys((*OWN_TABLES, "alerts", "alerts_withheld", "scores"), "")
        questions |= dict.fromkeys(("rejects", "duplicates"), played)
        return {
            table: self._rows(f"SELECT count(*) AS n FROM {table} {where}")[0]["n"]
            for table, where in questions.items()
        }

    def rejects_by_reason(self) -> dict[str, int]:
        rows = self._rows("SELECT reason, count(*) AS n FROM rejects GROUP BY reason ORDER BY n DESC, reason")
        return {row["reason"]: row["n"] for row in rows}

    def shown_question(self) -> tuple[str, list[dict[str, Any]]]:
        """One kept question and its answer."""
        return named_query(SHOWN_QUESTION).question, self._rows(named_query(SHOWN_QUESTION).sql)

    def close(self) -> None:
        self._analytics.close()

    def _rows(self, sql: str) -> list[dict[str, Any]]:
        return self._analytics.query(sql).table.to_pylist()


def _day_verdict(day: date, rows: list[dict[str, Any]]) -> DayVerdict:
    failed = [f"{row['table_name']}: {name}" for row in rows for name in row["failed"]]
    return DayVerdict(
        day, len(rows), sum(row["expectations"] for row in rows), failed, sum(row["rows"] for row in rows)
    )


def as_json(value: object) -> str:
    """JSON of the summary; days and times as ISO 8601."""
    return json.dumps(value, default=str)
