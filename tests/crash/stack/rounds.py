"""Rounds of scenarios on one stack, and their counts.

Holds: the register, the playing of a round whatever happens in it, the sums. Does not hold: any fault or verdict.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.crash.stack.endings import NOT_RUN, RED, Ending
from tests.crash.stack.scenarios import answers, clocks, disks, engines, kills, pauses, poison, tables, topics, vault
from tests.crash.stack.servers import MissingError
from tests.crash.stack.site import Site, Tally
from tests.crash.stack.stack import Stack
from tests.postgres import PostgresMissingError

Scenario = Callable[[Site, random.Random], Ending]


@dataclass(frozen=True, slots=True)
class Entry:
    """A scenario in the register. `needs` names what must be there: `postgresql` or nothing."""

    play: Scenario
    needs: str = ""


POISON = "poison-batch"
SCENARIOS: dict[str, Entry] = {
    "disjoint-streams-killed": Entry(kills.disjoint_streams_killed),
    "rival-streams-killed": Entry(kills.rival_streams_killed),
    "partitions-taken-over": Entry(kills.partitions_taken_over),
    "branches-apart-killed": Entry(kills.branches_apart_killed),
    "broker-killed": Entry(kills.broker_killed),
    "store-killed": Entry(kills.store_killed),
    "catalog-killed": Entry(kills.catalog_killed, "postgresql"),
    "catalog-answers-lost": Entry(answers.catalog_answers_lost, "postgresql"),
    "store-answers-lost": Entry(answers.store_answers_lost),
    "broker-answers-lost": Entry(answers.broker_answers_lost),
    "catalog-answers-halved": Entry(answers.catalog_answers_halved, "postgresql"),
    "broker-answers-halved": Entry(answers.broker_answers_halved),
    "store-answers-halved": Entry(answers.store_answers_halved),
    "store-answers-500": Entry(answers.store_answers_500),
    "store-answers-503": Entry(answers.store_answers_503),
    "store-answers-slowly": Entry(answers.store_answers_slowly),
    "disjoint-streams-paused": Entry(pauses.disjoint_streams_paused),
    "rival-streams-paused": Entry(pauses.rival_streams_paused),
    "broker-paused": Entry(pauses.broker_paused),
    "store-paused": Entry(pauses.store_paused),
    "catalog-paused": Entry(pauses.catalog_paused, "postgresql"),
    "network-silent": Entry(pauses.network_silent),
    "network-refused": Entry(pauses.network_refused),
    "topic-recreated-while-down": Entry(topics.topic_recreated_while_down),
    "topic-recreated-while-running": Entry(topics.topic_recreated_while_running),
    "retention-overtakes": Entry(topics.retention_overtakes),
    "retention-overtakes-while-paused": Entry(topics.retention_overtakes_while_paused),
    "partitions-added": Entry(topics.partitions_added),
    "rolled-back-while-down": Entry(tables.rolled_back_while_down),
    "rolled-back-while-running": Entry(tables.rolled_back_while_running),
    "vault-locked": Entry(vault.vault_locked),
    "vault-gone-while-down": Entry(vault.vault_gone_while_down),
    "clock-an-hour-back": Entry(clocks.clock_an_hour_back),
    "store-disk-full": Entry(disks.store_disk_full),
    "broker-disk-full": Entry(disks.broker_disk_full),
    POISON: Entry(poison.poison_batch),
    "supervisor-killed": Entry(poison.supervisor_killed),
    "foreign-engine-compacts": Entry(tables.foreign_engine_compacts),
    "foreign-engine-compacts-and-expires": Entry(tables.foreign_engine_compacts_and_expires),
    "spark-compacts-and-expires": Entry(engines.spark_compacts_and_expires, "postgresql"),
}


@dataclass(slots=True)
class Round:
    """What one round did and how it ended. Times are seconds; `rate` is messages a second by the ledgers."""

    scenario: str
    number: int
    seed: int
    ending: Ending
    tally: Tally
    answers_lost: int
    sent: int
    rate: float
    took_s: float

    def as_line(self, commit: str) -> str:
        """One line of JSON; `commit`: what was struck."""
        return json.dumps({**asdict(self), "commit": commit})

    @classmethod
    def of_line(cls, line: str) -> Round:
        """What `as_line` wrote."""
        told = json.loads(line)
        del told["commit"]
        return cls(**{**told, "ending": Ending(**told["ending"]), "tally": Tally(**told["tally"])})


@dataclass(slots=True)
class Sums:
    """All rounds of a run."""

    rounds: list[Round] = field(default_factory=list)

    def of(self, scenario: str) -> list[Round]:
        return [r for r in self.rounds if r.scenario == scenario]

    def wrong(self, heading: str) -> int:
        return sum(r.ending.wrong.get(heading, 0) for r in self.rounds)

    @property
    def kills(self) -> int:
        return sum(sum(r.tally.kills.values()) for r in self.rounds)

    @property
    def red(self) -> list[Round]:
        return [r for r in self.rounds if r.ending.is_red]

    def recovered_s(self, poison: bool) -> list[float]:
        """Seconds to lag 0, in order: after a message that kills, which takes its three deaths, or after all else."""
        chosen = (r for r in self.rounds if (r.scenario == POISON) is poison)
        return sorted(s for r in chosen for s in r.tally.recovered_s)

    def last_line(self) -> str:
        pauses, answers = sum(r.tally.pauses for r in self.rounds), sum(r.answers_lost for r in self.rounds)
        return (
            f"lost={self.wrong('lost')} doubled={self.wrong('doubled')} kills={self.kills} pauses={pauses} "
            f"answers_lost={answers}"
        )

    def has(self, scenario: str, number: int, seed: int) -> bool:
        return any((r.scenario, r.number, r.seed) == (scenario, number, seed) for r in self.rounds)


def play_round(stack: Stack, name: str, number: int, seed: int, brief: bool = False) -> Round:
    """One round on a fresh site; the stack is healed afterwards. What a scenario raises is its red ending."""
    chance = random.Random(f"{seed}/{name}/{number}")
    began, lost_before = time.monotonic(), stack.answers_lost
    with Site(stack, chance.randrange(1 << 20), brief) as site:
        try:
            ending = SCENARIOS[name].play(site, chance)
        except (MissingError, PostgresMissingError) as error:
            ending = Ending(NOT_RUN, str(error))
        except Exception as error:  # whatever it is, the other rounds are wanted too
            ending = Ending(RED, f"{type(error).__name__}: {error}")
        finally:
            stack.heal()
        site.stop_playing()
    return Round(
        name, number, seed, ending, site.tally, stack.answers_lost - lost_before, site.sent,
        site.sent / site.played_s if site.played_s else 0.0, time.monotonic() - began,
    )  # fmt: skip


def percentile(ordered: list[float], share: float) -> float | None:
    """The value below or at which that share lies; None of nothing."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def table(sums: Sums) -> str:
    """A line a scenario."""
    lines = [f"{'scenario':<34}{'rounds':>7}{'kills':>7}{'idle':>6}{'pauses':>7}{'lost':>6}{'p95 s':>7}  verdict"]
    for name in dict.fromkeys(r.scenario for r in sums.rounds):
        rounds = sums.of(name)
        kills = sum(sum(r.tally.kills.values()) for r in rounds)
        idle, pauses = sum(r.tally.idle_kills for r in rounds), sum(r.tally.pauses for r in rounds)
        lost = sum(r.answers_lost for r in rounds)
        times = percentile(sorted(s for r in rounds for s in r.tally.recovered_s), 0.95)
        shown = "-" if times is None else f"{times:.1f}"
        kinds: dict[str, int] = {}
        for r in rounds:
            kinds[r.ending.kind] = kinds.get(r.ending.kind, 0) + 1
        verdict = "; ".join(f"{count} x {kind}" for kind, count in kinds.items())
        lines.append(f"{name:<34}{len(rounds):>7}{kills:>7}{idle:>6}{pauses:>7}{lost:>6}{shown:>7}  {verdict}")
    return "\n".join(lines)


def describe(r: Round) -> dict[str, Any]:
    """One round in a line for people who wait."""
    return {
        "ending": r.ending.kind,
        "kills": r.tally.kills,
        "idle": r.tally.idle_kills,
        "pauses": r.tally.pauses,
        "answers_lost": r.answers_lost,
        "recovered_s": [round(s, 1) for s in r.tally.recovered_s],
        "rate": round(r.rate),
        "sent": r.sent,
        "took_s": round(r.took_s),
    }
