"""The ward's monitor: rows of a patient's streams in, alerts out, the same whatever way the rows are cut into batches.

Holds: the way of findings through the policy to alerts, retractions, and the rebuilding of state after a restart.
Does not hold: what is known of the patients and found in it (`patient_state.py`), silences (`absences.py`), what past
alerts mean (`recalled.py`), nor the policy itself (`pipelines/alerts/policy.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
import pyarrow as pa

from pipelines.alerts.message import Alert, Evidence, alert_id
from pipelines.alerts.policy import AlertPolicy, Decision, Episodes, Findings
from pipelines.clinical.absences import Absences
from pipelines.clinical.cases import Case, Cases, rests_on_results
from pipelines.clinical.findings import Account, Found
from pipelines.clinical.pairs import Pairs, pairs_of, slot_and_rule
from pipelines.clinical.patient_state import Correction, PatientState
from pipelines.clinical.readings import dictionary, milliseconds
from pipelines.clinical.recalled import cases, recalled
from pipelines.clinical.remembered import Remembered, in_turn
from pipelines.clinical.rule_packs import PacksInForce
from pipelines.clinical.rulebook import ACROSS_STREAMS, NAMES, Rulebook
from pipelines.clinical.signals import LONGEST_CARRY_FORWARD
from pipelines.clinical.stream_rules import LABS, MEDICATION, VITALS, WEARABLES, Context

_REPLAY_ROWS = 100_000
_MILLISECOND = timedelta(milliseconds=1)
_Told = list[tuple[int, int, Alert]]
"""Alerts, each with its triggering row and its rule, by which they are ordered; a retraction goes first."""


class Monitor(Protocol):
    """What looks at rows of some streams of a co-partition group and finds alerts. State calls it in the order in which
    rows are read; what it returns goes through `Alert`'s own message to the alert topics."""

    @property
    def streams(self) -> frozenset[str]:
        """Whose rows it wants."""
        ...

    def observe(self, rows: pa.Table, now: datetime | None = None, stream: str = VITALS) -> list[Alert]:
        """Take in the next rows of a stream; the alerts they cause."""
        ...

    def tick(self, now: datetime, is_gone: Callable[[str], bool]) -> list[Alert]:
        """What the passing of time alone causes, asked about once a second while messages are fresh."""
        ...


KNOWN = "is_known"
"""bool column of rows that a restart remembers: a value to go on from, and nothing is found by it."""


class WardMonitor:
    """Every rule over every patient of the partitions of a shard."""

    streams = frozenset((VITALS, WEARABLES, LABS, MEDICATION))

    def __init__(self, policy: AlertPolicy | None = None, packs: PacksInForce | None = None) -> None:
        self.policy = policy or AlertPolicy()
        self._state = PatientState()
        self._absences = Absences(self.policy, self._state)
        self._episodes, self._cases, self._pairs = Episodes(self.policy), Cases(), Pairs()
        self._revisions: dict[str, int] = {}
        self.use(packs or PacksInForce())

    def use(self, packs: PacksInForce) -> None:
        """Go by these packs from the next rows on; each says from which append time it holds."""
        self._packs = packs
        self._pairs.forget_packs()
        self._books = [Rulebook(packs.nth(at)) for at in range(len(packs))]

    @property
    def lookback(self) -> timedelta:
        """How far before a subject's newest scorable reading `restore` has to see."""
        return LONGEST_CARRY_FORWARD + self.policy.lapse

    @property
    def glance(self) -> timedelta:
        """How far it has to see of most: in so long who is well again has been clear for `rearm`."""
        return self.policy.rearm * 1.3

    # --- rows in, alerts out

    def observe(self, rows: pa.Table, now: datetime | None = None, stream: str = VITALS) -> list[Alert]:
        """Take in the next rows of a stream; the alerts they cause, ordered by triggering row.

        Those with `withheld_because` are to be recorded, not sent; those with `retracts` take another back.

        Args:
            rows: the rows behind those of the call before, each partition in offset order; the columns of the stream's
                table (but for `patient_id` in the place of what the lake does not have), and `subject_token`,
                `kafka_partition`, `kafka_offset`, `kafka_time`.
            now: what was appended longer than the policy's time to live before it has expired; None: nothing has.
        """
        return [alert for book, part in self._by_book(rows) for alert in self._observe(part, now, stream, book)]

    def _by_book(self, rows: pa.Table) -> Iterator[tuple[Rulebook, pa.Table]]:
        """The rows, each with the pack that holds for its append time."""
        if len(self._books) == 1 or not len(rows):
            yield self._books[0], rows
            return
        appended_ms = milliseconds(rows["kafka_time"])
        first, last = self._packs.at(int(appended_ms.min())), self._packs.at(int(appended_ms.max()))
        if first == last:
            yield self._books[first], rows
            return
        pack = np.array([self._packs.at(at) for at in np.unique(appended_ms).tolist()])
        pack = pack[np.searchsorted(np.unique(appended_ms), appended_ms)]
        for at in np.unique(pack).tolist():
            yield self._books[at], rows.filter(pa.array(pack == at))

    def _observe(self, rows: pa.Table, now: datetime | None, stream: str, book: Rulebook) -> list[Alert]:
        told: _Told = []
        for found, corrections in self._state.find(rows, stream, book):
            told += [alert for each in corrections for alert in self._taken_back(rows, each)]
            told += self._decide(rows, found, now, stream, book)
        told.sort(key=lambda each: each[:2])
        return [alert for _, _, alert in told]

    # --- corrections

    def _taken_back(self, rows: pa.Table, correction: Correction) -> Iterator[tuple[int, int, Alert]]:
        """Retractions of alerts whose level does not hold any more, now that a result was corrected."""
        for case in list(self._cases.resting_on(correction.slot, correction.code, correction.at_ms)):
            if (level := self._state.level_now(case)) < case.level:
                yield correction.row, -1, self._retraction(case, rows, correction.row, level)

    def _retraction(self, case: Case, rows: pa.Table, row: int, level: int) -> Alert:
        self._episodes.retract(case.pair, case.episode_start_ms, *self._cases.take_back(case))
        self._revisions[case.identity] = self._revisions.get(case.identity, 0) + 1
        holds = f"level {level} holds" if level else "nothing does"
        account = Account(
            case.severity, (f"taken back: a result it rested on was corrected; {holds} by what is known now",)
        )
        context = Context.of(rows, np.array([row]), LABS)
        alert = self._alert(
            case.pair, case.level, case.episode_start_ms, case.clock_ms, None, account, context, 0, case.book
        )
        return replace(alert, retracts=case.alert_id, revision=0)

    # --- decisions and alerts

    def _decide(self, rows: pa.Table, found: list[Found], now: datetime | None, stream: str, book: Rulebook) -> _Told:
        """What is due."""
        chosen = self._relevant(rows, found, stream, book)
        if chosen is None:
            return []
        findings, block, nth = chosen
        told = []
        decisions = self._episodes.decide(findings, now)
        if not decisions:
            return []
        rows_of = [int(found[block[d.moment]].row[nth[d.moment]]) for d in decisions]
        context = Context.of(rows, np.array(rows_of, np.int64), stream)
        for at, decision in enumerate(decisions):
            made = found[block[decision.moment]]
            account = made.tell(int(nth[decision.moment]), decision.level)
            clock_ms = int(made.clock_ms[nth[decision.moment]])
            alert = self._decided(decision, clock_ms, account, context, at, book)
            told.append((rows_of[at], slot_and_rule(decision.pair)[1], alert))
        return told

    def _decided(
        self, decision: Decision, clock_ms: int, account: Account, context: Context, at: int, book: Rulebook
    ) -> Alert:
        pair, level, start_ms = decision.pair, decision.level, decision.episode_start_ms
        alert = self._alert(pair, level, start_ms, clock_ms, decision.withheld_because, account, context, at, book)
        if alert.withheld_because is None:
            self._open_case(alert, pair, book)
        return alert

    def _relevant(
        self, rows: pa.Table, found: list[Found], stream: str, book: Rulebook
    ) -> tuple[Findings, np.ndarray, np.ndarray] | None:
        """The findings that can matter, and of each the block and the place in it. None where there are none."""
        kept = []
        wards = _wards(rows, stream) if book.is_limited else None
        for at, made in enumerate(found):
            level, clear = made.level, made.clear
            if book.is_limited:
                looks = _looks(made, self._wards_of(made, wards), book)
                level, clear = np.where(looks, level, 0), clear & looks
            pair = self._pairs.numbers(made, book)
            nth = self._episodes.relevant(pair, level)
            if len(nth):
                kept.append((at, nth, pair[nth], level[nth], clear[nth], made.clock_ms[nth], made.row[nth]))
        if not kept:
            return None
        blocks, places, pair, level, clear, clock_ms, row = zip(*kept, strict=True)
        appended_ms = milliseconds(rows["kafka_time"])[np.concatenate(row)]
        pair, clock_ms = np.concatenate(pair), np.concatenate(clock_ms)
        findings = Findings(
            np.arange(len(pair)), pair, np.concatenate(level), np.concatenate(clear), clock_ms, appended_ms
        )
        return findings, np.repeat(blocks, [len(place) for place in places]), np.concatenate(places)

    def _alert(
        self, pair: int, level: int, episode_start_ms: int, clock_ms: int, withheld_because: str | None,
        account: Account, context: Context, nth: int, book: Rulebook,
    ) -> Alert:  # fmt: skip
        slot, rule = slot_and_rule(pair)
        token, name, version = self._state.patients.tokens[slot], NAMES[rule], book.version(rule) or ""
        identity = alert_id(name, version, token, episode_start_ms, level)
        appended_ms, device_ms = context.appended_ms[nth], context.device_ms[nth]
        return Alert(
            rule=name,
            rule_version=version,
            severity=account.severity,
            level=level,
            code=account.code,
            value=account.value,
            score=account.score,
            score_is_lower_bound=bool(account.missing),
            reasons=account.reasons,
            missing=account.missing,
            patient_id=context.patient_id[nth],
            subject_token=token,
            ward=context.ward[nth] if context.knows_ward else self._state.whereabouts.of(slot)[1],
            episode_start_ms=episode_start_ms,
            device_ms=device_ms,
            received_ms=context.received_ms[nth],
            appended_ms=appended_ms,
            effective_ms=clock_ms,
            expires_ms=appended_ms + self.policy.time_to_live // _MILLISECOND,
            partition=context.partition[nth],
            offset=context.offset[nth],
            late=appended_ms - device_ms > self.policy.late_after // _MILLISECOND,
            withheld_because=withheld_because,
            evidence=account.evidence,
            revision=self._revisions.get(identity, 0),
        )

    def _open_case(self, alert: Alert, pair: int, book: Rulebook) -> None:
        slot, rule = slot_and_rule(pair)
        if rests_on_results(rule):
            identity = alert_id(
                alert.rule, alert.rule_version, alert.subject_token, alert.episode_start_ms, alert.level
            )
            evidence = tuple(map(Evidence.of, alert.evidence))
            self._cases.add(
                Case(
                    alert.alert_id, identity, pair, rule, slot, alert.level, alert.severity, alert.episode_start_ms,
                    alert.effective_ms, evidence, book,
                )
            )  # fmt: skip

    def _wards_of(self, made: Found, wards: np.ndarray | None) -> np.ndarray:
        """object[k]: the ward of each finding, by its row or else by where the subject was last."""
        return self._state.whereabouts.wards(made.slot) if wards is None else wards[made.row]

    def name(self, subject_token: str, patient_id: str) -> None:
        """Who a subject is, where readings since the start did not tell: memory only."""
        self._state.whereabouts.name(self._state.patients.slot(subject_token), patient_id)

    def people(self) -> list[str]:
        """The tokens of everybody of whom something is remembered."""
        return self._state.patients.named()

    def forget(self, tokens: Iterable[str]) -> None:
        """Nothing is remembered of these any more; who comes back begins anew."""
        slots = self._state.forget(tokens).tolist()
        self._absences.forget(slots)
        for slot in slots:
            self._episodes.forget(pairs_of(slot))
            for case in self._cases.forget(slot):
                self._revisions.pop(case.identity, None)

    # --- time alone

    def tick(self, now: datetime, is_gone: Callable[[str], bool]) -> list[Alert]:
        """Silences that are due. `is_gone`: whether a patient (by identifier) has left the house; nobody asks after
        them. Whose identifier is not known since the start cannot be named, and waits for it."""
        now_ms = int(now.timestamp() * 1000)
        return self._absences.due(now_ms, self._books[self._packs.at(now_ms)], is_gone)

    # --- after a restart

    def restore(self, rows: pa.Table, past: pa.Table, others: Remembered | None = None) -> set[str]:
        """Become, from an empty monitor, what one that never stopped would be; no alert comes of it.

        The alerts that follow are exactly those of a monitor that saw everything, if `rows`, `past` and `others` hold
        at least what is named here; more does no harm. Of most subjects fewer rows are enough: those from any position
        on, and before it the newest scorable row of each code, which says by `KNOWN` that nothing is found by it (what
        was found then is not to be told by one row a code). It returns of whom that may not have been enough; then an
        empty monitor has to be given all that is named here of them, and of those what it returns counts for nothing.

        Args:
            rows: rows of `vitals` below the position to go on from, columns as for `observe` (`patient_id`, `ward` and
                `received_at` may be absent), each partition in offset order: of a subject with an alert in `past`,
                all with an effective time from `lookback` before their newest scorable one; of any other, the newest
                scorable row of each code (the last one of those with the same effective time).
            past: rows of the tables `alerts` and `alerts_withheld`, triggered below the position to go on from, in
                any order, repeated or not: all of the newest episode of every rule and subject, withheld ones too
                (else an episode whose first alert was withheld would begin anew), and the newest one sent. Columns
                `rule`, `rule_version`, `subject_token`, `level`, `episode_start`, `effective_at`, `withheld_because`,
                and, for what rests on results, `alert_id`, `severity`, `evidence`, `retracts`.
            others: of the other streams.
        """
        others = others or Remembered()
        known = recalled(past, self._state.patients, self._pairs, self._books)
        self._revisions |= known.revisions
        for absence in known.absences:
            self._absences.recall(*absence)
        self._episodes.recall(each.past for each in known.standing)
        self._state.restore(others)
        unsure = self._episodes.follow(self._again(rows, others))
        for case in cases(known.standing):  # behind what is gone through again: that takes nothing back
            self._cases.add(case)
        return {self._state.patients.tokens[slot_and_rule(pair)[0]] for pair in unsure}

    def _again(self, rows: pa.Table, others: Remembered) -> Iterator[Findings]:
        """The findings of what is remembered, in the order of appending where rules look at several streams."""
        turns = in_turn((VITALS, rows), (LABS, others.results), self._cuts(others.results))
        for stream, part in (*turns, (WEARABLES, others.samples)):
            for start in range(0, len(part), _REPLAY_ROWS):
                sliced = part.slice(start, _REPLAY_ROWS)
                book = self._books[self._packs.at(int(milliseconds(sliced["kafka_time"]).max()))]
                for found in self._state.find_again(sliced, stream, book):
                    chosen = self._relevant(sliced, _found_by(sliced, found), stream, book)
                    if chosen is not None:
                        yield chosen[0]

    def _cuts(self, results_rows: pa.Table) -> np.ndarray:
        """Append times (milliseconds) of results that a recalled episode of SIRS or SOFA may have been judged at."""
        if not len(results_rows):
            return np.empty(0, np.int64)
        known = map(slot_and_rule, self._episodes.open_pairs())
        slots = {slot for slot, rule in known if rule in ACROSS_STREAMS}
        mine = np.isin(self._state.patients.slots_in(results_rows), list(slots))
        return np.unique(milliseconds(results_rows["kafka_time"])[mine])


def _found_by(rows: pa.Table, found: list[Found]) -> list[Found]:
    """Without what was found by rows that are `KNOWN`."""
    if KNOWN not in rows.column_names or not (known := rows[KNOWN].to_numpy()).any():
        return found
    return [made.take(np.flatnonzero(~known[made.row])) for made in found]


def _wards(rows: pa.Table, stream: str) -> np.ndarray | None:
    """object[n]: each row's ward; None where the stream tells none."""
    if stream not in (VITALS, WEARABLES) or "ward" not in rows.column_names:
        return None
    index, values = dictionary(rows["ward"])
    return np.array([*values.to_pylist(), None], object)[index]


def _looks(made: Found, wards: np.ndarray, book: Rulebook) -> np.ndarray:
    """bool[k]: whether the rule of each finding looks in its ward."""
    looks = np.ones(len(made.rule), bool)
    for rule in np.unique(made.rule).tolist():
        mine = made.rule == rule
        looks[mine] = book.looks_in(rule, wards[mine])
    return looks
