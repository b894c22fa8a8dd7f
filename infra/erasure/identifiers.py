"""Whose an identifier is, under every pseudonym it has had: asked by stores that keep identifiers in clear.

Holds: identifier -> request. Does not hold: any store, nor the making of a token (`warehouse/identity.py`).

Who was erased, came back and is erased again has a token of a later epoch, and their older messages lie under the same
key: asked by the first epoch alone, they would not be found. And of who has come back while an erasure goes on,
messages of before and of now lie under one key, and nobody can tell them apart there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from warehouse.erasure.ledger import mark_of
from warehouse.erasure.stores import Subject, by_token
from warehouse.identity import FIRST_EPOCH, subject_token
from warehouse.vault import LEDGER_KEY, SqliteVault


@dataclass(slots=True)
class Identifiers:
    """Identifiers of one system. `epochs`: those in which somebody returned, as the vault's list has them now.
    `came_back`: whether anybody of these tokens has another one today."""

    token_key: bytes
    system: str
    epochs: Callable[[], Iterable[int | None]] = lambda: ()
    came_back: Callable[[Iterable[str]], bool] = lambda tokens: False
    _asked: Mapping[str, str] = field(default_factory=dict)
    _known: dict[str, str | None] = field(default_factory=dict)
    _epochs: tuple[int, ...] = (FIRST_EPOCH,)

    def about(self, subjects: Collection[Subject]) -> None:
        """Ask about these people from now on."""
        self._asked, self._known = by_token(subjects), {}
        self._epochs = tuple(sorted({FIRST_EPOCH, *(each for each in self.epochs() if each is not None)}))

    def have_come_back(self, subjects: Iterable[Subject]) -> bool:
        """Whether one of these people is a patient of today under another pseudonym."""
        return self.came_back(token for subject in subjects for token in subject.tokens)

    def request_of(self, identifier: str) -> str | None:
        """The request about whoever has this identifier; None where there is none."""
        if identifier not in self._known:
            tokens = (subject_token(self.token_key, self.system, identifier, epoch) for epoch in self._epochs)
            self._known[identifier] = next((self._asked[each] for each in tokens if each in self._asked), None)
        return self._known[identifier]


def identifiers_of(vault: SqliteVault, system: str) -> Identifiers:
    """Those of a vault."""

    def came_back(tokens: Iterable[str]) -> bool:
        key, epochs = vault.house_key(LEDGER_KEY), vault.erased()
        return any(epochs.get(mark_of(key, token)) is not None for token in tokens)

    return Identifiers(vault.token_key(), system, lambda: vault.erased().values(), came_back)
