"""Other places where a person's bytes could lie: the embedded store's volumes, and files of the home.

Holds: the vacuum of volumes, and the search of files for tokens.
Does not hold: the decoding of what is compressed; that is the verifier's (`infra/verifier`), which looks at every byte.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from infra.services.store import EmbeddedStore
from infra.services.store_upkeep import await_let_go, keep_up, purge_unclaimed, require_all_claimed
from warehouse.erasure.stores import Erased, Found, Subject, by_token
from warehouse.settings import Settings

ALL_GARBAGE = 1e-9
"""Any volume with a deleted byte is vacuumed."""


@dataclass(slots=True)
class VolumeStore:
    """The volumes of the embedded object store, in which deleted objects lie on until a vacuum."""

    settings: Settings

    @property
    def name(self) -> str:
        return "volumes"

    def locate(self, subjects: Collection[Subject]) -> Found:
        """Nothing that could be told by a token: objects are compressed, and tables have counted theirs."""
        return Found({})

    def erase(self, subjects: Collection[Subject]) -> Erased:
        """Vacuum every volume that has anything deleted, once all deletions have reached them. Raises
        `StoreUpkeepError`, also where bytes stay that no object claims: nobody can tell whose they are."""
        store = EmbeddedStore.of(self.settings)
        purge_unclaimed(store)
        await_let_go(store)
        done = keep_up(store, garbage_share=ALL_GARBAGE)
        require_all_claimed(store)
        return Erased(0, 0, max(0, done.freed_bytes), {"commands": list(done.commands)})

    def prove(self, subjects: Collection[Subject]) -> Found:
        return self.locate(subjects)


@dataclass(slots=True)
class FolderStore:
    """Files that should name nobody: a token in one of them stops the certificate, for nothing may rewrite them."""

    what: str
    folder: Path

    @property
    def name(self) -> str:
        return self.what

    def locate(self, subjects: Collection[Subject]) -> Found:
        """Files in which a token stands, by person."""
        tokens = {token.encode(): request for token, request in by_token(subjects).items()}
        counts: Counter[str] = Counter()
        looked, naming = 0, []
        for file in sorted(self.folder.rglob("*")) if tokens else ():
            if file.is_file():
                looked += 1
                data = _read(file)
                theirs = [request for token, request in tokens.items() if token in data]
                counts.update(theirs)
                naming += [f"{self.folder.name}/{file.relative_to(self.folder)}"] if theirs else []
        return Found(dict(counts), {"looked_at": looked} | ({"by_hand": naming} if naming else {}))

    def erase(self, subjects: Collection[Subject]) -> Erased:
        """Nothing: by what the product writes there, there is nothing to erase."""
        found = self.locate(subjects).total
        return Erased(found, found)

    def prove(self, subjects: Collection[Subject]) -> Found:
        return self.locate(subjects)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""
