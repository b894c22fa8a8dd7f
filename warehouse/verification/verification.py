"""The verification of a catalog and its store, from the first table to the last one removed.

Holds: the order of things, their time limits, and the removal of everything that was made.
Does not hold: what is done (jobs), what follows from it (judgement.py), how it is shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from warehouse.verification import judgement
from warehouse.verification.crew import DONE, LATE, Crew, Worker
from warehouse.verification.judgement import CHECKS, Attempts, not_checked
from warehouse.verification.plan import Plan, Subject
from warehouse.verification.reports import (
    Answered,
    Contents,
    Created,
    Demanded,
    Left,
    Ready,
    Sending,
    Standing,
    Tried,
    Unreachable,
    Unreadable,
)
from warehouse.verification.verdict import Check, Verdict

JOBS = "warehouse.verification.catalog_jobs:"
STORE_JOBS = "warehouse.verification.store_jobs:"

RACED, DEMANDED, LOST, REPEATED, OBJECTS = "raced", "demanded", "lost", "repeated", "objects"
TABLES = (RACED, DEMANDED, LOST, REPEATED, OBJECTS)

FIRST_ANSWER_SECONDS = 60.0
CLEAN_UP_SECONDS = 60.0
READ_SECONDS = 20.0
SETTLING_SECONDS = 1.0
RACE_SHARE = 0.5
"""Of the time that is left, how much the race may take."""

CALM_WRITERS, LAST_WRITERS = 2, 3
"""How many writers commit undisturbed before others are killed, and try to afterwards."""
UNTIMELY = 1.3
"""Writers are killed at moments spread from the sending of their commit to so many times what one takes."""

Tell = Callable[[str], None]


class CatalogUnreachableError(Exception):
    """Catalog or store cannot be used at all. `part` names which, `error` is the kind of failure."""

    def __init__(self, part: str, error: str) -> None:
        super().__init__(f"the {part} does not answer ({error})")
        self.part, self.error = part, error


def verify(subject: Subject, plan: Plan, tell: Tell = lambda line: None) -> Verdict:
    """Carry out every check and remove what was made for it; `tell` is given progress, a line each.

    Takes up to `plan.seconds` from the first answer on, and the time to clean up. Raises `CatalogUnreachableError`.
    """
    with Crew() as crew:
        run = _Run(crew, subject, plan, tell)
        try:
            run.make_tables()
            checks = run.checks()
        finally:
            # Whoever still commits would write into what is being removed.
            crew.dismiss()
            left = run.clean_up()
    return Verdict(tuple(sorted(checks, key=lambda check: CHECKS.index(check.name))), left)


class _Run:
    """One verification under way."""

    def __init__(self, crew: Crew, subject: Subject, plan: Plan, tell: Tell) -> None:
        self._crew, self._subject, self._plan, self._tell = crew, subject, plan, tell
        self._end = 0.0
        self._made = True

    def make_tables(self) -> None:
        """The namespace and the tables. Raises `CatalogUnreachableError`."""
        self._tell(f"making tables in namespace {self._subject.namespace}")
        worker = self._job(JOBS + "make_tables", list(TABLES), seconds=FIRST_ANSWER_SECONDS)
        for report in worker.told(Unreachable):
            self._made = report.part != "catalog"
            raise CatalogUnreachableError(report.part, report.error)
        if worker.ended != DONE:
            raise CatalogUnreachableError("catalog", str(worker.ended))

    def checks(self) -> list[Check]:
        """All checks; those for which there was no time are not checked."""
        self._end = time.monotonic() + self._plan.seconds
        steps: list[tuple[str, tuple[str, ...], Callable[[], list[Check]]]] = [
            ("the store", judgement.STORE_CHECKS, self._store),
            ("requirements that cannot hold", ("impossible requirements",), self._requirements),
            ("creating a name that exists", ("existing name",), self._existing_name),
            ("racing commits", ("one winner a head", "acknowledged commits", "history", "reading"), self._race),
            ("writers killed while they commit", ("lost answers",), self._lost_answers),
            ("racing creators", ("create race",), self._create_race),
        ]
        checks: list[Check] = []
        for title, names, step in steps:
            if self._plan.only and not self._plan.only.intersection(names):
                checks += [not_checked(name, "not asked for") for name in names]
                continue
            if self._left() <= 0:
                checks += [not_checked(name, self._out_of_time()) for name in names]
                continue
            self._tell(title)
            checks += step()
        return checks

    def clean_up(self) -> tuple[str, ...]:
        """Remove what was made; what could not be."""
        if not self._made:
            return ()
        self._tell("cleaning up")
        worker = self._job(JOBS + "clean_up", seconds=CLEAN_UP_SECONDS)
        left = [report.what for report in worker.told(Left)]
        if worker.ended != DONE:
            left.append(f"namespace {self._subject.namespace} ({worker.ended})")
        return tuple(left)

    def _requirements(self) -> list[Check]:
        worker = self._job(JOBS + "demand_the_impossible", DEMANDED)
        if worker.ended != DONE:
            return [not_checked("impossible requirements", _why(worker))]
        return [judgement.requirements(worker.told(Demanded))]

    def _existing_name(self) -> list[Check]:
        worker = self._job(JOBS + "create_again", REPEATED)
        if worker.ended != DONE:
            return [not_checked("existing name", _why(worker))]
        return [judgement.existing_name(worker.told(Standing), worker.told(Created))]

    def _race(self) -> list[Check]:
        seconds = self._left() * RACE_SHARE
        end = time.monotonic() + seconds
        watcher = self._crew.start(JOBS + "watch", self._subject, RACED, seconds)
        writers = self._writers(seconds)
        self._crew.finish(writers, end + READ_SECONDS, _Progress(self._tell, writers, self._plan.commits).show)
        watcher.go_on()
        self._crew.finish([watcher], time.monotonic() + READ_SECONDS)
        told = [writer.reports for writer in writers]
        attempts = Attempts.of(told)
        contents, watched = self._contents(RACED), watcher.reports
        if contents is None:
            watched = [*watched, Unreadable("after the race")]
        return [
            judgement.one_winner(attempts, self._plan.commits, sum(writer.ended != DONE for writer in writers)),
            *_of_contents(attempts, contents),
            judgement.reading(watched, told),
        ]

    def _writers(self, seconds: float) -> list[Worker]:
        plan = self._plan
        meetings = min(plan.meetings, max(1, plan.commits // 2))
        barrier = self._crew.barrier(plan.writers)
        return [
            self._crew.start(JOBS + "race", self._subject, RACED, n, plan.commits, meetings, barrier, seconds)
            for n in range(plan.writers)
        ]

    def _lost_answers(self) -> list[Check]:
        plan = self._plan
        calm, after = self._committers("calm", CALM_WRITERS), self._committers("after", LAST_WRITERS)
        deaf = self._committers("deaf", plan.deaf_writers, deaf=True)
        victims = self._committers("killed", plan.killed_writers)
        takes = min(self._duration(worker) for worker in calm)
        for n, victim in enumerate(victims):
            self._kill_within(victim, takes * UNTIMELY * n / max(1, len(victims) - 1))
        for worker in deaf:
            self._let_go(worker)
            self._crew.finish([worker], self._end)
        goes_on = any(self._is_acknowledged(worker) for worker in after)
        if not goes_on and self._left() <= 0:
            return [not_checked("lost answers", self._out_of_time())]
        then = self._contents(LOST)
        time.sleep(SETTLING_SECONDS)
        later = self._contents(LOST)
        if then is None or later is None:
            return [not_checked("lost answers", "the table could not be read afterwards")]
        attempts = Attempts.of(worker.reports for worker in (*calm, *victims, *deaf, *after))
        return [judgement.lost_answers(attempts, goes_on, then, later)]

    def _committers(self, name: str, count: int, deaf: bool = False) -> list[Worker]:
        job = JOBS + "commit_when_let_go"
        return [self._crew.start(job, self._subject, LOST, f"{name}-{n}", deaf) for n in range(count)]

    def _duration(self, worker: Worker) -> float:
        """Seconds from a commit's sending to its answer."""
        self._let_go(worker)
        worker.wait_for(Sending, self._end)
        began = time.monotonic()
        worker.wait_for(Answered, self._end)
        return time.monotonic() - began

    def _kill_within(self, worker: Worker, seconds: float) -> None:
        self._let_go(worker)
        if worker.wait_for(Sending, self._end):
            time.sleep(seconds)
        worker.kill()

    def _is_acknowledged(self, worker: Worker) -> bool:
        self._let_go(worker)
        worker.wait_for(Answered, self._end)
        return any(answer.outcome == "acknowledged" for answer in worker.told(Answered))

    def _let_go(self, worker: Worker) -> None:
        worker.wait_for(Ready, self._end)
        worker.go_on()

    def _store(self) -> list[Check]:
        plan = self._plan
        worker = self._job(STORE_JOBS + "try_objects", OBJECTS, plan.objects, plan.racing_puts)
        tried = {report.check: report for report in worker.told(Tried)}
        return [
            judgement.store(tried[name]) if name in tried else not_checked(name, _why(worker))
            for name in judgement.STORE_CHECKS
        ]

    def _create_race(self) -> list[Check]:
        names = [f"created_{n}" for n in range(self._plan.created_names)]
        barrier = self._crew.barrier(self._plan.writers)
        creators = [self._crew.start(JOBS + "create", self._subject, names, barrier) for _ in range(self._plan.writers)]
        self._crew.finish(creators, self._end)
        looker = self._job(JOBS + "look_up", names)
        if looker.ended != DONE:
            return [not_checked("create race", _why(looker))]
        created = [report for creator in creators for report in creator.told(Created)]
        return [judgement.create_race(created, looker.told(Standing), len(creators))]

    def _contents(self, table: str) -> Contents | None:
        """The table as it stands; None if it cannot be read, tried twice."""
        for _ in range(2):
            for found in self._job(JOBS + "read", table, seconds=READ_SECONDS).told(Contents):
                return found
        return None

    def _job(self, job: str, *arguments: Any, seconds: float | None = None) -> Worker:
        """A job done by a process alone."""
        worker = self._crew.start(job, self._subject, *arguments)
        self._crew.finish([worker], time.monotonic() + (self._left() if seconds is None else seconds))
        return worker

    def _out_of_time(self) -> str:
        return f"the {self._plan.seconds:.0f} s were over"

    def _left(self) -> float:
        return self._end - time.monotonic()


class _Progress:
    """Tells of the race each time another tenth of the commits is acknowledged."""

    def __init__(self, tell: Tell, writers: list[Worker], commits: int) -> None:
        self._tell, self._writers, self._commits, self._told = tell, writers, commits, 0

    def show(self) -> None:
        answers = [answer for writer in self._writers for answer in writer.told(Answered)]
        done = sum(answer.outcome == "acknowledged" for answer in answers)
        if (tenth := done * 10 // self._commits) > self._told:
            self._told = tenth
            self._tell(f"racing commits: {done} acknowledged, {len(answers) - done} refused or unclear")


def _of_contents(attempts: Attempts, contents: Contents | None) -> list[Check]:
    if contents is None:
        why = "the table could not be read after the race"
        return [not_checked(name, why) for name in ("acknowledged commits", "history")]
    return [judgement.acknowledged(attempts, contents), judgement.history(contents)]


def _why(worker: Worker) -> str:
    return LATE if worker.ended == LATE else f"it ended with {worker.ended}"
