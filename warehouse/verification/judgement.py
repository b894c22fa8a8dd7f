"""From what was seen to what it means: one pure function a check.

Holds: the rules, each with its evidence in words and figures; which checks are needed, and why.
Does not hold: any server, process or clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from warehouse.verification.reports import (
    Answered,
    Commit,
    Contents,
    Created,
    Demanded,
    Loaded,
    Sending,
    Standing,
    Tried,
    Unreadable,
)
from warehouse.verification.verdict import Check

NEEDED = {
    "one winner a head": "the fence rests on it: of the commits made on one head the catalog accepts at most one",
    "acknowledged commits": "what was acknowledged is never offered again; what was refused is offered again",
    "history": "a commit whose answer was lost is looked up in it",
    "impossible requirements": "a commit made on another head or table than the one that stands is refused",
    "lost answers": "a commit whose answer was lost stands once or not at all, and for good",
    "reading": "a fresh load shows what was acknowledged; an older head would look like lost messages",
    "existing name": "a table is never replaced by creating its name: other hosts may create at the same time",
    "read after write": "a snapshot names files that were written a moment before",
    "list after write": "what upkeep does not see it takes for absent",
}
INFORMATIVE = {
    "create race": "tables are created under a lock on one host and then compared",
    "read after overwrite": "object names are used once",
    "delete": "no commit or query depends on it",
    "If-None-Match": "not relied on: the catalog decides, not the store",
    "If-Match": "not relied on: the catalog decides, not the store",
}
CHECKS = (*NEEDED, *INFORMATIVE)
STORE_CHECKS = ("read after write", "list after write", "read after overwrite", "delete", "If-None-Match", "If-Match")


@dataclass(frozen=True, slots=True)
class Attempts:
    """All commits of several processes: how each was sent, and how answered (one without an answer: `unknown`)."""

    sent: Mapping[str, Sending]
    answers: Mapping[str, Answered]

    @classmethod
    def of(cls, told: Iterable[Sequence[object]]) -> Attempts:
        """From the reports of each process."""
        reports = [report for reports in told for report in reports]
        return cls(
            {report.token: report for report in reports if isinstance(report, Sending)},
            {report.token: report for report in reports if isinstance(report, Answered)},
        )

    def tokens(self, outcome: str) -> list[str]:
        """Those that were answered so, in order."""
        return [token for token in self.sent if self._outcome(token) == outcome]

    def errors(self) -> str:
        """Kinds of errors and how many, in words; empty for none."""
        return _kinds(answer.error for answer in self.answers.values() if answer.error)

    def _outcome(self, token: str) -> str:
        return self.answers[token].outcome if token in self.answers else "unknown"


def not_checked(name: str, why: str) -> Check:
    """A check that could not be carried out."""
    return Check(name, name in NEEDED, "not checked", why)


def one_winner(attempts: Attempts, wanted: int, ended_early: int) -> Check:
    """Of the commits sent on one head, at most one acknowledged. `wanted`: how many commits were to be acknowledged;
    `ended_early`: writers that failed or had to be stopped."""
    name = "one winner a head"
    by_head: dict[int | None, list[str]] = {}
    for token, sent in attempts.sent.items():
        by_head.setdefault(sent.parent, []).append(token)
    won = {token: attempts.sent[token].parent for token in attempts.tokens("acknowledged")}
    winners = Counter(won.values())
    met = [head for head, tokens in by_head.items() if len(tokens) > 1]
    several = [head for head in met if winners[head] > 1]
    counts = {
        "commits": len(attempts.sent),
        "acknowledged": len(won),
        "refused": len(attempts.tokens("refused")),
        "unknown": len(attempts.tokens("unknown")),
        "contested_heads": len(met),
        "heads_with_several_winners": len(several),
        "writers_ended_early": ended_early,
    }
    seen = _race_in_words(counts, attempts)
    seen += f"; fewer acknowledged than the {wanted} asked for" if len(won) < wanted else ""
    if several:
        first = " (the empty table among them)" if None in several else ""
        return Check(name, True, "failed", f"{len(several)} heads have more than one winner{first}; {seen}", counts)
    if not met or not won:
        return Check(name, True, "not checked", f"no head was contested and won; {seen}", counts)
    return Check(name, True, "passed", seen, counts)


def acknowledged(attempts: Attempts, contents: Contents) -> Check:
    """Every acknowledged commit's row is there once, no refused one's is, nothing is there twice."""
    name = "acknowledged commits"
    rows = Counter(contents.tokens)
    won, refused = attempts.tokens("acknowledged"), attempts.tokens("refused")
    counts = {
        "acknowledged": len(won),
        "lost": sum(token not in rows for token in won),
        "doubled": sum(n > 1 for n in rows.values()),
        "landed_though_refused": sum(token in rows for token in refused),
        "foreign": sum(token not in attempts.sent for token in rows),
        "rows": rows.total(),
    }
    words = (
        f"of {counts['acknowledged']} acknowledged commits {counts['lost']} lost, {counts['doubled']} doubled; "
        f"of {len(refused)} refused {counts['landed_though_refused']} landed; {counts['rows']} rows"
    )
    wrong = ("lost", "doubled", "landed_though_refused", "foreign")
    return _judged(name, words, counts, wrong, checked=bool(won))


def history(contents: Contents) -> Check:
    """From the head back to the first commit: no gap, no fork, counters from 1, the commits whose rows are there."""
    name = "history"
    line = _line(contents)
    rows = set(contents.tokens)
    counters = [commit.counter for commit in reversed(line)]
    counts = {
        "commits_in_line": len(line),
        "rows": len(rows),
        "rows_not_in_line": len(rows - {commit.token for commit in line}),
        "in_line_without_row": sum(commit.token not in rows for commit in line),
        "forks": len(contents.snapshots) - len(line),
        "gaps": int(counters != list(range(1, len(counters) + 1))),
    }
    words = f"{len(line)} commits from head to start for {len(rows)} rows, {counts['forks']} beside the line"
    if counts["gaps"]:
        words += ", counters not from 1 by 1"
    if counts["rows_not_in_line"]:
        words += f"; {counts['rows_not_in_line']} commits whose rows are there cannot be found in it"
    wrong = ("rows_not_in_line", "in_line_without_row", "forks", "gaps")
    return _judged(name, words, counts, wrong, checked=bool(line))


def requirements(demands: Sequence[Demanded]) -> Check:
    """No commit with a requirement that cannot hold was accepted or moved the head."""
    name = "impossible requirements"
    accepted = [d.requirement for d in demands if d.answer.outcome == "acknowledged" or d.head_moved]
    counts = {"sent": len(demands), "accepted": len(accepted)}
    if accepted:
        return Check(name, True, "failed", f"accepted on: {', '.join(accepted)}", counts)
    if not demands:
        return not_checked(name, "nothing was sent")
    others = _kinds(d.answer.error for d in demands if d.answer.error)
    words = f"all {len(demands)} refused: {', '.join(d.requirement for d in demands)}"
    return Check(name, True, "passed", words + (f" (not as conflicts: {others})" if others else ""), counts)


def lost_answers(attempts: Attempts, goes_on: bool, then: Contents, later: Contents) -> Check:
    """Writers were killed while they committed, or did not look at the answer. `goes_on`: another commit was
    acknowledged afterwards, so nothing may change any more: `then` is the table right after it, `later` a while later.
    """
    name = "lost answers"
    rows, before = Counter(later.tokens), set(then.tokens)
    in_line = {commit.token for commit in _line(later)}
    unknown = attempts.tokens("unknown")
    counts = {
        "answers_lost": len(unknown),
        "landed": sum(token in rows for token in unknown),
        "doubled": sum(rows[token] > 1 for token in attempts.sent),
        "acknowledged_lost": sum(token not in rows for token in attempts.tokens("acknowledged")),
        "changed_their_mind": sum((token in rows) != (token in before) for token in unknown),
        "not_findable": sum(token in rows and token not in in_line for token in unknown),
        "stuck": int(not goes_on),
    }
    words = (
        f"{counts['answers_lost']} commits whose answer was lost: {counts['landed']} landed, "
        f"{counts['doubled']} twice; {counts['changed_their_mind']} came or went after a later commit, "
        f"{counts['not_findable']} cannot be found in the history"
    )
    words += "" if goes_on else "; no commit was acknowledged afterwards"
    wrong = ("doubled", "acknowledged_lost", "changed_their_mind", "not_findable", "stuck")
    return _judged(name, words, counts, wrong, checked=bool(unknown))


def reading(watched: Sequence[object], writers: Iterable[Sequence[object]]) -> Check:
    """Every load worked and had the rows that its head counts; nobody saw an older table after a newer one."""
    name = "reading"
    loads = [report for report in watched if isinstance(report, Loaded)]
    errors = [report.error for report in watched if isinstance(report, Unreadable)]
    counters = [load.counter for load in loads]
    counts = {
        "reads": len(loads) + len(errors),
        "failed": len(errors),
        "rows_wrong": sum(load.rows != load.counter for load in loads),
        "went_back": sum(after < before for before, after in pairwise(counters)),
        "own_commit_not_seen": sum(_unseen(reports) for reports in writers),
    }
    words = f"{counts['reads']} reads of all rows during the race, {counts['failed']} failed"
    words += f" ({_kinds(errors)})" if errors else ""
    words += f", {counts['rows_wrong']} with other rows than the head counts, {counts['went_back']} of an older table"
    words += f"; {counts['own_commit_not_seen']} loads without the loader's own last commit"
    wrong = ("failed", "rows_wrong", "went_back", "own_commit_not_seen")
    return _judged(name, words, counts, wrong, checked=bool(loads or errors))


def existing_name(standing: Sequence[Standing], again: Sequence[Created]) -> Check:
    """The table before and after its name was created again, and how that was answered."""
    name = "existing name"
    if len(standing) != 2 or len(again) != 1:
        return not_checked(name, "the table could not be read before and after")
    before, after = standing
    if before != after:
        return Check(name, True, "failed", "creating the name again put another table in its place")
    how = "refused" if again[0].exists else again[0].error or "answered with the table that stands"
    return Check(name, True, "passed", f"created again with other columns: {how}; table and row as before")


def create_race(created: Sequence[Created], standing: Sequence[Standing], creators: int) -> Check:
    """Each name ends as one table, and every creator that was not refused was shown that one."""
    name = "create race"
    stands = {found.table: found.uuid for found in standing}
    replaced = {c.table for c in created if c.uuid is not None and c.uuid != stands.get(c.table)}
    errors = [c.error for c in created if c.error]
    counts = {
        "names": len(stands),
        "told_created": sum(c.uuid is not None for c in created),
        "refused": sum(c.exists for c in created),
        "errors": len(errors),
        "names_replaced": len(replaced),
    }
    words = (
        f"{creators} creators of each of {counts['names']} names: {counts['told_created']} were shown a table, "
        f"{counts['refused']} refused"
    )
    words += f", {len(errors)} errors ({_kinds(errors)})" if errors else ""
    words += f"; of {len(replaced)} names somebody was shown another table than the one that stands" if replaced else ""
    return _judged(name, words, counts, ("names_replaced",), checked=bool(stands))


def store(tried: Tried) -> Check:
    """A behaviour of the store, from its report."""
    counts = {"tries": tried.tries, "wrong": tried.wrong}
    if tried.untried:
        return not_checked(tried.check, tried.untried)
    words = f"{tried.wrong} of {tried.tries} {tried.remark}"
    return _judged(tried.check, words, counts, ("wrong",), checked=tried.tries > 0)


def _judged(name: str, words: str, counts: Mapping[str, int], wrong: Sequence[str], checked: bool) -> Check:
    """Failed if any of the counts named `wrong` is not 0; else passed, if there was anything to look at."""
    outcome = "failed" if any(counts[key] for key in wrong) else "passed" if checked else "not checked"
    return Check(name, name in NEEDED, outcome, words, counts)


def _line(contents: Contents) -> list[Commit]:
    """The head and its ancestors, newest first, as far as they are served."""
    by_id = {commit.snapshot_id: commit for commit in contents.snapshots}
    line: list[Commit] = []
    commit = by_id.get(contents.head) if contents.head is not None else None
    while commit is not None and len(line) < len(by_id):
        line.append(commit)
        commit = by_id.get(commit.parent) if commit.parent is not None else None
    return line


def _unseen(reports: Sequence[object]) -> int:
    """How often a writer loaded the table and found its head to count less than its own last commit did."""
    unseen = last = 0
    counters = {report.token: report.counter for report in reports if isinstance(report, Sending)}
    for report in reports:
        if isinstance(report, Answered) and report.outcome == "acknowledged":
            last = counters[report.token]
        elif isinstance(report, Loaded):
            unseen += report.counter < last
    return unseen


def _race_in_words(counts: Mapping[str, int], attempts: Attempts) -> str:
    words = (
        f"{counts['commits']} commits, {counts['contested_heads']} heads contested: {counts['acknowledged']} "
        f"acknowledged, {counts['refused']} refused"
    )
    if counts["unknown"]:
        words += f", {counts['unknown']} without a clear answer"
        words += f" ({attempts.errors()})" if attempts.errors() else ""
    if counts["writers_ended_early"]:
        words += f"; {counts['writers_ended_early']} writers did not end by themselves"
    return words


def _kinds(errors: Iterable[str]) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in sorted(Counter(errors).items()))
