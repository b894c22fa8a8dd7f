"""Who was erased is refused within seconds, and returns only under a new epoch and another token."""

from __future__ import annotations

from pathlib import Path

import pytest

from warehouse.erasure.ledger import FRESH_SECONDS, Ledger, mark_of
from warehouse.identity import Tokenizer, subject_token
from warehouse.vault import LEDGER_KEY, SqliteVault, VaultError, VaultUnavailableError, open_vault

SYSTEM = "urn:x"
RETURNED_MS = 1_795_000_000_000


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def vault(tmp_path: Path) -> SqliteVault:
    return open_vault(f"sqlite:///{tmp_path}/vault.sqlite", Clock())


def _mark(vault: SqliteVault, identifier: str) -> bytes:
    return mark_of(vault.house_key(LEDGER_KEY), subject_token(vault.token_key(), SYSTEM, identifier))


def test_a_running_tokenizer_refuses_who_was_erased_meanwhile(vault: SqliteVault) -> None:
    clock = Clock()
    tokenizer = Tokenizer(vault.token_key(), SYSTEM, Ledger(vault, clock))
    before = tokenizer.tokens(["P1", "P2"])
    vault.fence([_mark(vault, "P1")])
    assert tokenizer.tokens(["P1", "P2"]) == before
    clock.now = FRESH_SECONDS
    assert tokenizer.tokens(["P1", "P2"]) == [None, before[1]]


def test_who_returns_gets_another_token(vault: SqliteVault) -> None:
    vault.fence([_mark(vault, "P1")])
    vault.readmit(_mark(vault, "P1"), 1, RETURNED_MS)
    (token,) = Tokenizer(vault.token_key(), SYSTEM, Ledger(vault, Clock())).tokens(["P1"])
    assert token == subject_token(vault.token_key(), SYSTEM, "P1", 1) != subject_token(vault.token_key(), SYSTEM, "P1")


def test_who_returned_more_than_once_counts_from_the_last_time(vault: SqliteVault) -> None:
    vault.fence([_mark(vault, "P1")])
    vault.readmit(_mark(vault, "P1"), 1, RETURNED_MS)
    second = mark_of(vault.house_key(LEDGER_KEY), subject_token(vault.token_key(), SYSTEM, "P1", 1))
    vault.fence([second])
    vault.readmit(second, 2, RETURNED_MS + 5)
    tokenizer = Tokenizer(vault.token_key(), SYSTEM, Ledger(vault, Clock()))
    assert tokenizer.tokens(["P1"]) == [subject_token(vault.token_key(), SYSTEM, "P1", 2)]
    assert tokenizer.returned_ms(["P1", "P2"]) == {"P1": RETURNED_MS + 5}


def test_who_returned_before_instants_were_kept_is_known_by_any_message(vault: SqliteVault, monkeypatch) -> None:
    vault.fence([_mark(vault, "P1")])
    vault.readmit(_mark(vault, "P1"), 1, RETURNED_MS)
    monkeypatch.setattr(SqliteVault, "returned", lambda self: {})
    tokenizer = Tokenizer(vault.token_key(), SYSTEM, Ledger(vault, Clock()))
    assert tokenizer.tokens(["P1"]) == [subject_token(vault.token_key(), SYSTEM, "P1", 1)]


def test_nobody_returns_who_was_not_erased(vault: SqliteVault) -> None:
    with pytest.raises(VaultError):
        vault.readmit(_mark(vault, "P1"), 1, RETURNED_MS)


def test_a_vault_that_is_away_leaves_the_list_as_it_was(vault: SqliteVault, monkeypatch) -> None:
    clock = Clock()
    vault.fence([_mark(vault, "P1")])
    tokenizer = Tokenizer(vault.token_key(), SYSTEM, Ledger(vault, clock))

    def away(self):
        raise VaultUnavailableError("away")

    monkeypatch.setattr(SqliteVault, "erased_changes", away)
    clock.now = FRESH_SECONDS
    assert tokenizer.tokens(["P1"]) == [None]


def test_the_list_names_nobody(vault: SqliteVault, tmp_path: Path) -> None:
    vault.fence([_mark(vault, "P000001")])
    token = subject_token(vault.token_key(), SYSTEM, "P000001")
    vault.close()
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    assert token.encode() not in kept
    assert b"P000001" not in kept
    assert len(kept) > 4096
