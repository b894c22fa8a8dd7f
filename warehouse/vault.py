"""Where keys live, and where they are destroyed: the vault, with its embedded default on SQLite and key files.

Holds: making, caching for at most five seconds, wrapping, rotating and destroying keys.
Does not hold: what is done with a key (`warehouse/identity.py`), nor who decides that one is destroyed.

A data key is wrapped twice: by the master key, then by an outer key. Both are files beside the database, mode 0600.
Old outer keys are destroyed after the backup window, so a backup of the database brings no destroyed key back; the
master key may be backed up, outer keys never. The database deletes securely and its write-ahead log is emptied after
each destruction. No key, token or day appears in any message of this module.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
CACHE_SECONDS = 5.0
BUSY_SECONDS = 5.0
_LIST_BUSY_SECONDS = 0.05

_TOKEN_KEY = "token-key"
LEDGER_KEY, SIGNING_KEY, LEARNERS_KEY = "ledger-key", "signing-key", "learners-key"
"""Keys of the house that erasure needs: what marks an erased person, and what signs a certificate."""
_PERSON, _DAY, _REQUEST = "person:", "day:", "request:"
_IS_DESTROYED = "SELECT 1 FROM destroyed WHERE mark = ?"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY, wrapped BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outer_keys (id INTEGER PRIMARY KEY, retired_at REAL, destroyed_before INTEGER DEFAULT 0);
CREATE TABLE IF NOT EXISTS data_keys (owner TEXT PRIMARY KEY, outer_id INTEGER NOT NULL, wrapped BLOB NOT NULL)
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS destroyed (mark BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS erased (mark BLOB PRIMARY KEY, epoch INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS returned (mark BLOB PRIMARY KEY, since_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS erased_changes (id INTEGER PRIMARY KEY CHECK (id = 1), number INTEGER NOT NULL);
INSERT OR IGNORE INTO erased_changes VALUES (1, 0);
"""


class VaultError(Exception):
    """The vault cannot be used as it is: wrong permission, a missing or foreign key, an altered row. Waiting is no
    remedy; the message says what is."""


class VaultUnavailableError(Exception):
    """The vault does not answer now (locked, disk, path). Whoever can wait waits and asks again."""


def open_vault(uri: str, clock: Callable[[], float]) -> SqliteVault:
    """The vault at `uri` (`sqlite:////absolute/path`), made on first use.

    `clock` gives seconds that never run backwards (`time.monotonic`); cached keys age by it.
    Raises `VaultError` or `VaultUnavailableError`.
    """
    parts = urlsplit(uri)
    if parts.scheme != "sqlite" or parts.netloc or len(parts.path) < 2:
        raise VaultError("WARDSTREAM_VAULT_URI must read sqlite:///PATH; no other kind of vault is built in")
    return SqliteVault(Path(unquote(parts.path[1:])).absolute(), clock)


class SqliteVault:
    """The embedded vault. Safe for several threads and for several processes on one machine."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._cache: dict[str, tuple[float, bytes]] = {}
        self._files = _KeyFiles(path)
        with _answering():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _only_one_opens(path):
                self._master = self._files.master(may_create=not path.exists())
                self._database = _connect(path)
        # The list of the erased is asked on the way of alerts: it waits for no thread that writes, and hardly for a
        # locked file.
        self._list_lock = threading.Lock()
        self._list = sqlite3.connect(path, timeout=_LIST_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            with self._transaction() as write:
                first = "INSERT INTO outer_keys (id) SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM outer_keys)"
                if write.execute(first).rowcount:
                    self._files.outer(1, may_create=True)
            self._token_key = self._secret(_TOKEN_KEY)
        except BaseException:
            self._list.close()
            self._database.close()
            raise

    def close(self) -> None:
        """Forget all keys and close the database."""
        with self._lock, self._list_lock:
            self._cache.clear()
            self._list.close()
            self._database.close()

    def token_key(self) -> bytes:
        """The HMAC key of subject tokens (32 bytes), the same for the vault's life. Read at opening: never fails."""
        return self._token_key

    def data_keys(self, tokens: Iterable[str]) -> dict[str, bytes]:
        """The data key (32 bytes) of each token, made on first use. A token whose key was destroyed is absent."""
        keys = self._keys({f"{_PERSON}{token}" for token in tokens})
        return {owner.removeprefix(_PERSON): key for owner, key in keys.items()}

    def reject_key(self, day: date) -> bytes | None:
        """The key of the rejects of `day` (UTC) that are sealed under no person; None once it was destroyed."""
        owner = f"{_DAY}{day.isoformat()}"
        return self._keys({owner}).get(owner)

    def reject_key_days(self) -> list[date]:
        """The days (UTC) that have a key of rejects, oldest first."""
        query = "SELECT owner FROM data_keys WHERE owner >= ? AND owner < ? ORDER BY owner"
        with self._lock, _answering():
            rows = self._database.execute(query, (_DAY, _DAY.replace(":", ";"))).fetchall()
        return [date.fromisoformat(owner.removeprefix(_DAY)) for (owner,) in rows]

    def destroy(self, token: str) -> None:
        """Destroy the data key of `token` for good. Doing it again is harmless; no new key is ever made for it.

        On return no byte of it is left in the database or its log, and this process has forgotten it; other processes
        do within `CACHE_SECONDS`. Raises `VaultUnavailableError` if the log could not be emptied: then do it again.
        """
        self._destroy(f"{_PERSON}{token}")

    def destroy_reject_key(self, day: date) -> None:
        """Destroy the key of the rejects of `day`, as `destroy` does a person's."""
        self._destroy(f"{_DAY}{day.isoformat()}")

    def destroy_all(self, tokens: Iterable[str]) -> None:
        """`destroy` for many at once: one transaction, one emptying of the log."""
        self._destroy(*(f"{_PERSON}{token}" for token in tokens))

    def standing(self, tokens: Iterable[str]) -> set[str]:
        """Those of the tokens that have a data key now; none is made."""
        return {owner.removeprefix(_PERSON) for owner in self._stored({f"{_PERSON}{token}" for token in tokens})}

    def house_key(self, name: str) -> bytes:
        """A key of the house (32 bytes), made on first use and the same for the vault's life."""
        if name not in (LEDGER_KEY, SIGNING_KEY, LEARNERS_KEY):
            raise ValueError("the house has no key of this name")
        return self._secret(name)

    def request_key(self, request: str) -> bytes | None:
        """The key that an open request keeps its subject under; None once it was destroyed."""
        return self.request_keys([request]).get(request)

    def request_keys(self, requests: Iterable[str]) -> dict[str, bytes]:
        """`request_key` of many at once; those whose key was destroyed are left out."""
        keys = self._keys({f"{_REQUEST}{request}" for request in requests})
        return {owner.removeprefix(_REQUEST): key for owner, key in keys.items()}

    def destroy_request_keys(self, requests: Iterable[str]) -> None:
        """Destroy the keys of requests that came to their end, as `destroy` does a person's."""
        self._destroy(*(f"{_REQUEST}{request}" for request in requests))

    def fence(self, marks: Iterable[bytes]) -> None:
        """Put marks on the list of erased people, unless they are. Whoever reads the list refuses what is new of them
        within seconds. One who has returned stays: they have another token since, whose mark is another one."""
        with self._lock, self._transaction() as write:
            write.executemany(
                "INSERT OR IGNORE INTO erased VALUES (?, NULL)",
                [(mark,) for mark in marks],
            )
            write.execute("UPDATE erased_changes SET number = number + 1")

    def readmit(self, mark: bytes, epoch: int, since_ms: int) -> None:
        """Let somebody who was erased return under a new epoch: what is appended from `since_ms` on (milliseconds since
        1970, UTC) counts. Raises `VaultError` where the mark is not listed."""
        with self._lock, self._transaction() as write:
            if not write.execute("UPDATE erased SET epoch = ? WHERE mark = ?", (epoch, mark)).rowcount:
                raise VaultError("nobody of this mark was erased")
            write.execute("INSERT OR REPLACE INTO returned VALUES (?, ?)", (mark, since_ms))
            write.execute("UPDATE erased_changes SET number = number + 1")

    def erased_changes(self) -> int:
        """A number that is another one after each change of the list of erased people."""
        with self._list_lock, _answering():
            return self._list.execute("SELECT number FROM erased_changes").fetchone()[0]

    def erased(self) -> dict[bytes, int | None]:
        """Marks of erased people; None: what comes of them is refused, a number: the epoch they returned in."""
        with self._list_lock, _answering():
            return dict(self._list.execute("SELECT mark, epoch FROM erased").fetchall())

    def returned(self) -> dict[bytes, int]:
        """Marks of erased people who came back -> the append instant (ms since 1970, UTC) they count from again."""
        with self._list_lock, _answering():
            return dict(self._list.execute("SELECT mark, since_ms FROM returned").fetchall())

    def turn_outer_key(self, now: float, window: float) -> tuple[bool, int, float | None]:
        """Begin a new outer key where a data key was destroyed under the present one, and destroy those that retired
        longer than `window` seconds before `now` (since 1970). Whether one was begun, how many were destroyed, and when
        the oldest of those that wait retired (None: none waits)."""
        with self._lock, _answering():
            (known,) = self._database.execute("SELECT destroyed_before FROM outer_keys ORDER BY id DESC").fetchone()
            (destroyed,) = self._database.execute("SELECT count(*) FROM destroyed").fetchone()
        if destroyed > known:
            self.rotate_outer_key(now)
        gone = self.destroy_outer_keys(now - window)
        with self._lock, _answering():
            (waiting,) = self._database.execute("SELECT min(retired_at) FROM outer_keys").fetchone()
        return destroyed > known, gone, waiting

    def rotate_outer_key(self, retired_at: float) -> None:
        """Wrap every data key in a new outer key and note when (seconds since 1970) the one before retired."""
        with self._lock, self._transaction() as write:
            (current,) = write.execute("SELECT max(id) FROM outer_keys").fetchone()
            (destroyed,) = write.execute("SELECT count(*) FROM destroyed").fetchone()
            write.execute("INSERT INTO outer_keys (id, destroyed_before) VALUES (?, ?)", (current + 1, destroyed))
            self._files.outer(current + 1, may_create=True)
            rows = write.execute("SELECT owner, outer_id, wrapped FROM data_keys").fetchall()
            rewrapped = [(current + 1, self._rewrapped(*row, current + 1), row[0]) for row in rows]
            write.executemany("UPDATE data_keys SET outer_id = ?, wrapped = ? WHERE owner = ?", rewrapped)
            write.execute("UPDATE outer_keys SET retired_at = ? WHERE id = ?", (retired_at, current))
        self._empty_log()

    def destroy_outer_keys(self, retired_before: float) -> int:
        """Destroy the outer keys that retired before then (the backup window); how many. Backups made under them are
        then closed for ever."""
        with self._lock, self._transaction() as write:
            gone = [n for (n,) in write.execute("SELECT id FROM outer_keys WHERE retired_at < ?", (retired_before,))]
            for number in gone:
                self._files.destroy_outer(number)
            write.executemany("DELETE FROM outer_keys WHERE id = ?", [(number,) for number in gone])
        return len(gone)

    def _keys(self, owners: set[str]) -> dict[str, bytes]:
        with self._lock:
            now = self._clock()
            self._cache = {owner: entry for owner, entry in self._cache.items() if entry[0] > now}
            found = {owner: self._cache[owner][1] for owner in owners & self._cache.keys()}
            missing = owners - found.keys()
            if missing:
                fetched = self._stored(missing)
                if len(fetched) < len(missing):
                    fetched |= self._made(missing - fetched.keys())
                self._cache |= {owner: (now + CACHE_SECONDS, key) for owner, key in fetched.items()}
                found |= fetched
            return found

    def _stored(self, owners: Iterable[str]) -> dict[str, bytes]:
        query = "SELECT owner, outer_id, wrapped FROM data_keys WHERE owner IN (SELECT value FROM json_each(?))"
        with _answering():
            rows = self._database.execute(query, (json.dumps(list(owners)),)).fetchall()
            return {owner: self._unwrapped(owner, outer_id, wrapped) for owner, outer_id, wrapped in rows}

    def _made(self, owners: set[str]) -> dict[str, bytes]:
        with self._transaction() as write:
            marks = {self._mark(owner): owner for owner in owners}
            gone = {marks[mark] for mark in marks if write.execute(_IS_DESTROYED, (mark,)).fetchone()}
            (outer_id,) = write.execute("SELECT max(id) FROM outer_keys").fetchone()
            fresh = [(owner, outer_id, self._wrapped_new(owner, outer_id)) for owner in sorted(owners - gone)]
            write.executemany("INSERT OR IGNORE INTO data_keys VALUES (?, ?, ?)", fresh)
        return self._stored(owners - gone)

    def _destroy(self, *owners: str) -> None:
        with self._lock:
            for owner in owners:
                self._cache.pop(owner, None)
            with self._transaction() as write:
                marks = [(self._mark(owner),) for owner in owners]
                write.executemany("INSERT OR IGNORE INTO destroyed VALUES (?)", marks)
                write.executemany("DELETE FROM data_keys WHERE owner = ?", [(owner,) for owner in owners])
            self._empty_log()

    def _empty_log(self) -> None:
        with _answering():
            (busy, *_) = self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise VaultUnavailableError("the vault's log is in use and could not be emptied; do it again")

    def _mark(self, owner: str) -> bytes:
        """What is kept of a destroyed key's owner: enough to refuse it, not enough to name it."""
        return hmac.digest(self._master, f"destroyed|{owner}".encode(), "sha256")

    def _secret(self, name: str) -> bytes:
        wrapped = _wrap(self._master, secrets.token_bytes(KEY_BYTES), name)
        with self._transaction() as write:
            write.execute("INSERT OR IGNORE INTO secrets VALUES (?, ?)", (name, wrapped))
            (kept,) = write.execute("SELECT wrapped FROM secrets WHERE name = ?", (name,)).fetchone()
        return _unwrap(self._master, kept, name)

    def _wrapped_new(self, owner: str, outer_id: int) -> bytes:
        return _wrap(self._files.outer(outer_id), _wrap(self._master, secrets.token_bytes(KEY_BYTES), owner), owner)

    def _unwrapped(self, owner: str, outer_id: int, wrapped: bytes) -> bytes:
        return _unwrap(self._master, _unwrap(self._files.outer(outer_id), wrapped, owner), owner)

    def _rewrapped(self, owner: str, outer_id: int, wrapped: bytes, to: int) -> bytes:
        return _wrap(self._files.outer(to), _unwrap(self._files.outer(outer_id), wrapped, owner), owner)

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        with self._lock, _answering():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise


class _KeyFiles:
    """The master key and the outer keys: files of 32 random bytes beside the database."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._outer: dict[int, bytes] = {}

    def master(self, may_create: bool) -> bytes:
        return self._read(self._path("master.key"), may_create)

    def outer(self, number: int, may_create: bool = False) -> bytes:
        if number not in self._outer:
            self._outer[number] = self._read(self._path(f"outer-{number:06d}.key"), may_create)
        return self._outer[number]

    def destroy_outer(self, number: int) -> None:
        """Overwrite and unlink. The overwriting is best effort: what a disk keeps of old blocks is the disk's."""
        self._outer.pop(number, None)
        path = self._path(f"outer-{number:06d}.key")
        with suppress(FileNotFoundError):
            with path.open("r+b") as file:
                file.write(bytes(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()

    def _path(self, suffix: str) -> Path:
        return self._database.with_name(f"{self._database.name}.{suffix}")

    def _read(self, path: Path, may_create: bool) -> bytes:
        if may_create and not path.exists():
            _create_key_file(path)
        try:
            mode, key = path.stat().st_mode, path.read_bytes()
        except FileNotFoundError:
            raise VaultError(f"the key file {path} is missing though the vault has keys under it; restore it") from None
        if mode & 0o077:
            raise VaultError(f"the key file {path} can be read by others; chmod 600 it and consider it seen")
        if len(key) != KEY_BYTES:
            raise VaultError(f"the key file {path} is not a key of {KEY_BYTES} bytes; restore it")
        return key


def _create_key_file(path: Path) -> None:
    """Write a new key, durable and whole or not at all; where another process was first, its key stays."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _only_one_opens(path: Path) -> Generator[None]:
    """Keep other processes from opening the vault meanwhile: SQLite does not wait when a log mode is being set."""
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _connect(path: Path) -> sqlite3.Connection:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.close(descriptor)
    database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
            database.execute(f"PRAGMA {pragma}").fetchall()
        database.executescript(_SCHEMA)
        if not any(name == "destroyed_before" for _, name, *_ in database.execute("PRAGMA table_info(outer_keys)")):
            database.execute("ALTER TABLE outer_keys ADD COLUMN destroyed_before INTEGER DEFAULT 0")
    except BaseException:
        database.close()
        raise
    return database


def _wrap(key: bytes, secret: bytes, name: str) -> bytes:
    nonce = secrets.token_bytes(12)
    return nonce + AESGCM(key).encrypt(nonce, secret, name.encode())


def _unwrap(key: bytes, wrapped: bytes, name: str) -> bytes:
    try:
        return AESGCM(key).decrypt(wrapped[:12], wrapped[12:], name.encode())
    except (InvalidTag, ValueError):
        raise VaultError("a key in the vault does not open: key file of another vault, or an altered row") from None


def _code(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", type(error).__name__)


@contextmanager
def _answering() -> Generator[None]:
    """Turn what SQLite and the file system say into the vault's two errors, without their words."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise VaultUnavailableError(f"the vault does not answer ({_code(error)})") from None
    except sqlite3.DatabaseError as error:
        raise VaultError(f"the vault's database is damaged or not one ({_code(error)})") from None
    except OSError as error:
        raise VaultUnavailableError(f"the vault's folder cannot be used (errno {error.errno})") from None
