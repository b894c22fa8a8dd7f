"""`wardstream sql`: one statement, a kept question by its name, or a shell.

Holds: what is asked and printed. Rows go to standard output; everything else (errors, the footer that names the
snapshots) to standard error.
Does not hold: what a statement may say and how it runs (`warehouse/analytics.py`), how rows look (`answers.py`).

Exit codes: 0 answered, 1 refused, failed or not understood, 2 the catalog or the store does not answer, 130 Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from infra.cli.answers import BINARY, FORMATS, printable

if TYPE_CHECKING:
    from warehouse.analytics import Analytics, Answer
    from warehouse.named_queries import NamedQuery
    from warehouse.settings import Settings

ANSWERED, REFUSED, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 130

HELP = """a statement ends with ;            @name runs a kept question
.tables    tables and columns     .named     kept questions
.as-of T   rows known at T        .as-of     rows known now
.format F  how rows are shown     .quit      leave"""


@dataclass(slots=True)
class View:
    """How answers are asked for and shown: the moment of knowledge (None: now) and one of `FORMATS`."""

    as_of: datetime | None = None
    format: str = "table"


def sql(
    settings: Settings,
    statement: str | None = None,
    *,
    named: str | None = None,
    list_named: bool = False,
    as_of: str | None = None,
    format: str = "table",
) -> int:
    """Answer one statement (`@name` is the kept question of that name), list the kept ones, or open the shell.

    `as_of` is ISO 8601; without a zone it is UTC. `format` is one of `FORMATS`. Returns the exit code.
    """
    from warehouse.analytics import Analytics
    from warehouse.named_queries import named_queries

    if list_named:
        print(_listed(named_queries()))
        return ANSWERED
    try:
        view = View(moment(as_of) if as_of else None, _known_format(format))
    except ValueError as error:
        return _refuse(error)
    with Analytics(settings) as analytics:
        if statement is None and named is None:
            return _shell(analytics, view)
        return _answer(analytics, f"@{named}" if named else str(statement), view)


def _answer(analytics: Analytics, statement: str, view: View) -> int:
    """Run and print one statement; errors become a line and an exit code."""
    from warehouse.analytics import LakeUnavailable, StatementFailed
    from warehouse.named_queries import UnknownQueryError
    from warehouse.statement_guard import StatementRefused

    try:
        answer = analytics.query(_text(statement), as_of=view.as_of)
        _write(FORMATS[view.format](answer), binary=view.format in BINARY)
    except StatementRefused as error:
        return _refuse(error, _pointer(statement, error.position))
    except (StatementFailed, UnknownQueryError, BinaryToTerminalError) as error:
        return _refuse(error)
    except LakeUnavailable as error:
        _tell(f"wardstream sql: {error}")
        return UNAVAILABLE
    except KeyboardInterrupt:
        _tell("interrupted")
        return INTERRUPTED
    if view.format == "table":
        _tell(_footer(answer))
    return ANSWERED


class BinaryToTerminalError(ValueError):
    """Bytes of a file would go to a terminal."""


def _text(statement: str) -> str:
    from warehouse.named_queries import named_query

    stripped = statement.strip()
    return named_query(stripped.removeprefix("@").rstrip("; ")).sql if stripped.startswith("@") else statement


def _write(content: bytes, binary: bool) -> None:
    if binary and sys.stdout.isatty():
        raise BinaryToTerminalError("this format is for a file: send it there with > answer")
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def _footer(answer: Answer) -> str:
    rows = answer.table.num_rows
    read = ", ".join(f"{name} {snapshot or 'empty'}" for name, snapshot in answer.snapshots.items())
    return f"{rows:,} {'row' if rows == 1 else 'rows'} in {answer.elapsed_s:.2f} s" + (f" · {read}" if read else "")


def _pointer(statement: str, position: int | None) -> str:
    """The line of a statement where something is wrong, and a caret below it."""
    if position is None or statement.lstrip().startswith("@"):
        return ""
    before = statement.encode()[:position].decode(errors="ignore")
    line = statement.splitlines()[before.count("\n")] if before.count("\n") < len(statement.splitlines()) else ""
    return f"  {printable(line)}\n  {' ' * len(printable(before.rpartition(chr(10))[2]))}^"


def _listed(queries: dict[str, NamedQuery]) -> str:
    return "\n".join(f"@{name}\n    {query.question}\n    a row: {query.grain}" for name, query in queries.items())


def moment(text: str) -> datetime:
    """A time in ISO 8601; without a zone it is UTC. Raises `ValueError`, which does not repeat the text."""
    try:
        read = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError("this is no time in ISO 8601; write one such as 2026-11-22T14:00Z") from None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _known_format(name: str) -> str:
    if name not in FORMATS:
        raise ValueError(f"format is one of {', '.join(FORMATS)}")
    return name


# The shell


def _shell(analytics: Analytics, view: View) -> int:
    """Read statements until `.quit` or the end of input. A script piped in ends with its last statement's code, as one
    given as an argument does."""
    if not sys.stdin.isatty():
        return _conversation(analytics, view, _silent_input)
    _tell("read-only; .help shows what there is")
    _complete(analytics)
    _conversation(analytics, view, input)
    return ANSWERED


def _conversation(analytics: Analytics, view: View, read: Callable[[str], str]) -> int:
    code, pending = ANSWERED, ""
    while True:
        try:
            line = read("      …> " if pending else "wardstream> ")
        except KeyboardInterrupt:
            pending = ""
            _tell("")
            continue
        except EOFError:
            return _answer(analytics, pending, view) if pending.strip() else code
        if not pending and line.strip() in (".quit", ".exit"):
            return code
        if not pending and line.strip().startswith("."):
            code = _command(analytics, line.strip(), view)
            continue
        pending += line + "\n"
        if _is_whole(pending):
            code = _answer(analytics, pending, view)
            pending = ""
        elif not pending.strip():
            pending = ""


def _is_whole(text: str) -> bool:
    from warehouse.analytics import is_whole_statement

    return text.lstrip().startswith("@") or is_whole_statement(text)


def _command(analytics: Analytics, line: str, view: View) -> int:
    from warehouse.named_queries import named_queries

    word, _, rest = line.partition(" ")
    try:
        if word == ".tables":
            print("\n".join(f"{name}: {', '.join(schema.names)}" for name, schema in sorted(analytics.tables.items())))
        elif word == ".named":
            print(_listed(named_queries()))
        elif word == ".as-of":
            view.as_of = moment(rest) if rest.strip() else None
        elif word == ".format":
            view.format = _known_format(rest.strip())
        else:
            print(HELP)
    except ValueError as error:
        return _refuse(error)
    return ANSWERED


def _complete(analytics: Analytics) -> None:
    """Let Tab complete tables, columns and kept questions. Nothing typed is written to disk: it may name people."""
    import readline

    from warehouse.named_queries import named_queries

    columns = {column for schema in analytics.tables.values() for column in schema.names}
    words = sorted({*analytics.tables, *columns, *(f"@{name}" for name in named_queries())})

    def complete(text: str, state: int) -> str | None:
        matching = [word for word in words if word.startswith(text)]
        return matching[state] if state < len(matching) else None

    readline.set_completer_delims(" \t\n,()=<>")
    readline.set_completer(complete)
    readline.parse_and_bind("tab: complete")


def _silent_input(_prompt: str) -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\n")


def _refuse(error: Exception, pointer: str = "") -> int:
    _tell(f"wardstream sql: {error}" + (f"\n{pointer}" if pointer else ""))
    return REFUSED


def _tell(text: str) -> None:
    print(text, file=sys.stderr)
