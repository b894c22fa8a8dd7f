"""How a round may end: exact, or stopped with its reason and a way out; anything else is red.

Holds: the endings and how one is reached. Does not hold: judgement, which is the oracle's (tests/oracle).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.stream import EXIT_POSITIONS
from tests.crash.stack.site import Site, StreamProcess

EXACT, STOPPED, RED = "nothing lost, nothing doubled", "stopped, said so", "RED"
LOSSES = ("lost", "holes")
"""What the oracle finds where reading stopped early or messages left the log unread."""


@dataclass(frozen=True, slots=True)
class Ending:
    """`wrong`: the oracle's headings that are not zero. `words`: the reason told, or what is wrong."""

    kind: str
    words: str = ""
    wrong: dict[str, int] = field(default_factory=dict)

    @property
    def is_red(self) -> bool:
        return self.kind == RED


def exact(site: Site) -> Ending:
    """The oracle finds nothing; else red."""
    verdict = site.verdict()
    if verdict.passed:
        return Ending(EXACT)
    wrong = {heading: count for heading, count in verdict.totals.items() if count}
    return Ending(RED, verdict.report(), wrong)


def stopped(site: Site, stream: StreamProcess, names: str, allowed: tuple[str, ...] = LOSSES) -> Ending:
    """The stream ended with the code for positions that do not fit, its reason contains `names`, and of what is in the
    tables nothing is wrong; what may be missing is in `allowed`."""
    reason = str(stream.status().get("reason", ""))
    if stream.code != EXIT_POSITIONS or names.lower() not in reason.lower():
        return Ending(RED, f"not stopped with a reason that names “{names}”: {stream.last_words()}")
    verdict = site.verdict()
    wrong = {heading: count for heading, count in verdict.totals.items() if count and heading not in allowed}
    if wrong:
        return Ending(RED, verdict.report(), wrong)
    return Ending(STOPPED, reason)
