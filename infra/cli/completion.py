"""What Tab offers in the shell of `wardstream sql`: tables after FROM, columns of the tables named, kept questions.

Holds: the choice of words, and its place in the terminal's line editor.
Does not hold: any parsing. What stands in a line is guessed from its words; a wrong guess offers too much or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

COMMANDS = (".as-of", ".format", ".help", ".named", ".output", ".quit", ".tables")
KEYWORDS = (
    "AND", "AS", "ASC", "BETWEEN", "BY", "CASE", "COUNT(", "DESC", "DISTINCT", "ELSE", "END", "EXISTS", "FILTER",
    "FROM", "GROUP BY", "GROUP BY ALL", "HAVING", "IN", "INTERVAL", "IS", "JOIN", "LEFT JOIN", "LIKE", "LIMIT", "NOT",
    "NULL", "ON", "OR", "ORDER BY", "OVER", "PARTITION BY", "QUALIFY", "SELECT", "THEN", "UNION ALL", "USING", "WHEN",
    "WHERE", "WITH",
)  # fmt: skip

DELIMITERS = " \t\n,()=<>;"

_AFTER_TABLE_WORD = re.compile(r"\b(from|join)\s+$", re.IGNORECASE)
_NAMED = re.compile(r"\b(?:from|join)\s+(\w+)(?:\s+(?:as\s+)?(\w+))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What there is to name: table -> its columns, the kept questions, the formats."""

    tables: Mapping[str, Sequence[str]]
    questions: Sequence[str]
    formats: Sequence[str]

    def offered(self, before: str, word: str) -> list[str]:
        """Completions of `word`, where `before` is all of the statement that stands in front of it."""
        if not before.strip() and word.startswith("."):
            return _begun(COMMANDS, word)
        if before.lstrip().startswith(".format"):
            return _begun(self.formats, word)
        if word.startswith("@"):
            return _begun([f"@{name}" for name in self.questions], word)
        if _AFTER_TABLE_WORD.search(before):
            return _begun(self.tables, word)
        return self._columns_of_alias(before, word) if "." in word else self._in_statement(before, word)

    def _columns_of_alias(self, before: str, word: str) -> list[str]:
        alias = word.partition(".")[0]
        table = self._named_tables(before).get(alias.lower(), alias.lower())
        return _begun([f"{alias}.{column}" for column in self.tables.get(table, ())], word)

    def _in_statement(self, before: str, word: str) -> list[str]:
        """Columns of the tables the statement names already; of all where it names none, for SELECT comes first."""
        named = self._named_tables(before)
        tables = set(named.values()) or set(self.tables)
        columns = {column for table in tables for column in self.tables[table]}
        words = sorted({*columns, *named, *self.tables})
        return [*_begun(words, word), *_keywords(word)]

    def _named_tables(self, text: str) -> dict[str, str]:
        """Alias or name -> table, for those that stand after FROM or JOIN."""
        found = {}
        for table, alias in _NAMED.findall(text):
            if table.lower() in self.tables:
                called = alias if alias and alias.upper() not in _FIRST_KEYWORDS else table
                found[called.lower()] = table.lower()
        return found


_FIRST_KEYWORDS = frozenset(keyword.split()[0] for keyword in KEYWORDS)


def _begun(words: Sequence[str] | Mapping[str, object], start: str) -> list[str]:
    return [word for word in words if word.lower().startswith(start.lower())]


def _keywords(start: str) -> list[str]:
    """Keywords in the case they are begun in."""
    found = [word for word in KEYWORDS if start and word.startswith(start.upper())]
    return [word.lower() for word in found] if start.islower() else found


def install(vocabulary: Vocabulary, pending: Callable[[], str]) -> None:
    """Have the line editor ask `vocabulary`. `pending` gives the statement's lines before the one being typed.

    Nothing typed is written to disk: it may name people.
    """
    import readline

    found: list[str] = []

    def complete(text: str, state: int) -> str | None:
        if state == 0:
            typed = readline.get_line_buffer()[: readline.get_begidx()]
            found[:] = vocabulary.offered(pending() + typed, text)
        return found[state] if state < len(found) else None

    readline.set_completer_delims(DELIMITERS)
    readline.set_completer(complete)
    readline.parse_and_bind("bind ^I rl_complete" if "libedit" in (readline.__doc__ or "") else "tab: complete")
