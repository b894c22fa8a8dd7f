"""The decision in SQL: which rows of a table a session for one purpose may show.

Holds: `Purpose`, which tables serve it, and the SELECTs that leave only the rows of people who consent.
Does not hold: any session (`warehouse/analytics.py` runs them), nor what the rule is (`decision.py` says it in words;
tests hold the two together).

A purpose that rests on law sees the tables whose contracts name it, as they are. One that rests on consent sees of
those only tables that say whom a row is about and of when, and of them only rows of people who consented at the time of
the row and do now: to the table's stream or, of a derived table, to each stream it is made of.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from string import ascii_lowercase, ascii_uppercase

from warehouse.consent.decision import ALL, BLANKS, CLOCKS, EVERYTHING, GRANT
from warehouse.contract_model import CONSENTED_PURPOSES, PURPOSES, Contracts, TableContract

REGISTRY = "patient.consent.updates"
"""The stream whose table is the registry."""
REGISTRY_TABLE = "consent_updates"
SUBJECT = "subject_token"
# Not infinity: DuckDB compares partitions of Iceberg with what a join asks for, and cannot take a day of infinity.
_FOR_GOOD = "TIMESTAMPTZ '9999-12-31 23:59:59.999999+00:00'"


class PurposeError(ValueError):
    """No such purpose, or one whose rows cannot be told from others. Says what to do."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """What rows are asked for, and the moment at which consent counts (with a zone)."""

    name: str
    now: datetime

    @property
    def rests_on_consent(self) -> bool:
        return self.name in CONSENTED_PURPOSES


def purpose(name: str, now: datetime) -> Purpose:
    """Raises `PurposeError` for a word that is none."""
    if name not in PURPOSES:
        raise PurposeError(f"no such purpose; purposes are {', '.join(PURPOSES)}")
    return Purpose(name, now)


def serves(contracts: Contracts, table: TableContract, wanted: Purpose) -> bool:
    """Whether a session for that purpose may read the table at all."""
    stream = contracts.stream(table.stream)
    if wanted.name not in stream.purposes:
        return False
    return not wanted.rests_on_consent or {SUBJECT, stream.time.column} <= table.names


def streams_behind(contracts: Contracts, table: TableContract) -> tuple[str, ...]:
    """The streams a table's rows come from, in order, however many tables lie between."""
    if table.fed_by:
        return table.fed_by
    behind = [stream for name in table.derived_from for stream in streams_behind(contracts, contracts.table(name))]
    return tuple(dict.fromkeys(each for each in behind if each != REGISTRY))


def decisions_sql(registry: str, category: str, stream: str, streams: Collection[str], now: datetime) -> str:
    """A SELECT of the stretches of time to which each person who consents now has consented: subject_token, first_at,
    past_at (not included). No two stretches of a person overlap.

    Args:
        registry: FROM-able SQL of the registry's table.
        streams: names that a scope may mean.
    """
    word, scope = _folded("category"), _folded("scope")
    here, known = _words({*EVERYTHING, stream}), _words({*EVERYTHING, *streams})
    others = _words({*PURPOSES} - {category})
    granting = f"action = {_text(GRANT)}"
    instant, near = _moment(now), _moment(now + CLOCKS)
    return f"""
WITH said AS (
    SELECT subject_token, provision_time AS said_at, {granting} AS granting, expires_at, sequence
    FROM {registry}
    WHERE CASE WHEN {granting} THEN {word} = {_text(category)} AND {word} <> {_text(ALL)} AND {scope} IN ({here})
               ELSE {word} NOT IN ({others}) AND ({scope} IN ({here}) OR {scope} NOT IN ({known})) END
), marked AS (
    SELECT *, count(*) FILTER (sequence IS NULL) OVER at_once > 0 OR sequence = max(sequence) OVER at_once AS decides
    FROM said WINDOW at_once AS (PARTITION BY subject_token, said_at)
), decided AS (
    SELECT subject_token, said_at, bool_and(granting) FILTER (decides) AS permitted,
           min(expires_at) FILTER (decides) AS until
    FROM marked GROUP BY ALL
), in_force AS (
    -- What is said for the next hour, by a clock that is ahead, may take away, and gives nothing yet.
    SELECT subject_token, max_by({{'permitted': permitted, 'until': until}}, said_at) AS last,
           max_by({{'permitted': permitted, 'until': until}}, said_at) FILTER (said_at <= {instant}) AS now
    FROM decided WHERE said_at <= {near} GROUP BY ALL
)
SELECT subject_token, said_at AS first_at, least(coalesce(until, next_at), next_at) AS past_at
FROM (SELECT *, lead(said_at, 1, {_FOR_GOOD}) OVER (PARTITION BY subject_token ORDER BY said_at) AS next_at
      FROM decided) JOIN in_force USING (subject_token)
WHERE permitted AND last.permitted AND (last.until IS NULL OR last.until > {instant})
  AND now.permitted AND (now.until IS NULL OR now.until > {instant})
"""


def consented_rows(rows: str, time_column: str, decisions: Sequence[str]) -> str:
    """A SELECT of the rows that lie in a stretch of every one of `decisions` (names of what `decisions_sql` gives).

    Args:
        rows: FROM-able SQL of the table.
    """
    at = f'source."{time_column}"'
    joins = " ".join(
        f'JOIN "{name}" AS d{n} ON source.{SUBJECT} = d{n}.subject_token'
        f" AND {at} >= d{n}.first_at AND {at} < d{n}.past_at"
        for n, name in enumerate(decisions)
    )
    return f"SELECT source.* FROM {rows} AS source {joins}"


def _folded(column: str) -> str:
    """As `decision.folded` has it, letter by letter."""
    blanks = " || ".join(f"chr({ord(blank)})" for blank in BLANKS)
    return f"translate(trim({column}, {blanks}), {_text(ascii_uppercase)}, {_text(ascii_lowercase)})"


def _words(words: Collection[str]) -> str:
    return ", ".join(map(_text, sorted(words)))


def _text(word: str) -> str:
    return "'" + word.replace("'", "''") + "'"


def _moment(moment: datetime) -> str:
    return f"TIMESTAMPTZ {_text(moment.astimezone(UTC).isoformat(sep=' '))}"
