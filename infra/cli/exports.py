"""`wardstream exports list | confirm`, and the record of a file before `wardstream sql --output` writes it.

Holds: what is recorded of a file, and what is printed of it.
Does not hold: the register (`warehouse/exports.py`), nor what an erasure does with a file
(`warehouse/erasure/exports.py`).

Exit codes: 0 done, 1 refused, 2 the catalog or the store does not answer, 130 Ctrl-C.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import socket
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.cli import answers
from infra.cli.caller import caller
from infra.cli.reach import unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Mapping

    from warehouse.analytics import Analytics, Answer
    from warehouse.contract import Contracts
    from warehouse.erasure.ledger import Ledger
    from warehouse.exports import Export, Exports
    from warehouse.settings import Settings

DONE, REFUSED, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 130


def erasures_so_far(settings: Settings) -> int:
    """How often the list of the erased has changed: asked before a question whose answer goes to a file. Raises
    `VaultError`, `VaultUnavailableError`."""
    from warehouse.vault import open_vault

    vault = open_vault(settings.vault_uri, time.monotonic)
    try:
        return vault.erased_changes()
    finally:
        vault.close()


@contextmanager
def on_record(
    settings: Settings,
    analytics: Analytics,
    answer: Answer,
    file: Path,
    content: bytes,
    *,
    erasures: int,
    purpose: str | None,
    recipient: str,
    now: datetime,
) -> Generator[str]:
    """Put on record that an answer goes to a file, if it has rows of people; a word on it for whoever takes it. The
    file is to be in its place when this ends: until then no erasure looks for files.

    `erasures`: what `erasures_so_far` was before the question. Raises `ExportError` for a path that names a patient,
    and where somebody was erased since the question; `LakeUnreachableError`, `VaultError`, `VaultUnavailableError`;
    `TableMismatchError` where the lake has no register yet: then nothing may be written.
    """
    from warehouse.contract import load_contracts
    from warehouse.erasure.derived_rows import beside_erasures
    from warehouse.exports import MADE, Act, Exports, tables_of_people, tokens_in
    from warehouse.opened_lake import opened_lake

    contracts = load_contracts(own=settings.contracts)
    _require_no_name(contracts, file)
    columns = tables_of_people(contracts, answer.snapshots)
    if not columns or not answer.table.num_rows:
        yield ""
        return
    people, says_whose = tokens_in(answer.table)
    with beside_erasures(settings) as ledger:
        _require_nobody_erased(ledger, people if says_whose else None, erasures)
        if not says_whose:
            people = people | _everybody(analytics, columns)
        act = Act(
            export_id=f"x-{now:%Y%m%d}-{secrets.token_hex(4)}", act=MADE, at=now, acted_by=caller(),
            recipient=recipient or caller(), purpose=purpose or "", host=socket.gethostname(),
            path=str(file.absolute()), sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content),
            rows=answer.table.num_rows, snapshots=answer.snapshots,
            people=b"".join(sorted(map(ledger.mark, people))), named=says_whose,
        )  # fmt: skip
        with opened_lake(settings) as catalog:
            Exports(catalog, settings.namespace, contracts, f"exports@{caller()}").tell([act])
        yield _noted(act.export_id, says_whose, columns)


def _noted(export: str, says_whose: bool, columns: Mapping[str, str]) -> str:
    if says_whose:
        return f"on record as {export}"
    return (
        f"on record as {export}: not every row says whose it is, so an erasure of anybody in "
        f"{', '.join(sorted(columns))} asks for it; with subject_token only theirs would"
    )


def _require_nobody_erased(ledger: Ledger, people: Collection[str] | None, before: int) -> None:
    """`people`: whose rows these are; None where nobody can say, and anybody's erasure since `before` may be theirs."""
    from warehouse.exports import ExportError

    if (ledger.changes() != before) if people is None else ledger.erased(people):
        raise ExportError("somebody was erased since these rows were read; ask again")


def list_exports(settings: Settings, *, is_open: bool = False, as_json: bool = False) -> int:
    """Print files that left; with `is_open` those alone that an erasure asked for and nobody confirmed yet."""

    def act(register: Exports) -> None:
        from warehouse.exports import ASKED

        found = [_told(each) for each in register.all()]
        shown = [each for each in found if not is_open or each["state"] == ASKED]
        if as_json:
            print(json.dumps(answers.json_value({"exports": shown})))
        elif not shown:
            print("no files")
        else:
            heads = ["export", "state", "at", "recipient", "people", "path", "requests"]
            cells = [[answers.printable(str(each[head])) for head in heads] for each in shown]
            print("\n".join(answers.aligned(heads, cells, [head == "people" for head in heads])))

    return _outcome(settings, act)


def confirm(settings: Settings, export: str, reason: str, *, as_json: bool = False) -> int:
    """Somebody has seen to it that a file, and what was made of it, is gone."""

    def act(register: Exports) -> None:
        from warehouse.audit import FILE, record
        from warehouse.exports import CONFIRMED, Act, ExportError

        found = next((each for each in register.all() if each.made.export_id == export), None)
        if found is None:
            raise ExportError(f"no file {export}; `wardstream exports list` shows them")
        if len(reason.strip()) < 8:
            raise ExportError("say in 8 letters or more how it is known; name nobody")
        now, who = datetime.now(UTC), caller()
        record(settings.home / FILE, now, {"who": who, "what": "exports.confirm", "export": export, "why": reason})
        if not found.is_over():
            register.tell([Act(export, CONFIRMED, now, who, reason=reason.strip())])
        said = {"export": export, "state": CONFIRMED}
        print(json.dumps(said) if as_json else f"{export}: erased, as {who} says")

    return _outcome(settings, act)


def _told(export: Export) -> dict[str, Any]:
    from warehouse.exports import ASKED, CONFIRMED, DELETED, MADE, MARK_BYTES

    made, acts = export.made, {each.act for each in export.since}
    state = next((each for each in (DELETED, CONFIRMED, ASKED) if each in acts), MADE)
    requests = sorted({each.request_id for each in export.since if each.request_id})
    return {
        "export": made.export_id, "state": state, "at": made.at.isoformat(timespec="seconds"), "by": made.acted_by,
        "recipient": made.recipient, "purpose": made.purpose, "people": len(made.people) // MARK_BYTES,
        "says_whose": made.named, "host": made.host, "path": made.path, "sha256": made.sha256, "rows": made.rows,
        "requests": " ".join(requests),
    }  # fmt: skip


def _require_no_name(contracts: Contracts, file: Path) -> None:
    """The path is told to people who may know nobody's identifier."""
    from warehouse.exports import ExportError

    patterns = {topic.key_pattern for topic in contracts.topics() if topic.key_pattern}
    words = re.split(r"[^A-Za-z0-9]+", str(file))
    if any(re.fullmatch(pattern, word) for pattern in patterns for word in words):
        raise ExportError("the file's path names a patient, and would be told to others; give it another name")


def _everybody(analytics: Analytics, columns: Mapping[str, str]) -> set[str]:
    found: set[str] = set()
    for table, column in columns.items():
        answer = analytics.query(f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL")
        found.update(answer.table.column(0).to_pylist())
    return found


def _outcome(settings: Settings, act: Callable[[Exports], None]) -> int:
    from warehouse.audit import AuditError
    from warehouse.catalog import TableMismatchError
    from warehouse.contract import load_contracts
    from warehouse.exports import ExportError, Exports
    from warehouse.opened_lake import LakeUnreachableError, opened_lake

    if reason := unreachable(settings):
        return _tell(reason, UNAVAILABLE)
    try:
        with opened_lake(settings) as catalog:
            contracts = load_contracts(own=settings.contracts)
            act(Exports(catalog, settings.namespace, contracts, f"exports@{caller()}"))
    except (ExportError, AuditError, TableMismatchError) as error:
        return _tell(str(error), REFUSED)
    except LakeUnreachableError as error:
        return _tell(str(error), UNAVAILABLE)
    except KeyboardInterrupt:
        return INTERRUPTED
    return DONE


def _tell(line: str, code: int) -> int:
    print(f"wardstream exports: {line}", file=sys.stderr)
    return code
