"""The vault as a store of people: the data key of each, whose destruction closes whatever was sealed under it.

Holds: locate, erase and prove for keys.
Does not hold: keys (`warehouse/vault.py`).
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from warehouse.erasure.stores import Erased, Found, Progress, Subject, by_token, counted
from warehouse.vault import SqliteVault, VaultUnavailableError

TRIES, PAUSE_SECONDS = 40, 0.25
"""The vault's log is emptied when nobody reads it, so it may take a moment."""


@dataclass(slots=True)
class KeyStore:
    """The vault at `uri`."""

    vault: SqliteVault
    uri: str
    progress: Progress = lambda step: None

    @property
    def name(self) -> str:
        return "vault"

    def locate(self, subjects: Collection[Subject]) -> Found:
        """Keys that stand. Raises what the vault raises."""
        return Found(counted(self.vault.standing(by_token(subjects)), subjects))

    def erase(self, subjects: Collection[Subject]) -> Erased:
        """Destroy their keys. Raises `VaultUnavailableError` where its log cannot be emptied."""
        found = self.locate(subjects).total
        self.progress("shred")
        for attempt in range(TRIES):
            try:
                self.vault.destroy_all(by_token(subjects))
                break
            except VaultUnavailableError:
                if attempt == TRIES - 1:
                    raise
                time.sleep(PAUSE_SECONDS)
        return Erased(found, self.locate(subjects).total)

    def prove(self, subjects: Collection[Subject]) -> Found:
        """Tokens that stand in the bytes of the vault's files."""
        path = Path(unquote(urlsplit(self.uri).path[1:])).absolute()
        kept = b"".join(file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*")) if file.is_file())
        there = [token for token in by_token(subjects) if token.encode() in kept]
        return Found(counted(there, subjects), {"looked_at": len(kept)})
