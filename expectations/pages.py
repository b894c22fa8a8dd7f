"""Verdicts as pages: HTML that loads nothing from anywhere, and the same as Markdown.

Holds: the text of a day's page and of the list of days.
Does not hold: files (`assets/quality_pages.py` writes them), nor any value of a row: a verdict has none. Great
Expectations' own Data Docs are not used: their pages load styles and scripts from five hosts on the internet, which a
browser in a hospital must not ask, and which would learn who looks at what.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from html import escape

import pyarrow as pa

from expectations.suites import Expectation, Suite
from expectations.validate import Verdict
from warehouse.contract import TableContract

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1b2733;background:#fff}
h1{font-size:1.4rem} table{border-collapse:collapse;width:100%} th,td{text-align:left;padding:.3rem .6rem;
border-bottom:1px solid #dde3e9;vertical-align:top} th{font-weight:600;color:#506070} code{font-size:.92em}
.holds{color:#1d6b3a} .warns{color:#8a5a00} .fails{color:#a31621;font-weight:600} .note{color:#506070}
"""
HOLDS, WARNS, FAILS = "holds", "warns", "fails"
_WORDS = {HOLDS: "holds", WARNS: "should hold", FAILS: "does not hold"}


def day_page(table: TableContract, day: date, verdict: Verdict, suite: Suite, judged_at: datetime) -> str:
    """The verdict on one day, a line an expectation, those that do not hold first. `judged_at` is aware."""
    said = {rule.name: rule.description for rule in table.quality}
    lines = (
        f'<tr class="{state}"><td>{_WORDS[state]}</td><td><code>{escape(name)}</code></td>'
        f"<td>{'' if count is None else count}</td><td>{escape(said.get(name) or meaning)}</td></tr>"
        for state, name, count, meaning in _lines(verdict, suite)
    )
    head = "<tr><th>verdict</th><th>expectation</th><th>rows at fault</th><th>what it says</th></tr>"
    body = (
        f"<h1>{escape(table.name)}, {day}: {_sentence(verdict)}</h1>"
        f'<p class="note">{verdict.rows} rows, {verdict.expectations} expectations, suite '
        f"<code>{verdict.suite_version}</code>, judged {judged_at:%Y-%m-%d %H:%M:%S} UTC. {escape(table.grain)} "
        f'<a href="../index.html">All days</a></p><table>{head}{"".join(lines)}</table>'
        '<p class="note">Names and counts only: no value of any row is in a verdict.</p>'
    )
    return _html(f"{table.name} {day}", body)


def index_page(results: pa.Table) -> str:
    """The newest verdict on every table and day. `results`: rows of `quality_results`."""
    newest: dict[tuple[str, date], dict] = {}
    for row in results.sort_by("evaluated_at").to_pylist():
        newest[row["table_name"], row["day"]] = row
    lines = (
        f'<tr class="{HOLDS if row["passed"] else FAILS}"><td><a href="{escape(name)}/{day}.html">{day}</a></td>'
        f"<td>{escape(name)}</td><td>{'released' if row['passed'] else 'held'}</td><td>{row['rows']}</td>"
        f"<td>{escape(', '.join(row['failed']))}</td><td>{row['evaluated_at']:%Y-%m-%d %H:%M:%S}</td></tr>"
        for (name, day), row in sorted(newest.items(), key=lambda each: (each[0][1], each[0][0]), reverse=True)
    )
    head = "<tr><th>day</th><th>table</th><th>verdict</th><th>rows</th><th>does not hold</th><th>judged, UTC</th></tr>"
    return _html("Quality", f"<h1>Quality of every table and day</h1><table>{head}{''.join(lines)}</table>")


def markdown(verdict: Verdict) -> str:
    """What does not hold, as a table; or that everything does."""
    troubled = [("does not hold", verdict.failed), ("should hold", verdict.warnings)]
    rows = [f"| {word} | `{name}` | {_told(count)} |" for word, names in troubled for name, count in names.items()]
    if not rows:
        return f"All {verdict.expectations} expectations hold."
    return "\n".join(["| verdict | expectation | rows at fault |", "|---|---|---|", *rows])


def _told(count: int | None) -> str:
    return "" if count is None else str(count)


def _lines(verdict: Verdict, suite: Suite) -> Iterator[tuple[str, str, int | None, str]]:
    meanings = {each.name: _meaning(each) for each in suite.expectations}
    states: Iterable[tuple[str, Mapping[str, int | None]]] = (
        (FAILS, verdict.failed),
        (WARNS, verdict.warnings),
        (HOLDS, dict.fromkeys(verdict.held)),
    )
    for state, names in states:
        for name, count in names.items():
            yield state, name, count, meanings.get(name, "columns and their types are those of the contract")


def _meaning(expectation: Expectation) -> str:
    """The expectation in GX's words, with the contract's bounds: nothing of a row."""
    arguments = {key: value for key, value in expectation.arguments.items() if value is not None}
    told = ", ".join(f"{key} {value}" for key, value in arguments.items())
    code = f" of code {expectation.rows.code}" if expectation.rows and expectation.rows.code else ""
    return f"{expectation.type.removeprefix('expect_').replace('_', ' ')}: {told}{code}"


def _sentence(verdict: Verdict) -> str:
    if not verdict.passed:
        return f'<span class="fails">{len(verdict.failed)} expectations do not hold</span>'
    return '<span class="warns">released, with warnings</span>' if verdict.warnings else "released"


def _html(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width"><title>{escape(title)}</title><style>{_STYLE}</style></head>'
        f"<body>{body}</body></html>\n"
    )
