"""What stands in the lake when the ward is played out: the gate's verdict, a roll-up, answers to questions.

Holds: the run that Dagster is asked for, and the questions asked of DuckDB.
Does not hold: the gate, the roll-up or any SQL of a table (assets, warehouse).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from infra.services.environment import environment_of
from warehouse.analytics import Analytics
from warehouse.named_queries import named_query
from warehouse.settings import Settings

GATE_AND_ROLLUP = 'key:"quality/vitals" or key:"lake/vitals_by_minute"'
OWN_TABLES = ("vitals", "wearables", "labs", "adt_events", "medication_events")
"""Where the ward's messages become rows."""
RUN_SECONDS = 120
SHOWN_QUESTION = "alerts_by_rule"
_VERDICT = ("day", "passed", "expectations", "failed", "rows")


@dataclass(frozen=True, slots=True)
class DayVerdict:
    """The newest verdict on one day of `vitals`, and what was rolled up behind it."""

    day: date
    passed: bool
    expectations: int
    failed: list[str]
    rows: int
    minutes: int


class Inspection:
    """Questions to the lake, each answered by the product's own read-only session."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._analytics = Analytics(settings)

    def days(self) -> list[date]:
        """The days of event time that `vitals` has."""
        return [row["day"] for row in self._rows("SELECT DISTINCT event_time::DATE AS day FROM vitals ORDER BY day")]

    def judge(self, day: date, between: Callable[[], None]) -> bool:
        """Have Dagster judge and roll up a day; whether that run succeeded. `between` is called while waiting."""
        home = self._settings.home
        arguments = ["asset", "materialize", "-m", "assets.definitions", "--select", GATE_AND_ROLLUP]
        environment = {**os.environ, **environment_of(self._settings), "DAGSTER_HOME": str(home / "dagster")}
        with (home / "run" / "demonstration-dagster.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "dagster", *arguments, "--partition", day.isoformat()],
                env={**environment, "DAGSTER_DISABLE_TELEMETRY": "1"},
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for us: we end it
            )
        try:
            while process.poll() is None:
                between()
        finally:
            process.kill()
            process.wait()
        return process.returncode == 0

    def verdicts(self) -> list[DayVerdict]:
        """The newest verdict on each day."""
        minutes = {
            row["day"]: row["minutes"]
            for row in self._rows("SELECT minute::DATE AS day, count(*) AS minutes FROM vitals_by_minute GROUP BY ALL")
        }
        newest = self._rows(
            "SELECT day, passed, expectations, failed, rows FROM quality_results WHERE table_name = 'vitals' "
            "QUALIFY row_number() OVER (PARTITION BY day ORDER BY evaluated_at DESC) = 1 ORDER BY day"
        )
        return [
            DayVerdict(r["day"], r["passed"], r["expectations"], list(r["failed"]), r["rows"], minutes.get(r["day"], 0))
            for r in newest
        ]

    def counts(self) -> dict[str, int]:
        """Rows of the tables a message can end in."""
        tables = (*OWN_TABLES, "rejects", "duplicates", "alerts", "alerts_withheld")
        return {table: self._rows(f"SELECT count(*) AS n FROM {table}")[0]["n"] for table in tables}

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


def as_json(value: object) -> str:
    """JSON of the summary; days and times as ISO 8601."""
    return json.dumps(value, default=str)
