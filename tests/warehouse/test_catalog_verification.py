"""A verification says "fit" of catalogs that keep their word, and catches each of the ways in which one may not."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from warehouse.catalog import open_catalog
from warehouse.settings import Settings
from warehouse.verification import catalog_jobs, judgement, store_jobs
from warehouse.verification.crew import LATE, Crew, Post
from warehouse.verification.judgement import CHECKS, INFORMATIVE, NEEDED, STORE_CHECKS, Attempts, not_checked
from warehouse.verification.plan import Plan, Subject
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
    Unreachable,
    Unreadable,
)
from warehouse.verification.verdict import Check, Verdict
from warehouse.verification.verification import CatalogUnreachableError, verify

SMALL = Plan(
    writers=2,
    commits=6,
    seconds=250.0,
    meetings=3,
    created_names=2,
    killed_writers=2,
    deaf_writers=1,
    objects=3,
    racing_puts=3,
)
BROKEN = "tests.warehouse.broken_catalogs:"
NAMESPACE = "wardstream_verify_test"
pytestmark = pytest.mark.timeout(420)


# Real catalogs and stores


@pytest.mark.parametrize("kind", ["postgres", "rest"])
def test_a_catalog_that_keeps_its_word_is_fit_and_nothing_is_left_of_the_trial(
    request: pytest.FixtureRequest, kind: str
) -> None:
    lake: Settings = request.getfixturevalue(f"{kind}_lake")
    told: list[str] = []
    verdict = verify(Subject(lake, NAMESPACE), SMALL, told.append)
    assert verdict.fitness == "fit", verdict.failures
    assert [check.name for check in verdict.checks] == list(CHECKS)
    assert {check.outcome for check in verdict.checks if check.needed} == {"passed"}
    assert verdict.left_behind == ()
    assert (NAMESPACE,) not in open_catalog(lake).list_namespaces()
    assert objects_of(lake) == []
    assert "racing commits" in told


def test_a_trial_leaves_the_tables_beside_it_alone(folder_lake: Settings) -> None:
    catalog = open_catalog(folder_lake)
    catalog.create_namespace(folder_lake.namespace)
    identifier = (folder_lake.namespace, "kept")
    before = catalog.create_table(identifier, catalog_jobs.SCHEMA)
    verify(Subject(folder_lake, NAMESPACE), replace(SMALL, seconds=0.0))
    assert catalog.list_namespaces() == [(folder_lake.namespace,)]
    assert catalog.load_table(identifier).metadata == before.metadata


def test_what_is_not_on_s3_has_no_verdict_and_says_why(folder_lake: Settings) -> None:
    verdict = verify(Subject(folder_lake, NAMESPACE), replace(SMALL, only=frozenset({"read after write"})))
    assert verdict.fitness == "undecided"
    found = {check.name: check.evidence for check in verdict.checks if check.name in STORE_CHECKS}
    assert found == dict.fromkeys(STORE_CHECKS, "the warehouse does not lie on S3")


def test_without_time_nothing_passes(folder_lake: Settings) -> None:
    verdict = verify(Subject(folder_lake, NAMESPACE), replace(SMALL, seconds=0.0))
    assert {(check.outcome, check.evidence) for check in verdict.checks} == {("not checked", "the 0 s were over")}
    assert verdict.fitness == "undecided"


def test_a_store_that_is_away_is_named_and_the_catalog_cleaned(store_lake: Settings) -> None:
    away = replace(store_lake, s3_endpoint="http://127.0.0.1:9")
    with pytest.raises(CatalogUnreachableError, match="the store does not answer"):
        verify(Subject(away, NAMESPACE), SMALL)
    assert open_catalog(store_lake).list_namespaces() == []


@pytest.mark.parametrize(
    ("uri", "error"), [("http://127.0.0.1:9", "ConnectionError"), ("foo://nowhere", "NoSuchModuleError")]
)
def test_a_catalog_that_is_away_is_named(folder_lake: Settings, uri: str, error: str) -> None:
    with pytest.raises(CatalogUnreachableError) as raised:
        verify(Subject(replace(folder_lake, catalog_uri=uri), NAMESPACE), SMALL)
    assert (raised.value.part, raised.value.error) == ("catalog", error)


# Broken catalogs and stores


@pytest.mark.parametrize(
    ("fault", "blamed"),
    [
        ("ignores_requirements", {"acknowledged commits", "impossible requirements"}),
        ("last_write_wins", {"one winner a head", "acknowledged commits"}),
        ("acknowledges_and_loses", {"one winner a head", "acknowledged commits"}),
        ("refuses_and_makes", {"acknowledged commits"}),
        ("repeats_commits", {"acknowledged commits"}),
        ("lets_first_commits_overwrite", {"impossible requirements"}),
        ("knows_no_uuid", {"impossible requirements"}),
        ("shows_no_history", {"history"}),
        ("shows_an_older_table", {"reading"}),
        ("loses_sight_of_tables", {"reading"}),
        ("replaces_what_exists", {"existing name"}),
    ],
)
def test_a_broken_catalog_is_not_fit(folder_lake: Settings, fault: str, blamed: set[str]) -> None:
    plan = replace(SMALL, only=frozenset(blamed))
    verdict = verify(Subject(folder_lake, NAMESPACE, open_catalog=BROKEN + fault), plan)
    assert verdict.fitness == "not fit"
    assert set(verdict.because) >= blamed, {check.name: check.evidence for check in verdict.checks}


@pytest.mark.parametrize(
    ("fault", "failed"),
    [
        ("lists_late", {"list after write"}),
        ("reads_late", {"read after write", "read after overwrite", "If-None-Match", "If-Match"}),
        ("keeps_deleted", {"delete"}),
        ("ignores_conditions", {"If-None-Match", "If-Match"}),
        ("offers_no_conditions", set()),
    ],
)
def test_a_store_that_lies_is_caught_in_its_lie(store_lake: Settings, fault: str, failed: set[str]) -> None:
    subject = Subject(store_lake, NAMESPACE, open_store=BROKEN + fault)
    post = Told()
    catalog_jobs.make_tables(post, subject, ["objects"])
    store_jobs.try_objects(post, subject, "objects", 3, 3)
    catalog_jobs.clean_up(post, subject)
    checks = [judgement.store(report) for report in post.reports]
    assert {check.name for check in checks if check.outcome == "failed"} == failed
    unchecked = {"If-None-Match", "If-Match"} if fault == "offers_no_conditions" else set()
    assert {check.name for check in checks if check.outcome == "not checked"} == unchecked


# Verdicts


def verdict_of(**outcomes: str) -> Verdict:
    """All checks passed but those given (spaces in names as _)."""
    told = {name.replace("_", " "): outcome for name, outcome in outcomes.items()}
    return Verdict(tuple(Check(name, name in NEEDED, told.get(name, "passed"), "") for name in CHECKS))  # type: ignore[arg-type]


def test_only_what_is_needed_decides() -> None:
    assert verdict_of().fitness == "fit"
    assert verdict_of(create_race="failed", delete="not checked").fitness == "fit"
    assert verdict_of(history="failed", reading="not checked").fitness == "not fit"
    assert verdict_of(history="failed", reading="failed").because == ("history", "reading")
    assert verdict_of(reading="not checked").fitness == "undecided"
    assert verdict_of(reading="not checked").because == ("reading",)
    assert Verdict(()).fitness == "undecided"


def test_every_check_says_why_it_matters_or_why_not() -> None:
    assert not set(NEEDED) & set(INFORMATIVE)
    assert set(STORE_CHECKS) < set(CHECKS)
    assert not_checked("history", "").needed
    assert not not_checked("create race", "").needed


# Judgements


def attempts(*sent: tuple[str, int | None, str]) -> Attempts:
    """(token, parent, outcome); without outcome there was no answer."""
    reports = [Sending(token, parent, 1) for token, parent, _ in sent]
    return Attempts.of([reports, [Answered(token, outcome) for token, _, outcome in sent if outcome]])


def contents(*tokens: str, rows: Iterable[str] | None = None) -> Contents:
    """A table whose line is these commits."""
    line = [Commit(n, n - 1 if n > 1 else None, token, n) for n, token in enumerate(tokens, start=1)]
    return Contents(len(tokens) or None, tuple(line), tuple(tokens if rows is None else rows))


WON, LOST = "acknowledged", "refused"


def outcome_of(check: Check, *nonzero: str) -> str:
    """The outcome, after a look whether these figures (and no others that make a check fail) are not 0."""
    assert all(check.counts[name] for name in nonzero), check.counts
    return check.outcome


def test_two_winners_on_one_head_fail() -> None:
    good = attempts(("a", None, WON), ("b", None, LOST), ("c", 1, LOST), ("d", 1, WON))
    assert judgement.one_winner(good, 2, 0).outcome == "passed"
    bad = judgement.one_winner(attempts(("a", None, WON), ("b", None, WON)), 2, 0)
    assert bad.outcome == "failed"
    assert "the empty table among them" in bad.evidence


def test_writers_that_never_met_prove_nothing() -> None:
    apart = attempts(("a", None, WON), ("b", 1, WON))
    assert judgement.one_winner(apart, 2, 0).outcome == "not checked"
    nobody = attempts(("a", None, LOST), ("b", None, LOST))
    assert judgement.one_winner(nobody, 2, 0).outcome == "not checked"
    assert judgement.acknowledged(nobody, contents()).outcome == "not checked"


def test_a_race_that_was_cut_short_says_so() -> None:
    short = judgement.one_winner(attempts(("a", None, WON), ("b", None, LOST)), wanted=9, ended_early=1)
    assert "fewer acknowledged than the 9" in short.evidence
    assert "1 writers did not end by themselves" in short.evidence


def test_rows_answer_for_the_commits() -> None:
    sent = attempts(("a", None, WON), ("b", None, LOST), ("c", 1, ""))
    assert judgement.acknowledged(sent, contents("a")).outcome == "passed"
    assert judgement.acknowledged(sent, contents("a", "c")).outcome == "passed"
    for rows, fault in (("c", "lost"), ("aa", "doubled"), ("acc", "doubled"), ("ab", "landed_though_refused")):
        assert outcome_of(judgement.acknowledged(sent, contents(*rows)), fault) == "failed"
    assert outcome_of(judgement.acknowledged(sent, contents("a", "x")), "foreign") == "failed"


def test_a_history_has_no_gap_no_fork_and_every_row_s_commit() -> None:
    assert judgement.history(contents("a", "b", "c")).outcome == "passed"
    assert judgement.history(contents()).outcome == "not checked"
    whole = contents("a", "b", "c")
    forked = replace(whole, snapshots=(*whole.snapshots, Commit(9, 1, "d", 2)))
    assert outcome_of(judgement.history(forked), "forks") == "failed"
    head_only = replace(whole, snapshots=whole.snapshots[2:])
    assert outcome_of(judgement.history(head_only), "rows_not_in_line", "gaps") == "failed"
    assert outcome_of(judgement.history(contents("a", "b", rows=["a"])), "in_line_without_row") == "failed"


def test_an_accepted_or_effective_impossible_commit_fails() -> None:
    refused = Demanded("an older head", Answered("t", LOST), head_moved=False)
    assert judgement.requirements([refused]).outcome == "passed"
    assert judgement.requirements([refused, replace(refused, answer=Answered("t", WON))]).outcome == "failed"
    assert judgement.requirements([replace(refused, head_moved=True)]).outcome == "failed"
    unclear = replace(refused, answer=Answered("t", "unknown", "BadRequestError"))
    assert "not as conflicts: 1 BadRequestError" in judgement.requirements([unclear]).evidence
    assert judgement.requirements([]).outcome == "not checked"


def test_a_lost_answer_is_decided_once_and_for_all() -> None:
    sent = attempts(("calm", None, WON), ("killed", 1, ""))
    absent, present = contents("calm"), contents("calm", "killed")
    assert judgement.lost_answers(sent, True, absent, absent).outcome == "passed"
    assert judgement.lost_answers(sent, True, present, present).outcome == "passed"
    assert outcome_of(judgement.lost_answers(sent, True, absent, present), "changed_their_mind") == "failed"
    assert outcome_of(judgement.lost_answers(sent, True, present, absent), "changed_their_mind") == "failed"
    assert outcome_of(judgement.lost_answers(sent, False, absent, absent), "stuck") == "failed"
    twice = contents("calm", "killed", "killed")
    assert outcome_of(judgement.lost_answers(sent, True, twice, twice), "doubled") == "failed"
    hidden = contents("calm", rows=["calm", "killed"])
    assert outcome_of(judgement.lost_answers(sent, True, hidden, hidden), "not_findable") == "failed"
    gone = contents("killed")
    assert outcome_of(judgement.lost_answers(sent, True, gone, gone), "acknowledged_lost") == "failed"
    answered = attempts(("calm", None, WON))
    assert judgement.lost_answers(answered, True, absent, absent).outcome == "not checked"


def test_readers_see_every_row_and_never_an_older_table() -> None:
    good = [Loaded(1, 1), Loaded(1, 1), Loaded(3, 3)]
    assert judgement.reading(good, []).outcome == "passed"
    assert judgement.reading([], []).outcome == "not checked"
    assert outcome_of(judgement.reading([*good, Unreadable("NoSuchTableError")], []), "failed") == "failed"
    assert outcome_of(judgement.reading([*good, Loaded(4, 3)], []), "rows_wrong") == "failed"
    assert outcome_of(judgement.reading([*good, Loaded(2, 2)], []), "went_back") == "failed"
    writer = [Loaded(0), Sending("a", None, 1), Answered("a", WON), Loaded(1)]
    assert judgement.reading(good, [writer]).outcome == "passed"
    assert outcome_of(judgement.reading(good, [[*writer, Loaded(0)]]), "own_commit_not_seen") == "failed"


def test_creators_of_one_name_are_shown_the_table_that_stands() -> None:
    stands = [Standing("t", "u1", ("token",), ())]
    told = [Created("t", "u1"), Created("t", None, exists=True), Created("t", "u1")]
    assert judgement.create_race(told, stands, 3).outcome == "passed"
    assert judgement.create_race([*told, Created("t", "u2")], stands, 4).outcome == "failed"
    assert judgement.create_race([], [], 4).outcome == "not checked"


def test_a_table_survives_the_creation_of_its_name() -> None:
    before = Standing("t", "u1", ("token",), ("kept",))
    again = [Created("t", "u1")]
    assert judgement.existing_name([before, before], again).outcome == "passed"
    for after in (replace(before, uuid="u2"), replace(before, tokens=()), replace(before, columns=("other",))):
        assert judgement.existing_name([before, after], again).outcome == "failed"
    assert judgement.existing_name([before], again).outcome == "not checked"


def test_a_store_that_was_not_tried_has_not_passed() -> None:
    assert judgement.store(Tried("delete", 3, 0)).outcome == "passed"
    assert judgement.store(Tried("delete", 3, 1)).outcome == "failed"
    assert judgement.store(Tried("delete", 0, 0, untried="why not")) == not_checked("delete", "why not")


# Processes


class Told:
    """Takes reports."""

    def __init__(self) -> None:
        self.reports: list[Any] = []

    def tell(self, report: object) -> None:
        self.reports.append(report)


def tell_and_sleep(post: Post, seconds: float) -> None:
    post.tell(Loaded(1))
    time.sleep(seconds)


def fail(post: Post) -> None:
    raise KeyError("secret")


def test_a_process_that_does_not_end_is_ended_and_what_it_told_is_kept() -> None:
    with Crew() as crew:
        slow = crew.start("tests.warehouse.test_catalog_verification:tell_and_sleep", 600.0)
        assert slow.wait_for(Loaded, time.monotonic() + 120)
        began = time.monotonic()
        crew.finish([slow], began + 0.2)
        assert (slow.ended, slow.reports) == (LATE, [Loaded(1)])
        assert time.monotonic() < began + 30


def test_a_process_that_fails_tells_the_kind_and_nothing_else() -> None:
    with Crew() as crew:
        failing = crew.start("tests.warehouse.test_catalog_verification:fail")
        crew.finish([failing], time.monotonic() + 120)
        assert (failing.ended, failing.reports) == ("KeyError", [])


def objects_of(lake: Settings) -> list[str]:
    """Names of objects that belong to a trial."""
    bucket = lake.warehouse.removeprefix("s3://").partition("/")[0]
    pages = store_jobs.open_store(lake).get_paginator("list_objects_v2").paginate(Bucket=bucket)
    names = [found["Key"] for page in pages for found in page.get("Contents", [])]
    return [name for name in names if NAMESPACE in name]


def test_what_does_not_answer_is_told_by_its_kind(store_lake: Settings) -> None:
    post = Told()
    catalog_jobs.make_tables(post, Subject(replace(store_lake, catalog_uri="http://127.0.0.1:9"), NAMESPACE), ["a"])
    assert post.reports == [Unreachable("catalog", "ConnectionError")]
