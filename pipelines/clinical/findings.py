"""What rules find, before anything is decided on it: columns of findings, and each one in words.

Holds: `Found` and `Account`, the shape in which every rule hands over what it found.
Does not hold: any rule; episodes and what is sent (`pipelines/alerts/policy.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Account:
    """A finding in words: what an alert tells of it (`pipelines/alerts/message.py` has the fields)."""

    severity: str
    reasons: tuple[str, ...]
    missing: tuple[str, ...] = ()
    code: str | None = None
    value: float | None = None
    score: float | None = None
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """k findings of one rule, or of several that are numbered alike in `rule`.

    Attributes:
        rule: int64[k], number of the rule (`rulebook.py`).
        row: int64[k], index of the triggering row in the table that was looked at.
        slot: int64[k], the subject's place.
        level: int8[k]; clear: bool[k].
        clock_ms: int64[k], the clock by which the rule's episodes are reckoned.
        tell: (which finding, level) -> its account; called for those that become alerts alone.
    """

    rule: np.ndarray
    row: np.ndarray
    slot: np.ndarray
    level: np.ndarray
    clear: np.ndarray
    clock_ms: np.ndarray
    tell: Callable[[int, int], Account]

    def take(self, nth: np.ndarray) -> Found:
        """These of the findings."""
        chosen = (self.rule, self.row, self.slot, self.level, self.clear, self.clock_ms)
        return Found(*(column[nth] for column in chosen), lambda at, level: self.tell(int(nth[at]), level))
