"""Alerts of before a restart, as their tables tell them, for the monitor that is to go on.

Holds: which of them stand, under which number and pack, and how often each identity was taken back.
Does not hold: the questions asked of the lake (`warehouse/history.py`), what episodes make of it, or silences.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.alerts.message import Evidence, alert_id
from pipelines.alerts.policy import PastAlert
from pipelines.clinical.absences import PREFIX
from pipelines.clinical.cases import Case, rests_on_results
from pipelines.clinical.pairs import Pairs, slot_and_rule
from pipelines.clinical.patients import Register
from pipelines.clinical.readings import milliseconds
from pipelines.clinical.rulebook import NUMBER, Rulebook


@dataclass(frozen=True, slots=True)
class Standing:
    """A past alert that nothing took back: for the policy, its row, its identity and its pack."""

    past: PastAlert
    row: dict[str, Any]
    identity: str
    book: Rulebook


@dataclass(frozen=True, slots=True)
class Recalled:
    """`revisions`: identity -> how many alerts of it were taken back. `absences`: token, rule and start of silences."""

    standing: list[Standing]
    revisions: dict[str, int]
    absences: list[tuple[str, str, int]]


def recalled(past: pa.Table, patients: Register, pairs: Pairs, books: Sequence[Rulebook]) -> Recalled:
    """Past alerts, in any order, repeated or not; those of rules or versions that no pack has are left out."""
    told = past.to_pylist()
    starts, clocks = milliseconds(past["episode_start"]), milliseconds(past["effective_at"])
    gone = {row["retracts"] for row in told if row.get("retracts")}
    standing, identities, absences = [], {}, []
    for row, start, clock in zip(told, starts.tolist(), clocks.tolist(), strict=True):
        if row["rule"].startswith(PREFIX):
            absences.append((row["subject_token"], row["rule"], start))
            continue
        book = _book_of(row["rule"], row["rule_version"], books)
        if book is None or row.get("retracts"):
            continue
        pair = pairs.number(patients.slot(row["subject_token"]), NUMBER[row["rule"]], row["rule_version"])
        identity = _identity(row, start, row["level"])
        if row.get("alert_id") in gone:
            identities.setdefault(identity, set()).add(row["alert_id"])
        else:
            alert = PastAlert(pair, row["level"], start, clock, row["withheld_because"])
            standing.append(Standing(alert, row, identity, book))
    revisions = {identity: len(ids) for identity, ids in identities.items()}
    return Recalled(_not_emptied(standing, revisions), revisions, absences)


def cases(standing: Iterable[Standing]) -> Iterator[Case]:
    """Those that rest on results, oldest first, each once."""
    seen = set()
    for each in sorted(standing, key=lambda each: each.past.clock_ms):
        past, row = each.past, each.row
        slot, rule = slot_and_rule(past.pair)
        evidence = tuple(map(Evidence.of, row.get("evidence") or ()))
        if past.withheld_because is None and evidence and rests_on_results(rule) and row["alert_id"] not in seen:
            seen.add(row["alert_id"])
            yield Case(
                row["alert_id"], each.identity, past.pair, rule, slot, past.level, row["severity"],
                past.episode_start_ms, past.clock_ms, evidence, each.book,
            )  # fmt: skip


def _not_emptied(standing: list[Standing], revisions: dict[str, int]) -> list[Standing]:
    """Without the episodes of which all that was sent was taken back: what had been withheld in them is over too."""
    sent = {_episode(each) for each in standing if each.past.withheld_because is None}
    emptied = {
        _episode(each)
        for each in standing
        if _episode(each) not in sent
        and any(_identity(each.row, each.past.episode_start_ms, level) in revisions for level in (1, 2, 3))
    }
    return [each for each in standing if _episode(each) not in emptied]


def _episode(each: Standing) -> tuple[int, int]:
    return each.past.pair, each.past.episode_start_ms


def _identity(row: dict[str, Any], start_ms: int, level: int) -> str:
    return alert_id(row["rule"], row["rule_version"], row["subject_token"], start_ms, level)


def _book_of(rule: str, version: str, books: Sequence[Rulebook]) -> Rulebook | None:
    """The newest pack that has this version of the rule; None where none has."""
    number = NUMBER.get(rule)
    return next((b for b in reversed(books) if number is not None and b.version(number) == version), None)
