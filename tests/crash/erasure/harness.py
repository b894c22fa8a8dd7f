"""Kills of an erasure between any two of its steps, and the judgement after each.

Holds: rounds. In each somebody is erased by processes that die, one after the other, at steps drawn by lot or, where
steps are left that nobody died at, at those; the last one is let through.
Does not hold: the dying (victim.py).
"""

from __future__ import annotations

import json
import multiprocessing
import random
import signal
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from infra.verifier.search import Trace
from infra.verifier.verify import check
from tests.crash.erasure import victim
from tests.warehouse.erasure.made import DAYS, Ward
from warehouse.erasure.run import certificate_file
from warehouse.erasure.states import CERTIFIED
from warehouse.settings import Settings

TABLES = ("vitals", "rejects", "vitals_by_hour", "erasure_requests", "erasure_receipts", "retention_holds")
WITH_PEOPLE = ("vitals", "rejects", "vitals_by_hour")
LONGEST_SECONDS = 600
KILLS_A_ROUND = 6


@dataclass(slots=True)
class Report:
    """Kills by the step at which they came, and what was wrong afterwards."""

    kills: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    wrong: list[str] = field(default_factory=list)

    def lines(self) -> dict[str, object]:
        return {
            "kills": sum(self.kills.values()),
            "steps": dict(sorted(self.kills.items())),
            "rounds": self.rounds,
            "wrong": self.wrong,
        }


@dataclass
class Rounds:
    """One lake in a folder, and people who are erased from it one after another."""

    folder: Path
    seed: int
    report: Report = field(default_factory=Report)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._environment = {
            "WARDSTREAM_HOME": str(self.folder / "home"),
            "WARDSTREAM_WAREHOUSE": f"file://{self.folder}/home/lake",
            "WARDSTREAM_NAMESPACE": "killed",
        }
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["tests.crash.erasure.victim"])
        self._steps = 150
        self._died_at: set[int] = set()
        self._now = datetime(2026, 11, 20, 12, tzinfo=UTC)

    def run(self, kills: int) -> Report:
        """Rounds until so many kills were given. Raises RuntimeError where a process ends as nobody ordered."""
        ward = Ward(Settings.from_environment(self._environment), tables=TABLES)
        ward.ingest(people=[f"P9{n:05d}" for n in range(4)])
        ward.vault.close()
        while sum(self.report.kills.values()) < kills:
            self._round(kills)
            (self.folder / "report.json").write_text(json.dumps({"seed": self.seed, **self.report.lines()}))
        return self.report

    def _round(self, kills: int) -> None:
        self.report.rounds += 1
        person, day = f"P{self.report.rounds:06d}", DAYS[self.report.rounds % len(DAYS)]
        others = self._fill(person, day)
        for _ in range(min(KILLS_A_ROUND, kills - sum(self.report.kills.values()))):
            if not self._killed():
                break
            self._judge(person, others, finished=False)
        if self._incarnation(0) != 0:
            raise RuntimeError("an erasure that nobody killed did not end well")
        self._judge(person, others, finished=True)

    def _ward(self) -> Ward:
        ward = Ward(Settings.from_environment(self._environment), new=False)
        self._now += timedelta(minutes=1)
        ward.clock.now = self._now
        return ward

    def _fill(self, person: str, day: date) -> dict[str, str]:
        """Rows of somebody new among those of others; the digests of the others."""
        ward = self._ward()
        ward.offset = (self.report.rounds + 1) * 1000
        reached = next(iter(next(iter(ward.fenced("vitals").vector().values())).values()))
        ward.offset = reached
        ward.rejected = next(iter(next(iter(ward.fenced("rejects").vector().values())).values()))
        ward.ingest([day], [person, "P900000", "P900001"], each=2)
        ward.reject([person, "P900002"], day)
        ward.derive([person, "P900003"], [day])
        others = {name: ward.digest_without([person], name) for name in WITH_PEOPLE}
        ward.ask(person, name=self._request(), verified=False)
        ward.vault.close()
        return others

    def _request(self) -> str:
        return f"e-{self.report.rounds}"

    def _killed(self) -> bool:
        """Let one die; whether it came to that before the end."""
        fresh = [n for n in range(1, self._steps) if n not in self._died_at]
        at = self._chance.choice(fresh or range(1, self._steps))
        code = self._incarnation(at)
        if code == 0:
            # What was left was shorter than that: such places are reached from the beginning alone.
            return False
        if code != -signal.SIGKILL:
            raise RuntimeError(f"an erasure ended by itself with code {code}")
        self._died_at.add(at)
        self.report.kills[self._last().partition(" ")[2]] += 1
        return True

    def _incarnation(self, die_at: int) -> int | None:
        self._now += timedelta(minutes=1)
        trace = str(self.folder / "last-step")
        process = self._processes.Process(target=victim.erase, args=(self._environment, self._now, die_at, trace))
        process.start()
        process.join(LONGEST_SECONDS)
        if process.is_alive():
            process.kill()
            raise RuntimeError(f"an erasure did not end within {LONGEST_SECONDS} s, at {self._last()}")
        return process.exitcode

    def _last(self) -> str:
        return (self.folder / "last-step").read_text()

    def _judge(self, person: str, others: dict[str, str], finished: bool) -> None:
        """Others are as they were at every moment; what is called done is done."""
        ward, where = self._ward(), f"round {self.report.rounds}, after {self._last()}"
        for name, digest in others.items():
            if ward.digest_without([person], name) != digest:
                self.report.wrong.append(f"{where}: rows of others in {name} changed")
        state = ward.erasure().book.get(self._request()).state
        if finished or state == CERTIFIED or certificate_file(ward.settings, self._request()).exists():
            self._judge_end(ward, person, where)
        if finished and state != CERTIFIED:
            self.report.wrong.append(f"{where}: it ended {state}")
        ward.vault.close()

    def _judge_end(self, ward: Ward, person: str, where: str) -> None:
        document = json.loads(certificate_file(ward.settings, self._request()).read_text())
        traces = [Trace("token", ward.token(person)), Trace("identifier", person)]
        verdict, _ = check(document, ward.settings.home, None, datetime(2030, 1, 1, tzinfo=UTC), None, traces)
        # Somebody who dies before the key is destroyed destroys it late; that is no fault of what comes after.
        self.report.wrong += [f"{where}: {line}" for line in verdict.wrong]
        said = {each["store"]: each for each in document["certificate"]["stores"]}
        if [said[f"table:{name}"]["before"] for name in WITH_PEOPLE] != [2, 1, 1]:
            counts = [said[f"table:{name}"]["before"] for name in WITH_PEOPLE]
            self.report.wrong.append(f"{where}: it says that there were {counts}")
