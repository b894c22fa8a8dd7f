"""Who looked at what is sealed: an append-only file of JSON lines, each bound to the one before it.

Holds: writing a line before anything is shown, and the check that no line was changed, removed or put in between.
Does not hold: the full record of every read (`audit.access`, signed heads, break-glass), which a later issue brings.
A cut tail is not found here: nothing outside the file says how long it was.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

FILE = "audit/access.jsonl"
FIRST = "0" * 64


class AuditError(RuntimeError):
    """The file cannot be written, or a line of it is not what was written. Says which; nothing may be shown then."""


def record(file: Path, at: datetime, entry: Mapping[str, str | int | None]) -> None:
    """Append one line, on disk before this returns. Safe between processes.

    A line is `entry` with `at` (ISO 8601, UTC) and `previous`, the SHA-256 of the line before it. Raises `AuditError`.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "r+b") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            line = {"at": at.isoformat(), **entry, "previous": _last_digest(handle)}
            handle.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        raise AuditError(f"{file} cannot be written ({type(error).__name__}); nothing is shown without it") from None


def verify(file: Path) -> int:
    """How many lines the file has. Raises `AuditError` naming the first that does not follow from the one before it."""
    expected, number = FIRST, 0
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n") or _previous(line) != expected:
                raise AuditError(f"{file}, line {number}: it does not follow from the one before; keep the file, ask")
            expected = _digest(line)
    return number


def _last_digest(handle: BinaryIO) -> str:
    handle.seek(0)
    last = b""
    for line in handle:
        last = line
    return _digest(last) if last else FIRST


def _previous(line: bytes) -> str | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry.get("previous") if isinstance(entry, dict) else None


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
