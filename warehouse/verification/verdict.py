"""What a verification says: one outcome a check with its evidence, and what they mean together.

Holds: outcomes and their sum. Does not hold: how an outcome is reached (judgement.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["passed", "failed", "not checked"]
Fitness = Literal["fit", "not fit", "undecided"]


@dataclass(frozen=True, slots=True)
class Check:
    """One behaviour. `needed`: nothing is lost or doubled only if it holds; the others are told for information.

    `evidence` says what was seen, or why nothing could be; `counts` are its figures.
    """

    name: str
    needed: bool
    outcome: Outcome
    evidence: str
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """All checks of one verification. `left_behind`: what could not be removed, one phrase each."""

    checks: tuple[Check, ...]
    left_behind: tuple[str, ...] = ()

    @property
    def fitness(self) -> Fitness:
        """`not fit` if a needed check failed; else `undecided` if one could not be carried out; else `fit`."""
        outcomes = {check.outcome for check in self.checks if check.needed}
        if "failed" in outcomes:
            return "not fit"
        return "undecided" if "not checked" in outcomes or not outcomes else "fit"

    @property
    def failures(self) -> tuple[Check, ...]:
        """Every check that found something wrong, needed or not."""
        return tuple(check for check in self.checks if check.outcome == "failed")

    @property
    def because(self) -> tuple[str, ...]:
        """Why it is not fit, or not decided: the names of the checks that say so."""
        blamed = {"not fit": "failed", "undecided": "not checked", "fit": None}[self.fitness]
        return tuple(check.name for check in self.checks if check.needed and check.outcome == blamed)
