"""How a round may end: exact, or stopped with its reason and a way out; anything else is red.

Holds: the endings and how one is reached. Does not hold: judgement, which is the oracle's (tests/oracle).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.crash.stack.site import Site
from tests.oracle.oracle import Verdict, judge

EXACT, STOPPED, RED = "nothing lost, nothing doubled", "stopped, said so", "RED"
NOT_RUN = "not run"
"""The machine lacks what the scenario needs; the words say what."""


@dataclass(frozen=True, slots=True)
class Ending:
    """`wrong`: the oracle's headings that are not zero. `words`: the reason told, or what is wrong."""

    kind: str
    words: str = ""
    wrong: dict[str, int] = field(default_factory=dict)

    @property
    def is_red(self) -> bool:
        return self.kind == RED


def judged(verdict: Verdict, allowed: tuple[str, ...] = ()) -> Ending:
    """Exact where the oracle finds nothing but what is allowed; else red, with its report."""
    wrong = {heading: count for heading, count in verdict.totals.items() if count and heading not in allowed}
    return Ending(RED, verdict.report(), wrong) if wrong else Ending(EXACT)


def exact(site: Site) -> Ending:
    """The oracle finds nothing; else red."""
    return judged(judge(site.history()))
