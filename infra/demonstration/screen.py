"""What a person sees of the demonstration: one panel while it runs, one summary at its end.

Holds: layout and words. Does not hold: any fact, nor when the demonstration is over.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from infra.cli.answers import aligned
from infra.demonstration.erasing import Told
from infra.demonstration.inspection import OWN_TABLES, DayVerdict
from infra.demonstration.witness import SeenAlert
from pipelines.clinical.absences import PREFIX as ABSENCE

COLUMNS = 80
SHOWN_COLUMNS = ("rule", "severity", "level", "alerts", "patients")
"""Those of the shown question's columns that fit."""

COUNTED = ("level", "alerts", "patients")

NOT_AN_ALARM = "An information system, never a primary alarm. Everything listens on 127.0.0.1 only."


@dataclass(slots=True)
class Scene:
    """All that is known at one moment; zero or empty where nothing is yet. Times are seconds."""

    doing: str = "starting"
    elapsed_s: float = 0.0
    sent: int = 0
    read: int = 0
    rows: int = 0
    rejects: int = 0
    duplicates: int = 0
    lag: int | None = None
    alerts: list[SeenAlert] = field(default_factory=list)
    expected: int = 0
    unseen: int = 0
    parts: dict[str, str] = field(default_factory=dict)
    dagster_url: str = ""
    first_alert_s: float | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What is left to say when it is over."""

    scene: Scene
    counts: dict[str, int]
    rejects_by_reason: dict[str, int]
    verdicts: list[DayVerdict]
    question: str
    answer: list[dict]
    missing: list[str]
    home: str
    erased: Told

    def as_dict(self) -> dict[str, object]:
        """For programs."""
        latencies = latency(self.scene.alerts)
        return {
            "passed": not self.missing,
            "missing": self.missing,
            "messages": self.scene.sent,
            **self.counts,
            "rejects_by_reason": self.rejects_by_reason,
            "alerts_seen": len(self.scene.alerts),
            "alert_latency_ms": latencies,
            "first_alert_s": self.scene.first_alert_s,
            "verdicts": [
                {"day": v.day, "passed": v.passed, "tables": v.tables, "failed": v.failed, "rows": v.rows}
                for v in self.verdicts
            ],
            "erasure": self.erased.as_dict(),
            "dagster": self.scene.dagster_url,
            "elapsed_s": round(self.scene.elapsed_s, 1),
        }


def latency(alerts: list[SeenAlert]) -> dict[str, float]:
    """p50, p99 and most, milliseconds from the reading's append to the alert's. Of an absence it says nothing: that is
    found by the clock, minutes after the last reading."""
    values = np.array([alert.latency_ms for alert in alerts if not alert.rule.startswith(ABSENCE)])
    if not len(values):
        return {}
    return {
        "p50": float(np.percentile(values, 50)),
        "p99": float(np.percentile(values, 99)),
        "max": float(values.max()),
    }


class Screen:
    """Shows scenes: a live panel on a terminal, a line every few seconds elsewhere, nothing for programs."""

    def __init__(self, quiet: bool) -> None:
        self.console = Console(stderr=quiet, quiet=quiet)
        self._live = Live(console=self.console, refresh_per_second=4, transient=True) if self._moving else None
        self._last_line_s = -10.0
        self._last_doing = ""
        self._last_line = ""

    @property
    def _moving(self) -> bool:
        return self.console.is_terminal and not self.console.quiet

    def __enter__(self) -> Screen:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, scene: Scene) -> None:
        if self._live:
            self._live.update(_panel(scene))
            return
        line, waited = _line(scene), scene.elapsed_s - self._last_line_s
        if line != self._last_line and (waited >= 5 or scene.doing != self._last_doing):
            self._last_line_s, self._last_doing, self._last_line = scene.elapsed_s, scene.doing, line
            self.say(f"{scene.elapsed_s:5.0f} s  {line}")

    def conclude(self, summary: Summary) -> None:
        for line in _summary(summary):
            self.say(line)

    def say(self, line: str) -> None:
        """A line as it is: neither wrapped nor coloured, so that it can be copied."""
        self.console.print(line, highlight=False, soft_wrap=True, markup=False, emoji=False)


def _line(scene: Scene) -> str:
    """What is new, without the time: a line that says nothing new is not shown again."""
    if not scene.sent:
        ready = sum(state in ("up", "done") for state in scene.parts.values())
        others = [f"{name} {state}" for name, state in scene.parts.items() if state not in ("up", "done", "queued")]
        return ", ".join([f"{scene.doing}: {ready} of {len(scene.parts)} up", *others])
    lag = "?" if scene.lag is None else f"{scene.lag:,}"
    return (
        f"{scene.doing}: {scene.sent:,} sent, {scene.rows:,} rows, "
        f"{scene.rejects:,} rejects, {scene.duplicates:,} duplicates, lag {lag}, {len(scene.alerts)} alerts seen"
    )


def _panel(scene: Scene) -> Panel:
    figures = Table.grid(padding=(0, 3))
    for name, value in _figures(scene):
        figures.add_row(Text(name, style="dim"), Text(value, justify="right"))
    parts = Text("  ").join(_part(name, state) for name, state in scene.parts.items())
    newest = Table.grid(padding=(0, 2))
    for alert in scene.alerts[-6:]:
        newest.add_row(
            Text(alert.severity, style=_STYLE.get(alert.severity, "")), alert.ward, alert.patient, alert.rule
        )
    body = Group(parts, Text(), figures, Text(), Text("newest alerts", style="dim"), newest)
    return Panel(body, title=f"wardstream demo · {scene.doing} · {scene.elapsed_s:.0f} s", subtitle=NOT_AN_ALARM)


_STYLE = {"emergency": "bold red", "urgent": "yellow", "warning": "cyan"}


def _part(name: str, state: str) -> Text:
    return Text(f"● {name}", style="green" if state in ("up", "done") else "yellow")


def _figures(scene: Scene) -> list[tuple[str, str]]:
    times = latency(scene.alerts)
    return [
        ("messages sent", f"{scene.sent:,}"),
        ("messages read, the stream's own too", f"{scene.read:,}"),
        ("rows committed", f"{scene.rows:,}"),
        ("rejects", f"{scene.rejects:,}"),
        ("duplicates dropped", f"{scene.duplicates:,}"),
        ("lag", "…" if scene.lag is None else f"{scene.lag:,}"),
        ("alerts on Kafka", f"{len(scene.alerts):,}"),
        ("deteriorations still to be seen", f"{scene.unseen} of {scene.expected}"),
        ("alert latency p50 / p99", f"{times['p50']:.0f} / {times['p99']:.0f} ms" if times else "…"),
    ]


def _summary(summary: Summary) -> list[str]:
    """Lines of at most `COLUMNS` letters; only a word that is longer itself, such as an address, may pass that."""
    facts = _facts(summary)
    width = max(len(name) for name, _ in facts)
    lines = ["What became of the ward"]
    for name, value in facts:
        lines += _wrapped(value, f"  {name:{width}}  ")
    ending = (
        "Every message was in exactly one place, every deterioration was alerted on, and of the patient who was erased "
        "nothing is left but what the certificate names."
    )
    if summary.missing:
        ending = "Missing: " + "; ".join(summary.missing)
    answer = ["", *_wrapped(f"DuckDB: {summary.question}"), *_answer(summary), ""]
    return [*lines, *answer, *_wrapped(ending), *_wrapped(NOT_AN_ALARM)]


def _facts(summary: Summary) -> list[tuple[str, str]]:
    scene, counts, times = summary.scene, summary.counts, latency(summary.scene.alerts)
    severities = dict(Counter(alert.severity for alert in scene.alerts).most_common())
    facts = [
        ("messages sent", f"{scene.sent:,}"),
        ("rows in the lake", _reasons({table: counts[table] for table in OWN_TABLES})),
        ("duplicates dropped", f"{counts['duplicates']:,}"),
        ("rejects", f"{counts['rejects']:,}  {_reasons(summary.rejects_by_reason)}"),
        ("alerts seen on Kafka", f"{len(scene.alerts):,}  {_reasons(severities)}"),
        ("deteriorations", f"{scene.expected - scene.unseen} of {scene.expected} alerted on"),
        ("withheld by the policy", f"{counts['alerts_withheld']:,}"),
    ]
    if times:
        told = (
            f"p50 {times['p50']:.0f} ms, p99 {times['p99']:.0f} ms, from the reading's arrival on Kafka to the alert's"
        )
        facts.append(("alert latency", told))
    of_model = next((alert for alert in scene.alerts if alert.model and alert.reasons), None)
    if of_model:
        facts.append(("first alert of a model", f"{of_model.ward}: {'; '.join(of_model.reasons[:3])}"))
    facts.append(("first alert", f"{scene.first_alert_s:.0f} s after the start" if scene.first_alert_s else "none"))
    facts += [(f"quality gates {verdict.day}", _verdict(verdict)) for verdict in summary.verdicts]
    return facts + (_erasure(summary.erased) if summary.erased.stores else [])


def _erasure(erased: Told) -> list[tuple[str, str]]:
    """What was erased of the one, and that everybody else is as before."""
    tables = {name.removeprefix("table:"): n for name, n in erased.stores.items() if name.startswith("table:")}
    elsewhere = {name: n for name, n in erased.stores.items() if not name.startswith(("table:", "topic:"))}
    same = sum(unchanged for _, unchanged in erased.others.values())
    key = "its key destroyed" if erased.key_seconds is None else f"key destroyed after {erased.key_seconds:.1f} s"
    facts = [
        ("one patient erased", f"{sum(tables.values()):,} rows in {len(tables)} tables ({_reasons(tables)}); {key}"),
        ("  and elsewhere", _reasons(elsewhere)),
        ("  on Kafka", _on_kafka(erased)),
        ("  everybody else", f"{sum(n for n, _ in erased.others.values()):,} rows, digests unchanged in {same} of "
                             f"{len(erased.others)} tables"),
        ("  certificate", f"{erased.request}: {erased.checks} checks by a program that shares no code with the eraser, "
                          f"{erased.files:,} files searched for the patient; {erased.took_s:.0f} s in all"),
    ]  # fmt: skip
    return [*facts, ("  privacy officer's page", erased.page)] if erased.page else facts


def _on_kafka(erased: Told) -> str:
    if erased.kafka_until is None:
        return "nothing is left"
    return f"{erased.kafka_left:,} messages, gone by {erased.kafka_until:%Y-%m-%d %H:%M} UTC by the topics' retention"


def _wrapped(text: str, head: str = "") -> list[str]:
    """`text` behind `head`, wrapped below itself; no word is broken."""
    return textwrap.wrap(
        text,
        COLUMNS,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _reasons(counted: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counted.items())


def _verdict(verdict: DayVerdict) -> str:
    if not verdict.passed:
        return f"red: {', '.join(verdict.failed)}; nothing is derived of what is red"
    return f"passed: {verdict.expectations} expectations on {verdict.rows:,} rows of {verdict.tables} tables"


def _answer(summary: Summary) -> list[str]:
    cells = [[str(row[name]) for name in SHOWN_COLUMNS] for row in summary.answer]
    return aligned(list(SHOWN_COLUMNS), cells, [name in COUNTED for name in SHOWN_COLUMNS])
