"""Champion and shadow beside each other, on the hours that both scored, as numbers and as a page.

Holds: the comparison, its page and where that lies under the home.
Does not hold: scoring (`shadow_scoring.py`), the gate (`pipelines/clinical/sepsis/gate.py`), any promotion: what the
gate would say here is advice, since it sees only stays that lay there while the shadow was one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.clinical.readings import milliseconds
from pipelines.clinical.sepsis import gate
from pipelines.clinical.sepsis.evaluate import Outcome
from pipelines.clinical.sepsis.gate import Decision
from pipelines.clinical.sepsis.history import HOUR_MS
from pipelines.clinical.sepsis.lake_set import onset_hours
from pipelines.clinical.sepsis.plots import MAIN, SOFT, WARN, Axis, Frame, bar, line
from pipelines.clinical.sepsis.utility import LABEL_AHEAD_H
from pipelines.drift_page import html
from warehouse.analytics import Analytics
from warehouse.models.shadow_rows import said_outcomes, shadow_hours
from warehouse.models.training_rows import LONGEST_H

FOLDER = "models/shadow"
SEED = 0
MOST_DAYS = 28
DAY_H = 24


@dataclass(frozen=True, slots=True)
class Day:
    """A day (days since 1970 UTC): hours both scored, and those in which either alerted."""

    day: int
    hours: int
    champion: int
    shadow: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Attributes:
    version: the shadow. hours, patients: that both scored.
    champion_alert_hours, shadow_alert_hours, both: hours at or above each one's threshold, and at or above both.
    told_again: share of hours whose told score is the same offline, to the bit; None where nobody can say.
    correlation: of the two risks, by rank.
    days: of the last weeks.
    risks: quantiles of both risks, champion's and shadow's.
    outcomes: stays with an outcome that are judged. early_onsets: those left out, septic before both had scored them
        for six hours. decision: what the gate says of the others; None where there is none.
    """

    version: str
    hours: int
    patients: int
    champion_alert_hours: int
    shadow_alert_hours: int
    both: int
    told_again: float | None
    correlation: float | None
    days: tuple[Day, ...]
    risks: tuple[tuple[float, float], ...]
    outcomes: int
    early_onsets: int
    decision: Decision | None

    @property
    def patient_days(self) -> float:
        return self.hours / DAY_H

    def as_json(self) -> dict[str, Any]:
        per_day = max(self.patient_days, 1e-9)
        shown = asdict(self) | {"patient_days": self.patient_days}
        shown["champion_alert_hours_per_patient_day"] = self.champion_alert_hours / per_day
        shown["shadow_alert_hours_per_patient_day"] = self.shadow_alert_hours / per_day
        return shown


def compare(analytics: Analytics, version: str) -> Comparison:
    """What a shadow said beside what was told. Raises `LakeUnavailable`."""
    hours = shadow_hours(analytics, version)
    ours, theirs = (_bools(hours[name]) for name in ("is_alerting", "told_alerting"))
    risks = tuple(hours[name].to_numpy().astype(np.float64) for name in ("told_risk", "risk"))
    again = [each for each in hours["told_again"].to_pylist() if each is not None]
    decision, outcomes, early = _judged(hours, said_outcomes(analytics)) if len(hours) else (None, 0, 0)
    return Comparison(
        version=version,
        hours=len(hours),
        patients=len(hours["subject_token"].unique()),
        champion_alert_hours=int(theirs.sum()),
        shadow_alert_hours=int(ours.sum()),
        both=int((ours & theirs).sum()),
        told_again=sum(again) / len(again) if again else None,
        correlation=_rank_correlation(*risks),
        days=_days(milliseconds(hours["hour_start"]) // HOUR_MS // DAY_H, theirs, ours),
        risks=_quantiles(*risks),
        outcomes=outcomes,
        early_onsets=early,
        decision=decision,
    )


def _judged(hours: pa.Table, said: pa.Table) -> tuple[Decision | None, int, int]:
    """What the gate says of the stays with an outcome, how many these are, and how many were left out since both began
    to score them less than six hours before their sepsis, so that labels would not say when it was."""
    hour, onset, patient = milliseconds(hours["hour_start"]) // HOUR_MS, onset_hours(said), _whose(hours, said)
    until = np.append(milliseconds(said["said_at"]) // HOUR_MS, 0)[patient]
    # An outcome speaks of the stay before it and not of one years ago, or to come.
    rows = np.flatnonzero((patient >= 0) & (hour <= until) & (hour > until - LONGEST_H))
    rows = rows[np.lexsort((hour[rows], patient[rows]))]
    _, first, many = np.unique(patient[rows], return_index=True, return_counts=True)
    is_early = onset[patient[rows[first]]] - hour[rows[first]] < LABEL_AHEAD_H
    rows = rows[np.repeat(~is_early, many)]
    if not len(rows):
        return None, 0, int(is_early.sum())
    at, starts, labels = _every_hour(patient[rows], hour[rows], onset)
    both = (_outcome(hours.take(pa.array(rows)), at, starts, labels, prefix) for prefix in ("told_", ""))
    return gate.decide(*both, {}, SEED), len(starts) - 1, int(is_early.sum())


def _whose(hours: pa.Table, said: pa.Table) -> np.ndarray:
    """int64[n]: which row of `said` is of the same patient; -1 where none is."""
    places = {token: at for at, token in enumerate(said["subject_token"].to_pylist())}
    return np.array([places.get(token, -1) for token in hours["subject_token"].to_pylist()], np.int64)


def _every_hour(patient: np.ndarray, hour: np.ndarray, onset: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each row stands once every hour from a patient's first to the last has one, since utility counts hours by
    rows; the stays' starts, and labels, of these."""
    _, first, many = np.unique(patient, return_index=True, return_counts=True)
    last = first + many - 1
    lengths = hour[last] - hour[first] + 1
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    at = np.repeat(starts[:-1] - hour[first], many) + hour
    filled = np.arange(starts[-1]) - np.repeat(starts[:-1] - hour[first], lengths)
    return at, starts, filled >= np.repeat(onset[patient[first]] - LABEL_AHEAD_H, lengths)


def _outcome(hours: pa.Table, at: np.ndarray, starts: np.ndarray, labels: np.ndarray, prefix: str) -> Outcome:
    """In an hour that was not told neither of the two said anything."""
    alerting = "told_alerting" if prefix else "is_alerting"
    score, risk, alerts = (np.zeros(len(labels), kind) for kind in (np.float64, np.float64, bool))
    score[at], risk[at] = (hours[prefix + name].to_numpy() for name in ("score", "risk"))
    alerts[at] = _bools(hours[alerting])
    return Outcome(labels, starts, score, risk, alerts)


def _bools(column: pa.ChunkedArray) -> np.ndarray:
    return np.array(column.to_pylist(), dtype=bool)


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    if len(first) < 2 or first.std() == 0 or second.std() == 0:
        return None
    ranks = [np.argsort(np.argsort(each, kind="stable"), kind="stable") for each in (first, second)]
    return float(np.corrcoef(np.stack(ranks))[0, 1])


def _days(day: np.ndarray, champion: np.ndarray, shadow: np.ndarray) -> tuple[Day, ...]:
    found = np.unique(day)[-MOST_DAYS:].tolist()
    return tuple(
        Day(at, int((day == at).sum()), int(champion[day == at].sum()), int(shadow[day == at].sum())) for at in found
    )


def _quantiles(first: np.ndarray, second: np.ndarray) -> tuple[tuple[float, float], ...]:
    if not len(first):
        return ()
    shares = np.linspace(0, 1, 21)
    return tuple(zip(np.quantile(first, shares).tolist(), np.quantile(second, shares).tolist(), strict=True))


# --- the page


def page_path(home: Path, version: str) -> Path:
    """Where the page of a shadow lies."""
    return home / FOLDER / f"{version}.html"


def comparison_page(of: Comparison) -> str:
    """The comparison, whole: loads nothing from anywhere, and holds no hour of anybody."""
    if not of.hours:
        return html(f"Shadow {of.version}", f"<h1>Shadow <code>{escape(of.version)}</code></h1><p>No hour scored yet.")
    parts = (_head(of), f'<div class="plots">{_alerts(of.days)}{_risks(of)}</div>', _gate(of))
    return html(f"Shadow {of.version}", "".join(parts))


def _head(of: Comparison) -> str:
    per_day = max(of.patient_days, 1e-9)
    again = "nobody can say" if of.told_again is None else f"{of.told_again:.2%}"
    correlation = "n/a" if of.correlation is None else f"{of.correlation:.3f}"
    champion, shadow = of.champion_alert_hours, of.shadow_alert_hours
    rows = (
        ("hours at or above the threshold", f"{champion:,}", f"{shadow:,}"),
        ("the same per patient-day", f"{champion / per_day:.2f}", f"{shadow / per_day:.2f}"),
        ("of these in the other's too", _share(of.both, champion), _share(of.both, shadow)),
    )
    lines = "".join(f"<tr><td>{name}</td><td class=n>{a}</td><td class=n>{b}</td></tr>" for name, a, b in rows)
    return (
        f"<h1>Shadow <code>{escape(of.version)}</code> beside the champion</h1><p>{of.hours:,} hours of "
        f"{of.patients:,} patients, scored by both. Nobody was alerted by the shadow.</p>"
        f"<table><tr><th></th><th class=n>champion</th><th class=n>shadow</th></tr>{lines}</table>"
        f"<p class=note>Rank correlation of the two risks {correlation}. Told scores that are the same offline, to the "
        f"bit: {again}; others had something come late.</p>"
    )


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "n/a"


def _alerts(days: Sequence[Day]) -> str:
    rate = [(DAY_H * each.champion / each.hours, DAY_H * each.shadow / each.hours) for each in days]
    top = max(0.5, 1.15 * max(max(pair) for pair in rate))
    frame = Frame(
        Axis(0, len(days) + 1, (), "day"),
        Axis(0, top, [float(f"{at:.2g}") for at in np.linspace(0, top, 5)], "alert-hours a patient-day"),
        width=360,
        height=230,
    )
    bars = []
    for at, (each, (champion, shadow)) in enumerate(zip(days, rate, strict=True), 1):
        name = np.datetime64(each.day, "D")
        bars.append(bar(frame, at - 0.18, 0.32, champion, f"{name}, champion {champion:.2f}", MAIN))
        bars.append(bar(frame, at + 0.18, 0.32, shadow, f"{name}, shadow {shadow:.2f}", WARN))
    first, last = np.datetime64(days[0].day, "D"), np.datetime64(days[-1].day, "D")
    drawn = frame.drawing("Alert-hours a patient-day by day", *bars)
    return f"<figure>{drawn}<figcaption>By day, {first} to {last}: champion blue, shadow red.</figcaption></figure>"


def _risks(of: Comparison) -> str:
    inner = of.risks[1:-1]
    top = max(0.01, 1.1 * max(max(pair) for pair in inner))
    ticks = [float(f"{at:.2g}") for at in np.linspace(0, top, 5)]
    frame = Frame(
        Axis(0, top, ticks, "champion's risk", percent=True),
        Axis(0, top, ticks, "shadow's risk", percent=True),
        width=360,
        height=230,
    )
    marks = line(frame, [(0, 0), (top, top)], SOFT, dashed=True), line(frame, list(inner))
    drawn = frame.drawing("Quantiles of both risks", *marks)
    return f"<figure>{drawn}<figcaption>Twentieths of both risks; on the dashed line they agree.</figcaption></figure>"


def _gate(of: Comparison) -> str:
    if of.decision is None:
        none = "None of these stays has an outcome yet; they come by <code>alert.feedback</code>."
        return f"<h2>With outcomes</h2><p>{none}{_left_out(of.early_onsets)}</p>"
    rows = "".join(
        f"<tr><td>{escape(c.name)}</td><td class=n>{c.champion:.4f}</td><td class=n>{c.challenger:.4f}</td>"
        f"<td>{c.difference:+.4f} ({c.low:+.4f} to {c.high:+.4f})</td><td>{escape(c.verdict)}</td></tr>"
        for c in of.decision.checks
    )
    head = "<tr><th>check</th><th class=n>champion</th><th class=n>shadow</th><th>difference</th><th></th></tr>"
    return (
        f"<h2>With outcomes</h2><p>{of.outcomes} stays, {of.decision.septic_stays} with sepsis: "
        f"{escape(of.decision.reason)}.{_left_out(of.early_onsets)}</p>"
        + (f"<table>{head}{rows}</table>" if rows else "")
    )


def _left_out(early: int) -> str:
    return f" Left out: {early}, septic before both had scored them for six hours." if early else ""
