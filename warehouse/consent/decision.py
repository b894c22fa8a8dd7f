"""Whether one person's data may serve a purpose, from what was said of it, and why.

Holds: `Provision` (one thing said), the decision as a pure function of a set of them, and what words mean.
Does not hold: where they come from (`registry.py`), the same decision over many rows (`histories.py`, `filters.py`).

The order in which provisions became known plays no part. Of those known and in force at the time asked about, the one
with the latest provision time decides; of several with the same, the one with the greatest sequence, and all of them
where one has none. One that denies goes before any that grants. What cannot be understood, and what was never said, is
no.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from string import ascii_lowercase, ascii_uppercase

from warehouse.contract_model import PURPOSES

GRANT, REVOKE = "GRANT", "REVOKE"
ALL = "all"
"""Of scopes: every stream. Of categories, in a revoke alone: every category."""
EVERYTHING = frozenset({ALL, "*"})
NOT_UNDERSTOOD = ""
"""The scope or category of a provision that names none we know: as a revoke it extends to everything, as a grant to
nothing."""
BLANKS = "".join(map(chr, (*range(9, 14), *range(28, 33), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029,
                           0x202F, 0x205F, 0x3000)))  # fmt: skip
"""What may surround a word and says nothing; SQL trims the very same."""
AMBIGUOUS = "ambiguous"
"""The reason of a revoke that stands for a consent nobody could read: it stops, and nothing is purged for it."""

CLOCKS = timedelta(hours=1)
"""How far ahead of us a sender's clock may be: what is said for a time that near counts as said for now, so that no
revoke waits for our clock. The contract of the registry's stream refuses what lies further ahead."""

GRANTED, REVOKED, NEVER_SAID, CONTRADICTORY, LAPSED = "granted", "revoked", "never_said", "contradictory", "lapsed"


@dataclass(frozen=True, slots=True)
class Provision:
    """What was said about one person's data at one time.

    Attributes:
        action: `GRANT` or `REVOKE`. category: as `canonical_category` gives it. scope: as `canonical_scope` does.
        at: from when on it holds (provision time). until: from when on no more; None: for good.
        sequence: orders what was said at one time; None where the sender does not number.
        known_at: when the broker appended it.
        reason: of a revoke; see `AMBIGUOUS`.
        position: (topic id, partition, offset) of its message.
    """

    action: str
    category: str
    scope: str
    at: datetime
    known_at: datetime
    until: datetime | None = None
    sequence: int | None = None
    reason: str | None = None
    position: tuple[str, int, int] | None = None

    def concerns(self, category: str, stream: str) -> bool:
        """Whether it says anything about data of a stream in a category."""
        if self.action == GRANT:
            return self.category == category and self.scope in (ALL, stream)
        return self.category in (category, ALL, NOT_UNDERSTOOD) and self.scope in (ALL, stream, NOT_UNDERSTOOD)


@dataclass(frozen=True, slots=True)
class Ruling:
    """The answer, the word for it, and the provisions it rests on (none where nothing was said)."""

    permitted: bool
    because: str
    deciding: tuple[Provision, ...] = ()


def folded(word: str) -> str:
    """A category or scope as it is compared: the case of A to Z and surrounding blanks say nothing. No other letter has
    a case here, since databases and Python fold those differently."""
    plain = word.strip(BLANKS).translate(_LOWER)
    return ALL if plain in EVERYTHING else plain


_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)


def canonical_category(category: str) -> str:
    """`ALL`, the purpose a category names, or `NOT_UNDERSTOOD`."""
    word = folded(category)
    return word if word == ALL or word in PURPOSES else NOT_UNDERSTOOD


def canonical_scope(scope: str, streams: Collection[str]) -> str:
    """`ALL`, the stream a scope names, or `NOT_UNDERSTOOD`."""
    word = folded(scope)
    return word if word == ALL or word in streams else NOT_UNDERSTOOD


def permits(history: Iterable[Provision], category: str, stream: str, at: datetime, known_at: datetime) -> bool:
    """Whether data of `stream` from the time `at` may serve `category`, by what was known at `known_at`."""
    return ruled(history, category, stream, at, known_at).permitted


def permits_use(history: Collection[Provision], category: str, stream: str, at: datetime, now: datetime) -> bool:
    """Whether data of `stream` from the time `at` may be used now: it was consented to then, and it is now."""
    return permits(history, category, stream, at, now) and in_force(history, category, stream, now).permitted


def in_force(history: Iterable[Provision], category: str, stream: str, now: datetime) -> Ruling:
    """What holds now. A grant said for later by a clock that is ahead waits for ours; a revoke does not."""
    history = list(history)
    ruling = ruled(history, category, stream, now, now)
    return ruled(history, category, stream, now, now, ahead=CLOCKS) if ruling.permitted else ruling


def ruled(
    history: Iterable[Provision],
    category: str,
    stream: str,
    at: datetime,
    known_at: datetime,
    ahead: timedelta = timedelta(0),
) -> Ruling:
    """The same as `permits`, with its reason. Both times have a zone; `category` is folded. What was said for up to
    `ahead` after `at` counts as said for then."""
    known = [p for p in history if p.known_at <= known_at and p.at <= at + ahead and p.concerns(category, stream)]
    if not known:
        return Ruling(False, NEVER_SAID)
    return _of_one_time(_deciding(known), at)


def _deciding(known: list[Provision]) -> list[Provision]:
    latest = max(provision.at for provision in known)
    said = [provision for provision in known if provision.at == latest]
    numbers = [p.sequence for p in said if p.sequence is not None]
    return said if len(numbers) < len(said) else [p for p in said if p.sequence == max(numbers)]


def _of_one_time(said: list[Provision], at: datetime) -> Ruling:
    granting = [provision for provision in said if provision.action == GRANT]
    if len(granting) < len(said):
        return Ruling(False, CONTRADICTORY if granting else REVOKED, tuple(said))
    lapsed = any(provision.until is not None and provision.until <= at for provision in said)
    return Ruling(not lapsed, LAPSED if lapsed else GRANTED, tuple(said))
