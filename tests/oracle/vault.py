"""Opens what the product seals, by the files of its vault alone: a second reading of keys and sealed columns.

Holds: the embedded vault's keys, the opening of a cell, and what a rejected message was.
Does not hold: the product's vault or identity, nor whether what was opened is right (`checks`).

A data key lies in SQLite, wrapped under an outer key, wrapped under the master key, both files beside the database. A
cell is a nonce of twelve bytes, then AES-256-GCM, bound to `stream|column|owner|0`; the owner is a token or a day.
"""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NIL, PAIR = 0xC0, 0x92
LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4}
"""MessagePack's bytes by the size of their length."""


class NotOpened(Exception):
    """A cell that does not open by the key of whose it says it is, or is not what it should be inside."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Data keys by owner (`person:` and the token, or `day:` and the date), and whose were destroyed."""

    by_owner: Mapping[str, bytes] = field(repr=False)
    master: bytes = field(default=b"", repr=False)
    destroyed: frozenset[bytes] = frozenset()

    def opened(self, stream: str, column: str, sealed: bytes, under: str, token: str | None) -> bytes | None:
        """What is in a cell; None where its key was destroyed. Raises `NotOpened`."""
        owner, place = (f"person:{token}", token) if under == "person" else (under, under)
        if owner not in self.by_owner:
            if hmac.digest(self.master, f"destroyed|{owner}".encode(), "sha256") in self.destroyed:
                return None
            raise NotOpened
        return _opened(self.by_owner[owner], sealed, f"{stream}|{column}|{place}|0")


def read_vault(path: Path) -> Keys:
    """The keys of the vault whose SQLite database this is. Raises OSError, sqlite3.Error and `NotOpened`."""
    master = path.with_name(f"{path.name}.master.key").read_bytes()
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        numbers = [number for (number,) in database.execute("SELECT id FROM outer_keys")]
        outer = {number: path.with_name(f"{path.name}.outer-{number:06d}.key").read_bytes() for number in numbers}
        wrapped = database.execute("SELECT owner, outer_id, wrapped FROM data_keys").fetchall()
        destroyed = frozenset(mark for (mark,) in database.execute("SELECT mark FROM destroyed"))
    keys = {owner: _opened(master, _opened(outer[number], key, owner), owner) for owner, number, key in wrapped}
    return Keys(keys, master, destroyed)


def _opened(key: bytes, sealed: bytes, bound_to: str) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:12], sealed[12:], bound_to.encode())
    except (InvalidTag, ValueError):
        raise NotOpened from None


def message_of(opened: bytes) -> tuple[bytes | None, bytes]:
    """Key, and sha256 of the value, of a rejected message: two byte strings or nils in MessagePack. Raises
    `NotOpened`."""
    parts, at = [], 1
    while at < len(opened):
        width = LENGTHS.get(opened[at], 0)
        size = int.from_bytes(opened[at + 1 : at + 1 + width], "big")
        parts.append(opened[at + 1 + width : at + 1 + width + size] if width else None)
        if not width and opened[at] != NIL:
            raise NotOpened
        at += 1 + width + size
    if opened[:1] != bytes([PAIR]) or len(parts) != 2 or at != len(opened):
        raise NotOpened
    return parts[0], hashlib.sha256(parts[1] or b"").digest()
