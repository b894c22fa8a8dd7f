"""The questions the house keeps: one file of SQL each in `sql/`, its head saying what a row is and who asks.

Holds: reading those files. They run as any other statement does, through the guard of `analytics.py`.
Does not hold: any SQL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path

FOLDER = Path(__file__).parent / "sql"

_HEADS = ("grain", "units", "asked by")


class UnknownQueryError(KeyError):
    """No question of that name is kept."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class NamedQuery:
    """A kept statement.

    Attributes:
        name: what it is called by, `@name` on the command line.
        question: what it answers, one sentence.
        grain, units, asked_by: what one row stands for, what its numbers mean, and who wants it.
        sql: the statement, comments included.
    """

    name: str
    question: str
    grain: str
    units: str
    asked_by: str
    sql: str

    def parameters(self, asked_at: datetime) -> dict[str, datetime] | None:
        """What `Analytics.query` must be given with `sql`: the moment (with a zone) that ages are counted to, where the
        statement counts any; else None."""
        return {"asked_at": asked_at} if "$asked_at" in self.sql else None


def named_queries(folder: Path = FOLDER) -> dict[str, NamedQuery]:
    """All kept questions by name. Raises `ValueError` for a file whose head lacks a line."""
    return {file.stem: _read(file) for file in sorted(folder.glob("*.sql"))}


def named_query(name: str, folder: Path = FOLDER) -> NamedQuery:
    """One kept question. Raises `UnknownQueryError`, which lists those there are."""
    queries = named_queries(folder)
    if name not in queries:
        near = get_close_matches(name, queries, n=3)
        meant = f"did you mean {' or '.join(near)}? There are" if near else "there are"
        raise UnknownQueryError(f"there is no named query {name}; {meant} {', '.join(queries)}")
    return queries[name]


def _read(file: Path) -> NamedQuery:
    sql = file.read_text(encoding="utf-8").strip()
    head = " ".join(line.removeprefix("--").strip() for line in sql.splitlines() if line.startswith("--"))
    parts = re.split(rf"\b({'|'.join(_HEADS)}): ", head)
    told = dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))
    missing = [name for name in _HEADS if not told.get(name)]
    if missing or not parts[0].strip():
        wanted = "a question first, then lines `-- grain: `, `-- units: `, `-- asked by: `"
        raise ValueError(f"{file.name} lacks {', '.join(missing) or 'its question'} in its head; write {wanted}")
    return NamedQuery(file.stem, parts[0].strip(), told["grain"], told["units"], told["asked by"], sql)
