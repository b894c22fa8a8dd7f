from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from datetime import date
from pathlib import Path

import pytest

from warehouse import vault as vault_module
from warehouse.vault import CACHE_SECONDS, VaultError, VaultUnavailableError, open_vault

DAY = date(2026, 11, 22)


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def uri(tmp_path):
    return f"sqlite:///{tmp_path / 'vault' / 'vault.sqlite'}"


@pytest.fixture
def opened(uri):
    vaults = []

    def open_one(clock=None):
        vaults.append(open_vault(uri, clock or Clock()))
        return vaults[-1]

    yield open_one
    for vault in vaults:
        vault.close()


def _folder(uri: str) -> Path:
    return Path(uri.removeprefix("sqlite:///")).parent


def _bytes_of(uri: str) -> bytes:
    return b"".join(path.read_bytes() for path in _folder(uri).iterdir())


def _wrapped(uri: str, owner: str) -> bytes:
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        (wrapped,) = database.execute("SELECT wrapped FROM data_keys WHERE owner = ?", (owner,)).fetchone()
    database.close()
    return wrapped


def test_keys_are_the_same_after_opening_again(opened):
    first = opened()
    keys = first.token_key(), first.data_keys(["a", "b"]), first.reject_key(DAY)
    first.close()
    again = opened()
    assert (again.token_key(), again.data_keys(["a", "b"]), again.reject_key(DAY)) == keys


def test_every_owner_has_a_key_of_its_own(opened):
    vault = opened()
    keys = [*vault.data_keys(["a", "b"]).values(), vault.reject_key(DAY), vault.token_key()]
    assert len(set(keys)) == 4
    assert {len(key) for key in keys} == {32}


def test_no_key_stands_in_the_database_in_clear(uri, opened):
    vault = opened()
    keys = [vault.token_key(), *vault.data_keys(["a"]).values()]
    assert not any(key in _bytes_of(uri) for key in keys)


def test_key_files_and_database_are_the_owners_alone(uri, opened):
    opened().data_keys(["a"])
    assert {path.stat().st_mode & 0o777 for path in _folder(uri).iterdir()} == {0o600}


def test_the_list_of_the_erased_waits_for_nobody_who_writes(uri, opened):
    vault, told = opened(), []
    other = sqlite3.connect(uri.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    asking = threading.Thread(target=lambda: told.extend((vault.erased_changes(), vault.erased())), daemon=True)
    with vault._lock:
        asking.start()
        asking.join(30)
    other.close()
    assert told == [0, {}]


def test_a_destroyed_key_leaves_no_byte_and_never_comes_back(uri, opened):
    vault = opened()
    vault.data_keys([f"token{n}" for n in range(50)])
    wrapped = _wrapped(uri, "person:token7")
    assert wrapped in _bytes_of(uri)
    vault.destroy("token7")
    left = _bytes_of(uri)
    assert not any(wrapped[at : at + 12] in left for at in range(len(wrapped) - 12))
    assert b"token7" not in left
    for _ in range(2):
        assert vault.data_keys(["token7", "token8"]).keys() == {"token8"}
    assert b"token7" not in _bytes_of(uri)


def test_destroying_again_or_what_never_was_is_harmless(opened):
    vault = opened()
    vault.destroy("never")
    vault.destroy("never")
    assert vault.data_keys(["never"]) == {}


def test_a_destroyed_reject_key_is_not_made_anew(opened):
    vault = opened()
    vault.reject_key(DAY)
    vault.destroy_reject_key(DAY)
    assert vault.reject_key(DAY) is None


def test_another_process_forgets_a_destroyed_key_within_five_seconds(opened):
    clock = Clock()
    reader, eraser = opened(clock), opened()
    reader.data_keys(["a"])
    eraser.destroy("a")
    clock.seconds = CACHE_SECONDS
    assert reader.data_keys(["a"]) == {}
    assert CACHE_SECONDS <= 5


def test_a_cached_key_needs_no_vault_for_a_while(opened, monkeypatch):
    clock = Clock()
    vault = opened(clock)
    key = vault.data_keys(["a"])
    monkeypatch.setattr(vault, "_stored", lambda owners: pytest.fail("asked the database"))
    clock.seconds = CACHE_SECONDS - 0.1
    assert vault.data_keys(["a"]) == key


def test_a_locked_database_is_unavailable_not_broken(uri, opened, monkeypatch):
    monkeypatch.setattr(vault_module, "BUSY_SECONDS", 0.05)
    vault = opened()
    holder = sqlite3.connect(uri.removeprefix("sqlite:///"), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(VaultUnavailableError, match="SQLITE_BUSY"):
        vault.data_keys(["a"])
    holder.execute("ROLLBACK")
    holder.close()
    assert vault.data_keys(["a"])


def test_a_destruction_that_left_bytes_in_the_log_says_so(uri, opened, monkeypatch):
    monkeypatch.setattr(vault_module, "BUSY_SECONDS", 0.05)
    vault = opened()
    vault.data_keys(["a"])
    reader = sqlite3.connect(uri.removeprefix("sqlite:///"), isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM data_keys").fetchall()
    with pytest.raises(VaultUnavailableError, match="do it again"):
        vault.destroy("a")
    reader.execute("ROLLBACK")
    reader.close()
    vault.destroy("a")
    assert vault.data_keys(["a"]) == {}


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(VaultUnavailableError):
        open_vault(f"sqlite:///{tmp_path / 'file' / 'vault.sqlite'}", Clock())


def test_a_key_file_that_others_can_read_is_refused(uri, opened):
    opened().close()
    (_folder(uri) / "vault.sqlite.master.key").chmod(0o640)
    with pytest.raises(VaultError, match="chmod 600"):
        opened()


def test_a_lost_master_key_is_not_replaced_by_a_new_one(uri, opened):
    opened().close()
    master = _folder(uri) / "vault.sqlite.master.key"
    master.unlink()
    with pytest.raises(VaultError, match="missing"):
        opened()
    assert not master.exists()


def test_the_master_key_of_another_vault_does_not_open_this_one(uri, opened):
    opened().close()
    (_folder(uri) / "vault.sqlite.master.key").write_bytes(bytes(32))
    with pytest.raises(VaultError, match="does not open"):
        opened()


def test_a_file_that_is_no_vault_is_refused(uri, opened):
    opened().close()
    Path(uri.removeprefix("sqlite:///")).write_bytes(b"no database " * 100)
    with pytest.raises(VaultError):
        opened()


@pytest.mark.parametrize("uri", ["postgresql://x/canary", "sqlite://canary", "sqlite://host/canary", "/canary"])
def test_another_kind_of_uri_is_refused_without_its_words(uri):
    with pytest.raises(VaultError, match="WARDSTREAM_VAULT_URI must read") as raised:
        open_vault(uri, Clock())
    assert "canary" not in str(raised.value)


def test_rotation_keeps_the_keys_and_closes_old_backups(uri, opened):
    vault = opened()
    keys = vault.data_keys(["a", "b"]), vault.reject_key(DAY)
    backup = _wrapped(uri, "person:a")
    vault.rotate_outer_key(retired_at=100.0)
    assert backup not in _bytes_of(uri)
    assert vault.destroy_outer_keys(retired_before=100.0) == 0
    assert vault.destroy_outer_keys(retired_before=101.0) == 1
    assert not (_folder(uri) / "vault.sqlite.outer-000001.key").exists()
    vault.close()
    again = opened()
    assert (again.data_keys(["a", "b"]), again.reject_key(DAY)) == keys


def test_a_destroyed_key_comes_back_by_no_backup_once_the_window_is_over(uri, opened):
    before = opened()
    before.data_keys(["a", "b"])
    before.close()
    backup = Path(uri.removeprefix("sqlite:///")).read_bytes()
    vault = opened()
    assert vault.turn_outer_key(now=100.0, window=50.0) == (False, 0, None), "nothing was destroyed"
    vault.destroy("a")
    assert vault.turn_outer_key(now=200.0, window=50.0) == (True, 0, 200.0)
    assert vault.turn_outer_key(now=249.0, window=50.0) == (False, 0, 200.0)
    assert vault.turn_outer_key(now=251.0, window=50.0) == (False, 1, None)
    keys = vault.data_keys(["b"])
    vault.close()
    again = opened()
    assert again.data_keys(["b"]) == keys
    again.close()
    Path(uri.removeprefix("sqlite:///")).write_bytes(backup)
    for beside in ("-wal", "-shm"):
        Path(uri.removeprefix("sqlite:///") + beside).unlink(missing_ok=True)
    with pytest.raises(VaultError, match="missing though the vault has keys"):
        opened().data_keys(["a"])


def test_a_vault_of_before_learns_to_turn_its_outer_key(uri, opened):
    opened().close()
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        database.execute("ALTER TABLE outer_keys DROP COLUMN destroyed_before")
    vault = opened()
    vault.data_keys(["a"])
    vault.destroy("a")
    assert vault.turn_outer_key(now=1.0, window=0.0)[0]


def test_a_process_that_was_open_before_a_rotation_goes_on(opened):
    clock = Clock()
    one, other = opened(clock), opened()
    before = one.data_keys(["a"])
    other.rotate_outer_key(retired_at=1.0)
    other.destroy_outer_keys(retired_before=2.0)
    clock.seconds = 60
    assert one.data_keys(["a"]) == before
    assert one.data_keys(["b"]) == other.data_keys(["b"])


def test_threads_that_ask_at_once_get_one_key(opened):
    vault, answers = opened(), []
    threads = [threading.Thread(target=lambda: answers.append(vault.data_keys(["a"])["a"])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(answers)) == 1
    assert len(answers) == 8


def _keys_of_a_process(uri: str, start, queue) -> None:
    start.wait()
    vault = open_vault(uri, Clock())
    queue.put((vault.token_key(), tuple(sorted(vault.data_keys([f"t{n}" for n in range(40)]).items()))))
    vault.close()


def test_processes_that_open_a_new_vault_at_once_get_the_same_keys(uri):
    context = multiprocessing.get_context("spawn")
    start, queue = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_keys_of_a_process, args=(uri, start, queue)) for _ in range(4)]
    for process in processes:
        process.start()
    answers = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert len(set(answers)) == 1


def test_days_with_a_reject_key_are_told_and_no_person_is(opened):
    vault = opened()
    vault.data_keys(["a", "z"])
    for day in (DAY, date(2024, 2, 29)):
        vault.reject_key(day)
    assert vault.reject_key_days() == [date(2024, 2, 29), DAY]
    vault.destroy_reject_key(DAY)
    assert vault.reject_key_days() == [date(2024, 2, 29)]
