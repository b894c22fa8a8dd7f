"""Numbers of (patient, rule, version of the rule), by which the policy tells episodes apart.

Does not hold: patients (`patients.py`), rules (`rulebook.py`), or episodes (`pipelines/alerts/policy.py`).
"""

from __future__ import annotations

import numpy as np

from pipelines.clinical.findings import Found
from pipelines.clinical.rulebook import RULES, Rulebook

VERSIONS = 8
"""Versions of one rule that a monitor may meet while it runs."""


def slot_and_rule(pair: int) -> tuple[int, int]:
    return divmod(pair // VERSIONS, RULES)


def pairs_of(slot: int) -> range:
    """Every pair of a patient."""
    return range(slot * RULES * VERSIONS, (slot + 1) * RULES * VERSIONS)


class Pairs:
    """A pack's version of a rule is another rule: its episodes are its own."""

    def __init__(self) -> None:
        self._versions: dict[tuple[int, str], int] = {}
        self._of_pack: dict[str, np.ndarray] = {}

    def forget_packs(self) -> None:
        """Versions of rules keep their numbers; which pack has which is asked again."""
        self._of_pack.clear()

    def number(self, slot: int, rule: int, version: str) -> int:
        return (slot * RULES + rule) * VERSIONS + self._ordinal(rule, version)

    def numbers(self, found: Found, book: Rulebook) -> np.ndarray:
        """int64[k]: the pair of each finding, by the versions of a pack."""
        return (found.slot * RULES + found.rule) * VERSIONS + self._ordinals(book)[found.rule]

    def _ordinals(self, book: Rulebook) -> np.ndarray:
        """int64[RULES]: which of the versions met so far each rule has."""
        if book.pack.version not in self._of_pack:
            versions = [book.version(rule) or "" for rule in range(RULES)]
            self._of_pack[book.pack.version] = np.array([self._ordinal(*each) for each in enumerate(versions)])
        return self._of_pack[book.pack.version]

    def _ordinal(self, rule: int, version: str) -> int:
        if (rule, version) not in self._versions:
            met = sum(known == rule for known, _ in self._versions)
            self._versions[rule, version] = min(met, VERSIONS - 1)
        return self._versions[rule, version]
