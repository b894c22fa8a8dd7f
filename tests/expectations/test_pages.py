"""Pages of verdicts: what is said first, that nothing is asked of the internet, that nothing of a row is in them."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pyarrow as pa

from expectations.pages import day_page, index_page, markdown
from expectations.suites import suite_for
from expectations.validate import Verdict
from warehouse.contract import load_contracts
from warehouse.tables import arrow_schema

CONTRACTS = load_contracts()
LABS, DAY, NOW = CONTRACTS.table("labs"), date(2026, 11, 21), datetime(2026, 11, 22, 3, tzinfo=UTC)
SUITE = suite_for(LABS)
RED = Verdict(SUITE.version, 9, 3, {"known_status": 2}, {"versions_rise": 1}, ("code_is_known",))


def test_what_does_not_hold_stands_first_with_its_count_and_meaning() -> None:
    page = day_page(LABS, DAY, RED, SUITE, NOW)
    places = [page.index(name) for name in ("known_status", "versions_rise", "code_is_known")]
    assert places == sorted(places)
    assert "<td>2</td><td>A status is one that the current state knows to order.</td>" in page
    assert "1 expectations do not hold" in page


def test_a_page_asks_nothing_of_anybody() -> None:
    page = day_page(LABS, DAY, RED, SUITE, NOW)
    assert not any(word in page for word in ("http:", "https:", "<script", "@import", "url("))


def results(*rows: dict) -> pa.Table:
    schema = arrow_schema(CONTRACTS.table("quality_results"))
    known = {"suite_version": "1", "snapshot_id": 1, "offset_vector": "{}", "expectations": 3, "rows": 9}
    return pa.Table.from_pylist([known | row for row in rows], schema=schema)


def test_the_list_shows_the_newest_verdict_of_each_day() -> None:
    early = {"table_name": "labs", "day": DAY, "passed": False, "failed": ["known_status"], "evaluated_at": NOW}
    late = early | {"passed": True, "failed": [], "evaluated_at": NOW.replace(hour=4)}
    page = index_page(results(late, early))
    assert page.count("labs/2026-11-21.html") == 1
    assert "released" in page
    assert "known_status" not in page


def test_names_are_escaped() -> None:
    odd = {"table_name": "<b>", "day": DAY, "passed": True, "failed": [], "evaluated_at": NOW}
    assert "<b>" not in index_page(results(odd))


def test_markdown_lists_what_does_not_hold() -> None:
    assert "| does not hold | `known_status` | 2 |" in markdown(RED)
    assert markdown(Verdict("1", 9, 3, {})) == "All 3 expectations hold."
