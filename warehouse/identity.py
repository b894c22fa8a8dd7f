"""Who a row is about, without saying so: subject tokens, and sealing under a person's or a day's key.

Holds: the token's definition, the tokenizer with its cache, AES-256-GCM sealing, and how a rejected message is sealed.
Does not hold: any key. Keys come from `warehouse/vault.py`; deciding which message is about whom is the pipelines'.
"""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import NamedTuple, Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FIRST_EPOCH = 0
TOKEN_BYTES = 16
NONCE_BYTES = 12
UNDER_PERSON = "person"
UNDER_DAY = "day:"
REJECT_COLUMN = "sealed_payload"
RAW_COLUMN = "sealed_message"

_CACHED_TOKENS = 200_000


class SealError(Exception):
    """Sealed bytes do not open: another key, other associated data, or altered bytes. Names nothing of the content."""


class KeyGoneError(SealError):
    """The key that would open it was destroyed, as it was meant to be."""


def subject_token(key: bytes, system: str, identifier: str, epoch: int = FIRST_EPOCH) -> str:
    """The pseudonym of a person: 26 characters of base32 in lower case.

    HMAC-SHA256 over (identifier system, identifier, epoch), cut to 128 bits. Each part goes in behind its length, so
    that no two triples give the same bytes.
    """
    parts = (system.encode(), identifier.encode(), str(epoch).encode())
    message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    digest = hmac.digest(key, message, "sha256")[:TOKEN_BYTES]
    return base64.b32encode(digest).decode().rstrip("=").lower()


def key_fingerprint(key: bytes) -> str:
    """What tells a token key from another and says nothing else of it: 16 hexadecimal digits."""
    return hmac.digest(key, b"wardstream token key", "sha256").hex()[:16]


class Epochs(Protocol):
    """Who was erased, as the tokenizer asks for it."""

    def changes(self) -> int:
        """Another number after each change; asked for every batch, so it must not wait."""
        ...

    def epoch_of(self, token: str) -> int | None:
        """The epoch in which whoever had this token returned; None: they were erased and have not; 0: never erased."""
        ...

    def returned_ms(self, token: str) -> int:
        """The append instant (ms since 1970, UTC) from which a message of whoever had this token counts again; of those
        who returned."""
        ...


class NobodyErased:
    """For those who speak of no real person, or have asked already."""

    def changes(self) -> int:
        return 0

    def epoch_of(self, token: str) -> int | None:
        return FIRST_EPOCH

    def returned_ms(self, token: str) -> int:
        raise KeyError("nobody was erased, so nobody returned")


class Tokenizer:
    """Tokens of one identifier system, remembered in memory for the identifiers seen of late."""

    def __init__(self, key: bytes, system: str, epochs: Epochs | None = None) -> None:
        self._key = key
        self._system = system
        self._epochs = epochs or NobodyErased()
        self._changes = self._epochs.changes()
        self._known: dict[str, str | None] = {}
        self._returned_ms: dict[str, int] = {}

    def tokens(self, identifiers: Iterable[str]) -> list[str | None]:
        """The token of each identifier, in order; None for somebody who was erased, whose messages are refused. Meant
        for the distinct values of a batch."""
        if len(self._known) > _CACHED_TOKENS or self._changes != self._epochs.changes():
            self._changes = self._epochs.changes()
            self._known.clear()
            self._returned_ms.clear()
        return [
            self._known[identifier] if identifier in self._known else self._first_time(identifier)
            for identifier in identifiers
        ]

    def returned_ms(self, identifiers: Iterable[str]) -> dict[str, int]:
        """Those of the identifiers, of whom `tokens` was just asked, who were erased and came back, with the append
        instant (ms since 1970, UTC) from which they count again: an older message is refused whoever reads it."""
        if not self._returned_ms:
            return {}
        return {each: self._returned_ms[each] for each in identifiers if each in self._returned_ms}

    def _first_time(self, identifier: str) -> str | None:
        token = subject_token(self._key, self._system, identifier)
        while (epoch := self._epochs.epoch_of(token)) != FIRST_EPOCH:
            if epoch is None:
                self._known[identifier] = None
                return None
            self._returned_ms[identifier] = self._epochs.returned_ms(token)
            token = subject_token(self._key, self._system, identifier, epoch)
        self._known[identifier] = token
        return token


def associated_data(stream: str, column: str, owner: str, epoch: int = FIRST_EPOCH) -> bytes:
    """What a sealed value is bound to: it opens only in this stream and column, for this token (or day), this epoch."""
    return f"{stream}|{column}|{owner}|{epoch}".encode()


def seal(payload: bytes, key: bytes, associated: bytes, random: Callable[[int], bytes] = os.urandom) -> bytes:
    """`payload` under AES-256-GCM: a random nonce of 12 bytes, then ciphertext and tag. `key` has 32 bytes."""
    nonce = random(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, payload, associated)


def unseal(sealed: bytes, key: bytes, associated: bytes) -> bytes:
    """What `seal` was given. Raises `SealError`."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
    except (InvalidTag, ValueError):
        raise SealError("sealed bytes do not open with this key and place") from None


class RejectKeys(Protocol):
    """The part of the vault that sealing rejects needs."""

    def data_keys(self, tokens: Iterable[str]) -> dict[str, bytes]: ...

    def reject_key(self, day: date) -> bytes | None: ...


class RejectedMessage(NamedTuple):
    """A message as it was on the wire, for the one who mends and replays it."""

    key: bytes | None
    value: bytes | None


class Sealed(NamedTuple):
    """Sealed bytes, and whose key opens them: `person`, or `day:` and the date."""

    payload: bytes
    under: str


def seal_rejects(
    keys: RejectKeys,
    stream: str,
    messages: Sequence[RejectedMessage],
    tokens: Sequence[str | None],
    days: Sequence[date],
) -> list[Sealed]:
    """Seal each message as `seal_for` does. Key and value are sealed together, so that a message can be replayed as it
    was."""
    return seal_for(keys, stream, REJECT_COLUMN, list(map(msgspec.msgpack.encode, messages)), tokens, days)


def seal_messages(
    keys: RejectKeys,
    stream: str,
    messages: Sequence[RejectedMessage],
    tokens: Sequence[str | None],
    days: Sequence[date],
) -> list[Sealed]:
    """Seal messages that are kept as they came, as `seal_rejects` seals rejects; the one never opens as the other."""
    return seal_for(keys, stream, RAW_COLUMN, list(map(msgspec.msgpack.encode, messages)), tokens, days)


def unseal_message(keys: RejectKeys, stream: str, sealed: bytes, under: str, token: str | None) -> RejectedMessage:
    """The message that `seal_messages` sealed. Raises `SealError` where its key is gone or does not fit."""
    opened = unseal_of(keys, stream, RAW_COLUMN, sealed, under, token)
    return RejectedMessage(*msgspec.msgpack.decode(opened, type=tuple[bytes | None, bytes | None]))


def unseal_reject(keys: RejectKeys, stream: str, sealed: bytes, under: str, token: str | None) -> RejectedMessage:
    """The message that `seal_rejects` sealed. Raises `SealError` where its key is gone or does not fit."""
    opened = unseal_of(keys, stream, REJECT_COLUMN, sealed, under, token)
    return RejectedMessage(*msgspec.msgpack.decode(opened, type=tuple[bytes | None, bytes | None]))


def seal_for(
    keys: RejectKeys,
    stream: str,
    column: str,
    payloads: Sequence[bytes],
    tokens: Sequence[str | None],
    days: Sequence[date],
) -> list[Sealed]:
    """Seal each payload under its person's key or, without a token or once that key was destroyed, its day's.

    Raises what the vault raises, and `SealError` where the day's key was destroyed too.
    """
    person = keys.data_keys({token for token in tokens if token})
    owners = [token if token in person else None for token in tokens]
    daily = {day: keys.reject_key(day) for day, owner in zip(days, owners, strict=True) if owner is None}
    return [
        _sealed(stream, column, payload, person[owner], UNDER_PERSON, owner)
        if owner
        else _sealed(stream, column, payload, daily[day], f"{UNDER_DAY}{day.isoformat()}", None)
        for payload, owner, day in zip(payloads, owners, days, strict=True)
    ]


def _sealed(stream: str, column: str, payload: bytes, key: bytes | None, under: str, token: str | None) -> Sealed:
    if key is None:
        raise SealError("the key of that day's rejects was destroyed: nothing new may be sealed under it")
    return Sealed(seal(payload, key, _place(stream, column, under, token)), under)


def unseal_of(keys: RejectKeys, stream: str, column: str, sealed: bytes, under: str, token: str | None) -> bytes:
    """The payload that `seal_for` sealed. Raises `KeyGoneError` where its key is gone, `SealError` where it does not
    fit."""
    if under == UNDER_PERSON:
        key = keys.data_keys([token]).get(token) if token else None
    else:
        key = keys.reject_key(date.fromisoformat(under.removeprefix(UNDER_DAY)))
    if key is None:
        raise KeyGoneError("the key that would open it was destroyed")
    return unseal(sealed, key, _place(stream, column, under, token))


def _place(stream: str, column: str, under: str, token: str | None) -> bytes:
    """Bound to the person, or to the day."""
    return associated_data(stream, column, token if under == UNDER_PERSON and token else under)
