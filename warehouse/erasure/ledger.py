"""The list of erased people, as those ask who might bring one of them back.

Holds: what marks a person on it, and its reading, seconds old at most.
Does not hold: the list itself (`warehouse/vault.py`), nor who is put on it (run.py).

A mark is HMAC(ledger key, token), and a token is HMAC(token key, identifier and epoch): neither tells the other without
a key of the vault, and who has an identifier, a token or a row can ask alike. Who returns under a new epoch has another
token; so each erasure stands on the list by itself.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable, Iterable
from typing import Protocol

from warehouse.identity import FIRST_EPOCH
from warehouse.vault import LEDGER_KEY, VaultUnavailableError

FRESH_SECONDS = 2.0
"""So old the list may be that somebody goes by."""


class ErasedPeople(Protocol):
    """The part of the vault that the ledger needs."""

    def house_key(self, name: str) -> bytes: ...

    def erased_changes(self) -> int: ...

    def erased(self) -> dict[bytes, int | None]: ...

    def returned(self) -> dict[bytes, int]: ...


class Ledger:
    """The list, read again when it changed and was not looked at for `FRESH_SECONDS` of `clock` (seconds that never run
    backwards). A vault that does not answer leaves the list as it was: nobody waits for it."""

    def __init__(self, vault: ErasedPeople, clock: Callable[[], float]) -> None:
        self._vault, self._clock = vault, clock
        self._lock = threading.Lock()
        self._key = vault.house_key(LEDGER_KEY)
        self._number = vault.erased_changes()
        self._epochs, self._returned = vault.erased(), vault.returned()
        self._looked_at = clock()

    def changes(self) -> int:
        """A number that is another one after each change; looks at the vault where the last look is too old."""
        with self._lock:
            if self._clock() - self._looked_at >= FRESH_SECONDS:
                self._look()
            return self._number

    def mark(self, token: str) -> bytes:
        """What the list calls whoever has this token."""
        return mark_of(self._key, token)

    def epoch_of(self, token: str) -> int | None:
        """The epoch in which whoever had this token returned; None: they were erased and have not; 0: never erased."""
        return self._epochs.get(mark_of(self._key, token), FIRST_EPOCH) if self._epochs else FIRST_EPOCH

    def returned_ms(self, token: str) -> int:
        """The append instant (ms since 1970, UTC) from which a message of whoever had this token counts again;
        0 of who returned before vaults kept it."""
        return self._returned.get(mark_of(self._key, token), 0)

    def erased(self, tokens: Iterable[str]) -> set[str]:
        """Those of the tokens that were erased: no row may have them any more, wherever it comes from."""
        self.changes()
        return {token for token in tokens if self.epoch_of(token) != FIRST_EPOCH}

    def _look(self) -> None:
        self._looked_at = self._clock()
        try:
            number = self._vault.erased_changes()
            if number != self._number:
                self._epochs, self._returned = self._vault.erased(), self._vault.returned()
                self._number = number
        except VaultUnavailableError:
            return


def mark_of(key: bytes, token: str) -> bytes:
    """HMAC-SHA256 of a token under the ledger key: 32 bytes."""
    return hmac.digest(key, f"erased|{token}".encode(), "sha256")
