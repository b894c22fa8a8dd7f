"""`wardstream sql`: one statement, a kept question by its name, or a shell.

Holds: what is asked and printed. Rows go to standard output or to a file; everything else (errors, the footer that
names the snapshots) to standard error.
Does not hold: what a statement may say and how it runs (`warehouse/analytics.py`), how rows look (`answers.py`), what
Tab offers (`completion.py`).

Exit codes: 0 answered, 1 refused or failed, or the file could not be written (of a script piped in: its first such
statement), 2 an option that cannot be used, or a catalog or store that does not answer, 130 Ctrl-C.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from infra.cli.answers import BINARY, FORMATS, is_cut, printable
from infra.cli.reach import unreachable

if TYPE_CHECKING:
    from warehouse.analytics import Analytics, Answer
    from warehouse.named_queries import NamedQuery
    from warehouse.settings import Settings

ANSWERED, REFUSED, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 130
WRONG_USE = 2

Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


HELP = """a statement ends with ;            @name runs a kept question
.tables    tables and columns     .named     kept questions
.as-of T   rows known at T        .as-of     rows known now
.format F  how rows are shown     .output P  the next answer goes to the file P
.quit      leave
F is one of table, line (a field a line), csv, json, parquet, arrow; the last two are for files.
Tab completes. quit, exit and help do without the dot."""
_BARE = {"quit": ".quit", "exit": ".quit", "help": ".help"}


@dataclass(slots=True)
class View:
    """How answers are asked for and shown: the moment of knowledge (None: now), one of `FORMATS`, the clock, the file
    that the next answer goes to (None: standard output), the shell's lines of a statement that is still open, the
    purpose that rows are asked for (None: none is named, nothing is left out), and who gets a file (empty: whoever
    asks)."""

    settings: Settings
    as_of: datetime | None = None
    format: str = "table"
    clock: Clock = field(default=_now)
    output: Path | None = None
    pending: str = ""
    purpose: str | None = None
    recipient: str = ""


def sql(
    settings: Settings,
    statement: str | None = None,
    *,
    named: str | None = None,
    list_named: bool = False,
    as_of: str | None = None,
    format: str | None = None,
    as_json: bool = False,
    output: Path | None = None,
    purpose: str | None = None,
    recipient: str = "",
    clock: Clock = _now,
) -> int:
    """Answer one statement (`@name` is the kept question of that name), list the kept ones, or open the shell.

    `as_of` is ISO 8601; without a zone it is UTC. `format` is one of `FORMATS`, `as_json` short for `json`; where it
    is not given, the ending of `output` says it. `output` is a file that gets the rows once there are all of them.
    `purpose` leaves only tables that serve it and, where it rests on consent, only rows of those who consent.
    `recipient` is who gets the file, kept on record with it (`infra/cli/exports.py`).
    `clock` gives now, with a zone. Returns the exit code.
    """
    from warehouse.named_queries import named_queries

    wrong = _contradiction(statement, named, list_named, format, as_json)
    if not wrong and output is not None and statement is None and named is None:
        wrong = "--output takes the answer to one question; give a statement or --named"
    if wrong:
        return _tell(f"wardstream sql: {wrong}", WRONG_USE)
    try:
        form = _known_format(format or ("json" if as_json else _format_of(output)))
        view = View(settings, _as_of(as_of), form, clock, output, purpose=_known_purpose(purpose), recipient=recipient)
    except ValueError as error:
        return _tell(f"wardstream sql: {error}", WRONG_USE)
    if list_named:
        print(_listed_as_json(named_queries()) if view.format == "json" else _listed(named_queries()))
        return ANSWERED
    if reason := unreachable(settings):
        return _tell(f"wardstream sql: {reason}", UNAVAILABLE)
    asked = statement if named is None else f"@{named.removeprefix('@')}"
    return _ask(settings, asked, view)


def _ask(settings: Settings, asked: str | None, view: View) -> int:
    from warehouse.analytics import Analytics

    with Analytics(settings) as analytics:
        return _shell(analytics, view) if asked is None else _answer(analytics, asked, view)


def _ahead(view: View) -> str:
    """A word about an instant that has not come: what is known now is answered."""
    return "\n--as-of lies in the future: this is what is known now" if view.as_of and view.as_of > view.clock() else ""


def _contradiction(statement: str | None, named: str | None, listed: bool, form: str | None, as_json: bool) -> str:
    """Which options cannot stand together; empty where all can."""
    if statement is not None and named is not None:
        return "--named and a statement are two questions; give one"
    if listed and (statement is not None or named is not None):
        return "--list stands alone; give no statement and no --named"
    if as_json and form not in (None, "json"):
        return "--format and --json name two formats; give one"
    return ""


def _as_of(text: str | None) -> datetime | None:
    try:
        return None if text is None else moment(text)
    except ValueError as error:
        raise ValueError(f"--as-of: {error}") from None


def _known_purpose(name: str | None) -> str | None:
    from warehouse.contract_model import PURPOSES

    if name is not None and name not in PURPOSES:
        raise ValueError(f"--purpose is one of {', '.join(PURPOSES)}")
    return name


def _answer(analytics: Analytics, statement: str, view: View) -> int:
    """Run and print one statement; errors become a line and an exit code."""
    from warehouse.analytics import LakeUnavailable, StatementFailed
    from warehouse.consent.filters import Purpose
    from warehouse.named_queries import UnknownQueryError
    from warehouse.statement_guard import StatementRefused

    try:
        text, parameters = _question(statement, view)
        wanted = Purpose(view.purpose, view.clock()) if view.purpose else None
        erasures = _erasures_so_far(view) if view.output else 0
        answer = analytics.query(text, as_of=view.as_of, parameters=parameters, purpose=wanted)
        content = FORMATS[view.format](answer)
        with _recorded(analytics, answer, content, view, erasures) as noted:
            written = _deliver(content, view)
    except StatementRefused as error:
        return _refuse(error, _pointer(statement, error.position))
    except (StatementFailed, UnknownQueryError, BinaryToTerminalError, FileNotWrittenError, NotRecordedError) as error:
        return _refuse(error)
    except LakeUnavailable as error:
        return _tell(f"wardstream sql: {error}", UNAVAILABLE)
    except KeyboardInterrupt:
        return _tell("interrupted", INTERRUPTED)
    if written is not None:
        noted = f"; {noted}" if noted else ""
        _tell(f"{_footer(answer, view)}\n{written}: {len(content):,} bytes, for its owner alone to read{noted}")
    elif view.format == "table":
        _tell(_footer(answer, view) + _hint(answer, content.decode()) + _ahead(view))
    return ANSWERED


class BinaryToTerminalError(ValueError):
    """Bytes of a file would go to a terminal."""


class NotRecordedError(RuntimeError):
    """A file with rows of people would leave without a record of it."""


class FileNotWrittenError(RuntimeError):
    """The file for an answer cannot be written."""


def _question(statement: str, view: View) -> tuple[str, dict[str, datetime] | None]:
    """The SQL of a statement or kept question, and its parameters."""
    from warehouse.named_queries import named_query

    stripped = statement.strip()
    if not stripped.startswith("@"):
        return statement, None
    query = named_query(stripped.removeprefix("@").rstrip("; "))
    return query.sql, query.parameters(view.as_of or view.clock())


def _erasures_so_far(view: View) -> int:
    from infra.cli.exports import erasures_so_far
    from warehouse.vault import VaultError, VaultUnavailableError

    try:
        return erasures_so_far(view.settings)
    except (VaultError, VaultUnavailableError) as error:
        raise NotRecordedError(f"{error}; no file is written without a record of it") from None


@contextmanager
def _recorded(analytics: Analytics, answer: Answer, content: bytes, view: View, erasures: int) -> Generator[str]:
    """What is told of the record of a file with people's rows, which stands before the file does; nothing where the
    answer goes to no file."""
    from infra.cli.exports import on_record
    from warehouse.catalog import TableMismatchError
    from warehouse.exports import ExportError
    from warehouse.opened_lake import LakeUnreachableError
    from warehouse.vault import VaultError, VaultUnavailableError

    if view.output is None:
        yield ""
        return
    try:
        with on_record(
            view.settings, analytics, answer, view.output, content,
            erasures=erasures, purpose=view.purpose, recipient=view.recipient, now=view.clock(),
        ) as noted:  # fmt: skip
            yield noted
    except (ExportError, LakeUnreachableError, TableMismatchError, VaultError, VaultUnavailableError) as error:
        raise NotRecordedError(f"{error}; no file is written without a record of it") from None


def _deliver(content: bytes, view: View) -> Path | None:
    """Give an answer to where it goes; returns the file, if it went to one. A file serves for one answer."""
    output, view.output = view.output, None
    if output is None:
        _write(content, binary=view.format in BINARY)
    else:
        _replace(output, content)
    return output


def _replace(file: Path, content: bytes) -> None:
    """Put the whole file where it belongs, or nothing. It holds people's data, so nobody else may read it."""
    partial = None
    try:
        handle, partial = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(partial).replace(file)
    except OSError as error:
        if partial is not None:
            Path(partial).unlink(missing_ok=True)
        raise FileNotWrittenError(f"cannot write {file} ({error.strerror or type(error).__name__})") from None


def _write(content: bytes, binary: bool) -> None:
    if binary and sys.stdout.isatty():
        raise BinaryToTerminalError("this format is for a file: --output FILE, or in the shell .output FILE")
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def _footer(answer: Answer, view: View) -> str:
    rows = answer.table.num_rows
    read = ", ".join(f"{name} {snapshot or 'empty'}" for name, snapshot in answer.snapshots.items())
    served = f" · for {view.purpose}" if view.purpose else ""
    shown = f"{rows:,} {'row' if rows == 1 else 'rows'} in {answer.elapsed_s:.2f} s"
    return shown + (f" · {read}" if read else "") + served


def _hint(answer: Answer, shown: str) -> str:
    """How to read what the table cut, or what a terminal wraps."""
    if is_cut(answer):
        return "\nvalues that end in … are cut; --format line shows them whole"
    columns = shutil.get_terminal_size().columns
    wraps = sys.stdout.isatty() and any(len(line) > columns for line in shown.splitlines())
    return "\nwider than the terminal; --format line shows a field a line" if wraps else ""


def _pointer(statement: str, position: int | None) -> str:
    """The line of a statement where something is wrong, and a caret below it."""
    if position is None or statement.lstrip().startswith("@"):
        return ""
    before = statement.encode()[:position].decode(errors="ignore")
    line = statement.splitlines()[before.count("\n")] if before.count("\n") < len(statement.splitlines()) else ""
    return f"  {printable(line)}\n  {' ' * len(printable(before.rpartition(chr(10))[2]))}^"


def _listed(queries: dict[str, NamedQuery]) -> str:
    return "\n".join(
        f"@{name}\n    {query.question}\n    a row: {query.grain}\n    its numbers: {query.units}"
        for name, query in queries.items()
    )


def _listed_as_json(queries: dict[str, NamedQuery]) -> str:
    return json.dumps([asdict(query) for query in queries.values()], ensure_ascii=False)


def moment(text: str) -> datetime:
    """A time in ISO 8601; without a zone it is UTC. Raises `ValueError`, which does not repeat the text."""
    try:
        read = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError("this is no time in ISO 8601; write one such as 2026-11-22T14:00Z") from None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _format_of(output: Path | None) -> str:
    """The format that a file's ending names; for people where it names none."""
    ending = "" if output is None else output.suffix.lstrip(".").lower()
    return ending if ending in FORMATS else "table"


def _known_format(name: str) -> str:
    if name not in FORMATS:
        raise ValueError(f"--format is one of {', '.join(FORMATS)}")
    return name


# The shell


def _shell(analytics: Analytics, view: View) -> int:
    """Read statements until `.quit` or the end of input. A script piped in goes on after an error, and ends with the
    code of its first one."""
    if not sys.stdin.isatty():
        return _conversation(analytics, view, _silent_input)
    _tell("read-only; .help shows what there is")
    _complete(analytics, view)
    _conversation(analytics, view, input)
    return ANSWERED


def _conversation(analytics: Analytics, view: View, read: Callable[[str], str]) -> int:
    code, pending = ANSWERED, ""
    while True:
        view.pending = pending
        try:
            line = read("      …> " if pending else "wardstream> ")
        except KeyboardInterrupt:
            pending = ""
            _tell("")
            continue
        except EOFError:
            return _first_failure(code, _answer(analytics, pending, view) if pending.strip() else ANSWERED)
        if command := _dotted(line, bool(pending)):
            if command == ".quit":
                return code
            code = _first_failure(code, _command(analytics, command, view))
            if pending:
                _tell("the statement before is still open; ; ends it, Ctrl-C drops it")
            continue
        pending += line + "\n"
        if _is_whole(pending):
            code = _first_failure(code, _answer(analytics, pending, view))
            pending = ""
        elif not pending.strip():
            pending = ""


def _first_failure(before: int, now: int) -> int:
    return before or now


def _dotted(line: str, within: bool) -> str:
    """The shell's own command in a line, empty for a line of SQL. Within a statement an indented dot belongs to SQL."""
    text = line.strip().rstrip("; ")
    if text.lower() in _BARE:
        return _BARE[text.lower()]
    if not text.startswith(".") or (within and not line.startswith(".")):
        return ""
    return ".quit" if text == ".exit" else text


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
        elif word == ".output":
            view.output = Path(rest.strip()).expanduser() if rest.strip() else None
        elif word == ".help":
            print(HELP)
        else:
            raise ValueError(f"unknown: {printable(word)}; .help shows what there is")
    except ValueError as error:
        return _refuse(error)
    return ANSWERED


def _complete(analytics: Analytics, view: View) -> None:
    from infra.cli import completion
    from warehouse.named_queries import named_queries

    tables = {name: schema.names for name, schema in sorted(analytics.tables.items())}
    words = completion.Vocabulary(tables, sorted(named_queries()), tuple(FORMATS))
    completion.install(words, lambda: view.pending)


def _silent_input(_prompt: str) -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\n")


def _refuse(error: Exception, pointer: str = "") -> int:
    return _tell(f"wardstream sql: {error}" + (f"\n{pointer}" if pointer else ""), REFUSED)


def _tell(text: str, code: int = ANSWERED) -> int:
    print(text, file=sys.stderr)
    return code
