"""The decision's properties over as many random histories as one likes.

Run as `python -m tests.warehouse.consent.long_form --histories 200000 --seed 1`; `test_decision.py` runs it short.

Of each history: every order gives one answer; the plain statement of the rule agrees; so does the decision over
columns, asked about all histories of a round at once; a further revoke never turns a no into a yes; what becomes known
later does not change what was known.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from tests.warehouse.consent.made import CATEGORIES, STREAMS, at, by_elimination, history, provision, registry
from warehouse.consent.decision import REVOKE, Provision, permits, permits_use
from warehouse.consent.histories import Histories, microseconds

ROUND = 2_000


@dataclass
class Checked:
    """How many histories and answers were looked at, how many of the answers were yes, and what was wrong."""

    histories: int = 0
    answers: int = 0
    yes: int = 0
    wrong: int = 0
    first: str = ""

    def expect(self, holds: bool, what: str, told: object) -> None:
        self.answers += 1
        if not holds:
            self.wrong += 1
            self.first = self.first or f"{what}: {told}"


def check(histories: int, seed: int) -> Checked:
    """Look at that many random histories."""
    dice, checked = random.Random(seed), Checked()
    while checked.histories < histories:
        _round(dice, checked, min(ROUND, histories - checked.histories))
    return checked


def _round(dice: random.Random, checked: Checked, n: int) -> None:
    told = [(f"t{number:05d}", history(dice)) for number in range(n)]
    category, stream = dice.choice(CATEGORIES), dice.choice(STREAMS)
    known = at(dice.randrange(4, 10))
    when = [at(dice.randrange(12)) for _ in told]
    of, asked = (category, stream), [(h, moment) for (_, h), moment in zip(told, when, strict=True)]
    expected = np.array([permits(h, *of, moment, known) for h, moment in asked])
    used = np.array([permits_use(h, *of, moment, known) for h, moment in asked])
    for (_, one), moment, answer in zip(told, when, expected, strict=True):
        _one(dice, checked, one, of, moment, known, bool(answer))
    columns = Histories(STREAMS)
    shuffled = list(told)
    dice.shuffle(shuffled)
    columns.take(registry(*shuffled[: n // 2]))
    columns.take(registry(*shuffled[n // 3 :]))
    tokens = pa.array([token for token, _ in told])
    times = np.array([microseconds(moment) for moment in when])
    by_columns = columns.decisions(category, stream, known_us=microseconds(known)).permits(tokens, times)
    checked.expect(bool((by_columns == expected).all()), "columns differ", (category, stream, known))
    in_use = columns.permits_use(tokens, times, category, stream, microseconds(known), microseconds(known))
    checked.expect(bool((in_use == used).all()), "use over columns differs", (category, stream, known))
    checked.histories += n
    checked.yes += int(expected.sum())


def _one(dice: random.Random, checked: Checked, told: list[Provision], of: tuple[str, str], moment, known, answer):
    category = of[0]
    other = told[:]
    dice.shuffle(other)
    checked.expect(permits(other, *of, moment, known) is answer, "order decides", told)
    checked.expect(permits([*told, *told], *of, moment, known) is answer, "saying it twice decides", told)
    checked.expect(by_elimination(told, *of, moment, known) is answer, "the plain rule differs", told)
    denied = replace(provision(dice), action=REVOKE, until=None)
    checked.expect(answer or not permits([*told, denied], *of, moment, known), "a revoke made a yes", (told, denied))
    later = replace(provision(dice), known_at=at(30))
    checked.expect(permits([*told, later], *of, moment, known) is answer, "later knowledge reaches back", (told, later))
    final = replace(denied, at=moment, known_at=known, category=category, scope="all", sequence=None)
    checked.expect(not permits([*told, final], *of, moment, known), "a revoke at that very time is overruled", told)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--histories", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.perf_counter()
    checked = check(options.histories, options.seed)
    print(
        f"{checked.histories:,} histories, {checked.answers:,} answers held, {checked.yes:,} permitted, "
        f"{checked.wrong:,} wrong, seed {options.seed}, {time.perf_counter() - began:.0f} s {checked.first}"
    )
    return 1 if checked.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
